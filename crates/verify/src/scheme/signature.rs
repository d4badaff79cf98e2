//! How a signature is made and written, and how a secret becomes a key.

use serde::Deserialize;

use super::{HeaderNames, Pointer};

/// The hash of a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Hash {
    /// 16 bytes. Broken as a hash, and not yet inside an HMAC: only with
    /// [`Scheme::legacy`](super::Scheme::legacy).
    Md5,
    /// 20 bytes. Old, and unbroken inside an HMAC.
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

impl Hash {
    /// The word for it in a scheme.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The length of the hash and of its MAC, in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Whether nobody should choose it today.
    #[must_use]
    pub const fn is_legacy(self) -> bool {
        matches!(self, Self::Md5 | Self::Sha1)
    }
}

/// How a hash and a secret make a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MacConstruction {
    /// HMAC (RFC 2104).
    #[default]
    Hmac,
    /// The hash of the secret followed by the message, as in HubSpot's first
    /// two versions. Whoever captures a delivery can append to its body and
    /// find the new hash without the secret (length extension).
    Prefix,
}

/// How bytes are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Encoding {
    /// Two digits per byte, in either case.
    Hex,
    /// RFC 4648 section 4, with padding.
    Base64,
    /// RFC 4648 section 5, with or without padding.
    Base64url,
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

/// Where signatures are, and how they are written.
///
/// Without a key, an item is `<prefix><signature>`; with one, it is
/// `<key><key_separator><prefix><signature>`, and items with other keys are
/// other fields (a timestamp) or ignored.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Signature {
    /// The header; of several, all that are there are read.
    pub header: Option<HeaderNames>,
    /// The header is a family: `X-Signature-` and a number from 1 to this.
    pub numbered: Option<u16>,
    /// A text in the JSON body instead of a header.
    pub json: Option<Pointer>,
    /// A field of a body that is a form, instead of a header.
    pub form: Option<String>,
    /// What stands in front of each signature: `sha256=`.
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SecretForm {
    /// How the text is decoded.
    #[serde(default)]
    pub encoding: SecretEncoding,
    /// What is cut off its front, if it is there: `whsec_`.
    #[serde(default)]
    pub prefix: String,
    /// The fewest bytes that a secret has once it is decoded: fewer are a part of one,
    /// or can be guessed. The default, 0, accepts any that has some.
    #[serde(default)]
    pub bytes_min: usize,
    /// The key is this hash of the bytes; default: the bytes themselves.
    pub hash: Option<Hash>,
}

/// How a secret's text is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SecretEncoding {
    /// The text's own bytes.
    #[default]
    Utf8,
    /// RFC 4648 section 4, with or without padding.
    Base64,
    /// Two digits per byte, in either case.
    Hex,
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
