//! The one thread that appends: takes a batch, writes one group with one
//! fsync.
//!
//! Refuses to write after a failure. Invariant: the events in its results are
//! durable, so they can be published and answered.

use std::{
    io,
    sync::{Arc, mpsc},
    time::Instant,
};

use hookrill_core::{Dedup, Draft, Event, Sequence, SteadyClock, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    dedup::{DedupEntry, DedupIndex, Fingerprint},
    files::Files,
    group::GroupBuilder,
    log::Log,
};
use crate::journal::{
    AppendError, Appended, Commit, CommitMetrics, FatalError,
    scarcity::is_temporary,
    tail::{FailOnPanic, LiveTail},
};

/// The thread's name.
pub(super) const THREAD: &str = "journal-write";

/// An event that is to be stored.
pub(super) struct AppendRequest {
    pub(super) draft: Draft,
    pub(super) dedup: Option<Dedup>,
    /// Dropped without an answer if the journal has failed.
    pub(super) reply: AppendReply,
    /// Its share of the memory for waiting events.
    pub(super) _memory: OwnedSemaphorePermit,
}

type AppendReply = oneshot::Sender<Result<Appended, AppendError>>;

/// Events that are to become durable together.
pub(super) struct AppendBatch {
    pub(super) requests: Vec<AppendRequest>,
    /// Dropped if the journal has failed.
    pub(super) done: oneshot::Sender<BatchResult>,
}

/// What became of a batch.
#[derive(Default)]
pub(super) struct BatchResult {
    /// What is durable now; `None` if all were duplicates, or refused.
    pub(super) commit: Option<Commit>,
    /// To be sent once the commit is published.
    pub(super) replies: Vec<(AppendReply, Result<Appended, AppendError>)>,
}

impl BatchResult {
    /// Nothing of the batch is stored, for one reason.
    fn refused(requests: Vec<AppendRequest>, refusal: &AppendError) -> Self {
        let refuse = |request: AppendRequest| (request.reply, Err(refusal.clone()));
        Self {
            commit: None,
            replies: requests.into_iter().map(refuse).collect(),
        }
    }
}

/// What the thread has.
pub(super) struct LogWriter {
    pub(super) files: Arc<Files>,
    pub(super) log: Arc<Mutex<Log>>,
    pub(super) tail: Arc<LiveTail>,
    pub(super) clock: SteadyClock,
    pub(super) metrics: CommitMetrics,
    pub(super) reserve_bytes: u64,
    /// Whether the disk had room for the last batch.
    pub(super) has_room: bool,
    pub(super) dedup: DedupIndex,
    pub(super) group: GroupBuilder,
    /// The last sequence that was assigned.
    pub(super) head: Sequence,
}

/// A commit that is being put together, and the replies to its requests.
struct CommitBuilder {
    events: Vec<Arc<Event>>,
    /// The dedup entry of each event, if it has one.
    entries: Vec<Option<DedupEntry>>,
    replies: Vec<(AppendReply, Result<Appended, AppendError>)>,
}

impl LogWriter {
    /// Runs until the sender of batches is gone; blocks.
    pub(super) fn run(mut self, batches: &mpsc::Receiver<AppendBatch>) {
        let _guard = FailOnPanic {
            tail: Arc::clone(&self.tail),
            thread: THREAD,
        };
        while let Ok(AppendBatch { requests, done }) = batches.recv() {
            if self.tail.failure().is_some() {
                // Dropping the requests tells whoever waits for them.
                continue;
            }
            if let Some(result) = self.process(requests) {
                // If nobody takes it, nobody waits for a reply.
                _ = done.send(result);
            }
        }
    }

    /// Stores what is new in a batch; `None` if a write failed. The journal is
    /// marked as failed before anybody is told: dropping the replies tells
    /// whoever waits for them.
    fn process(&mut self, requests: Vec<AppendRequest>) -> Option<BatchResult> {
        match self.make_room(&requests) {
            Ok(()) => self.tell_room(true),
            Err(AppendError::Failed(reason)) => {
                self.tail.fail(reason);
                return None;
            }
            Err(refusal) => return Some(BatchResult::refused(requests, &refusal)),
        }
        let mut commit = CommitBuilder {
            events: Vec::with_capacity(requests.len()),
            entries: Vec::with_capacity(requests.len()),
            replies: Vec::with_capacity(requests.len()),
        };
        let now = self.clock.now();
        for request in requests {
            self.add(&mut commit, request, now);
        }
        let replies = std::mem::take(&mut commit.replies);
        match self.write(commit) {
            Ok(commit) => Some(BatchResult { commit, replies }),
            Err(e) => {
                self.tail.fail(FatalError::Write(Arc::new(e)));
                None
            }
        }
    }

