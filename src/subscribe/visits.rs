//! Subscribers that are stuck: they come back to where they were again and again, or
//! leave as soon as they are given something.
//!
//! A client that fails on an event (a line that is too long for it, a parser that
//! throws) reconnects with the id before it, for ever, and nobody sees it. What a
//! stream was given is known by its positions, so nothing is done per event: a visit
//! is noted where it ends, and judged when the same client comes back.
//!
//! Refuses to judge visits that the gateway ended, and those that were given nothing:
//! a quiet topic, a token that has expired, a drain, a peer that was given up.
//! Invariant: both tables are bounded, and no address (of IPv6, no /64) can push out what
//! is noted of others.

mod fair_table;

use std::{
    cmp::Reverse,
    hash::{BuildHasher as _, RandomState},
    iter,
    net::IpAddr,
    time::Duration,
};

use hookrill_core::{Clock, Cursor, Selection, Sequence, Timestamp, Topic, Topics};
use parking_lot::Mutex;

use super::{Request, Streams};
use crate::wire::Frame;
use fair_table::FairTable;

/// The most visits that are noted; some 3 MB.
const VISITS_MAX: usize = 16_384;
/// The most stuck subscribers that are listed.
const STUCK_MAX: usize = 256;
/// How often a client has to come back to the same id.
const SAME_ID_MIN: u32 = 3;
/// How often it has to leave as soon as it is given something. More often, since a
/// script may want only one event at a time.
const LEFT_EARLY_MIN: u32 = 5;
/// How soon after its first event a client leaves that fails on it.
const EARLY: Duration = Duration::from_secs(1);
/// A client that leaves early and comes back later than this has its own reasons.
const BACK_SOON: Duration = Duration::from_secs(60);
/// What is older is over.
const AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// Who opens a stream.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Its address, for the operator; `None` where the server does not know it.
    pub client: Option<IpAddr>,
    /// The address that it is counted by.
    pub network: u128,
    /// Its user agent, short and printable.
    pub user_agent: Option<Box<str>>,
}

/// How a subscriber is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StuckReason {
    /// It comes back at the same id, although it was sent what follows.
    SameId,
    /// It leaves within a second of the first event, and comes back.
    LeftEarly,
}

impl StuckReason {
    /// The reason as operators see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SameId => "same_id",
            Self::LeftEarly => "left_early",
        }
    }

    /// How many visits in a row have to fail.
    fn visits_min(self) -> u32 {
        match self {
            Self::SameId => SAME_ID_MIN,
            Self::LeftEarly => LEFT_EARLY_MIN,
        }
    }
}

/// A subscriber that is stuck.
#[derive(Debug, Clone)]
pub struct StuckSubscriber {
    /// How.
    pub reason: StuckReason,
    /// Its address.
    pub client: Option<IpAddr>,
    /// Its user agent.
    pub user_agent: Option<Box<str>>,
    /// What it listens to.
    pub topics: Topics,
    /// Where it begins each time.
    pub at: Cursor,
    /// The event that follows.
    pub next: Cursor,
    /// The topic of that.
    pub next_topic: Topic,
    /// How long its body is, in bytes.
    pub next_bytes: usize,
    /// How many visits in a row have failed.
    pub times: u32,
    /// When that was first noticed.
    pub since: Timestamp,
    /// When it came back last.
    pub last: Timestamp,
}

/// The event that a visit was given first.
#[derive(Debug, Clone)]
struct FirstEvent {
    sequence: Sequence,
    received_at: Timestamp,
    topic: Topic,
    bytes: usize,
}

/// Visits that have ended, and who is stuck.
pub(super) struct Visits {
    ended: Mutex<FairTable<EndedVisit>>,
    stuck: Mutex<FairTable<StuckSubscriber>>,
    hasher: RandomState,
    clock: Clock,
}

/// A stream that is open, for as long as it is.
#[derive(Debug)]
pub(super) struct Visit {
    key: u64,
    network: u128,
    start: Sequence,
    opened_at: Timestamp,
}

/// One that its client has ended, after it was given something.
#[derive(Debug, Clone, Copy)]
struct EndedVisit {
    start: Sequence,
    end: Sequence,
    opened_at: Timestamp,
    left_at: Timestamp,
    /// How many have failed, in a row.
    failed: u32,
    /// Whether that includes this one. It may end only after its client is back.
    is_judged: bool,
}

