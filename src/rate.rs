//! How often something may happen: rates as people write them, and buckets
//! that hold to them.
//!
//! Refuses to wait and to know whom it is about: it says when the next one
//! fits, and time is an argument. Invariant: a bucket is one number, and over
//! any stretch of time it lets through no more than a burst and the rate.

use std::{
    fmt,
    ops::RangeInclusive,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hookrill_core::Timestamp;

/// How many a rate may name.
const COUNT: RangeInclusive<u64> = 1..=1_000_000;
/// As many may come at once, where a second's worth is not more.
const BURST_MAX: u64 = 1_000;
const NANOS_PER_SEC: u64 = 1_000_000_000;
const NANOS_PER_MS: u64 = 1_000_000;

/// At most so many in a period, spread evenly but for a burst: `100/s`,
/// `600/m`, `5/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u64,
    period: Period,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
    Hour,
}

impl Period {
    const fn secs(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }
}

/// Why a text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Not the form of one.
    #[error("a rate is a whole number and a period, such as 100/s, 600/m or 5/h")]
    Form,
    /// A number that no rate has.
    #[error("a rate is from {} to {}, per s, m or h", COUNT.start(), COUNT.end())]
    Count,
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (count, period) = text.split_once('/').ok_or(RateError::Form)?;
        let period = match period {
            "s" => Period::Second,
            "m" => Period::Minute,
            "h" => Period::Hour,
            _ => return Err(RateError::Form),
        };
        if count.is_empty() || !count.bytes().all(|b| b.is_ascii_digit()) {
            return Err(RateError::Form);
        }
        // Digits that are no number are too many of them.
        let count = count.parse().map_err(|_| RateError::Count)?;
        match COUNT.contains(&count) {
            true => Ok(Self { count, period }),
            false => Err(RateError::Count),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = match self.period {
            Period::Second => "s",
            Period::Minute => "m",
            Period::Hour => "h",
        };
        write!(f, "{}/{period}", self.count)
    }
}

impl Rate {
    /// How many may come at once: all of a period's, but no more than
    /// [`BURST_MAX`] or a second's worth, whichever is more. Without that
    /// bound, `100000/h` would let an hour's worth through in one second.
    #[must_use]
    pub fn burst(self) -> u64 {
        let of_a_second = self.count.div_ceil(self.period.secs());
        self.count.min(of_a_second.max(BURST_MAX))
    }

    /// From one to the next, in nanoseconds; rounded up, so that the rate is
    /// never more than what was written.
    fn interval_ns(self) -> u64 {
        (self.period.secs() * NANOS_PER_SEC).div_ceil(self.count)
    }

    /// How long an empty bucket takes to be full, in nanoseconds.
    fn refill_ns(self) -> u64 {
        self.burst() * self.interval_ns()
    }
}

/// One more than a rate lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("over the rate; the next one fits in {wait:?}")]
pub struct RateLimited {
    /// How long until the next one fits, if no other takes its place.
    pub wait: Duration,
}

impl RateLimited {
    /// The wait in whole seconds, never too short: at least 1.
    #[must_use]
    pub fn wait_secs(self) -> u64 {
        let begun = u64::from(self.wait.subsec_nanos() > 0);
        (self.wait.as_secs() + begun).max(1)
    }
}

/// What is left of a rate; a fresh one is full.
///
/// It is the generic cell rate algorithm (ITU-T I.371): instead of a level that
/// somebody has to fill up, the instant at which the bucket will be full again,
/// in nanoseconds since the Unix epoch, which each one that is let through
/// moves on by an interval.
#[derive(Debug, Default)]
pub struct Bucket {
    full_at_ns: AtomicU64,
}