    /// Makes room for a batch, before anything of it is decided.
    fn make_room(&mut self, requests: &[AppendRequest]) -> Result<(), AppendError> {
        if let Err(refusal) = self.check_free_bytes() {
            self.tell_room(false);
            return Err(refusal);
        }
        let bytes: usize = requests.iter().map(|r| r.draft.weight()).sum();
        self.log.lock().roll_if_full(bytes as u64).map_err(|e| {
            let (is_temporary, source) = (is_temporary(&e), Arc::new(e));
            if !is_temporary {
                return AppendError::Failed(FatalError::Write(source));
            }
            self.files.scarcity.tell(&source);
            AppendError::Scarce(source)
        })
    }

    /// Logs when the room on the disk ends, and when there is some again.
    fn tell_room(&mut self, has_room: bool) {
        if has_room == self.has_room {
            return;
        }
        self.has_room = has_room;
        if has_room {
            tracing::info!("the journal's disk has room again");
        } else {
            let reserve_bytes = self.reserve_bytes;
            tracing::error!(
                reserve_bytes,
                "the journal's disk has less room than journal.disk_reserve: deliveries get 503 \
                 until there is more"
            );
        }
    }

    /// Whether the disk has room. One `statvfs` takes about a microsecond and a
    /// group a hundred times as long, so asking less often would save nothing.
    fn check_free_bytes(&self) -> Result<(), AppendError> {
        // A disk that can't tell has none.
        let free_bytes = self.files.free_bytes().unwrap_or(0);
        if free_bytes >= self.reserve_bytes {
            return Ok(());
        }
        Err(AppendError::NoRoom {
            free_bytes,
            reserve_bytes: self.reserve_bytes,
        })
    }

    /// Gives an event its sequence, or finds that it is a duplicate.
    fn add(&mut self, commit: &mut CommitBuilder, request: AppendRequest, now: Timestamp) {
        let AppendRequest {
            draft,
            dedup,
            reply,
            ..
        } = request;
        let sequence = self.head.next();
        // Of two clocks that differ, the one that remembers for longer.
        let entry = dedup.map(|dedup| DedupEntry {
            fingerprint: Fingerprint::new(&draft.topic, &dedup),
            sequence,
            until: now.max(draft.received_at).plus(dedup.window),
        });
        // An entry whose event then can't be written does no harm: the journal
        // has failed, and nobody asks again.
        let arrived = now.min(draft.received_at);
        let first = entry.and_then(|entry| self.dedup.check_and_insert(entry, arrived));
        let appended = Appended {
            sequence: first.unwrap_or(sequence),
            duplicate: first.is_some(),
        };
        if !appended.duplicate {
            self.head = sequence;
            commit.events.push(Arc::new(draft.at(sequence)));
            commit.entries.push(entry);
        }
        commit.replies.push((reply, Ok(appended)));
    }

    /// Makes a commit durable.
    fn write(&mut self, commit: CommitBuilder) -> io::Result<Option<Commit>> {
        let CommitBuilder {
            events, entries, ..
        } = commit;
        let Some(first) = events.first() else {
            // Only duplicates of what is durable already.
            return Ok(None);
        };
        let started = Instant::now();
        self.group.start(first.sequence);
        for (event, entry) in events.iter().zip(&entries) {
            let stamp = entry.map(|entry| (entry.fingerprint, entry.until));
            self.group.push(event, stamp);
        }
        (self.log.lock()).append(&mut self.group, &events, &entries)?;
        self.dedup.remove_expired(self.clock.now());
        self.metrics.commit_secs.record(started.elapsed());
        self.metrics.commit_events.record(events.len() as f64);
        Ok(Some(events.into()))
    }
}
