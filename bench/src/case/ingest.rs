//! Ingest: events that nobody listens to.

use super::{Meter, SETTLE, Setup, fill};
use crate::{report::Row, round::Limit, server::Case};

const SENDERS: usize = 16;
const EVENT_BYTES: usize = 1024;
/// More than any server here takes per second.
const PREPARED_PER_SEC: f64 = 40_000.0;

/// 16 connections, each with the next event as soon as the last was answered.
/// What the server leaves for later, such as compaction, counts for half a
/// second more.
pub(super) fn measure(stage: &Setup<'_>) -> anyhow::Result<Vec<Row>> {
    let server = stage.warm_server()?;
    let mut round = stage.round(&server, 1)?;
    let count = (PREPARED_PER_SEC * stage.size.time.as_secs_f64()) as u32;
    let count = stage.size.of(count, count, 500);
    let posts = stage.posts("ingest", count, None, EVENT_BYTES);
    let posts = posts.make(stage.spec);
    let limit = Limit {
        senders: SENDERS,
        time: stage.size.time,
        paced: false,
    };
    let meter = Meter::start(&server);
    let offered = round.offer(posts, limit)?;
    round.linger(SETTLE)?;
    let mut row = stage.row(Case::Ingest, "");
    fill(&mut row, &offered, meter.read());
    Ok(vec![row])
}
