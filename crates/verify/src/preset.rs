//! The schemes that ship with this crate: `presets.toml`, in the language that
//! a scheme of one's own uses.
//!
//! To add one: write it there with its source, and give the tests a vector or
//! an independent signer as evidence that it is right. Invariants: names are
//! in lower case; each preset has a scheme, and says truly what its signature
//! covers.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::scheme::{Scheme, Source};

/// A named scheme.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Preset {
    /// Its name: `github`. Lower-case letters, digits and hyphens.
    pub name: Box<str>,
    /// Who signs like this.
    pub title: Box<str>,
    /// The address of the provider's own description.
    pub docs: Box<str>,
    /// What to do at the provider, and where its secret is found.
    pub setup: Box<str>,
    /// What the provider asks before it sends events, where it asks something.
    pub handshake: Option<Box<str>>,
    /// What else to know, where there is something.
    pub notes: Option<Box<str>>,
    /// Whose code or page shows that the scheme is right; at least one.
    pub evidence: Box<[Box<str>]>,
    /// Which of the facts its signature covers.
    pub signed: Coverage,
    /// What the provider sends while a webhook is set up, beside its events.
    pub setup_traffic: SetupTraffic,
    /// What the provider wants of the answer, where it says so.
    pub expects: Option<Expectation>,
    /// How large its bodies get, where the provider says so.
    pub body_bytes_max: Option<BodySize>,
    /// The scheme.
    pub scheme: Scheme,
}

/// Which facts a signature covers. One that it does not cover can be changed
/// by whoever replays a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Coverage {
    /// The kind of event.
    pub event_type: bool,
    /// The delivery's id.
    pub dedup_id: bool,
}

impl Coverage {
    /// What a scheme covers: a fact counts only if each place that it may be
    /// taken from is covered.
    #[must_use]
    pub fn from_scheme(scheme: &Scheme) -> Self {
        let covers_all = |sources: &[Source]| {
            !sources.is_empty() && sources.iter().all(|source| scheme.covers(source))
        };
        Self {
            event_type: covers_all(&scheme.event_type),
            dedup_id: covers_all(&scheme.dedup_id),
        }
    }
}

/// What a provider sends while a webhook is set up: its creation check, its handshake,
/// its test event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SetupTraffic {
    /// What it sends; `nothing`, or `unknown` where no source was found.
    pub sends: Box<str>,
    /// The page or the code that says so; `None` only where it is unknown.
    pub source: Option<Box<str>>,
}

impl SetupTraffic {
    /// Whether something is known to come.
    #[must_use]
    pub fn comes(&self) -> bool {
        !matches!(&*self.sends, "nothing" | "unknown")
    }
}

/// What a provider wants of the answer to a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Expectation {
    /// Which statuses it takes for a success.
    pub status: Option<Box<str>>,
    /// How long it waits: `10s`.
    pub within: Option<Box<str>>,
    /// When it sends again.
    pub retries: Option<Box<str>>,
    /// The page that says so.
    pub source: Box<str>,
}

/// How large a provider's bodies get.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BodySize {
    /// The most bytes.
    pub bytes: usize,
    /// The page that says so.
    pub source: Box<str>,
}

/// A preset as written; its name is the table's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PresetEntry {
    title: Box<str>,
    docs: Box<str>,
    setup: Box<str>,
    handshake: Option<Box<str>>,
    notes: Option<Box<str>>,
    evidence: Box<[Box<str>]>,
    signed: Coverage,
    setup_traffic: SetupTraffic,
    expects: Option<Expectation>,
    body_bytes_max: Option<BodySize>,
    /// Another preset's name, whose scheme it has.
    like: Option<Box<str>>,
    scheme: Option<Scheme>,
}

