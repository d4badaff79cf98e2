//! What one subscriber is given next: replay, live, and back.
//!
//! Knows no socket and starts no task. Whoever writes the stream asks
//! [`StreamState::poll`] what to do, does it, and asks again:
//!
//! ```text
//! poll ─┬─ Write → take_ready, batch → a write → advance
//!       ├─ Read  → read_now, or fetch_page and supply
//!       ├─ Wait  → received, or an interrupt
//!       ├─ End   → the end of the body, or a cut: as `ending` says
//!       └─ Abort → no end: what has begun must not be completed
//! ```
//!
//! Queues nothing: what was not taken is found again, in the channel, the ring
//! or the journal. Invariant: the position rises by what went out, so that no
//! event is skipped and none comes twice.

mod batch;
mod counters;
mod due_position;
mod entitlement;
mod hand_over;
mod pending;
mod stream_log;

use std::{sync::Arc, task::Waker, time::Duration};

use bytes::Bytes;
use hookrill_core::{Selection, Sequence};
use tokio::time::Instant;

use super::{
    context::{EndOfAge, StreamContext},
    heartbeats::{HeartbeatCursor, Signal},
    history::HistoryPage,
    interrupts::Interrupts,
    partial_events::StreamBreaker,
    visits::Visit,
};
use crate::{
    access::Grant,
    hub::{Received, Receiver},
    journal::ReadError,
    wire::{
        CodingState, Form, Frame, Framing, Gap, GapReason, PackedForm, Piece,
        notices::{self, Liveness},
    },
};
pub use batch::Batch;
pub(super) use counters::DeliveryCounters;
use due_position::DuePosition;
pub(super) use entitlement::{Entitlement, TokenStatus};
pub(super) use hand_over::ReaderSignals;
pub use pending::Ready;
pub(super) use pending::last_sequence;
use pending::{Pending, Queued, Rest};
use stream_log::StreamLog;

/// About how many bytes of events are taken from the ring at a time.
pub(super) const PAGE_BYTES_MAX: usize = 32 * 1024;

/// So many reads in a row that find nothing bring the client a cursor, from which
/// it can go on if it is cut off: at most some 260,000 entries of the journal's index.
pub(super) const SEARCH_READS_MAX: u8 = 32;

/// One subscriber's stream: where it is, and what it is given next.
pub struct StreamState {
    context: Arc<StreamContext>,
    receiver: Receiver,
    selection: Selection,
    form: PackedForm,
    framing: Framing,
    coding: CodingState,
    progress: Progress,
    pending: Pending,
    signals: SignalState,
    entitlement: Entitlement,
    counters: DeliveryCounters,
    log: Option<Box<StreamLog>>,
    /// Breaks it off where it stops and too much is held; once it has stopped, or
    /// where whoever writes it has set one.
    breaker: Option<Arc<StreamBreaker>>,
    /// Whether it is counted at its topics.
    counted: bool,
    /// What is noted of its client where it leaves. Boxed: it is looked at only then.
    visit: Option<Box<Visit>>,
    /// How many reads in a row have found nothing, since the last cursor; not 0
    /// while it is searching.
    reads_in_vain: u8,
}

/// How a stream begins.
pub(super) struct Opening {
    pub(super) receiver: Receiver,
    pub(super) selection: Selection,
    pub(super) form: Form,
    /// What comes after this is sent.
    pub(super) position: Sequence,
    /// The journal's head, as read after `receiver` was made.
    pub(super) replay_until: Sequence,
    /// The first bytes.
    pub(super) text: Vec<u8>,
    /// Whether they say that the stream is live.
    pub(super) is_live: bool,
}

struct Progress {
    /// All of the selection up to here went out, or was told of as a gap.
    position: Sequence,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// What was stored before the stream was opened, up to here; then the client is
    /// told that it is live.
    Replay(Sequence),
    /// What the channel had no more, from the ring or the journal, up to here.
    CatchUp(Sequence),
    Live,
    /// The last word is still to be said: how long to wait before coming back.
    Closing,
    Ended,
    /// Nothing more goes out, not even the rest of what has begun.
    Aborted,
}

