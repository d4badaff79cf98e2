//! The scheme language: how deliveries of a topic are proven, as data.
//!
//! What a person writes, in `presets.toml` or under `[topics.X.scheme]`, and
//! nothing more: whether it makes sense together is decided by `plan`.
//! Unknown keys are errors, since a misspelt one would weaken a proof in
//! silence.

mod covers;
mod handshake;
mod message;
mod place;

use std::fmt;

use serde::Deserialize;

pub use super::names::HeaderNames;
pub use handshake::{
    AnswerValue, Condition, DigestInput, Handshake, HandshakeMethod, HmacOf, SecretProvisioning,
    Sha256Of,
};
use hookrill_core::Pointer;
pub use message::{Function, MessagePart};
pub use place::{Authorization, Source, TimeFormat, TimestampRule, Token};

/// How deliveries are proven, and what is taken out of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// By what they are proven.
    pub kind: SchemeKind,
    /// `hmac`: the hash under the MAC.
    pub hash: Option<Hash>,
    /// `hmac`: how secret and message meet in the hash; default: by HMAC.
    pub keyed: Option<MacConstruction>,
    /// `hmac`, `ed25519`: where signatures are, and their grammar.
    pub signature: Option<Signature>,
    /// `hmac`, `ed25519`: how a signature's bytes are written.
    pub encoding: Option<Encoding>,
    /// `hmac`, `ed25519`: how a configured secret becomes key bytes; default:
    /// as it stands.
    pub secret: Option<SecretForm>,
    /// `hmac`, `ed25519`: what is signed, in order. A list and no template
    /// string, so that nothing in a body can be read as a place-holder.
    pub message: Option<Vec<MessagePart>>,
    /// `hmac`, `ed25519`: says that the provider does not sign the body, so
    /// that whoever captures a delivery can change it. Without this word such
    /// a message is refused.
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
    /// Handshakes that are answered and not stored; the first that fits.
    #[serde(default)]
    pub challenge: Vec<Handshake>,
    /// `hmac`: where the provider hands over the secret that it will sign by.
    pub hand_over: Option<SecretProvisioning>,
    /// The answer on success, where the provider demands one.
    pub respond: Option<Respond>,
}

/// By what deliveries are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemeKind {
    /// A keyed hash over what was sent.
    Hmac,
    /// A public-key signature over what was sent: RFC 8032.
    Ed25519,
    /// A shared word that is sent along: proves the sender, not the body.
    Token,
    /// Nothing: whoever can reach the gateway is believed.
    None,
}

/// The hash under a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hash {
    /// 20 bytes. Old, and unbroken inside an HMAC.
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

/// How secret and message meet in the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MacConstruction {
    /// RFC 2104.
    #[default]
    Hmac,
    /// The hash of the secret and the message behind it, as HubSpot's first
    /// two versions have it. Whoever captures a delivery can append to its
    /// body and find the new hash without the secret.
    Prefix,
}

/// How bytes are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Two digits per byte, in either case.
    Hex,
    /// RFC 4648 section 4, with padding.
    Base64,
    /// RFC 4648 section 5, with or without padding.
    Base64url,
}

/// Where signatures are, and their grammar.
///
/// Without a key, an item is `<prefix><signature>`; with one, it is
/// `<key><key_separator><prefix><signature>`, and items with other keys are
/// other fields (a timestamp) or ignored.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The header; of several, all that are there are read.
    pub header: Option<HeaderNames>,
    /// The header is a family: `X-Signature-` and a number from 1 to this.
    pub numbered: Option<u16>,
    /// A text in the JSON body instead of a header.
    pub json: Option<Pointer>,
    /// What stands before each signature: `sha256=`.
    #[serde(default)]
    pub prefix: String,
    /// Whether a signature may also come without its prefix.
    #[serde(default)]
    pub prefix_optional: bool,
    /// The characters that separate items, each of them one; without it the
    /// value is one item. White space around an item is ignored.
    pub separator: Option<String>,
    /// What separates an item's key from its value.
    pub key_separator: Option<String>,
    /// Which items are signatures: `v1`.
    pub key: Option<String>,
}

/// How a configured secret becomes key bytes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretForm {
    /// How the text is read.
    #[serde(default)]
    pub encoding: SecretEncoding,
    /// What is cut off its front, where it is there: `whsec_`.
    #[serde(default)]
    pub prefix: String,
    /// The key is this hash of the bytes; default: the bytes themselves.
    pub hash: Option<Hash>,
}

/// How a secret's text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretEncoding {
    /// As it stands.
    #[default]
    Utf8,
    /// RFC 4648 section 4, with or without padding.
    Base64,
    /// Two digits per byte, in either case.
    Hex,
}

/// The answer on success.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// A status from 200 to 299.
    pub status: u16,
    /// The body.
    #[serde(default)]
    pub body: String,
    /// Its type; default: `text/plain; charset=utf-8`.
    pub content_type: Option<String>,
}

impl Scheme {
    /// What is looked at, for a list: `x-hub-signature-256`.
    #[must_use]
    pub fn place(&self) -> String {
        if let Some(signature) = &self.signature {
            return match (&signature.header, signature.numbered, &signature.json) {
                (Some(names), Some(last), _) => format!("{names}1 to {last}"),
                (Some(names), None, _) => names.to_string(),
                (None, _, Some(pointer)) => format!("body {pointer}"),
                (None, _, None) => "-".to_owned(),
            };
        }
        match &self.token {
            Some(Token {
                header: Some(names),
                ..
            }) => names.to_string(),
            Some(Token {
                query: Some(name), ..
            }) => format!("?{name}="),
            Some(_) => "authorization".to_owned(),
            None => "-".to_owned(),
        }
    }

    /// Whether one of its handshakes needs
    /// [`Settings::verify_token`](crate::Settings::verify_token).
    #[must_use]
    pub fn needs_verify_token(&self) -> bool {
        self.challenge.iter().any(Handshake::needs_verify_token)
    }

    /// How it is proven, for a list: `hmac-sha256, hex`.
    #[must_use]
    pub fn algorithm(&self) -> String {
        let encoding = self.encoding.map_or("", Encoding::as_str);
        match (self.kind, self.hash, self.keyed.unwrap_or_default()) {
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

impl Hash {
    /// The word for it in a scheme.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// How long it and its MAC are, in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl SecretEncoding {
    /// The word for it in a scheme.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf8",
            Self::Base64 => "base64",
            Self::Hex => "hex",
        }
    }
}

impl Encoding {
    /// The word for it in a scheme.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base64 => "base64",
            Self::Base64url => "base64url",
        }
    }
}
