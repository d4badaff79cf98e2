//! The one thread that appends: takes a turn, writes one batch with one fsync.
//!
//! Refuses to write after a failure. Invariant: what it hands back to be
//! published and answered is durable.

use std::{
    sync::{Arc, mpsc},
    time::Instant,
};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    dedup::{Additions, Bound},
    keys::{self, Seen, State},
    store::{Purpose, Store},
    tally::Tally,
};
use crate::{
    event::{Clock, Dedup, Draft, Event, stored},
    journal::{AppendError, Appended, Commit, Measures, ReadError, live::Live},
};

/// An event that wants to be stored.
pub(super) struct Request {
    pub(super) draft: Draft,
    pub(super) dedup: Option<Dedup>,
    /// Dropped without an answer where the journal has failed.
    pub(super) answer: Answer,
    /// Its share of the memory for waiting events.
    pub(super) _share: OwnedSemaphorePermit,
}

type Answer = oneshot::Sender<Result<Appended, AppendError>>;

/// Events that are to become durable together.
pub(super) struct Turn {
    pub(super) waiting: Vec<Request>,
    /// Dropped where the journal has failed.
    pub(super) done: oneshot::Sender<Served>,
}

/// What became of a turn.
#[derive(Default)]
pub(super) struct Served {
    /// What is durable now; `None` where all were duplicates, or refused.
    pub(super) commit: Option<Commit>,
    /// To be given once the commit is published.
    pub(super) answers: Vec<(Answer, Result<Appended, AppendError>)>,
}

/// What the thread has.
pub(super) struct Writer {
    pub(super) store: Arc<Store>,
    pub(super) live: Arc<Live>,
    pub(super) tally: Arc<Tally>,
    pub(super) clock: Clock,
    pub(super) measures: Measures,
    pub(super) reserve_bytes: u64,
    pub(super) dedup_bound: Bound,
    /// As of the last batch.
    pub(super) state: State,
}

/// The batch in the making, and who is to be told what.
struct Making {
    state: State,
    events: Vec<Arc<Event>>,
    additions: Additions,
    answers: Vec<(Answer, Result<Appended, AppendError>)>,
}

impl Writer {
    /// Runs until the sender of turns is gone; blocks.
    pub(super) fn run(mut self, turns: &mpsc::Receiver<Turn>) {
        let _guard = FailOnPanic(Arc::clone(&self.live));
        while let Ok(Turn { waiting, done }) = turns.recv() {
            if self.live.failure().is_some() {
                // Dropping the requests tells those who wait.
                continue;
            }
            if let Ok(served) = self.serve(waiting) {
                // Where nobody takes it, nobody waits for an answer.
                _ = done.send(served);
            }
        }
    }

    /// An error is the journal's, which is known as failed before anybody is
    /// told: dropping the answers tells those who wait.
    fn serve(&mut self, waiting: Vec<Request>) -> Result<Served, ReadError> {
        if let Err(refusal) = self.room() {
            let refuse = |request: Request| (request.answer, Err(refusal.clone()));
            return Ok(Served {
                commit: None,
                answers: waiting.into_iter().map(refuse).collect(),
            });
        }
        let mut making = Making {
            state: self.state,
            events: Vec::with_capacity(waiting.len()),
            additions: Additions::default(),
            answers: Vec::with_capacity(waiting.len()),
        };
        let live = Arc::clone(&self.live);
        let fail = |e: &ReadError| live.fail(&e.to_string());
        for request in waiting {
            self.place(&mut making, request).inspect_err(fail)?;
        }
        let answers = std::mem::take(&mut making.answers);
        let commit = self.commit(making).inspect_err(fail)?;
        Ok(Served { commit, answers })
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
    fn place(&self, making: &mut Making, request: Request) -> Result<(), ReadError> {
        let Request {
            draft,
            dedup,
            answer,
            ..
        } = request;
        let sequence = making.state.head.next();
        let first = match dedup {
            Some(dedup) => {
                let key = keys::dedup(&draft.topic, &dedup.key);
                let until = draft.received_at.plus(dedup.window);
                let seen = Seen { sequence, until };
                making
                    .additions
                    .meet(&self.store, key, draft.received_at, seen)?
            }
            None => None,
        };
        let appended = Appended {
            sequence: first.unwrap_or(sequence),
            duplicate: first.is_some(),
        };
        if !appended.duplicate {
            making.state.head = sequence;
            making.events.push(Arc::new(draft.at(sequence)));
        }
        making.answers.push((answer, Ok(appended)));
        Ok(())
    }

    /// Makes the turn durable.
    fn commit(&mut self, making: Making) -> Result<Option<Commit>, ReadError> {
        if making.events.is_empty() {
            // Duplicates of what was durable before.
            return Ok(None);
        }
        let started = Instant::now();
        let mut state = making.state;
        let mut batch = self.store.durable_batch();
        for event in &making.events {
            let value = stored::encode(event);
            state.bytes_appended += value.len() as u64;
            batch.insert(&self.store.events, keys::sequence(event.sequence), value);
            let event_type = event.draft.event_type.as_bytes();
            for key in keys::indexes(&event.draft.topic, event.sequence) {
                batch.insert(&self.store.index, key, event_type);
            }
        }
        let (bound, now) = (&mut self.dedup_bound, self.clock.now());
        let additions = making.additions;
        additions.write(&self.store, &mut batch, &mut state, bound, now)?;
        batch.insert(&self.store.meta, keys::STATE, state.encode());
        self.store.commit(Purpose::Append, batch)?;
        self.state = state;
        self.tally.appended(state.bytes_appended);
        self.measures.commit_secs.record(started.elapsed());
        self.measures
            .commit_events
            .record(making.events.len() as f64);
        Ok(Some(making.events.into()))
    }
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
