//! Ten thousand customers, each with a subscriber who sees its own only.

use std::fmt::Write as _;

use axum::body::Body;
use bytes::{Buf as _, Bytes};
use futures_util::{StreamExt as _, future::join_all, stream};
use hookrill::app::raise_open_files_limit;
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tower::ServiceExt as _;

use hookrill_client::sse::SseReader;
use hookrill_testing::{
    GITHUB_SECRET, Gateway, Message, Subscriber, WAIT_MAX, github_signature, token,
};

use super::{of, paying, reader};

const CUSTOMERS: usize = 10_000;
/// Left to the other tests of this process, and to the gateway's own files.
const SPARE_FILES: u64 = 4_000;
/// With fewer this would not be a test of sockets any more.
const SOCKETS_MIN: usize = 200;
/// So many open, or read, at once.
const AT_ONCE: usize = 64;

/// One customer's stream: over a socket, or, where the system allows no more of
/// them, as the body that the gateway's routes answer with.
enum Stream {
    Socket(Subscriber),
    Body(BodyStream),
}

/// A response's body, read event by event.
struct BodyStream {
    body: Body,
    reader: SseReader,
    unread: Bytes,
}

impl Stream {
    async fn open(gateway: &Gateway, n: usize, sockets: usize, from: &str) -> Self {
        let token = token(&[&format!("pay.cus_{n}")], 3_600);
        let path = format!("/events/pay.cus_{n}?token={token}{from}");
        if n < sockets {
            let mut subscriber = gateway.subscriber(&path).await;
            subscriber.opened().await;
            return Self::Socket(subscriber);
        }
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let router = gateway.router.clone();
        let answer = router.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut stream = BodyStream {
            body: answer.into_body(),
            reader: SseReader::new(),
            unread: Bytes::new(),
        };
        let opening = stream.next().await.expect("a stream opens");
        assert_eq!(opening.name, "hookrill.cursor");
        Self::Body(stream)
    }

    /// The data of the next event that is not a cursor; `None` at the end.
    async fn data(&mut self) -> Option<String> {
        loop {
            let message = match self {
                Self::Socket(subscriber) => subscriber.next().await?,
                Self::Body(stream) => stream.next().await?,
            };
            if message.name != "hookrill.cursor" {
                return Some(message.data);
            }
        }
    }

    async fn gets(&mut self, n: usize, rounds: std::ops::Range<usize>) {
        for round in rounds {
            let data = self.data().await.expect("the stream goes on");
            assert_eq!(data, customers_event(n, round));
        }
    }

    /// Waits for the end, before which there is nothing more.
    async fn ended(&mut self) {
        assert_eq!(self.data().await, None);
    }
}

impl BodyStream {
    async fn next(&mut self) -> Option<Message> {
        loop {
            let mut unread = &self.unread[..];
            let message = self.reader.next(&mut unread).unwrap().map(Message::from);
            let read = self.unread.len() - unread.len();
            self.unread.advance(read);
            if message.is_some() {
                return message;
            }
            let frame = timeout(WAIT_MAX, self.body.frame()).await;
            // A drain breaks it off.
            self.unread = frame.expect("it goes on")?.ok()?.into_data().unwrap();
        }
    }
}

fn customers_event(n: usize, round: usize) -> String {
    of(&format!("\"cus_{n}\",\"round\":{round}"))
}

/// How many of the customers have a socket, of which each takes two files here.
fn sockets() -> usize {
    let files = raise_open_files_limit().expect("the limit of open files can be raised");
    let sockets = usize::try_from(files.saturating_sub(SPARE_FILES) / 2).unwrap_or(usize::MAX);
    let sockets = sockets.min(CUSTOMERS);
    assert!(
        sockets >= SOCKETS_MIN,
        "{files} open files are too few for a test of sockets: raise the hard limit \
         (`ulimit -Hn`) to {} at least, or to {} for all of them",
        SPARE_FILES + 2 * SOCKETS_MIN as u64,
        SPARE_FILES + 2 * CUSTOMERS as u64,
    );
    println!("{sockets} of {CUSTOMERS} subscribers over sockets, the rest within the process");
    sockets
}

async fn open_all(gateway: &Gateway, sockets: usize, from: &str) -> Vec<Stream> {
    let opening = (0..CUSTOMERS).map(|n| Stream::open(gateway, n, sockets, from));
    stream::iter(opening).buffered(AT_ONCE).collect().await
}

/// Delivers one event for each customer.
async fn deliver_all(gateway: &Gateway, round: usize) {
    let posting = (0..AT_ONCE).map(async |first| {
        let mut stream = gateway.connect().await;
        for n in (first..CUSTOMERS).step_by(AT_ONCE) {
            let body = customers_event(n, round);
            let signature = github_signature(GITHUB_SECRET, body.as_bytes());
            let mut request = "POST /ingest/pay HTTP/1.1\r\nHost: gateway\r\n".to_owned();
            _ = write!(request, "X-Hub-Signature-256: {signature}\r\n");
            _ = write!(request, "Content-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"}") {
                let read = timeout(WAIT_MAX, stream.read_buf(&mut answer)).await;
                assert_ne!(read.expect("an answer").unwrap(), 0, "cut off");
            }
            let answer = String::from_utf8(answer).unwrap();
            assert!(
                answer.contains(&format!("\"topic\":\"pay.cus_{n}\"")),
                "{answer}"
            );
        }
    });
    join_all(posting).await;
}

async fn all_get(streams: &mut [Stream], rounds: std::ops::Range<usize>) {
    let reading = streams.iter_mut().enumerate();
    let reading = reading.map(|(n, stream)| stream.gets(n, rounds.clone()));
    stream::iter(reading)
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_customers_see_each_their_own_live_and_again_by_replay() {
    let sockets = sockets();
    let plan = paying(Gateway::on_disk());
    let mut gateway = plan.server("shutdown_grace = \"60s\"").start().await;
    let mut operator = reader(&gateway, "pay", "").await;

    let mut live = open_all(&gateway, sockets, "").await;
    for round in 0..2 {
        deliver_all(&gateway, round).await;
        all_get(&mut live, round..round + 1).await;
    }
    drop(live);
    let seen: Vec<_> = operator.events(2 * CUSTOMERS).await;
    assert!(
        seen.iter()
            .map(Message::sequence)
            .eq(1..=2 * CUSTOMERS as u64)
    );

    let mut again = open_all(&gateway, sockets, "&since=earliest").await;
    all_get(&mut again, 0..2).await;
    // Whatever else one of them was given comes before the end.
    gateway.request_stop();
    let ending = again.iter_mut().map(Stream::ended);
    stream::iter(ending)
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}
