//! Reads that end: what their pages have, and what ends a wait.

use fastrand::Rng;
use hookrill_core::Topics;

use super::*;
use crate::access::Grant;
use fixture::Fixture;

const TOPICS: [&str; 4] = ["a", "a.x", "b", "b.y.z"];
const TYPES: [&str; 3] = ["t", "u", "v"];

fn request(start: Start, types: Option<&[&str]>) -> PageRequest {
    PageRequest {
        start,
        types: types.map(|types| types.iter().map(|&t| t.into()).collect()),
        format: Format::NdJson,
        events_max: 1_000,
        bytes_max: 1 << 20,
    }
}

fn topics(names: &[&str]) -> Topics {
    match names {
        ["*"] => Topics::All,
        named => Topics::these(named.iter().map(|t| t.parse().unwrap()).collect()),
    }
}

async fn begin(
    fixture: &Fixture,
    names: &[&str],
    request: PageRequest,
    waits: bool,
) -> Result<HistoryReader, PageError> {
    let grant = Grant::without_token(topics(names), None);
    fixture.streams.read(&grant, request, waits).await
}

/// The positions of a page's events, by their ids.
fn positions(page: &StreamPage) -> Vec<u64> {
    let mut lines = Vec::new();
    page.write_lines(&mut lines);
    let mut array = Vec::new();
    page.write_array(&mut array);
    let array: Vec<serde_json::Value> = serde_json::from_slice(&array).unwrap();
    let lines: Vec<serde_json::Value> = std::str::from_utf8(&lines)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, array);
    let ids = lines.iter().map(|event| event["id"].as_str().unwrap());
    ids.map(|id| id.parse::<Cursor>().unwrap().sequence.0)
        .collect()
}

/// All that a reader is given, page by page, each from the position that the one before
/// it gave.
async fn paged(fixture: &Fixture, names: &[&str], request: &PageRequest) -> Vec<u64> {
    let (mut all, mut start) = (Vec::new(), request.start);
    loop {
        let asked = PageRequest {
            start,
            ..request.clone()
        };
        let page = begin(fixture, names, asked, false).await.unwrap();
        let page = { page }.page().await.unwrap();
        assert!(page.len() <= request.events_max);
        assert!(page.bytes() <= request.bytes_max || page.len() == 1);
        all.extend(positions(&page));
        if page.is_last {
            return all;
        }
        assert_ne!(start, Start::After(page.next), "it leads on");
        start = Start::After(page.next);
    }
}

/// What a stream is given first of the same.
async fn streamed(
    fixture: &Fixture,
    names: &[&str],
    types: Option<&[&str]>,
    count: usize,
) -> Vec<u64> {
    let mut reader = fixture
        .open_with(names, Start::Earliest, types, Format::CloudEvents)
        .await;
    reader.opening().await;
    reader.events(count).await
}

