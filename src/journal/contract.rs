//! What every journal owes, as one suite run against each backend.
//!
//! A backend's tests call [`suite!`] with a [`Factory`], which opens a fresh
//! journal within given [`Bounds`]. The claims are in the modules below, by
//! what they are about.

pub(super) mod dedup;
pub(super) mod following;
pub(super) mod reading;
pub(super) mod retention;
pub(super) mod stats;
pub(super) mod storing;

use std::{
    collections::HashSet,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all};
use hookrill_core::{
    Clock, Dedup, Draft, Event, Original, Proof, Selection, Sequence, SteadyClock, Timestamp,
    Topics,
};

use super::{AppendError, Appended, Bounds, CommitMetrics, EventPage, Journal, Retention};

/// Opens journals for the suite. What it returns with the journal lives as
/// long as the test: a temporary folder.
pub(super) trait Factory {
    type Guard;
    fn open(
        &self,
        bounds: Bounds,
        clock: SteadyClock,
    ) -> impl Future<Output = (Arc<dyn Journal>, Self::Guard)>;
}

/// One test per claim, for one backend.
macro_rules! suite {
    ($factory:expr => $($about:ident::$claim:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                crate::journal::contract::within_a_minute(
                    crate::journal::contract::$about::$claim(&$factory),
                ).await;
            }
        )*
    };
    ($factory:expr) => {
        crate::journal::contract::suite! { $factory =>
            storing::a_new_journal_is_empty
            storing::sequences_rise_by_one_and_reads_are_in_order
            storing::concurrent_appends_get_a_place_each_and_are_followed_in_order
            storing::an_event_comes_back_as_it_was_appended
            storing::a_closed_journal_refuses_and_ends_its_followers
            storing::a_journal_that_works_never_fails
            reading::pages_are_bounded_and_miss_nothing
            reading::an_event_larger_than_a_page_is_read_alone
            reading::a_topic_includes_its_subtopics_and_nothing_else
            reading::several_topics_are_merged_in_order_without_doubles
            reading::types_are_filtered_and_counted_as_looked_at
            reading::a_rare_type_does_not_make_one_read_walk_everything
            reading::of_many_types_those_that_are_wanted_are_read
            reading::the_last_n_are_found_further_back_than_one_step_looks
            reading::the_last_n_are_counted_after_types_and_with_subtopics
            reading::what_is_read_backwards_is_what_is_read_forwards
            reading::a_time_leads_to_the_first_event_from_then_on
            reading::a_position_beyond_the_head_reads_nothing
            following::a_follower_sees_each_event_once_while_appends_race_it
            following::a_follower_that_lags_misses_nothing
            following::a_follower_from_the_middle_starts_there
            dedup::a_duplicate_within_the_window_is_not_stored_again
            dedup::duplicates_that_race_are_stored_once
            dedup::a_key_counts_within_its_topic_only
            dedup::a_key_counts_within_the_topic_that_it_names
            dedup::beyond_the_maximum_the_oldest_keys_are_forgotten
            dedup::a_key_that_was_renewed_is_as_young_as_its_renewal
            dedup::a_renewed_key_is_not_forgotten_with_its_old_entry
            dedup::a_clock_that_jumps_forgets_no_delivery
            dedup::a_section_that_sends_much_makes_no_other_forgotten
            retention::old_events_go_and_the_floor_says_so
            retention::a_clock_that_jumps_deletes_nothing_until_it_has_held
            retention::an_event_from_the_future_keeps_nothing_behind_it
            retention::beyond_the_bytes_the_oldest_events_go
            retention::dedup_outlives_the_event_it_speaks_of
            retention::when_all_is_deleted_the_head_stays
            retention::a_reader_behind_the_floor_is_told
            retention::a_follower_behind_the_floor_goes_on_after_it
            stats::a_topic_holds_what_is_here_of_it_and_below_it
            stats::pages_of_topics_list_each_once_and_in_order
            stats::topics_are_listed_under_one
            stats::what_is_deleted_is_not_held
            stats::recent_events_are_counted_by_their_arrival
            stats::where_recent_events_are_gone_the_answer_says_since_when
            stats::a_closed_journal_holds_nothing
        }
    };
}
pub(super) use suite;

/// No claim may hang: what waits for ever is a failure too.
pub(super) async fn within_a_minute(claim: impl Future<Output = ()>) {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, claim)
        .await
        .expect("took longer than a minute");
}

pub(super) const NOON: Timestamp = Timestamp::from_unix_secs(1_800_000_000);

/// Keeps everything a test appends.
pub(super) const ROOMY: Bounds = Bounds {
    retention: Retention {
        age: Duration::from_secs(7 * 86_400),
        bytes: 1 << 40,
    },
    dedup_entries_max: 1 << 20,
};

/// A clock whose hands tests move.
#[derive(Clone)]
pub(super) struct TestClock {
    at_ms: Arc<AtomicU64>,
    /// How far it is set wrong.
    off_ms: Arc<AtomicI64>,
}

impl TestClock {
    pub(super) fn at(at: Timestamp) -> Self {
        Self {
            at_ms: Arc::new(at.unix_ms().into()),
            off_ms: Arc::default(),
        }
    }

