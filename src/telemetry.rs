//! What the operator sees: metrics, readiness, and the log's set-up.
//!
//! Invariant: labels are `&'static str` or names of configured sections, so that their
//! number is bounded and no secret, token or body can become one.

mod causes;
mod log;
mod process;
mod readiness;
mod responses;
mod sections;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use hookrill_core::Timestamp;
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram, with_local_recorder,
};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use parking_lot::Mutex;

pub use causes::{append_causes, with_causes};
pub use log::{LogError, LogFormat, Settings, log_to_stderr};
pub use readiness::Readiness;
pub use responses::{Responses, Route};
pub use sections::{INGEST_REASONS, SUBSCRIBE_REASONS, SectionMetrics};

/// The commit that this was built from; `unknown` where the build could not tell.
pub const COMMIT: &str = env!("HOOKRILL_COMMIT");
/// The version with its commit and the day of that commit: `0.1.0 (1a2b3c4d5e6f,
/// 2026-11-30)`.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("HOOKRILL_COMMIT"),
    ", ",
    env!("HOOKRILL_COMMIT_DATE"),
    ")"
);

/// How often [`Telemetry::upkeep`] has to be called.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The handles that the rooms count with, and the page that shows them.
///
/// One per `App` and not global, so that two gateways in one process keep their
/// figures apart.
pub struct Telemetry {
    recorder: Arc<PrometheusRecorder>,
    page: PrometheusHandle,
    /// By the name of the section; the empty name is of what no section covers.
    sections: Mutex<HashMap<Arc<str>, Arc<SectionMetrics>>>,
    /// Of deliveries and subscriptions that no section covers.
    pub no_section: Arc<SectionMetrics>,
    /// HTTP responses by route and status.
    pub responses: Responses,
    /// Seconds from a delivery's head until it was durable and answered.
    pub ingest_secs: Histogram,
    /// Events stored of which subscribers see nothing: their bodies are not
    /// JSON, and their topic shows only parts of a body.
    pub withheld: Counter,
    /// Refused deliveries that were kept to be looked at, and had to go for others.
    pub refused_dropped: Counter,
    /// Events sent to subscribers.
    pub delivered: Counter,
    /// Bytes of those.
    pub delivered_bytes: Counter,
    /// Open streams.
    pub subscribers: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// Connections closed so that others could be opened.
    pub connections_evicted: Counter,
    /// How often a stream fell behind its channel and went back to the journal.
    pub lagged: Counter,
    /// Bytes of events that readers hold in part.
    pub partial_events_bytes: Gauge,
    /// Pages of older events read from the journal.
    pub history_pages_read: Counter,
    /// Pages of older events that a stream got from another's read.
    pub history_pages_shared: Counter,
    /// Pages in which a stream found nothing that it wants.
    pub history_pages_in_vain: Counter,
    /// How often accepting paused because file descriptors ran out.
    pub accept_pauses: Counter,
    /// Key sets of issuers that were fetched.
    pub key_fetches: Counter,
    /// Fetches of key sets that failed.
    pub key_fetches_failed: Counter,
    /// Key sets whose newest fetch failed.
    pub key_sets_stale: Gauge,
    /// Whether the last reload was applied; 1 before the first.
    pub reload_applied: Gauge,
    /// Seconds from the start of a commit until it was durable.
    pub commit_secs: Histogram,
    /// Events per commit.
    pub commit_events: Histogram,
    /// Seconds that the commit under way has taken so far.
    pub commit_age: Gauge,
    /// Damaged events that reads have found.
    pub damaged_events: Gauge,
    /// Durable events that the pump has not published yet.
    pub pump_lag: Gauge,
    /// The newest durable sequence.
    pub journal_head: Gauge,
    /// The newest deleted sequence.
    pub journal_floor: Gauge,
    /// Bytes of the events stored.
    pub journal_bytes: Gauge,
    /// How long ago the oldest event arrived.
    pub oldest_event_age: Gauge,
    /// Free bytes of the journal's file system.
    pub disk_free: Gauge,
    /// Whether `/readyz` answers 200.
    pub ready: Gauge,
    /// Whether the process can accept and deliver events.
    pub readiness: Readiness,
}