struct SignalState {
    heartbeat: HeartbeatCursor,
    /// A heartbeat is due. It may carry this position once all that was sent on
    /// the channel before it went out.
    heartbeat_due: DuePosition,
    /// The encoder by which what is pending was encoded.
    encoder_generation: u32,
    /// When the stream is too old.
    end_of_age: Option<EndOfAge>,
}

/// What the end of a stream tells its client.
///
/// Some clients take an end that HTTP calls complete for the last word, and never
/// come back; all of them take one that is cut off for an accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// There will be more: the body is cut off behind its last byte.
    ComeBack,
    /// Whoever comes back as it is will be refused: the body is complete.
    Final,
}

/// What is to be done next for a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Write what is ready.
    Write,
    /// Read on.
    Read,
    /// Wait for events or an interrupt.
    Wait,
    /// Nothing more will come: end the body as [`StreamState::ending`] says.
    End,
    /// Nothing more may go out: break the body off without an end.
    Abort,
}

impl StreamState {
    /// A stream that `grant` allows for `lifetime`.
    pub(super) fn new(
        context: &Arc<StreamContext>,
        opening: Opening,
        grant: &Grant,
        lifetime: Option<Duration>,
    ) -> Self {
        let Opening {
            receiver,
            selection,
            form,
            position,
            replay_until,
            text,
            is_live,
        } = opening;
        let now = Instant::now();
        context.telemetry.subscribers.increment(1.0);
        let mut pending = Pending::default();
        pending.queue_notice(Piece::first(&text, form.coding));
        Self {
            counted: context.counts.begin(&selection.topics),
            entitlement: Entitlement::new(context, grant, lifetime, now),
            signals: SignalState {
                heartbeat: context.heartbeats.join(),
                heartbeat_due: DuePosition::NONE,
                encoder_generation: context.encoder_generation(),
                end_of_age: context.end_of_age(now),
            },
            receiver,
            selection,
            form: form.into(),
            framing: Framing::Plain,
            coding: CodingState::new(form.coding),
            progress: Progress {
                position,
                stage: if is_live {
                    Stage::CatchUp(replay_until)
                } else {
                    Stage::Replay(replay_until)
                },
            },
            pending,
            counters: DeliveryCounters::default(),
            log: StreamLog::begin(context.hub.cursor(position)),
            breaker: None,
            visit: None,
            reads_in_vain: 0,
            context: Arc::clone(context),
        }
    }

    /// Has `visit` noted if the client leaves.
    pub(super) fn set_visit(&mut self, visit: Option<Visit>) {
        self.visit = visit.map(Box::new);
    }

    /// Has nothing noted: the client does not leave, it is given up.
    pub fn forget_visit(&mut self) {
        self.visit = None;
    }

    /// What wakes this stream besides its events.
    pub(super) fn interrupts(&self) -> Interrupts {
        let mut interrupts = Interrupts::new(&self.context, self.signals.heartbeat);
        interrupts.set_deadline(self.deadline());
        interrupts
    }

    /// Puts `head` as it is before the opening, and has everything framed like
    /// this. To be called before the first write.
    pub fn begin_body(&mut self, head: &[u8], framing: Framing) {
        assert!(!self.coding.has_begun(), "a body begins once");
        self.framing = framing;
        if head.is_empty() {
            return;
        }
        if let Some(opening) = self.pending.take_notice() {
            self.coding.add(&opening);
            let rest: Bytes = [head, opening.chunk().bytes(framing)].concat().into();
            let bytes = rest.len();
            self.pending.rest = Rest::new(rest, bytes);
        }
    }

    /// Has the stream broken off by `breaker`, which whoever writes it looks at as
    /// well. To be called before the first write.
    pub fn set_breaker(&mut self, breaker: Arc<StreamBreaker>) {
        self.breaker = Some(breaker);
    }

