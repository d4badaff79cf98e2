//! The newest frames, encoded once and shared by all who catch up.
//!
//! Bounded in bytes. Invariant: between [`Ring::begin`] and [`Ring::head`] no
//! event is missing.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use hookrill_core::{Selection, Sequence};

use crate::wire::{Encoder, Frame};

/// How many frames one look goes through at most, so that a rare topic does
/// not hold the lock for long.
const SCAN_FRAMES_MAX: usize = 2_048;

/// A bounded tail of the journal in memory.
pub struct Ring {
    turns: RwLock<Turns>,
    bytes_max: usize,
}

struct Turns {
    turns: VecDeque<Turn>,
    begin: Sequence,
    head: Sequence,
    bytes: usize,
}

/// What the pump published at once.
struct Turn {
    frames: Vec<Frame>,
    /// The channels hold these weakly; here is what keeps them alive.
    _slices: Vec<Arc<[Frame]>>,
    bytes: usize,
}

/// What a look into the ring found.
#[derive(Debug)]
pub struct RingPage {
    /// The frames of the selection, in order.
    pub frames: Vec<Frame>,
    /// How far the look went: all of the selection up to here is in `frames`.
    pub scanned: Sequence,
}

impl Ring {
    /// An empty ring for what comes after `head`.
    #[must_use]
    pub fn new(head: Sequence, bytes_max: usize) -> Self {
        Self {
            turns: RwLock::new(Turns {
                turns: VecDeque::new(),
                begin: head,
                head,
                bytes: 0,
            }),
            bytes_max,
        }
    }

    /// The position after which every event up to the head is here.
    #[must_use]
    pub fn begin(&self) -> Sequence {
        self.read_lock().begin
    }

    /// The newest position published.
    #[must_use]
    pub fn head(&self) -> Sequence {
        self.read_lock().head
    }

    /// The next frames of `selection` after `after`: about `bytes_max` bytes
    /// of them at most. `None` where the ring does not reach back that far.
    #[must_use]
    pub fn read(
        &self,
        selection: &Selection,
        after: Sequence,
        bytes_max: usize,
    ) -> Option<RingPage> {
        let ring = self.read_lock();
        if after < ring.begin || after > ring.head {
            return None;
        }
        let first = ring.turns.partition_point(|turn| turn.last() <= after);
        let newer = ring
            .turns
            .range(first..)
            .flat_map(|turn| &turn.frames)
            .skip_while(|frame| frame.sequence() <= after);
        let mut page = RingPage {
            frames: Vec::new(),
            scanned: ring.head,
        };
        let mut bytes = 0;
        for (looked_at, frame) in newer.enumerate() {
            if looked_at == SCAN_FRAMES_MAX || bytes >= bytes_max {
                page.scanned = frame.sequence().previous();
                break;
            }
            if selection.wants(frame.event()) {
                bytes += frame.event().draft.weight();
                page.frames.push(frame.clone());
            }
        }
        Some(page)
    }

    /// Adds what the pump is about to tell of.
    pub(super) fn push(&self, frames: Vec<Frame>, slices: Vec<Arc<[Frame]>>) {
        let Some(last) = frames.last() else { return };
        let head = last.sequence();
        let bytes = frames.iter().map(Frame::weight).sum();
        let mut ring = self.write_lock();
        ring.head = head;
        ring.bytes += bytes;
        ring.turns.push_back(Turn {
            frames,
            _slices: slices,
            bytes,
        });
        // The newest turn stays, however large: live subscribers need it.
        let mut evicted = Vec::new();
        while ring.bytes > self.bytes_max && ring.turns.len() > 1 {
            let Some(turn) = ring.turns.pop_front() else {
                break;
            };
            ring.bytes -= turn.bytes;
            ring.begin = turn.last();
            evicted.push(turn);
        }
        // Freeing takes longer than the bookkeeping: not under the lock.
        drop(ring);
        drop(evicted);
    }

    /// Puts every frame in anew, and lets go of what channels were told of.
    pub(super) fn recode(&self, encoder: &Arc<Encoder>) {
        let mut ring = self.write_lock();
        let turns = ring.turns.iter();
        let anew = turns.map(|turn| turn.recoded(encoder)).collect();
        let old = std::mem::replace(&mut ring.turns, anew);
        drop(ring);
        drop(old);
    }

    /// Forgets everything and goes on after `position`.
    pub(super) fn restart(&self, position: Sequence) {
        let anew = Turns {
            turns: VecDeque::new(),
            begin: position,
            head: position,
            bytes: 0,
        };
        let old = std::mem::replace(&mut *self.write_lock(), anew);
        // Freeing takes longer than the exchange: not under the lock.
        drop(old);
    }

    // A panic while the lock is held would have to come from the collections
    // themselves; what they hold is whole at every step.
    fn read_lock(&self) -> RwLockReadGuard<'_, Turns> {
        self.turns.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, Turns> {
        self.turns.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    fn recoded(&self, encoder: &Arc<Encoder>) -> Self {
        let frames = self.frames.iter();
        Self {
            frames: frames.map(|frame| frame.anew(encoder)).collect(),
            _slices: Vec::new(),
            bytes: self.bytes,
        }
    }

    fn last(&self) -> Sequence {
        self.frames.last().map(Frame::sequence).unwrap_or_default()
    }
}
