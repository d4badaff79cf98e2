//! Offering events: each when it is due, by the first sender that is idle.
//!
//! Open loop: a slow server does not slow the offer down; an event that falls
//! due while all senders wait for an answer waits too, and its latency runs.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::{Round, RoundError, WAIT_MAX, tally::OfferedEvent};
use crate::server::Post;

/// The longest sleep: silence is looked for that often.
const TURN_MAX: Duration = Duration::from_millis(100);

/// How events are offered.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Over how many connections.
    pub senders: usize,
    /// After this time no more events are sent, whatever is due.
    pub time: Duration,
    /// Whether latency runs from when an event was due; otherwise from when it
    /// was sent.
    pub paced: bool,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Offered {
    /// Events that the server took.
    pub acknowledged: u64,
    /// Events that it refused.
    pub refused: u64,
    /// From the first event to the last answer.
    pub offering: Duration,
    /// Deliveries to subscribers.
    pub deliveries: u64,
    /// From the first event to the last delivery or answer.
    pub elapsed: Duration,
    /// Bytes that subscribers read.
    pub wire_bytes: u64,
    /// From due to arrived, in microseconds.
    pub latency: Histogram<u64>,
}

/// An offer that is being made.
pub(super) struct Offering {
    posts: Vec<Post>,
    /// The number of the first.
    first: usize,
    next: usize,
    begun: Duration,
    limit: Limit,
    /// When the last answer came.
    answered: Option<Duration>,
}

impl Offering {
    /// Whether nothing more is to be sent.
    pub(super) fn is_sent(&self) -> bool {
        self.next == self.posts.len()
    }
}

impl Round<'_> {
    /// Offers events, whose numbers must follow on those before, and receives
    /// until each acknowledged one has come to each subscriber of its topic,
    /// or silence falls.
    ///
    /// # Errors
    ///
    /// Where a connection breaks or the server refuses.
    pub fn offer(&mut self, posts: Vec<Post>, limit: Limit) -> Result<Offered, RoundError> {
        self.employ(limit.senders);
        let mut offering = Offering {
            first: self.events.len(),
            next: 0,
            begun: self.clock.elapsed(),
            limit,
            posts,
            answered: None,
        };
        self.events
            .extend(offering.posts.iter().map(|post| OfferedEvent {
                body_bytes: post.body_bytes,
                since: offering.begun + post.due,
                sender: None,
                acknowledged: false,
            }));
        self.tally.latency.reset();
        let before = SentCounts::of(self);
        loop {
            let pause = self.send_due(&mut offering)?;
            self.turn(pause.min(TURN_MAX))?;
            self.check_refusals(&offering)?;
            if self.is_through(&mut offering) {
                break;
            }
        }
        Ok(self.offered(&offering, &before))
    }

    /// Receives until `deliveries` more events have come, or silence falls.
    ///
    /// # Errors
    ///
    /// Where a stream breaks.
    pub fn receive_until(&mut self, deliveries: u64) -> Result<(), RoundError> {
        let began = self.clock.elapsed();
        while self.tally.delivered < deliveries && !self.is_silent(began) {
            self.turn(TURN_MAX)?;
        }
        Ok(())
    }

    /// Sends what is due; how long until something is.
    fn send_due(&mut self, offering: &mut Offering) -> Result<Duration, RoundError> {
        let mut idle = 0;
        while !offering.is_sent() {
            let now = self.clock.elapsed() - offering.begun;
            if now > offering.limit.time {
                offering.posts.truncate(offering.next);
                break;
            }
            let post = &offering.posts[offering.next];
            if post.due > now {
                return Ok(post.due - now);
            }
            let senders = self.senders[..offering.limit.senders].iter();
            let free = senders.skip(idle).position(|one| one.waits_for.is_none());
            let Some(free) = free else { break };
            idle += free;
            let number = offering.first + offering.next;
            let event = &mut self.events[number];
            event.sender = Some(idle);
            if !offering.limit.paced {
                event.since = offering.begun + now;
            }
            self.post(idle, number, &offering.posts[offering.next].request)?;
            offering.next += 1;
        }
        Ok(TURN_MAX)
    }

    fn is_through(&self, offering: &mut Offering) -> bool {
        let answers_due = self.senders.iter().any(|one| one.waits_for.is_some());
        if offering.is_sent() && !answers_due {
            offering
                .answered
                .get_or_insert_with(|| self.clock.elapsed());
            if self.tally.delivered >= self.tally.expected {
                return true;
            }
        }
        // Between two events that are due nobody has to speak.
        let nothing_due = offering.is_sent() || answers_due;
        nothing_due && self.is_silent(offering.begun)
    }

    fn is_silent(&self, began: Duration) -> bool {
        self.clock.elapsed() > began.max(self.tally.last_progress) + WAIT_MAX
    }

    fn offered(&self, offering: &Offering, before: &SentCounts) -> Offered {
        let now = SentCounts::of(self);
        let answered = offering.answered.unwrap_or_else(|| self.clock.elapsed());
        let last = if now.delivered > before.delivered {
            self.tally.last_delivery.max(answered)
        } else {
            answered
        };
        Offered {
            acknowledged: now.acknowledged - before.acknowledged,
            refused: now.refused - before.refused,
            offering: answered - offering.begun,
            deliveries: now.delivered - before.delivered,
            elapsed: last - offering.begun,
            wire_bytes: now.wire_bytes - before.wire_bytes,
            latency: self.tally.latency.clone(),
        }
    }
}

/// Counters as they stood.
struct SentCounts {
    acknowledged: u64,
    refused: u64,
    delivered: u64,
    wire_bytes: u64,
}

impl SentCounts {
    fn of(round: &Round<'_>) -> Self {
        Self {
            acknowledged: round.tally.acknowledged,
            refused: round.tally.refused,
            delivered: round.tally.delivered,
            wire_bytes: round.tally.wire_bytes,
        }
    }
}
