//! The time for what deletes and forgets: a wall clock that is not believed at once
//! when it jumps.
//!
//! A wall clock can be set: by hand, by NTP after a start with a flat battery, by a
//! virtual machine that resumes. What is deleted in the three seconds until it is set
//! right is gone for good. So where it and a monotonic clock part, the time goes on
//! as it did before, until the wall clock has held for as long as the jump is wide,
//! or for [`HOLD_MAX`].
//!
//! Invariant: between two readings the time goes as far as the monotonic clock does,
//! save for [`TOLERANCE_MS`] and for a jump that has held.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{Clock, Timestamp};

/// Clocks that part by no more than this between two readings have not jumped, in
/// milliseconds. More than a leap second or NTP's usual steps.
const TOLERANCE_MS: u64 = 10_000;
/// Of a clock that jumps again and again, so often is told at most.
const TELL_PERIOD: Duration = Duration::from_secs(60);
/// For how long the widest jump has to hold.
const HOLD_MAX: Duration = Duration::from_secs(60 * 60);

/// A clock for what deletes and forgets. Cheap to clone; all clones are one clock.
#[derive(Clone)]
pub struct SteadyClock(Arc<Inner>);

struct Inner {
    clock: Clock,
    report: Box<dyn Fn(ClockJump) + Send + Sync>,
    state: Mutex<LastReading>,
}

#[derive(Debug)]
struct LastReading {
    /// The last reading, and when that was by the monotonic clock.
    now: Timestamp,
    read_at: Timestamp,
    jump: Option<Jump>,
    /// When a jump was told of last, by the monotonic clock.
    told_at: Option<Timestamp>,
}

/// The wall clock has parted from the time here, and is watched.
#[derive(Debug, Clone, Copy)]
struct Jump {
    by: Offset,
    /// By the monotonic clock.
    since: Timestamp,
    is_told: bool,
}

/// How far the wall clock is from the time here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offset {
    is_ahead: bool,
    ms: u64,
}

/// What a wall clock did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockJump {
    /// It was set; it is believed once that has held for `hold`.
    Noticed {
        /// Forwards.
        is_ahead: bool,
        /// How far.
        width: Duration,
        /// For how long that has to hold.
        hold: Duration,
    },
    /// After a restart it is so far ahead of what was stored last that the process was
    /// gone for long, or the clock is wrong; it is believed once that has held for
    /// `hold`.
    Resumed {
        /// How far.
        width: Duration,
        /// For how long that has to hold.
        hold: Duration,
    },
    /// That has held: it is believed.
    Held {
        /// How far it had been set.
        width: Duration,
    },
    /// It was set back to what it had been.
    Undone,
}

impl SteadyClock {
    /// The time of `clock`, save for its jumps, which `report` is told of.
    pub fn new(clock: Clock, report: impl Fn(ClockJump) + Send + Sync + 'static) -> Self {
        let state = Mutex::new(LastReading {
            now: clock.now(),
            read_at: clock.monotonic(),
            jump: None,
            told_at: None,
        });
        let report = Box::new(report);
        Self(Arc::new(Inner {
            clock,
            report,
            state,
        }))
    }

    /// The same without a report.
    #[must_use]
    pub fn silent(clock: Clock) -> Self {
        Self::new(clock, |_| {})
    }

    /// After a restart: so late it was when something was stored last. A wall clock
    /// that is far from that may be right, since nobody knows how long the process
    /// was gone; but it may have been set wrong meanwhile as well.
    pub fn resume_from(&self, last_stored: Timestamp) {
        let Inner {
            clock,
            report,
            state,
        } = &*self.0;
        let jump = state.lock().resume(last_stored, clock);
        if let Some(jump) = jump {
            report(jump);
        }
    }

    /// The present instant, as far as it is to be believed.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let Inner {
            clock,
            report,
            state,
        } = &*self.0;
        let (now, jump) = {
            let mut state = state.lock();
            let jump = state.read(clock.now(), clock.monotonic());
            (state.now, jump)
        };
        if let Some(jump) = jump {
            report(jump);
        }
        now
    }
}

impl SteadyClock {
    /// The latest that an honest stamp may say: what is beyond was stamped by a clock
    /// that was wrong.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        let latest = self.now().max(self.0.clock.now());
        latest.plus(Duration::from_millis(TOLERANCE_MS))
    }
}

