//! What of a JSON body its subscribers are shown.
//!
//! Cuts the text and writes none of its own: keys keep their order, values
//! their spelling, arrays their length. Refuses what is not JSON to its end,
//! since nothing could be said to be hidden in it.
//! Invariant: a value goes out only where a pointer in `expose` leads to it or
//! to what it stands in (or there is no `expose`), and none in `hide` does. A
//! key that stands twice is cut twice.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, value::RawValue};

use super::Pointer;

/// In a pointer: every key, or every element of an array.
const ANY: &str = "*";
/// What stands in an array for an element that is hidden.
const HIDDEN: &str = "null";

/// Which values of a JSON body are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// Where what is shown stands; `None` shows everything.
    expose: Option<Box<[Pointer]>>,
    /// Where what is not shown stands, also within what is exposed.
    hide: Box<[Pointer]>,
}

/// A body is not JSON, and can't be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not JSON, of which parts could be shown")]
pub struct NotJson;

impl Projection {
    /// Shows what is exposed, or everything, without what is hidden. A step
    /// `*` of a pointer stands for every key and every element.
    #[must_use]
    pub fn new(expose: Option<Vec<Pointer>>, hide: Vec<Pointer>) -> Self {
        Self {
            expose: expose.map(Into::into),
            hide: hide.into(),
        }
    }

    /// The body as subscribers see it, as JSON.
    ///
    /// # Errors
    ///
    /// [`NotJson`]: nothing of it may be shown.
    pub fn cut(&self, body: &[u8]) -> Result<String, NotJson> {
        let text = std::str::from_utf8(body).map_err(|_| NotJson)?;
        let mut out = String::with_capacity(text.len());
        match push(&mut out, text, &self.root()).map_err(|_| NotJson)? {
            true => Ok(out),
            false => Ok(HIDDEN.to_owned()),
        }
    }

    /// Whether all that could stand at `pointer` is shown.
    #[must_use]
    pub fn shows(&self, pointer: &Pointer) -> bool {
        let mut here = self.root();
        for step in pointer.steps() {
            match here.step(step) {
                Verdict::Whole => return true,
                Verdict::Hidden => return false,
                Verdict::Within(next) => here = next,
            }
        }
        here.expose.is_none() && here.hide.is_empty()
    }

    fn root(&self) -> Here<'_> {
        Here {
            expose: self.expose.as_deref().map(all_steps),
            hide: all_steps(&self.hide),
        }
    }
}

fn all_steps(pointers: &[Pointer]) -> Vec<&[String]> {
    pointers.iter().map(Pointer::steps).collect()
}

/// What is still to go of the pointers that have led here.
struct Here<'p> {
    /// `None` where one has come to its end: all from here on is exposed.
    expose: Option<Vec<&'p [String]>>,
    hide: Vec<&'p [String]>,
}

/// What becomes of a value.
enum Verdict<'p> {
    Hidden,
    Whole,
    /// Parts of it may be shown, and others not.
    Within(Here<'p>),
}

impl<'p> Here<'p> {
    /// What becomes of the value at `key`.
    fn step(&self, key: &str) -> Verdict<'p> {
        let hide = behind(&self.hide, key);
        if hide.iter().any(|rest| rest.is_empty()) {
            return Verdict::Hidden;
        }
        let expose = match &self.expose {
            None => None,
            Some(pointers) => match behind(pointers, key) {
                none if none.is_empty() => return Verdict::Hidden,
                ended if ended.iter().any(|rest| rest.is_empty()) => None,
                open => Some(open),
            },
        };
        match expose.is_none() && hide.is_empty() {
            true => Verdict::Whole,
            false => Verdict::Within(Here { expose, hide }),
        }
    }
}

/// What is left of the pointers whose next step is `key`.
fn behind<'p>(pointers: &[&'p [String]], key: &str) -> Vec<&'p [String]> {
    let next = |pointer: &&'p [String]| {
        let (step, rest) = pointer.split_first()?;
        (step == key || step == ANY).then_some(rest)
    };
    pointers.iter().filter_map(next).collect()
}

/// Adds what is shown of the value that `json` is; `false` where that is
/// nothing, and nothing was added.
fn push(out: &mut String, json: &str, here: &Here<'_>) -> serde_json::Result<bool> {
    let mut from = serde_json::Deserializer::from_str(json);
    let value = json.trim_start_matches([' ', '\t', '\n', '\r']);
    let shown = match value.as_bytes().first() {
        Some(b'{') => from.deserialize_map(Object { out, here }).map(|()| true),
        Some(b'[') => from.deserialize_seq(Array { out, here }).map(|()| true),
        _ => {
            let value: &RawValue = serde::Deserialize::deserialize(&mut from)?;
            // Pointers that lead further in lead nowhere here.
            let exposed = here.expose.is_none();
            out.push_str(if exposed { value.get() } else { "" });
            Ok(exposed)
        }
    }?;
    from.end()?;
    Ok(shown)
}

/// Adds the value as its verdict says; `false` where nothing was added.
fn push_as(out: &mut String, json: &RawValue, verdict: &Verdict<'_>) -> serde_json::Result<bool> {
    match verdict {
        Verdict::Hidden => Ok(false),
        Verdict::Whole => {
            out.push_str(json.get());
            Ok(true)
        }
        Verdict::Within(here) => push(out, json.get(), here),
    }
}

struct Object<'o, 'p> {
    out: &'o mut String,
    here: &'o Here<'p>,
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { out, here } = self;
        let mut separator = '{';
        // The key as it is read: `\u0061` is `a`.
        while let Some(key) = map.next_key::<String>()? {
            let verdict = here.step(&key);
            if let Verdict::Hidden = verdict {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let before = out.len();
            out.push(separator);
            out.push_str(&Value::from(key).to_string());
            out.push(':');
            let value = map.next_value::<&RawValue>()?;
            match push_as(out, value, &verdict).map_err(serde::de::Error::custom)? {
                true => separator = ',',
                false => out.truncate(before),
            }
        }
        if separator == '{' {
            out.push(separator);
        }
        out.push('}');
        Ok(())
    }
}

struct Array<'o, 'p> {
    out: &'o mut String,
    here: &'o Here<'p>,
}

impl<'de> Visitor<'de> for Array<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { out, here } = self;
        out.push('[');
        let mut index = 0_usize;
        while let Some(value) = list.next_element::<&RawValue>()? {
            if index > 0 {
                out.push(',');
            }
            let verdict = here.step(&index.to_string());
            // In its place, so that those behind it keep theirs.
            if !push_as(out, value, &verdict).map_err(serde::de::Error::custom)? {
                out.push_str(HIDDEN);
            }
            index += 1;
        }
        out.push(']');
        Ok(())
    }
}

#[cfg(test)]
mod tests;
