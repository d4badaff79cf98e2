//! `hookrill tail`: prints events as they come, and comes back after every
//! disconnect to where it was.
//!
//! Invariant: an event is printed before its id is remembered, so that none is
//! missed; one may be printed twice where the process was killed in between.

use std::time::Duration;

use anyhow::anyhow;
use hookrill_client::sse::{EventTooLong, SseEvent, SseReader};

use super::{Context, client, output, token};
use crate::{
    access::Claims,
    config::{Config, MissingSecrets},
};

/// A gateway gives a sign of life every 15 seconds, or as configured up to 10
/// minutes; four missed ones of the usual kind are a broken connection.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Longer than any event: the largest body, in base64, in its envelope.
const EVENT_BYTES_MAX: usize = 128 << 20;
/// What is waited before the gateway has said otherwise.
const RETRY: Duration = Duration::from_secs(3);
/// What is waited at most, unless the gateway asks for more.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// What a gateway may ask for at most.
const RETRY_ASKED_MAX: Duration = Duration::from_secs(10 * 60);
const TOKEN_TTL: Duration = Duration::from_secs(60 * 60);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to listen to, subtopics included; "*" for everything
    #[arg(required = true, num_args = 1..=64, value_parser = token::topic)]
    topics: Vec<String>,

    /// Print each event as a CloudEvent, JSON on one line, instead of its body
    #[arg(long)]
    json: bool,

    /// Begin at "earliest" or after this cursor, instead of with what comes
    #[arg(long, value_name = "CURSOR")]
    since: Option<String>,

    /// Begin with the newest COUNT events
    #[arg(long, value_name = "COUNT", conflicts_with = "since")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    last: Option<u16>,

    /// Only events of these types, separated by commas
    #[arg(long)]
    types: Option<String>,

    /// The gateway [default: the configured one on this machine]
    #[arg(long, value_parser = super::url)]
    url: Option<String>,

    /// A subscriber token [default: one minted with the configured secret]
    #[arg(long, env = "HOOKRILL_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let mut tail = Tail {
        args,
        context,
        url: stream_url(&context.url(args.url.as_deref())?, args),
        config: context.config(MissingSecrets::Refuse).ok(),
        reached: false,
        last_id: String::new(),
        retry: RETRY,
    };
    let mut failures = 0;
    loop {
        match tail.connect() {
            Ok(()) => failures = 0,
            Err(End::Final(error)) => return Err(error),
            Err(End::Lost(error)) => {
                output::status(format_args!("hookrill: {error:#}; connecting again"));
                failures += 1;
            }
        }
        let wait = backoff(tail.retry, failures, fastrand::f64());
        #[expect(
            clippy::disallowed_methods,
            reason = "a gateway asks for the wait itself"
        )]
        std::thread::sleep(wait);
    }
}

/// A subscription, over all its connections.
struct Tail<'a> {
    args: &'a Args,
    context: &'a Context,
    url: String,
    config: Option<Config>,
    /// Whether it ever answered.
    reached: bool,
    last_id: String,
    retry: Duration,
}

/// Why a connection ended, if it did not end well.
enum End {
    /// Another one may do better.
    Lost(anyhow::Error),
    /// Another one will not.
    Final(anyhow::Error),
}

impl From<EventTooLong> for End {
    fn from(error: EventTooLong) -> Self {
        Self::Final(error.into())
    }
}

impl Tail<'_> {
    /// One connection, to its end.
    fn connect(&mut self) -> Result<(), End> {
        let mut request = client::streaming(&self.url, SILENCE_MAX)
            .get(&self.url)
            .header("Accept", "text/event-stream")
            .header("Cache-Control", "no-store");
        if !self.last_id.is_empty() {
            request = request.header("Last-Event-ID", &self.last_id);
        }
        if let Some(token) = self.token().map_err(End::Final)? {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let mut response = match request.call() {
            Ok(response) => response,
            // What never was there is more likely misspelt than restarting.
            Err(error) if !self.reached => return Err(End::Final(self.error(error))),
            Err(error) => return Err(End::Lost(self.error(error))),
        };
        self.reached = true;
        match response.status().as_u16() {
            200 => {}
            408 | 425 | 429 | 500..=599 => {
                return Err(End::Lost(anyhow!(client::refusal(&mut response))));
            }
            _ => return Err(End::Final(anyhow!(client::refusal(&mut response)))),
        }
        let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
        self.follow(&mut body)
    }

    fn follow(&mut self, body: &mut impl std::io::Read) -> Result<(), End> {
        let mut reader = SseReader::new()
            .with_event_bytes_max(EVENT_BYTES_MAX)
            .with_last_id(&*self.last_id);
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let len = match body.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(len) => len,
                Err(error) => return Err(End::Lost(self.error(error.into()))),
            };
            let mut input = &chunk[..len];
            while let Some(event) = reader.next(&mut input)? {
                show(event, self.args.json).map_err(End::Final)?;
                self.last_id = event.id().into_owned();
            }
            self.retry = reader.retry().unwrap_or(self.retry);
        }
    }

    /// The token to present: a fresh one for each connection, where it is ours
    /// to mint.
    fn token(&self) -> anyhow::Result<Option<String>> {
        if let Some(token) = &self.args.token {
            return Ok(Some(token.clone()));
        }
        let signs = |config: &&Config| config.access.secret.is_some();
        let Some(config) = self.config.as_ref().filter(signs) else {
            return Ok(None);
        };
        let wanted = Claims {
            topics: self.args.topics.clone(),
            ..Claims::default()
        };
        token::mint(config, wanted, TOKEN_TTL, &self.context.clock).map(Some)
    }

    fn error(&self, error: ureq::Error) -> anyhow::Error {
        anyhow::Error::new(error).context(self.url.clone())
    }
}

