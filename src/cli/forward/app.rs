//! The program that deliveries go to, and what came of one attempt.
//!
//! Follows no redirect and trusts no answer: of one, the beginning is read. Invariant: an
//! attempt ends within its timeout, and the program has seen nothing of one that found it
//! away.

use std::{error::Error as _, io, time::Duration};

use hookrill_client::{ConnectError, ConnectOptions, ExchangeError, Relay, RelayAnswer};
use hookrill_core::printable;
use http::{
    StatusCode,
    header::{CONTENT_ENCODING, RETRY_AFTER},
};
use tokio::time::{Instant, timeout};

use super::{
    super::{USER_AGENT, UsageError, plain::in_plain_words},
    outgoing::Outgoing,
    target::Target,
};

/// How long a connection may take to something on this machine or near it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// So much of an answer is read; of longer ones, the rest is left.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// So much of an answer's first line is shown, in characters.
const LINE_CHARS_MAX: usize = 100;
/// The longest wait that a program can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// A program that takes deliveries.
pub(super) struct LocalApp {
    pub(super) target: Target,
    relay: Relay,
    timeout: Duration,
}

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum SendAttempt {
    Answered(RelayAnswer, Duration),
    /// It was sent, and there was no answer in time.
    TimedOut(Duration),
    /// It was sent, at least in part, and the connection broke before there was an answer.
    Broken(String),
    /// It was not sent: nobody is there who could take it.
    Away(String),
}

impl LocalApp {
    pub(super) fn new(target: Target, timeout: Duration, trusts_any: bool) -> anyhow::Result<Self> {
        let mut options = ConnectOptions::new()
            .user_agent(USER_AGENT)
            .connect_timeout(timeout.min(CONNECT_TIMEOUT))
            // What is on this machine or near it.
            .no_proxy();
        if trusts_any {
            options = options.trust_any_certificate();
        }
        let relay = Relay::new(&target.origin, options)
            .map_err(|error| UsageError::new(format!("{}: {error}", target.origin)))?;
        Ok(Self {
            target,
            relay,
            timeout,
        })
    }

    /// Sends a request once.
    pub(super) async fn attempt(&self, outgoing: &Outgoing) -> SendAttempt {
        let Some(request) = outgoing.request() else {
            return SendAttempt::Broken("its path can't be sent".to_owned());
        };
        let began = Instant::now();
        // Who can't be connected to is away, and not slow.
        let within = self.timeout + self.timeout.min(CONNECT_TIMEOUT);
        let sent = timeout(within, self.relay.send(request, ANSWER_BYTES_MAX)).await;
        match sent {
            Ok(Ok(answer)) => SendAttempt::Answered(answer, began.elapsed()),
            Ok(Err(error)) => self.failed(&error),
            Err(_) => SendAttempt::TimedOut(self.timeout),
        }
    }

    fn failed(&self, error: &ExchangeError) -> SendAttempt {
        let host = self.target.host();
        match error {
            ExchangeError::Connect(error) => SendAttempt::Away(away(error, host)),
            ExchangeError::NeedsTls(_) => SendAttempt::Away(format!(
                "{host} speaks TLS: its target begins with https://"
            )),
            ExchangeError::Http(source) => {
                let http = source.downcast_ref::<hyper::Error>();
                SendAttempt::Broken(broken(http).to_owned())
            }
            _ => SendAttempt::Broken("the connection broke".to_owned()),
        }
    }
}

/// Why nobody is there.
fn away(error: &ConnectError, host: &str) -> String {
    match error {
        ConnectError::Tcp { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => {
            format!("nothing listens at {host}")
        }
        ConnectError::TimedOut(_) => format!("{host} can't be connected to"),
        ConnectError::NoTls { .. } => {
            format!("{host} speaks no TLS: its target begins with http://")
        }
        ConnectError::Tls { .. } => {
            let why = in_plain_words(error);
            format!("{why} (--insecure takes any certificate)")
        }
        _ => in_plain_words(error),
    }
}

fn broken(error: Option<&hyper::Error>) -> &'static str {
    let Some(error) = error else {
        return "the connection broke";
    };
    if error.is_parse() || error.is_parse_too_large() {
        return "what answers there does not speak HTTP";
    }
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    if error.is_incomplete_message()
        || source.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionReset)
    {
        return "the connection was closed without an answer";
    }
    "the connection broke in the middle of the answer"
}

/// Whether the same request may be taken later.
pub(super) fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// How long an answer asks to wait.
pub(super) fn retry_after(answer: &RelayAnswer) -> Option<Duration> {
    let text = answer.headers.get(RETRY_AFTER)?.to_str().ok()?;
    let wait = Duration::from_secs(text.trim().parse().ok()?);
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The first line of an answer, as it may be shown.
pub(super) fn first_line(answer: &RelayAnswer) -> String {
    if answer.headers.contains_key(CONTENT_ENCODING) {
        return String::new();
    }
    let text = String::from_utf8_lossy(&answer.body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    printable(line.unwrap_or_default(), LINE_CHARS_MAX)
}
