//! Ordering, resume and gaps, over the journal in memory and the real pump.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, IoSlice},
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{FutureExt as _, future::join_all};
use tokio::task::JoinHandle;

use super::*;
use crate::{
    event::{
        Draft, Timestamp, Topic, TopicMap, Topics,
        frame::{Coding, Encoder, Framing},
    },
    hub::pump,
    journal::{self, Kind, Measures, Retention},
};

const HOUR: Duration = Duration::from_secs(3600);

struct House {
    journal: Arc<dyn Journal>,
    hub: Arc<Hub>,
    streams: Arc<Streams>,
    pump: JoinHandle<()>,
}

impl Drop for House {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// Everything from the journal to the streams, with a ring and a journal of
/// these sizes.
async fn house_of(ring_bytes: usize, retain_bytes: u64) -> House {
    house_with(ring_bytes, retain_bytes, Duration::from_secs(15)).await
}

async fn house_beating(heartbeat: Duration) -> House {
    house_with(1 << 20, 1 << 30, heartbeat).await
}

async fn house_with(ring_bytes: usize, retain_bytes: u64, heartbeat: Duration) -> House {
    let clock = Clock::fixed(Timestamp::from_unix_secs(1_000));
    let settings = journal::Settings {
        kind: Kind::Memory,
        retention: Retention {
            age: HOUR,
            bytes: retain_bytes,
        },
        dedup_entries_max: 10,
    };
    let journal = journal::open(settings, clock.clone(), Measures::noop())
        .await
        .unwrap();
    let encoder = Encoder {
        epoch: journal.epoch(),
        public_url: "".into(),
        event_names: TopicMap::default(),
    };
    let hub = Hub::new(journal.head(), ring_bytes, Arc::new(encoder));
    let streams = Streams::new(
        Arc::clone(&journal),
        Arc::clone(&hub),
        Settings {
            heartbeat,
            retry: Duration::from_secs(3),
        },
        clock,
        Telemetry::new().unwrap(),
    );
    let pump = pump(Arc::clone(&hub), Arc::clone(&journal)).map(|_| ());
    #[expect(clippy::disallowed_methods, reason = "the house aborts it")]
    let pump = tokio::spawn(pump);
    House {
        journal,
        hub,
        streams,
        pump,
    }
}

async fn house() -> House {
    house_of(1 << 20, 1 << 30).await
}

impl House {
    async fn store(&self, topic: &str, event_type: &str, body: &str) -> Sequence {
        let draft = Draft {
            received_at: Timestamp::from_unix_secs(1_000),
            topic: topic.parse().unwrap(),
            event_type: event_type.into(),
            content_type: None,
            dedup_id: None,
            headers: vec![],
            body: body.to_owned().into(),
        };
        self.journal.append(draft, None).await.unwrap().sequence
    }

    async fn store_many(&self, topic: &str, count: usize) {
        for _ in 0..count {
            self.store(topic, "t", &"x".repeat(100)).await;
            tokio::task::yield_now().await;
        }
    }

    /// Waits until every channel has been told of all up to here.
    async fn told(&self, sequence: u64) {
        while self.hub.done() < Sequence(sequence) {
            tokio::task::yield_now().await;
        }
    }

    async fn open(&self, topics: &[&str], start: Start) -> Reader {
        self.open_with(topics, start, None, Format::Raw).await
    }

    async fn open_with(
        &self,
        topics: &[&str],
        start: Start,
        types: Option<&[&str]>,
        format: Format,
    ) -> Reader {
        let topics = match topics {
            ["*"] => Topics::All,
            named => Topics::these(named.iter().map(|t| t.parse().unwrap()).collect()),
        };
        let request = Request {
            start,
            types: types.map(|types| types.iter().map(|&t| t.into()).collect()),
            form: Form {
                format,
                coding: Coding::Identity,
            },
        };
        let grant = Grant::of(topics, None);
        Reader(self.streams.open(&grant, request).await.unwrap())
    }

