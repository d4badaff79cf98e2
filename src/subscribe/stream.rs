//! One subscriber's stream: replay, live, and back.
//!
//! Whoever writes it asks for what waits and says how much of it went out.
//! Queues nothing: what was not taken is found again, in the channel, the ring
//! or the journal. Invariant: the position rises by what went out, so that
//! nothing is left out and nothing comes twice.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::futures::Notified,
    task::coop,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    Streams,
    leases::Lease,
    pulse::{Call, Ear},
};
use crate::{
    access::{Edition, Grant},
    event::{
        Selection, Sequence,
        frame::{Coded, Form, Frame, Gap, GapReason, Piece},
    },
    hub::{Attachment, News, Slice},
    journal::ReadError,
};

/// About how many bytes of events are taken from the ring at a time.
pub(super) const PAGE_BYTES_MAX: usize = 32 * 1024;
/// The longest lifetime that is timed; a stream that would last longer ends
/// after this, and its client comes back.
const LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Which part of its lifetime a stream has left when its client is told that
/// the token ends.
const NOTICE_SHARE: u64 = 10;
/// The bounds of that, in seconds.
const NOTICE_SECS: std::ops::RangeInclusive<u8> = 5..=60;

/// A stream for one subscriber. Nothing happens unless it is asked for more.
pub struct Subscription {
    pub(super) feed: Feed,
    pub(super) calls: Calls,
}

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
    pub(super) edition: Edition,
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

impl Subscription {
    #[expect(clippy::too_many_arguments, reason = "all that a stream is made of")]
    pub(super) fn begin(
        streams: Arc<Streams>,
        attachment: Attachment,
        selection: Selection,
        form: Form,
        position: Sequence,
        opening: Piece,
        lifetime: Option<Duration>,
        grant: &Grant,
    ) -> Self {
        streams.telemetry.subscribers.increment(1.0);
        let head = streams.journal.head();
        let ear = streams.pulse.join();
        let end = lifetime.map(|left| Instant::now() + left.min(LIFETIME_MAX));
        let lease = grant.proven().map(|proven| streams.leases.begin(proven));
        let counted = streams.audience.begin(&selection.topics);
        let notice_secs = lifetime.map_or(0, notice_secs);
        let recoded = streams.recoded.load(Ordering::Acquire);
        let mut calls = Calls::of(&streams, ear, None);
        let feed = Feed {
            streams,
            attachment,
            selection,
            form,
            position,
            rest: Bytes::new(),
            held: Held::Own(Box::new(opening)),
            stage: Stage::Replay(head),
            coded: Coded::new(form.coding),
            ear,
            beat_owed: None,
            end,
            notice_secs,
            recoded,
            lease,
            counted,
            edition: grant.edition(),
            delivered: Tally::default(),
        };
        calls.heed(&feed);
        Self { feed, calls }
    }

    /// The next bytes; `None` at the end of the stream. Cancel-safe.
    pub async fn next(&mut self) -> Option<Bytes> {
        let Self { feed, calls } = self;
        loop {
            calls.heed(feed);
            let called = calls.hear();
            match feed.step() {
                Step::End | Step::Break => return None,
                Step::Read => feed.read().await,
                Step::Wait => either(feed.news(), called).await,
                Step::Give => {
                    if let Some(bytes) = feed.take() {
                        return Some(bytes);
                    }
                }
            }
        }
    }

    /// When its token calls for a look: to tell of its end, or to end.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.feed.deadline()
    }

    /// What is given out, and what calls for another look, for a writer that
    /// waits for both in its own way.
    pub fn split(&mut self) -> (&mut Feed, &mut Calls) {
        (&mut self.feed, &mut self.calls)
    }
}

/// Waits for the first of the two.
async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => other.as_mut().poll(cx),
    })
    .await;
}

/// What a stream is told beside its events: beats, the drain, its token's end.
pub struct Calls {
    streams: Arc<Streams>,
    phase: usize,
    /// Boxed, since most streams of public topics have none.
    end: Option<Pin<Box<Sleep>>>,
}

impl Calls {
    pub(super) fn of(streams: &Arc<Streams>, ear: Ear, end: Option<Instant>) -> Self {
        Self {
            streams: Arc::clone(streams),
            phase: ear.phase(),
            end: end.map(|at| Box::pin(sleep_until(at))),
        }
    }

    /// Calls when the token of `feed` next calls for a look. To be asked again
    /// after each call.
    pub fn heed(&mut self, feed: &Feed) {
        self.end_at(feed.deadline());
    }

