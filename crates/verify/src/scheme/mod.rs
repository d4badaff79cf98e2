//! The scheme language: how deliveries of a provider are verified, as data.
//!
//! What a person writes, in `presets.toml` or in a configuration, and nothing
//! more: whether the parts of it fit together is decided by
//! [`Verifier::new`](crate::Verifier::new). Unknown keys are errors, since a
//! misspelt one would silently verify less.
//!
//! The fields are named as their keys; `presets.toml` is full of examples.

mod covers;
mod handshake;
mod header_names;
mod message;
mod signature;
mod source;

use std::{fmt, str::FromStr};

use hookrill_core::Pointer;
use serde::Deserialize;

pub use handshake::{
    AnswerValue, Condition, DigestInput, Handshake, HandshakeMethod, HmacOf, SecretProvisioning,
    Sha256Of,
};
pub use header_names::HeaderNames;
pub use message::{Function, MessagePart};
pub use signature::{Encoding, Hash, MacConstruction, SecretEncoding, SecretForm, Signature};
pub use source::{Authorization, Source, TimeFormat, TimestampRule, Token};

/// How deliveries are verified, and what is taken out of them.
///
/// Read from TOML by `str::parse`, or from any other format by serde.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Scheme {
    /// How deliveries are verified.
    pub kind: SchemeKind,
    /// `hmac`: the hash of the MAC.
    pub hash: Option<Hash>,
    /// `hmac`: confirms a hash that nobody should choose today. MD5 is refused without
    /// it.
    #[serde(default)]
    pub legacy: bool,
    /// `hmac`: how hash and secret make a MAC; default: HMAC.
    pub construction: Option<MacConstruction>,
    /// `hmac`, `ed25519`: where signatures are, and how they are written.
    pub signature: Option<Signature>,
    /// `hmac`, `ed25519`: how a signature's bytes are written.
    pub encoding: Option<Encoding>,
    /// `hmac`, `ed25519`: how a configured secret becomes key bytes; default:
    /// the text's own bytes.
    pub secret: Option<SecretForm>,
    /// `hmac`, `ed25519`: what is signed, in order. A list and no template
    /// string, so that nothing in a body can be read as a placeholder.
    pub message: Option<Vec<MessagePart>>,
    /// `hmac`, `ed25519`: confirms that the provider does not sign the body, so
    /// that whoever captures a delivery can change it. Without this key such a
    /// message is refused.
    #[serde(default)]
    pub body_unsigned: bool,
    /// `hmac`, `ed25519`: when the sender says it signed.
    pub timestamp: Option<TimestampRule>,
    /// `token`: where the token is.
    pub token: Option<Token>,
    /// Where the provider's id of the delivery is; the first that is there.
    #[serde(default)]
    pub dedup_id: Vec<Source>,
    /// Where the kind of event is; the first that is there.
    #[serde(default)]
    pub event_type: Vec<Source>,
    /// Handshakes, which are answered and not stored; the first that fits.
    #[serde(default)]
    pub challenge: Vec<Handshake>,
    /// `hmac`: where the provider sends the secret that it will sign with.
    pub provisioned_secret: Option<SecretProvisioning>,
    /// The field of a form that has the event as JSON, where the provider sends such
    /// forms: it is read in place of the form.
    pub json_field: Option<Box<str>>,
    /// The answer on success, where the provider demands one.
    pub respond: Option<Respond>,
}

/// How deliveries are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SchemeKind {
    /// A MAC over what was sent.
    Hmac,
    /// A public-key signature over what was sent (RFC 8032).
    Ed25519,
    /// A shared secret that is sent along: verifies the sender, not the body.
    Token,
    /// Not at all: whatever arrives is accepted.
    None,
}

/// The answer on success.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Respond {
    /// A status from 200 to 299; default: 200.
    #[serde(default = "ok")]
    pub status: u16,
    /// The body.
    #[serde(default)]
    pub body: String,
    /// Its type; default: `text/plain; charset=utf-8`.
    pub content_type: Option<String>,
}

const fn ok() -> u16 {
    200
}

/// Why a text is not a [`Scheme`]; the message names the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct SchemeSyntaxError(#[from] toml::de::Error);

impl FromStr for Scheme {
    type Err = SchemeSyntaxError;

    /// Reads a scheme from TOML.
    fn from_str(text: &str) -> Result<Self, SchemeSyntaxError> {
        Ok(toml::from_str(text)?)
    }
}

impl Scheme {
    /// Where its signature or token is, for a list: `x-hub-signature-256`.
    #[must_use]
    pub fn location(&self) -> String {
        if let Some(signature) = &self.signature {
            let header = signature
                .header
                .as_ref()
                .map(|names| match signature.numbered {
                    Some(last) => format!("{names}1 to {last}"),
                    None => names.to_string(),
                });
            let in_json = signature.json.iter().map(|at| format!("body {at}"));
            let in_form = signature.form.iter().map(|name| format!("form {name}"));
            let mut all = header.into_iter().chain(in_json).chain(in_form);
            return all.next().unwrap_or_else(|| "-".to_owned());
        }
        let Some(token) = &self.token else {
            return "-".to_owned();
        };
        match (&token.header, &token.query, &token.json) {
            (Some(names), ..) => names.to_string(),
            (_, Some(name), _) => format!("?{name}="),
            (.., Some(pointer)) => format!("body {pointer}"),
            _ => "authorization".to_owned(),
        }
    }

    /// How it verifies, for a list: `hmac-sha256, hex`.
    #[must_use]
    pub fn algorithm(&self) -> String {
        let encoding = self.encoding.map_or("", Encoding::as_str);
        match (self.kind, self.hash, self.construction.unwrap_or_default()) {
            (SchemeKind::Hmac, Some(hash), MacConstruction::Hmac) => {
                format!("hmac-{}, {encoding}", hash.as_str())
            }
            (SchemeKind::Hmac, Some(hash), MacConstruction::Prefix) => {
                format!("{}, {encoding}", hash.as_str())
            }
            (SchemeKind::Ed25519, ..) => format!("ed25519, {encoding}"),
            (kind, ..) => kind.as_str().to_owned(),
        }
    }

    /// Whether one of its handshakes needs
    /// [`Settings::verify_token`](crate::Settings::verify_token).
    #[must_use]
    pub fn needs_verify_token(&self) -> bool {
        self.challenge.iter().any(Handshake::needs_verify_token)
    }

    /// Whether its message or a handshake needs
    /// [`Settings::public_url`](crate::Settings::public_url).
    #[must_use]
    pub fn needs_public_url(&self) -> bool {
        let signs_url = self.parts().iter().any(MessagePart::needs_public_url);
        signs_url || self.challenge.iter().any(Handshake::needs_public_url)
    }
}

impl SchemeKind {
    /// The word for it in a scheme.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hmac => "hmac",
            Self::Ed25519 => "ed25519",
            Self::Token => "token",
            Self::None => "none",
        }
    }

    /// Whether what was sent is signed.
    #[must_use]
    pub const fn signs(self) -> bool {
        matches!(self, Self::Hmac | Self::Ed25519)
    }
}

impl fmt::Display for SchemeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
