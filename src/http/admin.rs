//! What an operator does: `/admin/…`, for the admin token alone.
//!
//! Nothing is read of a request before the token was seen.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::header;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{Gateway, refusal::Refusal};
use crate::access::{RevokedClaim, Revocation};

/// The longest request body, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long it may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// `POST /admin/revoke` with `{"jti":"…"}` or `{"sub":"…"}`.
pub(super) async fn revoke(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    if !gateway.is_operator(request.headers()) {
        return Refusal::operator_only().into_response();
    }
    match gateway.revoke(request.into_body()).await {
        Ok(ended) => {
            let head = [
                (header::CONTENT_TYPE, "application/json"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (head, json!({"ended": ended}).to_string()).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

impl Gateway {
    /// Takes tokens back and ends their streams; says how many.
    async fn revoke(&self, body: Body) -> Result<usize, Refusal> {
        let body = timeout(BODY_TIME_MAX, to_bytes(body, BODY_BYTES_MAX)).await;
        let body = body.map_err(|_| Refusal::parameter("body", "it took too long"))?;
        let body = body.map_err(|_| Refusal::parameter("body", "it is broken or too long"))?;
        let now = self.clock.now();
        let entry = entry(&body).map(|(claim, value)| Revocation::new(claim, &value, now))?;
        let revoked = self.revocations.revoke(entry, now).await;
        // Also where it could not be kept: it holds now.
        let ended = self.streams.end_those(|holder| entry.applies_to(holder));
        tracing::info!(streams = ended, "tokens were revoked");
        revoked.map(|()| ended).map_err(|error| {
            tracing::error!(%error, "a revocation");
            Refusal::from(error)
        })
    }
}

fn entry(body: &[u8]) -> Result<(RevokedClaim, String), Refusal> {
    let form = || Refusal::parameter("body", "it is {\"jti\":\"…\"} or {\"sub\":\"…\"}");
    let asked: Map<String, Value> = serde_json::from_slice(body).map_err(|_| form())?;
    let mut asked = asked.into_iter();
    let (Some((claim, Value::String(value))), None) = (asked.next(), asked.next()) else {
        return Err(form());
    };
    match (&*claim, &*value) {
        (_, "") => Err(form()),
        ("jti", _) => Ok((RevokedClaim::Jti, value)),
        ("sub", _) => Ok((RevokedClaim::Sub, value)),
        _ => Err(form()),
    }
}