/// A client that comes, perhaps again.
pub(super) struct ClientArrival {
    key: u64,
    network: u128,
    now: Timestamp,
    /// Where visits before this one have failed too often.
    pub(super) stuck: Option<Box<StuckSubscriber>>,
}

impl ClientArrival {
    /// The visit that begins now, from `start` on.
    pub(super) fn visit_from(&self, start: Sequence) -> Visit {
        Visit {
            key: self.key,
            network: self.network,
            start,
            opened_at: self.now,
        }
    }
}

impl Visits {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            ended: Mutex::new(FairTable::new(VISITS_MAX)),
            stuck: Mutex::new(FairTable::new(STUCK_MAX)),
            hasher: RandomState::new(),
            clock,
        }
    }

    /// Notes that the client of `visit` has left, where it was given something: all up
    /// to `end` went out.
    pub(super) fn left(&self, visit: &Visit, end: Sequence) {
        if end <= visit.start {
            return;
        }
        let left_at = self.clock.now();
        let mut ended = self.ended.lock();
        let before = ended.get(visit.key);
        let before = before.filter(|before| left_at.since(before.left_at) <= AGE_MAX);
        let visit_ended = EndedVisit {
            start: visit.start,
            end,
            opened_at: visit.opened_at,
            left_at,
            failed: before.map_or(0, |before| before.failed),
            is_judged: false,
        };
        ended.insert(visit.key, visit.network, visit_ended);
    }

    /// Who is stuck, the newest first.
    pub(super) fn stuck(&self) -> Vec<StuckSubscriber> {
        let now = self.clock.now();
        let all = self.stuck.lock();
        let recent = all
            .values()
            .filter(|stuck| now.since(stuck.last) <= AGE_MAX);
        let mut recent: Vec<_> = recent.cloned().collect();
        drop(all);
        recent.sort_by_key(|stuck| Reverse(stuck.last));
        recent
    }

    /// A hash of who comes, and of where it begins.
    fn key(&self, visitor: &Visitor, selection: &Selection, request: &Request) -> u64 {
        let who = (visitor.network, &visitor.user_agent);
        let place = (request.start, &request.foreign_id);
        self.hasher.hash_one((who, selection, place))
    }

    /// The visit of this client that was not judged yet, if it is not long ago; it
    /// counts as judged from now on.
    fn to_judge(&self, key: u64, now: Timestamp) -> Option<EndedVisit> {
        let mut ended = self.ended.lock();
        let visit = ended.get_mut(key)?;
        let is_old = now.since(visit.left_at) > AGE_MAX;
        let was_judged = std::mem::replace(&mut visit.is_judged, true);
        (!was_judged && !is_old).then_some(*visit)
    }

    /// How many visits of this client have failed in a row, with one that has failed
    /// or not.
    fn judge(&self, key: u64, has_failed: bool) -> u32 {
        let mut ended = self.ended.lock();
        let Some(visit) = ended.get_mut(key) else {
            return 0;
        };
        visit.failed = if has_failed {
            visit.failed.saturating_add(1)
        } else {
            0
        };
        visit.failed
    }

    fn note_stuck(&self, key: u64, network: u128, stuck: &mut StuckSubscriber) {
        let mut all = self.stuck.lock();
        if let Some(before) = all.get(key) {
            stuck.since = before.since;
        }
        all.insert(key, network, stuck.clone());
    }
}

impl EndedVisit {
    /// Why it has failed, if it has, seen from the return at `now`; `first` is the first
    /// event after its start, if there is one.
    fn failure(
        &self,
        first: Option<&FirstEvent>,
        resumes: bool,
        now: Timestamp,
    ) -> Option<StuckReason> {
        let first = first.filter(|first| first.sequence <= self.end)?;
        if resumes {
            return Some(StuckReason::SameId);
        }
        let given_at = self.opened_at.max(first.received_at);
        let is_early = self.left_at.since(given_at) < EARLY;
        let is_back_soon = now.since(self.left_at) < BACK_SOON;
        (is_early && is_back_soon).then_some(StuckReason::LeftEarly)
    }
}

