//! What counts as a duplicate, and for how long.

use super::*;

pub(in crate::journal) async fn a_duplicate_within_the_window_is_not_stored_again(
    factory: &impl Factory,
) {
    let hands = TestClock::at(NOON);
    let (journal, _guard) = factory.open(ROOMY, hands.clock()).await;
    let mut expected = Vec::new();
    // The window counts from the first one's arrival, not from the last.
    for (later_secs, duplicate) in [
        (0, false),
        (1800, true),
        (1799, true),
        (1, false),
        (1, true),
    ] {
        hands.advance(Duration::from_secs(later_secs));
        let again = draft_at(&hands);
        let appended = journal.append(again, Some(key(1))).await.unwrap();
        assert_eq!(appended.duplicate, duplicate);
        expected.push(appended.sequence.0);
    }
    assert_eq!(expected, [1, 1, 1, 2, 2]);
    assert_eq!(journal.head(), Sequence(2));
}

pub(in crate::journal) async fn duplicates_that_race_are_stored_once(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    let appends = (0..400).map(|n: u32| journal.append(draft("a", "x"), Some(key((n % 4) as u8))));
    let appended = join_all(appends).await;
    let mut first = [None; 4];
    for (n, answer) in appended.into_iter().enumerate() {
        let Appended {
            sequence,
            duplicate,
        } = answer.unwrap();
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

pub(in crate::journal) async fn a_key_counts_within_its_topic_only(factory: &impl Factory) {
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

/// Events that came to one topic and belong to different subtopics of it.
pub(in crate::journal) async fn a_key_counts_within_the_topic_that_it_names(
    factory: &impl Factory,
) {
    let (journal, _guard) = open(factory).await;
    for (name, within, duplicate) in [
        ("a.b", Some("a"), false),
        ("a.c", Some("a"), true),
        ("a", None, true),
        ("a.b", None, false),
        ("a.b", Some("b"), false),
    ] {
        let dedup = Dedup {
            within: within.map(|topic| topic.parse().unwrap()),
            ..key(1)
        };
        let appended = journal.append(draft(name, "x"), Some(dedup)).await.unwrap();
        assert_eq!(appended.duplicate, duplicate, "{name} within {within:?}");
    }
}

pub(in crate::journal) async fn beyond_the_maximum_the_oldest_keys_are_forgotten(
    factory: &impl Factory,
) {
    let bounds = Bounds {
        dedup_entries_max: 3,
        ..ROOMY
    };
    let (journal, _guard) = factory.open(bounds, TestClock::at(NOON).clock()).await;
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

pub(in crate::journal) async fn a_key_that_was_renewed_is_as_young_as_its_renewal(
    factory: &impl Factory,
) {
    let bounds = Bounds {
        dedup_entries_max: 2,
        ..ROOMY
    };
    let hands = TestClock::at(NOON);
    let (journal, _guard) = factory.open(bounds, hands.clock()).await;
    let hour = key(1).window;
    // Key 1 expires and comes again; then key 2 is the oldest, and 3 replaces it.
    for (later, key, duplicate) in [
        (Duration::ZERO, key(1), false),
        (Duration::ZERO, key_for_long(2), false),
        (hour, key(1), false),
        (Duration::ZERO, key(3), false),
        (Duration::ZERO, key(1), true),
        (Duration::ZERO, key(3), true),
        (Duration::ZERO, key_for_long(2), false),
    ] {
        hands.advance(later);
        let name = key.key[0];
        let appended = journal.append(draft_at(&hands), Some(key)).await.unwrap();
        assert_eq!(appended.duplicate, duplicate, "key {name}");
    }
}

pub(in crate::journal) async fn a_renewed_key_is_not_forgotten_with_its_old_entry(
    factory: &impl Factory,
) {
    let bounds = Bounds {
        dedup_entries_max: 3,
        ..ROOMY
    };
    let hands = TestClock::at(NOON);
    let (journal, _guard) = factory.open(bounds, hands.clock()).await;
    let hour = key(1).window;
    // By age they are then 1, 3, 2; keys 4 and 5 push out 1 and 3.
    for (later, key, duplicate) in [
        (Duration::ZERO, key_for_long(1), false),
        (Duration::ZERO, key(2), false),
        (hour, key(3), false),
        (Duration::ZERO, key(2), false),
        (Duration::ZERO, key(4), false),
        (Duration::ZERO, key(5), false),
        (Duration::ZERO, key(2), true),
        (Duration::ZERO, key(5), true),
        (Duration::ZERO, key(3), false),
    ] {
        hands.advance(later);
        let name = key.key[0];
        let appended = journal.append(draft_at(&hands), Some(key)).await.unwrap();
        assert_eq!(appended.duplicate, duplicate, "key {name}");
    }
}

/// Three seconds forwards or back, as an operator's mistake: what was known before is
/// known during and after it, and so is what came meanwhile.
pub(in crate::journal) async fn a_clock_that_jumps_forgets_no_delivery(factory: &impl Factory) {
    for is_ahead in [true, false] {
        let hands = TestClock::at(NOON);
        let (journal, _guard) = factory.open(ROOMY, hands.settable_clock()).await;
        let send = async |n| {
            let appended = journal.append(draft_at(&hands), Some(key(n))).await;
            appended.unwrap().duplicate
        };
        assert!(!send(1).await);
        hands.set_off(is_ahead, Duration::from_secs(8 * 86_400));
        assert!(send(1).await && !send(2).await);
        hands.advance(Duration::from_secs(3));
        assert!(send(1).await && send(2).await);
        hands.set_off(is_ahead, Duration::ZERO);
        assert!(send(1).await && send(2).await);
    }
}

/// The secret of one section may be known to somebody who means no good.
pub(in crate::journal) async fn a_section_that_sends_much_makes_no_other_forgotten(
    factory: &impl Factory,
) {
    let bounds = Bounds {
        dedup_entries_max: 30,
        ..ROOMY
    };
    let (journal, _guard) = factory.open(bounds, TestClock::at(NOON).clock()).await;
    let send = async |section: &str, n: u16| {
        let mut of_section = Dedup {
            section: Some(section.parse().unwrap()),
            ..key(0)
        };
        of_section.key[..2].copy_from_slice(&n.to_le_bytes());
        let appended = journal.append(draft(section, "x"), Some(of_section)).await;
        appended.unwrap().duplicate
    };
    for n in 0..10 {
        assert!(!send("quiet", n).await && !send("other", n).await);
    }
    for n in 0..500 {
        assert!(!send("flood", n).await);
    }
    for n in 0..10 {
        assert!(send("quiet", n).await && send("other", n).await, "{n}");
        assert!(send("flood", 490 + n).await, "a share is its own");
    }
    assert!(!send("flood", 489).await, "it has no more than its share");
    // One that has less than a share takes from who has more.
    for n in 10..15 {
        assert!(!send("quiet", n).await);
    }
}

/// A key that outlives the others of a test.
fn key_for_long(n: u8) -> Dedup {
    Dedup {
        window: 3 * key(n).window,
        ..key(n)
    }
}

fn draft_at(hands: &TestClock) -> Draft {
    Draft {
        received_at: hands.wall(),
        ..draft("a", "x")
    }
}
