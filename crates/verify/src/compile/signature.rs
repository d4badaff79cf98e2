//! Signatures: where they are, when they were made, and with which keys.

use std::time::Duration;

use hookrill_core::Secret;

use super::{check_secrets, message};
use crate::{
    check::{
        ed25519,
        grammar::{ItemKey, SignatureGrammar, SignatureLocation},
        mac::{self, MacAlgorithm},
        provider,
        signature::{Algorithm, SignatureCheck, TimestampPolicy, TimestampSource},
    },
    error::SchemeError,
    scheme::{
        Function, Hash, HeaderNames, MacConstruction, MessagePart, Scheme, SchemeKind, SecretForm,
        Signature, TimestampRule,
    },
    settings::Settings,
};

/// The longest numbered family of headers: DocuSign's.
const NUMBERED_MAX: u16 = 100;

/// Compiles a scheme that signs.
///
/// # Errors
///
/// [`SchemeError`], the first that is found.
pub(super) fn compile(
    scheme: Scheme,
    settings: Settings,
    words_are_signable_by_anyone: bool,
) -> Result<SignatureCheck, SchemeError> {
    let kind = scheme.kind;
    let missing = |key, example| SchemeError::KeyMissing { kind, key, example };
    let algorithm = algorithm(&scheme)?;
    let covers_body = scheme.covers_body();
    let signature = scheme
        .signature
        .ok_or(missing("signature", r#"{ header = "X-Signature" }"#))?;
    let encoding = scheme.encoding.ok_or(missing("encoding", r#""hex""#))?;
    let mut parts = scheme.message.ok_or(missing("message", r#"["body"]"#))?;
    parts.retain(|part| !matches!(part, MessagePart::Literal(text) if text.is_empty()));
    let grammar = grammar(signature)?;
    let timestamp = match scheme.timestamp {
        Some(rule) => {
            let is_separate = parts.contains(&MessagePart::Timestamp);
            let policy = timestamp_policy(rule, &grammar, settings.tolerance, is_separate)?;
            Some(policy)
        }
        None => None,
    };
    message::check(&parts, timestamp.as_ref(), scheme.body_unsigned)?;
    if settings.public_url.is_none() && parts.iter().any(MessagePart::needs_public_url) {
        return Err(SchemeError::PublicUrlMissing);
    }
    let public_url = settings.public_url.unwrap_or_default();
    let is_twilio = |part: &MessagePart| *part == MessagePart::Function(Function::Twilio);
    let public_urls = if parts.iter().any(is_twilio) {
        provider::twilio_urls(&public_url)
    } else {
        vec![public_url]
    };
    let awaits_secret = scheme.provisioned_secret.is_some() && settings.secrets.is_empty();
    let secret_form = scheme.secret.unwrap_or_default();
    let keys = if awaits_secret {
        Vec::new()
    } else {
        keys(algorithm, &settings.secrets, &secret_form)?
    };
    Ok(SignatureCheck {
        algorithm,
        grammar,
        encoding,
        message: parts,
        timestamp,
        keys,
        secret_form,
        provisioning: scheme.provisioned_secret,
        public_urls,
        covers_body,
        words_are_signable_by_anyone,
    })
}

fn algorithm(scheme: &Scheme) -> Result<Algorithm, SchemeError> {
    if scheme.kind == SchemeKind::Ed25519 {
        return Ok(Algorithm::Ed25519);
    }
    let hash = require_hash(scheme)?;
    let construction = scheme.construction.unwrap_or_default();
    // SHA-1 inside an HMAC is as good as ever: a mark on it is for readers.
    if hash == Hash::Md5 && !scheme.legacy {
        return Err(SchemeError::HashLegacy { hash });
    }
    if hash == Hash::Md5 && construction != MacConstruction::Hmac {
        return Err(SchemeError::HashTooWeak);
    }
    if scheme.legacy && !hash.is_legacy() {
        return Err(SchemeError::HashNotLegacy { hash });
    }
    Ok(Algorithm::Mac(MacAlgorithm { hash, construction }))
}

/// The hash of a scheme's MAC.
///
/// # Errors
///
/// [`SchemeError::KeyMissing`].
pub(super) fn require_hash(scheme: &Scheme) -> Result<Hash, SchemeError> {
    scheme.hash.ok_or(SchemeError::KeyMissing {
        kind: scheme.kind,
        key: "hash",
        example: r#""sha256""#,
    })
}

/// The keys that configured secrets stand for.
///
/// # Errors
///
/// [`SchemeError`], the first that is found.
pub(crate) fn keys(
    algorithm: Algorithm,
    secrets: &[Secret],
    form: &SecretForm,
) -> Result<Vec<Secret>, SchemeError> {
    check_secrets(secrets)?;
    let keys = secrets.iter().enumerate();
    keys.map(|(index, secret)| key(algorithm, index, secret, form))
        .collect()
}

fn key(
    algorithm: Algorithm,
    index: usize,
    secret: &Secret,
    form: &SecretForm,
) -> Result<Secret, SchemeError> {
    let text = secret.expose();
    let text = text.strip_prefix(form.prefix.as_bytes()).unwrap_or(text);
    let invalid = |source| SchemeError::SecretEncoding {
        index,
        encoding: form.encoding,
        source,
    };
    let key = Secret::new(form.encoding.decode(text).map_err(invalid)?);
    if key.expose().is_empty() {
        return Err(SchemeError::SecretEmpty { index });
    }
    let bytes = key.expose().len();
    if bytes < form.bytes_min {
        return Err(SchemeError::SecretShort {
            index,
            bytes,
            bytes_min: form.bytes_min,
        });
    }
    if algorithm == Algorithm::Ed25519 && !ed25519::is_public_key(key.expose()) {
        return Err(SchemeError::PublicKeyInvalid { index });
    }
    match form.hash {
        Some(hash) => Ok(Secret::new(mac::digest(hash, [&key.expose().into()]))),
        None => Ok(key),
    }
}

fn grammar(signature: Signature) -> Result<SignatureGrammar, SchemeError> {
    let texts = [
        &signature.separator,
        &signature.key_separator,
        &signature.key,
    ];
    if texts.iter().any(|text| text.as_deref() == Some("")) {
        return Err(SchemeError::SeparatorEmpty);
    }
    if signature.prefix_optional && signature.prefix.is_empty() {
        return Err(SchemeError::PrefixMissing);
    }
    let item_key = match (signature.key_separator, signature.key) {
        (Some(separator), Some(key)) => Some(ItemKey {
            separator,
            signature: key,
        }),
        (None, None) => None,
        _ => return Err(SchemeError::ItemKeyIncomplete),
    };
    if signature.numbered.is_some() && signature.header.is_none() {
        return Err(SchemeError::NumberedInvalid);
    }
    let location = match (signature.header, signature.json, signature.form) {
        (Some(names), None, None) => match signature.numbered {
            Some(last) => SignatureLocation::Header(family(&names, last)?),
            None => SignatureLocation::Header(names),
        },
        (None, Some(pointer), None) => SignatureLocation::Json(pointer),
        (None, None, Some(name)) => SignatureLocation::Form(name),
        _ => {
            return Err(SchemeError::LocationAmbiguous {
                key: "signature",
                choices: "`header`, `json` and `form`",
            });
        }
    };
    Ok(SignatureGrammar {
        location,
        prefix: signature.prefix,
        prefix_optional: signature.prefix_optional,
        separators: signature.separator.unwrap_or_default(),
        item_key,
    })
}

fn family(names: &HeaderNames, last: u16) -> Result<HeaderNames, SchemeError> {
    if !names.is_single() || !(1..=NUMBERED_MAX).contains(&last) {
        return Err(SchemeError::NumberedInvalid);
    }
    names.numbered(last).ok_or(SchemeError::NumberedInvalid)
}

/// `is_separate`: whether the message has the timestamp as a part of its own.
fn timestamp_policy(
    rule: TimestampRule,
    grammar: &SignatureGrammar,
    tolerance: Option<Duration>,
    is_separate: bool,
) -> Result<TimestampPolicy, SchemeError> {
    let source = match (rule.header, rule.field, rule.json, rule.form) {
        (Some(names), None, None, None) => TimestampSource::Header(names),
        (None, Some(key), None, None) => TimestampSource::Field(key),
        (None, None, Some(pointer), None) if is_separate => TimestampSource::Json(pointer),
        (None, None, Some(pointer), None) => TimestampSource::SignedJson(pointer),
        (None, None, None, Some(name)) => TimestampSource::Form(name),
        _ => {
            return Err(SchemeError::LocationAmbiguous {
                key: "timestamp",
                choices: "`header`, `field`, `json` and `form`",
            });
        }
    };
    let has_fields = grammar.item_key.is_some()
        && !grammar.separators.is_empty()
        && matches!(grammar.location, SignatureLocation::Header(_));
    if matches!(source, TimestampSource::Field(_)) && !has_fields {
        return Err(SchemeError::ItemKeyIncomplete);
    }
    let tolerance = tolerance.unwrap_or(rule.tolerance);
    if tolerance.is_zero() {
        return Err(SchemeError::ToleranceZero);
    }
    Ok(TimestampPolicy {
        source,
        format: rule.format,
        tolerance,
    })
}
