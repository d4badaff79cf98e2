//! What a subscription asks for.

use std::{fmt, time::Duration};

use hookrill_core::without_secrets;
use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{SubscribeOptionsError, Subscription};
use crate::{
    backoff::RETRY,
    sse::EVENT_BYTES_MAX,
    token::{TokenSource, bearer},
    transport::{ConnectOptions, Connector},
};

/// A gateway gives a sign of life every 15 seconds, unless it is configured
/// otherwise; after four that did not come the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What topics are made of has no meaning of its own in a path.
const PATH_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'-');

/// In which form events come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventFormat {
    /// The body as text. Every line end is a line feed, and what is not UTF-8
    /// is U+FFFD.
    #[default]
    Text,
    /// A CloudEvent 1.0, whose body is exact to the byte:
    /// [`ReceivedEvent::cloud_event`](crate::ReceivedEvent::cloud_event).
    CloudEvents,
    /// The delivery as its sender posted it: method, target, headers and body, as JSON. For
    /// tokens with the claim `deliveries`.
    Delivery,
}

/// Makes a [`Subscription`].
#[must_use = "`build` makes the subscription"]
pub struct SubscriptionBuilder {
    url: String,
    topics: Vec<String>,
    is_for_all: bool,
    types: Vec<String>,
    since: Option<String>,
    last: Option<u32>,
    pub(super) position: Option<String>,
    format: EventFormat,
    token: Option<String>,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) source: Option<Box<dyn TokenSource>>,
    pub(super) takes_gzip: bool,
    pub(super) keeps_trying: bool,
    pub(super) retry: Duration,
    pub(super) silence_max: Duration,
    pub(super) event_bytes_max: usize,
    connect: ConnectOptions,
}

