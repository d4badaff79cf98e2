//! The proof itself: signature, message, secrets, freshness.
//!
//! Everything here works on bytes as they arrived. Nothing is parsed but what
//! the scheme names as signed, until a secret has matched.

use std::{borrow::Cow, time::Duration};

use hookrill_core::{Pointer, Secret, Timestamp};

use super::{
    challenge,
    delivery::Delivery,
    ed25519,
    error::VerifyError,
    explain::Trace,
    grammar::Grammar,
    headers,
    mac::{self, Message},
    message::{self, Making},
    scheme::{Encoding, Hash, HeaderNames, MacConstruction, MessagePart, TimeFormat},
    timestamp::require_fresh,
    token::TokenProof,
};

/// By what deliveries are proven.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Proof {
    Signed(Box<SignedProof>),
    Token(TokenProof),
    None,
}

/// A signature over what was sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SignedProof {
    pub(super) lock: Lock,
    pub(super) grammar: Grammar,
    pub(super) encoding: Encoding,
    pub(super) message: Vec<MessagePart>,
    pub(super) clock: Option<Clocked>,
    /// Any may match. Empty only until the provider hands one over.
    pub(super) keys: Vec<Secret>,
    /// What stands before the request target in the URL that the sender was
    /// given; needed where the message has [`MessagePart::Url`].
    pub(super) public_url: String,
    /// Whether a handshake gives anybody the MAC of a text.
    pub(super) mints: bool,
}

/// What a signature is made by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Lock {
    Mac(Hash, MacConstruction),
    Ed25519,
}

/// When the sender signed, and by how much that may be off.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Clocked {
    pub(super) moment: Moment,
    pub(super) format: TimeFormat,
    pub(super) tolerance: Duration,
}

/// Where the timestamp is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Moment {
    Header(HeaderNames),
    Field(String),
    /// In the body, and signed apart from it.
    Json(Pointer),
    /// In the body, and signed with it: read behind the proof.
    SignedJson(Pointer),
}

impl Lock {
    /// How long its signatures are, in bytes.
    fn signature_bytes(self) -> usize {
        match self {
            Self::Mac(hash, _) => hash.bytes(),
            Self::Ed25519 => ed25519::SIGNATURE_BYTES,
        }
    }

    fn opens(self, key: &Secret, message: &Message<'_>, candidates: &[Vec<u8>]) -> bool {
        match self {
            Self::Mac(hash, keyed) => mac::any((hash, keyed), key, message, candidates),
            Self::Ed25519 => {
                // In one piece, and once for all candidates.
                let whole = message.concat();
                let verifies = |one: &Vec<u8>| ed25519::verifies(key.expose(), &whole, one);
                candidates.iter().any(verifies)
            }
        }
    }
}

impl SignedProof {
    /// Proves a delivery, or says why not.
    ///
    /// Freshness is judged last: a stale delivery that is genuine is a clock
    /// or a replay, and one that is not is neither.
    pub(super) fn prove(
        &self,
        delivery: &Delivery,
        now: Timestamp,
        trace: &mut Trace,
    ) -> Result<(), VerifyError> {
        trace.at("signature");
        let candidates = self.candidates(delivery)?;
        trace.found(|| format!("{} to try", candidates.len()));

        trace.at("timestamp");
        let text = self.timestamp_text(delivery)?;
        let mut signed_at = self.read_timestamp(text.as_deref())?;
        trace.found(|| match (&text, signed_at) {
            (Some(text), Some(at)) => format!("{}, which is {at}", text.escape_default()),
            _ => "none apart".to_owned(),
        });

        trace.at("message");
        let message = self.message(delivery, text.as_deref())?;
        self.refuse_minted(&message)?;
        trace.found(|| {
            let bytes: usize = message.iter().map(|piece| piece.len()).sum();
            format!("{bytes} bytes signed")
        });

        trace.at("secret");
        let index = self.matching(&message, &candidates)?;
        trace.matched(index);

        if let Some(clock) = &self.clock {
            trace.at("freshness");
            if let Moment::SignedJson(pointer) = &clock.moment {
                let text = pointer.find(&delivery.body);
                let text = text.ok_or_else(|| message::missing(pointer))?;
                signed_at = Some(clock.format.read(&text)?);
            }
            let signed_at = signed_at.ok_or(VerifyError::TimestampMissing)?;
            require_fresh(signed_at, now, clock.tolerance)?;
            trace.found(|| format!("signed at {signed_at}"));
        }
        Ok(())
    }

    /// The bytes that the sender should have signed.
    pub(super) fn signed_bytes(&self, delivery: &Delivery) -> Result<Vec<u8>, VerifyError> {
        let text = self.timestamp_text(delivery)?;
        Ok(self.message(delivery, text.as_deref())?.concat())
    }

    /// The message, from a delivery and the timestamp's text as received.
    pub(super) fn message<'m>(
        &'m self,
        delivery: &'m Delivery,
        timestamp: Option<&'m str>,
    ) -> Result<Message<'m>, VerifyError> {
        let making = Making {
            parts: &self.message,
            public_url: &self.public_url,
            delivery,
            timestamp,
        };
        making.message()
    }

    /// Refuses a message that a handshake would sign for anybody who asks.
    fn refuse_minted(&self, message: &Message<'_>) -> Result<(), VerifyError> {
        let bytes = message.iter().flat_map(|piece| piece.iter().copied());
        match self.mints && challenge::is_mintable(bytes) {
            true => Err(VerifyError::SignableByAnyone),
            false => Ok(()),
        }
    }

    /// The signatures' bytes. Those that do not decode are left out, as long
    /// as one does: another may be of a version yet unknown.
    fn candidates(&self, delivery: &Delivery) -> Result<Vec<Vec<u8>>, VerifyError> {
        let texts = self.grammar.signatures(delivery)?;
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
        match self.clock.as_ref().map(|clock| &clock.moment) {
            Some(Moment::Header(names)) => {
                let text = headers::required(&delivery.headers, names)?;
                Ok(Some(text.into()))
            }
            Some(Moment::Field(key)) => {
                let text = self.grammar.field(delivery, key)?;
                let text = text.ok_or(VerifyError::TimestampMissing)?;
                Ok(Some(text.into()))
            }
            Some(Moment::Json(pointer)) => {
                let text = pointer.find(&delivery.body);
                let text = text.ok_or_else(|| message::missing(pointer))?;
                Ok(Some(text.into()))
            }
            Some(Moment::SignedJson(_)) | None => Ok(None),
        }
    }

    fn read_timestamp(&self, text: Option<&str>) -> Result<Option<Timestamp>, VerifyError> {
        match (&self.clock, text) {
            (Some(clock), Some(text)) => clock.format.read(text).map(Some),
            _ => Ok(None),
        }
    }

    fn matching(
        &self,
        message: &Message<'_>,
        candidates: &[Vec<u8>],
    ) -> Result<usize, VerifyError> {
        if self.keys.is_empty() {
            return Err(VerifyError::SecretPending);
        }
        let bytes_expected = self.lock.signature_bytes();
        // Before the hash, since none of these can match.
        if let Some(bytes) = candidates.first().map(Vec::len)
            && candidates.iter().all(|one| one.len() != bytes_expected)
        {
            return Err(VerifyError::SignatureLength {
                bytes,
                bytes_expected,
            });
        }
        let opens = |key| self.lock.opens(key, message, candidates);
        let index = self.keys.iter().position(opens);
        index.ok_or(VerifyError::Mismatch)
    }
}
