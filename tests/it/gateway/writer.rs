//! Streams written straight to their sockets: what hyper did for them before,
//! and what only this can do.

use std::io::Write as _;

use flate2::write::GzDecoder;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use hookrill_testing::{
    ChunkedDecoder, Gateway, OPEN_TOPIC, Process, Response, Subscriber, WAIT_MAX,
};

const STREAM: &[u8] = b"GET /events/open HTTP/1.1\r\nHost: gateway\r\n\r\n";

/// What browsers send.
const BROWSER: [(&str, &str); 2] = [
    ("Accept-Encoding", "gzip, deflate, br"),
    ("Sec-Fetch-Mode", "cors"),
];

/// Reads a gzip stream event by event.
struct Inflating {
    stream: TcpStream,
    chunks: ChunkedDecoder,
    inflater: GzDecoder<Vec<u8>>,
}

impl Inflating {
    async fn open(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Self {
        let headers = [headers, &BROWSER].concat();
        let subscriber = gateway.subscriber_with(path, &headers).await;
        let head = subscriber.head.to_ascii_lowercase();
        assert!(head.contains("content-encoding: gzip"), "{head}");
        Self {
            stream: subscriber.stream,
            chunks: subscriber.chunks,
            inflater: GzDecoder::new(Vec::new()),
        }
    }

    /// Reads until the text ends with this, and gives all of it.
    async fn until(&mut self, end: &str) -> String {
        loop {
            let compressed = std::mem::take(&mut self.chunks.body);
            self.inflater.write_all(&compressed).unwrap();
            self.inflater.flush().unwrap();
            if self.inflater.get_ref().ends_with(end.as_bytes()) {
                return String::from_utf8(std::mem::take(self.inflater.get_mut())).unwrap();
            }
            assert!(!self.chunks.ended, "it ended without {end:?}");
            let mut bytes = Vec::new();
            let read = timeout(WAIT_MAX, self.stream.read_buf(&mut bytes)).await;
            assert_ne!(read.expect("the stream goes on").unwrap(), 0, "cut off");
            self.chunks.take(&bytes);
        }
    }
}

#[tokio::test]
async fn a_compressed_stream_comes_event_by_event_and_ends_with_its_sum() {
    let gateway = Gateway::in_memory().start().await;
    let seen = gateway.post("open", "seen before").await.id();
    let replayed = "{\"replayed\":true}".repeat(1_000);
    gateway.post("open", &replayed).await;
    let resume = [("Last-Event-ID", &*seen)];
    let mut stream = Inflating::open(&gateway, "/events/open", &resume).await;
    let opening = stream.until(&format!("data: {replayed}\n\n")).await;
    assert!(opening.starts_with("retry: "), "{opening}");
    assert!(!opening.contains("seen before"));
    for n in 0..100 {
        let body = format!("{{\"n\":{n},\"text\":\"{}\"}}", "ab".repeat(n * 7));
        gateway.post("open", &body).await;
        stream.until(&format!("data: {body}\n\n")).await;
    }
    let (_, rest) = tokio::join!(gateway.stop(), async {
        stream.until("\n\n").await;
        let mut rest = Vec::new();
        let read = timeout(WAIT_MAX, stream.stream.read_to_end(&mut rest)).await;
        read.expect("the stream ends").unwrap();
        stream.chunks.take(&rest);
        stream
    });
    // Cut off by the drain, behind the trailer.
    assert!(!rest.chunks.ended);
    let mut inflater = rest.inflater;
    inflater.write_all(&rest.chunks.body).unwrap();
    inflater.try_finish().expect("the trailer is right");
}

/// Compressed, the long event is shorter than the bound.
#[tokio::test]
async fn what_is_too_long_is_told_of_in_compressed_streams_too() {
    let gateway = Gateway::in_memory().start().await;
    let long = "x".repeat(70_000);
    let old = gateway.post("open", &long).await.id();
    let path = "/events/open?since=earliest&bytes_max=";
    let mut bounded = Inflating::open(&gateway, &format!("{path}64KiB"), &[]).await;
    let mut roomy = Inflating::open(&gateway, &format!("{path}70000"), &[]).await;
    let new = gateway.post("open", &long).await.id();
    gateway.post("open", "short").await;
    let end = "\ndata: short\n\n";
    let text = bounded.until(end).await;
    let blocks: Vec<_> = text.split("\n\n").collect();
    for id in [&old, &new] {
        let told = format!(
            "event: hookrill.withheld\nid: {id}\ndata: {{\"reason\":\"too_long\",\"bytes\":70000}}"
        );
        let count = blocks.iter().filter(|block| **block == told).count();
        assert_eq!(count, 1, "{text}");
    }
    assert!(!text.contains(&long[..100]), "{text}");
    let whole = roomy.until(end).await;
    assert_eq!(whole.matches(&format!("\ndata: {long}\n\n")).count(), 2);
}

#[tokio::test]
async fn compression_is_for_browsers_and_for_those_who_ask() {
    let accepts = ("Accept-Encoding", "gzip");
    let open = "/events/open";
    for (setting, path, headers, compressed) in [
        ("", open, &[accepts][..], false),
        ("", open, &BROWSER, true),
        ("", "/events/open?compress=gzip", &[accepts], true),
        ("", "/events/open?compress=off", &BROWSER, false),
        ("compression = \"accept\"", open, &[accepts], true),
        ("compression = \"accept\"", open, &[], false),
        ("compression = \"off\"", open, &BROWSER, false),
        (
            "compression = \"off\"",
            "/events/open?compress=gzip",
            &[accepts],
            false,
        ),
    ] {
        let gateway = Gateway::in_memory().sections(&format!("[subscribe]\n{setting}\n"));
        let gateway = gateway.start().await;
        let stream = gateway.subscriber_with(path, headers).await;
        let head = stream.head.to_ascii_lowercase();
        let found = head.contains("\r\ncontent-encoding: gzip\r\n");
        assert_eq!(found, compressed, "{setting}, {path}, {headers:?}: {head}");
        let vary = "\r\nvary: accept, accept-encoding, sec-fetch-mode\r\n";
        assert!(head.contains(vary), "{head}");
    }
}

#[tokio::test]
async fn a_connection_that_served_before_is_taken_over_too() {
    let gateway = Gateway::in_memory().start().await;
    let mut stream = gateway.connect().await;
    let health = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n";
    stream.write_all(health).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"ok\n") && !seen.ends_with(b"ok") {
        let read = timeout(WAIT_MAX, stream.read_buf(&mut seen)).await;
        assert_ne!(read.unwrap().unwrap(), 0);
    }
    stream.write_all(STREAM).await.unwrap();
    let mut subscriber = Subscriber::over(stream).await;
    subscriber.opened().await;
    gateway.post("open", "x").await;
    assert_eq!(subscriber.events(1).await[0].data, "x");
}

