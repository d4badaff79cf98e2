//! One subscriber's stream: replay, live, and back.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep},
};

use super::{Streams, pulse::Beat};
use crate::{
    event::{
        Selection, Sequence,
        frame::{Format, Frame, Gap, GapReason, sse},
    },
    hub::{Attachment, News, Slice},
    journal::ReadError,
};

/// About how many bytes of events are taken from ring or journal at a time;
/// what a subscriber that stops reading keeps in memory.
const PAGE_BYTES_MAX: usize = 32 * 1024;
/// The longest lifetime that is timed; a stream that would last longer ends
/// after this, and its client comes back.
const LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// A stream of bytes for one subscriber. Nothing happens unless it is asked
/// for more.
pub struct Subscription {
    streams: Arc<Streams>,
    attachment: Attachment,
    selection: Selection,
    format: Format,
    /// All of the selection up to here was given out or told of.
    position: Sequence,
    /// What is being given out.
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

/// Frames on their way out, and the position once they all are.
enum Held {
    Nothing,
    Bytes(Bytes),
    /// Held weakly: a subscriber that stops reading here pins nothing.
    Slice(Slice, usize),
    Page(std::vec::IntoIter<Frame>, Sequence),
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
        opening: Bytes,
        lifetime: Option<Duration>,
    ) -> Self {
        streams.telemetry.subscribers.increment(1.0);
        let head = streams.journal.head();
        Self {
            attachment,
            selection,
            format,
            position,
            held: Held::Bytes(opening),
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
        loop {
            if self.expired() {
                self.end(None);
            }
            if self.beat.has_changed().unwrap_or(false) {
                self.hear();
            }
            if let Some(bytes) = self.next_held() {
                return Some(bytes);
            }
            match self.stage {
                Stage::Ended => return None,
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

    fn expired(&self) -> bool {
        let end = self.expiry.as_ref().map(|sleep| sleep.deadline());
        end.is_some_and(|end| Instant::now() >= end)
    }

    /// Takes note of a beat.
    fn hear(&mut self) {
        let beat = *self.beat.borrow_and_update();
        match beat {
            // The position is loaded before the channel is drained, so that
            // all up to it has been on the channel once it is empty.
            Beat::Alive => self.beat_owed = Some(self.streams.hub.done()),
            Beat::Drain => self.end(self.streams.farewell(self.format)),
        }
    }

    /// Gives out nothing more but these bytes.
    fn end(&mut self, last: Option<Bytes>) {
        if self.stage != Stage::Ended {
            self.stage = Stage::Ended;
            self.held = last.map_or(Held::Nothing, Held::Bytes);
        }
    }

    /// The next bytes of what is held already.
    fn next_held(&mut self) -> Option<Bytes> {
        loop {
            let frame = match &mut self.held {
                Held::Nothing => return None,
                Held::Bytes(bytes) => {
                    let bytes = std::mem::take(bytes);
                    self.held = Held::Nothing;
                    return Some(bytes);
                }
                Held::Slice(slice, at) => {
                    let Some(frames) = slice.upgrade() else {
                        self.fall_behind();
                        return None;
                    };
                    *at += 1;
                    frames.get(*at - 1).cloned()
                }
                Held::Page(frames, scanned) => {
                    let frame = frames.next();
                    if frame.is_none() {
                        self.position = self.position.max(*scanned);
                    }
                    frame
                }
            };
            let Some(frame) = frame else {
                self.held = Held::Nothing;
                return None;
            };
            if let Some(bytes) = self.give(&frame) {
                return Some(bytes);
            }
        }
    }

    /// A frame's bytes, unless the subscriber has it or does not want it.
    fn give(&mut self, frame: &Frame) -> Option<Bytes> {
        if frame.sequence() <= self.position {
            return None;
        }
        self.position = frame.sequence();
        if !self.selection.wants_type(&frame.event().draft.event_type) {
            return None;
        }
        let bytes = frame.bytes(self.format).clone();
        self.delivered.frames += 1;
        self.delivered.bytes += bytes.len() as u64;
        Some(bytes)
    }

    /// Takes the next page from the ring, or from the journal behind it.
    async fn turn_page(&mut self) -> Result<(), ReadError> {
        self.delivered.settle(&self.streams);
        self.pay_beat_while_replaying();
        if !matches!(self.held, Held::Nothing) {
            return Ok(());
        }
        let ring = self.streams.hub.ring();
        let page = ring.read(&self.selection, self.position, PAGE_BYTES_MAX);
        // The ring may be behind the journal, never ahead of it.
        if let Some(page) = page.filter(|page| page.scanned > self.position) {
            self.held = Held::Page(page.frames.into_iter(), page.scanned);
            return Ok(());
        }
        let journal = &self.streams.journal;
        let page = journal
            .read(&self.selection, self.position, PAGE_BYTES_MAX)
            .await?;
        if page.floor > self.position {
            // What the page holds is read again from the floor on.
            self.tell_gap(page.floor);
            return Ok(());
        }
        let encoder = self.streams.hub.encoder();
        let frames: Vec<Frame> = page
            .events
            .into_iter()
            .map(|event| Frame::new(event, encoder))
            .collect();
        self.held = Held::Page(frames.into_iter(), page.scanned);
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
        self.held = Held::Bytes(self.streams.gap(self.format, &gap));
    }

    /// While replaying, a beat claims the position scanned so far.
    fn pay_beat_while_replaying(&mut self) {
        if self.beat_owed.take().is_some() {
            self.held = Held::Bytes(self.sign_of_life());
        }
    }

    fn sign_of_life(&self) -> Bytes {
        match self.format {
            Format::NdJson => Bytes::from_static(b"\n"),
            Format::Raw | Format::CloudEvents => {
                sse::cursor(self.streams.hub.encoder().cursor(self.position))
            }
        }
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
            News::Slice(slice) => self.held = Held::Slice(slice, 0),
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
        let expiry = async {
            match &mut self.expiry {
                Some(sleep) => sleep.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = expiry => News::Quiet,
            beat = self.beat.changed() => {
                // The heart lives as long as the streams, which this holds.
                if beat.is_ok() {
                    self.beat.mark_changed();
                }
                News::Quiet
            }
            news = self.attachment.news() => news,
        }
    }

    /// The channel is empty, so all that it was told of up to the position
    /// that was done when the beat came is given out.
    fn pay_beat(&mut self) {
        if let Some(done) = self.beat_owed.take() {
            self.position = self.position.max(done);
            self.held = Held::Bytes(self.sign_of_life());
        }
    }
}

impl Tally {
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
