//! A subscription, over as many connections as it takes.
//!
//! A state machine that moves when it is polled: no task is spawned, and a
//! future of [`Subscription::next`] that is dropped has lost nothing. Invariants:
//! what was handed out is behind the position, what was not is before it; one
//! attempt is made at a time, and two of them are never without a wait between
//! them unless a fresh token is the reason.

mod error;
mod item;
mod options;
mod stream;

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, HOST, PROXY_AUTHORIZATION,
        USER_AGENT,
    },
};
use http_body_util::Full;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use crate::{
    backoff::Backoff,
    sse::SseReader,
    token::{BoxError, TokenFuture, TokenSource, bearer},
    transport::{Answer, Connector, Exchange, IdleConnection},
};
pub use error::{SubscribeError, SubscribeOptionsError};
pub use item::{Interruption, Item, ReceivedEvent, ReceivedGap, ReceivedGapReason, WithheldEvent};
pub use options::{EventFormat, SubscriptionBuilder};
use stream::{OpenStream, StreamBlock};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// A connection that a fresh token renews sooner than this would be renewed in
/// circles, as fast as the network allows.
const RENEWAL_MIN: Duration = Duration::from_secs(1);

/// Events of some topics, as they come, over all disconnects.
///
/// It is a [`Stream`]; [`next`](Self::next) is there without a trait in scope.
/// It connects when it is first asked for an item, resumes behind the last one
/// that it handed out, and reads nothing ahead beyond some buffers while nobody
/// asks. Dropping it closes the connection.
///
/// ```no_run
/// use hookrill_client::{Item, Subscription};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut orders = Subscription::builder("https://hooks.example.com")
///     .topic("orders")
///     .since_earliest()
///     .token("eyJhbGciOi…")
///     .build()?;
/// while let Some(item) = orders.next().await {
///     match item? {
///         Item::Event(order) => println!("{} {}", order.id, order.data),
///         Item::Gap(gap) => eprintln!("missed: {gap}"),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "it connects once it is asked for an item"]
pub struct Subscription {
    connector: Arc<Connector>,
    target: String,
    headers: HeaderMap,
    source: Option<Box<dyn TokenSource>>,
    /// `Authorization`, once there is a token.
    authorization: Option<HeaderValue>,
    /// Whether no attempt has been made with this token yet.
    is_fresh: bool,
    keeps_trying: bool,
    silence_max: Duration,
    event_bytes_max: usize,
    backoff: Backoff,
    /// The id of the last block that was handed out.
    position: Option<String>,
    state: SubscriptionState,
}

/// What the subscription is doing.
enum SubscriptionState {
    /// It waits before an attempt; the first one is made at once.
    Idle(Option<Pin<Box<Sleep>>>),
    /// It waits for a token.
    Authorizing(TokenFuture),
    /// It waits for the answer's head.
    Connecting(Pin<Box<dyn Future<Output = Result<Exchange, SubscribeError>> + Send>>),
    Open(Box<Connected>),
    Ended,
}

/// What a move of the machine hands out, if it does.
type NextItem = Option<Result<Item, SubscribeError>>;

/// An open stream, and what is owed to the subscriber.
struct Connected {
    stream: OpenStream,
    /// Whether the subscriber knows that the stream is open.
    is_announced: bool,
    /// What came first, until then.
    first: Option<StreamBlock>,
    /// The next token, on its way.
    renewal: Option<TokenFuture>,
}

impl Subscription {
    /// A subscription at the gateway with this URL, such as
    /// `https://hooks.example.com`.
    pub fn builder(url: impl Into<String>) -> SubscriptionBuilder {
        SubscriptionBuilder::new(url.into())
    }

