//! How many log lines per second strangers may cause.
//!
//! Whoever is refused can try again as often as the network allows, and must not
//! fill the disk with log lines. The metrics count every refusal.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use hookrill_core::Timestamp;

/// Lines per second.
const LINES_MAX: u32 = 20;

/// What is left of this second's lines.
#[derive(Debug, Default)]
pub(super) struct LogBudget {
    second: AtomicU64,
    lines: AtomicU32,
}

impl LogBudget {
    /// Whether one more line may be written. Two threads at the turn of a
    /// second may get one line too many.
    pub(super) fn take(&self, now: Timestamp) -> bool {
        let second = now.unix_secs();
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.lines.store(0, Ordering::Relaxed);
        }
        // Wraps around after 2^32 refusals in a second.
        self.lines.fetch_add(1, Ordering::Relaxed) < LINES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_so_many_lines_and_no_more() {
        let budget = LogBudget::default();
        for second in [7, 8] {
            let now = Timestamp::from_unix_secs(second);
            let taken = (0..1_000).filter(|_| budget.take(now)).count();
            assert_eq!(taken, LINES_MAX as usize);
        }
    }
}
