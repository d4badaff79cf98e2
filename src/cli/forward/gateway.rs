//! The gateway that deliveries come from: live on a stream, or one by its id.
//!
//! Waits for a gateway that is away, and gives up where waiting can't help. Invariant: a
//! token goes to the gateway alone.

use std::{future::ready, time::Duration};

use anyhow::{Context as _, anyhow};
use hookrill_client::{
    ConnectOptions, EventFormat, Fetch, FetchError, StatusError, SubscribeError, Subscription,
};
use hookrill_core::{Clock, Cursor};
use http::{HeaderValue, StatusCode, header::AUTHORIZATION};

use super::{
    super::{
        Context, USER_AGENT,
        tail::{EVENT_BYTES_MAX, TOKEN_TTL, TokenOrigin},
        token,
    },
    delivery::StoredDelivery,
};
use crate::{
    access::Claims,
    config::{Config, MissingSecrets},
};

/// How long it may take to fetch a delivery.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);

/// A gateway, and what is needed to ask it.
pub(super) struct RemoteGateway {
    pub(super) url: String,
    token: Option<String>,
    origin: TokenOrigin,
    /// What signs tokens.
    config: Option<Config>,
    /// What a token that is made here is for.
    topics: Vec<String>,
    clock: Clock,
}

/// Where on a stream to begin.
#[derive(Debug, Clone, Default)]
pub(super) struct Beginning {
    pub(super) since: Option<String>,
    pub(super) last: Option<u16>,
}

/// A delivery was asked for by its id.
pub(super) enum FetchedDelivery {
    Found(Box<StoredDelivery>),
    /// The gateway has it no longer, or never had it; and what it says of that.
    Gone(String),
    /// It is away, or can't answer now.
    Later(String),
}

impl RemoteGateway {
    pub(super) fn new(
        url: Option<&str>,
        token: Option<&str>,
        topics: Vec<String>,
        context: &Context,
    ) -> Self {
        let assumed = context.config(MissingSecrets::Assume);
        let config = context.config(MissingSecrets::Refuse).ok();
        let config = config.filter(|config| config.access.secret.is_some());
        let origin = match (token, &config) {
            (Some(_), _) => TokenOrigin::Given,
            (None, _) if assumed.is_err() => TokenOrigin::Unreadable,
            (None, Some(_)) => TokenOrigin::Signed,
            (None, None) => TokenOrigin::Missing,
        };
        Self {
            url: context.url(url),
            token: token.map(str::to_owned),
            origin,
            config,
            topics,
            clock: context.clock.clone(),
        }
    }

    /// The stream of these topics, as they came.
    pub(super) fn subscribe(
        &self,
        topics: &[String],
        types: Option<&str>,
        begin: &Beginning,
    ) -> anyhow::Result<Subscription> {
        let mut options = Subscription::builder(&self.url)
            .topics(topics)
            .types(types)
            .format(EventFormat::Delivery)
            .event_bytes_max(EVENT_BYTES_MAX)
            .connect_options(ConnectOptions::new().user_agent(USER_AGENT));
        if let Some(since) = &begin.since {
            options = options.since(since);
        }
        if let Some(count) = begin.last {
            options = options.last(count.into());
        }
        if let Some(token) = &self.token {
            options = options.token(token);
        } else if let Some(config) = &self.config {
            let (config, wanted) = (config.clone(), self.claims(topics));
            let clock = self.clock.clone();
            options = options.token_source(move || {
                let minted = token::mint(&config, wanted.clone(), TOKEN_TTL, &clock);
                ready(minted.map_err(Into::into))
            });
        }
        options.build().context("cannot subscribe")
    }

    fn claims(&self, topics: &[String]) -> Claims {
        Claims {
            topics: topics.to_vec(),
            deliveries: true,
            // For topics with `expose` or `hide`.
            full: true,
            ..Claims::default()
        }
    }

    /// Asks for one delivery.
    ///
    /// # Errors
    ///
    /// Where asking again can't help.
    pub(super) async fn fetch(&self, id: &Cursor) -> anyhow::Result<FetchedDelivery> {
        let mut fetch = Fetch::new(format!("{}/deliveries/{id}", self.url))
            .bytes_max(EVENT_BYTES_MAX)
            .timeout(FETCH_TIMEOUT)
            .connect_options(ConnectOptions::new().user_agent(USER_AGENT));
        if let Some(token) = self.token_now()? {
            let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut bearer = bearer.context("the token can't be sent in a header")?;
            bearer.set_sensitive(true);
            fetch = fetch.header(AUTHORIZATION, bearer);
        }
        let document = match fetch.get().await {
            Ok(document) => document,
            Err(error @ (FetchError::Exchange(_) | FetchError::TimedOut(_))) => {
                return Ok(FetchedDelivery::Later(super::super::plain::in_plain_words(
                    &error,
                )));
            }
            Err(error) => return Err(anyhow::Error::new(error).context(self.url.clone())),
        };
        match document.ok() {
            Ok(document) => {
                let delivery = StoredDelivery::from_json(&document.body)?;
                if delivery.id != *id {
                    return Err(anyhow!("the gateway sent another delivery than {id}"));
                }
                Ok(FetchedDelivery::Found(Box::new(delivery)))
            }
            Err(error) if error.is_temporary() => Ok(FetchedDelivery::Later(error.to_string())),
            Err(error) if matches!(error.status, StatusCode::NOT_FOUND | StatusCode::GONE) => {
                Ok(FetchedDelivery::Gone(error.to_string()))
            }
            Err(error) => Err(self.refused(&error)),
        }
    }

    fn token_now(&self) -> anyhow::Result<Option<String>> {
        match (&self.token, &self.config) {
            (Some(token), _) => Ok(Some(token.clone())),
            (None, Some(config)) => {
                let claims = self.claims(&self.topics);
                token::mint(config, claims, TOKEN_TTL, &self.clock).map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    /// What ended a stream for good, and what helps.
    pub(super) fn ended(&self, error: SubscribeError) -> anyhow::Error {
        match error {
            SubscribeError::Status(error) => self.refused(&error),
            error => anyhow::Error::new(error).context(self.url.clone()),
        }
    }

    fn refused(&self, error: &StatusError) -> anyhow::Error {
        let hint = match error.status {
            StatusCode::UNAUTHORIZED => self.origin.hint().to_owned(),
            StatusCode::FORBIDDEN => self.needs_deliveries(),
            StatusCode::NOT_FOUND => format!(
                "topics are those of the gateway's configuration, and the gateway is {}; --url \
                 names another one",
                self.url
            ),
            _ => return anyhow!("{error}"),
        };
        anyhow!("{error}; {hint}")
    }

    /// Which token is needed.
    pub(super) fn needs_deliveries(&self) -> String {
        let topics: Vec<_> = self
            .topics
            .iter()
            .map(|topic| format!("--topic {topic}"))
            .collect();
        let topics = topics.join(" ").replace('*', "'*'");
        format!(
            "it needs a token with --deliveries, and where the topic has expose or hide with --full \
             too: `hookrill token {topics} --deliveries --full`, run where the gateway's \
             configuration is, creates one for --token or HOOKRILL_TOKEN"
        )
    }
}
