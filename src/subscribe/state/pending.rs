//! What a stream writes next, and how it lets go of it.
//!
//! Invariant: frames are held weakly, or as a page that [`Pending::release`] lets
//! go of: a subscriber that stops reading pins no more than the rest of one
//! event.

use std::sync::Arc;

use bytes::Bytes;
use hookrill_core::Sequence;
use smallvec::SmallVec;

use crate::{
    hub::FrameSlice,
    wire::{Frame, Piece},
};

#[derive(Default)]
pub(super) struct Pending {
    /// The rest of a piece that was written in part.
    pub(super) rest: Bytes,
    /// What follows it.
    pub(super) next: Queued,
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
