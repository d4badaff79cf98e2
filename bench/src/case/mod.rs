//! The measures, one file each.
//!
//! Each starts a server anew, warms it on a topic of its own, and measures
//! once. Invariant: CPU time is sampled around what is counted and nothing
//! else, unless the case says so.

mod gzip;
mod idle;
mod ingest;
mod live;
mod replay;
mod start;
mod topics;

use std::time::Duration;

use anyhow::Context as _;

use crate::{
    machine,
    payload::Bodies,
    report::Row,
    round::{Limit, Offered, Round},
    server::{Audience, Case, Places, Posts, Running, Spec},
};

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Size {
    /// Scales times, counts of subscribers and topics: 1 for a whole run.
    pub scale: Scale,
    /// How long events are offered.
    pub time: Duration,
    /// The most subscribers that file limits let in.
    pub subscribers_max: usize,
    /// The folder of GitHub's examples, where it is installed.
    pub examples: Option<std::path::PathBuf>,
}

/// How large the counts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// As the targets say.
    Whole,
    /// A fifth or less, to look whether things work.
    Quick,
    /// For tests.
    Tiny,
}

impl Size {
    /// Picks a count by scale.
    fn of<T>(&self, whole: T, quick: T, tiny: T) -> T {
        match self.scale {
            Scale::Whole => whole,
            Scale::Quick => quick,
            Scale::Tiny => tiny,
        }
    }

    /// As many subscribers as are asked for, or as the limits allow.
    fn subscribers(&self, asked: usize, spec: &Spec) -> usize {
        asked.min(self.subscribers_max).min(spec.subscribers_max)
    }
}

/// Measures one server in one case.
///
/// # Errors
///
/// Where the server can't be started or breaks off.
pub fn measure(case: Case, spec: &Spec, places: &Places, size: &Size) -> anyhow::Result<Vec<Row>> {
    let stage = Setup { spec, places, size };
    match case {
        Case::Idle => idle::measure(&stage),
        Case::Live => live::measure(&stage),
        Case::Overload => live::measure_overload(&stage),
        Case::Ingest => ingest::measure(&stage),
        Case::Replay => replay::measure(&stage),
        Case::Topics => topics::measure(&stage),
        Case::Gzip => gzip::measure(&stage),
        Case::Start => start::measure(&stage),
    }
}

/// What every case works with.
struct Setup<'s> {
    spec: &'s Spec,
    places: &'s Places,
    size: &'s Size,
}

impl<'s> Setup<'s> {
    /// Starts the server and lets it do a little of everything, so that what
    /// it makes once is made.
    fn warm_server(&self) -> anyhow::Result<Running> {
        let server = Running::start(self.spec, self.places)?;
        let warm = || -> anyhow::Result<()> {
            let mut round = self.round(&server, 1)?;
            round.subscribe(&Audience::of_one("warm", self.size.of(50, 50, 5)))?;
            let posts = self.posts("warm", self.size.of(200, 200, 20), Some(400.0), 512);
            let limit = Limit {
                senders: 4,
                time: Duration::from_secs(5),
                paced: true,
            };
            round.offer(posts.make(self.spec), limit)?;
            Ok(())
        };
        warm()
            .with_context(|| format!("warming {}; it said:\n{}", self.spec.name, server.said()))?;
        Ok(server)
    }

    fn round(&self, server: &Running, topics: usize) -> anyhow::Result<Round<'s>> {
        Ok(Round::new(self.spec, server, topics)?)
    }

    fn posts(&self, prefix: &'static str, count: u32, rate: Option<f64>, bytes: usize) -> Posts {
        Posts {
            prefix,
            topics: 1,
            first: 0,
            count,
            rate,
            bodies: Bodies::Filled(bytes),
        }
    }

    fn row(&self, case: Case, variant: &'static str) -> Row {
        Row::new(case, variant, self.spec)
    }
}

/// CPU time spent between two moments: the server's and the generator's.
struct Meter<'m> {
    server: &'m Running,
    before: (Duration, Duration),
}

impl<'m> Meter<'m> {
    fn start(server: &'m Running) -> Self {
        Self {
            server,
            before: (server.tree.cpu(), machine::own_cpu()),
        }
    }

    /// The server's time and the generator's since then.
    fn read(&self) -> (Duration, Duration) {
        let now = (self.server.tree.cpu(), machine::own_cpu());
        (
            now.0.saturating_sub(self.before.0),
            now.1.saturating_sub(self.before.1),
        )
    }
}

/// Fills in what an offer gave.
fn fill(row: &mut Row, offered: &Offered, (server, generator): (Duration, Duration)) {
    let per = |count: u64, time: Duration| {
        let secs = time.as_secs_f64();
        (count > 0 && secs > 0.0).then(|| count as f64 / secs)
    };
    row.cpu_secs = Some(server.as_secs_f64());
    row.generator_share = Some(generator.as_secs_f64() / offered.elapsed.as_secs_f64());
    row.events_per_sec = per(offered.acknowledged, offered.offering);
    row.refused = offered.refused;
    if offered.deliveries == 0 {
        row.events_per_cpu_sec = per(offered.acknowledged, server);
        return;
    }
    let deliveries = offered.deliveries as f64;
    row.deliveries = Some(offered.deliveries);
    row.deliveries_per_sec = per(offered.deliveries, offered.elapsed);
    row.deliveries_per_cpu_sec = per(offered.deliveries, server);
    row.cpu_micros_per_delivery = Some(server.as_secs_f64() * 1e6 / deliveries);
    row.wire_bytes_per_delivery = Some(offered.wire_bytes as f64 / deliveries);
    let at = |quantile: f64| Some(offered.latency.value_at_quantile(quantile) as f64 / 1e3);
    (row.p50_ms, row.p99_ms, row.p999_ms) = (at(0.5), at(0.99), at(0.999));
}

/// So long after streams were opened, all servers have put them in their
/// places.
const SETTLE: Duration = Duration::from_millis(500);
/// After the last delivery, for what comes once too often.
const AFTERMATH: Duration = Duration::from_millis(200);
