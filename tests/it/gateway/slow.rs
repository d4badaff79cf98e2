//! A slow subscriber costs nobody anything.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use hookrill_testing::{Message, OPEN_TOPIC, Process, Subscriber};

const SUBSCRIBERS: usize = 100;
const EVENTS: usize = 20_000;
const BODY_BYTES: usize = 4_096;
/// How many events the live reader may be behind: fewer than the journal in
/// memory keeps, however slow the day is.
const AHEAD_MAX: usize = 1_000;
/// How many stop reading while memory is watched: an allocator's comes and
/// goes by megabytes, which are little among so many.
const WATCHED: usize = 200;
/// Of the 80 MB that pass.
const COST_BYTES_MAX: usize = 128 * 1024;
/// How often the memory is looked at: what subscribers held would be there each
/// time.
const LOOKS: usize = 4;

/// A hundred subscribers stop reading while 20,000 events of 4 kB pass.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_that_stop_reading_hold_up_nobody_and_miss_nothing() {
    let gateway = Process::with_sections(OPEN_TOPIC);
    let alone = pass_by(&gateway, 0).await;
    let mut stuck = stuck(&gateway, SUBSCRIBERS).await;
    let crowd = pass_by(&gateway, 1).await;
    println!("alone: {alone:?}; beside {SUBSCRIBERS} that do not read: {crowd:?}");

    // Ten at a time, to spare this process's memory.
    for some in stuck.chunks_mut(10) {
        let all = join_all(some.iter_mut().map(|subscriber| subscriber.events(EVENTS))).await;
        for events in all {
            assert_eq!(sequences(&events), expected(1));
        }
    }
}

/// The gateway runs in a process of its own, so that its memory can be read;
/// and over the journal in memory, which takes its share once, where the memory
/// of indexes and pages comes and goes.
#[tokio::test(flavor = "multi_thread")]
async fn those_that_stop_reading_cost_next_to_nothing() {
    let journal = "[journal]\nkind = \"memory\"\nretain_bytes = \"8 MiB\"";
    let gateway = Process::with_sections(&format!("{journal}\n{OPEN_TOPIC}"));
    // What is taken once, be it by many connections, is taken after this.
    drop(stuck(&gateway, WATCHED).await);
    pass_by(&gateway, 0).await;
    pass_by(&gateway, 1).await;
    let alone = gateway.resident_bytes();
    let _stuck = stuck(&gateway, WATCHED).await;
    let mut cost = usize::MAX;
    for look in 0..LOOKS {
        pass_by(&gateway, 2 + look).await;
        cost = cost.min(gateway.resident_bytes().saturating_sub(alone) / WATCHED);
        if cost < COST_BYTES_MAX {
            break;
        }
    }
    println!("each costs {cost} bytes");
    assert!(cost < COST_BYTES_MAX, "each costs {cost} bytes");
}

async fn stuck(gateway: &Process, count: usize) -> Vec<Subscriber> {
    let mut stuck = Vec::new();
    for _ in 0..count {
        let mut subscriber = gateway.subscriber("/events/open").await;
        subscriber.opened().await;
        stuck.push(subscriber);
    }
    stuck
}

/// Ingests a round of events while one subscriber reads them live.
async fn pass_by(gateway: &Process, round: usize) -> Duration {
    let mut reading = gateway.subscriber("/events/open").await;
    reading.opened().await;
    let begun = Instant::now();
    let mut live = Vec::new();
    while live.len() < EVENTS {
        let filling = gateway.fill("open", AHEAD_MAX, BODY_BYTES);
        let (some, ()) = tokio::join!(reading.events(AHEAD_MAX), filling);
        live.extend(some);
    }
    assert_eq!(sequences(&live), expected(round));
    begun.elapsed()
}

fn expected(round: usize) -> Vec<u64> {
    let begin = (round * EVENTS) as u64;
    (begin + 1..=begin + EVENTS as u64).collect()
}

fn sequences(events: &[Message]) -> Vec<u64> {
    events.iter().map(Message::sequence).collect()
}
