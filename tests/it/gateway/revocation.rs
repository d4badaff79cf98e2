//! `POST /admin/revoke` over real sockets: streams end, and stay out.

use hookrill::access::{self, Claims};
use hookrill_core::Secret;

use hookrill_testing::{
    ADMIN_TOKEN, BEGIN_SECS, Client, Gateway, GatewayBuilder, Response, TOKEN_SECRET,
};

fn token(jti: Option<&str>, sub: Option<&str>, iat: Option<u64>) -> String {
    let claims = Claims {
        topics: vec!["shut".into()],
        exp: BEGIN_SECS + 600,
        iat,
        jti: jti.map(str::to_owned),
        sub: sub.map(str::to_owned),
        ..Claims::default()
    };
    access::mint(&Secret::new(TOKEN_SECRET.as_bytes()), &claims).unwrap()
}

fn path(token: &str) -> String {
    format!("/events/shut?token={token}")
}

async fn revoke(gateway: &Client, bearer: &str, body: &str) -> Response {
    let length = body.len();
    let request = format!(
        "POST /admin/revoke HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {bearer}\r\n\
         Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    gateway.send(request).await
}

#[tokio::test]
async fn streams_of_a_revoked_token_end_and_it_is_refused_also_after_a_restart() {
    for with_router_only in [false, true] {
        let plan = |builder: GatewayBuilder| {
            if with_router_only {
                builder.with_router_only()
            } else {
                builder
            }
        };
        let gateway = plan(Gateway::on_disk()).start().await;
        let now = Some(BEGIN_SECS);
        let one = token(Some("one"), Some("mia"), now);
        let other = token(Some("other"), Some("mia"), now);
        let leo = token(Some("leo's"), Some("leo"), now);
        // Several of each, so that some are in a bundle.
        let mut open = Vec::new();
        for name in [&one, &other, &leo] {
            for _ in 0..3 {
                let mut subscriber = gateway.subscriber(&path(name)).await;
                subscriber.opened().await;
                open.push(subscriber);
            }
        }
        // They have settled where they are written from.
        let id = gateway.post("shut", "x").await.id();
        for subscriber in &mut open {
            assert_eq!(subscriber.events(1).await[0].id, id);
        }
        let answer = revoke(&gateway, ADMIN_TOKEN, "{\"jti\":\"one\"}").await;
        assert_eq!((answer.status, answer.text()), (200, "{\"ended\":3}"));
        let again = revoke(&gateway, ADMIN_TOKEN, "{\"jti\":\"one\"}").await;
        assert_eq!(again.text(), "{\"ended\":0}");
        for subscriber in &mut open[..3] {
            subscriber.ended().await;
        }
        assert_eq!(gateway.get(&path(&one), &[]).await.status, 401);
        let second = gateway.post("shut", "y").await.id();
        for subscriber in &mut open[3..] {
            assert_eq!(subscriber.events(1).await[0].id, second);
        }
        let by_holder = revoke(&gateway, ADMIN_TOKEN, "{\"sub\":\"mia\"}").await;
        assert_eq!(by_holder.text(), "{\"ended\":3}");
        for subscriber in &mut open[3..6] {
            subscriber.ended().await;
        }
        let third = gateway.post("shut", "z").await.id();
        for subscriber in &mut open[6..] {
            assert_eq!(subscriber.events(1).await[0].id, third);
        }
        drop(open);
        let folder = gateway.stop().await.unwrap();
        let restarted = plan(Gateway::in_folder(folder)).start().await;
        for (token, status) in [
            (one, 401),
            (other, 401),
            (token(None, Some("mia"), None), 401),
            (token(None, Some("mia"), Some(BEGIN_SECS - 1)), 401),
        ] {
            assert_eq!(restarted.get(&path(&token), &[]).await.status, status);
        }
        for good in [leo, token(None, Some("mia"), Some(BEGIN_SECS + 1))] {
            restarted.subscriber(&path(&good)).await.opened().await;
        }
    }
}

#[tokio::test]
async fn what_is_no_revocation_is_refused() {
    let gateway = Gateway::in_memory().start().await;
    let long = format!("{{\"jti\":\"{}\"}}", "x".repeat(20_000));
    for (bearer, body, status) in [
        ("somebody", "{\"jti\":\"a\"}", 401),
        (ADMIN_TOKEN, "", 400),
        (ADMIN_TOKEN, "[]", 400),
        (ADMIN_TOKEN, "{}", 400),
        (ADMIN_TOKEN, "{\"jti\":\"\"}", 400),
        (ADMIN_TOKEN, "{\"jti\":1}", 400),
        (ADMIN_TOKEN, "{\"iss\":\"a\"}", 400),
        (ADMIN_TOKEN, "{\"jti\":\"a\",\"sub\":\"b\"}", 400),
        (ADMIN_TOKEN, &long, 400),
        (ADMIN_TOKEN, "{\"jti\":\"a\"}", 200),
    ] {
        let answer = revoke(&gateway, bearer, body).await;
        assert_eq!(answer.status, status, "{body:.40}");
    }
    assert_eq!(gateway.get("/admin/revoke", &[]).await.status, 405);
}

#[tokio::test]
async fn with_a_longest_life_tokens_say_when_they_were_issued_and_whose_they_are() {
    let sections =
        "[access]\nsecret = \"0123456789abcdef0123456789abcdef\"\ntoken_ttl_max = \"10m\"";
    let gateway = Gateway::in_memory().access(sections).start().await;
    for (token, good) in [
        (token(Some("a"), None, Some(BEGIN_SECS)), true),
        (token(None, Some("a"), Some(BEGIN_SECS)), true),
        (token(Some("a"), None, Some(BEGIN_SECS - 1)), false),
        (token(Some("a"), None, None), false),
        (token(None, None, Some(BEGIN_SECS)), false),
        (token(Some("a"), None, Some(BEGIN_SECS + 60)), false),
    ] {
        if good {
            gateway.subscriber(&path(&token)).await.opened().await;
        } else {
            assert_eq!(gateway.get(&path(&token), &[]).await.status, 401);
        }
    }
}
