//! What a check of a journal's folder found.
//!
//! Invariant: no more than [`DAMAGE_LISTED_MAX`] are listed, and the rest is
//! counted.

use std::{fmt, ops::Range, path::PathBuf};

use hookrill_core::Sequence;

/// The most damages that are listed one by one.
const DAMAGE_LISTED_MAX: usize = 10_000;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalReport {
    /// How many segments there are.
    pub segments: usize,
    /// How many events are whole, of those that retention has not deleted.
    pub events: u64,
    /// How many of them are damaged or missing.
    pub damaged_events: u64,
    /// How many were given up by an earlier `--new-epoch`.
    pub given_up_events: u64,
    /// All damage, in the order of the files.
    pub damage: Vec<JournalDamage>,
    /// How much more there is.
    pub unlisted: u64,
}

/// One damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalDamage {
    /// In which file.
    pub file: PathBuf,
    /// Where in it, as far as is known.
    pub bytes: Option<Range<u64>>,
    /// The first and the last of the events that are lost, if any are.
    pub events: Option<(Sequence, Sequence)>,
    /// What it is.
    pub kind: DamageKind,
}

/// What is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// Events.
    Events,
    /// A log without events that are lost: bytes around them.
    Log,
    /// The header of a log.
    LogHeader,
    /// The length of a log.
    LogLength,
    /// A log that is not there.
    LogMissing,
    /// The index of a segment.
    Index,
    /// The memory of deliveries of a segment.
    Dedup,
    /// The file that says how far events were acknowledged.
    HighWater,
    /// The file that says up to where events were deleted.
    Floor,
    /// Nothing, perhaps: a newer Hookrill wrote it.
    Newer,
}

impl DamageKind {
    /// Its name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Log => "log",
            Self::LogHeader => "log_header",
            Self::LogLength => "log_length",
            Self::LogMissing => "log_missing",
            Self::Index => "index",
            Self::Dedup => "dedup",
            Self::HighWater => "high_water",
            Self::Floor => "floor",
            Self::Newer => "newer",
        }
    }
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Events => "events are damaged",
            Self::Log => "bytes between events are damaged; no event is lost",
            Self::LogHeader => "the first bytes are damaged; events behind them count as far as they can be verified",
            Self::LogLength => "it is longer than it was written",
            Self::LogMissing => "no file has these events",
            Self::Index => "damaged; it can be made from the log",
            Self::Dedup => "damaged; it can be made from the log, if that is whole",
            Self::HighWater => "damaged, missing, or of another journal",
            Self::Floor => "damaged; deleted events may come back",
            Self::Newer => "written by a newer Hookrill: check it with that one",
        })
    }
}

impl JournalReport {
    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }

    pub(super) fn add(&mut self, damage: JournalDamage) {
        if let Some((first, last)) = damage.events {
            assert!(first <= last, "a damage has an event, or names none");
            self.damaged_events += last.0 - first.0 + 1;
        }
        if self.damage.len() < DAMAGE_LISTED_MAX {
            self.damage.push(damage);
        } else {
            self.unlisted += 1;
        }
    }
}
