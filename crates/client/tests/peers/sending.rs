//! Deliveries: signed, sent again where that may help, and known by their id.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hookrill_client::{
    SendError, Sender, SenderBuilder, SenderOptionsError, Webhook,
    hookrill_verify::{Delivery, Settings, Verifier, preset},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::peer::{Peer, header, read_head, spawn};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const STORED: &str = r#"{"id":"e-7","topic":"orders.eu","duplicate":false}"#;

/// Requests with bodies, over all connections, and how many those were.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<SentRequest>>>);

/// A request's head and body.
type SentRequest = (String, Vec<u8>);

fn answer(status: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n{body}")
}

async fn read_request(head: String, stream: &mut TcpStream) -> (String, Vec<u8>) {
    let length = header(&head, "content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    (head, body)
}

/// One that gives these answers, over as few connections as it is asked to, and
/// ends a connection behind an answer that says so.
async fn inbox(answers: &[String]) -> (Peer, Inbox) {
    let inbox = Inbox::default();
    let answers = Arc::new(answers.to_vec());
    let seen = inbox.clone();
    let peer = Peer::start(move |mut call| {
        let (seen, answers) = (seen.clone(), Arc::clone(&answers));
        async move {
            let mut head = call.head;
            while !head.is_empty() {
                let request = read_request(head, &mut call.stream).await;
                let number = seen.0.lock().unwrap().len();
                seen.0.lock().unwrap().push(request);
                let Some(answer) = answers.get(number) else {
                    return std::future::pending().await;
                };
                call.stream.write_all(answer.as_bytes()).await.unwrap();
                if answer.is_empty() || answer.contains("X-Ends: now") {
                    return;
                }
                head = read_head(&mut call.stream).await;
            }
        }
    })
    .await;
    (peer, inbox)
}

fn sender(peer: &Peer) -> SenderBuilder {
    let options = Sender::builder(&peer.url).secret(SECRET);
    options.retry(Duration::from_millis(1))
}

/// Whether the other side accepts what was sent.
fn verify(verifier: &Verifier, (head, body): &(String, Vec<u8>)) {
    let mut headers = HeaderMap::new();
    for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    let target = head.split(' ').nth(1).unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "the sender's clock is the system's"
    )]
    let now = std::time::SystemTime::now().into();
    let delivery = Delivery::new(Method::POST, target, headers, body.clone(), now);
    verifier.verify(delivery, now).unwrap();
}

fn standard_webhooks() -> Verifier {
    let scheme = preset("standard-webhooks").unwrap().scheme;
    Verifier::new(scheme, Settings::new([SECRET])).unwrap()
}

#[tokio::test]
async fn a_delivery_is_signed_and_its_answer_read() {
    let (peer, inbox) = inbox(&[answer("200 OK", "", STORED)]).await;
    let sender = sender(&peer).build().unwrap();
    let webhook = Webhook::json(&["é"]).unwrap().id("msg_1");
    let receipt = sender.send("orders", webhook).await.unwrap();
    let event = receipt.event.unwrap();
    assert_eq!(
        (&*event.id, &*event.topic, event.duplicate),
        ("e-7", "orders.eu", false)
    );
    assert_eq!(receipt.delivery_id, "msg_1");
    assert_eq!(receipt.body, STORED);
    let requests = inbox.0.lock().unwrap();
    let (head, body) = &requests[0];
    assert_eq!(body, "[\"é\"]".as_bytes());
    assert!(
        head.starts_with("POST /ingest/orders HTTP/1.1\r\n"),
        "{head}"
    );
    for (name, value) in [
        ("content-type", "application/json"),
        ("webhook-id", "msg_1"),
        ("host", &peer.url["http://".len()..]),
    ] {
        assert_eq!(header(head, name).as_deref(), Some(value), "{head}");
    }
    verify(&standard_webhooks(), &requests[0]);
}

#[tokio::test]
async fn what_fails_for_now_is_sent_again_under_the_same_id() {
    let (peer, inbox) = inbox(&[
        answer("503 Busy", "", ""),
        answer("429 Slow Down", "Retry-After: 1\r\n", ""),
        // The answer to a delivery that was stored can get lost.
        String::new(),
        answer("200 OK", "", &STORED.replace("false", "true")),
    ])
    .await;
    let began = Instant::now();
    let sender = sender(&peer).build().unwrap();
    let receipt = sender.send("orders", Webhook::new("x")).await.unwrap();
    assert!(receipt.event.unwrap().duplicate);
    assert!(began.elapsed() >= Duration::from_secs(1));
    let requests = inbox.0.lock().unwrap();
    assert_eq!(requests.len(), 4);
    for request in requests.iter() {
        verify(&standard_webhooks(), request);
        let id = header(&request.0, "webhook-id").unwrap();
        assert_eq!(id, receipt.delivery_id);
        assert_eq!(
            header(&request.0, "content-type").unwrap(),
            "text/plain; charset=utf-8"
        );
    }
    assert!(receipt.delivery_id.starts_with("msg_"));
}