/// Prints what is for the user, and says what is about the stream.
fn show(event: SseEvent<'_>, json: bool) -> anyhow::Result<()> {
    match &*event.name() {
        // The next connection has a fresh token.
        "hookrill.cursor" | "hookrill.expiring" => Ok(()),
        "hookrill.gap" => {
            let gap = client::printable(&event.data());
            output::status(format_args!(
                "hookrill: a part of the history is gone: {gap}"
            ));
            Ok(())
        }
        _ if json => output::print(format!("{}\n", one_line(&event.data()))),
        _ => output::print(format!("{}\n", event.data())),
    }
}

/// JSON without line ends: those between tokens mean nothing, and a string
/// cannot hold one.
fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], "")
}

fn stream_url(gateway: &str, args: &Args) -> String {
    let everything = args.topics.iter().any(|topic| topic == "*");
    let mut query: Vec<(&str, &str)> = Vec::new();
    let path = match &args.topics[..] {
        _ if everything => String::new(),
        [topic] => format!("/{topic}"),
        topics => {
            query.extend(topics.iter().map(|topic| ("topic", topic.as_str())));
            String::new()
        }
    };
    let last = args.last.map(|count| count.to_string());
    let format = args.json.then_some("cloudevents");
    for (key, value) in [
        ("since", args.since.as_deref()),
        ("last", last.as_deref()),
        ("types", args.types.as_deref()),
        ("format", format),
    ] {
        query.extend(value.map(|value| (key, value)));
    }
    let escape =
        |text| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
    let pairs = query
        .iter()
        .map(|(key, value)| format!("{key}={}", escape(value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{gateway}/events{path}{mark}{query}")
}

/// How long to wait before the next connection: what the gateway asks for,
/// twice as long after each failure up to a maximum, and up to half as much
/// again at random, so that many do not come back at one instant.
fn backoff(retry: Duration, failures: u32, random: f64) -> Duration {
    let retry = retry.min(RETRY_ASKED_MAX);
    let max = RETRY_MAX.max(retry);
    let wait = retry.saturating_mul(1 << failures.min(10)).min(max);
    wait.mul_f64(1.0 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn url(line: &str) -> String {
        let line = format!("tail {line}");
        let args = Line::try_parse_from(line.split(' ')).unwrap().args;
        stream_url("https://a/b", &args)
    }

    #[test]
    fn the_arguments_become_the_documented_parameters() {
        for (line, expected) in [
            ("orders.eu", "/events/orders.eu"),
            ("a b:c", "/events?topic=a&topic=b%3Ac"),
            ("*", "/events"),
            ("a *", "/events"),
            ("a --since e-1", "/events/a?since=e%2D1"),
            (
                "a --last 5 --types x&y,z",
                "/events/a?last=5&types=x%26y%2Cz",
            ),
            ("a b --json", "/events?topic=a&topic=b&format=cloudevents"),
        ] {
            assert_eq!(url(line), format!("https://a/b{expected}"), "{line}");
        }
    }

    #[test]
    fn waits_grow_to_a_maximum_and_differ() {
        let secs = |retry, failures, random| {
            backoff(Duration::from_secs(retry), failures, random).as_secs_f64()
        };
        for (retry, failures, random, expected) in [
            (3, 0, 0.0, 3.0),
            (3, 0, 1.0, 4.5),
            (3, 2, 0.0, 12.0),
            (3, 9, 0.0, 30.0),
            (3, u32::MAX, 1.0, 45.0),
            // A gateway that asks for more gets more.
            (60, 3, 0.0, 60.0),
            (u64::MAX, 3, 0.0, 600.0),
        ] {
            assert_eq!(secs(retry, failures, random), expected);
        }
    }
}
