//! A gateway that does what a test tells it to, connection by connection.

use std::{
    collections::VecDeque,
    io::Write as _,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use hookrill_client::{Item, ReceivedEvent, SubscribeError, Subscription, SubscriptionBuilder};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Longer than anything here takes on a slow day.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);
/// The head of a stream that ends with its connection.
pub(crate) const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n";

/// A peer that listens until the test ends.
pub(crate) struct Peer {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// A request, and the connection that it came over.
pub(crate) struct Call {
    /// How many came before it.
    pub(crate) number: usize,
    pub(crate) head: String,
    pub(crate) stream: TcpStream,
}

impl Peer {
    /// One that handles each connection in this way.
    pub(crate) async fn start<F, Fut>(handle: F) -> Self
    where
        F: Fn(Call) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        spawn(async move {
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let head = read_head(&mut stream).await;
                seen.lock().unwrap().push(head.clone());
                spawn(handle(Call {
                    number,
                    head,
                    stream,
                }));
            }
        });
        Self { url, requests }
    }

    /// One that answers each connection with the next of these and ends it, and
    /// leaves those behind the last without an answer.
    pub(crate) async fn with_answers(
        answers: impl IntoIterator<Item = impl Into<Vec<u8>>>,
    ) -> Self {
        let answers: VecDeque<Vec<u8>> = answers.into_iter().map(Into::into).collect();
        let answers = Arc::new(answers);
        Self::start(move |mut call| {
            let answers = Arc::clone(&answers);
            async move {
                match answers.get(call.number) {
                    Some(answer) => _ = call.stream.write_all(answer).await,
                    None => std::future::pending().await,
                }
            }
        })
        .await
    }

    /// A subscription to the topic `a` that does not wait long.
    pub(crate) fn subscription(&self) -> SubscriptionBuilder {
        self.subscription_to(&["a"])
    }

    pub(crate) fn subscription_to(&self, topics: &[&str]) -> SubscriptionBuilder {
        let options = Subscription::builder(&self.url).topics(topics.iter().copied());
        options.retry(Duration::from_millis(1))
    }

    /// The heads of the requests so far.
    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<String>> {
        self.requests.lock().unwrap()
    }

    /// This header of each request so far.
    pub(crate) fn sent(&self, name: &str) -> Vec<Option<String>> {
        let requests = self.requests();
        let values = requests.iter().map(|head| header(head, name));
        values.collect()
    }
}

pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(task);
}

pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

pub(crate) fn header(head: &str, name: &str) -> Option<String> {
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_owned())
}

/// The next item, which comes in time.
pub(crate) async fn next(subscription: &mut Subscription) -> Option<Result<Item, SubscribeError>> {
    let item = timeout(WAIT_MAX, subscription.next()).await;
    item.expect("an item comes")
}

/// The next item, which is no error.
pub(crate) async fn item(subscription: &mut Subscription) -> Item {
    next(subscription).await.expect("it goes on").unwrap()
}

/// The next event, over whatever comes before it but gaps.
pub(crate) async fn event(subscription: &mut Subscription) -> ReceivedEvent {
    loop {
        match item(subscription).await {
            Item::Event(event) => return event,
            Item::Connected | Item::CaughtUp | Item::Expiring(_) | Item::Interrupted(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Why the next connection ended.
pub(crate) async fn interruption(subscription: &mut Subscription) -> hookrill_client::Interruption {
    match item(subscription).await {
        Item::Interrupted(interruption) => interruption,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
