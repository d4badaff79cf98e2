//! `POST /ingest/<topic>`, and the handshakes of providers that send them by GET
//! or HEAD. A topic without such a handshake answers those as any other method.
//!
//! Whatever the method, an address that sends too many requests is refused
//! first.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use bytes::Bytes;
use hookrill_core::Timestamp;
use hookrill_verify::{Delivery, Reply};
use http::{HeaderValue, header, request::Parts};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{
    Gateway,
    body::{self, BodyHint, BodySender, ReceivedBody},
    limits::{Address, LimitExceeded, RequestProgress},
    problem::{ProblemDetails, closing},
    request_log::Caller,
};
use crate::ingest::Accepted;

const PREFIX: &str = "/ingest/";

/// The route for every method.
pub(super) fn route() -> MethodRouter<Arc<Gateway>> {
    post(deliver).get(handshake).fallback(other_method)
}

async fn deliver(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let client = gateway.client_ip(request.extensions(), request.headers());
    // Costs one load of a static where nobody wants it.
    let span = tracing::debug_span!(
        "delivery",
        request = gateway.next_request_number(),
        client = client.map(tracing::field::display),
        topic = topic(request.uri().path()),
    );
    deliver_from(gateway, client, request)
        .instrument(span)
        .await
}

async fn deliver_from(gateway: Arc<Gateway>, client: Option<IpAddr>, request: Request) -> Response {
    let begun = Instant::now();
    let caller = Caller::new(client, request.headers());
    if let Err(limit) = gateway.admit_to_ingest(client) {
        gateway.note_limited_delivery(limit, &topic(request.uri().path()), &caller);
        return Box::pin(reject_unread(request, limit)).await;
    }
    let (head, body) = request.into_parts();
    let progress = head.extensions.get::<RequestProgress>().cloned();
    let hint = BodyHint::from_headers(&head.headers);
    let bytes_max = gateway.settings().body_bytes_max;
    let budget = &gateway.body_budget;
    // Its share of the budget is held until the response is made.
    let sender = BodySender {
        address: client.map(Address::from),
        progress: progress.as_ref(),
    };
    let received = match body::read(body, hint, bytes_max, budget, sender).await {
        Ok(received) => received,
        Err(error) => {
            gateway.note_unread(error, &topic(head.uri.path()), &caller);
            return ProblemDetails::from(error).into_response();
        }
    };
    let ReceivedBody { bytes, _share } = received;
    let (topic, body_bytes) = (topic(head.uri.path()), bytes.len());
    let delivery = delivery(head, bytes, gateway.clock.now());
    match gateway.ingest.accept(&topic, delivery).await {
        Ok(accepted) => {
            // Not a handshake: some need no secret.
            if let (Some(progress), Accepted::Stored { .. }) = (progress, &accepted) {
                progress.verified();
            }
            gateway.log_handshake(&accepted, &caller);
            log_stored(&accepted, body_bytes, begun);
            gateway.telemetry.ingest_secs.record(begun.elapsed());
            success(accepted)
        }
        Err(refusal) => {
            gateway.log_refusal(&refusal, &topic, body_bytes, &caller);
            ProblemDetails::from(refusal.error).into_response()
        }
    }
}

fn log_stored(accepted: &Accepted, bytes: usize, begun: Instant) {
    let Accepted::Stored {
        cursor,
        topic,
        duplicate,
        ..
    } = accepted
    else {
        return;
    };
    tracing::debug!(
        %cursor,
        %topic,
        duplicate,
        bytes,
        took = ?begun.elapsed(),
        "delivery accepted"
    );
}

/// A handshake by GET or HEAD; its body is not read. One that fails to verify
/// looks like a topic without handshakes.
async fn handshake(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let client = gateway.client_ip(request.extensions(), request.headers());
    let caller = Caller::new(client, request.headers());
    if let Err(limit) = gateway.admit_to_ingest(client) {
        gateway.note_limited_delivery(limit, &topic(request.uri().path()), &caller);
        return Box::pin(reject_unread(request, limit)).await;
    }
    let (head, _) = request.into_parts();
    let topic = topic(head.uri.path());
    let delivery = delivery(head, Bytes::new(), gateway.clock.now());
    match gateway.ingest.handshake(&topic, delivery).await {
        Some(Ok(accepted)) => {
            gateway.log_handshake(&accepted, &caller);
            success(accepted)
        }
        Some(Err(refusal)) => {
            gateway.log_refusal(&refusal, &topic, 0, &caller);
            ProblemDetails::post_only().into_response()
        }
        None => ProblemDetails::post_only().into_response(),
    }
}

/// A request by a method that neither events nor handshakes use.
async fn other_method(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let client = gateway.client_ip(request.extensions(), request.headers());
    let Err(limit) = gateway.admit_to_ingest(client) else {
        return ProblemDetails::post_only().into_response();
    };
    let caller = Caller::new(client, request.headers());
    gateway.note_limited_delivery(limit, &topic(request.uri().path()), &caller);
    reject_unread(request, limit).await
}

/// Rejects a request whose body was not read. Drains a small body first:
/// closing while the sender still writes would reset the connection, and it
/// would not see when it may retry.
async fn reject_unread(request: Request, limit: LimitExceeded) -> Response {
    let (hint, version) = (BodyHint::from_headers(request.headers()), request.version());
    let is_drained = body::drain_body(request.into_body(), hint).await;
    let response = ProblemDetails::from(limit).into_response();
    if is_drained {
        response
    } else {
        closing(response, version)
    }
}

fn delivery(head: Parts, body: Bytes, received_at: Timestamp) -> Delivery {
    Delivery::from_request(http::Request::from_parts(head, body), received_at)
}

/// The topic in the path, decoded; bytes that are not UTF-8 become characters
/// that no topic has.
fn topic(path: &str) -> String {
    let raw = path.strip_prefix(PREFIX).unwrap_or_default();
    percent_decode_str(raw).decode_utf8_lossy().into_owned()
}

fn success(accepted: Accepted) -> Response {
    match accepted {
        Accepted::Answered { reply, .. } => reply_response(reply),
        Accepted::Stored {
            respond: Some(reply),
            ..
        } => reply_response(reply),
        Accepted::Stored {
            cursor,
            topic,
            duplicate,
            respond: None,
        } => {
            let body = StoredResponse {
                id: cursor.to_string(),
                topic: topic.as_str(),
                duplicate,
            };
            // 200, also for what is new: many providers take nothing else for a success,
            // and send again.
            axum::Json(body).into_response()
        }
    }
}

/// The body of the usual answer.
#[derive(Serialize)]
struct StoredResponse<'a> {
    id: String,
    topic: &'a str,
    duplicate: bool,
}

/// The answer that a provider expects. `nosniff`, since part of it may be text
/// that the sender chose.
fn reply_response(reply: Reply) -> Response {
    let head = [
        (header::CONTENT_TYPE, reply.content_type),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    (reply.status, head, reply.headers, reply.body).into_response()
}