impl Bucket {
    /// Lets one through.
    ///
    /// # Errors
    ///
    /// [`RateLimited`] where there is none left; that costs the bucket nothing.
    pub fn take(&self, rate: Rate, now: Timestamp) -> Result<(), RateLimited> {
        let now = nanos(now);
        let empty = now.saturating_add(rate.refill_ns());
        // Beyond what even an empty bucket needs, the clock was set back: the
        // bucket is taken for empty, so that the rate holds and nobody waits
        // until the clock has come so far again.
        let since = |full_at: u64| full_at.clamp(now, empty);
        let one_less = |since: u64| since.saturating_add(rate.interval_ns());
        let order = Ordering::Relaxed;
        let before = self.full_at_ns.fetch_update(order, order, |full_at| {
            let next = one_less(since(full_at));
            Some(if next <= empty { next } else { since(full_at) })
        });
        let (Ok(before) | Err(before)) = before;
        match one_less(since(before)).saturating_sub(empty) {
            0 => Ok(()),
            wait_ns => Err(RateLimited {
                wait: Duration::from_nanos(wait_ns),
            }),
        }
    }

    /// Whether it is as good as a fresh one. Also where the clock was set back
    /// so far that what it says means nothing.
    #[must_use]
    pub fn is_full(&self, rate: Rate, now: Timestamp) -> bool {
        let (full_at, now) = (self.full_at_ns.load(Ordering::Relaxed), nanos(now));
        full_at <= now || full_at > now.saturating_add(rate.refill_ns())
    }
}

