//! The schemes that ship with Hookrill: `presets.toml`, in the language that
//! a topic's own scheme uses.
//!
//! To add one: write it there with its source, and give the tests a vector or
//! an independent signer as evidence that it is right.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::scheme::{Scheme, Source};

/// A named scheme.
#[derive(Debug, Clone)]
pub struct Preset {
    /// What a topic calls it: `preset = "github"`.
    pub name: Box<str>,
    /// Who signs like this.
    pub title: Box<str>,
    /// The provider's own description of it.
    pub docs: Box<str>,
    /// What to do at the provider, and where its secret is found.
    pub setup: Box<str>,
    /// What the provider asks before it sends events; `none` where nothing.
    pub handshake: Box<str>,
    /// What else to know, where there is something.
    pub notes: Option<Box<str>>,
    /// Whose code or page shows that the scheme is right; several are separated
    /// by `; `.
    pub evidence: Box<str>,
    /// Which of the facts its signature covers.
    pub signed: Coverage,
    /// The scheme.
    pub scheme: Scheme,
}

/// Which facts a signature covers. One that it does not cover can be forged
/// by whoever replays a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// The kind of event.
    pub event_type: bool,
    /// The delivery's id.
    pub dedup_id: bool,
}

impl Coverage {
    /// What a scheme covers: a fact counts only if each place it may be taken
    /// from is covered.
    #[must_use]
    pub fn from_scheme(scheme: &Scheme) -> Self {
        let all = |sources: &[Source]| {
            !sources.is_empty() && sources.iter().all(|source| scheme.covers(source))
        };
        Self {
            event_type: all(&scheme.event_type),
            dedup_id: all(&scheme.dedup_id),
        }
    }
}

/// A preset as written; its name is the table's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    title: Box<str>,
    docs: Box<str>,
    setup: Box<str>,
    #[serde(default = "none")]
    handshake: Box<str>,
    notes: Option<Box<str>>,
    evidence: Box<str>,
    signed: Coverage,
    /// Another preset's name, whose scheme it has.
    like: Option<Box<str>>,
    scheme: Option<Scheme>,
}

fn none() -> Box<str> {
    "none".into()
}

/// All presets, by name. Parses them anew: keep what you need.
#[must_use]
pub fn presets() -> Vec<Preset> {
    let mut written: BTreeMap<Box<str>, Written> = toml::from_str(include_str!("presets.toml"))
        .expect("presets.toml is part of the program, and a test parses it");
    let schemes: BTreeMap<Box<str>, Scheme> = written
        .iter_mut()
        .filter_map(|(name, preset)| Some((name.clone(), preset.scheme.take()?)))
        .collect();
    let preset = |(name, written): (Box<str>, Written)| Preset {
        scheme: schemes
            .get(written.like.as_ref().unwrap_or(&name))
            .cloned()
            .expect("a preset has a scheme or is like one that has, and a test reads them all"),
        name,
        title: written.title,
        docs: written.docs,
        setup: written.setup,
        handshake: written.handshake,
        notes: written.notes,
        evidence: written.evidence,
        signed: written.signed,
    };
    written.into_iter().map(preset).collect()
}

/// The name of a preset that was probably meant, if one is near enough.
#[must_use]
pub fn nearest_preset(written: &str) -> Option<Box<str>> {
    const ALIKE_MIN: f64 = 0.8;
    let alike = |name: Box<str>| (strsim::jaro_winkler(written, &name), name);
    presets()
        .into_iter()
        .map(|preset| alike(preset.name))
        .filter(|(alike, _)| *alike >= ALIKE_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// The preset of that name.
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
            let texts = [
                &preset.title,
                &preset.setup,
                &preset.handshake,
                &preset.evidence,
            ];
            assert!(texts.iter().all(|text| !text.is_empty()), "{}", preset.name);
            let greets = !preset.scheme.challenge.is_empty() || preset.scheme.hand_over.is_some();
            assert_eq!(
                !preset.handshake.starts_with("none"),
                greets,
                "{}",
                preset.name
            );
        }
    }

    #[test]
    fn a_preset_has_a_scheme_or_is_like_one() {
        let written: BTreeMap<Box<str>, Written> =
            toml::from_str(include_str!("presets.toml")).unwrap();
        for (name, preset) in &written {
            assert!(preset.like.is_some() != preset.scheme.is_some(), "{name}");
            let like = preset.like.as_ref().map(|like| &written[like]);
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
        assert_eq!(github.scheme.place(), "x-hub-signature-256");
        assert_eq!(github.scheme.algorithm(), "hmac-sha256, hex");
        assert!(preset("Github").is_none());
    }
}
