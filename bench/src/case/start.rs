//! Start: from the start of the process to the first 200 of its ready route.

use std::time::Duration;

use tempfile::TempDir;

use super::Setup;
use crate::{
    report::Row,
    round::Limit,
    server::{Case, Posts, Running},
};

const STARTS: usize = 5;
const EVENT_BYTES: usize = 4096;
const SENDERS: usize = 16;
/// Made and sent at a time: a gigabyte of requests need not be held.
const BATCH: u32 = 10_000;

/// With an empty journal, and with a long one: after a clean end, and after a
/// SIGKILL.
pub(super) fn measure(stage: &Setup<'_>) -> anyhow::Result<Vec<Row>> {
    let mut empty = Vec::new();
    for _ in 0..STARTS {
        empty.push(Running::start(stage.spec, stage.places)?.ready_after);
    }
    let mut rows = vec![row(stage, "empty", empty)];
    let server = Running::start(stage.spec, stage.places)?;
    let history = write_history(stage, &server)?;
    let (killed, folder) = restarts(stage, server, true)?;
    let restarted = Running::start_in(folder, stage.spec, stage.places)?;
    let (clean, _) = restarts(stage, restarted, false)?;
    for (variant, times) in [("1 GB", clean), ("1 GB, after SIGKILL", killed)] {
        let mut row = row(stage, variant, times);
        row.note = format!("{history} events of {EVENT_BYTES} B");
        rows.push(row);
    }
    Ok(rows)
}

/// Ends the server and starts it again, a few times.
fn restarts(
    stage: &Setup<'_>,
    mut server: Running,
    kill: bool,
) -> anyhow::Result<(Vec<Duration>, TempDir)> {
    let mut times = Vec::new();
    loop {
        let folder = server.stop(kill);
        let folder = folder.ok_or_else(|| anyhow::anyhow!("it was not started here"))?;
        if times.len() == STARTS {
            return Ok((times, folder));
        }
        server = Running::start_in(folder, stage.spec, stage.places)?;
        times.push(server.ready_after);
    }
}

/// A gigabyte of bodies; how many events.
fn write_history(stage: &Setup<'_>, server: &Running) -> anyhow::Result<u64> {
    let batches = stage.size.of(25, 3, 1);
    let mut round = stage.round(server, 1)?;
    let mut acknowledged = 0;
    for batch in 0..batches {
        let count = stage.size.of(BATCH, BATCH, 100);
        let posts = Posts {
            first: batch * count,
            ..stage.posts("history", count, None, EVENT_BYTES)
        };
        let limit = Limit {
            senders: SENDERS,
            time: Duration::from_secs(60),
            paced: false,
        };
        acknowledged += round.offer(posts.make(stage.spec), limit)?.acknowledged;
    }
    Ok(acknowledged)
}

fn row(stage: &Setup<'_>, variant: &'static str, mut times: Vec<Duration>) -> Row {
    times.sort();
    let mut row = stage.row(Case::Start, variant);
    row.ready_ms = times
        .get(times.len() / 2)
        .map(|time| time.as_secs_f64() * 1e3);
    row
}
