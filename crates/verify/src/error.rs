//! What can go wrong: with a scheme, with a delivery, with signing.
//!
//! Facts only, never a secret and never a value that the sender chose, except
//! for header names. Which HTTP status a sender sees is not decided here: to
//! the sender, all refusals should look the same.

use data_encoding::DecodeError;
use hookrill_core::Pointer;
use http::HeaderName;

use crate::{
    limits::{CHALLENGE_BYTES_MAX, SECRETS_MAX, SIGNATURES_MAX},
    scheme::{Encoding, Hash, MessagePart, SchemeKind, SecretEncoding, Source, TimeFormat},
};

/// Why a scheme and its [`Settings`](crate::Settings) make no verifier. Each
/// message says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemeError {
    /// A key that this kind of scheme needs is not there.
    #[error("a scheme of kind \"{kind}\" needs `{key}`, such as {example}")]
    KeyMissing {
        /// The scheme's kind.
        kind: SchemeKind,
        /// The missing key.
        key: &'static str,
        /// What it could be, as TOML.
        example: &'static str,
    },
    /// A key that this kind of scheme does not use.
    #[error("`{key}` does not apply to a scheme of kind \"{kind}\": remove it, or change the kind")]
    KeyInapplicable {
        /// The scheme's kind.
        kind: SchemeKind,
        /// The key without effect.
        key: &'static str,
    },
    /// No secret to verify with.
    #[error("no secret is configured: add `secrets = [\"env:NAME\"]` (or write kind = \"none\")")]
    SecretMissing,
    /// Secrets for a scheme that verifies nothing.
    #[error(
        "a scheme of kind \"none\" verifies nothing, yet secrets are configured: remove them, or \
         name a preset"
    )]
    SecretUseless,
    /// More than [`SECRETS_MAX`].
    #[error("{count} secrets are configured; at most {SECRETS_MAX} are tried: remove the oldest")]
    SecretsTooMany {
        /// How many are configured.
        count: usize,
    },
    /// A secret of no bytes, which everybody would know.
    #[error("secret {} is empty: check the variable or file that it is read from", index + 1)]
    SecretEmpty {
        /// Which, from 0.
        index: usize,
    },
    /// A secret that no sender by HTTP Basic can have.
    #[error(
        "secret {} is not `user:password`, which HTTP Basic sends: write both of them, with a \
         colon between",
        index + 1
    )]
    SecretNotAPair {
        /// Which, from 0.
        index: usize,
    },
    /// A secret of fewer bytes than the scheme's secrets have.
    #[error(
        "secret {} has {bytes} bytes once it is decoded, and this scheme's secrets have at least \
         {bytes_min}: copy all of it from the provider",
        index + 1
    )]
    SecretShort {
        /// Which, from 0.
        index: usize,
        /// How many it has.
        bytes: usize,
        /// How many it should have.
        bytes_min: usize,
    },
    /// A secret that is not encoded as the scheme says.
    #[error(
        "secret {} is not {}, which this scheme needs: copy it again from the provider, without \
         spaces",
        index + 1,
        encoding.as_str()
    )]
    SecretEncoding {
        /// Which, from 0.
        index: usize,
        /// How it should be encoded.
        encoding: SecretEncoding,
        /// What is wrong with it, and at which byte.
        source: DecodeError,
    },
    /// A secret that is not an Ed25519 public key, or a weak one.
    #[error(
        "secret {} is not an Ed25519 public key of 32 bytes: copy it again from the provider",
        index + 1
    )]
    PublicKeyInvalid {
        /// Which, from 0.
        index: usize,
    },
    /// A hash that nobody should choose today, without a confirmation.
    #[error(
        "the hash {} is broken, and safe only inside an HMAC for now: write legacy = true if the \
         provider has nothing better",
        hash.as_str()
    )]
    HashLegacy {
        /// Which.
        hash: Hash,
    },
    /// A confirmation of a hash that needs none.
    #[error("`legacy` is set, but the hash {} needs no such confirmation: remove it", hash.as_str())]
    HashNotLegacy {
        /// Which.
        hash: Hash,
    },
    /// MD5 or SHA-1 other than inside an HMAC.
    #[error("`construction` is \"prefix\", which the hash md5 is too weak for")]
    HashTooWeak,
    /// The signed message does not contain the body.
    #[error(
        "`message` does not contain \"body\", so anybody could change the body: add it (or write \
         body_unsigned = true, if the provider does not sign it)"
    )]
    BodyUnsigned,
    /// The body is signed, and `body_unsigned` claims that it is not.
    #[error("`body_unsigned` is set, but `message` contains the body: remove `body_unsigned`")]
    BodySigned,
    /// The body is read as a form and as JSON.
    #[error("`message` reads the body as a form and as {other}: it can only be one of them")]
    FormAndJson {
        /// The part that is not a form.
        other: MessagePart,
    },
    /// Two parts of variable length side by side, so that whoever replays a
    /// delivery could move bytes from one to the other.
    #[error(
        "`message` runs {first} into {second}, so that bytes could be moved from one to the \
         other: put a {{ literal = … }} or the timestamp between them, as the provider does"
    )]
    Undelimited {
        /// The part in front.
        first: MessagePart,
        /// The part behind it.
        second: MessagePart,
    },
    /// A timestamp that is not signed.
    #[error(
        "`message` does not contain \"timestamp\", so anybody could refresh an old delivery: add \
         it, or remove `timestamp`"
    )]
    TimestampUnsigned,
    /// A timestamp is signed, but the scheme does not say where it is.
    #[error(
        "`message` contains \"timestamp\", but `timestamp` does not say where it is: add {{ \
         header = … }} or {{ field = … }}"
    )]
    TimestampLocationMissing,
    /// No location or several, where exactly one is needed.
    #[error("`{key}` needs exactly one of {choices}")]
    LocationAmbiguous {
        /// The key that has them.
        key: &'static str,
        /// The possible locations.
        choices: &'static str,
    },
    /// A key without a key separator, or the other way round.
    #[error(
        "`signature` needs both `key` and `key_separator`, or neither; a timestamp `field` needs \
         them and `separator`"
    )]
    ItemKeyIncomplete,
    /// A separator or key of no characters.
    #[error(
        "`signature` has an empty `separator`, `key` or `key_separator`: fill it in, or remove it"
    )]
    SeparatorEmpty,
    /// A numbered family of headers that is not one.
    #[error("`numbered` is 1 to 100, and needs exactly one `header`, such as \"X-Signature-\"")]
    NumberedInvalid,
    /// An optional prefix that is not there.
    #[error("`prefix_optional` is set without a `prefix`: remove it, or add the prefix")]
    PrefixMissing,
    /// With this tolerance every delivery would be stale.
    #[error("`tolerance` is zero, so every delivery would be stale: write one such as \"5m\"")]
    ToleranceZero,
    /// The URL is signed or hashed, and
    /// [`Settings::public_url`](crate::Settings::public_url) is not there.
    #[error(
        "this scheme signs the URL that the provider was given: set `public_url`, such as \
         \"https://hooks.example.com\""
    )]
    PublicUrlMissing,
    /// A partition is taken from what the signature does not cover.
    #[error(
        "`partition` reads {location}, which the signature does not cover ({why}): whoever \
         captures a delivery could send it to another subtopic. Read it from what is signed: {}",
        listed(signed)
    )]
    PartitionUnsigned {
        /// Where the value is read.
        location: Source,
        /// Why the signature does not cover it.
        why: &'static str,
        /// What the signature covers.
        signed: Vec<MessagePart>,
    },
    /// A handshake compares a token, and
    /// [`Settings::verify_token`](crate::Settings::verify_token) is not there.
    #[error(
        "this scheme's handshake needs the token that you gave the provider: add verify_token = \
         \"env:NAME\""
    )]
    VerifyTokenMissing,
    /// A `verify_token` for a scheme whose handshakes compare none.
    #[error("this scheme has no handshake with a `verify_token`: remove it")]
    VerifyTokenUseless,
    /// A handshake that contradicts itself.
    #[error("`challenge` {}: {what}", index + 1)]
    Handshake {
        /// Which `challenge` of the scheme, from 0.
        index: usize,
        /// What is wrong with it, and what to do.
        what: &'static str,
    },
    /// `respond` has a body, and a status that allows none (RFC 9110, sections 15.3.5
    /// and 15.3.6).
    #[error("`respond` has a body, but an answer with the status {status} has none: remove one")]
    RespondBody {
        /// The status.
        status: u16,
    },
    /// Events by GET, of which the signature covers nothing.
    #[error(
        "a GET has no body: its event is the query, which this scheme does not sign; leave out \
         GET, or use a scheme that signs the URL"
    )]
    GetUnsigned,
    /// Events come by GET and by other methods, and the scheme signs URL and body without
    /// the method: what was signed as the query of a GET would pass as the body of a POST.
    #[error(
        "this scheme signs the URL and the body, and not the method: what was signed as the query \
         of a GET would pass as the body of another; use a topic of its own for GET, or sign the \
         method"
    )]
    GetBesideBody,
    /// The status in `respond` is not a success.
    #[error("`respond` has the status {status}: it is 200 to 299")]
    RespondStatus {
        /// The status as written.
        status: u16,
    },
    /// The content type in `respond` is not a header value.
    #[error("`respond` has the content type {content_type:?}: write one such as \"text/plain\"")]
    RespondContentType {
        /// The content type as written.
        content_type: String,
    },
}

