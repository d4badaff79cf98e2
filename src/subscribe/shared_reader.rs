//! One listener for many streams of one channel.
//!
//! A stream that is live and has nothing pending can leave the listening to a
//! relay, and lets go of its own place on the channel; what all of them would
//! hear and look up is then heard and looked up once.
//!
//! Refuses to read the journal: where the ring does not reach back, its streams
//! go on by themselves. Invariant: a stream that has all up to the relay's
//! position misses nothing by waiting for the relay.

use std::sync::{Arc, atomic::Ordering};

use hookrill_core::{Selection, Sequence};

use super::{
    Streams,
    calls::Calls,
    feed::{Feed, Held, PAGE_BYTES_MAX, Stage, Tally},
    give::{Hand, WRITE_PIECES_MAX, last},
    pulse::{Call, Ear},
    stream::Subscription,
};
use crate::{
    access::PolicyVersion,
    hub::{Attachment, News, Slice},
};

/// Listens for many streams.
pub struct Relay {
    streams: Arc<Streams>,
    attachment: Attachment,
    /// The channel's events, of all types: streams pick theirs.
    selection: Selection,
    ear: Ear,
    /// What comes after this will be handed out.
    position: Sequence,
    /// What was heard while waiting.
    heard: Option<News>,
    /// The channel went on without the relay: from the ring, up to here.
    behind: Option<Sequence>,
    /// The last hand was as much as one write takes.
    full: bool,
    /// As a stream's; of the last turn.
    recoded: u32,
    /// What reasons to end streams there were when this last looked.
    verdicts: Option<(u64, PolicyVersion)>,
    /// As a stream's.
    beat_owed: Option<Sequence>,
    delivered: Tally,
}

/// What is to be done next for all streams of a relay.
pub enum Turn {
    /// Give them this.
    Give(Hand),
    /// Give them a sign of life, which may claim this position.
    Beat(Sequence),
    /// Wait for [`Relay::news`] or a call.
    Wait,
    /// Let all of them go on by themselves.
    Scatter,
}

impl Relay {
    /// A relay of the channel that `subscription` listens to, and what calls
    /// for another turn.
    #[must_use]
    pub fn beside(subscription: &Subscription) -> (Self, Calls) {
        let streams = Arc::clone(&subscription.feed.streams);
        let selection = Selection {
            topics: subscription.feed.selection.topics.clone(),
            types: None,
        };
        // Attached before the ring is asked for its head: what is not in it
        // by then will be heard.
        let attachment = streams.hub.attach(&selection.topics);
        let ear = streams.pulse.join();
        let calls = Calls::of(&streams, ear, None);
        let relay = Self {
            position: streams.hub.ring().head(),
            streams,
            attachment,
            selection,
            ear,
            heard: None,
            behind: None,
            full: false,
            recoded: 0,
            verdicts: None,
            beat_owed: None,
            delivered: Tally::default(),
        };
        (relay, calls)
    }

    /// What is to be done next for its `count` streams.
    pub fn turn(&mut self, count: usize) -> Turn {
        // Before anything is picked up: what is encoded later is no older.
        self.recoded = self.streams.recoded.load(Ordering::Acquire);
        match self.streams.pulse.heard(&mut self.ear) {
            None => {}
            // Loaded before the channel is drained, as a stream does.
            Some(Call::Beat) => self.beat_owed = Some(self.streams.hub.done()),
            Some(Call::Drain) => return Turn::Scatter,
        }
        if let Some(until) = self.behind {
            return self.page(until);
        }
        let heard = self.heard.take();
        match heard.unwrap_or_else(|| self.attachment.news_now()) {
            News::Slice(slice) => match self.collect(slice) {
                Some(hand) => Turn::Give(hand),
                None => self.fall_behind(count),
            },
            News::Look => self.fall_behind(count),
            News::Quiet => self.beat_owed.take().map_or(Turn::Wait, Turn::Beat),
        }
    }

