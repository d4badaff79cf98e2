//! What bounds `/streams`, and what ends a wait: tokens, reloads, the drain, and how much
//! one address may have.

use hookrill_testing::{Client, Gateway, POLL_INTERVAL, Response, WAIT_MAX, token};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    task::JoinHandle,
    time::{sleep, timeout},
};

const OFFSET: &str = "stream-next-offset";

/// Until so many wait.
async fn waits(gateway: &Client, count: f64) {
    let waiting = async {
        while (gateway.metric("hookrill_subscribers").await - count).abs() > 0.1 {
            sleep(POLL_INTERVAL).await;
        }
    };
    timeout(WAIT_MAX, waiting)
        .await
        .expect("as many as that wait");
}

/// Asks from another task.
fn asking(client: Client, path: &str, from: &'static str) -> JoinHandle<Response> {
    let path = path.to_owned();
    let asking = async move { client.get(&path, &[("X-Forwarded-For", from)]).await };
    #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
    tokio::spawn(asking)
}

async fn answered(asking: JoinHandle<Response>) -> Response {
    let answer = timeout(WAIT_MAX, asking).await;
    answer.expect("an answer comes").unwrap()
}

#[tokio::test]
async fn a_tag_is_found_again_until_anything_changes() {
    let mut gateway = Gateway::on_disk().start().await;
    gateway.post("open", r#"{"n":1,"card":"4242"}"#).await.id();
    gateway.post("open", r#"{"n":2,"card":"4242"}"#).await.id();
    let asked = async |client: &Client, query: &str, tag: &str| {
        let path = format!("/streams/open{query}");
        client.get(&path, &[("If-None-Match", tag)]).await
    };
    let first = asked(&gateway, "?format=raw", "\"none\"").await;
    let tag = first.header("etag").unwrap();
    let cache = "public, max-age=60, stale-while-revalidate=300";
    assert_eq!(first.header("cache-control"), Some(cache));
    for same in [tag, &format!("W/{tag}"), &format!("\"x\", {tag}"), "*"] {
        let unchanged = asked(&gateway, "?format=raw", same).await;
        assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
        assert_eq!(unchanged.header(OFFSET), first.header(OFFSET));
        assert_eq!(unchanged.header("etag"), Some(tag));
    }
    for other in [
        "",
        "?format=raw&limit=1",
        "?format=raw&offset=now",
        "?format=raw&last=5",
    ] {
        assert_eq!(asked(&gateway, other, tag).await.status, 200, "{other}");
    }
    let as_lines = [("Accept", "application/x-ndjson"), ("If-None-Match", tag)];
    let lines = gateway.get("/streams/open?format=raw", &as_lines).await;
    assert_eq!(lines.status, 200, "the same events in another form");
    const OPEN: &str = "[topics.open]\naccess = \"public\"";
    let hidden = format!("{OPEN}\nhide = [\"/card\"]");
    gateway.reload(&[(OPEN, &hidden)]).unwrap();
    let cut = asked(&gateway, "?format=raw", tag).await;
    assert_eq!((cut.status, cut.text()), (200, "[{\"n\":1},{\"n\":2}]"));
    gateway.post("open", "{}").await.id();
    let cut_tag = cut.header("etag").unwrap();
    assert_eq!(asked(&gateway, "?format=raw", cut_tag).await.status, 200);
    gateway.reload(&[(&hidden, OPEN)]).unwrap();
    for old in [tag, cut_tag] {
        assert_eq!(asked(&gateway, "?format=raw", old).await.status, 200);
    }
    // Another process, which may have been told to hide something.
    let folder = gateway.stop().await.unwrap();
    let next = Gateway::in_folder(folder).start().await;
    assert_eq!(asked(&next, "?format=raw", tag).await.status, 200);
}

#[tokio::test]
async fn a_long_poll_ends_with_its_token_with_a_reload_and_with_the_gateway() {
    let mut gateway = Gateway::in_memory().start().await;
    let client = *gateway;
    let by_token = |secs: u64| {
        let token = token(&["shut"], secs);
        let path = format!("/streams/shut?offset=now&live=long-poll&token={token}");
        asking(client, &path, "")
    };
    let short = by_token(1);
    waits(&gateway, 1.0).await;
    gateway.advance_clock(5);
    let expired = answered(short).await;
    assert_eq!(expired.status, 401, "{expired:?}");
    assert!(expired.text().contains("expired"), "{}", expired.text());
    let token = token(&["shut"], 1 + 5);
    let stream = format!("/streams/shut?offset=now&live=sse&token={token}");
    let ended = answered(asking(client, &stream, "")).await;
    assert_eq!(ended.status, 200, "it ends within its minute");
    let public = asking(client, "/streams/open?offset=now&live=long-poll", "");
    waits(&gateway, 1.0).await;
    let open = "[topics.open]\naccess = \"public\"";
    gateway.reload(&[(open, "[topics.open]")]).unwrap();
    let closed = answered(public).await;
    assert_eq!(closed.status, 401, "{closed:?}");
    let long = by_token(600);
    waits(&gateway, 1.0).await;
    gateway.request_stop();
    assert_eq!(answered(long).await.status, 204);
    gateway.stopped().await.unwrap();
}

#[tokio::test]
async fn more_than_a_thousand_long_polls_of_one_address_take_nobody_elses_place() {
    let gateway = Gateway::in_memory()
        .server("subscribers_per_address_max = 1200\ntrusted_proxies = [\"127.0.0.1\"]")
        .start()
        .await;
    let (client, path) = (*gateway, "/streams/open?offset=now&live=long-poll");
    let polls: Vec<_> = (0..1200)
        .map(|_| asking(client, path, "192.0.2.1"))
        .collect();
    waits(&gateway, 1200.0).await;
    let over = answered(asking(client, path, "192.0.2.1")).await;
    assert_eq!(over.status, 429);
    assert!(over.header("retry-after").is_some());
    let other = asking(client, path, "192.0.2.2");
    waits(&gateway, 1201.0).await;
    let mut stream = gateway.subscriber("/events/open").await;
    stream.opened().await;
    // Ingest has connections of its own.
    gateway.post("open", "1").await.id();
    for polled in polls.into_iter().chain([other]) {
        assert_eq!(answered(polled).await.status, 200);
    }
}

#[tokio::test]
async fn an_address_that_asks_for_pages_too_often_is_put_off() {
    let gateway = Gateway::in_memory()
        .server("page_rate_per_address_max = \"3/m\"")
        .start()
        .await;
    for path in [
        "/streams/open",
        "/streams/unknown",
        "/streams/open?offset=x",
    ] {
        assert_ne!(gateway.get(path, &[]).await.status, 429);
    }
    // Never a 200 that says wait, not even to what accepts a stream.
    for accept in ["*/*", "text/event-stream"] {
        let refused = gateway
            .get("/streams/open?offset=-1&live=sse", &[("Accept", accept)])
            .await;
        assert_eq!(refused.status, 429);
        assert_eq!(refused.header("retry-after"), Some("20"));
    }
    gateway.subscriber("/events/open").await.opened().await;
}

#[tokio::test]
async fn nothing_is_there_where_it_is_turned_off() {
    let mut gateway = Gateway::in_memory()
        .sections("[streams]\nenabled = false")
        .start()
        .await;
    gateway.post("open", "1").await.id();
    assert_eq!(gateway.get("/streams/open", &[]).await.status, 404);
    let reloaded = gateway
        .reload(&[("enabled = false", "enabled = true")])
        .unwrap();
    assert!(reloaded.needs_restart.is_empty());
    assert_eq!(gateway.get("/streams/open", &[]).await.status, 200);
}

#[tokio::test]
async fn pages_that_are_not_the_last_may_be_kept_for_ever_where_somebody_says_so() {
    let gateway = Gateway::in_memory()
        .sections("[streams]\nimmutable = true")
        .start()
        .await;
    let first = gateway.post("open", "1").await.id();
    for _ in 0..2 {
        gateway.post("open", "2").await.id();
    }
    for (query, immutable) in [
        (format!("?offset={first}&limit=1"), true),
        (format!("?offset={first}"), false),
        // What is the oldest changes with retention.
        ("?offset=-1&limit=1".to_owned(), false),
    ] {
        let page = gateway.get(&format!("/streams/open{query}"), &[]).await;
        let cache = page.header("cache-control").unwrap();
        assert_eq!(cache.contains("immutable"), immutable, "{query}: {cache}");
    }
}

/// A gateway with an event of which a quarter of all room has three, and a socket none.
async fn with_a_long_event() -> (Gateway, usize) {
    let gateway = Gateway::on_disk().start().await;
    let body = format!("\"{}\"", "x".repeat((5 << 20) - 1024));
    gateway.post("open", &body).await.id();
    (gateway, body.len())
}

/// Reads it. Each time that it is put off it has waited for three seconds; whoever stops
/// is cut off after thirty at the latest, by the connection itself.
async fn reads_it(gateway: &Gateway, bytes: usize) {
    const PUT_OFF_MAX: usize = 5;
    for _ in 0..PUT_OFF_MAX {
        let page = gateway.get("/streams/open?format=raw", &[]).await;
        if page.status == 200 {
            assert_eq!(page.body.len(), bytes + 2);
            return;
        }
        assert_eq!(page.status, 429, "{page:?}");
    }
    panic!("those who have stopped are not broken off");
}

#[tokio::test]
async fn those_who_stop_within_a_page_make_room_for_who_reads() {
    let (gateway, bytes) = with_a_long_event().await;
    let mut stopped = Vec::new();
    // As many as there is room for.
    for _ in 0..3 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(gateway.address).await.unwrap();
        let request = b"GET /streams/open HTTP/1.1\r\nHost: g\r\n\r\n";
        stream.write_all(request).await.unwrap();
        // It begins to come.
        assert!(stream.read_u8().await.is_ok());
        stopped.push(stream);
    }
    reads_it(&gateway, bytes).await;
}

#[tokio::test]
async fn so_do_those_of_one_http_2_connection() {
    let (gateway, bytes) = with_a_long_event().await;
    let stream = hyper_util::rt::TokioIo::new(gateway.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let mut settings = hyper::client::conn::http2::Builder::new(executor);
    let settings = settings.initial_stream_window_size(1);
    let (mut client, connection) = settings.handshake(stream).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(connection);
    let mut stopped = Vec::new();
    // As many as there is room for.
    for _ in 0..3 {
        let request = http::Request::get("http://gateway/streams/open");
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new());
        stopped.push(client.send_request(request.unwrap()).await.unwrap());
    }
    reads_it(&gateway, bytes).await;
}

#[tokio::test]
async fn many_readers_of_the_same_pages_cause_one_read_of_each() {
    const EVENTS: usize = 300;
    let read = async |client: Client| {
        let (mut offset, mut count) = ("-1".to_owned(), 0);
        loop {
            let path = format!("/streams/open?offset={offset}");
            let page = client.get(&path, &[]).await;
            count += page.json().as_array().unwrap().len();
            page.header(OFFSET).unwrap().clone_into(&mut offset);
            if page.header("stream-up-to-date").is_some() {
                return count;
            }
        }
    };
    let metric = "hookrill_history_pages_read_total";
    let mut folder = None;
    let mut reads = Vec::new();
    for readers in [0, 1, 50] {
        let builder = match folder.take() {
            None => Gateway::on_disk(),
            Some(folder) => Gateway::in_folder(folder),
        };
        let gateway = builder.start().await;
        if readers == 0 {
            gateway.fill("open", EVENTS, 2_000).await;
        }
        let reading = (0..readers).map(|_| read(*gateway));
        for count in futures_util::future::join_all(reading).await {
            assert_eq!(count, EVENTS);
        }
        reads.push(gateway.metric(metric).await);
        folder = gateway.stop().await;
    }
    assert!(reads[1] >= 5.0, "{reads:?}");
    assert!(reads[2] <= reads[1] + 2.0, "{reads:?}");
}
