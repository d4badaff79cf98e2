//! Header lines in one piece.
//!
//! Invariant: the piece is UTF-8, and each line is a name, a line feed, a value and a
//! line feed. Neither can have a line feed (RFC 9110, sections 5.1 and 5.5).

use std::fmt;

use bytes::Bytes;

/// Header lines in their order: names in lower case, each with its value. One piece of
/// memory for all, so that an event costs no allocation for each of its headers. Cheap
/// to clone.
///
/// Its `Debug` shows names alone.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct HeaderList {
    text: Bytes,
}

impl HeaderList {
    /// Reads what [`HeaderList::as_bytes`] gave; shares the bytes. `None` where it is no
    /// list.
    #[must_use]
    pub fn from_bytes(text: Bytes) -> Option<Self> {
        let whole = std::str::from_utf8(&text).ok()?;
        let ends = memchr::memchr_iter(b'\n', &text).count();
        let is_list = ends.is_multiple_of(2) && (whole.is_empty() || whole.ends_with('\n'));
        is_list.then_some(Self { text })
    }

    /// The lines, for storage.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        // It was read as UTF-8 once.
        let mut rest = std::str::from_utf8(&self.text).unwrap_or_default();
        std::iter::from_fn(move || {
            let (name, behind) = rest.split_once('\n')?;
            let (value, behind) = behind.split_once('\n')?;
            rest = behind;
            Some((name, value))
        })
    }

    /// The first value under this name, which is in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut lines = self.iter();
        lines
            .find(|(written, _)| *written == name)
            .map(|(_, value)| value)
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        memchr::memchr_iter(b'\n', &self.text).count() / 2
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// Leaves out lines that are none: with a line feed in the name or the value.
impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for HeaderList {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let mut text = String::new();
        for (name, value) in lines {
            let (name, value) = (name.as_ref(), value.as_ref());
            if name.contains('\n') || value.contains('\n') {
                continue;
            }
            for part in [name, value] {
                text.push_str(part);
                text.push('\n');
            }
        }
        Self { text: text.into() }
    }
}

impl fmt::Debug for HeaderList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_come_back_as_they_were(
            lines in proptest::collection::vec((".{0,9}", ".{0,9}"), 0..20),
        ) {
            let list: HeaderList = lines.iter().map(|(name, value)| (name, value)).collect();
            let expected: Vec<_> = lines.iter().map(|(n, v)| (&**n, &**v)).collect();
            prop_assert_eq!(list.iter().collect::<Vec<_>>(), expected);
            prop_assert_eq!(list.len(), lines.len());
            prop_assert_eq!(list.is_empty(), lines.is_empty());
            let stored = Bytes::copy_from_slice(list.as_bytes());
            prop_assert_eq!(HeaderList::from_bytes(stored), Some(list));
        }

        #[test]
        fn what_is_a_list_has_as_many_lines_as_it_says(text in "[ab\n]{0,12}") {
            if let Some(list) = HeaderList::from_bytes(text.clone().into()) {
                prop_assert_eq!(list.iter().count(), list.len());
                let again: HeaderList = list.iter().collect();
                prop_assert_eq!(again.as_bytes(), text.as_bytes());
            }
        }
    }

    #[test]
    fn what_is_no_list_is_refused_and_what_is_no_line_left_out() {
        for bad in [
            &b"a\n"[..],
            b"a",
            b"a\nb",
            b"a\nb\nc",
            b"\xff\n\n",
            b"a\nb\nc\n",
        ] {
            let bad = Bytes::copy_from_slice(bad);
            assert_eq!(HeaderList::from_bytes(bad.clone()), None, "{bad:?}");
        }
        let list: HeaderList = [("a", "1\nx"), ("b\n", "2"), ("c", "3")]
            .into_iter()
            .collect();
        assert_eq!(list.iter().collect::<Vec<_>>(), [("c", "3")]);
        assert_eq!((list.get("c"), list.get("a")), (Some("3"), None));
    }

    #[test]
    fn no_value_is_shown_for_debugging() {
        let list: HeaderList = [("x-signature", "hush")].into_iter().collect();
        assert_eq!(format!("{list:?}"), "[\"x-signature\"]");
    }
}
