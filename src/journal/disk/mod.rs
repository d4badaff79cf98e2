//! The journal in a folder.
//!
//! A log in segments, with one group of events and one fsync per commit. A task
//! gathers appends into batches and watches their commits (`batcher.rs`,
//! `commit_watch.rs`), one thread writes them (`writer.rs`, `dedup.rs`, `log.rs`), and another one seals full segments,
//! deletes old ones and writes the high-water mark (`maintenance.rs`,
//! `seal.rs`, `retention.rs`, `high_water.rs`). Readers borrow a bounded number
//! of blocking threads (`read_pool.rs`, `page_builder.rs`, `last_n.rs`,
//! `stats.rs`). At a start `folder.rs` and `recovery/` decide whether the folder
//! is whole, `check.rs` says what of it is, and `backup.rs` copies it. The stored bytes are described in `segment.rs`, `group.rs`,
//! `index_file.rs`, `dedup_file.rs` and `checksummed_file.rs`.
//!
//! ```text
//! high-water, floor, lock
//! segments/00000000000000000001.log  .idx  .dup     sealed
//! segments/00000000000000065537.log                 written
//! ```
//!
//! Invariant: nothing here blocks an async thread on the disk.

mod arrivals;
mod backup;
mod backward;
mod batcher;
mod check;
mod checksummed_file;
mod commit_watch;
mod damage;
mod dedup;
mod dedup_file;
mod env;
mod files;
mod floor;
mod folder;
mod group;
mod high_water;
mod index;
mod index_file;
mod intact;
mod last_n;
mod lock;
mod log;
mod log_reader;
mod maintenance;
mod page_builder;
mod read_pool;
mod recovery;
mod reserve;
mod retention;
mod scan;
mod seal;
mod segment;
mod segment_set;
mod selection_iter;
mod stats;
#[cfg(test)]
mod tests;
mod wanted_types;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use hookrill_core::{Dedup, Draft, Epoch, Selection, Sequence, SteadyClock, Timestamp};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::spawn_blocking,
};
use tokio_util::task::TaskTracker;

pub use self::{
    backup::{CopyError, JournalCopy, backup},
    check::{DamageKind, JournalDamage, JournalReport, check},
};
use self::{
    commit_watch::CommitWatch,
    damage::FoundDamage,
    env::Env,
    folder::OpenedFolder,
    group::GroupBuilder,
    maintenance::Maintenance,
    read_pool::ReadPool,
    retention::Pruner,
    writer::{AppendRequest, LogWriter},
};
use super::{
    AppendError, Appended, Bounds, Commit, CommitMetrics, EventPage, EventsBefore,
    FOLLOW_BYTES_MAX, FatalError, Health, Journal, OpenError, ReadError, Retention, StoredTopics,
    StoredTopicsQuery, Usage,
    periodic::PeriodicThread,
    tail::{self, LiveTail},
};

/// The most appends that wait for the writer; further ones wait for a place.
const QUEUE_MAX: usize = 1024;
/// The most memory that waiting events take, in KiB.
const QUEUE_KIB_MAX: u32 = 64 * 1024;

/// A folder, and how to treat it.
pub(super) struct DiskSettings {
    pub(super) path: PathBuf,
    pub(super) reserve_bytes: u64,
    pub(super) commit_stall_max: Duration,
    pub(super) new_epoch: bool,
}

/// A journal in a folder.
pub(super) struct Disk {
    epoch: Epoch,
    tail: Arc<LiveTail>,
    /// `None` once closed. The batcher ends when the last sender is gone, and
    /// the writer with it.
    requests: Mutex<Option<mpsc::Sender<AppendRequest>>>,
    queue_kib: Arc<Semaphore>,
    commits: Arc<CommitWatch>,
    damage: Arc<FoundDamage>,
    reads: Arc<ReadPool>,
    /// `None` once closed. The lock makes a second `close` wait for the first.
    threads: tokio::sync::Mutex<Option<Threads>>,
}

/// Copies a backup to where a gateway is to be started, and gives it a new epoch, so that
/// no id is given out twice. `pace` is told of bytes that were copied. Blocks.
///
/// # Errors
///
/// [`CopyError`]; then nothing that was made in `to` is left.
pub fn restore(
    from: &Path,
    to: &Path,
    clock: &SteadyClock,
    pace: &mut dyn FnMut(u64),
) -> Result<JournalCopy, CopyError> {
    let report = check(from, &mut |_, _| {})?;
    if !report.is_whole() {
        let (path, events) = (from.to_owned(), report.damaged_events);
        return Err(CopyError::Damaged { path, events });
    }
    let (copy, made) = backup::copy_back(from, to, pace)?;
    let settings = DiskSettings {
        path: to.to_owned(),
        reserve_bytes: 0,
        commit_stall_max: Duration::MAX,
        new_epoch: true,
    };
    // What is to be forgotten is for the gateway to say.
    let keep_all = Bounds {
        retention: Retention {
            age: Duration::MAX,
            bytes: u64::MAX,
        },
        dedup_entries_max: 1 << 40,
    };
    let opened = folder::open(&settings, keep_all, clock, Env::real());
    if opened.is_err() {
        made.remove();
    }
    let OpenedFolder { epoch, head, .. } = opened?;
    assert_ne!(epoch, copy.epoch, "a copy has an epoch of its own");
    Ok(JournalCopy {
        epoch,
        head,
        ..copy
    })
}

