//! All that contradicts itself in a scheme and what an operator adds to it.
//!
//! `hookrill_verify` says the first contradiction that it finds. So this tries a
//! scheme again and again, each time without the contradiction that was found.
//! Invariant: what was mended only serves to look for more: it verifies nothing.

use hookrill_core::Secret;
use hookrill_verify::{SECRETS_MAX, Scheme, SchemeError, Settings, Verifier, scheme::MessagePart};

use super::scheme::SchemeStep;

/// How many contradictions are looked for: more than a scheme has keys.
const TRIALS_MAX: usize = 64;

/// The verifier, or all contradictions.
///
/// # Errors
///
/// All of them; at least one. Indexes in them are those of `scheme` and `settings`.
pub(super) fn verifier(scheme: &Scheme, settings: &Settings) -> Result<Verifier, Vec<SchemeError>> {
    let mut found = Vec::new();
    let mut trial = Trial::new(scheme, settings);
    for _ in 0..TRIALS_MAX {
        match Verifier::new(trial.scheme.clone(), trial.settings.clone()) {
            Ok(verifier) if found.is_empty() => return Ok(verifier),
            Ok(_) => break,
            Err(error) => {
                let error = trial.with_written_index(error);
                let is_mended = trial.mend(&error);
                if !found.contains(&error) && !follows(&error, &found) {
                    found.push(error);
                }
                if !is_mended {
                    break;
                }
            }
        }
    }
    Err(found)
}

/// The key of a scheme that an error is about; empty for the scheme as a whole.
pub(super) fn steps(error: &SchemeError) -> Vec<SchemeStep> {
    match error {
        SchemeError::KeyMissing { key, .. }
        | SchemeError::KeyInapplicable { key, .. }
        | SchemeError::LocationAmbiguous { key, .. } => vec![SchemeStep::Key(key)],
        SchemeError::BodyUnsigned
        | SchemeError::FormAndJson { .. }
        | SchemeError::Undelimited { .. }
        | SchemeError::TimestampUnsigned
        | SchemeError::TimestampLocationMissing => vec![SchemeStep::Key("message")],
        SchemeError::BodySigned => vec![SchemeStep::Key("body_unsigned")],
        SchemeError::HashLegacy { .. } => vec![SchemeStep::Key("hash")],
        SchemeError::HashNotLegacy { .. } => vec![SchemeStep::Key("legacy")],
        SchemeError::HashTooWeak => vec![SchemeStep::Key("construction")],
        SchemeError::ItemKeyIncomplete
        | SchemeError::SeparatorEmpty
        | SchemeError::NumberedInvalid
        | SchemeError::PrefixMissing => vec![SchemeStep::Key("signature")],
        SchemeError::ToleranceZero => {
            vec![SchemeStep::Key("timestamp"), SchemeStep::Key("tolerance")]
        }
        SchemeError::Handshake { index, .. } => {
            vec![SchemeStep::Key("challenge"), SchemeStep::Item(*index)]
        }
        SchemeError::RespondStatus { .. } => {
            vec![SchemeStep::Key("respond"), SchemeStep::Key("status")]
        }
        SchemeError::RespondBody { .. } => {
            vec![SchemeStep::Key("respond"), SchemeStep::Key("body")]
        }
        SchemeError::RespondContentType { .. } => {
            vec![SchemeStep::Key("respond"), SchemeStep::Key("content_type")]
        }
        _ => Vec::new(),
    }
}

/// Whether an error holds whatever else the scheme has: it is about one key that is there
/// or not.
pub(super) fn is_of_own_key(error: &SchemeError) -> bool {
    matches!(
        error,
        SchemeError::KeyMissing { .. }
            | SchemeError::KeyInapplicable { .. }
            | SchemeError::SecretMissing
            | SchemeError::SecretUseless
            | SchemeError::SecretsTooMany { .. }
            | SchemeError::PublicUrlMissing
    )
}

/// A scheme without the contradictions that were found so far.
struct Trial {
    scheme: Scheme,
    settings: Settings,
    /// The written index of each handshake and of each secret that is left.
    handshakes: Vec<usize>,
    secrets: Vec<usize>,
}

impl Trial {
    fn new(scheme: &Scheme, settings: &Settings) -> Self {
        Self {
            handshakes: (0..scheme.challenge.len()).collect(),
            secrets: (0..settings.secrets.len()).collect(),
            scheme: scheme.clone(),
            settings: settings.clone(),
        }
    }

    /// The error with the index of what was written.
    fn with_written_index(&self, mut error: SchemeError) -> SchemeError {
        let (index, written) = match &mut error {
            SchemeError::Handshake { index, .. } => (index, &self.handshakes),
            SchemeError::SecretEmpty { index }
            | SchemeError::SecretNotAPair { index }
            | SchemeError::SecretShort { index, .. }
            | SchemeError::SecretEncoding { index, .. }
            | SchemeError::PublicKeyInvalid { index } => (index, &self.secrets),
            _ => return error,
        };
        *index = written.get(*index).copied().unwrap_or(*index);
        error
    }

