//! From a scheme as written to one that can be carried out.
//!
//! Invariant: a [`CompiledScheme`] that exists can be carried out. What
//! contradicts itself, or would verify less than it seems to, is refused here,
//! at start, and not at the first delivery.

mod handshake;
mod message;
mod partition;
mod signature;
mod token;

use hookrill_core::{FormReader, Secret};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::{
    check::{Check, handshake::Handshakes, signature::SignatureCheck},
    delivery::Reply,
    error::SchemeError,
    facts::{FactSource, FactSources},
    limits::SECRETS_MAX,
    scheme::{HeaderNames, MessagePart, Respond, Scheme, SchemeKind, Source},
    settings::Settings,
};

/// A scheme with its secrets, ready for deliveries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CompiledScheme {
    /// By which methods events come; at least one.
    pub(crate) methods: Vec<Method>,
    /// Reads forms as JSON; `None`: they are text.
    pub(crate) forms: Option<FormReader>,
    pub(crate) check: Check,
    pub(crate) handshakes: Handshakes,
    pub(crate) facts: FactSources,
    /// See [`Verifier::proof_headers`](crate::Verifier::proof_headers).
    pub(crate) proof_headers: Box<[HeaderName]>,
    /// See [`Verifier::fact_headers`](crate::Verifier::fact_headers).
    pub(crate) fact_headers: Box<[HeaderName]>,
}

/// Checks a scheme and its settings, and compiles them.
///
/// # Errors
///
/// [`SchemeError`], the first that is found.
pub(crate) fn compile(scheme: Scheme, settings: Settings) -> Result<CompiledScheme, SchemeError> {
    refuse_inapplicable(&scheme)?;
    let mut handshakes = handshake::compile(&scheme, &settings)?;
    partition::check(&scheme, settings.partition.as_ref())?;
    let facts_in_headers = scheme.dedup_id.iter().chain(&scheme.event_type);
    let fact_headers = header_names(facts_in_headers.filter_map(|source| match source {
        Source::Header(names) => Some(names),
        _ => None,
    }));
    let facts = FactSources {
        event_type: fact_sources(&scheme, &scheme.event_type),
        dedup_id: fact_sources(&scheme, &scheme.dedup_id),
        partition: settings.partition.clone(),
        respond: (settings.respond.as_ref().or(scheme.respond.as_ref()))
            .map(reply)
            .transpose()?,
    };
    let methods = methods(&scheme, &settings)?;
    let forms = (!settings.forms_as_text).then(|| FormReader::new(scheme.json_field.clone()));
    let check = match scheme.kind {
        SchemeKind::Hmac | SchemeKind::Ed25519 => {
            let signature = signature::compile(scheme, settings, handshakes.sign_for_anyone())?;
            if let Some(key) = signature.keys.first() {
                handshakes.set_key(key);
            }
            Check::Signature(Box::new(signature))
        }
        SchemeKind::Token => Check::Token(token::compile(scheme, settings.secrets)?),
        SchemeKind::None if settings.secrets.is_empty() => Check::None,
        SchemeKind::None => return Err(SchemeError::SecretUseless),
    };
    let proof_headers = match &check {
        Check::Signature(signature) => header_names(signature.header_names()),
        Check::Token(_) | Check::None => Box::default(),
    };
    Ok(CompiledScheme {
        methods,
        forms,
        check,
        handshakes,
        facts,
        proof_headers,
        fact_headers,
    })
}

