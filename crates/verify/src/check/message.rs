//! The bytes that the sender should have signed.
//!
//! Piece by piece and as received, so that a body of megabytes is not copied
//! and nothing is re-encoded. Invariant: a part of variable length does not
//! contain the literal next to it.

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use hookrill_core::Pointer;
use http::Method;
use sha2::{Digest as _, Sha256};

use super::{form, headers, lookup::required_json, mac::SignedMessage, provider};
use crate::{
    delivery::Delivery,
    error::VerifyError,
    scheme::{Function, MessagePart},
};

/// Builds the signed message of a delivery.
pub(super) struct MessageBuilder<'m> {
    pub(super) parts: &'m [MessagePart],
    /// What stands in front of the request target in the URL that the sender
    /// was given.
    pub(super) public_url: &'m str,
    pub(super) delivery: &'m Delivery,
    /// The timestamp's text, as received.
    pub(super) timestamp: Option<&'m str>,
}

impl<'m> MessageBuilder<'m> {
    /// The message.
    ///
    /// # Errors
    ///
    /// Where a part is missing, or contains the literal next to it.
    pub(super) fn build(&self) -> Result<SignedMessage<'m>, VerifyError> {
        let parts = self.parts.iter().enumerate();
        parts.map(|(index, part)| self.piece(index, part)).collect()
    }

    fn piece(&self, index: usize, part: &'m MessagePart) -> Result<Cow<'m, [u8]>, VerifyError> {
        let body = &self.delivery.body;
        Ok(match part {
            MessagePart::Body => body[..].into(),
            MessagePart::BodySha256 => HEXLOWER.encode(&Sha256::digest(body)).into_bytes().into(),
            MessagePart::Literal(text) => text.as_bytes().into(),
            MessagePart::Method => self.delivery.method.as_str().as_bytes().into(),
            MessagePart::Url => self.url(index)?.into_bytes().into(),
            MessagePart::FormSorted => form::sorted_fields(body)?.into(),
            MessagePart::BodyOrField(name) if self.delivery.method == Method::GET => {
                let query = form::query(&self.delivery.path_and_query);
                form::body_or_field(query.as_bytes(), name)?
            }
            MessagePart::BodyOrField(name) => form::body_or_field(body, name)?,
            MessagePart::Form(name) => {
                let text = form::required(body, name)?;
                self.refuse_delimiter_in(index, name, &text)?;
                text.into_bytes().into()
            }
            MessagePart::Timestamp => {
                let text = self.timestamp.ok_or(VerifyError::TimestampMissing)?;
                self.refuse_delimiter_in(index, "timestamp", text)?;
                text.as_bytes().into()
            }
            MessagePart::Header(names) => {
                let text = headers::required(&self.delivery.headers, names)?;
                self.refuse_delimiter_in(index, names.first().as_str(), text)?;
                text.as_bytes().into()
            }
            MessagePart::Json(pointer) => {
                let text = required_json(pointer, body)?;
                self.json(index, pointer, text)?
            }
            MessagePart::JsonOrEmpty(pointer) => {
                let text = pointer.find(body).unwrap_or_default();
                self.json(index, pointer, text)?
            }
            MessagePart::Function(Function::Twilio) => {
                provider::twilio(&self.whole_url(), self.delivery)?.into()
            }
            MessagePart::Function(Function::HubspotUrl) => {
                let url = provider::hubspot_url(&self.whole_url());
                url.into_bytes().into()
            }
        })
    }

    fn json(
        &self,
        index: usize,
        pointer: &Pointer,
        text: String,
    ) -> Result<Cow<'m, [u8]>, VerifyError> {
        self.refuse_delimiter_in(index, pointer.as_str(), &text)?;
        Ok(text.into_bytes().into())
    }

    fn base_url(&self) -> &'m str {
        self.public_url.trim_end_matches('/')
    }

    fn whole_url(&self) -> String {
        format!("{}{}", self.base_url(), self.delivery.path_and_query)
    }

    /// The URL. If it follows the body, its target must not quote the public
    /// URL: the end of a body that quotes it could be moved there.
    fn url(&self, index: usize) -> Result<String, VerifyError> {
        let base = self.base_url();
        let follows_body = matches!(self.part_before(index), Some(MessagePart::Body));
        if follows_body && !base.is_empty() && self.delivery.path_and_query.contains(base) {
            return Err(VerifyError::DelimiterInPart {
                part: "the request target".to_owned(),
                delimiter: base.to_owned(),
            });
        }
        Ok(self.whole_url())
    }

    /// Refuses a part that contains the literal next to it: the signature of
    /// `a.b` and `c` must not be valid for `a` and `b.c`. Dates may contain it,
    /// since each instant has one date.
    fn refuse_delimiter_in(&self, index: usize, name: &str, text: &str) -> Result<(), VerifyError> {
        let is_timestamp = matches!(self.parts.get(index), Some(MessagePart::Timestamp));
        if is_timestamp && text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            return Ok(());
        }
        let neighbours = [self.part_before(index), self.parts.get(index + 1)];
        for neighbour in neighbours.into_iter().flatten() {
            if let MessagePart::Literal(literal) = neighbour
                && text.contains(&**literal)
            {
                return Err(VerifyError::DelimiterInPart {
                    part: name.to_owned(),
                    delimiter: literal.clone(),
                });
            }
        }
        Ok(())
    }

    fn part_before(&self, index: usize) -> Option<&'m MessagePart> {
        self.parts.get(index.checked_sub(1)?)
    }
}
