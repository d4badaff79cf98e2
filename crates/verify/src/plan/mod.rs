//! From a scheme as written to one that can be used.
//!
//! Invariant: a [`Plan`] that exists can be carried out. What contradicts
//! itself, or would prove less than it seems to, is refused here, at start,
//! and not at the first delivery.

mod challenge;
mod message;
mod partition;
mod signature;
mod token;

use hookrill_core::Secret;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{
    delivery::Reply,
    ed25519,
    error::SchemeError,
    limits::SECRETS_MAX,
    mac,
    partition::Partition,
    proof::{Lock, Proof, SignedProof},
    scheme::{
        Handshake, MessagePart, Respond, Scheme, SchemeKind, SecretForm, SecretProvisioning, Source,
    },
    settings::Settings,
};

/// A scheme with its secrets, ready for deliveries.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) proof: Proof,
    pub(super) dedup_id: Vec<Pick>,
    pub(super) event_type: Vec<Pick>,
    pub(super) challenges: Vec<Handshake>,
    pub(super) hand_over: Option<SecretProvisioning>,
    pub(super) respond: Option<Reply>,
    pub(super) verify_token: Option<Secret>,
    pub(super) public_url: String,
    pub(super) partition: Option<Partition>,
    /// Whether the body is signed byte for byte, or nothing is signed at all.
    pub(super) signs_body: bool,
}

/// Where a fact is, and whether the signature covers that place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pick {
    pub(super) source: Source,
    pub(super) signed: bool,
}

/// Checks a scheme and makes a plan of it.
///
/// # Errors
///
/// [`SchemeError`], the first that is found.
pub(super) fn plan(scheme: Scheme, settings: Settings) -> Result<Plan, SchemeError> {
    refuse_foreign(&scheme)?;
    challenge::check(&scheme, &settings)?;
    partition::check(&scheme, settings.partition.as_ref())?;
    let picks = |sources: &[Source]| -> Vec<Pick> {
        let pick = |source: &Source| Pick {
            source: source.clone(),
            signed: scheme.covers(source),
        };
        sources.iter().map(pick).collect()
    };
    Ok(Plan {
        dedup_id: picks(&scheme.dedup_id),
        event_type: picks(&scheme.event_type),
        respond: scheme.respond.as_ref().map(reply).transpose()?,
        challenges: scheme.challenge.clone(),
        hand_over: scheme.hand_over.clone(),
        verify_token: settings.verify_token.clone(),
        public_url: settings.public_url.clone().unwrap_or_default(),
        partition: settings.partition.clone(),
        signs_body: !scheme.kind.signs() || scheme.covers_body(),
        proof: match scheme.kind {
            SchemeKind::Hmac | SchemeKind::Ed25519 => {
                Proof::Signed(Box::new(signed(scheme, settings)?))
            }
            SchemeKind::Token => Proof::Token(token::proof(scheme, settings.secrets)?),
            SchemeKind::None if settings.secrets.is_empty() => Proof::None,
            SchemeKind::None => return Err(SchemeError::SecretUseless),
        },
    })
}

/// A key that has no effect is a mistake about what is proven.
fn refuse_foreign(scheme: &Scheme) -> Result<(), SchemeError> {
    let hmac = [
        ("hash", scheme.hash.is_some()),
        ("keyed", scheme.keyed.is_some()),
        ("hand_over", scheme.hand_over.is_some()),
    ];
    let signed = [
        ("signature", scheme.signature.is_some()),
        ("encoding", scheme.encoding.is_some()),
        ("message", scheme.message.is_some()),
        ("body_unsigned", scheme.body_unsigned),
        ("timestamp", scheme.timestamp.is_some()),
        ("secret", scheme.secret.is_some()),
    ];
    let token = [("token", scheme.token.is_some())];
    let foreign: &[&[_]] = match scheme.kind {
        SchemeKind::Hmac => &[&token],
        SchemeKind::Ed25519 => &[&hmac, &token],
        SchemeKind::Token => &[&hmac, &signed],
        SchemeKind::None => &[&hmac, &signed, &token],
    };
    match foreign.iter().copied().flatten().find(|(_, there)| *there) {
        Some(&(key, _)) => Err(SchemeError::KeyInapplicable {
            kind: scheme.kind,
            key,
        }),
        None => Ok(()),
    }
}

