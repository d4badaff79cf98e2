//! `POST /ingest/<topic>`, and the handshakes of providers that ask by GET or
//! HEAD. Where a topic has none, these are answered as every other method is.
//!
//! Whatever the method, an address that comes too often is refused first.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use bytes::Bytes;
use hookrill_core::Timestamp;
use hookrill_verify::{Delivery, Reply};
use http::{StatusCode, header, request::Parts};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::{
    Gateway,
    body::{self, BodyError, BodyHint},
    limits::LimitExceeded,
    problem::{ProblemDetails, closing},
};
use crate::ingest::{Accepted, IngestError};

const PREFIX: &str = "/ingest/";

/// The route for every method.
pub(super) fn route() -> MethodRouter<Arc<Gateway>> {
    post(take).get(handshake).fallback(refuse_method)
}

async fn take(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let client = gateway.client_ip(request.extensions(), request.headers());
    if let Err(over) = gateway.admit_to_ingest(client) {
        return Box::pin(turn_away(request, over)).await;
    }
    let (head, body) = request.into_parts();
    let announced = BodyHint::by(&head.headers);
    let bytes_max = gateway.settings().body_bytes_max;
    let whole = body::read(body, announced, bytes_max, &gateway.body_budget).await;
    // The share is held to the end.
    let body::ReceivedBody {
        bytes,
        share: _share,
    } = match whole {
        Ok(whole) => whole,
        Err(error) => {
            gateway.telemetry.ingest_refused(error.reason());
            gateway.log_unread(error, client);
            return ProblemDetails::from(error).into_response();
        }
    };
    let topic = topic(head.uri.path());
    let delivery = delivery(head, bytes, gateway.clock.now());
    match gateway.ingest.accept(&topic, delivery).await {
        Ok(outcome) => {
            gateway.log_handshake(&outcome, client);
            accepted(outcome)
        }
        Err(error) => {
            gateway.log(&error, client);
            ProblemDetails::from(error).into_response()
        }
    }
}

/// A handshake by GET or HEAD; its body is not read. One that does not prove
/// itself looks like a topic that has none.
async fn handshake(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let client = gateway.client_ip(request.extensions(), request.headers());
    if let Err(over) = gateway.admit_to_ingest(client) {
        return Box::pin(turn_away(request, over)).await;
    }
    let (head, _) = request.into_parts();
    let topic = topic(head.uri.path());
    let delivery = delivery(head, Bytes::new(), gateway.clock.now());
    match gateway.ingest.handshake(&topic, delivery).await {
        Some(Ok(outcome)) => {
            gateway.log_handshake(&outcome, client);
            accepted(outcome)
        }
        Some(Err(error)) => {
            gateway.log(&error, client);
            ProblemDetails::post_only().into_response()
        }
        None => ProblemDetails::post_only().into_response(),
    }
}

/// What comes by a method that no topic has.
async fn refuse_method(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let client = gateway.client_ip(request.extensions(), request.headers());
    match gateway.admit_to_ingest(client) {
        Ok(()) => ProblemDetails::post_only().into_response(),
        Err(over) => turn_away(request, over).await,
    }
}

/// Refuses a request of which nothing was read. To close on what the sender
/// still writes would reset the connection, and it would not see when it may
/// come again.
async fn turn_away(request: Request, over: LimitExceeded) -> Response {
    let (announced, version) = (BodyHint::by(request.headers()), request.version());
    let passed = body::drain_body(request.into_body(), announced).await;
    let response = ProblemDetails::from(over).into_response();
    match passed {
        true => response,
        false => closing(response, version),
    }
}

fn delivery(head: Parts, body: Bytes, received_at: Timestamp) -> Delivery {
    Delivery::from_request(http::Request::from_parts(head, body), received_at)
}

/// The topic as it was meant; what is no UTF-8 turns into what is no topic.
fn topic(path: &str) -> String {
    let raw = path.strip_prefix(PREFIX).unwrap_or_default();
    percent_decode_str(raw).decode_utf8_lossy().into_owned()
}

fn accepted(outcome: Accepted) -> Response {
    match outcome {
        Accepted::Answered { reply, .. } => answer(reply),
        Accepted::Stored {
            respond: Some(reply),
            ..
        } => answer(reply),
        Accepted::Stored {
            cursor,
            topic,
            duplicate,
            ..
        } => {
            let status = match duplicate {
                true => StatusCode::OK,
                false => StatusCode::ACCEPTED,
            };
            let stored = StoredAnswer {
                id: cursor.to_string(),
                topic: topic.as_str(),
                duplicate,
            };
            (status, axum::Json(stored)).into_response()
        }
    }
}

/// The usual answer.
#[derive(Serialize)]
struct StoredAnswer<'a> {
    id: String,
    topic: &'a str,
    duplicate: bool,
}

/// What a provider wants to hear. `nosniff`, since part of it may be the
/// sender's own text.
fn answer(reply: Reply) -> Response {
    let head = [
        (header::CONTENT_TYPE, reply.content_type),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            http::HeaderValue::from_static("nosniff"),
        ),
    ];
    (reply.status, head, reply.headers, reply.body).into_response()
}

impl Gateway {
    /// An operator who sets up a provider waits for this line.
    fn log_handshake(&self, outcome: &Accepted, client: Option<IpAddr>) {
        let Accepted::Answered {
            topic,
            secret_stored,
            ..
        } = outcome
        else {
            return;
        };
        let client = client.map(tracing::field::display);
        match secret_stored {
            true => tracing::warn!(client, %topic, "a provider's secret was taken and is kept"),
            // Some need no proof: anybody could fill the log.
            false if !self.log_budget.take(self.clock.now()) => {}
            false => tracing::info!(client, %topic, "handshake answered"),
        }
    }

    fn log_unread(&self, error: BodyError, client: Option<IpAddr>) {
        if self.log_budget.take(self.clock.now()) {
            let client = client.map(tracing::field::display);
            tracing::info!(client, reason = error.reason(), "delivery not read");
        }
    }

    fn log(&self, error: &IngestError, client: Option<IpAddr>) {
        let client = client.map(tracing::field::display);
        match error {
            IngestError::Journal(_)
            | IngestError::SecretNotStored { .. }
            | IngestError::Interrupted(_) => {
                tracing::error!(client, reason = error.reason(), %error, "delivery not stored");
            }
            _ if !self.log_budget.take(self.clock.now()) => {}
            _ => tracing::info!(client, reason = error.reason(), %error, "delivery refused"),
        }
    }
}
