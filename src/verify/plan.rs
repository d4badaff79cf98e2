//! From a scheme as written to one that can be used.
//!
//! Invariant: a [`Plan`] that exists can be carried out. What contradicts
//! itself, or would prove less than it seems to, is refused here, at start,
//! and not at the first delivery.

use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::{
    delivery::Reply,
    error::SchemeError,
    grammar::{Grammar, Keys},
    proof::{Clocked, HmacProof, Moment, Proof},
    scheme::{
        Authorization, Challenge, Kind, Part, Respond, Scheme, SecretForm, Signature, Source,
        TimestampRule, Token,
    },
    secret::Secret,
    token::{Place, TokenProof},
};

/// The most secrets that a topic may have: each costs one more pass over the
/// body of a delivery that none of them signed.
pub const SECRETS_MAX: usize = 16;

/// A scheme with its secrets, ready for deliveries.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) proof: Proof,
    pub(super) dedup_id: Vec<Pick>,
    pub(super) event_type: Vec<Pick>,
    pub(super) challenge: Option<Challenge>,
    pub(super) respond: Option<Reply>,
}

/// Where a fact is, and whether the signature covers that place.
#[derive(Debug, Clone)]
pub(super) struct Pick {
    pub(super) source: Source,
    pub(super) signed: bool,
}

/// What the topic adds to its scheme.
pub(super) struct Given {
    pub(super) secrets: Vec<Secret>,
    pub(super) tolerance: Option<Duration>,
    pub(super) public_url: Option<String>,
}

/// Checks a scheme and makes a plan of it.
///
/// # Errors
///
/// [`SchemeError`], the first that is found.
pub(super) fn plan(scheme: Scheme, given: Given) -> Result<Plan, SchemeError> {
    refuse_foreign(&scheme)?;
    let picks = |sources: &[Source]| -> Vec<Pick> {
        let pick = |source: &Source| Pick {
            source: source.clone(),
            signed: scheme.covers(source),
        };
        sources.iter().map(pick).collect()
    };
    let (dedup_id, event_type) = (picks(&scheme.dedup_id), picks(&scheme.event_type));
    let respond = scheme.respond.as_ref().map(reply).transpose()?;
    let challenge = scheme.challenge.clone();
    let proof = match scheme.kind {
        Kind::Hmac => Proof::Hmac(Box::new(hmac(scheme, given)?)),
        Kind::Token => Proof::Token(token(scheme, given.secrets)?),
        Kind::None if given.secrets.is_empty() => Proof::None,
        Kind::None => return Err(SchemeError::SecretUseless),
    };
    Ok(Plan {
        proof,
        dedup_id,
        event_type,
        challenge,
        respond,
    })
}

/// A key that has no effect is a mistake about what is proven.
fn refuse_foreign(scheme: &Scheme) -> Result<(), SchemeError> {
    let hmac = [
        ("hash", scheme.hash.is_some()),
        ("signature", scheme.signature.is_some()),
        ("encoding", scheme.encoding.is_some()),
        ("message", scheme.message.is_some()),
        ("timestamp", scheme.timestamp.is_some()),
        ("secret", scheme.secret.is_some()),
    ];
    let token = [("token", scheme.token.is_some())];
    let foreign: &[&[_]] = match scheme.kind {
        Kind::Hmac => &[&token],
        Kind::Token => &[&hmac],
        Kind::None => &[&hmac, &token],
    };
    match foreign.iter().copied().flatten().find(|(_, there)| *there) {
        Some(&(key, _)) => Err(SchemeError::Foreign {
            kind: scheme.kind.as_str(),
            key,
        }),
        None => Ok(()),
    }
}

