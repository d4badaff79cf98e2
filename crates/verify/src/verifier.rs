//! A topic's verifier: a scheme with its secrets.
//!
//! Fails closed: what is not proven is refused, and there is no third way.
//! Time is an argument; nothing here reads a clock.

use hookrill_core::{Pointer, Secret, Timestamp};
use http::Method;
use sha2::{Digest as _, Sha256};

use super::{
    delivery::{Delivery, Outcome, Verified},
    error::{SchemeError, VerifyError},
    explain::{Explanation, Trace},
    headers, hint,
    plan::{Plan, plan},
    proof::Proof,
    scheme::{Handshake, Scheme, Source},
    settings::Settings,
    token::same,
};

/// Proves deliveries of one topic, and signs for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Verifier {
    pub(super) plan: Plan,
}

impl Verifier {
    /// A verifier for a scheme and a topic's settings.
    ///
    /// # Errors
    ///
    /// [`SchemeError`], which says what to do about it and shows no secret.
    pub fn new(scheme: Scheme, settings: Settings) -> Result<Self, SchemeError> {
        let plan = plan(scheme, settings)?;
        Ok(Self { plan })
    }

    /// Whether the provider hands over its secret, and has not done so.
    #[must_use]
    pub fn awaits_secret(&self) -> bool {
        let Proof::Signed(proof) = &self.plan.proof else {
            return false;
        };
        self.plan.hand_over.is_some() && proof.keys.is_empty()
    }

    /// The same verifier with a secret that was handed over.
    #[must_use]
    pub fn with_provisioned_secret(mut self, secret: Secret) -> Self {
        if let Proof::Signed(proof) = &mut self.plan.proof {
            proof.keys = vec![secret];
        }
        self
    }

    /// Where in a JSON body the event's type may be taken from.
    pub fn type_pointers(&self) -> impl Iterator<Item = &Pointer> {
        self.plan
            .event_type
            .iter()
            .filter_map(|pick| match &pick.source {
                Source::Json(pointer) => Some(pointer),
                Source::Header(_) | Source::Query(_) | Source::Form(_) => None,
            })
    }

    /// Whether deliveries say which subtopic they belong to.
    #[must_use]
    pub fn has_partition(&self) -> bool {
        self.plan.partition.is_some()
    }

    /// Whether a handshake comes by this method.
    #[must_use]
    pub fn has_handshake(&self, method: &Method) -> bool {
        self.has(method, |_| true)
    }

    fn has(&self, method: &Method, wanted: fn(&Handshake) -> bool) -> bool {
        let mut challenges = self.plan.challenges.iter();
        challenges
            .any(|challenge| challenge.method.as_str() == method.as_str() && wanted(challenge))
    }

    /// Proves a delivery as of `now`.
    ///
    /// # Errors
    ///
    /// [`VerifyError`]: the reason is for logs and metrics, never for the
    /// sender.
    pub fn verify(&self, delivery: Delivery, now: Timestamp) -> Result<Outcome, VerifyError> {
        self.prove(delivery, now, &mut Trace::deaf())
    }

    /// Proves a delivery as [`Verifier::verify`] does, and says how.
    #[must_use]
    pub fn explain(&self, delivery: &Delivery, now: Timestamp) -> Explanation {
        let mut trace = Trace::listening();
        let outcome = self.prove(delivery.clone(), now, &mut trace);
        let hint = match &outcome {
            Err(why) => hint::hint(self, why, delivery, now),
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
            Proof::Signed(proof) => proof.signed_bytes(delivery).map(Some),
            Proof::Token(_) | Proof::None => Ok(None),
        }
    }

    fn prove(
        &self,
        mut delivery: Delivery,
        now: Timestamp,
        trace: &mut Trace,
    ) -> Result<Outcome, VerifyError> {
        trace.at("request");
        if delivery.method != Method::POST && !self.has_handshake(&delivery.method) {
            return Err(VerifyError::MethodNotPost);
        }
        headers::require_ascii(&delivery.headers)?;
        trace.found(|| format!("a {}, headers in ASCII", delivery.method));

        trace.at("handshake");
        if let Some(answer) = self.before_proof(&delivery)? {
            trace.found(|| "one that is answered without a proof".to_owned());
            return Ok(answer);
        }
        let behind = |challenge: &Handshake| !challenge.is_before_proof();
        if delivery.method != Method::POST && !self.has(&delivery.method, behind) {
            return Err(VerifyError::MethodNotPost);
        }
        match &self.plan.proof {
            Proof::Signed(proof) => proof.prove(&delivery, now, trace)?,
            Proof::Token(proof) => {
                proof.prove(&delivery, trace)?;
                proof.redact(&mut delivery);
            }
            Proof::None => {}
        }
        self.behind_proof(delivery, trace)
    }

    /// What is answered before anything is proven.
    fn before_proof(&self, delivery: &Delivery) -> Result<Option<Outcome>, VerifyError> {
        if let Some(reply) = self.plan.answer(delivery, true)? {
            return Ok(Some(Outcome::Answer(reply)));
        }
        let (Some(hand_over), Proof::Signed(proof)) = (&self.plan.hand_over, &self.plan.proof)
        else {
            return Ok(None);
        };
        let Some(secret) = hand_over.secret(delivery)? else {
            return Ok(None);
        };
        let reply = hand_over.reply(&secret);
        match proof.keys.as_slice() {
            [] => Ok(Some(Outcome::ProvisionedSecret { secret, reply })),
            // The provider asks again for what it did not hear.
            keys if keys.iter().any(|key| same(key, secret.expose())) => {
                Ok(Some(Outcome::Answer(reply)))
            }
            _ => Err(VerifyError::SecretAlreadyProvisioned),
        }
    }

    fn behind_proof(&self, delivery: Delivery, trace: &mut Trace) -> Result<Outcome, VerifyError> {
        trace.at("facts");
        if let Some(reply) = self.plan.answer(&delivery, false)? {
            trace.found(|| "a handshake, answered".to_owned());
            return Ok(Outcome::Answer(reply));
        }
        if delivery.method != Method::POST {
            return Err(VerifyError::MethodNotPost);
        }
        let facts = self.plan.facts(&delivery, self.content(&delivery)?)?;
        trace.found(|| {
            let (event_type, id) = (or_none(&facts.event_type), or_none(&facts.dedup_id));
            let mut text = format!("type {event_type}, dedup id {id}");
            if let Some(partition) = &facts.partition {
                text = format!("{text}, partition {partition}");
            }
            text
        });
        Ok(Outcome::Event(Verified::new(delivery, facts)))
    }

    /// What stands for the body, where that is not what was signed.
    fn content(&self, delivery: &Delivery) -> Result<Option<[u8; 32]>, VerifyError> {
        match self.plan.signs_body {
            true => Ok(None),
            false => {
                let signed = self.signed_bytes(delivery)?;
                Ok(signed.map(|bytes| Sha256::digest(bytes).into()))
            }
        }
    }
}

fn or_none(text: &Option<Box<str>>) -> String {
    let text = text.as_deref().unwrap_or("none");
    text.escape_default().to_string()
}
