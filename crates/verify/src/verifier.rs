//! A verifier: a scheme with its secrets.
//!
//! Fails closed: what is not verified is refused, and there is no third way.
//! Time is an argument; nothing here reads a clock.

use hookrill_core::{FormReader, Pointer, Secret, Timestamp};
use http::{HeaderName, Method};

use crate::{
    check::{
        Check,
        handshake::HandshakeStage,
        signature::{Algorithm, SignatureCheck},
        token::constant_time_eq,
    },
    compile::{CompiledScheme, compile, with_secrets},
    confidential::Confidential,
    delivery::{Delivery, Facts, Outcome, Refused, Verified},
    error::{SchemeError, VerifyError},
    limits::UNVERIFIED_BODY_BYTES_MAX,
    scheme::{MessagePart, Scheme, Source},
    settings::Settings,
    trace::Trace,
};

/// Verifies the deliveries of one provider, and signs as it does.
///
/// Cheap to share behind an `Arc`; holds no state.
#[derive(Debug, Clone, PartialEq)]
pub struct Verifier {
    pub(crate) compiled: CompiledScheme,
}

impl Verifier {
    /// A verifier for a scheme, with what an operator adds to it.
    ///
    /// # Errors
    ///
    /// [`SchemeError`], which says what to do about it and shows no secret.
    pub fn new(scheme: Scheme, settings: Settings) -> Result<Self, SchemeError> {
        let compiled = compile(scheme, settings)?;
        Ok(Self { compiled })
    }

    /// A verifier that answers no provider: it signs, and looks at what was captured.
    /// A verify token that the scheme requires for its handshakes may be left out.
    ///
    /// # Errors
    ///
    /// [`SchemeError`], as of [`Verifier::new`].
    pub fn offline(scheme: Scheme, mut settings: Settings) -> Result<Self, SchemeError> {
        if scheme.needs_verify_token() && settings.verify_token.is_none() {
            settings.verify_token = Some("left out".into());
        }
        Self::new(scheme, settings)
    }

    /// How many bytes the shortest of its secrets has, as far as secrets can be guessed:
    /// `None` for public keys, and where there are none.
    #[must_use]
    pub fn shortest_secret_bytes(&self) -> Option<usize> {
        let secrets = match &self.compiled.check {
            Check::Signature(check) if check.algorithm == Algorithm::Ed25519 => return None,
            Check::Signature(check) => &check.keys,
            Check::Token(check) => check.secrets(),
            Check::None => return None,
        };
        secrets.iter().map(|secret| secret.expose().len()).min()
    }

    /// Verifies a delivery as of `now`.
    ///
    /// # Errors
    ///
    /// [`VerifyError`]: the reason is for logs and metrics, never for the
    /// sender.
    pub fn verify(&self, delivery: Delivery, now: Timestamp) -> Result<Outcome, VerifyError> {
        self.verify_traced(delivery, now, &mut Trace::disabled())
    }

    /// As [`Verifier::verify`], for callers that say what was refused.
    ///
    /// # Errors
    ///
    /// [`Refused`], with the delivery.
    pub fn verify_or_return(
        &self,
        mut delivery: Delivery,
        now: Timestamp,
    ) -> Result<Outcome, Box<Refused>> {
        match self.decide(&mut delivery, now, &mut Trace::disabled()) {
            Ok(decision) => Ok(decision.into_outcome(delivery)),
            Err(error) => Err(Box::new(Refused { delivery, error })),
        }
    }

    /// What a delivery that was not verified calls itself: the value from which the id
    /// would have been taken. Whoever sent it chose it freely. Of a body of more than
    /// [`UNVERIFIED_BODY_BYTES_MAX`] bytes nothing is read.
    #[must_use]
    pub fn claimed_id(&self, delivery: &Delivery) -> Option<Box<str>> {
        let is_read = |source: &Source| match source {
            Source::Json(_) | Source::Form(_) => delivery.body.len() <= UNVERIFIED_BODY_BYTES_MAX,
            _ => true,
        };
        self.compiled.facts.claimed_id(delivery, is_read)
    }

