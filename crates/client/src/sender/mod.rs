//! Sends signed deliveries to a gateway.
//!
//! Invariants: every attempt of a delivery has the same id and body, and a
//! signature of its own; there are at most `attempts_max` of them.

mod webhook;

use std::{fmt, time::Duration};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hookrill_core::{Clock, Secret, Topic, TopicError, without_secrets};
use hookrill_verify::{Delivery, SchemeError, Settings, SignError, Signed, Verifier};
use http::{
    HeaderMap, Method, Request,
    header::{HOST, PROXY_AUTHORIZATION, USER_AGENT},
};
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use crate::{
    backoff::Backoff,
    transport::{
        Answer, ConnectOptions, ConnectOptionsError, Connector, ExchangeError, IdleConnection,
        StatusError,
    },
};
pub use webhook::{AcceptedEvent, Receipt, Webhook};

/// What signs unless the caller says otherwise.
const PRESET: &str = "standard-webhooks";
const ATTEMPTS_MAX: u32 = 5;
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(1);
/// So many connections are kept for the next delivery.
const IDLE_MAX: usize = 8;

/// Sends signed webhooks to the topics of one gateway.
///
/// What fails for now is sent again, under the same id, so that the gateway
/// knows a delivery that it had taken already. Connections are kept and used
/// again.
///
/// ```no_run
/// use hookrill_client::{Sender, Webhook};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let sender = Sender::builder("https://hooks.example.com")
///     .secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
///     .build()?;
/// let order = Webhook::new(r#"{"order":"A-1"}"#).event_type("order.paid");
/// let receipt = sender.send("orders", order).await?;
/// if let Some(event) = receipt.event {
///     println!("stored as {}", event.id);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Sender {
    connector: Connector,
    verifier: Verifier,
    clock: Clock,
    attempts_max: u32,
    attempt_timeout: Duration,
    retry: Duration,
    idle: Mutex<Vec<IdleConnection>>,
}

/// Makes a [`Sender`].
#[must_use = "`build` makes the sender"]
pub struct SenderBuilder {
    url: String,
    preset: String,
    secret: Option<Secret>,
    verifier: Option<Verifier>,
    clock: Clock,
    attempts_max: u32,
    attempt_timeout: Duration,
    retry: Duration,
    connect: ConnectOptions,
}

/// A delivery was not taken, as far as is known: one that timed out may have
/// been. Sent again under the same id it is stored once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The topic's name.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The scheme can't sign this webhook.
    #[error("the webhook can't be signed")]
    Sign(#[from] SignError),
    /// The gateway, or a proxy before it, refused, to the end.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// No connection, or it broke, to the end.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The last attempt took too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The system provides no random numbers for an id.
    #[error("the system provides no random numbers")]
    Random(#[source] getrandom::Error),
}

/// Options that make no sender.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SenderOptionsError {
    /// How to connect.
    #[error(transparent)]
    Connect(#[from] ConnectOptionsError),
    /// There is no such preset.
    #[error("there is no preset {0:?}")]
    Preset(String),
    /// The scheme can't be used with this secret, or without one.
    #[error("the preset {preset} can't be used like this")]
    Scheme {
        /// The preset.
        preset: String,
        /// What is wrong.
        #[source]
        source: Box<SchemeError>,
    },
}

impl SendError {
    /// Whether another attempt may succeed.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Status(error) => error.is_temporary(),
            Self::Exchange(_) | Self::TimedOut(_) => true,
            Self::Topic(_) | Self::Sign(_) | Self::Random(_) => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status(error) => error.retry_after,
            _ => None,
        }
    }
}