fn listed(parts: &[MessagePart]) -> String {
    let parts = parts.iter().map(ToString::to_string);
    parts.collect::<Vec<_>>().join(", ")
}

/// Why a delivery is refused.
///
/// For the operator's eyes: an answer that tells a sender the reason helps
/// whoever forges deliveries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// No event comes by this method ([`Settings::methods`](crate::Settings::methods)),
    /// and the scheme has no handshake by it.
    #[error("the section takes no delivery by this method: `methods` lists others")]
    MethodNotTaken,
    /// A GET with a body: its event is the query, and nothing says what the body is.
    #[error("a GET has its event in the query, and this one has a body")]
    BodyOfGet,
    /// A header that the scheme reads has bytes outside ASCII, which two readers may
    /// read differently.
    #[error("header {header} has bytes that are not ASCII")]
    HeaderNotAscii {
        /// Which.
        header: HeaderName,
    },
    /// A header that the scheme needs is not there.
    #[error("header {header} is missing")]
    HeaderMissing {
        /// Which; of several that would do, the first.
        header: HeaderName,
    },
    /// The query has no token.
    #[error("the query parameter with the token is missing")]
    QueryMissing,
    /// A header or one of its fields is given more than once, and the values
    /// differ.
    #[error("header {header} is given more than once, with different values")]
    HeaderDuplicate {
        /// Which.
        header: HeaderName,
    },
    /// There is no signature where one should be.
    #[error("{location} holds no signature of the form {form:?}")]
    SignatureMalformed {
        /// Where it should be.
        location: Source,
        /// How a signature begins.
        form: String,
    },
    /// The signature lacks its prefix, such as `sha256=`.
    #[error("{location} does not begin with {prefix:?}, the prefix of the signature")]
    SignaturePrefixMissing {
        /// Where the signature is.
        location: Source,
        /// The prefix.
        prefix: String,
    },
    /// The body is not JSON, or has no string or whole number at this place.
    #[error("the body is not JSON with a string or a whole number at {pointer}")]
    JsonMissing {
        /// The place (RFC 6901).
        pointer: Pointer,
    },
    /// The body is not a form, or one with too many fields.
    #[error("the body is not a form, which this scheme signs field by field")]
    NotAForm,
    /// The body is neither JSON nor a form with this field alone.
    #[error("the body is neither JSON nor a form with one field, {field}")]
    NotTheField {
        /// The field's name.
        field: String,
    },
    /// A form has no such field, or several of that name with different values.
    #[error("the body is not a form with one field {field}")]
    FieldMissing {
        /// The field's name.
        field: String,
    },
    /// The signed URL announces another hash of the body.
    #[error("the body does not have the hash that the signed URL announces")]
    BodyHashMismatch,
    /// The signature is not encoded as the scheme says.
    #[error("the signature is not {}", encoding.as_str())]
    SignatureEncoding {
        /// How it should be encoded.
        encoding: Encoding,
        /// What is wrong with the first one, and at which byte.
        source: DecodeError,
    },
    /// A signature by another hash, or one that was cut.
    #[error("the signature has {bytes} bytes, not {bytes_expected}")]
    SignatureLength {
        /// The length of the first one, in bytes.
        bytes: usize,
        /// The length that the scheme's signatures have, in bytes.
        bytes_expected: usize,
    },
    /// More than [`SIGNATURES_MAX`].
    #[error("there are more than {SIGNATURES_MAX} signatures")]
    SignaturesTooMany,
    /// The token is not written as the scheme says.
    #[error("the token is not in the form that the scheme names")]
    TokenMalformed,
    /// There is no timestamp where one should be.
    #[error("the timestamp is missing")]
    TimestampMissing,
    /// The timestamp is not written as the scheme says.
    #[error(
        "the timestamp is not {}{}",
        format.as_str(),
        match format {
            TimeFormat::UnixSecs | TimeFormat::UnixMs => ", a plain number without leading zeros",
            TimeFormat::Rfc3339 | TimeFormat::Iso8601Utc | TimeFormat::HttpDate => "",
        }
    )]
    TimestampMalformed {
        /// How it should be written.
        format: TimeFormat,
    },
    /// A signed part contains the literal that separates it from the next, so
    /// that the same bytes could mean two messages.
    #[error("{part} contains {delimiter:?}, which separates it in the signed message")]
    DelimiterInPart {
        /// `timestamp`, the header's name or the JSON pointer.
        part: String,
        /// The literal next to it.
        delimiter: String,
    },
    /// Signed too long ago, or in the future.
    #[error("timestamp is {skew_secs} s off; the limit is {skew_secs_max} s")]
    Stale {
        /// How far it is off, in seconds, rounded up.
        skew_secs: u64,
        /// The tolerance, in seconds.
        skew_secs_max: u64,
    },
    /// Signed with another secret, or another message was signed; or the token
    /// is another one.
    #[error("no configured secret matches")]
    Mismatch,
    /// The provider sends its secret first, and has not done so.
    #[error("the provider has not sent its secret yet")]
    SecretPending,
    /// The provider sends a secret, and another one is in use.
    #[error("the provider sent a secret, but another one is already in use")]
    SecretAlreadyProvisioned,
    /// The signed text is a bare word, and the scheme has a handshake that
    /// gives anyone the signature of a bare word.
    #[error("the signed text is one bare word, which a handshake would sign for anyone")]
    SignableByAnyone,
    /// The handshake's token is not [`Settings::verify_token`](crate::Settings::verify_token).
    #[error("the handshake does not carry the configured `verify_token`")]
    VerifyTokenMismatch,
    /// The handshake has no text that can be sent back.
    #[error(
        "the handshake has no printable text of at most {CHALLENGE_BYTES_MAX} bytes to answer with"
    )]
    ChallengeInvalid,
}

