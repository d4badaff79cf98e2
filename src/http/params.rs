//! What a subscriber asks for: path, query and headers.
//!
//! Refuses what cannot be meant, and names it: two values of a parameter that
//! stands once, a cursor that is none. Decides nothing: whether it is granted,
//! `access` says.

use axum::extract::Query;
use hookrill_core::{Cursor, Topic, Topics};
use http::{HeaderMap, HeaderName, Uri, header};
use percent_encoding::percent_decode_str;

use super::problem::ProblemDetails;
use crate::{
    subscribe::{self, LAST_MAX, Start},
    wire::{Coding, Format},
};

/// The most topics on one stream.
const TOPICS_MAX: usize = 64;
/// The most event types that `types` may name.
const TYPES_MAX: usize = 64;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const TOKEN_COOKIE: &str = "hookrill_token";
pub(super) const EVENT_STREAM: &str = "text/event-stream";
pub(super) const NDJSON: &str = "application/x-ndjson";

/// What a subscriber asks for, as it was understood.
pub(super) struct SubscribeParams {
    pub(super) topics: Topics,
    pub(super) request: subscribe::Request,
    pub(super) token: Option<String>,
}

impl SubscribeParams {
    /// # Errors
    ///
    /// The refusal that names the parameter or header.
    pub(super) fn read(uri: &Uri, headers: &HeaderMap) -> Result<Self, ProblemDetails> {
        let query = QueryParams::from_uri(uri)?;
        let format = format(&query, headers)?;
        Ok(Self {
            topics: topics(uri.path(), &query)?,
            request: subscribe::Request {
                start: start(&query, headers)?,
                types: types(&query)?,
                format,
                coding: coding(headers),
            },
            token: token(&query, headers),
        })
    }
}

/// The query's pairs, in their order.
pub(super) struct QueryParams(Vec<(String, String)>);

impl QueryParams {
    pub(super) fn from_uri(uri: &Uri) -> Result<Self, ProblemDetails> {
        let pairs = Query::try_from_uri(uri);
        let Query(pairs) =
            pairs.map_err(|_| ProblemDetails::parameter("query", "it cannot be read"))?;
        Ok(Self(pairs))
    }

    fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        let named = self.0.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may stand once.
    pub(super) fn one<'q>(&'q self, name: &'q str) -> Result<Option<&'q str>, ProblemDetails> {
        let mut values = self.all(name);
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(ProblemDetails::parameter(name, "it stands more than once")),
        }
    }
}

fn topics(path: &str, query: &QueryParams) -> Result<Topics, ProblemDetails> {
    let in_path = path.strip_prefix("/events/");
    let in_path = in_path.map(|raw| percent_decode_str(raw).decode_utf8_lossy().into_owned());
    let mut topics: Vec<Topic> = Vec::new();
    for name in in_path.as_deref().into_iter().chain(query.all("topic")) {
        if topics.len() == TOPICS_MAX {
            let why = format!("a stream has at most {TOPICS_MAX} topics");
            return Err(ProblemDetails::parameter("topic", why));
        }
        topics.push(
            name.parse()
                .map_err(|e| ProblemDetails::parameter("topic", e))?,
        );
    }
    Ok(match topics.is_empty() {
        true => Topics::All,
        false => Topics::these(topics),
    })
}

/// `Last-Event-ID` wins over `since`, and `since` over `last`; each is checked
/// all the same.
fn start(query: &QueryParams, headers: &HeaderMap) -> Result<Start, ProblemDetails> {
    let last = query.one("last")?.map(last).transpose()?;
    let since = query.one("since")?.map(since).transpose()?;
    let seen = last_event_id(headers)?;
    Ok(seen.or(since).or(last).unwrap_or(Start::Now))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Start>, ProblemDetails> {
    let refuse = |why: &str| ProblemDetails::parameter("Last-Event-ID", why);
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(refuse("it stands more than once"));
    }
    match value.to_str().map(str::trim) {
        Ok("") => Ok(None),
        Ok(text) => {
            let cursor: Result<Cursor, _> = text.parse();
            let cursor = cursor.map_err(|error| refuse(&error.to_string()))?;
            Ok(Some(Start::After(cursor)))
        }
        Err(_) => Err(refuse("it is not ASCII")),
    }
}

fn since(text: &str) -> Result<Start, ProblemDetails> {
    if text == "earliest" {
        return Ok(Start::Earliest);
    }
    let cursor = text.parse().map_err(|error| {
        let why = format!("it is earliest or a cursor; {error}");
        ProblemDetails::parameter("since", why)
    })?;
    Ok(Start::After(cursor))
}

fn last(text: &str) -> Result<Start, ProblemDetails> {
    let count = text
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse());
    match count {
        Some(Ok(count)) if (1..=LAST_MAX).contains(&count) => Ok(Start::Last(count)),
        _ => {
            let why = format!("it is a number from 1 to {LAST_MAX}");
            Err(ProblemDetails::parameter("last", why))
        }
    }
}

fn types(query: &QueryParams) -> Result<Option<Box<[Box<str>]>>, ProblemDetails> {
    let Some(list) = query.one("types")? else {
        return Ok(None);
    };
    let types: Box<[Box<str>]> = list.split(',').map(|name| name.trim().into()).collect();
    if types.iter().any(|name| name.is_empty()) {
        return Err(ProblemDetails::parameter(
            "types",
            "it is a list such as push,issues",
        ));
    }
    if types.len() > TYPES_MAX {
        let why = format!("it names at most {TYPES_MAX} types");
        return Err(ProblemDetails::parameter("types", why));
    }
    Ok(Some(types))
}

fn format(query: &QueryParams, headers: &HeaderMap) -> Result<Format, ProblemDetails> {
    let named = match query.one("format")? {
        None | Some("raw") => Format::Raw,
        Some("cloudevents") => Format::CloudEvents,
        Some(_) => {
            return Err(ProblemDetails::parameter(
                "format",
                "it is raw or cloudevents",
            ));
        }
    };
    Ok(match accepts(headers, NDJSON) {
        true => Format::NdJson,
        false => named,
    })
}

/// Whether `Accept` names this media type.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    listed(headers, header::ACCEPT)
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case(media_type))
}

/// Whether `Accept-Encoding` takes gzip (RFC 9110, section 12.5.3): named, or
/// meant by `*`, and not at a weight of zero.
fn coding(headers: &HeaderMap) -> Coding {
    let mut any = None;
    for range in listed(headers, header::ACCEPT_ENCODING) {
        let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
        let taken = !refused(parameters);
        match name.trim() {
            "*" => any = any.or(Some(taken)),
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => {
                return if taken {
                    Coding::Gzip
                } else {
                    Coding::Identity
                };
            }
            _ => {}
        }
    }
    match any {
        Some(true) => Coding::Gzip,
        Some(false) | None => Coding::Identity,
    }
}

/// Whether parameters have a weight of zero (RFC 9110, section 12.4.2).
fn refused(parameters: &str) -> bool {
    let weight = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    weight.is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0))
}

/// The elements of a header that is a list, over all its lines.
fn listed(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter();
    lines
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
}

fn token(query: &QueryParams, headers: &HeaderMap) -> Option<String> {
    let cookie = || {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == TOKEN_COOKIE)
            .map(|(_, value)| value.trim_matches('"'))
            .filter(|token| !token.is_empty())
    };
    bearer_token(headers)
        .or_else(|| query.all("token").next().filter(|token| !token.is_empty()))
        .or_else(cookie)
        .map(str::to_owned)
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1), if there is
/// one.
pub(super) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
