//! What subscribers are shown of the events of a topic.
//!
//! Fails closed: what can't be cut is withheld, and said to be.

use bytes::Bytes;
use hookrill_core::{Cursor, Event, Topic};

use super::{Encoder, Format, Projection, cloudevents::withheld_line, sse};

/// What subscribers are shown of the events of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Whether the type is the SSE event name.
    pub event_names: bool,
    /// What of a JSON body is shown; `None` shows bodies as they are.
    pub projection: Option<Projection>,
    /// The headers that CloudEvents carry.
    pub headers: Box<[HeaderShown]>,
    /// Where the events are ingested to, if that is not their topic.
    pub source: Option<Topic>,
}

/// A header of deliveries that goes out as a CloudEvents extension attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderShown {
    name: Box<str>,
    attribute: Box<str>,
}

/// Why a header can't go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderShownError {
    /// Not a header's name (RFC 9110, section 5.1).
    #[error("this is no name of a header")]
    Name,
    /// Its attribute is one that CloudEvents or Hookrill sets.
    #[error("its attribute would be `{0}`, which every event has already")]
    Taken(&'static str),
    /// Longer than [`ATTRIBUTE_BYTES_MAX`].
    #[error("a header's name has at most {ATTRIBUTE_BYTES_MAX} letters and digits here")]
    Long,
}

/// The longest name of an attribute that is made of a header's, in bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 64;

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

impl HeaderShown {
    /// A header by its name in any case. Its attribute is that name's letters
    /// and digits in lower case, since an attribute has no others: `X-GitHub-Event`
    /// is `xgithubevent` (CloudEvents 1.0.2, "Attribute Naming Convention").
    ///
    /// # Errors
    ///
    /// [`HeaderShownError`].
    pub fn new(name: &str) -> Result<Self, HeaderShownError> {
        let name: http::HeaderName = name.parse().map_err(|_| HeaderShownError::Name)?;
        let letters = name.as_str().chars().filter(char::is_ascii_alphanumeric);
        let attribute: String = letters.collect();
        if attribute.is_empty() {
            return Err(HeaderShownError::Name);
        }
        if attribute.len() > ATTRIBUTE_BYTES_MAX {
            return Err(HeaderShownError::Long);
        }
        match TAKEN.iter().find(|taken| **taken == attribute) {
            Some(taken) => Err(HeaderShownError::Taken(taken)),
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

    /// Its value; of several, all (RFC 9110, section 5.3). `None` where the
    /// event has none.
    pub(super) fn value(&self, event: &Event) -> Option<String> {
        let lines = event.draft.headers.iter();
        let values: Vec<&str> = lines
            .filter(|(name, _)| *name == self.name)
            .map(|(_, value)| &**value)
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

/// Why nothing of an event is shown but that it was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// Parts of it may be shown, and it is not JSON.
    NotJson,
    /// Nothing says what may be shown: its topic is not configured any more.
    Unconfigured,
}

impl View {
    /// What is shown of the event's body; `None`: all of it.
    pub(super) fn cut(view: Option<&Self>, event: &Event) -> Result<Option<String>, Withheld> {
        let view = view.ok_or(Withheld::Unconfigured)?;
        let cut = |projection: &Projection| projection.cut(&event.draft.body);
        let cut = view.projection.as_ref().map(cut).transpose();
        cut.map_err(|_| Withheld::NotJson)
    }
}

impl Withheld {
    /// The reason as subscribers see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::Unconfigured => "unconfigured",
        }
    }

    /// As JSON: `{"reason":…}`.
    pub(super) fn json(self) -> String {
        format!(r#"{{"reason":"{}"}}"#, self.as_str())
    }

    /// What stands for the event: not a hole that nobody is told of.
    pub(super) fn written(self, format: Format, id: Cursor, encoder: &Encoder) -> Bytes {
        match format {
            Format::Raw | Format::CloudEvents => sse::withheld(id, self),
            Format::NdJson => withheld_line(id, self, encoder),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_goes_out_under_its_letters_and_digits() {
        let shown = HeaderShown::new("X-GitHub-Event").unwrap();
        assert_eq!(
            (shown.name(), shown.attribute()),
            ("x-github-event", "xgithubevent")
        );
        for (bad, why) in [
            ("", HeaderShownError::Name),
            ("a b", HeaderShownError::Name),
            ("--", HeaderShownError::Name),
            ("Id", HeaderShownError::Taken("id")),
            ("Data-Base64", HeaderShownError::Taken("database64")),
            ("To-Pic", HeaderShownError::Taken("topic")),
            (&"x".repeat(65), HeaderShownError::Long),
        ] {
            assert_eq!(HeaderShown::new(bad), Err(why), "{bad}");
        }
    }
}
