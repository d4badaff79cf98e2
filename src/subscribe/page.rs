//! Reads that end: a page of what is stored, and the wait for more.
//!
//! A page is collected out of the ring and the pages of history that streams share,
//! so many who read the same cause one read of the disk. What a page has is decided by
//! its events and its bounds alone, and not by where it was found: one that is not the
//! last is the same for everybody, whenever it is read. That does not hold for one that
//! ends because a search found nothing for long.
//!
//! Refuses to go on where history is gone: the reader is told where it begins now.
//! Invariant: every event of the selection between two positions of a [`HistoryReader`] is in
//! its page, or a gap says so.

use std::{sync::Arc, time::Duration};

use hookrill_core::{Cursor, Selection, Sequence};
use tokio::time::{Instant, sleep_until};

use super::{
    Start, Streams,
    context::{Edition, StreamContext},
    heartbeats::{HeartbeatCursor, Signal},
    history::HistoryPage,
    state::{Entitlement, PAGE_BYTES_MAX, SEARCH_READS_MAX, TokenStatus},
};
use crate::{
    access::Grant,
    hub::{Received, Receiver},
    journal::{Journal, ReadError},
    wire::{Coding, Form, Format, Frame, Framing, Gap, GapReason, Piece, notices},
};

/// How often a page is collected anew because what is shown changed meanwhile.
const TRIES_MAX: usize = 4;

/// What a reader asks for besides its topics.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// Where to begin.
    pub start: Start,
    /// Which event types; `None` is all.
    pub types: Option<Box<[Box<str>]>>,
    /// How events are written: as lines of some kind.
    pub format: Format,
    /// The most events of a page.
    pub events_max: usize,
    /// The most bytes of a page; one event, if it is longer.
    pub bytes_max: usize,
}

/// A page: events, each as a line, and where the next one begins.
#[derive(Debug)]
pub struct StreamPage {
    lines: Vec<Piece>,
    bytes: usize,
    /// The position after which it begins.
    pub after: Cursor,
    /// The position after which the next one begins.
    pub next: Cursor,
    /// Of its last event; `after` where it has none.
    pub newest: Sequence,
    /// Whether nothing more is stored.
    pub is_last: bool,
    /// How it is encoded.
    pub edition: Edition,
}

/// What was asked for is gone, or never was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageGap {
    /// Why.
    pub reason: GapReason,
    /// What was asked for.
    pub asked: Cursor,
    /// The position before the oldest event that is kept.
    pub earliest: Cursor,
}

/// Why there is no page.
#[derive(Debug)]
pub enum PageError {
    /// History has a gap there.
    Gap(PageGap),
    /// The journal can't be read.
    Journal(ReadError),
}

impl From<ReadError> for PageError {
    fn from(error: ReadError) -> Self {
        Self::Journal(error)
    }
}

/// Why a wait for more is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// There may be more.
    News,
    /// There is nothing more, and a heartbeat is due.
    Heartbeat,
    /// The time is over.
    TimedOut,
    /// The gateway is shutting down.
    Drained,
    /// The right to read has ended.
    Revoked,
}

/// Where one reader is, page after page.
pub struct HistoryReader {
    journal: Arc<dyn Journal>,
    context: Arc<StreamContext>,
    selection: Selection,
    form: Form,
    events_max: usize,
    bytes_max: usize,
    position: Sequence,
    /// It began with the oldest event there is, and was given nothing yet: that may be
    /// deleted before it is read.
    begins_at_oldest: bool,
    listening: Option<Listening>,
}

/// What a reader has that waits for more.
struct Listening {
    context: Arc<StreamContext>,
    selection: Selection,
    receiver: Receiver,
    heartbeat: HeartbeatCursor,
    entitlement: Entitlement,
    /// Whether it is counted at its topics.
    counted: bool,
}

/// A page that is being collected.
#[derive(Default)]
struct Collected {
    lines: Vec<Piece>,
    bytes: usize,
    /// Of the last line.
    newest: Sequence,
    is_full: bool,
}

/// What was found after a position.
enum Found {
    Newest(Vec<Frame>, Sequence),
    Older(Arc<HistoryPage>),
}

impl Streams {
    /// Begins to read what `grant` allows; one that `waits` is a subscriber.
    ///
    /// # Errors
    ///
    /// [`PageError`] where there is nothing to begin with.
    pub async fn read(
        &self,
        grant: &Grant,
        request: PageRequest,
        waits: bool,
    ) -> Result<HistoryReader, PageError> {
        let selection = Selection {
            topics: grant.topics().clone(),
            types: request.types,
        };
        let lifetime = grant.expires_at().map(|end| end.since(self.clock.now()));
        // Before the journal is asked for its head, as for streams.
        let listening = waits.then(|| Listening::begin(&self.context, &selection, grant, lifetime));
        let from = self.start_point(&selection, request.start).await?;
        let reading = HistoryReader {
            journal: Arc::clone(&self.journal),
            context: Arc::clone(&self.context),
            selection,
            form: Form {
                format: request.format,
                coding: Coding::Identity,
                full: grant.is_full(),
                names: None,
                data_bytes_max: Form::DATA_BYTES_UNBOUNDED,
            },
            events_max: request.events_max,
            bytes_max: request.bytes_max,
            position: from.position,
            begins_at_oldest: matches!(request.start, Start::Earliest),
            listening,
        };
        if let Some((_, reason)) = from.gap
            && let Start::After(asked) = request.start
        {
            return Err(reading.gap(reason, asked));
        }
        Ok(reading)
    }