    fn cursor(&self, sequence: u64) -> Cursor {
        self.hub.encoder().cursor(Sequence(sequence))
    }

    fn after(&self, sequence: u64) -> Start {
        Start::After(self.cursor(sequence))
    }
}

/// A subscriber, and what it makes of the text.
struct Reader(Subscription);

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Cursor(u64),
    Event(u64),
    Gap(String),
    Retry,
    Other(String),
}

impl Reader {
    async fn next(&mut self) -> Option<Vec<Said>> {
        let bytes = self.0.next().await?;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let events = text.split_terminator("\n\n");
        Some(events.map(Said::from_text).collect())
    }

    /// The opening cursor, and the gap if there is one.
    async fn opening(&mut self) -> (u64, Option<String>) {
        let mut said = self.next().await.unwrap().into_iter();
        assert_eq!(said.next(), Some(Said::Retry));
        let Some(Said::Cursor(at)) = said.next() else {
            panic!("a stream opens with a cursor");
        };
        let gap = said.next().map(|said| match said {
            Said::Gap(gap) => gap,
            other => panic!("{other:?} in the opening"),
        });
        (at, gap)
    }

    /// The sequences of the next `count` events; cursors are passed over.
    async fn events(&mut self, count: usize) -> Vec<u64> {
        let mut events = Vec::new();
        while events.len() < count {
            for said in self.next().await.expect("the stream goes on") {
                match said {
                    Said::Event(sequence) => events.push(sequence),
                    Said::Cursor(_) | Said::Retry => {}
                    other => panic!("{other:?} among events"),
                }
            }
        }
        events
    }

    /// Nothing is due now.
    fn is_quiet(&mut self) -> bool {
        pin!(self.0.next()).now_or_never().is_none()
    }
}

impl Said {
    fn from_text(text: &str) -> Self {
        let field = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let sequence = || field("id")?.split_once('-')?.1.parse().ok();
        match field("event") {
            Some("hookrill.cursor") => Self::Cursor(sequence().unwrap()),
            Some("hookrill.gap") => Self::Gap(field("data").unwrap().to_owned()),
            None if text.starts_with("retry: ") => Self::Retry,
            _ => sequence().map_or_else(|| Self::Other(text.to_owned()), Self::Event),
        }
    }
}

#[tokio::test]
async fn a_live_subscriber_gets_its_topics_and_their_subtopics() {
    let house = house().await;
    let mut reader = house.open(&["a"], Start::Now).await;
    assert_eq!(reader.opening().await, (0, None));
    for topic in ["a", "b", "a.b", "ab", "a.b.c"] {
        house.store(topic, "t", "x").await;
    }
    assert_eq!(reader.events(3).await, [1, 3, 5]);
    assert!(reader.is_quiet());
}

#[tokio::test]
async fn a_stream_of_overlapping_topics_has_each_event_once_and_in_order() {
    let house = house().await;
    let topics = ["a", "a.b", "b.c", "b", "z"];
    let mut reader = house.open(&topics, Start::Now).await;
    let mut replaying = house.open(&topics, Start::Earliest).await;
    for turn in 0..200 {
        house
            .store(["a.b", "b.c", "a", "x", "b"][turn % 5], "t", "x")
            .await;
    }
    let expected: Vec<u64> = (1..=200).filter(|n| n % 5 != 4).collect();
    assert_eq!(reader.events(160).await, expected);
    assert_eq!(replaying.events(160).await, expected);
}

