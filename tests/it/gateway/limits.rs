//! How often and how many: per topic after verification, per address before it.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use hookrill_testing::{
    Client, GITHUB_SECRET, Gateway, Response, Subscriber, WAIT_MAX, github_signature, token,
};

const EVENT_SOURCE: [(&str, &str); 1] = [("Accept", "text/event-stream")];

const BUSY: &str = r#"
[topics.busy]
access = "public"
preset = "github"
secrets = ["It's a Secret to Everybody"]
rate_max = "2/m"
[topics.dropbox]
access = "public"
preset = "dropbox"
secrets = ["app secret"]
rate_max = "1/m"
"#;

async fn deliver(gateway: &Client, topic: &str, id: &str) -> Response {
    let signature = github_signature(GITHUB_SECRET, b"{}");
    let headers = [
        ("X-Hub-Signature-256", &*signature),
        ("X-GitHub-Delivery", id),
    ];
    gateway.post_with(topic, &headers, "{}").await
}

async fn refused(gateway: &Client, what: &str, reason: &str) -> f64 {
    let metric = format!("hookrill_{what}_refused_total{{reason=\"{reason}\"}}");
    gateway.metric(&metric).await
}

fn later(gateway: &Gateway, secs: u64) {
    gateway.advance_clock(secs);
}

/// An answer without what changes from one to the next.
fn undated(answer: Response) -> Response {
    let lines = answer.head.lines();
    let lines: Vec<_> = lines.filter(|line| !line.starts_with("date:")).collect();
    Response {
        head: lines.join("\n"),
        ..answer
    }
}

fn is_over_rate(answer: &Response, retry_after: &str) {
    assert_eq!(answer.status, 429, "{answer:?}");
    let media_type = answer.header("content-type");
    assert_eq!(media_type, Some("application/problem+json"));
    assert_eq!(answer.header("retry-after"), Some(retry_after));
    assert_eq!(answer.json()["status"], 429);
}

#[tokio::test]
async fn a_flood_without_valid_signatures_leaves_the_rate_to_signed_deliveries() {
    let gateway = Gateway::in_memory().sections(BUSY).start().await;
    for _ in 0..50 {
        assert_eq!(gateway.post("busy", "{}").await.status, 401);
    }
    assert_eq!(deliver(&gateway, "busy", "d-1").await.status, 200);
    // Subtopics have their section's rate in common.
    assert_eq!(deliver(&gateway, "busy.eu", "d-2").await.status, 200);
    is_over_rate(&deliver(&gateway, "busy", "d-3").await, "30");
    is_over_rate(&deliver(&gateway, "busy.us", "d-3").await, "30");
    // Without a valid signature, a topic over its rate looks like any other.
    assert_eq!(gateway.post("busy", "{}").await.status, 401);
    assert_eq!(deliver(&gateway, "named", "d-4").await.status, 200);
    assert_eq!(refused(&gateway, "ingest", "rate_topic").await, 2.0);
    assert_eq!(gateway.metric("hookrill_ingested_total").await, 3.0);
}

#[tokio::test]
async fn a_delivery_over_the_topics_rate_is_taken_when_it_comes_again_as_told() {
    let gateway = Gateway::on_disk().sections(BUSY).start().await;
    for id in ["d-1", "d-2"] {
        assert_eq!(deliver(&gateway, "busy", id).await.status, 200);
    }
    let refused = deliver(&gateway, "busy", "d-3").await;
    let wait = refused.header("retry-after").unwrap().parse().unwrap();
    later(&gateway, wait);
    let again = deliver(&gateway, "busy", "d-3").await;
    assert_eq!(
        (again.status, &again.json()["duplicate"]),
        (200, &false.into())
    );
    let mut subscriber = gateway.subscriber("/events/busy?since=earliest").await;
    let last = &subscriber.events(3).await[2];
    assert_eq!(last.id, again.id());
}

