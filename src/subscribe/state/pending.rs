//! What a stream writes next, and how it lets go of it.
//!
//! Invariant: frames are held weakly, or as a page that [`Pending::release`] lets
//! go of: a subscriber that stops reading pins no more than the rest of one
//! event, and what all of them pin has a bound.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use hookrill_core::Sequence;
use smallvec::SmallVec;

use crate::{
    hub::FrameSlice,
    subscribe::partial_events::{Hold, MemoryPlace, PartialEvents, StreamBreaker},
    wire::{Frame, Piece},
};

#[derive(Default)]
pub(super) struct Pending {
    pub(super) rest: Rest,
    /// What follows it.
    pub(super) next: Queued,
    /// Of the page that is or was next, for a sink that keeps it while it waits.
    page_hold: Option<Box<Hold>>,
}

/// The rest of a piece that was written in part. Boxed: few streams have one, and
/// all would make room for it.
#[derive(Default)]
pub(super) struct Rest(Option<Box<PartialPiece>>);

/// What is left of a piece: never nothing.
struct PartialPiece {
    bytes: Bytes,
    /// The size of the whole piece: a byte of it holds all of it.
    piece_bytes: usize,
    /// Once the peer has kept it waiting.
    hold: Option<Box<Hold>>,
}

/// Where the next bytes are; the stream's position says which frames went out.
#[derive(Default)]
pub(super) enum Queued {
    #[default]
    Nothing,
    /// A notice for this subscriber alone.
    Notice(Box<Piece>),
    /// From the channel, in the ring as long as that keeps them.
    Slice(FrameSlice),
    /// A page, and the position once all of it went out.
    Page(Arc<[Frame]>, Sequence),
}

/// Frames that are ready for one write: of one stream, or shared by a group.
#[derive(Default)]
pub struct Ready {
    pub(in crate::subscribe) slices: SmallVec<[Arc<[Frame]>; 8]>,
    /// Where the frames are a page: the position once all of it went out.
    pub(in crate::subscribe) page_end: Option<Sequence>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty() && matches!(self.next, Queued::Nothing)
    }

    pub(super) fn queue_notice(&mut self, notice: Piece) {
        self.next = Queued::Notice(Box::new(notice));
    }

    /// Takes the notice out, where that is next.
    pub(super) fn take_notice(&mut self) -> Option<Box<Piece>> {
        match std::mem::take(&mut self.next) {
            Queued::Notice(notice) => Some(notice),
            other => {
                self.next = other;
                None
            }
        }
    }

    /// Lets go of a page while the peer does not read: it is found again.
    pub(super) fn release(&mut self) {
        if matches!(self.next, Queued::Page(..)) {
            self.next = Queued::Nothing;
            self.page_hold = None;
        }
    }

    /// Counts what is held while the peer takes nothing.
    pub(super) fn hold(
        &mut self,
        all: &Arc<PartialEvents>,
        breaker: &mut Option<Arc<StreamBreaker>>,
    ) {
        if let Some(rest) = &mut self.rest.0 {
            let (place, bytes) = (MemoryPlace::ending(&rest.bytes), rest.piece_bytes);
            keep(&mut rest.hold, place, || bytes, all, breaker);
        }
        if let Queued::Page(frames, _) = &self.next {
            let place = MemoryPlace::of_slice(frames);
            keep(
                &mut self.page_hold,
                place,
                || page_bytes(frames),
                all,
                breaker,
            );
        }
    }

    /// All of the page went out.
    pub(super) fn page_is_over(&mut self) {
        self.page_hold = None;
    }
}

/// Has `hold` be of what is in this place.
fn keep(
    hold: &mut Option<Box<Hold>>,
    place: MemoryPlace,
    bytes: impl FnOnce() -> usize,
    all: &Arc<PartialEvents>,
    breaker: &mut Option<Arc<StreamBreaker>>,
) {
    if let Some(hold) = hold
        && hold.place() == place
    {
        return hold.progressed();
    }
    *hold = all.hold(place, bytes(), breaker).map(Box::new);
}

/// About how much memory a page takes: an event, and its encoding.
fn page_bytes(frames: &[Frame]) -> usize {
    let bodies = frames.iter().map(|frame| frame.event().draft.body.len());
    2 * bodies.sum::<usize>()
}

impl Rest {
    /// What is left of a piece of so many bytes.
    pub(super) fn new(bytes: Bytes, piece_bytes: usize) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        Self(Some(Box::new(PartialPiece {
            bytes,
            piece_bytes,
            hold: None,
        })))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |rest| &rest.bytes)
    }

    /// The bytes, and how large the piece is that they are of.
    pub(super) fn shared(&self) -> Option<(Bytes, usize)> {
        let rest = self.0.as_ref()?;
        Some((rest.bytes.clone(), rest.piece_bytes))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Some of it was sent, and not all.
    pub(super) fn advance(&mut self, sent: usize) {
        if let Some(rest) = &mut self.0 {
            rest.bytes.advance(sent);
            debug_assert!(!rest.bytes.is_empty(), "what is all sent is no rest");
        }
    }
}

impl Ready {
    /// A page of frames; `end` is the position once all of it went out.
    pub(in crate::subscribe) fn page(frames: Arc<[Frame]>, end: Sequence) -> Self {
        let mut slices = SmallVec::new();
        slices.push(frames);
        Self {
            slices,
            page_end: Some(end),
        }
    }

    /// The position once all of it went out.
    pub(super) fn end(&self) -> Sequence {
        let newest = || self.slices.last().map(|slice| last_sequence(slice));
        self.page_end.or_else(newest).unwrap_or_default()
    }
}

/// The sequence of the last frame.
pub(in crate::subscribe) fn last_sequence(frames: &[Frame]) -> Sequence {
    frames.last().map(Frame::sequence).unwrap_or_default()
}
