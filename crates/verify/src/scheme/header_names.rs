//! Header names as a scheme writes them: one, or several that mean the same.
//!
//! Invariant: never empty, and in lower case, as `http` keeps them.

use std::fmt;

use http::HeaderName;
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

/// One header name, or several that mean the same; written as a string or a
/// list of strings. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderNames {
    first: HeaderName,
    others: Vec<HeaderName>,
}

impl HeaderNames {
    /// The preferred one, which is also used to sign.
    #[must_use]
    pub fn first(&self) -> &HeaderName {
        &self.first
    }

    /// All of them, in order of preference.
    pub fn iter(&self) -> impl Iterator<Item = &HeaderName> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The numbered family of the first name: `x-signature-` and each number
    /// from 1 to `last`. `None` where that makes no header names.
    pub(crate) fn numbered(&self, last: u16) -> Option<Self> {
        let name = |number| HeaderName::try_from(format!("{}{number}", self.first)).ok();
        Some(Self {
            first: name(1)?,
            others: (2..=last).map(name).collect::<Option<_>>()?,
        })
    }

    /// Whether this is one name.
    pub(crate) fn is_single(&self) -> bool {
        self.others.is_empty()
    }
}

impl From<HeaderName> for HeaderNames {
    fn from(first: HeaderName) -> Self {
        Self {
            first,
            others: Vec::new(),
        }
    }
}

impl fmt::Display for HeaderNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.others
            .iter()
            .try_for_each(|name| write!(f, ", {name}"))
    }
}

impl<'de> Deserialize<'de> for HeaderNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HeaderNamesVisitor)
    }
}

struct HeaderNamesVisitor;

impl<'de> Visitor<'de> for HeaderNamesVisitor {
    type Value = HeaderNames;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header name, or a list of header names")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<HeaderNames, E> {
        let name = HeaderName::from_bytes(text.as_bytes())
            .map_err(|_| E::custom(format_args!("{text:?} is not a header name")))?;
        Ok(name.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<HeaderNames, A::Error> {
        let Some(first) = list.next_element::<String>()? else {
            let empty = "a list of header names needs at least one";
            return Err(A::Error::custom(empty));
        };
        let mut names: HeaderNames = self.visit_str(&first)?;
        while let Some(other) = list.next_element::<String>()? {
            names
                .others
                .push(HeaderNamesVisitor.visit_str(&other)?.first);
        }
        Ok(names)
    }
}
