//! What a reader of `/streams` asks for: path, query and headers.
//!
//! Parameters that nobody knows are ignored (Durable Streams, section 5.6, and its
//! conformance tests); of those that are known, what cannot be meant is refused and
//! named.

use hookrill_core::Topics;
use http::{HeaderMap, Uri};

use super::offset;
use crate::{
    http::{
        negotiation::prefers_lines,
        params::{last, topics, types},
        problem::ProblemDetails,
        query::QueryParams,
        since::since,
        tokens::tokens,
    },
    subscribe::Start,
    wire::Format,
};

/// The most events of a page, and how many it has where nobody says.
const EVENTS_MAX: usize = 1_000;
/// The largest cursor that is taken: what is added to it has room.
const CURSOR_MAX: u64 = u64::MAX / 2;

/// What a reader asks for.
pub(super) struct Asked {
    pub(super) topics: Topics,
    pub(super) start: Start,
    /// Whether the answer is the same whenever it is asked for, as far as it goes.
    pub(super) has_offset: bool,
    pub(super) live: Live,
    /// What the reader was given as `Stream-Cursor`.
    pub(super) cursor: Option<u64>,
    pub(super) types: Option<Box<[Box<str>]>>,
    pub(super) format: Format,
    pub(super) events_max: usize,
    pub(super) shape: Shape,
    /// The first that holds counts.
    pub(super) tokens: Vec<String>,
}

/// What happens where nothing more is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Live {
    No,
    LongPoll,
    Sse,
}

/// What is around the events of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Array,
    Lines,
}

impl Asked {
    /// # Errors
    ///
    /// A problem that names the parameter.
    pub(super) fn read(uri: &Uri, headers: &HeaderMap) -> Result<Self, ProblemDetails> {
        let query = QueryParams::from_uri(uri)?;
        let given = start(&query)?;
        let live = live(&query)?;
        if live != Live::No && given.is_none() {
            let why = "it must be given where live is: -1, now, or the offset of a response";
            return Err(ProblemDetails::parameter("offset", why));
        }
        let (start, has_offset) = given.unwrap_or((Start::Earliest, true));
        Ok(Self {
            topics: topics(uri.path(), "/streams/", &query)?,
            start,
            has_offset,
            live,
            cursor: cursor(&query)?,
            types: types(&query)?,
            format: format(&query)?,
            events_max: limit(&query)?,
            shape: if prefers_lines(headers) {
                Shape::Lines
            } else {
                Shape::Array
            },
            tokens: tokens(&query, headers)?,
        })
    }
}

/// Where to begin, and whether an offset says so that stays where it is.
fn start(query: &QueryParams) -> Result<Option<(Start, bool)>, ProblemDetails> {
    let by_offset = query.one("offset")?.map(at_offset).transpose()?;
    let by_time = query.one("since")?.map(since).transpose()?;
    let by_count = query.one("last")?.map(last).transpose()?;
    let others = by_time
        .into_iter()
        .chain(by_count)
        .map(|start| (start, false));
    let all: Vec<_> = by_offset.into_iter().chain(others).collect();
    match *all {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => {
            let why = "only one of offset, since and last can say where to begin";
            Err(ProblemDetails::parameter("offset", why))
        }
    }
}

fn at_offset(text: &str) -> Result<(Start, bool), ProblemDetails> {
    match text {
        "-1" => return Ok((Start::Earliest, true)),
        "now" => return Ok((Start::Now, false)),
        _ => {}
    }
    if let Some(cursor) = offset::parse(text) {
        return Ok((Start::After(cursor), true));
    }
    let why = "it must be -1 for the beginning, now for the end, an offset that a response \
               gave as Stream-Next-Offset, or the id of an event";
    Err(ProblemDetails::parameter("offset", why))
}

fn live(query: &QueryParams) -> Result<Live, ProblemDetails> {
    match query.one("live")? {
        None | Some("false") => Ok(Live::No),
        Some("long-poll") => Ok(Live::LongPoll),
        Some("sse") => Ok(Live::Sse),
        Some(_) => Err(ProblemDetails::parameter(
            "live",
            "it must be long-poll or sse",
        )),
    }
}

