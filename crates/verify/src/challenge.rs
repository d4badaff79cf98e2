//! Handshakes: recognised, and answered with what the provider wants to hear.
//!
//! Invariants: what is echoed is printable ASCII and bounded; a word that was
//! agreed on is compared in constant time; and what anybody can have signed
//! by asking never proves a delivery (`is_mintable`).

use bytes::Bytes;
use hookrill_core::Secret;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use sha2::{Digest as _, Sha256};

use super::{
    delivery::{Delivery, Reply},
    error::VerifyError,
    limits::CHALLENGE_BYTES_MAX,
    mac,
    plan::Plan,
    proof::{Lock, Proof},
    scheme::{
        AnswerValue, Condition, DigestInput, Handshake, HandshakeMethod, HmacOf,
        SecretProvisioning, Source,
    },
    token::same,
};

/// Whether a handshake that is answered with a MAC takes this as its text.
///
/// Where that is done before anything is proven, anybody gets the MAC of such
/// a text. So no text with braces, quotes, spaces or `&` is taken: no JSON
/// object and no form of two fields can be forged so. What remains, a body
/// that is one bare word, is refused as a delivery.
pub(super) fn is_mintable(text: impl Iterator<Item = u8>) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_.~-".contains(&byte);
    let mut bytes = 0;
    for byte in text {
        bytes += 1;
        if bytes > CHALLENGE_BYTES_MAX || !is_plain(byte) {
            return false;
        }
    }
    bytes > 0
}

impl Plan {
    /// The answer, if this is a handshake that is answered at this point:
    /// before the proof or behind it.
    ///
    /// # Errors
    ///
    /// Where it is a handshake and has no text to answer with, or not the
    /// word that was agreed on.
    pub(super) fn answer(
        &self,
        delivery: &Delivery,
        before_proof: bool,
    ) -> Result<Option<Reply>, VerifyError> {
        for challenge in &self.challenges {
            if challenge.is_before_proof() == before_proof && challenge.fits(delivery)? {
                self.agreed(challenge, delivery)?;
                return self.reply(challenge, delivery).map(Some);
            }
        }
        Ok(None)
    }

    /// Refuses a handshake without the word that was agreed on.
    fn agreed(&self, challenge: &Handshake, delivery: &Delivery) -> Result<(), VerifyError> {
        let Some(source) = &challenge.verify_token else {
            return Ok(());
        };
        let said = source.find(delivery)?.unwrap_or_default();
        match &self.verify_token {
            Some(agreed) if same(agreed, said.as_bytes()) => Ok(()),
            _ => Err(VerifyError::VerifyTokenMismatch),
        }
    }

    fn reply(&self, challenge: &Handshake, delivery: &Delivery) -> Result<Reply, VerifyError> {
        let (content_type, body) = match (&challenge.text, &challenge.json) {
            (Some(value), _) => {
                let text = self.value(value, delivery)?;
                let text = text
                    .as_str()
                    .map_or_else(|| text.to_string(), str::to_owned);
                ("text/plain", text)
            }
            (None, Some(object)) => {
                let pairs = object.iter().map(|(key, value)| {
                    let value = self.value(value, delivery)?;
                    Ok((key.clone(), value))
                });
                let object = pairs.collect::<Result<serde_json::Map<_, _>, VerifyError>>()?;
                (
                    "application/json",
                    serde_json::Value::from(object).to_string(),
                )
            }
            (None, None) => ("text/plain", String::new()),
        };
        let status = challenge
            .status
            .and_then(|code| StatusCode::from_u16(code).ok());
        Ok(Reply {
            status: status.unwrap_or(StatusCode::OK),
            content_type: HeaderValue::from_static(content_type),
            headers: HeaderMap::new(),
            body: Bytes::from(body),
        })
    }

