//! What is taken out of a delivery, once it is proven.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::{
    delivery::{Delivery, FACT_BYTES_MAX, Facts, Reply},
    error::VerifyError,
    headers,
    plan::{Pick, Plan},
    scheme::{Challenge, Source},
};

/// The longest text that a handshake is answered with.
pub const CHALLENGE_BYTES_MAX: usize = 1024;

impl Plan {
    /// Event type, dedup id and answer.
    pub(super) fn facts(&self, delivery: &Delivery) -> Result<Facts, VerifyError> {
        let (event_type, event_type_signed) = pick(&self.event_type, delivery)?.unzip();
        let (dedup_id, dedup_id_signed) = pick(&self.dedup_id, delivery)?.unzip();
        Ok(Facts {
            event_type,
            event_type_signed: event_type_signed.unwrap_or_default(),
            dedup_id,
            dedup_id_signed: dedup_id_signed.unwrap_or_default(),
            respond: self.respond.clone(),
        })
    }

    /// The answer, if this is a handshake.
    pub(super) fn answer(&self, delivery: &Delivery) -> Result<Option<Reply>, VerifyError> {
        match &self.challenge {
            Some(challenge) => challenge.answer(delivery),
            None => Ok(None),
        }
    }
}

impl Challenge {
    fn answer(&self, delivery: &Delivery) -> Result<Option<Reply>, VerifyError> {
        if self.when.find(delivery)?.as_deref() != Some(&*self.equals) {
            return Ok(None);
        }
        let text = self.echo.find(delivery)?.ok_or(VerifyError::Challenge)?;
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if text.is_empty() || text.len() > CHALLENGE_BYTES_MAX || !printable {
            return Err(VerifyError::Challenge);
        }
        Ok(Some(Reply {
            status: StatusCode::OK,
            content_type: HeaderValue::from_static("text/plain"),
            body: Bytes::from(text.into_owned()),
        }))
    }
}

impl Source {
    /// The text at this place.
    fn find<'d>(&self, delivery: &'d Delivery) -> Result<Option<Cow<'d, str>>, VerifyError> {
        match self {
            Self::Header(names) => Ok(headers::first(&delivery.headers, names)?.map(Cow::Borrowed)),
            Self::Json(pointer) => Ok(pointer.find(&delivery.body).map(Cow::Owned)),
        }
    }
}

fn pick(picks: &[Pick], delivery: &Delivery) -> Result<Option<(Box<str>, bool)>, VerifyError> {
    for pick in picks {
        if let Some(text) = pick.source.find(delivery)?
            && (1..=FACT_BYTES_MAX).contains(&text.len())
        {
            return Ok(Some((text.into(), pick.signed)));
        }
    }
    Ok(None)
}
