//! A topic's verifier: a scheme with its secrets.
//!
//! Fails closed: what is not proven is refused, and there is no third way.
//! Time is an argument; nothing here reads a clock.

use std::time::Duration;

use http::Method;

use super::{
    delivery::{Delivery, Proven, Verified},
    error::{SchemeError, VerifyError},
    explain::{Explanation, Trace},
    headers,
    plan::{Given, Plan, plan},
    proof::Proof,
    scheme::Scheme,
    secret::Secret,
};
use crate::event::Timestamp;

/// Proves deliveries of one topic, and signs for it.
#[derive(Debug, Clone)]
pub struct Verifier {
    pub(super) plan: Plan,
}

impl Verifier {
    /// A verifier for a scheme and a topic's settings.
    ///
    /// `tolerance` goes before the scheme's own, and means nothing to a
    /// scheme without a timestamp. `public_url` is what stands before
    /// `/ingest/…` in the URL that the provider was given; only schemes that
    /// sign the URL need it.
    ///
    /// # Errors
    ///
    /// [`SchemeError`], which says what to do about it and shows no secret.
    pub fn new(
        scheme: Scheme,
        secrets: Vec<Secret>,
        tolerance: Option<Duration>,
        public_url: Option<String>,
    ) -> Result<Self, SchemeError> {
        let given = Given {
            secrets,
            tolerance,
            public_url,
        };
        let plan = plan(scheme, given)?;
        Ok(Self { plan })
    }

    /// Proves a delivery as of `now`.
    ///
    /// # Errors
    ///
    /// [`VerifyError`]: the reason is for logs and metrics, never for the
    /// sender.
    pub fn verify(&self, delivery: Delivery, now: Timestamp) -> Result<Proven, VerifyError> {
        self.prove(delivery, now, &mut Trace::deaf())
    }

    /// Proves a delivery as [`Verifier::verify`] does, and says how.
    #[must_use]
    pub fn explain(&self, delivery: Delivery, now: Timestamp) -> Explanation {
        let mut trace = Trace::listening();
        let outcome = self.prove(delivery.clone(), now, &mut trace);
        let hint = match &outcome {
            Err(why) => self.hint(why, delivery, now),
            Ok(_) => None,
        };
        trace.conclude(outcome, hint)
    }

    /// The bytes that the sender should have signed; `None` where the scheme
    /// signs nothing.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] where a part of them is missing.
    pub fn signed_bytes(&self, delivery: &Delivery) -> Result<Option<Vec<u8>>, VerifyError> {
        match &self.plan.proof {
            Proof::Hmac(proof) => proof.signed_bytes(delivery).map(Some),
            Proof::Token(_) | Proof::None => Ok(None),
        }
    }

    fn prove(
        &self,
        mut delivery: Delivery,
        now: Timestamp,
        trace: &mut Trace,
    ) -> Result<Proven, VerifyError> {
        trace.at("request");
        if delivery.method != Method::POST {
            return Err(VerifyError::Method);
        }
        headers::require_ascii(&delivery.headers)?;
        trace.found(|| "a POST, headers in ASCII".to_owned());

        match &self.plan.proof {
            Proof::Hmac(proof) => proof.prove(&delivery, now, trace)?,
            Proof::Token(proof) => {
                proof.prove(&delivery, trace)?;
                proof.redact(&mut delivery);
            }
            Proof::None => {}
        }

        trace.at("facts");
        if let Some(reply) = self.plan.answer(&delivery)? {
            trace.found(|| "a handshake, answered".to_owned());
            return Ok(Proven::Answer(reply));
        }
        let facts = self.plan.facts(&delivery)?;
        trace.found(|| {
            let or_none = |text: &Option<Box<str>>| {
                text.as_deref()
                    .unwrap_or("none")
                    .escape_default()
                    .to_string()
            };
            let (event_type, id) = (or_none(&facts.event_type), or_none(&facts.dedup_id));
            format!("type {event_type}, dedup id {id}")
        });
        Ok(Proven::Event(Verified::new(delivery, facts)))
    }

    /// Tries what commonly went wrong on the way here.
    fn hint(
        &self,
        why: &VerifyError,
        mut delivery: Delivery,
        now: Timestamp,
    ) -> Option<&'static str> {
        match why {
            VerifyError::Mismatch if delivery.body.ends_with(b"\n") => {
                // Editors and shells end files with a line feed.
                delivery.body.truncate(delivery.body.len() - 1);
                let proven = !matches!(self.verify(delivery, now), Err(VerifyError::Mismatch));
                proven.then_some("it matches without the last line feed, which the capture added")
            }
            VerifyError::Stale { .. } => Some(
                "the signature is genuine: the sender's clock or this one is off, or it is an \
                 old delivery",
            ),
            _ => None,
        }
    }
}
