//! Whatever ends a connection, the next one goes on where it was.

use std::time::Duration;

use futures_core::Stream as _;
use hookrill_client::{Interruption, Item, SubscribeError};
use tokio::io::AsyncWriteExt as _;

use crate::peer::{Call, Peer, STREAM, event, gzip, header, interruption, item, next};

const EVENTS: usize = 300;
const CUTS: usize = 20;

/// What a gateway sends to who has seen the event with this number.
fn stream_after(seen: usize) -> String {
    let mut text = format!("retry: 1\nevent: hookrill.cursor\nid: e-{seen}\ndata: {{}}\n\n");
    for number in seen + 1..=EVENTS {
        let body = format!("data: {}\ndata: of {number}\n", "é".repeat(number % 40));
        text += &format!("id: e-{number}\n{body}\n");
    }
    text
}

/// A gateway that cuts the first connections off, anywhere.
async fn cutting_peer(compressed: bool) -> Peer {
    Peer::start(move |mut call: Call| async move {
        let seen = header(&call.head, "last-event-id");
        let seen = seen.map_or(0, |id| id[2..].parse().unwrap());
        let text = stream_after(seen);
        let body = if compressed {
            gzip(text.as_bytes())
        } else {
            text.into_bytes()
        };
        let coding = if compressed {
            "\r\nContent-Encoding: gzip\r\n\r\n"
        } else {
            "\r\n\r\n"
        };
        let mut answer = [STREAM.replace("\r\n\r\n", coding).as_bytes(), &body].concat();
        if call.number < CUTS {
            answer.truncate(fastrand::usize(..answer.len()));
        }
        _ = call.stream.write_all(&answer).await;
        if call.number < CUTS && fastrand::bool() {
            // A reset instead of an end.
            call.stream.set_zero_linger().unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn cuts_at_any_byte_lose_nothing_and_double_nothing() {
    for compressed in [false, true] {
        let peer = cutting_peer(compressed).await;
        let mut subscription = peer.subscription().build().unwrap();
        for number in 1..=EVENTS {
            let event = event(&mut subscription).await;
            assert_eq!(event.id, format!("e-{number}"));
            assert!(event.data.ends_with(&format!("of {number}")));
        }
        assert!(peer.requests().len() <= CUTS + 1);
    }
}

/// The future is dropped after every single poll of it.
#[tokio::test]
async fn a_dropped_future_loses_nothing() {
    let peer = cutting_peer(true).await;
    let mut subscription = peer.subscription().build().unwrap();
    let (mut number, mut dropped) = (0, 0);
    while number < EVENTS {
        tokio::select! {
            biased;
            item = subscription.next() => if let Item::Event(event) = item.unwrap().unwrap() {
                number += 1;
                assert_eq!(event.id, format!("e-{number}"));
            },
            () = tokio::task::yield_now() => dropped += 1,
        }
    }
    assert!(dropped > CUTS, "{dropped}");
}

#[tokio::test]
async fn another_subscription_goes_on_at_a_position() {
    let peer = cutting_peer(false).await;
    let mut position = "e-0".to_owned();
    for number in 1..=30 {
        let subscription = peer.subscription().resume_from(&position);
        let mut subscription = subscription.build().unwrap();
        let event = event(&mut subscription).await;
        assert_eq!(event.id, format!("e-{number}"));
        position = subscription.position().unwrap().to_owned();
        assert_eq!(position, event.id);
    }
}

#[tokio::test]
async fn waits_are_those_that_were_asked_for() {
    const NEVER: &str = "HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    for (answer, secs) in [
        (NEVER.to_owned(), 7),
        (NEVER.replace("429 Slow Down", "503 Busy"), 7),
        // A gateway that has no place answers `EventSource` so.
        (
            format!("{STREAM}retry: 9000\nevent: hookrill.wait\ndata: {{}}\n\n"),
            9,
        ),
        (format!("{STREAM}retry: 9000\n\n"), 9),
        // One that stops has given its retry before.
        (format!("{STREAM}retry: 9000\n\nid: e-1\ndata: x\n\n"), 9),
    ] {
        let is_open = answer.contains("data: x");
        let peer = Peer::with_answers([answer]).await;
        let mut subscription = peer.subscription().build().unwrap();
        let Interruption { retry_in, .. } = loop {
            match item(&mut subscription).await {
                Item::Interrupted(interruption) => break interruption,
                Item::Connected => assert!(is_open, "put off is not connected"),
                _ => {}
            }
        };
        let least = Duration::from_secs(secs);
        assert!((least..=least * 3 / 2).contains(&retry_in), "{retry_in:?}");
    }
}

#[tokio::test]
async fn who_is_put_off_is_told_why_and_not_that_the_connection_broke() {
    // As a gateway does it: in chunks, without the last one.
    let cut = |data: &str| {
        let block = format!("retry: 9000\nevent: hookrill.wait\nid: 4f/2\ndata: {data}\n\n");
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        format!("{head}{:x}\r\n{block}\r\n", block.len())
    };
    for (data, expected) in [
        (
            r#"{"detail":"the limit of subscribers is reached"}"#,
            Some("the gateway can't serve the stream now: the limit of subscribers is reached"),
        ),
        ("{}", None),
        ("soon", None),
    ] {
        let peer = Peer::with_answers([cut(data)]).await;
        let mut subscription = peer.subscription().build().unwrap();
        let Interruption {
            cause, retry_in, ..
        } = interruption(&mut subscription).await;
        let cause = cause.map(|cause| cause.to_string());
        assert_eq!(cause.as_deref(), expected);
        assert!(retry_in >= Duration::from_secs(9), "{retry_in:?}");
        assert_eq!(subscription.position(), None, "it is no place of its own");
    }
}

#[tokio::test]
async fn what_may_pass_is_waited_out_and_what_stays_is_an_error() {
    let refused = |status: u16| {
        let body = r#"{"title":"No","detail":"the reason"}"#;
        format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let temporary = [408, 425, 429, 500, 502, 503, 504];
    let answers = temporary.into_iter().map(refused);
    let peer = Peer::with_answers(answers.chain([format!("{STREAM}id: e-1\ndata: x\n\n")])).await;
    let mut subscription = peer.subscription().build().unwrap();
    for status in temporary {
        let cause = interruption(&mut subscription).await.cause.unwrap();
        let SubscribeError::Status(error) = cause else {
            panic!("{cause}")
        };
        assert_eq!(error.status, status);
        assert_eq!(error.reason.as_deref(), Some("the reason"));
    }
    event(&mut subscription).await;

    for status in [204, 400, 401, 403, 404, 410] {
        let refusing = Peer::with_answers(vec![refused(status); 3]).await;
        let mut ended = refusing.subscription().token("t").build().unwrap();
        let error = next(&mut ended).await.unwrap().unwrap_err();
        assert!(error.is_final(), "{error}");
        assert!(next(&mut ended).await.is_none());
        assert_eq!(refusing.requests().len(), 1);

        let mut persistent = refusing.subscription().keep_trying().build().unwrap();
        for _ in 0..2 {
            let cause = interruption(&mut persistent).await.cause.unwrap();
            assert!(cause.is_final(), "{cause}");
        }
    }
}

#[tokio::test]
async fn a_gateway_that_is_not_there_yet_is_waited_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let options = hookrill_client::Subscription::builder(url).topic("a");
    let mut subscription = options.retry(Duration::from_millis(1)).build().unwrap();
    for _ in 0..3 {
        let cause = interruption(&mut subscription).await.cause.unwrap();
        assert!(cause.to_string().contains("cannot connect to"), "{cause}");
    }
}

#[tokio::test]
async fn it_is_a_stream_too() {
    let peer = Peer::with_answers([[STREAM, "id: e-1\ndata: x\n\n"].concat()]).await;
    let mut subscription = std::pin::pin!(peer.subscription().build().unwrap());
    let first = std::future::poll_fn(|cx| subscription.as_mut().poll_next(cx)).await;
    assert!(matches!(first, Some(Ok(Item::Connected))));
}

#[test]
fn it_may_move_to_another_thread() {
    fn is_send(_: impl Send + Unpin) {}
    let subscription = hookrill_client::Subscription::builder("http://a").topic("a");
    is_send(subscription.build().unwrap());
}
