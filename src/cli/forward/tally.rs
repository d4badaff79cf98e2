//! What has been sent so far, and how to go on from there.
//!
//! Invariant: what has failed is counted to the last one, and named up to a maximum.

use std::{collections::VecDeque, rc::Rc};

use bytes::Bytes;
use hookrill_client::RelayAnswer;
use hookrill_core::Cursor;

use super::{delivery::StoredDelivery, outgoing::Outgoing, saved::quoted};

/// So many of those that failed are remembered by name.
const FAILED_MAX: usize = 1_000;
/// So many of them stand in a command.
const NAMED_MAX: usize = 20;

/// The last delivery that was sent, for whoever wants to see it or send it again.
pub(super) struct LastSent {
    /// Which program it went to.
    pub(super) app: usize,
    pub(super) delivery: Rc<StoredDelivery>,
    /// Without its secrets.
    pub(super) request: Outgoing,
    pub(super) answer: Option<RelayAnswer>,
}

/// Counts.
#[derive(Default)]
pub(super) struct ForwardTally {
    pub(super) delivered: u64,
    pub(super) failed: u64,
    /// Deliveries that were not wanted.
    pub(super) passed_over: u64,
    failed_ids: VecDeque<(Cursor, usize)>,
    pub(super) last: Option<LastSent>,
}

impl ForwardTally {
    pub(super) fn count_failed(&mut self, id: Cursor, app: usize) {
        self.failed += 1;
        if self.failed_ids.iter().any(|(other, _)| *other == id) {
            return;
        }
        if self.failed_ids.len() == FAILED_MAX {
            self.failed_ids.pop_front();
        }
        self.failed_ids.push_back((id, app));
    }

    pub(super) fn count_delivered(&mut self, id: &Cursor) {
        self.delivered += 1;
        // It may have failed before.
        self.failed_ids.retain(|(other, _)| other != id);
    }

    /// Those that failed and have not been delivered since.
    pub(super) fn failed_ids(&self) -> Vec<(Cursor, usize)> {
        self.failed_ids.iter().copied().collect()
    }

    /// `2 delivered, 1 failed`.
    pub(super) fn counts(&self) -> String {
        let mut text = format!("{} delivered, {} failed", self.delivered, self.failed);
        if self.passed_over > 0 {
            text.push_str(&format!(", {} passed over by --match", self.passed_over));
        }
        text
    }

    /// The command that sends what failed again to this target.
    pub(super) fn again(&self, app: usize, target: &str, options: &str) -> Option<String> {
        let ids: Vec<_> = self
            .failed_ids
            .iter()
            .filter(|(_, own)| *own == app)
            .collect();
        let newest = ids.iter().skip(ids.len().saturating_sub(NAMED_MAX));
        let names: Vec<_> = newest.map(|(id, _)| id.to_string()).collect();
        let more = match ids.len() - names.len() {
            0 => String::new(),
            more => format!("   (and {more} earlier ones)"),
        };
        (!names.is_empty()).then(|| {
            format!(
                "hookrill resend {} {}{options}{more}",
                names.join(" "),
                word(target)
            )
        })
    }
}

/// One word of a command line, quoted where it has to be.
pub(super) fn word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@,%+".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    String::from_utf8_lossy(&quoted(text.as_bytes())).into_owned()
}

/// The beginning of a body, for people: JSON with its lines, other text as it is.
pub(super) fn body_shown(body: &Bytes, bytes_max: usize) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let pretty = json.and_then(|json| serde_json::to_string_pretty(&json).ok());
    let text = pretty.unwrap_or_else(|| {
        let beginning = &body[..body.len().min(bytes_max)];
        String::from_utf8_lossy(beginning).into_owned()
    });
    let shown: String = text
        .chars()
        .take(bytes_max)
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    let is_cut = shown.len() < text.len() || text.len() < body.len() && body.len() > bytes_max;
    if is_cut {
        format!("{shown}\n…")
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(number: u64) -> Cursor {
        format!("e-{number}").parse().unwrap()
    }

    #[test]
    fn what_failed_is_named_until_it_is_delivered_and_never_without_bound() {
        let mut tally = ForwardTally::default();
        for number in 1..=30 {
            tally.count_failed(cursor(number), 0);
        }
        tally.count_failed(cursor(30), 0);
        tally.count_failed(cursor(31), 1);
        tally.count_delivered(&cursor(29));
        assert_eq!(tally.counts(), "1 delivered, 32 failed");
        let again = tally.again(0, "3000/a?b=c", " --url http://a").unwrap();
        assert!(again.starts_with("hookrill resend e-10 e-11 "), "{again}");
        assert!(again.ends_with("e-28 e-30 '3000/a?b=c' --url http://a   (and 9 earlier ones)"));
        assert_eq!(
            tally.again(1, "3000", ""),
            Some("hookrill resend e-31 3000".to_owned())
        );
        assert_eq!(tally.again(2, "3000", ""), None);
        for number in 100..5_000 {
            tally.count_failed(cursor(number), 0);
        }
        assert_eq!(tally.failed_ids().len(), FAILED_MAX);
    }

    #[test]
    fn a_body_is_shown_without_what_a_terminal_acts_upon_and_not_to_its_end() {
        let shown = |body: &[u8], max| body_shown(&Bytes::copy_from_slice(body), max);
        assert_eq!(shown(b"{\"a\":[1]}", 99), "{\n  \"a\": [\n    1\n  ]\n}");
        assert_eq!(shown(b"a\x1b[2J\r\nb", 99), "a\u{fffd}[2J\u{fffd}\nb");
        assert_eq!(shown(b"abcdef", 3), "abc\n…");
        assert_eq!(shown(b"{\"a\":1e400}", 99), "{\"a\":1e400}");
    }
}
