//! What a subscriber asks for: path, query and headers.
//!
//! Refuses what cannot be meant, and names it: two values of a parameter that
//! may be given once, a cursor that is not one. Decides nothing: whether a
//! stream is granted is for `access`.

use hookrill_core::{Cursor, Epoch, Topic, Topics};
use http::{HeaderMap, HeaderName, Uri, header};
use percent_encoding::percent_decode_str;

use super::{
    negotiation::{Compression, CompressionAsked, coding, prefers_lines},
    problem::ProblemDetails,
    query::QueryParams,
    since::since,
    tokens::tokens,
};
use crate::{
    subscribe::{self, LAST_MAX, Start},
    wire::{AskedFrom, ForeignId, Form, Format},
};

/// The most topics of one stream.
const TOPICS_MAX: usize = 64;
/// The most event types that `types` may name.
const TYPES_MAX: usize = 64;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a subscriber asks for.
pub(super) struct SubscribeParams {
    pub(super) topics: Topics,
    pub(super) request: subscribe::Request,
    /// The first that holds counts.
    pub(super) tokens: Vec<String>,
}

impl SubscribeParams {
    /// # Errors
    ///
    /// A problem that names the parameter or header.
    pub(super) fn read(
        uri: &Uri,
        headers: &HeaderMap,
        epoch: Epoch,
        compression: Compression,
    ) -> Result<Self, ProblemDetails> {
        let query = QueryParams::of_events(uri, epoch)?;
        let format = format(&query, headers)?;
        let start = start(&query, headers)?;
        Ok(Self {
            topics: topics(uri.path(), "/events/", &query)?,
            request: subscribe::Request {
                start: start.start,
                foreign_id: start.foreign_id,
                resumes: start.resumes,
                types: types(&query)?,
                format,
                coding: coding(headers, compression_asked(&query)?, compression),
                names: names(&query)?,
                data_bytes_max: data_bytes_max(&query)?,
            },
            tokens: tokens(&query, headers)?,
        })
    }
}

/// The topics in the path below `root`, and in the query.
pub(super) fn topics(
    path: &str,
    root: &str,
    query: &QueryParams,
) -> Result<Topics, ProblemDetails> {
    let in_path = path.strip_prefix(root);
    let in_path = in_path.filter(|raw| !raw.is_empty()).map(without_slash);
    let in_path = in_path.map(|raw| percent_decode_str(raw).decode_utf8_lossy());
    let mut topics: Vec<Topic> = Vec::new();
    for name in in_path.as_deref().into_iter().chain(query.all("topic")) {
        if topics.len() == TOPICS_MAX {
            let why = format!("a stream can have at most {TOPICS_MAX} topics");
            return Err(ProblemDetails::parameter("topic", why));
        }
        match name.parse() {
            Ok(topic) => topics.push(topic),
            Err(error) => return Err(ProblemDetails::parameter("topic", error)),
        }
    }
    if topics.is_empty() {
        return Ok(Topics::All);
    }
    Ok(Topics::these(topics))
}

/// Without one slash at the end, which frameworks and people add.
fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// Where a subscriber is that is not served, if it says so: at another server's id too,
/// of which it is to be told when it is served.
pub(super) fn place(uri: &Uri, headers: &HeaderMap, epoch: Epoch) -> Option<AskedFrom> {
    let query = QueryParams::of_events(uri, epoch).ok()?;
    let asked = start(&query, headers).ok()?;
    if let Some(id) = asked.foreign_id {
        return Some(AskedFrom::Foreign(id));
    }
    match asked.start {
        Start::After(cursor) => Some(cursor.into()),
        Start::Now | Start::Earliest | Start::Last(_) | Start::Ago(_) | Start::At(_) => None,
    }
}

/// Where a stream is asked to begin.
struct StartParams {
    start: Start,
    foreign_id: Option<ForeignId>,
    /// Whether the subscriber came with an id that it was given.
    resumes: bool,
}

/// `Last-Event-ID` wins over what stands for it in the query, that over `since`, and
/// `since` over `last`. An id that is not one of ours is passed over, and returned for
/// a gap to tell of it: refused, an `EventSource` would be closed for good.
fn start(query: &QueryParams, headers: &HeaderMap) -> Result<StartParams, ProblemDetails> {
    let last = query.one("last")?.map(last).transpose()?;
    let since = query.one("since")?.map(since).transpose()?;
    let header = headers.get_all(LAST_EVENT_ID).into_iter();
    let header: Vec<_> = header
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    let mut foreign_id = None;
    for seen in [
        last_event_id(header.iter().map(AsRef::as_ref)),
        last_event_id(query.last_event_ids()),
    ] {
        match seen {
            Some(Ok(cursor)) => {
                return Ok(StartParams {
                    start: Start::After(cursor),
                    foreign_id,
                    resumes: true,
                });
            }
            Some(Err(id)) => foreign_id = foreign_id.or(Some(id)),
            None => {}
        }
    }
    Ok(StartParams {
        start: since.or(last).unwrap_or(Start::Now),
        resumes: foreign_id.is_some(),
        foreign_id,
    })
}

