//! Common reasons for a refusal, tried out on the delivery.
//!
//! Only for explanations, which are made where nobody waits for many. A hint
//! never says more of a secret than that another form of it matches.

use hookrill_core::{Secret, Timestamp};
use http::{HeaderMap, HeaderName};

use crate::{check::Check, delivery::Delivery, error::VerifyError, verifier::Verifier};

/// What to try about a refusal, where something is known to help.
pub(crate) fn hint(
    verifier: &Verifier,
    error: &VerifyError,
    delivery: &Delivery,
    now: Timestamp,
) -> Option<String> {
    let text = match error {
        VerifyError::Mismatch => mismatch(verifier, delivery, now),
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

/// Tries other forms of the body, the secret and the URL.
fn mismatch(verifier: &Verifier, delivery: &Delivery, now: Timestamp) -> &'static str {
    let matches = |other: &Verifier, changed: Delivery| {
        !matches!(other.verify(changed, now), Err(VerifyError::Mismatch))
    };
    if delivery.body.ends_with(b"\n") {
        // Editors and shells end files with a line feed.
        let mut without = delivery.clone();
        without.body.truncate(delivery.body.len() - 1);
        if matches(verifier, without) {
            return "it matches without the last line feed, which the capture added";
        }
    }
    if matches(&with_trimmed_secrets(verifier), delivery.clone()) {
        return "it matches without the white space around the secret";
    }
    for (change, text) in URLS {
        if let Some(other) = with_url(verifier, change)
            && matches(&other, delivery.clone())
        {
            return text;
        }
    }
    "the secret is another one, or the body is not byte for byte what was sent: was it parsed and \
     re-encoded, or decompressed?"
}

type UrlChange = fn(&str) -> Option<String>;

/// Other public URLs that the provider may have been given.
const URLS: [(UrlChange, &str); 3] = [
    (
        |url| Some(format!("https://{}", url.strip_prefix("http://")?)),
        "it matches with https:// in the public URL",
    ),
    (
        |url| Some(format!("http://{}", url.strip_prefix("https://")?)),
        "it matches with http:// in the public URL",
    ),
    (
        |url| Some(format!("{}:443", url.strip_suffix('/').unwrap_or(url))),
        "it matches with the port 443 in the public URL",
    ),
];

fn with_url(verifier: &Verifier, change: UrlChange) -> Option<Verifier> {
    let mut other = verifier.clone();
    let Check::Signature(check) = &mut other.compiled.check else {
        return None;
    };
    check.public_urls = vec![change(&check.public_urls[0])?];
    Some(other)
}

fn with_trimmed_secrets(verifier: &Verifier) -> Verifier {
    let trimmed = |secret: &Secret| Secret::new(secret.expose().trim_ascii());
    let mut other = verifier.clone();
    match &mut other.compiled.check {
        Check::Signature(check) => check.keys = check.keys.iter().map(trimmed).collect(),
        Check::Token(check) => *check = check.map_secrets(trimmed),
        Check::None => {}
    }
    other
}

/// A header of a similar name hints at another scheme.
fn missing(header: &HeaderName, headers: &HeaderMap) -> String {
    const SIMILARITY_MIN: f64 = 0.85;
    let is_similar = |name: &&HeaderName| {
        strsim::jaro_winkler(name.as_str(), header.as_str()) >= SIMILARITY_MIN
            || name.as_str().contains("signature")
    };
    match headers.keys().find(is_similar) {
        Some(other) => format!("there is {other}: is this the right preset or scheme?"),
        None => "most providers sign only once a secret is set there; and a proxy may drop headers"
            .to_owned(),
    }
}
