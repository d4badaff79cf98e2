//! The bytes that the sender should have signed.
//!
//! Piece by piece and as received, so that a body of megabytes is not copied
//! and nothing is written anew. Invariant: a part that says nothing of where
//! it ends does not hold the literal beside it.

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use hookrill_core::Pointer;
use sha2::{Digest as _, Sha256};

use super::{
    delivery::Delivery,
    error::VerifyError,
    form, functions, headers,
    mac::Message,
    scheme::{Function, MessagePart},
};

/// What a message is made from.
pub(super) struct Making<'m> {
    pub(super) parts: &'m [MessagePart],
    /// What stands before the request target in the URL that the sender was
    /// given.
    pub(super) public_url: &'m str,
    pub(super) delivery: &'m Delivery,
    /// The timestamp's text, as received.
    pub(super) timestamp: Option<&'m str>,
}

impl<'m> Making<'m> {
    /// The message.
    ///
    /// # Errors
    ///
    /// Where a part is missing, or holds the literal beside it.
    pub(super) fn message(&self) -> Result<Message<'m>, VerifyError> {
        let pieces = self.parts.iter().enumerate();
        pieces
            .map(|(index, part)| self.piece(index, part))
            .collect()
    }

    fn piece(&self, index: usize, part: &'m MessagePart) -> Result<Cow<'m, [u8]>, VerifyError> {
        let body = &self.delivery.body;
        Ok(match part {
            MessagePart::Body => body[..].into(),
            MessagePart::BodySha256 => HEXLOWER.encode(&Sha256::digest(body)).into_bytes().into(),
            MessagePart::Literal(text) => text.as_bytes().into(),
            MessagePart::Method => self.delivery.method.as_str().as_bytes().into(),
            MessagePart::Url => self.url(index)?.into_bytes().into(),
            MessagePart::FormSorted => form::sorted(body)?.into(),
            MessagePart::Timestamp => {
                let text = self.timestamp.ok_or(VerifyError::TimestampMissing)?;
                self.delimited(index, "timestamp", text)?;
                text.as_bytes().into()
            }
            MessagePart::Header(names) => {
                let text = headers::required(&self.delivery.headers, names)?;
                self.delimited(index, names.first().as_str(), text)?;
                text.as_bytes().into()
            }
            MessagePart::Json(pointer) => {
                let text = pointer.find(body);
                let text = text.ok_or_else(|| missing(pointer))?;
                self.json(index, pointer, text)?
            }
            MessagePart::JsonOrEmpty(pointer) => {
                let text = pointer.find(body).unwrap_or_default();
                self.json(index, pointer, text)?
            }
            MessagePart::Function(Function::Twilio) => {
                functions::twilio(&self.whole_url(), self.delivery)?.into()
            }
            MessagePart::Function(Function::HubspotUrl) => {
                functions::hubspot_url(&self.whole_url())
                    .into_bytes()
                    .into()
            }
        })
    }

    fn json(
        &self,
        index: usize,
        pointer: &Pointer,
        text: String,
    ) -> Result<Cow<'m, [u8]>, VerifyError> {
        self.delimited(index, &pointer.to_string(), &text)?;
        Ok(text.into_bytes().into())
    }

    fn whole_url(&self) -> String {
        let base = self.public_url.trim_end_matches('/');
        format!("{base}{}", self.delivery.path_and_query)
    }

    /// The URL. Behind a body its target does not quote the public URL: the
    /// end of a body that quotes it could be moved there.
    fn url(&self, index: usize) -> Result<String, VerifyError> {
        let behind = index
            .checked_sub(1)
            .and_then(|before| self.parts.get(before));
        let base = self.public_url.trim_end_matches('/');
        match behind {
            Some(MessagePart::Body)
                if !base.is_empty() && self.delivery.path_and_query.contains(base) =>
            {
                Err(VerifyError::DelimiterInPart {
                    part: "the request target".to_owned(),
                    delimiter: base.to_owned(),
                })
            }
            _ => Ok(self.whole_url()),
        }
    }

    /// Refuses a part that contains the literal beside it: `a.b` and `c` must
    /// not sign for `a` and `b.c`. Dates may: they have one form each.
    fn delimited(&self, index: usize, name: &str, text: &str) -> Result<(), VerifyError> {
        let is_letter = |byte: u8| byte.is_ascii_alphabetic();
        let timed = matches!(self.parts.get(index), Some(MessagePart::Timestamp));
        if timed && text.bytes().any(is_letter) {
            return Ok(());
        }
        let before = index
            .checked_sub(1)
            .and_then(|before| self.parts.get(before));
        let beside = [before, self.parts.get(index + 1)];
        let within = beside.into_iter().flatten().find_map(|part| match part {
            MessagePart::Literal(literal) if text.contains(&**literal) => Some(literal),
            _ => None,
        });
        match within {
            Some(literal) => Err(VerifyError::DelimiterInPart {
                part: name.to_owned(),
                delimiter: literal.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// The error where a body has no text.
pub(super) fn missing(pointer: &Pointer) -> VerifyError {
    VerifyError::JsonMissing {
        pointer: pointer.clone(),
    }
}
