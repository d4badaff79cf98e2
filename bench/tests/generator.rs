//! The generator against servers whose faults are known.

mod stage;

use hookrill_bench::{
    round::Limit,
    server::{Audience, Posts, Spec},
};
use stage::{Stage, spec};
use std::time::Duration;

const SUBSCRIBERS: usize = 20;
const EVENTS: u32 = 200;

fn offer(stage: &Stage, senders: usize, rate: Option<f64>) -> stage::Outcome {
    let audience = Audience::of_one("test", SUBSCRIBERS);
    let limit = Limit {
        senders,
        time: Duration::from_secs(60),
        paced: rate.is_some(),
    };
    stage.offer(&audience, EVENTS, rate, limit)
}

#[test]
fn every_delivery_of_an_honest_server_is_found() {
    for name in ["floor", "axum"] {
        for (senders, rate) in [(1, None), (8, None), (1, Some(2_000.0))] {
            let stage = Stage::start(spec(name));
            let outcome = offer(&stage, senders, rate);
            assert_eq!(outcome.faults.count(), 0, "{name}: {:?}", outcome.faults);
            assert_eq!(outcome.offered.acknowledged, u64::from(EVENTS));
            let all = SUBSCRIBERS as u64 * u64::from(EVENTS);
            assert_eq!(outcome.offered.deliveries, all, "{name}");
            assert_eq!(outcome.offered.latency.len(), all, "{name}");
        }
    }
}

/// The floor, but it lies in one way to two of the subscribers.
fn liar(fault: &str) -> Spec {
    let mut spec = spec("floor");
    let start = spec.start.as_mut().expect("the floor is started");
    start.command[2] = "liar".to_owned();
    start.command.extend(["--fault", fault].map(str::to_owned));
    spec
}

#[test]
fn a_server_that_loses_doubles_swaps_or_cuts_an_event_is_found_out() {
    for (fault, expect) in [
        ("lose", [2, 0, 0, 0]),
        ("double", [0, 2, 0, 0]),
        ("swap", [0, 0, 2, 0]),
        ("cut", [0, 0, 0, 2]),
    ] {
        for senders in [1, 8] {
            let stage = Stage::start(liar(fault));
            let faults = offer(&stage, senders, Some(2_000.0)).faults;
            let found = [
                faults.missing,
                faults.doubled,
                faults.disordered,
                faults.damaged,
            ];
            assert_eq!(found, expect, "{fault} over {senders}: {faults:?}");
        }
    }
}

#[test]
fn a_server_that_refuses_is_named_with_its_status_and_words() {
    let mut unsigned = spec("hookrill");
    unsigned.publish.headers.pop();
    let stage = Stage::start(unsigned);
    let posts = Posts {
        prefix: "test",
        topics: 1,
        first: 0,
        count: 3,
        rate: None,
        bodies: hookrill_bench::payload::Bodies::Filled(100),
    };
    let mut round = stage.round(1);
    let limit = Limit {
        senders: 1,
        time: Duration::from_secs(60),
        paced: false,
    };
    let error = round.offer(posts.make(&stage.spec), limit);
    let error = error.expect_err("it is not signed").to_string();
    assert!(error.contains("status 401"), "{error}");
}

#[test]
fn subscribers_that_come_late_get_all_of_the_history() {
    let stage = Stage::start(spec("floor"));
    let outcome = stage.replay(SUBSCRIBERS, EVENTS);
    assert_eq!(outcome.count(), 0, "{outcome:?}");
}