fn signed(scheme: Scheme, settings: Settings) -> Result<SignedProof, SchemeError> {
    let kind = scheme.kind;
    let missing = |key, example| SchemeError::KeyMissing { kind, key, example };
    let lock = match kind {
        SchemeKind::Ed25519 => Lock::Ed25519,
        _ => {
            let hash = scheme.hash.ok_or(missing("hash", r#""sha256""#))?;
            Lock::Mac(hash, scheme.keyed.unwrap_or_default())
        }
    };
    let mints = |challenge: &Handshake| challenge.is_before_proof() && challenge.needs_secret();
    let mints = scheme.challenge.iter().any(mints);
    let signature = scheme
        .signature
        .ok_or(missing("signature", r#"{ header = "X-Signature" }"#))?;
    let encoding = scheme.encoding.ok_or(missing("encoding", r#""hex""#))?;
    let mut parts = scheme.message.ok_or(missing("message", r#"["body"]"#))?;
    parts.retain(|part| !matches!(part, MessagePart::Literal(text) if text.is_empty()));
    let grammar = signature::grammar(signature)?;
    let clock = match scheme.timestamp {
        Some(rule) => {
            let apart = parts.contains(&MessagePart::Timestamp);
            Some(signature::clock(rule, &grammar, settings.tolerance, apart)?)
        }
        None => None,
    };
    message::check(&parts, clock.as_ref(), scheme.body_unsigned)?;
    if settings.public_url.is_none() && parts.iter().any(message::has_url) {
        return Err(SchemeError::PublicUrlMissing);
    }
    let keys = match scheme.hand_over {
        Some(_) if settings.secrets.is_empty() => Vec::new(),
        _ => keys(lock, &settings.secrets, &scheme.secret.unwrap_or_default())?,
    };
    Ok(SignedProof {
        lock,
        grammar,
        encoding,
        message: parts,
        clock,
        keys,
        public_url: settings.public_url.unwrap_or_default(),
        mints,
    })
}

fn keys(lock: Lock, secrets: &[Secret], form: &SecretForm) -> Result<Vec<Secret>, SchemeError> {
    check_secrets(secrets)?;
    let key = |(index, secret): (usize, &Secret)| {
        let text = secret.expose();
        let text = text.strip_prefix(form.prefix.as_bytes()).unwrap_or(text);
        let invalid = |source| SchemeError::SecretEncoding {
            index,
            encoding: form.encoding,
            source,
        };
        let key = form.encoding.decode(text).map_err(invalid)?;
        let key = Secret::new(key);
        if key.expose().is_empty() {
            return Err(SchemeError::SecretEmpty { index });
        }
        if matches!(lock, Lock::Ed25519) && !ed25519::is_key(key.expose()) {
            return Err(SchemeError::PublicKeyInvalid { index });
        }
        Ok(match form.hash {
            Some(hash) => Secret::new(mac::digest(hash, [&key.expose().into()])),
            None => key,
        })
    };
    secrets.iter().enumerate().map(key).collect()
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
    let status = status.filter(StatusCode::is_success);
    let invalid = |_| SchemeError::RespondContentType {
        content_type: content_type.to_owned(),
    };
    Ok(Reply {
        status: status.ok_or(SchemeError::RespondStatus {
            status: respond.status,
        })?,
        content_type: HeaderValue::from_str(content_type).map_err(invalid)?,
        headers: HeaderMap::new(),
        body: respond.body.clone().into(),
    })
}