    /// Takes what an error is about out of the way; returns whether it could.
    fn mend(&mut self, error: &SchemeError) -> bool {
        match error {
            SchemeError::KeyMissing { key, example, .. } => return self.fill_in(key, example),
            SchemeError::KeyInapplicable { key, .. } => return self.remove(key),
            SchemeError::LocationAmbiguous { key, .. } => match *key {
                "signature" => return self.fill_in(key, "{ header = \"x-signature\" }"),
                "token" => return self.fill_in(key, "{ header = \"x-token\" }"),
                _ => self.sign_the_body(),
            },
            SchemeError::ItemKeyIncomplete
            | SchemeError::SeparatorEmpty
            | SchemeError::NumberedInvalid => {
                self.sign_the_body();
                return self.fill_in("signature", "{ header = \"x-signature\" }");
            }
            SchemeError::HashLegacy { .. } => self.scheme.legacy = true,
            SchemeError::HashNotLegacy { .. } => self.scheme.legacy = false,
            SchemeError::HashTooWeak => self.scheme.construction = None,
            SchemeError::BodyUnsigned => self.scheme.body_unsigned = true,
            SchemeError::BodySigned => self.scheme.body_unsigned = false,
            SchemeError::FormAndJson { .. }
            | SchemeError::Undelimited { .. }
            | SchemeError::TimestampUnsigned
            | SchemeError::TimestampLocationMissing => self.sign_the_body(),
            SchemeError::PrefixMissing => {
                if let Some(signature) = &mut self.scheme.signature {
                    signature.prefix_optional = false;
                }
            }
            SchemeError::RespondStatus { .. }
            | SchemeError::RespondBody { .. }
            | SchemeError::RespondContentType { .. } => return self.mend_respond(error),
            SchemeError::ToleranceZero => self.scheme.timestamp = None,
            SchemeError::Handshake { index, .. } => {
                remove_written(&mut self.handshakes, &mut self.scheme.challenge, *index);
            }
            _ => return self.mend_settings(error),
        }
        true
    }

    fn mend_settings(&mut self, error: &SchemeError) -> bool {
        let settings = &mut self.settings;
        match error {
            SchemeError::SecretMissing => settings.secrets = vec![any_secret()],
            SchemeError::SecretUseless => settings.secrets.clear(),
            SchemeError::SecretsTooMany { .. } => settings.secrets.truncate(SECRETS_MAX),
            SchemeError::PublicUrlMissing => {
                settings.public_url = Some("https://hooks.example.com".to_owned());
            }
            SchemeError::VerifyTokenMissing => settings.verify_token = Some("any".into()),
            SchemeError::VerifyTokenUseless => settings.verify_token = None,
            SchemeError::PartitionUnsigned { .. } => settings.partition = None,
            SchemeError::GetUnsigned | SchemeError::GetBesideBody => settings.methods.clear(),
            error => {
                let Some(index) = secret_index(error) else {
                    return false;
                };
                remove_written(&mut self.secrets, &mut settings.secrets, index);
            }
        }
        true
    }

    fn mend_respond(&mut self, error: &SchemeError) -> bool {
        let own = self.settings.respond.as_mut();
        let Some(respond) = own.or(self.scheme.respond.as_mut()) else {
            return false;
        };
        match error {
            SchemeError::RespondStatus { .. } => respond.status = 200,
            SchemeError::RespondBody { .. } => respond.body.clear(),
            _ => respond.content_type = None,
        }
        true
    }

    /// Gives the scheme a key that it lacks.
    fn fill_in(&mut self, key: &str, example: &str) -> bool {
        let kind = self.scheme.kind;
        let text = format!("kind = \"{kind}\"\n{key} = {example}");
        let Ok(other) = text.parse::<Scheme>() else {
            return false;
        };
        let scheme = &mut self.scheme;
        match key {
            "hash" => scheme.hash = other.hash,
            "encoding" => scheme.encoding = other.encoding,
            "signature" => scheme.signature = other.signature,
            "message" => scheme.message = other.message,
            "token" => scheme.token = other.token,
            _ => return false,
        }
        true
    }

    fn remove(&mut self, key: &str) -> bool {
        let scheme = &mut self.scheme;
        match key {
            "hash" => scheme.hash = None,
            "legacy" => scheme.legacy = false,
            "construction" => scheme.construction = None,
            "provisioned_secret" => scheme.provisioned_secret = None,
            "signature" => scheme.signature = None,
            "encoding" => scheme.encoding = None,
            "message" => scheme.message = None,
            "body_unsigned" => scheme.body_unsigned = false,
            "timestamp" => scheme.timestamp = None,
            "secret" => scheme.secret = None,
            "token" => scheme.token = None,
            _ => return false,
        }
        true
    }

    fn sign_the_body(&mut self) {
        self.scheme.message = Some(vec![MessagePart::Body]);
        self.scheme.body_unsigned = false;
        self.scheme.timestamp = None;
    }
}

/// Whether an error only comes from what was done about those that were found.
fn follows(error: &SchemeError, found: &[SchemeError]) -> bool {
    let any = |of: fn(&SchemeError) -> bool| found.iter().any(of);
    match error {
        SchemeError::VerifyTokenMissing | SchemeError::VerifyTokenUseless => {
            any(|one| matches!(one, SchemeError::Handshake { .. }))
        }
        SchemeError::SecretMissing => any(|one| secret_index(one).is_some()),
        SchemeError::ItemKeyIncomplete | SchemeError::TimestampUnsigned => {
            any(|one| !steps(one).is_empty())
        }
        error if secret_index(error).is_some() => {
            any(|one| matches!(one, SchemeError::SecretMissing))
        }
        _ => false,
    }
}

/// Which secret an error is about.
fn secret_index(error: &SchemeError) -> Option<usize> {
    match error {
        SchemeError::SecretEmpty { index }
        | SchemeError::SecretNotAPair { index }
        | SchemeError::SecretShort { index, .. }
        | SchemeError::SecretEncoding { index, .. }
        | SchemeError::PublicKeyInvalid { index } => Some(*index),
        _ => None,
    }
}

/// Removes what was written at `index`.
fn remove_written<T>(written: &mut Vec<usize>, items: &mut Vec<T>, index: usize) {
    if let Some(at) = written.iter().position(|one| *one == index) {
        written.remove(at);
        items.remove(at);
    }
}

/// A secret in the form of most schemes: text, hex and base64 at once.
fn any_secret() -> Secret {
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".into()
}
