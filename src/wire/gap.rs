//! A stretch of history that a subscriber asked for and can't be given.

use hookrill_core::Cursor;

/// Why a subscriber was not given what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// The id is another journal's; the stream goes on from the oldest event.
    Epoch,
    /// Retention deleted what was asked for; it goes on from the floor.
    Retention,
    /// The id is above the journal's head; it goes on from the head.
    Unknown,
    /// What was asked for is damaged on the disk; it goes on behind it.
    Damaged,
}

/// A stretch of history that a subscriber asked for and can't be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The cursor that was asked to continue from.
    pub asked: Cursor,
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
            r#"{{"reason":"{}","asked":"{}","resumed":"{}"}}"#,
            self.reason.as_str(),
            self.asked,
            self.resumed
        )
    }
}
