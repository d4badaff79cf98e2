//! What an operator may know of topics: who listens, and what there is.
//!
//! Refuses a second walk through the journal while one is under way: it waits
//! its turn, for a while. Invariant: page after page, each topic that has events
//! or subscribers all the while comes once.

use std::{collections::BTreeMap, time::Duration};

use hookrill_core::{Cursor, Sequence, Topic};
use tokio::time::timeout;

use super::{Streams, audience::Counts};
use crate::journal::{ReadError, StoredStats, StoredTopics, StoredTopicsQuery};

/// How far back events count for the rate.
const RATE_WINDOW: Duration = Duration::from_secs(60);
/// A window that is shorter, since older events are gone, says nothing.
const RATE_WINDOW_MIN: Duration = Duration::from_secs(1);
/// How long a question waits for the one before it.
const TURN_TIME_MAX: Duration = Duration::from_secs(10);

/// Which topics are to be listed.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Only those after this one, in the order of their bytes.
    pub after: Option<Topic>,
    /// Only this one and its subtopics.
    pub under: Option<Topic>,
    /// At most so many.
    pub count: usize,
}

/// A page of topics that have events or subscribers.
#[derive(Debug)]
pub struct Presence {
    /// In the order of their bytes.
    pub topics: Vec<(Box<str>, Figures)>,
    /// Whether there are more of them behind the last.
    pub more: bool,
    /// The whole gateway, whatever was asked for; its head is the journal's,
    /// also where nothing is left of it.
    pub all: Figures,
    /// Streams of everything: in the whole, and at no topic.
    pub of_everything: u64,
    /// Streams that are counted at no topic, since there are too many.
    pub uncounted: u64,
    /// Only events after this were counted.
    pub counted_after: Cursor,
}

/// A topic's with its subtopics, or the whole gateway's.
#[derive(Debug)]
pub struct Figures {
    /// Open streams; `None` where that is not known.
    pub subscribers: Option<u64>,
    /// Arrivals per second over the last minute; `None` where too little is
    /// left of it.
    pub events_per_second: Option<f64>,
    /// The newest event.
    pub head: Option<Cursor>,
    /// The oldest event that is still here.
    pub oldest: Option<Cursor>,
    /// How many there are.
    pub events: u64,
    /// About how many bytes they take.
    pub bytes: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// Another question takes its time.
    #[error("topics are being counted for another question")]
    Busy,
    /// The journal can't be read.
    #[error(transparent)]
    Journal(#[from] ReadError),
}

impl Streams {
    /// Who listens to which topics, and what the journal has of them.
    ///
    /// # Errors
    ///
    /// [`PresenceError`].
    pub async fn presence(&self, wanted: Wanted) -> Result<Presence, PresenceError> {
        let turn = timeout(TURN_TIME_MAX, self.counting.acquire()).await;
        // Nobody closes the semaphore.
        let _turn = turn.map_err(|_| PresenceError::Busy)?;
        let now = self.clock.now();
        let query = StoredTopicsQuery {
            after: wanted.after.clone(),
            under: wanted.under.clone(),
            limit: wanted.count,
            recent_from: now.minus(RATE_WINDOW),
        };
        let held = self.journal.stored_topics(query).await?;
        let secs = now.since(held.recent_from);
        let window = (secs >= RATE_WINDOW_MIN).then_some(secs);
        let (rows, listened) = self.audience.counts().beside(&held, &wanted);
        let topics = rows
            .into_iter()
            .map(|(name, (subscribers, held))| (name, self.figures(subscribers, &held, window)));
        let mut all = self.figures(Some(listened.streams), &held.total, window);
        all.head = Some(self.cursor(held.counted_up_to));
        Ok(Presence {
            topics: topics.collect(),
            more: listened.more,
            all,
            of_everything: listened.of_everything,
            uncounted: listened.uncounted,
            counted_after: self.cursor(held.counted_after),
        })
    }

    fn figures(
        &self,
        subscribers: Option<u64>,
        held: &StoredStats,
        window: Option<Duration>,
    ) -> Figures {
        Figures {
            subscribers,
            events_per_second: window.map(|window| held.recent as f64 / window.as_secs_f64()),
            head: held.span.map(|(_, head)| self.cursor(head)),
            oldest: held.span.map(|(oldest, _)| self.cursor(oldest)),
            events: held.events,
            bytes: held.bytes,
        }
    }

    fn cursor(&self, sequence: Sequence) -> Cursor {
        self.hub.encoder().cursor(sequence)
    }
}

/// The topics of a page, in order.
type Rows = BTreeMap<Box<str>, (Option<u64>, StoredStats)>;

/// What is said beside them.
struct Listened {
    streams: u64,
    of_everything: u64,
    uncounted: u64,
    more: bool,
}

impl Counts {
    /// The page of what is held and of who listens. Both are the first of
    /// their own that were asked for, so the first of both together are here.
    fn beside(&self, held: &StoredTopics, wanted: &Wanted) -> (Rows, Listened) {
        let listed = self.listed(wanted.after.as_ref(), wanted.under.as_ref());
        let listed = listed.take(wanted.count + 1);
        let mut page: BTreeMap<&str, StoredStats> =
            listed.map(|name| (name, StoredStats::default())).collect();
        page.extend(held.topics.iter().map(|(name, held)| (&**name, *held)));
        let listened = Listened {
            streams: self.streams,
            of_everything: self.of_everything,
            uncounted: self.uncounted,
            more: held.has_more || page.len() > wanted.count,
        };
        let rows = page.into_iter().take(wanted.count);
        let rows = rows.map(|(name, held)| (name.into(), (self.of(name), held)));
        (rows.collect(), listened)
    }
}
