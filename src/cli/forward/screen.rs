//! What is shown: a line for each attempt, and one line in place at the bottom.
//!
//! Lines are results and go to stdout, for people or as JSON; what is going on goes to
//! stderr. Invariant: nothing that a sender, a gateway or a program chose reaches a
//! terminal as anything but printable text.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use hookrill_core::{Timestamp, printable};
use rustix::termios::tcgetwinsize;
use serde_json::{Value, json};

use super::{super::output, delivery::StoredDelivery, signing::SignatureState};
use crate::config::Environment;

/// The most characters of a line in place where the terminal does not say how wide it is.
const IN_PLACE_CHARS_MAX: usize = 78;
/// The most characters of a message of others.
const MESSAGE_CHARS_MAX: usize = 300;

/// How an attempt is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputForm {
    Lines,
    Json,
}

/// Where everything is shown.
pub(super) struct Screen {
    form: OutputForm,
    /// Whether stderr is a terminal on which a line can be taken back.
    has_in_place: bool,
    /// Whether a line in place is there.
    is_dirty: bool,
}

/// An attempt that has ended.
pub(super) struct AttemptLine<'a> {
    pub(super) delivery: &'a StoredDelivery,
    pub(super) url: &'a str,
    /// Host and port, where there are several targets.
    pub(super) host: Option<&'a str>,
    pub(super) at: Timestamp,
    pub(super) number: u32,
    pub(super) proof: SignatureState,
    /// `delivered`, `refused`, `retrying`, `failed` or `waiting`.
    pub(super) outcome: &'static str,
    pub(super) status: Option<u16>,
    pub(super) took: Option<Duration>,
    /// How long the delivery has waited for its program.
    pub(super) waited: Option<Duration>,
    /// What else is to say.
    pub(super) message: String,
}

