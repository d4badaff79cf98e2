//! Handshakes: what a provider asks before it sends events, and the answer.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Encoding, Source};

/// A handshake and its answer: a text, a JSON object, or nothing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handshake {
    /// By which method it comes.
    #[serde(default)]
    pub method: HandshakeMethod,
    /// Whether it is answered before anything is proven; default: for GET and
    /// HEAD, which carry no signature.
    pub before_proof: Option<bool>,
    /// What must hold, all of it.
    #[serde(default)]
    pub when: Vec<Condition>,
    /// Where the word stands that the operator and the provider agreed on;
    /// compared with the topic's `verify_token` in constant time.
    pub verify_token: Option<Source>,
    /// The status; default: 200.
    pub status: Option<u16>,
    /// The answer as `text/plain`.
    pub text: Option<AnswerValue>,
    /// The answer as a JSON object of texts and numbers.
    pub json: Option<BTreeMap<String, AnswerValue>>,
}

/// The method of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HandshakeMethod {
    /// The method of events.
    #[default]
    Post,
    /// A question.
    Get,
    /// A question without an answer's body.
    Head,
}

/// A text that must be there, must equal another, or must not be there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Where to look.
    pub at: Source,
    /// What must stand there; without it, anything may.
    pub equals: Option<String>,
    /// Nothing may stand there.
    #[serde(default)]
    pub absent: bool,
}

/// A value of an answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerValue {
    /// This text.
    Literal(String),
    /// This number.
    Number(u32),
    /// A text of the delivery as it stands.
    Echo(Source),
    /// The MAC of a text of the delivery, by the topic's first secret.
    Hmac(HmacOf),
    /// The SHA-256 of texts, one behind the other.
    Sha256(Sha256Of),
}

/// A MAC as an answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HmacOf {
    /// Of what.
    pub of: Source,
    /// How it is written.
    pub encoding: Encoding,
    /// What stands before it.
    #[serde(default)]
    pub prefix: String,
}

/// A hash as an answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sha256Of {
    /// Of what, in order.
    pub of: Vec<DigestInput>,
    /// How it is written.
    pub encoding: Encoding,
}

/// A part of what is hashed for an answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DigestInput {
    /// A text of the delivery.
    Text(Source),
    /// The topic's `verify_token`.
    VerifyToken,
    /// The URL that the sender was given, without its query.
    Url,
}

/// Where a provider hands over the secret that it will sign by.
///
/// The first one is believed, whoever sends it; see the documentation of
/// presets that have it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretProvisioning {
    /// Where the secret is.
    pub at: Source,
    /// Whether the answer repeats it, in a header of the same name.
    #[serde(default)]
    pub echo: bool,
}

impl Handshake {
    /// Whether it is answered before anything is proven.
    #[must_use]
    pub fn is_before_proof(&self) -> bool {
        self.before_proof
            .unwrap_or(self.method != HandshakeMethod::Post)
    }

    /// The values of the answer.
    pub fn values(&self) -> impl Iterator<Item = &AnswerValue> {
        let json = self.json.iter().flat_map(BTreeMap::values);
        self.text.iter().chain(json)
    }

    /// Whether a part of it needs the topic's `verify_token`.
    #[must_use]
    pub fn needs_verify_token(&self) -> bool {
        self.verify_token.is_some() || self.digests(|one| matches!(one, DigestInput::VerifyToken))
    }

    /// Whether a part of it needs the URL that the sender was given.
    #[must_use]
    pub fn needs_url(&self) -> bool {
        self.digests(|one| matches!(one, DigestInput::Url))
    }

    fn digests(&self, wanted: fn(&DigestInput) -> bool) -> bool {
        self.values().any(|value| match value {
            AnswerValue::Sha256(hash) => hash.of.iter().any(wanted),
            _ => false,
        })
    }

    /// Whether a part of it is made with the topic's first secret.
    #[must_use]
    pub fn needs_secret(&self) -> bool {
        self.values()
            .any(|value| matches!(value, AnswerValue::Hmac(_)))
    }
}

impl HandshakeMethod {
    /// The method's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }
}
