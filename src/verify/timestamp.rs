//! When the sender says it signed, and whether that is now.

use std::time::Duration;

use super::{error::VerifyError, scheme::TimeFormat};
use crate::event::Timestamp;

/// The most digits that a timestamp may have: seconds of the next 300
/// million years, and no overflow.
const DIGITS_MAX: usize = 16;

impl TimeFormat {
    /// Reads digits and nothing else: no sign, no space, no fraction.
    ///
    /// And no leading zero: where the part before is signed without a
    /// separator, its last zeros could be moved here.
    ///
    /// # Errors
    ///
    /// [`VerifyError::TimestampForm`].
    pub(super) fn read(self, text: &str) -> Result<Timestamp, VerifyError> {
        let plain = (1..=DIGITS_MAX).contains(&text.len())
            && (text == "0" || !text.starts_with('0'))
            && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| plain);
        let number = number.ok_or(VerifyError::TimestampForm)?;
        Ok(match self {
            Self::UnixSecs => Timestamp::from_unix_secs(number),
            Self::UnixMs => Timestamp::from_unix_ms(number),
        })
    }

    /// Writes an instant as the sender would.
    pub(super) fn write(self, at: Timestamp) -> String {
        match self {
            Self::UnixSecs => at.unix_secs().to_string(),
            Self::UnixMs => at.unix_ms().to_string(),
        }
    }
}

/// Refuses what was signed too long ago, and what was signed in the future.
///
/// # Errors
///
/// [`VerifyError::Stale`].
pub(super) fn require_fresh(
    signed: Timestamp,
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), VerifyError> {
    let skew = Duration::from_millis(signed.unix_ms().abs_diff(now.unix_ms()));
    if skew <= tolerance {
        return Ok(());
    }
    Err(VerifyError::Stale {
        skew_secs: skew
            .as_secs()
            .saturating_add(u64::from(skew.subsec_nanos() > 0)),
        skew_secs_max: tolerance.as_secs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_decimal_digits_and_nothing_else() {
        let secs = |text| TimeFormat::UnixSecs.read(text);
        assert_eq!(
            secs("1614265330"),
            Ok(Timestamp::from_unix_secs(1_614_265_330))
        );
        assert_eq!(
            secs("9999999999999999").map(Timestamp::unix_secs),
            Ok(9_999_999_999_999_999)
        );
        assert_eq!(
            TimeFormat::UnixMs.read("12"),
            Ok(Timestamp::from_unix_ms(12))
        );
        for bad in [
            "",
            "+1",
            "-1",
            " 1",
            "1 ",
            "1.0",
            "1e3",
            "0x1",
            "1_0",
            "١",
            "0012",
            "00",
            "10000000000000000",
            "18446744073709551616",
            "99999999999999999999",
        ] {
            assert_eq!(secs(bad), Err(VerifyError::TimestampForm), "{bad:?}");
        }
    }

    #[test]
    fn the_past_and_the_future_are_stale_alike() {
        let tolerance = Duration::from_secs(300);
        let at = |ms| {
            require_fresh(
                Timestamp::from_unix_ms(ms),
                Timestamp::from_unix_ms(1_000_000),
                tolerance,
            )
        };
        assert_eq!(at(700_000), Ok(()));
        assert_eq!(at(1_300_000), Ok(()));
        let stale = Err(VerifyError::Stale {
            skew_secs: 301,
            skew_secs_max: 300,
        });
        assert_eq!(at(699_999), stale);
        assert_eq!(at(1_300_001), stale);
        assert!(at(u64::MAX).is_err());
    }
}
