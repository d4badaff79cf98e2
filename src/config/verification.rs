//! How a topic's deliveries are proven: a preset or a scheme of one's own,
//! and the secrets.

use hookrill_core::Secret;
use hookrill_verify::{Partition, Scheme, SchemeError, Settings, Verifier};

use super::{
    scheme,
    section::{Located, Section},
    values,
};

/// What a topic's `preset` or `scheme`, `secrets` and `tolerance` come to.
pub(super) struct Verification {
    pub(super) verifier: Verifier,
    /// The preset's name, or the algorithm of a scheme of one's own.
    pub(super) scheme: Box<str>,
    /// Whether the scheme says where the provider's id of a delivery is.
    pub(super) names_an_id: bool,
}

/// Reads a topic's proof; `None` where something about it is wrong.
///
/// `any`: whether this is the section of `"*"`.
pub(super) fn verification(
    section: &mut Section<'_>,
    partition: Option<&Located<Partition>>,
    any: bool,
    public_url: Option<&str>,
) -> Option<Verification> {
    let before = section.diagnostics.count();
    let tolerance = section.value("tolerance", values::tolerance);
    let secrets = section.list("secrets", values::secret);
    let verify_token = section.value("verify_token", values::secret);
    let chosen = chosen(section);
    let (name, scheme) = match section.diagnostics.count() == before {
        true => chosen?,
        false => return None,
    };
    let own = |scheme: &Scheme| scheme.algorithm().into();
    let label = name.unwrap_or_else(|| own(&scheme));
    let names_an_id = !scheme.dedup_id.is_empty();
    if any && scheme.hand_over.is_some() && secrets.is_none() {
        let what = "the provider hands over its secret here, which only a topic with a section \
                    of its own takes; name the topic";
        section.refuse("preset", what);
        return None;
    }
    let texts = secrets.iter().flat_map(|list| &list.value);
    let mut settings = Settings::new(texts.map(|text| &*text.value));
    settings.tolerance = tolerance;
    settings.public_url = public_url.map(str::to_owned);
    settings.verify_token = verify_token.map(Secret::from);
    settings.partition = partition.map(|located| located.value.clone());
    match Verifier::new(scheme, settings) {
        Ok(verifier) => Some(Verification {
            verifier,
            scheme: label,
            names_an_id,
        }),
        Err(error) => {
            match (&error, partition) {
                (SchemeError::PartitionUnsigned { .. }, Some(Located { path, location, .. })) => {
                    section.diagnostics.add(path, location, error.to_string());
                }
                _ => refuse(section, &error, secrets.as_ref()),
            }
            None
        }
    }
}

/// The preset with its name or the scheme, of which there must be one.
fn chosen(section: &mut Section<'_>) -> Option<(Option<Box<str>>, Scheme)> {
    let preset_written = section.has("preset");
    let preset = section.located("preset", values::text);
    let own = section.node("scheme");
    match (preset_written, own) {
        (true, Some(own)) => {
            let path = section.path.key("scheme");
            let what = "a topic has a preset or a scheme, not both; remove one";
            section.diagnostics.add(&path, &own.location, what);
            None
        }
        (true, None) => {
            let preset = preset?;
            let scheme = named(section, &preset)?;
            Some((Some(preset.value.into()), scheme))
        }
        (false, Some(own)) => {
            let path = section.path.key("scheme");
            Some((None, scheme::read(own, &path, section.diagnostics)?))
        }
        (false, None) => {
            section.refuse(
                "preset",
                "nothing says how deliveries are proven; write preset = \"…\" \
                 (`hookrill presets` lists them) or a scheme",
            );
            None
        }
    }
}

fn named(section: &Section<'_>, preset: &Located<String>) -> Option<Scheme> {
    if let Some(known) = hookrill_verify::preset(&preset.value) {
        return Some(known.scheme);
    }
    let near = match hookrill_verify::nearest_preset(&preset.value) {
        Some(near) => format!("did you mean \"{near}\"? "),
        None => String::new(),
    };
    let what = format!("there is no preset of this name; {near}`hookrill presets` lists them");
    section
        .diagnostics
        .add(&preset.path, &preset.location, what);
    None
}

/// Says what `verify` says, at the key that it is about.
fn refuse(
    section: &Section<'_>,
    error: &SchemeError,
    secrets: Option<&Located<Vec<Located<String>>>>,
) {
    let what = error.to_string();
    match (error, secrets) {
        // What was written could not be read, and that is said already.
        (SchemeError::SecretMissing, Some(list)) if section.diagnostics.below(&list.path) => {}
        (
            SchemeError::SecretEmpty { index }
            | SchemeError::SecretEncoding { index, .. }
            | SchemeError::PublicKeyInvalid { index },
            Some(list),
        ) if *index < list.value.len() => {
            let Located { path, location, .. } = &list.value[*index];
            section.diagnostics.add(path, location, what);
        }
        (
            SchemeError::SecretMissing
            | SchemeError::SecretUseless
            | SchemeError::SecretsTooMany { .. },
            Some(list),
        ) => section.diagnostics.add(&list.path, &list.location, what),
        (SchemeError::SecretMissing, None) => section.refuse("secrets", what),
        (SchemeError::VerifyTokenMissing | SchemeError::VerifyTokenUseless, _) => {
            section.refuse("verify_token", what);
        }
        (SchemeError::PublicUrlMissing, _) => section.refuse(
            "scheme",
            "this scheme signs the URL that the sender was given; set server.public_url",
        ),
        _ => section.refuse("scheme", what),
    }
}