    /// What is to be done next. Processes signals, and the end of the token; `now`
    /// is asked for only where a token ends.
    pub fn poll(&mut self, now: impl FnOnce() -> Instant) -> Step {
        let token = self.process_signals(now);
        if self.progress.stage == Stage::Aborted {
            return Step::Abort;
        }
        if let TokenStatus::Expiring(left) = token
            && self.pending.is_empty()
        {
            self.queue_expiry_notice(left);
        }
        loop {
            if !self.pending.is_empty() {
                return Step::Write;
            }
            match self.progress.stage {
                Stage::Ended => match self.coding.end() {
                    Some(end) => self.pending.queue_notice(end),
                    None => return Step::End,
                },
                Stage::Closing => self.queue_closing(),
                Stage::Aborted => return Step::Abort,
                Stage::Replay(until) if self.progress.position >= until => {
                    self.become_live();
                    self.queue_cursor(Liveness::Live);
                }
                Stage::CatchUp(until) if self.progress.position >= until => self.become_live(),
                Stage::Replay(_) | Stage::CatchUp(_) => return Step::Read,
                Stage::Live if self.signals.heartbeat_due.is_none() => {
                    self.counters.flush(&self.context.telemetry);
                    return Step::Wait;
                }
                Stage::Live => {
                    let received = self.receiver.try_recv();
                    self.handle_received(received);
                }
            }
        }
    }

    fn form(&self) -> Form {
        self.form.into()
    }

    fn become_live(&mut self) {
        self.progress.stage = Stage::Live;
        self.reads_in_vain = 0;
    }

    /// Receives what is ready, and all that waits behind it on the channel: at
    /// most some `pieces_max` pieces.
    pub fn take_ready(&mut self, pieces_max: usize) -> Ready {
        match std::mem::take(&mut self.pending.next) {
            Queued::Nothing => Ready::default(),
            Queued::Notice(notice) => {
                self.pending.next = Queued::Notice(notice);
                Ready::default()
            }
            Queued::Page(frames, end) => Ready::page(frames, end),
            Queued::Slice(slice) => {
                let mut ready = Ready::default();
                self.collect(slice, pieces_max, &mut ready);
                ready
            }
        }
    }

    /// What this stream writes of `ready`, as bytes that are sent by advancing
    /// past them.
    pub fn batch<'a>(&'a mut self, ready: &'a Ready) -> Batch<'a> {
        debug_assert!(
            ready.slices.is_empty() || matches!(self.pending.next, Queued::Nothing),
            "frames are received when nothing is queued"
        );
        Batch::new(self, ready)
    }

    /// Reads on from memory: a heartbeat that is due, the ring, or a page of
    /// history that is there. Returns whether that sufficed; otherwise
    /// [`StreamState::fetch_page`] is due.
    pub fn read_now(&mut self) -> bool {
        self.counters.flush(&self.context.telemetry);
        if self.signals.heartbeat_due.take().is_some() {
            // During a replay a heartbeat claims the position read so far.
            self.queue_cursor(Liveness::Unsaid);
            return true;
        }
        let position = self.progress.position;
        let ring = self.context.hub.ring();
        let page = ring.read(&self.selection, position, PAGE_BYTES_MAX);
        // The ring may be behind the journal, never ahead of it.
        if let Some(page) = page.filter(|page| page.scanned > position) {
            if page.frames.is_empty() {
                self.pass_over(page.scanned);
            } else {
                self.take_page(page.frames.into(), page.scanned);
            }
            return true;
        }
        let cached = (self.context.history).cached_page(&self.selection, position);
        if let Some(older) = &cached {
            self.supply(older);
        }
        cached.is_some()
    }

    /// The page of history that comes next, read by this stream or by another one
    /// that needs it as well. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the journal can't be read.
    pub async fn fetch_page(&self) -> Result<Arc<HistoryPage>, ReadError> {
        let history = &self.context.history;
        let position = self.progress.position;
        if self.is_searching() {
            history.searched_page(&self.selection, position).await
        } else {
            history.page(&self.selection, position).await
        }
    }

