//! `POST /ingest/<topic>`, by whichever methods sections take, and the handshakes of
//! providers that send them by others. A topic without such a handshake answers those
//! as any other method.
//!
//! Whatever the method, an address that sends too many requests is refused first. A
//! method that any section takes is taken for all topics, as far as a stranger sees.

use std::{future, mem, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any},
};
use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Either},
};
use hookrill_core::Timestamp;
use hookrill_verify::{Delivery, Reply};
use http::{HeaderValue, Method, header, request::Parts};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{
    Gateway,
    body::{self, BodyError, BodyHint, BodySender, Codings, ReceivedBody},
    keep::Head,
    limits::{Address, RequestProgress},
    problem::{ProblemDetails, closing},
    request_log::{Caller, shown_topic},
};
use crate::ingest::Accepted;

const PREFIX: &str = "/ingest/";

/// The route for every method.
pub(super) fn route() -> MethodRouter<Arc<Gateway>> {
    any(receive)
}

/// The route without a topic.
pub(super) fn without_topic() -> MethodRouter<Arc<Gateway>> {
    any(refuse_without_topic)
}

async fn refuse_without_topic(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let caller = gateway.caller(&request);
    match gateway.admit_to_ingest(caller.client) {
        Ok(()) => reject_unread(request, ProblemDetails::topic_missing()).await,
        Err(limit) => {
            gateway.note_limited_delivery(limit, "", &caller);
            reject_unread(request, limit).await
        }
    }
}

fn receive(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> impl Future<Output = Response> + Send {
    let caller = gateway.caller(&request);
    let topic = topic(request.uri().path());
    // Costs one load of a static where nobody wants it.
    let span = tracing::debug_span!(
        "delivery",
        request = gateway.next_request_number(),
        client = caller.client.map(tracing::field::display),
        topic = shown_topic(&topic),
    );
    let receiving = span.in_scope(|| receive_for(gateway, caller, topic, request));
    if span.is_disabled() {
        Either::Left(receiving)
    } else {
        Either::Right(receiving.instrument(span).boxed())
    }
}

/// The answer to a delivery. Any other is boxed, or each delivery's task would be as long
/// as the longest of them.
type Answering<D> = Either<D, BoxFuture<'static, Response>>;

fn receive_for(
    gateway: Arc<Gateway>,
    caller: Caller,
    topic: String,
    request: Request,
) -> Answering<impl Future<Output = Response> + Send> {
    match admit(&gateway, &caller, &topic, &request) {
        Ok(Admitted::Delivery(codings)) => {
            Either::Left(deliver(gateway, caller, topic, request, codings))
        }
        Ok(Admitted::Handshake) => {
            Either::Right(handshake(gateway, caller, topic, request).boxed())
        }
        Ok(Admitted::Nothing) => {
            let problem = ProblemDetails::method_not_taken(&gateway.ingest.methods());
            Either::Right(future::ready(problem.into_response()).boxed())
        }
        Err(problem) => Either::Right(reject_unread(request, problem).boxed()),
    }
}

/// What a request is, by its head.
enum Admitted {
    /// With the codings of its body, if any.
    Delivery(Option<Codings>),
    Handshake,
    /// What would be a handshake, if its sender were let in.
    Nothing,
}

/// Lets a request in, or says why its body is not read.
fn admit(
    gateway: &Gateway,
    caller: &Caller,
    topic: &str,
    request: &Request,
) -> Result<Admitted, ProblemDetails> {
    gateway
        .admit_to_ingest(caller.client)
        .inspect_err(|limit| {
            gateway.note_limited_delivery(*limit, topic, caller);
            gateway.keep_unread(limit.reason(), limit, topic, Head::of(request), caller);
        })?;
    let is_taken =
        request.method() == Method::POST || gateway.ingest.methods().contains(request.method());
    if let Err(refusal) = gateway.ingest.admit(topic, caller.client) {
        gateway.log_refusal(&refusal, topic, 0, caller);
        let error = &refusal.error;
        gateway.keep_unread(error.reason(), error, topic, Head::of(request), caller);
        // As a topic answers that has no handshake by this method.
        return if is_taken {
            Err(refusal.error.into())
        } else {
            Ok(Admitted::Nothing)
        };
    }
    if !is_taken {
        return Ok(Admitted::Handshake);
    }
    let codings = Codings::from_headers(request.headers()).map_err(|unknown| {
        let error = BodyError::from(unknown);
        gateway.note_unread(error, topic, caller);
        gateway.keep_unread(error.reason(), &error, topic, Head::of(request), caller);
        error
    })?;
    Ok(Admitted::Delivery(codings))
}

/// No `async fn`: that would hold the request as it came for as long as it takes.
fn deliver(
    gateway: Arc<Gateway>,
    caller: Caller,
    topic: String,
    request: Request,
    codings: Option<Codings>,
) -> impl Future<Output = Response> + Send {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let progress = head.extensions.get::<RequestProgress>().cloned();
    async move {
        let sender = BodySender {
            address: caller.client.map(Address::from),
            progress: progress.as_ref(),
        };
        // Its share of the budget is held until the response is made.
        let mut received = match read_body(&gateway, &head, body, codings, sender).await {
            Ok(received) => received,
            Err(error) => {
                gateway.note_unread(error, &topic, &caller);
                gateway.keep_unread(error.reason(), &error, &topic, (&head).into(), &caller);
                return ProblemDetails::from(error).into_response();
            }
        };
        let body_bytes = received.bytes.len();
        let is_get = head.method == Method::GET;
        let mut delivery = delivery(head, mem::take(&mut received.bytes), gateway.clock.now());
        delivery.sent = received.sent.take();
        let accepted = gateway.ingest.accept(&topic, delivery).await;
        let mut response = match accepted {
            Ok(accepted) => {
                // Not a handshake: some need no secret.
                if let (Some(progress), Accepted::Stored { .. }) = (progress, &accepted) {
                    progress.verified();
                }
                gateway.log_handshake(&accepted, &caller);
                gateway.keep_accepted(&accepted, body_bytes, &caller);
                log_stored(&accepted, body_bytes, begun);
                gateway.telemetry.ingest_secs.record(begun.elapsed());
                success(accepted)
            }
            Err(refusal) => {
                gateway.log_refusal(&refusal, &topic, body_bytes, &caller);
                gateway.keep_refused(&refusal, &topic, body_bytes, &caller);
                ProblemDetails::from(refusal.error).into_response()
            }
        };
        if is_get {
            // Each is a delivery, and has to come here.
            let no_store = HeaderValue::from_static("no-store");
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, no_store);
        }
        response
    }
}