impl fmt::Debug for SteadyClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SteadyClock")
            .field(&self.0.state.lock())
            .finish()
    }
}

impl LastReading {
    /// Begins again at what was stored last; returns what there is to tell.
    fn resume(&mut self, last_stored: Timestamp, clock: &Clock) -> Option<ClockJump> {
        let (wall, monotonic) = (clock.now(), clock.monotonic());
        *self = Self {
            now: last_stored.min(wall),
            read_at: monotonic,
            jump: None,
            told_at: None,
        };
        let by = Offset::between(self.now, wall);
        if by.ms <= TOLERANCE_MS {
            self.now = wall;
            return None;
        }
        // Most restarts take less than an hour, and are not worth a word.
        let is_told = by.width() >= HOLD_MAX;
        self.jump = Some(Jump {
            by,
            since: monotonic,
            is_told,
        });
        is_told.then(|| ClockJump::Resumed {
            width: by.width(),
            hold: by.hold(),
        })
    }

    /// Takes a reading; returns what there is to tell.
    fn read(&mut self, wall: Timestamp, monotonic: Timestamp) -> Option<ClockJump> {
        let expected = self.now.plus(monotonic.since(self.read_at));
        self.read_at = self.read_at.max(monotonic);
        let by = Offset::between(expected, wall);
        if by.ms <= TOLERANCE_MS {
            self.now = wall;
            let undone = self.jump.take().filter(|jump| jump.is_told);
            return undone.map(|_| ClockJump::Undone);
        }
        self.now = expected;
        match &mut self.jump {
            Some(jump) if jump.by.is_about(by) => {
                // Followed, so that a slow correction of an hour is not another jump.
                jump.by = by;
                if monotonic.since(jump.since) < by.hold() {
                    return None;
                }
                let is_told = jump.is_told;
                (self.now, self.jump) = (wall, None);
                is_told.then(|| ClockJump::Held { width: by.width() })
            }
            other => {
                let told = self.told_at;
                let is_told = told.is_none_or(|told| monotonic.since(told) >= TELL_PERIOD);
                *other = Some(Jump {
                    by,
                    since: monotonic,
                    is_told,
                });
                if is_told {
                    self.told_at = Some(monotonic);
                }
                is_told.then(|| ClockJump::Noticed {
                    is_ahead: by.is_ahead,
                    width: by.width(),
                    hold: by.hold(),
                })
            }
        }
    }
}

impl Offset {
    fn between(expected: Timestamp, wall: Timestamp) -> Self {
        Self {
            is_ahead: wall > expected,
            ms: wall.unix_ms().abs_diff(expected.unix_ms()),
        }
    }

    fn is_about(self, other: Self) -> bool {
        self.is_ahead == other.is_ahead && self.ms.abs_diff(other.ms) <= TOLERANCE_MS
    }

    fn width(self) -> Duration {
        Duration::from_millis(self.ms)
    }

