//! Subscribers that come back to where they were, and what the operator is told.

use serde_json::Value;

use hookrill::access::{self, Claims};
use hookrill_core::Secret;
use hookrill_testing::{ADMIN_TOKEN, BEGIN_SECS, Gateway, TOKEN_SECRET};

const LAST_EVENT_ID: &str = "Last-Event-ID";

/// Opens the stream, reads so many events of it, and leaves; the gateway has noticed
/// that when this returns.
async fn visit(gateway: &Gateway, path: &str, headers: &[(&str, &str)], events: usize) {
    let before = gateway.metric("hookrill_subscribers").await;
    let mut subscriber = gateway.subscriber_with(path, headers).await;
    assert_eq!(subscriber.status(), 200);
    subscriber.opened().await;
    subscriber.events(events).await;
    drop(subscriber);
    while gateway.metric("hookrill_subscribers").await > before {
        tokio::task::yield_now().await;
    }
}

/// A token of its own.
fn token(jti: u32) -> String {
    let claims = Claims {
        topics: vec!["shut".into()],
        exp: BEGIN_SECS + 600,
        jti: Some(jti.to_string()),
        ..Claims::default()
    };
    access::mint(&Secret::new(TOKEN_SECRET.as_bytes()), &claims).unwrap()
}

async fn revoke(gateway: &Gateway, jti: u32) {
    let body = format!("{{\"jti\":\"{jti}\"}}");
    let request = format!(
        "POST /admin/revoke HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(gateway.send(request).await.json()["ended"], 1);
}

async fn stuck(gateway: &Gateway) -> Vec<Value> {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("Authorization", &*bearer)];
    let page = gateway.get("/admin/topics", &headers).await.json();
    page["stuck"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_client_that_comes_back_at_the_same_id_is_told_of_with_the_event_that_follows() {
    let gateway = Gateway::in_memory()
        .server("metrics_public = true")
        .start()
        .await;
    let id = gateway.post("open", "x").await.id();
    let next = gateway.post("open.a", vec![b'x'; 70_000]).await.id();
    let agent = format!("Go-http-client/1.1 {}", "x".repeat(300));
    let headers = [(LAST_EVENT_ID, &*id), ("User-Agent", &*agent)];
    for visits in 1..=5 {
        visit(&gateway, "/events/open", &headers, 1).await;
        // Seen when it comes back.
        let told = stuck(&gateway).await;
        assert_eq!(told.len(), usize::from(visits > 3), "{visits}: {told:?}");
    }
    let told = &stuck(&gateway).await[0];
    for (field, expected) in [
        ("reason", "same_id".into()),
        ("client", "127.0.0.1".into()),
        ("topics", vec!["open"].into()),
        ("id", Value::from(&*id)),
        ("next_id", Value::from(&*next)),
        ("next_topic", "open.a".into()),
        ("next_bytes", 70_000.into()),
        ("times", 4.into()),
    ] {
        assert_eq!(told[field], expected, "{field}: {told}");
    }
    let shown = told["user_agent"].as_str().unwrap();
    assert!(
        shown.starts_with("Go-http-client/1.1") && shown.len() < 120,
        "{shown}"
    );
    let counted = gateway.get("/metrics", &[]).await;
    let line = "hookrill_subscribers_stuck_total{reason=\"same_id\"} 2";
    assert!(counted.text().contains(line), "{}", counted.text());
    // One that gets on is not stuck any more, and no longer listed after an hour.
    visit(&gateway, "/events/open", &[(LAST_EVENT_ID, &next)], 0).await;
    gateway.advance_clock(2 * 60 * 60);
    assert!(stuck(&gateway).await.is_empty());
}

#[tokio::test]
async fn one_that_is_back_before_the_gateway_has_noticed_its_leaving_is_told_of_too() {
    let gateway = Gateway::in_memory().start().await;
    let id = gateway.post("open", "x").await.id();
    gateway.post("open", "y").await;
    let headers = [(LAST_EVENT_ID, &*id)];
    let mut before = None;
    for _ in 0..6 {
        let mut subscriber = gateway.subscriber_with("/events/open", &headers).await;
        subscriber.events(1).await;
        drop(before.replace(subscriber));
        while gateway.metric("hookrill_subscribers").await > 1.0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(stuck(&gateway).await[0]["times"], 4);
}

#[tokio::test]
async fn a_client_that_leaves_at_each_first_event_is_told_of() {
    let gateway = Gateway::in_memory()
        .server("metrics_public = true")
        .start()
        .await;
    gateway.post("open", "x").await;
    for visits in 1..=6 {
        visit(&gateway, "/events/open?last=1", &[], 1).await;
        assert_eq!(
            stuck(&gateway).await.len(),
            usize::from(visits > 5),
            "{visits}"
        );
    }
    assert_eq!(stuck(&gateway).await[0]["reason"], "left_early");
    // One that looks every few minutes has its own reasons.
    for _ in 0..10 {
        visit(&gateway, "/events/open?last=2", &[], 1).await;
        gateway.advance_clock(5 * 60);
    }
    assert_eq!(stuck(&gateway).await.len(), 1);
}

#[tokio::test]
async fn nobody_is_stuck_who_was_given_nothing_or_whose_stream_the_gateway_ended() {
    let gateway = Gateway::in_memory()
        .server("metrics_public = true")
        .start()
        .await;
    // A quiet topic, beside a busy one.
    let id = gateway.post("open", "x").await.id();
    for _ in 0..10 {
        visit(
            &gateway,
            "/events/open?types=rare",
            &[(LAST_EVENT_ID, &id)],
            0,
        )
        .await;
        gateway.post("open", "x").await;
        visit(&gateway, "/events/open.quiet", &[(LAST_EVENT_ID, &id)], 0).await;
    }
    // What comes only now was not given before.
    let quiet = gateway.post("open.quiet", "x").await.id();
    visit(&gateway, "/events/open.quiet", &[(LAST_EVENT_ID, &id)], 1).await;
    // Tabs of one browser, each once at the same id, and all at the same time.
    let mut tabs = Vec::new();
    for _ in 0..10 {
        let headers = [(LAST_EVENT_ID, &*id), ("User-Agent", "Browser")];
        let mut tab = gateway
            .subscriber_with("/events/open.quiet", &headers)
            .await;
        assert_eq!(tab.events(1).await[0].id, quiet);
        tabs.push(tab);
    }
    drop(tabs);
    // Streams that the gateway ends, since their tokens are revoked.
    let shut = gateway.post("shut", "x").await.id();
    gateway.post("shut", "y").await;
    for visit in 0..5 {
        let path = format!("/events/shut?token={}", token(visit));
        let mut stream = gateway
            .subscriber_with(&path, &[(LAST_EVENT_ID, &shut)])
            .await;
        stream.events(1).await;
        revoke(&gateway, visit).await;
        stream.ended().await;
    }
    assert_eq!(stuck(&gateway).await.len(), 0);
}
