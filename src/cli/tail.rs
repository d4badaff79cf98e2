//! `hookrill tail`: prints events as they arrive, over all disconnects.
//!
//! Invariant: an event is printed before the next one is asked for, so none is
//! missed; one may be printed again by the next process where this one was
//! killed in between.

mod end;

use std::{
    borrow::Cow,
    error::Error,
    future::ready,
    io::{self, ErrorKind},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use hookrill_client::{
    CloudEvent, ConnectError, ConnectOptions, EventFormat, ExchangeError, Interruption, Item,
    SubscribeError, Subscription,
};
use hookrill_core::{Clock, Timestamp, printable};
use http::StatusCode;
use tokio::time::timeout;

use end::{End, EventFate, Until};

use super::{Context, USER_AGENT, block_on, output, plain::in_plain_words, token};
use crate::{access::Claims, config::MissingSecrets};

/// Longer than any event: the largest body, in base64, in its envelope.
pub(super) const EVENT_BYTES_MAX: usize = 128 << 20;
/// The most that is shown of what a gateway says of a gap, in characters.
const SHOWN_CHARS_MAX: usize = 500;
/// How often it is looked whether the end is reached although nothing comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
pub(super) const TOKEN_TTL: Duration = Duration::from_secs(60 * 60);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Topics to listen to, including their subtopics; "*" for all topics
    #[arg(required = true, num_args = 1..=64, value_parser = token::topic)]
    topics: Vec<String>,

    /// Print each event as a CloudEvent, as JSON on one line, instead of its body
    #[arg(long)]
    json: bool,

    /// Start at "earliest", after a cursor, with the last "10m", or at a time such as
    /// "2026-11-30T08:00:00Z", instead of with new events
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,

    /// Start with the newest COUNT events
    #[arg(long, value_name = "COUNT", conflicts_with = "since")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    last: Option<u16>,

    /// End behind the last event that is stored, instead of waiting for more; starts with
    /// the oldest one, unless --since or --last says where
    #[arg(long)]
    no_follow: bool,

    /// End after COUNT events
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    /// End behind the event with this cursor, "now", or where this time is over: "10m" ago,
    /// or "2026-11-30T08:00:00Z"; starts as --no-follow does
    #[arg(long, value_name = "WHEN")]
    until: Option<Until>,

    /// Only events of these types, separated by commas
    #[arg(long)]
    types: Option<String>,

    /// URL of the gateway [default: the gateway of this folder or configuration, on this
    /// machine]
    #[arg(long, value_parser = super::UrlParser)]
    url: Option<String>,

    /// Subscriber token [default: a new one, signed with the configured secret]
    #[arg(long, env = "HOOKRILL_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Where the token comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenOrigin {
    /// `--token` or its variable.
    Given,
    /// Signed here, with the configured secret.
    Signed,
    /// There is none.
    Missing,
    /// There is none, because there are mistakes in the configuration.
    Unreadable,
}

impl TokenOrigin {
    /// What to do where the gateway refuses it.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Given => {
                "the token is that of --token or HOOKRILL_TOKEN: `hookrill token`, run where the \
                 gateway's configuration is, creates another"
            }
            Self::Signed => {
                "the token was signed with access.secret of the configuration here, and the \
                 gateway has another one: give a token with --token or HOOKRILL_TOKEN, or name the \
                 gateway's configuration with --config"
            }
            Self::Missing => {
                "there is no token: give one with --token or HOOKRILL_TOKEN, name a configuration \
                 that has access.secret with --config, or run this in the folder in which \
                 `hookrill serve` runs"
            }
            Self::Unreadable => {
                "there is no token, because there are mistakes in the configuration here \
                 (`hookrill check` lists them): give one with --token or HOOKRILL_TOKEN"
            }
        }
    }
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let url = context.url(args.url.as_deref());
    let (subscription, token) = subscription(args, context, &url)?;
    let printer = Printer {
        end: End::new(args.no_follow, args.limit, args.until, context.clock.now()),
        json: args.json,
        is_by_time: args.is_by_time(),
        clock: context.clock.clone(),
    };
    block_on(printer.print_all(subscription, &url)).map_err(|error| {
        let is_refused = match error.downcast_ref() {
            Some(SubscribeError::Status(refused)) => refused.status == StatusCode::UNAUTHORIZED,
            _ => false,
        };
        if is_refused {
            anyhow!("{error}; {}", token.hint())
        } else {
            error
        }
    })
}

