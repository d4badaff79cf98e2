//! Any text as one segment of a topic, and back.
//!
//! Characters outside the grammar of topics, and `~` itself, become `~` and two
//! upper-case hexadecimal digits for each byte of their UTF-8:
//! `mia@example.com` is `mia~40example~2Ecom`. A text that would be too long
//! becomes its hash instead, and a missing text has a segment of its own:
//! neither is the escape of any text, since no two digits follow their `~`.
//! Invariant: two texts never have the same segment.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// What begins an escape.
const ESCAPE: u8 = b'~';
/// The longest segment that a value makes, in bytes.
pub const SEGMENT_BYTES_MAX: usize = 80;
/// What stands in front of the hash of a value that is too long to be escaped.
const HASHED: &str = "~sha256:";
/// The segment of a value that is missing or empty.
const NONE: &str = "~none";

/// The segment for any value, at most [`SEGMENT_BYTES_MAX`] bytes: its escape,
/// or `~sha256:` and the lower-case hex of its hash where that is longer;
/// `~none` where the value is missing or empty.
#[must_use]
pub fn segment(value: Option<&str>) -> String {
    let segment = bounded(value.unwrap_or_default());
    debug_assert!(segment.len() <= SEGMENT_BYTES_MAX && !segment.contains('.'));
    segment
}

fn bounded(value: &str) -> String {
    if value.is_empty() {
        return NONE.to_owned();
    }
    // No escape is shorter than its text: megabytes are not escaped only to be
    // thrown away.
    if value.len() > SEGMENT_BYTES_MAX {
        return hashed(value);
    }
    let escaped = escape(value);
    if escaped.len() > SEGMENT_BYTES_MAX {
        return hashed(value);
    }
    escaped
}

fn hashed(value: &str) -> String {
    let digest = Sha256::digest(value.as_bytes());
    format!("{HASHED}{}", HEXLOWER.encode(&digest))
}

/// The escape of `text`: a segment, except that an empty text stays empty.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_:-".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            let _ = write!(segment, "{}{byte:02X}", char::from(ESCAPE));
        }
    }
    segment
}

/// The text that `segment` is the escape of; `None` where it is the escape of
/// none.
#[must_use]
pub fn unescape(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != ESCAPE {
            bytes.push(byte);
            continue;
        }
        let (pair, behind) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(pair).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    let text = String::from_utf8(bytes).ok()?;
    // A second spelling of one text would be a second topic for it.
    (escape(&text) == segment).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Topic;

    #[test]
    fn only_what_the_grammar_lacks_is_escaped() {
        for (text, segment) in [
            ("cus_123", "cus_123"),
            ("a:b-C9", "a:b-C9"),
            ("mia@example.com", "mia~40example~2Ecom"),
            ("auth0|5f7c", "auth0~7C5f7c"),
            ("~7C", "~7E7C"),
            ("é", "~C3~A9"),
            ("*", "~2A"),
            ("", ""),
        ] {
            assert_eq!(escape(text), segment);
            assert_eq!(unescape(segment).as_deref(), Some(text));
        }
        for nothing in ["~", "~4", "~zz", "~7c", "~41", "a.b", "~FF", "~+1"] {
            assert_eq!(unescape(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_its_hash_and_a_missing_one_is_none() {
        let long = "~sha256:d86aabea0a2d8e33d73d7e47d1b4ffd4bbd2a3d86e2cfdb02f9bbf0c5a5c3b3d";
        for (value, expected) in [
            (None, "~none"),
            (Some(""), "~none"),
            (Some("~none"), "~7Enone"),
            (
                Some(long),
                "~7Esha256:d86aabea0a2d8e33d73d7e47d1b4ffd4bbd2a3d86e2cfdb02f9bbf0c5a5c3b3d",
            ),
            (Some(&"x".repeat(80)), &"x".repeat(80)),
            (Some(&".".repeat(26)), &"~2E".repeat(26)),
            // By sha256sum.
            (
                Some(&"x".repeat(81)),
                "~sha256:4d1f7bb876c6aae013f06a7430b8c6545ff30d8f9252838eb18b6357c1a2ba13",
            ),
            (
                Some(&".".repeat(27)),
                "~sha256:f8f2427665aa516d47807570735aeddcbc4f4ce465a7b2a9eb2e9b97018189d2",
            ),
        ] {
            assert_eq!(segment(value), expected, "{value:?}");
        }
    }

    /// Values that are most likely to collide: long ones that share an end, and
    /// ones that look like the segments of others.
    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            ".{0,40}",
            "[.~a]{20,90}",
            "~?(none|sha256:[0-9a-f]{64})",
            ".{0,90}".prop_map(|text| segment(Some(&text))),
        ]
    }

    /// Two of them, or one and nearly the same.
    fn values() -> impl Strategy<Value = (String, String)> {
        prop_oneof![
            (value(), value()),
            value().prop_map(|text| (segment(Some(&text)), text)),
            (value(), ".").prop_map(|(text, more)| (format!("{text}{more}"), text)),
        ]
    }

    proptest! {
        #[test]
        fn no_two_values_share_a_segment_and_none_has_that_of_a_missing_one((a, b) in values()) {
            let (one, other) = (segment(Some(&a)), segment(Some(&b)));
            prop_assert_eq!(a == b, one == other);
            prop_assert_eq!(a.is_empty(), one == segment(None));
            prop_assert!(one.len() <= SEGMENT_BYTES_MAX);
            prop_assert!(!one.contains('.') && one.parse::<Topic>().is_ok());
            // What is not hashed comes back, and nothing else spells a hash.
            let hashed = escape(&a).len() > SEGMENT_BYTES_MAX;
            prop_assert_eq!(one.starts_with(HASHED), hashed);
            let spelled = Some(a).filter(|a| !hashed && !a.is_empty());
            prop_assert_eq!(unescape(&one), spelled);
        }

        #[test]
        fn every_text_is_one_segment_and_comes_back(text in ".{1,60}") {
            let segment = escape(&text);
            prop_assert!(!segment.contains('.'));
            prop_assert_eq!(unescape(&segment), Some(text));
            prop_assert!(segment.len() > 200 || segment.parse::<Topic>().is_ok());
        }
    }
}