    fn hold(self) -> Duration {
        self.width().min(HOLD_MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const NOON: Timestamp = Timestamp::from_unix_secs(1_800_000_000);
    const EIGHT_DAYS: Duration = Duration::from_secs(8 * 86_400);
    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3_600);

    /// A machine whose wall clock can be set.
    #[derive(Clone, Default)]
    struct Machine {
        uptime_ms: Arc<AtomicU64>,
        set_ahead_ms: Arc<AtomicU64>,
        set_back_ms: Arc<AtomicU64>,
        told: Arc<Mutex<Vec<ClockJump>>>,
    }

    impl Machine {
        fn clock(&self) -> SteadyClock {
            let (wall, monotonic, told) = (self.clone(), self.clone(), Arc::clone(&self.told));
            let clock = Clock::with_monotonic(
                move || wall.wall(),
                move || Timestamp::default().plus(monotonic.uptime()),
            );
            SteadyClock::new(clock, move |jump| told.lock().push(jump))
        }

        fn wall(&self) -> Timestamp {
            let ahead = Duration::from_millis(self.set_ahead_ms.load(Ordering::SeqCst));
            let back = Duration::from_millis(self.set_back_ms.load(Ordering::SeqCst));
            NOON.plus(self.uptime()).plus(ahead).minus(back)
        }

        fn uptime(&self) -> Duration {
            Duration::from_millis(self.uptime_ms.load(Ordering::SeqCst))
        }

        fn wait(&self, time: Duration) {
            self.uptime_ms
                .fetch_add(time.as_millis() as u64, Ordering::SeqCst);
        }

        fn set_ahead(&self, by: Duration) {
            self.set_ahead_ms
                .store(by.as_millis() as u64, Ordering::SeqCst);
        }

        fn set_back(&self, by: Duration) {
            self.set_back_ms
                .store(by.as_millis() as u64, Ordering::SeqCst);
        }

        fn told(&self) -> Vec<ClockJump> {
            std::mem::take(&mut self.told.lock())
        }
    }

    #[test]
    fn three_seconds_of_a_wrong_clock_change_nothing() {
        let machine = Machine::default();
        let clock = machine.clock();
        for set in [Machine::set_ahead, Machine::set_back] {
            machine.wait(TELL_PERIOD);
            let before = clock.now();
            set(&machine, EIGHT_DAYS);
            for waited in 1..=3 {
                machine.wait(SECOND);
                assert_eq!(clock.now(), before.plus(SECOND * waited));
            }
            set(&machine, Duration::ZERO);
            assert_eq!(clock.now(), machine.wall());
            let told = machine.told();
            assert!(
                matches!(told[..], [ClockJump::Noticed { width, hold, .. }, ClockJump::Undone] if width == EIGHT_DAYS && hold == HOUR),
                "{told:?}"
            );
        }
    }

    #[test]
    fn a_jump_that_holds_is_followed_after_its_width_or_an_hour() {
        for (width, hold) in [
            (Duration::from_secs(300), Duration::from_secs(300)),
            (EIGHT_DAYS, HOUR),
        ] {
            for set in [Machine::set_ahead, Machine::set_back] {
                let machine = Machine::default();
                let clock = machine.clock();
                set(&machine, width);
                let expected = clock.now();
                machine.wait(hold - SECOND);
                assert_eq!(clock.now(), expected.plus(hold - SECOND));
                machine.wait(SECOND);
                assert_eq!(clock.now(), machine.wall());
                assert_eq!(machine.told().pop(), Some(ClockJump::Held { width }));
            }
        }
    }

    #[test]
    fn a_clock_that_keeps_jumping_is_never_followed() {
        let machine = Machine::default();
        let clock = machine.clock();
        for n in 1..=10 {
            machine.set_ahead(EIGHT_DAYS * n);
            machine.wait(HOUR / 2);
            assert_eq!(clock.now(), NOON.plus(HOUR / 2 * n));
        }
        machine.told();
        // Nor told of at each reading.
        for n in 0..1_000 {
            machine.set_ahead(EIGHT_DAYS * (n % 2));
            machine.wait(SECOND / 10);
            _ = clock.now();
        }
        let told = machine.told().len();
        assert!((1..=5).contains(&told), "{told}");
    }

    #[test]
    fn small_steps_and_long_waits_are_no_jumps() {
        let machine = Machine::default();
        let clock = machine.clock();
        for n in 1..=100 {
            machine.set_ahead(SECOND * n);
            machine.wait(EIGHT_DAYS);
            assert_eq!(clock.now(), machine.wall());
        }
        assert_eq!(machine.told(), []);
    }

    #[test]
    fn after_a_restart_the_time_goes_on_from_what_was_stored_last() {
        let machine = Machine::default();
        machine.set_ahead(EIGHT_DAYS);
        let clock = machine.clock();
        clock.resume_from(NOON);
        machine.wait(SECOND);
        assert_eq!(clock.now(), NOON.plus(SECOND));
        machine.wait(HOUR);
        assert_eq!(clock.now(), machine.wall());
        let told = machine.told();
        assert!(
            matches!(
                told[..],
                [ClockJump::Resumed { .. }, ClockJump::Held { .. }]
            ),
            "{told:?}"
        );
        // A short one says nothing, and takes no longer than it is wide.
        clock.resume_from(machine.wall().minus(SECOND * 60));
        machine.wait(SECOND * 60);
        assert_eq!(clock.now(), machine.wall());
        assert_eq!(machine.told(), []);
        // What is from the future says nothing.
        clock.resume_from(machine.wall().plus(EIGHT_DAYS));
        assert_eq!(clock.now(), machine.wall());
    }
}
