//! Ordering, resume and gaps, over the journal in memory and the real pump.
//! Read several times, each with a way out of its own.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use hookrill_core::{Timestamp, Topic, Topics};

use super::*;

/// Everything from the journal to the streams, with a ring and a journal of
/// these sizes.
async fn fixture_of(ring_bytes: usize, retain_bytes: u64) -> Fixture {
    Fixture::with(WAY, ring_bytes, retain_bytes, Fixture::HEARTBEAT).await
}

async fn fixture_with_heartbeat(heartbeat: Duration) -> Fixture {
    Fixture::with(WAY, 1 << 20, 1 << 30, heartbeat).await
}

async fn fixture() -> Fixture {
    fixture_of(1 << 20, 1 << 30).await
}

#[tokio::test]
async fn a_live_subscriber_gets_its_topics_and_their_subtopics() {
    let fixture = fixture().await;
    let mut reader = fixture.open(&["a"], Start::Now).await;
    assert_eq!(reader.opening().await, (0, None));
    for topic in ["a", "b", "a.b", "ab", "a.b.c"] {
        fixture.store(topic, "t", "x").await;
    }
    assert_eq!(reader.events(3).await, [1, 3, 5]);
    assert!(reader.is_quiet());
}

#[tokio::test]
async fn a_stream_of_overlapping_topics_has_each_event_once_and_in_order() {
    let fixture = fixture().await;
    let topics = ["a", "a.b", "b.c", "b", "z"];
    let mut reader = fixture.open(&topics, Start::Now).await;
    let mut replaying = fixture.open(&topics, Start::Earliest).await;
    for turn in 0..200 {
        fixture
            .store(["a.b", "b.c", "a", "x", "b"][turn % 5], "t", "x")
            .await;
    }
    let expected: Vec<u64> = (1..=200).filter(|n| n % 5 != 4).collect();
    assert_eq!(reader.events(160).await, expected);
    assert_eq!(replaying.events(160).await, expected);
}

