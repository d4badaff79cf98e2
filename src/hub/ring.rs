//! The newest frames, encoded once and shared by all who catch up.
//!
//! Bounded in bytes. Invariant: no event between [`Ring::begin`] and
//! [`Ring::head`] is missing, and commits are in order.

use std::{collections::VecDeque, sync::Arc};

use hookrill_core::{Selection, Sequence};
use parking_lot::RwLock;

use crate::wire::{Encoder, Frame};

/// How many frames one read goes through at most, so that a rare topic does
/// not hold the lock for long.
const SCAN_FRAMES_MAX: usize = 2_048;

/// A bounded tail of the journal in memory.
pub struct Ring {
    tail: RwLock<RecentCommits>,
    bytes_max: usize,
}

struct RecentCommits {
    commits: VecDeque<EncodedCommit>,
    begin: Sequence,
    head: Sequence,
    bytes: usize,
}

/// What the pump published at once.
struct EncodedCommit {
    frames: Vec<Frame>,
    /// The channels hold these weakly; this keeps them alive.
    _slices: Vec<Arc<[Frame]>>,
    bytes: usize,
}

/// A page of the ring.
#[derive(Debug)]
pub struct RingPage {
    /// The frames of the selection, in order.
    pub frames: Vec<Frame>,
    /// How far the read went: all of the selection up to here is in `frames`.
    pub scanned: Sequence,
}

impl Ring {
    /// An empty ring for what comes after `head`.
    #[must_use]
    pub fn new(head: Sequence, bytes_max: usize) -> Self {
        Self {
            tail: RwLock::new(RecentCommits {
                commits: VecDeque::new(),
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
        self.tail.read().begin
    }

    /// The newest position published.
    #[must_use]
    pub fn head(&self) -> Sequence {
        self.tail.read().head
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
        let ring = self.tail.read();
        if after < ring.begin || after > ring.head {
            return None;
        }
        let first = ring
            .commits
            .partition_point(|commit| commit.last() <= after);
        let newer = ring
            .commits
            .range(first..)
            .flat_map(|commit| &commit.frames)
            .skip_while(|frame| frame.sequence() <= after);
        let mut page = RingPage {
            frames: Vec::new(),
            scanned: ring.head,
        };
        let mut bytes = 0;
        for (scanned, frame) in newer.enumerate() {
            if scanned == SCAN_FRAMES_MAX || bytes >= bytes_max {
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

    /// Adds what the pump is about to publish.
    pub(super) fn push(&self, frames: Vec<Frame>, slices: Vec<Arc<[Frame]>>) {
        let Some(last) = frames.last() else { return };
        let head = last.sequence();
        let bytes = frames.iter().map(Frame::weight).sum();
        let mut ring = self.tail.write();
        assert!(head > ring.head, "commits are in order");
        ring.head = head;
        ring.bytes += bytes;
        ring.commits.push_back(EncodedCommit {
            frames,
            _slices: slices,
            bytes,
        });
        // The newest commit stays, however large: live subscribers need it.
        let mut evicted = Vec::new();
        while ring.bytes > self.bytes_max && ring.commits.len() > 1 {
            let Some(commit) = ring.commits.pop_front() else {
                break;
            };
            ring.bytes -= commit.bytes;
            ring.begin = commit.last();
            evicted.push(commit);
        }
        // Freeing takes longer than the bookkeeping: not under the lock.
        drop(ring);
        drop(evicted);
    }

    /// Replaces every frame by one of `encoder`; the slices that channels carry
    /// are gone.
    pub(super) fn reencode(&self, encoder: &Arc<Encoder>) {
        let mut ring = self.tail.write();
        let commits = ring.commits.iter();
        let reencoded = commits.map(|commit| commit.reencoded(encoder)).collect();
        let old = std::mem::replace(&mut ring.commits, reencoded);
        drop(ring);
        drop(old);
    }

    /// Forgets everything and goes on after `position`.
    pub(super) fn restart(&self, position: Sequence) {
        let empty = RecentCommits {
            commits: VecDeque::new(),
            begin: position,
            head: position,
            bytes: 0,
        };
        let old = std::mem::replace(&mut *self.tail.write(), empty);
        // Freeing takes longer than the exchange: not under the lock.
        drop(old);
    }
}

impl EncodedCommit {
    fn reencoded(&self, encoder: &Arc<Encoder>) -> Self {
        let frames = self.frames.iter();
        Self {
            frames: frames.map(|frame| frame.reencoded(encoder)).collect(),
            _slices: Vec::new(),
            bytes: self.bytes,
        }
    }

    fn last(&self) -> Sequence {
        self.frames.last().map(Frame::sequence).unwrap_or_default()
    }
}