    /// Calls at this time as well, and at no other.
    pub fn end_at(&mut self, end: Option<Instant>) {
        match (&mut self.end, end) {
            (Some(sleep), Some(at)) if sleep.deadline() == at => {}
            (Some(sleep), Some(at)) => sleep.as_mut().reset(at),
            (_, end) => self.end = end.map(|at| Box::pin(sleep_until(at))),
        }
    }

    /// Completes with the next call after this was made; [`Feed::step`] heeds
    /// it. To be made before that, so that none is overheard.
    pub fn hear(&mut self) -> impl Future<Output = ()> + '_ {
        Called {
            told: self.streams.pulse.next(self.phase),
            end: self.end.as_mut(),
        }
    }
}

pin_project_lite::pin_project! {
    /// By hand, as part of every subscriber's task: `select!` would take half
    /// as much memory again.
    struct Called<'c> {
        #[pin]
        told: Notified<'c>,
        end: Option<&'c mut Pin<Box<Sleep>>>,
    }
}

impl Future for Called<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let called = self.project();
        if let Some(end) = called.end
            && end.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(());
        }
        called.told.poll(cx)
    }
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

    /// When the token calls for a look: to tell of its end, or to end.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let notice = Duration::from_secs(self.notice_secs.into());
        self.end.map(|end| end.checked_sub(notice).unwrap_or(end))
    }

    /// Whether the token ends later than this.
    #[must_use]
    pub fn expires_after(&self, now: Instant) -> bool {
        self.end.is_none_or(|end| end > now)
    }

    /// Whether the stream is to end: its token was revoked, or it would not be
    /// granted any more.
    pub fn is_forbidden(&mut self) -> bool {
        let revoked = self.lease.as_ref().is_some_and(|lease| lease.is_over());
        revoked || !self.is_granted()
    }

    /// Looks at the grant again where anything changed since it was made: also
    /// at one that was made just before, and opened just after.
    fn is_granted(&mut self) -> bool {
        let edition = self.streams.access.edition();
        if self.edition == edition {
            return true;
        }
        let proven = self.lease.as_ref().map(|lease| lease.proven());
        let access = &self.streams.access;
        let granted = access.still_grants(&self.selection.topics, proven);
        if granted {
            self.edition = edition;
        }
        granted
    }

    /// Makes ready the word that the token is about to end, where nothing else
    /// is ready. All up to the position went out, so that is its id.
    pub fn give_notice(&mut self) {
        let Some(end) = self.end else { return };
        let left = end.saturating_duration_since(Instant::now());
        self.notice_secs = 0;
        let at = self.streams.hub.cursor(self.position);
        let secs = left.as_secs_f64().round() as u64;
        self.held = own(self.streams.expiring(self.form, at, secs));
    }

    /// Heeds what there is to be heard; says whether the token is about to end
    /// and the client does not know.
    fn listen(&mut self) -> bool {
        self.forget_old_views();
        if self.has_ended() {
            return false;
        }
        let mut expiring = false;
        if self.is_forbidden() {
            self.end(None);
        }
        if let (Some(due), Some(end)) = (self.deadline(), self.end) {
            let now = Instant::now();
            expiring = now >= due;
            if now >= end {
                self.end(None);
            }
        }
        match self.streams.pulse.heard(&mut self.ear) {
            None => {}
            // The position is loaded before the channel is drained, so that
            // all up to it has been on the channel once it is empty.
            Some(Call::Beat) => self.beat_owed = Some(self.streams.hub.done()),
            Some(Call::Drain) => self.end(self.streams.farewell(self.form.format)),
        }
        expiring && !self.has_ended()
    }

    /// Lets go of what was encoded before events were encoded anew.
    fn forget_old_views(&mut self) {
        let recoded = self.streams.recoded.load(Ordering::Acquire);
        if std::mem::replace(&mut self.recoded, recoded) == recoded {
            return;
        }
        match self.held {
            Held::Nothing | Held::Own(_) => {}
            Held::Page(..) => self.held = Held::Nothing,
            Held::Slice(_) => self.look(),
        }
        if !self.rest.is_empty() {
            self.rest = Bytes::new();
            self.held = Held::Nothing;
            self.stage = Stage::Broken;
        }
    }

    /// Gives out nothing more but this.
    fn end(&mut self, last: Option<Bytes>) {
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

/// How long before its end a stream of this lifetime tells of it; 0 where it
/// is no longer than that.
fn notice_secs(lifetime: Duration) -> u8 {
    let (least, most) = NOTICE_SECS.into_inner();
    let share = lifetime.as_secs() / NOTICE_SHARE;
    let secs = u8::try_from(share).unwrap_or(most).clamp(least, most);
    match lifetime > Duration::from_secs(secs.into()) {
        true => secs,
        false => 0,
    }
}

fn own(piece: Piece) -> Held {
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
