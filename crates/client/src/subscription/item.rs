//! What a subscription hands out.

use std::{error::Error as _, fmt, time::Duration};

use serde::Deserialize;

use super::SubscribeError;
use crate::cloud_event::{CloudEvent, CloudEventError};

/// One thing that happened on a subscription, in the order of the stream.
#[derive(Debug)]
#[non_exhaustive]
pub enum Item {
    /// An event.
    Event(ReceivedEvent),
    /// History that was asked for can't be given. It comes before what follows.
    Gap(ReceivedGap),
    /// An event is there, and this subscriber may not see it.
    Withheld(WithheldEvent),
    /// The stream is open: what is sent from now on arrives. Comes once per
    /// connection, before anything that the connection brings.
    Connected,
    /// All that was stored when the stream was opened has been handed out, and what
    /// follows is live. Comes once per connection, right after what was replayed.
    CaughtUp,
    /// The token ends so soon, and there is no [source](crate::TokenSource) of another.
    Expiring(Duration),
    /// The connection ended; another one will follow by itself. Nothing is
    /// lost: it resumes where this one ended.
    Interrupted(Interruption),
}

/// An event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedEvent {
    /// Its cursor: where a subscription resumes that has seen it.
    pub id: String,
    /// Its type, where the topic's section or the subscriber asks for named
    /// events; `message` otherwise.
    pub name: String,
    /// The body as text or, with [`EventFormat::CloudEvents`], the CloudEvent.
    ///
    /// [`EventFormat::CloudEvents`]: crate::EventFormat::CloudEvents
    pub data: String,
}

impl ReceivedEvent {
    /// Reads the data as a CloudEvent.
    ///
    /// # Errors
    ///
    /// Where it is not one, as without [`EventFormat::CloudEvents`].
    ///
    /// [`EventFormat::CloudEvents`]: crate::EventFormat::CloudEvents
    pub fn cloud_event(&self) -> Result<CloudEvent<'_>, CloudEventError> {
        CloudEvent::parse(&self.data)
    }
}

/// A stretch of history that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedGap {
    /// Where the stream resumes.
    pub id: String,
    /// Why it is missing.
    pub reason: ReceivedGapReason,
    /// The cursor that was asked for, where one was.
    pub asked: Option<String>,
    /// All that the gateway says about it, as JSON.
    pub data: String,
}

/// Why history is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceivedGapReason {
    /// It was deleted, by age or by size.
    Retention,
    /// The cursor is another journal's: the gateway has begun a new one.
    Epoch,
    /// The cursor is above all that the journal has.
    Unknown,
    /// The journal is damaged there.
    Damaged,
    /// A reason that this version does not know.
    Other(String),
}

/// An event that is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WithheldEvent {
    /// Its cursor.
    pub id: String,
    /// Why, such as `not_json`.
    pub reason: String,
    /// All that the gateway says about it, as JSON.
    pub data: String,
}

/// The time between two connections.
#[derive(Debug)]
#[non_exhaustive]
pub struct Interruption {
    /// What broke; `None` where the gateway ended the stream in good order, as
    /// it does when the token ends.
    pub cause: Option<SubscribeError>,
    /// How long the subscription waits before the next attempt.
    pub retry_in: Duration,
}

/// What the events of the gateway itself say; other fields may join.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Notice {
    reason: String,
    asked: Option<String>,
    pub(super) live: bool,
    pub(super) seconds: u64,
}

impl Notice {
    /// What says nothing that is understood still says what its name says.
    pub(super) fn parse(data: &str) -> Self {
        serde_json::from_str(data).unwrap_or_default()
    }
}

impl ReceivedGap {
    pub(super) fn new(id: String, data: String) -> Self {
        let Notice { reason, asked, .. } = Notice::parse(&data);
        let reason = match &*reason {
            "retention" => ReceivedGapReason::Retention,
            "epoch" => ReceivedGapReason::Epoch,
            "unknown" => ReceivedGapReason::Unknown,
            "damaged" => ReceivedGapReason::Damaged,
            _ => ReceivedGapReason::Other(reason),
        };
        Self {
            id,
            reason,
            asked,
            data,
        }
    }
}

impl WithheldEvent {
    pub(super) fn new(id: String, data: String) -> Self {
        let Notice { reason, .. } = Notice::parse(&data);
        Self { id, reason, data }
    }
}

impl fmt::Display for ReceivedGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match &self.reason {
            ReceivedGapReason::Retention => "it was deleted",
            ReceivedGapReason::Epoch => "the journal is another one",
            ReceivedGapReason::Unknown => "the cursor is ahead of the journal",
            ReceivedGapReason::Damaged => "the journal is damaged there",
            ReceivedGapReason::Other(reason) => reason,
        };
        write!(f, "history before {} is missing: {why}", self.id)
    }
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            None => f.write_str("the gateway ended the stream"),
            Some(cause) => {
                write!(f, "{cause}")?;
                let mut source = cause.source();
                while let Some(error) = source {
                    write!(f, ": {error}")?;
                    source = error.source();
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_one_whatever_it_says() {
        for (data, reason, asked) in [
            (
                r#"{"reason":"retention","asked":"e-1","resumed":"e-9","new":[]}"#,
                ReceivedGapReason::Retention,
                Some("e-1"),
            ),
            (r#"{"reason":"epoch"}"#, ReceivedGapReason::Epoch, None),
            (
                r#"{"reason":"flood"}"#,
                ReceivedGapReason::Other("flood".to_owned()),
                None,
            ),
            ("", ReceivedGapReason::Other(String::new()), None),
        ] {
            let gap = ReceivedGap::new("e-9".to_owned(), data.to_owned());
            assert_eq!((&gap.reason, gap.asked.as_deref()), (&reason, asked));
            assert_eq!(gap.data, data);
        }
    }
}
