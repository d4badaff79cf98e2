//! What holds for the crate as a whole: known vectors, changed bytes, time,
//! headers, schemes, signing.

mod bodies;
mod handshakes;
mod hardening;
mod partition;
mod schemes;
mod signing;
mod slips;
mod vectors;

use bytes::Bytes;
use hookrill_core::{Secret, Timestamp};
use http::{HeaderName, HeaderValue, Method};

use super::*;

/// When the deliveries here were signed, in seconds.
pub(super) const SIGNED_AT: u64 = 1_614_265_330;

pub(super) fn at(unix_secs: u64) -> Timestamp {
    Timestamp::from_unix_secs(unix_secs)
}

pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes())
}

pub(super) fn post(body: &str, headers: &[(&str, &str)]) -> Delivery {
    let header = |(name, value): &(&str, &str)| -> (HeaderName, HeaderValue) {
        (name.parse().unwrap(), value.parse().unwrap())
    };
    Delivery {
        method: Method::POST,
        path_and_query: "/ingest/orders".into(),
        headers: headers.iter().map(header).collect(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        received_at: at(SIGNED_AT),
        sent: None,
        form_json: None,
    }
}

pub(super) fn scheme(toml: &str) -> Scheme {
    toml::from_str(toml).unwrap_or_else(|why| panic!("{why}"))
}

/// The settings of a topic with these secrets.
pub(super) fn with(secrets: &[&str]) -> Settings {
    Settings {
        secrets: secrets.iter().map(|text| secret(text)).collect(),
        public_url: Some("https://webhook.site/".to_owned()),
        ..Settings::default()
    }
}

pub(super) fn custom(toml: &str, secrets: &[&str]) -> Result<Verifier, SchemeError> {
    Verifier::new(scheme(toml), with(secrets))
}

pub(super) fn by_preset(name: &str, secrets: &[&str]) -> Verifier {
    Verifier::new(preset(name).unwrap().scheme, with(secrets)).unwrap()
}

/// The facts of a delivery that must be an event.
pub(super) fn facts(outcome: Result<Outcome, VerifyError>) -> Facts {
    match outcome {
        Ok(Outcome::Event(verified)) => verified.into_parts().1,
        other => panic!("not an event: {other:?}"),
    }
}

/// Why a delivery that must be refused was.
pub(super) fn refusal(outcome: Result<Outcome, VerifyError>) -> VerifyError {
    match outcome {
        Err(why) => why,
        Ok(outcome) => panic!("verified: {outcome:?}"),
    }
}
