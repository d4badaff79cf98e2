//! Rate limits as people write them, and buckets that enforce them.
//!
//! Never waits and never knows who is limited: a bucket says when the next one
//! fits, and the clock is an argument. Invariant: a bucket is one number, which
//! never exceeds what an empty bucket has; so over any stretch of time no more
//! than a burst plus the rate passes.

use std::{
    fmt,
    ops::RangeInclusive,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hookrill_core::Timestamp;

/// The counts that a rate may have.
const COUNT: RangeInclusive<u64> = 1..=1_000_000;
/// The most that may come at once, unless one second's worth is more.
const BURST_MAX: u64 = 1_000;
const NANOS_PER_SEC: u64 = 1_000_000_000;
const NANOS_PER_MS: u64 = 1_000_000;

/// At most so many in a period, spread evenly except for a burst: `100/s`,
/// `600/m`, `5/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u64,
    period: Period,
    /// How many may come at once, if that is not by the period.
    burst: Option<u64>,
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

/// Why a text is not a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Not a number, a slash and a period.
    #[error("a rate is a whole number and a period, such as 100/s, 600/m or 5/h")]
    Form,
    /// A count outside the bounds.
    #[error("a rate is from {} to {}, per s, m or h", COUNT.start(), COUNT.end())]
    Count,
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (digits, unit) = text.split_once('/').ok_or(RateError::Form)?;
        let period = match unit {
            "s" => Period::Second,
            "m" => Period::Minute,
            "h" => Period::Hour,
            _ => return Err(RateError::Form),
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(RateError::Form);
        }
        // Digits that do not fit a number are too many of them.
        let count = digits.parse().map_err(|_| RateError::Count)?;
        if !COUNT.contains(&count) {
            return Err(RateError::Count);
        }
        Ok(Self {
            count,
            period,
            burst: None,
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.period {
            Period::Second => "s",
            Period::Minute => "m",
            Period::Hour => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl Rate {
    /// One a second, and so many at once.
    #[must_use]
    pub const fn each_second_after(burst: u64) -> Self {
        Self {
            count: 1,
            period: Period::Second,
            burst: Some(burst),
        }
    }

    /// How many may come at once: a whole period's count, but at most
    /// 1,000 or one second's worth, whichever is more. Without that
    /// bound, `100000/h` would let an hour's worth pass in one second.
    #[must_use]
    pub fn burst(self) -> u64 {
        if let Some(burst) = self.burst {
            return burst;
        }
        let per_second = self.count.div_ceil(self.period.secs());
        self.count.min(per_second.max(BURST_MAX))
    }

    /// From one to the next, in nanoseconds; rounded up, so that the rate is
    /// never more than what was written.
    fn interval_ns(self) -> u64 {
        (self.period.secs() * NANOS_PER_SEC).div_ceil(self.count)
    }

    /// How long an empty bucket takes to fill up, in nanoseconds.
    fn refill_ns(self) -> u64 {
        self.burst() * self.interval_ns()
    }
}

/// More than a rate allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("rate limit exceeded; the next one fits in {wait:?}")]
pub struct RateLimited {
    /// How long until the next one fits, if no other comes first.
    pub wait: Duration,
}

impl RateLimited {
    /// The wait in whole seconds, rounded up: at least 1.
    #[must_use]
    pub fn wait_secs(self) -> u64 {
        let rounded_up = u64::from(self.wait.subsec_nanos() > 0);
        (self.wait.as_secs() + rounded_up).max(1)
    }
}

/// What is left of a rate; a new one is full.
///
/// This is the generic cell rate algorithm (ITU-T I.371). Instead of a level
/// that somebody has to refill, it stores the instant at which the bucket will
/// be full again, in nanoseconds since the Unix epoch; each one that passes
/// moves that on by an interval.
#[derive(Debug, Default)]
pub struct Bucket {
    full_at_ns: AtomicU64,
}

impl Bucket {
    /// Takes one from the bucket.
    ///
    /// # Errors
    ///
    /// [`RateLimited`] where none is left; that costs the bucket nothing.
    pub fn take(&self, rate: Rate, now: Timestamp) -> Result<(), RateLimited> {
        let now_ns = nanos(now);
        let when_empty = now_ns.saturating_add(rate.refill_ns());
        // A time beyond what even an empty bucket has means that the clock was
        // set back: the bucket counts as empty, so that the rate is kept and
        // nobody waits until the clock has come that far again.
        let clamp = |full_at: u64| full_at.clamp(now_ns, when_empty);
        let one_less = |full_at: u64| clamp(full_at).saturating_add(rate.interval_ns());
        let order = Ordering::Relaxed;
        let before = self.full_at_ns.fetch_update(order, order, |full_at| {
            let next = one_less(full_at);
            let stored = if next <= when_empty {
                next
            } else {
                clamp(full_at)
            };
            debug_assert!(stored <= when_empty, "never emptier than empty");
            Some(stored)
        });
        let (Ok(before) | Err(before)) = before;
        let wait_ns = one_less(before).saturating_sub(when_empty);
        if wait_ns > 0 {
            let wait = Duration::from_nanos(wait_ns);
            return Err(RateLimited { wait });
        }
        Ok(())
    }

    /// Whether one could be taken now; takes none.
    ///
    /// # Errors
    ///
    /// [`RateLimited`], as of [`Bucket::take`].
    pub fn check(&self, rate: Rate, now: Timestamp) -> Result<(), RateLimited> {
        let full_at_ns = AtomicU64::new(self.full_at_ns.load(Ordering::Relaxed));
        Self { full_at_ns }.take(rate, now)
    }

    /// Whether it is as good as a new one. Also where the clock was set back so
    /// far that what it stores means nothing.
    #[must_use]
    pub fn is_full(&self, rate: Rate, now: Timestamp) -> bool {
        let full_at = self.full_at_ns.load(Ordering::Relaxed);
        let now_ns = nanos(now);
        full_at <= now_ns || full_at > now_ns.saturating_add(rate.refill_ns())
    }
}

/// Nanoseconds since the Unix epoch, as long as they fit: until the year 2554.
fn nanos(at: Timestamp) -> u64 {
    at.unix_ms().saturating_mul(NANOS_PER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    /// How many of `count` that come at once pass.
    fn passing(bucket: &Bucket, rate: Rate, now: Timestamp, count: u64) -> u64 {
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
    fn a_burst_passes_and_then_one_each_interval() {
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
            assert_eq!(passing(&bucket, rate, NOW, burst + 10), burst, "{text}");
            let at = |ms| NOW.plus(Duration::from_millis(ms));
            assert_eq!(passing(&bucket, rate, at(interval_ms - 1), 1), 0, "{text}");
            assert_eq!(passing(&bucket, rate, at(interval_ms), 2), 1, "{text}");
            let refilled = at((burst + 1) * interval_ms);
            assert_eq!(passing(&bucket, rate, refilled, 2 * burst), burst, "{text}");
        }
    }

    #[test]
    fn a_seconds_worth_may_always_come_at_once() {
        for (text, burst) in [("5000/s", 5_000), ("120000/m", 2_000), ("60001/m", 1_001)] {
            assert_eq!(rate(text).burst(), burst, "{text}");
        }
    }

    #[test]
    fn after_the_wait_the_next_one_fits_and_a_second_before_it_none() {
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
            passing(&bucket, rate, NOW, rate.burst());
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
    fn over_a_long_time_it_is_the_rate_and_a_burst_however_fast_they_come() {
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
        passing(&bucket, rate, NOW, 1_000);
        assert_eq!(bucket.take(rate, NOW.plus(Duration::from_secs(1))), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_the_rate_and_locks_nobody_out() {
        let (rate, bucket) = (rate("2/s"), Bucket::default());
        passing(&bucket, rate, NOW, 2);
        let back = NOW.minus(Duration::from_secs(86_400));
        assert_eq!(passing(&bucket, rate, back, 10), 0);
        let half = |n: u64| back.plus(Duration::from_millis(500 * n));
        for n in 1..=10 {
            assert_eq!(passing(&bucket, rate, half(n), 10), 1, "{n}");
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
    fn a_bucket_is_full_again_after_the_whole_refill() {
        let (rate, bucket) = (rate("2/s"), Bucket::default());
        let at = |ms| NOW.plus(Duration::from_millis(ms));
        assert!(bucket.is_full(rate, NOW));
        passing(&bucket, rate, NOW, 2);
        assert!(!bucket.is_full(rate, at(999)) && bucket.is_full(rate, at(1_000)));
        assert!(bucket.is_full(rate, NOW.minus(Duration::from_secs(86_400))));
    }

    /// Two threads at one bucket get no more than one thread would.
    #[test]
    fn threads_that_take_at_once_share_the_burst() {
        let (rate, bucket) = (rate("1000/s"), Bucket::default());
        let passed: u64 = std::thread::scope(|scope| {
            let taking = [0; 4].map(|_| scope.spawn(|| passing(&bucket, rate, NOW, 1_000)));
            taking.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(passed, 1_000);
    }
}
