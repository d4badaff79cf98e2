//! Handshakes: checked, and given all that their answers need.

use hookrill_core::Secret;
use http::{HeaderName, Method, StatusCode};

use super::signature::require_hash;
use crate::{
    check::handshake::{
        AnswerBody, ExpectedToken, HandshakeStage, Handshakes, PreparedHandshake, PreparedHmac,
        PreparedInput, PreparedValue,
    },
    error::SchemeError,
    scheme::{
        AnswerValue, Condition, DigestInput, Handshake, HandshakeMethod, MacConstruction, Scheme,
        SchemeKind,
    },
    settings::Settings,
};

/// Compiles the handshakes of a scheme. Those that answer with a MAC get their
/// key later, by [`Handshakes::set_key`].
pub(super) fn compile(scheme: &Scheme, settings: &Settings) -> Result<Handshakes, SchemeError> {
    for (index, handshake) in scheme.challenge.iter().enumerate() {
        if let Some(what) = contradiction(handshake, scheme) {
            return Err(SchemeError::Handshake { index, what });
        }
    }
    let token = settings.verify_token.as_ref();
    let verify_token = token.filter(|token| !token.expose().is_empty());
    if verify_token.is_some() && !scheme.needs_verify_token() {
        return Err(SchemeError::VerifyTokenUseless);
    }
    let compiler = HandshakeCompiler {
        scheme,
        verify_token,
        public_url: settings.public_url.as_deref(),
    };
    let prepared = scheme.challenge.iter().map(|one| compiler.handshake(one));
    Ok(Handshakes::new(prepared.collect::<Result<_, _>>()?))
}

/// What answers are made of.
struct HandshakeCompiler<'s> {
    scheme: &'s Scheme,
    verify_token: Option<&'s Secret>,
    public_url: Option<&'s str>,
}

impl HandshakeCompiler<'_> {
    fn handshake(&self, written: &Handshake) -> Result<PreparedHandshake, SchemeError> {
        let verify_token = match &written.verify_token {
            Some(at) => Some(ExpectedToken {
                at: at.clone(),
                token: self.verify_token()?,
            }),
            None => None,
        };
        let stage = if written.is_before_verification() {
            HandshakeStage::BeforeVerification
        } else {
            HandshakeStage::AfterVerification
        };
        let status = written.status.unwrap_or(200);
        Ok(PreparedHandshake {
            method: method(written.method),
            stage,
            when: written.when.clone(),
            verify_token,
            status: StatusCode::from_u16(status).expect("200 to 299 was checked"),
            body: self.body(written)?,
            headers: self.headers(written)?,
        })
    }

    fn headers(
        &self,
        written: &Handshake,
    ) -> Result<Vec<(HeaderName, PreparedValue)>, SchemeError> {
        let headers = written.headers.iter().map(|(name, value)| {
            let name = name.parse().expect("names were checked");
            Ok((name, self.value(value)?))
        });
        headers.collect()
    }

    fn body(&self, written: &Handshake) -> Result<AnswerBody, SchemeError> {
        if let Some(text) = &written.text {
            return Ok(AnswerBody::Text(self.value(text)?));
        }
        let Some(json) = &written.json else {
            return Ok(AnswerBody::Empty);
        };
        let pairs = json.iter().map(|(key, value)| {
            let value = self.value(value)?;
            Ok((key.clone(), value))
        });
        Ok(AnswerBody::Json(pairs.collect::<Result<_, SchemeError>>()?))
    }

    fn value(&self, written: &AnswerValue) -> Result<PreparedValue, SchemeError> {
        Ok(match written {
            AnswerValue::Literal(text) => PreparedValue::Literal(text.clone()),
            AnswerValue::Number(number) => PreparedValue::Number(*number),
            AnswerValue::Echo(source) => PreparedValue::Echo(source.clone()),
            AnswerValue::Hmac(hmac) => PreparedValue::Hmac(PreparedHmac {
                hash: require_hash(self.scheme)?,
                key: None,
                of: hmac.of.clone(),
                encoding: hmac.encoding,
                prefix: hmac.prefix.clone(),
            }),
            AnswerValue::Sha256(hash) => {
                let inputs = hash.of.iter().map(|input| self.input(input));
                PreparedValue::Sha256 {
                    of: inputs.collect::<Result<_, _>>()?,
                    encoding: hash.encoding,
                }
            }
        })
    }

    fn input(&self, written: &DigestInput) -> Result<PreparedInput, SchemeError> {
        Ok(match written {
            DigestInput::Text(source) => PreparedInput::Text(source.clone()),
            DigestInput::VerifyToken => PreparedInput::VerifyToken(self.verify_token()?),
            DigestInput::Url => {
                let url = self.public_url.ok_or(SchemeError::PublicUrlMissing)?;
                PreparedInput::Url {
                    base: url.trim_end_matches('/').to_owned(),
                }
            }
        })
    }

    fn verify_token(&self) -> Result<Secret, SchemeError> {
        let token = self.verify_token.ok_or(SchemeError::VerifyTokenMissing)?;
        Ok(token.clone())
    }
}

