//! Where a `tail` ends that does not follow for ever.
//!
//! Knows no connection: it is told of each event, of each time that the stream has
//! brought all that is stored, and of the position in between. Invariant: an event
//! behind the end is never printed.

use std::{str::FromStr, time::Duration};

use anyhow::bail;
use hookrill_core::{Cursor, Timestamp};

/// A time that is over for so long has brought all its events.
const GRACE: Duration = Duration::from_secs(1);

/// What `--until` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Until {
    /// Behind what is stored now.
    Now,
    /// Behind this event.
    Cursor(Cursor),
    /// Before so long ago.
    Ago(Duration),
    /// At this time.
    Time(Timestamp),
}

impl Until {
    /// Whether events have to say when they came.
    pub(super) fn is_by_time(self) -> bool {
        matches!(self, Self::Ago(_) | Self::Time(_))
    }
}

impl FromStr for Until {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "now" {
            return Ok(Self::Now);
        }
        if let Ok(cursor) = text.parse() {
            return Ok(Self::Cursor(cursor));
        }
        if let Some(time) = Timestamp::parse_rfc3339(text) {
            return Ok(Self::Time(time));
        }
        // M is a month to humantime, and to many a minute.
        match humantime::parse_duration(text) {
            Ok(ago) if ago > Duration::ZERO && !text.contains('M') => Ok(Self::Ago(ago)),
            _ => Err(
                "it must be now, a cursor such as k3f9x2ab-1042, a duration such as 10m, or \
                      a time such as 2026-11-30T08:00:00Z",
            ),
        }
    }
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventFate {
    /// It is printed, and others may follow.
    GoesOn,
    /// It is printed, and is the last.
    IsLast,
    /// It is not printed, and neither is what follows.
    IsBehind,
}

/// Where it ends, and how far it is.
#[derive(Debug)]
pub(super) struct End {
    /// Where nothing more is stored.
    at_stored: bool,
    at_cursor: Option<Cursor>,
    at_time: Option<Timestamp>,
    left: Option<u64>,
    /// The connection has brought all that was stored.
    has_caught_up: bool,
}

impl End {
    pub(super) fn new(
        no_follow: bool,
        limit: Option<u64>,
        until: Option<Until>,
        now: Timestamp,
    ) -> Self {
        Self {
            at_stored: no_follow || until == Some(Until::Now),
            at_cursor: match until {
                Some(Until::Cursor(cursor)) => Some(cursor),
                _ => None,
            },
            at_time: match until {
                Some(Until::Time(time)) => Some(time),
                Some(Until::Ago(ago)) => Some(now.minus(ago)),
                _ => None,
            },
            left: limit,
            has_caught_up: false,
        }
    }

    /// Of the event with this id, which came at this time, where that is known.
    ///
    /// # Errors
    ///
    /// Where the end is in another journal.
    pub(super) fn judge(&mut self, id: &str, time: Option<Timestamp>) -> anyhow::Result<EventFate> {
        if let (Some(end), Some(time)) = (self.at_time, time)
            && time >= end
        {
            return Ok(EventFate::IsBehind);
        }
        let mut is_last = false;
        if let (Some(end), Ok(at)) = (self.at_cursor, id.parse::<Cursor>()) {
            check_journal(end, at)?;
            if at.sequence > end.sequence {
                return Ok(EventFate::IsBehind);
            }
            is_last = at.sequence == end.sequence;
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
            is_last |= *left == 0;
        }
        Ok(if is_last {
            EventFate::IsLast
        } else {
            EventFate::GoesOn
        })
    }

    /// All that was stored came; returns whether that was all.
    ///
    /// # Errors
    ///
    /// As [`End::judge`].
    pub(super) fn catches_up(
        &mut self,
        position: Option<&str>,
        now: Timestamp,
    ) -> anyhow::Result<bool> {
        self.has_caught_up = true;
        Ok(self.at_stored || self.is_reached(position, now)?)
    }

    /// The connection is lost; the next one has to catch up again.
    pub(super) fn is_cut_off(&mut self) {
        self.has_caught_up = false;
    }