fn subscription(
    args: &Args,
    context: &Context,
    url: &str,
) -> anyhow::Result<(Subscription, TokenOrigin)> {
    let mut origin = TokenOrigin::Missing;
    let mut options = Subscription::builder(url)
        .topics(&args.topics)
        .types(&args.types)
        .event_bytes_max(EVENT_BYTES_MAX)
        // What is printed on this machine is rarely worth compressing.
        .gzip(false)
        .connect_options(ConnectOptions::new().user_agent(USER_AGENT));
    if args.json || args.is_by_time() {
        options = options.format(EventFormat::CloudEvents);
    }
    if let Some(since) = &args.since {
        options = options.since(since);
    } else if args.last.is_none() && (args.no_follow || args.until.is_some()) {
        options = options.since("earliest");
    }
    if let Some(count) = args.last {
        options = options.last(count.into());
    }
    if let Some(token) = &args.token {
        options = options.token(token);
        origin = TokenOrigin::Given;
    } else if context.config(MissingSecrets::Assume).is_err() {
        origin = TokenOrigin::Unreadable;
    } else if let Ok(config) = context.config(MissingSecrets::Refuse)
        && config.access.secret.is_some()
    {
        origin = TokenOrigin::Signed;
        let (topics, clock) = (args.topics.clone(), context.clock.clone());
        options = options.token_source(move || {
            let wanted = Claims {
                topics: topics.clone(),
                ..Claims::default()
            };
            let minted = token::mint(&config, wanted, TOKEN_TTL, &clock);
            ready(minted.map_err(Into::into))
        });
    }
    let subscription = options.build().context("cannot subscribe")?;
    Ok((subscription, origin))
}

impl Args {
    /// Whether events have to say when they came.
    fn is_by_time(&self) -> bool {
        self.until.is_some_and(Until::is_by_time)
    }
}

/// Prints what comes, up to where it ends.
struct Printer {
    end: End,
    json: bool,
    /// Whether it ends at a time, which CloudEvents have with them.
    is_by_time: bool,
    clock: Clock,
}

impl Printer {
    async fn print_all(mut self, mut subscription: Subscription, url: &str) -> anyhow::Result<()> {
        let mut has_answered = false;
        loop {
            let next = timeout(LOOK_EVERY, subscription.next()).await;
            let Ok(next) = next else {
                let position = subscription.position();
                if self.end.is_reached(position, self.clock.now())? {
                    return Ok(());
                }
                continue;
            };
            let item = next.ok_or_else(|| anyhow!("the subscription has ended"))?;
            match item? {
                Item::Event(event) => {
                    if self.print_until(&event.id, &event.data, true)? {
                        return Ok(());
                    }
                }
                Item::Withheld(withheld) => {
                    if self.print_until(&withheld.id, &withheld.data, false)? {
                        return Ok(());
                    }
                }
                Item::Gap(gap) => output::status(format_args!(
                    "hookrill: a part of the history is gone: {}",
                    printable(&gap.data, SHOWN_CHARS_MAX)
                )),
                Item::Interrupted(interruption) => {
                    self.end.is_cut_off();
                    say_interrupted(interruption, url, &mut has_answered)?;
                }
                Item::CaughtUp => {
                    has_answered = true;
                    let position = subscription.position();
                    if self.end.catches_up(position, self.clock.now())? {
                        return Ok(());
                    }
                }
                _ => has_answered = true,
            }
        }
    }

    /// Prints an event, unless it is behind the end; returns whether that is reached.
    fn print_until(&mut self, id: &str, data: &str, is_event: bool) -> anyhow::Result<bool> {
        let envelope = if self.is_by_time && is_event {
            Some(CloudEvent::parse(data).context("the gateway sends what is no CloudEvent")?)
        } else {
            None
        };
        let time = envelope
            .as_ref()
            .and_then(|event| Timestamp::parse_rfc3339(&event.time));
        let verdict = self.end.judge(id, time)?;
        if verdict != EventFate::IsBehind {
            match envelope.filter(|_| !self.json) {
                Some(event) => print(&String::from_utf8_lossy(&event.body()), false)?,
                None => print(data, self.json)?,
            }
        }
        Ok(verdict != EventFate::GoesOn)
    }
}

