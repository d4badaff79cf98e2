//! What is taken out of a delivery, once it is proven.

use std::borrow::Cow;

use super::{
    delivery::{Delivery, Facts},
    error::VerifyError,
    form, headers,
    limits::FACT_BYTES_MAX,
    plan::{Pick, Plan},
    scheme::Source,
};

impl Plan {
    /// Event type, dedup id and subtopic, and what stands for the content.
    pub(super) fn facts(
        &self,
        delivery: &Delivery,
        content: Option<[u8; 32]>,
    ) -> Result<Facts, VerifyError> {
        let (event_type, event_type_signed) = pick(&self.event_type, delivery)?.unzip();
        let (dedup_id, dedup_id_signed) = pick(&self.dedup_id, delivery)?.unzip();
        Ok(Facts {
            event_type,
            event_type_signed: event_type_signed.unwrap_or_default(),
            dedup_id,
            dedup_id_signed: dedup_id_signed.unwrap_or_default(),
            partition: self
                .partition
                .as_ref()
                .map(|partition| partition.of(delivery))
                .transpose()?,
            content,
            respond: self.respond.clone(),
        })
    }
}

impl Source {
    /// The text at this place.
    pub(super) fn find<'d>(
        &self,
        delivery: &'d Delivery,
    ) -> Result<Option<Cow<'d, str>>, VerifyError> {
        Ok(match self {
            Self::Header(names) => headers::first(&delivery.headers, names)?.map(Cow::Borrowed),
            Self::Json(pointer) => pointer.find(&delivery.body).map(Cow::Owned),
            Self::Query(name) => {
                form::value(form::query(&delivery.path_and_query), name).map(Cow::Owned)
            }
            Self::Form(name) => {
                let body = std::str::from_utf8(&delivery.body).ok();
                body.and_then(|body| form::value(body, name))
                    .map(Cow::Owned)
            }
        })
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