impl Telemetry {
    /// New handles, all at zero.
    ///
    /// # Errors
    ///
    /// [`BuildError`] where the exporter refuses its own settings.
    pub fn new() -> Result<Arc<Self>, BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(
                Matcher::Full("hookrill_journal_commit_seconds".into()),
                &[
                    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
                ],
            )?
            .set_buckets_for_metric(
                Matcher::Full("hookrill_journal_commit_events".into()),
                &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0],
            )?
            .set_buckets_for_metric(
                Matcher::Full("hookrill_ingest_seconds".into()),
                &[
                    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
                    5.0,
                ],
            )?
            .build_recorder();
        with_local_recorder(&recorder, || {
            sections::describe();
            register_labelled();
        });
        let page = recorder.handle();
        Ok(Arc::new(Self::registered(Arc::new(recorder), page)))
    }

    // A line for each metric, as in a table.
    #[rustfmt::skip]
    fn registered(recorder: Arc<PrometheusRecorder>, page: PrometheusHandle) -> Self {
        let metrics = Registry(&recorder);
        Self {
            sections: Mutex::default(),
            no_section: Arc::new(SectionMetrics::new(&recorder, &"".into(), 0)),
            responses: Responses::new(Arc::clone(&recorder)),
            ingest_secs: metrics.histogram("hookrill_ingest_seconds", "Seconds from the head of a delivery until it was durable and answered."),
            withheld: metrics.counter("hookrill_withheld_total", "Events stored of which subscribers see nothing, because their bodies are not JSON."),
            refused_dropped: metrics.counter("hookrill_refused_dropped_total", "Refused deliveries that were kept to be looked at, and had to go for newer ones."),
            delivered: metrics.counter("hookrill_delivered_total", "Events sent to subscribers."),
            delivered_bytes: metrics.counter("hookrill_delivered_bytes_total", "Bytes of events sent to subscribers."),
            subscribers: metrics.gauge("hookrill_subscribers", "Open streams."),
            connections: metrics.gauge("hookrill_connections", "Open connections."),
            connections_evicted: metrics.counter("hookrill_connections_evicted_total", "Connections without a request that were closed to make room for others."),
            lagged: metrics.counter("hookrill_lagged_total", "Times a stream fell behind and went back to the journal."),
            partial_events_bytes: metrics.gauge("hookrill_partial_events_bytes", "Bytes of events that readers that have stopped have taken a part of."),
            history_pages_read: metrics.counter("hookrill_history_pages_read_total", "Pages of older events read from the journal."),
            history_pages_shared: metrics.counter("hookrill_history_pages_shared_total", "Pages of older events that a stream got from another's read."),
            history_pages_in_vain: metrics.counter("hookrill_history_pages_in_vain_total", "Pages of older events in which a stream found nothing that it asked for."),
            accept_pauses: metrics.counter("hookrill_accept_pauses_total", "Times accepting paused because file descriptors ran out."),
            key_fetches: metrics.counter("hookrill_key_fetches_total", "Key sets of token issuers fetched."),
            key_fetches_failed: metrics.counter("hookrill_key_fetches_failed_total", "Fetches of key sets that failed."),
            key_sets_stale: metrics.gauge("hookrill_key_sets_stale", "Key sets whose newest fetch failed."),
            reload_applied: metrics.gauge_at(1.0, "hookrill_reload_last_applied", "Whether the last reload of the configuration was applied; 1 before the first."),
            commit_secs: metrics.histogram("hookrill_journal_commit_seconds", "Seconds until a commit was durable."),
            commit_events: metrics.histogram("hookrill_journal_commit_events", "Events per commit."),
            commit_age: metrics.gauge("hookrill_journal_commit_age_seconds", "Seconds that the commit under way has taken so far; 0 if there is none."),
            damaged_events: metrics.gauge("hookrill_journal_damaged_events", "Damaged events that reads have found in the journal, of those that are not deleted."),
            pump_lag: metrics.gauge("hookrill_pump_lag_events", "Durable events not published yet."),
            journal_head: metrics.gauge("hookrill_journal_head", "Newest durable sequence."),
            journal_floor: metrics.gauge("hookrill_journal_floor", "Newest deleted sequence."),
            journal_bytes: metrics.gauge("hookrill_journal_bytes", "Bytes of the events stored, as journal.retain_bytes counts them."),
            oldest_event_age: metrics.gauge("hookrill_journal_oldest_event_age_seconds", "Seconds since the oldest event stored arrived; 0 if there is none."),
            disk_free: metrics.gauge("hookrill_journal_disk_free_bytes", "Free bytes of the journal's file system; NaN for a journal in memory."),
            ready: metrics.gauge("hookrill_ready", "Whether /readyz answers 200."),
            readiness: Readiness::default(),
            recorder,
            page,
        }
    }

    /// The counters of the section with this name.
    pub fn section(&self, name: &Arc<str>) -> Arc<SectionMetrics> {
        let mut sections = self.sections.lock();
        let others = sections.len();
        let new = || Arc::new(SectionMetrics::new(&self.recorder, name, others));
        Arc::clone(sections.entry(Arc::clone(name)).or_insert_with(new))
    }

    /// Says when the process started.
    pub fn started(&self, at: Timestamp) {
        process::started(&self.recorder, at.unix_ms() as f64 / 1000.0);
    }

    /// Reads the figures of the process for the page; blocks for a moment.
    pub fn read_process_figures(&self) {
        process::read(&self.recorder);
    }

    /// Counts a connection that was closed unread.
    pub fn connection_refused(&self, reason: &'static str) {
        self.count_reason("hookrill_connections_refused_total", reason);
    }

    /// Counts a gap that a subscriber was told of.
    pub fn gap_told(&self, reason: &'static str) {
        self.count_reason("hookrill_gaps_total", reason);
    }

    /// Counts a stream that was broken off.
    pub fn stream_broken_off(&self, reason: &'static str) {
        self.count_reason("hookrill_streams_broken_off_total", reason);
    }

    /// Counts a subscriber that has come back to where it was.
    pub fn subscriber_stuck(&self, reason: &'static str) {
        self.count_reason("hookrill_subscribers_stuck_total", reason);
    }

    /// Counts a reload.
    pub fn reloaded(&self, applied: bool) {
        let (result, level) = if applied {
            ("applied", 1.0)
        } else {
            ("rejected", 0.0)
        };
        self.reload_applied.set(level);
        with_local_recorder(&self.recorder, || {
            counter!("hookrill_reloads_total", "result" => result).increment(1);
        });
    }

    fn count_reason(&self, name: &'static str, reason: &'static str) {
        with_local_recorder(&self.recorder, || {
            counter!(name, "reason" => reason).increment(1);
        });
    }

    /// The metrics as Prometheus text, exposition format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        self.page.render() + &process::cpu()
    }

    /// Folds the samples of histograms, which otherwise grow until the page is
    /// next rendered; to be called every [`UPKEEP_EVERY`].
    pub fn upkeep(&self) {
        self.page.run_upkeep();
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telemetry")
    }
}