/// A place in the writer's queue, and the memory for an event in it.
struct QueuePlace {
    memory: OwnedSemaphorePermit,
    permit: mpsc::OwnedPermit<AppendRequest>,
}

struct Threads {
    batcher: TaskTracker,
    writer: JoinHandle<()>,
    maintenance: PeriodicThread,
}

impl Disk {
    /// Opens the journal in a folder, and creates it if it is missing.
    pub(super) async fn open(
        settings: DiskSettings,
        bounds: Bounds,
        clock: SteadyClock,
        metrics: CommitMetrics,
    ) -> Result<Self, OpenError> {
        Self::open_in(settings, bounds, clock, metrics, Env::real()).await
    }

    /// As [`Disk::open`], in another environment.
    async fn open_in(
        settings: DiskSettings,
        bounds: Bounds,
        clock: SteadyClock,
        metrics: CommitMetrics,
        env: Env,
    ) -> Result<Self, OpenError> {
        let start = move || Self::start(&settings, bounds, clock, metrics, env);
        spawn_blocking(start)
            .await
            .map_err(OpenError::Interrupted)?
    }

    /// Opens the folder and starts the threads; blocks.
    fn start(
        settings: &DiskSettings,
        bounds: Bounds,
        clock: SteadyClock,
        metrics: CommitMetrics,
        env: Env,
    ) -> Result<Self, OpenError> {
        let OpenedFolder {
            files,
            log,
            epoch,
            head,
            floor,
            dedup,
        } = folder::open(settings, bounds, &clock, env)?;
        let tail = Arc::new(LiveTail::new(head, floor));
        let log = Arc::new(Mutex::new(log));
        let pruner = Pruner {
            files: Arc::clone(&files),
            log: Arc::clone(&log),
            tail: Arc::clone(&tail),
            clock: clock.clone(),
            retention: bounds.retention,
            dedup_entries_max: bounds.dedup_entries_max,
            oldest_remembered: dedup.oldest(),
            durable_floor: floor,
            passed: None,
        };
        let writer = LogWriter {
            files: Arc::clone(&files),
            log,
            tail: Arc::clone(&tail),
            clock,
            metrics,
            reserve_bytes: settings.reserve_bytes,
            has_room: true,
            dedup,
            group: GroupBuilder::default(),
            head,
        };
        let maintenance = Maintenance::new(Arc::clone(&files), Arc::clone(&tail), epoch, pruner);
        let (requests, waiting) = mpsc::channel(QUEUE_MAX);
        let commits = Arc::new(CommitWatch::new(settings.commit_stall_max));
        let watch = Arc::clone(&commits);
        let threads = Threads::start(waiting, writer, maintenance, watch, Arc::clone(&tail));
        let threads = threads.map_err(|source| OpenError::Io {
            path: settings.path.clone(),
            source,
        })?;
        Ok(Self {
            epoch,
            tail: Arc::clone(&tail),
            requests: Mutex::new(Some(requests)),
            queue_kib: Arc::new(Semaphore::new(QUEUE_KIB_MAX as usize)),
            commits,
            damage: Arc::clone(&files.damage),
            reads: Arc::new(ReadPool::new(files, tail)),
            threads: tokio::sync::Mutex::new(Some(threads)),
        })
    }

    /// A place in the writer's queue. While the disk hangs, nobody gets one, and
    /// whoever waits for one is told: what is refused here is not stored, and
    /// what has a place is answered as its commit turns out.
    async fn queue_place(&self, kib: u32) -> Result<QueuePlace, AppendError> {
        let stalled = || AppendError::Stalled {
            commit_age: self.commits.health().commit_age,
        };
        if self.commits.is_stalled() {
            return Err(stalled());
        }
        let requests = self.requests.lock().clone().ok_or(AppendError::Closed)?;
        if let Ok(memory) = Arc::clone(&self.queue_kib).try_acquire_many_owned(kib)
            && let Ok(permit) = requests.clone().try_reserve_owned()
        {
            return Ok(QueuePlace { memory, permit });
        }
        tokio::select! {
            biased;
            () = self.commits.stalled() => Err(stalled()),
            place = self.wait_for_queue_place(requests, kib) => place,
        }
    }

