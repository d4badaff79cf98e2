//! The forms that single values have: durations, sizes, addresses, secrets.
//!
//! Pure. What a value of the file was is repeated in an error; what came
//! through `env:` or `file:`, or is secret, never is.

use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive, str::FromStr, time::Duration};

use hookrill_core::{Pointer, PointerError, Secret};
use hookrill_verify::{Partition, PartitionError};
use ipnet::IpNet;

use super::tree::TreeValue;
use crate::{
    access::Policy,
    rate::{Rate, RateError},
    telemetry::LogFormat,
    wire::ShownHeader,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Any text; empty is an error, because nothing takes an empty value.
pub(super) fn text(kind: &TreeValue) -> Result<String, String> {
    match as_str(kind)? {
        "" => Err("this is empty; write a value or leave the key out".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// `true` or `false`.
pub(super) fn boolean(kind: &TreeValue) -> Result<bool, String> {
    match kind {
        TreeValue::Boolean(yes) => Ok(*yes),
        TreeValue::Untyped { text, .. } if text == "true" => Ok(true),
        TreeValue::Untyped { text, .. } if text == "false" => Ok(false),
        _ => Err(format!("{} is neither true nor false", quoted(kind))),
    }
}

pub(super) fn body_bytes_max(kind: &TreeValue) -> Result<usize, String> {
    let bytes = size(kind, KIB..=64 * MIB)?;
    usize::try_from(bytes).map_err(|error| error.to_string())
}

pub(super) fn retain_bytes(kind: &TreeValue) -> Result<u64, String> {
    size(kind, KIB..=u64::MAX)
}

pub(super) fn disk_reserve(kind: &TreeValue) -> Result<u64, String> {
    // Others write to the disk too, between one look and the next, and a write
    // that fails ends the gateway.
    size(kind, 128 * MIB..=MIB << 20)
}

pub(super) fn retain_age(kind: &TreeValue) -> Result<Duration, String> {
    duration(kind, SECOND..=36_500 * DAY)
}

pub(super) fn heartbeat(kind: &TreeValue) -> Result<Duration, String> {
    // Proxies close what says nothing for a minute; 10 minutes is for those
    // who know that theirs does not.
    duration(kind, SECOND..=10 * MINUTE)
}

pub(super) fn retry(kind: &TreeValue) -> Result<Duration, String> {
    duration(kind, SECOND / 10..=10 * MINUTE)
}

pub(super) fn shutdown_delay(kind: &TreeValue) -> Result<Duration, String> {
    duration(kind, Duration::ZERO..=HOUR)
}

pub(super) fn shutdown_grace(kind: &TreeValue) -> Result<Duration, String> {
    duration(kind, SECOND / 10..=HOUR)
}

pub(super) fn leeway(kind: &TreeValue) -> Result<Duration, String> {
    duration(kind, Duration::ZERO..=10 * MINUTE)
}

pub(super) fn token_ttl_max(kind: &TreeValue) -> Result<Duration, String> {
    duration(kind, MINUTE..=3_650 * DAY)
}

pub(super) fn tolerance(kind: &TreeValue) -> Result<Duration, String> {
    duration(kind, SECOND..=DAY)
}

/// For how long deliveries are recognised; `"off"` is `None`.
pub(super) fn dedup(kind: &TreeValue) -> Result<Option<Duration>, String> {
    match as_str(kind) {
        Ok("off") => Ok(None),
        _ => duration(kind, SECOND..=30 * DAY)
            .map(Some)
            .map_err(|what| format!("{what}; \"off\" takes every delivery")),
    }
}

/// Whether deliveries are recognised by their bodies alone.
pub(super) fn dedup_by(kind: &TreeValue) -> Result<bool, String> {
    match as_str(kind)? {
        "id" => Ok(false),
        "body" => Ok(true),
        _ => Err(not_a(kind, "\"id\" or \"body\"")),
    }
}

/// A place in a JSON body.
pub(super) fn pointer(kind: &TreeValue) -> Result<Pointer, String> {
    const STEPS_MAX: usize = 32;
    let pointer: Pointer = as_str(kind)?
        .parse()
        .map_err(|error: PointerError| error.to_string())?;
    match pointer.steps().len() > STEPS_MAX {
        true => Err(format!("a pointer has at most {STEPS_MAX} steps here")),
        false => Ok(pointer),
    }
}

/// A header that goes out with events.
pub(super) fn header_shown(kind: &TreeValue) -> Result<ShownHeader, String> {
    let name = as_str(kind)?;
    ShownHeader::new(name).map_err(|error| format!("{name:?}: {error}"))
}

pub(super) fn subscribers_max(kind: &TreeValue) -> Result<usize, String> {
    whole(kind, 1..=10_000_000)
}

/// How often something may happen.
pub(super) fn rate(kind: &TreeValue) -> Result<Rate, String> {
    let parsed = as_str(kind)?.parse();
    parsed.map_err(|why: RateError| format!("{} is no rate: {why}", quoted(kind)))
}

pub(super) fn dedup_entries_max(kind: &TreeValue) -> Result<u64, String> {
    whole(kind, 1..=1_000_000_000)
}

/// An IP address and a port.
pub(super) fn address(kind: &TreeValue) -> Result<SocketAddr, String> {
    let form = "an address and a port, such as 127.0.0.1:8080 or [::]:8080";
    as_str(kind)?.parse().map_err(|_| not_a(kind, form))
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    let what = "PORT is no port number: it sets the port of server.listen, 0 to 65535";
    text.parse().map_err(|_| what.to_owned())
}

/// A network in CIDR form, or one address.
pub(super) fn network(kind: &TreeValue) -> Result<IpNet, String> {
    let text = as_str(kind)?;
    let single = |_| text.parse().map(|address: std::net::IpAddr| address.into());
    let network: Result<IpNet, _> = text.parse().or_else(single);
    network.map_err(|_| {
        not_a(
            kind,
            "an address or a network, such as 10.0.0.7 or 10.0.0.0/8",
        )
    })
}

/// The level alone, or `tracing` filter directives.
pub(super) fn log_level(kind: &TreeValue) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let form = "a log filter, such as info or info,hookrill::hub=debug";
    let text = as_str(kind)?;
    // The filter takes a lone word that is no level for a module's name, and
    // would then say nothing at all.
    let word = text.bytes().all(|b| b.is_ascii_alphabetic());
    let known = LEVELS.contains(&text.to_ascii_lowercase().as_str());
    let parsed = tracing_subscriber::EnvFilter::builder().parse(text);
    match !text.is_empty() && (known || !word) && parsed.is_ok() {
        true => Ok(text.to_owned()),
        false => Err(not_a(kind, form)),
    }
}

pub(super) fn log_format(kind: &TreeValue) -> Result<LogFormat, String> {
    match as_str(kind)? {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(not_a(kind, "\"text\" or \"json\"")),
    }
}

pub(super) fn policy(kind: &TreeValue) -> Result<Policy, String> {
    match as_str(kind)? {
        "public" => Ok(Policy::Public),
        "token" => Ok(Policy::Token),
        _ => Err(not_a(kind, "\"public\" or \"token\"")),
    }
}

/// What stands below a topic for each of its deliveries.
pub(super) fn partition(kind: &TreeValue) -> Result<Partition, String> {
    let parsed = as_str(kind)?.parse();
    parsed.map_err(|error: PartitionError| format!("{} is {error}", quoted(kind)))
}

/// The secret that signs subscriber tokens.
///
/// RFC 7518, 3.2: a key for HS256 has at least the size of its hash.
pub(super) fn token_secret(kind: &TreeValue) -> Result<Secret, String> {
    secret_of(kind, 32)
}

/// The operator's token, which must fit into an `Authorization` header.
pub(super) fn admin_token(kind: &TreeValue) -> Result<Secret, String> {
    let secret = secret_of(kind, 16)?;
    match secret.expose().iter().all(u8::is_ascii_graphic) {
        true => Ok(secret),
        false => Err("this has characters that no Authorization header carries; \
             make one with: openssl rand -hex 32"
            .to_owned()),
    }
}

fn secret_of(kind: &TreeValue, bytes_min: usize) -> Result<Secret, String> {
    let text = secret_text(kind)?;
    match text.len() {
        len if len < bytes_min => Err(format!(
            "this has {len} bytes and needs at least {bytes_min}; \
             make one with: openssl rand -hex 32"
        )),
        _ => Ok(Secret::new(text.as_bytes())),
    }
}

/// A secret as it was written. Never empty.
pub(super) fn secret(kind: &TreeValue) -> Result<String, String> {
    secret_text(kind).map(str::to_owned)
}

fn secret_text(kind: &TreeValue) -> Result<&str, String> {
    match kind {
        TreeValue::Text(text) | TreeValue::Untyped { text, .. } if text.trim().is_empty() => {
            Err("this secret is empty".to_owned())
        }
        TreeValue::Text(text) | TreeValue::Untyped { text, .. } => Ok(text),
        _ => Err("a secret is a string: write it in quotes, or as env:NAME or file:PATH".into()),
    }
}

fn duration(kind: &TreeValue, allowed: RangeInclusive<Duration>) -> Result<Duration, String> {
    // humantime reads a lone 0, and nothing else, without a unit.
    let parsed = humantime::parse_duration(as_str(kind)?);
    let duration =
        parsed.map_err(|_| not_a(kind, "a duration with a unit, such as 15s, 5m or 7d"))?;
    within(duration, kind, allowed, |duration| {
        humantime::format_duration(*duration).to_string()
    })
}

fn size(kind: &TreeValue, allowed: RangeInclusive<u64>) -> Result<u64, String> {
    let form = "a size, such as 10 GiB, 500 MB or a number of bytes";
    let bytes = match kind {
        TreeValue::Integer(bytes) => u64::try_from(*bytes).map_err(|_| not_a(kind, form))?,
        _ => as_str(kind)?
            .parse::<bytesize::ByteSize>()
            .map_err(|_| not_a(kind, form))?
            .as_u64(),
    };
    within(bytes, kind, allowed, |bytes| {
        bytesize::ByteSize(*bytes).display().iec().to_string()
    })
}

fn whole<T>(kind: &TreeValue, allowed: RangeInclusive<T>) -> Result<T, String>
where
    T: TryFrom<i64> + FromStr + PartialOrd + Display,
{
    let number = match kind {
        TreeValue::Integer(number) => T::try_from(*number).ok(),
        TreeValue::Untyped { text, .. } => text.parse().ok(),
        _ => return Err(not_a(kind, "a whole number, without quotes")),
    };
    let form = || {
        format!(
            "a whole number from {} to {}",
            allowed.start(),
            allowed.end()
        )
    };
    let number = number.ok_or_else(|| not_a(kind, &form()))?;
    within(number, kind, allowed, ToString::to_string)
}

fn within<T: PartialOrd>(
    value: T,
    kind: &TreeValue,
    allowed: RangeInclusive<T>,
    display: impl Fn(&T) -> String,
) -> Result<T, String> {
    match allowed.contains(&value) {
        true => Ok(value),
        false => Err(format!(
            "{} is out of range: {} to {} is allowed",
            quoted(kind),
            display(allowed.start()),
            display(allowed.end()),
        )),
    }
}

/// The text of a string, wherever it was written.
pub(super) fn as_str(kind: &TreeValue) -> Result<&str, String> {
    match kind {
        TreeValue::Text(text) | TreeValue::Untyped { text, .. } => Ok(text),
        _ => Err(format!("{} is no string: write it in quotes", quoted(kind))),
    }
}

/// "`x` is not …".
pub(super) fn not_a(kind: &TreeValue, form: &str) -> String {
    format!("{} is not {form}", quoted(kind))
}

/// A value as an error may repeat it.
fn quoted(kind: &TreeValue) -> String {
    const CHARS_MAX: usize = 80;
    match kind {
        TreeValue::Text(text)
        | TreeValue::Untyped {
            text,
            hidden: false,
        } => {
            // Debug escapes what a terminal would act upon.
            match text.char_indices().nth(CHARS_MAX) {
                None => format!("{text:?}"),
                Some((end, _)) => format!("{:?}…", &text[..end]),
            }
        }
        TreeValue::Untyped { hidden: true, .. } => "what it points to".to_owned(),
        TreeValue::Integer(number) => number.to_string(),
        TreeValue::Boolean(yes) => yes.to_string(),
        TreeValue::Foreign(form) => (*form).to_owned(),
        TreeValue::List(_) => "a list".to_owned(),
        TreeValue::Table(_) | TreeValue::Unreadable => "a section".to_owned(),
    }
}