#[tokio::test]
async fn pages_of_every_size_have_what_a_replay_has() {
    for (ring, seed) in [(0, 1), (8 << 10, 2), (1 << 20, 3)] {
        let fixture = Fixture::with(Way::Body, ring, 1 << 30, Fixture::HEARTBEAT).await;
        // Somebody listens, so that the newest events are in the ring.
        let _listens = fixture.subscribe(&["*"], Start::Now).await;
        let mut rng = Rng::with_seed(seed);
        for n in 0..300 {
            let (topic, event_type) = (TOPICS[rng.usize(..4)], TYPES[rng.usize(..3)]);
            let body = "x".repeat(rng.usize(..600));
            fixture.store(topic, event_type, &body).await;
            if n % 50 == 0 {
                fixture.told(n).await;
            }
        }
        fixture.told(300).await;
        let everything = Selection {
            topics: Topics::All,
            types: None,
        };
        let stored = fixture
            .journal
            .read(&everything, Sequence(0), 1 << 30)
            .await;
        let stored = stored.unwrap().events;
        assert_eq!(stored.len(), 300);
        for names in [&["*"][..], &["a"], &["b.y"], &["a.x", "b"]] {
            for types in [None, Some(&["t"][..]), Some(&["u", "v"]), Some(&["none"])] {
                let selection = Selection {
                    topics: topics(names),
                    types: request(Start::Now, types).types,
                };
                let wanted = stored.iter().filter(|event| selection.wants(event));
                let expected: Vec<u64> = wanted.map(|event| event.sequence.0).collect();
                let replayed = streamed(&fixture, names, types, expected.len()).await;
                assert_eq!(replayed, expected);
                for (events_max, bytes_max) in [
                    (1, 1 << 20),
                    (7, 1 << 20),
                    (1000, 1),
                    (1000, 3_000),
                    (1000, 1 << 20),
                ] {
                    let request = PageRequest {
                        events_max,
                        bytes_max,
                        ..request(Start::Earliest, types)
                    };
                    let given = paged(&fixture, names, &request).await;
                    assert_eq!(
                        given, expected,
                        "{names:?} {types:?} {events_max} {bytes_max}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_page_is_the_same_wherever_its_events_are_found() {
    let fixture = Fixture::with(Way::Body, 1 << 20, 1 << 30, Fixture::HEARTBEAT).await;
    let listens = fixture.subscribe(&["*"], Start::Now).await;
    fixture.store_many("a", 100).await;
    fixture.told(100).await;
    let read = async |after: u64| {
        let request = PageRequest {
            bytes_max: 5_000,
            ..request(fixture.after(after), None)
        };
        let mut reading = begin(&fixture, &["a"], request, false).await.unwrap();
        let page = reading.page().await.unwrap();
        (positions(&page), page.next, page.is_last)
    };
    let of_the_ring = [read(0).await, read(37).await];
    drop(listens);
    // Nobody listens: the ring begins anew.
    fixture.store_many("b", 10).await;
    fixture.told(110).await;
    assert_eq!([read(0).await, read(37).await], of_the_ring);
}

#[tokio::test]
async fn a_reader_that_retention_passes_is_told_where_history_begins() {
    let fixture = Fixture::with(Way::Body, 0, 100_000, Fixture::HEARTBEAT).await;
    fixture.store_many("a", 10).await;
    let few = PageRequest {
        events_max: 5,
        ..request(Start::Earliest, None)
    };
    let mut reading = begin(&fixture, &["a"], few.clone(), false).await.unwrap();
    let mut fresh = begin(&fixture, &["a"], few, false).await.unwrap();
    assert_eq!(positions(&reading.page().await.unwrap()), [1, 2, 3, 4, 5]);
    fixture.store_many("a", 2_000).await;
    let floor = fixture.journal.floor();
    assert!(floor.0 > 10, "some were deleted");
    // Others have just read these as well, so they are still there.
    let mut last = 5;
    let gap = loop {
        match reading.page().await {
            Ok(page) => {
                let given = positions(&page);
                assert_eq!(
                    given,
                    (last + 1..=last + given.len() as u64).collect::<Vec<_>>()
                );
                assert!(!page.is_last && !given.is_empty());
                last = *given.last().unwrap();
            }
            Err(PageError::Gap(gap)) => break gap,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert_eq!(gap.reason, GapReason::Retention);
    assert_eq!(gap.asked, fixture.cursor(last));
    assert!(last < floor.0);
    assert_eq!(gap.earliest, fixture.hub.cursor(floor));
    // Nobody has told this one of anything that is gone now.
    let page = fresh.page().await.unwrap();
    assert_eq!(positions(&page)[0], floor.0 + 1);
    for (asked, reason) in [
        (fixture.cursor(5), GapReason::Retention),
        (fixture.cursor(9_999), GapReason::Unknown),
        ("other-1".parse().unwrap(), GapReason::Epoch),
    ] {
        let refused = begin(&fixture, &["a"], request(Start::After(asked), None), false).await;
        let Err(PageError::Gap(told)) = refused else {
            panic!("a gap is told");
        };
        assert_eq!((told.reason, told.asked), (reason, asked));
        assert_eq!(told.earliest, fixture.hub.cursor(floor));
    }
}

#[tokio::test]
async fn a_search_that_finds_nothing_for_long_gives_a_place_to_go_on_from() {
    let fixture = searches::long_history(Way::Body).await;
    let rare = request(Start::Earliest, Some(&["rare"]));
    let mut reading = begin(&fixture, &["a"], rare.clone(), false).await.unwrap();
    let first = reading.page().await.unwrap();
    assert!(first.is_empty() && !first.is_last);
    assert!(first.next.sequence > Sequence(8192), "{}", first.next);
    let found = paged(&fixture, &["a"], &rare).await;
    assert_eq!(found, [searches::EVENTS - 1]);
}

#[tokio::test]
async fn what_a_reload_hides_is_in_no_page_and_the_edition_says_so() {
    let fixture = Fixture::with(Way::Body, 1 << 20, 1 << 30, Fixture::HEARTBEAT).await;
    fixture.store("a", "t", r#"{"n":1,"card":2}"#).await;
    let text = async || {
        let request = PageRequest {
            format: Format::RawNdJson,
            ..request(Start::Earliest, None)
        };
        let mut reading = begin(&fixture, &["a"], request, false).await.unwrap();
        let page = reading.page().await.unwrap();
        let mut text = Vec::new();
        page.write_lines(&mut text);
        (String::from_utf8(text).unwrap(), page.edition)
    };
    let (whole, before) = text().await;
    assert_eq!(whole, "{\"n\":1,\"card\":2}\n");
    let hiding = View {
        projection: Some(crate::wire::Projection::new(
            None,
            vec!["/card".parse().unwrap()],
        )),
        ..View::default()
    };
    let views = TopicMap::new([].into(), Some(Arc::new(hiding)));
    assert!(fixture.streams.replace_views(views, ""));
    let (cut, after) = text().await;
    assert_eq!(cut, "{\"n\":1}\n");
    assert_ne!(before, after);
    assert_eq!(text().await, (cut, after));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_topic_s_reader_moves_on_with_the_others() {
    let fixture = Fixture::with(Way::Body, 1 << 20, 1 << 30, Fixture::HEARTBEAT).await;
    let streams = Arc::clone(&fixture.streams);
    #[expect(clippy::disallowed_methods, reason = "the test aborts it")]
    let beats = tokio::spawn(async move { streams.run_heartbeats().await });
    let mut reading = begin(&fixture, &["a"], request(Start::Now, None), true)
        .await
        .unwrap();
    fixture.store_many("b", 5).await;
    fixture.told(5).await;
    let until = Instant::now() + Duration::from_secs(60);
    assert_eq!(reading.wait(until).await, Waited::Heartbeat);
    assert_eq!(reading.position(), fixture.cursor(5));
    fixture.store("a.x", "t", "x").await;
    assert_eq!(reading.wait(until).await, Waited::News);
    assert_eq!(positions(&reading.page().await.unwrap()), [6]);
    let short = Instant::now() + Duration::from_millis(1);
    assert_eq!(reading.wait(short).await, Waited::TimedOut);
    // What came before the wait is found without one.
    fixture.store("a", "t", "x").await;
    fixture.told(7).await;
    assert_eq!(reading.wait(Instant::now()).await, Waited::News);
    fixture.close("a");
    assert_eq!(reading.wait(until).await, Waited::Revoked);
    let mut other = begin(&fixture, &["b"], request(Start::Now, None), true)
        .await
        .unwrap();
    fixture.streams.drain();
    assert_eq!(other.wait(until).await, Waited::Drained);
    assert_eq!(other.wait_unless(true, until).await, Waited::Drained);
    beats.abort();
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_the_token_expires() {
    let fixture = Fixture::with(Way::Body, 1 << 20, 1 << 30, Fixture::HEARTBEAT).await;
    let end = hookrill_core::Timestamp::from_unix_secs(1_010);
    let grant = Grant::without_token(topics(&["a"]), Some(end));
    let read = fixture
        .streams
        .read(&grant, request(Start::Now, None), true);
    let mut reading = read.await.unwrap();
    let begun = Instant::now();
    let until = begun + Duration::from_secs(600);
    assert_eq!(reading.wait(until).await, Waited::Revoked);
    assert_eq!(begun.elapsed().as_secs(), 10);
}