    /// The bytes that the sender should have signed; `None` where the scheme
    /// signs nothing.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] where a part of them is missing.
    pub fn signed_bytes(&self, delivery: &Delivery) -> Result<Option<Vec<u8>>, VerifyError> {
        match &self.compiled.check {
            Check::Signature(check) => check.signed_bytes(delivery).map(Some),
            Check::Token(_) | Check::None => Ok(None),
        }
    }

    /// Whether the provider sends its secret, and has not done so.
    #[must_use]
    pub fn awaits_secret(&self) -> bool {
        match &self.compiled.check {
            Check::Signature(check) => check.provisioning.is_some() && check.keys.is_empty(),
            Check::Token(_) | Check::None => false,
        }
    }

    /// The same verifier with the secret that the provider sent. A scheme that
    /// has no signature stays as it is.
    #[must_use]
    pub fn with_provisioned_secret(mut self, secret: Secret) -> Self {
        if let Check::Signature(check) = &mut self.compiled.check {
            self.compiled.handshakes.set_key(&secret);
            check.keys = vec![secret];
        }
        self
    }

    /// The same verifier with other secrets, written as the scheme's provider shows them.
    ///
    /// # Errors
    ///
    /// [`SchemeError`], which says what is wrong with one and shows none.
    pub fn with_secrets(
        &self,
        secrets: impl IntoIterator<Item = impl Into<Secret>>,
    ) -> Result<Self, SchemeError> {
        let secrets = secrets.into_iter().map(Into::into).collect();
        let compiled = with_secrets(&self.compiled, secrets)?;
        Ok(Self { compiled })
    }

    /// What of a delivery is not for everybody who may look at it: where this scheme's
    /// secrets and signatures are.
    #[must_use]
    pub fn confidential(&self) -> Confidential {
        Confidential::of_compiled(&self.compiled)
    }

    /// Where in a JSON body the event's type may be taken from.
    pub fn type_pointers(&self) -> impl Iterator<Item = &Pointer> {
        let sources = self.compiled.facts.event_type.iter();
        sources.filter_map(|fact| match &fact.source {
            Source::Json(pointer) => Some(pointer),
            Source::Header(_) | Source::Query(_) | Source::Form(_) => None,
        })
    }

    /// Whether [`Settings::partition`] was set.
    #[must_use]
    pub fn has_partition(&self) -> bool {
        self.compiled.facts.partition.is_some()
    }

    /// What reads forms as JSON; `None`: they are text.
    #[must_use]
    pub fn forms(&self) -> Option<&FormReader> {
        self.compiled.forms.as_ref()
    }

    /// The headers by which a delivery is verified, so that whoever gets them with its
    /// body can verify it as well: those of signature and time, and others that are
    /// signed. In lower case; none where a shared secret is sent along, or nothing is
    /// verified.
    #[must_use]
    pub fn proof_headers(&self) -> &[HeaderName] {
        &self.compiled.proof_headers
    }

    /// The headers from which a delivery's id and its type may be taken.
    #[must_use]
    pub fn fact_headers(&self) -> &[HeaderName] {
        &self.compiled.fact_headers
    }

    /// The header whose token verified a delivery, which no longer has it; of several
    /// names that mean the same, the preferred one.
    #[must_use]
    pub fn token_header(&self) -> Option<&HeaderName> {
        match &self.compiled.check {
            Check::Token(check) => check.header(),
            Check::Signature(_) | Check::None => None,
        }
    }

    /// The parameter of the query whose token verified a delivery, which no longer has it.
    #[must_use]
    pub fn token_parameter(&self) -> Option<&str> {
        match &self.compiled.check {
            Check::Token(check) => check.parameter(),
            Check::Signature(_) | Check::None => None,
        }
    }

