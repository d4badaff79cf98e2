//! The one thread that appends: takes all that wait, writes one batch with one
//! fsync, then answers all. A lone event does not wait for company.
//!
//! Refuses to answer before the fsync, and to write after a failure.
//! Invariant: batch durable, then head published, then answers.

use std::{sync::Arc, time::Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{
    dedup::Additions,
    keys::{self, Seen, State},
    store::{Purpose, Store},
    tally::Tally,
};
use crate::{
    event::{Clock, Dedup, Draft, Event, stored},
    journal::{AppendError, Appended, Measures, ReadError, live::Live},
};

/// The most events in a batch.
const BATCH_EVENTS_MAX: usize = 256;
/// A batch takes no further event once it weighs as much.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// An event that wants to be stored.
pub(super) struct Request {
    pub(super) draft: Draft,
    pub(super) dedup: Option<Dedup>,
    /// Dropped without an answer where the journal has failed.
    pub(super) answer: oneshot::Sender<Result<Appended, AppendError>>,
    /// Its share of the memory for waiting events.
    pub(super) _share: OwnedSemaphorePermit,
}

/// What the thread has.
pub(super) struct Writer {
    pub(super) store: Arc<Store>,
    pub(super) live: Arc<Live>,
    pub(super) tally: Arc<Tally>,
    pub(super) clock: Clock,
    pub(super) measures: Measures,
    pub(super) reserve_bytes: u64,
    pub(super) dedup_entries_max: u64,
    /// As of the last batch.
    pub(super) state: State,
}

/// One turn: the batch in the making, and who is to be told what.
struct Turn {
    state: State,
    events: Vec<Arc<Event>>,
    additions: Additions,
    answers: Vec<(oneshot::Sender<Result<Appended, AppendError>>, Appended)>,
}

impl Writer {
    /// Runs until every sender of requests is gone; blocks.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let _guard = FailOnPanic(Arc::clone(&self.live));
        while let Some(first) = requests.blocking_recv() {
            let waiting = gather(first, &mut requests);
            if self.live.failure().is_some() {
                // Dropping the requests tells those who wait.
                continue;
            }
            if let Err(e) = self.serve(waiting) {
                self.live.fail(&e.to_string());
            }
        }
    }

    fn serve(&mut self, waiting: Vec<Request>) -> Result<(), ReadError> {
        if let Err(refusal) = self.room() {
            for request in waiting {
                // Who no longer waits for the answer needs none.
                let _ = request.answer.send(Err(refusal.clone()));
            }
            return Ok(());
        }
        let mut turn = Turn {
            state: self.state,
            events: Vec::with_capacity(waiting.len()),
            additions: Additions::default(),
            answers: Vec::with_capacity(waiting.len()),
        };
        for request in waiting {
            self.place(&mut turn, request)?;
        }
        let answers = std::mem::take(&mut turn.answers);
        if let Err(e) = self.commit(turn) {
            // Known as failed before anybody is told.
            self.live.fail(&e.to_string());
            return Err(e);
        }
        for (answer, appended) in answers {
            let _ = answer.send(Ok(appended));
        }
        Ok(())
    }

    /// Whether the disk has room. One `statvfs` takes about a microsecond and a
    /// batch a hundred times as long, so there is nothing to save by asking
    /// less often.
    fn room(&self) -> Result<(), AppendError> {
        // A disk that can't say has none.
        let free_bytes = self.store.free_bytes().unwrap_or(0);
        if free_bytes >= self.reserve_bytes {
            return Ok(());
        }
        Err(AppendError::NoRoom {
            free_bytes,
            reserve_bytes: self.reserve_bytes,
        })
    }

    /// Gives an event its place, or finds that it has one.
    fn place(&self, turn: &mut Turn, request: Request) -> Result<(), ReadError> {
        let Request {
            draft,
            dedup,
            answer,
            ..
        } = request;
        let dedup = dedup.map(|d| (keys::dedup(&draft.topic, &d.key), d.window));
        if let Some((key, _)) = &dedup
            && let Some(sequence) = turn.additions.seen(&self.store, key, draft.received_at)?
        {
            let duplicate = true;
            turn.answers.push((
                answer,
                Appended {
                    sequence,
                    duplicate,
                },
            ));
            return Ok(());
        }
        let sequence = turn.state.head.next();
        turn.state.head = sequence;
        if let Some((key, window)) = dedup {
            let until = draft.received_at.plus(window);
            turn.additions
                .remember(&self.store, key, Seen { sequence, until })?;
        }
        turn.events.push(Arc::new(draft.at(sequence)));
        let duplicate = false;
        turn.answers.push((
            answer,
            Appended {
                sequence,
                duplicate,
            },
        ));
        Ok(())
    }

    /// Makes the turn durable, then visible.
    fn commit(&mut self, turn: Turn) -> Result<(), ReadError> {
        if turn.events.is_empty() {
            // Duplicates of what was durable before.
            return Ok(());
        }
        let started = Instant::now();
        let mut state = turn.state;
        let mut batch = self.store.durable_batch();
        for event in &turn.events {
            let value = stored::encode(event);
            state.bytes_appended += value.len() as u64;
            batch.insert(&self.store.events, keys::sequence(event.sequence), value);
            let event_type = event.draft.event_type.as_bytes();
            for key in keys::indexes(&event.draft.topic, event.sequence) {
                batch.insert(&self.store.index, key, event_type);
            }
        }
        let (entries_max, now) = (self.dedup_entries_max, self.clock.now());
        turn.additions
            .write(&self.store, &mut batch, &mut state, entries_max, now)?;
        batch.insert(&self.store.meta, keys::STATE, state.encode());
        self.store.commit(Purpose::Append, batch)?;
        self.state = state;
        self.tally.appended(state.bytes_appended);
        self.measures.commit_secs.record(started.elapsed());
        self.measures.commit_events.record(turn.events.len() as f64);
        self.live.publish(turn.events.into());
        Ok(())
    }
}

/// All that wait, up to a batch full.
fn gather(first: Request, requests: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let mut bytes = first.draft.weight();
    let mut waiting = vec![first];
    while waiting.len() < BATCH_EVENTS_MAX && bytes < BATCH_BYTES_MAX {
        let Ok(request) = requests.try_recv() else {
            break;
        };
        bytes += request.draft.weight();
        waiting.push(request);
    }
    waiting
}

/// A writer that panics leaves nobody waiting and nobody in doubt.
struct FailOnPanic(Arc<Live>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the writer's thread panicked");
        }
    }
}
