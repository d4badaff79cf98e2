//! From a grant and a cursor to a stream of frames.
//!
//! 1. Subscribe to the topics' channels.
//! 2. Replay up to the journal's durable head as read after that, in pages, as
//!    fast as the subscriber takes them.
//! 3. Go live, skipping what was already sent.
//! 4. On falling behind, go back to 2 from the last position.
//!
//! [`StreamState`] is one subscriber's stream and knows no socket; [`Streams`]
//! opens streams and ends them. Refuses to buffer: what a subscriber does not take
//! stays in the journal. Invariant: positions only rise, and between two of them
//! no event of the selection is left out without a gap that says so.

mod context;
mod event_lookup;
mod heartbeats;
mod history;
mod interrupts;
mod page;
mod partial_events;
mod shared_reader;
mod state;
mod subscriber_counts;
mod token_sessions;
mod topic_stats;
mod visits;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hookrill_core::{Clock, Cursor, Epoch, Selection, Sequence, Timestamp, TopicMap};
use tokio::sync::Semaphore;

use crate::{
    access::{Access, Grant, TokenIdentity},
    hub::Hub,
    journal::{Journal, ReadError},
    telemetry::Telemetry,
    wire::{
        AskedFrom, Coding, Encoder, ForeignId, Form, Format, Gap, GapReason, View,
        notices::{self, Liveness},
    },
};
pub use context::Edition;
use context::{StreamContext, jitter};
pub use event_lookup::EventLookup;
use history::History;
pub use history::HistoryPage;
pub use interrupts::Interrupts;
pub use page::{HistoryReader, PageError, PageGap, PageRequest, StreamPage, Waited};
pub use partial_events::StreamBreaker;
pub use shared_reader::{SharedReader, Turn};
use state::Opening;
pub use state::{Batch, Ending, Ready, Step, StreamState};
pub use topic_stats::{TopicFigures, TopicPage, TopicPageRequest, TopicStatsError};
pub use visits::{StuckReason, StuckSubscriber, Visitor};

/// How streams are kept alive and brought back.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// How often a quiet stream is sent a heartbeat.
    pub heartbeat: Duration,
    /// What clients are told to wait before they reconnect; between one and
    /// two times this.
    pub retry: Duration,
    /// About how many bytes readers that stop may hold of events that they have
    /// taken a part of, all together.
    pub partial_events_bytes_max: usize,
    /// Within how long a stream ends whose peer is gone and can't say so. Not for
    /// this room, which knows no peers.
    pub dead_peer_max: Duration,
    /// How old a stream gets before it ends, for its client to come back: at most this,
    /// and at least three quarters of it.
    pub stream_age_max: Option<Duration>,
}

/// The most newest events that `last` may ask for.
pub const LAST_MAX: usize = 1_000;

/// What replay takes of memory in all: pages that were read, and, for each that
/// is being read, the page and one event beyond it.
const HISTORY: history::Settings = history::Settings {
    cache_bytes_max: 16 * 1024 * 1024,
    page_bytes_max: 64 * 1024,
    reads_max: 32,
    searches_max: 2,
};

/// How long a client is asked to wait for a gateway that can't serve it now.
const RETRY_LATER_MIN: Duration = Duration::from_secs(5);
const RETRY_LATER_SPREAD: Duration = Duration::from_secs(25);

/// Where a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Start {
    /// With what comes from now on.
    Now,
    /// With the oldest event there is.
    Earliest,
    /// With what follows this position.
    After(Cursor),
    /// With the newest so many events, at most [`LAST_MAX`].
    Last(usize),
    /// With what has arrived for so long.
    Ago(Duration),
    /// With what has arrived from this time on.
    At(Timestamp),
}

/// What a subscriber asks for besides its topics.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to begin.
    pub start: Start,
    /// An id that the subscriber came with and that no journal has given out: it is
    /// told of a gap before what it gets from `start` on.
    pub foreign_id: Option<ForeignId>,
    /// Whether `start` is the id that the subscriber was given last, and not a place
    /// that somebody wrote.
    pub resumes: bool,
    /// Which event types; `None` is all.
    pub types: Option<Box<[Box<str>]>>,
    /// How events are written.
    pub format: Format,
    /// How that is coded.
    pub coding: Coding,
    /// Whether types are the SSE event names; `None`: as the topics' views say.
    pub names: Option<bool>,
    /// An event whose data has more bytes is told of in its place.
    pub data_bytes_max: u32,
}

