//! What can go wrong: with a scheme, with a delivery, with signing.
//!
//! Facts only, never a secret and never a value that the sender chose, save
//! for header names. Which status a stranger sees is not decided here: to
//! them all refusals look the same.

use http::HeaderName;

use super::scheme::{Encoding, Kind, SecretEncoding, TimeFormat};

/// Why a scheme, its secrets and its topic's settings make no verifier. Each
/// says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// A key that this kind needs.
    #[error("a scheme of kind \"{kind}\" needs `{key}`, such as {example}")]
    Missing {
        /// The scheme's kind.
        kind: Kind,
        /// What is not there.
        key: &'static str,
        /// How it could look.
        example: &'static str,
    },
    /// A key that means nothing for this kind.
    #[error("`{key}` means nothing in a scheme of kind \"{kind}\": remove it, or change the kind")]
    Foreign {
        /// The scheme's kind.
        kind: Kind,
        /// What is there.
        key: &'static str,
    },
    /// Nothing to prove with.
    #[error("no secret is configured: add `secrets = [\"env:NAME\"]` (or write kind = \"none\")")]
    SecretMissing,
    /// A secret for a scheme that proves nothing.
    #[error(
        "a scheme of kind \"none\" proves nothing, yet secrets are configured: remove them, or \
         name a preset"
    )]
    SecretUseless,
    /// More than [`SECRETS_MAX`](super::SECRETS_MAX).
    #[error(
        "{count} secrets are configured; at most {} are tried: remove the oldest",
        super::SECRETS_MAX
    )]
    SecretsTooMany {
        /// How many there are.
        count: usize,
    },
    /// A secret of no bytes would be known to everybody.
    #[error("secret {} is empty: is the variable or file it is read from empty?", index + 1)]
    SecretEmpty {
        /// Which, from 0.
        index: usize,
    },
    /// A secret that is not written as the scheme says.
    #[error(
        "secret {} is not {}, which this scheme needs: copy it anew from the provider, without \
         spaces",
        index + 1,
        match encoding { SecretEncoding::Hex => "hex", _ => "base64" }
    )]
    SecretEncoding {
        /// Which, from 0.
        index: usize,
        /// How it should be written.
        encoding: SecretEncoding,
    },
    /// A public key that is none.
    #[error(
        "secret {} is no Ed25519 public key, which has 32 bytes: copy it anew from the provider",
        index + 1
    )]
    PublicKey {
        /// Which, from 0.
        index: usize,
    },
    /// A message without the body.
    #[error(
        "`message` does not contain \"body\": anybody could change it; add it (or write \
         body_unsigned = true, where the provider does not sign it)"
    )]
    BodyUnsigned,
    /// The body is signed, and said not to be.
    #[error("`body_unsigned` is written, yet `message` contains the body: remove it")]
    BodySigned,
    /// A body that is to be two things at once.
    #[error("`message` reads the body as a form and as {other}: it is one of them")]
    FormMixed {
        /// The other part.
        other: String,
    },
    /// Two parts run into one, so that a replayer could move bytes from one
    /// to the other.
    #[error(
        "`message` runs {first} into {second}, so that bytes could be moved from one to the \
         other: put a {{ literal = … }} or the timestamp between them, as the provider does"
    )]
    Unfenced {
        /// The part before.
        first: String,
        /// The part behind.
        second: String,
    },
    /// A timestamp that nobody signed.
    #[error(
        "`message` does not contain \"timestamp\", so that anybody could refresh an old \
         delivery: add it, or remove `timestamp`"
    )]
    TimestampUnsigned,
    /// A timestamp is signed, and nobody said where it is.
    #[error(
        "`message` contains \"timestamp\", but `timestamp` does not say where it is: add {{ \
         header = … }} or {{ field = … }}"
    )]
    TimestampUnplaced,
    /// Not one place but none or several.
    #[error("`{key}` needs exactly one of {places}")]
    PlaceAmbiguous {
        /// Of what.
        key: &'static str,
        /// The choices.
        places: &'static str,
    },
    /// A key without a key separator, or the other way round.
    #[error(
        "`signature` needs both `key` and `key_separator`, or neither; a timestamp `field` needs \
         them and `separator`"
    )]
    KeysIncomplete,
    /// A separator of no characters.
    #[error(
        "`signature` has an empty `separator`, `key` or `key_separator`: write it, or remove it"
    )]
    SeparatorEmpty,
    /// A family of headers that is none.
    #[error("`numbered` is 1 to 100, and goes with one `header` such as \"X-Signature-\"")]
    Numbered,
    /// A prefix that may be left out, and is not there.
    #[error("`prefix_optional` is written without a `prefix`: remove it, or add the prefix")]
    PrefixMissing,
    /// Everything would be stale.
    #[error("`tolerance` is zero, so that every delivery would be stale: write one such as \"5m\"")]
    ToleranceZero,
    /// The URL is signed, and nobody said what it is.
    #[error(
        "this scheme signs the URL that the provider was given: set `public_url`, such as \
         \"https://hooks.example.com\""
    )]
    PublicUrlMissing,
    /// A part of the topic that a replayer could choose.
    #[error(
        "`partition` reads {source_place}, which the signature does not cover ({why}): whoever \
         captures a delivery could send it to another subtopic. Read it from what is signed: \
         {signed}"
    )]
    PartitionUnsigned {
        /// From where.
        source_place: String,
        /// Why that is not covered.
        why: &'static str,
        /// What is.
        signed: String,
    },
    /// The word for handshakes is not there.
    #[error(
        "this scheme's handshake needs the word that you gave the provider: add verify_token = \
         \"env:NAME\""
    )]
    VerifyTokenMissing,
    /// The word for handshakes is there for nothing.
    #[error("this scheme has no handshake with a `verify_token`: remove it")]
    VerifyTokenUseless,
    /// A handshake that contradicts itself.
    #[error("`challenge` {}: {what}", index + 1)]
    Challenge {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it and what to do.
        what: &'static str,
    },
    /// No such answer.
    #[error(
        "`respond` has the status or content type wrong: the status is 200 to 299, the type such \
         as \"text/plain\""
    )]
    Respond,
}

