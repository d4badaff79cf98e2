//! The parts of what is signed.

use std::fmt;

use serde::Deserialize;

use super::{HeaderNames, Pointer};

/// One part of what is signed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MessagePart {
    /// The body's bytes.
    Body,
    /// The body's SHA-256 in lower-case hex.
    BodySha256,
    /// The timestamp's text, as received.
    Timestamp,
    /// The method: `POST`.
    Method,
    /// The public URL and the request target: the URL that the sender was
    /// given, not the one that arrives behind a proxy.
    ///
    /// Where the body follows at once, as some providers have it, whoever
    /// replays a delivery can move the end of the path to the front of the
    /// body, and so to the topic of the shorter path: give such a topic no
    /// subtopics and a secret of its own.
    Url,
    /// The body's form fields, sorted by name, each as its name and its value
    /// with nothing between: what Twilio signs. Bytes can be moved between
    /// names and values, so nothing read from such a form counts as signed.
    FormSorted,
    /// The body's bytes; or, where the body is a form, the value of this field, which
    /// has to be its only one: what Gitea signs, whichever it sends. Of a GET the query is
    /// the form.
    BodyOrField(String),
    /// The value of a field of a body that is a form.
    Form(String),
    /// This text.
    Literal(String),
    /// A header's value; of several names, the first that is there.
    Header(HeaderNames),
    /// A string or whole number in the JSON body.
    Json(Pointer),
    /// The same, or nothing where it is not there.
    JsonOrEmpty(Pointer),
    /// What one provider does and no other part can express.
    Function(Function),
}

/// What no list of parts can express; each is a function in `check/provider.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Function {
    /// Twilio: the URL and the sorted form; or, where the URL's query has
    /// `bodySHA256`, the URL alone, and the body must have that hash.
    ///
    /// Source: <https://www.twilio.com/docs/usage/webhooks/webhooks-security>.
    Twilio,
    /// HubSpot version 3: the URL with some of its escapes decoded.
    ///
    /// Source: <https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation>.
    HubspotUrl,
}

impl MessagePart {
    /// Whether the text of this part may have any length, so that nothing in
    /// it marks where it ends.
    #[must_use]
    pub fn is_variable_length(&self) -> bool {
        match self {
            Self::Body
            | Self::Url
            | Self::FormSorted
            | Self::BodyOrField(_)
            | Self::Form(_)
            | Self::Header(_)
            | Self::Json(_)
            | Self::JsonOrEmpty(_)
            | Self::Function(_) => true,
            // A timestamp that is longer or shorter by a digit is stale, and
            // dates have one form. A hash has one length.
            Self::Timestamp | Self::Method | Self::BodySha256 | Self::Literal(_) => false,
        }
    }

    /// Whether this is the body byte for byte.
    pub(crate) fn is_whole_body(&self) -> bool {
        matches!(self, Self::Body | Self::BodySha256)
    }

    /// Whether nothing of the body is left out of this. Of a form, its spelling may be.
    pub(crate) fn has_all_of_body(&self) -> bool {
        self.is_whole_body() || self.is_form() || matches!(self, Self::BodyOrField(_))
    }

    /// Whether this reads the body as a form, field by field.
    pub(crate) fn is_form(&self) -> bool {
        matches!(self, Self::FormSorted | Self::Function(Function::Twilio))
    }

    /// Whether the event of a GET, which is its query, is a part of this.
    pub(crate) fn covers_query(&self) -> bool {
        self.needs_public_url() || matches!(self, Self::BodyOrField(_))
    }

    /// Whether this needs the URL that the sender was given.
    pub(crate) fn needs_public_url(&self) -> bool {
        matches!(self, Self::Url | Self::Function(_))
    }
}

impl fmt::Display for MessagePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("the body"),
            Self::BodySha256 => f.write_str("the body's SHA-256"),
            Self::Timestamp => f.write_str("the timestamp"),
            Self::Method => f.write_str("the method"),
            Self::Url => f.write_str("the URL"),
            Self::FormSorted => f.write_str("the form's sorted fields"),
            Self::BodyOrField(name) => write!(f, "the body (of a form, its field {name})"),
            Self::Form(name) => write!(f, "form field {name}"),
            Self::Literal(text) => write!(f, "{text:?}"),
            Self::Header(names) => write!(f, "header {}", names.first()),
            Self::Json(pointer) | Self::JsonOrEmpty(pointer) => write!(f, "body {pointer}"),
            Self::Function(Function::Twilio) => f.write_str(
                "the URL and the form's sorted fields (or the URL with the body's hash)",
            ),
            Self::Function(Function::HubspotUrl) => f.write_str("the URL, partly decoded"),
        }
    }
}
