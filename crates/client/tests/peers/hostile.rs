//! Peers that nobody would want: each costs a bounded amount, and is an error
//! that says what it was.

use std::{error::Error as _, time::Duration};

use hookrill_client::{Item, SubscribeError};
use tokio::io::AsyncWriteExt as _;

use crate::peer::{Call, Peer, STREAM, event, gzip, interruption, item, next};

const GZIP: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n";

#[tokio::test]
async fn a_line_of_a_gigabyte_is_an_error_at_the_limit() {
    let peer = Peer::start(|mut call: Call| async move {
        call.stream.write_all(STREAM.as_bytes()).await.unwrap();
        call.stream.write_all(b"data: ").await.unwrap();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..1024 {
            if call.stream.write_all(&piece).await.is_err() {
                return;
            }
        }
        panic!("somebody read all of it");
    })
    .await;
    let mut subscription = peer.subscription().build().unwrap();
    let error = next(&mut subscription).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "an event is longer than 16777216 bytes");
    assert!(error.is_final());
    assert!(next(&mut subscription).await.is_none());
    assert!(next(&mut subscription).await.is_none());
}

#[tokio::test]
async fn a_bomb_is_an_error_at_the_limit() {
    let mut bomb = b"data: ".to_vec();
    bomb.resize(200 << 20, b'x');
    let bomb = gzip(&bomb);
    assert!(bomb.len() < 1 << 20);
    let peer = Peer::with_answers([[GZIP.as_bytes(), &bomb].concat()]).await;
    let mut subscription = peer
        .subscription()
        .event_bytes_max(1 << 20)
        .build()
        .unwrap();
    let error = next(&mut subscription).await.unwrap().unwrap_err();
    assert!(matches!(error, SubscribeError::EventTooLong(_)), "{error}");
}

#[tokio::test]
async fn a_head_without_end_is_not_kept() {
    let peer = Peer::start(|mut call: Call| async move {
        call.stream
            .write_all(b"HTTP/1.1 200 OK\r\nX: ")
            .await
            .unwrap();
        while call.stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    let mut subscription = peer.subscription().build().unwrap();
    let cause = interruption(&mut subscription).await.cause.unwrap();
    assert!(matches!(cause, SubscribeError::Exchange(_)), "{cause}");
}

#[tokio::test]
async fn silence_is_a_broken_connection() {
    let peer = Peer::start(|mut call: Call| async move {
        // First not even a head comes, then no event, then all is well.
        if call.number > 0 {
            call.stream.write_all(STREAM.as_bytes()).await.unwrap();
        }
        if call.number > 1 {
            call.stream
                .write_all(b"id: e-1\ndata: x\n\n")
                .await
                .unwrap();
        }
        std::future::pending::<()>().await;
    })
    .await;
    let silence_max = Duration::from_millis(100);
    let mut subscription = peer
        .subscription()
        .silence_max(silence_max)
        .build()
        .unwrap();
    for _ in 0..2 {
        let cause = interruption(&mut subscription).await.cause.unwrap();
        assert_eq!(cause.to_string(), "the connection was silent for 100ms");
    }
    assert_eq!(event(&mut subscription).await.data, "x");
    let cause = interruption(&mut subscription).await.cause.unwrap();
    assert!(matches!(cause, SubscribeError::Silent(_)), "{cause}");
    event(&mut subscription).await;
    let resumed = [None, None, None, Some("e-1".to_owned())];
    assert_eq!(peer.sent("last-event-id"), resumed);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let answer =
            format!("HTTP/1.1 {status}\r\nLocation: /events/a\r\nContent-Length: 0\r\n\r\n");
        let peer = Peer::with_answers(vec![answer; 100]).await;
        let mut subscription = peer.subscription().build().unwrap();
        let error = next(&mut subscription).await.unwrap().unwrap_err();
        assert!(error.to_string().starts_with(&status[..3]), "{error}");
        assert!(next(&mut subscription).await.is_none());
        assert_eq!(peer.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_compressed_stream_that_is_cut_off_loses_nothing() {
    let (one, two) = ("id: e-1\ndata: one\n\n", "id: e-2\ndata: two\n\n");
    let both = gzip([one, two].concat().as_bytes());
    // A member of its own is as good as a flush.
    let cut = [&gzip(one.as_bytes())[..], &gzip(two.as_bytes())[..20]].concat();
    let peer = Peer::with_answers([
        [GZIP.as_bytes(), &cut].concat(),
        [GZIP.as_bytes(), b"not gzip at all"].concat(),
        [GZIP.as_bytes(), &gzip(two.as_bytes())].concat(),
        [GZIP.as_bytes(), &both[..both.len() - 8]].concat(),
    ])
    .await;
    let mut subscription = peer.subscription().build().unwrap();
    assert_eq!(event(&mut subscription).await.data, "one");
    assert!(interruption(&mut subscription).await.cause.is_none());
    let cause = interruption(&mut subscription).await.cause.unwrap();
    assert_eq!(cause.to_string(), "the stream can't be decompressed");
    assert!(cause.source().is_some() && !cause.is_final());
    assert_eq!(event(&mut subscription).await.data, "two");
    assert_eq!(event(&mut subscription).await.data, "one");
    let resumed = [None, Some("e-1"), Some("e-1"), Some("e-2")];
    assert_eq!(
        peer.sent("last-event-id"),
        resumed.map(|id| id.map(str::to_owned))
    );
    assert_eq!(
        peer.sent("accept-encoding"),
        vec![Some("gzip".to_owned()); 4]
    );
}

#[tokio::test]
async fn what_is_no_stream_is_asked_again() {
    let peer = Peer::with_answers([
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>Log in first".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n".to_owned(),
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        String::new(),
        // No gateway ends a stream without a word.
        STREAM.to_owned(),
        [STREAM, "id: e-1\ndata: x\n\n"].concat(),
    ])
    .await;
    let mut subscription = peer.subscription().build().unwrap();
    for words in [
        "the answer is \"text/html\", not text/event-stream",
        "unknown content encoding \"br\"",
        "the connection broke",
        "the connection broke",
    ] {
        let cause = interruption(&mut subscription).await.cause.unwrap();
        assert!(cause.to_string().contains(words), "{cause}");
        assert!(!cause.is_final());
    }
    assert!(interruption(&mut subscription).await.cause.is_none());
    assert_eq!(event(&mut subscription).await.data, "x");
}

#[tokio::test]
async fn an_id_that_cannot_be_sent_back_is_an_error() {
    let peer = Peer::with_answers([[STREAM, "id: \u{e9} 1\ndata: x\n\n"].concat()]).await;
    let mut subscription = peer.subscription().build().unwrap();
    assert!(matches!(item(&mut subscription).await, Item::Connected));
    let error = next(&mut subscription).await.unwrap().unwrap_err();
    assert!(matches!(error, SubscribeError::Id(_)), "{error}");
    assert!(next(&mut subscription).await.is_none());
}
