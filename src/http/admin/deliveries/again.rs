//! `POST /admin/deliveries/<id>/explain` and `…/take`: a refused delivery, looked at again
//! with the configuration of now, as of the time when it arrived.
//!
//! Explaining tries many things, and is done on a thread of its own, one at a time. What
//! is taken is verified like any other: there is no way around that. Invariant: neither
//! answer has a secret, or a signature that was expected.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use data_encoding::BASE64;
use hookrill_core::{Cursor, Secret};
use hookrill_verify::{Explanation, SECRETS_MAX, VerifyError};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{DeliveryId, id_of, json_response, read_body, shown::ShownRequest};
use crate::{
    http::{
        Gateway,
        problem::ProblemDetails,
        request_log::{shown_error, shown_topic},
    },
    ingest::{Accepted, IngestError, SecondLook, SecondLookError},
    recent::{AttemptKind, BODY_BYTES_KEPT_MAX, KeptAttempt, ListedAttempt, TakeError},
    telemetry::with_causes,
};

/// What a request to explain may say.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ExplainRequest {
    secrets: Option<Vec<String>>,
}

pub(super) async fn explain(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if let Err(problem) = gateway.check_operator(&head.extensions, &head.headers) {
        return problem.into_response();
    }
    let id = id_of(&head.uri);
    let explained = async {
        let secrets = secrets(&read_body(body).await?)?;
        let listed = gateway.refused_delivery(id)?;
        gateway.explanation(&listed.attempt, secrets).await
    };
    match explained.await {
        Ok(page) => json_response(&page),
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn take(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    if let Err(problem) = gateway.check_operator(&head.extensions, &head.headers) {
        return problem.into_response();
    }
    let id = id_of(&head.uri);
    let listed = match gateway.refused_delivery(id) {
        Ok(listed) => listed,
        Err(problem) => return problem.into_response(),
    };
    match gateway.take_delivery(id, &listed.attempt).await {
        Ok(answer) => answer,
        Err(problem) => problem.into_response(),
    }
}

/// The secrets to try instead of the configured ones.
fn secrets(body: &[u8]) -> Result<Option<Vec<Secret>>, ProblemDetails> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    // What is wrong with it is not repeated: there may be a secret in it.
    let asked: ExplainRequest = serde_json::from_slice(body).map_err(|_| {
        let why = "it must be empty, or {\"secrets\":[\"…\"]}";
        ProblemDetails::parameter("body", why)
    })?;
    let Some(secrets) = asked.secrets else {
        return Ok(None);
    };
    if !(1..=SECRETS_MAX).contains(&secrets.len()) {
        let why = format_args!("it must have 1 to {SECRETS_MAX} secrets");
        return Err(ProblemDetails::parameter("secrets", why));
    }
    let is_reference = |text: &String| text.starts_with("env:") || text.starts_with("file:");
    if secrets.iter().any(is_reference) {
        let why = "write the secrets themselves: env: and file: would be read on the gateway's \
                   machine, and are not";
        return Err(ProblemDetails::parameter("secrets", why));
    }
    Ok(Some(secrets.into_iter().map(Secret::from).collect()))
}

impl Gateway {
    fn refused_delivery(&self, id: &str) -> Result<ListedAttempt, ProblemDetails> {
        match DeliveryId::parse(id)? {
            DeliveryId::Recent(AttemptKind::Refused, number) => {
                self.recent_delivery(AttemptKind::Refused, number)
            }
            DeliveryId::Recent(..) | DeliveryId::Stored(_) => Err(ProblemDetails::parameter(
                "id",
                "only a refused delivery can be explained or taken: one whose id begins with r-",
            )),
        }
    }

    async fn explanation(
        self: &Arc<Self>,
        attempt: &Arc<KeptAttempt>,
        secrets: Option<Vec<Secret>>,
    ) -> Result<Value, ProblemDetails> {
        let summary = &attempt.summary;
        let delivery = attempt.request.delivery(summary.at);
        let delivery = delivery.filter(|_| summary.is_read);
        let Some(delivery) = delivery else {
            return Ok(unkept(attempt));
        };
        let permit = Arc::clone(&self.explain_permit).acquire_owned().await;
        let (gateway, topic) = (Arc::clone(self), summary.topic.clone());
        let looking = spawn_blocking(move || {
            let looked = gateway.ingest.explain(&topic, &delivery, secrets);
            drop(permit);
            looked
        });
        match looking.await.map_err(IngestError::from)? {
            Ok(looked) => {
                let shown = ShownRequest::new(self, attempt);
                Ok(explanation_json(attempt, &looked, &shown))
            }
            Err(SecondLookError::Scheme(error)) => {
                Err(ProblemDetails::parameter("secrets", with_causes(&error)))
            }
            Err(SecondLookError::Unrouted(error)) => Ok(refused_at_topic(attempt, &error)),
        }
    }

    /// Verifies it again, and stores it if it verifies.
    async fn take_delivery(
        self: &Arc<Self>,
        id: &str,
        attempt: &Arc<KeptAttempt>,
    ) -> Result<Response, ProblemDetails> {
        let summary = &attempt.summary;
        let permit = match attempt.begin_to_take() {
            Ok(permit) => permit,
            Err(TakeError::Taken(cursor)) => {
                let topic = shown_topic(&summary.topic);
                return Ok(stored_response(cursor, &topic, true));
            }
            Err(error @ TakeError::UnderWay) => return Err(ProblemDetails::not_taken(error)),
        };
        if !attempt.request.is_whole() || !summary.is_read {
            return Err(ProblemDetails::not_taken(
                "it was not kept whole, so it cannot be verified again: let the sender send it \
                 again",
            ));
        }
        let Some(delivery) = attempt.request.delivery(summary.at) else {
            return Err(ProblemDetails::not_taken("it was not kept whole"));
        };
        let taken = self
            .ingest
            .accept_again(&summary.topic, summary.address, delivery)
            .await;
        match taken {
            Ok(Accepted::Stored {
                cursor,
                topic,
                duplicate,
                ..
            }) => {
                permit.taken_as(cursor);
                tracing::info!(delivery = id, %cursor, %topic, duplicate, "a refused delivery was taken");
                Ok(stored_response(cursor, topic.as_str(), duplicate))
            }
            Ok(Accepted::Answered { .. }) => Err(ProblemDetails::not_taken(
                "it is a handshake now, which stores nothing: its answer is of use only to a \
                 sender that waits for it; let the sender repeat it",
            )),
            Err(refusal) if refusal.error.is_temporary() => Err(refusal.error.into()),
            Err(refusal) => {
                let reason = refusal.error.reason();
                tracing::info!(delivery = id, reason, "a refused delivery was not taken");
                let page = match &refusal.error {
                    IngestError::Unverified { .. } => self.explanation(attempt, None).await?,
                    error => refused_at_topic(attempt, error),
                };
                Ok((StatusCode::CONFLICT, json_response(&page)).into_response())
            }
        }
    }
}

/// As ingest answers.
fn stored_response(cursor: Cursor, topic: &str, duplicate: bool) -> Response {
    json_response(&json!({"id": cursor.to_string(), "topic": topic, "duplicate": duplicate}))
}

/// How a delivery was verified, or where that failed.
fn explanation_json(attempt: &KeptAttempt, looked: &SecondLook, shown: &ShownRequest<'_>) -> Value {
    let explanation = &looked.explanation;
    if is_undecided(attempt, looked) {
        return undecided(attempt, explanation);
    }
    let error = explanation.outcome.as_ref().err();
    let steps = explanation.steps.iter();
    let steps = steps.map(|step| step_json(step.name, step.passed, &step.detail));
    let mut page = page(attempt, &steps.collect::<Vec<_>>());
    page["verified"] = error.is_none().into();
    page["reason"] = error.map(VerifyError::reason).into();
    page["secret"] = explanation.secret_index.into();
    page["hint"] = explanation.hint.clone().into();
    if let Some(signed) = &looked.signed {
        page["signed_bytes"] = signed.len().into();
        if shown.may_show(signed) {
            page["signed_base64"] = BASE64.encode(signed).into();
        }
    }
    page
}

/// Whether what is missing of a delivery decides whether it verifies.
fn is_undecided(attempt: &KeptAttempt, looked: &SecondLook) -> bool {
    let request = &attempt.request;
    if request.is_whole() {
        return false;
    }
    if request.headers_left_out > 0 || request.target_is_cut {
        return true;
    }
    let is_of_head = |error: &VerifyError| {
        matches!(
            error,
            VerifyError::MethodNotTaken
                | VerifyError::HeaderNotAscii { .. }
                | VerifyError::HeaderMissing { .. }
                | VerifyError::HeaderDuplicate { .. }
                | VerifyError::QueryMissing
                | VerifyError::SignatureMalformed { .. }
                | VerifyError::SignaturePrefixMissing { .. }
                | VerifyError::SignatureEncoding { .. }
                | VerifyError::SignatureLength { .. }
                | VerifyError::SignaturesTooMany
                | VerifyError::TimestampMissing
                | VerifyError::TimestampMalformed { .. }
                | VerifyError::TokenMalformed
        )
    };
    match &looked.explanation.outcome {
        Ok(_) => looked.signed.is_some(),
        Err(VerifyError::Mismatch) => looked.signed.is_some(),
        Err(error) => !is_of_head(error),
    }
}

/// The steps up to the one that needs what was not kept.
fn undecided(attempt: &KeptAttempt, explanation: &Explanation) -> Value {
    let request = &attempt.request;
    let mut steps: Vec<_> = explanation
        .steps
        .iter()
        .take_while(|step| step.passed && step.name != "secret")
        .map(|step| step_json(step.name, true, &step.detail))
        .collect();
    let why = if request.body_is_cut {
        let bytes = attempt.summary.body_bytes.unwrap_or_default();
        format!(
            "only the first {BODY_BYTES_KEPT_MAX} of the body's {bytes} bytes were kept, so it \
             cannot be tried again"
        )
    } else {
        "its head was too long to be kept whole, so it cannot be tried again".to_owned()
    };
    steps.push(step_json("secret", false, &why));
    let mut page = page(attempt, &steps);
    page["hint"] = "let the sender send it again, or capture it whole and give it to `hookrill \
                    verify`"
        .into();
    page
}

/// Of a delivery that has no verifier.
fn refused_at_topic(attempt: &KeptAttempt, error: &IngestError) -> Value {
    let topic = &attempt.summary.topic;
    let detail = shown_error(&with_causes(error).to_string(), topic);
    let mut page = page(attempt, &[step_json("topic", false, &detail)]);
    page["reason"] = error.reason().into();
    page
}

/// Of a delivery of which there is too little to look at.
fn unkept(attempt: &KeptAttempt) -> Value {
    let summary = &attempt.summary;
    let error = summary.error.as_deref().unwrap_or_default();
    let detail = shown_error(error, &summary.topic);
    let mut page = page(attempt, &[step_json("request", false, &detail)]);
    page["hint"] = if summary.is_read {
        "it was verified, and refused for another reason: the sender has to send it again"
    } else {
        "it was refused before it was read to its end: the sender has to send it again"
    }
    .into();
    page
}

fn page(attempt: &KeptAttempt, steps: &[Value]) -> Value {
    json!({
        "id": format!("r-{}", attempt.number),
        "verified": false,
        "reason": null,
        "steps": steps,
        "secret": null,
        "hint": null,
        "signed_bytes": null,
        "signed_base64": null,
        "refused_as": attempt.summary.reason,
    })
}

fn step_json(name: &str, passed: bool, detail: &str) -> Value {
    json!({"name": name, "passed": passed, "detail": detail})
}
