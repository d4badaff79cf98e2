//! Explains step by step how a delivery is verified, or where that fails.

use hookrill_core::Timestamp;

use crate::{
    delivery::{Delivery, Outcome},
    error::VerifyError,
    hint::hint,
    trace::{ExplanationStep, Trace},
    verifier::Verifier,
};

/// How a delivery was verified, or where and why that failed. Holds no secret,
/// except where the delivery brings one ([`Outcome::ProvisionedSecret`]).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Explanation {
    /// The steps taken, in order; of a refusal, the last one failed.
    pub steps: Vec<ExplanationStep>,
    /// Which secret matched, from 0.
    pub secret_index: Option<usize>,
    /// What [`Verifier::verify`] returns.
    pub outcome: Result<Outcome, VerifyError>,
    /// What to try, where something is known to help. May hold header names
    /// that the sender chose: printable ASCII only.
    pub hint: Option<String>,
}

impl Verifier {
    /// Verifies a delivery as [`Verifier::verify`] does, and explains each step.
    ///
    /// For a person who asks: it tries other forms of the body, the secret and
    /// the URL for a hint, which takes several times as long.
    #[must_use]
    pub fn explain(&self, delivery: &Delivery, now: Timestamp) -> Explanation {
        let mut trace = Trace::enabled();
        let outcome = self.verify_traced(delivery.clone(), now, &mut trace);
        let mut tip = None;
        if let Err(error) = &outcome {
            trace.failed(error.to_string());
            tip = hint(self, error, delivery, now);
        }
        let (steps, secret_index) = trace.into_parts();
        debug_assert_eq!(
            outcome.is_ok(),
            steps.iter().all(|step| step.passed),
            "the steps tell what the outcome tells"
        );
        Explanation {
            steps,
            secret_index,
            outcome,
            hint: tip,
        }
    }
}
