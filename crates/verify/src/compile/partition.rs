//! What a delivery's subtopic may be made of.
//!
//! Refuses what the signature does not cover: whoever captures a delivery could
//! change that, and send it to another customer's subtopic. Where nothing is
//! signed, whoever can send at all can write any body, and so any source is as
//! good.

use crate::{
    error::SchemeError,
    partition::Partition,
    scheme::{Scheme, Source},
};

/// Checks where a partition's values come from.
///
/// # Errors
///
/// [`SchemeError::PartitionUnsigned`].
pub(super) fn check(scheme: &Scheme, partition: Option<&Partition>) -> Result<(), SchemeError> {
    let Some(partition) = partition.filter(|_| scheme.kind.signs()) else {
        return Ok(());
    };
    match partition.sources().find(|source| !scheme.covers(source)) {
        None => Ok(()),
        Some(source) => Err(SchemeError::PartitionUnsigned {
            location: source.clone(),
            why: why(source),
            signed: scheme.parts().to_vec(),
        }),
    }
}

/// Why a source is not covered, where that may surprise.
fn why(source: &Source) -> &'static str {
    match source {
        Source::Query(_) => "a query never counts as signed: its end may run into what follows",
        Source::Json(_) => "the JSON is not signed as it stands",
        Source::Header(_) | Source::Form(_) => "it is not a part of what is signed",
    }
}
