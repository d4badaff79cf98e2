//! How a gateway starts, drains and ends.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use hookrill_testing::{
    ADMIN_TOKEN, GITHUB_SECRET, Gateway, OPEN_TOPIC, Process, TOKEN_SECRET, github_signature,
    token, token_until,
};
use rustix::process::Resource;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_drain_ends_streams_with_a_wait_and_answers_what_is_under_way() {
    let mut gateway = Gateway::on_disk().start().await;
    let mut subscribers = Vec::new();
    for _ in 0..20 {
        let mut subscriber = gateway.subscriber("/events/open").await;
        subscriber.opened().await;
        subscriber.take_retry();
        subscribers.push(subscriber);
    }
    let mut idle = gateway.connect().await;
    let begun = Instant::now();
    gateway.request_stop();
    let mut waits = Vec::new();
    for subscriber in &mut subscribers {
        subscriber.cut_off().await;
        waits.push(subscriber.take_retry().expect("a wait"));
    }
    gateway.stopped().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(9), "within the grace");
    let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!(
        *least >= 3_000 && *most <= 8_000 && most - least > 500,
        "{waits:?}"
    );
    assert!(TcpStream::connect(gateway.address).await.is_err());
    let mut rest = Vec::new();
    _ = tokio::io::AsyncReadExt::read_to_end(&mut idle, &mut rest).await;
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_cannot_hold_up_the_drain() {
    let mut gateway = Gateway::in_memory()
        .server("shutdown_grace = \"2s\"")
        .start()
        .await;
    let stuck = gateway.subscriber("/events/open").await;
    gateway.fill("open", 4_000, 4096).await;
    let begun = Instant::now();
    gateway.request_stop();
    gateway.stopped().await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    drop(stuck);
}

/// The next heartbeat of the second is more than a minute away, so that none
/// comes to wake its writer.
#[tokio::test]
async fn subscribers_that_do_not_read_are_cut_without_waiting_for_a_heartbeat() {
    let mut gateway = Gateway::in_memory()
        .server("shutdown_grace = \"2s\"")
        .sections("[subscribe]\nheartbeat = \"10m\"")
        .start()
        .await;
    let stuck = [
        gateway.subscriber("/events/open").await,
        gateway.subscriber("/events/open").await,
    ];
    gateway.fill("open", 4_000, 4096).await;
    gateway.request_stop();
    gateway.stopped().await.unwrap();
    drop(stuck);
}

#[tokio::test]
async fn two_gateways_cannot_share_a_folder() {
    let gateway = Gateway::on_disk().start().await;
    let path = gateway.folder.as_ref().unwrap().path().to_owned();
    let error = Gateway::on_disk()
        .journal(&format!("path = {path:?}"))
        .try_start()
        .await
        .err()
        .expect("the folder is taken");
    assert!(error.contains("one process per folder"), "{error}");
}

#[tokio::test]
async fn http_2_gets_the_same_stream() {
    use http_body_util::BodyExt as _;
    let gateway = Gateway::in_memory().start().await;
    let stream = hyper_util::rt::TokioIo::new(gateway.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, stream)
        .await
        .unwrap();
    let request = http::Request::get(format!("http://{}/events/open", gateway.address))
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let checks = async {
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\ndata: {\"live\":true}\n\n") {
            seen.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        assert!(seen.starts_with(b"retry: "));
        gateway.post("open", "over h2").await;
        while !seen.ends_with(b"\ndata: over h2\n\n") {
            seen.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
    };
    tokio::select! {
        _ = connection => panic!("the connection ends"),
        () = checks => {}
    }
}

/// What of a stream over HTTP/2 comes until it ends, and whether its end is complete.
async fn rest_over_http_2(
    address: SocketAddr,
    path: &str,
    after_opening: impl FnOnce(),
) -> (Vec<u8>, bool) {
    use http_body_util::BodyExt as _;
    let stream = hyper_util::rt::TokioIo::new(TcpStream::connect(address).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, stream)
        .await
        .unwrap();
    #[expect(clippy::disallowed_methods, reason = "it is aborted below")]
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("http://{address}{path}"))
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let mut body = client.send_request(request).await.unwrap().into_body();
    let mut seen = Vec::new();
    let mut after_opening = Some(after_opening);
    let is_complete = loop {
        match body.frame().await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => seen.extend(frame.into_data().unwrap()),
        }
        if let Some(opened) = after_opening.take() {
            opened();
        }
    };
    connection.abort();
    (seen, is_complete)
}

/// Some clients take a complete end for the last word.
#[tokio::test]
async fn over_http_2_a_drain_resets_streams_behind_their_last_word() {
    let mut gateway = Gateway::in_memory().start().await;
    let address = gateway.address;
    let path = format!("/events/shut?token={}", token(&["shut"], 1));
    let expired = rest_over_http_2(address, &path, || {}).await;
    assert!(expired.1, "a complete end");

    let stop = || gateway.request_stop();
    let (seen, is_complete) = rest_over_http_2(address, "/events/open", stop).await;
    assert!(!is_complete);
    let text = String::from_utf8(seen).unwrap();
    assert_eq!(text.matches("retry: ").count(), 2, "{text}");
}

