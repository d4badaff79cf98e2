//! What every journal owes, as one suite run against each backend.
//!
//! A backend's tests call [`suite!`] with a function that opens a fresh
//! journal within given [`Bounds`].

use std::{collections::HashSet, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all};

use super::{AppendError, Appended, Bounds, Journal, Measures, Page, Retention};
use crate::event::{Clock, Dedup, Draft, Event, Selection, Sequence, Timestamp, Topics};

/// Opens journals for the suite. What it returns beside the journal lives as
/// long as the test: a temporary folder.
pub(super) trait Factory {
    type Guard;
    fn open(
        &self,
        bounds: Bounds,
        clock: Clock,
    ) -> impl Future<Output = (Arc<dyn Journal>, Self::Guard)>;
}

/// One test per claim, for one backend.
macro_rules! suite {
    ($factory:expr => $($claim:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                crate::journal::contract::within_a_minute(
                    crate::journal::contract::$claim(&$factory),
                ).await;
            }
        )*
    };
    ($factory:expr) => {
        crate::journal::contract::suite! { $factory =>
            a_new_journal_is_empty
            sequences_rise_by_one_and_reads_are_in_order
            concurrent_appends_get_a_place_each_and_are_followed_in_order
            an_event_comes_back_as_it_was_appended
            pages_are_bounded_and_miss_nothing
            an_event_larger_than_a_page_is_read_alone
            a_topic_includes_its_subtopics_and_nothing_else
            several_topics_are_merged_in_order_without_doubles
            types_are_filtered_and_counted_as_looked_at
            a_rare_type_does_not_make_one_read_walk_everything
            the_last_n_are_counted_after_types_and_with_subtopics
            a_follower_sees_each_event_once_while_appends_race_it
            a_follower_that_lags_misses_nothing
            a_follower_from_the_middle_starts_there
            a_position_beyond_the_head_reads_nothing
            a_duplicate_within_the_window_is_not_stored_again
            duplicates_that_race_are_stored_once
            a_key_counts_within_its_topic_only
            beyond_the_maximum_the_oldest_keys_are_forgotten
            a_key_that_was_renewed_is_as_young_as_its_renewal
            old_events_go_and_the_floor_says_so
            beyond_the_bytes_the_oldest_events_go
            dedup_outlives_the_event_it_speaks_of
            when_all_is_deleted_the_head_stays
            a_reader_behind_the_floor_is_told
            a_follower_behind_the_floor_goes_on_after_it
            a_closed_journal_refuses_and_ends_its_followers
            a_journal_that_works_never_fails
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

/// A clock that tests set.
#[derive(Clone)]
pub(super) struct Hands(Arc<std::sync::atomic::AtomicU64>);

impl Hands {
    pub(super) fn at(at: Timestamp) -> Self {
        Self(Arc::new(at.unix_ms().into()))
    }

    pub(super) fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap();
        self.0.fetch_add(ms, std::sync::atomic::Ordering::SeqCst);
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }

    pub(super) fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::new(move || hands.now())
    }
}

