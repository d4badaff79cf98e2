//! Where things are in a delivery: facts, timestamps, tokens.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

use super::{HeaderNames, Pointer};

/// Where a text is in a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// A header; of several names, the first that is there.
    Header(HeaderNames),
    /// A string or whole number in the JSON body.
    Json(Pointer),
    /// A parameter of the query.
    Query(String),
    /// A field of a body that is a form (`application/x-www-form-urlencoded`).
    Form(String),
}

impl Source {
    /// Whether it is in the body.
    pub(crate) const fn is_in_body(&self) -> bool {
        match self {
            Self::Json(_) | Self::Form(_) => true,
            Self::Header(_) | Self::Query(_) => false,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(names) => write!(f, "header {names}"),
            Self::Json(pointer) => write!(f, "body {pointer}"),
            Self::Query(name) => write!(f, "query {name}"),
            Self::Form(name) => write!(f, "form field {name}"),
        }
    }
}

/// When the sender says it signed. Exactly one of `header`, `field`, `json`, `form`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TimestampRule {
    /// A header of its own.
    pub header: Option<HeaderNames>,
    /// An item of the signature header, by its key: `t`.
    pub field: Option<String>,
    /// A place in the JSON body. Read once the signature is verified, unless
    /// the message has the timestamp apart from the body.
    pub json: Option<Pointer>,
    /// A field of a body that is a form. The message has to have it.
    pub form: Option<String>,
    /// How it is written.
    #[serde(default)]
    pub format: TimeFormat,
    /// How far it may be off, in either direction, unless
    /// [`Settings::tolerance`](crate::Settings::tolerance) says otherwise;
    /// default: 5 minutes.
    #[serde(
        default = "TimestampRule::tolerance_default",
        deserialize_with = "duration"
    )]
    pub tolerance: Duration,
}

impl TimestampRule {
    const fn tolerance_default() -> Duration {
        Duration::from_mins(5)
    }
}

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TimeFormat {
    /// Seconds since the Unix epoch.
    #[default]
    UnixSecs,
    /// Milliseconds since the Unix epoch.
    UnixMs,
    /// `2026-11-23T15:41:00Z`, with or without a fraction and an offset.
    Rfc3339,
    /// `2026-11-23T15:41:00`, with or without a fraction: a time in UTC that
    /// does not say so. Nothing in it marks where it ends.
    #[serde(rename = "iso8601_utc")]
    Iso8601Utc,
    /// `Mon, 23 Nov 2026 15:41:00 GMT`: RFC 9110 section 5.6.7, its preferred
    /// form only.
    HttpDate,
}

impl TimeFormat {
    /// What it is, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnixSecs => "Unix seconds",
            Self::UnixMs => "Unix milliseconds",
            Self::Rfc3339 => "an RFC 3339 date",
            Self::Iso8601Utc => "an ISO 8601 date without a zone",
            Self::HttpDate => "an HTTP date",
        }
    }
}

/// Where a token is. Exactly one of `header`, `query`, `authorization`, `json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Token {
    /// A header, with `prefix` in front of the token.
    pub header: Option<HeaderNames>,
    /// What stands in front of the token in that header.
    #[serde(default)]
    pub prefix: String,
    /// A query parameter.
    pub query: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<Authorization>,
    /// A string in the JSON body. It is empty in what is stored and shown.
    pub json: Option<Pointer>,
}

/// A scheme of the `Authorization` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Authorization {
    /// RFC 6750: the secret is the token.
    Bearer,
    /// RFC 7617: the secret is `user:password`.
    Basic,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(DurationVisitor)
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with a unit such as \"5m\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        humantime::parse_duration(text).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}