#[tokio::test]
async fn sixty_four_topics_arrive_in_the_order_they_were_stored() {
    let house = house().await;
    let names: Vec<String> = (0..64).map(|n| format!("t{n}.x")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut reader = house.open(&names, Start::Now).await;
    for n in 0..640 {
        house.store(names[n * 7 % 64], "t", "x").await;
    }
    let expected: Vec<u64> = (1..=640).collect();
    assert_eq!(reader.events(640).await, expected);
}

#[tokio::test]
async fn any_earlier_id_yields_exactly_what_followed() {
    let house = house_of(4_000, 1 << 30).await;
    for n in 0..300 {
        house.store(["a.x", "b"][n % 2], "t", "x").await;
    }
    for after in [0, 1, 2, 150, 298, 299, 300] {
        let mut reader = house.open(&["a"], house.after(after)).await;
        assert_eq!(reader.opening().await, (after, None));
        let expected: Vec<u64> = (after + 1..=300).filter(|n| n % 2 == 1).collect();
        assert_eq!(reader.events(expected.len()).await, expected);
        assert!(reader.is_quiet(), "after {after}");
    }
}

#[tokio::test]
async fn a_client_that_saw_only_the_opening_cursor_resumes_without_loss() {
    let house = house().await;
    house.store_many("a", 5).await;
    let mut first = house.open(&["a"], Start::Now).await;
    let (seen, _) = first.opening().await;
    drop(first);
    house.store_many("a", 3).await;
    let mut again = house.open(&["a"], house.after(seen)).await;
    assert_eq!(again.events(3).await, [6, 7, 8]);
}

#[tokio::test]
async fn the_newest_are_counted_after_types() {
    let house = house().await;
    for n in 0..30 {
        let event_type = ["push", "issues", "ping"][n % 3];
        house.store("a.b", event_type, "x").await;
    }
    let types = Some(&["issues", "ping"][..]);
    let start = Start::Last(3);
    let mut reader = house.open_with(&["a"], start, types, Format::Raw).await;
    let (before, _) = reader.opening().await;
    assert_eq!(before, 26);
    assert_eq!(reader.events(3).await, [27, 29, 30]);
    house.store("a", "push", "x").await;
    house.store("a", "ping", "x").await;
    assert_eq!(reader.events(1).await, [32]);
}

#[tokio::test]
async fn an_id_that_cannot_be_continued_is_told_of_before_any_event() {
    let house = house_of(1 << 20, 30_000).await;
    house.store_many("a", 400).await;
    let floor = house.journal.floor().0;
    assert!(floor > 0, "the test needs deleted events");
    let other: Cursor = "another-5".parse().unwrap();
    for (start, reason, resumed) in [
        (Start::After(other), "epoch", floor),
        (house.after(floor - 1), "retention", floor),
        (house.after(401), "unknown", 400),
        (house.after(u64::MAX), "unknown", 400),
    ] {
        let mut reader = house.open(&["a"], start).await;
        let (at, gap) = reader.opening().await;
        let Start::After(asked) = start else {
            unreachable!()
        };
        // Until it has the gap, the client keeps the id it came with.
        assert_eq!(at, asked.sequence.0);
        let expected = format!(
            r#"{{"reason":"{reason}","asked":"{asked}","resumed":"{}"}}"#,
            house.cursor(resumed)
        );
        assert_eq!(gap, Some(expected));
        let rest: Vec<u64> = (resumed + 1..=400).collect();
        assert_eq!(reader.events(rest.len()).await, rest);
    }
    let mut reader = house.open(&["a"], house.after(floor)).await;
    assert_eq!(reader.opening().await, (floor, None));
}

#[tokio::test]
async fn a_reader_that_retention_overtakes_is_told_of_the_gap() {
    let house = house_of(1_000, 60_000).await;
    house.store_many("a", 200).await;
    let mut reader = house.open(&["a"], Start::Earliest).await;
    let (opened_at, _) = reader.opening().await;
    house.store_many("a", 2_000).await;
    let floor = house.journal.floor().0;
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
    let (asked, resumed) = (house.cursor(*before), house.cursor(floor));
    assert_eq!(
        *gap,
        format!(r#"{{"reason":"retention","asked":"{asked}","resumed":"{resumed}"}}"#)
    );
    let expected: Vec<u64> = (opened_at + 1..=*before).chain(floor + 1..=2_200).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_reader_that_lags_misses_nothing_and_pins_nothing() {
    let house = house_of(20_000, 1 << 30).await;
    let mut slow = house.open(&["a"], Start::Now).await;
    let mut slow_of_many = house.open(&["a", "b"], Start::Now).await;
    slow.opening().await;
    slow_of_many.opening().await;
    assert!(slow.is_quiet() && slow_of_many.is_quiet());
    house.store_many("a", 1_000).await;
    house.told(1_000).await;
    assert!(house.hub.ring().begin() > Sequence(900));
    let expected: Vec<u64> = (1..=1_000).collect();
    assert_eq!(slow.events(1_000).await, expected);
    assert_eq!(slow_of_many.events(1_000).await, expected);
    assert!(
        house
            .streams
            .telemetry
            .render()
            .contains("hookrill_lagged_total 1")
    );
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_moves_a_quiet_client_past_what_was_filtered() {
    let house = house().await;
    let mut reader = house
        .open_with(&["a"], Start::Now, Some(&["wanted"]), Format::Raw)
        .await;
    let mut elsewhere = house.open(&["b", "c"], Start::Now).await;
    reader.opening().await;
    elsewhere.opening().await;
    let streams = Arc::clone(&house.streams);
    let beating = streams.beat();
    let checks = async {
        house.store_many("a", 7).await;
        house.told(7).await;
        assert_eq!(reader.next().await, Some(vec![Said::Cursor(7)]));
        assert_eq!(elsewhere.next().await, Some(vec![Said::Cursor(7)]));
        house.store("a", "wanted", "x").await;
        assert_eq!(reader.events(1).await, [8]);
        house.told(8).await;
        assert_eq!(reader.next().await, Some(vec![Said::Cursor(8)]));
    };
    tokio::select! {
        () = beating => {}
        () = checks => {}
    }
}

#[tokio::test(start_paused = true)]
async fn ndjson_has_an_empty_line_for_a_heartbeat_and_a_cloud_event_for_a_gap() {
    let house = house().await;
    let other = Start::After("another-5".parse().unwrap());
    let mut reader = house.open_with(&["a"], other, None, Format::NdJson).await.0;
    let streams = Arc::clone(&house.streams);
    let checks = async {
        let gap: serde_json::Value = serde_json::from_slice(&reader.next().await.unwrap()).unwrap();
        assert_eq!(gap["type"], "hookrill.gap");
        assert_eq!(gap["data"]["reason"], "epoch");
        assert_eq!(reader.next().await.unwrap(), "\n");
        house.store("a", "t", "{ }").await;
        let line = reader.next().await.unwrap();
        assert!(line.ends_with(b"\"data\":{}}\n"), "{line:?}");
    };
    tokio::select! {
        () = streams.beat() => {}
        () = checks => {}
    }
}

#[tokio::test]
async fn a_drain_ends_every_stream_with_a_wait_and_those_to_come() {
    let house = house().await;
    let mut live = house.open(&["a"], Start::Now).await;
    live.opening().await;
    assert!(live.is_quiet());
    house.streams.drain();
    let mut late = house.open(&["a"], Start::Now).await;
    for reader in [&mut live, &mut late] {
        assert_eq!(reader.next().await, Some(vec![Said::Retry]));
        assert_eq!(reader.next().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_grant_does() {
    let house = house().await;
    house.store_many("a", 3).await;
    let topic: Topic = "a".parse().unwrap();
    let ends = Timestamp::from_unix_secs(1_060);
    let grant = Grant::of(Topics::these(vec![topic]), Some(ends));
    let request = Request {
        start: Start::Earliest,
        types: None,
        form: Form {
            format: Format::Raw,
            coding: Coding::Identity,
        },
    };
    let open = || house.streams.open(&grant, request.clone());
    let (mut live, mut replaying) = (Reader(open().await.unwrap()), open().await.unwrap());
    assert_eq!(live.events(3).await, [1, 2, 3]);
    let begun = tokio::time::Instant::now();
    assert_eq!(live.next().await, None);
    assert_eq!(begun.elapsed().as_secs(), 60);
    assert_eq!(
        replaying.next().await,
        None,
        "also in the middle of a replay"
    );
}

#[tokio::test]
async fn channels_go_when_their_last_subscriber_does() {
    let house = house().await;
    let one = house.open(&["a"], Start::Now).await;
    let other = house.open(&["a", "b"], Start::Now).await;
    let all = house.open(&["*"], Start::Now).await;
    assert_eq!(house.hub.channels(), 3);
    drop((other, all));
    assert_eq!(house.hub.channels(), 1);
    drop(one);
    assert_eq!(house.hub.channels(), 0);
}

#[tokio::test]
async fn a_frame_is_encoded_once_for_all_live_subscribers() {
    let house = house().await;
    let mut readers = [
        house.open(&["a"], Start::Now).await,
        house.open(&["a"], Start::Now).await,
        house.open(&["*"], Start::Now).await,
    ];
    for reader in &mut readers {
        reader.opening().await;
        assert!(reader.is_quiet());
    }
    house.store("a", "t", "x").await;
    let mut places = BTreeSet::new();
    for reader in &mut readers {
        places.insert(reader.0.next().await.unwrap().as_ptr());
    }
    assert_eq!(places.len(), 1);
}

/// What a heartbeat claims, its subscriber has been given: whoever resumes
/// from there misses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_heartbeat_never_claims_what_was_not_given() {
    const BEATS: usize = 20;
    let house = house_beating(Duration::from_millis(1)).await;
    let done = AtomicUsize::new(0);
    let reading = [&["a", "c"][..], &["a", "b", "c"], &["*"]].map(|topics| {
        let (house, done) = (&house, &done);
        async move {
            let mut reader = house.open(topics, Start::Now).await;
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
            house.store(topic, "t", "x").await;
            tokio::task::yield_now().await;
        }
    };
    let beating = house.streams.beat();
    let checks = async { tokio::join!(writing, join_all(reading)) };
    tokio::select! {
        () = beating => unreachable!("a heart beats until it is dropped"),
        done = tokio::time::timeout(Duration::from_secs(60), checks) => {
            done.expect("all get their heartbeats");
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
        let house = house_of([1, 500, 1 << 20][round % 3], 1 << 30).await;
        let writing = join_all((0..WRITERS).map(|writer| {
            let house = &house;
            async move {
                for n in 0..EACH {
                    house.store(["a", "a.b"][(writer + n) % 2], "t", "x").await;
                    tokio::task::yield_now().await;
                }
            }
        }));
        let reading = join_all([&["a"][..], &["a.b", "a", "c"], &["*"], &["c", "a"]].map(
            |topics| {
                let house = &house;
                async move {
                    tokio::task::yield_now().await;
                    let mut reader = house.open(topics, Start::Now).await;
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

/// Gives what is ready, to nobody.
fn give_pending(stream: &mut Subscription) {
    let (feed, _) = stream.split();
    while feed.is_pending() {
        let given = feed.give(Framing::Plain, |pieces| Ok(len(pieces)));
        assert_eq!(given.unwrap(), Given::All);
    }
}

fn len(pieces: &[IoSlice<'_>]) -> usize {
    pieces.iter().map(|piece| piece.len()).sum()
}

/// A live stream with nothing pending.
async fn live(house: &House) -> Subscription {
    let mut reader = house.open(&["a"], Start::Now).await;
    reader.opening().await;
    assert!(reader.is_quiet());
    reader.0
}

/// The sequences that one turn's hand brings `stream`.
fn hand_out(relay: &mut Relay, stream: &mut Subscription) -> Vec<u64> {
    let Turn::Give(hand) = relay.turn(1) else {
        panic!("there is something to give");
    };
    let mut text = Vec::new();
    let (feed, _) = stream.split();
    let given = feed.give_of(&hand, Framing::Plain, |pieces| {
        pieces
            .iter()
            .for_each(|piece| text.extend_from_slice(piece));
        Ok(text.len())
    });
    assert_eq!(given.unwrap(), Given::All);
    let text = String::from_utf8(text).unwrap();
    let said = text.split_terminator("\n\n").map(Said::from_text);
    said.map(|said| match said {
        Said::Event(sequence) => sequence,
        other => panic!("{other:?} among events"),
    })
    .collect()
}

#[tokio::test]
async fn who_joins_a_relay_that_is_ahead_is_brought_level_first() {
    let house = house().await;
    let mut early = live(&house).await;
    let mut late = live(&house).await;
    let (mut relay, _calls) = Relay::beside(&early);
    relay.take_on(&mut early);
    house.store_many("a", 3).await;
    house.told(3).await;
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.extend(hand_out(&mut relay, &mut early));
    }
    assert_eq!(heard, [1, 2, 3]);
    assert!(!relay.is_level_with(&late));
    relay.take_on(&mut late);
    give_pending(&mut late);
    assert!(relay.is_level_with(&late));
    house.store("a", "t", "x").await;
    house.told(4).await;
    assert_eq!(hand_out(&mut relay, &mut late), [4]);
}

#[tokio::test]
async fn who_joins_a_relay_that_is_behind_gets_nothing_twice() {
    let house = house().await;
    let mut first = live(&house).await;
    let (mut relay, _calls) = Relay::beside(&first);
    relay.take_on(&mut first);
    let mut ahead = house.open(&["a"], Start::Now).await;
    ahead.opening().await;
    house.store_many("a", 2).await;
    house.told(2).await;
    assert_eq!(ahead.events(2).await, [1, 2]);
    assert!(ahead.is_quiet());
    relay.take_on(&mut ahead.0);
    assert!(relay.is_level_with(&ahead.0));
    house.store("a", "t", "x").await;
    house.told(3).await;
    let mut heard = Vec::new();
    while heard.is_empty() {
        heard = hand_out(&mut relay, &mut ahead.0);
    }
    assert_eq!(heard, [3]);
}

#[tokio::test]
async fn who_leaves_a_relay_misses_nothing_that_came_before_or_after() {
    let house = house().await;
    let mut stream = live(&house).await;
    let (mut relay, _calls) = Relay::beside(&stream);
    relay.take_on(&mut stream);
    house.store_many("a", 2).await;
    house.told(2).await;
    // One turn that the peer takes nothing of.
    let Turn::Give(hand) = relay.turn(1) else {
        panic!("there is something to give");
    };
    let (feed, _) = stream.split();
    let given = feed.give_of(&hand, Framing::Plain, |_| Err(ErrorKind::WouldBlock.into()));
    assert_eq!(given.unwrap(), Given::Part);
    house.store_many("a", 2).await;
    house.told(4).await;
    relay.let_go(&mut stream);
    house.store_many("a", 2).await;
    let mut reader = Reader(stream);
    assert_eq!(reader.events(6).await, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_relay_that_lags_goes_on_from_the_ring_and_scatters_without_it() {
    let house = house().await;
    let mut stream = live(&house).await;
    let (mut relay, _calls) = Relay::beside(&stream);
    relay.take_on(&mut stream);
    // More slices than a channel holds, and no more than one write takes.
    house.store_many("a", 40).await;
    house.told(40).await;
    let mut heard = Vec::new();
    while heard.len() < 40 {
        heard.extend(hand_out(&mut relay, &mut stream));
    }
    assert_eq!(heard, (1..=40).collect::<Vec<u64>>());
    let house = house_of(2_000, 1 << 30).await;
    let mut stream = live(&house).await;
    let (mut relay, _calls) = Relay::beside(&stream);
    relay.take_on(&mut stream);
    house.store_many("a", 100).await;
    house.told(100).await;
    assert!(matches!(relay.turn(1), Turn::Scatter));
    relay.let_go(&mut stream);
    let all: Vec<u64> = (1..=100).collect();
    assert_eq!(Reader(stream).events(100).await, all);
}
