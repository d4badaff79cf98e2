//! `hookrill deliveries`: what came, refused deliveries too.
//!
//! A table on a terminal, JSON lines elsewhere. Invariant: what a sender wrote is printed
//! without what a terminal would act upon.

use std::{io::IsTerminal as _, time::Duration};

use hookrill_core::printable;
use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::time::sleep;

use super::{
    Context,
    admin::{AdminArgs, AdminClient, AdminRefusal},
    block_on, output,
    plain::in_plain_words,
};

/// The most that one request is answered with.
const PAGE_MAX: usize = 200;
/// The longest line of the live list, in bytes.
const LINE_BYTES_MAX: usize = 1 << 20;
/// How long to wait before connecting again, and longer after each failure.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The longest cell of a table, in characters.
const CELL_CHARS_MAX: usize = 40;
const HEAD: [&str; 8] = [
    "TIME", "OUTCOME", "TOPIC", "TYPE", "FROM", "BYTES", "ID", "REASON",
];
/// How wide columns are where what comes is not known yet.
const WIDTHS: [usize; 8] = [23, 12, 24, 20, 15, 8, 14, 0];

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only what was refused
    #[arg(long, conflicts_with = "outcome")]
    refused: bool,

    /// Only these outcomes, separated by commas: stored, duplicate, handshake, refused
    #[arg(long)]
    outcome: Option<String>,

    /// Only this topic and its subtopics
    #[arg(long)]
    topic: Option<hookrill_core::Topic>,

    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,

    /// Only what was refused for this reason, as the metrics have it: mismatch, stale, …
    #[arg(long)]
    reason: Option<String>,

    /// Only what came from this address and was not stored
    #[arg(long)]
    address: Option<std::net::IpAddr>,

    /// How many are listed, the newest first
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,

    /// Go on with those that come; connects again where it has to
    #[arg(long, short = 'f')]
    follow: bool,

    /// Print JSON, one line each [default where stdout is not a terminal]
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let client = args.admin.client(context)?;
    let as_json = args.json || !std::io::stdout().is_terminal();
    block_on(async {
        if args.follow {
            follow(args, &client, as_json).await
        } else {
            list(args, &client, as_json).await
        }
    })
}

async fn list(args: &Args, client: &AdminClient, as_json: bool) -> anyhow::Result<()> {
    let mut left = usize::from(args.limit);
    let mut rows = Vec::new();
    let mut before = None;
    while left > 0 {
        let limit = left.min(PAGE_MAX).to_string();
        let mut query = args.filters();
        query.push(("limit", limit));
        query.extend(before.take().map(|position| ("before", position)));
        let path = path("/admin/deliveries", &query);
        let asked = client.ask(Method::GET, &path, String::new(), |status| {
            status == StatusCode::OK
        });
        let (_, mut page) = asked.await?;
        let Value::Array(part) = page["deliveries"].take() else {
            anyhow::bail!("{} is no gateway of this version", client.url());
        };
        left = left.saturating_sub(part.len());
        rows.extend(part);
        match page["next"].take() {
            Value::String(next) => before = Some(next),
            _ => break,
        }
    }
    if as_json {
        return output::print(rows.iter().map(json_line).collect::<String>());
    }
    if rows.is_empty() {
        output::status(format_args!("hookrill: there are none"));
        return Ok(());
    }
    let head = [HEAD.map(str::to_owned)];
    let cells = rows.iter().map(cells);
    output::print(output::table(
        &head.into_iter().chain(cells).collect::<Vec<_>>(),
    ))
}

