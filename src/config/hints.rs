//! What was probably meant, where a key or a word is not known.
//!
//! Pure text: knows neither the keys nor their types. Case does not matter.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::{Diagnostics, KeyPath, Location, UnknownKey};

/// From here on, two words count as similar.
const SIMILARITY_MIN: f64 = 0.8;
/// From here on, two names count as similar that consist of several words.
const NAME_SIMILARITY_MIN: f64 = 0.88;

/// The keys of each section.
type KnownKeys = BTreeMap<KeyPath, BTreeSet<&'static str>>;

/// The word that was probably meant, if one is similar enough. Case does not
/// matter.
pub(super) fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    most_similar(
        written,
        known.iter().map(|key| (*key, *key)),
        SIMILARITY_MIN,
    )
}

/// The name that was probably meant: names have words in common, so they have to be
/// more similar than words.
pub(super) fn nearest_name<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    const SIMILARITY_MIN: f64 = 0.93;
    most_similar(
        written,
        known.iter().map(|name| (*name, *name)),
        SIMILARITY_MIN,
    )
}

/// `; did you mean …?`, or nothing.
pub(super) fn did_you_mean(written: &str, known: &[&str]) -> String {
    match nearest(written, known) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    }
}

/// What to say of a preset that there is not. Does not repeat the name, which may be a
/// secret.
#[must_use]
pub fn no_such_preset(written: &str) -> String {
    let presets = hookrill_verify::presets();
    let names: Vec<&str> = presets.iter().map(|preset| &*preset.name).collect();
    let hint = did_you_mean(written, &names);
    format!("there is no such preset{hint} (`hookrill presets` lists all)")
}

/// The value with the name that is the most similar to what was written.
fn most_similar<N: AsRef<str>, T>(
    written: &str,
    named: impl IntoIterator<Item = (N, T)>,
    similarity_min: f64,
) -> Option<T> {
    let written = written.to_ascii_lowercase();
    let compare = |name: &str| strsim::jaro_winkler(&written, &name.to_ascii_lowercase());
    let named = named.into_iter();
    let rated = named.map(|(name, value)| (compare(name.as_ref()), value));
    rated
        .filter(|(similarity, _)| *similarity >= similarity_min)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, value)| value)
}

/// Reports every unknown key, with what was probably meant. To be called once all
/// sections are read.
pub(super) fn report_unknown(diagnostics: &Diagnostics) {
    let known = diagnostics.known();
    for unknown in diagnostics.take_unknown() {
        let hint = hint(&unknown, &known).map(|hint| format!("; {hint}"));
        let message = format!("there is no such key{}", hint.unwrap_or_default());
        diagnostics.report(&unknown.path, &unknown.location, message);
    }
}

fn hint(unknown: &UnknownKey, all: &KnownKeys) -> Option<String> {
    if let Location::Variable(name) = &unknown.location {
        let near = nearest_variable(name, all).or_else(|| {
            nearest(&unknown.key, &unknown.known).map(|near| renamed(name, &unknown.key, near))
        });
        return near.map(|near| format!("did you mean {near}?"));
    }
    if let Some(near) = nearest(&unknown.key, &unknown.known) {
        return Some(format!("did you mean `{near}`?"));
    }
    let section = section_of(&unknown.key, all)?;
    Some(format!("`{}` belongs into {section}", unknown.key))
}

/// The variable `name` with `near` in place of the level `written` and what is
/// below it.
fn renamed(name: &str, written: &str, near: &str) -> String {
    let levels: Vec<&str> = name.split("__").collect();
    let at = levels
        .iter()
        .position(|level| level.eq_ignore_ascii_case(written));
    let above = levels.get(..at.unwrap_or(levels.len())).unwrap_or_default();
    format!("{}__{}", above.join("__"), near.to_ascii_uppercase())
}

/// The section that has this key, as it is written.
fn section_of(key: &str, all: &KnownKeys) -> Option<String> {
    let section = all
        .iter()
        .find(|(section, keys)| !section.as_str().is_empty() && keys.contains(key));
    let path = section?.0.as_str();
    match path.split_once('.') {
        None => Some(format!("[{path}]")),
        Some(("topics", _)) => Some("the section of a topic, such as [topics.orders]".to_owned()),
        Some(_) => None,
    }
}

/// The variable that was probably meant by one that sets no key:
/// `HOOKRILL_SERVER__LISTEN`, `HOOKRILL__SERVER_LISTEN` and `HOOKRILL_LISTEN` mean
/// `HOOKRILL__SERVER__LISTEN`.
pub(super) fn nearest_variable(written: &str, all: &KnownKeys) -> Option<String> {
    const PREFIX: &str = "hookrill";
    let all_words = joined(written);
    let words = all_words.strip_prefix(PREFIX).unwrap_or(&all_words);
    if words == "port" {
        return Some("PORT".to_owned());
    }
    let sections = all.iter().filter(|(section, _)| {
        let path = section.as_str();
        !path.is_empty() && !path.contains(['.', '"', '['])
    });
    let (mut whole, mut last) = (Vec::new(), Vec::new());
    for (section, keys) in sections {
        for key in keys {
            let variable = format!("HOOKRILL__{section}__{key}", section = section.as_str());
            let variable = variable.to_ascii_uppercase();
            whole.push((joined(&variable[PREFIX.len()..]), variable.clone()));
            last.push((joined(key), variable));
        }
    }
    most_similar(words, whole, NAME_SIMILARITY_MIN)
        .or_else(|| most_similar(words, last, NAME_SIMILARITY_MIN))
        .or_else(|| respelt(written, all))
}

/// A name with the right prefix and in upper case, if that makes it one of a section.
fn respelt(written: &str, all: &KnownKeys) -> Option<String> {
    let upper = written.to_ascii_uppercase();
    let rest = upper.strip_prefix("HOOKRILL")?.trim_start_matches('_');
    let (section, below) = rest.split_once("__")?;
    let roots = all.get(&KeyPath::root())?;
    let is_section = roots.iter().any(|root| root.eq_ignore_ascii_case(section));
    let name = format!("HOOKRILL__{section}__{below}");
    (is_section && name != written).then_some(name)
}

/// A name without what separates its words.
fn joined(name: &str) -> String {
    name.replace(['_', '.', '-'], "").to_ascii_lowercase()
}
