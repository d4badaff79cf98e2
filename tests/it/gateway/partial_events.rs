//! Readers that stop within an event hold no more than the bound, and those that
//! read get everything.

use std::net::SocketAddr;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use hookrill_testing::{Gateway, Message, WAIT_MAX};

const EVENTS: usize = 24;
const EVENT_BYTES: usize = 1 << 20;
const HELD_BYTES_MAX: usize = 4 << 20;
/// The rest can't all be held: as many as exceed the bound, and one.
const HELD_MAX: usize = HELD_BYTES_MAX / EVENT_BYTES + 1;
const BROKEN_OFF: &str = "hookrill_streams_broken_off_total{reason=\"partial_events\"}";

/// A gateway with large events, and the id before each.
async fn gateway() -> (Gateway, Vec<String>) {
    let bound = "[subscribe]\npartial_events_bytes_max = \"4 MiB\"";
    let gateway = Gateway::in_memory().sections(bound).start().await;
    let body = "x".repeat(EVENT_BYTES);
    let mut ids = vec![gateway.post("open", "first").await.id()];
    for _ in 0..EVENTS {
        ids.push(gateway.post("open", &body).await.id());
    }
    ids.pop();
    (gateway, ids)
}

/// Asks for a stream and takes nothing of it.
async fn stopped(address: SocketAddr, after: &str, headers: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request =
        format!("GET /events/open?since={after} HTTP/1.1\r\nHost: gateway\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn until_broken_off(gateway: &Gateway, count: usize) {
    let held_bytes_max = ((HELD_MAX + 1) * EVENT_BYTES) as f64;
    let broken_off = async {
        while gateway.metric(BROKEN_OFF).await < count as f64
            || gateway.metric("hookrill_partial_events_bytes").await > held_bytes_max
        {
            sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let broken_off = timeout(WAIT_MAX, broken_off).await;
    broken_off.expect("those that have stopped are broken off, and let go of what they hold");
}

/// Reads all events while others stop, and after that.
async fn reads_everything(gateway: &Gateway, after: &str) {
    let path = format!("/events/open?since={after}");
    let events = gateway.subscriber(&path).await.events(EVENTS).await;
    let sequences: Vec<u64> = events.iter().map(Message::sequence).collect();
    let expected: Vec<u64> = (2..=EVENTS as u64 + 1).collect();
    assert_eq!(sequences, expected);
    assert!(events.iter().all(|event| event.data.len() == EVENT_BYTES));
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_stop_within_an_event_give_way_over_http_1_and_lose_nothing() {
    let (gateway, ids) = gateway().await;
    for headers in ["Accept: application/x-ndjson\r\n", ""] {
        let before = gateway.metric(BROKEN_OFF).await as usize;
        let mut peers = Vec::new();
        for id in &ids {
            peers.push(stopped(gateway.address, id, headers).await);
        }
        let enough = before + EVENTS - HELD_MAX;
        tokio::join!(
            until_broken_off(&gateway, enough),
            reads_everything(&gateway, &ids[0])
        );
        // The first has stopped for the longest.
        let mut taken = Vec::new();
        _ = timeout(WAIT_MAX, peers[0].read_to_end(&mut taken))
            .await
            .expect("it is cut off");
        assert!(!taken.ends_with(b"0\r\n\r\n"), "it is given no end");
        if headers.is_empty() {
            let last = last_id(&String::from_utf8(taken).unwrap());
            let next: u64 = last.rsplit_once('-').unwrap().1.parse::<u64>().unwrap() + 1;
            let mut again = gateway
                .subscriber(&format!("/events/open?since={last}"))
                .await;
            assert_eq!(again.events(1).await[0].sequence(), next);
        }
    }
    until_nothing_is_held(&gateway).await;
}

/// The id of the last event that came whole.
fn last_id(text: &str) -> String {
    let (whole, _) = text.rsplit_once("\n\n").expect("the opening came");
    let (_, from_id) = whole.rsplit_once("id: ").unwrap();
    from_id.lines().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_http_2_connection_give_way_one_by_one() {
    let (gateway, ids) = gateway().await;
    let stream = hyper_util::rt::TokioIo::new(gateway.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let mut settings = hyper::client::conn::http2::Builder::new(executor);
    let settings = settings.initial_stream_window_size(1);
    let (mut client, connection) = settings.handshake(stream).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(connection);
    let mut responses = Vec::new();
    for id in &ids {
        let request = http::Request::get(format!("http://gateway/events/open?since={id}"));
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new());
        let response = client.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        responses.push(response.into_body());
    }
    let enough = EVENTS - HELD_MAX;
    tokio::join!(
        until_broken_off(&gateway, enough),
        reads_everything(&gateway, &ids[0])
    );
    assert!(is_reset(&mut responses[0]).await);
    // The connection goes on for the others.
    let last = responses.last_mut().unwrap();
    assert_eq!(
        last.frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap()
            .len(),
        1
    );
    drop((responses, client));
    until_nothing_is_held(&gateway).await;
}

async fn is_reset(body: &mut Incoming) -> bool {
    loop {
        match timeout(WAIT_MAX, body.frame()).await.expect("it is reset") {
            Some(Ok(_)) => {}
            Some(Err(_)) => return true,
            None => return false,
        }
    }
}

async fn until_nothing_is_held(gateway: &Gateway) {
    let released = async {
        while gateway.metric("hookrill_partial_events_bytes").await > 0.0 {
            sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(WAIT_MAX, released)
        .await
        .expect("what is held is let go of");
}
