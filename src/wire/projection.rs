//! What of a JSON body its subscribers are shown.
//!
//! Cuts the text and writes nothing of its own: keys keep their order, values their
//! spelling, arrays their length. Refuses a body that is not JSON to its end, since
//! nothing in it could be said to be hidden.
//! Invariant: a value goes out only where a pointer in `expose` leads to it or to a
//! value around it (or there is no `expose`), and none in `hide` does. A key that
//! occurs twice is cut twice.

mod walk;

use std::{borrow::Cow, cell::OnceCell};

use hookrill_core::{Pointer, without_byte_order_mark};
use serde::de::IgnoredAny;

use walk::Walk;

/// In a pointer: every key, or every element of an array.
const ANY: &str = "*";
/// Written in an array for an element that is hidden.
const HIDDEN: &str = "null";

/// Which values of a JSON body are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// Where the values are that are shown; `None` shows everything.
    expose: Option<Box<[Pointer]>>,
    /// Where the values are that are not shown, also within exposed ones.
    hide: Box<[Pointer]>,
}

/// The body is not JSON, so it can't be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not JSON, so no part of it can be shown by itself")]
pub struct NotJson;

impl Projection {
    /// Shows what is exposed (or everything), except what is hidden. A step `*` of
    /// a pointer stands for every key and every element.
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
        let body = without_byte_order_mark(body);
        let text = std::str::from_utf8(body).map_err(|_| NotJson)?;
        // Checked to its end before anything is cut: a walk checks nothing.
        serde_json::from_str::<IgnoredAny>(text).map_err(|_| NotJson)?;
        let mut out = String::with_capacity(text.len());
        if push(&mut out, &mut Walk::over(text), &self.root())? {
            Ok(out)
        } else {
            Ok(HIDDEN.to_owned())
        }
    }

    /// Whether everything that could be at `pointer` is shown.
    #[must_use]
    pub fn shows(&self, pointer: &Pointer) -> bool {
        let mut here = self.root();
        for step in pointer.steps() {
            match here.step(Some(step)) {
                Verdict::Whole => return true,
                Verdict::Hidden => return false,
                Verdict::Within(next) => here = next,
            }
        }
        here.expose.is_none() && here.hide.is_empty()
    }

    fn root(&self) -> Here<'_> {
        Here::new(self.expose.as_deref().map(all_steps), all_steps(&self.hide))
    }
}

fn all_steps(pointers: &[Pointer]) -> Vec<&[String]> {
    pointers.iter().map(Pointer::steps).collect()
}

/// The remaining steps of the pointers that have led here.
struct Here<'p> {
    /// `None` where one has ended: everything from here on is exposed.
    expose: Option<Vec<&'p [String]>>,
    hide: Vec<&'p [String]>,
    /// What becomes of everything that no pointer names; computed once, since a
    /// million elements may ask.
    others: OnceCell<Box<Verdict<'p>>>,
}

/// What becomes of a value.
enum Verdict<'p> {
    Hidden,
    Whole,
    /// Parts of it may be shown, and others not.
    Within(Here<'p>),
}

impl<'p> Here<'p> {
    fn new(expose: Option<Vec<&'p [String]>>, hide: Vec<&'p [String]>) -> Self {
        Self {
            expose,
            hide,
            others: OnceCell::new(),
        }
    }

    /// What becomes of the value at `key`; `None`: at one that nothing names.
    fn step(&self, key: Option<&str>) -> Verdict<'p> {
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
        if expose.is_none() && hide.is_empty() {
            Verdict::Whole
        } else {
            Verdict::Within(Here::new(expose, hide))
        }
    }

    /// As [`Here::step`], where nothing names the key.
    fn others(&self) -> &Verdict<'p> {
        self.others.get_or_init(|| Box::new(self.step(None)))
    }

    /// Whether the next step of some pointer is like this.
    fn names(&self, mut is: impl FnMut(&str) -> bool) -> bool {
        let pointers = self.expose.iter().flatten().chain(&self.hide);
        let mut next = pointers.filter_map(|pointer| pointer.first());
        next.any(|step| is(step))
    }
}

