//! Streams that leave the listening to a shared reader, and take it back.

use super::*;

async fn fixture() -> Fixture {
    fixture_of(1 << 20).await
}

async fn fixture_of(ring_bytes: usize) -> Fixture {
    Fixture::with(Way::Socket, ring_bytes, 1 << 30, Fixture::HEARTBEAT).await
}

/// Writes what is ready, to nobody.
fn write_pending(stream: &mut SubscriberStream) {
    let state = &mut stream.state;
    while state.has_pending() {
        let ready = state.take_ready(PIECES_MAX);
        let mut batch = state.batch(&ready);
        batch.advance(batch.remaining());
    }
}

fn attach(shared: &SharedReader, stream: &mut SubscriberStream) {
    shared.attach(&mut stream.state, &mut stream.interrupts);
}

fn detach(shared: &SharedReader, stream: &mut SubscriberStream) {
    shared.detach(&mut stream.state, &mut stream.interrupts);
}

/// A live stream with nothing pending.
async fn live(fixture: &Fixture) -> SubscriberStream {
    let mut reader = fixture.open(&["a"], Start::Now).await;
    reader.opening().await;
    assert!(reader.is_quiet());
    reader.subscription
}

/// The sequences that one turn brings `stream`.
fn written_in_turn(shared: &mut SharedReader, stream: &mut SubscriberStream) -> Vec<u64> {
    let Turn::Write(ready) = shared.turn(1) else {
        panic!("there is something to write");
    };
    let mut batch = stream.state.batch(&ready);
    let text = batch.copy_to_bytes(batch.remaining());
    drop(batch);
    let text = String::from_utf8(text.to_vec()).unwrap();
    let said = text.split_terminator("\n\n").map(Said::from_text);
    said.map(|said| match said {
        Said::Event(sequence) => sequence,
        other => panic!("{other:?} among events"),
    })
    .collect()
}

#[tokio::test]
async fn who_joins_a_reader_that_is_ahead_catches_up_first() {
    let fixture = fixture().await;
    let mut early = live(&fixture).await;
    let mut late = live(&fixture).await;
    let (mut shared, _interrupts) = SharedReader::new(&early.state);
    attach(&shared, &mut early);
    fixture.store_many("a", 3).await;
    fixture.told(3).await;
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.extend(written_in_turn(&mut shared, &mut early));
    }
    assert_eq!(heard, [1, 2, 3]);
    assert!(!shared.is_caught_up(&late.state));
    attach(&shared, &mut late);
    write_pending(&mut late);
    assert!(shared.is_caught_up(&late.state));
    fixture.store("a", "t", "x").await;
    fixture.told(4).await;
    assert_eq!(written_in_turn(&mut shared, &mut late), [4]);
}

#[tokio::test]
async fn who_joins_a_reader_that_is_behind_gets_nothing_twice() {
    let fixture = fixture().await;
    let mut first = live(&fixture).await;
    let (mut shared, _interrupts) = SharedReader::new(&first.state);
    attach(&shared, &mut first);
    let mut ahead = fixture.open(&["a"], Start::Now).await;
    ahead.opening().await;
    fixture.store_many("a", 2).await;
    fixture.told(2).await;
    assert_eq!(ahead.events(2).await, [1, 2]);
    assert!(ahead.is_quiet());
    attach(&shared, &mut ahead.subscription);
    assert!(shared.is_caught_up(&ahead.subscription.state));
    fixture.store("a", "t", "x").await;
    fixture.told(3).await;
    let mut heard = Vec::new();
    while heard.is_empty() {
        heard = written_in_turn(&mut shared, &mut ahead.subscription);
    }
    assert_eq!(heard, [3]);
}

#[tokio::test]
async fn who_leaves_a_reader_misses_nothing_that_came_before_or_after() {
    let fixture = fixture().await;
    let mut stream = live(&fixture).await;
    let (mut shared, _interrupts) = SharedReader::new(&stream.state);
    attach(&shared, &mut stream);
    fixture.store_many("a", 2).await;
    fixture.told(2).await;
    // One turn that the peer takes nothing of.
    write_in_part(&mut shared, &mut stream, 0);
    fixture.store_many("a", 2).await;
    fixture.told(4).await;
    detach(&shared, &mut stream);
    fixture.store_many("a", 2).await;
    let mut reader = Reader::new(stream, Way::Socket);
    assert_eq!(reader.events(6).await, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_reader_that_lags_goes_on_from_the_ring() {
    let fixture = fixture().await;
    let mut stream = live(&fixture).await;
    let (mut shared, _interrupts) = SharedReader::new(&stream.state);
    attach(&shared, &mut stream);
    // More slices than a channel holds, and no more than one write takes.
    fixture.store_many("a", 40).await;
    fixture.told(40).await;
    let mut heard = Vec::new();
    while heard.len() < 40 {
        heard.extend(written_in_turn(&mut shared, &mut stream));
    }
    assert_eq!(heard, (1..=40).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_reader_that_lags_behind_the_ring_disbands() {
    let fixture = fixture_of(2_000).await;
    let mut stream = live(&fixture).await;
    let (mut shared, _interrupts) = SharedReader::new(&stream.state);
    attach(&shared, &mut stream);
    fixture.store_many("a", 100).await;
    fixture.told(100).await;
    assert!(matches!(shared.turn(1), Turn::Disband));
    detach(&shared, &mut stream);
    let all: Vec<u64> = (1..=100).collect();
    assert_eq!(Reader::new(stream, Way::Socket).events(100).await, all);
}

/// One turn, of which `stream` takes so many bytes.
fn write_in_part(shared: &mut SharedReader, stream: &mut SubscriberStream, bytes: usize) {
    let Turn::Write(ready) = shared.turn(1) else {
        panic!("there is something to write");
    };
    let mut batch = stream.state.batch(&ready);
    batch.advance(bytes);
    assert!(batch.has_remaining());
}

#[tokio::test(start_paused = true)]
async fn who_leaves_a_reader_within_an_event_breaks_off_if_that_is_of_an_older_view() {
    for replaced_meanwhile in [false, true] {
        let fixture = fixture().await;
        let mut stream = live(&fixture).await;
        let (mut shared, _interrupts) = SharedReader::new(&stream.state);
        attach(&shared, &mut stream);
        // Of which the stream knows nothing: its reader listens for it.
        fixture.streams.replace_views(views::hiding(), "");
        fixture.store("a", "t", r#"{"secret":1}"#).await;
        fixture.told(1).await;
        write_in_part(&mut shared, &mut stream, 3);
        if replaced_meanwhile {
            let plain = TopicMap::new([].into(), Some(Arc::default()));
            fixture.streams.replace_views(plain, "");
        }
        detach(&shared, &mut stream);
        let step = stream.state.poll(Instant::now);
        assert_eq!(step == Step::Abort, replaced_meanwhile, "{step:?}");
    }
}
