//! Parses single values: durations, sizes, addresses, secrets.
//!
//! Pure. A message repeats a value of the file, so that people find it; it
//! never repeats a secret, or what was read through `env:` or `file:`.

use std::{
    fmt::Display,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use hookrill_core::{Pointer, Secret};
use hookrill_verify::{Partition, http::Method};
use ipnet::{IpNet, Ipv4Net};

use super::{diagnostic::Mistake, secrets, tree::TreeValue};
use crate::{
    access::Policy, http::Compression, rate::Rate, telemetry::LogFormat, wire::ShownHeader,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Any text that is not empty.
pub(super) fn text(value: &TreeValue) -> Result<String, Mistake> {
    match as_str(value, "a string in quotes")? {
        "" => Err("must not be empty; write a value, or remove the key".into()),
        text => Ok(text.to_owned()),
    }
}

/// The path of a file or folder.
pub(super) fn path(value: &TreeValue) -> Result<PathBuf, Mistake> {
    let path = text(value)?;
    match unexpanded(&path) {
        Some(what) => Err(format!("{what}; write the whole path, not {}", quoted(value)).into()),
        None => Ok(path.into()),
    }
}

/// What a shell would have replaced at the start of a path.
pub(super) fn unexpanded(path: &str) -> Option<&'static str> {
    let variable = path.strip_prefix('$').unwrap_or_default();
    if path.starts_with('~') {
        Some("`~` stands for no folder here, since no shell reads this")
    } else if variable.starts_with(|c: char| c == '{' || c.is_ascii_alphabetic()) {
        Some("no variable is read here, since no shell reads this")
    } else {
        None
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &TreeValue) -> Result<bool, Mistake> {
    match value {
        TreeValue::Boolean(boolean) => Ok(*boolean),
        TreeValue::Untyped { text, .. } if text == "true" => Ok(true),
        TreeValue::Untyped { text, .. } if text == "false" => Ok(false),
        _ => Err(not_a(value, "true or false, without quotes")),
    }
}

/// The longest body that a gateway can be told to take, in bytes.
pub const BODY_BYTES_MAX: usize = 64 << 20;

pub(super) fn body_bytes_max(value: &TreeValue) -> Result<usize, Mistake> {
    let bytes = size(value, KIB..=BODY_BYTES_MAX as u64)?;
    usize::try_from(bytes).map_err(Mistake::from_error)
}

pub(super) fn retain_bytes(value: &TreeValue) -> Result<u64, Mistake> {
    size(value, KIB..=u64::MAX)
}

pub(super) fn disk_reserve(value: &TreeValue) -> Result<u64, Mistake> {
    // The gateway looks at the free space only now and then, other programs
    // write to the disk as well, and a write that fails ends the gateway.
    size(value, 128 * MIB..=MIB << 20)
}

pub(super) fn commit_stall_max(value: &TreeValue) -> Result<Duration, Mistake> {
    // Disks that are well take a second now and then.
    duration(value, SECOND..=10 * MINUTE)
}

pub(super) fn retain_age(value: &TreeValue) -> Result<Duration, Mistake> {
    duration(value, SECOND..=36_500 * DAY)
}

pub(super) fn heartbeat(value: &TreeValue) -> Result<Duration, Mistake> {
    // Most proxies close a connection that is silent for a minute; 10 minutes
    // are for people who know that theirs does not.
    duration(value, SECOND..=10 * MINUTE)
}

pub(super) fn retry(value: &TreeValue) -> Result<Duration, Mistake> {
    duration(value, SECOND / 10..=10 * MINUTE)
}

pub(super) fn partial_events_bytes_max(value: &TreeValue) -> Result<usize, Mistake> {
    let bytes = size(value, MIB..=MIB << 20)?;
    usize::try_from(bytes).map_err(Mistake::from_error)
}

pub(super) fn dead_peer_max(value: &TreeValue) -> Result<Duration, Mistake> {
    duration(value, 5 * SECOND..=HOUR)
}

/// How old a stream may get.
pub(super) fn stream_age_max(value: &TreeValue) -> Result<Duration, Mistake> {
    duration(value, SECOND..=365 * DAY)
}

/// How long a long poll waits: proxies end what is silent for a minute.
pub(super) fn long_poll(value: &TreeValue) -> Result<Duration, Mistake> {
    duration(value, SECOND..=10 * MINUTE)
}

pub(super) fn sse_ttl(value: &TreeValue) -> Result<Duration, Mistake> {
    duration(value, SECOND..=DAY)
}

pub(super) fn page_bytes(value: &TreeValue) -> Result<usize, Mistake> {
    let bytes = size(value, KIB..=MIB)?;
    usize::try_from(bytes).map_err(Mistake::from_error)
}

/// Who is sent compressed streams.
pub(super) fn compression(value: &TreeValue) -> Result<Compression, Mistake> {
    let form = "\"browsers\", \"accept\" or \"off\"";
    match as_str(value, form)? {
        "browsers" => Ok(Compression::Browsers),
        "accept" => Ok(Compression::Accept),
        "off" => Ok(Compression::Off),
        _ => Err(not_a(value, form)),
    }
}

pub(super) fn shutdown_delay(value: &TreeValue) -> Result<Duration, Mistake> {
    duration(value, Duration::ZERO..=HOUR)
}

pub(super) fn shutdown_grace(value: &TreeValue) -> Result<Duration, Mistake> {
    duration(value, SECOND / 10..=HOUR)
}

pub(super) fn leeway(value: &TreeValue) -> Result<Duration, Mistake> {
    duration(value, Duration::ZERO..=10 * MINUTE)
}

pub(super) fn token_ttl_max(value: &TreeValue) -> Result<Duration, Mistake> {
    duration(value, MINUTE..=3_650 * DAY)
}

pub(super) fn tolerance(value: &TreeValue) -> Result<Duration, Mistake> {
    duration(value, SECOND..=DAY)
}

/// How long deliveries are remembered; `"off"` is `None`.
pub(super) fn dedup(value: &TreeValue) -> Result<Option<Duration>, Mistake> {
    if let TreeValue::Text(text) | TreeValue::Untyped { text, .. } = value
        && text == "off"
    {
        return Ok(None);
    }
    let window = duration(value, SECOND..=30 * DAY).map_err(|mistake| Mistake {
        message: format!("{}; or \"off\"", mistake.message),
        ..mistake
    })?;
    Ok(Some(window))
}

/// Whether duplicates are detected by the body alone.
pub(super) fn dedup_by(value: &TreeValue) -> Result<bool, Mistake> {
    let form = "\"id\" or \"body\"";
    match as_str(value, form)? {
        "id" => Ok(false),
        "body" => Ok(true),
        _ => Err(not_a(value, form)),
    }
}

/// A place in a JSON body.
pub(super) fn pointer(value: &TreeValue) -> Result<Pointer, Mistake> {
    const STEPS_MAX: usize = 32;
    let text = as_str(value, "a JSON pointer such as \"/data/id\"")?;
    let pointer: Pointer = text.parse().map_err(Mistake::from_error)?;
    if pointer.steps().len() > STEPS_MAX {
        return Err(format!("must have at most {STEPS_MAX} steps").into());
    }
    Ok(pointer)
}

/// A header that subscribers are shown.
pub(super) fn header_shown(value: &TreeValue) -> Result<ShownHeader, Mistake> {
    let form = "the name of a header";
    let name = as_str(value, form)?;
    ShownHeader::new(name)
        .map_err(|error| Mistake::caused_by(format!("{} can't be shown", quoted(value)), error))
}

pub(super) fn subscribers_max(value: &TreeValue) -> Result<usize, Mistake> {
    integer(value, 1..=10_000_000)
}

pub(super) fn refused_max(value: &TreeValue) -> Result<usize, Mistake> {
    integer(value, 0..=4_096)
}

/// How often something may happen.
pub(super) fn rate(value: &TreeValue) -> Result<Rate, Mistake> {
    let form = "a rate such as \"100/s\", \"600/m\" or \"5/h\"";
    let parsed = as_str(value, form)?.parse();
    parsed.map_err(|error| Mistake::caused_by(format!("{} is not a rate", quoted(value)), error))
}

pub(super) fn dedup_entries_max(value: &TreeValue) -> Result<u64, Mistake> {
    integer(value, 1..=1_000_000_000)
}

/// An IP address and a port.
pub(super) fn address(value: &TreeValue) -> Result<SocketAddr, Mistake> {
    let form = "an address and a port such as \"127.0.0.1:8080\" or \"[::]:8080\"";
    as_str(value, form)?.parse().map_err(|_| not_a(value, form))
}

/// The variable `PORT`.
pub(super) fn port(text: &str) -> Result<u16, Mistake> {
    let message = "PORT sets the port of server.listen, and must be a number from 0 to 65535";
    text.parse().map_err(|_| message.into())
}

/// A network in CIDR notation, or one address.
pub(super) fn network(value: &TreeValue) -> Result<IpNet, Mistake> {
    let form = "an address or a network such as \"10.0.0.7\" or \"10.0.0.0/8\"";
    let text = as_str(value, form)?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let network: IpNet = text.parse().map_err(|_| not_a(value, form))?;
    Ok(canonical(network))
}

/// The network as addresses of clients are written: IPv4 mapped into IPv6 as IPv4.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let bits = network.prefix_len().checked_sub(MAPPED_BITS);
    match (network.addr().to_canonical(), bits) {
        (IpAddr::V4(address), Some(bits)) if network.addr().is_ipv6() => {
            Ipv4Net::new(address, bits).map_or(network, Into::into)
        }
        _ => network,
    }
}

/// A level, or `tracing` filter directives.
pub(super) fn log_level(value: &TreeValue) -> Result<String, Mistake> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let form = "a log filter such as \"info\" or \"info,hookrill::hub=debug\"";
    let text = as_str(value, form)?;
    // The parser takes a single word that is not a level for the name of a
    // module, and would log nothing at all.
    let is_word = text.bytes().all(|b| b.is_ascii_alphabetic());
    let is_level = LEVELS.contains(&text.to_ascii_lowercase().as_str());
    let parsed = tracing_subscriber::EnvFilter::builder().parse(text);
    if text.is_empty() || (is_word && !is_level) || parsed.is_err() {
        return Err(not_a(value, form));
    }
    Ok(text.to_owned())
}

