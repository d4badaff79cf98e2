//! `GET /admin/deliveries`: what came, the newest first.
//!
//! Stored ones come from the journal's index, backwards; the others from memory. Merged
//! by time. Invariant: what a list leaves out comes with its `next`.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use hookrill_core::{Event, Selection, Sequence};
use http::Uri;
use serde_json::{Value, json};

use super::{
    json_response,
    question::{ListPosition, Question},
    shown::{attempt_row, event_row},
};
use crate::{
    http::{Gateway, problem::ProblemDetails, query::ADMIN_DELIVERIES},
    journal::ReadError,
};

/// How many bytes of events one request reads, about.
const BYTES_MAX: usize = 16 << 20;
/// How many reads of the journal one request makes: each looks at some thousand events.
const READS_MAX: usize = 64;

pub(super) async fn list(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    if let Err(problem) = gateway.check_operator(&head.extensions, &head.headers) {
        return problem.into_response();
    }
    match gateway.deliveries_page(&head.uri).await {
        Ok(page) => json_response(&page),
        Err(problem) => problem.into_response(),
    }
}

/// Stored events that were found, the newest first.
pub(super) struct StoredFound {
    pub(super) events: Vec<Arc<Event>>,
    /// What is older was not looked at.
    pub(super) from: Sequence,
}

impl Gateway {
    async fn deliveries_page(&self, uri: &Uri) -> Result<Value, ProblemDetails> {
        let journal = self.ingest.journal();
        let question = Question::read(uri, ADMIN_DELIVERIES, "before", journal.epoch())?;
        let Ok(_permit) = self.list_permits.try_acquire() else {
            return Err(ProblemDetails::lists_busy());
        };
        let before = question.position.unwrap_or(ListPosition {
            sequence: journal.head().next(),
            tick: u64::MAX,
        });
        let wanted = |one: &_| question.wants(one);
        let mut attempts = self.recent.list(wanted);
        attempts.retain(|one| one.tick < before.tick);
        // One more than there is room for, to see whether there is more.
        let found = match &question.selection {
            Some(selection) => {
                let found = self
                    .stored_before(selection, before.sequence, question.count + 1)
                    .await;
                found.map_err(|error| ProblemDetails::journal_unreadable(&error))?
            }
            None => StoredFound {
                events: Vec::new(),
                from: before.sequence,
            },
        };
        let is_at_end = question.selection.is_none() || found.from <= journal.floor().next();
        let mut next = before;
        let mut rows = Vec::new();
        let mut events = found.events.iter().peekable();
        let mut recent = attempts.iter().peekable();
        while rows.len() < question.count {
            let is_event = match (events.peek(), recent.peek()) {
                (Some(event), Some(attempt)) => event.draft.received_at >= attempt.last,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            if is_event && let Some(event) = events.next() {
                rows.push(event_row(self, journal.epoch(), event));
                next.sequence = event.sequence;
            } else if let Some(attempt) = recent.next() {
                rows.push(attempt_row(attempt));
                next.tick = attempt.tick;
            }
        }
        let is_cut = events.peek().is_some() || recent.peek().is_some();
        if events.peek().is_none() {
            next.sequence = found.from;
        }
        let has_more = is_cut || !is_at_end;
        Ok(json!({
            "deliveries": rows,
            "next": has_more.then(|| next.text(journal.epoch())),
        }))
    }

    /// The newest events before a position, as far as one request looks.
    pub(super) async fn stored_before(
        &self,
        selection: &Selection,
        before: Sequence,
        count: usize,
    ) -> Result<StoredFound, ReadError> {
        let journal = self.ingest.journal();
        let mut found = StoredFound {
            events: Vec::new(),
            from: before,
        };
        let mut bytes = 0;
        for _ in 0..READS_MAX {
            let left = count - found.events.len();
            if left == 0 || bytes >= BYTES_MAX || found.from <= journal.floor().next() {
                break;
            }
            let room = BYTES_MAX - bytes;
            let read = journal.read_back(selection, found.from, left, room).await?;
            bytes += read
                .events
                .iter()
                .map(|event| event.draft.weight())
                .sum::<usize>();
            debug_assert!(read.from < found.from, "each read gets on");
            found.from = read.from;
            found.events.extend(read.events);
        }
        Ok(found)
    }
}
