//! What counts as a duplicate, and for how long.

use super::*;

pub(in crate::journal) async fn a_duplicate_within_the_window_is_not_stored_again(
    factory: &impl Factory,
) {
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
    let (journal, _guard) = factory.open(bounds, TestClock::at(NOON).clock()).await;
    let later = Draft {
        received_at: NOON.plus(key(1).window),
        ..draft("a", "x")
    };
    // Key 1 expires and comes again; then key 2 is the oldest, and 3 replaces it.
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

pub(in crate::journal) async fn a_renewed_key_is_not_forgotten_with_its_old_entry(
    factory: &impl Factory,
) {
    let bounds = Bounds {
        dedup_entries_max: 3,
        ..ROOMY
    };
    let (journal, _guard) = factory.open(bounds, TestClock::at(NOON).clock()).await;
    let early = || draft("a", "x");
    let late = || Draft {
        received_at: NOON.plus(key(1).window),
        ..draft("a", "x")
    };
    // By age they are then 1, 3, 2; keys 4 and 5 push out 1 and 3.
    for (draft, n, duplicate) in [
        (early(), 1, false),
        (early(), 2, false),
        (late(), 3, false),
        (late(), 2, false),
        (late(), 4, false),
        (late(), 5, false),
        (late(), 2, true),
        (late(), 5, true),
        (late(), 3, false),
    ] {
        let appended = journal.append(draft, Some(key(n))).await.unwrap();
        assert_eq!(appended.duplicate, duplicate, "key {n}");
    }
}