pub(super) fn log_format(value: &TreeValue) -> Result<LogFormat, Mistake> {
    let form = "\"text\" or \"json\"";
    match as_str(value, form)? {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(not_a(value, form)),
    }
}

pub(super) fn policy(value: &TreeValue) -> Result<Policy, Mistake> {
    let form = "\"public\" or \"token\"";
    match as_str(value, form)? {
        "public" => Ok(Policy::Public),
        "token" => Ok(Policy::Token),
        _ => Err(not_a(value, form)),
    }
}

/// A method by which events come.
pub(super) fn method(value: &TreeValue) -> Result<Method, Mistake> {
    let form = "\"POST\", \"PUT\", \"PATCH\", \"DELETE\" or \"GET\"";
    match as_str(value, form)? {
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        "DELETE" => Ok(Method::DELETE),
        "GET" => Ok(Method::GET),
        _ => Err(not_a(value, form)),
    }
}

/// Whether forms are read as JSON.
pub(super) fn decode(value: &TreeValue) -> Result<bool, Mistake> {
    let form = "\"auto\" or \"off\"";
    match as_str(value, form)? {
        "auto" => Ok(true),
        "off" => Ok(false),
        _ => Err(not_a(value, form)),
    }
}

/// The subtopic of each delivery.
pub(super) fn partition(value: &TreeValue) -> Result<Partition, Mistake> {
    let form = "a partition such as \"{/data/object/customer}\"";
    let parsed = as_str(value, form)?.parse();
    parsed
        .map_err(|error| Mistake::caused_by(format!("{} is not a partition", quoted(value)), error))
}

