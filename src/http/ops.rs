//! `/healthz`, `/readyz` and `/metrics`: for the machines that watch the
//! gateway.

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderName, header};
use tokio::{task::spawn_blocking, time::timeout};

use super::{Gateway, problem::ProblemDetails};
use crate::journal::Health;

/// Prometheus text exposition format 0.0.4.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long the page waits for figures that are read from a disk; the last ones stay.
const FIGURES_WAIT_MAX: Duration = Duration::from_secs(1);

/// Whether these are the operator's routes, which are answered where no other is.
pub(super) fn is_operators(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics") || path.starts_with("/admin/")
}

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Which version this is. gosmee's client asks before it subscribes, and goes by the header
/// where there is one: it refuses a server that is newer than itself, by numbers of its
/// own, so this has none that could be.
pub(super) async fn version() -> impl IntoResponse {
    let body = serde_json::json!({ "name": "hookrill", "version": env!("CARGO_PKG_VERSION") });
    let head = [
        (HeaderName::from_static("x-gosmee-version"), "0.0.0"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (head, axum::Json(body))
}

pub(super) async fn readyz(State(gateway): State<Arc<Gateway>>) -> Response {
    let permanent = gateway.telemetry.readiness.unready_reason();
    match unready_reason(permanent, gateway.ingest.journal_health()) {
        None => ready(gateway.ingest.journal_health()).into_response(),
        Some(reason) => ProblemDetails::not_ready(&reason).into_response(),
    }
}

/// What an operator is told all the same.
fn ready(health: Health) -> String {
    let damaged = health.damaged_events;
    if damaged == 0 {
        return "ready\n".into();
    }
    format!("ready; damaged events in the journal, skipped with a gap: {damaged}\n")
}

/// Why the gateway can't accept and deliver events: for good, or for as long as
/// the journal's disk hangs.
fn unready_reason(permanent: Option<&str>, health: Health) -> Option<Cow<'_, str>> {
    if permanent.is_some() || !health.is_stalled {
        return permanent.map(Cow::Borrowed);
    }
    let secs = health.commit_age.as_secs();
    let reason = format!("the journal's disk hangs: a commit has been under way for {secs} s");
    Some(reason.into())
}

pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    if !gateway.settings().metrics_public
        && let Err(problem) = gateway.check_operator(&head.extensions, &head.headers)
    {
        return problem.into_response();
    }
    gateway.read_figures().await;
    let about = [(header::CONTENT_TYPE, METRICS_TYPE)];
    (about, gateway.telemetry.render()).into_response()
}

impl Gateway {
    /// Brings those figures up to date that nobody keeps.
    async fn read_figures(self: &Arc<Self>) {
        let health = self.ingest.journal_health();
        let telemetry = &self.telemetry;
        telemetry.commit_age.set(health.commit_age.as_secs_f64());
        telemetry.damaged_events.set(health.damaged_events as f64);
        let permanent = telemetry.readiness.unready_reason();
        let is_ready = unready_reason(permanent, health).is_none();
        telemetry.ready.set(f64::from(u8::from(is_ready)));
        // One at a time, and not waited for long: a disk that hangs must not hold up
        // the page that says so.
        let Ok(permit) = Arc::clone(&self.figures_permit).try_acquire_owned() else {
            return;
        };
        let gateway = Arc::clone(self);
        let read = spawn_blocking(move || {
            gateway.read_figures_of_disk();
            drop(permit);
        });
        _ = timeout(FIGURES_WAIT_MAX, read).await;
    }

    /// Blocks.
    fn read_figures_of_disk(&self) {
        let telemetry = &self.telemetry;
        telemetry.read_process_figures();
        let Some(usage) = self.ingest.journal().usage() else {
            return;
        };
        let oldest = usage.oldest.map(|at| self.clock.now().since(at));
        let oldest_secs = oldest.unwrap_or_default().as_secs_f64();
        telemetry.journal_bytes.set(usage.bytes as f64);
        telemetry.oldest_event_age.set(oldest_secs);
        let free_bytes = usage.free_bytes.map_or(f64::NAN, |bytes| bytes as f64);
        telemetry.disk_free.set(free_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ingest::IngestError, journal::AppendError};

    #[test]
    fn a_disk_that_hangs_is_unready_until_it_works_again() {
        let mut health = Health::default();
        assert_eq!(unready_reason(None, health), None);
        health.commit_age = Duration::from_secs(7);
        assert_eq!(unready_reason(None, health), None, "slow is not stalled");
        health.is_stalled = true;
        let reason = unready_reason(None, health).unwrap();
        assert_eq!(
            reason,
            "the journal's disk hangs: a commit has been under way for 7 s"
        );
        let stopping = unready_reason(Some("stopping"), health);
        assert_eq!(stopping.as_deref(), Some("stopping"));
    }

    #[test]
    fn damage_is_named_to_whoever_asks_and_does_not_make_it_unready() {
        let mut health = Health::default();
        assert_eq!(ready(health), "ready\n");
        health.damaged_events = 3;
        assert_eq!(unready_reason(None, health), None);
        assert!(ready(health).contains("damaged events in the journal, skipped with a gap: 3\n"));
    }

    #[test]
    fn what_passes_by_itself_is_a_503_with_when_to_come_again() {
        let commit_age = Duration::from_secs(7);
        for error in [
            AppendError::Stalled { commit_age },
            AppendError::Scarce(Arc::new(std::io::ErrorKind::StorageFull.into())),
            AppendError::NoRoom {
                free_bytes: 1,
                reserve_bytes: 2,
            },
        ] {
            let refusal = ProblemDetails::from(IngestError::Journal(error)).into_response();
            assert_eq!(refusal.status(), 503);
            assert_eq!(refusal.headers()[header::RETRY_AFTER], "5");
        }
    }
}
