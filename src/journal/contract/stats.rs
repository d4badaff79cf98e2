//! What there is of each topic, page by page.

use super::*;
use crate::journal::{StoredStats, StoredTopics, StoredTopicsQuery};

fn query(after: Option<&str>, under: Option<&str>, limit: usize) -> StoredTopicsQuery {
    let topic = |name: &str| name.parse().unwrap();
    StoredTopicsQuery {
        after: after.map(topic),
        under: under.map(topic),
        limit,
        recent_from: Timestamp::default(),
    }
}

async fn all(journal: &dyn Journal) -> StoredTopics {
    journal
        .stored_topics(query(None, None, 1000))
        .await
        .unwrap()
}

fn names(stored: &StoredTopics) -> Vec<&str> {
    stored.topics.iter().map(|(name, _)| &**name).collect()
}

fn held<'h>(stored: &'h StoredTopics, name: &str) -> &'h StoredStats {
    let found = stored.topics.iter().find(|(other, _)| &**other == name);
    &found.expect("it is listed").1
}

/// The events, and from which to which.
fn found(held: &StoredStats) -> (u64, Option<(u64, u64)>) {
    (held.events, held.span.map(|(a, b)| (a.0, b.0)))
}

/// Whether the bytes are those of so many events with so much in their bodies,
/// and what stands around them.
fn assert_bytes(held: &StoredStats, body_bytes: u64) {
    let around = held.events * 40..=held.events * 220;
    let more = held.bytes.checked_sub(body_bytes);
    assert!(more.is_some_and(|more| around.contains(&more)), "{held:?}");
}

pub(in crate::journal) async fn a_topic_holds_what_is_here_of_it_and_below_it(
    factory: &impl Factory,
) {
    let (journal, _guard) = open(factory).await;
    let nothing = all(&*journal).await;
    assert!(nothing.topics.is_empty() && !nothing.has_more);
    assert_eq!(nothing.total, StoredStats::default());
    for n in 0..120 {
        let name = ["a.b.c", "a.b", "a-x", "z"][n % 4];
        append(&*journal, draft(name, vec![b'x'; 100])).await;
    }
    let stored = all(&*journal).await;
    assert_eq!(names(&stored), ["a", "a-x", "a.b", "a.b.c", "z"]);
    for (name, events, first, last) in [
        ("a", 60, 1, 118),
        ("a-x", 30, 3, 119),
        ("a.b", 60, 1, 118),
        ("a.b.c", 30, 1, 117),
        ("z", 30, 4, 120),
    ] {
        let held = held(&stored, name);
        assert_eq!(found(held), (events, Some((first, last))), "{name}");
        assert_bytes(held, events * 100);
    }
    assert_eq!(found(&stored.total), (120, Some((1, 120))));
    let top = ["a", "a-x", "z"].map(|name| held(&stored, name).bytes);
    assert_eq!(stored.total.bytes, top.iter().sum::<u64>());
    assert_eq!(stored.counted_after, Sequence::ZERO);
    assert_eq!(stored.counted_up_to, Sequence(120));
}

pub(in crate::journal) async fn pages_of_topics_list_each_once_and_in_order(
    factory: &impl Factory,
) {
    let (journal, _guard) = open(factory).await;
    for n in 0..97 {
        // Not in the order of their names, and some more than once.
        let name = format!("t.{}", (n * 31) % 60);
        append(&*journal, draft(&name, "x")).await;
        append(&*journal, draft("t-other.below", "x")).await;
    }
    let whole = all(&*journal).await;
    let whole = names(&whole);
    assert_eq!(whole.len(), 63);
    assert!(whole.is_sorted());
    for count in [1, 2, 7, 63, 64] {
        let mut listed: Vec<(Box<str>, StoredStats)> = Vec::new();
        loop {
            let after = listed.last().map(|(name, _)| &**name);
            let page = journal
                .stored_topics(query(after, None, count))
                .await
                .unwrap();
            assert!(page.topics.len() <= count);
            assert_eq!(page.total.events, 194, "whatever is asked for");
            listed.extend(page.topics);
            if !page.has_more {
                break;
            }
        }
        let names: Vec<_> = listed.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, whole, "by {count}");
        let events = |wanted: &str| {
            let mut listed = listed.iter().filter(|(name, _)| &**name == wanted);
            listed.next().unwrap().1.events
        };
        assert_eq!(
            (events("t"), events("t-other"), events("t.31")),
            (97, 97, 2)
        );
    }
}

