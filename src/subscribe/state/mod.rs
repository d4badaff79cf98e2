//! What one subscriber is given next: replay, live, and back.
//!
//! Queues nothing: what was not taken is found again, in the channel, the ring
//! or the journal. Invariant: the position rises by what went out, so that
//! nothing is left out and nothing comes twice.

use std::sync::Arc;

use bytes::Bytes;
use hookrill_core::{Selection, Sequence};
use tokio::{task::coop, time::Instant};

use super::{Streams, leases::Lease, pulse::Ear};
use crate::{
    access::PolicyVersion,
    hub::{Attachment, News, Slice},
    journal::ReadError,
    wire::{Coded, Form, Frame, Gap, GapReason, Piece},
};

/// About how many bytes of events are taken from the ring at a time.
pub(super) const PAGE_BYTES_MAX: usize = 32 * 1024;
/// What a subscriber is given: step by step, and never waiting for more than
/// it says.
pub struct Feed {
    pub(super) streams: Arc<Streams>,
    pub(super) attachment: Attachment,
    pub(super) selection: Selection,
    pub(super) form: Form,
    /// All of the selection up to here went out or was told of.
    pub(super) position: Sequence,
    /// What is left of a piece that went out in part.
    pub(super) rest: Bytes,
    /// What goes out next.
    pub(super) held: Held,
    pub(super) stage: Stage,
    pub(super) coded: Coded,
    pub(super) ear: Ear,
    /// A heartbeat is owed, and may claim this position once all that came
    /// before it went out.
    pub(super) beat_owed: Option<Sequence>,
    /// When the token ends.
    pub(super) end: Option<Instant>,
    /// How many seconds before that the client is to be told; 0: not any more.
    pub(super) notice_secs: u8,
    /// How often events had been encoded anew when this last looked.
    pub(super) recoded: u32,
    /// Ended where the token is revoked; `None` where none was needed.
    pub(super) lease: Option<Arc<Lease>>,
    /// Whether it is counted at its topics.
    pub(super) counted: bool,
    /// As of when the stream was last granted.
    pub(super) edition: PolicyVersion,
    pub(super) delivered: Tally,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// From ring or journal, up to here.
    Replay(Sequence),
    Live,
    Ended,
    /// Nothing more goes out, not even the rest of what has begun.
    Broken,
}

/// Where the next frames are; the position says which of them went out.
pub(super) enum Held {
    Nothing,
    /// Written for this subscriber alone.
    Own(Box<Piece>),
    /// Held weakly: a subscriber that stops reading here pins nothing.
    Slice(Slice),
    /// A page, and the position once all of it went out.
    Page(Arc<[Frame]>, Sequence),
}

/// What is to be done next for a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Give out what is ready.
    Give,
    /// Read on: [`Feed::read`].
    Read,
    /// Wait for [`Feed::news`] or a call.
    Wait,
    /// Nothing more will come.
    End,
    /// As [`Step::End`], and what has begun is not to be ended.
    Break,
}

/// Counted here and added up when there is time, so that subscribers do not
/// share a counter for every frame.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) frames: u64,
    pub(super) bytes: u64,
}

impl Feed {
    /// What is to be done next. Heeds what the whole gateway is told, and the
    /// end of the token.
    pub fn step(&mut self) -> Step {
        let expiring = self.listen();
        if self.stage == Stage::Broken {
            return Step::Break;
        }
        loop {
            if !self.rest.is_empty() || !matches!(self.held, Held::Nothing) {
                return Step::Give;
            }
            if expiring && self.notice_secs > 0 {
                self.give_notice();
                continue;
            }
            match self.stage {
                Stage::Ended => match self.coded.end() {
                    Some(end) => self.held = own(end),
                    None => return Step::End,
                },
                Stage::Broken => return Step::Break,
                Stage::Replay(until) if self.position >= until => self.stage = Stage::Live,
                Stage::Replay(_) => return Step::Read,
                Stage::Live if self.beat_owed.is_none() => {
                    self.delivered.settle(&self.streams);
                    return Step::Wait;
                }
                Stage::Live => {
                    let news = self.attachment.news_now();
                    self.take_in(news);
                }
            }
        }
    }

    /// Takes the next page from the ring, or from the journal behind it.
    /// Cancel-safe.
    pub async fn read(&mut self) {
        // A fast peer must not keep the thread to itself.
        coop::consume_budget().await;
        self.delivered.settle(&self.streams);
        if let Err(error) = self.turn_page().await {
            tracing::error!(%error, "a stream ends: its events cannot be read");
            self.end(None);
        }
    }