/// Streams that are asked for with the token in a wrong place, and how that is answered.
fn misplaced(token: &str) -> [(String, u16); 7] {
    [
        (format!("/events/github&token={token}"), 400),
        (format!("/events/github%3Ftoken={token}"), 400),
        (format!("/events?topic=github?token={token}"), 400),
        (format!("/events?topic=github%26token={token}"), 400),
        (format!("/events/{token}"), 404),
        (format!("/events/github.{token}"), 401),
        (
            format!("/events?topic=github&topic={token}&token={token}"),
            404,
        ),
    ]
}

/// Everything is logged, by every library, and nothing of it is a secret.
#[tokio::test]
async fn secrets_and_tokens_are_never_logged() {
    for format in ["text", "json"] {
        let gateway = Process::with_sections(&format!(
            "[log]\nlevel = \"trace\"\nformat = \"{format}\"\n\
             [access]\nsecret = \"{TOKEN_SECRET}\"\n\
             [topics.github]\npreset = \"github\"\nsecrets = [\"{GITHUB_SECRET}\"]\n\
             [topics.plain]\nsecrets = [\"a-plain-token\"]\n\
             scheme = {{ kind = \"token\", token = {{ header = \"X-Gitlab-Token\" }} }}"
        ));
        let signature = github_signature(GITHUB_SECRET, b"{}");
        let token = token_until(&["github"], u64::MAX / 1000);
        let bearer = format!("Bearer {token}");
        let signed = [("X-Hub-Signature-256", &*signature)];
        assert_eq!(gateway.post_with("github", &signed, "{}").await.status, 200);
        assert_eq!(
            gateway.post_with("github", &signed, "{} ").await.status,
            401
        );
        for (sent, status) in [("a-plain-token", 200), ("another-plain-token", 401)] {
            let plain = gateway
                .post_with("plain", &[("X-Gitlab-Token", sent)], "x")
                .await;
            assert_eq!(plain.status, status);
        }
        let path = format!("/events/github?since=earliest&token={token}");
        let cookie = format!("hookrill_token={token}");
        for (asked, headers) in [
            (&*path, vec![]),
            ("/events/github", vec![("Authorization", &*bearer)]),
            ("/events/github", vec![("Cookie", &*cookie)]),
        ] {
            let mut subscriber = gateway.subscriber_with(asked, &headers).await;
            assert_eq!(subscriber.status(), 200);
            subscriber.opened().await;
        }
        let forged = format!("{path}x");
        assert_eq!(gateway.get(&forged, &[]).await.status, 401);
        for (asked, status) in misplaced(&token) {
            assert_eq!(gateway.get(&asked, &[]).await.status, status, "{asked}");
        }
        for topic in [format!("github&token={token}"), token.clone()] {
            assert_eq!(gateway.post(&topic, "{}").await.status, 401);
        }
        assert_eq!(gateway.metric("hookrill_ingested_total").await, 2.0);
        let said = gateway.stop();
        assert!(
            said.contains("delivery refused"),
            "the test hears nothing: {said}"
        );
        for secret in [
            &*token,
            &signature["sha256=".len()..],
            "plain-token",
            GITHUB_SECRET,
            TOKEN_SECRET,
            ADMIN_TOKEN,
        ] {
            let line = said.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is logged");
        }
    }
}

/// The operator has to find out who is refused, and why.
#[tokio::test]
async fn a_body_that_is_refused_unread_is_logged() {
    let gateway = Process::with_sections(OPEN_TOPIC);
    let long = "x".repeat((5 << 20) + 1);
    assert_eq!(gateway.post_with("open", &[], &long).await.status, 413);
    let said = gateway.stop();
    let refused = said.lines().find(|line| line.contains("delivery not read"));
    let refused = refused.unwrap_or_else(|| panic!("{said}"));
    assert!(refused.contains("client=127.0.0.1"), "{refused}");
    assert!(refused.contains("body_too_long"), "{refused}");
}

/// What the operating system refuses to write, the journal answers for.
#[tokio::test]
async fn a_write_that_fails_ends_the_gateway_and_loses_nothing() {
    let mut gateway = Process::with_sections(OPEN_TOPIC);
    let mut subscriber = gateway.subscriber("/events/open").await;
    subscriber.opened().await;
    let mut acknowledged = Vec::new();
    for n in 0..10 {
        acknowledged.push(gateway.post("open", format!("{n}")).await.id());
    }
    gateway.limit(Resource::Fsize, 1024);
    let refused = gateway.post("open", "too much").await;
    assert_eq!(refused.status, 503);
    subscriber.events(10).await;
    subscriber.cut_off().await;
    assert_eq!(gateway.wait().code(), Some(1));
    let gateway = gateway.restart();
    let mut again = gateway.subscriber("/events/open?since=earliest").await;
    let events = again.events(10).await;
    let ids: Vec<_> = events.into_iter().map(|event| event.id).collect();
    assert_eq!(ids, acknowledged);
}

#[tokio::test]
async fn out_of_open_files_accepting_pauses_and_then_goes_on() {
    let gateway = Process::with_sections(OPEN_TOPIC);
    gateway.limit_open_files_to_more(5);
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(gateway.connect().await);
    }
    gateway.wait_for_log("no room for another connection");
    drop(waiting);
    assert_eq!(gateway.post("open", "after").await.status, 200);
    let pauses = gateway.metric("hookrill_accept_pauses_total").await;
    // Five a second, not as many as a loop can turn.
    assert!((1.0..1_000.0).contains(&pauses), "{pauses}");
}
