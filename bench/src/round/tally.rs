//! What a round counts.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::wire::Arrival;

/// The longest latency that is told from longer ones, in microseconds.
const LATENCY_MICROS_MAX: u64 = 600_000_000;

/// One event of the round, at the place of its number.
#[derive(Debug)]
pub(super) struct OfferedEvent {
    /// The length of its body.
    pub(super) body_bytes: usize,
    /// Since when it is on its way, on the round's clock: when it was due, or
    /// sent where no rate was set.
    pub(super) since: Duration,
    /// Who sent it, once somebody did.
    pub(super) sender: Option<usize>,
    pub(super) acknowledged: bool,
}

/// Counters of a round, from its beginning.
#[derive(Debug)]
pub(super) struct Tally {
    /// Streams whose head has come.
    pub(super) opened: usize,
    /// Streams that the server ended.
    pub(super) ended: usize,
    pub(super) delivered: u64,
    /// Deliveries that are still to come, if every acknowledged event comes.
    pub(super) expected: u64,
    pub(super) damaged: u64,
    pub(super) wire_bytes: u64,
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    /// The first refusal: status and text.
    pub(super) refusal: Option<(u16, String)>,
    /// When a stream opened, an event came or an answer, on the round's
    /// clock. Not any byte: heartbeats would keep a round waiting for ever.
    pub(super) last_progress: Duration,
    /// When the last event came.
    pub(super) last_delivery: Duration,
    /// In microseconds.
    pub(super) latency: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3);
        Self {
            opened: 0,
            ended: 0,
            delivered: 0,
            expected: 0,
            damaged: 0,
            wire_bytes: 0,
            acknowledged: 0,
            refused: 0,
            refusal: None,
            last_progress: Duration::ZERO,
            last_delivery: Duration::ZERO,
            latency: latency.expect("1 < LATENCY_MICROS_MAX, and 3 is a precision it has"),
        }
    }

    /// Counts an event that came `now`.
    pub(super) fn arrived(&mut self, events: &[OfferedEvent], arrival: Arrival, now: Duration) {
        self.delivered += 1;
        let Some(event) = events.get(arrival.number as usize) else {
            // The ledger says that it was never sent.
            return;
        };
        if event.body_bytes != arrival.bytes {
            self.damaged += 1;
        }
        let latency = now.saturating_sub(event.since).as_micros();
        self.latency.saturating_record(latency as u64);
    }
}
