//! How writers come into a group that another task owns.
//!
//! Refuses whoever finds no room, or comes when the group has ended. Invariants:
//! `taken` counts the members and those in the inbox, and never exceeds
//! [`MEMBERS_MAX`]; an inbox that is closed is empty.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use super::{sink::Sink, writer::StreamWriter};

/// The most members of a group.
pub(super) const MEMBERS_MAX: usize = 64;
/// A group that was full takes new members again once it has so few.
const MEMBERS_FEW: usize = MEMBERS_MAX / 2;

/// The way into one group.
pub(super) struct Inbox<S: Sink>(Mutex<State<S>>);

struct State<S: Sink> {
    arrivals: Vec<Box<StreamWriter<S>>>,
    /// Places of members and arrivals.
    taken: usize,
    /// Not listed any more: it was full when a writer last tried it.
    is_unlisted: bool,
    is_closed: bool,
    /// The group's, while it waits.
    waker: Option<Waker>,
}

impl<S: Sink> Inbox<S> {
    /// An inbox with its first writer.
    pub(super) fn with_first(writer: Box<StreamWriter<S>>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            arrivals: vec![writer],
            taken: 1,
            is_unlisted: false,
            is_closed: false,
            waker: None,
        })))
    }

    /// Adds the writer, or returns it where there is no room; the inbox is then to
    /// be unlisted.
    pub(super) fn try_push(
        &self,
        writer: Box<StreamWriter<S>>,
    ) -> Result<(), Box<StreamWriter<S>>> {
        let mut state = self.0.lock();
        if state.is_closed || state.taken == MEMBERS_MAX {
            state.is_unlisted = true;
            return Err(writer);
        }
        state.taken += 1;
        state.arrivals.push(writer);
        debug_assert!(
            state.arrivals.len() <= state.taken,
            "an arrival has a place"
        );
        let waker = state.waker.take();
        // Waking takes longer than the bookkeeping: not under the lock.
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Takes out who has come.
    pub(super) fn drain(&self) -> Vec<Box<StreamWriter<S>>> {
        std::mem::take(&mut self.0.lock().arrivals)
    }

    /// So many members have left.
    pub(super) fn release(&self, count: usize) {
        if count > 0 {
            let mut state = self.0.lock();
            assert!(count <= state.taken, "a member leaves once");
            state.taken -= count;
            debug_assert!(
                state.arrivals.len() <= state.taken,
                "an arrival has a place"
            );
        }
    }

    /// Ready when somebody has come.
    pub(super) fn poll_arrival(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if !state.arrivals.is_empty() {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Closes, unless somebody has come; returns whether it did.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut state = self.0.lock();
        state.is_closed = state.arrivals.is_empty();
        debug_assert!(
            !state.is_closed || state.taken == 0,
            "a group ends without members"
        );
        state.is_closed
    }

    /// Whether it has room again and is to be listed.
    pub(super) fn should_relist(&self) -> bool {
        let state = self.0.lock();
        state.is_unlisted && state.taken <= MEMBERS_FEW
    }

    /// It is about to be listed again.
    pub(super) fn mark_listed(&self) {
        self.0.lock().is_unlisted = false;
    }
}
