//! What a client takes, by its headers: `Accept`, `Accept-Encoding`, and whether it is
//! a browser.
//!
//! Reads weights (RFC 9110, section 12.4.2). Refuses nothing: who takes nothing that
//! there is gets Server-Sent Events as they are.

use http::{HeaderMap, HeaderName, header};

use super::media_types::{EVENT_STREAM, NDJSON};
use crate::wire::Coding;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Who is sent compressed streams, of those who accept gzip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Browsers, and who asks for it in the query: many other clients hand nothing out
    /// before a buffer of theirs is full, or take what is compressed for text.
    #[default]
    Browsers,
    /// All of them.
    Accept,
    /// Nobody.
    Off,
}

/// What the query says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompressionAsked {
    Gzip,
    Off,
}

/// Whether the client wants a line per event, and says so by name.
pub(super) fn prefers_lines(headers: &HeaderMap) -> bool {
    let lines = weight_of_name(headers, header::ACCEPT, NDJSON).unwrap_or(0.0);
    let type_range = |range: &str| {
        [EVENT_STREAM, "text/*", "*/*"]
            .iter()
            .position(|name| range.eq_ignore_ascii_case(name))
    };
    // The most specific range counts.
    let events = items(headers, header::ACCEPT)
        .filter_map(|(range, weight)| Some((type_range(range)?, weight)))
        .min_by_key(|(specificity, _)| *specificity)
        .map_or(0.0, |(_, weight)| weight);
    lines > 0.0 && lines >= events
}

/// Whether the client takes Server-Sent Events by name, as `EventSource` does.
pub(super) fn takes_event_stream(headers: &HeaderMap) -> bool {
    let weight = weight_of_name(headers, header::ACCEPT, EVENT_STREAM);
    weight.is_some_and(|weight| weight > 0.0) && !prefers_lines(headers)
}

/// Gzip where the client accepts it, prefers it, and is known to read it as it comes.
pub(super) fn coding(
    headers: &HeaderMap,
    asked: Option<CompressionAsked>,
    compression: Compression,
) -> Coding {
    let is_allowed = match (compression, asked) {
        (Compression::Off, _) | (_, Some(CompressionAsked::Off)) => false,
        (Compression::Accept, _) | (_, Some(CompressionAsked::Gzip)) => true,
        (Compression::Browsers, None) => is_browser(headers),
    };
    // Without the header every coding is acceptable, and only who asks wants one.
    let says_nothing = !headers.contains_key(header::ACCEPT_ENCODING);
    let is_wanted = match asked {
        Some(CompressionAsked::Gzip) => says_nothing || prefers_gzip(headers),
        _ => prefers_gzip(headers),
    };
    if is_allowed && is_wanted {
        Coding::Gzip
    } else {
        Coding::Identity
    }
}

/// By name, else by `*` (RFC 9110, section 12.5.3), and not less than the stream as it
/// is, where that is named.
fn prefers_gzip(headers: &HeaderMap) -> bool {
    let named = |name| weight_of_name(headers, header::ACCEPT_ENCODING, name);
    let gzip = named("gzip")
        .or_else(|| named("x-gzip"))
        .or_else(|| named("*"));
    let gzip = gzip.unwrap_or(0.0);
    gzip > 0.0 && gzip >= named("identity").unwrap_or(0.0)
}

/// Browsers say how they fetch. So does Node's `fetch`, which takes every language:
/// what it fetches is often passed on, by now inflated, with the header that says gzip.
fn is_browser(headers: &HeaderMap) -> bool {
    let takes_all_languages = headers
        .get(header::ACCEPT_LANGUAGE)
        .is_some_and(|value| value == "*");
    headers.contains_key(SEC_FETCH_MODE) && !takes_all_languages
}

fn weight_of_name(headers: &HeaderMap, header: HeaderName, name: &str) -> Option<f32> {
    let mut named = items(headers, header).filter(|(item, _)| item.eq_ignore_ascii_case(name));
    named.next().map(|(_, weight)| weight)
}

/// The items of a header that is a list, over all its lines, each with its weight.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = (&str, f32)> {
    let lines = headers.get_all(name).into_iter();
    let items = lines
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    items.map(|item| {
        let (what, parameters) = item.split_once(';').unwrap_or((item, ""));
        (what.trim(), weight(parameters))
    })
}