fn method(written: HandshakeMethod) -> Method {
    match written {
        HandshakeMethod::Post => Method::POST,
        HandshakeMethod::Get => Method::GET,
        HandshakeMethod::Head => Method::HEAD,
        HandshakeMethod::Options => Method::OPTIONS,
    }
}

/// What is wrong with a handshake, and what to do.
fn contradiction(handshake: &Handshake, scheme: &Scheme) -> Option<&'static str> {
    let has_body = handshake.text.is_some() || handshake.json.is_some();
    let is_event_method = handshake.method == HandshakeMethod::Post;
    let both = |when: &Condition| when.absent && when.equals.is_some();
    let is_name = |name: &String| name.parse::<HeaderName>().is_ok();
    if handshake.text.is_some() && handshake.json.is_some() {
        Some("it answers by `text` and by `json`: remove one")
    } else if !has_body && handshake.status.is_none() && handshake.headers.is_empty() {
        Some("it answers nothing: add `text`, `json`, `headers` or `status`")
    } else if !handshake.headers.keys().all(is_name) {
        Some("a key of its `headers` is not the name of a header")
    } else if !(200..300).contains(&handshake.status.unwrap_or(200)) {
        Some("its `status` is 200 to 299")
    } else if handshake.method == HandshakeMethod::Head && has_body {
        Some("a HEAD has no body to answer with: write `status` alone")
    } else if handshake.when.iter().any(both) {
        Some("a condition has `equals` and `absent`: remove one")
    } else if is_event_method && handshake.when.iter().all(|when| when.absent) {
        Some("every delivery would be taken for a handshake: say in `when` what must be there")
    } else if handshake.needs_secret() && !has_hmac(scheme) {
        // A plain hash that is given away could be extended to a signature.
        Some("only a scheme of kind \"hmac\", keyed by HMAC, answers by `hmac`")
    } else if answers_anybody(handshake, scheme) {
        Some("it answers any such request: say in `when` what must be there")
    } else {
        None
    }
}

fn has_hmac(scheme: &Scheme) -> bool {
    scheme.kind == SchemeKind::Hmac && scheme.construction != Some(MacConstruction::Prefix)
}

/// Whether it answers a GET or OPTIONS that asks for nothing, whoever sends it. One that
/// has the topic's token asks for something: Mailchimp's sends nothing else.
fn answers_anybody(handshake: &Handshake, scheme: &Scheme) -> bool {
    let requires_text = handshake.when.iter().any(|when| !when.absent);
    let has_token = scheme.kind == SchemeKind::Token && !handshake.is_before_verification();
    let requires_token = handshake.verify_token.is_some() || has_token;
    let is_open = [HandshakeMethod::Get, HandshakeMethod::Options].contains(&handshake.method);
    is_open && !requires_text && !requires_token
}
