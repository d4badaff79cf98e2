//! `GET /events`: a subscription's parameters, and its stream as a body.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    extract::{Query, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use percent_encoding::percent_decode_str;

use super::{
    Gateway, client,
    patience::Streaming,
    refusal::{Refusal, Waiter, come_back_later, come_back_when_it_fits},
    writer::{Stream, Takeable},
};
use crate::{
    access::{AccessError, Grant, TokenError},
    event::{
        Cursor, Timestamp, Topic, Topics,
        frame::{Coding, Format},
    },
    subscribe::{self, LAST_MAX, Start},
};

/// The most topics on one stream.
const TOPICS_MAX: usize = 64;
/// The most event types that `types` may name.
const TYPES_MAX: usize = 64;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const TOKEN_COOKIE: &str = "hookrill_token";
const EVENT_STREAM: &str = "text/event-stream";
const NDJSON: &str = "application/x-ndjson";

/// What a subscriber asks for, as it was understood.
struct Asked {
    topics: Topics,
    request: subscribe::Request,
    token: Option<String>,
}

pub(super) async fn subscribe(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let waiter = Waiter {
        event_source: accepts(request.headers(), EVENT_STREAM),
        version: request.version(),
    };
    let client = client::address(&request, &gateway.settings().trusted_proxies);
    if let Err(over) = gateway.admit_to_events(client) {
        return come_back_when_it_fits(waiter, over);
    }
    let asked = match Asked::read(request.uri(), request.headers()) {
        Ok(asked) => asked,
        Err(refusal) => {
            gateway.telemetry.subscribe_refused("malformed");
            return refusal.into_response();
        }
    };
    let token = asked.token.as_deref();
    let grant = match gateway.grant(&asked.topics, token).await {
        Ok(grant) => grant,
        Err(error) => {
            gateway.telemetry.subscribe_refused(reason(&error));
            if gateway.log_budget.take(gateway.clock.now()) {
                let client = client.map(tracing::field::display);
                tracing::info!(client, %error, "subscription refused");
            }
            return match error {
                // Its issuer may be back before the token ends.
                AccessError::TokenBad(TokenError::KeysMissing(_)) => {
                    come_back_later(waiter, "the keys of the token's issuer cannot be had")
                }
                error => Refusal::from(error).into_response(),
            };
        }
    };
    if gateway.streams.draining() {
        gateway.telemetry.subscribe_refused("draining");
        return come_back_later(waiter, "the gateway is about to stop");
    }
    let weight = weight(grant.topics()).min(gateway.settings().subscribers_max);
    let weight = u32::try_from(weight).unwrap_or(u32::MAX);
    let Ok(permit) = Arc::clone(&gateway.stream_permits).try_acquire_many_owned(weight) else {
        gateway.telemetry.subscribe_refused("subscribers_max");
        return come_back_later(waiter, "there are as many subscribers as there may be");
    };
    let seat = match gateway.seat(client) {
        Ok(seat) => seat,
        Err(over) => return come_back_when_it_fits(waiter, over),
    };
    let now = gateway.clock.now();
    let head = head(&asked.request, now);
    // A server that only took the router has no connections to look after.
    let streaming_on = request.extensions().get::<Streaming>();
    let lifetime = grant.expires_at().map(|end| end.since(now));
    let held = streaming_on.map(|connection| connection.hold(lifetime));
    let takeable = request.extensions().get::<Takeable>().is_some();
    match gateway.streams.open(&grant, asked.request).await {
        // A revocation between the look at the token and the stream's opening
        // found no stream to end.
        Ok(_) if gateway.access.is_revoked(&grant) => {
            gateway.telemetry.subscribe_refused("token_bad");
            Refusal::from(AccessError::TokenBad(TokenError::Revoked)).into_response()
        }
        Ok(subscription) => {
            let stream = Stream {
                subscription,
                places: (permit, seat, held),
            };
            match takeable {
                true => stream.riding_on(head.into_response()),
                false => (head, stream.into_body()).into_response(),
            }
        }
        Err(error) => {
            gateway.telemetry.subscribe_refused("journal");
            tracing::error!(%error, "no stream: the journal cannot be read");
            come_back_later(waiter, "the journal cannot be read")
        }
    }
}

impl Gateway {
    /// Looks at the token, and once more where its issuer's keys were old.
    async fn grant(&self, topics: &Topics, token: Option<&str>) -> Result<Grant, AccessError> {
        let check = || self.access.check(topics.clone(), token, self.clock.now());
        let checked = check();
        let Err(AccessError::TokenBad(
            TokenError::KeyUnknown(issuer) | TokenError::KeysMissing(issuer),
        )) = checked
        else {
            return checked;
        };
        match self.key_sets.refresh(issuer).await {
            true => check(),
            false => checked,
        }
    }
}

/// How many places a stream takes: each topic has a channel, and a stream of
/// many must not cost as much as many streams for the price of one.
fn weight(topics: &Topics) -> usize {
    const TOPICS_PER_PLACE: usize = 8;
    match topics {
        Topics::All => 1,
        Topics::These(topics) => topics.len().div_ceil(TOPICS_PER_PLACE),
    }
}

