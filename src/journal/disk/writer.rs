//! The one thread that appends: takes a turn, writes one group with one fsync.
//!
//! Refuses to write after a failure. Invariant: what it hands back to be
//! published and answered is durable.

use std::{
    sync::{Arc, mpsc},
    time::Instant,
};

use hookrill_core::{Clock, Dedup, Draft, Event, Sequence};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    dedup::{Deliveries, Entry, Print},
    group::Group,
    store::Store,
};
use crate::journal::{AppendError, Appended, Commit, CommitMetrics, ReadError, live::Live};

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
    pub(super) clock: Clock,
    pub(super) metrics: CommitMetrics,
    pub(super) reserve_bytes: u64,
    pub(super) deliveries: Deliveries,
    pub(super) group: Group,
    /// The last event that was given a place.
    pub(super) head: Sequence,
}

/// The group in the making, and who is to be told what.
struct Making {
    events: Vec<Arc<Event>>,
    /// Of each event, if it has one.
    entries: Vec<Option<Entry>>,
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
            events: Vec::with_capacity(waiting.len()),
            entries: Vec::with_capacity(waiting.len()),
            answers: Vec::with_capacity(waiting.len()),
        };
        for request in waiting {
            self.place(&mut making, request);
        }
        let answers = std::mem::take(&mut making.answers);
        let live = Arc::clone(&self.live);
        let fail = |e: &ReadError| live.fail(&e.to_string());
        let commit = self.commit(making).inspect_err(fail)?;
        Ok(Served { commit, answers })
    }

    /// Whether the disk has room. One `statvfs` takes about a microsecond and a
    /// group a hundred times as long, so there is nothing to save by asking
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
    fn place(&mut self, making: &mut Making, request: Request) {
        let Request {
            draft,
            dedup,
            answer,
            ..
        } = request;
        let sequence = self.head.next();
        let entry = dedup.map(|dedup| Entry {
            print: Print::of(dedup.within.as_ref().unwrap_or(&draft.topic), &dedup.key),
            sequence,
            until: draft.received_at.plus(dedup.window),
        });
        // What is remembered here and not written is never asked for: then the
        // journal has failed.
        let first = entry.and_then(|entry| self.deliveries.meet(entry, draft.received_at));
        let appended = Appended {
            sequence: first.unwrap_or(sequence),
            duplicate: first.is_some(),
        };
        if !appended.duplicate {
            self.head = sequence;
            making.events.push(Arc::new(draft.at(sequence)));
            making.entries.push(entry);
        }
        making.answers.push((answer, Ok(appended)));
    }

    /// Makes the turn durable.
    fn commit(&mut self, making: Making) -> Result<Option<Commit>, ReadError> {
        let Some(first) = making.events.first() else {
            // Duplicates of what was durable before.
            return Ok(None);
        };
        let started = Instant::now();
        self.group.begin(first.sequence);
        for (event, entry) in making.events.iter().zip(&making.entries) {
            let remembered = entry.map(|entry| (entry.print, entry.until));
            self.group.push(event, remembered);
        }
        let mut log = self.store.log();
        log.append(
            &self.store,
            &mut self.group,
            &making.events,
            &making.entries,
        )?;
        drop(log);
        self.deliveries.forget(self.clock.now());
        self.metrics.commit_secs.record(started.elapsed());
        self.metrics
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
