//! Handshakes, checked.

use crate::{
    error::SchemeError,
    scheme::{Condition, Handshake, HandshakeMethod, MacConstruction, Scheme, SchemeKind},
    settings::Settings,
};

pub(super) fn check(scheme: &Scheme, settings: &Settings) -> Result<(), SchemeError> {
    for (index, challenge) in scheme.challenge.iter().enumerate() {
        if let Some(what) = contradiction(challenge, scheme) {
            return Err(SchemeError::Handshake { index, what });
        }
    }
    let needs_token = scheme.challenge.iter().any(Handshake::needs_verify_token);
    let token = settings.verify_token.as_ref();
    match (
        needs_token,
        token.is_some_and(|token| !token.expose().is_empty()),
    ) {
        (true, false) => return Err(SchemeError::VerifyTokenMissing),
        (false, true) => return Err(SchemeError::VerifyTokenUseless),
        _ => {}
    }
    let needs_url = scheme.challenge.iter().any(Handshake::needs_url);
    match needs_url && settings.public_url.is_none() {
        true => Err(SchemeError::PublicUrlMissing),
        false => Ok(()),
    }
}

fn contradiction(challenge: &Handshake, scheme: &Scheme) -> Option<&'static str> {
    let status_fits = |status| (200..300).contains(&status);
    let both = |when: &Condition| when.absent && when.equals.is_some();
    let answers = challenge.text.is_some() || challenge.json.is_some();
    if challenge.text.is_some() && challenge.json.is_some() {
        Some("it answers by `text` and by `json`: remove one")
    } else if !answers && challenge.status.is_none() {
        Some("it answers nothing: add `text`, `json` or `status`")
    } else if !challenge.status.is_none_or(status_fits) {
        Some("its `status` is 200 to 299")
    } else if challenge.method == HandshakeMethod::Head && answers {
        Some("a HEAD has no body to answer with: write `status` alone")
    } else if challenge.when.iter().any(both) {
        Some("a condition has `equals` and `absent`: remove one")
    } else if challenge.when.iter().all(|when| when.absent)
        && challenge.method == HandshakeMethod::Post
    {
        Some("every delivery would be taken for a handshake: say in `when` what must be there")
    } else if challenge.needs_secret() && !has_hmac(scheme) {
        // A plain hash that is given away could be extended to a signature.
        Some("only a scheme of kind \"hmac\", keyed by HMAC, answers by `hmac`")
    } else if echoes_unasked(challenge) {
        Some("it answers a GET that says nothing: say in `when` what must be there")
    } else {
        None
    }
}

fn has_hmac(scheme: &Scheme) -> bool {
    scheme.kind == SchemeKind::Hmac && scheme.keyed != Some(MacConstruction::Prefix)
}

/// Whether it answers a question that nobody asked.
fn echoes_unasked(challenge: &Handshake) -> bool {
    let asked = challenge.when.iter().any(|when| !when.absent);
    challenge.method == HandshakeMethod::Get && !asked && challenge.verify_token.is_none()
}
