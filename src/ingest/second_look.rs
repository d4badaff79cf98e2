//! A delivery that was refused, looked at again with the routes of now, as of the time
//! when it arrived.
//!
//! There is no way around verifying: what is accepted here is verified as any other is,
//! and its dedup and rate rules hold. Invariant: no secret is stored by this, since nobody
//! waits for the answer that goes with it.

use std::net::IpAddr;

use hookrill_core::Secret;
use hookrill_verify::{Delivery, Explanation, SchemeError};

use super::{Accepted, Ingest, IngestError, Refusal, Taken};

/// How a delivery is verified now, or where that fails.
#[derive(Debug)]
pub struct SecondLook {
    /// The steps.
    pub explanation: Explanation,
    /// The bytes that the sender has to sign; `None` where the scheme signs nothing, or a
    /// part of them is missing.
    pub signed: Option<Vec<u8>>,
}

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
pub enum SecondLookError {
    /// No section takes deliveries to its topic.
    #[error(transparent)]
    Unrouted(IngestError),
    /// The secrets to try are none of this scheme.
    #[error(transparent)]
    Scheme(#[from] SchemeError),
}

impl Ingest {
    /// Explains a delivery; with `secrets`, as if these were configured. Takes its time.
    ///
    /// # Errors
    ///
    /// [`SecondLookError`].
    pub fn explain(
        &self,
        topic: &str,
        delivery: &Delivery,
        secrets: Option<Vec<Secret>>,
    ) -> Result<SecondLook, SecondLookError> {
        let to = self.destination(topic);
        let to = to.map_err(|refusal| SecondLookError::Unrouted(refusal.error))?;
        let mut verifier = to.route.verifier();
        if let Some(secrets) = secrets {
            verifier = verifier.with_secrets(secrets)?.into();
        }
        Ok(SecondLook {
            explanation: verifier.explain(delivery, delivery.received_at),
            signed: verifier.signed_bytes(delivery).ok().flatten(),
        })
    }

    /// Verifies a delivery from `sender` as of its arrival and stores its event; returns
    /// once that is durable. A handshake is answered to nobody.
    ///
    /// # Errors
    ///
    /// [`Refusal`], as of [`Ingest::accept`]; it is not counted, since nobody has sent
    /// anything.
    pub async fn accept_again(
        &self,
        topic: &str,
        sender: Option<IpAddr>,
        delivery: Delivery,
    ) -> Result<Accepted, Box<Refusal>> {
        let to = self.destination(topic)?;
        if !to.route.allows(sender) {
            return Err(to.refusal(IngestError::AddressNotAllowed(to.topic.clone())));
        }
        let arrived = delivery.received_at;
        let verified = to.route.verifier().verify_or_return(delivery, arrived);
        match self.take(&to, Ok(verified))? {
            Taken::Answered(accepted) => Ok(accepted),
            Taken::Secret { .. } => {
                Err(to.refusal(IngestError::SecretNotAccepted(to.topic.clone())))
            }
            Taken::Event(storing) => {
                let stored = self.stored(storing, &to.route).await;
                stored.map_err(|error| to.refusal(error.into()))
            }
        }
    }
}