impl SenderBuilder {
    /// The secret that the topic is configured with.
    pub fn secret(mut self, secret: impl Into<Secret>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// Signs as this preset says (`hookrill presets` lists them), in place of
    /// Standard Webhooks. Presets whose provider signs with a private key
    /// can't be used.
    pub fn preset(mut self, preset: impl Into<String>) -> Self {
        self.preset = preset.into();
        self
    }

    /// Signs by this scheme and its first secret, whatever preset and secret
    /// were given.
    pub fn verifier(mut self, verifier: Verifier) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// Where the time of signatures comes from: the system's clock, unless this
    /// says otherwise.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How often a delivery is tried, at least once; five times unless this
    /// says otherwise.
    pub fn attempts_max(mut self, attempts_max: u32) -> Self {
        self.attempts_max = attempts_max.max(1);
        self
    }

    /// How long one attempt may take, from the connection to the end of the
    /// answer; 30 seconds.
    pub fn attempt_timeout(mut self, attempt_timeout: Duration) -> Self {
        self.attempt_timeout = attempt_timeout;
        self
    }

    /// How long to wait before the second attempt; a second. It doubles with
    /// each further one up to 30 seconds, is up to half as long again at
    /// random, and at least what the gateway asks for with `Retry-After`, up to
    /// ten minutes.
    pub fn retry(mut self, retry: Duration) -> Self {
        self.retry = retry;
        self
    }

    /// How to connect.
    pub fn connect_options(mut self, connect: ConnectOptions) -> Self {
        self.connect = connect;
        self
    }

    /// Makes the sender, which connects once it has something to send.
    ///
    /// # Errors
    ///
    /// Where the options can never work.
    pub fn build(self) -> Result<Sender, SenderOptionsError> {
        let connector = Connector::new(&self.url, self.connect)?;
        let verifier = match self.verifier {
            Some(verifier) => verifier,
            None => verifier(self.preset, self.secret, &self.url)?,
        };
        Ok(Sender {
            connector,
            verifier,
            clock: self.clock,
            attempts_max: self.attempts_max,
            attempt_timeout: self.attempt_timeout,
            retry: self.retry,
            idle: Mutex::new(Vec::new()),
        })
    }
}

fn verifier(
    preset: String,
    secret: Option<Secret>,
    url: &str,
) -> Result<Verifier, SenderOptionsError> {
    let Some(found) = hookrill_verify::preset(&preset) else {
        return Err(SenderOptionsError::Preset(preset));
    };
    let mut settings = Settings::new(secret);
    settings.public_url = Some(url.trim_end_matches('/').to_owned());
    Verifier::offline(found.scheme, settings).map_err(|source| SenderOptionsError::Scheme {
        preset,
        source: Box::new(source),
    })
}

impl Sender {
    /// A sender to the gateway with this URL, such as
    /// `https://hooks.example.com`, that signs as Standard Webhooks says unless
    /// told otherwise.
    pub fn builder(url: impl Into<String>) -> SenderBuilder {
        SenderBuilder {
            url: url.into(),
            preset: PRESET.to_owned(),
            secret: None,
            verifier: None,
            clock: system_clock(),
            attempts_max: ATTEMPTS_MAX,
            attempt_timeout: ATTEMPT_TIMEOUT,
            retry: RETRY,
            connect: ConnectOptions::new(),
        }
    }

    /// Sends a webhook to a topic; returns once the gateway has stored it.
    ///
    /// # Errors
    ///
    /// What can't be mended by another attempt at once, and what other attempts
    /// did not mend, after the last one.
    pub async fn send(&self, topic: &str, webhook: Webhook) -> Result<Receipt, SendError> {
        let topic: Topic = topic.parse()?;
        let id = match &webhook.id {
            Some(id) => id.clone(),
            None => random_id()?,
        };
        let mut backoff = Backoff::new(self.retry);
        let mut attempts = 0;
        loop {
            attempts += 1;
            debug_assert!(attempts <= self.attempts_max, "the last one returns");
            let error = match self.attempt(&topic, &webhook, &id).await {
                Ok(answer) => return Ok(Receipt::new(id, answer)),
                Err(error) => error,
            };
            if !error.is_temporary() || attempts >= self.attempts_max {
                return Err(error);
            }
            backoff.failed();
            sleep(backoff.wait(error.retry_after(), fastrand::f64())).await;
        }
    }

