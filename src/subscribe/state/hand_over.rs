//! How a stream leaves the listening to a shared reader, and takes it back.
//!
//! Invariant: between the two it misses nothing: what the reader has read before
//! the stream came is taken from the ring, and so is what was published before it
//! listens for itself again.

use std::sync::Arc;

use hookrill_core::{Selection, Sequence};

use super::{PAGE_BYTES_MAX, Queued, Stage, StreamState, due_position::DuePosition};
use crate::subscribe::{
    context::StreamContext, heartbeats::HeartbeatCursor, state::DeliveryCounters,
};

/// What a shared reader has received for its streams.
#[derive(Clone, Copy)]
pub(in crate::subscribe) struct ReaderSignals {
    pub(in crate::subscribe) heartbeat: HeartbeatCursor,
    pub(in crate::subscribe) heartbeat_due: Option<Sequence>,
    pub(in crate::subscribe) encoder_generation: u32,
}

impl StreamState {
    /// The channel on which another may listen for this stream as well, since it
    /// is live and has nothing pending.
    #[must_use]
    pub fn shared_channel(&self) -> Option<&str> {
        let is_idle = self.is_live() && !self.has_pending();
        let is_idle = is_idle && self.signals.heartbeat_due.is_none();
        is_idle.then(|| self.receiver.shared_channel()).flatten()
    }

    /// Whether anything is ready to be written.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether nothing but the channel is to be looked at.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.progress.stage == Stage::Live
    }

    /// Whether its token is still valid at `now`, and the stream not too old.
    #[must_use]
    pub fn is_valid_at(&self, now: tokio::time::Instant) -> bool {
        let status = self.token_status(|| now);
        !matches!(
            status,
            super::TokenStatus::Expired | super::TokenStatus::Aged
        )
    }

    /// Queues the word that the token is about to expire, for a stream that has
    /// nothing pending.
    pub fn notify_expiry(&mut self, now: tokio::time::Instant) {
        if let super::TokenStatus::Expiring(left) = self.token_status(|| now) {
            self.queue_expiry_notice(left);
        }
    }

    /// Queues a heartbeat that may carry `published`.
    pub fn heartbeat(&mut self, published: Sequence) {
        self.signals.heartbeat_due = DuePosition::at(published);
        self.queue_heartbeat_due();
    }

    /// What all streams look at.
    pub(in crate::subscribe) fn context(&self) -> &Arc<StreamContext> {
        &self.context
    }

    /// The events of its channel, of all types.
    pub(in crate::subscribe) fn channel_selection(&self) -> Selection {
        Selection {
            topics: self.selection.topics.clone(),
            types: None,
        }
    }

    pub(in crate::subscribe) fn position(&self) -> Sequence {
        self.progress.position
    }

    pub(in crate::subscribe) fn take_counters(&mut self) -> DeliveryCounters {
        std::mem::take(&mut self.counters)
    }

    /// Leaves the listening to a reader that has read up to `position`; what this
    /// stream lacks of that is ready afterwards, as far as the ring has it.
    pub(in crate::subscribe) fn pause_listening(
        &mut self,
        position: Sequence,
        heartbeat: HeartbeatCursor,
    ) {
        debug_assert!(
            self.is_live() && !self.has_pending(),
            "only an idle stream leaves the listening to another"
        );
        self.receiver.pause();
        self.signals.heartbeat = heartbeat;
        if self.progress.position >= position {
            return;
        }
        let ring = self.context.hub.ring();
        let page = ring.read(&self.selection, self.progress.position, PAGE_BYTES_MAX);
        if let Some(page) = page {
            self.pending.next = Queued::Page(page.frames.into(), page.scanned);
        }
    }

    /// Listens for itself again, with what its reader has received.
    pub(in crate::subscribe) fn resume_listening(&mut self, taken_up: ReaderSignals) {
        // The heartbeat that is due to all was handled by the reader.
        let due = self.signals.heartbeat_due.take();
        let due = due.or(taken_up.heartbeat_due);
        self.signals.heartbeat_due = due.map_or(DuePosition::NONE, DuePosition::at);
        self.signals.heartbeat = taken_up.heartbeat;
        // All that is pending was read in the last turn, or since.
        self.signals.encoder_generation = taken_up.encoder_generation;
        // In this order: what is published from now on is received, and what was
        // published before is in the ring.
        self.receiver.resume();
        self.progress.stage = Stage::CatchUp(self.context.hub.ring().head());
    }
}
