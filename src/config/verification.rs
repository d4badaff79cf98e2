//! How the deliveries of a topic are verified: a preset or a scheme of one's
//! own, and the secrets.

use hookrill_core::Secret;
use hookrill_verify::{Partition, Scheme, SchemeError, Settings, Verifier, scheme::Respond};

use super::{
    diagnostic::Mistake,
    scheme,
    section::{Located, Section},
    values,
};

/// The result of a topic's `preset` or `scheme`, `secrets` and `tolerance`.
pub(super) struct Verification {
    pub(super) verifier: Verifier,
    /// The preset's name, or the algorithm of a scheme of one's own.
    pub(super) scheme: Box<str>,
    /// Whether the scheme reads the provider's id of a delivery.
    pub(super) has_id: bool,
}

type Secrets = Located<Vec<Located<String>>>;

/// Reads how a topic's deliveries are verified; `None` where there is a
/// mistake.
///
/// `is_wildcard`: whether this is the section of `"*"`.
pub(super) fn verification(
    section: &mut Section<'_>,
    partition: Option<&Located<Partition>>,
    is_wildcard: bool,
    public_url: Option<&str>,
) -> Option<Verification> {
    let before = section.diagnostics.len();
    let tolerance = section.value("tolerance", values::tolerance);
    let secrets = section.list("secrets", values::secret);
    let verify_token = section.value("verify_token", values::secret);
    let respond = section.node("respond").and_then(|node| {
        let path = section.path.key("respond");
        scheme::read::<Respond>(node, &path, section.diagnostics)
    });
    let chosen = choose(section);
    if section.diagnostics.len() > before {
        return None;
    }
    let (preset, scheme) = chosen?;
    let label = preset.unwrap_or_else(|| scheme.algorithm().into());
    let has_id = !scheme.dedup_id.is_empty();
    if is_wildcard && scheme.provisioned_secret.is_some() && secrets.is_none() {
        let message = "this provider sends its secret itself, which only a topic with a section \
                       of its own accepts; write a section for the topic";
        section.report("preset", message);
        return None;
    }
    let texts = secrets.iter().flat_map(|list| &list.value);
    let mut settings = Settings::new(texts.map(|text| &*text.value));
    settings.tolerance = tolerance;
    settings.public_url = public_url.map(str::to_owned);
    settings.verify_token = verify_token.map(Secret::from);
    settings.partition = partition.map(|located| located.value.clone());
    settings.respond = respond;
    match Verifier::new(scheme, settings) {
        Ok(verifier) => Some(Verification {
            verifier,
            scheme: label,
            has_id,
        }),
        Err(error) => {
            report(section, error, secrets.as_ref(), partition);
            None
        }
    }
}

/// The preset with its name, or the scheme. There must be exactly one of them.
fn choose(section: &mut Section<'_>) -> Option<(Option<Box<str>>, Scheme)> {
    let has_preset = section.has("preset");
    let preset = section.located("preset", values::text);
    let own = section.node("scheme");
    match (has_preset, own) {
        (true, Some(own)) => {
            let path = section.path.key("scheme");
            let message = "must not be set together with `preset`; remove one of them";
            section.diagnostics.report(&path, &own.location, message);
            None
        }
        (true, None) => {
            let preset = preset?;
            let scheme = scheme_of(section, &preset)?;
            Some((Some(preset.value.into()), scheme))
        }
        (false, Some(own)) => {
            let path = section.path.key("scheme");
            Some((None, scheme::read(own, &path, section.diagnostics)?))
        }
        (false, None) => {
            section.report(
                "preset",
                "must be set, since nothing else says how to verify deliveries: write preset = \
                 \"…\" (`hookrill presets` lists them), or a scheme",
            );
            None
        }
    }
}

fn scheme_of(section: &Section<'_>, preset: &Located<String>) -> Option<Scheme> {
    if let Some(known) = hookrill_verify::preset(&preset.value) {
        return Some(known.scheme);
    }
    let near = match hookrill_verify::nearest_preset(&preset.value) {
        Some(near) => format!("did you mean \"{near}\"? "),
        None => String::new(),
    };
    let message = format!("there is no preset with this name; {near}`hookrill presets` lists them");
    preset.report(section.diagnostics, message);
    None
}

/// Reports an error of `hookrill_verify` at the key that it is about.
fn report(
    section: &Section<'_>,
    error: SchemeError,
    secrets: Option<&Secrets>,
    partition: Option<&Located<Partition>>,
) {
    let diagnostics = section.diagnostics;
    match (&error, secrets, partition) {
        (SchemeError::PartitionUnsigned { .. }, _, Some(partition)) => {
            partition.report(diagnostics, Mistake::from_error(error));
        }
        // The secrets that are written have diagnostics of their own.
        (SchemeError::SecretMissing, Some(list), _) if diagnostics.any_in(&list.path) => {}
        (
            SchemeError::SecretEmpty { index }
            | SchemeError::SecretEncoding { index, .. }
            | SchemeError::SecretShort { index, .. }
            | SchemeError::PublicKeyInvalid { index },
            Some(list),
            _,
        ) if *index < list.value.len() => {
            list.value[*index].report(diagnostics, Mistake::from_error(error));
        }
        (
            SchemeError::SecretMissing
            | SchemeError::SecretUseless
            | SchemeError::SecretsTooMany { .. },
            Some(list),
            _,
        ) => list.report(diagnostics, Mistake::from_error(error)),
        (SchemeError::SecretMissing, None, _) => {
            section.report("secrets", Mistake::from_error(error));
        }
        (SchemeError::VerifyTokenMissing | SchemeError::VerifyTokenUseless, ..) => {
            section.report("verify_token", Mistake::from_error(error));
        }
        (SchemeError::PublicUrlMissing, ..) => section.report(
            "scheme",
            "this scheme signs the URL that the provider was given; set server.public_url",
        ),
        (
            SchemeError::RespondStatus { .. }
            | SchemeError::RespondBody { .. }
            | SchemeError::RespondContentType { .. },
            ..,
        ) if section.has_taken("respond") => {
            section.report("respond", Mistake::from_error(error));
        }
        _ => section.report("scheme", Mistake::from_error(error)),
    }
}