    /// Whether nothing that belongs to it can follow, where nothing comes.
    ///
    /// # Errors
    ///
    /// As [`End::judge`].
    pub(super) fn is_reached(
        &self,
        position: Option<&str>,
        now: Timestamp,
    ) -> anyhow::Result<bool> {
        if !self.has_caught_up {
            return Ok(false);
        }
        if self.at_time.is_some_and(|end| now >= end.plus(GRACE)) {
            return Ok(true);
        }
        let at = position.and_then(|position| position.parse::<Cursor>().ok());
        let (Some(end), Some(at)) = (self.at_cursor, at) else {
            return Ok(false);
        };
        check_journal(end, at)?;
        Ok(at.sequence >= end.sequence)
    }
}

fn check_journal(end: Cursor, at: Cursor) -> anyhow::Result<()> {
    if end.epoch != at.epoch {
        bail!("--until {end} is in another journal: the gateway is at {at}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(no_follow: bool, limit: Option<u64>, until: Option<&str>) -> End {
        let until = until.map(|text| text.parse().unwrap());
        End::new(no_follow, limit, until, at(1_000))
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_unix_secs(secs)
    }

    #[test]
    fn until_is_now_a_cursor_a_duration_or_a_time() {
        for (text, until) in [
            ("now", Until::Now),
            ("e-7", Until::Cursor("e-7".parse().unwrap())),
            ("10m", Until::Ago(Duration::from_secs(600))),
            ("1970-01-01T00:16:40Z", Until::Time(at(1_000))),
            ("1970-01-01T01:16:40+01:00", Until::Time(at(1_000))),
        ] {
            assert_eq!(text.parse(), Ok(until), "{text}");
        }
        for text in ["", "0", "10", "10M", "earliest", "yesterday", "E-7"] {
            assert!(text.parse::<Until>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_event_is_printed_up_to_the_end_and_not_behind_it() {
        use EventFate::{GoesOn, IsBehind, IsLast};
        let mut by_cursor = end(false, None, Some("e-7"));
        for (id, verdict) in [("e-6", GoesOn), ("e-7", IsLast), ("e-8", IsBehind)] {
            assert_eq!(by_cursor.judge(id, None).unwrap(), verdict, "{id}");
        }
        assert!(by_cursor.judge("other-6", None).is_err());
        let mut by_count = end(false, Some(2), None);
        assert_eq!(by_count.judge("e-1", None).unwrap(), GoesOn);
        assert_eq!(by_count.judge("e-2", None).unwrap(), IsLast);
        let mut by_time = end(false, None, Some("10s"));
        for (secs, verdict) in [(989, GoesOn), (990, IsBehind), (1_000, IsBehind)] {
            let judged = by_time.judge("e-1", Some(at(secs))).unwrap();
            assert_eq!(judged, verdict, "{secs}");
        }
        let mut both = end(true, Some(1), Some("e-7"));
        assert_eq!(both.judge("e-1", None).unwrap(), IsLast);
    }

    #[test]
    fn it_ends_where_nothing_of_it_can_follow() {
        let mut stored = end(true, None, None);
        assert!(stored.catches_up(None, at(1_000)).unwrap());
        assert!(
            end(false, None, Some("now"))
                .catches_up(None, at(1))
                .unwrap()
        );
        assert!(!end(false, Some(5), None).catches_up(None, at(1)).unwrap());

        let mut cursor = end(false, None, Some("e-7"));
        assert!(!cursor.is_reached(Some("e-9"), at(1)).unwrap(), "a replay");
        assert!(!cursor.catches_up(Some("e-6"), at(1)).unwrap());
        assert!(cursor.is_reached(Some("e-7"), at(1)).unwrap());
        assert!(cursor.is_reached(Some("other-7"), at(1)).is_err());
        cursor.is_cut_off();
        assert!(!cursor.is_reached(Some("e-7"), at(1)).unwrap());

        let mut time = end(false, None, Some("1970-01-01T00:16:40Z"));
        assert!(
            !time.catches_up(None, at(1_000)).unwrap(),
            "some are on their way"
        );
        assert!(time.is_reached(None, at(1_001)).unwrap());
    }
}
