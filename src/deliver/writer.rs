//! One subscriber's stream and the sink that it goes to.
//!
//! Invariant: a client whose peer was given up is not noted as one that has left.

use hookrill_core::Sequence;
use tokio::time::Instant;

use super::sink::{Disconnected, Sink, WriteOutcome};
use crate::subscribe::{Interrupts, Ready, StreamState, SubscriberStream};

/// Writes one stream to its sink.
pub struct StreamWriter<S: Sink> {
    pub(super) state: StreamState,
    pub(super) interrupts: Interrupts,
    pub(super) sink: S,
}

impl<S: Sink> StreamWriter<S> {
    /// Writes `subscription` to `sink`.
    #[must_use]
    pub fn new(subscription: SubscriberStream, sink: S) -> Self {
        let SubscriberStream {
            state, interrupts, ..
        } = subscription;
        Self {
            state,
            interrupts,
            sink,
        }
    }

    /// Writes what this stream wants of frames that are shared by many, and what
    /// it has ready itself.
    pub(super) fn write_shared(&mut self, ready: &Ready) -> Result<WriteOutcome, Disconnected> {
        let outcome = write(&mut self.state, &mut self.sink, ready)?;
        if outcome == WriteOutcome::Blocked {
            return Ok(outcome);
        }
        // A page may hold more than one write takes.
        self.flush()
    }

    /// Writes until nothing is ready. [`WriteOutcome::Blocked`] also where the
    /// stream has to go on by itself.
    pub(super) fn flush(&mut self) -> Result<WriteOutcome, Disconnected> {
        while self.state.has_pending() {
            if write_ready(&mut self.state, &mut self.sink)? == WriteOutcome::Blocked {
                return Ok(WriteOutcome::Blocked);
            }
        }
        // Several slices that did not fit one write are left to the ring, and
        // the stream is to look there by itself.
        Ok(if self.state.is_live() {
            WriteOutcome::Flushed
        } else {
            WriteOutcome::Blocked
        })
    }

    /// Writes a heartbeat, which may carry `published` as a position.
    pub(super) fn heartbeat(&mut self, published: Sequence) -> Result<WriteOutcome, Disconnected> {
        if self.sink.has_dead_peer() {
            return Err(Disconnected);
        }
        self.state.heartbeat(published);
        self.flush()
    }

    /// Called at the token's deadline, with nothing pending: tells the client, or
    /// returns [`WriteOutcome::Blocked`] once the token has expired, for the
    /// stream to end by itself.
    pub(super) fn at_deadline(&mut self, now: Instant) -> Result<WriteOutcome, Disconnected> {
        if !self.state.is_valid_at(now) {
            return Ok(WriteOutcome::Blocked);
        }
        self.state.notify_expiry(now);
        self.flush()
    }
}

impl<S: Sink> Drop for StreamWriter<S> {
    fn drop(&mut self) {
        if self.sink.was_given_up() {
            self.state.forget_visit();
        }
    }
}

/// Writes what the stream has ready, in one write.
pub(super) fn write_ready<S: Sink>(
    state: &mut StreamState,
    sink: &mut S,
) -> Result<WriteOutcome, Disconnected> {
    let ready = state.take_ready(S::PIECES_MAX);
    write(state, sink, &ready)
}

fn write<S: Sink>(
    state: &mut StreamState,
    sink: &mut S,
    ready: &Ready,
) -> Result<WriteOutcome, Disconnected> {
    let mut batch = state.batch(ready);
    if batch.is_empty() {
        return Ok(WriteOutcome::Flushed);
    }
    sink.try_write(&mut batch)
}