pub(super) fn draft(topic: &str, body: impl Into<Bytes>) -> Draft {
    Draft {
        received_at: NOON,
        topic: topic.parse().unwrap(),
        event_type: "webhook".into(),
        content_type: None,
        dedup_id: None,
        headers: Vec::new(),
        body: body.into(),
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

fn check_page(page: &Page, after: Sequence, bytes_max: usize) {
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

/// Waits for what a journal's own thread does.
pub(super) async fn until(mut claim: impl FnMut() -> bool) {
    while !claim() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn open<F: Factory>(factory: &F) -> (Arc<dyn Journal>, F::Guard) {
    factory.open(ROOMY, Hands::at(NOON).clock()).await
}

// The claims.

pub(super) async fn a_new_journal_is_empty(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    assert_eq!(
        (journal.head(), journal.floor()),
        (Sequence::ZERO, Sequence::ZERO)
    );
    assert!(
        read_all(&*journal, &Selection::all(), 1000)
            .await
            .is_empty()
    );
    let last = journal.before_last(&Selection::all(), 5).await.unwrap();
    assert_eq!(last, Sequence::ZERO);
}

pub(super) async fn sequences_rise_by_one_and_reads_are_in_order(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    for n in 1..=20 {
        assert_eq!(append(&*journal, draft("a", "x")).await, Sequence(n));
        assert_eq!(journal.head(), Sequence(n));
    }
    let events = read_all(&*journal, &Selection::all(), 1 << 20).await;
    assert_eq!(sequences(&events), (1..=20).collect::<Vec<_>>());
}

pub(super) async fn concurrent_appends_get_a_place_each_and_are_followed_in_order(
    factory: &impl Factory,
) {
    const EVENTS: u64 = 2000;
    let (journal, _guard) = open(factory).await;
    let appends = join_all((0..EVENTS).map(|n| {
        let journal = Arc::clone(&journal);
        async move { append(&*journal, draft("a", n.to_string())).await }
    }));
    let (places, followed) = tokio::join!(appends, follow_until(&*journal, Sequence::ZERO, EVENTS));
    let distinct: HashSet<_> = places.iter().map(|s| s.0).collect();
    assert_eq!(distinct, (1..=EVENTS).collect());
    assert_eq!(sequences(&followed), (1..=EVENTS).collect::<Vec<_>>());
    for (n, place) in places.iter().enumerate() {
        let event = &followed[place.0 as usize - 1];
        assert_eq!(event.draft.body, n.to_string().into_bytes(), "at {place}");
    }
}

pub(super) async fn an_event_comes_back_as_it_was_appended(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    let whole = Draft {
        content_type: Some("text/plain".into()),
        dedup_id: Some("d-1".into()),
        headers: vec![("x-a".into(), "b".into())],
        ..typed("orders.eu", "any \0\n characters")
    };
    append(&*journal, whole.clone()).await;
    let page = journal
        .read(&topics(&["orders"]), Sequence::ZERO, 1000)
        .await
        .unwrap();
    assert_eq!(*page.events[0], whole.clone().at(Sequence(1)));
    let followed = follow_until(&*journal, Sequence::ZERO, 1).await;
    assert_eq!(*followed[0], whole.at(Sequence(1)));
}

pub(super) async fn pages_are_bounded_and_miss_nothing(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    for n in 0..100 {
        append(&*journal, draft("a", vec![b'x'; n * 7])).await;
    }
    for bytes_max in [0, 1, 700, 1500, 1 << 20] {
        for selection in [Selection::all(), topics(&["a"])] {
            let events = read_all(&*journal, &selection, bytes_max).await;
            assert_eq!(sequences(&events), (1..=100).collect::<Vec<_>>());
        }
    }
    let page = journal
        .read(&Selection::all(), Sequence(40), 2000)
        .await
        .unwrap();
    assert!((2..10).contains(&page.events.len()), "a page is filled");
}

pub(super) async fn an_event_larger_than_a_page_is_read_alone(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    for len in [1, 3_000_000, 1] {
        append(&*journal, draft("a", vec![0; len])).await;
    }
    let page = journal
        .read(&Selection::all(), Sequence(1), 1000)
        .await
        .unwrap();
    assert_eq!(
        (sequences(&page.events), page.scanned),
        (vec![2], Sequence(2))
    );
}

pub(super) async fn a_topic_includes_its_subtopics_and_nothing_else(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    for name in ["a", "a.b", "a.b.c", "ab", "a-b", "b.a", "b"] {
        append(&*journal, draft(name, name.to_owned())).await;
    }
    for (name, expected) in [
        ("a", vec![1, 2, 3]),
        ("a.b", vec![2, 3]),
        ("a.b.c", vec![3]),
        ("ab", vec![4]),
        ("b", vec![6, 7]),
        ("c", vec![]),
    ] {
        let events = read_all(&*journal, &topics(&[name]), 1 << 20).await;
        assert_eq!(sequences(&events), expected, "{name}");
    }
}

pub(super) async fn several_topics_are_merged_in_order_without_doubles(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    for n in 0..90 {
        append(&*journal, draft(["a", "b.x", "c"][n % 3], "x")).await;
    }
    // Built by hand: even topics that cover each other give no doubles.
    let covering = Selection {
        topics: Topics::These(["b", "a", "b.x"].map(|name| name.parse().unwrap()).into()),
        types: None,
    };
    let expected: Vec<u64> = (1..=90).filter(|n| n % 3 != 0).collect();
    for selection in [topics(&["b", "a"]), covering] {
        for bytes_max in [400, 1 << 20] {
            let events = read_all(&*journal, &selection, bytes_max).await;
            assert_eq!(sequences(&events), expected);
        }
    }
}

pub(super) async fn types_are_filtered_and_counted_as_looked_at(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    for n in 0..30 {
        append(&*journal, typed("a", ["push", "issues", "star"][n % 3])).await;
    }
    for topics in [Selection::all(), topics(&["a"])] {
        let selection = of_types(topics, &["issues", "star", "absent"]);
        let events = read_all(&*journal, &selection, 500).await;
        let expected: Vec<u64> = (1..=30).filter(|n| n % 3 != 1).collect();
        assert_eq!(sequences(&events), expected);
        let page = journal.read(&selection, Sequence(30), 500).await.unwrap();
        assert_eq!((page.events.len(), page.scanned), (0, Sequence(30)));
    }
    let none = of_types(Selection::all(), &[]);
    let page = journal.read(&none, Sequence::ZERO, 500).await.unwrap();
    assert_eq!((page.events.len(), page.scanned), (0, Sequence(30)));
}

pub(super) async fn a_rare_type_does_not_make_one_read_walk_everything(factory: &impl Factory) {
    const EVENTS: usize = super::PAGE_ENTRIES_MAX + 100;
    let (journal, _guard) = open(factory).await;
    join_all((0..EVENTS).map(|_| journal.append(draft("a", ""), None))).await;
    append(&*journal, typed("a", "rare")).await;
    for topics in [Selection::all(), topics(&["a"]), topics(&["a", "b"])] {
        let selection = of_types(topics, &["rare"]);
        let page = journal
            .read(&selection, Sequence::ZERO, 1000)
            .await
            .unwrap();
        assert_eq!(page.events.len(), 0);
        assert_eq!(page.scanned, Sequence(super::PAGE_ENTRIES_MAX as u64));
        let page = journal.read(&selection, page.scanned, 1000).await.unwrap();
        assert_eq!(sequences(&page.events), [EVENTS as u64 + 1]);
    }
}

pub(super) async fn the_last_n_are_counted_after_types_and_with_subtopics(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    for n in 0..12 {
        let name = ["a", "a.b", "c"][n % 3];
        append(&*journal, typed(name, ["x", "y"][n % 2])).await;
    }
    // a: 1 4 7 10, a.b: 2 5 8 11, c: 3 6 9 12; x is odd, y even.
    for (selection, count, expected) in [
        (Selection::all(), 0, 12),
        (Selection::all(), 1, 11),
        (Selection::all(), 5, 7),
        (Selection::all(), 1000, 0),
        (topics(&["a"]), 3, 7),
        (topics(&["a", "c"]), 3, 9),
        (of_types(topics(&["a"]), &["x"]), 2, 6),
        (of_types(Selection::all(), &["y"]), 2, 9),
        (of_types(topics(&["a"]), &["x"]), 1000, 0),
        (of_types(topics(&["c"]), &["y"]), 1000, 5),
        (topics(&["absent"]), 3, 12),
    ] {
        let position = journal.before_last(&selection, count).await.unwrap();
        assert_eq!(
            position,
            Sequence(expected),
            "last {count} of {selection:?}"
        );
    }
}

pub(super) async fn a_follower_sees_each_event_once_while_appends_race_it(factory: &impl Factory) {
    const ROUNDS: u64 = 40;
    let (journal, _guard) = open(factory).await;
    let append_rounds = async {
        for _ in 0..ROUNDS {
            join_all((0..25).map(|_| journal.append(draft("a", "x"), None))).await;
        }
    };
    let expected: Vec<u64> = (1..=ROUNDS * 25).collect();
    // Each begins later than the one before, in the thick of it.
    let followers = join_all((0..8u64).map(|n| {
        let journal = Arc::clone(&journal);
        async move {
            until(|| journal.head().0 >= n * 100).await;
            follow_until(&*journal, Sequence::ZERO, ROUNDS * 25).await
        }
    }));
    let (_, followed) = tokio::join!(append_rounds, followers);
    for events in followed {
        assert_eq!(sequences(&events), expected);
    }
}

pub(super) async fn a_follower_that_lags_misses_nothing(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    append(&*journal, draft("a", "first")).await;
    let mut commits = journal.follow(Sequence::ZERO);
    let first = commits.next().await.unwrap().unwrap();
    assert_eq!(sequences(&first), [1]);
    // Far more commits than wait for anybody, while nobody takes them.
    for _ in 0..200 {
        append(&*journal, draft("a", "x")).await;
    }
    let mut seen = Vec::new();
    while seen.len() < 200 {
        seen.extend(sequences(&commits.next().await.unwrap().unwrap()));
    }
    assert_eq!(seen, (2..=201).collect::<Vec<_>>());
    // And is live again.
    let next = append(&*journal, draft("a", "x")).await;
    assert_eq!(sequences(&commits.next().await.unwrap().unwrap()), [next.0]);
}

pub(super) async fn a_follower_from_the_middle_starts_there(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    for _ in 0..10 {
        append(&*journal, draft("a", "x")).await;
    }
    let events = follow_until(&*journal, Sequence(7), 10).await;
    assert_eq!(sequences(&events), [8, 9, 10]);
    let mut commits = journal.follow(journal.head());
    append(&*journal, draft("a", "x")).await;
    assert_eq!(sequences(&commits.next().await.unwrap().unwrap()), [11]);
}

pub(super) async fn a_position_beyond_the_head_reads_nothing(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    append(&*journal, draft("a", "x")).await;
    for selection in [Selection::all(), topics(&["a"])] {
        for beyond in [1, 2, 1 << 40, u64::MAX] {
            let page = journal
                .read(&selection, Sequence(beyond), 1000)
                .await
                .unwrap();
            assert_eq!((page.events.len(), page.scanned), (0, Sequence(beyond)));
        }
    }
}

pub(super) async fn a_duplicate_within_the_window_is_not_stored_again(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    let (mut at, mut expected) = (NOON, Vec::new());
    // The window counts from the first one's arrival, not from the last.
    for (later_secs, duplicate) in [
        (0, false),
        (1800, true),
        (1799, true),
        (1, false),
        (1, true),
    ] {
        at = at.plus(Duration::from_secs(later_secs));
        let again = Draft {
            received_at: at,
            ..draft("a", "x")
        };
        let appended = journal.append(again, Some(key(1))).await.unwrap();
        assert_eq!(appended.duplicate, duplicate);
        expected.push(appended.sequence.0);
    }
    assert_eq!(expected, [1, 1, 1, 2, 2]);
    assert_eq!(journal.head(), Sequence(2));
}

pub(super) async fn duplicates_that_race_are_stored_once(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    let appends = (0..400).map(|n: u32| journal.append(draft("a", "x"), Some(key((n % 4) as u8))));
    let appended = join_all(appends).await;
    let mut first = [None; 4];
    for (n, appended) in appended.into_iter().enumerate() {
        let Appended {
            sequence,
            duplicate,
        } = appended.unwrap();
        let first = &mut first[n % 4];
        assert_eq!(duplicate, first.is_some(), "append {n}");
        assert_eq!(*first.get_or_insert(sequence), sequence);
    }
    assert_eq!(journal.head(), Sequence(4));
    assert_eq!(
        read_all(&*journal, &Selection::all(), 1 << 20).await.len(),
        4
    );
}

pub(super) async fn a_key_counts_within_its_topic_only(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    for (name, duplicate) in [("a", false), ("a.b", false), ("b", false), ("a", true)] {
        let appended = journal
            .append(draft(name, "x"), Some(key(1)))
            .await
            .unwrap();
        assert_eq!(appended.duplicate, duplicate, "{name}");
    }
    let without = journal.append(draft("a", "x"), None).await.unwrap();
    assert!(!without.duplicate, "without a key nothing is a duplicate");
}

pub(super) async fn beyond_the_maximum_the_oldest_keys_are_forgotten(factory: &impl Factory) {
    let bounds = Bounds {
        dedup_entries_max: 3,
        ..ROOMY
    };
    let (journal, _guard) = factory.open(bounds, Hands::at(NOON).clock()).await;
    for n in 1..=5 {
        journal.append(draft("a", "x"), Some(key(n))).await.unwrap();
    }
    for (n, duplicate) in [
        (3, true),
        (4, true),
        (5, true),
        (1, false),
        (3, false),
        (5, true),
    ] {
        let appended = journal.append(draft("a", "x"), Some(key(n))).await.unwrap();
        assert_eq!(appended.duplicate, duplicate, "key {n}");
    }
}

pub(super) async fn a_key_that_was_renewed_is_as_young_as_its_renewal(factory: &impl Factory) {
    let bounds = Bounds {
        dedup_entries_max: 2,
        ..ROOMY
    };
    let (journal, _guard) = factory.open(bounds, Hands::at(NOON).clock()).await;
    let later = Draft {
        received_at: NOON.plus(key(1).window),
        ..draft("a", "x")
    };
    // Key 1 expires and comes anew; then key 2 is the oldest, and goes for 3.
    for (draft, n, duplicate) in [
        (draft("a", "x"), 1, false),
        (draft("a", "x"), 2, false),
        (later.clone(), 1, false),
        (draft("a", "x"), 3, false),
        (later.clone(), 1, true),
        (draft("a", "x"), 3, true),
        (draft("a", "x"), 2, false),
    ] {
        let appended = journal.append(draft, Some(key(n))).await.unwrap();
        assert_eq!(appended.duplicate, duplicate, "key {n}");
    }
}

pub(super) async fn old_events_go_and_the_floor_says_so(factory: &impl Factory) {
    let hands = Hands::at(NOON);
    let (journal, _guard) = factory.open(ROOMY, hands.clock()).await;
    for n in 0..10 {
        let day = Duration::from_secs(n * 86_400);
        let arrived = Draft {
            received_at: NOON.plus(day),
            ..draft("a.b", "x")
        };
        append(&*journal, arrived).await;
    }
    // Seven days are kept: at the end of day 9, what came before day 2 goes.
    hands.advance(Duration::from_secs(9 * 86_400));
    until(|| journal.floor() >= Sequence(2)).await;
    for selection in [Selection::all(), topics(&["a"]), topics(&["a.b"])] {
        let events = read_all(&*journal, &selection, 300).await;
        assert_eq!(sequences(&events), (3..=10).collect::<Vec<_>>());
        let last = journal.before_last(&selection, 1000).await.unwrap();
        assert_eq!(last, Sequence(2), "the oldest that is still here");
    }
    assert_eq!(
        (journal.floor(), journal.head()),
        (Sequence(2), Sequence(10))
    );
}

pub(super) async fn beyond_the_bytes_the_oldest_events_go(factory: &impl Factory) {
    let bounds = Bounds {
        retention: Retention {
            bytes: 200_000,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    let (journal, _guard) = factory.open(bounds, Hands::at(NOON).clock()).await;
    for _ in 0..1000 {
        append(&*journal, draft("a", vec![b'x'; 1000])).await;
        assert!(journal.floor() <= journal.head());
    }
    until(|| journal.floor() >= Sequence(800)).await;
    let events = read_all(&*journal, &topics(&["a"]), 1 << 20).await;
    assert!(
        (150..=200).contains(&events.len()),
        "{} are left",
        events.len()
    );
    assert_eq!(events.last().unwrap().sequence, Sequence(1000));
    assert_eq!(events[0].sequence, journal.floor().next());
}

pub(super) async fn dedup_outlives_the_event_it_speaks_of(factory: &impl Factory) {
    let bounds = Bounds {
        retention: Retention {
            bytes: 1000,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    let (journal, _guard) = factory.open(bounds, Hands::at(NOON).clock()).await;
    journal.append(draft("a", "x"), Some(key(1))).await.unwrap();
    append(&*journal, draft("a", vec![0; 1000])).await;
    until(|| journal.floor() >= Sequence(1)).await;
    let again = journal.append(draft("a", "x"), Some(key(1))).await.unwrap();
    assert_eq!((again.sequence, again.duplicate), (Sequence(1), true));
}

pub(super) async fn when_all_is_deleted_the_head_stays(factory: &impl Factory) {
    let hands = Hands::at(NOON);
    let (journal, _guard) = factory.open(ROOMY, hands.clock()).await;
    for _ in 0..700 {
        append(&*journal, draft("a", "x")).await;
    }
    hands.advance(ROOMY.retention.age + Duration::from_secs(1));
    until(|| journal.floor() == Sequence(700)).await;
    assert_eq!(journal.head(), Sequence(700));
    for selection in [Selection::all(), topics(&["a"])] {
        let page = journal
            .read(&selection, Sequence::ZERO, 1000)
            .await
            .unwrap();
        assert_eq!((page.events.len(), page.scanned), (0, Sequence(700)));
        assert_eq!(
            journal.before_last(&selection, 3).await.unwrap(),
            Sequence(700)
        );
    }
    let fresh = Draft {
        received_at: hands.now(),
        ..draft("a", "x")
    };
    assert_eq!(append(&*journal, fresh).await, Sequence(701));
    assert_eq!(read_all(&*journal, &topics(&["a"]), 1000).await.len(), 1);
}

pub(super) async fn a_reader_behind_the_floor_is_told(factory: &impl Factory) {
    let bounds = Bounds {
        retention: Retention {
            bytes: 20_000,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    let (journal, _guard) = factory.open(bounds, Hands::at(NOON).clock()).await;
    let writes = async {
        for _ in 0..2000 {
            append(&*journal, draft("a", vec![0; 500])).await;
        }
    };
    // What is missing from a page is never above the page's floor.
    let reads = async {
        let mut position = Sequence::ZERO;
        while position < Sequence(2000) {
            let page = journal.read(&topics(&["a"]), position, 3000).await.unwrap();
            check_page(&page, position, 3000);
            let mut expected = page.floor.max(position).next();
            for event in page.events.iter().filter(|e| e.sequence > page.floor) {
                assert_eq!(event.sequence, expected);
                expected = expected.next();
            }
            assert!(
                page.scanned < expected,
                "scanned {}, floor {}",
                page.scanned,
                page.floor
            );
            position = page.scanned;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(writes, reads);
}

pub(super) async fn a_follower_behind_the_floor_goes_on_after_it(factory: &impl Factory) {
    let hands = Hands::at(NOON);
    let (journal, _guard) = factory.open(ROOMY, hands.clock()).await;
    for _ in 0..50 {
        append(&*journal, draft("a", "x")).await;
    }
    let mut commits = journal.follow(Sequence(10));
    hands.advance(ROOMY.retention.age + Duration::from_secs(1));
    until(|| journal.floor() == Sequence(50)).await;
    let fresh = Draft {
        received_at: hands.now(),
        ..draft("a", "x")
    };
    append(&*journal, fresh).await;
    assert_eq!(sequences(&commits.next().await.unwrap().unwrap()), [51]);
}

pub(super) async fn a_closed_journal_refuses_and_ends_its_followers(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    append(&*journal, draft("a", "x")).await;
    let commits = journal.follow(Sequence(1));
    tokio::join!(journal.close(), journal.close());
    journal.close().await;
    let refused = journal.append(draft("a", "x"), None).await;
    assert_eq!(refused, Err(AppendError::Closed));
    assert!(
        journal
            .read(&Selection::all(), Sequence::ZERO, 9)
            .await
            .is_err()
    );
    assert_eq!(commits.count().await, 0);
    assert_eq!(journal.follow(Sequence::ZERO).count().await, 0);
    assert_eq!(journal.head(), Sequence(1));
}

pub(super) async fn a_journal_that_works_never_fails(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    append(&*journal, draft("a", "x")).await;
    let failed = tokio::time::timeout(Duration::from_millis(20), journal.failed()).await;
    assert!(failed.is_err(), "{failed:?}");
}

mod memory {
    use super::*;
    use crate::{event::Epoch, journal::memory::Memory};

    struct InMemory;

    impl Factory for InMemory {
        type Guard = ();

        async fn open(&self, bounds: Bounds, clock: Clock) -> (Arc<dyn Journal>, ()) {
            let epoch = Epoch::from_entropy(*b"entropy!");
            let tick = Duration::from_millis(5);
            let memory = Memory::ticking(epoch, bounds, clock, Measures::noop(), tick).unwrap();
            (Arc::new(memory), ())
        }
    }

    suite! { InMemory }
}
