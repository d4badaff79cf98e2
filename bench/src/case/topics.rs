//! Topics: the same deliveries through many topics of one subscriber each, and
//! through one topic of many.
//!
//! With many topics each delivery has a whole ingest in it. So the same events
//! are first ingested with nobody listening, and that cost is taken off for the
//! net figure.

use std::time::Duration;

use super::{AFTERMATH, Meter, SETTLE, Setup, fill};
use crate::{
    report::Row,
    round::Limit,
    server::{Audience, Case, Posts, Running},
};

const EVENT_BYTES: usize = 512;
const SENDERS: usize = 8;
const MANY_PER_SEC: f64 = 2_000.0;
const ONE_PER_SEC: f64 = 3.0;

/// 10,000 topics with one subscriber each, and one with 10,000.
pub(super) fn measure(stage: &Setup<'_>) -> anyhow::Result<Vec<Row>> {
    let server = stage.warm_server()?;
    let count = stage.size.of(10_000, 1_000, 20);
    let count = stage.size.subscribers(count, stage.spec);
    let time = stage.size.time * 2;
    let events_at = |per_sec: f64| (per_sec * time.as_secs_f64()) as u32;
    let many = stage
        .size
        .of(events_at(MANY_PER_SEC), events_at(MANY_PER_SEC), 200);
    let one = stage
        .size
        .of(events_at(ONE_PER_SEC), events_at(ONE_PER_SEC), 20);
    let part = |variant, prefix, topics, subscribers, events, rate| Part {
        variant,
        prefix,
        topics,
        subscribers,
        events,
        rate,
    };
    let alone = part("ingest only", "alone", count, 0, many, MANY_PER_SEC).run(stage, &server)?;
    let mut many = part("many", "many", count, count, many, MANY_PER_SEC).run(stage, &server)?;
    let mut one = part("one", "one", 1, count, one, ONE_PER_SEC).run(stage, &server)?;
    let micros_per_event = alone
        .events_per_cpu_sec
        .map_or(0.0, |per_sec| 1e6 / per_sec);
    many.net_cpu_micros_per_delivery = net(&many, micros_per_event);
    let per_delivery = micros_per_event / count as f64;
    one.net_cpu_micros_per_delivery = net(&one, per_delivery);
    for row in [&mut many, &mut one] {
        row.note = format!(
            "CPU per delivery {:.2} µs raw, {:.2} µs net of ingest",
            row.cpu_micros_per_delivery.unwrap_or(f64::NAN),
            row.net_cpu_micros_per_delivery.unwrap_or(f64::NAN),
        );
    }
    Ok(vec![alone, many, one])
}

/// Less what ingest costs per delivery.
fn net(row: &Row, ingest_micros: f64) -> Option<f64> {
    Some(row.cpu_micros_per_delivery? - ingest_micros)
}

struct Part {
    variant: &'static str,
    prefix: &'static str,
    topics: usize,
    subscribers: usize,
    events: u32,
    rate: f64,
}

impl Part {
    fn run(&self, stage: &Setup<'_>, server: &Running) -> anyhow::Result<Row> {
        let mut round = stage.round(server, self.topics)?;
        round.subscribe(&Audience {
            topics: self.topics,
            ..Audience::of_one(self.prefix, self.subscribers)
        })?;
        round.linger(SETTLE)?;
        let posts = Posts {
            topics: self.topics,
            ..stage.posts(self.prefix, self.events, Some(self.rate), EVENT_BYTES)
        };
        let posts = posts.make(stage.spec);
        let limit = Limit {
            senders: SENDERS,
            time: Duration::from_secs(120),
            paced: true,
        };
        let meter = Meter::start(server);
        let offered = round.offer(posts, limit)?;
        let spent = meter.read();
        round.linger(AFTERMATH)?;
        let mut row = stage.row(Case::Topics, self.variant);
        row.subscribers = Some(self.subscribers);
        fill(&mut row, &offered, spent);
        row.faults = round.faults();
        Ok(row)
    }
}
