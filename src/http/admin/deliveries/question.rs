//! Which deliveries are asked for, and where a list goes on.
//!
//! A position is a pair: a place in the journal, and a tick of what was not stored. Both
//! only rise, so that nothing is passed over however two clocks run.

use std::net::IpAddr;

use hookrill_core::{Cursor, Epoch, Selection, Sequence, Topic};
use http::Uri;

use super::shown::outcome;
use crate::{
    http::{
        problem::ProblemDetails,
        query::{Parameter, QueryParams},
    },
    recent::{AttemptKind, ListedAttempt},
    telemetry::INGEST_REASONS,
};

/// How many deliveries a list has, unless `limit` says otherwise.
const COUNT: usize = 50;
const COUNT_MAX: usize = 200;

/// Where a list goes on, or a live one begins: `k3f9x2ab-4711.52`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListPosition {
    pub(super) sequence: Sequence,
    pub(super) tick: u64,
}

/// Which deliveries are asked for.
#[derive(Debug)]
pub(super) struct Question {
    /// `None` where stored ones are not asked for.
    pub(super) selection: Option<Selection>,
    kinds: Vec<AttemptKind>,
    topic: Option<Topic>,
    reason: Option<String>,
    address: Option<IpAddr>,
    has_type: bool,
    pub(super) position: Option<ListPosition>,
    pub(super) count: usize,
}

impl Question {
    /// # Errors
    ///
    /// A problem that names the parameter.
    pub(super) fn read(
        uri: &Uri,
        known: &[Parameter],
        position: &'static str,
        epoch: Epoch,
    ) -> Result<Self, ProblemDetails> {
        let query = QueryParams::of_route(uri, known)?;
        let (has_stored, kinds) = outcomes(&query)?;
        let topic: Option<Topic> = parsed(&query, "topic")?;
        let event_type = query.one("type")?;
        let reason = reason(&query)?;
        let address = parsed(&query, "address")?;
        let is_of_stored = has_stored && reason.is_none() && address.is_none();
        let mut selection = match &topic {
            Some(topic) => Selection::topic(topic.clone()),
            None => Selection::all(),
        };
        selection.types = event_type.map(|name| [name.into()].into());
        Ok(Self {
            selection: is_of_stored.then_some(selection),
            kinds,
            topic,
            reason,
            address,
            has_type: event_type.is_some(),
            position: query
                .one(position)?
                .map(|text| ListPosition::parse(text, epoch))
                .transpose()
                .map_err(|why| ProblemDetails::parameter(position, why))?,
            count: count(&query)?,
        })
    }

    /// Whether it is asked for.
    pub(super) fn wants(&self, listed: &ListedAttempt) -> bool {
        let summary = &listed.attempt.summary;
        let is_of_topic = |wanted: &Topic| {
            let topic = summary.topic.parse::<Topic>();
            topic.is_ok_and(|topic| wanted.covers(&topic))
        };
        // Nothing says of which type it is.
        !self.has_type
            && self.kinds.contains(&summary.kind)
            && self.topic.as_ref().is_none_or(is_of_topic)
            && self
                .reason
                .as_deref()
                .is_none_or(|reason| summary.reason == Some(reason))
            && self.address.is_none_or(|address| {
                let own = summary.address.map(|own| own.to_canonical());
                own == Some(address.to_canonical())
            })
    }

    /// Whether every delivery is asked for that was not stored.
    pub(super) fn wants_all(&self) -> bool {
        self.kinds.len() == 3
            && self.topic.is_none()
            && self.reason.is_none()
            && self.address.is_none()
            && !self.has_type
    }
}

impl ListPosition {
    fn parse(text: &str, epoch: Epoch) -> Result<Self, &'static str> {
        let form = "it is the `next` or `position` of an answer, such as k3f9x2ab-4711.52";
        let (cursor, tick) = text.split_once('.').ok_or(form)?;
        let cursor: Cursor = cursor.parse().map_err(|_| form)?;
        let tick = tick.parse().map_err(|_| form)?;
        if cursor.epoch != epoch {
            return Err("it is of another journal; leave it out to begin anew");
        }
        Ok(Self {
            sequence: cursor.sequence,
            tick,
        })
    }

    pub(super) fn text(self, epoch: Epoch) -> String {
        let sequence = self.sequence;
        format!("{}.{}", Cursor { epoch, sequence }, self.tick)
    }
}

fn outcomes(query: &QueryParams) -> Result<(bool, Vec<AttemptKind>), ProblemDetails> {
    let all = [
        AttemptKind::Refused,
        AttemptKind::Duplicate,
        AttemptKind::Handshake,
    ];
    let Some(list) = query.one("outcome")? else {
        return Ok((true, all.into()));
    };
    let (mut has_stored, mut kinds) = (false, Vec::new());
    for name in list.split(',').map(str::trim) {
        if name == "stored" {
            has_stored = true;
            continue;
        }
        let Some(kind) = all.into_iter().find(|kind| outcome(*kind) == name) else {
            let why = "it is stored, duplicate, handshake or refused, or several of them with \
                       commas between";
            return Err(ProblemDetails::parameter("outcome", why));
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok((has_stored, kinds))
}

fn reason(query: &QueryParams) -> Result<Option<String>, ProblemDetails> {
    match query.one("reason")? {
        Some(name) if !INGEST_REASONS.contains(&name) => {
            let why = "there is no such reason; docs/run.md says where they are listed";
            Err(ProblemDetails::parameter("reason", why))
        }
        named => Ok(named.map(str::to_owned)),
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    query: &QueryParams,
    name: &str,
) -> Result<Option<T>, ProblemDetails> {
    let value = query.one(name)?.map(str::parse).transpose();
    value.map_err(|error| ProblemDetails::parameter(name, error))
}

fn count(query: &QueryParams) -> Result<usize, ProblemDetails> {
    match query.one("limit")?.map(str::parse) {
        None => Ok(COUNT),
        Some(Ok(count)) if (1..=COUNT_MAX).contains(&count) => Ok(count),
        Some(_) => {
            let why = format_args!("it must be a number from 1 to {COUNT_MAX}");
            Err(ProblemDetails::parameter("limit", why))
        }
    }
}
