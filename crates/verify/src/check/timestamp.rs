//! When the sender says it signed, and whether that is now.
//!
//! Each format is read strictly: one text for one instant, except for fractions
//! and offsets of RFC 3339. Where a timestamp is signed next to other text, a
//! looser parser would let whoever replays a delivery move bytes into it.

use std::time::{Duration, UNIX_EPOCH};

use hookrill_core::Timestamp;

use crate::{error::VerifyError, scheme::TimeFormat};

/// The most digits that a timestamp may have: seconds of the next 300
/// million years, and no overflow.
const DIGITS_MAX: usize = 16;
/// HTTP dates end with the year 9999.
const YEAR_9999_END_SECS: u64 = 253_402_300_799;

impl TimeFormat {
    /// Parses a timestamp.
    ///
    /// # Errors
    ///
    /// [`VerifyError::TimestampMalformed`].
    pub(super) fn parse(self, text: &str) -> Result<Timestamp, VerifyError> {
        let parsed = match self {
            Self::UnixSecs => digits(text).map(Timestamp::from_unix_secs),
            Self::UnixMs => digits(text).map(Timestamp::from_unix_ms),
            Self::Rfc3339 => rfc3339(text),
            // With a zone it would be another format.
            Self::Iso8601Utc if text.len() <= 29 => rfc3339(&format!("{text}Z")),
            Self::Iso8601Utc => None,
            Self::HttpDate => http_date(text),
        };
        parsed.ok_or(VerifyError::TimestampMalformed { format: self })
    }

    /// An instant as the sender would write it.
    pub(crate) fn format(self, at: Timestamp) -> String {
        match self {
            Self::UnixSecs => at.unix_secs().to_string(),
            Self::UnixMs => at.unix_ms().to_string(),
            Self::Rfc3339 => at.to_string(),
            Self::Iso8601Utc => at.to_string().trim_end_matches('Z').to_owned(),
            Self::HttpDate => {
                let secs = at.unix_secs().min(YEAR_9999_END_SECS);
                httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs))
            }
        }
    }
}

/// Digits and nothing else: no sign, no space, no fraction.
///
/// And no leading zero: where the part before is signed without a separator,
/// its last zeros could be moved here.
fn digits(text: &str) -> Option<u64> {
    let plain = (1..=DIGITS_MAX).contains(&text.len())
        && (text == "0" || !text.starts_with('0'))
        && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// RFC 3339 from 1970 on: a `T` and a `Z` in capitals, or an offset. Of a
/// fraction, milliseconds count. A leap second is the second behind it.
fn rfc3339(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(19)?;
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        let digits = date.get(range)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| plain)
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| date.as_bytes()[*at] != *mark) {
        return None;
    }
    let day = days(number(0..4)?, number(5..7)?, number(8..10)?)?;
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (ms, zone) = fraction(rest)?;
    let local = (((day * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms;
    let offset_ms = i64::from(offset_minutes(zone)?) * 60_000;
    local
        .checked_add_signed(-offset_ms)
        .map(Timestamp::from_unix_ms)
}

/// Days since 1970-01-01.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let february = if is_leap { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month.checked_sub(1)?).ok()?;
    if year < 1970 || !(1..=*lengths.get(month)?).contains(&day) {
        return None;
    }
    let leaps = |until: u64| until / 4 - until / 100 + until / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    Some(years + lengths[..month].iter().sum::<u64>() + day - 1)
}

/// The fraction in milliseconds, and the text behind it.
fn fraction(text: &str) -> Option<(u64, &str)> {
    let Some(rest) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let (digits, zone) = rest.split_at_checked(end)?;
    if !(1..=9).contains(&digits.len()) {
        return None;
    }
    let ms = format!("{digits:0<3}").get(..3)?.parse().ok()?;
    Some((ms, zone))
}

/// The offset of `Z`, `+hh:mm` or `-hh:mm`, in minutes.
fn offset_minutes(zone: &str) -> Option<i32> {
    if zone == "Z" {
        return Some(0);
    }
    let [sign, h1, h2, b':', m1, m2] = zone.as_bytes() else {
        return None;
    };
    let hours = two_digits([*h1, *h2])?;
    let minutes = two_digits([*m1, *m2])?;
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset = hours * 60 + minutes;
    match sign {
        b'+' => Some(offset),
        b'-' => Some(-offset),
        _ => None,
    }
}

fn two_digits(digits: [u8; 2]) -> Option<i32> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(i32::from(digits[0] - b'0') * 10 + i32::from(digits[1] - b'0'))
}

/// The preferred form of an HTTP date, and no other.
fn http_date(text: &str) -> Option<Timestamp> {
    let at = httpdate::parse_http_date(text).ok()?;
    if httpdate::fmt_http_date(at) != text {
        return None;
    }
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_unix_secs(since.as_secs()))
}

