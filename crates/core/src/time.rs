//! Instants, and a clock that is passed in.
//!
//! Nothing here reads the system's time: programs supply a [`Clock`], and tests
//! supply another.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The instant that is `ms` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_unix_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// The instant that is `secs` seconds after the Unix epoch; saturates.
    #[must_use]
    pub const fn from_unix_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn unix_secs(self) -> u64 {
        self.0 / 1000
    }

    /// How long after `earlier` this is; zero if it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The instant `by` later; saturates.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// The instant `by` earlier; saturates at the Unix epoch.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }
}

impl Timestamp {
    /// A time as RFC 3339 (section 5.6) writes it. In a query a `+` is a space, so one that
    /// stands where the offset begins is the `+` that somebody wrote.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        const OFFSET_CHARS: usize = "+01:00".len();
        let upper = text.to_ascii_uppercase();
        if let Some(local) = upper.strip_suffix('Z') {
            return utc(local);
        }
        let (local, offset) = upper.split_at_checked(upper.len().checked_sub(OFFSET_CHARS)?)?;
        let (hours, minutes) = offset.get(1..)?.split_once(':')?;
        let offset_by = Duration::from_secs(60 * (60 * digits(hours, 23)? + digits(minutes, 59)?));
        match offset.as_bytes()[0] {
            b'+' | b' ' => Some(utc(local)?.minus(offset_by)),
            b'-' => Some(utc(local)?.plus(offset_by)),
            _ => None,
        }
    }
}

fn utc(local: &str) -> Option<Timestamp> {
    let at = humantime::parse_rfc3339(&format!("{local}Z")).ok();
    at.map(Timestamp::from)
}

fn digits(text: &str, max: u64) -> Option<u64> {
    let is_plain = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number| is_plain && *number <= max)
}

/// An instant before the Unix epoch becomes the epoch.
impl From<SystemTime> for Timestamp {
    fn from(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(millis(since))
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-11-23T15:41:00.000Z`.
///
/// Instants beyond the year 9999, which RFC 3339 cannot express, are shown as
/// its last millisecond.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const YEAR_9999_END_MS: u64 = 253_402_300_799_999;
        let at = UNIX_EPOCH + Duration::from_millis(self.0.min(YEAR_9999_END_MS));
        humantime::format_rfc3339_millis(at).fmt(f)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Where the time comes from. Cheap to clone.
#[derive(Clone)]
pub struct Clock {
    now: Reading,
    monotonic: Reading,
}

type Reading = Arc<dyn Fn() -> Timestamp + Send + Sync>;

impl Clock {
    /// A clock that calls `now` for each reading, and that nobody sets: however far
    /// it goes between two readings, that much time has passed.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let now: Reading = Arc::new(now);
        Self {
            monotonic: Arc::clone(&now),
            now,
        }
    }

    /// A clock that may be set, beside one that may not.
    pub fn with_monotonic(
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        monotonic: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        Self {
            now: Arc::new(now),
            monotonic: Arc::new(monotonic),
        }
    }

    /// A clock that stands still.
    #[must_use]
    pub fn fixed(at: Timestamp) -> Self {
        Self::new(move || at)
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// The present instant by a clock that nobody sets. Its zero means nothing: only
    /// how far two readings are apart does.
    #[must_use]
    pub fn monotonic(&self) -> Timestamp {
        (self.monotonic)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_reads_as_rfc_3339_and_never_overflows() {
        assert_eq!(
            Timestamp::from_unix_ms(1_614_265_330_123).to_string(),
            "2021-02-25T15:02:10.123Z"
        );
        let last = Timestamp::from_unix_secs(u64::MAX);
        assert_eq!(last.to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(last.plus(Duration::MAX), last);
        assert_eq!(
            Timestamp::default().minus(Duration::from_secs(1)),
            Timestamp::default()
        );
    }
}