    /// Whether the request target is signed.
    #[must_use]
    pub fn signs_target(&self) -> bool {
        match &self.compiled.check {
            Check::Signature(check) => check.message.iter().any(MessagePart::needs_public_url),
            Check::Token(_) | Check::None => false,
        }
    }

    /// By which methods events come.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        &self.compiled.methods
    }

    /// Whether events come by this method.
    #[must_use]
    pub fn takes(&self, method: &Method) -> bool {
        self.compiled.methods.contains(method)
    }

    /// Whether a handshake comes by this method.
    #[must_use]
    pub fn has_handshake(&self, method: &Method) -> bool {
        self.compiled.handshakes.any_by(method)
    }

    /// Verifies a delivery, and records the steps in `trace`.
    ///
    /// # Errors
    ///
    /// [`VerifyError`]; the step that failed is the trace's last.
    pub(crate) fn verify_traced(
        &self,
        mut delivery: Delivery,
        now: Timestamp,
        trace: &mut Trace,
    ) -> Result<Outcome, VerifyError> {
        let decision = self.decide(&mut delivery, now, trace)?;
        Ok(decision.into_outcome(delivery))
    }

    /// What a delivery is; cuts out the token that verified it.
    fn decide(
        &self,
        delivery: &mut Delivery,
        now: Timestamp,
        trace: &mut Trace,
    ) -> Result<Decision, VerifyError> {
        trace.begin("request");
        if !self.takes(&delivery.method) && !self.has_handshake(&delivery.method) {
            return Err(VerifyError::MethodNotTaken);
        }
        trace.passed(|| format!("a {}", delivery.method));

        trace.begin("handshake");
        if let Some(outcome) = self.answer_unverified(delivery)? {
            trace.passed(|| "answered before verification".to_owned());
            return Ok(Decision::Other(outcome));
        }
        if !self.expects_verified(&delivery.method) {
            return Err(VerifyError::MethodNotTaken);
        }
        if delivery.method == Method::GET && !delivery.body.is_empty() {
            return Err(VerifyError::BodyOfGet);
        }
        let check = match &self.compiled.check {
            Check::Signature(check) => {
                let content = verify_either(check, delivery, now, trace)?;
                return self.accept(delivery, content, trace);
            }
            Check::Token(check) => Some(check),
            Check::None => None,
        };
        let mut cut = None;
        if let Some(check) = check {
            check.verify(delivery, trace)?;
            cut = Some(check.redact(delivery)?);
        }
        let sent = delivery.sent.take();
        let decided = self.accept(delivery, None, trace);
        if decided.is_err() {
            delivery.sent = sent;
            if let Some(cut) = cut {
                cut.put_back(delivery);
            }
        }
        decided
    }

    /// What is answered without verification.
    fn answer_unverified(&self, delivery: &Delivery) -> Result<Option<Outcome>, VerifyError> {
        let handshakes = &self.compiled.handshakes;
        if let Some(reply) = handshakes.answer(HandshakeStage::BeforeVerification, delivery)? {
            return Ok(Some(Outcome::Answer(reply)));
        }
        match &self.compiled.check {
            Check::Signature(check) => provisioned_secret(check, delivery),
            Check::Token(_) | Check::None => Ok(None),
        }
    }

    /// Whether a verified delivery may come by this method.
    fn expects_verified(&self, method: &Method) -> bool {
        let handshakes = &self.compiled.handshakes;
        self.takes(method) || handshakes.any_at(HandshakeStage::AfterVerification, method)
    }

    /// What a verified delivery is: a handshake or an event.
    /// `content` stands for its body.
    fn accept(
        &self,
        delivery: &mut Delivery,
        content: Option<[u8; 32]>,
        trace: &mut Trace,
    ) -> Result<Decision, VerifyError> {
        trace.begin("facts");
        let handshakes = &self.compiled.handshakes;
        if let Some(reply) = handshakes.answer(HandshakeStage::AfterVerification, delivery)? {
            trace.passed(|| "a handshake, answered".to_owned());
            return Ok(Decision::Other(Outcome::Answer(reply)));
        }
        if !self.takes(&delivery.method) {
            return Err(VerifyError::MethodNotTaken);
        }
        if delivery.method == Method::GET {
            delivery.take_query_as_form();
        }
        if let Some(forms) = &self.compiled.forms
            && self.compiled.facts.read_json()
        {
            delivery.read_form(forms);
        }
        let facts = self.compiled.facts.facts(delivery, content)?;
        trace.passed(|| {
            let (event_type, id) = (or_none(&facts.event_type), or_none(&facts.dedup_id));
            match &facts.partition {
                Some(partition) => {
                    format!("type {event_type}, dedup id {id}, partition {partition}")
                }
                None => format!("type {event_type}, dedup id {id}"),
            }
        });
        Ok(Decision::Event(facts))
    }
}

