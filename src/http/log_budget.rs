//! How many log lines strangers may cause, and how many were left out.
//!
//! Whoever is refused can try again as often as the network allows, and must not
//! fill the disk with log lines, nor hide the refusals of others behind them. So
//! lines that have their message, reason and section in common share a budget, and
//! in it each sender has a share that shrinks as it is used up. A line says how many
//! were left out. The metrics count every refusal.
//!
//! Invariant: in each window, each kind of line may be written at least
//! [`LINES_MIN`] times, and all kinds together no more than [`LINES_IN_ALL`] times
//! beyond that. The memory is bounded, whoever they are.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use hookrill_core::Timestamp;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};
use tracing::Level;

use super::limits::Address;

/// How long a budget lasts.
const WINDOW: Duration = Duration::from_secs(10);
/// About how many lines of one kind are written in a window: a sender alone may cause
/// a fifth of them, the next one a fifth of the rest.
const LINES_PER_KIND: u16 = 100;
/// How many lines of a kind may be written in a window, by so many senders, however
/// many lines of other kinds there are.
const LINES_MIN: u16 = 3;
/// How many lines of all kinds are written in a window, but for those.
const LINES_IN_ALL: u16 = 1_000;
/// Into so many groups addresses are put, by a hash that changes each window.
const ADDRESS_GROUPS: usize = 16;
/// Into so many groups the user agents of an address are put: one that sends junk
/// from behind the same proxy as others does not hide theirs.
const AGENT_GROUPS: usize = 4;
/// The most kinds at one time; beyond it, sections share one.
const KINDS_MAX: usize = 4_096;
/// How often it is looked whether a window has ended in which lines were left out.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Writes a line at a level that is known only now: `tracing` needs it in its macro.
macro_rules! at_level {
    ($level:expr, $($line:tt)*) => {
        match $level {
            tracing::Level::ERROR => tracing::error!($($line)*),
            tracing::Level::WARN => tracing::warn!($($line)*),
            _ => tracing::info!($($line)*),
        }
    };
}
pub(super) use at_level;

/// What lines have in common that share a budget.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LineKind {
    /// The line's message: `delivery refused`.
    pub(super) message: &'static str,
    /// At which level it is.
    pub(super) level: Level,
    /// Why it is written, as the metrics have it.
    pub(super) reason: &'static str,
    /// Of which section it is; `None` where no section is concerned, and where none
    /// covers the topic.
    pub(super) section: Option<Arc<str>>,
}

/// Who causes a line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LineCause<'c> {
    pub(super) client: Option<IpAddr>,
    pub(super) user_agent: &'c [u8],
}

/// What is left of each budget.
#[derive(Debug, Default)]
pub(super) struct LogBudget {
    windows: Mutex<Windows>,
    /// Told when there are windows that have to be ended.
    due: Notify,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Windows {
    by_kind: HashMap<LineKind, Window>,
    /// When the window of [`Self::lines`] began.
    began: Timestamp,
    /// Lines of all kinds in it, but for the first [`LINES_MIN`] of a kind.
    lines: u16,
}

/// A kind's lines in one window.
#[derive(Debug)]
struct Window {
    began: Timestamp,
    lines: u16,
    by_group: [u8; ADDRESS_GROUPS * AGENT_GROUPS],
    left_out: u64,
}

/// How many lines were left out in a window that has ended.
#[derive(Debug, PartialEq, Eq)]
struct LeftOut {
    kind: LineKind,
    lines: u64,
    lasted: Duration,
}

impl LogBudget {
    /// Whether one more line of this kind may be written now, by a clock that is never
    /// set.
    pub(super) fn take(&self, kind: &LineKind, cause: LineCause<'_>, now: Timestamp) -> bool {
        let mut windows = self.windows.lock();
        let kind = windows.kind(kind);
        let ended = windows.end(&kind, now);
        let is_taken = windows.take(kind, now, |began| self.group(cause, began));
        // One kind more may be shared by those that come on top.
        let is_full = windows.by_kind.len() >= KINDS_MAX;
        drop(windows);
        if let Some(left_out) = ended {
            left_out.log();
        }
        if !is_taken || is_full {
            self.due.notify_one();
        }
        is_taken
    }

    /// Says how many lines were left out once their window has ended: whoever flooded
    /// may not come again. To be dropped at the end.
    pub(super) async fn run(&self, now: impl Fn() -> Timestamp) {
        loop {
            self.due.notified().await;
            loop {
                sleep(LOOK_EVERY).await;
                self.end_windows(now(), WINDOW);
                if !self.windows.lock().have_left_out() {
                    break;
                }
            }
        }
    }

