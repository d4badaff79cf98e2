//! Where `since` says that a stream begins: at a position, or at a time.

use std::time::Duration;

use hookrill_core::Timestamp;

use super::problem::ProblemDetails;
use crate::subscribe::Start;

/// Reads the parameter.
///
/// # Errors
///
/// A problem that says what it may be.
pub(super) fn since(text: &str) -> Result<Start, ProblemDetails> {
    if text == "earliest" {
        return Ok(Start::Earliest);
    }
    if let Ok(cursor) = text.parse() {
        return Ok(Start::After(cursor));
    }
    if let Some(from) = Timestamp::parse_rfc3339(text) {
        return Ok(Start::At(from));
    }
    // humantime reads a lone 0 without a unit, which elsewhere means the beginning; and M is
    // a month to it, and to many a minute.
    if !text.contains('M')
        && let Ok(ago) = humantime::parse_duration(text)
        && ago > Duration::ZERO
    {
        return Ok(Start::Ago(ago));
    }
    let why = "it must be earliest, a cursor, a duration such as 10m or 2h, or a time such as \
               2026-11-30T08:00:00Z";
    Err(ProblemDetails::parameter("since", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_position_a_duration_or_a_time() {
        let eight = Start::At(Timestamp::from_unix_secs(1_796_025_600));
        let minutes = |n: u64| Start::Ago(Duration::from_secs(60 * n));
        for (text, start) in [
            ("earliest", Start::Earliest),
            ("e-7", Start::After("e-7".parse().unwrap())),
            ("2026-11", Start::After("2026-11".parse().unwrap())),
            ("10m", minutes(10)),
            ("1h 30m", minutes(90)),
            ("2days", minutes(2 * 24 * 60)),
            ("2026-11-30T08:00:00Z", eight),
            ("2026-11-30t08:00:00.000z", eight),
            ("2026-11-30T09:00:00+01:00", eight),
            ("2026-11-30T09:00:00 01:00", eight),
            ("2026-11-30T02:30:00.0-05:30", eight),
        ] {
            assert_eq!(since(text).unwrap(), start, "{text}");
        }
    }

    #[test]
    fn what_since_may_be_is_said_where_it_is_none_of_that() {
        for text in [
            "",
            "0",
            "10",
            "-10m",
            "10 minuets",
            "10M",
            "yesterday",
            "Earliest",
            "2026-11-30",
            "2026-11-30T08:00:00",
            "2026-13-30T08:00:00Z",
            "2026-11-30T08:00:00+25:00",
            "2026-11-30T08:00:00é1:00",
            "é",
            "1796025600",
            "E-7",
        ] {
            let problem = format!("{:?}", since(text).unwrap_err());
            for allowed in ["earliest", "a cursor", "10m", "2026-11-30T08:00:00Z"] {
                assert!(problem.contains(allowed), "{text}: {problem}");
            }
        }
    }
}
