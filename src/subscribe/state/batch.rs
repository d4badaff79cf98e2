//! The bytes of one write, as a [`bytes::Buf`].
//!
//! Invariants: what was advanced past counts as sent, be it a part of a frame,
//! and the stream's position never falls. What was not advanced past when the
//! batch is dropped is queued again, or found again in the ring.

use std::{io::IoSlice, ops::ControlFlow, sync::Arc};

use bytes::{Buf, Bytes};
use hookrill_core::Sequence;

use super::{
    StreamState,
    counters::DeliveryCounters,
    pending::{Queued, Ready, Rest},
};
use crate::{
    subscribe::partial_events::{HeldBytes, MemoryPlace},
    wire::Frame,
};

/// What one stream writes of frames that are ready: the rest of the piece before
/// them, its own notice, and those of the frames that it wants and has not sent.
pub struct Batch<'a> {
    state: &'a mut StreamState,
    ready: &'a Ready,
    /// The frame that is looked at next: all before it are sent or not wanted.
    next: FrameIndex,
}

/// A frame's place in what is ready.
#[derive(Debug, Clone, Copy)]
struct FrameIndex {
    slice: usize,
    frame: usize,
}

impl<'a> Batch<'a> {
    pub(super) fn new(state: &'a mut StreamState, ready: &'a Ready) -> Self {
        let next = FrameIndex::after(state.progress.position, ready);
        Self { state, ready, next }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.has_remaining()
    }

    /// The frames that are still to be sent, each with its place.
    fn frames(&self) -> impl Iterator<Item = (FrameIndex, &'a Frame)> {
        let selection = &self.state.selection;
        let frames = self.next.onwards(self.ready);
        frames.filter(|(_, frame)| selection.wants_type(&frame.event().draft.event_type))
    }

    /// All of it, piece by piece.
    fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let (form, framing) = (self.state.form(), self.state.framing);
        let pending = &self.state.pending;
        let rest = (!pending.rest.is_empty()).then_some(pending.rest.bytes());
        let notice = match &pending.next {
            Queued::Notice(piece) => Some(piece.chunk().bytes(framing)),
            Queued::Nothing | Queued::Slice(_) | Queued::Page(..) => None,
        };
        let frames = self.frames();
        let frames = frames.map(move |(_, frame)| frame.piece(form).chunk().bytes(framing));
        rest.into_iter().chain(notice).chain(frames)
    }

    /// Sends `sent` bytes of a notice, whose rest becomes the stream's.
    fn advance_notice(&mut self, sent: usize) -> usize {
        if sent == 0 {
            return 0;
        }
        let state = &mut *self.state;
        let Some(notice) = state.pending.take_notice() else {
            return sent;
        };
        let bytes = notice.chunk().bytes(state.framing).len();
        if sent < bytes {
            state.pending.rest = Rest::new(notice.chunk().rest(state.framing, sent), bytes);
        }
        state.coding.add(&notice);
        sent.saturating_sub(bytes)
    }

    /// Sends `left` bytes of frames.
    fn advance_frames(&mut self, mut left: usize) {
        let (form, framing) = (self.state.form(), self.state.framing);
        let mut last = None;
        let mut rest = Rest::default();
        let mut counters = DeliveryCounters::default();
        let mut coding = std::mem::take(&mut self.state.coding);
        _ = self.frames().try_for_each(|(at, frame)| {
            let piece = frame.piece(form);
            let bytes = piece.chunk().bytes(framing).len();
            if left < bytes {
                rest = Rest::new(piece.chunk().rest(framing, left), bytes);
            }
            left = left.saturating_sub(bytes);
            coding.add(piece);
            counters.add(bytes);
            last = Some((at, frame));
            if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        debug_assert_eq!(left, 0, "no more is sent than there is");
        self.state.coding = coding;
        self.state.pending.rest = rest;
        self.state.counters.add_all(&counters);
        if let Some(log) = &mut self.state.log {
            log.sent(counters.frames());
        }
        if let Some((at, frame)) = last {
            self.next = at.following();
            self.state.advance_to(frame.sequence());
        }
    }
}

impl FrameIndex {
    /// The first frame that comes after `position`.
    fn after(position: Sequence, ready: &Ready) -> Self {
        let is_sent = |frame: &Frame| frame.sequence() <= position;
        let mut slices = ready.slices.iter();
        let is_over = |slice: &Arc<[Frame]>| slice.last().is_none_or(is_sent);
        let slice = slices.position(|slice| !is_over(slice));
        let Some(slice) = slice else {
            return Self {
                slice: ready.slices.len(),
                frame: 0,
            };
        };
        let frames = &ready.slices[slice];
        // Mostly, none of them is sent.
        let frame = if frames.first().is_some_and(is_sent) {
            frames.partition_point(is_sent)
        } else {
            0
        };
        Self { slice, frame }
    }

    /// The frames from here on, in order.
    fn onwards(self, ready: &Ready) -> impl Iterator<Item = (Self, &Frame)> {
        let slices = ready.slices.iter().enumerate().skip(self.slice);
        slices.flat_map(move |(slice, frames)| {
            let first = if slice == self.slice { self.frame } else { 0 };
            let frames = frames.iter().enumerate().skip(first);
            frames.map(move |(frame, found)| (Self { slice, frame }, found))
        })
    }

    /// The place behind this one.
    fn following(self) -> Self {
        Self {
            frame: self.frame + 1,
            ..self
        }
    }
}

impl Buf for Batch<'_> {
    fn remaining(&self) -> usize {
        self.chunks().map(<[u8]>::len).sum()
    }

    fn has_remaining(&self) -> bool {
        self.chunks().next().is_some()
    }

    fn chunk(&self) -> &[u8] {
        self.chunks().next().unwrap_or_default()
    }

    fn chunks_vectored<'s>(&'s self, slices: &mut [IoSlice<'s>]) -> usize {
        // `for_each` and `try_for_each` run through slices and frames as two plain
        // loops; `for` would ask anew for each frame in which of them it is.
        let mut count = 0;
        self.chunks().take(slices.len()).for_each(|chunk| {
            slices[count] = IoSlice::new(chunk);
            count += 1;
        });
        count
    }

    fn advance(&mut self, sent: usize) {
        let rest = &mut self.state.pending.rest;
        let rest_bytes = rest.bytes().len();
        if sent < rest_bytes {
            return rest.advance(sent);
        }
        let left = sent - rest_bytes;
        *rest = Rest::default();
        let left = self.advance_notice(left);
        if left > 0 {
            self.advance_frames(left);
        }
    }

    /// Shares the bytes of one chunk, and copies otherwise. Those of a large event
    /// count as held until they are dropped, wherever that is.
    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let shared = self.shared_chunk();
        let bytes = match shared.filter(|(chunk, _)| chunk.len() >= len) {
            Some((chunk, whole_bytes)) => {
                let place = MemoryPlace::ending(&chunk);
                self.state.held(chunk.slice(..len), place, whole_bytes)
            }
            None => self.copied(len),
        };
        self.advance(len);
        bytes
    }
}

