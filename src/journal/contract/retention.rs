//! A prefix goes, and whoever asks for it is told.

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

pub(in crate::journal) async fn old_events_go_and_the_floor_says_so(factory: &impl Factory) {
    let hands = TestClock::at(NOON);
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
        let last = journal.start_of_last_n(&selection, 1000).await.unwrap();
        assert_eq!(last, Sequence(2), "the oldest that is still here");
    }
    assert_eq!(
        (journal.floor(), journal.head()),
        (Sequence(2), Sequence(10))
    );
}

pub(in crate::journal) async fn a_clock_that_jumps_deletes_nothing_until_it_has_held(
    factory: &impl Factory,
) {
    let hands = TestClock::at(NOON);
    let (journal, _guard) = factory.open(ROOMY, hands.settable_clock()).await;
    for _ in 0..10 {
        append(&*journal, draft("a", "x")).await;
    }
    let eight_days = Duration::from_secs(8 * 86_400);
    // Retention runs every five milliseconds here.
    let look = async || {
        append(&*journal, draft("a", "x")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        journal.floor()
    };
    hands.set_off(true, eight_days);
    for _ in 0..3 {
        hands.advance(Duration::from_secs(1));
        assert_eq!(look().await, Sequence::ZERO);
    }
    hands.set_off(true, Duration::ZERO);
    assert_eq!(look().await, Sequence::ZERO);
    hands.set_off(true, eight_days);
    assert_eq!(look().await, Sequence::ZERO);
    hands.advance(Duration::from_secs(3_600));
    until(|| journal.floor() == journal.head()).await;
}

pub(in crate::journal) async fn an_event_from_the_future_keeps_nothing_behind_it(
    factory: &impl Factory,
) {
    let hands = TestClock::at(NOON);
    let (journal, _guard) = factory.open(ROOMY, hands.clock()).await;
    let at = |received_at| Draft {
        received_at,
        ..draft("a", "x")
    };
    // More than one step of retention looks at, from a year ahead.
    for _ in 0..3_000 {
        append(&*journal, at(NOON.plus(365 * DAY))).await;
    }
    append(&*journal, at(NOON)).await;
    append(&*journal, at(NOON.plus(365 * DAY))).await;
    append(&*journal, at(NOON.plus(DAY))).await;
    hands.advance(ROOMY.retention.age + DAY / 2);
    until(|| journal.floor() == Sequence(3_001)).await;
    hands.advance(DAY);
    until(|| journal.floor() == Sequence(3_003)).await;
    // What comes last has nothing behind it: it is as old as it says.
    append(&*journal, at(NOON.plus(365 * DAY))).await;
    hands.advance(DAY);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(journal.floor(), Sequence(3_003));
    hands.advance(366 * DAY + ROOMY.retention.age);
    until(|| journal.floor() == Sequence(3_004)).await;
}

pub(in crate::journal) async fn beyond_the_bytes_the_oldest_events_go(factory: &impl Factory) {
    let bounds = Bounds {
        retention: Retention {
            bytes: 200_000,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    let (journal, _guard) = factory.open(bounds, TestClock::at(NOON).clock()).await;
    for _ in 0..1000 {
        append(&*journal, draft("a", vec![b'x'; 1000])).await;
        assert!(journal.floor() <= journal.head());
    }
    until(|| journal.floor() >= Sequence(800)).await;
    let before = journal.floor();
    let events = read_all(&*journal, &topics(&["a"]), 1 << 20).await;
    let kept = events.len();
    assert!((150..=200).contains(&kept), "{kept} are left");
    assert_eq!(events[kept - 1].sequence, Sequence(1000));
    // It may still be at work.
    let floors = before..=journal.floor();
    assert!(floors.contains(&events[0].sequence.previous()));
}

pub(in crate::journal) async fn dedup_outlives_the_event_it_speaks_of(factory: &impl Factory) {
    let bounds = Bounds {
        retention: Retention {
            bytes: 1000,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    let (journal, _guard) = factory.open(bounds, TestClock::at(NOON).clock()).await;
    journal.append(draft("a", "x"), Some(key(1))).await.unwrap();
    append(&*journal, draft("a", vec![0; 1000])).await;
    until(|| journal.floor() >= Sequence(1)).await;
    let again = journal.append(draft("a", "x"), Some(key(1))).await.unwrap();
    assert_eq!((again.sequence, again.duplicate), (Sequence(1), true));
}

pub(in crate::journal) async fn when_all_is_deleted_the_head_stays(factory: &impl Factory) {
    let hands = TestClock::at(NOON);
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
            journal.start_of_last_n(&selection, 3).await.unwrap(),
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

pub(in crate::journal) async fn a_reader_behind_the_floor_is_told(factory: &impl Factory) {
    let bounds = Bounds {
        retention: Retention {
            bytes: 20_000,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    let (journal, _guard) = factory.open(bounds, TestClock::at(NOON).clock()).await;
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

pub(in crate::journal) async fn a_follower_behind_the_floor_goes_on_after_it(
    factory: &impl Factory,
) {
    let hands = TestClock::at(NOON);
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
