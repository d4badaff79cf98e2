//! How a topic's deliveries are proven: a preset or a scheme of one's own,
//! and the secrets.

use super::{
    scheme,
    section::{Section, Spot, nearest},
    standin::{self as verify, Scheme, Verifier},
    values,
};
use crate::verify::Secret;

/// Reads `preset`, `scheme`, `secrets` and `tolerance`. The preset's name
/// comes with the verifier, if it was one.
pub(super) fn proof(
    section: &mut Section<'_>,
    public_url: Option<&str>,
) -> Option<(Option<Box<str>>, Verifier)> {
    let tolerance = section.spot("tolerance", values::tolerance);
    let secrets = section.list("secrets", values::secret);
    let (name, scheme) = chosen(section)?;
    let _ = (tolerance, public_url);
    let secrets = secrets?
        .value
        .into_iter()
        .map(|s| Secret::new(s.value.into_bytes()))
        .collect();
    Some((name, Verifier { scheme, secrets }))
}

/// The preset or the scheme, of which there must be one.
fn chosen(section: &mut Section<'_>) -> Option<(Option<Box<str>>, Scheme)> {
    let preset_written = section.has("preset");
    let preset = section.spot("preset", values::text);
    let own = section.node("scheme");
    match (preset_written, own) {
        (true, Some(own)) => {
            let place = section.place.key("scheme");
            let what = "a topic has a preset or a scheme, not both; remove one";
            section.problems.add(&place, &own.origin, what);
            None
        }
        (true, None) => {
            let preset = preset?;
            let scheme = named(section, &preset)?;
            Some((Some(preset.value.into()), scheme))
        }
        (false, Some(own)) => {
            let place = section.place.key("scheme");
            Some((None, scheme::read(own, &place, section.problems)?))
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

fn named(section: &Section<'_>, preset: &Spot<String>) -> Option<Scheme> {
    let scheme = verify::preset(&preset.value);
    if scheme.is_none() {
        let known = verify::preset_names();
        let near = match nearest(&preset.value, &known) {
            Some(near) => format!("; did you mean \"{near}\"?"),
            None => String::new(),
        };
        let what = format!(
            "there is no preset of this name{near} The presets are {}",
            known.join(", ")
        );
        section.problems.add(&preset.place, &preset.origin, what);
    }
    scheme
}