impl Streams {
    /// Judges the visit before this one, where this client has been here before.
    pub(super) async fn arrival(
        &self,
        visitor: &Visitor,
        selection: &Selection,
        request: &Request,
    ) -> ClientArrival {
        let visits = &self.context.visits;
        let key = visits.key(visitor, selection, request);
        let now = visits.clock.now();
        let mut arrival = ClientArrival {
            key,
            network: visitor.network,
            now,
            stuck: None,
        };
        let Some(before) = visits.to_judge(key, now) else {
            return arrival;
        };
        let first = self.first_event(selection, before.start).await;
        let failure = before.failure(first.as_ref(), request.resumes, now);
        let times = visits.judge(key, failure.is_some());
        let (Some(reason), Some(first)) = (failure, first) else {
            return arrival;
        };
        if times >= reason.visits_min() {
            self.context.telemetry.subscriber_stuck(reason.as_str());
            let mut stuck = StuckSubscriber {
                reason,
                client: visitor.client,
                user_agent: visitor.user_agent.clone(),
                topics: selection.topics.clone(),
                at: self.context.hub.cursor(before.start),
                next: self.context.hub.cursor(first.sequence),
                next_topic: first.topic,
                next_bytes: first.bytes,
                times,
                since: now,
                last: now,
            };
            visits.note_stuck(key, visitor.network, &mut stuck);
            arrival.stuck = Some(Box::new(stuck));
        }
        arrival
    }

    /// The first event of the selection after a position, as far as one page shows it:
    /// the page that the stream begins with.
    async fn first_event(&self, selection: &Selection, after: Sequence) -> Option<FirstEvent> {
        let first = |frames: &[Frame]| {
            let frame = frames.iter().find(|frame| frame.sequence() > after)?;
            let draft = &frame.event().draft;
            Some(FirstEvent {
                sequence: frame.sequence(),
                received_at: draft.received_at,
                topic: draft.topic.clone(),
                bytes: draft.body.len(),
            })
        };
        if let Some(page) = self.context.hub.ring().read(selection, after, 1) {
            return first(&page.frames);
        }
        let page = self.context.history.page(selection, after).await.ok()?;
        first(&page.frames)
    }
}

impl StuckSubscriber {
    /// Whether the operator is to be told: when it is noticed, and ever more rarely.
    #[must_use]
    pub fn is_news(&self) -> bool {
        let min = self.reason.visits_min();
        let mut told = iter::successors(Some(min), |times| times.checked_mul(10));
        told.any(|times| times == self.times)
    }

    /// What it does.
    #[must_use]
    pub fn what_it_does(&self) -> &'static str {
        match self.reason {
            StuckReason::SameId => {
                "a subscriber comes back at the same id again and again, although it was sent the \
                 next event: its client may fail on it (on its length, or on what is in it), or a \
                 proxy keeps it back"
            }
            StuckReason::LeftEarly => {
                "a subscriber leaves as soon as it is sent an event, again and again: its client \
                 may fail on it"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_secs(1_000);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_unix_ms(1_000_000 + ms)
    }

    fn first(sequence: u64, received_at: Timestamp) -> FirstEvent {
        FirstEvent {
            sequence: Sequence(sequence),
            received_at,
            topic: "a".parse().unwrap(),
            bytes: 1,
        }
    }

    #[test]
    fn a_visit_fails_only_where_it_was_given_something_and_left_for_it() {
        use StuckReason::{LeftEarly, SameId};
        let visit = |left_at| EndedVisit {
            start: Sequence(7),
            end: Sequence(9),
            opened_at: NOW,
            left_at,
            failed: 0,
            is_judged: false,
        };
        for (first, left_ms, back_ms, resumes, expected) in [
            (Some(first(8, NOW)), 5, 3_000, true, Some(SameId)),
            (
                Some(first(9, at(60_000))),
                90_000,
                95_000,
                true,
                Some(SameId),
            ),
            // It was quiet: what came since was not given.
            (None, 60_000, 63_000, true, None),
            (Some(first(10, at(61_000))), 60_000, 63_000, true, None),
            (Some(first(8, NOW)), 5, 3_000, false, Some(LeftEarly)),
            (Some(first(8, NOW)), 1_000, 3_000, false, None),
            (
                Some(first(9, at(60_000))),
                60_900,
                63_000,
                false,
                Some(LeftEarly),
            ),
            (Some(first(9, at(60_000))), 61_000, 63_000, false, None),
            // Somebody who looks now and then.
            (Some(first(8, NOW)), 5, 60_005, false, None),
        ] {
            let visit = visit(at(left_ms));
            let failure = visit.failure(first.as_ref(), resumes, at(back_ms));
            assert_eq!(failure, expected, "{first:?} {left_ms} {back_ms}");
        }
    }
}
