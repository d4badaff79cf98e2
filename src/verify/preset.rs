//! The schemes that ship with Hookrill: `presets.toml`, in the language that
//! a topic's own scheme uses.
//!
//! To add one: write it there with its source, and give the tests a vector or
//! an independent signer that proves it.

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
    /// What the provider asks before it sends events, and what else to know.
    pub handshake: Box<str>,
    /// Which of the facts its signature covers.
    pub signed: Covered,
    /// The scheme.
    pub scheme: Scheme,
}

/// Which facts a signature covers. One that it does not cover can be forged
/// by whoever replays a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Covered {
    /// The kind of event.
    pub event_type: bool,
    /// The delivery's id.
    pub dedup_id: bool,
}

impl Covered {
    /// What a scheme covers: a fact counts only if each place it may be taken
    /// from is covered.
    #[must_use]
    pub fn by(scheme: &Scheme) -> Self {
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
    handshake: Box<str>,
    signed: Covered,
    scheme: Scheme,
}

/// All presets, by name. Parses them anew: keep what you need.
#[must_use]
pub fn presets() -> Vec<Preset> {
    let written: BTreeMap<Box<str>, Written> = toml::from_str(include_str!("presets.toml"))
        .expect("presets.toml is part of the program, and a test parses it");
    let preset = |(name, written): (Box<str>, Written)| Preset {
        name,
        title: written.title,
        docs: written.docs,
        handshake: written.handshake,
        signed: written.signed,
        scheme: written.scheme,
    };
    written.into_iter().map(preset).collect()
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
                Covered::by(&preset.scheme),
                "{}",
                preset.name
            );
            assert!(preset.docs.starts_with("https://"), "{}", preset.name);
            assert!(!preset.title.is_empty() && !preset.handshake.is_empty());
        }
    }

    #[test]
    fn presets_are_found_by_name_and_described() {
        let names: Vec<_> = presets().into_iter().map(|preset| preset.name).collect();
        let expected = ["github", "shopify", "slack", "standard-webhooks", "stripe"];
        assert!(names.iter().map(|name| &**name).eq(expected), "{names:?}");
        let github = preset("github").unwrap();
        assert_eq!(github.scheme.place(), "x-hub-signature-256");
        assert_eq!(github.scheme.algorithm(), "hmac-sha256, hex");
        assert!(preset("Github").is_none());
    }
}