impl fmt::Debug for SubscriptionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is for nobody's log.
        f.debug_struct("SubscriptionBuilder")
            .field("url", &without_secrets(&self.url))
            .field("route", &self.route())
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl SubscriptionBuilder {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            topics: Vec::new(),
            is_for_all: false,
            types: Vec::new(),
            since: None,
            last: None,
            position: None,
            format: EventFormat::default(),
            token: None,
            authorization: None,
            source: None,
            takes_gzip: true,
            keeps_trying: false,
            retry: RETRY,
            silence_max: SILENCE_MAX,
            event_bytes_max: EVENT_BYTES_MAX,
            connect: ConnectOptions::new(),
        }
    }

    /// Subscribes to this topic and its subtopics. Up to 64 topics come on one
    /// stream.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// Subscribes to each of these.
    pub fn topics(mut self, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.topics.extend(topics.into_iter().map(Into::into));
        self
    }

    /// Subscribes to everything, for which the token needs the topic `*`.
    pub fn all_topics(mut self) -> Self {
        self.is_for_all = true;
        self
    }

    /// Only events of these types.
    pub fn types(mut self, types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.types.extend(types.into_iter().map(Into::into));
        self
    }

    /// Begins with the oldest event that is there. Without it, and without
    /// [`since`](Self::since), [`last`](Self::last) and
    /// [`resume_from`](Self::resume_from), the stream begins now.
    pub fn since_earliest(self) -> Self {
        self.since("earliest")
    }

    /// Begins after this cursor, with what has come for so long (`10m`) or from this
    /// time on (RFC 3339), or with the oldest event for `earliest`. If the
    /// gateway can't continue there, [`Item::Gap`](super::Item::Gap) comes first;
    /// a malformed cursor ends the subscription with a 400.
    pub fn since(mut self, since: impl Into<String>) -> Self {
        self.since = Some(since.into());
        self
    }

    /// Begins with the newest `count` events, up to 1,000.
    pub fn last(mut self, count: u32) -> Self {
        self.last = Some(count);
        self
    }

    /// Resumes where another subscription was: its
    /// [`position`](Subscription::position). It counts before `since` and
    /// `last`, and a gateway that does not know it answers with a gap.
    pub fn resume_from(mut self, position: impl Into<String>) -> Self {
        self.position = Some(position.into());
        self
    }

    /// In which form events come.
    pub fn format(mut self, format: EventFormat) -> Self {
        self.format = format;
        self
    }

    /// The token, sent as `Authorization: Bearer`. Once it has expired, the
    /// subscription ends with an error: [`token_source`](Self::token_source)
    /// renews it.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Where tokens come from, so that the subscription outlives each of them.
    pub fn token_source(mut self, source: impl TokenSource) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Whether to ask for a compressed stream; so it is unless this says
    /// otherwise.
    pub fn gzip(mut self, takes_gzip: bool) -> Self {
        self.takes_gzip = takes_gzip;
        self
    }

    /// Goes on after refusals too that would end the subscription, such as a
    /// topic that nothing configures yet. They come as [`Item::Interrupted`].
    ///
    /// [`Item::Interrupted`]: crate::Item::Interrupted
    pub fn keep_trying(mut self) -> Self {
        self.keeps_trying = true;
        self
    }

    /// How long to wait before another attempt, until the gateway says how
    /// long; three seconds. It doubles with each failure, up to 30 seconds,
    /// and is up to half as long again at random.
    pub fn retry(mut self, retry: Duration) -> Self {
        self.retry = retry;
        self
    }

    /// After how much silence a connection is dead; a minute. It has to be
    /// longer than the gateway's heartbeat (`subscribe.heartbeat`).
    pub fn silence_max(mut self, silence_max: Duration) -> Self {
        self.silence_max = silence_max;
        self
    }

    /// How long an event may be, in bytes; 16 MiB. A longer one ends the
    /// subscription with an error.
    pub fn event_bytes_max(mut self, event_bytes_max: usize) -> Self {
        self.event_bytes_max = event_bytes_max;
        self
    }

    /// How to connect.
    pub fn connect_options(mut self, connect: ConnectOptions) -> Self {
        self.connect = connect;
        self
    }

    /// Makes the subscription, which connects once it is asked for its first
    /// item.
    ///
    /// # Errors
    ///
    /// Where the options can never work.
    pub fn build(mut self) -> Result<Subscription, SubscribeOptionsError> {
        if self.topics.is_empty() && !self.is_for_all {
            return Err(SubscribeOptionsError::NoTopic);
        }
        if let Some(position) = &self.position
            && (position.is_empty() || !position.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(SubscribeOptionsError::Position(position.clone()));
        }
        if let Some(token) = self.token.take() {
            self.authorization = Some(bearer(&token).ok_or(SubscribeOptionsError::Token)?);
        }
        let connector = Connector::new(&self.url, self.connect.clone())?;
        let route = self.route();
        Ok(Subscription::new(self, connector, &route))
    }

    /// Path and query at the gateway.
    fn route(&self) -> String {
        let mut query: Vec<(&str, &str)> = Vec::new();
        let everything = self.is_for_all || self.topics.iter().any(|topic| topic == "*");
        let path = match &self.topics[..] {
            _ if everything => String::new(),
            [topic] => format!("/{}", utf8_percent_encode(topic, PATH_ESCAPED)),
            topics => {
                query.extend(topics.iter().map(|topic| ("topic", topic.as_str())));
                String::new()
            }
        };
        let last = self.last.map(|count| count.to_string());
        let types = (!self.types.is_empty()).then(|| self.types.join(","));
        let format = match self.format {
            EventFormat::Text => None,
            EventFormat::CloudEvents => Some("cloudevents"),
            EventFormat::Delivery => Some("delivery"),
        };
        for (key, value) in [
            ("since", self.since.as_deref()),
            ("last", last.as_deref()),
            ("types", types.as_deref()),
            ("format", format),
            // The header alone is sent by many that can't read a stream as it comes.
            ("compress", self.takes_gzip.then_some("gzip")),
        ] {
            query.extend(value.map(|value| (key, value)));
        }
        let mut route = format!("/events{path}");
        for (number, (key, value)) in query.into_iter().enumerate() {
            let mark = if number == 0 { '?' } else { '&' };
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            route.push_str(&format!("{mark}{key}={value}"));
        }
        route
    }
}
