//! One subscriber's stream: replay, live, and back.
//!
//! Whoever writes it asks for what waits and says how much of it went out.
//! Queues nothing: what was not taken is found again, in the channel, the ring
//! or the journal. Invariant: the position rises by what went out, so that
//! nothing is left out and nothing comes twice.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use smallvec::SmallVec;
use tokio::{
    sync::watch,
    task::coop,
    time::{Instant, Sleep, sleep},
};

use super::{Streams, pulse::Beat};
use crate::{
    event::{
        Selection, Sequence,
        frame::{Chunk, Format, Frame, Framing, Gap, GapReason},
    },
    hub::{Attachment, News, Slice},
    journal::ReadError,
};

/// About how many bytes of events are taken from the ring at a time.
const PAGE_BYTES_MAX: usize = 32 * 1024;
/// The most frames that go out in one write.
const WRITE_FRAMES_MAX: usize = 64;
/// The longest lifetime that is timed; a stream that would last longer ends
/// after this, and its client comes back.
const LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// A stream for one subscriber. Nothing happens unless it is asked for more.
pub struct Subscription {
    streams: Arc<Streams>,
    attachment: Attachment,
    selection: Selection,
    format: Format,
    /// All of the selection up to here went out or was told of.
    position: Sequence,
    /// What is left of a chunk that went out in part.
    rest: Bytes,
    /// What goes out next.
    held: Held,
    stage: Stage,
    beat: watch::Receiver<Beat>,
    /// A heartbeat is owed, and may claim this position once all that came
    /// before it is given out.
    beat_owed: Option<Sequence>,
    expiry: Option<Pin<Box<Sleep>>>,
    delivered: Tally,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// From ring or journal, up to here.
    Replay(Sequence),
    Live,
    Ended,
}

/// Where the next frames are; the position says which of them went out.
enum Held {
    Nothing,
    /// Written for this subscriber alone.
    Own(Chunk),
    /// Held weakly: a subscriber that stops reading here pins nothing.
    Slice(Slice),
    /// A page, and the position once all of it went out.
    Page(Arc<[Frame]>, Sequence),
}

/// What is ready for one write.
#[derive(Default)]
struct Hand {
    frames: SmallVec<[Arc<[Frame]>; 8]>,
    /// Where the frames are a page: the position once all of it went out.
    page: Option<Sequence>,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// All of it went out.
    All,
    /// The peer does not take more now.
    Part,
}

/// Counted here and added up when there is time, so that subscribers do not
/// share a counter for every frame.
#[derive(Default)]
struct Tally {
    frames: u64,
    bytes: u64,
}

impl Subscription {
    pub(super) fn begin(
        streams: Arc<Streams>,
        attachment: Attachment,
        selection: Selection,
        format: Format,
        position: Sequence,
        opening: Chunk,
        lifetime: Option<Duration>,
    ) -> Self {
        streams.telemetry.subscribers.increment(1.0);
        let head = streams.journal.head();
        Self {
            attachment,
            selection,
            format,
            position,
            rest: Bytes::new(),
            held: Held::Own(opening),
            stage: Stage::Replay(head),
            beat: streams.pulse.join(),
            beat_owed: None,
            expiry: lifetime.map(|left| Box::pin(sleep(left.min(LIFETIME_MAX)))),
            delivered: Tally::default(),
            streams,
        }
    }

    /// The next bytes; `None` at the end of the stream. Cancel-safe.
    pub async fn next(&mut self) -> Option<Bytes> {
        while self.ready().await {
            if let Some(bytes) = self.take() {
                return Some(bytes);
            }
        }
        None
    }

