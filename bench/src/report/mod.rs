//! What was measured: rows, a table, JSON, and what was aimed at.
//!
//! Invariant: a figure that was not measured is absent, never zero.

mod table;
mod targets;

use serde::Serialize;

use crate::{
    ledger::Faults,
    server::{Case, Spec},
};

pub use table::print;
pub use targets::{SUBJECT, TargetResult, judge};

/// One measure of one server. Every figure may be absent.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Which measure.
    pub case: Case,
    /// Which of its parts, where it has several.
    pub variant: &'static str,
    /// Which server.
    pub server: String,
    /// Whether the server drops by design when it is overloaded.
    pub lossy: bool,
    /// Subscribers.
    pub subscribers: Option<usize>,
    /// Deliveries in all.
    pub deliveries: Option<u64>,
    /// Deliveries per second.
    pub deliveries_per_sec: Option<f64>,
    /// Deliveries per CPU-second of the server: the figure to compare.
    pub deliveries_per_cpu_sec: Option<f64>,
    /// Events that the server took, per second.
    pub events_per_sec: Option<f64>,
    /// Events that the server took, per CPU-second.
    pub events_per_cpu_sec: Option<f64>,
    /// The server's CPU time in the measure, in seconds.
    pub cpu_secs: Option<f64>,
    /// CPU time per delivery, in microseconds, ingest included.
    pub cpu_micros_per_delivery: Option<f64>,
    /// The same without what the same events cost when nobody listened.
    pub net_cpu_micros_per_delivery: Option<f64>,
    /// How busy the generator's core was with it, 0 to 1.
    pub generator_share: Option<f64>,
    /// From due to arrived: median, in milliseconds.
    pub p50_ms: Option<f64>,
    /// 99 of 100.
    pub p99_ms: Option<f64>,
    /// 999 of 1,000.
    pub p999_ms: Option<f64>,
    /// Resident memory per connection, in bytes.
    pub rss_per_connection: Option<f64>,
    /// Bytes on the wire per delivery, head and framing included.
    pub wire_bytes_per_delivery: Option<f64>,
    /// From start to ready, in milliseconds.
    pub ready_ms: Option<f64>,
    /// Events that the server refused.
    pub refused: u64,
    /// What was wrong.
    pub faults: Faults,
    /// What else is to be known.
    pub note: String,
}

impl Row {
    /// A row without figures.
    #[must_use]
    pub fn new(case: Case, variant: &'static str, spec: &Spec) -> Self {
        Self {
            case,
            variant,
            server: spec.name.clone(),
            lossy: spec.lossy,
            subscribers: None,
            deliveries: None,
            deliveries_per_sec: None,
            deliveries_per_cpu_sec: None,
            events_per_sec: None,
            events_per_cpu_sec: None,
            cpu_secs: None,
            cpu_micros_per_delivery: None,
            net_cpu_micros_per_delivery: None,
            generator_share: None,
            p50_ms: None,
            p99_ms: None,
            p999_ms: None,
            rss_per_connection: None,
            wire_bytes_per_delivery: None,
            ready_ms: None,
            refused: 0,
            faults: Faults::default(),
            note: String::new(),
        }
    }

    /// Whether a delivery was wrong in a way that the server does not own up
    /// to.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        if self.lossy {
            self.faults.beyond_missing()
        } else {
            self.faults.count() > 0
        }
    }
}

/// A whole run, as JSON has it.
#[derive(Debug, Serialize)]
pub struct Run<'r> {
    /// The machine.
    pub machine: &'r str,
    /// All rows.
    pub rows: &'r [Row],
    /// What was aimed at.
    pub verdicts: &'r [TargetResult],
    /// Servers that were left out, and why.
    pub left_out: &'r [(String, String)],
}
