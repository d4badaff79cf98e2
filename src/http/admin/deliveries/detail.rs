//! `GET /admin/deliveries/<id>` and `…/body`: one delivery.
//!
//! Of an event, headers and body need a second token besides the admin's, in
//! `Hookrill-Token`: one that shows deliveries, and whole bodies where its topic hides
//! parts of them. Invariant: a body is sent as bytes to be saved, whatever is in it.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use hookrill_core::{Topic, Topics};
use http::{HeaderMap, HeaderName, header};

use super::{
    DeliveryId, id_of, json_response,
    shown::{ShownRequest, attempt_row, event_request, event_row},
};
use crate::{
    http::{Gateway, problem::ProblemDetails},
    recent::{AttemptKind, ListedAttempt},
};

/// Where the second token is.
const SECOND_TOKEN: HeaderName = HeaderName::from_static("hookrill-token");

pub(super) async fn one(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    if let Err(problem) = gateway.check_operator(&head.extensions, &head.headers) {
        return problem.into_response();
    }
    let id = id_of(&head.uri);
    match gateway.delivery_page(id, &head.headers).await {
        Ok(page) => json_response(&page),
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn body(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    if let Err(problem) = gateway.check_operator(&head.extensions, &head.headers) {
        return problem.into_response();
    }
    let id = id_of(&head.uri);
    match gateway.delivery_body(id, &head.headers).await {
        Ok(body) => attachment(id, body),
        Err(problem) => problem.into_response(),
    }
}

/// Bytes that no browser shows: they may be a page of a stranger's. `id` is one.
fn attachment(id: &str, body: bytes::Bytes) -> Response {
    let head = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{id}.bin\""),
        ),
    ];
    (head, body).into_response()
}

impl Gateway {
    async fn delivery_page(
        &self,
        id: &str,
        headers: &HeaderMap,
    ) -> Result<serde_json::Value, ProblemDetails> {
        match DeliveryId::parse(id)? {
            DeliveryId::Recent(kind, number) => {
                let listed = self.recent_delivery(kind, number)?;
                let mut page = attempt_row(&listed);
                ShownRequest::new(self, &listed.attempt).add_to(&mut page);
                Ok(page)
            }
            DeliveryId::Stored(cursor) => {
                let frame = self.delivery_frame(cursor).await?;
                let event = frame.event();
                let mut page = event_row(self, cursor.epoch, event);
                match self.check_second_token(headers, &event.draft.topic) {
                    Ok(()) => page["request"] = event_request(event),
                    Err(problem) => {
                        page["request"] = serde_json::Value::Null;
                        page["withheld"] = problem.detail().into();
                    }
                }
                Ok(page)
            }
        }
    }

    async fn delivery_body(
        &self,
        id: &str,
        headers: &HeaderMap,
    ) -> Result<bytes::Bytes, ProblemDetails> {
        match DeliveryId::parse(id)? {
            DeliveryId::Recent(kind, number) => {
                let listed = self.recent_delivery(kind, number)?;
                if !listed.attempt.request.is_kept || !listed.attempt.summary.is_read {
                    return Err(ProblemDetails::delivery_gone("no body was kept of it"));
                }
                let shown = ShownRequest::new(self, &listed.attempt);
                let body = shown.body().ok_or_else(ProblemDetails::body_withheld)?;
                Ok(body.into_owned().into())
            }
            DeliveryId::Stored(cursor) => {
                let frame = self.delivery_frame(cursor).await?;
                self.check_second_token(headers, &frame.event().draft.topic)?;
                Ok(frame.body_as_sent())
            }
        }
    }

    /// What was not stored, under this number.
    pub(super) fn recent_delivery(
        &self,
        kind: AttemptKind,
        number: u64,
    ) -> Result<ListedAttempt, ProblemDetails> {
        self.recent.find(kind, number).ok_or_else(|| {
            if (1..=self.recent.newest_number()).contains(&number) {
                ProblemDetails::delivery_gone(
                    "it is not kept any more: newer ones took its place. If it is refused again, \
                     it is here under another id; console.refused_max says how many are kept",
                )
            } else {
                ProblemDetails::no_such_delivery(
                    "there is none with this id since the gateway started: refused deliveries \
                     are kept in memory, and are gone at a restart. Let the sender send it again",
                )
            }
        })
    }

    /// Whether the second token shows headers and bodies of this topic.
    fn check_second_token(&self, headers: &HeaderMap, topic: &Topic) -> Result<(), ProblemDetails> {
        let given = headers
            .get(SECOND_TOKEN)
            .and_then(|value| value.to_str().ok());
        let Some(given) = given else {
            return Err(ProblemDetails::second_token(
                "headers and bodies of events need a second token, in the header Hookrill-Token: \
                 `hookrill token --topic '*' --deliveries` creates one",
            ));
        };
        let topics = Topics::these(vec![topic.clone()]);
        let checked = self
            .access
            .check_deliveries(topics, Some(given.trim()), self.clock.now());
        let grant = checked.map_err(|error| {
            let why = crate::telemetry::with_causes(&error).to_string();
            ProblemDetails::second_token(format!("Hookrill-Token: {why}"))
        })?;
        let route = self.ingest.route_of(topic);
        if route.is_some_and(|route| route.cuts()) && !grant.is_full() {
            return Err(ProblemDetails::second_token(
                "the topic hides parts of its bodies (`expose`, `hide`): the second token has to \
                 say `\"full\": true` as well (`hookrill token --deliveries --full`)",
            ));
        }
        Ok(())
    }
}
