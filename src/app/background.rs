//! The tasks of a gateway that belong to no connection.

use std::sync::Arc;

use tokio::{sync::watch, time::interval};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::error::ServeError;
use crate::{
    http::Gateway,
    hub::{self, Hub, PumpError},
    identity::KeySets,
    journal::{Journal, ReadError},
    subscribe::Streams,
    telemetry::{Telemetry, UPKEEP_EVERY, with_causes},
};

/// The tasks, and how to stop them.
pub(super) struct BackgroundTasks {
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Stops the tasks when the app is dropped without [`Self::stop`].
    _stop_on_drop: DropGuard,
    failure: watch::Receiver<Option<ServeError>>,
}

impl BackgroundTasks {
    pub(super) fn start(
        journal: &Arc<dyn Journal>,
        hub: &Arc<Hub>,
        streams: &Arc<Streams>,
        key_sets: &Arc<KeySets>,
        telemetry: &Arc<Telemetry>,
    ) -> Self {
        let stop = CancellationToken::new();
        let (failed, failure) = watch::channel(None);
        let this = Self {
            tasks: TaskTracker::new(),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
            failure,
        };
        this.spawn(run_pump(
            Arc::clone(journal),
            Arc::clone(hub),
            Arc::clone(telemetry),
            failed,
        ));
        this.spawn(update_gauges(
            Arc::clone(journal),
            Arc::clone(hub),
            Arc::clone(telemetry),
        ));
        this.spawn(end_streams_of_withdrawn_keys(
            Arc::clone(key_sets),
            Arc::clone(streams),
        ));
        let (streams, key_sets) = (Arc::clone(streams), Arc::clone(key_sets));
        this.spawn(async move { streams.run_heartbeats().await });
        this.spawn(async move { key_sets.run().await });
        this
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(stop.run_until_cancelled_owned(task));
    }

    /// Completes when the gateway can't do its work any more.
    pub(super) async fn failed(&self) -> ServeError {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(error)) => error.clone(),
            // The pump's task is gone, and it has left no reason.
            Ok(None) | Err(_) => ServeError::PumpPanicked,
        }
    }

    /// Stops the tasks and waits until the last one has ended.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        debug_assert!(self.tasks.is_empty(), "no task outlives the app");
    }
}

/// Runs the pump until the pump or the journal fails, and reports that.
async fn run_pump(
    journal: Arc<dyn Journal>,
    hub: Arc<Hub>,
    telemetry: Arc<Telemetry>,
    failed: watch::Sender<Option<ServeError>>,
) {
    let error = tokio::select! {
        failure = journal.failed() => ServeError::Journal(failure),
        ended = hub::pump(hub, Arc::clone(&journal)) => {
            let error = ended.err().unwrap_or(PumpError::Closed);
            ServeError::Pump(Arc::new(error))
        }
    };
    telemetry
        .readiness
        .set_unready(with_causes(&error).to_string());
    failed.send_replace(Some(error));
}

/// Counts withheld events, as long as the journal can be followed.
pub(super) async fn count_withheld(counting: impl Future<Output = Result<(), ReadError>>) {
    if let Err(error) = counting.await {
        tracing::warn!(
            error = %with_causes(&error),
            "hookrill_withheld_total does not count any more"
        );
    }
}

/// Says how many log lines were left out.
pub(super) async fn report_left_out_lines(gateway: Arc<Gateway>) {
    gateway.report_left_out_lines().await;
}

/// Updates the gauges that no room keeps up to date itself.
async fn update_gauges(journal: Arc<dyn Journal>, hub: Arc<Hub>, telemetry: Arc<Telemetry>) {
    let mut ticks = interval(UPKEEP_EVERY);
    loop {
        ticks.tick().await;
        let (head, published) = (journal.head(), hub.published());
        telemetry.journal_head.set(head.0 as f64);
        telemetry.journal_floor.set(journal.floor().0 as f64);
        telemetry
            .pump_lag
            .set(head.0.saturating_sub(published.0) as f64);
        telemetry.upkeep();
    }
}

/// When an issuer withdraws a key, ends the streams whose token was signed with
/// it.
async fn end_streams_of_withdrawn_keys(key_sets: Arc<KeySets>, streams: Arc<Streams>) {
    loop {
        key_sets.key_dropped().await;
        streams.recheck_grants();
    }
}