#[tokio::test]
async fn a_refusal_that_stays_is_an_error_at_once_and_others_after_the_last_attempt() {
    let detail = r#"{"detail":"signature verification failed"}"#;
    let (refusing, inbox_1) = inbox(&vec![answer("401 Unauthorized", "", detail); 9]).await;
    let refused_one = sender(&refusing).build().unwrap();
    let refusal = refused_one.send("orders", Webhook::new("x")).await;
    let refusal = refusal.unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "401 Unauthorized: signature verification failed"
    );
    assert!(!refusal.is_temporary());
    assert_eq!(inbox_1.0.lock().unwrap().len(), 1);

    let (busy, inbox_2) = inbox(&vec![answer("502 Bad Gateway", "", ""); 9]).await;
    let retrying = sender(&busy).attempts_max(3).build().unwrap();
    let last = retrying
        .send("orders", Webhook::new("x"))
        .await
        .unwrap_err();
    assert!(matches!(last, SendError::Status(_)) && last.is_temporary());
    assert_eq!(inbox_2.0.lock().unwrap().len(), 3);

    let (silent, inbox_3) = inbox(&[]).await;
    let options = sender(&silent).attempts_max(2);
    let impatient = options
        .attempt_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let late = impatient
        .send("orders", Webhook::new("x"))
        .await
        .unwrap_err();
    assert_eq!(late.to_string(), "no answer within 50ms");
    assert_eq!(inbox_3.0.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_connection_is_used_again_until_it_is_closed() {
    let ok = answer("200 OK", "", STORED);
    let ends = answer("200 OK", "X-Ends: now\r\n", STORED);
    let closes = answer("200 OK", "Connection: close\r\nX-Ends: now\r\n", STORED);
    let (peer, inbox) = inbox(&[ok.clone(), ok.clone(), ends, ok.clone(), closes, ok]).await;
    // One attempt each: a kept connection that is closed costs none.
    let sender = sender(&peer).attempts_max(1).build().unwrap();
    for (sent, connections) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3)] {
        sender.send("orders", Webhook::new("x")).await.unwrap();
        assert_eq!(inbox.0.lock().unwrap().len(), sent);
        assert_eq!(peer.requests().len(), connections, "after {sent}");
    }
}

#[tokio::test]
async fn many_send_at_once() {
    let (peer, inbox) = inbox(&vec![answer("200 OK", "", STORED); 100]).await;
    let sender = Arc::new(sender(&peer).build().unwrap());
    let (done, mut finished) = tokio::sync::mpsc::channel(100);
    for number in 0..100 {
        let (sender, done) = (Arc::clone(&sender), done.clone());
        spawn(async move {
            let webhook = Webhook::new(number.to_string());
            sender.send("orders", webhook).await.unwrap();
            done.send(()).await.unwrap();
        });
    }
    for _ in 0..100 {
        finished.recv().await.unwrap();
    }
    let requests = inbox.0.lock().unwrap();
    let mut ids: Vec<_> = requests
        .iter()
        .map(|request| header(&request.0, "webhook-id"))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100);
}

#[tokio::test]
async fn an_answer_of_the_topics_own_is_handed_out_as_it_is() {
    for body in ["", "ok", "{}", "{\"id\":1}"] {
        let (peer, _) = inbox(&[answer("200 OK", "", body)]).await;
        let sender = sender(&peer).build().unwrap();
        let receipt = sender.send("orders", Webhook::new("x")).await.unwrap();
        assert_eq!((receipt.event, &receipt.body[..]), (None, body.as_bytes()));
        assert_eq!(receipt.status, 200);
    }
}

#[tokio::test]
async fn an_answer_without_end_is_read_to_a_limit() {
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(4 << 20));
    let peer = Peer::with_answers([endless]).await;
    let sender = sender(&peer).build().unwrap();
    let receipt = sender.send("orders", Webhook::new("x")).await.unwrap();
    assert_eq!(receipt.body.len(), 1 << 20);
}

#[tokio::test]
async fn any_scheme_that_can_sign_does() {
    for (name, secret, header) in [
        (
            "github",
            "It's a Secret to Everybody",
            "X-Hub-Signature-256",
        ),
        ("stripe", "whsec_x", "Stripe-Signature"),
        (
            "slack",
            "8f742231b10e8888abcd99yyyzzz85a5",
            "X-Slack-Signature",
        ),
    ] {
        let (peer, inbox) = inbox(&[answer("200 OK", "", STORED)]).await;
        let options = Sender::builder(&peer.url).preset(name).secret(secret);
        let sender = options.build().unwrap();
        sender.send("a", Webhook::new("{}")).await.unwrap();
        let requests = inbox.0.lock().unwrap();
        assert!(crate::peer::header(&requests[0].0, header).is_some());
        let scheme = preset(name).unwrap().scheme;
        verify(
            &Verifier::new(scheme, Settings::new([secret])).unwrap(),
            &requests[0],
        );
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_said_before_it_is() {
    let build = |preset: &str| Sender::builder("http://a").preset(preset).build();
    let unknown = build("githbu").unwrap_err();
    assert!(
        matches!(unknown, SenderOptionsError::Preset(_)),
        "{unknown}"
    );
    let unusable = build("github").unwrap_err();
    assert!(
        matches!(unusable, SenderOptionsError::Scheme { .. }),
        "{unusable}"
    );
    let nowhere = Sender::builder("a").secret(SECRET).build().unwrap_err();
    assert!(nowhere.to_string().contains("is not a URL"), "{nowhere}");

    let sender = Sender::builder("http://127.0.0.1:1").secret(SECRET);
    let sender = sender.build().unwrap();
    let no_topic = sender.send("a/b", Webhook::new("x")).await.unwrap_err();
    assert!(matches!(no_topic, SendError::Topic(_)), "{no_topic}");
    let unsigned = sender
        .send("a", Webhook::new("x").id("\n"))
        .await
        .unwrap_err();
    assert!(matches!(unsigned, SendError::Sign(_)), "{unsigned}");
    assert!(!format!("{sender:?}").contains("MfKQ"));
}

#[test]
fn it_may_be_shared() {
    fn is_shared(_: impl Send + Sync) {}
    is_shared(Sender::builder("http://a").secret(SECRET).build().unwrap());
}
