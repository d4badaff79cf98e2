//! The counters of each configured section.
//!
//! Their number is bounded by the file: whoever makes up a topic gets no series of
//! their own. They are resolved once per section, so that counting is one addition.
//! Invariant: a series with a reason is there, at 0, before it is first counted.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use metrics::{Counter, Label, counter, describe_counter, with_local_recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

/// Sections beyond so many have the series of their refusals from the first one on, so
/// that the page of a file with thousands of sections can still be read.
const SECTIONS_WITH_ZEROS_MAX: usize = 200;

const INGEST_REFUSED: &str = "hookrill_ingest_refused_total";
const SUBSCRIBE_REFUSED: &str = "hookrill_subscribe_refused_total";

/// Every reason for which a delivery is refused, sorted.
pub const INGEST_REASONS: &[&str] = &[
    "address",
    "body_broken",
    "body_budget",
    "body_hash",
    "body_of_get",
    "body_too_long",
    "body_too_slow",
    "challenge",
    "coding_broken",
    "coding_unknown",
    "delimiter_in_part",
    "field_missing",
    "header_duplicate",
    "header_missing",
    "interrupted",
    "journal_closed",
    "journal_failed",
    "journal_no_room",
    "journal_scarce",
    "journal_stalled",
    "json_missing",
    "method",
    "mismatch",
    "not_a_form",
    "not_ascii",
    "query_missing",
    "rate_address",
    "rate_topic",
    "secret_already_provisioned",
    "secret_not_accepted",
    "secret_not_stored",
    "secret_pending",
    "signable_by_anyone",
    "signature_encoding",
    "signature_form",
    "signature_length",
    "signature_prefix",
    "signatures_too_many",
    "stale",
    "timestamp_form",
    "timestamp_missing",
    "token_form",
    "topic_below_partition",
    "topic_malformed",
    "topic_unknown",
    "verify_token",
];

/// Every reason for which a subscription is refused, sorted.
pub const SUBSCRIBE_REASONS: &[&str] = &[
    "draining",
    "journal",
    "malformed",
    "pages",
    "pages_per_address",
    "rate_address",
    "subscribers_max",
    "subscribers_per_address_max",
    "token_bad",
    "token_missing",
    "topic_not_covered",
    "topic_unknown",
];

/// The counters of one section, or of what no section covers.
pub struct SectionMetrics {
    name: Arc<str>,
    /// Events stored.
    pub stored: Counter,
    /// Body bytes of those.
    pub stored_bytes: Counter,
    /// Deliveries that were stored already.
    pub duplicates: Counter,
    /// Handshakes answered.
    pub handshakes: Counter,
    ingest_refused: ByReason,
    subscribe_refused: ByReason,
}

/// A counter for each reason.
struct ByReason {
    recorder: Arc<PrometheusRecorder>,
    metric: &'static str,
    section: Arc<str>,
    reasons: &'static [&'static str],
    counters: OnceLock<Box<[Counter]>>,
}

impl SectionMetrics {
    /// The counters of the section with this name, which is empty where no section
    /// covers a topic. `others` sections have some already.
    pub(super) fn new(recorder: &Arc<PrometheusRecorder>, name: &Arc<str>, others: usize) -> Self {
        let counter = |metric| resolve(recorder, metric, name, None);
        let by_reason = |metric, reasons| {
            let by_reason = ByReason {
                recorder: Arc::clone(recorder),
                metric,
                section: Arc::clone(name),
                reasons,
                counters: OnceLock::new(),
            };
            if others < SECTIONS_WITH_ZEROS_MAX {
                by_reason.counters();
            }
            by_reason
        };
        Self {
            name: Arc::clone(name),
            stored: counter("hookrill_ingested_total"),
            stored_bytes: counter("hookrill_ingested_bytes_total"),
            duplicates: counter("hookrill_duplicates_total"),
            handshakes: counter("hookrill_handshakes_total"),
            ingest_refused: by_reason(INGEST_REFUSED, INGEST_REASONS),
            subscribe_refused: by_reason(SUBSCRIBE_REFUSED, SUBSCRIBE_REASONS),
        }
    }

    /// The section's name: its topic, or `*`.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Counts a delivery that was refused.
    pub fn ingest_refused(&self, reason: &'static str) {
        self.ingest_refused.count(reason);
    }

    /// Counts a subscription that was refused.
    pub fn subscribe_refused(&self, reason: &'static str) {
        self.subscribe_refused.count(reason);
    }
}

impl fmt::Debug for SectionMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SectionMetrics({})", self.name)
    }
}

impl ByReason {
    fn count(&self, reason: &'static str) {
        match self.reasons.binary_search(&reason) {
            Ok(at) => self.counters()[at].increment(1),
            // Not in the list: counted, though without a 0 before it.
            Err(_) => {
                let reason = Some(reason);
                resolve(&self.recorder, self.metric, &self.section, reason).increment(1);
            }
        }
    }

    fn counters(&self) -> &[Counter] {
        self.counters.get_or_init(|| {
            let reasons = self.reasons.iter().map(|reason| Some(*reason));
            let counters =
                reasons.map(|reason| resolve(&self.recorder, self.metric, &self.section, reason));
            counters.collect()
        })
    }
}

fn resolve(
    recorder: &PrometheusRecorder,
    metric: &'static str,
    section: &Arc<str>,
    reason: Option<&'static str>,
) -> Counter {
    let mut labels = vec![Label::new("section", Arc::clone(section))];
    labels.extend(reason.map(|reason| Label::new("reason", reason)));
    with_local_recorder(recorder, || counter!(metric, labels))
}

/// Describes these metrics to the recorder in use.
#[rustfmt::skip]
pub(super) fn describe() {
    describe_counter!("hookrill_ingested_total", "Events stored, by section.");
    describe_counter!("hookrill_ingested_bytes_total", "Body bytes of events stored, by section.");
    describe_counter!("hookrill_duplicates_total", "Deliveries that were stored already, by section.");
    describe_counter!("hookrill_handshakes_total", "Provider handshakes answered, by section.");
    describe_counter!(INGEST_REFUSED, "Deliveries refused, by section and reason; the section is empty where none covers the topic.");
    describe_counter!(SUBSCRIBE_REFUSED, "Subscriptions refused, by section and reason; the section is empty where none covers the topic.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sorted_so_that_each_is_found() {
        for reasons in [INGEST_REASONS, SUBSCRIBE_REASONS] {
            assert!(reasons.is_sorted());
        }
    }
}