/// The body, without its codings.
async fn read_body(
    gateway: &Gateway,
    head: &Parts,
    body: Body,
    codings: Option<Codings>,
    sender: BodySender<'_>,
) -> Result<ReceivedBody, BodyError> {
    let hint = BodyHint::from_headers(&head.headers);
    let bytes_max = gateway.settings().body_bytes_max;
    let budget = &gateway.body_budget;
    let mut received = body::read(body, hint, bytes_max, budget, sender).await?;
    if let Some(codings) = codings {
        let turns = &gateway.long_decodes;
        // Few are coded, and what it takes would make every request's task longer.
        let decoding = body::decode(&mut received, codings, bytes_max, budget, turns, sender);
        Box::pin(decoding).await?;
    }
    Ok(received)
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

/// A handshake by a method that no section takes, such as HEAD or OPTIONS; its body is
/// not read. One that fails to verify looks like a topic without handshakes.
async fn handshake(
    gateway: Arc<Gateway>,
    caller: Caller,
    topic: String,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let delivery = delivery(head, Bytes::new(), gateway.clock.now());
    match gateway.ingest.handshake(&topic, delivery).await {
        Some(Ok(accepted)) => {
            gateway.log_handshake(&accepted, &caller);
            gateway.keep_accepted(&accepted, 0, &caller);
            success(accepted)
        }
        Some(Err(refusal)) => {
            gateway.log_refusal(&refusal, &topic, 0, &caller);
            gateway.keep_refused(&refusal, &topic, 0, &caller);
            ProblemDetails::method_not_taken(&gateway.ingest.methods()).into_response()
        }
        None => ProblemDetails::method_not_taken(&gateway.ingest.methods()).into_response(),
    }
}

/// Rejects a request whose body was not read. Drains a small body first:
/// closing while the sender still writes would reset the connection, and it
/// would not see when it may retry.
async fn reject_unread(request: Request, why: impl Into<ProblemDetails>) -> Response {
    let (hint, version) = (BodyHint::from_headers(request.headers()), request.version());
    let is_drained = body::drain_body(request.into_body(), hint).await;
    let response = why.into().into_response();
    if is_drained {
        response
    } else {
        closing(response, version)
    }
}

impl Gateway {
    fn caller(&self, request: &Request) -> Caller {
        let client = self.client_ip(request.extensions(), request.headers());
        Caller::new(client, request.headers())
    }
}

fn delivery(head: Parts, body: Bytes, received_at: Timestamp) -> Delivery {
    Delivery::from_request(http::Request::from_parts(head, body), received_at)
}

/// The topic in the path, decoded, without the slash that many write behind it; bytes
/// that are not UTF-8 become characters that no topic has.
fn topic(path: &str) -> String {
    let raw = path.strip_prefix(PREFIX).unwrap_or_default();
    let raw = raw.strip_suffix('/').unwrap_or(raw);
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