/// All of these names, each once.
fn header_names<'n>(names: impl Iterator<Item = &'n HeaderNames>) -> Box<[HeaderName]> {
    let mut all = Vec::new();
    for name in names.flat_map(HeaderNames::iter) {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    all.into()
}

/// The methods of events. A GET has no body: its event is the query, which a signature
/// that leaves out the URL does not cover.
fn methods(scheme: &Scheme, settings: &Settings) -> Result<Vec<Method>, SchemeError> {
    if settings.methods.is_empty() {
        return Ok(vec![Method::POST]);
    }
    let signs_query = scheme.parts().iter().any(MessagePart::covers_query);
    if settings.methods.contains(&Method::GET) && scheme.kind.signs() && !signs_query {
        return Err(SchemeError::GetUnsigned);
    }
    // The end of a query would pass as the beginning of a body, both signed as one text.
    let parts = scheme.parts();
    let may_move = parts.iter().any(MessagePart::needs_public_url)
        && parts.iter().any(MessagePart::has_all_of_body)
        && !parts.contains(&MessagePart::Method);
    if settings.methods.contains(&Method::GET) && settings.methods.len() > 1 && may_move {
        return Err(SchemeError::GetBesideBody);
    }
    Ok(settings.methods.clone())
}

/// Refuses a key without effect: whoever wrote it is mistaken about what is
/// verified.
fn refuse_inapplicable(scheme: &Scheme) -> Result<(), SchemeError> {
    let of_hmac = [
        ("hash", scheme.hash.is_some()),
        ("legacy", scheme.legacy),
        ("construction", scheme.construction.is_some()),
        ("provisioned_secret", scheme.provisioned_secret.is_some()),
    ];
    let of_signatures = [
        ("signature", scheme.signature.is_some()),
        ("encoding", scheme.encoding.is_some()),
        ("message", scheme.message.is_some()),
        ("body_unsigned", scheme.body_unsigned),
        ("timestamp", scheme.timestamp.is_some()),
        ("secret", scheme.secret.is_some()),
    ];
    let of_tokens = [("token", scheme.token.is_some())];
    let inapplicable: &[&[_]] = match scheme.kind {
        SchemeKind::Hmac => &[&of_tokens],
        SchemeKind::Ed25519 => &[&of_hmac, &of_tokens],
        SchemeKind::Token => &[&of_hmac, &of_signatures],
        SchemeKind::None => &[&of_hmac, &of_signatures, &of_tokens],
    };
    let written = inapplicable.iter().copied().flatten();
    match written.copied().find(|(_, is_there)| *is_there) {
        Some((key, _)) => Err(SchemeError::KeyInapplicable {
            kind: scheme.kind,
            key,
        }),
        None => Ok(()),
    }
}

fn fact_sources(scheme: &Scheme, sources: &[Source]) -> Vec<FactSource> {
    let fact_source = |source: &Source| FactSource {
        source: source.clone(),
        signed: scheme.covers(source),
    };
    sources.iter().map(fact_source).collect()
}

/// The same check with other secrets, written as the scheme says.
///
/// # Errors
///
/// [`SchemeError`], the first that is found.
pub(crate) fn with_secrets(
    compiled: &CompiledScheme,
    secrets: Vec<Secret>,
) -> Result<CompiledScheme, SchemeError> {
    let mut changed = compiled.clone();
    changed.check = match &compiled.check {
        Check::Signature(check) => {
            let keys = signature::keys(check.algorithm, &secrets, &check.secret_form)?;
            if let Some(key) = keys.first() {
                changed.handshakes.set_key(key);
            }
            let check = SignatureCheck {
                keys,
                ..SignatureCheck::clone(check)
            };
            Check::Signature(Box::new(check))
        }
        Check::Token(check) => {
            Check::Token(token::with_secrets(check.location().clone(), secrets)?)
        }
        Check::None => return Err(SchemeError::SecretUseless),
    };
    Ok(changed)
}

/// Refuses no secrets, too many, and empty ones.
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
    const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
    let content_type = respond.content_type.as_deref().unwrap_or(PLAIN_TEXT);
    let Ok(content_type) = HeaderValue::from_str(content_type) else {
        return Err(SchemeError::RespondContentType {
            content_type: content_type.to_owned(),
        });
    };
    match StatusCode::from_u16(respond.status) {
        Ok(StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) if !respond.body.is_empty() => {
            Err(SchemeError::RespondBody {
                status: respond.status,
            })
        }
        Ok(status) if status.is_success() => Ok(Reply {
            status,
            content_type,
            headers: HeaderMap::new(),
            body: respond.body.clone().into(),
        }),
        _ => Err(SchemeError::RespondStatus {
            status: respond.status,
        }),
    }
}