/// Why a delivery is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Only a POST carries an event.
    #[error("the method is not POST")]
    Method,
    /// A header with bytes that are not ASCII, which two readers may read
    /// differently.
    #[error("header {header} has bytes that are not ASCII")]
    NotAscii {
        /// Which.
        header: HeaderName,
    },
    /// Nothing to prove with.
    #[error("header {header} is missing")]
    HeaderMissing {
        /// Which; of several that would do, the first.
        header: HeaderName,
    },
    /// The query has no token.
    #[error("the query parameter with the token is missing")]
    QueryMissing,
    /// A header or a field of it that is there twice and says two things.
    #[error("header {header} is there more than once, with different values")]
    Duplicate {
        /// Which.
        header: HeaderName,
    },
    /// No signature where one should be.
    #[error("{place} holds no signature of the form {form:?}")]
    SignatureForm {
        /// Where.
        place: String,
        /// How one begins.
        form: String,
    },
    /// A signature without what should stand before it.
    #[error("{place} does not begin with {prefix:?}, which stands before the signature")]
    SignaturePrefix {
        /// Where.
        place: String,
        /// What should stand there.
        prefix: String,
    },
    /// The body has no such text.
    #[error("the body is no JSON with a text or whole number at {place}")]
    JsonMissing {
        /// The JSON pointer.
        place: String,
    },
    /// The body is no form.
    #[error("the body is not a form, which this scheme signs field by field")]
    FormForm,
    /// The signed URL says another hash of the body.
    #[error("the body does not have the hash that the signed URL says")]
    BodyHash,
    /// Signatures, but not written as the scheme says.
    #[error("the signature is not {}", encoding.as_str())]
    SignatureEncoding {
        /// How it should be written.
        encoding: Encoding,
    },
    /// A signature by another hash, or cut.
    #[error("the signature has {bytes} bytes, not {bytes_expected}")]
    SignatureLength {
        /// How long it is.
        bytes: usize,
        /// How long the scheme's are.
        bytes_expected: usize,
    },
    /// More than [`SIGNATURES_MAX`](super::SIGNATURES_MAX).
    #[error("there are more than {} signatures", super::SIGNATURES_MAX)]
    SignaturesTooMany,
    /// The token is not written as its `Authorization` scheme demands.
    #[error("the token does not have the form that the scheme names")]
    TokenForm,
    /// No timestamp where one should be.
    #[error("the timestamp is missing")]
    TimestampMissing,
    /// Not written as the scheme says.
    #[error(
        "the timestamp is not {}{}",
        format.as_str(),
        match format {
            TimeFormat::UnixSecs | TimeFormat::UnixMs => ", a plain number without leading zeros",
            TimeFormat::Rfc3339 | TimeFormat::Iso8601Utc | TimeFormat::HttpDate => "",
        }
    )]
    TimestampForm {
        /// How it should be written.
        format: TimeFormat,
    },
    /// A signed part that contains the literal beside it, so that the same
    /// bytes could mean two messages.
    #[error("{part} contains {separator:?}, which separates it in the signed message")]
    Separator {
        /// `timestamp`, or the header's name.
        part: String,
        /// The literal beside it.
        separator: String,
    },
    /// Signed too long ago, or in the future.
    #[error("timestamp is {skew_secs} s off; the limit is {skew_secs_max} s")]
    Stale {
        /// By how much, rounded up.
        skew_secs: u64,
        /// The tolerance.
        skew_secs_max: u64,
    },
    /// Another secret, or another message.
    #[error("no configured secret matches")]
    Mismatch,
    /// The secret is not there yet: the provider has to hand it over.
    #[error("the provider has not handed over its secret yet")]
    SecretPending,
    /// Another secret is handed over than the one that is kept.
    #[error("a secret is handed over, and another one is kept already")]
    HandedOver,
    /// What is signed is a word that a handshake would sign for anybody.
    #[error("what is signed is one bare word, which a handshake would sign for anybody")]
    Minted,
    /// A handshake without the word that was agreed on.
    #[error("the handshake does not say the word in `verify_token`")]
    VerifyToken,
    /// A handshake without a text to answer with.
    #[error(
        "the handshake has no printable text of at most {} bytes to answer with",
        super::CHALLENGE_BYTES_MAX
    )]
    Challenge,
}

