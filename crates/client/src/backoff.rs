//! How long to wait before the next attempt.
//!
//! Invariant: a wait is at least what the gateway asks for, up to
//! [`ASKED_MAX`], and at most half as long again as that. Random jitter spreads
//! the clients.

use std::time::Duration;

/// What is waited before the gateway has asked for anything.
pub(crate) const RETRY: Duration = Duration::from_secs(3);
/// What is waited at most after many failures, unless the gateway asks for more.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// What a gateway may ask for at most.
const ASKED_MAX: Duration = Duration::from_secs(10 * 60);
/// Doubling ends here; far beyond what `WAIT_MAX` lets through.
const DOUBLINGS_MAX: u32 = 20;

/// Waits between the attempts of one thing.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    /// What is waited after one failure, or none.
    retry: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(retry: Duration) -> Self {
        Self { retry, failures: 0 }
    }

    /// The gateway asks for this wait from now on.
    pub(crate) fn set_retry(&mut self, retry: Duration) {
        self.retry = retry;
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// The next wait: twice as long after each failure up to a maximum, at
    /// least what this refusal asks for, and up to half as much again at
    /// `random`, from 0 to 1, so that many clients do not come back at one
    /// instant.
    pub(crate) fn wait(&self, retry_after: Option<Duration>, random: f64) -> Duration {
        let retry = self.retry.min(ASKED_MAX);
        let doublings = self.failures.saturating_sub(1).min(DOUBLINGS_MAX);
        let grown = retry
            .saturating_mul(1 << doublings)
            .min(WAIT_MAX.max(retry));
        let asked = retry_after.unwrap_or_default().min(ASKED_MAX);
        let wait = grown.max(asked).mul_f64(1.0 + random.clamp(0.0, 1.0) / 2.0);
        debug_assert!(asked <= wait && wait <= ASKED_MAX + ASKED_MAX / 2);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_maximum_and_differ() {
        for (retry, failures, random, expected) in [
            (3, 0, 0.0, 3.0),
            (3, 0, 1.0, 4.5),
            (3, 1, 0.0, 3.0),
            (3, 3, 0.0, 12.0),
            (3, 9, 0.0, 30.0),
            (3, 100, 1.0, 45.0),
            // A gateway that asks for more gets more.
            (60, 3, 0.0, 60.0),
            (u64::MAX, 3, 0.0, 600.0),
        ] {
            let mut backoff = Backoff::new(Duration::from_secs(retry));
            for _ in 0..failures {
                backoff.failed();
            }
            let secs = |asked| backoff.wait(asked, random).as_secs_f64();
            assert_eq!(secs(None), expected);
            assert_eq!(secs(Some(Duration::ZERO)), expected);
            let asked = Some(Duration::from_secs(u64::MAX));
            assert_eq!(secs(asked), 600.0 * (1.0 + random / 2.0));
            backoff.succeeded();
            assert_eq!(backoff.wait(None, 0.0), Duration::from_secs(retry.min(600)));
        }
    }
}