    /// Says how many lines were left out until now.
    pub(super) fn close(&self, now: Timestamp) {
        self.end_windows(now, Duration::ZERO);
    }

    /// Ends all windows that have lasted so long.
    fn end_windows(&self, now: Timestamp, lasted_min: Duration) {
        let ended = self.windows.lock().end_all(now, lasted_min);
        for left_out in ended {
            left_out.log();
        }
    }

    /// Changes with each window, so that nobody shares a group with a flood for long.
    fn group(&self, cause: LineCause<'_>, began: Timestamp) -> usize {
        let address = cause.client.map(Address::from);
        let by_address = self.hasher.hash_one((address, began.unix_ms())) as usize;
        let by_agent = self.hasher.hash_one((cause.user_agent, began.unix_ms())) as usize;
        by_address % ADDRESS_GROUPS * AGENT_GROUPS + by_agent % AGENT_GROUPS
    }
}

impl Windows {
    /// The kind itself, or one that it shares with others where there are too many.
    fn kind(&self, kind: &LineKind) -> LineKind {
        if self.by_kind.len() < KINDS_MAX || self.by_kind.contains_key(kind) {
            return kind.clone();
        }
        LineKind {
            section: None,
            ..kind.clone()
        }
    }

    /// Ends this kind's window where it is over.
    fn end(&mut self, kind: &LineKind, now: Timestamp) -> Option<LeftOut> {
        if now.since(self.by_kind.get(kind)?.began) < WINDOW {
            return None;
        }
        let (kind, window) = self.by_kind.remove_entry(kind)?;
        window.left_out(kind, now)
    }

    fn end_all(&mut self, now: Timestamp, lasted_min: Duration) -> Vec<LeftOut> {
        let ended = (self.by_kind).extract_if(|_, window| now.since(window.began) >= lasted_min);
        ended
            .filter_map(|(kind, window)| window.left_out(kind, now))
            .collect()
    }

    fn have_left_out(&self) -> bool {
        self.by_kind.values().any(|window| window.left_out > 0)
    }

    fn take(
        &mut self,
        kind: LineKind,
        now: Timestamp,
        group: impl FnOnce(Timestamp) -> usize,
    ) -> bool {
        if now.since(self.began) >= WINDOW {
            (self.began, self.lines) = (now, 0);
        }
        let window = self.by_kind.entry(kind).or_insert_with(|| Window::new(now));
        let of_group = &mut window.by_group[group(window.began)];
        let is_first = *of_group == 0;
        let is_reserved = is_first && window.lines < LINES_MIN;
        let share = LINES_PER_KIND.saturating_sub(window.lines) / 4;
        let is_taken = is_reserved
            || (self.lines < LINES_IN_ALL && (is_first || u16::from(*of_group) < share));
        if !is_taken {
            window.left_out += 1;
            return false;
        }
        if !is_reserved {
            self.lines += 1;
        }
        *of_group += 1;
        window.lines += 1;
        true
    }
}

impl Window {
    fn new(began: Timestamp) -> Self {
        Self {
            began,
            lines: 0,
            by_group: [0; ADDRESS_GROUPS * AGENT_GROUPS],
            left_out: 0,
        }
    }

    fn left_out(&self, kind: LineKind, now: Timestamp) -> Option<LeftOut> {
        (self.left_out > 0).then(|| LeftOut {
            kind,
            lines: self.left_out,
            lasted: now.since(self.began),
        })
    }
}

impl LeftOut {
    fn log(&self) {
        let LineKind {
            message,
            level,
            reason,
            section,
        } = &self.kind;
        let (lines, secs) = (self.lines, self.lasted.as_secs().max(1));
        at_level!(
            *level,
            section = section.as_deref(),
            reason,
            "{message}: {lines} more like this were left out in the last {secs} s"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_secs(1_000);

    fn kind(reason: &'static str, section: &str) -> LineKind {
        LineKind {
            message: "delivery refused",
            level: Level::WARN,
            reason,
            section: Some(section.into()),
        }
    }

    fn from(address: u32) -> LineCause<'static> {
        LineCause {
            client: Some(Ipv4Addr::from(address).into()),
            user_agent: b"",
        }
    }

    fn at(secs: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(secs))
    }

    /// How many of so many lines are written.
    fn taken(budget: &LogBudget, kind: &LineKind, cause: LineCause<'_>, lines: usize) -> usize {
        let taken = (0..lines).filter(|_| budget.take(kind, cause, NOW));
        taken.count()
    }

    #[test]
    fn a_window_has_so_many_lines_of_a_sender_and_the_next_window_as_many_again() {
        let (budget, kind) = (LogBudget::default(), kind("mismatch", "github"));
        for secs in [0, 10, 20, 1_000] {
            let taken = (0..1_000).filter(|_| budget.take(&kind, from(1), at(secs)));
            assert_eq!(taken.count(), 20, "{secs}");
        }
    }

