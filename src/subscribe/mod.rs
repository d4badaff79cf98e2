//! From a grant and a cursor to a stream of frames.
//!
//! 1. Attach to the topics' channels.
//! 2. Replay up to the journal's durable head as read after attaching, in
//!    pages, as fast as the subscriber takes them.
//! 3. Go live, skipping what was already given out.
//! 4. On falling behind, go back to 2 from the last position.
//!
//! Refuses to buffer: what a subscriber does not take stays in the journal.
//! Invariant: positions given out only rise, and between two of them no event
//! of the selection is left out that the subscriber is not told of.

mod audience;
mod calls;
mod feed;
mod give;
mod heed;
mod history;
mod leases;
mod presence;
mod pulse;
mod relay;
mod stream;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hookrill_core::{Clock, Cursor, Selection, Sequence, TopicMap};
use tokio::sync::Semaphore;

use crate::{
    access::{Access, Grant, PolicyVersion, TokenIdentity},
    hub::Hub,
    journal::{Journal, ReadError},
    telemetry::Telemetry,
    wire::{
        Coding, Encoder, Form, Format, Gap, GapReason, Piece, View, expiring_line, gap_line, sse,
    },
};
use audience::Audience;
pub use calls::Calls;
pub use feed::{Feed, Step};
pub use give::{Given, Hand};
use history::History;
use leases::Leases;
pub use presence::{Figures, Presence, PresenceError, Wanted};
use pulse::Pulse;
pub use relay::{Relay, Turn};
pub use stream::Subscription;

/// How streams are kept alive and brought back.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How often a quiet stream is given a sign of life.
    pub heartbeat: Duration,
    /// What clients are told to wait before they reconnect; between one and
    /// two times this.
    pub retry: Duration,
}

/// The most newest events that `last` may ask for.
pub const LAST_MAX: usize = 1_000;

/// What catching up takes of memory in all: pages that were read, and, for
/// each that is being read, the page and one event beyond it.
const HISTORY: history::Settings = history::Settings {
    cache_bytes_max: 16 * 1024 * 1024,
    page_bytes_max: 64 * 1024,
    reads_max: 32,
};

/// How long a client is asked to stay away from a gateway that can't serve it
/// now, in milliseconds.
const STAY_AWAY_MS: std::ops::RangeInclusive<u64> = 5_000..=30_000;
/// Over how much more than the usual wait a drain spreads its clients.
const DRAIN_SPREAD: Duration = Duration::from_secs(5);

/// Where a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With what comes from now on.
    Now,
    /// With the oldest event there is.
    Earliest,
    /// With what follows this position.
    After(Cursor),
    /// With the newest so many events, at most [`LAST_MAX`].
    Last(usize),
}

/// What a subscriber asks for beside its topics.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to begin.
    pub start: Start,
    /// Which event types; `None` is all.
    pub types: Option<Box<[Box<str>]>>,
    /// How events are written.
    pub format: Format,
    /// How that is coded.
    pub coding: Coding,
}