    /// Waits until there is something to give out; `false` once the stream has
    /// ended and nothing is left of it. Cancel-safe.
    pub async fn ready(&mut self) -> bool {
        loop {
            self.listen();
            if !self.rest.is_empty() || !matches!(self.held, Held::Nothing) {
                return true;
            }
            match self.stage {
                Stage::Ended => return false,
                Stage::Live => self.live().await,
                Stage::Replay(until) if self.position >= until => self.stage = Stage::Live,
                Stage::Replay(_) => {
                    if let Err(error) = self.turn_page().await {
                        tracing::error!(%error, "a stream ends: its events cannot be read");
                        self.end(None);
                    }
                }
            }
        }
    }

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
        let mut pieces = SmallVec::<[IoSlice<'_>; WRITE_FRAMES_MAX]>::new();
        if !self.rest.is_empty() {
            pieces.push(IoSlice::new(&self.rest));
        }
        let frames = self.wanted(&hand.frames).take(WRITE_FRAMES_MAX - 1);
        pieces.extend(frames.map(|frame| IoSlice::new(frame.chunk(self.format).bytes(framing))));
        let ready = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let sent = match ready {
            0 => 0,
            _ => write(&pieces).or_else(blocked)?,
        };
        drop(pieces);
        self.settle(framing, &hand, sent);
        Ok(match sent < ready {
            true => Given::Part,
            false => Given::All,
        })
    }

    /// Puts these bytes, as they are, before the opening.
    pub fn begin_with(&mut self, head: &[u8], framing: Framing) {
        if let Held::Own(opening) = &self.held {
            self.rest = [head, opening.bytes(framing)].concat().into();
            self.held = Held::Nothing;
        }
    }

    /// Lets go of what others do not hold as well, while the peer does not
    /// read: it is found again.
    pub fn let_go(&mut self) {
        if matches!(self.held, Held::Page(..)) {
            self.held = Held::Nothing;
        }
    }

    /// Waits until the stream is to end, for a writer whose peer does not
    /// read. Cancel-safe.
    pub async fn ends(&mut self) {
        while self.stage != Stage::Ended {
            called(&mut self.expiry, &mut self.beat).await;
            self.listen();
        }
    }

    /// Whether nothing but what is ready will come.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Heeds what the whole gateway is told, and the end of the token.
    fn listen(&mut self) {
        let end = self.expiry.as_ref().map(|sleep| sleep.deadline());
        if end.is_some_and(|end| Instant::now() >= end) {
            self.end(None);
        }
        if self.beat.has_changed().unwrap_or(false) {
            let beat = *self.beat.borrow_and_update();
            match beat {
                // The position is loaded before the channel is drained, so
                // that all up to it has been on the channel once it is empty.
                Beat::Alive => self.beat_owed = Some(self.streams.hub.done()),
                Beat::Drain => self.end(self.streams.farewell(self.format)),
            }
        }
    }

    /// Gives out nothing more but this.
    fn end(&mut self, last: Option<Chunk>) {
        if self.stage != Stage::Ended {
            self.stage = Stage::Ended;
            self.held = last.map_or(Held::Nothing, Held::Own);
        }
    }

