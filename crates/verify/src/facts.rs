//! What is taken out of a delivery, once it is verified.

use http::Method;

use crate::{
    delivery::{Delivery, Facts, Reply},
    error::VerifyError,
    limits::FACT_BYTES_MAX,
    partition::Partition,
    scheme::Source,
};

/// Where facts are, and which of them are signed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FactSources {
    pub(crate) event_type: Vec<FactSource>,
    pub(crate) dedup_id: Vec<FactSource>,
    pub(crate) partition: Option<Partition>,
    /// The answer on success, where the provider demands one.
    pub(crate) respond: Option<Reply>,
}

/// Where a fact is, and whether the signature covers that place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FactSource {
    pub(crate) source: Source,
    pub(crate) signed: bool,
}

impl FactSources {
    /// Whether one may be read from JSON.
    pub(crate) fn read_json(&self) -> bool {
        let partition = self.partition.iter().flat_map(Partition::sources);
        let facts = self.event_type.iter().chain(&self.dedup_id);
        let mut sources = facts.map(|fact| &fact.source).chain(partition);
        sources.any(|source| matches!(source, Source::Json(_)))
    }

    /// The facts of a verified delivery; `content` stands for its body.
    ///
    /// # Errors
    ///
    /// [`VerifyError::HeaderDuplicate`].
    pub(crate) fn facts(
        &self,
        delivery: &Delivery,
        content: Option<[u8; 32]>,
    ) -> Result<Facts, VerifyError> {
        let (event_type, event_type_signed) = first(&self.event_type, delivery)?.unzip();
        let (dedup_id, dedup_id_signed) = first(&self.dedup_id, delivery)?.unzip();
        let partition = match &self.partition {
            Some(partition) => Some(partition.subtopic(delivery)?),
            None => None,
        };
        Ok(Facts {
            event_type,
            event_type_signed: event_type_signed.unwrap_or_default(),
            dedup_id,
            dedup_id_signed: dedup_id_signed.unwrap_or_default(),
            partition,
            content,
            respond: self.respond.clone(),
        })
    }
}

impl FactSources {
    /// The id that an unverified delivery gives itself, from the sources that are read.
    pub(crate) fn claimed_id(
        &self,
        delivery: &Delivery,
        is_read: impl Fn(&Source) -> bool,
    ) -> Option<Box<str>> {
        let sources = self.dedup_id.iter().map(|fact| &fact.source);
        let mut found = sources
            .filter(|source| is_read(source))
            .filter_map(|source| source.find(delivery).ok().flatten());
        found.next().map(Into::into)
    }
}

/// The first fact that is there and of a length that is taken, and whether it
/// is signed.
fn first(
    sources: &[FactSource],
    delivery: &Delivery,
) -> Result<Option<(Box<str>, bool)>, VerifyError> {
    for FactSource { source, signed } in sources {
        if let Some(text) = source.find(delivery)?
            && (1..=FACT_BYTES_MAX).contains(&text.len())
        {
            // Of a GET it was read from the query, whose end may run into what follows.
            let signed = *signed && (delivery.method != Method::GET || !source.is_in_body());
            return Ok(Some((text.into(), signed)));
        }
    }
    Ok(None)
}