    async fn wait_for_queue_place(
        &self,
        requests: mpsc::Sender<AppendRequest>,
        kib: u32,
    ) -> Result<QueuePlace, AppendError> {
        let memory = Arc::clone(&self.queue_kib).acquire_many_owned(kib).await;
        let memory = memory.map_err(|_| AppendError::Closed)?;
        // A writer that is gone has failed.
        let permit = requests.reserve_owned().await;
        let permit = permit.map_err(|_| self.failure().unwrap_or(AppendError::Closed))?;
        Ok(QueuePlace { memory, permit })
    }

    fn failure(&self) -> Option<AppendError> {
        self.tail.failure().map(AppendError::Failed)
    }
}

impl Threads {
    fn start(
        requests: mpsc::Receiver<AppendRequest>,
        writer: LogWriter,
        maintenance: Maintenance,
        commits: Arc<CommitWatch>,
        tail: Arc<LiveTail>,
    ) -> std::io::Result<Self> {
        let (batches, waiting) = std::sync::mpsc::sync_channel(1);
        let period = maintenance.period();
        let maintenance = PeriodicThread::start(maintenance::THREAD, period, maintenance)?;
        let named = std::thread::Builder::new().name(writer::THREAD.into());
        let writer = named.spawn(move || writer.run(&waiting))?;
        let batcher = TaskTracker::new();
        batcher.spawn(batcher::run(requests, batches, commits, tail));
        batcher.close();
        Ok(Self {
            batcher,
            writer,
            maintenance,
        })
    }

    /// Ends the threads once the last request is done.
    async fn join(self) {
        self.batcher.wait().await;
        let join = move || {
            // A writer that panicked has marked the journal as failed.
            let _ = self.writer.join();
            self.maintenance.stop();
        };
        // An error would be a panic; the threads have nothing to panic about
        // that they have not told already.
        let _ = spawn_blocking(join).await;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The threads end by themselves: their channels hang up.
        self.tail.close();
    }
}

#[async_trait]
impl Journal for Disk {
    async fn append(&self, draft: Draft, dedup: Option<Dedup>) -> Result<Appended, AppendError> {
        if let Some(failed) = self.failure() {
            return Err(failed);
        }
        let kib = u32::try_from(draft.weight().div_ceil(1024)).unwrap_or(u32::MAX);
        let QueuePlace { memory, permit } = self.queue_place(kib.min(QUEUE_KIB_MAX)).await?;
        let (reply, replied) = oneshot::channel();
        // The journal is closed once the last of these senders is dropped.
        drop(permit.send(AppendRequest {
            draft,
            dedup,
            reply,
            _memory: memory,
        }));
        // A writer that drops the request has failed.
        let failed = || self.failure().unwrap_or(AppendError::Closed);
        replied.await.unwrap_or_else(|_| Err(failed()))
    }

    async fn read(
        &self,
        selection: &Selection,
        after: Sequence,
        bytes_max: usize,
    ) -> Result<EventPage, ReadError> {
        self.reads.page(selection.clone(), after, bytes_max).await
    }

    async fn read_back(
        &self,
        selection: &Selection,
        before: Sequence,
        count: usize,
        bytes_max: usize,
    ) -> Result<EventsBefore, ReadError> {
        let selection = selection.clone();
        self.reads.back(selection, before, count, bytes_max).await
    }

    async fn start_of_last_n(
        &self,
        selection: &Selection,
        count: usize,
    ) -> Result<Sequence, ReadError> {
        self.reads.start_of_last_n(selection, count).await
    }

    async fn start_of_arrivals(
        &self,
        from: Timestamp,
        now: Timestamp,
    ) -> Result<Sequence, ReadError> {
        self.reads.start_of_arrivals(from, now).await
    }

    async fn stored_topics(&self, query: StoredTopicsQuery) -> Result<StoredTopics, ReadError> {
        self.reads.stored_topics(query).await
    }

    fn follow(&self, after: Sequence) -> BoxStream<'static, Result<Commit, ReadError>> {
        let reads = Arc::clone(&self.reads);
        let read = tail::page_reader(move |position| {
            let reads = Arc::clone(&reads);
            async move { reads.follower_page(position, FOLLOW_BYTES_MAX).await }
        });
        tail::follow(Arc::clone(&self.tail), after, read)
    }

    fn head(&self) -> Sequence {
        self.tail.head()
    }

    fn floor(&self) -> Sequence {
        self.tail.floor()
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn health(&self) -> Health {
        Health {
            damaged_events: self.damage.events_above(self.tail.floor()),
            ..self.commits.health()
        }
    }

    fn usage(&self) -> Option<Usage> {
        self.reads.usage()
    }

    async fn failed(&self) -> FatalError {
        self.tail.failed().await
    }

    async fn close(&self) {
        let mut threads = self.threads.lock().await;
        let Some(running) = threads.take() else {
            return;
        };
        drop(self.requests.lock().take());
        running.join().await;
        self.tail.close();
        self.reads.close().await;
    }
}