    fn value(
        &self,
        value: &AnswerValue,
        delivery: &Delivery,
    ) -> Result<serde_json::Value, VerifyError> {
        Ok(match value {
            AnswerValue::Literal(text) => text.as_str().into(),
            AnswerValue::Number(number) => (*number).into(),
            AnswerValue::Echo(source) => echoed(source, delivery)?.into(),
            AnswerValue::Hmac(mac) => self.mac(mac, delivery)?.into(),
            AnswerValue::Sha256(hash) => {
                let parts = hash.of.iter().map(|part| self.digested(part, delivery));
                let text = parts.collect::<Result<Vec<_>, _>>()?.concat();
                hash.encoding.encode(&Sha256::digest(text)).into()
            }
        })
    }

    fn mac(&self, wanted: &HmacOf, delivery: &Delivery) -> Result<String, VerifyError> {
        let text = echoed(&wanted.of, delivery)?;
        let Proof::Signed(proof) = &self.proof else {
            return Err(VerifyError::ChallengeInvalid);
        };
        let (Lock::Mac(hash, keyed), Some(key)) = (proof.lock, proof.keys.first()) else {
            return Err(VerifyError::ChallengeInvalid);
        };
        if !is_mintable(text.bytes()) {
            return Err(VerifyError::ChallengeInvalid);
        }
        let mac = mac::compute((hash, keyed), key, &vec![text.as_bytes().into()]);
        Ok(format!("{}{}", wanted.prefix, wanted.encoding.encode(&mac)))
    }

    fn digested(&self, part: &DigestInput, delivery: &Delivery) -> Result<Vec<u8>, VerifyError> {
        match part {
            DigestInput::Text(source) => echoed(source, delivery).map(String::into_bytes),
            DigestInput::VerifyToken => {
                let token = self.verify_token.as_ref().map(Secret::expose);
                Ok(token.ok_or(VerifyError::VerifyTokenMismatch)?.to_vec())
            }
            DigestInput::Url => {
                let path = delivery.path_and_query.split('?').next();
                let base = self.public_url.trim_end_matches('/');
                Ok(format!("{base}{}", path.unwrap_or_default()).into_bytes())
            }
        }
    }
}

impl Handshake {
    fn fits(&self, delivery: &Delivery) -> Result<bool, VerifyError> {
        let method = match self.method {
            HandshakeMethod::Post => Method::POST,
            HandshakeMethod::Get => Method::GET,
            HandshakeMethod::Head => Method::HEAD,
        };
        if delivery.method != method {
            return Ok(false);
        }
        for condition in &self.when {
            if !condition.holds(delivery)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Condition {
    fn holds(&self, delivery: &Delivery) -> Result<bool, VerifyError> {
        let found = self.at.find(delivery)?;
        Ok(match (&self.equals, found) {
            (_, None) => self.absent,
            (Some(wanted), Some(found)) => found == **wanted,
            (None, Some(_)) => !self.absent,
        })
    }
}

impl SecretProvisioning {
    /// The secret that is handed over, if this is such a delivery.
    pub(super) fn secret(&self, delivery: &Delivery) -> Result<Option<Secret>, VerifyError> {
        if delivery.method != Method::POST || self.at.find(delivery)?.is_none() {
            return Ok(None);
        }
        let text = echoed(&self.at, delivery)?;
        Ok(Some(Secret::new(text.into_bytes())))
    }

    /// The answer to it.
    pub(super) fn reply(&self, secret: &Secret) -> Reply {
        let mut headers = HeaderMap::new();
        if let (true, Source::Header(names)) = (self.echo, &self.at)
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

/// A text that may be repeated to whoever sent it.
fn echoed(source: &Source, delivery: &Delivery) -> Result<String, VerifyError> {
    let text = source
        .find(delivery)?
        .ok_or(VerifyError::ChallengeInvalid)?;
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match text.is_empty() || text.len() > CHALLENGE_BYTES_MAX || !printable {
        true => Err(VerifyError::ChallengeInvalid),
        false => Ok(text.into_owned()),
    }
}
