//! A place in a JSON document, by RFC 6901: `/data/object/id`.

mod find;
mod spans;

use std::{fmt, str::FromStr};

use serde::Deserialize;

/// A place in a JSON document (RFC 6901), below its root: `/data/object/id`.
///
/// ```
/// use hookrill_core::Pointer;
///
/// let pointer: Pointer = "/data/id".parse()?;
/// assert_eq!(pointer.find(br#"{"data":{"id":7}}"#).as_deref(), Some("7"));
/// # Ok::<(), hookrill_core::PointerError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pointer {
    text: String,
    steps: Vec<String>,
}

/// Why a text is not a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a JSON pointer: it starts with a slash, such as \"/data/id\"")]
pub struct PointerError(String);

impl FromStr for Pointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for Pointer {
    type Error = PointerError;

    fn try_from(text: String) -> Result<Self, PointerError> {
        let Some(path) = text.strip_prefix('/') else {
            return Err(PointerError(text));
        };
        // In this order, or `~01` would become `/` (RFC 6901 section 4).
        let unescape = |step: &str| step.replace("~1", "/").replace("~0", "~");
        let steps = path.split('/').map(unescape).collect();
        Ok(Self { text, steps })
    }
}

impl Pointer {
    /// The pointer as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The keys and indexes on the way, from the outermost; at least one.
    #[must_use]
    pub fn steps(&self) -> &[String] {
        &self.steps
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_starts_with_a_slash_and_its_steps_are_unescaped() {
        for bad in ["", "id", "$.id", "#/id"] {
            assert!(bad.parse::<Pointer>().is_err(), "{bad}");
        }
        for (text, steps) in [
            ("/", &[""][..]),
            ("/a/b", &["a", "b"]),
            ("/a~1b/~01", &["a/b", "~1"]),
        ] {
            assert_eq!(text.parse::<Pointer>().unwrap().steps(), steps);
        }
    }
}
