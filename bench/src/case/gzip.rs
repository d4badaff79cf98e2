//! gzip: the same events to subscribers that offer to take gzip, and to others.
//!
//! The bodies are GitHub's own examples where they are installed, and made in
//! their style otherwise: letters of one kind would compress to nothing.

use std::{fs, path::Path, sync::Arc};

use super::{AFTERMATH, Meter, SETTLE, Setup, fill};
use crate::{
    payload::Bodies,
    report::Row,
    round::Limit,
    server::{Audience, Case, Posts, Running},
};

const PER_SEC: f64 = 50.0;
/// Examples beyond this are rare, and would decide the mean alone.
const EXAMPLE_BYTES_MAX: usize = 64 * 1024;

/// 200 subscribers, 50 events per second, plain and compressed.
pub(super) fn measure(stage: &Setup<'_>) -> anyhow::Result<Vec<Row>> {
    let (bodies, origin) = bodies(stage);
    let server = stage.warm_server()?;
    let plain = part(stage, &server, "plain", false, &bodies)?;
    let gzip = part(stage, &server, "gzip", true, &bodies)?;
    let mut rows = vec![plain, gzip];
    for row in &mut rows {
        row.note = format!("{}; bodies: {origin}", row.note);
    }
    Ok(rows)
}

fn part(
    stage: &Setup<'_>,
    server: &Running,
    variant: &'static str,
    gzip: bool,
    bodies: &Bodies,
) -> anyhow::Result<Row> {
    let subscribers = stage.size.of(200, 200, 5);
    let mut round = stage.round(server, 1)?;
    round.subscribe(&Audience {
        gzip,
        ..Audience::of_one(variant, subscribers)
    })?;
    round.linger(SETTLE)?;
    let time = stage.size.time * 2;
    let posts = Posts {
        bodies: bodies.clone(),
        ..stage.posts(
            variant,
            (PER_SEC * time.as_secs_f64()) as u32,
            Some(PER_SEC),
            0,
        )
    };
    let posts = posts.make(stage.spec);
    let limit = Limit {
        senders: 1,
        time: time * 4,
        paced: true,
    };
    let meter = Meter::start(server);
    let offered = round.offer(posts, limit)?;
    let spent = meter.read();
    round.linger(AFTERMATH)?;
    let mut row = stage.row(Case::Gzip, variant);
    row.subscribers = Some(subscribers);
    fill(&mut row, &offered, spent);
    row.faults = round.faults();
    if gzip && !round.is_gzip() {
        // Figures of a plain stream must not be taken for those of gzip.
        row.wire_bytes_per_delivery = None;
        row.cpu_micros_per_delivery = None;
        row.note = "gzip is not offered by the server".to_owned();
    } else {
        let micros = row.cpu_micros_per_delivery.unwrap_or(f64::NAN);
        row.note = format!("CPU per delivery {micros:.2} µs");
    }
    Ok(row)
}

/// The bodies, and where they come from.
fn bodies(stage: &Setup<'_>) -> (Bodies, &'static str) {
    let examples = stage.size.examples.as_deref().and_then(octokit);
    match examples {
        Some(examples) => (Bodies::Examples(examples), "@octokit/webhooks-examples"),
        None => (
            Bodies::Examples(invented().into()),
            "made in GitHub's style",
        ),
    }
}

/// GitHub's examples, as the npm package has them: a list of events, each with
/// its payloads.
fn octokit(folder: &Path) -> Option<Arc<[String]>> {
    let file = folder.join("webhooks-examples/api.github.com/index.json");
    let events: serde_json::Value = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
    let payloads = events
        .as_array()?
        .iter()
        .filter_map(|event| event["examples"].as_array());
    let texts = payloads.flatten().map(serde_json::Value::to_string);
    let texts: Vec<String> = texts
        .filter(|text| text.len() <= EXAMPLE_BYTES_MAX)
        .collect();
    (!texts.is_empty()).then(|| texts.into())
}

/// Bodies with what makes GitHub's compress: long URLs that repeat one name.
fn invented() -> Vec<String> {
    const LINKS: [&str; 24] = [
        "archive",
        "assignees",
        "blobs",
        "branches",
        "collaborators",
        "comments",
        "commits",
        "compare",
        "contents",
        "contributors",
        "deployments",
        "downloads",
        "events",
        "forks",
        "hooks",
        "issues",
        "keys",
        "labels",
        "languages",
        "merges",
        "milestones",
        "releases",
        "stargazers",
        "tags",
    ];
    let one = |number: usize| {
        let id = number.wrapping_mul(2_654_435_761) % 1_000_000_007;
        let owner = format!("owner-{}", id % 97);
        let base = format!("https://api.github.com/repos/{owner}/repository-{id}");
        let links = LINKS.map(|link| format!(r#""{link}_url":"{base}/{link}{{/{link}_id}}""#));
        let user = format!(
            r#"{{"login":"{owner}","id":{id},"url":"https://api.github.com/users/{owner}","type":"User","site_admin":false}}"#
        );
        format!(
            r#"{{"action":"opened","issue":{{"url":"{base}/issues/{number}","id":{id},"title":"Issue {id}","user":{user},"body":"{:x}"}},"repository":{{"id":{id},"full_name":"{owner}/repository-{id}","owner":{user},{}}},"sender":{user}}}"#,
            id.wrapping_mul(id),
            links.join(","),
        )
    };
    (0..100).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_in_githubs_style_is_json() {
        for text in invented() {
            let read: Result<serde_json::Value, _> = serde_json::from_str(&text);
            assert!(read.is_ok(), "{text}");
        }
    }
}
