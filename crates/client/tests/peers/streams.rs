//! Streams as they should be, however they are cut into pieces.

use hookrill_client::{EventFormat, Item, Subscription};
use tokio::io::AsyncWriteExt as _;

use crate::peer::{Call, Peer, STREAM, event, item, next};

const TEXT: &str = "retry: 5\r\nevent: hookrill.cursor\r\nid: e-0\r\ndata: {}\r\n\r\n\
    id: e-1\r\ndata: \u{e9}\u{1f600}\r\ndata: two\r\n\r\n\
    event: push\nid: e-2\ndata: x\n\nid: e-3\rdata: y\r\r";

async fn is_read_whole(subscription: &mut Subscription) {
    assert!(matches!(item(subscription).await, Item::Connected));
    for (id, name, data) in [
        ("e-1", "message", "\u{e9}\u{1f600}\ntwo"),
        ("e-2", "push", "x"),
        ("e-3", "message", "y"),
    ] {
        let event = event(subscription).await;
        assert_eq!((&*event.id, &*event.name, &*event.data), (id, name, data));
        assert_eq!(subscription.position(), Some(id));
    }
}

#[tokio::test]
async fn a_stream_that_comes_byte_by_byte_is_read() {
    let peer = Peer::start(|mut call: Call| async move {
        for byte in [STREAM, TEXT].concat().bytes() {
            call.stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        std::future::pending::<()>().await;
    })
    .await;
    let mut subscription = peer.subscription().build().unwrap();
    is_read_whole(&mut subscription).await;
}

#[tokio::test]
async fn a_stream_may_be_cut_into_chunks_anywhere() {
    let chunk =
        |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    for at in 1..TEXT.len() {
        let (head, tail) = TEXT.as_bytes().split_at(at);
        let stream = STREAM.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n");
        let answer = [stream.as_bytes(), &chunk(head), &chunk(tail)].concat();
        let peer = Peer::with_answers([answer]).await;
        let mut subscription = peer.subscription().build().unwrap();
        is_read_whole(&mut subscription).await;
    }
}

#[tokio::test]
async fn what_was_asked_for_is_asked_for() {
    let peer = Peer::with_answers([STREAM; 16]).await;
    let with = |topics: &[&str]| peer.subscription_to(topics).gzip(false);
    for (subscription, line) in [
        (with(&["orders.eu"]), "/events/orders.eu"),
        (with(&["a/b?c"]), "/events/a%2Fb%3Fc"),
        (with(&["a b:c", "d"]), "/events?topic=a%20b%3Ac&topic=d"),
        (with(&["*"]), "/events"),
        (with(&["a", "*"]), "/events"),
        (with(&[]).all_topics(), "/events"),
        (with(&["a"]).since_earliest(), "/events/a?since=earliest"),
        (
            with(&["a"]).last(5).types(["x&y", "z"]),
            "/events/a?last=5&types=x%26y%2Cz",
        ),
        (
            with(&["a"]).since("e-1").format(EventFormat::CloudEvents),
            "/events/a?since=e%2D1&format=cloudevents",
        ),
        (with(&["a"]).gzip(true), "/events/a?compress=gzip"),
    ] {
        next(&mut subscription.build().unwrap()).await;
        let head = peer.requests().pop().unwrap();
        assert!(
            head.starts_with(&format!("GET {line} HTTP/1.1\r\n")),
            "{head}"
        );
        assert!(head.contains("accept: text/event-stream\r\n"), "{head}");
        assert!(!head.contains("authorization"), "{head}");
    }
}

#[tokio::test]
async fn gaps_and_withheld_events_are_handed_out_in_their_place() {
    let stream = "event: hookrill.cursor\nid: e-1\ndata: {}\n\n\
        event: hookrill.gap\nid: e-5\ndata: {\"reason\":\"retention\",\"asked\":\"e-1\",\"resumed\":\"e-5\"}\n\n\
        id: e-6\ndata: x\n\n\
        event: hookrill.withheld\nid: e-7\ndata: {\"reason\":\"not_json\"}\n\n\
        event: hookrill.news\nid: e-8\ndata: {}\n\nid: e-9\ndata: y\n\n";
    let peer = Peer::with_answers([[STREAM, stream].concat()]).await;
    let mut subscription = peer.subscription().resume_from("e-1").build().unwrap();
    assert!(matches!(item(&mut subscription).await, Item::Connected));
    let Item::Gap(gap) = item(&mut subscription).await else {
        panic!("a gap comes first")
    };
    assert_eq!(gap.reason, hookrill_client::ReceivedGapReason::Retention);
    assert_eq!((gap.asked.as_deref(), &*gap.id), (Some("e-1"), "e-5"));
    assert_eq!(subscription.position(), Some("e-5"));
    assert_eq!(event(&mut subscription).await.data, "x");
    let Item::Withheld(withheld) = item(&mut subscription).await else {
        panic!("it is told")
    };
    assert_eq!((&*withheld.reason, &*withheld.id), ("not_json", "e-7"));
    assert_eq!(event(&mut subscription).await.data, "y");
    assert_eq!(subscription.position(), Some("e-9"));
}

#[tokio::test]
async fn a_cloud_event_is_read() {
    let stream = "id: e-1\ndata: {\"specversion\":\"1.0\",\"id\":\"e-1\",\"source\":\"/ingest/a\",\
        \"type\":\"paid\",\"topic\":\"a.b\",\"datacontenttype\":\"application/json\",\"data\":{\"n\":1}}\n\n";
    let peer = Peer::with_answers([[STREAM, stream].concat()]).await;
    let options = peer.subscription().format(EventFormat::CloudEvents);
    let event = event(&mut options.build().unwrap()).await;
    let read = event.cloud_event().unwrap();
    assert_eq!((&*read.event_type, &*read.topic), ("paid", "a.b"));
    assert_eq!(&*read.body(), b"{\"n\":1}");
}

#[tokio::test]
async fn nothing_is_read_ahead_while_nobody_asks() {
    const BLOCKED: std::time::Duration = std::time::Duration::from_millis(300);
    let (sent, written) = tokio::sync::oneshot::channel();
    let sent = std::sync::Mutex::new(Some(sent));
    let peer = Peer::start(move |mut call: Call| {
        let sent = sent.lock().unwrap().take();
        async move {
            call.stream.write_all(STREAM.as_bytes()).await.unwrap();
            let event = format!("id: e-1\ndata: {}\n\n", "x".repeat(1000));
            let mut bytes = 0;
            // Until the kernel takes no more, since the other side reads nothing.
            let write = async |stream: &mut tokio::net::TcpStream| {
                tokio::time::timeout(BLOCKED, stream.write_all(event.as_bytes())).await
            };
            while write(&mut call.stream).await.is_ok() {
                bytes += event.len();
                assert!(bytes < 1 << 30, "somebody reads ahead");
            }
            sent.unwrap().send(bytes).unwrap();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let mut subscription = peer.subscription().build().unwrap();
    event(&mut subscription).await;
    let written = written.await.unwrap();
    // What the kernel keeps of a connection on loopback.
    assert!(written < 64 << 20, "{written}");
    event(&mut subscription).await;
}
