//! The scheme language: how deliveries of a topic are proven, as data.
//!
//! What a person writes, in `presets.toml` or under `[topics.X.scheme]`, and
//! nothing more: whether it makes sense together is decided by `plan`.
//! Unknown keys are errors, since a misspelt one would weaken a proof in
//! silence.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};

use super::json::Pointer;
pub use super::names::Names;

/// How deliveries are proven, and what is taken out of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// By what they are proven.
    pub kind: Kind,
    /// `hmac`: the hash under the MAC.
    pub hash: Option<Hash>,
    /// `hmac`: where signatures are, and their grammar.
    pub signature: Option<Signature>,
    /// `hmac`: how a signature's bytes are written.
    pub encoding: Option<Encoding>,
    /// How a configured secret becomes key bytes; default: as it stands.
    pub secret: Option<SecretForm>,
    /// `hmac`: what is signed, in order. A list and no template string, so
    /// that nothing in a body can be read as a place-holder.
    pub message: Option<Vec<Part>>,
    /// `hmac`: when the sender says it signed.
    pub timestamp: Option<TimestampRule>,
    /// `token`: where the token is.
    pub token: Option<Token>,
    /// Where the provider's id of the delivery is; the first that is there.
    #[serde(default)]
    pub dedup_id: Vec<Source>,
    /// Where the kind of event is; the first that is there.
    #[serde(default)]
    pub event_type: Vec<Source>,
    /// A handshake that is answered, once proven, and not stored.
    pub challenge: Option<Challenge>,
    /// The answer on success, where the provider demands one.
    pub respond: Option<Respond>,
}

/// By what deliveries are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A keyed hash over what was sent.
    Hmac,
    /// A shared word that is sent along: proves the sender, not the body.
    Token,
    /// Nothing: whoever can reach the gateway is believed.
    None,
}

/// The hash under an HMAC.
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
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The header; of several, all that are there are read.
    pub header: Names,
    /// What stands before each signature: `sha256=`.
    #[serde(default)]
    pub prefix: String,
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

/// One part of what is signed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The body's bytes.
    Body,
    /// The timestamp's text, as received.
    Timestamp,
    /// The method: `POST`.
    Method,
    /// The public URL and the request target: the URL that the sender was
    /// given, not the one that arrives behind a proxy.
    ///
    /// Where the body follows at once, as some providers have it, a replayer
    /// can move the end of the path to the front of the body, and so to the
    /// topic of the shorter path: give such a topic no subtopics and a secret
    /// of its own.
    Url,
    /// This text.
    Literal(String),
    /// A header's value; of several names, the first that is there.
    Header(Names),
}

/// When the sender says it signed. Exactly one of `header`, `field`, `json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampRule {
    /// A header of its own.
    pub header: Option<Names>,
    /// An item of the signature header, by its key: `t`.
    pub field: Option<String>,
    /// A place in the signed JSON body; read after the proof.
    pub json: Option<Pointer>,
    /// How it is written.
    #[serde(default)]
    pub format: TimeFormat,
    /// By how much it may be off, in either direction, unless the topic says
    /// otherwise.
    #[serde(
        default = "TimestampRule::tolerance_default",
        deserialize_with = "duration"
    )]
    pub tolerance: Duration,
}

impl TimestampRule {
    const fn tolerance_default() -> Duration {
        Duration::from_mins(5)
    }
}

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// Seconds since the Unix epoch.
    #[default]
    UnixSecs,
    /// Milliseconds since the Unix epoch.
    UnixMs,
}

/// Where a token is. Exactly one of `header`, `query`, `authorization`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// A header, with `prefix` before the token.
    pub header: Option<Names>,
    /// What stands before the token in that header.
    #[serde(default)]
    pub prefix: String,
    /// A query parameter.
    pub query: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<Authorization>,
}

/// A scheme of the `Authorization` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authorization {
    /// RFC 6750: the secret is the token.
    Bearer,
    /// RFC 7617: the secret is `user:password`.
    Basic,
}

/// Where a text is in a proven delivery.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A header; of several names, the first that is there.
    Header(Names),
    /// A string or whole number in the JSON body.
    Json(Pointer),
}

/// When the text at `when` equals `equals`, the delivery is a handshake, and
/// the text at `echo` is the answer: 200 and `text/plain`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// Where to look.
    pub when: Source,
    /// What a handshake says there.
    pub equals: String,
    /// What to answer.
    pub echo: Source,
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
    /// Whether the signature covers what is at `source`, so that nobody but
    /// the sender can have chosen it.
    #[must_use]
    pub fn covers(&self, source: &Source) -> bool {
        let message = match (self.kind, &self.message) {
            (Kind::Hmac, Some(message)) => message,
            _ => return false,
        };
        message.iter().any(|part| match (part, source) {
            (Part::Body, Source::Json(_)) => true,
            // The same names in the same order, or the one read here may not
            // be the one that was signed.
            (Part::Header(signed), Source::Header(read)) => signed == read,
            _ => false,
        })
    }

    /// What is looked at, for a list: `x-hub-signature-256`.
    #[must_use]
    pub fn place(&self) -> String {
        if let Some(signature) = &self.signature {
            return signature.header.to_string();
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

    /// How it is proven, for a list: `hmac-sha256, hex`.
    #[must_use]
    pub fn algorithm(&self) -> String {
        match (self.kind, self.hash, self.encoding) {
            (Kind::Hmac, Some(hash), Some(encoding)) => {
                format!("hmac-{}, {}", hash.as_str(), encoding.as_str())
            }
            (kind, ..) => kind.as_str().to_owned(),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("the body"),
            Self::Timestamp => f.write_str("the timestamp"),
            Self::Method => f.write_str("the method"),
            Self::Url => f.write_str("the URL"),
            Self::Literal(text) => write!(f, "{text:?}"),
            Self::Header(names) => write!(f, "header {}", names.first()),
        }
    }
}

impl Kind {
    /// The word for it in a scheme.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hmac => "hmac",
            Self::Token => "token",
            Self::None => "none",
        }
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

    /// How long its MAC is, in bytes.
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

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|why| {
        D::Error::custom(format_args!(
            "{text:?} is not a duration such as \"5m\": {why}"
        ))
    })
}