async fn follow(args: &Args, client: &AdminClient, as_json: bool) -> anyhow::Result<()> {
    let mut position = None;
    let mut wait = WAIT_MIN;
    let mut has_answered = false;
    if !as_json {
        output::print(wide(&HEAD.map(str::to_owned)))?;
    }
    loop {
        let mut query = args.filters();
        query.extend(position.clone().map(|position| ("after", position)));
        let why = match client.follow(&path("/admin/deliveries/live", &query)).await {
            Ok(body) => {
                has_answered = true;
                wait = WAIT_MIN;
                let ended = print_lines(body, &mut position, as_json).await?;
                ended.unwrap_or_else(|| "the gateway has ended the list".to_owned())
            }
            // Its journal is another one now, and the place means nothing there.
            Err(error) if position.is_some() && status(&error) == Some(StatusCode::BAD_REQUEST) => {
                position = None;
                in_plain_words(error.as_ref())
            }
            Err(error) => {
                let is_for_good = status(&error).is_some_and(|status| {
                    status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS
                });
                // What never answered has a wrong URL more likely than a bad moment.
                if is_for_good || !has_answered {
                    return Err(error);
                }
                in_plain_words(error.as_ref())
            }
        };
        let secs = wait.as_secs();
        output::status(format_args!(
            "hookrill: {why}; connecting again in {secs} s"
        ));
        sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

/// The status by which the gateway refused.
fn status(error: &anyhow::Error) -> Option<StatusCode> {
    let refusal = error.downcast_ref::<AdminRefusal>()?;
    Some(refusal.status)
}

/// Prints what comes until it ends; returns why, where that is known.
async fn print_lines(
    mut body: hookrill_client::RelayBody,
    position: &mut Option<String>,
    as_json: bool,
) -> anyhow::Result<Option<String>> {
    let mut pending = Vec::new();
    loop {
        let chunk = match body.next().await {
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => return Ok(Some(in_plain_words(&error))),
            None => return Ok(None),
        };
        pending.extend_from_slice(&chunk);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let Ok(row) = serde_json::from_slice::<Value>(&line) else {
                return Ok(Some("what came is no list of deliveries".to_owned()));
            };
            if let Some(new) = row["position"].as_str() {
                *position = Some(new.to_owned());
            }
            print_row(&row, as_json)?;
        }
        if pending.len() > LINE_BYTES_MAX {
            return Ok(Some("what came is no list of deliveries".to_owned()));
        }
    }
}

fn print_row(row: &Value, as_json: bool) -> anyhow::Result<()> {
    if let Some(skipped) = row["skipped"].as_u64() {
        if as_json {
            return output::print(json_line(row));
        }
        output::status(format_args!(
            "hookrill: {skipped} more came and are not shown"
        ));
        return Ok(());
    }
    if row["id"].is_null() {
        return Ok(());
    }
    output::print(if as_json {
        json_line(row)
    } else {
        wide(&cells(row))
    })
}

impl Args {
    fn filters(&self) -> Vec<(&'static str, String)> {
        let outcome = match (self.refused, &self.outcome) {
            (true, _) => Some("refused".to_owned()),
            (false, outcome) => outcome.clone(),
        };
        let filters = [
            ("outcome", outcome),
            ("topic", self.topic.as_ref().map(ToString::to_string)),
            ("type", self.event_type.clone()),
            ("reason", self.reason.clone()),
            ("address", self.address.map(|address| address.to_string())),
        ];
        let given = filters.into_iter();
        given
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

fn path(route: &str, query: &[(&str, String)]) -> String {
    let pairs = query
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    format!("{route}?{}", pairs.collect::<Vec<_>>().join("&"))
}

fn json_line(row: &Value) -> String {
    format!("{row}\n")
}

/// A row of the table.
fn cells(row: &Value) -> [String; 8] {
    let text = |name: &str| match &row[name] {
        Value::String(text) => printable(text, CELL_CHARS_MAX),
        Value::Null => "–".to_owned(),
        other => printable(&other.to_string(), CELL_CHARS_MAX),
    };
    let count = row["count"].as_u64().unwrap_or(1);
    let outcome = match count {
        0 | 1 => text("outcome"),
        _ => format!("{} ×{count}", text("outcome")),
    };
    let time = text("last").replacen('T', " ", 1);
    let last = match (&row["reason"], &row["event"]) {
        (Value::String(_), Value::String(_)) => {
            format!("{}, taken as {}", text("reason"), text("event"))
        }
        (Value::Null, Value::String(_)) => format!("of {}", text("event")),
        _ => text("reason"),
    };
    [
        time.trim_end_matches('Z').to_owned(),
        outcome,
        text("topic"),
        text("type"),
        text("address"),
        text("bytes"),
        text("id"),
        last,
    ]
}

/// A row where the others are not known yet.
fn wide(cells: &[String; 8]) -> String {
    let columns = cells.iter().zip(WIDTHS);
    let line: String = columns
        .map(|(cell, width)| format!("{cell:width$}  "))
        .collect();
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_shows_what_became_of_a_delivery_and_nothing_acts_on_the_terminal() {
        let row = json!({
            "id": "r-41", "at": "2026-11-30T01:51:00.000Z", "outcome": "refused",
            "topic": "a\u{1b}[2J\u{202e}", "section": null, "type": null,
            "address": "192.0.2.7", "bytes": 12, "reason": "mismatch", "count": 9,
            "last": "2026-11-30T02:04:31.120Z", "event": null,
        });
        let expected = [
            "2026-11-30 02:04:31.120",
            "refused ×9",
            "a\u{fffd}[2J\u{fffd}",
            "–",
            "192.0.2.7",
            "12",
            "r-41",
            "mismatch",
        ];
        assert_eq!(cells(&row), expected);
        let mut taken = row.clone();
        taken["event"] = json!("k3f9x2ab-1");
        assert_eq!(cells(&taken)[7], "mismatch, taken as k3f9x2ab-1");
        let duplicate = json!({"outcome": "duplicate", "event": "k3f9x2ab-1", "count": 1});
        assert_eq!(cells(&duplicate)[7], "of k3f9x2ab-1");
    }

    #[test]
    fn filters_are_sent_as_they_are_meant() {
        let query = [("type", "a&b=c".to_owned()), ("limit", "5".to_owned())];
        assert_eq!(path("/x", &query), "/x?type=a%26b%3Dc&limit=5");
    }
}
