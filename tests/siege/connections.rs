//! Strangers that connect and say nothing, or half of something.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, StreamExt as _};
use hookrill_testing::{OPEN_TOPIC, Process};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::honest::{HONEST, attack_size, check_honest_traffic, connect_from, stranger};

const HALF_A_HEAD: &[u8] = b"POST /ingest/open HTTP/1.1\r\nHost: gateway\r\nX-Half: ";

#[tokio::test]
async fn half_a_head_a_thousand_times_stops_nobody_and_costs_little() {
    let gateway = Process::with_small_pages(OPEN_TOPIC);
    check_honest_traffic(&gateway).await;
    let before = gateway.resident_bytes();
    let mut held = Vec::new();
    let count = attack_size(3_000);
    for n in 0..count {
        let mut stream = connect_from(stranger(n), gateway.address).await;
        stream.write_all(HALF_A_HEAD).await.unwrap();
        held.push(stream);
        if n % 500 == 0 {
            check_honest_traffic(&gateway).await;
        }
    }
    check_honest_traffic(&gateway).await;
    let connections = gateway.metric("hookrill_connections").await;
    assert!(connections <= 1_100.0, "{connections} connections");
    let taken = gateway.resident_bytes().saturating_sub(before) as f64 / connections;
    assert!(
        taken < 8192.0,
        "{taken} bytes for each unfinished connection"
    );
    let evicted = gateway.metric("hookrill_connections_evicted_total").await;
    assert!(evicted >= count as f64 - 1_100.0, "{evicted} made room");
}

#[tokio::test]
async fn one_address_takes_no_more_than_its_share() {
    let gateway = Process::with_sections(OPEN_TOPIC);
    let mut other = Vec::new();
    for n in 0..100 {
        other.push(connect_from(HONEST, gateway.address).await);
        // Accepted in the order in which they came.
        if n == 99 {
            check_honest_traffic(&gateway).await;
        }
    }
    let mut held = Vec::new();
    for _ in 0..attack_size(1_000) {
        let mut stream = connect_from(stranger(0), gateway.address).await;
        stream.write_all(HALF_A_HEAD).await.unwrap();
        held.push(stream);
    }
    check_honest_traffic(&gateway).await;
    // What the other address has open is still there.
    for mut stream in other {
        let request = b"GET /healthz HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
}

/// Connections never take the files that the journal needs.
#[tokio::test]
async fn at_a_low_limit_of_open_files_connections_leave_some_for_the_journal() {
    const FILES: u64 = 300;
    let gateway = Process::with_open_files(FILES, "subscribers_max = 20000", OPEN_TOPIC);
    gateway.wait_for_log("fewer streams fit than configured");
    let mut subscribers = Vec::new();
    for n in 0..200 {
        let mut stream = connect_from(stranger(n), gateway.address).await;
        let request = b"GET /events/open HTTP/1.1\r\nHost: g\r\n\r\n";
        stream.write_all(request).await.unwrap();
        subscribers.push(stream);
    }
    let mut silent = Vec::new();
    for n in 0..attack_size(400) {
        silent.push(connect_from(stranger(n), gateway.address).await);
    }
    let began = Instant::now();
    for _ in 0..20 {
        check_honest_traffic(&gateway).await;
    }
    let open = gateway.open_files();
    assert!(open as u64 + 60 <= FILES, "{open} files open");
    assert_eq!(gateway.metric("hookrill_accept_pauses_total").await, 0.0);
    let log = gateway.log();
    assert!(!log.contains("ERROR"), "{log}");
    eprintln!("20 honest requests: {:?}", began.elapsed());
}

/// As many as there are places, from several addresses, each with a body that hardly
/// comes.
#[tokio::test]
async fn bodies_that_hardly_come_stop_nobody() {
    const HEAD: &[u8] = b"POST /ingest/open HTTP/1.1\r\nHost: g\r\nContent-Length: 16000\r\n\r\nx";
    let gateway = Process::with_sections(OPEN_TOPIC);
    // A sender whose deliveries are verified.
    check_honest_traffic(&gateway).await;
    let mut held = Vec::new();
    let began = Instant::now();
    for n in 0..attack_size(2_000) {
        let mut stream = connect_from(stranger(n), gateway.address).await;
        stream.write_all(HEAD).await.unwrap();
        held.push(stream);
    }
    eprintln!("{} slow bodies in {:?}", held.len(), began.elapsed());
    for _ in 0..10 {
        check_honest_traffic(&gateway).await;
    }
    let open = gateway.metric("hookrill_connections").await;
    assert!(open > 900.0, "{open} are open: there was no siege");
    // None is waited for as long as its length would take.
    for mut stream in held {
        let mut answer = Vec::new();
        let ended = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
        _ = ended.await.expect("a slow body is given up");
    }
}

/// Hundreds of bodies over each connection, of eight addresses: together more than the
/// memory for bodies holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_hardly_come_over_http_2_stop_nobody() {
    const STREAMS: usize = 200;
    let gateway = Process::with_sections(OPEN_TOPIC);
    let before = gateway.resident_bytes();
    let mut held = Vec::new();
    for n in 0..attack_size(48) {
        let stream = TokioIo::new(connect_from(stranger(n), gateway.address).await);
        let (client, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        tokio::spawn(connection);
        for _ in 0..STREAMS {
            let first = futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(&b"x"[..]))]);
            let body = StreamBody::new(first.chain(futures_util::stream::pending()));
            let request = http::Request::post("http://g/ingest/open")
                .body(body)
                .unwrap();
            let mut client = client.clone();
            client.ready().await.unwrap();
            held.push(Box::pin(client.send_request(request)));
        }
        for request in held.iter_mut().rev().take(STREAMS) {
            _ = request.now_or_never();
        }
        if n % 8 == 0 {
            check_honest_traffic(&gateway).await;
        }
    }
    for _ in 0..5 {
        check_honest_traffic(&gateway).await;
    }
    let taken = gateway.resident_bytes().saturating_sub(before);
    eprintln!("{} bodies begun, {} MiB taken", held.len(), taken >> 20);
    assert!(taken < 256 << 20, "{} MiB taken", taken >> 20);
}

/// With no descriptor left to the process, new segments begin all the same.
#[tokio::test]
async fn segments_roll_where_no_descriptor_is_left() {
    const BODY_BYTES: usize = 4 << 20;
    let journal = "[journal]\nkind = \"disk\"\npath = \"data\"\n";
    let gateway = Process::with_sections(&format!("{journal}{OPEN_TOPIC}"));
    let mut stream = connect_from(HONEST, gateway.address).await;
    let head =
        format!("POST /ingest/open HTTP/1.1\r\nHost: g\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    let segments = gateway.folder().join("data/segments");
    let logs = || {
        let files = std::fs::read_dir(&segments).unwrap();
        let names = files.map(|file| file.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().ends_with(".log"))
            .count()
    };
    let before = logs();
    for n in 0..40 {
        if n == 1 {
            gateway.limit_open_files_to_more(0);
        }
        // Each another body, or it would be a duplicate.
        let mut body = n.to_string();
        body.push_str(&"x".repeat(BODY_BYTES - body.len()));
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        let read = stream.read_exact(&mut answer);
        timeout(Duration::from_secs(30), read)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200", "event {n}");
        // The rest of the answer, whose length is that of its JSON.
        let mut rest = Vec::new();
        while !rest.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut rest).await.unwrap(), 0);
        }
    }
    assert!(logs() >= before + 2, "{} segments", logs());
    assert!(!gateway.log().contains("ERROR"), "{}", gateway.log());
}