    /// Time passes.
    pub(super) fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap();
        self.at_ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.at_ms.load(Ordering::SeqCst))
    }

    /// A clock that goes as time does.
    pub(super) fn clock(&self) -> SteadyClock {
        let hands = self.clone();
        SteadyClock::silent(Clock::new(move || hands.now()))
    }

    /// It is set wrong by so much, or right.
    pub(super) fn set_off(&self, is_ahead: bool, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap();
        let ms = if is_ahead { ms } else { -ms };
        self.off_ms.store(ms, Ordering::SeqCst);
    }

    /// What it shows, right or wrong.
    pub(super) fn wall(&self) -> Timestamp {
        let (at, off) = (&self.at_ms, &self.off_ms);
        let shown = at.load(Ordering::SeqCst);
        Timestamp::from_unix_ms(shown.saturating_add_signed(off.load(Ordering::SeqCst)))
    }

    /// A clock that [`TestClock::set_off`] sets, beside one that goes as time does.
    pub(super) fn settable_clock(&self) -> SteadyClock {
        let (wall, monotonic) = (self.clone(), self.clone());
        let clock = Clock::with_monotonic(move || wall.wall(), move || monotonic.now());
        SteadyClock::silent(clock)
    }
}

pub(super) fn draft(topic: &str, body: impl Into<Bytes>) -> Draft {
    Draft {
        received_at: NOON,
        topic: topic.parse().unwrap(),
        event_type: "webhook".into(),
        content_type: None,
        dedup_id: None,
        headers: hookrill_core::HeaderList::default(),
        body: body.into(),
        original: hookrill_core::Original::default(),
        append_nonce: 0,
    }
}

pub(super) fn typed(topic: &str, event_type: &str) -> Draft {
    Draft {
        event_type: event_type.into(),
        ..draft(topic, "typed")
    }
}

pub(super) fn key(n: u8) -> Dedup {
    Dedup {
        within: None,
        section: None,
        key: [n; 32],
        window: Duration::from_secs(3600),
    }
}

fn topics(names: &[&str]) -> Selection {
    let topics = names.iter().map(|name| name.parse().unwrap()).collect();
    Selection {
        topics: Topics::these(topics),
        types: None,
    }
}

fn of_types(selection: Selection, types: &[&str]) -> Selection {
    let types = types.iter().map(|&name| name.into()).collect();
    Selection {
        types: Some(types),
        ..selection
    }
}

pub(super) async fn append(journal: &dyn Journal, draft: Draft) -> Sequence {
    let appended = journal.append(draft, None).await.unwrap();
    assert!(!appended.duplicate);
    appended.sequence
}

/// Reads pages until there are no more, checking each page's claims.
pub(super) async fn read_all(
    journal: &dyn Journal,
    selection: &Selection,
    bytes_max: usize,
) -> Vec<Arc<Event>> {
    let mut events: Vec<Arc<Event>> = Vec::new();
    let mut position = journal.floor();
    loop {
        let page = journal.read(selection, position, bytes_max).await.unwrap();
        check_page(&page, position, bytes_max);
        events.extend(page.events);
        assert!(page.scanned >= position, "a read never looks back");
        if page.scanned == position || page.scanned >= journal.head() {
            return events;
        }
        position = page.scanned;
    }
}

fn check_page(page: &EventPage, after: Sequence, bytes_max: usize) {
    let sequences = sequences(&page.events);
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    assert!(
        sequences
            .iter()
            .all(|&s| s > after.0 && s <= page.scanned.0)
    );
    let bytes: usize = page.events.iter().map(|e| e.draft.weight()).sum();
    assert!(
        bytes <= bytes_max || page.events.len() == 1,
        "{bytes} bytes"
    );
}

pub(super) fn sequences(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|event| event.sequence.0).collect()
}

async fn follow_until(journal: &dyn Journal, after: Sequence, last: u64) -> Vec<Arc<Event>> {
    let mut commits = journal.follow(after);
    let mut events = Vec::new();
    while events
        .last()
        .is_none_or(|e: &Arc<Event>| e.sequence.0 < last)
    {
        let commit = commits.next().await.expect("the journal is open").unwrap();
        assert!(!commit.is_empty());
        events.extend_from_slice(&commit);
    }
    events
}

/// Waits for what a journal's own thread does; not for ever.
pub(super) async fn until(mut claim: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !claim() {
        assert!(started.elapsed() < Duration::from_secs(30), "never came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn open<F: Factory>(factory: &F) -> (Arc<dyn Journal>, F::Guard) {
    factory.open(ROOMY, TestClock::at(NOON).clock()).await
}

mod memory {
    use super::*;
    use crate::journal::memory::Memory;
    use hookrill_core::Epoch;

    struct InMemory;

    impl Factory for InMemory {
        type Guard = ();

        async fn open(&self, bounds: Bounds, clock: SteadyClock) -> (Arc<dyn Journal>, ()) {
            let epoch = Epoch::from_entropy(*b"entropy!");
            let period = Duration::from_millis(5);
            let memory =
                Memory::with_period(epoch, bounds, clock, CommitMetrics::noop(), period).unwrap();
            (Arc::new(memory), ())
        }
    }

    suite! { InMemory }
}
