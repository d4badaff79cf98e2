//! Verifies a signature: candidates, message, secrets, freshness.
//!
//! Works on bytes as they arrived. Nothing is parsed except for what the scheme
//! names as signed, until a secret has matched. Invariants: the candidates are
//! 1 to [`SIGNATURES_MAX`]; without a key nothing verifies.

use std::{borrow::Cow, time::Duration};

use hookrill_core::{Pointer, Secret, Timestamp};
use sha2::{Digest as _, Sha256};

use super::{
    ed25519, form,
    grammar::SignatureGrammar,
    grammar::SignatureLocation,
    headers,
    lookup::required_json,
    mac::{MacAlgorithm, SignedMessage},
    message::MessageBuilder,
    signable::is_signable_by_anyone,
    timestamp::require_fresh,
};
use crate::{
    delivery::Delivery,
    error::VerifyError,
    limits::SIGNATURES_MAX,
    scheme::{Encoding, HeaderNames, MessagePart, SecretForm, SecretProvisioning, TimeFormat},
    trace::Trace,
};

/// A signature over what was sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SignatureCheck {
    pub(crate) algorithm: Algorithm,
    pub(crate) grammar: SignatureGrammar,
    pub(crate) encoding: Encoding,
    pub(crate) message: Vec<MessagePart>,
    pub(crate) timestamp: Option<TimestampPolicy>,
    /// Any may match. Empty only where `provisioning` is there, and until the
    /// provider has sent its secret.
    pub(crate) keys: Vec<Secret>,
    /// How secrets are written.
    pub(crate) secret_form: SecretForm,
    /// Where the provider sends its secret.
    pub(crate) provisioning: Option<SecretProvisioning>,
    /// What stands in front of the request target in the URL that the sender was
    /// given, used where a part needs it; and what else it may have been signed with.
    /// At least one.
    pub(crate) public_urls: Vec<String>,
    /// Whether the message has the body byte for byte.
    pub(crate) covers_body: bool,
    /// Whether a handshake gives anyone the MAC of a bare word.
    pub(crate) words_are_signable_by_anyone: bool,
}

/// The algorithm of a signature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Algorithm {
    Mac(MacAlgorithm),
    Ed25519,
}

/// When the sender signed, and how far that may be off.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimestampPolicy {
    pub(crate) source: TimestampSource,
    pub(crate) format: TimeFormat,
    /// In either direction; not zero.
    pub(crate) tolerance: Duration,
}

/// Where the timestamp is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TimestampSource {
    Header(HeaderNames),
    /// An item of the signature header.
    Field(String),
    /// In the body, and signed as a part of its own.
    Json(Pointer),
    /// A field of a form, and signed as a part of its own.
    Form(String),
    /// In the body, and signed as part of it: read once a secret has matched.
    SignedJson(Pointer),
}

impl Algorithm {
    /// The length of a signature, in bytes.
    fn signature_bytes(self) -> usize {
        match self {
            Self::Mac(mac) => mac.hash.bytes(),
            Self::Ed25519 => ed25519::SIGNATURE_BYTES,
        }
    }

    /// Whether one of `candidates` is the message's signature under `key`.
    fn verifies(self, key: &Secret, message: &SignedMessage<'_>, candidates: &[Vec<u8>]) -> bool {
        match self {
            Self::Mac(mac) => mac.matches_any(key, message, candidates),
            Self::Ed25519 => {
                // In one piece, and once for all candidates.
                let whole = message.concat();
                candidates
                    .iter()
                    .any(|signature| ed25519::verifies(key.expose(), &whole, signature))
            }
        }
    }
}

impl TimestampPolicy {
    /// When the delivery was signed: by its `separate` timestamp, or by the one
    /// in the body, which a secret has verified by now.
    fn signed_at(
        &self,
        separate: Option<Timestamp>,
        delivery: &Delivery,
    ) -> Result<Timestamp, VerifyError> {
        if let TimestampSource::SignedJson(pointer) = &self.source {
            return self.format.parse(&required_json(pointer, &delivery.body)?);
        }
        debug_assert!(separate.is_some(), "it was required before the message");
        separate.ok_or(VerifyError::TimestampMissing)
    }
}