impl Batch<'_> {
    /// The first chunk, as the bytes that all subscribers share, and how large the
    /// piece is of which it is the rest.
    fn shared_chunk(&self) -> Option<(Bytes, usize)> {
        let (pending, framing) = (&self.state.pending, self.state.framing);
        if let Some(rest) = pending.rest.shared() {
            return Some(rest);
        }
        let chunk = match &pending.next {
            Queued::Notice(piece) => piece.chunk(),
            Queued::Nothing | Queued::Slice(_) | Queued::Page(..) => {
                let (_, frame) = self.frames().next()?;
                frame.piece(self.state.form()).chunk()
            }
        };
        let bytes = chunk.rest(framing, 0);
        Some((bytes.clone(), bytes.len()))
    }

    fn copied(&self, len: usize) -> Bytes {
        let bytes: Vec<u8> = self.chunks().flatten().copied().take(len).collect();
        assert_eq!(bytes.len(), len, "a batch has as many bytes as it says");
        bytes.into()
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.frames().next().is_none() {
            self.state.pending.page_is_over();
            self.state.advance_to(self.ready.end());
            return;
        }
        match (self.ready.page_end, &*self.ready.slices) {
            (Some(end), [page]) => self.state.pending.next = Queued::Page(Arc::clone(page), end),
            (None, [slice]) => self.state.pending.next = Queued::Slice(Arc::downgrade(slice)),
            // The ring has them too.
            _ => self.state.catch_up(),
        }
    }
}

impl StreamState {
    /// `bytes`, which are a part of a piece of `whole_bytes` in this place.
    fn held(&mut self, bytes: Bytes, place: MemoryPlace, whole_bytes: usize) -> Bytes {
        let all = &self.context.partial_events;
        match all.hold(place, whole_bytes, &mut self.breaker) {
            Some(hold) => Bytes::from_owner(HeldBytes { bytes, _hold: hold }),
            None => bytes,
        }
    }

    /// The position rises to `sequence`, unless it is there already.
    fn advance_to(&mut self, sequence: Sequence) {
        self.progress.position = self.progress.position.max(sequence);
    }
}
