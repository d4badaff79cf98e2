//! Replay: subscribers that come late and catch up.

use std::time::{Duration, Instant};

use super::{AFTERMATH, Meter, SETTLE, Setup};
use crate::{
    report::Row,
    round::{Limit, Round},
    server::{Audience, Case},
};

const EVENT_BYTES: usize = 512;
const SENDERS: usize = 8;
/// Enough CPU time for a figure.
const CPU_ENOUGH: Duration = Duration::from_secs(2);
const TURNS_MAX: usize = 6;

/// 200 subscribers replay 3,000 events each, from connecting to the last
/// event; once more until the server has worked for two seconds.
pub(super) fn measure(stage: &Setup<'_>) -> anyhow::Result<Vec<Row>> {
    let server = stage.warm_server()?;
    let events = stage.size.of(3_000, 3_000, 100);
    let audience = Audience {
        replay: true,
        ..Audience::of_one("replay", stage.size.of(200, 100, 10))
    };
    let mut round = stage.round(&server, 1)?;
    publish(stage, &mut round, events)?;
    round.linger(SETTLE)?;
    let mut spent = (Duration::ZERO, Duration::ZERO);
    let (mut elapsed, mut expected) = (Duration::ZERO, 0);
    for _ in 0..TURNS_MAX {
        expected += audience.subscribers as u64 * u64::from(events);
        let (meter, began) = (Meter::start(&server), Instant::now());
        round.subscribe(&audience)?;
        round.receive_until(expected)?;
        let turn = meter.read();
        spent = (spent.0 + turn.0, spent.1 + turn.1);
        elapsed += began.elapsed();
        if spent.0 >= CPU_ENOUGH || round.delivered() < expected {
            break;
        }
    }
    round.linger(AFTERMATH)?;
    let mut row = stage.row(Case::Replay, "");
    let deliveries = round.delivered();
    row.subscribers = Some(audience.subscribers);
    row.deliveries = Some(deliveries);
    row.deliveries_per_sec = Some(deliveries as f64 / elapsed.as_secs_f64());
    row.deliveries_per_cpu_sec = Some(deliveries as f64 / spent.0.as_secs_f64());
    row.cpu_secs = Some(spent.0.as_secs_f64());
    row.generator_share = Some(spent.1.as_secs_f64() / elapsed.as_secs_f64());
    row.faults = round.faults();
    Ok(vec![row])
}

fn publish(stage: &Setup<'_>, round: &mut Round<'_>, events: u32) -> anyhow::Result<()> {
    let posts = stage.posts("replay", events, None, EVENT_BYTES);
    let limit = Limit {
        senders: SENDERS,
        time: Duration::from_secs(60),
        paced: false,
    };
    round.offer(posts.make(stage.spec), limit)?;
    Ok(())
}