#[tokio::test]
async fn handshakes_do_not_count_for_the_topics_rate() {
    let gateway = Gateway::in_memory().sections(BUSY).start().await;
    for _ in 0..5 {
        let answer = gateway.get("/ingest/dropbox?challenge=x", &[]).await;
        assert_eq!(answer.status, 200);
    }
    let signature = github_signature("app secret", b"{}").replace("sha256=", "");
    let signed = [("X-Dropbox-Signature", &*signature)];
    assert_eq!(
        gateway.post_with("dropbox", &signed, "{}").await.status,
        200
    );
    is_over_rate(&gateway.post_with("dropbox", &signed, "{}").await, "60");
    let answer = gateway.get("/ingest/dropbox?challenge=x", &[]).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn an_address_over_its_rate_is_refused_alike_whatever_it_asks_for() {
    let gateway = Gateway::in_memory()
        .server("ingest_rate_per_address_max = \"3/m\"")
        .start()
        .await;
    assert_eq!(gateway.post("open", "x").await.status, 200);
    assert_eq!(gateway.post("named", "x").await.status, 401);
    assert_eq!(gateway.get("/ingest/open", &[]).await.status, 405);
    let first = undated(gateway.post("open", "x").await);
    is_over_rate(&first, "20");
    for topic in ["named", "nothing-configures-this", "a..b", ""] {
        assert_eq!(undated(gateway.post(topic, "x").await), first, "{topic}");
    }
    let greeted = gateway.get("/ingest/open", &[]).await;
    assert_eq!(undated(greeted), first);
    let put = "PUT /ingest/open HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n";
    is_over_rate(&gateway.send(put).await, "20");
    assert_eq!(refused(&gateway, "ingest", "rate_address").await, 7.0);
    // Nothing else is, and it may come again as it was told.
    gateway.subscriber("/events/open").await.opened().await;
    later(&gateway, 20);
    assert_eq!(gateway.post("open", "x").await.status, 200);
    is_over_rate(&gateway.post("open", "x").await, "20");
}

#[tokio::test]
async fn the_refusal_of_an_address_does_not_wait_for_a_body_that_is_not_small() {
    let gateway = Gateway::in_memory()
        .server("ingest_rate_per_address_max = \"1/h\"")
        .start()
        .await;
    assert_eq!(gateway.post("open", "x").await.status, 200);
    let head = "POST /ingest/open HTTP/1.1\r\nHost: g\r\n";
    for more in [
        "Content-Length: 1000000\r\n\r\n",
        "Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
    ] {
        // It ends the connection, although nothing was sent of the body.
        let answer = gateway.send(format!("{head}{more}")).await;
        is_over_rate(&answer, "3600");
        assert_eq!(answer.header("connection"), Some("close"), "{more}");
    }
}

#[tokio::test]
async fn a_sender_that_writes_a_small_body_first_gets_to_see_the_refusal() {
    let gateway = Gateway::in_memory()
        .server("ingest_rate_per_address_max = \"1/h\"")
        .start()
        .await;
    assert_eq!(gateway.post("open", "x").await.status, 200);
    for bytes in [0, 1, 1_000, 250_000] {
        let answer = gateway.post("open", vec![b'x'; bytes]).await;
        is_over_rate(&answer, "3600");
    }
    // Small ones do not cost a connection either.
    let mut stream = gateway.connect().await;
    for _ in 0..3 {
        let post = "POST /ingest/open HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\n\r\nx";
        stream.write_all(post.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let read = timeout(WAIT_MAX, stream.read_buf(&mut answer)).await;
            assert_ne!(read.unwrap().unwrap(), 0, "closed");
        }
        assert!(answer.starts_with(b"HTTP/1.1 429"));
    }
}

#[tokio::test]
async fn who_is_not_a_trusted_proxy_cannot_say_who_asks() {
    let gateway = Gateway::in_memory()
        .server("ingest_rate_per_address_max = \"1/m\"")
        .server("trusted_proxies = [\"192.0.2.0/24\"]")
        .start()
        .await;
    for n in 0..10 {
        let made_up = format!("198.51.100.{n}");
        let headers = [("X-Forwarded-For", &*made_up)];
        let answer = gateway.post_with("open", &headers, "x").await;
        assert_eq!(answer.status, if n == 0 { 200 } else { 429 }, "{n}");
    }
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_told_apart_by_what_it_wrote_alone() {
    let gateway = Gateway::in_memory()
        .server("ingest_rate_per_address_max = \"1/m\"")
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .start()
        .await;
    for (forwarded, status) in [
        ("198.51.100.1", 200),
        ("198.51.100.1", 429),
        ("198.51.100.2", 200),
        // What stands before the proxy's own word is the client's to make up.
        ("203.0.113.1, 198.51.100.2", 429),
        ("203.0.113.2, 198.51.100.2", 429),
        ("127.0.0.1, 198.51.100.2", 429),
        ("::ffff:198.51.100.2", 429),
        // Whoever has one address of a /64 has all of them.
        ("2001:db8:1:2::1", 200),
        ("2001:db8:1:2::2", 429),
        ("2001:db8:1:2:ffff::3", 429),
        ("2001:db8:1:3::1", 200),
    ] {
        let headers = [("X-Forwarded-For", forwarded)];
        let answer = gateway.post_with("open", &headers, "x").await;
        assert_eq!(answer.status, status, "{forwarded}");
    }
}

#[tokio::test]
async fn an_address_that_asks_for_streams_too_often_is_put_off_before_its_token_is_seen() {
    let gateway = Gateway::in_memory()
        .server("subscribe_rate_per_address_max = \"3/m\"")
        .start()
        .await;
    gateway.subscriber("/events/open").await.opened().await;
    assert_eq!(gateway.get("/events/shut", &[]).await.status, 401);
    assert_eq!(gateway.get("/events/unknown", &[]).await.status, 404);
    let first = undated(gateway.get("/events/open", &[]).await);
    is_over_rate(&first, "20");
    let good = format!("/events/shut?token={}", token(&["shut"], 60));
    for path in [
        "/events/shut",
        &good,
        "/events/unknown",
        "/events/a..b",
        "/events",
    ] {
        assert_eq!(undated(gateway.get(path, &[]).await), first, "{path}");
    }
    for path in ["/events/open", "/events/unknown"] {
        let wait = put_off(&gateway, path).await;
        assert!((25_000..=50_000).contains(&wait), "{wait}");
    }
    assert_eq!(refused(&gateway, "subscribe", "rate_address").await, 8.0);
    assert_eq!(gateway.post("open", "x").await.status, 200);
    later(&gateway, 20);
    gateway.subscriber("/events/open").await.opened().await;
}

/// Asks as an `EventSource` does that is to come again: it gets 200, a wait,
/// and the end. Gives the wait in milliseconds.
async fn put_off(gateway: &Client, path: &str) -> u64 {
    let answer = gateway.get(path, &EVENT_SOURCE).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    let (wait, _) = answer.text().split_once('\n').expect("a block");
    let wait = wait.strip_prefix("retry: ");
    wait.expect("a wait").parse().unwrap()
}

fn at_most_two() -> hookrill_testing::GatewayBuilder {
    Gateway::in_memory().server("subscribers_per_address_max = 2")
}

async fn open(gateway: &Client, path: &str) -> Subscriber {
    let mut stream = gateway.subscriber(path).await;
    assert_eq!(stream.status(), 200, "{}", stream.head);
    stream.opened().await;
    stream
}

/// Waits until the address may have another stream, and gives it.
async fn open_when_there_is_room(gateway: &Client, path: &str) -> Subscriber {
    let opening = async {
        loop {
            let mut stream = gateway.subscriber(path).await;
            if stream.status() == 200 {
                stream.opened().await;
                return stream;
            }
            assert_eq!(stream.status(), 429);
        }
    };
    let limit = Duration::from_secs(20);
    timeout(limit, opening).await.expect("there is room again")
}

#[tokio::test]
async fn an_address_has_so_many_streams_and_no_more() {
    let gateway = at_most_two().start().await;
    let _open = [
        open(&gateway, "/events/open").await,
        open(&gateway, "/events?topic=open.a&topic=open.b").await,
    ];
    let refusal = gateway.get("/events/open", &[]).await;
    is_over_rate(&refusal, "5");
    // Before topic and token: nothing shows of what there is.
    let unknown = gateway.get("/events/unknown", &[]).await;
    assert_eq!(undated(unknown), undated(refusal));
    let wait = put_off(&gateway, "/events/open").await;
    assert!((5_000..=30_000).contains(&wait), "{wait}");
    let reason = "subscribers_per_address_max";
    assert_eq!(refused(&gateway, "subscribe", reason).await, 3.0);
    assert_eq!(gateway.metric("hookrill_subscribers").await, 2.0);
}

#[tokio::test]
async fn who_may_not_subscribe_takes_no_place_from_those_behind_the_same_address() {
    let gateway = at_most_two().start().await;
    for path in ["/events/shut", "/events/unknown", "/events/a..b"] {
        for _ in 0..5 {
            let status = gateway.get(path, &[]).await.status;
            assert!(matches!(status, 400 | 401 | 404), "{path}: {status}");
        }
    }
    let _open = [
        open(&gateway, "/events/open").await,
        open(&gateway, "/events/open").await,
    ];
    assert_eq!(gateway.get("/events/open", &[]).await.status, 429);
}

#[tokio::test]
async fn a_stream_that_ends_or_whose_peer_leaves_gives_its_place_back() {
    let gateway = at_most_two().start().await;
    let _stays = open(&gateway, "/events/open").await;
    for round in 0..3 {
        let leaving = open_when_there_is_room(&gateway, "/events/open").await;
        assert_eq!(gateway.get("/events/open", &[]).await.status, 429);
        match round % 2 {
            0 => drop(leaving),
            _ => vanish(leaving),
        }
    }
    let token = token(&["shut"], 1);
    let path = format!("/events/shut?token={token}");
    let mut ending = open_when_there_is_room(&gateway, &path).await;
    assert_eq!(gateway.get("/events/open", &[]).await.status, 429);
    ending.ended().await;
    drop(ending);
    open_when_there_is_room(&gateway, "/events/open").await;
}

/// Leaves with a reset instead of an end.
fn vanish(stream: Subscriber) {
    stream.stream.set_zero_linger().unwrap();
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_leave_a_bundle_give_their_places_back() {
    const COUNT: usize = 40;
    // A heartbeat would meet a closed connection.
    let gateway = Gateway::in_memory()
        .server(&format!("subscribers_per_address_max = {COUNT}"))
        .sections("[subscribe]\nheartbeat = \"10m\"")
        .start()
        .await;
    let mut crowd = Vec::new();
    for _ in 0..COUNT {
        crowd.push(open(&gateway, "/events/open").await);
    }
    for round in 0..2 {
        // Into bundles with them, whoever was the first.
        gateway.fill("open", 1, 100).await;
        for one in &mut crowd {
            one.events(1).await;
        }
        assert_eq!(gateway.get("/events/open", &[]).await.status, 429);
        for leaving in crowd.drain(COUNT / 2..) {
            match round {
                0 => drop(leaving),
                _ => vanish(leaving),
            }
        }
        while crowd.len() < COUNT {
            crowd.push(open_when_there_is_room(&gateway, "/events/open").await);
        }
        assert_eq!(gateway.get("/events/open", &[]).await.status, 429);
    }
}

#[tokio::test]
async fn streams_over_http_2_count_and_give_their_places_back() {
    use http_body_util::BodyExt as _;
    let gateway = at_most_two().start().await;
    let stream = hyper_util::rt::TokioIo::new(gateway.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, stream)
        .await
        .unwrap();
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(connection);
    let mut streams = Vec::new();
    for status in [200, 200, 429] {
        let request = http::Request::get("http://gateway/events/open");
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new());
        let mut response = client.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
        response.body_mut().frame().await.unwrap().unwrap();
        streams.push(response);
    }
    // One stream of a connection that stays, and then the connection.
    streams.remove(0);
    let _third = open_when_there_is_room(&gateway, "/events/open").await;
    drop((streams, client));
    open_when_there_is_room(&gateway, "/events/open").await;
}

#[tokio::test]
async fn where_the_server_does_not_say_who_asks_addresses_have_no_limits() {
    let gateway = Gateway::in_memory()
        .with_router_only()
        .server("ingest_rate_per_address_max = \"1/h\"")
        .server("subscribe_rate_per_address_max = \"1/h\"")
        .server("subscribers_per_address_max = 1")
        .sections(BUSY)
        .start()
        .await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        assert_eq!(gateway.post("open", "x").await.status, 200);
        streams.push(open(&gateway, "/events/open").await);
    }
    // A topic's rate is no address's.
    for status in [200, 200, 429] {
        let id = format!("{}", streams.len());
        streams.pop();
        assert_eq!(deliver(&gateway, "busy", &id).await.status, status);
    }
}

#[tokio::test]
async fn a_page_that_has_reached_its_limit_can_read_that() {
    const APP: &str = "https://app.example.com";
    let gateway = Gateway::in_memory()
        .server(&format!("cors_origins = [\"{APP}\"]"))
        .server("subscribe_rate_per_address_max = \"1/h\"")
        .server("ingest_rate_per_address_max = \"1/h\"")
        .start()
        .await;
    for path in ["/events/x", "/ingest/x"] {
        gateway.get(path, &[]).await;
        let answer = gateway.get(path, &[("Origin", APP)]).await;
        assert_eq!(answer.status, 429, "{path}");
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some(APP), "{path}");
        let exposed = answer.header("access-control-expose-headers");
        assert!(exposed.unwrap().starts_with("retry-after, "), "{path}");
    }
}
