//! What only a journal of several segments can get wrong.

use hookrill_core::Draft;

use super::{damage::of_kind, *};

#[tokio::test]
async fn one_read_looks_into_a_bounded_number_of_segments() {
    let folder = tempfile::tempdir().unwrap();
    let few = Env {
        sizes: tiny().sizes.map(|sizes| Sizes {
            segments_per_read: 3,
            segment_events: 10,
            ..sizes
        }),
        ..tiny()
    };
    let disk = open_in(settings(folder.path()), ROOMY, few).await.unwrap();
    for n in 0..100 {
        let name = if n == 95 { "rare" } else { "a" };
        append(&disk, draft(name, "x")).await;
    }
    let rare = Selection::topic("rare".parse().unwrap());
    let page = disk.read(&rare, Sequence::ZERO, 1000).await.unwrap();
    assert_eq!((page.events.len(), page.scanned), (0, Sequence(30)));
    assert_eq!(sequences(&read_all(&disk, &rare, 1000).await), [96]);
    let from = disk.start_of_last_n(&rare, 2).await.unwrap();
    assert_eq!(from, Sequence(95), "the search goes on, step by step");
    let all = Selection::topic("a".parse().unwrap());
    assert_eq!(
        disk.start_of_last_n(&all, 99).await.unwrap(),
        Sequence::ZERO
    );
}

/// In segments that have the types and in others, sealed or not.
#[tokio::test]
async fn what_is_not_wanted_by_its_type_is_not_read_from_the_log() {
    const BODY_BYTES: usize = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let sizes = Sizes {
        segment_bytes: 1 << 20,
        ..tiny().sizes.unwrap()
    };
    let env = Env {
        sizes: Some(sizes),
        ..tiny()
    };
    let disk = open_in(settings(folder.path()), ROOMY, env).await.unwrap();
    for n in 1..=300_u64 {
        let event_type = match n {
            150 => "rare",
            _ if n > 200 && n % 7 == 0 => "late",
            _ => "webhook",
        };
        let draft = Draft {
            event_type: event_type.into(),
            ..draft("a.b", vec![b'x'; BODY_BYTES])
        };
        append(&disk, draft).await;
    }
    let files = disk.reads.files_for_tests();
    let of_types = |types: &[&str]| Selection {
        types: Some(types.iter().map(|&name| name.into()).collect()),
        ..Selection::topic("a".parse().unwrap())
    };
    for (types, expected) in [
        (&["absent"][..], vec![]),
        (&["rare"], vec![150]),
        (
            &["absent", "late"],
            (201..=300).filter(|n| n % 7 == 0).collect(),
        ),
    ] {
        let before = files.segments.log_bytes_read.load(Ordering::SeqCst);
        let events = read_all(&disk, &of_types(types), 1 << 20).await;
        assert_eq!(sequences(&events), expected);
        let read = files.segments.log_bytes_read.load(Ordering::SeqCst) - before;
        // The thread that deletes looks at a stamp now and then.
        let most = expected.len() * (BODY_BYTES + 200) + BODY_BYTES / 2;
        assert!(read <= most as u64, "{read} bytes for {types:?}");
        disk.start_of_last_n(&of_types(types), 1000).await.unwrap();
        let after = files.segments.log_bytes_read.load(Ordering::SeqCst);
        let more = after - before - read;
        assert!(
            more <= BODY_BYTES as u64 / 2,
            "the newest are found in indexes"
        );
    }
}

/// Events whose stamps say nothing are looked at once, and not in each period.
#[tokio::test]
async fn events_from_the_future_are_not_looked_at_again_and_again() {
    const EVENTS: u64 = 5_000;
    let folder = tempfile::tempdir().unwrap();
    let disk = open_in(settings(folder.path()), ROOMY, quick()).await;
    let disk = disk.unwrap();
    let stamped = |received_at| Draft {
        received_at,
        ..draft("a", "x")
    };
    let year = Duration::from_secs(365 * 86_400);
    let future = (0..EVENTS).map(|_| disk.append(stamped(NOON.plus(year)), None));
    join_all(future).await;
    append(&disk, stamped(NOON)).await;
    let files = disk.reads.files_for_tests();
    let read = || files.segments.log_bytes_read.load(Ordering::SeqCst);
    // Of each that is looked at, its stamp alone is read.
    let looks = || read() / crate::journal::stored::ARRIVAL_END as u64;
    until(|| looks() > EVENTS).await;
    let before = looks();
    tokio::time::sleep(20 * quick().maintenance_period).await;
    assert!(looks() - before <= EVENTS, "{} looks", looks() - before);
}

