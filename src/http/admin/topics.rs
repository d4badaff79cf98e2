//! `GET /admin/topics?limit=…&after=…&under=…`: each topic's subscribers and
//! stored events, a page at a time.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use hookrill_core::{Topic, Topics};
use http::Uri;
use serde_json::{Value, json};

use super::json_response;
use crate::{
    http::{
        Gateway,
        problem::ProblemDetails,
        query::{ADMIN_TOPICS, QueryParams},
    },
    subscribe::{StuckSubscriber, TopicFigures, TopicPage, TopicPageRequest, TopicStatsError},
    telemetry::with_causes,
};

/// How many topics a page has, unless `limit` says otherwise.
const COUNT: usize = 100;
/// The most topics on a page.
const COUNT_MAX: usize = 1_000;

/// Answers with one page of topics.
pub(super) async fn topics(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    if let Err(problem) = gateway.check_operator(&head.extensions, &head.headers) {
        return problem.into_response();
    }
    match gateway.topics_page(&head.uri).await {
        Ok(page) => json_response(&page),
        Err(problem) => problem.into_response(),
    }
}

impl Gateway {
    async fn topics_page(&self, uri: &Uri) -> Result<Value, ProblemDetails> {
        match self.streams.topic_stats(parse(uri)?).await {
            Ok(stats) => Ok(page(&stats)),
            Err(error) => {
                if let TopicStatsError::Journal(cause) = &error {
                    let cause = with_causes(cause);
                    tracing::error!(error = %cause, "topics cannot be counted");
                }
                Err(error.into())
            }
        }
    }
}

fn parse(uri: &Uri) -> Result<TopicPageRequest, ProblemDetails> {
    let query = QueryParams::of_route(uri, ADMIN_TOPICS)?;
    Ok(TopicPageRequest {
        after: topic(&query, "after")?,
        under: topic(&query, "under")?,
        count: count(&query)?,
    })
}

fn topic(query: &QueryParams, name: &str) -> Result<Option<Topic>, ProblemDetails> {
    let topic = query.one(name)?.map(str::parse::<Topic>).transpose();
    topic.map_err(|error| ProblemDetails::parameter(name, error))
}

fn count(query: &QueryParams) -> Result<usize, ProblemDetails> {
    let Some(text) = query.one("limit")? else {
        return Ok(COUNT);
    };
    match text.parse() {
        Ok(count) if (1..=COUNT_MAX).contains(&count) => Ok(count),
        _ => {
            let why = format_args!("it must be a number from 1 to {COUNT_MAX}");
            Err(ProblemDetails::parameter("limit", why))
        }
    }
}

fn page(stats: &TopicPage) -> Value {
    let mut page = figures_json(&stats.all);
    page["topics"] = stats.topics.iter().map(row).collect();
    page["next"] = match stats.topics.last() {
        Some((name, _)) if stats.more => json!(name),
        _ => Value::Null,
    };
    page["subscribers_of_all_topics"] = stats.wildcard.into();
    page["subscribers_uncounted"] = stats.uncounted.into();
    page["counted_after"] = stats.counted_after.to_string().into();
    page["stuck"] = stats.stuck.iter().map(stuck_json).collect();
    page
}

fn stuck_json(stuck: &StuckSubscriber) -> Value {
    let topics = match &stuck.topics {
        Topics::All => vec!["*"],
        Topics::These(topics) => topics.iter().map(Topic::as_str).collect(),
    };
    json!({
        "reason": stuck.reason.as_str(),
        "client": stuck.client,
        "user_agent": stuck.user_agent,
        "topics": topics,
        "id": stuck.at.to_string(),
        "next_id": stuck.next.to_string(),
        "next_topic": stuck.next_topic.as_str(),
        "next_bytes": stuck.next_bytes,
        "times": stuck.times,
        "since": stuck.since.to_string(),
        "last": stuck.last.to_string(),
    })
}

fn row((topic, figures): &(Box<str>, TopicFigures)) -> Value {
    let mut row = figures_json(figures);
    row["topic"] = json!(topic);
    row
}

fn figures_json(figures: &TopicFigures) -> Value {
    // More digits would claim more than the events of one minute can tell.
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