/// Refuses what was signed too long ago, and what was signed in the future.
///
/// # Errors
///
/// [`VerifyError::Stale`].
pub(super) fn require_fresh(
    signed_at: Timestamp,
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), VerifyError> {
    let skew = Duration::from_millis(signed_at.unix_ms().abs_diff(now.unix_ms()));
    if skew <= tolerance {
        return Ok(());
    }
    Err(VerifyError::Stale {
        skew_secs: u64::try_from(skew.as_millis().div_ceil(1000)).unwrap_or(u64::MAX),
        skew_secs_max: tolerance.as_secs(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(format: TimeFormat, text: &str) {
        let form = Err(VerifyError::TimestampMalformed { format });
        assert_eq!(format.parse(text), form, "{text:?}");
    }

    #[test]
    fn a_number_is_decimal_digits_and_nothing_else() {
        let secs = |text| TimeFormat::UnixSecs.parse(text);
        assert_eq!(
            secs("1614265330"),
            Ok(Timestamp::from_unix_secs(1_614_265_330))
        );
        assert_eq!(
            secs("9999999999999999").map(Timestamp::unix_secs),
            Ok(9_999_999_999_999_999)
        );
        assert_eq!(
            TimeFormat::UnixMs.parse("12"),
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
            refused(TimeFormat::UnixSecs, bad);
        }
    }

    #[test]
    fn dates_of_rfc_3339_are_read_with_fraction_and_offset() {
        let at = |ms| Ok(Timestamp::from_unix_ms(ms));
        let parse = |text| TimeFormat::Rfc3339.parse(text);
        assert_eq!(parse("2021-02-25T15:02:10Z"), at(1_614_265_330_000));
        assert_eq!(parse("2021-02-25T15:02:10.123Z"), at(1_614_265_330_123));
        assert_eq!(parse("2021-02-25T15:02:10.1239876Z"), at(1_614_265_330_123));
        assert_eq!(parse("2021-02-25T15:02:10.1+00:00"), at(1_614_265_330_100));
        assert_eq!(parse("2021-02-25T07:32:10-07:30"), at(1_614_265_330_000));
        assert_eq!(parse("2024-02-29T23:59:60Z"), at(1_709_251_200_000));
        assert_eq!(parse("1970-01-01T00:00:00Z"), at(0));
        for bad in [
            "",
            "2021-02-25",
            "2021-02-25T15:02:10",
            "2021-02-25t15:02:10Z",
            "2021-02-25T15:02:10z",
            "2021-02-25 15:02:10Z",
            "2021-02-29T15:02:10Z",
            "2021-13-25T15:02:10Z",
            "2021-00-25T15:02:10Z",
            "2021-02-00T15:02:10Z",
            "2021-02-25T24:02:10Z",
            "2021-02-25T15:60:10Z",
            "2021-02-25T15:02:61Z",
            "2021-02-25T15:02:10.Z",
            "2021-02-25T15:02:10.1",
            "2021-02-25T15:02:10.1234567890Z",
            "2021-02-25T15:02:10+0000",
            "2021-02-25T15:02:10+24:00",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "+021-02-25T15:02:10Z",
            "12021-02-25T15:02:10Z",
            "2021-02-25T15:02:10Z ",
            "2021-02-25T15:02:1\u{e9}",
        ] {
            refused(TimeFormat::Rfc3339, bad);
        }
    }

    #[test]
    fn dates_without_a_zone_are_those_of_utc_and_have_none() {
        let parse = |text| TimeFormat::Iso8601Utc.parse(text);
        let at = |ms| Ok(Timestamp::from_unix_ms(ms));
        assert_eq!(parse("2021-02-25T15:02:10"), at(1_614_265_330_000));
        assert_eq!(parse("2021-02-25T15:02:10.123987"), at(1_614_265_330_123));
        for bad in [
            "2021-02-25T15:02:10Z",
            "2021-02-25T15:02:10+00:00",
            "2021-02-25T15:02:10.",
            "2021-02-25T15:02",
            "",
        ] {
            refused(TimeFormat::Iso8601Utc, bad);
        }
    }

    #[test]
    fn http_dates_are_read_in_their_preferred_form_only() {
        let parsed = TimeFormat::HttpDate.parse("Thu, 25 Feb 2021 15:02:10 GMT");
        assert_eq!(parsed, Ok(Timestamp::from_unix_secs(1_614_265_330)));
        for bad in [
            "Fri, 25 Feb 2021 15:02:10 GMT",
            "Thursday, 25-Feb-21 15:02:10 GMT",
            "Thu Feb 25 15:02:10 2021",
            "Thu, 25 Feb 2021 15:02:10 UTC",
            "thu, 25 feb 2021 15:02:10 gmt",
            " Thu, 25 Feb 2021 15:02:10 GMT",
            "",
        ] {
            refused(TimeFormat::HttpDate, bad);
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

    proptest! {
        #[test]
        fn what_is_formatted_is_parsed_again(secs in 0..253_402_300_800_u64) {
            let at = Timestamp::from_unix_secs(secs);
            for format in [
                TimeFormat::UnixSecs,
                TimeFormat::UnixMs,
                TimeFormat::Rfc3339,
                TimeFormat::Iso8601Utc,
                TimeFormat::HttpDate,
            ] {
                prop_assert_eq!(format.parse(&format.format(at)), Ok(at));
            }
        }

        #[test]
        fn arbitrary_texts_never_panic(text in "\\PC{0,40}") {
            let _ = TimeFormat::Rfc3339.parse(&text);
            let _ = TimeFormat::HttpDate.parse(&text);
        }
    }
}