pub(in crate::journal) async fn topics_are_listed_under_one(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    for name in ["a", "a-b.c", "a.b.c", "a.d", "a0", "b", "a.b", "a.b.c"] {
        append(&*journal, draft(name, "x")).await;
    }
    for (after, under, count, expected, more) in [
        (None, "a", 9, &["a", "a.b", "a.b.c", "a.d"][..], false),
        (None, "a", 2, &["a", "a.b"], true),
        (Some("a.b"), "a", 2, &["a.b.c", "a.d"], false),
        (Some("a-z"), "a", 9, &["a.b", "a.b.c", "a.d"], false),
        (Some("z"), "a", 9, &[], false),
        (None, "a.b", 9, &["a.b", "a.b.c"], false),
        (None, "c", 9, &[], false),
    ] {
        let page = journal
            .stored_topics(query(after, Some(under), count))
            .await;
        let page = page.unwrap();
        assert_eq!((names(&page), page.has_more), (expected.to_vec(), more));
        assert_eq!(page.total.events, 8);
    }
}

pub(in crate::journal) async fn what_is_deleted_is_not_held(factory: &impl Factory) {
    let hands = TestClock::at(NOON);
    let (journal, _guard) = factory.open(ROOMY, hands.clock()).await;
    let append_at = async |day: u64, name: &str| {
        let arrived = Draft {
            received_at: NOON.plus(Duration::from_secs(day * 86_400)),
            ..draft(name, vec![b'x'; 50])
        };
        append(&*journal, arrived).await
    };
    for n in 0..60 {
        append_at(0, if n < 30 { "early" } else { "a.early" }).await;
    }
    for _ in 0..10 {
        append_at(5, "a.late").await;
    }
    hands.advance(ROOMY.retention.age + Duration::from_secs(86_400));
    until(|| journal.floor() == Sequence(60)).await;
    let stored = all(&*journal).await;
    assert_eq!(names(&stored), ["a", "a.late"]);
    assert_eq!(found(held(&stored, "a")), (10, Some((61, 70))));
    assert_bytes(held(&stored, "a"), 500);
    assert_eq!(stored.total, *held(&stored, "a"));
    assert_eq!(stored.counted_after, Sequence(60));
    hands.advance(ROOMY.retention.age);
    until(|| journal.floor() == Sequence(70)).await;
    let nothing = all(&*journal).await;
    assert!(nothing.topics.is_empty());
    assert_eq!(nothing.total, StoredStats::default());
    assert_eq!(nothing.counted_up_to, Sequence(70));
}

pub(in crate::journal) async fn recent_events_are_counted_by_their_arrival(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    let at = |secs| NOON.plus(Duration::from_secs(secs));
    for secs in 0..100 {
        let name = if secs % 2 == 0 { "even.x" } else { "odd" };
        let arrived = Draft {
            received_at: at(secs),
            ..draft(name, "x")
        };
        append(&*journal, arrived).await;
    }
    for (from, recent, even) in [
        (0, 100, 50),
        (1, 99, 49),
        (60, 40, 20),
        (99, 1, 0),
        (100, 0, 0),
    ] {
        let query = StoredTopicsQuery {
            recent_from: at(from),
            ..query(None, None, 9)
        };
        let stored = journal.stored_topics(query).await.unwrap();
        assert_eq!(stored.total.recent, recent, "from {from}");
        assert_eq!(held(&stored, "even").recent, even, "from {from}");
        assert_eq!(held(&stored, "even.x").events, 50);
        assert_eq!(stored.recent_from, at(from), "nothing is missing");
    }
}

pub(in crate::journal) async fn where_recent_events_are_gone_the_answer_says_since_when(
    factory: &impl Factory,
) {
    let bounds = Bounds {
        retention: Retention {
            bytes: 20_000,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    let (journal, _guard) = factory.open(bounds, TestClock::at(NOON).clock()).await;
    let at = |secs| NOON.plus(Duration::from_secs(secs));
    for secs in 0..100 {
        let arrived = Draft {
            received_at: at(secs),
            ..draft("a", vec![b'x'; 1000])
        };
        append(&*journal, arrived).await;
    }
    until(|| journal.floor() >= Sequence(80)).await;
    let ask = async |from| {
        let query = StoredTopicsQuery {
            recent_from: at(from),
            ..query(None, None, 9)
        };
        journal.stored_topics(query).await.unwrap()
    };
    let cut = ask(40).await;
    let oldest = cut.total.span.unwrap().0;
    assert!(oldest > Sequence(80), "{oldest}");
    assert_eq!(cut.total.recent, cut.total.events);
    assert_eq!(cut.recent_from, at(oldest.0 - 1));
    let later = ask(95).await;
    assert_eq!((later.recent_from, later.total.recent), (at(95), 5));
}

pub(in crate::journal) async fn a_closed_journal_holds_nothing(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    append(&*journal, draft("a", "x")).await;
    journal.close().await;
    let refused = journal.stored_topics(query(None, None, 9)).await;
    assert!(refused.is_err());
}