    #[test]
    fn a_flood_hides_no_refusal_of_another_reason_or_section() {
        let budget = LogBudget::default();
        let unknown = LineKind {
            section: None,
            ..kind("topic_unknown", "")
        };
        taken(&budget, &unknown, from(1), 100_000);
        taken(&budget, &kind("mismatch", "github"), from(1), 100_000);
        assert_eq!(taken(&budget, &kind("mismatch", "stripe"), from(2), 6), 6);
        assert_eq!(taken(&budget, &kind("stale", "github"), from(1), 6), 6);
    }

    #[test]
    fn a_flood_hides_no_refusal_of_another_sender_for_long() {
        let (budget, kind) = (LogBudget::default(), kind("mismatch", "github"));
        let agent = LineCause {
            user_agent: b"GitHub-Hookshot/1",
            ..from(1)
        };
        // With one of many floods, the sender may share its group for a window.
        let windows = |cause| {
            let seen = (0..40).filter(|window| {
                let now = at(window * 10);
                for flooding in 0..2 {
                    for _ in 0..1_000 {
                        budget.take(&kind, from(flooding), now);
                    }
                }
                budget.take(&kind, cause, now)
            });
            seen.count()
        };
        assert!(windows(from(7)) > 20, "another address");
        budget.close(at(400));
        assert!(windows(agent) > 10, "another user agent of an address");
    }

    #[test]
    fn all_kinds_together_are_bounded_and_each_has_a_line() {
        let budget = LogBudget::default();
        let mut lines = 0;
        for section in 0..1_000 {
            let kind = kind("mismatch", &section.to_string());
            let some = taken(&budget, &kind, from(1), 100);
            assert!(some > 0, "{section}");
            lines += some;
        }
        assert!(lines <= usize::from(LINES_IN_ALL) + 3_000, "{lines}");
    }

    #[test]
    fn the_memory_is_bounded_whatever_is_configured() {
        let budget = LogBudget::default();
        for section in 0..10_000 {
            budget.take(&kind("mismatch", &section.to_string()), from(1), NOW);
        }
        // One more that the others share.
        assert_eq!(budget.windows.lock().by_kind.len(), KINDS_MAX + 1);
        budget.end_windows(at(10), WINDOW);
        assert_eq!(budget.windows.lock().by_kind.len(), 0);
    }

    #[test]
    fn what_was_left_out_is_told_once_with_its_kind() {
        let (budget, kind) = (LogBudget::default(), kind("mismatch", "github"));
        taken(&budget, &kind, from(1), 137);
        let mut windows = budget.windows.lock();
        assert_eq!(windows.end(&kind, at(9)), None, "it is not over");
        let told = LeftOut {
            kind: kind.clone(),
            lines: 117,
            lasted: Duration::from_secs(12),
        };
        assert_eq!(windows.end_all(at(12), WINDOW), [told]);
        assert!(!windows.have_left_out());
        assert_eq!(windows.end_all(at(30), WINDOW), []);
    }

    #[tokio::test(start_paused = true)]
    async fn windows_that_are_too_many_are_ended_though_nothing_was_left_out() {
        let budget = LogBudget::default();
        let began = tokio::time::Instant::now();
        let now = || NOW.plus(began.elapsed());
        let kind = |n: usize| kind("mismatch", &n.to_string());
        for n in 0..=KINDS_MAX {
            assert!(budget.take(&kind(n), from(1), now()));
        }
        assert_eq!(budget.windows.lock().by_kind.len(), KINDS_MAX + 1);
        let coming = async {
            // Looked for in vain, as no window is over yet.
            sleep(2 * LOOK_EVERY).await;
            sleep(WINDOW).await;
            assert!(budget.take(&kind(0), from(1), now()));
            sleep(2 * LOOK_EVERY).await;
            budget.windows.lock().by_kind.len()
        };
        let left = tokio::select! {
            () = budget.run(now) => unreachable!(),
            left = coming => left,
        };
        assert_eq!(left, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_left_out_is_told_when_the_flood_has_ended() {
        let (budget, kind) = (LogBudget::default(), kind("mismatch", "github"));
        let began = tokio::time::Instant::now();
        taken(&budget, &kind, from(1), 137);
        let telling = budget.run(|| NOW.plus(began.elapsed()));
        let told = async {
            while budget.windows.lock().have_left_out() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = telling => unreachable!(),
            () = told => {}
        }
        assert!((10..=11).contains(&began.elapsed().as_secs()));
    }
}
