//! A stretch of history that a subscriber asked for and can't be given.

use std::fmt;

use hookrill_core::Cursor;
use serde_json::Value;

/// The most characters that are repeated of an id that is not one of ours.
const FOREIGN_ID_CHARS_MAX: usize = 64;

/// Why a subscriber was not given what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// The id is another journal's; the stream goes on from the oldest event.
    Epoch,
    /// Retention deleted what was asked for; it goes on from the floor.
    Retention,
    /// The id is above the journal's head, and it goes on from the head; or no journal
    /// has such ids, and it begins as for a subscriber without an id.
    Unknown,
    /// What was asked for is damaged on the disk; it goes on behind it.
    Damaged,
}

/// Where a subscriber asked to continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedFrom {
    /// At this position.
    Cursor(Cursor),
    /// At an id of some other server.
    Foreign(ForeignId),
}

/// An id that is not a cursor, in short: what a client that remembers it sends is not
/// a cursor either. Invariant: printable ASCII, so that no field of SSE ends in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ForeignId(Box<str>);

/// A stretch of history that a subscriber asked for and can't be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// What was asked to continue from.
    pub asked: AskedFrom,
    /// The position just before what follows.
    pub resumed: Cursor,
}

impl GapReason {
    /// The reason as subscribers see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Retention => "retention",
            Self::Unknown => "unknown",
            Self::Damaged => "damaged",
        }
    }
}

impl Gap {
    /// The gap as JSON: `{"reason":…,"asked":…,"resumed":…}`.
    #[must_use]
    pub fn json(&self) -> String {
        // Cursors and reasons have no character that JSON would escape.
        format!(
            r#"{{"reason":"{}","asked":{},"resumed":"{}"}}"#,
            self.reason.as_str(),
            Value::from(self.asked.to_string()),
            self.resumed
        )
    }
}

impl ForeignId {
    /// What can be repeated of `id`.
    #[must_use]
    pub fn new(id: &str) -> Self {
        let is_kept = |c: char| c == ' ' || c.is_ascii_graphic();
        let shown = |c| if is_kept(c) { c } else { '?' };
        let mut short: String = id.chars().map(shown).take(FOREIGN_ID_CHARS_MAX).collect();
        // A part of it could be a cursor.
        if id.chars().nth(FOREIGN_ID_CHARS_MAX).is_some() {
            short.push_str("...");
        }
        debug_assert!(short.parse::<Cursor>().is_err(), "{short} is a cursor");
        Self(short.into())
    }
}

impl From<Cursor> for AskedFrom {
    fn from(cursor: Cursor) -> Self {
        Self::Cursor(cursor)
    }
}

impl fmt::Display for AskedFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cursor(cursor) => cursor.fmt(f),
            Self::Foreign(ForeignId(id)) => f.write_str(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_server_comes_back_in_one_line_and_is_never_a_cursor() {
        let zeros = format!("e-{}", "0".repeat(90));
        let nines = format!("{zeros}{}", "9".repeat(30));
        for (id, shown) in [
            ("42", "42"),
            ("urn:uuid:5e8f", "urn:uuid:5e8f"),
            ("a\"b\\", "a\"b\\"),
            ("a\rid: 1\n\0\u{e9}", "a?id: 1???"),
            (&nines, &format!("{}...", &nines[..64])),
        ] {
            let gap = Gap {
                reason: GapReason::Unknown,
                asked: AskedFrom::Foreign(ForeignId::new(id)),
                resumed: "e-7".parse().unwrap(),
            };
            assert_eq!(gap.asked.to_string(), shown);
            assert!(gap.asked.to_string().parse::<Cursor>().is_err());
            let told: Value = serde_json::from_str(&gap.json()).unwrap();
            assert_eq!(told["asked"], shown);
        }
    }
}
