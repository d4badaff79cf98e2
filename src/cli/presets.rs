//! `hookrill presets`: lists the schemes that ship with Hookrill.

use hookrill_verify::{Preset, presets};
use serde_json::json;

use super::output;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let presets = presets();
    if args.json {
        let objects: serde_json::Value = presets.iter().map(object).collect();
        output::print(format!("{objects:#}\n"))
    } else {
        output::print(table(&presets))
    }
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
