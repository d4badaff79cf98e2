//! The proof itself: signature, message, secrets, freshness.
//!
//! Everything here works on bytes as they arrived. Nothing is parsed but the
//! headers that the scheme names, until a secret has matched.

use std::{borrow::Cow, time::Duration};

use super::{
    delivery::Delivery,
    error::VerifyError,
    explain::Trace,
    grammar::Grammar,
    headers,
    json::Pointer,
    mac::{self, Message},
    scheme::{Encoding, Hash, Names, Part, TimeFormat},
    secret::Secret,
    timestamp::require_fresh,
    token::TokenProof,
};
use crate::event::Timestamp;

/// By what deliveries are proven.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    Hmac(Box<HmacProof>),
    Token(TokenProof),
    None,
}

/// A keyed hash over what was sent.
#[derive(Debug, Clone)]
pub(super) struct HmacProof {
    pub(super) hash: Hash,
    pub(super) grammar: Grammar,
    pub(super) encoding: Encoding,
    pub(super) message: Vec<Part>,
    pub(super) clock: Option<Clocked>,
    /// Never empty; any may match.
    pub(super) keys: Vec<Secret>,
    /// What stands before the request target in the URL that the sender was
    /// given; needed where the message has [`Part::Url`].
    pub(super) public_url: String,
}

/// When the sender signed, and by how much that may be off.
#[derive(Debug, Clone)]
pub(super) struct Clocked {
    pub(super) moment: Moment,
    pub(super) format: TimeFormat,
    pub(super) tolerance: Duration,
}

/// Where the timestamp is.
#[derive(Debug, Clone)]
pub(super) enum Moment {
    Header(Names),
    Field(String),
    Json(Pointer),
}

impl HmacProof {
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
        let mut signed_at = self.read_timestamp(text)?;
        trace.found(|| text.map_or_else(|| "none apart".to_owned(), str::to_owned));

        trace.at("message");
        let message = self.message(delivery, text)?;
        trace.found(|| {
            let bytes: usize = message.iter().map(|piece| piece.len()).sum();
            format!("{bytes} bytes signed")
        });

        trace.at("secret");
        let index = self.matching(&message, &candidates)?;
        trace.matched(index);

        if let Some(clock) = &self.clock {
            trace.at("freshness");
            if let Moment::Json(pointer) = &clock.moment {
                let text = pointer.find(&delivery.body);
                let text = text.ok_or(VerifyError::TimestampMissing)?;
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
        Ok(self.message(delivery, text)?.concat())
    }

    /// The message, from a delivery and the timestamp's text as received.
    pub(super) fn message<'m>(
        &'m self,
        delivery: &'m Delivery,
        timestamp: Option<&'m str>,
    ) -> Result<Message<'m>, VerifyError> {
        let piece = |(index, part): (usize, &'m Part)| {
            Ok(Cow::Borrowed(match part {
                Part::Body => &delivery.body[..],
                Part::Literal(text) => text.as_bytes(),
                Part::Method => delivery.method.as_str().as_bytes(),
                Part::Url => {
                    let base = self.public_url.trim_end_matches('/');
                    let url = format!("{base}{}", delivery.path_and_query);
                    return Ok(Cow::Owned(url.into_bytes()));
                }
                Part::Timestamp => {
                    let text = timestamp.ok_or(VerifyError::TimestampMissing)?;
                    self.delimited(index, "timestamp", text)?
                }
                Part::Header(names) => {
                    let text = headers::first(&delivery.headers, names)?;
                    let text = text.ok_or_else(|| VerifyError::HeaderMissing {
                        header: names.first().clone(),
                    })?;
                    self.delimited(index, names.first().as_str(), text)?
                }
            }))
        };
        self.message.iter().enumerate().map(piece).collect()
    }

    /// Refuses a part that contains the literal beside it: `a.b` and `c` must
    /// not sign for `a` and `b.c`.
    fn delimited<'m>(
        &self,
        index: usize,
        name: &str,
        text: &'m str,
    ) -> Result<&'m [u8], VerifyError> {
        let before = index
            .checked_sub(1)
            .and_then(|before| self.message.get(before));
        let beside = [before, self.message.get(index + 1)];
        let within = beside.into_iter().flatten().find_map(|part| match part {
            Part::Literal(literal) if text.contains(&**literal) => Some(literal),
            _ => None,
        });
        match within {
            Some(literal) => Err(VerifyError::Separator {
                part: name.to_owned(),
                separator: literal.clone(),
            }),
            None => Ok(text.as_bytes()),
        }
    }

    /// The signatures' bytes. Those that do not decode are left out, as long
    /// as one does: another may be of a version yet unknown.
    fn candidates(&self, delivery: &Delivery) -> Result<Vec<Vec<u8>>, VerifyError> {
        let texts = self.grammar.signatures(&delivery.headers)?;
        let decoded = texts.iter().filter_map(|text| self.encoding.decode(text));
        let decoded: Vec<_> = decoded.collect();
        if decoded.is_empty() {
            return Err(VerifyError::SignatureEncoding {
                encoding: self.encoding,
            });
        }
        Ok(decoded)
    }

    fn timestamp_text<'d>(&self, delivery: &'d Delivery) -> Result<Option<&'d str>, VerifyError> {
        match self.clock.as_ref().map(|clock| &clock.moment) {
            Some(Moment::Header(names)) => {
                let text = headers::first(&delivery.headers, names)?;
                let missing = || VerifyError::HeaderMissing {
                    header: names.first().clone(),
                };
                text.map(Some).ok_or_else(missing)
            }
            Some(Moment::Field(key)) => {
                let text = self.grammar.field(&delivery.headers, key)?;
                text.map(Some).ok_or(VerifyError::TimestampMissing)
            }
            Some(Moment::Json(_)) | None => Ok(None),
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
        let bytes_expected = self.hash.bytes();
        // Before the hash, since none of these can match.
        if let Some(bytes) = candidates.first().map(Vec::len)
            && candidates.iter().all(|one| one.len() != bytes_expected)
        {
            return Err(VerifyError::SignatureLength {
                bytes,
                bytes_expected,
            });
        }
        let matches = |key| mac::position(self.hash, key, message, candidates).is_some();
        let index = self.keys.iter().position(matches);
        index.ok_or(VerifyError::Mismatch)
    }
}
