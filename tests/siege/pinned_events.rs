//! Readers that stop, each within another large event.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use hookrill_testing::{OPEN_TOPIC, Process, WAIT_MAX};

use crate::honest::{HONEST, attack_size, check_honest_traffic, connect_from, stranger};

const EVENT_BYTES: usize = 4 << 20;
/// `subscribe.partial_events_bytes_max` by default, the newest frames, a page of
/// history, and what the allocator keeps: far less than what all events take.
const TAKEN_BYTES_MAX: usize = 200 << 20;
/// What streams may hold of events that they have begun: 16 of these, and one that is
/// begun before another goes, each with what is written around it.
const HELD_BYTES_MAX: f64 = 17.0 * (EVENT_BYTES + 1024) as f64;
const BROKEN_OFF: &str = "hookrill_streams_broken_off_total{reason=\"partial_events\"}";

/// A gateway with many large events on its disk, and the id before each.
async fn gateway_with_large_events(count: usize) -> (Process, Vec<String>) {
    let journal = "[journal]\nkind = \"disk\"\npath = \"data\"\n";
    let gateway = Process::with_sections(&format!("{journal}{OPEN_TOPIC}"));
    let mut sender = connect_from(HONEST, gateway.address).await;
    let mut ids = vec![post(&mut sender, "first").await];
    for n in 0..count {
        let body = format!("{n}{}", "x".repeat(EVENT_BYTES));
        ids.push(post(&mut sender, &body).await);
    }
    ids.pop();
    (gateway, ids)
}

/// Posts an event; returns its id.
async fn post(sender: &mut TcpStream, body: &str) -> String {
    let head = format!(
        "POST /ingest/open HTTP/1.1\r\nHost: g\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    sender.write_all(head.as_bytes()).await.unwrap();
    sender.write_all(body.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert_ne!(sender.read_buf(&mut answer).await.unwrap(), 0);
    }
    let answer = String::from_utf8(answer).unwrap();
    let json = answer.split_once("\r\n\r\n").unwrap().1;
    let receipt: serde_json::Value = serde_json::from_str(json).unwrap();
    receipt["id"].as_str().unwrap().to_owned()
}

/// Waits until as many were broken off as don't fit, with honest traffic beside it,
/// and looks at the memory that is taken meanwhile.
async fn check_memory(gateway: &Process, before: usize, enough: f64) {
    let deadline = std::time::Instant::now() + WAIT_MAX;
    loop {
        check_honest_traffic(gateway).await;
        let taken = gateway.resident_bytes().saturating_sub(before);
        assert!(taken < TAKEN_BYTES_MAX, "{} MiB taken", taken >> 20);
        let held = gateway.metric("hookrill_partial_events_bytes").await;
        assert!(held <= HELD_BYTES_MAX, "{held} bytes held");
        let broken_off = gateway.metric(BROKEN_OFF).await;
        if broken_off >= enough {
            eprintln!(
                "{broken_off} broken off, {} MiB taken by the others",
                taken >> 20
            );
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{broken_off} broken off"
        );
    }
}

/// At most 16 of these events fit into 64 MiB. Where the disk is slow, some streams have
/// stopped before their event, and hold nothing.
fn broken_off_at_least(count: usize) -> f64 {
    (count / 2) as f64
}

#[tokio::test]
async fn connections_that_stop_within_large_events_hold_little() {
    let count = attack_size(90);
    let (gateway, ids) = gateway_with_large_events(count).await;
    let before = gateway.resident_bytes();
    let mut stopped = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        let mut stream = connect_from(stranger(n), gateway.address).await;
        let request = format!("GET /events/open?since={id} HTTP/1.1\r\nHost: g\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut begun = [0; 1];
        stream.read_exact(&mut begun).await.unwrap();
        stopped.push(stream);
    }
    check_memory(&gateway, before, broken_off_at_least(count)).await;
}

#[tokio::test]
async fn streams_of_one_connection_with_a_window_of_one_byte_hold_little() {
    let count = 90;
    let (gateway, ids) = gateway_with_large_events(count).await;
    let before = gateway.resident_bytes();
    let mut settings = http2::Builder::new(TokioExecutor::new());
    let settings = settings.initial_stream_window_size(1);
    let stream = connect_from(stranger(0), gateway.address).await;
    let (mut client, connection) = settings.handshake(TokioIo::new(stream)).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(connection);
    let mut stopped: Vec<Incoming> = Vec::new();
    for id in &ids {
        let request = http::Request::get(format!("http://gateway/events/open?since={id}"));
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let mut response = client.send_request(request).await.unwrap().into_body();
        response.frame().await.unwrap().unwrap();
        stopped.push(response);
    }
    check_memory(&gateway, before, broken_off_at_least(count)).await;
}
