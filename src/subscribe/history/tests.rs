//! Sharing, bounds and completeness, over the journal in memory.

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::{FutureExt as _, future::join_all};
use hookrill_core::{Clock, Draft, Epoch, Event, SteadyClock, Timestamp, TopicMap, Topics};
use proptest::prelude::*;
use tokio_util::task::TaskTracker;

use super::*;
use crate::{
    journal::{AppendError, Appended, Backend, Commit, CommitMetrics, Health, Retention},
    wire::{Form, View},
};

mod types;
mod watched;

use watched::Watched;

struct Fixture {
    journal: Arc<Watched>,
    history: History,
    telemetry: Arc<Telemetry>,
}

const DEFAULT: Settings = Settings {
    cache_bytes_max: 64 << 20,
    page_bytes_max: 64 << 10,
    reads_max: 32,
    searches_max: 2,
};

/// A journal with its history; reads pass the gate.
async fn fixture() -> Fixture {
    let fixture = fixture_with(DEFAULT, 1 << 30).await;
    fixture.journal.open_gate();
    fixture
}

/// A fixture whose gate is shut.
async fn fixture_with(settings: Settings, retain_bytes: u64) -> Fixture {
    let retention = Retention {
        age: Duration::from_secs(3600),
        bytes: retain_bytes,
    };
    let kept = journal::Settings {
        backend: Backend::Memory,
        retention,
        dedup_entries_max: 10,
    };
    let clock = Clock::fixed(Timestamp::from_unix_secs(1_000));
    let inner = journal::open(kept, SteadyClock::silent(clock), CommitMetrics::noop())
        .await
        .unwrap();
    let encoder = encoder(inner.epoch(), false);
    let journal = Arc::new(Watched {
        journal: inner,
        reads: AtomicUsize::new(0),
        events_read: AtomicUsize::new(0),
        under_way: AtomicUsize::new(0),
        under_way_most: AtomicUsize::new(0),
        fails: AtomicBool::new(false),
        gate: Semaphore::new(0),
    });
    let telemetry = Telemetry::new().unwrap();
    let watched = Arc::clone(&journal) as Arc<dyn Journal>;
    let hub = Hub::new(Sequence(0), 0, encoder);
    Fixture {
        history: History::new(watched, hub, settings, Arc::clone(&telemetry)),
        journal,
        telemetry,
    }
}

fn encoder(epoch: Epoch, event_names: bool) -> Encoder {
    let view = View {
        event_names,
        ..View::default()
    };
    Encoder {
        epoch,
        public_url: "".into(),
        views: TopicMap::new([].into(), Some(Arc::new(view))),
    }
}

impl Fixture {
    async fn store(&self, topic: &str, bytes: usize) -> Sequence {
        self.store_typed(topic, "t", bytes).await
    }

    async fn store_typed(&self, topic: &str, event_type: &str, bytes: usize) -> Sequence {
        let draft = Draft {
            received_at: Timestamp::from_unix_secs(1_000),
            topic: topic.parse().unwrap(),
            event_type: event_type.into(),
            content_type: None,
            dedup_id: None,
            headers: hookrill_core::HeaderList::default(),
            body: vec![b'x'; bytes].into(),
            original: hookrill_core::Original::default(),
            append_nonce: 0,
        };
        self.journal.append(draft, None).await.unwrap().sequence
    }

    async fn store_many(&self, topic: &str, bytes: usize, count: usize) {
        for _ in 0..count {
            self.store(topic, bytes).await;
        }
    }

    /// The sequences that a reader is given from `after` up to `head`, and
    /// the gaps it is told of; on the way it leaves pages to others.
    async fn walk(&self, selection: &Selection, after: Sequence, head: Sequence) -> Walked {
        let mut walked = Walked::default();
        let mut at = after;
        while at < head {
            let page = self.history.page(selection, at).await.unwrap();
            if page.floor > at {
                walked.gaps.push((at.0, page.floor.0));
                at = page.floor;
                continue;
            }
            assert!(page.after <= at && page.scanned > at, "{page:?} for {at}");
            let new = page.frames.iter().filter(|f| f.sequence() > at);
            walked.events.extend(new.map(|frame| frame.sequence().0));
            assert!(walked.events.last().is_none_or(|&e| e <= page.scanned.0));
            at = page.scanned;
        }
        walked.end = at;
        walked
    }

