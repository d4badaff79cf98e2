//! Between the word to stop and the drain: those who route to a gateway look
//! at its readiness only now and then.

use axum::body::Body;
use hookrill::app::{App, system_clock};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use hookrill_testing::{Client, Gateway, config};

const LONG: &str = "shutdown_delay = \"1h\"";

/// Asks until readiness is off, and gives the reason.
async fn unready(gateway: &Client) -> String {
    loop {
        let answer = gateway.get("/readyz", &[]).await;
        if answer.status == 503 {
            return answer.text().to_owned();
        }
    }
}

#[tokio::test]
async fn a_gateway_that_is_to_stop_is_unready_and_serves_on_during_its_delay() {
    let mut gateway = Gateway::in_memory()
        .server(LONG)
        .sections("[subscribe]\nheartbeat = \"1s\"")
        .start()
        .await;
    let mut before = gateway.subscriber("/events/open").await;
    before.opened().await;
    gateway.request_stop();
    let reason = unready(&gateway).await;
    assert!(reason.contains("the gateway is stopping"), "{reason}");

    // Not for a moment only: two more heartbeats come.
    for _ in 0..2 {
        let heartbeat = before.next().await.expect("the stream goes on");
        assert_eq!(heartbeat.name, "hookrill.cursor");
    }
    let mut during = gateway.subscriber("/events/open").await;
    during.opened().await;
    assert_eq!(gateway.post("open", "still here").await.status, 200);
    for subscriber in [&mut before, &mut during] {
        assert_eq!(subscriber.events(1).await[0].data, "still here");
    }
    assert_eq!(gateway.get("/healthz", &[]).await.status, 200);
}

#[tokio::test]
async fn after_its_delay_a_gateway_drains() {
    let mut gateway = Gateway::in_memory()
        .server("shutdown_delay = \"100ms\"")
        .start()
        .await;
    let mut subscriber = gateway.subscriber("/events/open").await;
    subscriber.opened().await;
    gateway.request_stop();
    subscriber.cut_off().await;
    drop(subscriber);
    gateway.stopped().await.unwrap();
}

/// As where another server's connections stay open for a while: a stream that
/// began now would end at once, and be counted as one.
#[tokio::test]
async fn whoever_comes_when_streams_have_ended_is_put_off() {
    let toml = "[journal]\nkind = \"memory\"\n[topics.open]\naccess = \"public\"\n\
                scheme = { kind = \"none\" }";
    let app = App::build(config(toml).unwrap(), system_clock()).await;
    let app = app.unwrap();
    app.end_streams();
    for (accept, status, begins) in [
        ("text/event-stream", 200, "retry: "),
        ("application/x-ndjson", 503, "{"),
    ] {
        let request = http::Request::get("/events/open").header("Accept", accept);
        let answer = app.router().oneshot(request.body(Body::empty()).unwrap());
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), status, "{accept}");
        let mut body = answer.into_body();
        let first = body.frame().await.unwrap().unwrap();
        let text = String::from_utf8(first.into_data().unwrap().to_vec()).unwrap();
        // Where it is to come back, it must not look complete.
        let is_broken_off = body.frame().await.is_some_and(|end| end.is_err());
        assert_eq!(is_broken_off, status == 200, "{accept}");
        assert!(text.starts_with(begins), "{accept}: {text}");
        // The opening of a stream says where it is.
        assert!(!text.contains("hookrill.cursor"), "{accept}: {text}");
    }
    app.close().await;
}