impl SignatureCheck {
    /// The headers that it reads.
    pub(crate) fn header_names(&self) -> impl Iterator<Item = &HeaderNames> {
        let signature = match &self.grammar.location {
            SignatureLocation::Header(names) => Some(names),
            SignatureLocation::Json(_) | SignatureLocation::Form(_) => None,
        };
        let timestamp = self.timestamp.as_ref().and_then(|it| match &it.source {
            TimestampSource::Header(names) => Some(names),
            _ => None,
        });
        let signed = self.message.iter().filter_map(|part| match part {
            MessagePart::Header(names) => Some(names),
            _ => None,
        });
        signature.into_iter().chain(timestamp).chain(signed)
    }

    /// Verifies a delivery.
    ///
    /// Freshness is judged last: a genuine delivery that is stale is a replay,
    /// or a clock is wrong; of a forged one the timestamp says nothing.
    ///
    /// # Errors
    ///
    /// [`VerifyError`], the first that is found.
    pub(crate) fn verify(
        &self,
        delivery: &Delivery,
        now: Timestamp,
        trace: &mut Trace,
    ) -> Result<(), VerifyError> {
        trace.begin("signature");
        let candidates = self.candidates(delivery)?;
        trace.passed(|| format!("{} to try", candidates.len()));

        trace.begin("timestamp");
        let text = self.timestamp_text(delivery)?;
        let separate = self.parse_timestamp(text.as_deref())?;
        trace.passed(|| match (&text, separate) {
            (Some(text), Some(at)) => format!("{}, which is {at}", text.escape_default()),
            _ => "none outside the body".to_owned(),
        });

        trace.begin("message");
        let message = self.message(delivery, text.as_deref())?;
        self.refuse_signable_by_anyone(&message)?;
        trace.passed(|| {
            let bytes: usize = message.iter().map(|piece| piece.len()).sum();
            format!("{bytes} bytes signed")
        });

        trace.begin("secret");
        trace.matched(match self.matching_key(&message, &candidates) {
            Err(VerifyError::Mismatch) => {
                self.matching_key_by_other_url(delivery, text.as_deref(), &candidates)?
            }
            found => found?,
        });

        let Some(policy) = &self.timestamp else {
            return Ok(());
        };
        trace.begin("freshness");
        let signed_at = policy.signed_at(separate, delivery)?;
        require_fresh(signed_at, now, policy.tolerance)?;
        trace.passed(|| format!("signed at {signed_at}"));
        Ok(())
    }

    /// The bytes that the sender should have signed.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] where a part of them is missing.
    pub(crate) fn signed_bytes(&self, delivery: &Delivery) -> Result<Vec<u8>, VerifyError> {
        let timestamp = self.timestamp_text(delivery)?;
        Ok(self.message(delivery, timestamp.as_deref())?.concat())
    }

    /// The SHA-256 of what was signed, where that is not the body byte for byte.
    ///
    /// # Errors
    ///
    /// Those of [`SignatureCheck::signed_bytes`].
    pub(crate) fn content(&self, delivery: &Delivery) -> Result<Option<[u8; 32]>, VerifyError> {
        if self.covers_body {
            return Ok(None);
        }
        let signed = self.signed_bytes(delivery)?;
        Ok(Some(Sha256::digest(signed).into()))
    }

