//! Who may send, and what those see who send too much.

use bytes::Bytes;
use hookrill_testing::{Gateway, Response, WAIT_MAX};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

const TOPICS: &str = r#"
[topics.near]
access = "public"
scheme = { kind = "none" }
allow_from = ["127.0.0.0/8", "::1"]
[topics.far]
access = "public"
scheme = { kind = "none" }
allow_from = ["192.0.2.7", "::ffff:198.51.100.0/120", "2001:db8::/32"]
[topics.far-dropbox]
access = "public"
preset = "dropbox"
secrets = ["app secret"]
allow_from = ["192.0.2.7"]
"#;

async fn behind_a_proxy() -> Gateway {
    Gateway::in_memory()
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .sections(TOPICS)
        .start()
        .await
}

async fn post_from(gateway: &Gateway, topic: &str, client: &str) -> Response {
    let headers = [("X-Forwarded-For", client)];
    gateway.post_with(topic, &headers, "{}").await
}

#[tokio::test]
async fn only_who_is_listed_may_send_and_nobody_else_can_tell() {
    let gateway = behind_a_proxy().await;
    let unknown = post_from(&gateway, "unknown", "203.0.113.1").await;
    for (topic, client, status) in [
        ("near", "127.0.0.9", 200),
        ("near", "::1", 200),
        ("near", "192.0.2.7", 401),
        ("far", "192.0.2.7", 200),
        ("far.sub", "192.0.2.7", 200),
        ("far", "192.0.2.8", 401),
        ("far", "::ffff:192.0.2.7", 200),
        ("far", "198.51.100.9", 200),
        ("far", "2001:db8:1::2", 200),
        ("far", "2001:db9::", 401),
        // What is in the header counts only from a proxy.
        ("far", "192.0.2.7, 203.0.113.1", 401),
    ] {
        let answer = post_from(&gateway, topic, client).await;
        assert_eq!(answer.status, status, "{topic} {client}");
        if status == 401 {
            assert_eq!(answer.text(), unknown.text());
        }
    }
    let refused = "hookrill_ingest_refused_total{reason=\"address\"}";
    assert_eq!(gateway.metric(refused).await, 4.0);
    let ask = async |client: &str| {
        let headers = [("X-Forwarded-For", client)];
        let path = "/ingest/far-dropbox?challenge=x";
        gateway.get(path, &headers).await.status
    };
    assert_eq!(ask("192.0.2.7").await, 200);
    assert_eq!(ask("192.0.2.8").await, 405);
}

#[tokio::test]
async fn who_may_not_send_is_told_before_the_body_is_read() {
    let gateway = Gateway::in_memory().sections(TOPICS).start().await;
    let mut stream = gateway.connect().await;
    let head = "POST /ingest/far HTTP/1.1\r\nHost: g\r\nContent-Length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = timeout(WAIT_MAX, Response::read(&mut stream))
        .await
        .unwrap();
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn where_the_address_is_unknown_nobody_may_send_who_has_to_be_known() {
    let gateway = Gateway::in_memory()
        .sections(TOPICS)
        .with_router_only()
        .start()
        .await;
    let request = http::Request::post("/ingest/near").body(axum::body::Body::from("{}"));
    let answer = tower::ServiceExt::oneshot(gateway.router.clone(), request.unwrap()).await;
    assert_eq!(answer.unwrap().status(), 401);
}

/// As Go's client does, and Python's `requests`: all is written before anything is read.
#[tokio::test]
async fn who_writes_a_body_much_too_long_before_reading_sees_the_413() {
    let gateway = Gateway::in_memory()
        .server("body_bytes_max = \"1 MiB\"")
        .start()
        .await;
    let body = vec![b'x'; 24 << 20];
    for chunked in [false, true] {
        let mut stream = gateway.connect().await;
        let head = if chunked {
            format!("Transfer-Encoding: chunked\r\n\r\n{:x}", body.len())
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let head =
            format!("POST /ingest/open HTTP/1.1\r\nHost: g\r\nConnection: close\r\n{head}\r\n");
        let write_all = async {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
            if chunked {
                stream.write_all(b"\r\n0\r\n\r\n").await?;
            }
            Ok::<_, std::io::Error>(())
        };
        timeout(WAIT_MAX, write_all).await.unwrap().unwrap();
        let answer = Response::read(&mut stream).await;
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    // Who waits to be asked is told at once.
    let mut stream = gateway.connect().await;
    let head = format!(
        "POST /ingest/open HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(WAIT_MAX, stream.read_buf(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 413"));
}

#[tokio::test]
async fn over_http_2_it_sees_the_413_too() {
    let gateway = Gateway::in_memory()
        .server("body_bytes_max = \"1 MiB\"")
        .start()
        .await;
    let stream = TokioIo::new(gateway.connect().await);
    let builder = http2::Builder::new(TokioExecutor::new());
    let (mut client, connection) = builder.handshake(stream).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(connection);
    for (bytes, status) in [(24 << 20, 413), (1, 200)] {
        let body = Full::new(Bytes::from(vec![b'x'; bytes]));
        let request = http::Request::post("http://gateway/ingest/open").body(body);
        let answer = client.send_request(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), status);
    }
}