/// A read of a quiet journal must not take as long as reading all its indexes.
#[tokio::test]
async fn a_read_that_finds_nothing_loads_a_bounded_number_of_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = Sizes {
        segment_events: 1 << 12,
        segment_bytes: 1 << 20,
        ..tiny().sizes.unwrap()
    };
    let env = || Env {
        sizes: Some(sizes),
        ..tiny()
    };
    let written = open_in(settings(folder.path()), ROOMY, env());
    let written = written.await.unwrap();
    join_all((0..100_000).map(|_| written.append(draft("a", ""), None))).await;
    written.close().await;
    let disk = open_in(settings(folder.path()), ROOMY, env())
        .await
        .unwrap();
    let files = disk.reads.files_for_tests();
    let rare = Selection::topic("rare".parse().unwrap());
    // The start may have loaded one, to seal a segment.
    let (mut position, mut loaded) = (Sequence::ZERO, files.segments.indexes_in_memory());
    while position < disk.head() {
        position = disk.read(&rare, position, 1000).await.unwrap().scanned;
        let now = files.segments.indexes_in_memory();
        // And one that the thread which deletes may need.
        assert!(now <= loaded + 8 + 1, "{now} indexes after {loaded}");
        loaded = now;
    }
    assert!(loaded >= 20, "{loaded} indexes were loaded");
}

#[tokio::test]
async fn a_rolled_segment_is_sealed_and_its_files_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let disk = open_in(settings(folder.path()), ROOMY, tiny())
        .await
        .unwrap();
    for n in 0..100 {
        let appended = disk.append(draft("a", vec![0; 200]), Some(key(n)));
        appended.await.unwrap();
    }
    let count = |kind| of_kind(folder.path(), kind).len();
    until(|| count(FileKind::Index) + 1 == count(FileKind::Log)).await;
    assert_eq!(count(FileKind::Index), count(FileKind::Dedup));
    assert!(count(FileKind::Log) > 4);
    for kind in [FileKind::Log, FileKind::Index, FileKind::Dedup] {
        for path in of_kind(folder.path(), kind) {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}

#[tokio::test]
async fn events_older_than_is_kept_leave_the_disk_though_nothing_follows_them() {
    let folder = tempfile::tempdir().unwrap();
    let hands = TestClock::at(NOON);
    let place = settings(folder.path());
    let disk = Disk::open_in(place, ROOMY, hands.clock(), CommitMetrics::noop(), quick());
    let disk = disk.await.unwrap();
    let first = || of_kind(folder.path(), FileKind::Log)[0].clone();
    for n in 0..5 {
        let appended = disk.append(draft("a", "secret"), Some(key(n)));
        appended.await.unwrap();
    }
    let begun = first();
    hands.advance(ROOMY.retention.age + Duration::from_secs(1));
    until(|| !begun.exists()).await;
    until(|| of_kind(folder.path(), FileKind::Index).is_empty()).await;
    // Their dedup entries expired after an hour.
    until(|| of_kind(folder.path(), FileKind::Dedup).is_empty()).await;
    assert_eq!((disk.floor(), disk.head()), (Sequence(5), Sequence(5)));
    disk.close().await;
    assert_eq!(
        append(&open(folder.path()).await, draft("a", "x")).await,
        Sequence(6)
    );
}

/// What is remembered of a section that sends little is in old files, which stay while
/// another section fills new ones, up to a bound.
#[tokio::test]
async fn a_section_that_sends_much_makes_no_other_forgotten_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds {
        retention: Retention {
            bytes: 4_000,
            ..ROOMY.retention
        },
        dedup_entries_max: 40,
    };
    let of_section = |section: &str, n: u16| {
        let mut dedup = Dedup {
            section: Some(section.parse().unwrap()),
            ..key(0)
        };
        dedup.key[..2].copy_from_slice(&n.to_le_bytes());
        Some(dedup)
    };
    let send = async |disk: &Disk, section, n| {
        let appended = disk.append(draft("a", "x"), of_section(section, n)).await;
        appended.unwrap().duplicate
    };
    let open = || open_in(settings(folder.path()), bounds, tiny());
    let before = open().await.unwrap();
    for n in 0..10 {
        assert!(!send(&before, "quiet", n).await);
    }
    for n in 0..100 {
        assert!(!send(&before, "flood", n).await);
    }
    before.close().await;
    let after = open().await.unwrap();
    for n in 0..10 {
        assert!(send(&after, "quiet", n).await, "{n}");
    }
    for n in 100..1_000 {
        assert!(!send(&after, "flood", n).await);
    }
    // Only so many entries stay on the disk, whoever they are of.
    until(|| {
        let files = of_kind(folder.path(), FileKind::Dedup);
        let bytes = files
            .iter()
            .map(|path| fs::metadata(path).map_or(0, |file| file.len()));
        bytes.sum::<u64>() <= 2 * 4 * 40 * 32
    })
    .await;
    assert!(after.floor() > Sequence(10), "their segment is gone");
}

