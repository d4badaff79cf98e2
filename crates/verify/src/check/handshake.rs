//! Recognises handshakes, and answers them.
//!
//! Invariants: whatever an answer needs is a part of it, so that every state
//! of [`Handshakes`] can be answered; what is echoed is printable ASCII and
//! bounded; the token that was agreed on is compared in constant time; and what
//! anyone can have signed by asking never verifies a delivery
//! ([`is_signable_by_anyone`]).

use std::collections::BTreeMap;

use bytes::Bytes;
use hookrill_core::Secret;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sha2::{Digest as _, Sha256};

use super::{mac::MacAlgorithm, signable::is_signable_by_anyone, token::constant_time_eq};
use crate::{
    delivery::{Delivery, Reply},
    error::VerifyError,
    limits::CHALLENGE_BYTES_MAX,
    scheme::{Condition, Encoding, Hash, MacConstruction, SecretProvisioning, Source},
};

/// The handshakes of a scheme; the first that fits is answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Handshakes(Vec<PreparedHandshake>);

/// A handshake with all that its answer needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PreparedHandshake {
    pub(crate) method: Method,
    pub(crate) stage: HandshakeStage,
    /// All must hold.
    pub(crate) when: Vec<Condition>,
    pub(crate) verify_token: Option<ExpectedToken>,
    pub(crate) status: StatusCode,
    pub(crate) body: AnswerBody,
    pub(crate) headers: Vec<(HeaderName, PreparedValue)>,
}

/// When a handshake is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum HandshakeStage {
    BeforeVerification,
    AfterVerification,
}

/// The token that the operator and the provider agreed on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExpectedToken {
    /// Where the provider sends it.
    pub(crate) at: Source,
    pub(crate) token: Secret,
}

/// The body of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AnswerBody {
    Empty,
    Text(PreparedValue),
    Json(BTreeMap<String, PreparedValue>),
}

/// A value of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PreparedValue {
    Literal(String),
    Number(u32),
    Echo(Source),
    Hmac(PreparedHmac),
    Sha256 {
        of: Vec<PreparedInput>,
        encoding: Encoding,
    },
}

/// The HMAC of a text of the delivery.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PreparedHmac {
    pub(crate) hash: Hash,
    /// `None` until the provider has sent its secret.
    pub(crate) key: Option<Secret>,
    pub(crate) of: Source,
    pub(crate) encoding: Encoding,
    pub(crate) prefix: String,
}

/// A part of what is hashed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PreparedInput {
    Text(Source),
    VerifyToken(Secret),
    /// The URL that the sender was given, without its query.
    Url {
        /// What stands in front of its path, without a slash at the end.
        base: String,
    },
}

impl Handshakes {
    pub(crate) fn new(handshakes: Vec<PreparedHandshake>) -> Self {
        Self(handshakes)
    }

    /// Whether one comes by this method.
    pub(crate) fn any_by(&self, method: &Method) -> bool {
        self.0.iter().any(|one| one.method == *method)
    }

    /// Whether one comes by this method and is answered at this stage.
    pub(crate) fn any_at(&self, stage: HandshakeStage, method: &Method) -> bool {
        self.0
            .iter()
            .any(|one| one.stage == stage && one.method == *method)
    }

    /// Whether anyone who asks gets the MAC of a bare word.
    pub(crate) fn sign_for_anyone(&self) -> bool {
        let early = self
            .0
            .iter()
            .filter(|one| one.stage == HandshakeStage::BeforeVerification);
        early
            .flat_map(PreparedHandshake::values)
            .any(|value| matches!(value, PreparedValue::Hmac(_)))
    }

    /// Where the tokens are that operator and provider agreed on.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &Source> {
        let expected = self.0.iter().filter_map(|one| one.verify_token.as_ref());
        expected.map(|expected| &expected.at)
    }

    /// Makes MACs with this key from now on.
    pub(crate) fn set_key(&mut self, key: &Secret) {
        for value in self.0.iter_mut().flat_map(PreparedHandshake::values_mut) {
            if let PreparedValue::Hmac(hmac) = value {
                hmac.key = Some(key.clone());
            }
        }
    }

    /// The answer, if the delivery is a handshake that is answered at this
    /// stage.
    ///
    /// # Errors
    ///
    /// Where it is a handshake, and has no text to answer with, not the token
    /// that was agreed on, or a MAC cannot be made yet.
    pub(crate) fn answer(
        &self,
        stage: HandshakeStage,
        delivery: &Delivery,
    ) -> Result<Option<Reply>, VerifyError> {
        for handshake in &self.0 {
            if handshake.stage == stage && handshake.fits(delivery)? {
                return handshake.reply(delivery).map(Some);
            }
        }
        Ok(None)
    }
}

impl PreparedHandshake {
    fn values(&self) -> impl Iterator<Item = &PreparedValue> {
        let headers = self.headers.iter().map(|(_, value)| value);
        self.body.values().into_iter().chain(headers)
    }

    fn values_mut(&mut self) -> impl Iterator<Item = &mut PreparedValue> {
        let headers = self.headers.iter_mut().map(|(_, value)| value);
        self.body.values_mut().into_iter().chain(headers)
    }

