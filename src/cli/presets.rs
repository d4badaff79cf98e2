//! `hookrill presets`: lists the schemes that ship with Hookrill, or shows one in full.

use hookrill_verify::{Preset, presets, scheme::Source};
use serde_json::json;

use super::{UsageError, output};
use crate::config::no_such_preset;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show this preset in full, with the section to copy
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let presets = presets();
    if let Some(name) = &args.name {
        let preset = presets.iter().find(|preset| *preset.name == **name);
        let preset = preset.ok_or_else(|| UsageError::new(no_such_preset(name)))?;
        return output::print(if args.json {
            format!("{:#}\n", object(preset))
        } else {
            in_full(preset)
        });
    }
    if args.json {
        let objects: serde_json::Value = presets.iter().map(object).collect();
        output::print(format!("{objects:#}\n"))
    } else {
        output::print(table(&presets))
    }
}

/// What is known of a preset, and the section to copy.
fn in_full(preset: &Preset) -> String {
    let scheme = &preset.scheme;
    let expects = preset.expects.as_ref();
    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let rows = [
        ["preset", &preset.name].map(str::to_owned),
        ["provider", &preset.title].map(str::to_owned),
        ["described at", &preset.docs].map(str::to_owned),
        ["signature in".to_owned(), scheme.location()],
        ["algorithm".to_owned(), scheme.algorithm()],
        [
            "event type".to_owned(),
            fact(&scheme.event_type, preset.signed.event_type),
        ],
        [
            "delivery id".to_owned(),
            fact(&scheme.dedup_id, preset.signed.dedup_id),
        ],
        [
            "answer".to_owned(),
            text(expects.and_then(|expects| expects.status.as_deref())),
        ],
        ["within".to_owned(), within(preset)],
        [
            "sends again".to_owned(),
            text(expects.and_then(|expects| expects.retries.as_deref())),
        ],
        [
            "handshake".to_owned(),
            text(preset.handshake.as_deref().or(Some("none"))),
        ],
    ];
    let mut shown = output::table(&rows);
    shown.push_str(&format!("\n{}\n", preset.setup));
    if let Some(notes) = &preset.notes {
        shown.push_str(&format!("\n{notes}\n"));
    }
    shown.push_str(&format!("\n{}", section(preset)));
    shown
}

/// Where a fact is, and whether whoever replays a delivery could change it.
fn fact(sources: &[Source], is_signed: bool) -> String {
    if sources.is_empty() {
        return "none".to_owned();
    }
    let places: Vec<_> = sources.iter().map(ToString::to_string).collect();
    let signed = if is_signed { "signed" } else { "not signed" };
    format!("{} ({signed})", places.join(", or "))
}

/// The section of a topic that uses the preset.
fn section(preset: &Preset) -> String {
    let name = &preset.name;
    let variable = name.to_ascii_uppercase().replace('-', "_");
    let mut toml = format!("[topics.{name}]\npreset = \"{name}\"\n");
    if preset.scheme.provisioned_secret.is_none() {
        toml.push_str(&format!("secrets = [\"env:{variable}_SECRET\"]\n"));
    }
    if preset.scheme.needs_verify_token() {
        toml.push_str(&format!("verify_token = \"env:{variable}_VERIFY_TOKEN\"\n"));
    }
    if preset.scheme.needs_public_url() {
        let url = "[server]\npublic_url = \"https://hooks.example.com\"\n";
        toml = format!("{url}\n{toml}");
    }
    toml
}

fn table(presets: &[Preset]) -> String {
    let heading = [
        "PRESET",
        "PROVIDER",
        "HEADER",
        "ALGORITHM",
        "ANSWER WITHIN",
        "HANDSHAKE",
    ];
    let mut rows = vec![heading.map(str::to_owned)];
    rows.extend(presets.iter().map(|preset| {
        [
            preset.name.to_string(),
            preset.title.to_string(),
            preset.scheme.location(),
            preset.scheme.algorithm(),
            within(preset),
            preset.handshake.as_deref().unwrap_or("none").to_owned(),
        ]
    }));
    output::table(&rows)
}

fn within(preset: &Preset) -> String {
    let within = preset
        .expects
        .as_ref()
        .and_then(|expects| expects.within.as_deref());
    within.unwrap_or("-").to_owned()
}

fn object(preset: &Preset) -> serde_json::Value {
    let expects = preset.expects.as_ref();
    json!({
        "name": preset.name,
        "provider": preset.title,
        "header": preset.scheme.location(),
        "algorithm": preset.scheme.algorithm(),
        "handshake": preset.handshake,
        "setup_traffic": preset.setup_traffic.sends,
        "answer_status": expects.and_then(|expects| expects.status.as_deref()),
        "answer_within": expects.and_then(|expects| expects.within.as_deref()),
        "retries": expects.and_then(|expects| expects.retries.as_deref()),
        "body_bytes_max": preset.body_bytes_max.as_ref().map(|size| size.bytes),
        "setup": preset.setup,
        "notes": preset.notes,
        "evidence": preset.evidence,
        "event_type_signed": preset.signed.event_type,
        "dedup_id_signed": preset.signed.dedup_id,
        "docs": preset.docs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, MissingSecrets, Sources};

    /// Fits every preset: text, hex and base64 at once, and an Ed25519 key in hex.
    const SECRET: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    #[test]
    fn the_section_of_every_preset_can_be_copied() {
        for preset in presets() {
            let shown = in_full(&preset);
            assert!(shown.contains(&*preset.setup), "{shown}");
            assert!(shown.contains(&*preset.docs), "{shown}");
            let toml = format!("[access]\nsecret = \"{SECRET}\"\n{}", section(&preset));
            let variable = preset.name.to_ascii_uppercase().replace('-', "_");
            let names = ["SECRET", "VERIFY_TOKEN"].map(|end| format!("{variable}_{end}"));
            let secret = match &*preset.name {
                "postmark" => "user:password",
                "telnyx" => "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=",
                _ => SECRET,
            };
            let environment: Environment =
                names.iter().map(|name| (name.as_str(), secret)).collect();
            let read = |_: &std::path::Path| Ok(toml.clone().into_bytes());
            let sources = Sources::new(&environment).with_reader(&read);
            let loaded = Config::load(sources, MissingSecrets::Assume);
            assert!(loaded.is_ok(), "{toml}\n{}", loaded.unwrap_err());
        }
    }
}