fn cursor(query: &QueryParams) -> Result<Option<u64>, ProblemDetails> {
    let Some(text) = query.one("cursor")? else {
        return Ok(None);
    };
    let number = text.parse().ok().filter(|number| *number <= CURSOR_MAX);
    if let Some(number) = number.filter(|_| text.bytes().all(|b| b.is_ascii_digit())) {
        return Ok(Some(number));
    }
    let why = if offset::parse(text).is_some() {
        "it is a place in the stream: give it as offset"
    } else {
        "it must be the number that a response gave as Stream-Cursor"
    };
    Err(ProblemDetails::parameter("cursor", why))
}

fn format(query: &QueryParams) -> Result<Format, ProblemDetails> {
    match query.one("format")? {
        None | Some("cloudevents") => Ok(Format::NdJson),
        Some("raw") => Ok(Format::RawNdJson),
        Some(_) => Err(ProblemDetails::parameter(
            "format",
            "it must be cloudevents or raw",
        )),
    }
}

fn limit(query: &QueryParams) -> Result<usize, ProblemDetails> {
    let Some(text) = query.one("limit")? else {
        return Ok(EVENTS_MAX);
    };
    let is_plain = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(count) if is_plain && (1..=EVENTS_MAX).contains(&count) => Ok(count),
        _ => {
            let why = format!("it must be a number from 1 to {EVENTS_MAX}");
            Err(ProblemDetails::parameter("limit", why))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(query: &str) -> Result<Asked, String> {
        let uri: Uri = format!("/streams/a?{query}").parse().unwrap();
        Asked::read(&uri, &HeaderMap::new()).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn a_place_to_begin_is_an_offset_a_cursor_a_time_or_a_count() {
        let after = |sequence: &str| Start::After(sequence.parse().unwrap());
        for (query, start, has_offset) in [
            ("", Start::Earliest, true),
            ("offset=-1", Start::Earliest, true),
            ("offset=now", Start::Now, false),
            ("offset=e_00000000000000000007", after("e-7"), true),
            ("offset=e-7", after("e-7"), true),
            ("since=10m", Start::Ago(Duration::from_secs(600)), false),
            ("last=5", Start::Last(5), false),
        ] {
            let asked = read(query).ok().unwrap();
            assert_eq!(
                (asked.start, asked.has_offset),
                (start, has_offset),
                "{query}"
            );
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_name() {
        for (query, name) in [
            ("offset=", "offset: "),
            ("offset=0,1", "offset: "),
            ("offset=0%201", "offset: "),
            ("offset=-1&offset=now", "offset: it is given more than once"),
            ("offset=-1&since=10m", "offset: only one of"),
            ("since=yesterday", "since: "),
            ("last=0", "last: "),
            ("live=sse", "offset: it must be given"),
            ("live=long-poll", "offset: it must be given"),
            ("offset=-1&live=websocket", "live: "),
            ("offset=-1&live=", "live: "),
            ("cursor=e-7", "cursor: it is a place in the stream"),
            ("cursor=x", "cursor: it must be the number"),
            ("cursor=", "cursor: it must be the number"),
            ("cursor=%2B1", "cursor: it must be the number"),
            (
                "cursor=18446744073709551615",
                "cursor: it must be the number",
            ),
            ("limit=0", "limit: it must be a number from 1 to 1000"),
            ("limit=1001", "limit: it must be a number from 1 to 1000"),
            ("limit=%2B5", "limit: "),
            ("limit=99999999999999999999999", "limit: "),
            ("format=xml", "format: it must be cloudevents or raw"),
            ("types=,", "types: "),
            ("token=a&token=b", "token: "),
            ("topic=..", "topic: "),
        ] {
            let refused = read(query).err().unwrap();
            assert!(refused.starts_with(name), "{query}: {refused}");
        }
    }

    #[test]
    fn what_nobody_knows_is_ignored() {
        assert!(read("offset=-1&foo=bar&topics=x&lastEventId=7&_=1&Offset=x").is_ok());
    }
}