/// All presets, by name. Parses them on every call: keep what you need.
#[must_use]
pub fn presets() -> Vec<Preset> {
    let mut entries: BTreeMap<Box<str>, PresetEntry> = toml::from_str(include_str!("presets.toml"))
        .expect("presets.toml is part of the program, and a test parses it");
    let schemes: BTreeMap<Box<str>, Scheme> = entries
        .iter_mut()
        .filter_map(|(name, entry)| Some((name.clone(), entry.scheme.take()?)))
        .collect();
    let preset = |(name, entry): (Box<str>, PresetEntry)| Preset {
        scheme: schemes
            .get(entry.like.as_ref().unwrap_or(&name))
            .cloned()
            .expect("a preset has a scheme or is like one that has, and a test reads them all"),
        name,
        title: entry.title,
        docs: entry.docs,
        setup: entry.setup,
        handshake: entry.handshake,
        notes: entry.notes,
        evidence: entry.evidence,
        signed: entry.signed,
        setup_traffic: entry.setup_traffic,
        expects: entry.expects,
        body_bytes_max: entry.body_bytes_max,
    };
    entries.into_iter().map(preset).collect()
}

/// The preset of that name. Parses all of them: keep what you need.
#[must_use]
pub fn preset(name: &str) -> Option<Preset> {
    presets().into_iter().find(|preset| *preset.name == *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_says_truly_what_its_signature_covers() {
        for preset in presets() {
            assert_eq!(
                preset.signed,
                Coverage::from_scheme(&preset.scheme),
                "{}",
                preset.name
            );
            assert!(preset.docs.starts_with("https://"), "{}", preset.name);
            let mut texts = vec![&preset.title, &preset.setup];
            texts.extend(&preset.handshake);
            texts.extend(&preset.notes);
            texts.extend(&preset.evidence);
            assert!(texts.iter().all(|text| !text.is_empty()), "{}", preset.name);
            assert!(!preset.evidence.is_empty(), "{}", preset.name);
            let has_handshake =
                !preset.scheme.challenge.is_empty() || preset.scheme.provisioned_secret.is_some();
            assert_eq!(preset.handshake.is_some(), has_handshake, "{}", preset.name);
        }
    }

    #[test]
    fn every_preset_says_what_comes_at_its_set_up_and_by_what_source() {
        for preset in presets() {
            let name = &preset.name;
            let SetupTraffic { sends, source } = &preset.setup_traffic;
            assert_eq!(source.is_none(), &**sends == "unknown", "{name}");
            assert!(!sends.is_empty(), "{name}");
            // A handshake is a part of it.
            assert!(
                preset.handshake.is_none() || preset.setup_traffic.comes(),
                "{name}"
            );
            let expects = preset.expects.iter();
            let sizes = preset.body_bytes_max.iter().map(|size| &size.source);
            let sources = expects
                .clone()
                .map(|one| &one.source)
                .chain(sizes)
                .chain(source);
            for one in sources {
                assert!(one.starts_with("https://"), "{name}: {one}");
            }
            for Expectation {
                status,
                within,
                retries,
                ..
            } in expects
            {
                assert!(
                    status.is_some() || within.is_some() || retries.is_some(),
                    "{name}"
                );
                let is_time = |text: &str| humantime::parse_duration(text).is_ok();
                assert!(within.as_deref().is_none_or(is_time), "{name}");
            }
        }
    }

    #[test]
    fn a_preset_has_a_scheme_or_is_like_one() {
        let entries: BTreeMap<Box<str>, PresetEntry> =
            toml::from_str(include_str!("presets.toml")).unwrap();
        for (name, preset) in &entries {
            assert!(preset.like.is_some() != preset.scheme.is_some(), "{name}");
            let like = preset.like.as_ref().map(|like| &entries[like]);
            assert!(like.is_none_or(|like| like.scheme.is_some()), "{name}");
        }
    }

    #[test]
    fn presets_are_found_by_name_and_described() {
        let names: Vec<_> = presets().into_iter().map(|preset| preset.name).collect();
        assert!(names.len() >= 50, "{}", names.len());
        assert!(names.is_sorted());
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(
            names.iter().all(|name| name.bytes().all(plain)),
            "{names:?}"
        );
        let github = preset("github").unwrap();
        assert_eq!(github.scheme.location(), "x-hub-signature-256");
        assert_eq!(github.scheme.algorithm(), "hmac-sha256, hex");
        assert!(preset("Github").is_none());
    }
}
