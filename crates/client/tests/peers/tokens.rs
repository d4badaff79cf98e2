//! Tokens that are renewed in time, and those that are refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use hookrill_client::{BoxError, SubscribeError, TokenFuture};
use tokio::io::AsyncWriteExt as _;

use crate::peer::{Call, Peer, STREAM, event, header, interruption, next};

const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";

/// A source whose tokens are `t-1`, `t-2` and so on, and how many it gave.
fn counting() -> (impl FnMut() -> TokenFuture, Arc<AtomicUsize>) {
    let given = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&given);
    let source = move || {
        let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
        Box::pin(async move { Ok(format!("t-{number}")) }) as TokenFuture
    };
    (source, given)
}

fn tokens(peer: &Peer) -> Vec<String> {
    let sent = peer.sent("authorization").into_iter();
    sent.map(|value| value.unwrap().replace("Bearer ", ""))
        .collect()
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let peer = Peer::start(|mut call: Call| async move {
        let seen = header(&call.head, "last-event-id");
        let seen = seen.map_or(0, |id| id[2..].parse().unwrap());
        let event = format!("id: e-{}\ndata: x\n\n", seen + 1);
        let expiring = "event: hookrill.expiring\nid: e-1\ndata: {\"seconds\":5}\n\n";
        let expiring = if call.number == 0 { expiring } else { "" };
        let answer = [STREAM, &event, expiring].concat();
        call.stream.write_all(answer.as_bytes()).await.unwrap();
        // The gateway would end it only later.
        std::future::pending::<()>().await;
    })
    .await;
    let (source, given) = counting();
    let began = Instant::now();
    let mut subscription = peer.subscription().token_source(source).build().unwrap();
    for number in 1..=2 {
        assert_eq!(event(&mut subscription).await.id, format!("e-{number}"));
    }
    assert_eq!(tokens(&peer), ["t-1", "t-2"]);
    assert_eq!(given.load(Ordering::Relaxed), 2);
    // A source of tokens that expire at once does not make it a busy loop.
    assert!(began.elapsed().as_millis() >= 1000, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_token_that_stays_the_same_renews_nothing() {
    let stream = "event: hookrill.expiring\nid: e-1\ndata: {}\n\nid: e-2\ndata: x\n\n";
    let peer = Peer::with_answers([[STREAM, stream].concat()]).await;
    let source = || async { Ok("t".to_owned()) };
    let mut subscription = peer.subscription().token_source(source).build().unwrap();
    assert_eq!(event(&mut subscription).await.id, "e-2");
    assert_eq!(tokens(&peer), ["t"]);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_at_once() {
    let open = [STREAM, "id: e-1\ndata: x\n\n"].concat();
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let refused = REFUSED.replace("401 Unauthorized", status);
        let peer = Peer::with_answers([&*open, &refused, &open, &refused, &refused]).await;
        let (source, _) = counting();
        let mut subscription = peer.subscription().token_source(source).build().unwrap();
        event(&mut subscription).await;
        assert!(interruption(&mut subscription).await.cause.is_none());
        // Of the refusal nothing is seen, since another token was let in.
        event(&mut subscription).await;
        assert!(interruption(&mut subscription).await.cause.is_none());
        let error = next(&mut subscription).await.unwrap().unwrap_err();
        assert!(error.to_string().starts_with(&status[..3]), "{error}");
        assert!(next(&mut subscription).await.is_none());
        assert_eq!(tokens(&peer), ["t-1", "t-1", "t-2", "t-2", "t-3"]);
    }
}

#[tokio::test]
async fn one_that_keeps_trying_asks_for_a_token_each_time() {
    let peer = Peer::with_answers([REFUSED; 4]).await;
    let (source, _) = counting();
    let options = peer.subscription().token_source(source).keep_trying();
    let mut subscription = options.build().unwrap();
    for _ in 0..4 {
        let cause = interruption(&mut subscription).await.cause.unwrap();
        assert!(cause.to_string().starts_with("401"), "{cause}");
    }
    assert_eq!(tokens(&peer), ["t-1", "t-2", "t-3", "t-4"]);
}

#[tokio::test]
async fn a_source_that_fails_is_asked_again() {
    let peer = Peer::with_answers([[STREAM, "id: e-1\ndata: x\n\n"].concat()]).await;
    let mut asked = 0;
    let source = move || {
        asked += 1;
        let token: Result<String, BoxError> = match asked {
            1 => Err("the backend is down".into()),
            2 => Ok("<p>\nan error's page</p>".to_owned()),
            _ => Ok("t".to_owned()),
        };
        std::future::ready(token)
    };
    let mut subscription = peer.subscription().token_source(source).build().unwrap();
    let cause = interruption(&mut subscription).await.cause.unwrap();
    assert!(matches!(cause, SubscribeError::Token(_)), "{cause}");
    let unusable = interruption(&mut subscription).await.cause.unwrap();
    assert!(matches!(unusable, SubscribeError::TokenText), "{unusable}");
    event(&mut subscription).await;
    assert_eq!(tokens(&peer), ["t"]);
}

#[tokio::test]
async fn a_token_that_stays_is_used_to_its_end() {
    let open = "event: hookrill.expiring\nid: e-1\ndata: {}\n\nid: e-2\ndata: x\n\n";
    let peer = Peer::with_answers([[STREAM, open].concat(), REFUSED.to_owned()]).await;
    let mut subscription = peer.subscription().token("secret").build().unwrap();
    assert!(!format!("{subscription:?}").contains("secret"));
    event(&mut subscription).await;
    assert!(interruption(&mut subscription).await.cause.is_none());
    let error = next(&mut subscription).await.unwrap().unwrap_err();
    assert!(error.is_final(), "{error}");
    assert_eq!(tokens(&peer), ["secret", "secret"]);
    let options = peer.subscription().token("sec\nret");
    assert!(!format!("{options:?}").contains("sec"));
    assert!(options.build().is_err());
}
