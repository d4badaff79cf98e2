//! Many subscribers of one topic, which the gateway writes to in bundles.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use hookrill_testing::{Gateway, Message, Subscriber, token};

const CROWD: usize = 200;

async fn crowd(gateway: &Gateway, path: &str, count: usize) -> Vec<Subscriber> {
    let mut crowd = Vec::new();
    for _ in 0..count {
        let mut subscriber = gateway.subscriber(path).await;
        subscriber.opened().await;
        crowd.push(subscriber);
    }
    crowd
}

async fn all_get(crowd: &mut [Subscriber], expected: std::ops::RangeInclusive<u64>) {
    let expected: Vec<u64> = expected.collect();
    let reading = crowd.iter_mut().map(|one| one.events(expected.len()));
    for events in join_all(reading).await {
        let sequences: Vec<u64> = events.iter().map(Message::sequence).collect();
        assert_eq!(sequences, expected);
    }
}

/// Waits until the gateway has so many subscribers.
async fn are_left(gateway: &Gateway, count: usize) {
    let noticed = async {
        while gateway.metric("hookrill_subscribers").await != count as f64 {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(60);
    timeout(limit, noticed).await.expect("noticed in a minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_in_a_crowd_gets_every_event_once_while_others_come_and_go() {
    let gateway = Gateway::in_memory().start().await;
    let mut staying = crowd(&gateway, "/events/open", CROWD).await;
    let leaving = crowd(&gateway, "/events/open", CROWD).await;
    let coming = async {
        drop(leaving);
        crowd(&gateway, "/events/open?since=earliest", CROWD).await
    };
    let filling = gateway.fill("open", 1_000, 512);
    let (mut came, (), ()) = tokio::join!(coming, filling, all_get(&mut staying, 1..=1_000));
    all_get(&mut came, 1..=1_000).await;
    gateway.fill("open", 100, 512).await;
    all_get(&mut staying, 1_001..=1_100).await;
    all_get(&mut came, 1_001..=1_100).await;
}

/// On disk, where hundreds of posts become one commit, and two commits more
/// than one write takes.
#[tokio::test(flavor = "multi_thread")]
async fn commits_that_do_not_fit_one_write_reach_everyone_in_a_crowd_whole() {
    const POSTERS: usize = 16;
    let gateway = Gateway::on_disk().start().await;
    let mut crowd = crowd(&gateway, "/events/open", 70).await;
    let filling = (0..POSTERS).map(|_| gateway.fill("open", 250, 100));
    tokio::join!(join_all(filling), all_get(&mut crowd, 1..=4_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn some_of_a_crowd_that_stop_reading_hold_up_none_of_it_and_miss_nothing() {
    let gateway = Gateway::in_memory().start().await;
    let mut stuck = crowd(&gateway, "/events/open", 10).await;
    let mut reading = crowd(&gateway, "/events/open", 40).await;
    let filling = gateway.fill("open", 4_000, 4_096);
    tokio::join!(filling, all_get(&mut reading, 1..=4_000));
    all_get(&mut stuck, 1..=4_000).await;
    gateway.fill("open", 10, 512).await;
    all_get(&mut stuck, 4_001..=4_010).await;
    all_get(&mut reading, 4_001..=4_010).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_leave_a_crowd_are_noticed_without_an_event() {
    // A heartbeat would meet a closed connection.
    let heartbeat = "[subscribe]\nheartbeat = \"10m\"";
    let gateway = Gateway::in_memory().sections(heartbeat).start().await;
    let mut staying = crowd(&gateway, "/events/open", CROWD).await;
    let leaving = crowd(&gateway, "/events/open", CROWD).await;
    // Into bundles with them, whoever was the first.
    gateway.fill("open", 1, 512).await;
    all_get(&mut staying, 1..=1).await;
    are_left(&gateway, 2 * CROWD).await;
    drop(leaving);
    are_left(&gateway, CROWD).await;
    drop(staying);
    are_left(&gateway, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_takes_its_stream_out_of_the_crowd_and_no_other() {
    let gateway = Gateway::in_memory().start().await;
    let path = |secs| format!("/events/shut?token={}", token(&["shut"], secs));
    let mut staying = crowd(&gateway, &path(3_600), 20).await;
    let mut ending = crowd(&gateway, &path(2), 20).await;
    join_all(ending.iter_mut().map(Subscriber::ended)).await;
    are_left(&gateway, 20).await;
    gateway.fill("shut", 3, 512).await;
    all_get(&mut staying, 1..=3).await;
}
