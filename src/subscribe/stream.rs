//! One subscriber's stream, from its opening on: what it is given, and what calls
//! for another look.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use hookrill_core::{Selection, Sequence};
use tokio::time::Instant;

use super::{
    Streams,
    calls::Calls,
    feed::{Feed, Held, Stage, Step, Tally},
    heed::notice_secs,
};
use crate::{
    access::Grant,
    hub::Attachment,
    wire::{Coded, Form, Piece},
};

/// The longest lifetime that is timed; a stream that would last longer ends
/// after this, and its client comes back.
const LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// A stream for one subscriber. Nothing happens unless it is asked for more.
pub struct Subscription {
    pub(super) feed: Feed,
    pub(super) calls: Calls,
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
        let lease = grant.token().map(|proven| streams.leases.begin(proven));
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
            edition: grant.policy_version(),
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
