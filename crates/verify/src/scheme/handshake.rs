//! Handshakes: what a provider asks before it sends events, and the answer.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Encoding, Source};

/// A handshake and its answer: a text, a JSON object, or nothing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Handshake {
    /// By which method it comes.
    #[serde(default)]
    pub method: HandshakeMethod,
    /// Whether it is answered before the delivery is verified; default: for GET
    /// and HEAD, which carry no signature.
    pub before_verification: Option<bool>,
    /// What must hold, all of it.
    #[serde(default)]
    pub when: Vec<Condition>,
    /// Where the token is that the operator and the provider agreed on;
    /// compared with [`Settings::verify_token`](crate::Settings::verify_token)
    /// in constant time.
    pub verify_token: Option<Source>,
    /// The status of the answer; default: 200.
    pub status: Option<u16>,
    /// The answer as `text/plain`.
    pub text: Option<AnswerValue>,
    /// The answer as a JSON object of strings and numbers.
    pub json: Option<BTreeMap<String, AnswerValue>>,
    /// Headers of the answer.
    #[serde(default)]
    pub headers: BTreeMap<String, AnswerValue>,
}

/// The method of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum HandshakeMethod {
    /// The method of events.
    #[default]
    Post,
    /// The usual method of handshakes.
    Get,
    /// A GET whose answer has no body.
    Head,
    /// The method by which CloudEvents are offered (their HTTP 1.1 Web Hooks, section 4).
    Options,
}

/// A text that must be there, must equal another, or must not be there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Condition {
    /// Where to look.
    pub at: Source,
    /// What the text must be; without it, any text will do.
    pub equals: Option<String>,
    /// No text may be there.
    #[serde(default)]
    pub absent: bool,
}

/// A value of an answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AnswerValue {
    /// This text.
    Literal(String),
    /// This number.
    Number(u32),
    /// A text of the delivery as it is.
    Echo(Source),
    /// The MAC of a text of the delivery, made with the first secret.
    Hmac(HmacOf),
    /// The SHA-256 of several texts, joined.
    Sha256(Sha256Of),
}

/// A MAC as an answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HmacOf {
    /// Where the text is.
    pub of: Source,
    /// How the MAC is written.
    pub encoding: Encoding,
    /// What stands in front of it.
    #[serde(default)]
    pub prefix: String,
}

/// A hash as an answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Sha256Of {
    /// What is hashed, in order.
    pub of: Vec<DigestInput>,
    /// How the hash is written.
    pub encoding: Encoding,
}

/// A part of what is hashed for an answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DigestInput {
    /// A text of the delivery.
    Text(Source),
    /// [`Settings::verify_token`](crate::Settings::verify_token).
    VerifyToken,
    /// The URL that the sender was given, without its query.
    Url,
}

/// Where a provider sends the secret that it will sign with.
///
/// The first one is accepted, whoever sends it; see the documentation of
/// presets that have it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SecretProvisioning {
    /// Where the secret is.
    pub at: Source,
    /// Whether the answer repeats it, in a header of the same name.
    #[serde(default)]
    pub echo: bool,
}

impl Handshake {
    /// Whether it is answered before the delivery is verified.
    #[must_use]
    pub fn is_before_verification(&self) -> bool {
        self.before_verification
            .unwrap_or(self.method != HandshakeMethod::Post)
    }

    /// The values of the answer.
    pub fn values(&self) -> impl Iterator<Item = &AnswerValue> {
        let json = self.json.iter().flat_map(BTreeMap::values);
        self.text.iter().chain(json).chain(self.headers.values())
    }

    /// Whether a part of it needs
    /// [`Settings::verify_token`](crate::Settings::verify_token).
    #[must_use]
    pub fn needs_verify_token(&self) -> bool {
        self.verify_token.is_some()
            || self.hashes(|input| matches!(input, DigestInput::VerifyToken))
    }

    /// Whether a part of it needs
    /// [`Settings::public_url`](crate::Settings::public_url).
    #[must_use]
    pub fn needs_public_url(&self) -> bool {
        self.hashes(|input| matches!(input, DigestInput::Url))
    }

    /// Whether a part of it is made with the first secret.
    #[must_use]
    pub fn needs_secret(&self) -> bool {
        self.values()
            .any(|value| matches!(value, AnswerValue::Hmac(_)))
    }

    fn hashes(&self, wanted: fn(&DigestInput) -> bool) -> bool {
        self.values().any(|value| match value {
            AnswerValue::Sha256(hash) => hash.of.iter().any(wanted),
            _ => false,
        })
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
            Self::Options => "OPTIONS",
        }
    }
}