fn say_interrupted(
    interruption: Interruption,
    url: &str,
    has_answered: &mut bool,
) -> anyhow::Result<()> {
    let Interruption {
        cause, retry_in, ..
    } = interruption;
    let secs = retry_in.as_secs_f64();
    if let Some(why) = cause.as_ref().and_then(|cause| away(cause, *has_answered)) {
        output::status(format_args!(
            "hookrill: cannot connect to {url}: {why}; trying again in {secs:.1} s"
        ));
        return Ok(());
    }
    let why: Cow<'_, str> = match cause {
        None => "the gateway has ended the stream".into(),
        Some(cause) => {
            let error = explained(cause, url, has_answered)?;
            in_plain_words(error.as_ref()).into()
        }
    };
    output::status(format_args!(
        "hookrill: {why}; connecting again in {secs:.1} s"
    ));
    Ok(())
}

/// Why nobody is there now: a gateway that starts or is moved, or a machine without a
/// network. `None` where waiting is unlikely to help, or there was a connection.
pub(super) fn away(cause: &SubscribeError, has_answered: bool) -> Option<&'static str> {
    const LATE: &str = "it took too long";
    let SubscribeError::Exchange(error) = cause else {
        return None;
    };
    match error {
        ExchangeError::Connect(ConnectError::TimedOut(_)) => return Some(LATE),
        ExchangeError::Connect(ConnectError::Resolve { .. }) => return None,
        // A stream that broke.
        ExchangeError::Http(_) if has_answered => return None,
        _ => {}
    }
    Some(match io_error(error)?.kind() {
        ErrorKind::ConnectionRefused => "Connection refused",
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => "Connection reset",
        ErrorKind::TimedOut => LATE,
        ErrorKind::HostUnreachable => "No route to host",
        ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => "Network is unreachable",
        _ => return None,
    })
}

/// The first error of the system among the causes.
fn io_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

/// What to say about an interruption; an error where the gateway has never
/// answered, although somebody is there: its URL is more likely misspelt than it is
/// restarting.
pub(super) fn explained(
    cause: SubscribeError,
    url: &str,
    has_answered: &mut bool,
) -> anyhow::Result<anyhow::Error> {
    if matches!(cause, SubscribeError::Status(_) | SubscribeError::PutOff(_)) {
        *has_answered = true;
        return Ok(cause.into());
    }
    let error = anyhow::Error::new(cause).context(url.to_owned());
    if *has_answered { Ok(error) } else { Err(error) }
}

fn print(data: &str, json: bool) -> anyhow::Result<()> {
    if json {
        output::print(format!("{}\n", one_line(data)))
    } else {
        output::print(format!("{data}\n"))
    }
}

/// JSON without line ends: those between tokens mean nothing, and a string
/// cannot contain one.
fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_there_yet_is_told_from_what_no_wait_mends() {
        let host = || "a".to_owned();
        let tcp = |kind: ErrorKind| {
            let (host, port, source) = (host(), 1, kind.into());
            SubscribeError::from(ExchangeError::from(ConnectError::Tcp {
                host,
                port,
                source,
            }))
        };
        let broken = || {
            let reset = io::Error::from(ErrorKind::ConnectionReset);
            SubscribeError::from(ExchangeError::Http(reset.into()))
        };
        for (kind, why) in [
            (ErrorKind::ConnectionRefused, Some("Connection refused")),
            (ErrorKind::ConnectionReset, Some("Connection reset")),
            (ErrorKind::TimedOut, Some("it took too long")),
            (ErrorKind::HostUnreachable, Some("No route to host")),
            (ErrorKind::PermissionDenied, None),
        ] {
            assert_eq!(away(&tcp(kind), false), why, "{kind}");
        }
        let late = ConnectError::TimedOut(Duration::from_secs(1));
        let late = SubscribeError::from(ExchangeError::from(late));
        assert_eq!(away(&late, false), Some("it took too long"));
        assert_eq!(away(&broken(), false), Some("Connection reset"));
        assert_eq!(away(&broken(), true), None, "a stream that broke");
        for error in [
            ConnectError::Resolve {
                host: host(),
                source: ErrorKind::TimedOut.into(),
            },
            ConnectError::Tls {
                host: host(),
                source: ErrorKind::InvalidData.into(),
            },
            ConnectError::NoTls {
                host: host(),
                source: ErrorKind::InvalidData.into(),
            },
        ] {
            let error = SubscribeError::from(ExchangeError::from(error));
            assert_eq!(away(&error, false), None, "{error}");
        }
    }
}
