//! `/healthz`, `/readyz` and `/metrics`: for the machines that watch the
//! gateway.

use std::{borrow::Cow, sync::Arc};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};

use super::{Gateway, problem::ProblemDetails, tokens::bearer_token};
use crate::journal::Health;

/// Prometheus text exposition format 0.0.4.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether these are the operator's routes, which are answered where no other is.
pub(super) fn is_operators(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics") || path.starts_with("/admin/")
}

pub(super) async fn healthz() -> &'static str {
    "ok\n"
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

pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    if !gateway.settings().metrics_public && !gateway.is_operator(&headers) {
        return ProblemDetails::operator_only(bearer_token(&headers).is_some()).into_response();
    }
    let health = gateway.ingest.journal_health();
    let telemetry = &gateway.telemetry;
    telemetry.commit_age.set(health.commit_age.as_secs_f64());
    telemetry.damaged_events.set(health.damaged_events as f64);
    let head = [(header::CONTENT_TYPE, METRICS_TYPE)];
    (head, gateway.telemetry.render()).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