    /// Whether what was read last had nothing for this stream: to search on costs
    /// its peer nothing, so others go first.
    #[must_use]
    pub fn is_searching(&self) -> bool {
        self.reads_in_vain > 0
    }

    /// Adds a page of history.
    pub fn supply(&mut self, page: &HistoryPage) {
        if page.floor > self.progress.position {
            // What the page holds is looked for again from the floor on.
            self.queue_gap(GapReason::Retention, page.floor);
            return;
        }
        if page.is_damaged && page.scanned > self.progress.position {
            self.queue_gap(GapReason::Damaged, page.scanned);
            return;
        }
        let new = (page.frames).partition_point(|frame| frame.sequence() <= self.progress.position);
        if page.frames.len() == new {
            self.pass_over(page.scanned);
        } else {
            self.take_page(Arc::clone(&page.frames), page.scanned);
        }
    }

    fn take_page(&mut self, frames: Arc<[Frame]>, scanned: Sequence) {
        self.reads_in_vain = 0;
        self.pending.next = Queued::Page(frames, scanned);
    }

    /// There is nothing for this stream up to `scanned`. Where that happens again
    /// and again, the client is told where it is, and bears a part of the cost.
    fn pass_over(&mut self, scanned: Sequence) {
        self.progress.position = self.progress.position.max(scanned);
        self.reads_in_vain += 1;
        self.context.telemetry.history_pages_in_vain.increment(1);
        if self.reads_in_vain > SEARCH_READS_MAX {
            self.reads_in_vain = 1;
            self.queue_cursor(Liveness::Unsaid);
        }
    }

    /// Waits for events and takes them up. Cancel-safe.
    pub async fn received(&mut self) {
        let received = self.receiver.recv().await;
        self.handle_received(received);
    }

    /// Lets go of what others don't hold as well, while the peer does not read:
    /// it is found again.
    pub fn release(&mut self) {
        self.pending.release();
    }

    /// Counts what it holds on to while the peer does not read; others that hold
    /// something may be broken off for it.
    pub fn hold(&mut self) {
        let all = &self.context.partial_events;
        self.pending.hold(all, &mut self.breaker);
    }

    /// Whether it is to be broken off, since it has stopped and others need the
    /// memory; `waker` is woken when it is.
    #[must_use]
    pub fn is_broken_or_wakes(&self, waker: &Waker) -> bool {
        let breaker = self.breaker.as_ref();
        breaker.is_some_and(|breaker| breaker.is_broken_or_wakes(waker))
    }

    /// Ends the stream after what has begun to go out, since its events can't be read.
    pub fn end(&mut self) {
        self.log_end("its events cannot be read");
        if !self.has_ended() && self.progress.stage != Stage::Aborted {
            self.progress.stage = Stage::Ended;
            self.pending.next = Queued::Nothing;
        }
    }

    /// Ends the stream after what has begun to go out and what is only for this
    /// subscriber, with how long its client is to wait. A gap that was counted as told
    /// goes out, or the last cursor would lead past it.
    fn close(&mut self) {
        if self.has_ended() || self.progress.stage == Stage::Aborted {
            return;
        }
        self.progress.stage = Stage::Closing;
        if !matches!(self.pending.next, Queued::Notice(_)) {
            self.pending.next = Queued::Nothing;
        }
    }