#[tokio::test]
async fn sixty_four_topics_arrive_in_the_order_they_were_stored() {
    let fixture = fixture().await;
    let names: Vec<String> = (0..64).map(|n| format!("t{n}.x")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut reader = fixture.open(&names, Start::Now).await;
    for n in 0..640 {
        fixture.store(names[n * 7 % 64], "t", "x").await;
    }
    let expected: Vec<u64> = (1..=640).collect();
    assert_eq!(reader.events(640).await, expected);
}

#[tokio::test]
async fn any_earlier_id_yields_exactly_what_followed() {
    let fixture = fixture_of(4_000, 1 << 30).await;
    for n in 0..300 {
        fixture.store(["a.x", "b"][n % 2], "t", "x").await;
    }
    for after in [0, 1, 2, 150, 298, 299, 300] {
        let mut reader = fixture.open(&["a"], fixture.after(after)).await;
        assert_eq!(reader.opening().await, (after, None));
        let expected: Vec<u64> = (after + 1..=300).filter(|n| n % 2 == 1).collect();
        assert_eq!(reader.events(expected.len()).await, expected);
        assert!(reader.is_quiet(), "after {after}");
    }
}

#[tokio::test]
async fn a_client_that_saw_only_the_opening_cursor_resumes_without_loss() {
    let fixture = fixture().await;
    fixture.store_many("a", 5).await;
    let mut first = fixture.open(&["a"], Start::Now).await;
    let (seen, _) = first.opening().await;
    drop(first);
    fixture.store_many("a", 3).await;
    let mut again = fixture.open(&["a"], fixture.after(seen)).await;
    assert_eq!(again.events(3).await, [6, 7, 8]);
}

#[tokio::test]
async fn the_newest_are_counted_after_types() {
    let fixture = fixture().await;
    for n in 0..30 {
        let event_type = ["push", "issues", "ping"][n % 3];
        fixture.store("a.b", event_type, "x").await;
    }
    let types = Some(&["issues", "ping"][..]);
    let start = Start::Last(3);
    let mut reader = fixture.open_with(&["a"], start, types, Format::Raw).await;
    let (before, _) = reader.opening().await;
    assert_eq!(before, 26);
    assert_eq!(reader.events(3).await, [27, 29, 30]);
    fixture.store("a", "push", "x").await;
    fixture.store("a", "ping", "x").await;
    assert_eq!(reader.events(1).await, [32]);
}

#[tokio::test]
async fn an_id_that_cannot_be_continued_is_told_of_before_any_event() {
    let fixture = fixture_of(1 << 20, 30_000).await;
    fixture.store_many("a", 400).await;
    let floor = fixture.journal.floor().0;
    assert!(floor > 0, "the test needs deleted events");
    let other: Cursor = "another-5".parse().unwrap();
    for (start, reason, resumed) in [
        (Start::After(other), "epoch", floor),
        (fixture.after(floor - 1), "retention", floor),
        (fixture.after(401), "unknown", 400),
        (fixture.after(u64::MAX), "unknown", 400),
    ] {
        let mut reader = fixture.open(&["a"], start).await;
        let (at, gap) = reader.opening().await;
        let Start::After(asked) = start else {
            unreachable!()
        };
        // Until it has the gap, the client keeps the id it came with.
        assert_eq!(at, asked.sequence.0);
        let expected = format!(
            r#"{{"reason":"{reason}","asked":"{asked}","resumed":"{}"}}"#,
            fixture.cursor(resumed)
        );
        assert_eq!(gap, Some(expected));
        let rest: Vec<u64> = (resumed + 1..=400).collect();
        assert_eq!(reader.events(rest.len()).await, rest);
    }
    let mut reader = fixture.open(&["a"], fixture.after(floor)).await;
    assert_eq!(reader.opening().await, (floor, None));
}

#[tokio::test]
async fn a_reader_that_retention_overtakes_is_told_of_the_gap() {
    let fixture = fixture_of(1_000, 60_000).await;
    fixture.store_many("a", 200).await;
    let mut reader = fixture.open(&["a"], Start::Earliest).await;
    let (opened_at, _) = reader.opening().await;
    fixture.store_many("a", 2_000).await;
    let floor = fixture.journal.floor().0;
    let mut seen = Vec::new();
    let mut gaps = Vec::new();
    while seen.last() != Some(&2_200) {
        for said in reader.next().await.unwrap() {
            match said {
                Said::Event(sequence) => seen.push(sequence),
                Said::Gap(gap) => gaps.push((seen.last().copied().unwrap_or(opened_at), gap)),
                other => panic!("{other:?}"),
            }
        }
    }
    let [(before, gap)] = &gaps[..] else {
        panic!("one gap, not {gaps:?}");
    };
    let (asked, resumed) = (fixture.cursor(*before), fixture.cursor(floor));
    assert_eq!(
        *gap,
        format!(r#"{{"reason":"retention","asked":"{asked}","resumed":"{resumed}"}}"#)
    );
    let expected: Vec<u64> = (opened_at + 1..=*before).chain(floor + 1..=2_200).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_reader_that_lags_misses_nothing_and_pins_nothing() {
    let fixture = fixture_of(20_000, 1 << 30).await;
    let mut slow = fixture.open(&["a"], Start::Now).await;
    let mut slow_of_many = fixture.open(&["a", "b"], Start::Now).await;
    slow.opening().await;
    slow_of_many.opening().await;
    assert!(slow.is_quiet() && slow_of_many.is_quiet());
    fixture.store_many("a", 1_000).await;
    fixture.told(1_000).await;
    assert!(fixture.hub.ring().begin() > Sequence(900));
    let expected: Vec<u64> = (1..=1_000).collect();
    assert_eq!(slow.events(1_000).await, expected);
    assert_eq!(slow_of_many.events(1_000).await, expected);
    assert!(
        fixture
            .streams
            .context
            .telemetry
            .render()
            .contains("hookrill_lagged_total 1")
    );
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_moves_a_quiet_client_past_what_was_filtered() {
    let fixture = fixture().await;
    let mut reader = fixture
        .open_with(&["a"], Start::Now, Some(&["wanted"]), Format::Raw)
        .await;
    let mut elsewhere = fixture.open(&["b", "c"], Start::Now).await;
    reader.opening().await;
    elsewhere.opening().await;
    let streams = Arc::clone(&fixture.streams);
    let beating = streams.run_heartbeats();
    let checks = async {
        fixture.store_many("a", 7).await;
        fixture.told(7).await;
        assert_eq!(reader.next().await, Some(vec![Said::Cursor(7)]));
        assert_eq!(elsewhere.next().await, Some(vec![Said::Cursor(7)]));
        fixture.store("a", "wanted", "x").await;
        assert_eq!(reader.events(1).await, [8]);
        fixture.told(8).await;
        assert_eq!(reader.next().await, Some(vec![Said::Cursor(8)]));
    };
    tokio::select! {
        () = beating => {}
        () = checks => {}
    }
}

#[tokio::test(start_paused = true)]
async fn every_line_of_ndjson_is_a_cloud_event() {
    let fixture = fixture().await;
    let other = Start::After("another-5".parse().unwrap());
    let mut reader = fixture.open_with(&["a"], other, None, Format::NdJson).await;
    let streams = Arc::clone(&fixture.streams);
    let checks = async {
        let mut lines = Vec::new();
        while lines.len() < 4 {
            let text = reader.text().await.unwrap();
            lines.extend(text.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec));
        }
        fixture.store("a", "t", "{ }").await;
        fixture.told(1).await;
        lines.push(reader.text().await.unwrap());
        let said = lines.iter().map(|line| {
            let line: serde_json::Value = serde_json::from_slice(line).unwrap();
            format!("{} {} {}", line["type"], line["id"], line["data"])
        });
        let at = |sequence| fixture.cursor(sequence);
        let gap = format!(
            r#"{{"asked":"another-5","reason":"epoch","resumed":"{}"}}"#,
            at(0)
        );
        let expected = [
            r#""hookrill.cursor" "another-5" {}"#.to_owned(),
            format!(r#""hookrill.gap" "{}" {gap}"#, at(0)),
            format!(r#""hookrill.cursor" "{}" {{"live":true}}"#, at(0)),
            format!(r#""hookrill.cursor" "{}" {{}}"#, at(0)),
            format!(r#""t" "{}" {{}}"#, at(1)),
        ];
        assert_eq!(said.collect::<Vec<_>>(), expected);
    };
    tokio::select! {
        () = streams.run_heartbeats() => {}
        () = checks => {}
    }
}

#[tokio::test]
async fn a_drain_ends_every_stream_with_a_wait_and_those_to_come() {
    let fixture = fixture().await;
    let mut live = fixture.open(&["a"], Start::Now).await;
    live.opening().await;
    fixture.store_many("a", 3).await;
    assert_eq!(live.events(3).await, [1, 2, 3]);
    assert!(live.is_quiet());
    fixture.streams.drain();
    let mut late = fixture.open(&["a"], Start::Now).await;
    assert_eq!(late.opening().await, (3, None));
    for reader in [&mut live, &mut late] {
        assert_eq!(reader.next().await, Some(vec![Said::Retry(3)]));
        assert_eq!(reader.next().await, None);
    }
}

/// Its last cursor is behind the gap.
#[tokio::test]
async fn a_gap_is_told_before_a_drain_ends_the_stream() {
    let fixture = fixture().await;
    fixture.store_many("a", 2).await;
    let other = Start::After("another-5".parse().unwrap());
    let mut opening = fixture.open(&["a"], other).await;
    let mut overtaken = fixture.open(&["a"], fixture.after(0)).await;
    overtaken.opening().await;
    let state = &mut overtaken.subscription.state;
    state.supply(&history::HistoryPage {
        frames: Arc::new([]),
        after: Sequence(0),
        scanned: Sequence(1),
        floor: Sequence(1),
        is_damaged: false,
    });
    fixture.streams.drain();
    let (_, gap) = opening.opening().await;
    assert!(gap.unwrap().contains("epoch"));
    assert_eq!(opening.next().await, Some(vec![Said::Retry(0)]));
    let told = overtaken.next().await;
    assert!(matches!(told.as_deref(), Some([Said::Gap(_)])), "{told:?}");
    assert_eq!(overtaken.next().await, Some(vec![Said::Retry(1)]));
    assert_eq!(overtaken.next().await, None);
}

#[tokio::test]
async fn a_client_is_told_at_once_that_the_replay_is_over() {
    let fixture = fixture_of(1_000, 1 << 30).await;
    // Nothing to replay: the opening says it.
    let mut empty = fixture.open(&["a"], Start::Earliest).await;
    fixture.store_many("a", 40).await;
    fixture.told(40).await;
    let mut now = fixture.open(&["a"], Start::Now).await;
    let mut replaying = fixture.open(&["a"], Start::Earliest).await;
    let mut nothing_of_its_own = fixture.open(&["b"], Start::Earliest).await;
    let mut with_a_gap = fixture.open(&["a"], fixture.after(99)).await;
    for (reader, events, live_at) in [
        (&mut empty, 40, 0),
        (&mut now, 0, 40),
        (&mut replaying, 40, 40),
        (&mut nothing_of_its_own, 0, 40),
        (&mut with_a_gap, 0, 40),
    ] {
        reader.opening().await;
        assert_eq!(reader.events(events).await.len(), events);
        assert!(reader.is_quiet());
        assert_eq!(reader.live_at, [live_at]);
    }
    // Once: who falls behind later is not told again.
    fixture.store_many("a", 400).await;
    fixture.told(440).await;
    assert_eq!(replaying.events(400).await.len(), 400);
    assert!(replaying.is_quiet());
    assert_eq!(replaying.live_at, [40]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_grant_does() {
    let fixture = fixture().await;
    fixture.store_many("a", 3).await;
    let topic: Topic = "a".parse().unwrap();
    let ends = Timestamp::from_unix_secs(1_060);
    let grant = Grant::without_token(Topics::these(vec![topic]), Some(ends));
    let request = Request {
        start: Start::Earliest,
        foreign_id: None,
        resumes: false,
        types: None,
        format: Format::Raw,
        coding: WAY.coding(),
        names: None,
        data_bytes_max: Form::DATA_BYTES_UNBOUNDED,
    };
    let open = || fixture.streams.open(&grant, request.clone(), None);
    let mut live = Reader::new(open().await.unwrap(), WAY);
    let mut replaying = Reader::new(open().await.unwrap(), WAY);
    assert_eq!(live.events(3).await, [1, 2, 3]);
    let begun = tokio::time::Instant::now();
    let mut told = live.next().await;
    while matches!(told.as_deref(), Some([Said::Cursor(_)])) {
        told = live.next().await;
    }
    assert_eq!(told, Some(vec![Said::Expiring(6, 3)]));
    assert_eq!(begun.elapsed().as_secs(), 54);
    assert_eq!(live.next().await, None, "told once");
    assert_eq!(begun.elapsed().as_secs(), 60);
    assert_eq!(
        replaying.next().await,
        None,
        "also in the middle of a replay"
    );
}

/// Granted before, opened after: nobody was there to be called.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_opened_behind_a_reload_is_looked_at_once_more() {
    let fixture = fixture().await;
    fixture.store_many("a", 3).await;
    let topics = |name: &str| Topics::these(vec![name.parse().unwrap()]);
    let open = async |grant: &Grant| {
        let request = Request {
            start: Start::Earliest,
            foreign_id: None,
            resumes: false,
            types: None,
            format: Format::Raw,
            coding: WAY.coding(),
            names: None,
            data_bytes_max: Form::DATA_BYTES_UNBOUNDED,
        };
        Reader::new(
            fixture.streams.open(grant, request, None).await.unwrap(),
            WAY,
        )
    };
    let grant = |name: &str| {
        fixture
            .access
            .check(topics(name), None, Timestamp::default())
    };
    let (a, b) = (grant("a").unwrap(), grant("b").unwrap());
    let mut before = open(&a).await;
    assert_eq!(before.events(3).await, [1, 2, 3]);
    fixture.close("a");
    fixture.store("a", "t", "x").await;
    for mut of_a in [before, open(&a).await] {
        assert_eq!(of_a.next().await, None);
    }
    let mut of_b = open(&b).await;
    fixture.store("b", "t", "x").await;
    assert_eq!(of_b.events(1).await, [5]);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_in_time_that_its_token_ends() {
    let fixture = fixture().await;
    for (life, notice) in [
        (4, None),
        (5, None),
        (6, Some(5)),
        (300, Some(30)),
        (9_999, Some(60)),
    ] {
        let ends = Timestamp::from_unix_secs(1_000 + life);
        let grant = Grant::without_token(Topics::these(vec!["a".parse().unwrap()]), Some(ends));
        let request = Request {
            start: Start::Now,
            foreign_id: None,
            resumes: false,
            types: None,
            format: Format::CloudEvents,
            coding: WAY.coding(),
            names: None,
            data_bytes_max: Form::DATA_BYTES_UNBOUNDED,
        };
        let stream = fixture.streams.open(&grant, request, None).await.unwrap();
        let mut reader = Reader::new(stream, WAY);
        reader.opening().await;
        let mut told = Vec::new();
        while let Some(said) = reader.next().await {
            told.extend(
                said.into_iter()
                    .filter(|said| !matches!(said, Said::Cursor(_))),
            );
        }
        let expected: Vec<_> = notice
            .map(|secs| Said::Expiring(secs, 0))
            .into_iter()
            .collect();
        assert_eq!(told, expected, "a life of {life} s");
    }
}

#[tokio::test]
async fn a_reader_comes_to_rest_behind_events_of_others() {
    let fixture = fixture().await;
    let _keeps_the_ring = fixture.open(&["*"], Start::Now).await;
    fixture.store_many("a", 2).await;
    fixture.store_many("b", 3).await;
    fixture.told(5).await;
    let mut reader = fixture.open(&["a"], Start::Earliest).await;
    assert_eq!(reader.events(2).await, [1, 2]);
    for _ in 0..100 {
        let state = &mut reader.subscription.state;
        match state.poll(Instant::now) {
            Step::Wait => return,
            Step::Read => read(state).await,
            Step::Write => reader.write(),
            Step::End | Step::Abort => panic!("it ends"),
        }
    }
    panic!("it reads the same again and again");
}

#[tokio::test]
async fn channels_go_when_their_last_subscriber_does() {
    let fixture = fixture().await;
    let one = fixture.open(&["a"], Start::Now).await;
    let other = fixture.open(&["a", "b"], Start::Now).await;
    let all = fixture.open(&["*"], Start::Now).await;
    assert_eq!(fixture.hub.channels(), 3);
    drop((other, all));
    assert_eq!(fixture.hub.channels(), 1);
    drop(one);
    assert_eq!(fixture.hub.channels(), 0);
}

#[tokio::test]
async fn a_frame_is_encoded_once_for_all_live_subscribers() {
    let fixture = fixture().await;
    let mut readers = [
        fixture.open(&["a"], Start::Now).await,
        fixture.open(&["a"], Start::Now).await,
        fixture.open(&["*"], Start::Now).await,
    ];
    for reader in &mut readers {
        reader.opening().await;
        assert!(reader.is_quiet());
    }
    fixture.store("a", "t", "x").await;
    let mut places = BTreeSet::new();
    for reader in &mut readers {
        reader.next().await;
        places.insert(reader.place);
    }
    assert_eq!(places.len(), 1);
}

/// What a heartbeat claims, its subscriber has been given: whoever resumes
/// from there misses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_heartbeat_never_claims_what_was_not_given() {
    const BEATS: usize = 20;
    let fixture = fixture_with_heartbeat(Duration::from_millis(1)).await;
    let done = AtomicUsize::new(0);
    let reading = [&["a", "c"][..], &["a", "b", "c"], &["*"]].map(|topics| {
        let (fixture, done) = (&fixture, &done);
        async move {
            let mut reader = fixture.open(topics, Start::Now).await;
            let (mut seen, _) = reader.opening().await;
            let mut beats = 0;
            while beats < BEATS {
                for said in reader.next().await.unwrap() {
                    match said {
                        Said::Event(sequence) => {
                            assert_eq!(sequence, seen + 1, "{topics:?}");
                            seen = sequence;
                        }
                        Said::Cursor(claimed) => {
                            assert_eq!(claimed, seen, "{topics:?}");
                            beats += 1;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    });
    let readers = reading.len();
    let writing = async {
        let topics = ["a", "a.b", "c"].iter().cycle();
        for topic in topics.take_while(|_| done.load(Ordering::Relaxed) < readers) {
            fixture.store(topic, "t", "x").await;
            tokio::task::yield_now().await;
        }
    };
    let beating = fixture.streams.run_heartbeats();
    let checks = async { tokio::join!(writing, join_all(reading)) };
    tokio::select! {
        () = beating => unreachable!("a heart beats until it is dropped"),
        checked = tokio::time::timeout(Duration::from_secs(60), checks) => {
            checked.expect("all get their heartbeats");
        }
    }
}

/// Appends race attaching, on several threads, many times over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_that_race_the_attaching_are_neither_lost_nor_doubled() {
    const ROUNDS: usize = 300;
    const WRITERS: usize = 2;
    const EACH: usize = 8;
    for round in 0..ROUNDS {
        let fixture = fixture_of([1, 500, 1 << 20][round % 3], 1 << 30).await;
        let writing = join_all((0..WRITERS).map(|writer| {
            let fixture = &fixture;
            async move {
                for n in 0..EACH {
                    fixture
                        .store(["a", "a.b"][(writer + n) % 2], "t", "x")
                        .await;
                    tokio::task::yield_now().await;
                }
            }
        }));
        let reading = join_all([&["a"][..], &["a.b", "a", "c"], &["*"], &["c", "a"]].map(
            |topics| {
                let fixture = &fixture;
                async move {
                    tokio::task::yield_now().await;
                    let mut reader = fixture.open(topics, Start::Now).await;
                    let (from, gap) = reader.opening().await;
                    assert_eq!(gap, None);
                    let expected: Vec<u64> = (from + 1..=(WRITERS * EACH) as u64).collect();
                    assert_eq!(reader.events(expected.len()).await, expected, "{topics:?}");
                }
            },
        ));
        let both = async { tokio::join!(writing, reading) };
        tokio::time::timeout(Duration::from_secs(30), both)
            .await
            .expect("a subscriber waits for an event that it was not told of");
    }
}

/// Whoever comes back by its last id, between two streams as well.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_too_old_ends_and_its_client_misses_nothing() {
    const ROUNDS: u64 = 20;
    let settings = Settings {
        stream_age_max: Some(Duration::from_secs(100)),
        ..Fixture::settings(Fixture::HEARTBEAT)
    };
    let fixture = Fixture::with_settings(WAY, 2_000, 1 << 30, settings).await;
    let (mut place, mut seen, mut ages) = (Start::Earliest, Vec::new(), BTreeSet::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut reader = fixture.open(&["a"], place).await;
        let (mut last, gap) = reader.opening().await;
        assert_eq!(gap, None);
        fixture.store_many("a", 3).await;
        while let Some(said) = reader.next().await {
            for part in said {
                match part {
                    Said::Event(sequence) => seen.push(sequence),
                    Said::Cursor(at) | Said::Retry(at) => last = at,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!((75..=100).contains(&begun.elapsed().as_secs()));
        ages.insert(begun.elapsed());
        place = fixture.after(last);
        fixture.store_many("a", 2).await;
    }
    let expected: Vec<u64> = (1..=5 * ROUNDS - 2).collect();
    assert_eq!(seen, expected);
    assert!(
        ages.len() > ROUNDS as usize / 2,
        "they end together: {ages:?}"
    );
}