/// Opens streams.
pub struct Streams {
    journal: Arc<dyn Journal>,
    hub: Arc<Hub>,
    /// Asked whether a stream may go on after a reload.
    access: Arc<Access>,
    history: History,
    pulse: Pulse,
    leases: Leases,
    /// How often events were encoded anew.
    recoded: AtomicU32,
    audience: Audience,
    /// Whose turn it is to go through the journal for an operator.
    counting: Semaphore,
    settings: Settings,
    clock: Clock,
    telemetry: Arc<Telemetry>,
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
        let (older, history_hub) = (Arc::clone(&journal), Arc::clone(&hub));
        let history = History::new(older, history_hub, HISTORY, Arc::clone(&telemetry));
        Arc::new(Self {
            journal,
            hub,
            access,
            history,
            pulse: Pulse::new(),
            leases: Leases::default(),
            recoded: AtomicU32::new(0),
            audience: Audience::default(),
            counting: Semaphore::new(1),
            settings,
            clock,
            telemetry,
        })
    }

    /// Opens a stream of what `grant` allows.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the journal can't say where to begin.
    pub async fn open(
        self: &Arc<Self>,
        grant: &Grant,
        request: Request,
    ) -> Result<Subscription, ReadError> {
        let selection = Selection {
            topics: grant.topics().clone(),
            types: request.types,
        };
        // Attached before the journal is asked for its head: what becomes
        // durable in between is on the channel or below that head.
        let attachment = self.hub.attach(&selection.topics);
        let begin = self.begin(&selection, request.start).await?;
        let form = Form {
            format: request.format,
            coding: request.coding,
            full: grant.is_full(),
        };
        let opening = self.opening(form, &begin);
        let lifetime = grant.expires_at().map(|end| end.since(self.clock.now()));
        Ok(Subscription::begin(
            Arc::clone(self),
            attachment,
            selection,
            form,
            begin.position,
            opening,
            lifetime,
            grant,
        ))
    }

    /// Shows events by these views and under this public URL from now on, older
    /// ones and those in caches included; says whether that is another way than
    /// before. A write that is under way at this instant is not called back.
    ///
    /// A stream that has written a part of an event breaks off there, since the
    /// rest of it may not be shown any more: its client comes back, and gets
    /// the event anew.
    pub fn recode(&self, views: TopicMap<Arc<View>>, public_url: &str) -> bool {
        let before = self.hub.encoder();
        if before.views == views && *before.public_url == *public_url {
            return false;
        }
        self.hub.recode(Arc::new(Encoder {
            epoch: before.epoch,
            public_url: public_url.into(),
            views,
        }));
        self.history.recode();
        self.recoded.fetch_add(1, Ordering::Release);
        self.pulse.call();
        true
    }

    /// Beats the streams' hearts; to be dropped at shutdown.
    pub async fn beat(&self) {
        self.pulse.run(self.settings.heartbeat).await;
    }

    /// Ends every stream and refuses new ones.
    pub fn drain(&self) {
        self.pulse.drain();
    }

    /// Ends the streams of those tokens; says how many there were. Every stream
    /// is called to look, so this is for what happens rarely.
    pub fn end_those(&self, of: impl Fn(&TokenIdentity) -> bool) -> usize {
        let count = self.leases.end_those(of);
        if count > 0 {
            self.pulse.call();
        }
        count
    }

    /// Has every stream ask whether it may go on, after `access` changed; those
    /// that may not, end.
    pub fn look_again(&self) {
        self.pulse.call();
    }

    /// Whether [`Streams::drain`] was called.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.pulse.draining()
    }

    /// Changes when there is a reason to end some streams.
    fn verdicts(&self) -> (u64, PolicyVersion) {
        (self.leases.ended(), self.access.policy_version())
    }

    async fn begin(&self, selection: &Selection, start: Start) -> Result<Begin, ReadError> {
        Ok(match start {
            Start::Now => Begin::at(self.journal.head()),
            Start::Earliest => Begin::at(self.journal.floor()),
            Start::Last(count) => {
                let count = count.min(LAST_MAX);
                Begin::at(self.journal.start_of_last_n(selection, count).await?)
            }
            Start::After(asked) => self.begin_after(asked),
        })
    }

    fn begin_after(&self, asked: Cursor) -> Begin {
        let (floor, head) = (self.journal.floor(), self.journal.head());
        let (position, reason) = if asked.epoch != self.journal.epoch() {
            (floor, GapReason::Epoch)
        } else if asked.sequence > head {
            (head, GapReason::Unknown)
        } else if asked.sequence < floor {
            (floor, GapReason::Retention)
        } else {
            return Begin::at(asked.sequence);
        };
        Begin {
            position,
            gap: Some((asked, reason)),
        }
    }

    /// The first bytes of a stream.
    fn opening(&self, form: Form, begin: &Begin) -> Piece {
        let format = form.format;
        let gap = begin.gap.map(|(asked, reason)| Gap {
            reason,
            asked,
            resumed: self.hub.cursor(begin.position),
        });
        let gap_bytes = gap.map(|gap| self.gap(format, &gap));
        let mut opening = Vec::new();
        if format != Format::NdJson {
            // With a gap the client keeps the id it came with until it has
            // the gap: cut off in between, it is told again.
            let at = gap.map_or(self.hub.cursor(begin.position), |gap| gap.asked);
            opening.extend_from_slice(&sse::retry(spread(
                self.settings.retry,
                self.settings.retry,
            )));
            opening.extend_from_slice(&sse::cursor(at));
        } else if gap.is_none() {
            opening.push(b'\n');
        }
        opening.extend_from_slice(gap_bytes.as_deref().unwrap_or_default());
        Piece::first(&opening, form.coding)
    }

    fn gap(&self, format: Format, gap: &Gap) -> Bytes {
        self.telemetry.gap_told(gap.reason.as_str());
        match format {
            Format::Raw | Format::CloudEvents => sse::gap(gap),
            Format::NdJson => gap_line(gap, &self.hub.encoder()),
        }
    }

    /// What keeps a quiet stream alive, and its client's id up to date.
    fn sign_of_life(&self, form: Form, at: Cursor) -> Piece {
        match form.format {
            Format::NdJson => Piece::new(b"\n", form.coding),
            Format::Raw | Format::CloudEvents => Piece::new(&sse::cursor(at), form.coding),
        }
    }

    /// What tells a client that its token ends in so many seconds.
    fn expiring(&self, form: Form, at: Cursor, secs: u64) -> Piece {
        let text = match form.format {
            Format::NdJson => expiring_line(at, secs, &self.hub.encoder()),
            Format::Raw | Format::CloudEvents => sse::expiring(at, secs),
        };
        Piece::new(&text, form.coding)
    }

    /// The last bytes of a stream that ends because the gateway does.
    fn farewell(&self, format: Format) -> Option<Bytes> {
        let wait = spread(self.settings.retry, DRAIN_SPREAD);
        (format != Format::NdJson).then(|| sse::retry(wait))
    }
}

/// What keeps an `EventSource` alive that can't be served now: it gives up for
/// ever on any status but 200, so it gets one, a wait of `least` and some
/// seconds more, and the end.
#[must_use]
pub fn stay_away(least: Duration) -> Bytes {
    let least = u64::try_from(least.as_millis()).unwrap_or(u64::MAX / 4);
    sse::retry(least + fastrand::u64(STAY_AWAY_MS))
}

/// At random from `least` to `least + over`, in milliseconds.
fn spread(least: Duration, over: Duration) -> u64 {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4);
    ms(least) + fastrand::u64(0..=ms(over))
}

/// Where a stream begins, and what it can't be given.
struct Begin {
    position: Sequence,
    gap: Option<(Cursor, GapReason)>,
}

impl Begin {
    fn at(position: Sequence) -> Self {
        Self {
            position,
            gap: None,
        }
    }
}

#[cfg(test)]
mod tests;