impl VerifyError {
    /// One word for a metric's label. There is one word per variant, so the
    /// number of labels is bounded.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::MethodNotTaken => "method",
            Self::BodyOfGet => "body_of_get",
            Self::HeaderNotAscii { .. } => "not_ascii",
            Self::HeaderMissing { .. } => "header_missing",
            Self::QueryMissing => "query_missing",
            Self::HeaderDuplicate { .. } => "header_duplicate",
            Self::SignatureMalformed { .. } => "signature_form",
            Self::SignaturePrefixMissing { .. } => "signature_prefix",
            Self::JsonMissing { .. } => "json_missing",
            Self::NotAForm | Self::NotTheField { .. } => "not_a_form",
            Self::FieldMissing { .. } => "field_missing",
            Self::BodyHashMismatch => "body_hash",
            Self::SignatureEncoding { .. } => "signature_encoding",
            Self::SignatureLength { .. } => "signature_length",
            Self::SignaturesTooMany => "signatures_too_many",
            Self::TokenMalformed => "token_form",
            Self::TimestampMissing => "timestamp_missing",
            Self::TimestampMalformed { .. } => "timestamp_form",
            Self::DelimiterInPart { .. } => "delimiter_in_part",
            Self::Stale { .. } => "stale",
            Self::Mismatch => "mismatch",
            Self::SecretPending => "secret_pending",
            Self::SecretAlreadyProvisioned => "secret_already_provisioned",
            Self::SignableByAnyone => "signable_by_anyone",
            Self::VerifyTokenMismatch => "verify_token",
            Self::ChallengeInvalid => "challenge",
        }
    }
}

/// Why a request could not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// A value with characters that no header can carry.
    #[error("the value for header {header} has characters that a header cannot carry")]
    HeaderValueInvalid {
        /// Which header it was for.
        header: HeaderName,
    },
    /// The scheme reads the type from the body, and it is not there.
    #[error("this scheme reads the event type from {location}: write it there")]
    EventTypeInBody {
        /// Where.
        location: Source,
    },
    /// Only the provider has the private key.
    #[error("only the provider can sign with this scheme: a public key cannot sign")]
    PublicKeyOnly,
    /// The scheme's signature is a part of the body.
    #[error("this scheme puts the signature into the body, which signing here does not do")]
    SignatureInBody,
    /// The scheme's token is a part of the body.
    #[error("this scheme reads the token from {pointer} of the body: write it there")]
    TokenInBody {
        /// Where.
        pointer: Pointer,
    },
    /// The provider sends its secret first, and has not done so.
    #[error("the provider has not sent its secret yet")]
    SecretPending,
    /// The scheme has no place for an event type.
    #[error("this scheme has no place for an event type")]
    EventTypeUnsupported,
    /// The verifier refuses what was signed.
    #[error("the signed request would be refused")]
    Refused(#[from] VerifyError),
}