    /// Waits for events. Cancel-safe.
    pub async fn news(&mut self) {
        let news = self.attachment.news().await;
        self.take_in(news);
    }

    /// Lets go of what others do not hold as well, while the peer does not
    /// read: it is found again.
    pub fn let_go(&mut self) {
        if matches!(self.held, Held::Page(..)) {
            self.held = Held::Nothing;
        }
    }

    /// Whether nothing but what is ready will come.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Gives out nothing more but this.
    pub(super) fn end(&mut self, last: Option<Bytes>) {
        if matches!(self.stage, Stage::Ended | Stage::Broken) {
            return;
        }
        self.stage = Stage::Ended;
        let coding = self.form.coding;
        self.held = match last {
            None => Held::Nothing,
            Some(text) if self.coded.has_begun() => own(Piece::new(&text, coding)),
            // It takes the place of the opening.
            Some(text) => own(Piece::first(&text, coding)),
        };
    }

    async fn turn_page(&mut self) -> Result<(), ReadError> {
        if self.beat_owed.take().is_some() {
            // While replaying, a beat claims the position scanned so far.
            self.held = own(self.sign_of_life());
            return Ok(());
        }
        let ring = self.streams.hub.ring();
        let page = ring.read(&self.selection, self.position, PAGE_BYTES_MAX);
        // The ring may be behind the journal, never ahead of it.
        if let Some(page) = page.filter(|page| page.scanned > self.position) {
            self.held = Held::Page(page.frames.into(), page.scanned);
            return Ok(());
        }
        let (history, topics) = (&self.streams.history, &self.selection.topics);
        let page = match history.page_now(topics, self.position) {
            Some(page) => page,
            // Boxed: few wait for a read, and all would make room for it.
            None => Box::pin(history.page(topics, self.position)).await?,
        };
        match page.floor > self.position {
            // What the page holds is looked for again from the floor on.
            true => self.tell_gap(page.floor),
            false => self.held = Held::Page(Arc::clone(&page.frames), page.scanned),
        }
        Ok(())
    }

    fn tell_gap(&mut self, floor: Sequence) {
        let hub = &self.streams.hub;
        let gap = Gap {
            reason: GapReason::Retention,
            asked: hub.cursor(self.position),
            resumed: hub.cursor(floor),
        };
        self.position = floor;
        let told = self.streams.gap(self.form.format, &gap);
        self.held = own(Piece::new(&told, self.form.coding));
    }

    fn sign_of_life(&self) -> Piece {
        let at = self.streams.hub.cursor(self.position);
        self.streams.sign_of_life(self.form, at)
    }

    fn take_in(&mut self, news: News) {
        match news {
            News::Slice(slice) => self.held = Held::Slice(slice),
            News::Look if self.attachment.is_of_one() => self.fall_behind(),
            News::Look => self.look(),
            News::Quiet => self.pay_beat(),
        }
    }

    /// The channel is empty, so all that it was told of up to the position
    /// that was done when the beat came went out.
    pub(super) fn pay_beat(&mut self) {
        if let Some(done) = self.beat_owed.take() {
            self.position = self.position.max(done);
            self.held = own(self.sign_of_life());
        }
    }

    /// The channel went on without this subscriber.
    pub(super) fn fall_behind(&mut self) {
        self.streams.telemetry.lagged.increment(1);
        self.look();
    }

    /// Catches up with what the channels were told of: all that is in the
    /// ring before they are.
    pub(super) fn look(&mut self) {
        self.held = Held::Nothing;
        self.stage = Stage::Replay(self.streams.hub.ring().head());
    }
}

/// For this subscriber alone.
pub(super) fn own(piece: Piece) -> Held {
    Held::Own(Box::new(piece))
}

impl Tally {
    pub(super) fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    pub(super) fn settle(&mut self, streams: &Streams) {
        if self.frames > 0 {
            streams.telemetry.delivered.increment(self.frames);
            streams.telemetry.delivered_bytes.increment(self.bytes);
            *self = Self::default();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.delivered.settle(&self.streams);
        if let Some(lease) = &self.lease {
            self.streams.leases.end(lease);
        }
        let audience = &self.streams.audience;
        audience.end(&self.selection.topics, self.counted);
        self.streams.telemetry.subscribers.decrement(1.0);
    }
}
