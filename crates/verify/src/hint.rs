//! What commonly went wrong on the way here: tried, and said.
//!
//! Only for explanations, which are made where nobody waits for many. A hint
//! never says more of a secret than that another form of it matches.

use hookrill_core::{Secret, Timestamp};
use http::{HeaderMap, HeaderName};

use super::{delivery::Delivery, error::VerifyError, proof::Proof, verifier::Verifier};

/// What to try about a refusal, where something is known to help.
pub(super) fn hint(
    verifier: &Verifier,
    why: &VerifyError,
    delivery: &Delivery,
    now: Timestamp,
) -> Option<String> {
    let said = match why {
        VerifyError::Mismatch => return mismatch(verifier, delivery, now).map(str::to_owned),
        VerifyError::HeaderMissing { header } => return missing(header, &delivery.headers),
        VerifyError::Stale { .. } => {
            "the signature is genuine: the sender's clock or this one is off, or it is an old \
             delivery (--at judges it as of then)"
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
            "each webhook has a secret of its own: give it a topic of its own, or delete the kept \
             secret and restart"
        }
        VerifyError::VerifyTokenMismatch => "the same word goes into the topic's verify_token",
        _ => return None,
    };
    Some(said.to_owned())
}

/// Tries other forms of the body, the secret and the URL.
fn mismatch(verifier: &Verifier, delivery: &Delivery, now: Timestamp) -> Option<&'static str> {
    let matches = |verifier: &Verifier, delivery: Delivery| {
        !matches!(verifier.verify(delivery, now), Err(VerifyError::Mismatch))
    };
    if delivery.body.ends_with(b"\n") {
        // Editors and shells end files with a line feed.
        let mut without = delivery.clone();
        without.body.truncate(delivery.body.len() - 1);
        if matches(verifier, without) {
            return Some("it matches without the last line feed, which the capture added");
        }
    }
    if matches(&with_trimmed_secrets(verifier), delivery.clone()) {
        return Some("it matches without the white space around the secret");
    }
    for (change, said) in URLS {
        if with_url(verifier, change).is_some_and(|other| matches(&other, delivery.clone())) {
            return Some(said);
        }
    }
    Some(
        "the secret is another one, or the body is not what was sent, byte for byte: was it \
         parsed and written anew, or decompressed?",
    )
}

type Change = fn(&str) -> Option<String>;

/// Other public URLs that the provider may have been given.
const URLS: [(Change, &str); 3] = [
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

fn with_url(verifier: &Verifier, change: Change) -> Option<Verifier> {
    let mut other = verifier.clone();
    let Proof::Signed(proof) = &mut other.plan.proof else {
        return None;
    };
    proof.public_url = change(&proof.public_url)?;
    Some(other)
}

fn with_trimmed_secrets(verifier: &Verifier) -> Verifier {
    let mut other = verifier.clone();
    let secrets = match &mut other.plan.proof {
        Proof::Signed(proof) => &mut proof.keys,
        Proof::Token(proof) => &mut proof.secrets,
        Proof::None => return other,
    };
    for secret in secrets {
        *secret = Secret::new(secret.expose().trim_ascii());
    }
    other
}

/// A header of a similar name says that this is another scheme.
fn missing(header: &HeaderName, headers: &HeaderMap) -> Option<String> {
    const ALIKE_MIN: f64 = 0.85;
    let alike = |name: &&HeaderName| {
        strsim::jaro_winkler(name.as_str(), header.as_str()) >= ALIKE_MIN
            || name.as_str().contains("signature")
    };
    Some(match headers.keys().find(alike) {
        Some(other) => format!("there is {other}: is this the right preset or scheme?"),
        None => "most providers sign only once a secret is set there; and a proxy may drop headers"
            .to_owned(),
    })
}
