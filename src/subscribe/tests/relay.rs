//! Streams that leave the listening to a relay, and those that take it back.

use std::io::{ErrorKind, IoSlice};

use super::*;

async fn house() -> House {
    house_of(1 << 20).await
}

async fn house_of(ring_bytes: usize) -> House {
    House::with(Way::Socket, ring_bytes, 1 << 30, House::HEARTBEAT).await
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
    reader.subscription
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
    relay.take_on(&mut ahead.subscription);
    assert!(relay.is_level_with(&ahead.subscription));
    house.store("a", "t", "x").await;
    house.told(3).await;
    let mut heard = Vec::new();
    while heard.is_empty() {
        heard = hand_out(&mut relay, &mut ahead.subscription);
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
    let mut reader = Reader::new(stream, Way::Socket);
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
    let house = house_of(2_000).await;
    let mut stream = live(&house).await;
    let (mut relay, _calls) = Relay::beside(&stream);
    relay.take_on(&mut stream);
    house.store_many("a", 100).await;
    house.told(100).await;
    assert!(matches!(relay.turn(1), Turn::Scatter));
    relay.let_go(&mut stream);
    let all: Vec<u64> = (1..=100).collect();
    assert_eq!(Reader::new(stream, Way::Socket).events(100).await, all);
}

/// One turn's hand, of which `stream` takes so many bytes.
fn hand_out_in_part(relay: &mut Relay, stream: &mut Subscription, bytes: usize) {
    let Turn::Give(hand) = relay.turn(1) else {
        panic!("there is something to give");
    };
    let given = stream
        .split()
        .0
        .give_of(&hand, Framing::Plain, |_| Ok(bytes));
    assert_eq!(given.unwrap(), Given::Part);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_a_relay_within_an_event_breaks_off_if_that_is_of_an_older_view() {
    for recoded_meanwhile in [false, true] {
        let house = house().await;
        let mut stream = live(&house).await;
        let (mut relay, _calls) = Relay::beside(&stream);
        relay.take_on(&mut stream);
        // Of which the stream knows nothing: its relay listens for it.
        house.streams.recode(recode::hiding(), "");
        house.store("a", "t", r#"{"secret":1}"#).await;
        house.told(1).await;
        hand_out_in_part(&mut relay, &mut stream, 3);
        if recoded_meanwhile {
            let plain = TopicMap::new([].into(), Some(Arc::default()));
            house.streams.recode(plain, "");
        }
        relay.let_go(&mut stream);
        let step = stream.split().0.step();
        assert_eq!(step == Step::Break, recoded_meanwhile, "{step:?}");
    }
}