fn reason(error: &AccessError) -> &'static str {
    match error {
        AccessError::UnknownTopic(_) => "topic_unknown",
        AccessError::TokenMissing => "token_missing",
        AccessError::TokenBad(_) => "token_bad",
        AccessError::NotCovered(_) => "topic_not_covered",
    }
}

/// What a stream's response says of it.
fn head(request: &subscribe::Request, now: Timestamp) -> HeaderMap {
    let media_type = match request.format {
        Format::NdJson => NDJSON,
        Format::Raw | Format::CloudEvents => EVENT_STREAM,
    };
    let mut head = HeaderMap::new();
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-store"),
        // nginx would collect the stream into its buffers.
        (ACCEL_BUFFERING, "no"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::VARY, "accept-encoding"),
    ] {
        head.insert(name, HeaderValue::from_static(value));
    }
    if request.coding == Coding::Gzip {
        head.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    // hyper adds it, but not to a response that it does not write.
    head.insert(header::DATE, date(now));
    head
}

/// The time as HTTP writes it (RFC 9110, section 5.6.7).
fn date(now: Timestamp) -> HeaderValue {
    let at = UNIX_EPOCH + Duration::from_millis(now.unix_ms());
    let text = httpdate::fmt_http_date(at);
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

impl Asked {
    fn read(uri: &Uri, headers: &HeaderMap) -> Result<Self, Refusal> {
        let query = Parameters::of(uri)?;
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
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn of(uri: &Uri) -> Result<Self, Refusal> {
        let pairs = Query::try_from_uri(uri);
        let Query(pairs) = pairs.map_err(|_| Refusal::parameter("query", "it cannot be read"))?;
        Ok(Self(pairs))
    }

    fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        let named = self.0.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may stand once.
    pub(super) fn one<'q>(&'q self, name: &'q str) -> Result<Option<&'q str>, Refusal> {
        let mut values = self.all(name);
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(Refusal::parameter(name, "it stands more than once")),
        }
    }
}

fn topics(path: &str, query: &Parameters) -> Result<Topics, Refusal> {
    let in_path = path.strip_prefix("/events/");
    let in_path = in_path.map(|raw| percent_decode_str(raw).decode_utf8_lossy().into_owned());
    let mut topics: Vec<Topic> = Vec::new();
    for name in in_path.as_deref().into_iter().chain(query.all("topic")) {
        if topics.len() == TOPICS_MAX {
            let why = format!("a stream has at most {TOPICS_MAX} topics");
            return Err(Refusal::parameter("topic", why));
        }
        topics.push(name.parse().map_err(|e| Refusal::parameter("topic", e))?);
    }
    Ok(match topics.is_empty() {
        true => Topics::All,
        false => Topics::these(topics),
    })
}

/// `Last-Event-ID` wins over `since`, and `since` over `last`; each is checked
/// all the same.
fn start(query: &Parameters, headers: &HeaderMap) -> Result<Start, Refusal> {
    let last = query.one("last")?.map(last).transpose()?;
    let since = query.one("since")?.map(since).transpose()?;
    let seen = last_event_id(headers)?;
    Ok(seen.or(since).or(last).unwrap_or(Start::Now))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Start>, Refusal> {
    let refuse = |why: &str| Refusal::parameter("Last-Event-ID", why);
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

fn since(text: &str) -> Result<Start, Refusal> {
    if text == "earliest" {
        return Ok(Start::Earliest);
    }
    let cursor = text.parse().map_err(|error| {
        let why = format!("it is earliest or a cursor; {error}");
        Refusal::parameter("since", why)
    })?;
    Ok(Start::After(cursor))
}

fn last(text: &str) -> Result<Start, Refusal> {
    let count = text
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse());
    match count {
        Some(Ok(count)) if (1..=LAST_MAX).contains(&count) => Ok(Start::Last(count)),
        _ => {
            let why = format!("it is a number from 1 to {LAST_MAX}");
            Err(Refusal::parameter("last", why))
        }
    }
}

fn types(query: &Parameters) -> Result<Option<Box<[Box<str>]>>, Refusal> {
    let Some(list) = query.one("types")? else {
        return Ok(None);
    };
    let types: Box<[Box<str>]> = list.split(',').map(|name| name.trim().into()).collect();
    if types.iter().any(|name| name.is_empty()) {
        return Err(Refusal::parameter(
            "types",
            "it is a list such as push,issues",
        ));
    }
    if types.len() > TYPES_MAX {
        let why = format!("it names at most {TYPES_MAX} types");
        return Err(Refusal::parameter("types", why));
    }
    Ok(Some(types))
}

fn format(query: &Parameters, headers: &HeaderMap) -> Result<Format, Refusal> {
    let named = match query.one("format")? {
        None | Some("raw") => Format::Raw,
        Some("cloudevents") => Format::CloudEvents,
        Some(_) => return Err(Refusal::parameter("format", "it is raw or cloudevents")),
    };
    Ok(match accepts(headers, NDJSON) {
        true => Format::NdJson,
        false => named,
    })
}

/// Whether `Accept` names this media type.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
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

fn token(query: &Parameters, headers: &HeaderMap) -> Option<String> {
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
    bearer(headers)
        .or_else(|| query.all("token").next().filter(|token| !token.is_empty()))
        .or_else(cookie)
        .map(str::to_owned)
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1), if there is
/// one.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
