//! Any text as one segment of a topic, and back.
//!
//! What the grammar of topics does not have, and `~` itself, becomes `~` and
//! two upper-case hexadecimal digits for each byte of its UTF-8:
//! `mia@example.com` is `mia~40example~2Ecom`. Invariant: two texts never give
//! one segment, and no text gives more than one.

use std::fmt::Write as _;

/// What begins an escape.
const ESCAPE: u8 = b'~';

/// The segment that spells `text`; empty where `text` is, which no topic has.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"_:-".contains(&byte) {
            true => segment.push(char::from(byte)),
            false => _ = write!(segment, "{}{byte:02X}", char::from(ESCAPE)),
        }
    }
    segment
}

/// The text that `segment` spells; `None` where nothing is spelled like that.
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
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    let text = String::from_utf8(bytes).ok()?;
    // A second spelling of one text would be a second topic for it.
    (escape(&text) == segment).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Topic;

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

    proptest! {
        #[test]
        fn every_text_is_one_segment_and_comes_back(text in ".{1,60}") {
            let segment = escape(&text);
            prop_assert!(!segment.contains('.'));
            prop_assert_eq!(unescape(&segment), Some(text));
            prop_assert!(segment.len() > 200 || segment.parse::<Topic>().is_ok());
        }
    }
}
