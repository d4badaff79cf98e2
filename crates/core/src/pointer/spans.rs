//! Where the values at a place are in a JSON body, so that they can be cut out of it
//! and every other byte stays as it was sent.
//!
//! Invariant: of a key that occurs more than once, every value is there, though
//! [`Pointer::find`] reads the last.

use std::{fmt, ops::Range};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use super::{Pointer, find::index};
use crate::form::without_byte_order_mark;

impl Pointer {
    /// The body with the empty string in place of each value that is at this place;
    /// `None` where there is none, or where this is not JSON.
    #[must_use]
    pub fn emptied(&self, body: &[u8]) -> Option<Vec<u8>> {
        self.replaced(body, b"\"\"")
    }

    /// The body with this JSON in place of each value that is at this place; `None` where
    /// there is none, or where this is not JSON.
    #[must_use]
    pub fn replaced(&self, body: &[u8], json: &[u8]) -> Option<Vec<u8>> {
        let spans = self.spans(body)?;
        let mut replaced = Vec::with_capacity(body.len() + json.len());
        let mut at = 0;
        for span in &spans {
            debug_assert!(at <= span.start, "values come in their order");
            replaced.extend_from_slice(&body[at..span.start]);
            replaced.extend_from_slice(json);
            at = span.end;
        }
        replaced.extend_from_slice(&body[at..]);
        (!spans.is_empty()).then_some(replaced)
    }

    /// The value at this place as it is written: `"a"`, `12.50`, `{ }`. Of a key that
    /// occurs more than once it is the last one. `None` where there is none, or where
    /// this is not JSON.
    #[must_use]
    pub fn value(&self, body: &[u8]) -> Option<String> {
        let span = self.spans(body)?.pop()?;
        String::from_utf8(body[span].to_vec()).ok()
    }

    fn spans(&self, body: &[u8]) -> Option<Vec<Range<usize>>> {
        let mut spans = Vec::new();
        // What `find` reads is what is looked through here: a value that is found there and
        // not here would not be cut out.
        let mut json = serde_json::Deserializer::from_slice(without_byte_order_mark(body));
        let seed = SpanSeed {
            steps: self.steps(),
            start: body.as_ptr() as usize,
            spans: &mut spans,
        };
        seed.deserialize(&mut json).ok()?;
        json.end().ok()?;
        Some(spans)
    }
}

/// Finds the values that are these steps away.
struct SpanSeed<'s> {
    steps: &'s [String],
    /// The address of the body, which values are slices of.
    start: usize,
    spans: &'s mut Vec<Range<usize>>,
}

impl SpanSeed<'_> {
    fn below<'s>(&'s mut self, steps: &'s [String]) -> SpanSeed<'s> {
        SpanSeed {
            steps,
            start: self.start,
            spans: self.spans,
        }
    }
}

impl<'de> DeserializeSeed<'de> for SpanSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if !self.steps.is_empty() {
            return json.deserialize_any(self);
        }
        let value = <&RawValue>::deserialize(json)?.get();
        let start = value.as_ptr() as usize - self.start;
        self.spans.push(start..start + value.len());
        Ok(())
    }
}

impl<'de> Visitor<'de> for SpanSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let steps = self.steps;
        while let Some(key) = map.next_key::<String>()? {
            match steps.split_first() {
                Some((step, rest)) if *step == key => map.next_value_seed(self.below(rest))?,
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let steps = self.steps;
        let (wanted, rest) = match steps.split_first() {
            Some((step, rest)) => (index(step), rest),
            None => (None, steps),
        };
        for i in 0.. {
            let is_there = if wanted == Some(i) {
                list.next_element_seed(self.below(rest))?.is_some()
            } else {
                list.next_element::<IgnoredAny>()?.is_some()
            };
            if !is_there {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn emptied(pointer: &str, body: &str) -> Option<String> {
        let pointer: Pointer = pointer.parse().unwrap();
        let bytes = pointer.emptied(body.as_bytes())?;
        Some(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn every_value_at_the_place_is_emptied_and_no_other_byte_changes() {
        for (pointer, body, expected) in [
            (
                "/a",
                r#" { "a" : "s\"e" , "b":[1.0, "a"] } "#,
                r#" { "a" : "" , "b":[1.0, "a"] } "#,
            ),
            (
                "/a",
                r#"{"a":"1","a":{"a":2},"b":3}"#,
                r#"{"a":"","a":"","b":3}"#,
            ),
            (
                "/a/b",
                r#"{"a":{"b":1},"a":{"b":"2"}}"#,
                r#"{"a":{"b":""},"a":{"b":""}}"#,
            ),
            ("/l/1/k", r#"{"l":[0,{"k":"x"}]}"#, r#"{"l":[0,{"k":""}]}"#),
        ] {
            assert_eq!(emptied(pointer, body).as_deref(), Some(expected), "{body}");
        }
        for body in ["", "{", r#"{"b":1}"#, r#"{"a":1} x"#, "[1]", "1"] {
            assert_eq!(emptied("/a", body), None, "{body}");
        }
    }

    proptest! {
        #[test]
        fn what_is_emptied_is_the_same_document_but_for_that_value(value in ".{0,20}", other in ".{0,9}") {
            let body = serde_json::json!({ "a": value, "b": &other }).to_string();
            let left: serde_json::Value = serde_json::from_str(&emptied("/a", &body).unwrap()).unwrap();
            prop_assert_eq!(left, serde_json::json!({ "a": "", "b": other }));
        }
    }
}