    /// The message, from a delivery and the timestamp's text as received.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] where a part is missing.
    pub(crate) fn message<'m>(
        &'m self,
        delivery: &'m Delivery,
        timestamp: Option<&'m str>,
    ) -> Result<SignedMessage<'m>, VerifyError> {
        self.message_for(&self.public_urls[0], delivery, timestamp)
    }

    fn message_for<'m>(
        &'m self,
        public_url: &'m str,
        delivery: &'m Delivery,
        timestamp: Option<&'m str>,
    ) -> Result<SignedMessage<'m>, VerifyError> {
        let builder = MessageBuilder {
            parts: &self.message,
            public_url,
            delivery,
            timestamp,
        };
        builder.build()
    }

    /// Refuses a message that a handshake would sign for anyone who asks.
    fn refuse_signable_by_anyone(&self, message: &SignedMessage<'_>) -> Result<(), VerifyError> {
        let bytes = message.iter().flat_map(|piece| piece.iter().copied());
        if self.words_are_signable_by_anyone && is_signable_by_anyone(bytes) {
            return Err(VerifyError::SignableByAnyone);
        }
        Ok(())
    }

    /// The signatures' bytes. Those that do not decode are left out, as long
    /// as one does: another may be of a version yet unknown.
    fn candidates(&self, delivery: &Delivery) -> Result<Vec<Vec<u8>>, VerifyError> {
        let texts = self.grammar.signatures(delivery)?;
        debug_assert!((1..=SIGNATURES_MAX).contains(&texts.len()));
        let mut decoded = Vec::with_capacity(texts.len());
        let mut invalid = None;
        for text in &texts {
            match self.encoding.decode(text) {
                Ok(bytes) => decoded.push(bytes),
                Err(source) => {
                    invalid.get_or_insert(source);
                }
            }
        }
        match invalid {
            Some(source) if decoded.is_empty() => Err(VerifyError::SignatureEncoding {
                encoding: self.encoding,
                source,
            }),
            _ => Ok(decoded),
        }
    }

    fn timestamp_text<'d>(
        &self,
        delivery: &'d Delivery,
    ) -> Result<Option<Cow<'d, str>>, VerifyError> {
        let Some(policy) = &self.timestamp else {
            return Ok(None);
        };
        let text = match &policy.source {
            TimestampSource::Header(names) => headers::required(&delivery.headers, names)?.into(),
            TimestampSource::Field(key) => {
                let field = self.grammar.field(delivery, key)?;
                field.ok_or(VerifyError::TimestampMissing)?.into()
            }
            TimestampSource::Json(pointer) => required_json(pointer, &delivery.body)?.into(),
            TimestampSource::Form(name) => form::required(&delivery.body, name)?.into(),
            TimestampSource::SignedJson(_) => return Ok(None),
        };
        Ok(Some(text))
    }

    fn parse_timestamp(&self, text: Option<&str>) -> Result<Option<Timestamp>, VerifyError> {
        match (&self.timestamp, text) {
            (Some(policy), Some(text)) => policy.format.parse(text).map(Some),
            _ => Ok(None),
        }
    }

    /// The index of the key that one of `candidates` was made with, over one of the
    /// other URLs that the sender may have signed.
    fn matching_key_by_other_url(
        &self,
        delivery: &Delivery,
        timestamp: Option<&str>,
        candidates: &[Vec<u8>],
    ) -> Result<usize, VerifyError> {
        for public_url in &self.public_urls[1..] {
            let message = self.message_for(public_url, delivery, timestamp)?;
            self.refuse_signable_by_anyone(&message)?;
            match self.matching_key(&message, candidates) {
                Err(VerifyError::Mismatch) => {}
                found => return found,
            }
        }
        Err(VerifyError::Mismatch)
    }

    /// The index of the key that one of `candidates` was made with.
    fn matching_key(
        &self,
        message: &SignedMessage<'_>,
        candidates: &[Vec<u8>],
    ) -> Result<usize, VerifyError> {
        if self.keys.is_empty() {
            debug_assert!(self.provisioning.is_some(), "nothing else leaves out keys");
            return Err(VerifyError::SecretPending);
        }
        let bytes_expected = self.algorithm.signature_bytes();
        // Before the hash, since none of these can match.
        if let Some(first) = candidates.first()
            && candidates.iter().all(|one| one.len() != bytes_expected)
        {
            return Err(VerifyError::SignatureLength {
                bytes: first.len(),
                bytes_expected,
            });
        }
        self.keys
            .iter()
            .position(|key| self.algorithm.verifies(key, message, candidates))
            .ok_or(VerifyError::Mismatch)
    }
}
