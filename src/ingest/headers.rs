//! Which headers of a delivery its event keeps.
//!
//! Invariant: no header is kept whose name says that it may be a secret.

use data_encoding::BASE64;
use hookrill_core::HEADERS_MAX;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_LENGTH},
};

/// The most bytes of header values that an event keeps.
const KEPT_BYTES_MAX: usize = 4 * 1024;

/// Where an event keeps the body as it was sent, in Base64.
const SENT_BODY: &str = ":sent";

/// Whether events keep a header of this name, which is in lower case.
#[must_use]
pub fn keeps_header(name: &str) -> bool {
    !may_be_secret(name)
}

/// A header's value, if it is text.
pub(super) fn text(headers: &HeaderMap, name: &HeaderName) -> Option<Box<str>> {
    headers.get(name).and_then(readable).map(Into::into)
}

/// A value that can be shown: UTF-8 without control characters. HTTP calls bytes beyond
/// ASCII opaque (RFC 9110, section 5.5), and those who send any send UTF-8.
fn readable(value: &HeaderValue) -> Option<&str> {
    // Nearly all are ASCII.
    if let Ok(text) = value.to_str() {
        return Some(text);
    }
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let is_shown = |c: char| c == '\t' || !c.is_control();
    text.chars().all(is_shown).then_some(text)
}

/// The headers that an event keeps; beyond the bounds, the first of them. `sent`: the
/// body as it was sent, where that is signed and the event has it decoded. It is kept
/// under a name that no header can have.
pub(super) fn kept(headers: &HeaderMap, sent: Option<&[u8]>) -> Vec<(Box<str>, Box<str>)> {
    let mut kept: Vec<(Box<str>, Box<str>)> = Vec::new();
    let was_decoded = headers.contains_key(CONTENT_ENCODING);
    if let Some(sent) = sent {
        let lines = headers.get_all(CONTENT_ENCODING).into_iter();
        let codings: Vec<&str> = lines.filter_map(readable).collect();
        kept.push((SENT_BODY.into(), BASE64.encode(sent).into()));
        kept.push((CONTENT_ENCODING.as_str().into(), codings.join(", ").into()));
    }
    let mut bytes = 0;
    for (name, value) in headers {
        if !keeps_header(name.as_str()) {
            continue;
        }
        // They are about what was sent.
        if was_decoded && (name == CONTENT_ENCODING || name == CONTENT_LENGTH) {
            continue;
        }
        let Some(value) = readable(value) else {
            continue;
        };
        bytes += value.len();
        if kept.len() == HEADERS_MAX || bytes > KEPT_BYTES_MAX {
            break;
        }
        debug_assert!(!may_be_secret(name.as_str()));
        kept.push((name.as_str().into(), value.into()));
    }
    kept
}

/// Whether a header's name, in lower case, says that its value may be a secret,
/// or may let whoever replays it pass a check. One pass over the name: a search
/// for each word took longer than verifying the body.
fn may_be_secret(name: &str) -> bool {
    let name = name.as_bytes();
    (0..name.len()).any(|at| {
        let words: &[&[u8]] = match name[at] {
            b'a' => &[b"auth"],
            b'c' => &[b"cookie"],
            b'h' => &[b"hmac"],
            b'k' => &[b"key"],
            b'p' => &[b"password"],
            b's' => &[b"secret", b"sign"],
            b't' => &[b"token"],
            _ => &[],
        };
        words.iter().any(|word| name[at..].starts_with(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_may_be_a_secret_is_not_kept() {
        for (name, keeps) in [
            ("content-type", true),
            ("x-github-event", true),
            ("user-agent", true),
            ("authorization", false),
            ("proxy-authorization", false),
            ("set-cookie", false),
            ("x-hub-signature-256", false),
            ("x-shopify-hmac-sha256", false),
            ("x-api-key", false),
            ("x-gitlab-token", false),
            ("x-password", false),
            ("x-client-secret", false),
        ] {
            assert_eq!(keeps_header(name), keeps, "{name}");
        }
    }

    #[test]
    fn a_value_in_utf_8_is_kept_and_other_bytes_are_not() {
        let mut headers = HeaderMap::new();
        for (name, bytes) in [
            ("cf-ipcity", &b"Z\xc3\xbcrich"[..]),
            ("x-latin-1", b"Z\xfcrich"),
            ("x-control", b"a\xc2\x85b"),
            ("x-empty", b""),
        ] {
            headers.insert(name, HeaderValue::from_bytes(bytes).unwrap());
        }
        let kept: Vec<_> = kept(&headers, None);
        let city = ("cf-ipcity".into(), "Z\u{fc}rich".into());
        assert_eq!(kept, [city, ("x-empty".into(), "".into())]);
    }

    #[test]
    fn no_more_is_kept_than_the_bounds_and_the_first_come_first() {
        let mut headers = HeaderMap::new();
        for n in 0..HEADERS_MAX + 10 {
            let name: HeaderName = format!("x-{n}").parse().unwrap();
            headers.insert(name, HeaderValue::from_static("v"));
        }
        assert_eq!(kept(&headers, None).len(), HEADERS_MAX);
        let mut long = HeaderMap::new();
        for (name, bytes) in [("x-a", KEPT_BYTES_MAX - 1), ("x-b", 2), ("x-c", 1)] {
            long.insert(name, "v".repeat(bytes).parse().unwrap());
        }
        long.insert("x-binary", HeaderValue::from_bytes(b"\xff").unwrap());
        let names: Vec<_> = kept(&long, None)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["x-a".into()]);
    }
}