    fn new(options: SubscriptionBuilder, connector: Connector, route: &str) -> Self {
        let target = connector.target(route);
        let coding = if options.takes_gzip {
            "gzip"
        } else {
            "identity"
        };
        let mut headers = HeaderMap::from_iter([
            (HOST, connector.url.authority.clone()),
            (ACCEPT, HeaderValue::from_static("text/event-stream")),
            (ACCEPT_ENCODING, HeaderValue::from_static(coding)),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (USER_AGENT, connector.user_agent.clone()),
        ]);
        if let Some(authorization) = connector.proxy_authorization() {
            headers.insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        Self {
            connector: Arc::new(connector),
            target,
            headers,
            source: options.source,
            authorization: options.authorization,
            is_fresh: true,
            keeps_trying: options.keeps_trying,
            silence_max: options.silence_max,
            event_bytes_max: options.event_bytes_max,
            backoff: Backoff::new(options.retry),
            position: options.position,
            state: SubscriptionState::Idle(None),
        }
    }

    /// The next item; `None` once the subscription has ended with an error.
    ///
    /// A future that is dropped before it is ready has lost nothing.
    ///
    /// # Errors
    ///
    /// What another attempt can't mend, such as a topic that nothing configures
    /// or a token that is refused although it is fresh. It is the last item,
    /// unless [`keep_trying`](SubscriptionBuilder::keep_trying) was asked for.
    pub async fn next(&mut self) -> Option<Result<Item, SubscribeError>> {
        poll_fn(|cx| self.poll_item(cx)).await
    }

    /// Where the subscription is: behind the last item that was handed out, or
    /// further where the gateway said that nothing followed it. Written down
    /// once an item is dealt with, it is where another subscription
    /// [resumes](SubscriptionBuilder::resume_from).
    #[must_use]
    pub fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Item, SubscribeError>>> {
        loop {
            let item = match &mut self.state {
                SubscriptionState::Idle(wait) => {
                    if let Some(wait) = wait {
                        ready!(wait.as_mut().poll(cx));
                    }
                    self.begin_attempt()
                }
                SubscriptionState::Authorizing(token) => {
                    let token = ready!(token.as_mut().poll(cx));
                    self.authorized(token)
                }
                SubscriptionState::Connecting(answer) => {
                    let answer = ready!(answer.as_mut().poll(cx));
                    self.answered(answer)
                }
                SubscriptionState::Open(open) => {
                    if let Poll::Ready(token) = open.poll_renewal(cx) {
                        self.renew(token);
                        continue;
                    }
                    let block = ready!(open.poll_block(cx));
                    self.received(block)
                }
                SubscriptionState::Ended => return Poll::Ready(None),
            };
            if let Some(item) = item {
                return Poll::Ready(Some(item));
            }
        }
    }

    fn begin_attempt(&mut self) -> NextItem {
        match &mut self.source {
            Some(source) if self.authorization.is_none() => {
                self.state = SubscriptionState::Authorizing(source.token());
                None
            }
            _ => self.connect(),
        }
    }

    fn authorized(&mut self, token: Result<String, BoxError>) -> NextItem {
        let token = token.map_err(SubscribeError::Token);
        match token.and_then(|token| bearer(&token).ok_or(SubscribeError::TokenText)) {
            Ok(authorization) => {
                self.authorization = Some(authorization);
                self.is_fresh = true;
                self.connect()
            }
            Err(error) => self.interrupted(Some(error)),
        }
    }

    fn connect(&mut self) -> NextItem {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.headers_mut() = self.headers.clone();
        match self.target.parse() {
            Ok(target) => *request.uri_mut() = target,
            Err(_) => debug_assert!(false, "a valid URL and an escaped route make one"),
        }
        let headers = request.headers_mut();
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(position) = &self.position {
            let position = HeaderValue::from_str(position);
            debug_assert!(position.is_ok(), "`move_to` takes only what can be sent");
            headers.extend(position.ok().map(|position| (LAST_EVENT_ID, position)));
        }
        let connector = Arc::clone(&self.connector);
        self.state =
            SubscriptionState::Connecting(Box::pin(ask(connector, request, self.silence_max)));
        None
    }

    fn answered(&mut self, answer: Result<Exchange, SubscribeError>) -> NextItem {
        let was_fresh = std::mem::take(&mut self.is_fresh);
        let reader = SseReader::new()
            .with_event_bytes_max(self.event_bytes_max)
            .with_last_id(self.position.clone().unwrap_or_default());
        let stream = answer.and_then(|answer| OpenStream::new(answer, reader, self.silence_max));
        match stream {
            Ok(stream) => {
                self.state = SubscriptionState::Open(Box::new(Connected {
                    stream,
                    is_announced: false,
                    first: None,
                    renewal: None,
                }));
                None
            }
            Err(error) if error.is_about_token() && self.source.is_some() => {
                self.authorization = None;
                if was_fresh {
                    return self.interrupted(Some(error));
                }
                // It may just have expired; another one is refused for a reason.
                self.state = SubscriptionState::Idle(None);
                None
            }
            Err(error) => self.interrupted(Some(error)),
        }
    }

    fn received(&mut self, block: Result<Option<StreamBlock>, SubscribeError>) -> NextItem {
        let block = match block {
            Ok(Some(block)) => block,
            Ok(None) => return self.stream_ended(None),
            Err(error) => return self.stream_ended(Some(error)),
        };
        let (id, item) = match block {
            StreamBlock::Opened => return Some(Ok(Item::Connected)),
            StreamBlock::ComeBack(why) => {
                return self.stream_ended(why.map(SubscribeError::PutOff));
            }
            StreamBlock::Position(id) => (id, None),
            StreamBlock::Item(id, item) => (id, Some(Ok(item))),
            StreamBlock::Expiring(id, left) => {
                self.ask_for_renewal();
                let is_last = self.source.is_none();
                (id, is_last.then_some(Ok(Item::Expiring(left))))
            }
        };
        match self.move_to(id) {
            Ok(()) => item,
            Err(error) => self.interrupted(Some(error)),
        }
    }

    /// Everything up to this id is handed out.
    fn move_to(&mut self, id: String) -> Result<(), SubscribeError> {
        if !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SubscribeError::Id(id));
        }
        if !id.is_empty() {
            self.position = Some(id);
        }
        Ok(())
    }

    fn ask_for_renewal(&mut self) {
        if let (SubscriptionState::Open(open), Some(source)) = (&mut self.state, &mut self.source) {
            open.renewal.get_or_insert_with(|| source.token());
        }
    }

    /// Connects with another token, if there is one. If there is none, the old
    /// one is used until the gateway refuses it.
    fn renew(&mut self, token: Result<String, BoxError>) {
        let authorization = token.ok().and_then(|token| bearer(&token));
        let authorization = authorization.filter(|new| self.authorization.as_ref() != Some(new));
        let SubscriptionState::Open(open) = &mut self.state else {
            return;
        };
        open.renewal = None;
        let Some(authorization) = authorization else {
            return;
        };
        self.authorization = Some(authorization);
        self.is_fresh = true;
        let soonest = open.stream.opened + RENEWAL_MIN;
        let wait = (soonest > Instant::now()).then(|| Box::pin(sleep_until(soonest)));
        self.state = SubscriptionState::Idle(wait);
    }

    fn stream_ended(&mut self, cause: Option<SubscribeError>) -> NextItem {
        if let SubscriptionState::Open(open) = &self.state {
            let retry = open.stream.reader.retry();
            if let Some(retry) = retry {
                self.backoff.set_retry(retry);
            }
            if open.is_announced || retry.is_some() && cause.is_none() {
                self.backoff.succeeded();
            } else if cause.is_none() {
                // An answer without a word: no gateway ends a stream like that.
                self.backoff.failed();
            }
        }
        self.interrupted(cause)
    }

    /// Waits for the next attempt, or ends where it would be of no use.
    fn interrupted(&mut self, cause: Option<SubscribeError>) -> NextItem {
        if let Some(error) = cause.as_ref().filter(|error| error.is_final()) {
            let is_refusal = matches!(error, SubscribeError::Status(_));
            if !is_refusal || !self.keeps_trying {
                self.state = SubscriptionState::Ended;
                return cause.map(Err);
            }
        }
        if cause.is_some() {
            self.backoff.failed();
        }
        let retry_after = cause.as_ref().and_then(SubscribeError::retry_after);
        let retry_in = self.backoff.wait(retry_after, fastrand::f64());
        self.state = SubscriptionState::Idle(Some(Box::pin(sleep(retry_in))));
        Some(Ok(Item::Interrupted(Interruption { cause, retry_in })))
    }
}

