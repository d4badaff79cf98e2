//! What the operator sees: metric handles, readiness, and the set-up of
//! `tracing`.
//!
//! Invariant: labels are `&'static str`, so their number is bounded, and no
//! secret, token or body can become one.

use std::{
    fmt,
    io::IsTerminal as _,
    sync::{Arc, OnceLock},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt as _};

/// How much is said, and in what form.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `tracing` filter directives: `info`, or `info,hookrill::hub=debug`.
    pub level: String,
    /// One line per event for people, or JSON for machines.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("log.level {level:?} is no filter such as info or info,hookrill=debug: {reason}")]
pub struct LogError {
    level: String,
    reason: String,
}

/// Sends this process's log lines to stderr from now on.
///
/// # Errors
///
/// [`LogError`] where the level is no filter, or logging is set up already.
pub fn log_to_stderr(settings: &Settings) -> Result<(), LogError> {
    let error = |reason: String| LogError {
        level: settings.level.clone(),
        reason,
    };
    let filter = EnvFilter::try_new(&settings.level).map_err(|e| error(e.to_string()))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        // Where stderr is gone or full, it would panic to say so.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => lines.finish().try_init(),
        LogFormat::Json => lines.json().finish().try_init(),
    }
    .map_err(|e| error(e.to_string()))
}

/// The handles that the rooms count with, and the page that shows them.
///
/// Built once per `App` and not global, so that two of them in one process
/// keep their figures apart.
pub struct Telemetry {
    recorder: PrometheusRecorder,
    page: PrometheusHandle,
    /// Events stored.
    pub ingested: Counter,
    /// Body bytes of the events stored.
    pub ingested_bytes: Counter,
    /// Deliveries that were here already.
    pub duplicates: Counter,
    /// Events stored of which nothing is shown: not JSON, on a topic that shows
    /// parts of it.
    pub withheld: Counter,
    /// Handshakes answered for a provider.
    pub handshakes: Counter,
    /// Events handed to subscribers.
    pub delivered: Counter,
    /// Bytes of those.
    pub delivered_bytes: Counter,
    /// Open streams.
    pub subscribers: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// How often a stream fell behind its channel and went back to the journal.
    pub lagged: Counter,
    /// Pages of older events read from the journal.
    pub history_pages_read: Counter,
    /// Pages of older events given out that another had read.
    pub history_pages_shared: Counter,
    /// How often accepting paused for want of file descriptors.
    pub accept_pauses: Counter,
    /// Key sets of issuers that were fetched.
    pub key_fetches: Counter,
    /// Fetches of key sets that failed.
    pub key_fetches_failed: Counter,
    /// Key sets whose newest fetch failed.
    pub key_sets_stale: Gauge,
    /// Whether the last reload was applied; 1 where there was none.
    pub reload_applied: Gauge,
    /// Seconds from the start of a commit until it was durable.
    pub commit_secs: Histogram,
    /// Events per commit.
    pub commit_events: Histogram,
    /// Durable events that the pump has not published yet.
    pub pump_lag: Gauge,
    /// The newest durable sequence.
    pub journal_head: Gauge,
    /// The newest deleted sequence.
    pub journal_floor: Gauge,
    /// Whether the process can do its work.
    pub readiness: Readiness,
}

impl Telemetry {
    /// Fresh handles, all at zero.
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
            .build_recorder();
        let page = recorder.handle();
        Ok(Arc::new(Self::registered(recorder, page)))
    }

    fn registered(recorder: PrometheusRecorder, page: PrometheusHandle) -> Self {
        with_local_recorder(&recorder, describe);
        let count = |name: &'static str| with_local_recorder(&recorder, || counter!(name));
        let level = |name: &'static str| with_local_recorder(&recorder, || gauge!(name));
        let spread = |name: &'static str| with_local_recorder(&recorder, || histogram!(name));
        let reload_applied = level("hookrill_reload_last_applied");
        reload_applied.set(1.0);
        Self {
            ingested: count("hookrill_ingested_total"),
            ingested_bytes: count("hookrill_ingested_bytes_total"),
            duplicates: count("hookrill_duplicates_total"),
            withheld: count("hookrill_withheld_total"),
            handshakes: count("hookrill_handshakes_total"),
            delivered: count("hookrill_delivered_total"),
            delivered_bytes: count("hookrill_delivered_bytes_total"),
            subscribers: level("hookrill_subscribers"),
            connections: level("hookrill_connections"),
            lagged: count("hookrill_lagged_total"),
            history_pages_read: count("hookrill_history_pages_read_total"),
            history_pages_shared: count("hookrill_history_pages_shared_total"),
            accept_pauses: count("hookrill_accept_pauses_total"),
            key_fetches: count("hookrill_key_fetches_total"),
            key_fetches_failed: count("hookrill_key_fetches_failed_total"),
            key_sets_stale: level("hookrill_key_sets_stale"),
            reload_applied,
            commit_secs: spread("hookrill_journal_commit_seconds"),
            commit_events: spread("hookrill_journal_commit_events"),
            pump_lag: level("hookrill_pump_lag_events"),
            journal_head: level("hookrill_journal_head"),
            journal_floor: level("hookrill_journal_floor"),
            readiness: Readiness::default(),
            recorder,
            page,
        }
    }

    /// Counts a delivery that was refused.
    pub fn ingest_refused(&self, reason: &'static str) {
        self.count_reason("hookrill_ingest_refused_total", reason);
    }

    /// Counts a subscription that was refused.
    pub fn subscribe_refused(&self, reason: &'static str) {
        self.count_reason("hookrill_subscribe_refused_total", reason);
    }

    /// Counts a gap that a subscriber was told of.
    pub fn gap_told(&self, reason: &'static str) {
        self.count_reason("hookrill_gaps_total", reason);
    }

    /// Counts a reload.
    pub fn reloaded(&self, applied: bool) {
        let result = if applied { "applied" } else { "refused" };
        self.reload_applied.set(if applied { 1.0 } else { 0.0 });
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
        self.page.render()
    }

    /// Folds what histograms have gathered; wants to be called every few
    /// seconds, or they grow until the page is next rendered.
    pub fn upkeep(&self) {
        self.page.run_upkeep();
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telemetry")
    }
}

