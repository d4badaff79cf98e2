//! Common reasons for a refusal, tried out on the delivery.
//!
//! Only for explanations, which are made where nobody waits for many. A hint
//! never says more of a secret than that another form of it matches.

use hookrill_core::Timestamp;
use http::{HeaderMap, HeaderName};

use crate::{delivery::Delivery, error::VerifyError, preset::presets, slips, verifier::Verifier};

/// What to try about a refusal, where something is known to help.
pub(crate) fn hint(
    verifier: &Verifier,
    error: &VerifyError,
    delivery: &Delivery,
    now: Timestamp,
) -> Option<String> {
    let text = match error {
        VerifyError::Mismatch => match slips::find(verifier, delivery, now) {
            Some(found) => return Some(found),
            None => mismatch(delivery),
        },
        VerifyError::HeaderMissing { header } => return Some(missing(header, &delivery.headers)),
        VerifyError::Stale { .. } => {
            "the signature is genuine: the sender's clock or this one is off, or it is an old \
             delivery (verify it as of the time it was sent)"
        }
        VerifyError::SignatureEncoding { .. } | VerifyError::SignatureLength { .. } => {
            "the signature was cut or is another scheme's: compare the whole header with the \
             provider's page"
        }
        VerifyError::JsonMissing { .. } => {
            "is this the provider's JSON, as it was sent? Some send a form unless told otherwise"
        }
        VerifyError::SecretPending => {
            "create the webhook at the provider now: its secret comes with the first request"
        }
        VerifyError::SecretAlreadyProvisioned => {
            "each webhook has its own secret: give it its own topic, or delete the stored secret \
             and restart"
        }
        VerifyError::VerifyTokenMismatch => "the same token goes into the topic's verify_token",
        _ => return None,
    };
    Some(text.to_owned())
}

/// Where no usual slip fits.
fn mismatch(delivery: &Delivery) -> &'static str {
    if delivery.body.starts_with(b"\x1f\x8b") {
        "the secret is another one, or the signature is over the body before it was compressed: \
         verify the decompressed body, without Content-Encoding"
    } else {
        "the secret is another one, or the body is not byte for byte what was sent: was it parsed \
         and re-encoded, or decompressed?"
    }
}

/// A header of another preset, or of a similar name, hints at another scheme.
fn missing(header: &HeaderName, headers: &HeaderMap) -> String {
    const SIMILARITY_MIN: f64 = 0.85;
    if let Some((name, presets)) = of_other_presets(headers) {
        return format!("there is {name}, as {presets} has it: is this the right preset?");
    }
    let is_similar = |name: &&HeaderName| {
        strsim::jaro_winkler(name.as_str(), header.as_str()) >= SIMILARITY_MIN
            || ["signature", "hmac", "token", "authorization"]
                .iter()
                .any(|word| name.as_str().contains(word))
    };
    match headers.keys().find(is_similar) {
        Some(other) => format!("there is {other}: is this the right preset or scheme?"),
        None => "most providers sign only once a secret is set there; and a proxy may drop headers"
            .to_owned(),
    }
}

/// The header that other presets read their signature or token from, and the names of
/// these.
fn of_other_presets(headers: &HeaderMap) -> Option<(HeaderName, String)> {
    const NAMES_MAX: usize = 3;
    let mut found: Option<(HeaderName, Vec<String>)> = None;
    for preset in presets() {
        let signature = preset.scheme.signature.and_then(|one| one.header);
        let token = preset.scheme.token.and_then(|one| one.header);
        let Some(names) = signature.or(token) else {
            continue;
        };
        let Some(name) = names.iter().find(|name| headers.contains_key(*name)) else {
            continue;
        };
        let (first, of) = found.get_or_insert_with(|| (name.clone(), Vec::new()));
        if first == name {
            of.push(preset.name.into());
        }
    }
    let (name, mut of) = found?;
    if of.len() > NAMES_MAX {
        of.truncate(NAMES_MAX);
        of.push("others".to_owned());
    }
    Some((name, of.join(" or ")))
}