/// Registers metrics, each with its help text.
struct Registry<'r>(&'r PrometheusRecorder);

impl Registry<'_> {
    fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        with_local_recorder(self.0, || {
            describe_counter!(name, help);
            counter!(name)
        })
    }

    fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        with_local_recorder(self.0, || {
            describe_gauge!(name, help);
            gauge!(name)
        })
    }

    fn gauge_at(&self, level: f64, name: &'static str, help: &'static str) -> Gauge {
        let gauge = self.gauge(name, help);
        gauge.set(level);
        gauge
    }

    fn histogram(&self, name: &'static str, help: &'static str) -> Histogram {
        with_local_recorder(self.0, || {
            describe_histogram!(name, help);
            histogram!(name)
        })
    }
}

/// Every reason for which a connection is closed unread.
const CONNECTION_REASONS: &[&str] = &["connections", "connections_per_address"];
/// Every reason for a gap.
const GAP_REASONS: &[&str] = &["damaged", "epoch", "retention", "unknown"];
/// Every reason for which a subscriber counts as stuck.
const STUCK_REASONS: &[&str] = &["left_early", "same_id"];
/// Every reason for which a stream is broken off.
const BREAK_OFF_REASONS: &[&str] = &["dead_peer", "partial_events"];

/// Registers those that have labels of which there are few, all at 0.
#[rustfmt::skip]
fn register_labelled() {
    for (name, help, reasons) in [
        ("hookrill_connections_refused_total", "Connections closed unread, by reason.", CONNECTION_REASONS),
        ("hookrill_gaps_total", "Gaps that subscribers were told of, by reason.", GAP_REASONS),
        ("hookrill_streams_broken_off_total", "Streams broken off without an end, by reason; their clients come back by their last id.", BREAK_OFF_REASONS),
        ("hookrill_subscribers_stuck_total", "Times that a subscriber came back to where it was although it was sent what follows, by reason.", STUCK_REASONS),
    ] {
        describe_counter!(name, help);
        for reason in reasons {
            counter!(name, "reason" => *reason).increment(0);
        }
    }
    describe_counter!("hookrill_reloads_total", "Reloads of the configuration, by result: applied or rejected.");
    for result in ["applied", "rejected"] {
        counter!("hookrill_reloads_total", "result" => result).increment(0);
    }
    describe_gauge!("hookrill_build_info", "Always 1; the labels say which version this is, and from which commit.");
    gauge!("hookrill_build_info", "version" => env!("CARGO_PKG_VERSION"), "commit" => COMMIT).set(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_gateways_in_one_process_keep_their_figures_apart() {
        let (one, other) = (Telemetry::new().unwrap(), Telemetry::new().unwrap());
        let section = one.section(&"github".into());
        section.stored.increment(3);
        one.section(&"github".into()).ingest_refused("mismatch");
        one.commit_secs.record(0.002);
        let page = one.render();
        let refused = "hookrill_ingest_refused_total{section=\"github\",reason=";
        for line in [
            "hookrill_ingested_total{section=\"github\"} 3",
            &format!("{refused}\"mismatch\"}} 1"),
            &format!("{refused}\"stale\"}} 0"),
        ] {
            assert!(page.contains(line), "no {line} in {page}");
        }
        assert!(page.contains("hookrill_journal_commit_seconds_bucket{le=\"0.0025\"} 1"));
        assert!(!other.render().contains("github"));
    }

    #[test]
    fn every_metric_on_the_page_has_a_help_text() {
        let telemetry = Telemetry::new().unwrap();
        telemetry.started(Timestamp::from_unix_secs(1));
        telemetry.read_process_figures();
        telemetry.responses.count(Route::of("/events"), 200);
        for histogram in [
            &telemetry.commit_secs,
            &telemetry.commit_events,
            &telemetry.ingest_secs,
        ] {
            histogram.record(0.002);
        }
        let page = telemetry.render();
        let mut types = 0;
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().unwrap();
                assert!(page.contains(&format!("# HELP {name} ")), "{name}");
                types += 1;
            }
        }
        assert!(types > 40, "{page}");
    }
}
