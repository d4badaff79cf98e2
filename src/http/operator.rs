//! For the operator and the operator's machines: health, readiness, metrics.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Gateway, asked::bearer, refusal::Refusal};

/// Prometheus text exposition format 0.0.4.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(gateway): State<Arc<Gateway>>) -> Response {
    match gateway.telemetry.readiness.ended() {
        None => "ready\n".into_response(),
        Some(reason) => Refusal::not_ready(reason).into_response(),
    }
}

pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    if !gateway.settings().metrics_public && !gateway.is_operator(&headers) {
        return Refusal::operator_only().into_response();
    }
    (
        [(header::CONTENT_TYPE, METRICS_TYPE)],
        gateway.telemetry.render(),
    )
        .into_response()
}

impl Gateway {
    /// Whether the request carries the admin token. Digests are compared, so
    /// that not even the token's length shows in the time it takes.
    pub(super) fn is_operator(&self, headers: &HeaderMap) -> bool {
        let settings = self.settings();
        let (Some(expected), Some(given)) = (&settings.admin_token, bearer(headers)) else {
            return false;
        };
        let digest = |bytes: &[u8]| Sha256::digest(bytes);
        digest(expected.expose())
            .ct_eq(&digest(given.as_bytes()))
            .into()
    }
}
