//! `GET /admin/deliveries/live`: the lines of the list as they come, as NDJSON.
//!
//! Looks several times a second at what is new, and buffers nothing: a reader that does
//! not read is not asked for, and finds later what is still there. Invariants: no more
//! than [`LINES_MAX`] lines a second; what is left out is told by how many it is.

use std::{cmp::Reverse, collections::HashSet, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use hookrill_core::{Event, Secret, Selection};
use http::header;
use serde_json::{Value, json};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep},
};

use super::{
    question::{ListPosition, Question},
    shown::{attempt_row, event_row},
};
use crate::{
    http::{Gateway, media_types::NDJSON, problem::ProblemDetails, query::ADMIN_DELIVERIES_LIVE},
    journal::ReadError,
    recent::ListedAttempt,
    telemetry::with_causes,
};

/// The most lines in a second.
const LINES_MAX: usize = 50;
const SECOND: Duration = Duration::from_secs(1);
/// How often it is looked for what is new.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a line comes, whatever comes.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many numbers are remembered before those are forgotten that are not kept any more:
/// more than attempts can be kept by default.
const SHOWN_MAX: usize = 1_024;
/// How many bytes of events one look reads, about.
const BYTES_MAX: usize = 1 << 20;

pub(super) async fn live(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    if let Err(problem) = gateway.check_operator(&head.extensions, &head.headers) {
        return problem.into_response();
    }
    let epoch = gateway.ingest.journal().epoch();
    let question = match Question::read(&head.uri, ADMIN_DELIVERIES_LIVE, "after", epoch) {
        Ok(question) => question,
        Err(problem) => return problem.into_response(),
    };
    let Ok(permit) = Arc::clone(&gateway.live_permits).try_acquire_owned() else {
        return ProblemDetails::lists_busy().into_response();
    };
    let reader = LiveReader::new(gateway, question, permit);
    let lines = stream::unfold(reader, |mut reader| async move {
        let lines = reader.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(lines)), reader))
    });
    let about = [
        (header::CONTENT_TYPE, NDJSON),
        (header::CACHE_CONTROL, "no-store, no-transform"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (about, Body::from_stream(lines)).into_response()
}

/// One reader of what comes.
struct LiveReader {
    gateway: Arc<Gateway>,
    question: Question,
    /// What comes behind it is new.
    position: ListPosition,
    /// Up to which number attempts were shown or told as skipped.
    accounted: u64,
    /// The numbers of those that were shown and may come again with another count.
    shown: HashSet<u64>,
    /// What has a number up to this came before anybody read.
    first_number: u64,
    /// When the second began in which so many lines were written.
    second: Instant,
    lines: usize,
    /// When the last line was written; `None` before the first.
    written_at: Option<Instant>,
    /// With which token it was let in.
    token: Option<Secret>,
    _permit: OwnedSemaphorePermit,
}

impl LiveReader {
    fn new(gateway: Arc<Gateway>, question: Question, permit: OwnedSemaphorePermit) -> Self {
        let now = ListPosition {
            sequence: gateway.ingest.journal().head(),
            tick: gateway.recent.newest_tick(),
        };
        let mut position = question.position.unwrap_or(now);
        if position.tick > now.tick {
            // Of another run of the gateway, which began to count anew.
            position.tick = 0;
        }
        Self {
            accounted: gateway.recent.newest_number(),
            shown: HashSet::new(),
            first_number: gateway.recent.newest_number(),
            token: gateway.settings().admin_token.clone(),
            gateway,
            question,
            position,
            second: Instant::now(),
            lines: 0,
            written_at: None,
            _permit: permit,
        }
    }

    /// The next lines; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        if self.written_at.is_none() {
            return Some(self.written(&[self.position_line()]));
        }
        loop {
            if self.is_over() {
                return None;
            }
            let lines = match self.look().await {
                Ok(lines) => lines,
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::warn!(%error, "a list of deliveries has ended");
                    return None;
                }
            };
            if !lines.is_empty() {
                return Some(self.written(&lines));
            }
            let is_quiet = self.written_at.is_none_or(|at| at.elapsed() >= HEARTBEAT);
            if is_quiet {
                return Some(self.written(&[self.position_line()]));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Whether nobody may read on: the gateway drains, or has another token now.
    fn is_over(&self) -> bool {
        self.gateway.streams.is_draining() || self.gateway.settings().admin_token != self.token
    }

    fn position_line(&self) -> Value {
        json!({"position": self.position_text()})
    }

    fn position_text(&self) -> String {
        self.position.text(self.gateway.ingest.journal().epoch())
    }

    fn written(&mut self, lines: &[Value]) -> String {
        self.written_at = Some(Instant::now());
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// What is new, as far as this second has room for it.
    async fn look(&mut self) -> Result<Vec<Value>, ReadError> {
        let mut lines = Vec::new();
        if self.second.elapsed() >= SECOND {
            let was_full = self.lines >= LINES_MAX;
            (self.second, self.lines) = (Instant::now(), 0);
            if was_full {
                lines.extend(self.skip());
            }
        }
        let room = LINES_MAX - self.lines;
        if room == 0 {
            return Ok(lines);
        }
        let newest = self.gateway.recent.newest_number();
        let mut attempts = self.new_attempts();
        attempts.sort_unstable_by_key(|one| Reverse(one.tick));
        let journal = self.gateway.ingest.journal();
        let page = match &self.question.selection {
            Some(selection) => {
                let after = self.position.sequence;
                Some(read(&*journal, selection, after).await?)
            }
            None => None,
        };
        let events: &[Arc<Event>] = page.as_ref().map_or(&[], |page| &page.events);
        let mut events = events.iter().peekable();
        for _ in 0..room {
            let is_event = match (events.peek(), attempts.last()) {
                (Some(event), Some(attempt)) => event.draft.received_at <= attempt.last,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            let row = if is_event {
                events.next().map(|event| {
                    self.position.sequence = event.sequence;
                    event_row(&self.gateway, journal.epoch(), event)
                })
            } else {
                attempts.pop().map(|attempt| {
                    self.position.tick = attempt.tick;
                    self.note_shown(attempt.attempt.number);
                    attempt_row(&attempt)
                })
            };
            let Some(mut row) = row else { break };
            row["position"] = self.position_text().into();
            lines.push(row);
            self.lines += 1;
        }
        if events.peek().is_none()
            && let Some(page) = &page
        {
            self.position.sequence = page.scanned;
        }
        // What is not here any more, though all that is here was shown.
        let lost = newest.saturating_sub(self.accounted);
        if attempts.is_empty() && self.question.wants_all() && lost > 0 {
            self.accounted = newest;
            lines.push(json!({"skipped": lost, "position": self.position_text()}));
        }
        Ok(lines)
    }

    fn new_attempts(&self) -> Vec<ListedAttempt> {
        let (question, after) = (&self.question, self.position.tick);
        let recent = &self.gateway.recent;
        recent.list(|one| one.tick > after && question.wants(one))
    }

    /// An attempt is shown, for the first time or with another count.
    fn note_shown(&mut self, number: u64) {
        if self.shown.insert(number) && number > self.first_number {
            self.accounted += 1;
        }
        if self.shown.len() > SHOWN_MAX {
            let listed = self.gateway.recent.list(|_| true);
            let numbers: HashSet<_> = listed.iter().map(|one| one.attempt.number).collect();
            self.shown.retain(|one| numbers.contains(one));
        }
    }

    /// Passes over what came in a second that was full; says how much that was.
    fn skip(&mut self) -> Option<Value> {
        let journal = self.gateway.ingest.journal();
        let (head, newest) = (journal.head(), self.gateway.recent.newest_number());
        let attempts = self.new_attempts();
        let mut skipped = attempts.len() as u64;
        if self.question.wants_all() {
            let is_again = |one: &&ListedAttempt| self.shown.contains(&one.attempt.number);
            let again = attempts.iter().filter(is_again).count() as u64;
            skipped = again + newest.saturating_sub(self.accounted);
            self.accounted = newest.max(self.accounted);
        }
        if let Some(newest_tick) = attempts.iter().map(|one| one.tick).max() {
            self.position.tick = newest_tick;
        }
        if self.question.selection.is_some() {
            skipped += head.0.saturating_sub(self.position.sequence.0);
            self.position.sequence = head.max(self.position.sequence);
        }
        (skipped > 0).then(|| json!({"skipped": skipped, "position": self.position_text()}))
    }
}

async fn read(
    journal: &dyn crate::journal::Journal,
    selection: &Selection,
    after: hookrill_core::Sequence,
) -> Result<crate::journal::EventPage, ReadError> {
    journal.read(selection, after, BYTES_MAX).await
}
