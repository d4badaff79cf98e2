//! A delivery that was not accepted, with what the operator is told of it.
//!
//! Reads nothing of the delivery until somebody asks: most refusals are only counted.

use std::sync::Arc;

use hookrill_core::printable;
use hookrill_verify::{Confidential, Delivery};

use super::{IngestError, IngestRoute};
use crate::telemetry::SectionMetrics;

/// The longest id of a delivery that is shown, in characters.
const ID_CHARS_MAX: usize = 100;

/// A delivery that was not accepted: why, and what is known of it.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub error: IngestError,
    /// The section that it was for; `None` where no section covers its topic.
    route: Option<Arc<IngestRoute>>,
    named: Named,
}

/// How the delivery is named.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a refusal is boxed as a whole")]
enum Named {
    /// Not at all, or it is not known any more.
    Nothing,
    /// By an id that was verified.
    Id(Box<str>),
    /// By whatever it says; it did not verify.
    Claim(Delivery),
}

impl Refusal {
    pub(super) fn new(error: IngestError, route: Option<Arc<IngestRoute>>) -> Self {
        Self {
            error,
            route,
            named: Named::Nothing,
        }
    }

    /// The same, of a delivery with this id.
    pub(super) fn with_id(mut self, id: Option<Box<str>>) -> Self {
        self.named = id.map_or(Named::Nothing, Named::Id);
        self
    }

    /// The same, of a delivery that did not verify.
    pub(super) fn with_unverified(mut self, delivery: Delivery) -> Self {
        self.named = Named::Claim(delivery);
        self
    }

    /// The section that the delivery was for; `None` where no section covers its topic.
    #[must_use]
    pub fn section(&self) -> Option<&Arc<SectionMetrics>> {
        self.route.as_deref().map(IngestRoute::section)
    }

    /// What was not verified, as far as it is still there.
    #[must_use]
    pub fn unverified(&self) -> Option<&Delivery> {
        match &self.named {
            Named::Claim(delivery) => Some(delivery),
            Named::Nothing | Named::Id(_) => None,
        }
    }

    /// Where its section's secrets and signatures are in a delivery.
    #[must_use]
    pub fn confidential(&self) -> Option<Arc<Confidential>> {
        self.route.as_deref().map(IngestRoute::confidential)
    }

    /// The delivery, where no key was tried on its body.
    pub(super) fn delivery_before_mac(&self) -> Option<&Delivery> {
        match &self.named {
            Named::Claim(delivery) if self.error.is_before_mac() => Some(delivery),
            _ => None,
        }
    }

    /// What the provider calls the delivery, printable and cut. Where it did not verify,
    /// anybody may have written that.
    #[must_use]
    pub fn delivery_id(&self) -> Option<String> {
        let id = match (&self.named, &self.route) {
            (Named::Id(id), _) => Some(id.clone()),
            (Named::Claim(delivery), Some(route)) => route.verifier().claimed_id(delivery),
            (Named::Claim(_), None) | (Named::Nothing, _) => None,
        };
        id.map(|id| printable(&id, ID_CHARS_MAX))
    }
}
