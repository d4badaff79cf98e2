//! Pages, topics, types and the last n.

use super::*;

pub(in crate::journal) async fn pages_are_bounded_and_miss_nothing(factory: &impl Factory) {
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

pub(in crate::journal) async fn an_event_larger_than_a_page_is_read_alone(factory: &impl Factory) {
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

pub(in crate::journal) async fn a_topic_includes_its_subtopics_and_nothing_else(
    factory: &impl Factory,
) {
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

pub(in crate::journal) async fn several_topics_are_merged_in_order_without_doubles(
    factory: &impl Factory,
) {
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

pub(in crate::journal) async fn types_are_filtered_and_counted_as_looked_at(
    factory: &impl Factory,
) {
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

pub(in crate::journal) async fn a_rare_type_does_not_make_one_read_walk_everything(
    factory: &impl Factory,
) {
    const EVENTS: usize = crate::journal::PAGE_ENTRIES_MAX + 100;
    let (journal, _guard) = open(factory).await;
    // Rare, and nowhere so absent that all around it is passed over at once.
    let rare_at = |n: usize| n.is_multiple_of(10);
    let drafts = (0..EVENTS).map(|n| typed("a", if rare_at(n) { "other" } else { "webhook" }));
    let appended = join_all(drafts.map(|draft| journal.append(draft, None))).await;
    assert_eq!(appended.len(), EVENTS);
    append(&*journal, typed("a", "rare")).await;
    for topics in [Selection::all(), topics(&["a"]), topics(&["a", "b"])] {
        let selection = of_types(topics, &["rare"]);
        let (mut position, mut reads) = (Sequence::ZERO, 0);
        loop {
            let page = journal.read(&selection, position, 1000).await.unwrap();
            reads += 1;
            if !page.events.is_empty() {
                assert_eq!(sequences(&page.events), [EVENTS as u64 + 1]);
                break;
            }
            let passed = page.scanned.0 - position.0;
            assert!(passed >= crate::journal::PAGE_ENTRIES_MAX as u64);
            position = page.scanned;
        }
        assert!(reads <= 2, "{reads} reads");
    }
}

pub(in crate::journal) async fn of_many_types_those_that_are_wanted_are_read(
    factory: &impl Factory,
) {
    let (journal, _guard) = open(factory).await;
    let name = |n: usize| format!("type {n}");
    for n in 0..600 {
        append(&*journal, typed("a", &name(n / 2))).await;
    }
    let (third, last) = (name(2), name(299));
    for topics in [Selection::all(), topics(&["a"])] {
        let selection = of_types(topics, &[&third, &last, "type", "type 300"]);
        let events = read_all(&*journal, &selection, 1 << 20).await;
        assert_eq!(sequences(&events), [5, 6, 599, 600]);
        let position = journal.start_of_last_n(&selection, 3).await.unwrap();
        assert_eq!(position, Sequence(5));
    }
}

pub(in crate::journal) async fn the_last_n_are_found_further_back_than_one_step_looks(
    factory: &impl Factory,
) {
    const EVENTS: usize = 2 * crate::journal::PAGE_ENTRIES_MAX;
    let (journal, _guard) = open(factory).await;
    append(&*journal, typed("a", "rare")).await;
    join_all((0..EVENTS).map(|_| journal.append(draft("a", ""), None))).await;
    for (count, types) in [(1, &["rare"][..]), (2, &["rare"]), (9, &["rare", "b"])] {
        let selection = of_types(topics(&["a"]), types);
        let position = journal.start_of_last_n(&selection, count).await.unwrap();
        assert_eq!(position, Sequence::ZERO, "{count} of {types:?}");
    }
    let absent = of_types(topics(&["a"]), &["absent"]);
    let position = journal.start_of_last_n(&absent, 1).await.unwrap();
    assert_eq!(position, journal.head());
}

pub(in crate::journal) async fn what_is_read_backwards_is_what_is_read_forwards(
    factory: &impl Factory,
) {
    const EVENTS: usize = crate::journal::PAGE_ENTRIES_MAX + 10;
    let (journal, _guard) = open(factory).await;
    let each = (0..EVENTS).map(|n| {
        let (name, kind) = (["a", "a.b", "c"][n % 3], ["x", "y"][n % 2]);
        journal.append(typed(name, if n == 4 { "rare" } else { kind }), None)
    });
    join_all(each).await;
    for (selection, count, bytes_max) in [
        (Selection::all(), 100, 1 << 20),
        (Selection::all(), EVENTS, 1),
        (topics(&["a"]), 7, 1_000),
        (topics(&["absent"]), 7, 1_000),
        (of_types(topics(&["a"]), &["rare"]), 7, 1_000),
        (of_types(Selection::all(), &["y"]), 3_000, 1 << 20),
    ] {
        let mut forwards = sequences(&read_all(&*journal, &selection, 1 << 20).await);
        let (mut backwards, mut before, mut reads) = (Vec::new(), journal.head().next(), 0);
        while before > journal.floor().next() && reads < 300 {
            let found = journal.read_back(&selection, before, count, bytes_max);
            let found = found.await.unwrap();
            assert!(found.from < before && found.events.len() <= count);
            assert!(
                bytes_max > 1 || found.events.len() <= 2,
                "the bytes are bounded"
            );
            backwards.extend(sequences(&found.events));
            (before, reads) = (found.from, reads + 1);
        }
        forwards.reverse();
        forwards.truncate(backwards.len().max(100));
        assert_eq!(backwards, forwards, "{selection:?}");
    }
    let beyond = journal
        .read_back(&Selection::all(), Sequence(u64::MAX), 1, 1)
        .await;
    assert_eq!(beyond.unwrap().events[0].sequence, journal.head());
    let before_all = journal
        .read_back(&Selection::all(), Sequence(1), 1, 1)
        .await;
    assert!(before_all.unwrap().events.is_empty());
}

pub(in crate::journal) async fn the_last_n_are_counted_after_types_and_with_subtopics(
    factory: &impl Factory,
) {
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
        let position = journal.start_of_last_n(&selection, count).await.unwrap();
        assert_eq!(
            position,
            Sequence(expected),
            "last {count} of {selection:?}"
        );
    }
}

pub(in crate::journal) async fn a_position_beyond_the_head_reads_nothing(factory: &impl Factory) {
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

pub(in crate::journal) async fn a_time_leads_to_the_first_event_from_then_on(
    factory: &impl Factory,
) {
    const EVENTS: u64 = 200;
    let minute = |n: u64| NOON.plus(Duration::from_secs(60 * n));
    let hands = TestClock::at(NOON);
    let (journal, _guard) = factory.open(ROOMY, hands.clock()).await;
    let now = minute(1_000);
    let start = async |from| journal.start_of_arrivals(from, now).await.unwrap();
    assert_eq!(start(NOON).await, Sequence::ZERO, "of nothing");
    let at = |received_at| Draft {
        received_at,
        ..draft("a", "x")
    };
    for n in 1..=EVENTS {
        append(&*journal, at(minute(n))).await;
    }
    // From the middle on, in any order: what was found before must not mislead.
    for n in [100_u64, 1, 41, 40, 200, 0, 150, 149, 151] {
        let expected = Sequence(n.saturating_sub(1));
        assert_eq!(start(minute(n)).await, expected, "minute {n}");
        let later = minute(n).plus(Duration::from_millis(1));
        assert_eq!(start(later).await, Sequence(n), "just after {n}");
    }
    // The clock is set back by 50 minutes, and later found to be far ahead.
    for n in EVENTS - 50..=EVENTS + 50 {
        append(&*journal, at(minute(n))).await;
    }
    assert_eq!(start(minute(180)).await, Sequence(179));
    assert_eq!(start(minute(EVENTS + 1)).await, Sequence(251));
    for _ in 0..100 {
        append(&*journal, at(minute(99_999))).await;
    }
    append(&*journal, at(minute(400))).await;
    let wrong = 301;
    assert_eq!(
        start(minute(400)).await,
        Sequence(wrong),
        "with what follows"
    );
    assert_eq!(start(minute(401)).await, journal.head());
    append(&*journal, at(minute(99_999))).await;
    let last = journal.head().previous();
    assert_eq!(start(minute(401)).await, last, "nobody knows when it came");
}