    /// The positions before the oldest event and behind the newest one.
    #[must_use]
    pub fn bounds(&self) -> (Cursor, Cursor) {
        let hub = &self.context.hub;
        (
            hub.cursor(self.journal.floor()),
            hub.cursor(self.journal.head()),
        )
    }
}

impl HistoryReader {
    /// Where the reader is.
    #[must_use]
    pub fn position(&self) -> Cursor {
        self.context.hub.cursor(self.position)
    }

    /// The next page, which may be empty.
    ///
    /// # Errors
    ///
    /// [`PageError`]
    pub async fn page(&mut self) -> Result<StreamPage, PageError> {
        for _ in 1..TRIES_MAX {
            // Before anything is read: what is read later is of this edition, or newer.
            let edition = self.context.edition();
            let page = self.collect(edition).await?;
            if self.context.edition() == edition {
                return Ok(self.take(page));
            }
        }
        let page = self.collect(self.context.edition()).await?;
        Ok(self.take(page))
    }

    /// Waits for what follows, up to `until`. Only for one that waits.
    pub async fn wait(&mut self, until: Instant) -> Waited {
        let Some(listening) = &mut self.listening else {
            debug_assert!(false, "it was begun as one that waits");
            return Waited::TimedOut;
        };
        listening.wait(until, &mut self.position).await
    }

    /// As [`HistoryReader::wait`], and without a wait where `has_more`; says all the same that
    /// it is over.
    pub async fn wait_unless(&mut self, has_more: bool, until: Instant) -> Waited {
        if !has_more {
            return self.wait(until).await;
        }
        let over = self.listening.as_mut().and_then(Listening::over);
        let is_late = Instant::now() >= until;
        let over = over.or(is_late.then_some(Waited::TimedOut));
        over.unwrap_or(Waited::News)
    }

    fn take(&mut self, page: StreamPage) -> StreamPage {
        debug_assert!(
            page.next.sequence >= self.position,
            "a reader goes forward only"
        );
        self.position = page.next.sequence;
        self.begins_at_oldest &= page.is_empty() && !page.is_last;
        let telemetry = &self.context.telemetry;
        telemetry.delivered.increment(page.lines.len() as u64);
        telemetry.delivered_bytes.increment(page.bytes as u64);
        page
    }

    async fn collect(&self, edition: Edition) -> Result<StreamPage, PageError> {
        let mut page = Collected::default();
        let (mut at, mut after) = (self.position, self.position);
        let (mut reads_in_vain, mut is_last) = (0, false);
        while !page.is_full && reads_in_vain <= SEARCH_READS_MAX {
            if at >= self.journal.head() {
                is_last = true;
                break;
            }
            let found = self.fetch(at, reads_in_vain > 0).await?;
            if let Found::Older(older) = &found
                && older.floor > at
            {
                if !page.lines.is_empty() {
                    break;
                }
                if !self.begins_at_oldest {
                    let asked = self.context.hub.cursor(self.position);
                    return Err(self.gap(GapReason::Retention, asked));
                }
                at = older.floor;
                after = at;
                continue;
            }
            let before = page.lines.len();
            at = self.add(&found, at, &mut page);
            let has_found = page.is_full || page.lines.len() > before;
            reads_in_vain = if has_found { 0 } else { reads_in_vain + 1 };
            if !has_found {
                self.context.telemetry.history_pages_in_vain.increment(1);
            }
        }
        let next = if page.is_full { page.newest } else { at };
        let hub = &self.context.hub;
        Ok(StreamPage {
            bytes: page.bytes,
            after: hub.cursor(after),
            next: hub.cursor(next),
            newest: if page.lines.is_empty() {
                after
            } else {
                page.newest
            },
            is_last,
            edition,
            lines: page.lines,
        })
    }

    /// What follows `at`: of the newest events in memory, or of older ones.
    async fn fetch(&self, at: Sequence, is_searching: bool) -> Result<Found, ReadError> {
        let ring = self.context.hub.ring();
        let newest = ring.read(&self.selection, at, PAGE_BYTES_MAX);
        // The ring may be behind the journal, never ahead of it.
        if let Some(newest) = newest.filter(|newest| newest.scanned > at) {
            return Ok(Found::Newest(newest.frames, newest.scanned));
        }
        let history = &self.context.history;
        if let Some(cached) = history.cached_page(&self.selection, at) {
            return Ok(Found::Older(cached));
        }
        let older = if is_searching {
            history.searched_page(&self.selection, at).await
        } else {
            history.page(&self.selection, at).await
        };
        older.map(Found::Older)
    }