impl Connected {
    /// The next block; the first one is announced before it.
    fn poll_block(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<StreamBlock>, SubscribeError>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Ok(Some(first)));
        }
        let block = ready!(self.stream.poll_block(cx))?;
        if self.is_announced || matches!(block, None | Some(StreamBlock::ComeBack(_))) {
            return Poll::Ready(Ok(block));
        }
        self.is_announced = true;
        self.first = block;
        Poll::Ready(Ok(Some(StreamBlock::Opened)))
    }

    fn poll_renewal(&mut self, cx: &mut Context<'_>) -> Poll<Result<String, BoxError>> {
        match &mut self.renewal {
            Some(token) => token.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl Stream for Subscription {
    type Item = Result<Item, SubscribeError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_item(cx)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            SubscriptionState::Idle(_) => "idle",
            SubscriptionState::Authorizing(_) => "authorizing",
            SubscriptionState::Connecting(_) => "connecting",
            SubscriptionState::Open(_) => "open",
            SubscriptionState::Ended => "ended",
        };
        f.debug_struct("Subscription")
            .field("target", &self.target)
            .field("position", &self.position)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

/// Sends the request; gives the answer if it is a stream.
async fn ask(
    connector: Arc<Connector>,
    request: Request<Full<Bytes>>,
    silence_max: Duration,
) -> Result<Exchange, SubscribeError> {
    let connection = IdleConnection::open(&connector).await?;
    let answer = timeout(silence_max, async {
        let mut exchange = connection.ask(request).await?;
        if exchange.status() == StatusCode::OK {
            return Ok(exchange);
        }
        let answer = Answer::read(&mut exchange).await?;
        Err(SubscribeError::Status(answer.into_error()))
    });
    answer
        .await
        .unwrap_or(Err(SubscribeError::Silent(silence_max)))
}