fn hmac(scheme: Scheme, given: Given) -> Result<HmacProof, SchemeError> {
    let missing = |key, example| SchemeError::Missing {
        kind: "hmac",
        key,
        example,
    };
    let hash = scheme.hash.ok_or(missing("hash", r#""sha256""#))?;
    let signature = scheme
        .signature
        .ok_or(missing("signature", r#"{ header = "X-Signature" }"#))?;
    let encoding = scheme.encoding.ok_or(missing("encoding", r#""hex""#))?;
    let mut message = scheme.message.ok_or(missing("message", r#"["body"]"#))?;
    message.retain(|part| !matches!(part, Part::Literal(text) if text.is_empty()));
    let grammar = grammar(signature)?;
    let clock = match scheme.timestamp {
        Some(rule) => Some(clock(rule, &grammar, given.tolerance)?),
        None => None,
    };
    check_message(&message, clock.as_ref(), given.public_url.is_some())?;
    Ok(HmacProof {
        hash,
        grammar,
        encoding,
        message,
        clock,
        keys: keys(&given.secrets, &scheme.secret.unwrap_or_default())?,
        public_url: given.public_url.unwrap_or_default(),
    })
}

fn grammar(signature: Signature) -> Result<Grammar, SchemeError> {
    let texts = [
        &signature.separator,
        &signature.key_separator,
        &signature.key,
    ];
    if texts.iter().any(|text| text.as_deref() == Some("")) {
        return Err(SchemeError::SeparatorEmpty);
    }
    let keys = match (signature.key_separator, signature.key) {
        (Some(separator), Some(signature)) => Some(Keys {
            separator,
            signature,
        }),
        (None, None) => None,
        _ => return Err(SchemeError::KeysIncomplete),
    };
    Ok(Grammar {
        header: signature.header,
        prefix: signature.prefix,
        separators: signature.separator.unwrap_or_default(),
        keys,
    })
}

fn clock(
    rule: TimestampRule,
    grammar: &Grammar,
    tolerance: Option<Duration>,
) -> Result<Clocked, SchemeError> {
    let moment = match (rule.header, rule.field, rule.json) {
        (Some(names), None, None) => Moment::Header(names),
        (None, Some(key), None) => Moment::Field(key),
        (None, None, Some(pointer)) => Moment::Json(pointer),
        _ => {
            return Err(SchemeError::PlaceAmbiguous {
                key: "timestamp",
                places: "`header`, `field` and `json`",
            });
        }
    };
    let keyed = grammar.keys.is_some() && !grammar.separators.is_empty();
    if matches!(moment, Moment::Field(_)) && !keyed {
        return Err(SchemeError::KeysIncomplete);
    }
    let tolerance = tolerance.unwrap_or(rule.tolerance);
    if tolerance.is_zero() {
        return Err(SchemeError::ToleranceZero);
    }
    Ok(Clocked {
        moment,
        format: rule.format,
        tolerance,
    })
}

fn check_message(
    message: &[Part],
    clock: Option<&Clocked>,
    has_public_url: bool,
) -> Result<(), SchemeError> {
    if !message.contains(&Part::Body) {
        return Err(SchemeError::BodyUnsigned);
    }
    if message.contains(&Part::Url) && !has_public_url {
        return Err(SchemeError::PublicUrlMissing);
    }
    check_fences(message)?;
    // A timestamp in the body is signed with the body.
    let apart = clock.is_some_and(|clock| !matches!(clock.moment, Moment::Json(_)));
    match (apart, message.contains(&Part::Timestamp)) {
        (true, false) => Err(SchemeError::TimestampUnsigned),
        (false, true) => Err(SchemeError::TimestampUnplaced),
        _ => Ok(()),
    }
}

/// Refuses two parts of any text side by side. Literals are fences, and so is
/// a timestamp: longer or shorter by a digit, it is stale.
fn check_fences(message: &[Part]) -> Result<(), SchemeError> {
    let free = |part: &Part| matches!(part, Part::Body | Part::Url | Part::Header(_));
    for pair in message.windows(2) {
        if let [first, second] = pair
            && free(first)
            && free(second)
            // Square's form; what is left of its weakness: see `Part::Url`.
            && (first, second) != (&Part::Url, &Part::Body)
        {
            return Err(SchemeError::Unfenced {
                first: first.to_string(),
                second: second.to_string(),
            });
        }
    }
    Ok(())
}

fn keys(secrets: &[Secret], form: &SecretForm) -> Result<Vec<Secret>, SchemeError> {
    check_secrets(secrets)?;
    let key = |(index, secret): (usize, &Secret)| {
        let text = secret.expose();
        let text = text.strip_prefix(form.prefix.as_bytes()).unwrap_or(text);
        let bytes = form.encoding.decode(text).map(Secret::new);
        let key = bytes.ok_or(SchemeError::SecretEncoding {
            index,
            encoding: form.encoding,
        })?;
        match key.expose() {
            [] => Err(SchemeError::SecretEmpty { index }),
            _ => Ok(key),
        }
    };
    secrets.iter().enumerate().map(key).collect()
}

fn token(scheme: Scheme, secrets: Vec<Secret>) -> Result<TokenProof, SchemeError> {
    let token = scheme.token.ok_or(SchemeError::Missing {
        kind: "token",
        key: "token",
        example: r#"{ header = "X-Token" }"#,
    })?;
    let place = match token {
        Token {
            header: Some(names),
            prefix,
            query: None,
            authorization: None,
        } => Place::Header { names, prefix },
        Token {
            header: None,
            prefix,
            query: Some(name),
            authorization: None,
        } if prefix.is_empty() => Place::Query(name),
        Token {
            header: None,
            prefix,
            query: None,
            authorization: Some(scheme),
        } if prefix.is_empty() => match scheme {
            Authorization::Bearer => Place::Bearer,
            Authorization::Basic => Place::Basic,
        },
        _ => {
            return Err(SchemeError::PlaceAmbiguous {
                key: "token",
                places: "`header` (with `prefix`, if you like), `query` and `authorization`",
            });
        }
    };
    check_secrets(&secrets)?;
    Ok(TokenProof { place, secrets })
}

fn check_secrets(secrets: &[Secret]) -> Result<(), SchemeError> {
    let count = secrets.len();
    if count == 0 {
        return Err(SchemeError::SecretMissing);
    }
    if count > SECRETS_MAX {
        return Err(SchemeError::SecretsTooMany { count });
    }
    match secrets.iter().position(|one| one.expose().is_empty()) {
        Some(index) => Err(SchemeError::SecretEmpty { index }),
        None => Ok(()),
    }
}

fn reply(respond: &Respond) -> Result<Reply, SchemeError> {
    const PLAIN: &str = "text/plain; charset=utf-8";
    let content_type = respond.content_type.as_deref().unwrap_or(PLAIN);
    let status = StatusCode::from_u16(respond.status).ok();
    Ok(Reply {
        status: status
            .filter(StatusCode::is_success)
            .ok_or(SchemeError::Respond)?,
        content_type: HeaderValue::from_str(content_type).map_err(|_| SchemeError::Respond)?,
        body: respond.body.clone().into(),
    })
}
