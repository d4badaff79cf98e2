//! Streams that search a long history for what it hardly has.

use std::collections::BTreeSet;

use hookrill_core::Draft;

use super::*;
use fixture::Fixture;

/// More than one read looks at, and more reads than bring a cursor.
pub(super) const EVENTS: u64 = 40 * 8192;

/// A history in which the last event alone is `rare`, none of it in the ring.
pub(super) async fn long_history(way: Way) -> Fixture {
    let fixture = Fixture::with(way, 0, 1 << 40, Fixture::HEARTBEAT).await;
    for n in 1..=EVENTS {
        let event_type = if n == EVENTS - 1 { "rare" } else { "t" };
        let draft = Draft {
            received_at: hookrill_core::Timestamp::from_unix_secs(1_000),
            topic: "a".parse().unwrap(),
            event_type: event_type.into(),
            content_type: None,
            dedup_id: None,
            headers: hookrill_core::HeaderList::default(),
            body: bytes::Bytes::new(),
            original: hookrill_core::Original::default(),
            append_nonce: 0,
        };
        fixture.journal.append(draft, None).await.unwrap();
    }
    fixture.told(EVENTS).await;
    fixture
}

#[tokio::test]
async fn a_search_that_finds_nothing_gives_cursors_from_which_nothing_is_missed() {
    for way in [Way::Body, Way::Socket] {
        let fixture = long_history(way).await;
        for (topics, types) in [(&["a"][..], &["rare"][..]), (&["*"], &["absent", "rare"])] {
            let start = Start::Earliest;
            let mut reader = fixture
                .open_with(topics, start, Some(types), Format::Raw)
                .await;
            assert_eq!(reader.opening().await, (0, None));
            let mut cursors = BTreeSet::new();
            let found = loop {
                match reader.next().await.unwrap().remove(0) {
                    Said::Cursor(at) => assert!(cursors.insert(at), "{at} twice"),
                    Said::Event(at) => break at,
                    other => panic!("{other:?} in a search"),
                }
            };
            assert_eq!(found, EVENTS - 1);
            let first = *cursors.first().expect("a long search gives cursors");
            assert!((8192..EVENTS - 1).contains(&first), "{cursors:?}");
            assert!(cursors.len() < 10, "{} cursors", cursors.len());
            // Who is cut off there searches on from there.
            let seen = fixture.after(first);
            let mut again = fixture
                .open_with(topics, seen, Some(types), Format::Raw)
                .await;
            assert_eq!(again.opening().await, (first, None));
            assert_eq!(again.events(1).await, [EVENTS - 1]);
        }
    }
}