/// What a delivery is, while its caller still has it.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a moment, and is nearly always an event"
)]
enum Decision {
    /// An event: it was verified.
    Event(Facts),
    /// Anything else.
    Other(Outcome),
}

impl Decision {
    fn into_outcome(self, delivery: Delivery) -> Outcome {
        match self {
            Self::Event(facts) => Outcome::Event(Verified::new(delivery, facts)),
            Self::Other(outcome) => outcome,
        }
    }
}

/// Verifies a signature over the body as it was sent, or else over what it was decoded
/// to. Returns the hash of what was signed, where that is neither the body byte for byte
/// nor, where [`Delivery::sent`] stays, what was sent.
fn verify_either(
    check: &SignatureCheck,
    delivery: &mut Delivery,
    now: Timestamp,
    trace: &mut Trace,
) -> Result<Option<[u8; 32]>, VerifyError> {
    let Some(sent) = delivery.sent.clone() else {
        check.verify(delivery, now, trace)?;
        return check.content(delivery);
    };
    let decoded = std::mem::replace(&mut delivery.body, sent);
    let mut attempt = trace.attempt();
    let verified = check.verify(delivery, now, &mut attempt);
    let content = verified.and_then(|()| check.content(delivery));
    delivery.body = decoded;
    match content {
        Ok(_) => {
            attempt.begin("coding");
            attempt.passed(|| "the body is signed as it was sent, coded".to_owned());
            trace.adopt(attempt);
            return content;
        }
        // Verified, and late.
        Err(VerifyError::Stale { .. }) => {
            trace.adopt(attempt);
            return content;
        }
        Err(_) => {}
    }
    check.verify(delivery, now, trace)?;
    trace.begin("coding");
    trace.passed(|| "the body is signed as it was before it was coded".to_owned());
    delivery.sent = None;
    check.content(delivery)
}

/// What becomes of a delivery that brings the provider's secret; `None` where
/// it brings none.
fn provisioned_secret(
    check: &SignatureCheck,
    delivery: &Delivery,
) -> Result<Option<Outcome>, VerifyError> {
    let Some(provisioning) = &check.provisioning else {
        return Ok(None);
    };
    let Some(secret) = provisioning.secret(delivery)? else {
        return Ok(None);
    };
    let reply = provisioning.reply(&secret);
    if check.keys.is_empty() {
        return Ok(Some(Outcome::ProvisionedSecret { secret, reply }));
    }
    // The provider repeats its request if it missed the answer.
    let is_known = |key: &Secret| constant_time_eq(key, secret.expose());
    if check.keys.iter().any(is_known) {
        return Ok(Some(Outcome::Answer(reply)));
    }
    Err(VerifyError::SecretAlreadyProvisioned)
}

fn or_none(text: &Option<Box<str>>) -> String {
    let text = text.as_deref().unwrap_or("none");
    text.escape_default().to_string()
}