impl VerifyError {
    /// One word for metrics: there are as many as there are variants.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::NotAscii { .. } => "not_ascii",
            Self::HeaderMissing { .. } => "header_missing",
            Self::QueryMissing => "query_missing",
            Self::Duplicate { .. } => "duplicate_header",
            Self::SignatureForm { .. } => "signature_form",
            Self::SignaturePrefix { .. } => "signature_prefix",
            Self::JsonMissing { .. } => "json_missing",
            Self::FormForm => "form_form",
            Self::BodyHash => "body_hash",
            Self::SignatureEncoding { .. } => "signature_encoding",
            Self::SignatureLength { .. } => "signature_length",
            Self::SignaturesTooMany => "signatures_too_many",
            Self::TokenForm => "token_form",
            Self::TimestampMissing => "timestamp_missing",
            Self::TimestampForm { .. } => "timestamp_form",
            Self::Separator { .. } => "separator",
            Self::Stale { .. } => "stale",
            Self::Mismatch => "mismatch",
            Self::SecretPending => "secret_pending",
            Self::HandedOver => "handed_over",
            Self::Minted => "minted",
            Self::VerifyToken => "verify_token",
            Self::Challenge => "challenge",
        }
    }
}

/// Why a request could not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A value that no header can carry.
    #[error("the value for header {header} has characters that a header cannot carry")]
    HeaderValue {
        /// Which.
        header: HeaderName,
    },
    /// The scheme reads the type from the body.
    #[error("this scheme reads the event type from the body, at {place}: write it there")]
    EventTypeInBody {
        /// The JSON pointer.
        place: String,
    },
    /// The provider alone has the private key.
    #[error("only the provider can sign by this scheme: a public key proves and does not sign")]
    PublicKeyOnly,
    /// The scheme's signature is a part of the body.
    #[error("this scheme's signature stands in the body: `send` cannot put it there")]
    SignatureInBody,
    /// The secret comes from the provider.
    #[error("the provider has not handed over its secret yet")]
    SecretPending,
    /// The scheme has no place for a type.
    #[error("this scheme carries no event type")]
    EventTypeUnplaced,
    /// What was signed would be refused.
    #[error("the signed request would be refused: {0}")]
    Refused(#[from] VerifyError),
}