/// The weight among parameters; 1 where none can be read.
fn weight(parameters: &str) -> f32 {
    let weight = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_weight = name.trim().eq_ignore_ascii_case("q");
        is_weight.then(|| value.trim())
    });
    let weight = weight.and_then(|weight| weight.parse::<f32>().ok());
    weight.filter(|weight| weight.is_finite()).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn gzip_goes_to_who_accepts_it_and_never_against_a_weight() {
        for (accept, gzip) in [
            (&[][..], false),
            (&[""], false),
            (&["gzip"], true),
            (&["X-GZip"], true),
            (&["br, gzip;q=0.5"], true),
            (&["GZip ; q=0.5, br"], true),
            (&["gzip;q=0"], false),
            (&["gzip; Q=0.000"], false),
            (&["gzip;q=0, *"], false),
            (&["*;q=0, gzip"], true),
            (&["*"], true),
            (&["*;q=0"], false),
            (&["identity"], false),
            (&["identity, deflate, br, zstd"], false),
            (&["identity;q=1, gzip;q=0.5"], false),
            (&["identity;q=0.5, gzip"], true),
            (&["identity, gzip"], true),
            (&["identity;q=0.4, *;q=0.1"], false),
            (&["identity;q=0, gzip;q=0"], false),
            (&["gzip;q=much"], true),
            (&["gzip;q=nan"], true),
            (&["gzipped"], false),
            (&["br", "gzip"], true),
        ] {
            let lines: Vec<_> = accept
                .iter()
                .map(|&line| ("accept-encoding", line))
                .collect();
            let coding = coding(&headers(&lines), None, Compression::Accept);
            assert_eq!(coding == Coding::Gzip, gzip, "{accept:?}");
        }
    }

    #[test]
    fn without_more_gzip_is_for_browsers_and_for_who_asks() {
        use CompressionAsked::{Gzip, Off};
        let accepts = ("accept-encoding", "gzip, deflate, br");
        let refuses = ("accept-encoding", "identity");
        let fetches = ("sec-fetch-mode", "cors");
        let speaks = ("accept-language", "en-US,en;q=0.5");
        let node = ("accept-language", "*");
        let (browsers, accept, off) =
            (Compression::Browsers, Compression::Accept, Compression::Off);
        for (compression, asked, lines, gzip) in [
            (browsers, None, &[accepts][..], false),
            (browsers, None, &[accepts, fetches], true),
            (browsers, None, &[accepts, fetches, speaks], true),
            (browsers, None, &[accepts, fetches, node], false),
            (browsers, None, &[fetches], false),
            (browsers, Some(Gzip), &[accepts], true),
            (browsers, Some(Gzip), &[], true),
            (browsers, Some(Gzip), &[refuses], false),
            (browsers, Some(Off), &[accepts, fetches], false),
            (accept, None, &[accepts], true),
            (accept, Some(Off), &[accepts], false),
            (off, Some(Gzip), &[accepts, fetches], false),
        ] {
            let coding = coding(&headers(lines), asked, compression);
            let what = format!("{compression:?}, {asked:?}, {lines:?}");
            assert_eq!(coding == Coding::Gzip, gzip, "{what}");
        }
    }

    #[test]
    fn what_is_accepted_less_is_not_sent() {
        for (accept, lines, events) in [
            (&[][..], false, false),
            (&["*/*"], false, false),
            (&["text/*"], false, false),
            (&["text/event-stream"], false, true),
            (&["text/event-stream;q=0"], false, false),
            (&["application/x-ndjson"], true, false),
            (&["Application/X-NDJSON; charset=utf-8"], true, false),
            (
                &["text/event-stream, application/x-ndjson;q=0"],
                false,
                true,
            ),
            (&["application/x-ndjson;q=0"], false, false),
            (&["application/x-ndjson, text/event-stream"], true, false),
            (
                &["application/x-ndjson;q=0.5, text/event-stream"],
                false,
                true,
            ),
            (
                &["application/x-ndjson;q=0.5, text/event-stream;q=0.4"],
                true,
                false,
            ),
            (&["application/x-ndjson, */*"], true, false),
            (&["application/x-ndjson;q=0.9, */*"], false, false),
            (
                &["application/x-ndjson;q=0.9, */*, text/event-stream;q=0.1"],
                true,
                false,
            ),
            (&["application/x-ndjson, */*;q=0.1"], true, false),
            (&["text/html", "application/x-ndjson"], true, false),
        ] {
            let given: Vec<_> = accept.iter().map(|&line| ("accept", line)).collect();
            let given = headers(&given);
            assert_eq!(prefers_lines(&given), lines, "{accept:?}");
            assert_eq!(takes_event_stream(&given), events, "{accept:?}");
        }
    }
}