#[tokio::test]
async fn what_is_sent_after_the_request_is_thrown_away_up_to_a_bound() {
    let gateway = Gateway::in_memory().start().await;
    let mut stream = gateway.connect().await;
    // A second request in the same breath is part of it.
    stream.write_all(&[STREAM, STREAM].concat()).await.unwrap();
    stream.write_all(&[b'x'; 32 * 1024]).await.unwrap();
    let mut subscriber = Subscriber::over(stream).await;
    assert!(!subscriber.head.contains("connection:"));
    subscriber.opened().await;
    gateway.post("open", "1").await;
    assert_eq!(subscriber.events(1).await[0].data, "1");
    // Too much of it ends the connection, sooner or later with an error here.
    while subscriber.stream.write_all(&[b'x'; 4096]).await.is_ok() {
        sleep(std::time::Duration::from_millis(1)).await;
    }
    nobody_listens(&gateway).await;
}

#[tokio::test]
async fn a_peer_that_leaves_is_noticed_without_an_event() {
    let gateway = Gateway::in_memory().start().await;
    let mut leaving = Vec::new();
    for _ in 0..20 {
        let mut subscriber = gateway.subscriber("/events/open").await;
        subscriber.opened().await;
        leaving.push(subscriber);
    }
    assert_eq!(gateway.metric("hookrill_subscribers").await, 20.0);
    drop(leaving);
    nobody_listens(&gateway).await;
    // This one is for the metrics.
    assert_eq!(gateway.metric("hookrill_connections").await, 1.0);
}

/// A peer that does not read, whose token ends: its place is free in time.
#[tokio::test]
async fn a_peer_that_does_not_read_ends_with_its_token() {
    let gateway = Gateway::in_memory().start().await;
    let token = hookrill_testing::token(&["shut"], 1);
    let path = format!("/events/shut?token={token}");
    let mut stuck = gateway.subscriber(&path).await;
    stuck.opened().await;
    gateway.fill("shut", 64, 256 * 1024).await;
    nobody_listens(&gateway).await;
}

async fn nobody_listens(gateway: &Gateway) {
    let gone = async {
        while gateway.metric("hookrill_subscribers").await > 0.0 {
            sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    timeout(WAIT_MAX, gone).await.expect("all are gone");
}

#[tokio::test]
async fn a_head_request_is_answered_and_nothing_is_held() {
    let gateway = Gateway::in_memory().start().await;
    let head = "HEAD /events/open HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n";
    let answer: Response = gateway.send(head).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert!(answer.body.is_empty());
    nobody_listens(&gateway).await;
}

/// About twice what a release build takes, and a sixth of what one takes that
/// leaves the connection to hyper.
#[tokio::test(flavor = "multi_thread")]
async fn idle_subscribers_take_little_memory() {
    const SUBSCRIBERS: usize = 2_000;
    const BYTES_MAX: usize = 4_000;
    let gateway = Process::with_sections(OPEN_TOPIC);
    drop(idle(&gateway, SUBSCRIBERS / 4).await);
    let before = gateway.resident_bytes();
    let _idle = idle(&gateway, SUBSCRIBERS).await;
    let each = gateway.resident_bytes().saturating_sub(before) / SUBSCRIBERS;
    println!("each takes {each} bytes");
    assert!(each < BYTES_MAX, "each takes {each} bytes");
}

async fn idle(gateway: &Process, count: usize) -> Vec<Subscriber> {
    let mut idle = Vec::with_capacity(count);
    for _ in 0..count {
        let mut subscriber = gateway.subscriber("/events/open").await;
        subscriber.opened().await;
        idle.push(subscriber);
    }
    idle
}