/// The secret that signs subscriber tokens.
///
/// RFC 7518, 3.2: a key for HS256 has at least the size of its hash.
pub(super) fn token_secret(value: &TreeValue) -> Result<Secret, Mistake> {
    secret_with(value, 32)
}

/// The operator's token, which must fit into an `Authorization` header.
pub(super) fn admin_token(value: &TreeValue) -> Result<Secret, Mistake> {
    let secret = secret_with(value, 16)?;
    if !secret.expose().iter().all(u8::is_ascii_graphic) {
        return Err(
            "must consist of printable ASCII characters without spaces, to fit into a header; \
             create one with: openssl rand -hex 32"
                .into(),
        );
    }
    Ok(secret)
}

fn secret_with(value: &TreeValue, bytes_min: usize) -> Result<Secret, Mistake> {
    let text = secret_text(value)?;
    let len = text.len();
    if len < bytes_min {
        return Err(format!(
            "must have at least {bytes_min} bytes, not {len}; \
             create one with: openssl rand -hex 32"
        )
        .into());
    }
    Ok(Secret::new(text.as_bytes()))
}

/// A secret as it was written. Never empty.
pub(super) fn secret(value: &TreeValue) -> Result<String, Mistake> {
    secret_text(value).map(str::to_owned)
}

fn secret_text(value: &TreeValue) -> Result<&str, Mistake> {
    secrets::refuse_lookalike(value)?;
    match value {
        TreeValue::Text(text) | TreeValue::Untyped { text, .. } if text.trim().is_empty() => {
            Err("must not be empty; write the secret, or env:NAME or file:PATH".into())
        }
        TreeValue::Text(text) | TreeValue::Untyped { text, .. } => Ok(text),
        _ => Err("must be a string in quotes: the secret, or env:NAME or file:PATH".into()),
    }
}