impl Screen {
    pub(super) fn new(is_json: bool, environment: &Environment) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let is_dumb = environment.get("TERM").is_none_or(|term| term == "dumb");
        Self {
            form: if is_json || !is_terminal {
                OutputForm::Json
            } else {
                OutputForm::Lines
            },
            has_in_place: io::stderr().is_terminal() && !is_dumb,
            is_dirty: false,
        }
    }

    /// A line about what is going on.
    pub(super) fn status(&mut self, text: &str) {
        self.clear();
        output::status(format_args!("{text}"));
    }

    /// The line at the bottom, until anything else is shown.
    pub(super) fn in_place(&mut self, text: &str) {
        if !self.has_in_place {
            return;
        }
        // One that wraps can't be taken back.
        let width = tcgetwinsize(io::stderr()).map(|size| usize::from(size.ws_col));
        let width = width.ok().filter(|width| *width > 1);
        let text = printable(text, width.map_or(IN_PLACE_CHARS_MAX, |width| width - 1));
        self.is_dirty = true;
        // Where stderr is closed, nobody looks.
        _ = write!(io::stderr(), "\r\x1b[K{text}");
    }

    /// Takes the line in place back.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_dirty) {
            _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    /// Shows an attempt.
    pub(super) fn attempt(&mut self, line: &AttemptLine<'_>) -> anyhow::Result<()> {
        self.clear();
        match self.form {
            OutputForm::Lines => output::print(format!("{}\n", text(line))),
            OutputForm::Json => output::print(format!("{}\n", object(line))),
        }
    }

    /// Shows something that is not an attempt and belongs among the results.
    pub(super) fn notice(&mut self, text: &str, object: &Value) -> anyhow::Result<()> {
        self.clear();
        match self.form {
            OutputForm::Lines => output::print(format!("{text}\n")),
            OutputForm::Json => {
                output::status(format_args!("hookrill: {text}"));
                output::print(format!("{object}\n"))
            }
        }
    }

    /// Prints lines for people, as they are.
    pub(super) fn page(&mut self, text: &str) -> anyhow::Result<()> {
        self.clear();
        output::print(text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The time of day, in UTC.
pub(super) fn time_of_day(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{}Z", text.get(11..19).unwrap_or_default())
}

fn text(line: &AttemptLine<'_>) -> String {
    let delivery = line.delivery;
    let kind = if delivery.event_type.is_empty() {
        delivery.topic.as_str()
    } else {
        &delivery.event_type
    };
    let host = line
        .host
        .map(|host| format!("{host}  "))
        .unwrap_or_default();
    let mut text = format!(
        "{}  {kind:<16} {:<14} {:>8}  →  {host}",
        time_of_day(line.at),
        delivery.name(),
        size(delivery.body.len()),
    );
    if let Some(status) = line.status {
        text.push_str(&format!("{status:<3} "));
    }
    if let Some(took) = line.took {
        text.push_str(&format!("{:>4} ms  ", took.as_millis()));
    }
    if line.proof == SignatureState::Fresh {
        text.push_str("signed again  ");
    }
    text.push_str(&printable(&line.message, MESSAGE_CHARS_MAX));
    text.truncate(text.trim_end().len());
    if let Some(waited) = line.waited {
        text.push_str(&format!("  ({} late)", duration(waited)));
    }
    text
}

fn object(line: &AttemptLine<'_>) -> Value {
    let delivery = line.delivery;
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    json!({
        "at": line.at.to_string(),
        "id": delivery.name(),
        "topic": delivery.topic.as_str(),
        "type": delivery.event_type,
        "time": delivery.arrived.to_string(),
        "method": delivery.method.as_str(),
        "url": line.url,
        "bytes": delivery.body.len(),
        "headers_cut": delivery.is_cut,
        "attempt": line.number,
        "signature": match line.proof { SignatureState::Kept => "kept", SignatureState::Fresh => "fresh" },
        "outcome": line.outcome,
        "status": line.status,
        "ms": line.took.map(ms),
        "waited_ms": line.waited.map(ms),
        "message": printable(&line.message, MESSAGE_CHARS_MAX),
    })
}

/// A size, for people.
pub(super) fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// A time span, for people.
pub(super) fn duration(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0 => "less than 1 s".to_owned(),
        1..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", secs / 60),
        _ => format!("{} h", secs / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::delivery::tests::stored, *};

    fn line<'a>(delivery: &'a StoredDelivery, message: &str) -> AttemptLine<'a> {
        AttemptLine {
            delivery,
            url: "http://localhost:3000/",
            host: None,
            at: Timestamp::from_unix_ms(1_614_265_330_123),
            number: 1,
            proof: SignatureState::Kept,
            outcome: "delivered",
            status: Some(200),
            took: Some(Duration::from_millis(14)),
            waited: None,
            message: message.to_owned(),
        }
    }

    #[test]
    fn an_attempt_is_one_line_without_anything_that_a_terminal_acts_upon() {
        let hostile = stored(serde_json::json!({"type": "push\u{1b}[2J\n"}));
        let mut shown = line(&hostile, "\u{1b}]0;owned\u{7}\r\nType\u{9b}2J");
        shown.waited = Some(Duration::from_secs(12));
        let text = text(&shown);
        assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
        assert!(text.ends_with("(12 s late)"), "{text}");
        let json = object(&shown).to_string();
        assert!(!json.contains(|c: char| c.is_control()), "{json:?}");
    }

    #[test]
    fn a_line_says_when_what_how_much_and_what_came_of_it() {
        let delivery = stored(serde_json::json!({}));
        assert_eq!(
            text(&line(&delivery, "")),
            "15:02:10Z  order.paid       e-7                 2 B  →  200   14 ms"
        );
        let mut late = line(&delivery, "");
        late.waited = Some(Duration::from_secs(12));
        assert!(text(&late).ends_with("→  200   14 ms  (12 s late)"));
        let object = object(&line(&delivery, ""));
        assert_eq!(
            (&object["status"], &object["ms"]),
            (&json!(200), &json!(14))
        );
        assert_eq!(
            (&object["outcome"], &object["id"]),
            (&json!("delivered"), &json!("e-7"))
        );
    }

    #[test]
    fn sizes_and_times_are_those_of_people() {
        assert_eq!(
            [999, 2_100, 3_000_000].map(size),
            ["999 B", "2.1 kB", "3.0 MB"]
        );
        let spans = [0, 119, 120, 7_199, 7_200]
            .map(Duration::from_secs)
            .map(duration);
        assert_eq!(spans, ["less than 1 s", "119 s", "2 min", "119 min", "2 h"]);
    }
}