/// A machine that starts without a battery for its clock, before it is set right.
#[tokio::test]
async fn a_start_with_a_clock_that_is_wrong_deletes_and_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let hands = TestClock::at(NOON);
    let open = || {
        let (place, clock) = (settings(folder.path()), hands.settable_clock());
        Disk::open_in(place, ROOMY, clock, CommitMetrics::noop(), tiny())
    };
    let send = async |disk: &Disk, n| {
        let appended = disk.append(draft("a", "x"), Some(key(n))).await;
        appended.unwrap().duplicate
    };
    let first = open().await.unwrap();
    for n in 0..50 {
        assert!(!send(&first, n).await);
    }
    first.close().await;
    hands.advance(Duration::from_secs(30));
    for is_ahead in [true, false] {
        hands.set_off(is_ahead, Duration::from_secs(400 * 86_400));
        let disk = open().await.unwrap();
        for n in 0..50 {
            assert!(send(&disk, n).await, "{n}");
        }
        hands.advance(Duration::from_secs(3));
        hands.set_off(is_ahead, Duration::ZERO);
        for n in 0..50 {
            assert!(send(&disk, n).await, "{n}");
        }
        disk.close().await;
    }
    let last = open().await.unwrap();
    assert_eq!((last.floor(), last.head()), (Sequence::ZERO, Sequence(50)));
}

#[tokio::test]
async fn dedup_outlives_the_segment_it_speaks_of_over_restarts_and_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let tight = |dedup_entries_max| Bounds {
        retention: Retention {
            bytes: 8000,
            ..ROOMY.retention
        },
        dedup_entries_max,
    };
    let disk = open_in(settings(folder.path()), tight(1 << 20), tiny())
        .await
        .unwrap();
    for n in 1..=100 {
        let appended = disk.append(draft("a", vec![0; 500]), Some(key(n)));
        appended.await.unwrap();
    }
    let begun = segment::path(folder.path(), Sequence(1), FileKind::Log);
    until(|| disk.floor() >= Sequence(80) && !begun.exists()).await;
    disk.close().await;
    for _ in 0..3 {
        let reopened = open_in(settings(folder.path()), tight(1 << 20), tiny());
        let reopened = reopened.await.unwrap();
        for n in 1..=100 {
            let again = reopened.append(draft("a", "x"), Some(key(n)));
            let again = again.await.unwrap();
            assert_eq!((again.sequence.0, again.duplicate), (n.into(), true));
        }
        // Time enough to delete what should stay.
        let marked = append(&reopened, draft("a", "x")).await;
        let known = || {
            HighWaterMark::load(folder.path())
                .unwrap()
                .unwrap()
                .sequence
        };
        until(|| known() == marked).await;
        append(&reopened, draft("a", "x")).await;
        until(|| known() > marked).await;
        reopened.close().await;
    }
    // There is no other copy of such a file.
    let orphan = of_kind(folder.path(), FileKind::Dedup)[0].clone();
    let whole = fs::read(&orphan).unwrap();
    for at in [20, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&orphan, bytes).unwrap();
        let refused = try_open(folder.path()).await.err().unwrap();
        assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
    }
    fs::write(&orphan, whole).unwrap();
    let before = of_kind(folder.path(), FileKind::Dedup).len();
    let bounded = open_in(settings(folder.path()), tight(30), tiny())
        .await
        .unwrap();
    for (n, duplicate) in [(71, true), (100, true), (70, false), (72, true)] {
        let again = bounded.append(draft("a", "x"), Some(key(n))).await.unwrap();
        assert_eq!(again.duplicate, duplicate, "key {n}");
    }
    // Files that have only forgotten entries are deleted.
    until(|| of_kind(folder.path(), FileKind::Dedup).len() + 3 < before).await;
}

