//! What an operator may know of topics: how many listen, and what is stored.
//!
//! Refuses to walk through the journal twice at a time: the second request waits,
//! within a bound. Invariant: over all pages, a topic that has events or
//! subscribers all the while is listed once.

use std::{collections::BTreeMap, time::Duration};

use hookrill_core::{Cursor, Sequence, Topic};
use tokio::time::timeout;

use super::{Streams, subscriber_counts::Counts, visits::StuckSubscriber};
use crate::journal::{ReadError, StoredStats, StoredTopics, StoredTopicsQuery};

/// How far back events count for the rate of arrival.
const RATE_WINDOW: Duration = Duration::from_secs(60);
/// Where older events are gone, a window shorter than this says nothing.
const RATE_WINDOW_MIN: Duration = Duration::from_secs(1);
/// How long a request waits for the one before it.
const WAIT_TIME_MAX: Duration = Duration::from_secs(10);

/// Which topics are to be listed.
#[derive(Debug, Clone)]
pub struct TopicPageRequest {
    /// Only those after this one, in the order of their bytes.
    pub after: Option<Topic>,
    /// Only this one and its subtopics.
    pub under: Option<Topic>,
    /// At most so many.
    pub count: usize,
}

/// A page of topics that have events or subscribers.
#[derive(Debug)]
pub struct TopicPage {
    /// In the order of their bytes.
    pub topics: Vec<(Box<str>, TopicFigures)>,
    /// Whether there are more of them behind the last.
    pub more: bool,
    /// The whole gateway, whatever was asked for; its head is the journal's, even
    /// where the event at the head was deleted.
    pub all: TopicFigures,
    /// Streams that listen to every topic; counted in the whole, and at no topic.
    pub wildcard: u64,
    /// Streams that are counted at no topic, since there are too many topics.
    pub uncounted: u64,
    /// Only events after this were counted.
    pub counted_after: Cursor,
    /// Subscribers that come back to where they were, the newest first.
    pub stuck: Vec<StuckSubscriber>,
}

/// The figures of a topic with its subtopics, or of the whole gateway.
#[derive(Debug)]
pub struct TopicFigures {
    /// Open streams; `None` where that is not known.
    pub subscribers: Option<u64>,
    /// Arrivals per second over the last minute; `None` where too little of it is
    /// still stored.
    pub events_per_second: Option<f64>,
    /// The newest event.
    pub head: Option<Cursor>,
    /// The oldest event that is still stored.
    pub oldest: Option<Cursor>,
    /// How many events are stored.
    pub events: u64,
    /// About how many bytes they take.
    pub bytes: u64,
}

/// Why topics can't be listed.
#[derive(Debug, thiserror::Error)]
pub enum TopicStatsError {
    /// Another request is still being answered.
    #[error("topics are being counted for another request")]
    Busy,
    /// The journal can't be read.
    #[error(transparent)]
    Journal(#[from] ReadError),
}

impl Streams {
    /// How many listen to which topics, and what the journal has of them.
    ///
    /// # Errors
    ///
    /// [`TopicStatsError`].
    pub async fn topic_stats(
        &self,
        request: TopicPageRequest,
    ) -> Result<TopicPage, TopicStatsError> {
        let permit = timeout(WAIT_TIME_MAX, self.scans.acquire()).await;
        // Nobody closes the semaphore.
        let _permit = permit.map_err(|_| TopicStatsError::Busy)?;
        let now = self.clock.now();
        let query = StoredTopicsQuery {
            after: request.after.clone(),
            under: request.under.clone(),
            limit: request.count,
            recent_from: now.minus(RATE_WINDOW),
        };
        let stored = self.journal.stored_topics(query).await?;
        let secs = now.since(stored.recent_from);
        let window = (secs >= RATE_WINDOW_MIN).then_some(secs);
        let (rows, listened) = self.context.counts.lock().merge(&stored, &request);
        let topics = rows
            .into_iter()
            .map(|(name, (subscribers, stats))| (name, self.figures(subscribers, &stats, window)));
        let mut all = self.figures(Some(listened.streams), &stored.total, window);
        all.head = Some(self.cursor(stored.counted_up_to));
        Ok(TopicPage {
            topics: topics.collect(),
            more: listened.more,
            all,
            wildcard: listened.wildcard,
            uncounted: listened.uncounted,
            counted_after: self.cursor(stored.counted_after),
            stuck: self.context.visits.stuck(),
        })
    }

    fn figures(
        &self,
        subscribers: Option<u64>,
        stored: &StoredStats,
        window: Option<Duration>,
    ) -> TopicFigures {
        TopicFigures {
            subscribers,
            events_per_second: window.map(|window| stored.recent as f64 / window.as_secs_f64()),
            head: stored.span.map(|(_, head)| self.cursor(head)),
            oldest: stored.span.map(|(oldest, _)| self.cursor(oldest)),
            events: stored.events,
            bytes: stored.bytes,
        }
    }

    fn cursor(&self, sequence: Sequence) -> Cursor {
        self.context.hub.cursor(sequence)
    }
}

/// The topics of a page, in order, with how many listen and what is stored.
type Rows = BTreeMap<Box<str>, (Option<u64>, StoredStats)>;

/// What else the counts say.
struct Listened {
    streams: u64,
    wildcard: u64,
    uncounted: u64,
    more: bool,
}

impl Counts {
    /// The page of what is stored and of who listens. Each side has its own first
    /// topics of the request, so the first of both together are among them.
    fn merge(&self, stored: &StoredTopics, request: &TopicPageRequest) -> (Rows, Listened) {
        let listed = self.listed(request.after.as_ref(), request.under.as_ref());
        let listed = listed.take(request.count + 1);
        let mut page: BTreeMap<&str, StoredStats> =
            listed.map(|name| (name, StoredStats::default())).collect();
        page.extend(stored.topics.iter().map(|(name, stats)| (&**name, *stats)));
        let listened = Listened {
            streams: self.streams,
            wildcard: self.wildcard,
            uncounted: self.uncounted,
            more: stored.has_more || page.len() > request.count,
        };
        let rows = page.into_iter().take(request.count);
        let rows = rows.map(|(name, stats)| (name.into(), (self.at(name), stats)));
        (rows.collect(), listened)
    }
}
