//! The headers of deliveries that subscribers are shown.
//!
//! Invariant: an attribute has only lower-case letters and digits, and none has a
//! name that CloudEvents or Hookrill sets.

use hookrill_core::Event;

/// A header of deliveries that goes out as a CloudEvents extension attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownHeader {
    name: Box<str>,
    attribute: Box<str>,
}

/// Why a header can't go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShownHeaderError {
    /// Not a header's name (RFC 9110, section 5.1).
    #[error("this is not the name of a header")]
    Name,
    /// Its attribute is one that CloudEvents or Hookrill sets.
    #[error("its CloudEvents attribute would be named `{0}`, which every event has already")]
    Taken(&'static str),
    /// Longer than an attribute's name may be here: 64 bytes.
    #[error("a header's name may have at most {ATTRIBUTE_BYTES_MAX} letters and digits here")]
    Long,
}

/// The longest name of an attribute that is made of a header's, in bytes.
const ATTRIBUTE_BYTES_MAX: usize = 64;

/// What the specification names, and `topic`.
const TAKEN: [&str; 11] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "database64",
    "topic",
];

impl ShownHeader {
    /// A header by its name in any case. Its attribute has that name's letters and
    /// digits in lower case, since an attribute may have no others: `X-GitHub-Event`
    /// becomes `xgithubevent` (CloudEvents 1.0.2, "Attribute Naming Convention").
    ///
    /// # Errors
    ///
    /// [`ShownHeaderError`].
    pub fn new(name: &str) -> Result<Self, ShownHeaderError> {
        let name: http::HeaderName = name.parse().map_err(|_| ShownHeaderError::Name)?;
        let letters = name.as_str().chars().filter(char::is_ascii_alphanumeric);
        let attribute: String = letters.collect();
        if attribute.is_empty() {
            return Err(ShownHeaderError::Name);
        }
        if attribute.len() > ATTRIBUTE_BYTES_MAX {
            return Err(ShownHeaderError::Long);
        }
        match TAKEN.iter().find(|taken| **taken == attribute) {
            Some(taken) => Err(ShownHeaderError::Taken(taken)),
            None => Ok(Self {
                name: name.as_str().into(),
                attribute: attribute.into(),
            }),
        }
    }

    /// The header's name, in lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The attribute's name.
    #[must_use]
    pub fn attribute(&self) -> &str {
        &self.attribute
    }

    /// Its value, or all of several joined by commas (RFC 9110, section 5.3).
    /// `None` where the event has no such header.
    pub(super) fn value(&self, event: &Event) -> Option<String> {
        let lines = event.draft.headers.iter();
        let values: Vec<&str> = lines
            .filter(|(name, _)| *name == &*self.name)
            .map(|(_, value)| value)
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_goes_out_under_its_letters_and_digits() {
        let shown = ShownHeader::new("X-GitHub-Event").unwrap();
        assert_eq!(
            (shown.name(), shown.attribute()),
            ("x-github-event", "xgithubevent")
        );
        for (bad, why) in [
            ("", ShownHeaderError::Name),
            ("a b", ShownHeaderError::Name),
            ("--", ShownHeaderError::Name),
            ("Id", ShownHeaderError::Taken("id")),
            ("Data-Base64", ShownHeaderError::Taken("database64")),
            ("To-Pic", ShownHeaderError::Taken("topic")),
            (&"x".repeat(65), ShownHeaderError::Long),
        ] {
            assert_eq!(ShownHeader::new(bad), Err(why), "{bad}");
        }
    }
}
