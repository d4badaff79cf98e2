//! `GET /deliveries/<cursor>` and `GET /deliveries/<cursor>/body`: one delivery as it
//! came, for a token that shows deliveries.
//!
//! Refuses before it reads anything: rates, then a token without the claim. Says nothing
//! of events of other topics but that there is none for this token.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use hookrill_core::{Cursor, Topics};
use http::{HeaderName, HeaderValue, header, request::Parts};

use super::{
    Gateway,
    delivery_error::DeliveryError,
    grants::Wanted,
    problem::ProblemDetails,
    query::{DELIVERIES, QueryParams},
    tokens::tokens,
};
use crate::{
    access::AccessError,
    subscribe::EventLookup,
    telemetry::with_causes,
    wire::{Frame, Withheld},
};

pub(super) async fn delivery(
    State(gateway): State<Arc<Gateway>>,
    Path(cursor): Path<String>,
    request: Request,
) -> Response {
    let shown = gateway.delivery_response(&cursor, request, |_, frame, full| {
        let json = frame.delivery(full)?;
        Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
    });
    shown.await
}

pub(super) async fn body(
    State(gateway): State<Arc<Gateway>>,
    Path(cursor): Path<String>,
    request: Request,
) -> Response {
    let shown = gateway.delivery_response(&cursor, request, |cursor, frame, full| {
        let body = frame.delivered_body(full)?;
        let disposition = format!("attachment; filename=\"{cursor}\"");
        let disposition = HeaderValue::from_str(&disposition)
            .unwrap_or_else(|_| HeaderValue::from_static("attachment"));
        let head = [
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            ),
            (header::CONTENT_DISPOSITION, disposition),
        ];
        Ok((head, body).into_response())
    });
    shown.await
}

impl Gateway {
    /// What `show` makes of the delivery at this place, or why there is nothing.
    async fn delivery_response(
        &self,
        cursor: &str,
        request: Request,
        show: impl FnOnce(Cursor, &Frame, bool) -> Result<Response, Withheld> + Send,
    ) -> Response {
        let (request, _body) = request.into_parts();
        let client = self.client_ip(&request.extensions, &request.headers);
        let shown = self.shown_delivery(cursor, &request, client, show).await;
        let mut response = shown.unwrap_or_else(IntoResponse::into_response);
        let head: [(HeaderName, _); 2] = [
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        for (name, value) in head {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response
    }

    async fn shown_delivery(
        &self,
        cursor: &str,
        request: &Parts,
        client: Option<IpAddr>,
        show: impl FnOnce(Cursor, &Frame, bool) -> Result<Response, Withheld> + Send,
    ) -> Result<Response, ProblemDetails> {
        self.admit_to_pages(client)?;
        let query = QueryParams::of_route(&request.uri, DELIVERIES)?;
        let tokens = tokens(&query, &request.headers)?;
        // Before anything is read: whether the token shows any deliveries.
        self.grant(&Topics::these(Vec::new()), &tokens, Wanted::Deliveries)
            .await?;
        let cursor: Cursor = cursor.parse().map_err(|_| DeliveryError::NoCursor)?;
        let frame = self.delivery_frame(cursor).await?;
        let topics = Topics::these(vec![frame.event().draft.topic.clone()]);
        let mut granted = self.grant(&topics, &tokens, Wanted::Deliveries).await;
        if let Err(AccessError::UnknownTopic(_)) = granted {
            // Not configured any more: for those who may have everything.
            granted = self.grant(&Topics::All, &tokens, Wanted::Deliveries).await;
        }
        // What other topics there are, and what they have, is nobody's business.
        let grant = granted.map_err(|_| DeliveryError::Unknown(cursor))?;
        let shown = show(cursor, &frame, grant.is_full());
        shown.map_err(|why| DeliveryError::Withheld(why).into())
    }

    /// The event at this place.
    pub(super) async fn delivery_frame(&self, at: Cursor) -> Result<Frame, DeliveryError> {
        let found = self.streams.event_at(at).await.map_err(|error| {
            let error = with_causes(&error).to_string();
            tracing::error!(error, "a delivery cannot be read");
            DeliveryError::Journal
        });
        match found? {
            EventLookup::Found(frame) => Ok(frame),
            EventLookup::Deleted { behind } => Err(DeliveryError::Deleted { asked: at, behind }),
            EventLookup::Damaged => Err(DeliveryError::Damaged(at)),
            EventLookup::AnotherJournal => Err(DeliveryError::AnotherJournal(at)),
            EventLookup::Unknown => Err(DeliveryError::Unknown(at)),
        }
    }
}
