//! How the deliveries of a topic are verified: a preset or a scheme of one's
//! own, and the secrets.

use hookrill_core::Secret;
use hookrill_verify::{Partition, Scheme, SchemeError, Settings, Verifier, scheme::Respond};

use super::{
    contradictions,
    diagnostic::{KeyPath, Mistake},
    hints,
    scheme::{self, SchemeStep},
    section::{Located, Section},
    tree::{Node, TreeValue},
    values,
};

/// The result of a topic's `preset` or `scheme`, `secrets` and `tolerance`.
pub(super) struct Verification {
    pub(super) verifier: Verifier,
    /// The preset's name, or the algorithm of a scheme of one's own.
    pub(super) scheme: Box<str>,
    /// Whether the scheme reads the provider's id of a delivery.
    pub(super) has_id: bool,
    /// Whether the scheme reads the type of the event.
    pub(super) has_type: bool,
}

/// A scheme, and how it was chosen.
struct ChosenScheme {
    scheme: Scheme,
    /// The preset's name.
    preset: Option<Box<str>>,
    /// What was written, of a scheme of one's own.
    written: Option<Node>,
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
    let tolerance = section.value("tolerance", values::tolerance);
    let secrets = section.secrets("secrets", values::secret);
    let verify_token = section.secret("verify_token", values::secret);
    let methods = section.list("methods", values::method);
    if let Some(list) = methods.as_ref().filter(|list| list.value.is_empty())
        && !section.diagnostics.any_in(&list.path)
    {
        list.report(section.diagnostics, "must list at least one method");
    }
    let decode = section.value("decode", values::decode);
    let written_respond = section.node("respond");
    let respond = written_respond.clone().and_then(|node| {
        let path = section.path.key("respond");
        scheme::read::<Respond>(node, &path, section.diagnostics)
    });
    let chosen = choose(section)?;
    if is_wildcard && chosen.scheme.provisioned_secret.is_some() && secrets.is_none() {
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
    settings.forms_as_text = decode == Some(false);
    let listed = methods.iter().flat_map(|list| &list.value);
    settings.methods = listed.map(|method| method.value.clone()).collect();
    // A key that there is not may have been meant to be any that seems to be missing.
    let is_whole = !section.diagnostics.any_in(&section.path.key("scheme"));
    if is_whole {
        warn_of_tolerance(section, &chosen);
    }
    match contradictions::verifier(&chosen.scheme, &settings) {
        Ok(_) if !is_whole => None,
        Ok(verifier) => {
            warn_of_secrets(section, &verifier, secrets.as_ref());
            Some(Verification {
                verifier,
                has_id: !chosen.scheme.dedup_id.is_empty(),
                has_type: !chosen.scheme.event_type.is_empty(),
                scheme: chosen
                    .preset
                    .unwrap_or_else(|| chosen.scheme.algorithm().into()),
            })
        }
        Err(errors) => {
            let report = Report {
                section,
                chosen: &chosen,
                respond: written_respond.as_ref(),
                secrets: secrets.as_ref(),
                partition,
            };
            let holds = |error: &SchemeError| is_whole || contradictions::is_of_own_key(error);
            for error in errors.into_iter().filter(holds) {
                report.error(error);
            }
            None
        }
    }
}

/// Warns of secrets that can be guessed, which lets anybody sign: whoever has one
/// delivery can try millions of secrets a second on it, unseen. And of one that is
/// written twice.
fn warn_of_secrets(section: &Section<'_>, verifier: &Verifier, secrets: Option<&Secrets>) {
    /// RFC 2104, section 3, advises the length of the hash; 128 bits can't be guessed.
    const BYTES_MIN: usize = 16;
    let shortest = verifier.shortest_secret_bytes();
    if let Some(bytes) = shortest.filter(|bytes| *bytes < BYTES_MIN) {
        section.warn(
            "secrets",
            format!(
                "the shortest has {bytes} bytes, so it can be guessed; use one of at least \
                 {BYTES_MIN} if the provider lets you choose it"
            ),
        );
    }
    let list = secrets.map_or(&[][..], |list| &list.value);
    for (index, secret) in list.iter().enumerate() {
        if list[..index]
            .iter()
            .any(|other| other.value == secret.value)
        {
            secret.warn(
                section.diagnostics,
                "is the same as one above it; remove one of them",
            );
        }
    }
}

/// `tolerance` has an effect where a time is signed.
fn warn_of_tolerance(section: &Section<'_>, chosen: &ChosenScheme) {
    if !section.has_taken("tolerance") {
        return;
    }
    let Some(timestamp) = &chosen.scheme.timestamp else {
        section.warn(
            "tolerance",
            "has no effect, since this scheme signs no time; remove it",
        );
        return;
    };
    let own = chosen.written.as_ref();
    let own = own.and_then(|node| node.get("timestamp")?.get("tolerance"));
    if own.is_some() {
        let tolerance = humantime::format_duration(timestamp.tolerance);
        let message = format!("wins over the scheme's own tolerance of {tolerance}; remove one");
        section.warn("tolerance", message);
    }
}

/// The preset, or the scheme. There must be exactly one of them.
fn choose(section: &mut Section<'_>) -> Option<ChosenScheme> {
    let has_preset = section.has("preset");
    let preset = section.located("preset", values::text);
    let own = section.node("scheme");
    match (has_preset, own) {
        (true, Some(_)) => {
            let message = "must not be set together with `preset`; remove one of them";
            section.report("scheme", message);
            None
        }
        (true, None) => {
            let preset = preset?;
            Some(ChosenScheme {
                scheme: scheme_of(section, &preset)?,
                preset: Some(preset.value.into()),
                written: None,
            })
        }
        (false, Some(own)) => {
            let path = section.path.key("scheme");
            Some(ChosenScheme {
                scheme: scheme::read(own.clone(), &path, section.diagnostics)?,
                preset: None,
                written: Some(own),
            })
        }
        (false, None) => {
            if !section.is_misspelt("preset") && !section.is_misspelt("scheme") {
                let message = "must be set, since nothing else says how to verify deliveries: \
                               write preset = \"…\" (`hookrill presets` lists them), or a scheme";
                section.report("preset", message);
            }
            None
        }
    }
}

fn scheme_of(section: &Section<'_>, preset: &Located<String>) -> Option<Scheme> {
    if let Some(known) = hookrill_verify::preset(&preset.value) {
        return Some(known.scheme);
    }
    preset.report(section.diagnostics, hints::no_such_preset(&preset.value));
    None
}

/// Reports errors of `hookrill_verify` at the keys that they are about.
struct Report<'r> {
    section: &'r Section<'r>,
    chosen: &'r ChosenScheme,
    /// What was written as the topic's own `respond`.
    respond: Option<&'r Node>,
    secrets: Option<&'r Secrets>,
    partition: Option<&'r Located<Partition>>,
}