/// A stream that was opened, and what wakes it.
pub struct SubscriberStream {
    /// The stream.
    pub state: StreamState,
    /// What wakes it besides its events.
    pub interrupts: Interrupts,
    /// Where its client has come back too often: what the operator is to be told.
    pub stuck: Option<Box<StuckSubscriber>>,
}

/// Opens streams, and ends them.
pub struct Streams {
    journal: Arc<dyn Journal>,
    context: Arc<StreamContext>,
    /// One request of an operator at a time walks through the journal.
    scans: Semaphore,
    clock: Clock,
}

impl Streams {
    /// Streams of this journal and hub.
    #[must_use]
    pub fn new(
        journal: Arc<dyn Journal>,
        hub: Arc<Hub>,
        access: Arc<Access>,
        settings: Settings,
        clock: Clock,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Self> {
        let history = History::new(
            Arc::clone(&journal),
            Arc::clone(&hub),
            HISTORY,
            Arc::clone(&telemetry),
        );
        let context = StreamContext::new(hub, history, access, settings, clock.clone(), telemetry);
        Arc::new(Self {
            journal,
            context: Arc::new(context),
            scans: Semaphore::new(1),
            clock,
        })
    }

    /// The journal's name.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.journal.epoch()
    }

    /// How streams are kept alive.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.context.settings
    }

    /// Opens a stream of what `grant` allows.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the journal can't say where to begin.
    pub async fn open(
        &self,
        grant: &Grant,
        request: Request,
        visitor: Option<&Visitor>,
    ) -> Result<SubscriberStream, ReadError> {
        let selection = Selection {
            topics: grant.topics().clone(),
            types: request.types.clone(),
        };
        let arrival = match visitor {
            Some(visitor) => Some(self.arrival(visitor, &selection, &request).await),
            None => None,
        };
        // Subscribed before the journal is asked for its head: what becomes
        // durable in between is on the channel or below that head.
        let receiver = self.context.hub.subscribe(&selection.topics);
        let mut from = self.start_point(&selection, request.start).await?;
        if let Some(id) = request.foreign_id {
            from.gap = Some((AskedFrom::Foreign(id), GapReason::Unknown));
        }
        let lifetime = grant.expires_at().map(|end| end.since(self.clock.now()));
        let replay_until = self.journal.head();
        let is_live = from.position >= replay_until && from.gap.is_none();
        let opening = Opening {
            receiver,
            selection,
            form: Form {
                format: request.format,
                coding: request.coding,
                full: grant.is_full(),
                names: request.names,
                data_bytes_max: request.data_bytes_max,
            },
            position: from.position,
            replay_until,
            text: self.opening_text(request.format, &from, is_live),
            is_live,
        };
        let mut state = StreamState::new(&self.context, opening, grant, lifetime);
        let visit = arrival.as_ref().map(|it| it.visit_from(from.position));
        state.set_visit(visit);
        let interrupts = state.interrupts();
        Ok(SubscriberStream {
            state,
            interrupts,
            stuck: arrival.and_then(|it| it.stuck),
        })
    }

    /// Shows events by these views and under this public URL from now on, older
    /// ones and those in caches included; returns whether that changes anything.
    /// A write that is under way at this instant is not called back.
    ///
    /// A stream that has written a part of an event breaks off there, since the
    /// rest of it may not be shown any more: its client reconnects, and gets the
    /// event in its new form.
    pub fn replace_views(&self, views: TopicMap<Arc<View>>, public_url: &str) -> bool {
        let before = self.context.hub.encoder();
        if before.views == views && *before.public_url == *public_url {
            return false;
        }
        self.context.hub.replace_encoder(Encoder {
            epoch: before.epoch,
            public_url: public_url.into(),
            views,
        });
        self.context.history.clear();
        self.context.next_encoder_generation();
        self.context.heartbeats.wake_all();
        true
    }

    /// Signals heartbeats to the streams; to be dropped at shutdown.
    pub async fn run_heartbeats(&self) {
        let heartbeats = &self.context.heartbeats;
        heartbeats.run(self.context.settings.heartbeat).await;
    }

    /// Ends every stream and refuses new ones.
    pub fn drain(&self) {
        self.context.heartbeats.drain();
    }

    /// Ends the streams of those tokens; returns how many. Every stream is woken
    /// to check, so this is for what happens rarely.
    pub fn revoke_where(&self, is_revoked: impl Fn(&TokenIdentity) -> bool) -> usize {
        let count = self.context.sessions.revoke_where(is_revoked);
        if count > 0 {
            self.context.heartbeats.wake_all();
        }
        count
    }

    /// Has every stream check whether it may go on, after `access` changed; those
    /// that may not, end.
    pub fn recheck_grants(&self) {
        self.context.heartbeats.wake_all();
    }

    /// Whether [`Streams::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.context.heartbeats.is_draining()
    }

    async fn start_point(
        &self,
        selection: &Selection,
        start: Start,
    ) -> Result<StartPoint, ReadError> {
        Ok(match start {
            Start::Now => StartPoint::at(self.journal.head()),
            Start::Earliest => StartPoint::at(self.journal.floor()),
            Start::Last(count) => {
                let count = count.min(LAST_MAX);
                StartPoint::at(self.journal.start_of_last_n(selection, count).await?)
            }
            Start::After(asked) => self.start_after(asked),
            Start::Ago(time) => {
                let now = self.clock.now();
                self.start_at(now.minus(time), now).await?
            }
            Start::At(from) => self.start_at(from, self.clock.now()).await?,
        })
    }

    /// Where the journal does not reach back so far, it is as for the earliest: nobody
    /// was told that there is more.
    async fn start_at(&self, from: Timestamp, now: Timestamp) -> Result<StartPoint, ReadError> {
        let start = self.journal.start_of_arrivals(from, now).await?;
        Ok(StartPoint::at(start))
    }

    fn start_after(&self, asked: Cursor) -> StartPoint {
        let (floor, head) = (self.journal.floor(), self.journal.head());
        let (position, reason) = if asked.epoch != self.journal.epoch() {
            (floor, GapReason::Epoch)
        } else if asked.sequence > head {
            (head, GapReason::Unknown)
        } else if asked.sequence < floor {
            (floor, GapReason::Retention)
        } else {
            return StartPoint::at(asked.sequence);
        };
        StartPoint {
            position,
            gap: Some((asked.into(), reason)),
        }
    }

    /// The first bytes of a stream.
    fn opening_text(&self, format: Format, from: &StartPoint, is_live: bool) -> Vec<u8> {
        let hub = &self.context.hub;
        let at = hub.cursor(from.position);
        let gap = from.gap.as_ref().map(|(asked, reason)| Gap {
            reason: *reason,
            asked: asked.clone(),
            resumed: at,
        });
        if let Some(gap) = &gap {
            self.context.telemetry.gap_told(gap.reason.as_str());
        }
        let liveness = if is_live {
            Liveness::Live
        } else {
            Liveness::Unsaid
        };
        let retry = self.context.retry();
        notices::opening(format, at, liveness, retry, gap.as_ref(), &hub.encoder())
    }
}

/// What keeps an `EventSource` alive that can't be served now: it gives up for
/// ever on any status but 200, so it gets one, a wait of `least` and some seconds
/// more, and the end.
#[must_use]
pub fn retry_later_body(place: Option<&AskedFrom>, least: Duration, why: &str) -> Bytes {
    let wait = jitter(RETRY_LATER_MIN, RETRY_LATER_SPREAD);
    notices::come_back(place, least.saturating_add(wait), why)
}

/// Where a stream begins, and what it can't be given.
struct StartPoint {
    position: Sequence,
    gap: Option<(AskedFrom, GapReason)>,
}

impl StartPoint {
    fn at(position: Sequence) -> Self {
        Self {
            position,
            gap: None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
