//! One reader of a channel for many streams.
//!
//! A stream that is live and has nothing pending can leave the listening to a
//! shared reader, and leaves its own place on the channel; what all of them would
//! receive and look up is then received and looked up once.
//!
//! Refuses to read the journal: where the ring does not reach back, its streams
//! go on by themselves. Invariant: a stream that has all up to the reader's
//! position misses nothing by waiting for the reader.

use std::sync::Arc;

use hookrill_core::{Selection, Sequence};

use super::{
    context::{RevocationsSeen, StreamContext},
    heartbeats::Signal,
    interrupts::Interrupts,
    state::{DeliveryCounters, PAGE_BYTES_MAX, ReaderSignals, Ready, StreamState, last_sequence},
};
use crate::hub::{FrameSlice, Received, Receiver};

/// The most frames of one turn: with the rest of an earlier one before them they
/// fit one write.
const TURN_FRAMES_MAX: usize = 63;

/// Reads for many streams.
pub struct SharedReader {
    context: Arc<StreamContext>,
    receiver: Receiver,
    /// The channel's events, of all types: streams pick theirs.
    selection: Selection,
    signals: ReaderSignals,
    /// What comes after this will be handed out.
    position: Sequence,
    /// What was received while waiting.
    received: Option<Received>,
    /// The channel went on without the reader: read the ring up to here.
    behind_until: Option<Sequence>,
    /// The last turn was as much as one write takes.
    is_full: bool,
    /// The reasons to end streams that were known at the last check.
    revocations: Option<RevocationsSeen>,
    counters: DeliveryCounters,
}

/// What is to be done next for all streams of a reader.
pub enum Turn {
    /// Write this to each.
    Write(Ready),
    /// Write each a heartbeat, which may carry this position.
    Heartbeat(Sequence),
    /// Wait for [`SharedReader::received`] or an interrupt.
    Wait,
    /// Let all of them go on by themselves.
    Disband,
}

impl SharedReader {
    /// A reader of the channel that `stream` listens to, and what wakes it.
    #[must_use]
    pub fn new(stream: &StreamState) -> (Self, Interrupts) {
        let context = Arc::clone(stream.context());
        let selection = stream.channel_selection();
        // Subscribed before the ring is asked for its head: what is not in it by
        // then will be received.
        let receiver = context.hub.subscribe(&selection.topics);
        let heartbeat = context.heartbeats.join();
        let interrupts = Interrupts::new(&context, heartbeat);
        let reader = Self {
            position: context.hub.ring().head(),
            context,
            receiver,
            selection,
            signals: ReaderSignals {
                heartbeat,
                heartbeat_due: None,
                encoder_generation: 0,
            },
            received: None,
            behind_until: None,
            is_full: false,
            revocations: None,
            counters: DeliveryCounters::default(),
        };
        (reader, interrupts)
    }

    /// What is to be done next for its `count` streams.
    pub fn turn(&mut self, count: usize) -> Turn {
        // Before anything is handled: what is encoded later is no older.
        self.signals.encoder_generation = self.context.encoder_generation();
        let heartbeats = &self.context.heartbeats;
        match heartbeats.take_signal(&mut self.signals.heartbeat) {
            None => {}
            // Loaded before the channel is emptied, as a stream does.
            Some(Signal::Heartbeat) => {
                self.signals.heartbeat_due = Some(self.context.hub.published());
            }
            Some(Signal::Drain) => return Turn::Disband,
        }
        if let Some(until) = self.behind_until {
            return self.ring_page(until);
        }
        let received = self.received.take();
        match received.unwrap_or_else(|| self.receiver.try_recv()) {
            Received::Frames(slice) => match self.collect(slice) {
                Some(ready) => Turn::Write(ready),
                None => self.fall_behind(count),
            },
            Received::CatchUp => self.fall_behind(count),
            Received::Empty => {
                let due = self.signals.heartbeat_due.take();
                due.map_or(Turn::Wait, Turn::Heartbeat)
            }
        }
    }

    /// Whether more waits than the last turn could hand out: then there is no
    /// time to lose.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        self.is_full || self.behind_until.is_some()
    }

    /// Whether some streams may have to end since this was last asked.
    pub fn revocations_changed(&mut self) -> bool {
        let now = Some(self.context.revocations());
        std::mem::replace(&mut self.revocations, now) != now
    }

    /// Waits for events. Cancel-safe.
    pub async fn received(&mut self) {
        let received = self.receiver.recv().await;
        self.received = Some(received);
    }

    /// Begins to read for `stream`, which is live and has nothing pending; then
    /// what it lacks of what was handed out is ready.
    pub fn attach(&self, stream: &mut StreamState, interrupts: &mut Interrupts) {
        interrupts.set_deadline(None);
        stream.pause_listening(self.position, self.signals.heartbeat);
    }

    /// Whether `stream` has all that was handed out.
    #[must_use]
    pub fn is_caught_up(&self, stream: &StreamState) -> bool {
        !stream.has_pending() && stream.position() >= self.position
    }

    /// Lets `stream` listen for itself again.
    pub fn detach(&self, stream: &mut StreamState, interrupts: &mut Interrupts) {
        *interrupts = Interrupts::new(&self.context, self.signals.heartbeat);
        interrupts.set_deadline(stream.deadline());
        stream.resume_listening(self.signals);
    }

    /// Counts what `stream` was given.
    pub fn count(&mut self, stream: &mut StreamState) {
        self.counters.add_all(&stream.take_counters());
    }

    /// Adds what was counted to the metrics.
    pub fn flush_counters(&mut self) {
        self.counters.flush(&self.context.telemetry);
    }

    /// The slice, and those that follow it on the channel: what waits goes out
    /// together. `None` where the ring has evicted it.
    fn collect(&mut self, first: FrameSlice) -> Option<Ready> {
        let mut ready = Ready::default();
        let (mut slice, mut count) = (first, 0);
        self.is_full = false;
        while let Some(frames) = slice.upgrade() {
            self.position = self.position.max(last_sequence(&frames));
            count += frames.len();
            ready.slices.push(frames);
            // As for a stream by itself: mostly, this was all there is.
            self.is_full = count >= TURN_FRAMES_MAX;
            if self.is_full || self.context.hub.published() <= self.position {
                return Some(ready);
            }
            slice = match self.receiver.try_recv() {
                Received::Frames(next) => next,
                Received::Empty => return Some(ready),
                Received::CatchUp => break,
            };
        }
        // What is ready is in the ring as well, if it is anywhere.
        let has_some = !ready.slices.is_empty();
        self.received = has_some.then_some(Received::CatchUp);
        has_some.then_some(ready)
    }

    /// The channel went on without the reader and its `count` streams.
    fn fall_behind(&mut self, count: usize) -> Turn {
        self.context.telemetry.lagged.increment(count as u64);
        self.ring_page(self.context.hub.ring().head())
    }

    /// The next page of the ring, for all streams.
    fn ring_page(&mut self, until: Sequence) -> Turn {
        let ring = self.context.hub.ring();
        let Some(page) = ring.read(&self.selection, self.position, PAGE_BYTES_MAX) else {
            // Streams that come from now on need the channel alone.
            self.behind_until = None;
            self.position = ring.head();
            return Turn::Disband;
        };
        debug_assert!(page.scanned >= self.position, "a reader goes forward only");
        self.position = page.scanned;
        self.behind_until = (page.scanned < until).then_some(until);
        Turn::Write(Ready::page(page.frames.into(), page.scanned))
    }
}
