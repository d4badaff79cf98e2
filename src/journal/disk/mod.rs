//! The journal in a folder.
//!
//! A log in segments, one group of events and one fsync per commit. A task
//! gathers what wants to be stored (`gather.rs`), one thread writes it
//! (`writer.rs`, `dedup.rs`, `log.rs`), one seals full segments, deletes old
//! ones and keeps the high-water mark (`keeper.rs`, `seal.rs`, `retention.rs`,
//! `high_water.rs`), readers borrow a bounded number of blocking threads
//! (`reader.rs`, `pages.rs`, `newest.rs`, `stats.rs`). `folder.rs` and `recover.rs` decide
//! at start whether the folder is whole. The stored bytes are in `segment.rs`, `group.rs`,
//! `index_file.rs`, `dedup_file.rs` and `note.rs`.
//!
//! ```text
//! high-water, floor, lock
//! segments/00000000000000000001.log  .idx  .dup     sealed
//! segments/00000000000000065537.log                 written
//! ```
//!
//! Invariant: nothing here blocks an async thread on the disk.

mod dedup;
mod dedup_file;
mod floor;
mod folder;
mod found;
mod gather;
mod group;
mod high_water;
mod index;
mod index_file;
mod keeper;
mod lock;
mod log;
mod newest;
mod note;
mod pages;
mod reader;
mod recover;
mod remembered;
mod retention;
mod salvage;
mod scan;
mod seal;
mod segment;
mod shelf;
mod stats;
mod store;
#[cfg(test)]
mod tests;
mod walk;
mod writer;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use hookrill_core::{Clock, Dedup, Draft, Epoch, Selection, Sequence};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use self::{
    folder::Opened,
    gather::gather,
    group::Group,
    keeper::Keeper,
    reader::Reader,
    retention::Retainer,
    store::Outside,
    writer::{Request, Writer},
};
use super::{
    AppendError, Appended, Bounds, Commit, CommitMetrics, EventPage, FOLLOW_BYTES_MAX, Journal,
    OpenError, ReadError, StoredTopics, StoredTopicsQuery,
    live::{self, Live},
    ticker::Ticker,
};

/// The most appends that wait for the writer; further ones wait for a place.
const QUEUE_MAX: usize = 1024;
/// The most memory that waiting events take, in KiB.
const QUEUE_KIB_MAX: u32 = 64 * 1024;
/// A folder, and how to treat it.
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) reserve_bytes: u64,
    pub(super) new_epoch: bool,
}

/// A journal in a folder.
pub(super) struct Disk {
    epoch: Epoch,
    live: Arc<Live>,
    /// `None` once closed. The writing ends when the last sender is gone.
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    queue_kib: Arc<Semaphore>,
    reader: Arc<Reader>,
    /// `None` once closed. The lock makes a second `close` wait for the first.
    threads: tokio::sync::Mutex<Option<Threads>>,
}

struct Threads {
    gathering: TaskTracker,
    writer: JoinHandle<()>,
    keeper: Ticker,
}

impl Disk {
    /// Opens the journal in a folder, making it where there is none.
    pub(super) async fn open(
        place: Place,
        bounds: Bounds,
        clock: Clock,
        metrics: CommitMetrics,
    ) -> Result<Self, OpenError> {
        Self::open_with(place, bounds, clock, metrics, Outside::real()).await
    }

    /// As [`Disk::open`], in a world of one's own.
    async fn open_with(
        place: Place,
        bounds: Bounds,
        clock: Clock,
        metrics: CommitMetrics,
        outside: Outside,
    ) -> Result<Self, OpenError> {
        let path = place.path.clone();
        let opening = move || Self::start(&place, bounds, clock, metrics, outside);
        match tokio::task::spawn_blocking(opening).await {
            Ok(opened) => opened,
            Err(e) => Err(OpenError::Storage {
                path,
                reason: e.to_string(),
            }),
        }
    }