#[tokio::test]
async fn topics_with_long_names_do_not_let_an_index_grow_without_bound() {
    let folder = tempfile::tempdir().unwrap();
    let small = Env {
        sizes: tiny().sizes.map(|sizes| Sizes {
            segment_bytes: 1 << 20,
            segment_events: 1 << 20,
            index_bytes: 10_000,
            ..sizes
        }),
        ..tiny()
    };
    let disk = open_in(settings(folder.path()), ROOMY, small)
        .await
        .unwrap();
    for n in 0..200 {
        let name = format!("a.{}.{n}", "long".repeat(20));
        append(&disk, draft(&name, "x")).await;
    }
    let files = disk.reads.files_for_tests();
    let segments = files.segments.list();
    assert!(segments.len() > 3);
    for segment in segments.iter() {
        let bytes = files
            .segments
            .with_index(segment, super::super::index::Index::bytes);
        assert!(bytes.unwrap() < 11_000);
    }
    let under_a = Selection::topic("a".parse().unwrap());
    drop(files);
    assert_eq!(read_all(&disk, &under_a, 1 << 20).await.len(), 200);
}

fn all_topics(limit: usize) -> StoredTopicsQuery {
    StoredTopicsQuery {
        after: None,
        under: None,
        limit,
        recent_from: NOON,
    }
}

#[tokio::test]
async fn counts_are_the_same_after_a_restart_and_where_index_files_are_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open_in(settings(folder.path()), ROOMY, tiny())
        .await
        .unwrap();
    for n in 0..300 {
        append(&disk, draft(&format!("a.{}", n % 7), vec![0; n])).await;
    }
    let before = disk.stored_topics(all_topics(100)).await.unwrap();
    assert_eq!((before.topics.len(), before.total.events), (8, 300));
    disk.close().await;
    let reopened = open_in(settings(folder.path()), ROOMY, tiny())
        .await
        .unwrap();
    let after = reopened.stored_topics(all_topics(100)).await.unwrap();
    assert_eq!((&after.topics, after.total), (&before.topics, before.total));
    let indexes = of_kind(folder.path(), FileKind::Index);
    assert!(indexes.len() > 4);
    for (place, path) in indexes.iter().enumerate() {
        let mut bytes = fs::read(path).unwrap();
        bytes[130] ^= 1;
        match place % 2 {
            0 => fs::write(path, bytes).unwrap(),
            _ => fs::remove_file(path).unwrap(),
        }
    }
    let damaged = reopened.stored_topics(all_topics(100)).await.unwrap();
    assert_eq!(
        (&damaged.topics, damaged.total),
        (&before.topics, before.total)
    );
}

#[tokio::test]
async fn of_too_many_segments_the_newest_are_counted_and_the_answer_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let few = Env {
        sizes: tiny().sizes.map(|sizes| Sizes {
            segments_counted: 3,
            segment_events: 10,
            ..sizes
        }),
        ..tiny()
    };
    let disk = open_in(settings(folder.path()), ROOMY, few).await.unwrap();
    for n in 0..30 {
        append(&disk, draft(if n < 5 { "early" } else { "a" }, "x")).await;
    }
    let whole = disk.stored_topics(all_topics(9)).await.unwrap();
    assert_eq!(
        (whole.total.events, whole.counted_after),
        (30, Sequence::ZERO)
    );
    for _ in 30..65 {
        append(&disk, draft("a", "x")).await;
    }
    let part = disk.stored_topics(all_topics(9)).await.unwrap();
    assert_eq!(part.topics.len(), 1, "the early ones were not looked at");
    assert_eq!((part.total.events, part.counted_after), (25, Sequence(40)));
    assert_eq!(part.total.span, Some((Sequence(41), Sequence(65))));
}

#[tokio::test]
async fn counting_leaves_the_indexes_of_readers_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open_in(settings(folder.path()), ROOMY, tiny())
        .await
        .unwrap();
    for n in 0..300 {
        append(&disk, draft(&format!("a.{n}"), "x")).await;
    }
    until(|| of_kind(folder.path(), FileKind::Index).len() > 4).await;
    disk.close().await;
    let reopened = open_in(settings(folder.path()), ROOMY, tiny())
        .await
        .unwrap();
    let page = reopened.stored_topics(all_topics(10)).await.unwrap();
    assert!(page.has_more && page.topics.len() == 10);
    // Retention has looked at the oldest.
    let files = reopened.reads.files_for_tests();
    assert!(files.segments.indexes_in_memory() <= 1);
}