    /// The next bytes of what is held.
    fn take(&mut self) -> Option<Bytes> {
        if !self.rest.is_empty() {
            return Some(std::mem::take(&mut self.rest));
        }
        let (frames, reached) = match &self.held {
            Held::Nothing => return None,
            Held::Own(chunk) => {
                let bytes = chunk.payload();
                self.held = Held::Nothing;
                return Some(bytes);
            }
            Held::Slice(slice) => {
                let Some(frames) = slice.upgrade() else {
                    self.fall_behind();
                    return None;
                };
                let reached = last(&frames);
                (frames, reached)
            }
            Held::Page(frames, reached) => (Arc::clone(frames), *reached),
        };
        let next = self.wanted(std::slice::from_ref(&frames)).next().cloned();
        let Some(frame) = next else {
            self.held = Held::Nothing;
            self.position = self.position.max(reached);
            return None;
        };
        self.position = frame.sequence();
        let bytes = frame.chunk(self.format).payload();
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
            Held::Own(chunk) if self.rest.is_empty() => self.rest = chunk.rest(framing, 0),
            Held::Own(chunk) => self.held = Held::Own(chunk),
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
            count += frames.len();
            hand.frames.push(frames);
            // After a fall behind, what the channel has is not what follows.
            if count >= WRITE_FRAMES_MAX || self.stage != Stage::Live {
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
        let mut delivered = Tally::default();
        for frame in self.wanted(&hand.frames) {
            if left == 0 {
                whole = false;
                break;
            }
            let chunk = frame.chunk(self.format);
            let bytes = chunk.bytes(framing).len();
            if left < bytes {
                rest = chunk.rest(framing, left);
            }
            left = left.saturating_sub(bytes);
            position = frame.sequence();
            delivered.add(bytes);
        }
        self.position = position;
        self.rest = rest;
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

    /// Takes the next page from the ring, or from the journal behind it.
    async fn turn_page(&mut self) -> Result<(), ReadError> {
        // A fast peer must not keep the thread to itself.
        coop::consume_budget().await;
        self.delivered.settle(&self.streams);
        if self.pay_beat_while_replaying() {
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
        let encoder = self.streams.hub.encoder();
        let gap = Gap {
            reason: GapReason::Retention,
            asked: encoder.cursor(self.position),
            resumed: encoder.cursor(floor),
        };
        self.position = floor;
        self.held = Held::Own(Chunk::new(&self.streams.gap(self.format, &gap)));
    }

    /// While replaying, a beat claims the position scanned so far.
    fn pay_beat_while_replaying(&mut self) -> bool {
        let owed = self.beat_owed.take().is_some();
        if owed {
            self.held = Held::Own(self.sign_of_life());
        }
        owed
    }

    fn sign_of_life(&self) -> Chunk {
        let at = self.streams.hub.encoder().cursor(self.position);
        self.streams.sign_of_life(self.format, at)
    }

    /// Takes what the channel has, or waits for something.
    async fn live(&mut self) {
        let news = match self.beat_owed {
            Some(_) => self.attachment.news_now(),
            None => {
                self.delivered.settle(&self.streams);
                self.wait().await
            }
        };
        match news {
            News::Slice(slice) => self.held = Held::Slice(slice),
            News::Look if self.attachment.is_of_one() => self.fall_behind(),
            News::Look => self.look(),
            News::Quiet => self.pay_beat(),
        }
    }

    /// The channel went on without this subscriber.
    fn fall_behind(&mut self) {
        self.streams.telemetry.lagged.increment(1);
        self.look();
    }

    /// Catches up with what the channels were told of: all that is in the
    /// ring before they are.
    fn look(&mut self) {
        self.held = Held::Nothing;
        self.stage = Stage::Replay(self.streams.hub.ring().head());
    }

    /// Waits for news, a beat or the end; the last two are no news.
    async fn wait(&mut self) -> News {
        let mut called = pin!(called(&mut self.expiry, &mut self.beat));
        let mut news = pin!(self.attachment.news());
        poll_fn(|cx| match called.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(News::Quiet),
            Poll::Pending => news.as_mut().poll(cx),
        })
        .await
    }

    /// The channel is empty, so all that it was told of up to the position
    /// that was done when the beat came is given out.
    fn pay_beat(&mut self) {
        if let Some(done) = self.beat_owed.take() {
            self.position = self.position.max(done);
            self.held = Held::Own(self.sign_of_life());
        }
    }
}

/// Waits for a beat or the end of the token; [`Subscription::listen`] heeds it.
///
/// By hand, as a future in every subscriber's task: `select!` over `async`
/// functions would take half as much memory again.
async fn called(expiry: &mut Option<Pin<Box<Sleep>>>, beat: &mut watch::Receiver<Beat>) {
    let told = {
        let mut beaten = pin!(beat.changed());
        poll_fn(|cx| match expired(expiry, cx) {
            true => Poll::Ready(None),
            false => beaten.as_mut().poll(cx).map(Some),
        })
        .await
    };
    // The heart lives as long as the streams, which hold it.
    if matches!(told, Some(Ok(()))) {
        beat.mark_changed();
    }
}

fn expired(expiry: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> bool {
    let sleep = expiry.as_mut();
    sleep.is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready())
}

/// A peer that takes nothing now took no bytes.
fn blocked(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        io::ErrorKind::WouldBlock => Ok(0),
        _ => Err(error),
    }
}

fn last(frames: &[Frame]) -> Sequence {
    frames.last().map(Frame::sequence).unwrap_or_default()
}

impl Hand {
    /// The position once all of it went out.
    fn reached(&self) -> Sequence {
        let newest = || self.frames.last().map(|frames| last(frames));
        self.page.or_else(newest).unwrap_or_default()
    }
}

impl Tally {
    fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    fn settle(&mut self, streams: &Streams) {
        if self.frames > 0 {
            streams.telemetry.delivered.increment(self.frames);
            streams.telemetry.delivered_bytes.increment(self.bytes);
            *self = Self::default();
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.delivered.settle(&self.streams);
        self.streams.telemetry.subscribers.decrement(1.0);
    }
}