    /// What the journal itself has for such a reader.
    async fn truth(&self, selection: &Selection, after: Sequence, upto: Sequence) -> Vec<u64> {
        let mut events: Vec<Arc<Event>> = Vec::new();
        let mut at = after;
        while at < upto {
            let read = self.journal.journal.read(selection, at, usize::MAX);
            let page = read.await.unwrap();
            events.extend(page.events);
            at = page.scanned;
        }
        let sequences = events.iter().map(|event| event.sequence.0);
        sequences.take_while(|&s| s <= upto.0).collect()
    }

    fn stats(&self) -> [usize; 4] {
        self.history.cache.lock().stats()
    }

    fn reads_left(&self) -> usize {
        self.stats()[3]
    }
}

#[derive(Debug, Default)]
struct Walked {
    events: Vec<u64>,
    gaps: Vec<(u64, u64)>,
    end: Sequence,
}

fn topics(names: &[&str]) -> Selection {
    let topics = match names {
        ["*"] => Topics::All,
        named => Topics::these(named.iter().map(|name| name.parse().unwrap()).collect()),
    };
    Selection {
        topics,
        types: None,
    }
}

#[tokio::test]
async fn ten_thousand_readers_cause_as_many_reads_as_there_are_pages() {
    let fixture = fixture().await;
    fixture.store_many("a.b", 100, 3_000).await;
    let a = topics(&["a"]);
    let readers = (0..10_000).map(|_| fixture.walk(&a, Sequence::ZERO, Sequence(3_000)));
    let expected: Vec<u64> = (1..=3_000).collect();
    for walked in join_all(readers).await {
        assert_eq!(walked.events, expected);
    }
    let [_, _, pages, reads_left] = fixture.stats();
    assert_eq!((fixture.journal.reads(), reads_left), (pages, 0));
    let weight: usize = 3_000 * (128 + 3 + 1 + 100);
    let fewest = weight.div_ceil(DEFAULT.page_bytes_max);
    assert!((fewest..fewest + 3).contains(&pages), "{pages} pages");
    let text = fixture.telemetry.render();
    let shared = 10_000 * pages - pages;
    assert!(text.contains(&format!("hookrill_history_pages_read_total {pages}\n")));
    assert!(text.contains(&format!("hookrill_history_pages_shared_total {shared}\n")));
}

#[tokio::test]
async fn readers_at_nearby_cursors_share() {
    let fixture = fixture().await;
    fixture.store_many("a", 100, 3_000).await;
    let all = topics(&["*"]);
    let cursors: Vec<u64> = (0..200).map(|n| 1_000 + n).collect();
    let readers = cursors
        .iter()
        .map(|&at| fixture.walk(&all, Sequence(at), Sequence(3_000)));
    for (walked, at) in join_all(readers).await.iter().zip(&cursors) {
        let expected: Vec<u64> = (at + 1..=3_000).collect();
        assert_eq!(walked.events, expected);
    }
    // Those who come while a page is being read wait and see.
    let fewest = (2_000 * 229_usize).div_ceil(DEFAULT.page_bytes_max);
    let reads = fixture.journal.reads();
    assert!(reads <= fewest + 1, "{reads} reads");
    // One after the other and from the back, so that none finds what it needs
    // but those of its own block: a read for each block, and the rest once.
    let again = fixture_with(DEFAULT, 1 << 30).await;
    again.journal.open_gate();
    again.store_many("a", 100, 3_000).await;
    for &at in cursors.iter().rev() {
        again.walk(&all, Sequence(at), Sequence(3_000)).await;
    }
    let blocks = (1_000..1_200).filter(|at| at % 16 == 0).count() + 1;
    let in_all = again.journal.reads();
    assert!(in_all <= blocks + fewest + 1, "{in_all} reads");
}

#[tokio::test]
async fn a_reader_that_goes_on_is_given_nothing_twice() {
    let fixture = fixture().await;
    fixture.store_many("a", 100, 3_000).await;
    let a = topics(&["a"]);
    let mut at = Sequence(100);
    while at < Sequence(3_000) {
        let page = fixture.history.page(&a, at).await.unwrap();
        let begins = block_of(at);
        assert_eq!(page.after, begins);
        assert!(page.after == at || at == Sequence(100), "{at}");
        let end = page.frames.last().map(Frame::sequence);
        assert_eq!(end, Some(page.scanned));
        at = page.scanned;
    }
}