/// The remaining steps of the pointers whose next step is `key`.
fn behind<'p>(pointers: &[&'p [String]], key: Option<&str>) -> Vec<&'p [String]> {
    let next = |pointer: &&'p [String]| {
        let (step, rest) = pointer.split_first()?;
        (step == ANY || key == Some(step)).then_some(rest)
    };
    pointers.iter().filter_map(next).collect()
}

/// Adds what is shown of the next value; `false` where that is nothing, and
/// nothing was added.
fn push(out: &mut String, walk: &mut Walk<'_>, here: &Here<'_>) -> Result<bool, NotJson> {
    match walk.peek() {
        Some(b'{') => push_object(out, walk, here).map(|()| true),
        Some(b'[') => push_array(out, walk, here).map(|()| true),
        _ => {
            let value = walk.value();
            // Pointers that lead further in lead nowhere in a scalar.
            let is_exposed = here.expose.is_none();
            if is_exposed {
                out.push_str(value);
            }
            Ok(is_exposed)
        }
    }
}

/// Adds the next value as its verdict says; `false` where nothing was added.
fn push_as(out: &mut String, walk: &mut Walk<'_>, verdict: &Verdict<'_>) -> Result<bool, NotJson> {
    match verdict {
        Verdict::Hidden => {
            walk.value();
            Ok(false)
        }
        Verdict::Whole => {
            out.push_str(walk.value());
            Ok(true)
        }
        Verdict::Within(here) => push(out, walk, here),
    }
}

fn push_object(out: &mut String, walk: &mut Walk<'_>, here: &Here<'_>) -> Result<(), NotJson> {
    let mut separator = '{';
    walk.pass();
    while walk.more(b'}') {
        let written = walk.value();
        let key = read(written)?;
        walk.peek();
        walk.pass();
        let before = out.len();
        out.push(separator);
        out.push_str(written);
        out.push(':');
        let is_shown = if here.names(|step| step == key) {
            push_as(out, walk, &here.step(Some(&key)))?
        } else {
            push_as(out, walk, here.others())?
        };
        if is_shown {
            separator = ',';
        } else {
            out.truncate(before);
        }
    }
    if separator == '{' {
        out.push(separator);
    }
    out.push('}');
    Ok(())
}

/// A key as a parser reads it: `\u0061` is `a`.
fn read(written: &str) -> Result<Cow<'_, str>, NotJson> {
    let plain = written
        .strip_prefix('"')
        .and_then(|key| key.strip_suffix('"'));
    match plain.filter(|key| !key.contains('\\')) {
        Some(key) => Ok(Cow::Borrowed(key)),
        // Half a surrogate pair is no text, and so no pointer's step.
        None => serde_json::from_str(written)
            .map(Cow::Owned)
            .map_err(|_| NotJson),
    }
}

fn push_array(out: &mut String, walk: &mut Walk<'_>, here: &Here<'_>) -> Result<(), NotJson> {
    // Mostly no pointer has an index, and then none needs to be formatted.
    let is_numbered = here.names(|step| step.starts_with(|c: char| c.is_ascii_digit()));
    let mut index = 0_usize;
    walk.pass();
    out.push('[');
    while walk.more(b']') {
        if index > 0 {
            out.push(',');
        }
        let is_shown = if is_numbered {
            push_as(out, walk, &here.step(Some(&index.to_string())))?
        } else {
            push_as(out, walk, here.others())?
        };
        // In its place, so that the elements behind it keep theirs.
        if !is_shown {
            out.push_str(HIDDEN);
        }
        index += 1;
    }
    out.push(']');
    Ok(())
}

#[cfg(test)]
mod tests;