    /// Whether more waits than the last turn could hand out: then there is no
    /// time to lose.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.full || self.behind.is_some()
    }

    /// Whether some streams may have to end since this was last asked.
    pub fn heard_of_verdicts(&mut self) -> bool {
        let before = self.verdicts.replace(self.streams.verdicts());
        before != self.verdicts
    }

    /// Waits for events. Cancel-safe.
    pub async fn news(&mut self) {
        let news = self.attachment.news().await;
        self.heard = Some(news);
    }

    /// Begins to listen for `subscription`, which is live and has nothing
    /// pending; it then has ready what it does not have of what was handed
    /// out.
    pub fn take_on(&self, subscription: &mut Subscription) {
        let Subscription { feed, calls } = subscription;
        feed.attachment.pause();
        feed.ear = self.ear;
        calls.end_at(None);
        if feed.position >= self.position {
            return;
        }
        let ring = self.streams.hub.ring();
        if let Some(page) = ring.read(&feed.selection, feed.position, PAGE_BYTES_MAX) {
            feed.held = Held::Page(page.frames.into(), page.scanned);
        }
    }

    /// Whether `subscription` has all that was handed out.
    #[must_use]
    pub fn is_level_with(&self, subscription: &Subscription) -> bool {
        let feed = &subscription.feed;
        !feed.is_pending() && feed.position >= self.position
    }

    /// Lets `subscription` listen for itself again.
    pub fn let_go(&self, subscription: &mut Subscription) {
        let Subscription { feed, calls } = subscription;
        // The beat that is owed to all was heard with this ear.
        feed.beat_owed = feed.beat_owed.or(self.beat_owed);
        feed.ear = self.ear;
        // All that it holds was picked up in the last turn, or since.
        feed.recoded = self.recoded;
        *calls = Calls::of(&self.streams, self.ear, feed.deadline());
        // First this: what is told of from now on is heard, and what was told
        // of before is in the ring.
        feed.attachment.resume();
        feed.stage = Stage::Replay(self.streams.hub.ring().head());
    }

    /// Counts what `subscription` was given.
    pub fn count(&mut self, subscription: &mut Subscription) {
        let given = std::mem::take(&mut subscription.feed.delivered);
        self.delivered.frames += given.frames;
        self.delivered.bytes += given.bytes;
    }

    /// Adds up what was counted.
    pub fn settle(&mut self) {
        self.delivered.settle(&self.streams);
    }

    /// The slice, and those that follow it on the channel: what waits goes out
    /// together. `None` where the ring has let go of it.
    fn collect(&mut self, first: Slice) -> Option<Hand> {
        let mut hand = Hand::default();
        let (mut slice, mut count) = (first, 0);
        self.full = false;
        while let Some(frames) = slice.upgrade() {
            self.position = self.position.max(last(&frames));
            count += frames.len();
            hand.frames.push(frames);
            // As in `Feed::collect`: mostly, this was all there is.
            self.full = count >= WRITE_PIECES_MAX - 1;
            if self.full || self.streams.hub.done() <= self.position {
                return Some(hand);
            }
            slice = match self.attachment.news_now() {
                News::Slice(next) => next,
                News::Quiet => return Some(hand),
                News::Look => break,
            };
        }
        // What is at hand is in the ring as well, if it is anywhere.
        self.heard = (!hand.frames.is_empty()).then_some(News::Look);
        self.heard.is_some().then_some(hand)
    }

    /// The channel went on without the relay and its `count` streams.
    fn fall_behind(&mut self, count: usize) -> Turn {
        self.streams.telemetry.lagged.increment(count as u64);
        self.page(self.streams.hub.ring().head())
    }

    /// The next page of the ring, for all streams.
    fn page(&mut self, until: Sequence) -> Turn {
        let ring = self.streams.hub.ring();
        let Some(page) = ring.read(&self.selection, self.position, PAGE_BYTES_MAX) else {
            // Streams that come from now on need the channel alone.
            self.behind = None;
            self.position = ring.head();
            return Turn::Scatter;
        };
        self.position = page.scanned;
        self.behind = (page.scanned < until).then_some(until);
        let mut hand = Hand::default();
        hand.frames.push(page.frames.into());
        hand.page = Some(page.scanned);
        Turn::Give(hand)
    }
}

impl Feed {
    /// The channel on which another may listen for this stream as well, since
    /// it is live and has nothing pending.
    #[must_use]
    pub fn shared_channel(&self) -> Option<&str> {
        let idle = self.stage == Stage::Live && !self.is_pending() && self.beat_owed.is_none();
        idle.then(|| self.attachment.shared_channel()).flatten()
    }

    /// Whether anything is ready to be given.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.rest.is_empty() || !matches!(self.held, Held::Nothing)
    }

    /// Whether nothing but the channel is to be looked at.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }

    /// Makes ready a sign of life, which may claim `done`.
    pub fn beat(&mut self, done: Sequence) {
        self.beat_owed = Some(done);
        self.pay_beat();
    }
}
