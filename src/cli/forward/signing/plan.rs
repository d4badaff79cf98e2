//! How deliveries of a provider are signed, as far as their headers and a name tell.
//!
//! Decides nothing, and signs nothing.

use hookrill_verify::{
    Replay, Scheme, SignError, Verifier,
    scheme::{Authorization, HeaderNames},
};

use super::{super::delivery::StoredDelivery, SignatureMode};

/// How deliveries of a provider are signed, and what is there to sign with.
pub(super) struct Plan {
    pub(super) replay: Replay,
    /// Who signs like this.
    pub(super) title: String,
    /// Its name as one of the presets.
    pub(super) preset: Option<String>,
    pub(super) verifier: Option<Verifier>,
    /// Whether the signature is there; a gateway may have kept none.
    pub(super) is_signed: bool,
}

impl Plan {
    /// The argument that would help.
    fn secret_argument(&self) -> String {
        match &self.preset {
            Some(name) => {
                let variable = name.to_ascii_uppercase().replace('-', "_");
                format!("--preset {name} --secret env:{variable}_WEBHOOK_SECRET")
            }
            None => "--preset NAME --secret env:NAME".to_owned(),
        }
    }

    /// What to say where nothing is there to sign with.
    pub(super) fn without_secret(&self, mode: SignatureMode) -> String {
        let Replay::Signature {
            tolerance,
            is_by_public_key,
            ..
        } = self.replay
        else {
            return String::new();
        };
        let secs = tolerance.unwrap_or_default().as_secs();
        let title = &self.title;
        if is_by_public_key {
            return format!(
                "{title} signs with a private key, so its signature can only be kept: a program \
                 that checks the time refuses it"
            );
        }
        let why = match (mode, tolerance) {
            _ if !self.is_signed => {
                format!("the gateway has kept no signature of {title} (keep_proof = false)")
            }
            (SignatureMode::Auto, Some(_)) => {
                format!("receivers of {title} refuse signatures older than {secs} s")
            }
            _ => format!("there is no secret to sign with as {title} does"),
        };
        format!("{why}: {} signs again", self.secret_argument())
    }

    pub(super) fn without_token(&self) -> String {
        format!(
            "{} sends a token, which no gateway keeps, so it is left out: {} puts it back",
            self.title,
            self.secret_argument()
        )
    }

    pub(super) fn unsignable(&self, error: &SignError) -> String {
        format!("the signature of {} stays as it came: {error}", self.title)
    }
}

/// Whether a delivery can be one of this scheme: a token leaves no trace.
pub(super) fn may_be_of(scheme: &Scheme, delivery: &StoredDelivery) -> bool {
    Replay::of(scheme) == Replay::Token || has_proof(scheme, delivery)
}

/// Whether a delivery has what this scheme verifies, or had it when it came.
pub(super) fn has_proof(scheme: &Scheme, delivery: &StoredDelivery) -> bool {
    if scheme.signature.is_some() {
        return has_signature(scheme, |name| {
            delivery.headers.contains_key(name) || delivery.omitted.contains(name)
        });
    }
    let Some(token) = &scheme.token else {
        return false;
    };
    let was_there = |name: &str| delivery.omitted.contains(name);
    match (&token.header, token.authorization) {
        (Some(names), _) => names.iter().any(|name| was_there(name.as_str())),
        (None, Some(Authorization::Bearer | Authorization::Basic)) => was_there("authorization"),
        _ => false,
    }
}

/// Whether the headers of this scheme's signatures are there, by this answer for each name.
fn has_signature(scheme: &Scheme, has: impl Fn(&str) -> bool) -> bool {
    let has_any = |names: &HeaderNames| names.iter().any(|name| has(name.as_str()));
    let Some(signature) = &scheme.signature else {
        return false;
    };
    let is_there = match (&signature.header, signature.numbered) {
        (Some(names), None) => has_any(names),
        (Some(names), Some(_)) => has(&format!("{}1", names.first())),
        (None, _) => false,
    };
    let time = scheme.timestamp.as_ref();
    let time = time.and_then(|rule| rule.header.as_ref());
    is_there && time.is_none_or(has_any)
}

/// Whether a signature is where this scheme has it, or that can't be told.
pub(super) fn is_signed(scheme: &Scheme, delivery: &StoredDelivery) -> bool {
    let in_header = scheme.signature.as_ref();
    let in_header = in_header.is_some_and(|signature| signature.header.is_some());
    !in_header || has_signature(scheme, |name| delivery.headers.contains_key(name))
}
