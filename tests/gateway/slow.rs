//! A slow subscriber costs nobody anything.

use std::{sync::Arc, time::Instant};

use futures_util::future::join_all;

use super::harness::{Gateway, Message};

const SUBSCRIBERS: usize = 100;
const EVENTS: usize = 20_000;
const BODY_BYTES: usize = 4_096;
const COST_BYTES_MAX: usize = 64 * 1024;

/// A hundred subscribers stop reading while 20,000 events of 4 kB pass. The
/// gateway runs in a process of its own, so that its memory can be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_that_stop_reading_hold_up_nobody_and_cost_next_to_nothing() {
    let alone = passing(0).await;
    let crowd = passing(SUBSCRIBERS).await;
    let cost = crowd.grown_bytes.saturating_sub(alone.grown_bytes) / SUBSCRIBERS;
    println!(
        "without them: {:?}, {} kB more memory; with {SUBSCRIBERS}: {:?}, {} kB more; {cost} B each",
        alone.took, alone.grown_bytes / 1024, crowd.took, crowd.grown_bytes / 1024,
    );
    assert!(cost < COST_BYTES_MAX, "each costs {cost} bytes");
}

struct Passing {
    took: std::time::Duration,
    grown_bytes: usize,
}

async fn passing(stuck: usize) -> Passing {
    let gateway = Arc::new(Gateway::in_a_process().await);
    // Warmed up, so that what a journal takes once is not counted.
    gateway.fill("open", EVENTS / 4, BODY_BYTES).await;
    let from = (EVENTS / 4) as u64;
    let mut idle = Vec::new();
    for _ in 0..stuck {
        let mut subscriber = gateway.subscriber("/events/open").await;
        subscriber.opened().await;
        idle.push(subscriber);
    }
    let before = gateway.resident_bytes();
    let mut reading = gateway.subscriber("/events/open").await;
    reading.opened().await;
    let filling = Arc::clone(&gateway);
    let begun = Instant::now();
    let (live, ()) = tokio::join!(
        reading.events(EVENTS),
        async move { filling.fill("open", EVENTS, BODY_BYTES).await }
    );
    let took = begun.elapsed();
    let grown_bytes = gateway.resident_bytes().saturating_sub(before);
    let expected: Vec<u64> = (from + 1..=from + EVENTS as u64).collect();
    let sequences = |events: &[Message]| events.iter().map(Message::sequence).collect::<Vec<_>>();
    assert_eq!(sequences(&live), expected);
    // Ten at a time, to spare this process's memory.
    for some in idle.chunks_mut(10) {
        let all = join_all(some.iter_mut().map(|subscriber| subscriber.events(EVENTS))).await;
        for events in all {
            assert_eq!(sequences(&events), expected);
        }
    }
    Passing { took, grown_bytes }
}
