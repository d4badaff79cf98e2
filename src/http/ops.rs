//! `/healthz`, `/readyz` and `/metrics`: for the machines that watch the
//! gateway.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};

use super::{Gateway, problem::ProblemDetails};

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
    match gateway.telemetry.readiness.unready_reason() {
        None => "ready\n".into_response(),
        Some(reason) => ProblemDetails::not_ready(reason).into_response(),
    }
}

pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    if !gateway.settings().metrics_public && !gateway.is_operator(&headers) {
        return ProblemDetails::operator_only().into_response();
    }
    let head = [(header::CONTENT_TYPE, METRICS_TYPE)];
    (head, gateway.telemetry.render()).into_response()
}
