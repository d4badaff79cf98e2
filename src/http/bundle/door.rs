//! How writers come into a bundle that another task owns.
//!
//! Refuses whoever finds no place, or comes when the bundle has ended.
//! Invariant: `taken` counts the members and those at the door, and what is in
//! a door that is closed has been fetched.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{MEMBERS_FEW, MEMBERS_MAX};
use crate::http::writer::Writer;

/// The way into one bundle.
pub(super) struct Door(Mutex<State>);

struct State {
    arrivals: Vec<Box<Writer>>,
    /// Places of members and arrivals.
    taken: usize,
    /// Nobody will come to the door any more, since it was found full.
    hidden: bool,
    closed: bool,
    /// The bundle's, while it waits.
    waker: Option<Waker>,
}

impl Door {
    /// A door with the first one before it.
    pub(super) fn with(writer: Box<Writer>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            arrivals: vec![writer],
            taken: 1,
            hidden: false,
            closed: false,
            waker: None,
        })))
    }

    /// Enters, or gives the writer back where there is no place; the door is
    /// then to be shown to nobody else.
    pub(super) fn enter(&self, writer: Box<Writer>) -> Result<(), Box<Writer>> {
        let mut state = self.lock();
        if state.closed || state.taken == MEMBERS_MAX {
            state.hidden = true;
            return Err(writer);
        }
        state.taken += 1;
        state.arrivals.push(writer);
        let waker = state.waker.take();
        // Waking takes longer than the bookkeeping: not under the lock.
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Who has come.
    pub(super) fn arrivals(&self) -> Vec<Box<Writer>> {
        std::mem::take(&mut self.lock().arrivals)
    }

    /// So many members have left.
    pub(super) fn leave(&self, count: usize) {
        if count > 0 {
            self.lock().taken -= count;
        }
    }

    /// Ready when somebody has come.
    pub(super) fn poll_arrival(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.arrivals.is_empty() {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Closes, unless somebody has come.
    pub(super) fn close(&self) -> bool {
        let mut state = self.lock();
        state.closed = state.arrivals.is_empty();
        state.closed
    }

    /// Whether there is room again that nobody knows of.
    pub(super) fn is_hidden_with_room(&self) -> bool {
        let state = self.lock();
        state.hidden && state.taken <= MEMBERS_FEW
    }

    /// It is about to be shown again.
    pub(super) fn mark_shown(&self) {
        self.lock().hidden = false;
    }

    // A panic while the lock is held would have to come from the collections
    // themselves; what they hold is whole at every step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
