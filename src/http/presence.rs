//! `GET /admin/topics`: who listens to which topics and what there is of them,
//! for the admin token alone.
//!
//! Nothing is read of a request before the token was seen.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use hookrill_core::Topic;
use http::{HeaderMap, Uri, header};
use serde_json::{Value, json};

use super::{Gateway, asked::Parameters, refusal::Refusal};
use crate::subscribe::{Figures, Presence, PresenceError, Wanted};

/// How many topics a page has, where nothing is said.
const COUNT: usize = 100;
/// The most topics on a page.
const COUNT_MAX: usize = 1_000;

/// `GET /admin/topics?limit=…&after=…&under=…`.
pub(super) async fn topics(
    State(gateway): State<Arc<Gateway>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if !gateway.is_operator(&headers) {
        return Refusal::operator_only().into_response();
    }
    match gateway.presence(&uri).await {
        Ok(page) => {
            let head = [
                (header::CONTENT_TYPE, "application/json"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (head, page.to_string()).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

impl Gateway {
    async fn presence(&self, uri: &Uri) -> Result<Value, Refusal> {
        let presence = self.streams.presence(wanted(uri)?).await;
        presence.map(|presence| page(&presence)).map_err(|error| {
            if let PresenceError::Journal(error) = &error {
                tracing::error!(%error, "topics cannot be counted");
            }
            Refusal::from(error)
        })
    }
}

fn wanted(uri: &Uri) -> Result<Wanted, Refusal> {
    let query = Parameters::of(uri)?;
    let topic = |name| {
        let topic = query.one(name)?.map(str::parse::<Topic>);
        topic.transpose().map_err(|e| Refusal::parameter(name, e))
    };
    Ok(Wanted {
        after: topic("after")?,
        under: topic("under")?,
        count: query.one("limit")?.map_or(Ok(COUNT), count)?,
    })
}

fn count(text: &str) -> Result<usize, Refusal> {
    let count = text.parse().ok();
    let count = count.filter(|count| (1..=COUNT_MAX).contains(count));
    let why = format_args!("it is a number from 1 to {COUNT_MAX}");
    count.ok_or_else(|| Refusal::parameter("limit", why))
}

fn page(presence: &Presence) -> Value {
    let last = presence.topics.last().map(|(name, _)| name.clone());
    let next = last.filter(|_| presence.more);
    let topics = presence.topics.iter().map(|(name, figures)| {
        let mut row = said(figures);
        row["topic"] = json!(name);
        row
    });
    let topics: Vec<_> = topics.collect();
    let mut page = said(&presence.all);
    page["topics"] = topics.into();
    page["next"] = json!(next);
    page["subscribers_of_everything"] = presence.of_everything.into();
    page["subscribers_uncounted"] = presence.uncounted.into();
    page["counted_after"] = presence.counted_after.to_string().into();
    page
}

fn said(figures: &Figures) -> Value {
    // Finer than a minute's events can tell.
    let rounded = |rate: f64| (rate * 1000.0).round() / 1000.0;
    json!({
        "subscribers": figures.subscribers,
        "events_per_second": figures.events_per_second.map(rounded),
        "head": figures.head.as_ref().map(ToString::to_string),
        "oldest": figures.oldest.as_ref().map(ToString::to_string),
        "events": figures.events,
        "bytes": figures.bytes,
    })
}