fn describe() {
    use metrics::{describe_counter as counter, describe_gauge as gauge, describe_histogram};
    counter!("hookrill_ingested_total", "Events stored.");
    counter!(
        "hookrill_ingested_bytes_total",
        "Body bytes of events stored."
    );
    counter!(
        "hookrill_ingest_refused_total",
        "Deliveries refused, by reason."
    );
    counter!(
        "hookrill_duplicates_total",
        "Deliveries that were here already."
    );
    counter!(
        "hookrill_withheld_total",
        "Events stored of which nothing is shown, since they are not JSON."
    );
    counter!(
        "hookrill_handshakes_total",
        "Handshakes answered for a provider."
    );
    counter!(
        "hookrill_subscribe_refused_total",
        "Subscriptions refused, by reason."
    );
    counter!("hookrill_delivered_total", "Events handed to subscribers.");
    counter!(
        "hookrill_delivered_bytes_total",
        "Bytes of events handed to subscribers."
    );
    counter!(
        "hookrill_lagged_total",
        "Times a stream fell back to the journal."
    );
    counter!(
        "hookrill_gaps_total",
        "Gaps that subscribers were told of, by reason."
    );
    counter!(
        "hookrill_history_pages_read_total",
        "Pages of older events read from the journal."
    );
    counter!(
        "hookrill_history_pages_shared_total",
        "Pages of older events given out that another subscriber had read."
    );
    counter!(
        "hookrill_accept_pauses_total",
        "Times accepting paused for want of file descriptors."
    );
    counter!(
        "hookrill_key_fetches_total",
        "Key sets of token issuers fetched."
    );
    counter!(
        "hookrill_key_fetches_failed_total",
        "Fetches of key sets that failed."
    );
    counter!(
        "hookrill_reloads_total",
        "Reloads of the configuration, by result: applied or refused."
    );
    gauge!(
        "hookrill_reload_last_applied",
        "Whether the last reload of the configuration was applied; 1 before the first."
    );
    gauge!(
        "hookrill_key_sets_stale",
        "Key sets that the last fetch did not renew."
    );
    gauge!("hookrill_subscribers", "Open streams.");
    gauge!("hookrill_connections", "Open connections.");
    gauge!(
        "hookrill_pump_lag_events",
        "Durable events not yet published."
    );
    gauge!("hookrill_journal_head", "Newest durable sequence.");
    gauge!("hookrill_journal_floor", "Newest deleted sequence.");
    describe_histogram!(
        "hookrill_journal_commit_seconds",
        "Seconds a commit took to be durable."
    );
    describe_histogram!("hookrill_journal_commit_events", "Events per commit.");
}

/// How long histograms may gather before [`Telemetry::upkeep`].
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Whether the process can take and deliver. What ends it is final.
#[derive(Debug, Default)]
pub struct Readiness(OnceLock<Box<str>>);

impl Readiness {
    /// Turns readiness off for good; the first reason stays.
    pub fn end(&self, reason: impl Into<Box<str>>) {
        _ = self.0.set(reason.into());
    }

    /// Why the process is not ready; `None` while it is.
    #[must_use]
    pub fn ended(&self) -> Option<&str> {
        self.0.get().map(|reason| &**reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_gateways_in_one_process_keep_their_figures_apart() {
        let (one, other) = (Telemetry::new().unwrap(), Telemetry::new().unwrap());
        one.ingested.increment(3);
        one.ingest_refused("mismatch");
        one.commit_secs.record(0.002);
        let page = one.render();
        assert!(page.contains("hookrill_ingested_total 3"), "{page}");
        assert!(page.contains("hookrill_ingest_refused_total{reason=\"mismatch\"} 1"));
        assert!(page.contains("hookrill_journal_commit_seconds_bucket{le=\"0.0025\"} 1"));
        assert!(other.render().contains("hookrill_ingested_total 0"));
    }

    #[test]
    fn the_first_reason_to_be_unready_stays() {
        let readiness = Readiness::default();
        assert_eq!(readiness.ended(), None);
        readiness.end("the journal failed");
        readiness.end("draining");
        assert_eq!(readiness.ended(), Some("the journal failed"));
    }
}