/// Nanoseconds since the Unix epoch, as long as they fit: to the year 2554.
fn nanos(at: Timestamp) -> u64 {
    at.unix_ms().saturating_mul(NANOS_PER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    /// How many of so many that come at once get through.
    fn through(bucket: &Bucket, rate: Rate, now: Timestamp, count: u64) -> u64 {
        (0..count)
            .filter(|_| bucket.take(rate, now).is_ok())
            .count() as u64
    }

    const NOW: Timestamp = Timestamp::from_unix_secs(1_700_000_000);

    #[test]
    fn a_rate_is_a_whole_number_and_a_period() {
        for good in ["1/s", "100/s", "600/m", "5/h", "1000000/s"] {
            assert_eq!(rate(good).to_string(), good);
        }
        for (bad, why) in [
            ("", RateError::Form),
            ("100", RateError::Form),
            ("/s", RateError::Form),
            ("100/", RateError::Form),
            ("100/d", RateError::Form),
            ("100/S", RateError::Form),
            ("100 /s", RateError::Form),
            ("100/s ", RateError::Form),
            ("+100/s", RateError::Form),
            ("-1/s", RateError::Form),
            ("1.5/s", RateError::Form),
            ("1/2/s", RateError::Form),
            ("0/s", RateError::Count),
            ("1000001/h", RateError::Count),
            ("99999999999999999999999/s", RateError::Count),
        ] {
            assert_eq!(bad.parse::<Rate>(), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn a_burst_gets_through_and_then_one_each_interval() {
        for (text, burst, interval_ms) in [
            ("1/s", 1, 1_000),
            ("10/s", 10, 100),
            ("1000/s", 1_000, 1),
            ("5/m", 5, 12_000),
            ("600/m", 600, 100),
            ("5/h", 5, 720_000),
            // Bounded: an hour's worth is not for one second.
            ("3600/h", 1_000, 1_000),
        ] {
            let (rate, bucket) = (rate(text), Bucket::default());
            assert_eq!(through(&bucket, rate, NOW, burst + 10), burst, "{text}");
            let at = |ms| NOW.plus(Duration::from_millis(ms));
            assert_eq!(through(&bucket, rate, at(interval_ms - 1), 1), 0, "{text}");
            assert_eq!(through(&bucket, rate, at(interval_ms), 2), 1, "{text}");
            let refilled = at((burst + 1) * interval_ms);
            assert_eq!(through(&bucket, rate, refilled, 2 * burst), burst, "{text}");
        }
    }

    #[test]
    fn a_seconds_worth_may_always_come_at_once() {
        for (text, burst) in [("5000/s", 5_000), ("120000/m", 2_000), ("60001/m", 1_001)] {
            assert_eq!(rate(text).burst(), burst, "{text}");
        }
    }

    #[test]
    fn after_the_wait_that_it_says_the_next_one_fits_and_a_second_before_it_none() {
        for text in [
            "1/s",
            "3/s",
            "7/s",
            "999/s",
            "1000000/s",
            "1/m",
            "7/m",
            "600/m",
            "1/h",
            "7/h",
            "1000/h",
            "999999/h",
        ] {
            let (rate, bucket) = (rate(text), Bucket::default());
            through(&bucket, rate, NOW, rate.burst());
            let mut now = NOW;
            for _ in 0..50 {
                let Err(over) = bucket.take(rate, now) else {
                    // The wait was longer than an interval.
                    now = now.plus(Duration::from_millis(1));
                    continue;
                };
                let secs = over.wait_secs();
                assert!(secs >= 1, "{text}");
                let early = now.plus(Duration::from_secs(secs - 1));
                assert!(bucket.take(rate, early).is_err(), "{text}: {secs} s");
                now = now.plus(Duration::from_secs(secs));
                assert_eq!(bucket.take(rate, now), Ok(()), "{text}: {secs} s");
            }
        }
    }

    #[test]
    fn over_a_long_time_it_is_the_rate_and_a_burst_whoever_hurries() {
        for (text, in_a_minute) in [("7/s", 420), ("90/m", 90), ("7200/h", 120)] {
            let (rate, bucket) = (rate(text), Bucket::default());
            let steps = 0..60_000 / 5;
            let passed = steps
                .filter(|n| {
                    let now = NOW.plus(Duration::from_millis(5 * n));
                    bucket.take(rate, now).is_ok()
                })
                .count() as u64;
            let most = in_a_minute + rate.burst();
            assert!(
                (most - 1..=most).contains(&passed),
                "{text}: {passed} of {most}"
            );
        }
    }

    #[test]
    fn refusals_cost_the_bucket_nothing() {
        let (rate, bucket) = (rate("1/s"), Bucket::default());
        through(&bucket, rate, NOW, 1_000);
        assert_eq!(bucket.take(rate, NOW.plus(Duration::from_secs(1))), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_the_rate_and_locks_nobody_out() {
        let (rate, bucket) = (rate("2/s"), Bucket::default());
        through(&bucket, rate, NOW, 2);
        let back = NOW.minus(Duration::from_secs(86_400));
        assert_eq!(through(&bucket, rate, back, 10), 0);
        let half = |n: u64| back.plus(Duration::from_millis(500 * n));
        for n in 1..=10 {
            assert_eq!(through(&bucket, rate, half(n), 10), 1, "{n}");
        }
    }

    #[test]
    fn the_end_of_time_overflows_nothing() {
        let bucket = Bucket::default();
        let end = Timestamp::from_unix_ms(u64::MAX);
        _ = bucket.take(rate("1/h"), end);
        _ = bucket.is_full(rate("1/h"), end);
    }

    #[test]
    fn a_bucket_is_full_again_when_all_of_it_has_come_back() {
        let (rate, bucket) = (rate("2/s"), Bucket::default());
        let at = |ms| NOW.plus(Duration::from_millis(ms));
        assert!(bucket.is_full(rate, NOW));
        through(&bucket, rate, NOW, 2);
        assert!(!bucket.is_full(rate, at(999)) && bucket.is_full(rate, at(1_000)));
        assert!(bucket.is_full(rate, NOW.minus(Duration::from_secs(86_400))));
    }

    /// Two threads at one bucket get no more than one thread would.
    #[test]
    fn those_who_take_at_once_share_the_burst() {
        let (rate, bucket) = (rate("1000/s"), Bucket::default());
        let passed: u64 = std::thread::scope(|scope| {
            let taking = [0; 4].map(|_| scope.spawn(|| through(&bucket, rate, NOW, 1_000)));
            taking.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(passed, 1_000);
    }
}
