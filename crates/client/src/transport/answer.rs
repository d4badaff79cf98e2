//! Answers: short ones read whole, and refusals with their reason.

use std::{fmt, time::Duration};

use bytes::Bytes;
use hookrill_core::printable;
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use serde::Deserialize;

use super::{Exchange, ExchangeError};

/// The longest answer that is read where a short one is expected, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The longest reason that is kept, in characters.
const REASON_CHARS_MAX: usize = 500;

/// The gateway, or a proxy before it, refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusError {
    /// The status.
    pub status: StatusCode,
    /// The reason, where one was given: the `detail` or `title` of a problem
    /// (RFC 9457), or the text of the answer, with control characters replaced.
    pub reason: Option<String>,
    /// How long `Retry-After` asks to wait.
    pub retry_after: Option<Duration>,
}

/// A short answer, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

/// What of a problem (RFC 9457) is shown.
#[derive(Deserialize)]
struct Problem {
    detail: Option<String>,
    title: Option<String>,
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "{}: {reason}", self.status),
            None => write!(f, "{}", self.status),
        }
    }
}

impl std::error::Error for StatusError {}

impl StatusError {
    /// Whether the same request may succeed later: 408, 425, 429 and all of
    /// 5xx.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self.status.as_u16(), 408 | 425 | 429 | 500..=599)
    }
}

impl Answer {
    pub(crate) fn new(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        Self {
            status,
            retry_after: retry_after(headers),
            body,
        }
    }

    /// Reads the body of a response; what is beyond a megabyte is left.
    pub(crate) async fn read(exchange: &mut Exchange) -> Result<Self, ExchangeError> {
        let (body, _is_whole) = exchange.read_body(ANSWER_BYTES_MAX).await?;
        Ok(Self::new(exchange.status(), &exchange.head.headers, body))
    }

    /// What it means where anything but it was wanted.
    pub(crate) fn into_error(self) -> StatusError {
        let problem: Option<Problem> = serde_json::from_slice(&self.body).ok();
        let reason = problem.and_then(|problem| problem.detail.or(problem.title));
        let reason = reason.unwrap_or_else(|| String::from_utf8_lossy(&self.body).into_owned());
        let reason = printable(reason.trim(), REASON_CHARS_MAX);
        StatusError {
            status: self.status,
            reason: (!reason.is_empty()).then_some(reason),
            retry_after: self.retry_after,
        }
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = value.parse() {
        return Some(Duration::from_secs(secs));
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "a date is compared to the clock of this machine"
    )]
    let now = std::time::SystemTime::now();
    let until = httpdate::parse_http_date(value).ok()?;
    // One that has passed asks for no wait.
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> StatusError {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            body: body.to_owned().into(),
        };
        answer.into_error()
    }

    #[test]
    fn a_refusal_says_why() {
        for (body, text) in [
            (r#"{"title":"t","detail":"d"}"#, "403 Forbidden: d"),
            (r#"{"title":"t"}"#, "403 Forbidden: t"),
            ("{}", "403 Forbidden: {}"),
            (" no\u{1b}[2J \n", "403 Forbidden: no\u{fffd}[2J"),
            ("", "403 Forbidden"),
        ] {
            assert_eq!(error(403, body).to_string(), text);
        }
        let long = error(403, &"x".repeat(10_000)).to_string();
        assert!(long.len() < 600, "{}", long.len());
    }

    #[test]
    fn what_may_pass_is_told_from_what_stays() {
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(error(status, "").is_temporary(), "{status}");
        }
        for status in [204, 301, 400, 401, 403, 404, 410] {
            assert!(!error(status, "").is_temporary(), "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let read = |text: &str| {
            let value = text.parse().unwrap();
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]))
        };
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(read("Thu, 21 Oct 2100 07:28:00 GMT").unwrap() > Duration::from_secs(7));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-1"), None);
    }
}