#[tokio::test]
async fn readers_from_everywhere_at_once_do_not_each_read_their_own() {
    let fixture = fixture().await;
    fixture.store_many("a", 100, 6_000).await;
    let all = topics(&["*"]);
    let mut cursors: Vec<u64> = (0..1_000).map(|n| n * 6).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut cursors);
    let readers = cursors
        .iter()
        .map(|&at| fixture.walk(&all, Sequence(at), Sequence(6_000)));
    for (walked, at) in join_all(readers).await.iter().zip(&cursors) {
        let expected: Vec<u64> = (at + 1..=6_000).collect();
        assert_eq!(walked.events, expected);
    }
    let fewest = (6_000 * 229_usize).div_ceil(DEFAULT.page_bytes_max);
    let reads = fixture.journal.reads();
    assert!(reads <= 4 * fewest, "{reads} reads for {fewest} pages");
    println!("1,000 readers from everywhere: {reads} reads for {fewest} pages");
}

#[tokio::test]
async fn all_that_ask_at_the_same_time_wait_for_one_read() {
    let fixture = fixture_with(DEFAULT, 1 << 30).await;
    fixture.store_many("a", 10, 100).await;
    let a = topics(&["a"]);
    let mut waiters: Vec<_> = (0..16)
        .map(|n| Box::pin(fixture.history.page(&a, Sequence(48 + n))))
        .collect();
    for waiter in &mut waiters {
        assert!(waiter.now_or_never().is_none());
    }
    assert_eq!((fixture.journal.reads(), fixture.reads_left()), (1, 1));
    fixture.journal.gate.add_permits(1);
    let pages = join_all(waiters).await;
    let first = pages[0].as_ref().unwrap();
    for page in &pages {
        assert!(Arc::ptr_eq(page.as_ref().unwrap(), first));
    }
    assert_eq!((fixture.journal.reads(), fixture.reads_left()), (1, 0));
}

#[tokio::test]
async fn a_reader_that_is_cancelled_strands_nobody() {
    let fixture = fixture_with(DEFAULT, 1 << 30).await;
    fixture.store_many("a", 10, 100).await;
    let a = topics(&["a"]);
    let mut reading = Box::pin(fixture.history.page(&a, Sequence::ZERO));
    let mut waiting = pin!(fixture.history.page(&a, Sequence(3)));
    assert!((&mut reading).now_or_never().is_none());
    assert!((&mut waiting).now_or_never().is_none());
    drop(reading);
    fixture.journal.gate.add_permits(1);
    assert_eq!(waiting.await.unwrap().frames.len(), 100);
    // And whoever gives up alone leaves nothing behind.
    let b = topics(&["b", "c.d"]);
    let mut alone = Box::pin(fixture.history.page(&b, Sequence::ZERO));
    assert!((&mut alone).now_or_never().is_none());
    assert_eq!(fixture.reads_left(), 1);
    drop(alone);
    let [_, named, _, reads_left] = fixture.stats();
    assert_eq!((named, reads_left), (1, 0));
}

#[tokio::test]
async fn an_error_goes_to_the_asker_and_the_next_one_tries_again() {
    let fixture = fixture_with(DEFAULT, 1 << 30).await;
    fixture.store_many("a", 10, 20).await;
    let a = topics(&["a"]);
    let mut first = pin!(fixture.history.page(&a, Sequence::ZERO));
    let mut second = pin!(fixture.history.page(&a, Sequence::ZERO));
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    fixture.journal.fails.store(true, Ordering::SeqCst);
    fixture.journal.open_gate();
    let (first, second) = tokio::join!(first, second);
    assert!(matches!(first, Err(ReadError::Io(_))));
    assert_eq!(second.unwrap().frames.len(), 20);
    assert_eq!((fixture.journal.reads(), fixture.reads_left()), (2, 0));
}

#[tokio::test]
async fn topics_never_see_each_others_events() {
    let fixture = fixture().await;
    let stored = [
        "a", "a.b", "a.b.c", "b", "b.c", "c", "ab", "a-b", "a:b", "_",
    ];
    for n in 0..200 {
        fixture.store(stored[n % stored.len()], 10).await;
    }
    let asked: &[&[&str]] = &[
        &["a", "b.c"],
        &["a.b", "c"],
        &["a.b.c"],
        &["a.b", "b.c"],
        &["a", "b", "c"],
        &["ab", "c"],
        &["a-b"],
        &["a:b"],
        &["_"],
        &["*"],
        &["a"],
        &["none"],
    ];
    // Twice, so that the second time all is found and nothing is read.
    for round in 0..2 {
        for names in asked {
            let topics = topics(names);
            let walked = fixture.walk(&topics, Sequence::ZERO, Sequence(200)).await;
            let truth = fixture.truth(&topics, Sequence::ZERO, Sequence(200)).await;
            assert_eq!(walked.events, truth, "{names:?} in round {round}");
        }
        assert_eq!(fixture.journal.reads(), asked.len());
    }
    let none = fixture
        .history
        .page(&topics(&["none"]), Sequence::ZERO)
        .await;
    assert!(none.unwrap().frames.is_empty());
}