    async fn attempt(
        &self,
        topic: &Topic,
        webhook: &Webhook,
        id: &str,
    ) -> Result<Answer, SendError> {
        let request = self.signed(topic, webhook, id)?;
        let answer = timeout(self.attempt_timeout, self.exchange(request)).await;
        let answer = answer.map_err(|_| SendError::TimedOut(self.attempt_timeout))??;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(answer.into_error().into())
        }
    }

    fn signed(
        &self,
        topic: &Topic,
        webhook: &Webhook,
        id: &str,
    ) -> Result<Request<Full<Bytes>>, SignError> {
        let now = self.clock.now();
        let route = format!("/ingest/{topic}");
        let headers = webhook.headers.clone();
        let body = webhook.body.clone();
        let draft = Delivery::new(Method::POST, &*route, headers, body, now);
        let event_type = webhook.event_type.as_deref();
        let signed = self.verifier.sign(&draft, event_type, id, now)?;
        Ok(self.request(&route, draft, signed))
    }

    fn request(&self, route: &str, draft: Delivery, signed: Signed) -> Request<Full<Bytes>> {
        let mut target = self.connector.target(route);
        if let Some(query) = signed.query {
            target = format!("{target}?{query}");
        }
        let mut request = Request::new(Full::new(draft.body));
        *request.method_mut() = Method::POST;
        match target.parse() {
            Ok(target) => *request.uri_mut() = target,
            Err(_) => debug_assert!(false, "a valid URL and a topic make one"),
        }
        *request.headers_mut() = self.headers(draft.headers, signed.headers);
        request
    }

    fn headers(
        &self,
        mut headers: HeaderMap,
        signed: Vec<(http::HeaderName, http::HeaderValue)>,
    ) -> HeaderMap {
        headers.insert(HOST, self.connector.url.authority.clone());
        headers.insert(USER_AGENT, self.connector.user_agent.clone());
        if let Some(authorization) = self.connector.proxy_authorization() {
            headers.insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        for (name, value) in signed {
            headers.insert(name, value);
        }
        headers
    }

    /// Over a connection that was kept, or another one if that is closed by
    /// now: the gateway may have ended it while the request was on its way.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, ExchangeError> {
        if let Some(kept) = self.kept_connection().await {
            match self.exchange_over(kept, request.clone()).await {
                Err(ExchangeError::Http(_)) => {}
                outcome => return outcome,
            }
        }
        let connection = IdleConnection::open(&self.connector).await?;
        self.exchange_over(connection, request).await
    }

    async fn exchange_over(
        &self,
        connection: IdleConnection,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, ExchangeError> {
        let mut exchange = connection.ask(request).await?;
        let answer = Answer::read(&mut exchange).await?;
        if let Some(kept) = exchange.into_idle().await {
            let mut idle = self.idle.lock();
            if idle.len() < IDLE_MAX {
                idle.push(kept);
            }
        }
        Ok(answer)
    }

    async fn kept_connection(&self) -> Option<IdleConnection> {
        loop {
            let mut kept = self.idle.lock().pop()?;
            if kept.is_open().await {
                return Some(kept);
            }
        }
    }
}

impl Receipt {
    fn new(delivery_id: String, answer: Answer) -> Self {
        Self {
            delivery_id,
            event: serde_json::from_slice(&answer.body).ok(),
            status: answer.status,
            body: answer.body,
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("url", &self.connector.url)
            .field("attempts_max", &self.attempts_max)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SenderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SenderBuilder")
            .field("url", &without_secrets(&self.url))
            .field("preset", &self.preset)
            .finish_non_exhaustive()
    }
}

fn random_id() -> Result<String, SendError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(SendError::Random)?;
    Ok(format!("msg_{}", HEXLOWER.encode(&random)))
}

fn system_clock() -> Clock {
    Clock::new(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "the caller may bring another clock"
        )]
        let now = std::time::SystemTime::now();
        now.into()
    })
}
