//! A slow subscriber costs nobody anything.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::harness::{Message, PATIENCE, Process};

const SUBSCRIBERS: usize = 100;
const EVENTS: usize = 20_000;
const BODY_BYTES: usize = 4_096;
const COST_BYTES_MAX: usize = 64 * 1024;

/// A hundred subscribers stop reading while 20,000 events of 4 kB pass. The
/// gateway runs in a process of its own, so that its memory can be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_that_stop_reading_hold_up_nobody_and_cost_next_to_nothing() {
    let gateway = Process::start().await;
    // What the journal takes once, it has taken after this.
    pass_by(&gateway, 0).await;
    let alone = pass_by(&gateway, 1).await;

    let mut stuck = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let mut subscriber = gateway.subscriber("/events/open").await;
        subscriber.opened().await;
        stuck.push(subscriber);
    }
    let crowd = pass_by(&gateway, 2).await;
    println!(
        "alone: {:?}, {} kB; beside {SUBSCRIBERS} that do not read: {:?}, {} kB",
        alone.took,
        alone.resident_bytes / 1024,
        crowd.took,
        crowd.resident_bytes / 1024,
    );
    cost_settles_below(COST_BYTES_MAX, &gateway, alone.resident_bytes).await;

    // Ten at a time, to spare this process's memory.
    for some in stuck.chunks_mut(10) {
        let all = join_all(some.iter_mut().map(|subscriber| subscriber.events(EVENTS))).await;
        for events in all {
            assert_eq!(sequences(&events), expected(2));
        }
    }
}

/// Waits until the storage engine has given back what it took for a while:
/// what subscribers hold, they go on holding.
async fn cost_settles_below(cost_max: usize, gateway: &Process, alone_bytes: usize) {
    let patient_until = Instant::now() + PATIENCE;
    loop {
        let grown = gateway.resident_bytes().saturating_sub(alone_bytes);
        let cost = grown / SUBSCRIBERS;
        if cost < cost_max {
            println!("each costs {cost} bytes");
            return;
        }
        assert!(Instant::now() < patient_until, "each costs {cost} bytes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

struct Passing {
    took: Duration,
    resident_bytes: usize,
}

/// Ingests a round of events while one subscriber reads them live.
async fn pass_by(gateway: &Process, round: usize) -> Passing {
    let mut reading = gateway.subscriber("/events/open").await;
    reading.opened().await;
    let begun = Instant::now();
    let filling = gateway.fill("open", EVENTS, BODY_BYTES);
    let (live, ()) = tokio::join!(reading.events(EVENTS), filling);
    assert_eq!(sequences(&live), expected(round));
    Passing {
        took: begun.elapsed(),
        resident_bytes: gateway.resident_bytes(),
    }
}

fn expected(round: usize) -> Vec<u64> {
    let begin = (round * EVENTS) as u64;
    (begin + 1..=begin + EVENTS as u64).collect()
}

fn sequences(events: &[Message]) -> Vec<u64> {
    events.iter().map(Message::sequence).collect()
}