    /// Whether nothing but what is ready will come.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.progress.stage, Stage::Closing | Stage::Ended)
    }

    /// How a stream that has ended is to say so.
    #[must_use]
    pub fn ending(&self) -> Ending {
        if self.entitlement.is_over() {
            Ending::Final
        } else {
            Ending::ComeBack
        }
    }

    /// When the stream is to be looked at: to tell the client that its token expires, or
    /// to end.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let end_of_age = self
            .signals
            .end_of_age
            .map(|end| self.context.instant_of(end));
        end_of_age
            .into_iter()
            .chain(self.entitlement.deadline())
            .min()
    }

    /// How the token stands, and whether the stream is too old; `now` is asked for only
    /// where that depends on it.
    fn token_status(&self, now: impl FnOnce() -> Instant) -> TokenStatus {
        let Some(end_of_age) = self.signals.end_of_age else {
            return self.entitlement.token_status(now);
        };
        let now = now();
        let status = self.entitlement.token_status(|| now);
        if status != TokenStatus::Expired && now >= self.context.instant_of(end_of_age) {
            return TokenStatus::Aged;
        }
        status
    }

    /// Whether the stream has to end: its token was revoked, or it would not be
    /// granted any more.
    pub fn is_revoked(&mut self) -> bool {
        let topics = &self.selection.topics;
        self.entitlement.is_revoked(&self.context, topics)
    }

    /// Whether no piece was written in part.
    #[cfg(test)]
    pub(super) fn is_between_pieces(&self) -> bool {
        self.pending.rest.is_empty()
    }

    /// Processes what was signalled since the last time.
    fn process_signals(&mut self, now: impl FnOnce() -> Instant) -> TokenStatus {
        if self
            .breaker
            .as_ref()
            .is_some_and(|breaker| breaker.is_broken())
        {
            self.abort("too much of events was held, and it had stopped for the longest");
        }
        self.forget_older_encodings();
        if self.has_ended() || self.progress.stage == Stage::Aborted {
            return TokenStatus::Valid;
        }
        let token = self.token_status(now);
        if self.is_revoked() || token == TokenStatus::Expired {
            self.entitlement.set_over();
            self.log_end(if token == TokenStatus::Expired {
                "the token has expired"
            } else {
                "the token or its topics are no longer allowed"
            });
            self.end();
            return TokenStatus::Expired;
        }
        if token == TokenStatus::Aged {
            self.close();
            return token;
        }
        let heartbeats = &self.context.heartbeats;
        match heartbeats.take_signal(&mut self.signals.heartbeat) {
            None => {}
            // The position is loaded before the channel is emptied: all up to it
            // has been on the channel by then.
            Some(Signal::Heartbeat) => {
                self.signals.heartbeat_due = DuePosition::at(self.context.hub.published());
            }
            Some(Signal::Drain) => {
                self.log_end("the gateway is stopping");
                self.close();
                return TokenStatus::Expired;
            }
        }
        token
    }

    /// Lets go of what was encoded before the encoder was replaced.
    fn forget_older_encodings(&mut self) {
        let generation = self.context.encoder_generation();
        if std::mem::replace(&mut self.signals.encoder_generation, generation) == generation {
            return;
        }
        match self.pending.next {
            Queued::Nothing | Queued::Notice(_) => {}
            Queued::Page(..) => self.pending.next = Queued::Nothing,
            Queued::Slice(_) => self.catch_up(),
        }
        if !self.pending.rest.is_empty() {
            self.abort("a reload changed what is shown");
        }
    }

    /// Breaks off within what has begun.
    fn abort(&mut self, why: &'static str) {
        self.log_end(why);
        self.pending = Pending::default();
        self.progress.stage = Stage::Aborted;
    }

    fn handle_received(&mut self, received: Received) {
        match received {
            Received::Frames(slice) => self.pending.next = Queued::Slice(slice),
            Received::CatchUp if self.receiver.is_single() => self.fall_behind(),
            Received::CatchUp => self.catch_up(),
            Received::Empty => self.queue_heartbeat_due(),
        }
    }

    /// The slice, and those that follow it on the channel: what waits goes out
    /// together.
    fn collect(&mut self, first: crate::hub::FrameSlice, pieces_max: usize, ready: &mut Ready) {
        let (mut slice, mut pieces) = (first, 0);
        loop {
            let Some(frames) = slice.upgrade() else {
                return self.fall_behind();
            };
            let newest = last_sequence(&frames);
            pieces += frames.len();
            ready.slices.push(frames);
            // After falling behind, what the channel has is not what follows.
            let follows = self.progress.stage == Stage::Live && pieces < pieces_max;
            // A glance that spares most the channel's lock: mostly, this was
            // all there is.
            if !follows || self.context.hub.published() <= newest {
                return;
            }
            slice = match self.receiver.try_recv() {
                Received::Frames(next) => next,
                Received::CatchUp => return self.fall_behind(),
                Received::Empty => return,
            };
        }
    }

    /// The channel went on without this subscriber.
    fn fall_behind(&mut self) {
        self.context.telemetry.lagged.increment(1);
        self.catch_up();
    }

    /// Catches up with all that was published: the ring has it.
    fn catch_up(&mut self) {
        self.pending.next = Queued::Nothing;
        self.progress.stage = Stage::CatchUp(self.context.hub.ring().head());
    }

    /// All up to the position went out, so that is where the client can resume.
    fn queue_closing(&mut self) {
        debug_assert!(self.coding.has_begun(), "an opening comes before the end");
        self.progress.stage = Stage::Ended;
        let retry = self.context.retry_after_drain();
        let hub = &self.context.hub;
        let at = hub.cursor(self.progress.position);
        let text = notices::closing(self.form().format, at, retry, &hub.encoder());
        self.queue(&text);
    }

    fn log_end(&mut self, why: &'static str) {
        if let Some(log) = &mut self.log {
            log.ends(why);
        }
    }

    fn queue_gap(&mut self, reason: GapReason, resumed: Sequence) {
        debug_assert!(resumed > self.progress.position, "a gap leads on");
        let hub = &self.context.hub;
        let gap = Gap {
            reason,
            asked: hub.cursor(self.progress.position).into(),
            resumed: hub.cursor(resumed),
        };
        self.context.telemetry.gap_told(gap.reason.as_str());
        let text = notices::gap(self.form().format, &gap, &hub.encoder());
        self.progress.position = resumed;
        self.queue(&text);
    }

    /// The channel is empty, so all that was sent on it up to the position that
    /// was published when the heartbeat came went out.
    fn queue_heartbeat_due(&mut self) {
        if let Some(published) = self.signals.heartbeat_due.take() {
            self.progress.position = self.progress.position.max(published);
            self.queue_cursor(Liveness::Unsaid);
        }
    }

    fn queue_cursor(&mut self, liveness: Liveness) {
        let hub = &self.context.hub;
        let at = hub.cursor(self.progress.position);
        let text = notices::cursor(self.form().format, at, liveness, &hub.encoder());
        self.queue(&text);
    }

    /// Tells the client that its token expires in `left`. All up to the position
    /// went out, so that is where it can resume.
    fn queue_expiry_notice(&mut self, left: Duration) {
        self.entitlement.notice_given();
        let hub = &self.context.hub;
        let (at, secs) = (
            hub.cursor(self.progress.position),
            left.as_secs_f64().round() as u64,
        );
        let text = notices::expiring(self.form().format, at, secs, &hub.encoder());
        self.queue(&text);
    }

    fn queue(&mut self, text: &[u8]) {
        self.pending
            .queue_notice(Piece::new(text, self.form().coding));
    }
}

impl StreamState {
    /// Whether the client has ended it, and not the gateway.
    fn was_left(&self) -> bool {
        let is_broken = |breaker: &Arc<StreamBreaker>| breaker.is_broken();
        matches!(self.progress.stage, Stage::Replay(_) | Stage::Live)
            && !self.context.heartbeats.is_draining()
            && !self.breaker.as_ref().is_some_and(is_broken)
    }
}

impl Drop for StreamState {
    fn drop(&mut self) {
        self.counters.flush(&self.context.telemetry);
        if let Some(visit) = self.visit.take().filter(|_| self.was_left()) {
            self.context.visits.left(&visit, self.progress.position);
        }
        self.entitlement.end(&self.context);
        let counts = &self.context.counts;
        counts.end(&self.selection.topics, self.counted);
        self.context.telemetry.subscribers.decrement(1.0);
    }
}