impl Report<'_> {
    fn error(&self, error: SchemeError) {
        let (section, diagnostics) = (self.section, self.section.diagnostics);
        match (&error, self.secrets, self.partition) {
            (SchemeError::PartitionUnsigned { .. }, _, Some(partition)) => {
                partition.report(diagnostics, Mistake::from_error(error));
            }
            // The secrets that are written have diagnostics of their own.
            (SchemeError::SecretMissing, Some(list), _) if diagnostics.any_in(&list.path) => {}
            (SchemeError::SecretMissing, None, _) if section.is_misspelt("secrets") => {}
            (
                SchemeError::SecretEmpty { index }
                | SchemeError::SecretNotAPair { index }
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
                self.verify_token(error);
            }
            (SchemeError::PublicUrlMissing, ..) => self.public_url(&error),
            (SchemeError::GetUnsigned | SchemeError::GetBesideBody, ..) => {
                section.report("methods", Mistake::from_error(error));
            }
            _ => self.scheme(&error, Mistake::from_error(error.clone())),
        }
    }

    /// A token that could not be read, or a misspelt key, has a diagnostic already.
    fn verify_token(&self, error: SchemeError) {
        const KEY: &str = "verify_token";
        let section = self.section;
        let is_known = section.diagnostics.any_in(&section.path.key(KEY));
        if !is_known && !section.is_misspelt(KEY) {
            section.report(KEY, Mistake::from_error(error));
        }
    }

    /// A URL that could not be read has a diagnostic already.
    fn public_url(&self, error: &SchemeError) {
        let url = KeyPath::root().key("server").key("public_url");
        if !self.section.diagnostics.any_in(&url) {
            let message =
                "this scheme signs the URL that the provider was given; set server.public_url";
            self.scheme(error, message);
        }
    }

    /// Whether a key that the scheme has and does not know was meant to be `key`.
    fn is_misspelt(&self, key: &str) -> bool {
        let Some(TreeValue::Table(table)) = self.chosen.written.as_ref().map(|own| &own.value)
        else {
            return false;
        };
        let path = self.section.path.key("scheme");
        table.keys().any(|written| {
            let is_bad = self.section.diagnostics.any_in(&path.key(written));
            is_bad && hints::nearest(written, &[key]).is_some()
        })
    }

    /// Reports something about the scheme, at its key if it is one of one's own.
    fn scheme(&self, error: &SchemeError, mistake: impl Into<Mistake>) {
        let section = self.section;
        if let SchemeError::KeyMissing { key, .. } = error
            && self.is_misspelt(key)
        {
            return;
        }
        let steps = contradictions::steps(error);
        if let (Some(written), [SchemeStep::Key("respond"), below @ ..]) =
            (self.respond, &steps[..])
        {
            let above = section.path.key("respond");
            let (path, location) = scheme::place(written, &above, below);
            section.diagnostics.report(&path, &location, mistake);
            return;
        }
        let Some(written) = &self.chosen.written else {
            section.report("preset", mistake);
            return;
        };
        let above = section.path.key("scheme");
        let (path, location) = scheme::place(written, &above, &steps);
        section.diagnostics.report(&path, &location, mistake);
    }
}