#[tokio::test]
async fn no_more_pages_are_read_at_a_time_than_the_budget_has() {
    let settings = Settings {
        reads_max: 3,
        ..DEFAULT
    };
    let fixture = fixture_with(settings, 1 << 30).await;
    let named: Vec<Selection> = (0..20)
        .map(|n| topics(&["all", &format!("t{n}")]))
        .collect();
    fixture.store_many("all", 10_000, 40).await;
    let readers = named
        .iter()
        .map(|topics| fixture.walk(topics, Sequence::ZERO, Sequence(40)));
    let mut readers = pin!(join_all(readers));
    assert!((&mut readers).now_or_never().is_none());
    assert_eq!(fixture.journal.reads(), 3, "the rest waits for a place");
    fixture.journal.open_gate();
    let expected: Vec<u64> = (1..=40).collect();
    for walked in readers.await {
        assert_eq!(walked.events, expected);
    }
    assert_eq!(fixture.journal.under_way_most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_is_kept_stays_within_its_bytes() {
    let settings = Settings {
        cache_bytes_max: 300_000,
        ..DEFAULT
    };
    let fixture = fixture_with(settings, 1 << 30).await;
    fixture.journal.open_gate();
    fixture.store_many("a.b", 1_000, 1_000).await;
    fixture.store("a", 200_000).await;
    for names in [&["a"][..], &["*"], &["a.b"], &["none"], &["a", "b"]] {
        for after in [0, 100, 500, 990] {
            let topics = topics(names);
            let walked = fixture
                .walk(&topics, Sequence(after), Sequence(1_001))
                .await;
            let truth = fixture
                .truth(&topics, Sequence(after), Sequence(1_001))
                .await;
            assert_eq!(walked.events, truth);
            let [bytes, named, pages, reads_left] = fixture.stats();
            assert!(bytes <= 300_000 && pages > 0, "{bytes} in {pages} pages");
            assert!(named <= pages && reads_left == 0);
        }
    }
    // Pages with nothing in them are bounded too, and so are their topics.
    for n in 0..2_000 {
        let topics = topics(&[&format!("t{n}")]);
        let page = fixture.history.page(&topics, Sequence::ZERO);
        assert_eq!(page.await.unwrap().scanned, Sequence(1_001));
    }
    let [bytes, named, pages, _] = fixture.stats();
    assert!(bytes <= 300_000 && named <= pages && pages < 600);
}

#[tokio::test]
async fn events_larger_than_a_page_are_each_read_once_from_within_a_block() {
    let fixture = fixture().await;
    fixture.store_many("a", 70_000, 40).await;
    let a = topics(&["a"]);
    for after in [0, 1, 5, 15, 16, 17, 39] {
        let walked = fixture.walk(&a, Sequence(after), Sequence(40)).await;
        let expected: Vec<u64> = (after + 1..=40).collect();
        assert_eq!(walked.events, expected);
    }
    assert_eq!(fixture.journal.reads(), 40);
}

#[tokio::test]
async fn a_rare_topic_is_found_without_reading_all_between() {
    let fixture = fixture().await;
    for n in 1..=20_000 {
        fixture
            .store(if n % 5_000 == 0 { "rare" } else { "loud" }, 0)
            .await;
    }
    let rare = topics(&["rare"]);
    for after in [0, 0, 1, 4_999, 5_000, 12_345, 19_999] {
        let walked = fixture.walk(&rare, Sequence(after), Sequence(20_000)).await;
        let expected: Vec<u64> = (1..=4).map(|n| n * 5_000).filter(|&n| n > after).collect();
        assert_eq!(walked.events, expected);
    }
    let reads = fixture.journal.reads();
    assert!(reads <= 8, "{reads} reads, empty pages are kept too");
}

#[tokio::test]
async fn a_page_at_the_head_stands_for_no_more_than_it_saw() {
    let fixture = fixture().await;
    let a = topics(&["a"]);
    fixture.store_many("a", 10, 20).await;
    for head in 20..60 {
        // The page of those who are behind is kept and goes on being found.
        let page = fixture.history.page(&a, Sequence(17)).await.unwrap();
        assert!(page.scanned <= Sequence(head));
        let at_head = fixture.history.page(&a, Sequence(head)).await.unwrap();
        assert!(at_head.frames.is_empty() && at_head.scanned == Sequence(head));
        assert!(fixture.history.cached_page(&a, Sequence(head)).is_none());
        fixture.store("a", 10).await;
        let next = fixture.history.page(&a, Sequence(head)).await.unwrap();
        assert_eq!(next.scanned, Sequence(head + 1));
        let new = next.frames.iter().map(|frame| frame.sequence().0);
        assert_eq!(new.filter(|&s| s > head).collect::<Vec<_>>(), [head + 1]);
    }
    let reads = fixture.journal.reads();
    fixture.history.page(&a, Sequence(60)).await.unwrap();
    assert_eq!(
        fixture.journal.reads(),
        reads,
        "at the head nothing is read"
    );
}

#[tokio::test]
async fn a_gap_is_told_to_those_below_the_floor_and_to_nobody_else() {
    let fixture = fixture_with(DEFAULT, 10_000).await;
    fixture.journal.open_gate();
    fixture.store_many("a", 100, 207).await;
    let floor = fixture.journal.floor().0;
    assert!(floor % BLOCK > 1, "the floor is inside a block");
    let a = topics(&["a"]);
    for at in [floor, floor + 1, floor - 1, 0, floor] {
        let walked = fixture.walk(&a, Sequence(at), Sequence(207)).await;
        let gaps = if at < floor {
            vec![(at, floor)]
        } else {
            vec![]
        };
        let expected: Vec<u64> = (at.max(floor) + 1..=207).collect();
        assert_eq!((walked.gaps, walked.events), (gaps, expected), "from {at}");
    }
}

#[tokio::test]
async fn a_reader_may_wait_on_any_thread() {
    fn on_any_thread<T: Send>(reading: T) -> T {
        reading
    }
    let fixture = fixture().await;
    let a = topics(&["a"]);
    let reading = on_any_thread(fixture.history.page(&a, Sequence::ZERO));
    assert!(reading.await.unwrap().frames.is_empty());
}

#[tokio::test]
async fn a_page_is_found_at_once_or_not_at_all() {
    let fixture = fixture().await;
    fixture.store_many("a", 10, 50).await;
    let a = topics(&["a"]);
    assert!(fixture.history.cached_page(&a, Sequence(5)).is_none());
    let page = fixture.history.page(&a, Sequence(5)).await.unwrap();
    let now = fixture.history.cached_page(&a, Sequence(40)).unwrap();
    assert!(Arc::ptr_eq(&page, &now));
    assert_eq!(fixture.journal.reads(), 1);
}

/// Appends and retention race readers on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appends_that_race_reads_are_neither_lost_nor_doubled() {
    for (round, retain_bytes) in [(0, 1 << 30), (1, 40_000), (2, 1 << 30)] {
        let settings = Settings {
            cache_bytes_max: [1 << 20, 1 << 20, 9_000][round],
            page_bytes_max: 4_000,
            reads_max: 4,
            searches_max: 2,
        };
        let fixture = fixture_with(settings, retain_bytes).await;
        fixture.journal.open_gate();
        let writing = async {
            for n in 0..2_000 {
                fixture.store(["a", "b.c", "b"][n % 3], n % 400).await;
                tokio::task::yield_now().await;
            }
        };
        let reading = join_all((0..24).map(|n| {
            let fixture = &fixture;
            async move {
                let (names, nth) = [(&["*"][..], [0, 1, 2]), (&["b"], [1, 2, 2])][n % 2];
                let topics = topics(names);
                let mut at = Sequence::ZERO;
                while at < Sequence(2_000) {
                    let head = fixture.journal.head();
                    let walked = fixture.walk(&topics, at, head).await;
                    let lost = |s: u64| walked.gaps.iter().any(|&(a, f)| a < s && s <= f);
                    let wanted = |s: u64| nth.contains(&((s - 1) % 3));
                    let expected =
                        (at.0 + 1..=walked.end.0.max(at.0)).filter(|&s| wanted(s) && !lost(s));
                    assert_eq!(walked.events, expected.collect::<Vec<_>>(), "{names:?}");
                    at = at.max(walked.end);
                    tokio::task::yield_now().await;
                }
            }
        }));
        let both = async { tokio::join!(writing, reading) };
        let both = tokio::time::timeout(Duration::from_secs(60), both).await;
        both.expect("a reader waits for what was stored");
        assert_eq!(fixture.reads_left(), 0);
    }
}

/// What happens to a history, in any order.
#[derive(Debug, Clone)]
enum Act {
    Store(usize, usize),
    Walk(usize, u64),
    /// One page, as a reader that then goes away takes it.
    Glance(usize, u64),
}

fn act() -> impl Strategy<Value = Act> {
    let sizes = prop_oneof![4 => 0..300_usize, 1 => 0..6_000_usize];
    prop_oneof![
        6 => (0..4_usize, sizes).prop_map(|(topic, bytes)| Act::Store(topic, bytes)),
        1 => (0..5_usize, 0..150_u64).prop_map(|(topics, back)| Act::Walk(topics, back)),
        1 => (0..5_usize, 0..150_u64).prop_map(|(topics, back)| Act::Glance(topics, back)),
    ]
}

proptest! {
    #[test]
    fn walking_pages_yields_what_the_journal_has(
        acts in proptest::collection::vec(act(), 1..200),
        cache_bytes_max in prop_oneof![Just(0_usize), Just(5_000), Just(20_000), Just(1 << 20)],
        page_bytes_max in 1..5_000_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let settings = Settings { cache_bytes_max, page_bytes_max, reads_max: 2, searches_max: 1 };
            let fixture = fixture_with(settings, 1 << 30).await;
            fixture.journal.open_gate();
            let asked = [&["*"][..], &["a"], &["a.b", "b"], &["b", "c"], &["none"]];
            for act in acts {
                let head = fixture.journal.head();
                match act {
                    Act::Store(topic, bytes) => {
                        fixture.store(["a", "a.b", "b", "c.d"][topic], bytes).await;
                    }
                    Act::Glance(names, back) => {
                        let at = Sequence(head.0.saturating_sub(back));
                        fixture.history.page(&topics(asked[names]), at).await.unwrap();
                    }
                    Act::Walk(names, back) => {
                        let at = Sequence(head.0.saturating_sub(back));
                        let topics = topics(asked[names]);
                        let walked = fixture.walk(&topics, at, head).await;
                        assert_eq!(walked.events, fixture.truth(&topics, at, head).await);
                        assert!(walked.gaps.is_empty());
                    }
                }
                let [bytes, _, _, reads_left] = fixture.stats();
                assert!(bytes <= cache_bytes_max && reads_left == 0);
            }
        });
    }
}

