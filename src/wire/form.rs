//! How a subscriber wants its events: format, coding, and how much of them.

use super::piece::Coding;

/// How a subscriber wants its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// SSE, the body as data.
    Raw,
    /// SSE, a CloudEvents 1.0 JSON object as data.
    CloudEvents,
    /// One CloudEvents 1.0 JSON object per line (`application/x-ndjson`).
    NdJson,
}

impl Format {
    pub(super) const COUNT: usize = 3;
}

/// All that two subscribers may want differently of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Form {
    /// How it is written.
    pub format: Format,
    /// How that is coded.
    pub coding: Coding,
    /// Whether bodies are whole, whatever their topics' views hide.
    pub full: bool,
}

impl Form {
    pub(super) const COUNT: usize = 2 * Format::COUNT * Coding::COUNT;

    /// The place of this form among all, were it `full` or not.
    pub(super) fn index_if(self, full: bool) -> usize {
        let written = self.format as usize * Coding::COUNT + self.coding as usize;
        2 * written + usize::from(full)
    }
}
