//! What goes out: all that waits in one write, or one frame at a time.
//!
//! Invariant: what a write took counts as given, be it part of a frame; what
//! it did not take is put back or found again.

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use bytes::{Buf as _, Bytes};
use hookrill_core::Sequence;
use smallvec::SmallVec;

use super::feed::{Feed, Held, Stage, Tally};
use crate::{
    hub::{News, Slice},
    wire::{Frame, Framing},
};

/// The most pieces that go out in one write.
pub(super) const WRITE_PIECES_MAX: usize = 64;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// All of it went out.
    All,
    /// The peer does not take more now.
    Part,
}

/// Frames that are ready for one write, of one stream or of many.
#[derive(Default)]
pub struct Hand {
    pub(super) frames: SmallVec<[Arc<[Frame]>; 8]>,
    /// Where the frames are a page: the position once all of it went out.
    pub(super) page: Option<Sequence>,
}

impl Feed {
    /// Gives what is ready to one `write`, which says how many bytes it took.
    ///
    /// # Errors
    ///
    /// That of `write`, save that it would block.
    pub fn give(
        &mut self,
        framing: Framing,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<Given> {
        let hand = self.hand(framing);
        self.give_of(&hand, framing, write)
    }

    /// As [`Feed::give`], of what one hand holds for many.
    ///
    /// # Errors
    ///
    /// That of `write`, save that it would block.
    pub fn give_of(
        &mut self,
        hand: &Hand,
        framing: Framing,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<Given> {
        let mut pieces = SmallVec::<[IoSlice<'_>; WRITE_PIECES_MAX]>::new();
        if !self.rest.is_empty() {
            pieces.push(IoSlice::new(&self.rest));
        }
        let frames = self.wanted(&hand.frames).take(WRITE_PIECES_MAX - 1);
        let bytes = frames.map(|frame| frame.piece(self.form).chunk().bytes(framing));
        pieces.extend(bytes.map(IoSlice::new));
        let ready = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let sent = match ready {
            0 => 0,
            _ => write(&pieces).or_else(blocked)?,
        };
        drop(pieces);
        self.settle(framing, hand, sent);
        Ok(match sent < ready {
            true => Given::Part,
            false => Given::All,
        })
    }

    /// Puts these bytes, as they are, before the opening.
    pub fn begin_with(&mut self, head: &[u8], framing: Framing) {
        if let Held::Own(opening) = std::mem::replace(&mut self.held, Held::Nothing) {
            self.coded.add(&opening);
            self.rest = [head, opening.chunk().bytes(framing)].concat().into();
        }
    }

    /// The next bytes of what is ready, without a chunk around them.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        if !self.rest.is_empty() {
            return Some(std::mem::take(&mut self.rest));
        }
        let (frames, reached) = match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => return None,
            Held::Own(piece) => {
                self.coded.add(&piece);
                return Some(piece.chunk().payload());
            }
            Held::Slice(slice) => {
                let Some(frames) = slice.upgrade() else {
                    self.fall_behind();
                    return None;
                };
                let reached = last(&frames);
                self.held = Held::Slice(slice);
                (frames, reached)
            }
            Held::Page(frames, reached) => {
                self.held = Held::Page(Arc::clone(&frames), reached);
                (frames, reached)
            }
        };
        let next = self.wanted(std::slice::from_ref(&frames)).next();
        let Some(frame) = next else {
            self.held = Held::Nothing;
            self.position = self.position.max(reached);
            return None;
        };
        let piece = frame.piece(self.form);
        let bytes = piece.chunk().payload();
        self.position = frame.sequence();
        self.coded.add(piece);
        self.delivered.add(bytes.len());
        Some(bytes)
    }

    /// The frames that the subscriber does not have and wants.
    fn wanted<'f>(&self, frames: &'f [Arc<[Frame]>]) -> impl Iterator<Item = &'f Frame> {
        let position = self.position;
        frames.iter().flat_map(move |frames| {
            let newer = frames.partition_point(|frame| frame.sequence() <= position);
            let newer = frames[newer..].iter();
            newer.filter(|frame| self.selection.wants_type(&frame.event().draft.event_type))
        })
    }

    /// Takes hold of what is held, and of all that waits behind it.
    fn hand(&mut self, framing: Framing) -> Hand {
        let mut hand = Hand::default();
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => {}
            Held::Own(piece) if self.rest.is_empty() => {
                self.coded.add(&piece);
                self.rest = piece.chunk().rest(framing, 0);
            }
            Held::Own(piece) => self.held = Held::Own(piece),
            Held::Page(frames, reached) => {
                hand.frames.push(frames);
                hand.page = Some(reached);
            }
            Held::Slice(slice) => self.collect(slice, &mut hand),
        }
        hand
    }

    /// The slice, and those that follow it on the channel: what waits goes out
    /// together.
    fn collect(&mut self, first: Slice, hand: &mut Hand) {
        let (mut slice, mut count) = (first, 0);
        loop {
            let Some(frames) = slice.upgrade() else {
                return self.fall_behind();
            };
            let newest = last(&frames);
            count += frames.len();
            hand.frames.push(frames);
            // After a fall behind, what the channel has is not what follows.
            let follows = self.stage == Stage::Live && count < WRITE_PIECES_MAX;
            // A glance that spares most the channel's lock: mostly, this was
            // all there is.
            if !follows || self.streams.hub.done() <= newest {
                return;
            }
            slice = match self.attachment.news_now() {
                News::Slice(next) => next,
                News::Look => return self.fall_behind(),
                News::Quiet => return,
            };
        }
    }

    /// Moves on by what went out, and puts back the rest.
    fn settle(&mut self, framing: Framing, hand: &Hand, sent: usize) {
        if sent < self.rest.len() {
            self.rest.advance(sent);
            return self.put_back(hand);
        }
        let mut left = sent - self.rest.len();
        let (mut position, mut rest, mut whole) = (self.position, Bytes::new(), true);
        let (mut delivered, mut coded) = (Tally::default(), std::mem::take(&mut self.coded));
        for frame in self.wanted(&hand.frames) {
            if left == 0 {
                whole = false;
                break;
            }
            let piece = frame.piece(self.form);
            let bytes = piece.chunk().bytes(framing).len();
            if left < bytes {
                rest = piece.chunk().rest(framing, left);
            }
            left = left.saturating_sub(bytes);
            position = frame.sequence();
            coded.add(piece);
            delivered.add(bytes);
        }
        self.position = position;
        self.rest = rest;
        self.coded = coded;
        self.delivered.frames += delivered.frames;
        self.delivered.bytes += delivered.bytes;
        match whole {
            true => self.position = position.max(hand.reached()),
            false => self.put_back(hand),
        }
    }

    fn put_back(&mut self, hand: &Hand) {
        match (hand.page, &*hand.frames) {
            (Some(reached), [frames]) => self.held = Held::Page(Arc::clone(frames), reached),
            (None, [frames]) => self.held = Held::Slice(Arc::downgrade(frames)),
            (_, []) => {}
            // The ring has them too.
            _ => self.look(),
        }
    }
}

/// A peer that takes nothing now took no bytes.
fn blocked(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        io::ErrorKind::WouldBlock => Ok(0),
        _ => Err(error),
    }
}

pub(super) fn last(frames: &[Frame]) -> Sequence {
    frames.last().map(Frame::sequence).unwrap_or_default()
}

impl Hand {
    /// The position once all of it went out.
    pub(super) fn reached(&self) -> Sequence {
        let newest = || self.frames.last().map(|frames| last(frames));
        self.page.or_else(newest).unwrap_or_default()
    }
}