    /// Opens, decides whether to believe, and starts the threads; blocks.
    fn start(
        place: &Place,
        bounds: Bounds,
        clock: Clock,
        metrics: CommitMetrics,
        outside: Outside,
    ) -> Result<Self, OpenError> {
        let Opened {
            store,
            epoch,
            head,
            floor,
            deliveries,
        } = folder::open(place, bounds, clock.now(), outside)?;
        let live = Arc::new(Live::new(head, floor));
        let retainer = Retainer {
            store: Arc::clone(&store),
            live: Arc::clone(&live),
            clock: clock.clone(),
            retention: bounds.retention,
            oldest_remembered: deliveries.oldest(),
            durable: floor,
        };
        let writer = Writer {
            store: Arc::clone(&store),
            live: Arc::clone(&live),
            clock,
            metrics,
            reserve_bytes: place.reserve_bytes,
            deliveries,
            group: Group::default(),
            head,
        };
        let (requests, waiting) = mpsc::channel(QUEUE_MAX);
        let (turns, gathered) = std::sync::mpsc::sync_channel(1);
        let thread_error = |source| OpenError::Io {
            path: place.path.clone(),
            source,
        };
        let keeper = Keeper::new(Arc::clone(&store), Arc::clone(&live), epoch, retainer);
        let tick = store.outside.tick;
        let keeper = Ticker::start("journal-keep", tick, keeper).map_err(thread_error)?;
        let named = std::thread::Builder::new().name("journal-write".into());
        let writer = named
            .spawn(move || writer.run(&gathered))
            .map_err(thread_error)?;
        let gathering = TaskTracker::new();
        gathering.spawn(gather(waiting, turns, Arc::clone(&live)));
        gathering.close();
        Ok(Self {
            epoch,
            live: Arc::clone(&live),
            requests: Mutex::new(Some(requests)),
            queue_kib: Arc::new(Semaphore::new(QUEUE_KIB_MAX as usize)),
            reader: Arc::new(Reader::new(store, live)),
            threads: tokio::sync::Mutex::new(Some(Threads {
                gathering,
                writer,
                keeper,
            })),
        })
    }

    fn failure(&self) -> Option<AppendError> {
        self.live.failure().map(AppendError::Failed)
    }

    fn sender(&self) -> Option<mpsc::Sender<Request>> {
        let requests = self.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The threads end by themselves: their channels hang up.
        self.live.close();
    }
}

#[async_trait]
impl Journal for Disk {
    async fn append(&self, draft: Draft, dedup: Option<Dedup>) -> Result<Appended, AppendError> {
        if let Some(failed) = self.failure() {
            return Err(failed);
        }
        let kib = u32::try_from(draft.weight().div_ceil(1024)).unwrap_or(u32::MAX);
        let queue = Arc::clone(&self.queue_kib);
        let share = queue.acquire_many_owned(kib.min(QUEUE_KIB_MAX)).await;
        let (answer, answered) = oneshot::channel();
        let request = Request {
            draft,
            dedup,
            answer,
            _share: share.map_err(|_| AppendError::Closed)?,
        };
        let requests = self.sender().ok_or(AppendError::Closed)?;
        // A writer that is gone, or drops the request, has failed.
        let failed = || self.failure().unwrap_or(AppendError::Closed);
        requests.send(request).await.map_err(|_| failed())?;
        drop(requests);
        answered.await.unwrap_or_else(|_| Err(failed()))
    }

    async fn read(
        &self,
        selection: &Selection,
        after: Sequence,
        bytes_max: usize,
    ) -> Result<EventPage, ReadError> {
        self.reader.page(selection.clone(), after, bytes_max).await
    }

    async fn start_of_last_n(
        &self,
        selection: &Selection,
        count: usize,
    ) -> Result<Sequence, ReadError> {
        self.reader.start_of_last_n(selection, count).await
    }

    async fn stored_topics(&self, query: StoredTopicsQuery) -> Result<StoredTopics, ReadError> {
        self.reader.stored_topics(query).await
    }

    fn follow(&self, after: Sequence) -> BoxStream<'static, Result<Commit, ReadError>> {
        let reader = Arc::clone(&self.reader);
        let read = live::read_page(move |after| {
            let reader = Arc::clone(&reader);
            async move { reader.follow(after, FOLLOW_BYTES_MAX).await }
        });
        live::follow(Arc::clone(&self.live), after, read)
    }

    fn head(&self) -> Sequence {
        self.live.head()
    }

    fn floor(&self) -> Sequence {
        self.live.floor()
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    async fn failed(&self) -> String {
        self.live.failed().await
    }

    async fn close(&self) {
        let mut threads = self.threads.lock().await;
        let Some(Threads {
            gathering,
            writer,
            keeper,
        }) = threads.take()
        else {
            return;
        };
        let requests = self.requests.lock();
        drop(requests.unwrap_or_else(PoisonError::into_inner).take());
        gathering.wait().await;
        let join = move || {
            // A writer that panicked has marked the journal as failed.
            let _ = writer.join();
            keeper.stop();
        };
        // An error would be a panic; the threads have nothing to panic about
        // that they have not said already.
        let _ = tokio::task::spawn_blocking(join).await;
        self.live.close();
        self.reader.close().await;
    }
}
