//! Live: a steady trickle to many, and far more than one core can deliver.

use std::time::Duration;

use super::{AFTERMATH, Meter, SETTLE, Setup, fill};
use crate::{
    report::Row,
    round::Limit,
    server::{Audience, Case},
};

const EVENT_BYTES: usize = 512;
const LIVE_PER_SEC: u32 = 20;
const OVERLOAD_PER_SEC: u32 = 1_000;

/// 1,000 subscribers, 20 events per second, each in a turn of its own. One
/// sender, so that the order is known beforehand.
pub(super) fn measure(stage: &Setup<'_>) -> anyhow::Result<Vec<Row>> {
    offer(stage, Case::Live, LIVE_PER_SEC, 1, stage.size.time * 2)
}

/// 1,000 subscribers, 1,000 events per second offered over 8 connections.
pub(super) fn measure_overload(stage: &Setup<'_>) -> anyhow::Result<Vec<Row>> {
    offer(stage, Case::Overload, OVERLOAD_PER_SEC, 8, stage.size.time)
}

fn offer(
    stage: &Setup<'_>,
    case: Case,
    per_sec: u32,
    senders: usize,
    time: Duration,
) -> anyhow::Result<Vec<Row>> {
    let server = stage.warm_server()?;
    let prefix = "live";
    let subscribers = stage
        .size
        .subscribers(stage.size.of(1_000, 1_000, 20), stage.spec);
    let mut round = stage.round(&server, 1)?;
    round.subscribe(&Audience::of_one(prefix, subscribers))?;
    round.linger(SETTLE)?;
    let count = (f64::from(per_sec) * time.as_secs_f64()) as u32;
    let posts = stage.posts(prefix, count, Some(f64::from(per_sec)), EVENT_BYTES);
    let posts = posts.make(stage.spec);
    let limit = Limit {
        senders,
        time,
        paced: true,
    };
    let meter = Meter::start(&server);
    let offered = round.offer(posts, limit)?;
    let spent = meter.read();
    round.linger(AFTERMATH)?;
    let mut row = stage.row(case, "");
    row.subscribers = Some(subscribers);
    fill(&mut row, &offered, spent);
    row.faults = round.faults();
    Ok(vec![row])
}
