//! Idle: how much memory a subscriber takes that only listens.

use std::time::Duration;

use super::{AFTERMATH, SETTLE, Setup};
use crate::{
    report::Row,
    round::{Limit, Round},
    server::{Audience, Case, Running},
};

const SUBSCRIBERS: usize = 15_000;
/// Memory has settled when half a second changes it by less than this part.
const SETTLED: f64 = 0.002;
const SETTLE_TURNS: usize = 20;

/// 15,000 subscribers, Hookrill's with a token of its own each. What they cost
/// is the server's memory after they came less that before, by their number.
pub(super) fn measure(stage: &Setup<'_>) -> anyhow::Result<Vec<Row>> {
    let server = stage.warm_server()?;
    let subscribers = stage.size.of(SUBSCRIBERS, 2_000, 50);
    let subscribers = stage.size.subscribers(subscribers, stage.spec);
    let mut round = stage.round(&server, 1)?;
    let before = settled(&mut round, &server)?;
    round.subscribe(&Audience::of_one("idle", subscribers))?;
    let after = settled(&mut round, &server)?;

    // They have to be there, not only connected.
    let posts = stage.posts("idle", 3, Some(1.0), 512).make(stage.spec);
    let limit = Limit {
        senders: 1,
        time: Duration::from_secs(10),
        paced: true,
    };
    round.offer(posts, limit)?;
    round.linger(AFTERMATH)?;

    let mut row = stage.row(Case::Idle, "");
    row.subscribers = Some(subscribers);
    row.rss_per_connection = Some((after - before) / subscribers as f64);
    row.faults = round.faults();
    if subscribers < SUBSCRIBERS {
        row.note = format!("{subscribers} subscribers instead of {SUBSCRIBERS}");
    }
    Ok(vec![row])
}

/// The server's memory once it stays as it is, in bytes.
fn settled(round: &mut Round<'_>, server: &Running) -> anyhow::Result<f64> {
    let mut last = server.tree.memory_bytes() as f64;
    for _ in 0..SETTLE_TURNS {
        round.linger(SETTLE)?;
        let now = server.tree.memory_bytes() as f64;
        let change = (now - last).abs();
        last = now;
        if change <= SETTLED * now {
            break;
        }
    }
    Ok(last)
}
