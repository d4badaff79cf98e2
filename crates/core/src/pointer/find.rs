//! One text out of a JSON body, by pointer, without building the rest.
//!
//! Where a key occurs more than once the last one counts, as it does for
//! `JSON.parse`, so that Hookrill and its subscribers read the same. A body that
//! is not JSON to its end has no such text.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Pointer;
use crate::form::without_byte_order_mark;

impl Pointer {
    /// The string or whole number at this place of a JSON document; `None`
    /// where there is none, or where this is not JSON.
    ///
    /// A whole number is its digits as they are written, however many: `007` is not
    /// JSON, `1.0` and `1e3` are no whole numbers here, and `-0` is `-0`.
    #[must_use]
    pub fn find(&self, body: &[u8]) -> Option<String> {
        let body = without_byte_order_mark(body);
        let mut json = serde_json::Deserializer::from_slice(body);
        let found = PointerSeed(self.steps()).deserialize(&mut json).ok()?;
        json.end().ok()?;
        found
    }
}

/// The steps that are left from here.
struct PointerSeed<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for PointerSeed<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<String>, D::Error> {
        if !self.0.is_empty() {
            return json.deserialize_any(self);
        }
        // As written: a number beyond 64 bits would otherwise come as a fraction.
        let written = <&RawValue as serde::Deserialize>::deserialize(json)?;
        text(written.get()).map_err(D::Error::custom)
    }
}

/// The text of a JSON value that is a string or a whole number.
fn text(written: &str) -> Result<Option<String>, serde_json::Error> {
    if written.starts_with('"') {
        return serde_json::from_str(written).map(Some);
    }
    // A fraction is not an id, and its text would depend on who formats it.
    let digits = written.strip_prefix('-').unwrap_or(written);
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    Ok(is_whole.then(|| written.to_owned()))
}

impl<'de> Visitor<'de> for PointerSeed<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            match self.0.split_first() {
                Some((step, rest)) if *step == key => {
                    found = map.next_value_seed(PointerSeed(rest))?;
                }
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<String>, A::Error> {
        let (wanted, rest) = match self.0.split_first() {
            Some((step, rest)) => (index(step), rest),
            None => (None, self.0),
        };
        let mut found = None;
        for i in 0.. {
            if wanted == Some(i) {
                match list.next_element_seed(PointerSeed(rest))? {
                    Some(value) => found = value,
                    None => break,
                }
            } else if list.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

/// An array index of RFC 6901: digits without a leading zero.
pub(super) fn index(step: &str) -> Option<usize> {
    if step != "0" && step.starts_with(['0', '+']) {
        return None;
    }
    step.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(pointer: &str, body: &str) -> Option<String> {
        pointer.parse::<Pointer>().unwrap().find(body.as_bytes())
    }

    #[test]
    fn a_pointer_finds_texts_and_whole_numbers_and_nothing_else() {
        let body = r#"{"id":"a\n","n":7,"m":-7,"x":1.5,"e":1e3,"whole":1.0,"zero": -0 ,
            "big":123456789012345678901234567890,"small":-123456789012345678901234567890,"t":true,"u":null,
            "":"empty","a/b":"slash","~1":"tilde","l":[["x","y"],{"z":"deep"}],"o":{"id":"in"}}"#;
        for (pointer, found) in [
            ("/id", Some("a\n")),
            ("/n", Some("7")),
            ("/m", Some("-7")),
            ("/big", Some("123456789012345678901234567890")),
            ("/small", Some("-123456789012345678901234567890")),
            ("/zero", Some("-0")),
            ("/e", None),
            ("/whole", None),
            ("/", Some("empty")),
            ("/a~1b", Some("slash")),
            ("/~01", Some("tilde")),
            ("/l/0/1", Some("y")),
            ("/l/1/z", Some("deep")),
            ("/o/id", Some("in")),
            ("/x", None),
            ("/t", None),
            ("/u", None),
            ("/l", None),
            ("/o", None),
            ("/id/0", None),
            ("/l/2", None),
            ("/l/00", None),
            ("/l/+0", None),
            ("/none", None),
        ] {
            assert_eq!(find(pointer, body).as_deref(), found, "{pointer}");
        }
    }

    #[test]
    fn the_last_of_two_keys_counts_as_it_does_for_javascript() {
        assert_eq!(find("/a", r#"{"a":"1","a":"2"}"#).as_deref(), Some("2"));
        assert_eq!(find("/a", r#"{"a":"1","a":null}"#), None);
    }

    #[test]
    fn what_is_not_json_to_its_end_has_no_text() {
        for body in [
            "",
            "a",
            "{",
            r#"{"a":"1""#,
            r#"{"a":"1"} x"#,
            "{\"a\":\"\u{1}\"}",
            r#"{"a":"\ud800"}"#,
            r#"{"a":007}"#,
            r#"{"a":-}"#,
        ] {
            assert_eq!(find("/a", body), None, "{body}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(find("/0/0", &deep), None);
    }

    proptest! {
        #[test]
        fn a_pointer_agrees_with_a_document_that_serde_wrote(
            key in "[a-z~/]{0,3}",
            value in ".{0,20}",
            other in ".{0,20}",
        ) {
            let body = serde_json::json!({
                "before": [&other, {}],
                &key: &value,
                "zzzz": other,
            });
            let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
            prop_assert_eq!(find(&pointer, &body.to_string()), Some(value));
        }

        #[test]
        fn arbitrary_bodies_never_panic(body: Vec<u8>) {
            let _ = Pointer::try_from("/a/0".to_owned()).unwrap().find(&body);
        }
    }
}