/// A read may have bound its page just before the encoder was replaced, and
/// come to the cache just after it was cleared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_of_an_older_encoder_is_found_after_it_was_replaced() {
    const ROUNDS: usize = 1_000;
    let fixture = Arc::new(fixture().await);
    fixture.store_many("a", 10, 300).await;
    let done = Arc::new(AtomicBool::new(false));
    let (reading, until) = (Arc::clone(&fixture), Arc::clone(&done));
    let reader = TaskTracker::new().spawn(async move {
        while !until.load(Ordering::Relaxed) {
            reading
                .history
                .page(&Selection::all(), Sequence(0))
                .await
                .unwrap();
            tokio::task::yield_now().await;
        }
    });
    let is_named = |frame: &Frame| {
        let text = frame.piece(Form::PLAIN).chunk().payload();
        text.windows(6).any(|field| field == b"event:")
    };
    let mut stale = None;
    for round in 0..ROUNDS {
        let named = round % 2 == 0;
        // Sets the reader off, and comes upon it anywhere.
        fixture.history.clear();
        (0..fastrand::u32(..20_000)).for_each(|_| std::hint::spin_loop());
        let history = &fixture.history;
        let next = encoder(fixture.journal.epoch(), named);
        history.hub.replace_encoder(next);
        history.clear();
        let page = history.page(&Selection::all(), Sequence(0)).await.unwrap();
        if page.frames.iter().any(|frame| is_named(frame) != named) {
            stale = Some(round);
            break;
        }
    }
    done.store(true, Ordering::Relaxed);
    reader.await.unwrap();
    assert_eq!(stale, None);
}

#[tokio::test]
async fn pages_that_were_let_go_take_no_room() {
    let fixture = fixture().await;
    fixture.store_many("a", 1_000, 300).await;
    for topics in [topics(&["*"]), topics(&["a"])] {
        fixture.walk(&topics, Sequence(0), Sequence(300)).await;
    }
    let [bytes, named, pages, _] = fixture.history.cache.lock().stats();
    assert!(bytes > 0 && named == 2 && pages > 2);
    fixture.history.clear();
    assert_eq!(fixture.history.cache.lock().stats(), [0; 4]);
}