/// The id among these, where there is one: an empty one means that nothing was seen,
/// and of several that differ nobody can tell.
fn last_event_id<'i>(ids: impl Iterator<Item = &'i str>) -> Option<Result<Cursor, ForeignId>> {
    let mut ids: Vec<_> = ids.map(str::trim).filter(|id| !id.is_empty()).collect();
    ids.dedup();
    let [id] = *ids else {
        return (!ids.is_empty()).then(|| Err(ForeignId::new(&ids.join(", "))));
    };
    Some(id.parse().map_err(|_| ForeignId::new(id)))
}

pub(super) fn last(text: &str) -> Result<Start, ProblemDetails> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(count) if is_plain && (1..=LAST_MAX).contains(&count) => Ok(Start::Last(count)),
        _ => {
            let why = format!("it must be a number from 1 to {LAST_MAX}");
            Err(ProblemDetails::parameter("last", why))
        }
    }
}

pub(super) fn types(query: &QueryParams) -> Result<Option<Box<[Box<str>]>>, ProblemDetails> {
    let Some(list) = query.one("types")? else {
        return Ok(None);
    };
    let mut types: Vec<Box<str>> = list.split(',').map(|name| name.trim().into()).collect();
    if types.iter().any(|name| name.is_empty()) {
        let why = "it must be a list such as push,issues";
        return Err(ProblemDetails::parameter("types", why));
    }
    if types.len() > TYPES_MAX {
        let why = format!("it can name at most {TYPES_MAX} types");
        return Err(ProblemDetails::parameter("types", why));
    }
    // Those who name the same share what is read for them.
    types.sort_unstable();
    types.dedup();
    Ok(Some(types.into()))
}

fn format(query: &QueryParams, headers: &HeaderMap) -> Result<Format, ProblemDetails> {
    let named = match query.one("format")? {
        None | Some("raw") => Format::Raw,
        Some("cloudevents") => Format::CloudEvents,
        Some("delivery") => Format::Delivery,
        Some("smee") if is_gosmee(headers) => Format::Gosmee,
        Some("smee") => Format::Smee,
        Some("gosmee") => Format::Gosmee,
        Some(_) => {
            let why = "it must be raw, cloudevents, delivery, smee or gosmee";
            return Err(ProblemDetails::parameter("format", why));
        }
    };
    Ok(match named {
        Format::Raw | Format::CloudEvents if prefers_lines(headers) => Format::NdJson,
        Format::Delivery if prefers_lines(headers) => Format::DeliveryLines,
        named => named,
    })
}

/// Whether this is gosmee's client, which needs other texts than smee's. All that it is
/// sent with a 200 it takes for deliveries, so it must not be put off by one.
pub(super) fn is_for_gosmee(uri: &Uri, headers: &HeaderMap) -> bool {
    let query = uri.query().unwrap_or_default();
    let mut pairs = query.split('&');
    is_gosmee(headers) || pairs.any(|pair| pair == "format=gosmee")
}

fn is_gosmee(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT);
    agent.is_some_and(|agent| agent.as_bytes().starts_with(b"gosmee/"))
}

/// Who wants its stream compressed says `compress=gzip`; who can't read that, `off`.
fn compression_asked(query: &QueryParams) -> Result<Option<CompressionAsked>, ProblemDetails> {
    match query.one("compress")? {
        None => Ok(None),
        Some("gzip") => Ok(Some(CompressionAsked::Gzip)),
        Some("off") => Ok(Some(CompressionAsked::Off)),
        Some(_) => Err(ProblemDetails::parameter(
            "compress",
            "it must be gzip or off",
        )),
    }
}

fn names(query: &QueryParams) -> Result<Option<bool>, ProblemDetails> {
    match query.one("names")? {
        None => Ok(None),
        Some("on") => Ok(Some(true)),
        Some("off") => Ok(Some(false)),
        Some(_) => Err(ProblemDetails::parameter("names", "it must be on or off")),
    }
}

/// In bytes; a bound that no event reaches where there is none.
fn data_bytes_max(query: &QueryParams) -> Result<u32, ProblemDetails> {
    const NAME: &str = "bytes_max";
    let Some(text) = query.one(NAME)? else {
        return Ok(Form::DATA_BYTES_UNBOUNDED);
    };
    let size = text.parse::<bytesize::ByteSize>().ok();
    match size.map(|size| size.as_u64()) {
        Some(bytes @ 1..) => Ok(u32::try_from(bytes).unwrap_or(Form::DATA_BYTES_UNBOUNDED)),
        _ => {
            let why = "it must be a size such as 64KiB or 500KB, or a number of bytes";
            Err(ProblemDetails::parameter(NAME, why))
        }
    }
}
