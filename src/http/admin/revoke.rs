//! `POST /admin/revoke` with `{"jti":"…"}` or `{"sub":"…"}`.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{json_response, read_body};
use crate::{
    access::{Revocation, RevokedClaim},
    http::{Gateway, problem::ProblemDetails},
    telemetry::with_causes,
};

/// Revokes one token, or all of a subject's, and ends their streams.
pub(super) async fn revoke(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    if let Err(problem) = gateway.check_operator(request.extensions(), request.headers()) {
        return problem.into_response();
    }
    match gateway.revoke(request.into_body()).await {
        Ok(ended) => json_response(&json!({"ended": ended})),
        Err(problem) => problem.into_response(),
    }
}

impl Gateway {
    /// Revokes what the body names; returns how many streams that ended.
    async fn revoke(&self, body: Body) -> Result<usize, ProblemDetails> {
        let body = read_body(body).await?;
        let (claim, value) = parse(&body)?;
        // Where the clock was set back, no token may pass for a later one.
        let now = self.clock.now().max(self.revocations.now());
        let revocation = Revocation::new(claim, &value, now);
        let revoked = self.revocations.revoke(revocation).await;
        // Also where that failed: it may be in force until a restart, and ending
        // a stream too many costs its client a reconnect.
        let streams = self
            .streams
            .revoke_where(|identity| revocation.applies_to(identity));
        match revoked {
            Ok(()) => {
                tracing::info!(streams, "tokens revoked");
                Ok(streams)
            }
            Err(error) => {
                tracing::error!(streams, error = %with_causes(&error), "revocation failed");
                Err(error.into())
            }
        }
    }
}

fn parse(body: &[u8]) -> Result<(RevokedClaim, String), ProblemDetails> {
    let malformed =
        || ProblemDetails::parameter("body", "it must be {\"jti\":\"…\"} or {\"sub\":\"…\"}");
    let object: Map<String, Value> = serde_json::from_slice(body).map_err(|_| malformed())?;
    let mut members = object.into_iter();
    let (Some((name, Value::String(value))), None) = (members.next(), members.next()) else {
        return Err(malformed());
    };
    if value.is_empty() {
        return Err(malformed());
    }
    match &*name {
        "jti" => Ok((RevokedClaim::Jti, value)),
        "sub" => Ok((RevokedClaim::Sub, value)),
        _ => Err(malformed()),
    }
}