    fn fits(&self, delivery: &Delivery) -> Result<bool, VerifyError> {
        if delivery.method != self.method {
            return Ok(false);
        }
        for condition in &self.when {
            if !holds(condition, delivery)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn reply(&self, delivery: &Delivery) -> Result<Reply, VerifyError> {
        if let Some(expected) = &self.verify_token {
            expected.require(delivery)?;
        }
        let (content_type, body) = self.body.render(delivery)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            // What is echoed is printable, and a literal was written by the operator.
            let text = text_of(value.render(delivery)?);
            let written = HeaderValue::try_from(text).map_err(|_| VerifyError::ChallengeInvalid)?;
            headers.insert(name, written);
        }
        Ok(Reply {
            status: self.status,
            content_type: HeaderValue::from_static(content_type),
            headers,
            body: Bytes::from(body),
        })
    }
}

fn holds(condition: &Condition, delivery: &Delivery) -> Result<bool, VerifyError> {
    let found = condition.at.find(delivery)?;
    Ok(match (&condition.equals, found) {
        (_, None) => condition.absent,
        (Some(wanted), Some(text)) => text == **wanted,
        (None, Some(_)) => !condition.absent,
    })
}

impl ExpectedToken {
    /// Refuses a handshake without this token.
    fn require(&self, delivery: &Delivery) -> Result<(), VerifyError> {
        let sent = self.at.find(delivery)?.unwrap_or_default();
        if !constant_time_eq(&self.token, sent.as_bytes()) {
            return Err(VerifyError::VerifyTokenMismatch);
        }
        Ok(())
    }
}

impl AnswerBody {
    fn values(&self) -> Vec<&PreparedValue> {
        match self {
            Self::Empty => Vec::new(),
            Self::Text(value) => vec![value],
            Self::Json(object) => object.values().collect(),
        }
    }

    fn values_mut(&mut self) -> Vec<&mut PreparedValue> {
        match self {
            Self::Empty => Vec::new(),
            Self::Text(value) => vec![value],
            Self::Json(object) => object.values_mut().collect(),
        }
    }

    /// The content type and the body.
    fn render(&self, delivery: &Delivery) -> Result<(&'static str, String), VerifyError> {
        match self {
            Self::Empty => Ok(("text/plain", String::new())),
            Self::Text(value) => Ok(("text/plain", text_of(value.render(delivery)?))),
            Self::Json(object) => {
                let mut json = serde_json::Map::new();
                for (key, value) in object {
                    json.insert(key.clone(), value.render(delivery)?);
                }
                Ok((
                    "application/json",
                    serde_json::Value::from(json).to_string(),
                ))
            }
        }
    }
}

fn text_of(value: serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text,
        number => number.to_string(),
    }
}

impl PreparedValue {
    fn render(&self, delivery: &Delivery) -> Result<serde_json::Value, VerifyError> {
        Ok(match self {
            Self::Literal(text) => text.as_str().into(),
            Self::Number(number) => (*number).into(),
            Self::Echo(source) => challenge_text(source, delivery)?.into(),
            Self::Hmac(hmac) => hmac.render(delivery)?.into(),
            Self::Sha256 { of, encoding } => {
                let mut hash = Sha256::new();
                for input in of {
                    input.hash_into(&mut hash, delivery)?;
                }
                encoding.encode(&hash.finalize()).into()
            }
        })
    }
}

impl PreparedHmac {
    fn render(&self, delivery: &Delivery) -> Result<String, VerifyError> {
        let text = challenge_text(&self.of, delivery)?;
        if !is_signable_by_anyone(text.bytes()) {
            return Err(VerifyError::ChallengeInvalid);
        }
        let key = self.key.as_ref().ok_or(VerifyError::SecretPending)?;
        let algorithm = MacAlgorithm {
            hash: self.hash,
            construction: MacConstruction::Hmac,
        };
        let mac = algorithm.compute(key, &vec![text.as_bytes().into()]);
        Ok(format!("{}{}", self.prefix, self.encoding.encode(&mac)))
    }
}

impl PreparedInput {
    fn hash_into(&self, hash: &mut Sha256, delivery: &Delivery) -> Result<(), VerifyError> {
        match self {
            Self::Text(source) => hash.update(challenge_text(source, delivery)?),
            Self::VerifyToken(token) => hash.update(token.expose()),
            Self::Url { base } => {
                let path = delivery.path_and_query.split('?').next();
                hash.update(base);
                hash.update(path.unwrap_or_default());
            }
        }
        Ok(())
    }
}

impl SecretProvisioning {
    /// The secret, if this delivery brings one.
    ///
    /// # Errors
    ///
    /// [`VerifyError::ChallengeInvalid`] where it cannot be sent back.
    pub(crate) fn secret(&self, delivery: &Delivery) -> Result<Option<Secret>, VerifyError> {
        if delivery.method != Method::POST || self.at.find(delivery)?.is_none() {
            return Ok(None);
        }
        Ok(Some(challenge_text(&self.at, delivery)?.into()))
    }

    /// The answer to the delivery that brought the secret.
    pub(crate) fn reply(&self, secret: &Secret) -> Reply {
        let mut headers = HeaderMap::new();
        if self.echo
            && let Source::Header(names) = &self.at
            && let Ok(mut value) = HeaderValue::from_bytes(secret.expose())
        {
            value.set_sensitive(true);
            headers.insert(names.first(), value);
        }
        Reply {
            status: StatusCode::OK,
            content_type: HeaderValue::from_static("text/plain"),
            headers,
            body: Bytes::new(),
        }
    }
}

/// A text of the sender that may be sent back: printable and bounded.
fn challenge_text(source: &Source, delivery: &Delivery) -> Result<String, VerifyError> {
    let text = source
        .find(delivery)?
        .ok_or(VerifyError::ChallengeInvalid)?;
    let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_printable || !(1..=CHALLENGE_BYTES_MAX).contains(&text.len()) {
        return Err(VerifyError::ChallengeInvalid);
    }
    Ok(text.into_owned())
}