fn duration(value: &TreeValue, allowed: RangeInclusive<Duration>) -> Result<Duration, Mistake> {
    let form = "a duration with a unit such as \"15s\", \"5m\" or \"7d\"";
    // humantime reads a lone 0, and nothing else, without a unit.
    let parsed = humantime::parse_duration(as_str(value, form)?);
    let duration = parsed.map_err(|_| not_a(value, form))?;
    in_range(duration, value, &allowed, |duration| in_days(*duration))
}

/// A duration as people write it. humantime alone would show 3650 days as
/// years, months and seconds.
fn in_days(duration: Duration) -> String {
    let secs = duration.as_secs();
    if secs > 0 && secs.is_multiple_of(DAY.as_secs()) {
        format!("{}d", secs / DAY.as_secs())
    } else {
        humantime::format_duration(duration).to_string()
    }
}

fn size(value: &TreeValue, allowed: RangeInclusive<u64>) -> Result<u64, Mistake> {
    let form = "a size such as \"10 GiB\", \"500 MB\" or a number of bytes";
    let bytes = if let TreeValue::Integer(bytes) = value {
        u64::try_from(*bytes).map_err(|_| not_a(value, form))?
    } else {
        let parsed = as_str(value, form)?.parse::<bytesize::ByteSize>();
        parsed.map_err(|_| not_a(value, form))?.as_u64()
    };
    in_range(bytes, value, &allowed, |bytes| {
        bytesize::ByteSize(*bytes).display().iec().to_string()
    })
}

fn integer<T>(value: &TreeValue, allowed: RangeInclusive<T>) -> Result<T, Mistake>
where
    T: TryFrom<i64> + FromStr + PartialOrd + Display,
{
    let parsed = match value {
        TreeValue::Integer(integer) => T::try_from(*integer).ok(),
        TreeValue::Untyped { text, .. } => text.parse().ok(),
        _ => return Err(not_a(value, "a whole number, without quotes")),
    };
    let number = parsed.ok_or_else(|| {
        let (min, max) = (allowed.start(), allowed.end());
        not_a(value, &format!("a whole number from {min} to {max}"))
    })?;
    in_range(number, value, &allowed, ToString::to_string)
}

fn in_range<T: PartialOrd>(
    number: T,
    value: &TreeValue,
    allowed: &RangeInclusive<T>,
    display: impl Fn(&T) -> String,
) -> Result<T, Mistake> {
    if allowed.contains(&number) {
        return Ok(number);
    }
    let (min, max) = (display(allowed.start()), display(allowed.end()));
    Err(not_a(value, &format!("between {min} and {max}")))
}

/// The text of a string, wherever it was written; `form` is what the key needs.
pub(super) fn as_str<'v>(value: &'v TreeValue, form: &str) -> Result<&'v str, Mistake> {
    match value {
        TreeValue::Text(text) | TreeValue::Untyped { text, .. } => Ok(text),
        _ => Err(not_a(value, form)),
    }
}

/// "must be …, not `x`".
pub(super) fn not_a(value: &TreeValue, form: &str) -> Mistake {
    if let TreeValue::Untyped { secret: true, .. } = value {
        return format!("must be {form}; the value that env: or file: refers to is not").into();
    }
    format!("must be {form}, not {}", quoted(value)).into()
}

/// A value as a message may repeat it.
pub(super) fn quoted(value: &TreeValue) -> String {
    const CHARS_MAX: usize = 80;
    match value {
        TreeValue::Text(text)
        | TreeValue::Untyped {
            text,
            secret: false,
        } => {
            // Debug escapes what a terminal would act on.
            match text.char_indices().nth(CHARS_MAX) {
                None => format!("{text:?}"),
                Some((end, _)) => format!("{:?}…", &text[..end]),
            }
        }
        TreeValue::Untyped { secret: true, .. } => {
            "the value that env: or file: refers to".to_owned()
        }
        TreeValue::Integer(integer) => integer.to_string(),
        TreeValue::Boolean(boolean) => boolean.to_string(),
        TreeValue::Unsupported(form) => (*form).to_owned(),
        TreeValue::List(_) => "a list".to_owned(),
        TreeValue::Table(_) | TreeValue::Invalid => "a section".to_owned(),
    }
}