    /// Adds what was found after `at`; returns how far that is.
    fn add(&self, found: &Found, at: Sequence, page: &mut Collected) -> Sequence {
        let (frames, scanned): (&[Frame], _) = match found {
            Found::Newest(frames, scanned) => (frames, *scanned),
            Found::Older(older) if older.is_damaged && older.scanned > at => {
                let line = self.damaged(at, older.scanned);
                self.push(line, older.scanned, page);
                return older.scanned.max(at);
            }
            Found::Older(older) => (&older.frames, older.scanned),
        };
        let seen = frames.partition_point(|frame| frame.sequence() <= at);
        for frame in &frames[seen..] {
            self.push(frame.piece(self.form).clone(), frame.sequence(), page);
            if page.is_full {
                break;
            }
        }
        scanned.max(at)
    }

    /// Adds a line, unless the page is full without it.
    fn push(&self, line: Piece, at: Sequence, page: &mut Collected) {
        let bytes = line.chunk().bytes(Framing::Plain).len();
        let fits = page.lines.len() < self.events_max
            && (page.lines.is_empty() || page.bytes + bytes <= self.bytes_max);
        if !fits {
            page.is_full = true;
            return;
        }
        page.bytes += bytes;
        page.newest = at;
        page.lines.push(line);
    }

    /// Says that events up to `resumed` are damaged, in their place.
    fn damaged(&self, at: Sequence, resumed: Sequence) -> Piece {
        let hub = &self.context.hub;
        let gap = Gap {
            reason: GapReason::Damaged,
            asked: hub.cursor(at).into(),
            resumed: hub.cursor(resumed),
        };
        self.context.telemetry.gap_told(gap.reason.as_str());
        let line = notices::gap(self.form.format, &gap, &hub.encoder());
        Piece::new(&line, self.form.coding)
    }

    fn gap(&self, reason: GapReason, asked: Cursor) -> PageError {
        self.context.telemetry.gap_told(reason.as_str());
        PageError::Gap(PageGap {
            reason,
            asked,
            earliest: self.context.hub.cursor(self.journal.floor()),
        })
    }
}

impl StreamPage {
    /// Whether it has no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many events it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// How many bytes its lines have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends its events, one a line.
    pub fn write_lines(&self, out: &mut Vec<u8>) {
        for line in &self.lines {
            out.extend_from_slice(line.chunk().bytes(Framing::Plain));
        }
    }

    /// Appends its events as a JSON array in one line.
    pub fn write_array(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (at, line) in self.lines.iter().enumerate() {
            let payload = line.chunk().bytes(Framing::Plain);
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(payload.strip_suffix(b"\n").unwrap_or(payload));
        }
        out.push(b']');
    }
}

impl Listening {
    fn begin(
        context: &Arc<StreamContext>,
        selection: &Selection,
        grant: &Grant,
        lifetime: Option<Duration>,
    ) -> Self {
        context.telemetry.subscribers.increment(1.0);
        Self {
            receiver: context.hub.subscribe(&selection.topics),
            heartbeat: context.heartbeats.join(),
            entitlement: Entitlement::new(context, grant, lifetime, Instant::now()),
            counted: context.counts.begin(&selection.topics),
            selection: selection.clone(),
            context: Arc::clone(context),
        }
    }

    async fn wait(&mut self, until: Instant, position: &mut Sequence) -> Waited {
        let context = Arc::clone(&self.context);
        loop {
            // Before anything is looked at, so that no signal is missed.
            let signal = context.heartbeats.notified(self.heartbeat.phase());
            if let Some(over) = self.over() {
                return over;
            }
            let beat = context.heartbeats.take_signal(&mut self.heartbeat);
            let beat = beat.filter(|beat| *beat == Signal::Heartbeat);
            // Loaded before the channel is emptied: all up to it was on the channel.
            let published = context.hub.published();
            match (beat, self.receiver.try_recv()) {
                (_, Received::Frames(_) | Received::CatchUp) => return Waited::News,
                (beat, Received::Empty) => {
                    // A quiet topic's reader does not fall below the floor.
                    *position = (*position).max(published);
                    if beat.is_some() {
                        return Waited::Heartbeat;
                    }
                }
            }
            if Instant::now() >= until {
                return Waited::TimedOut;
            }
            let look_at = self
                .entitlement
                .expires_at()
                .map_or(until, |at| at.min(until));
            tokio::select! {
                _ = self.receiver.recv() => return Waited::News,
                () = signal => {}
                () = sleep_until(look_at) => {}
            }
        }
    }

    /// Why it may not go on.
    fn over(&mut self) -> Option<Waited> {
        if self.context.heartbeats.is_draining() {
            return Some(Waited::Drained);
        }
        let token = self.entitlement.token_status(Instant::now);
        let topics = &self.selection.topics;
        let is_over =
            token == TokenStatus::Expired || self.entitlement.is_revoked(&self.context, topics);
        is_over.then_some(Waited::Revoked)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.entitlement.end(&self.context);
        let counts = &self.context.counts;
        counts.end(&self.selection.topics, self.counted);
        self.context.telemetry.subscribers.decrement(1.0);
    }
}
