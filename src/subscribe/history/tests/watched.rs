//! A journal that counts its reads, for the tests of who shares them.

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use hookrill_core::{Dedup, Draft, Epoch};

use super::*;

/// A journal that counts its reads, and can hold or fail them.
pub(super) struct Watched {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) reads: AtomicUsize,
    pub(super) events_read: AtomicUsize,
    pub(super) under_way: AtomicUsize,
    pub(super) under_way_most: AtomicUsize,
    pub(super) fails: AtomicBool,
    /// A read needs a permit to go on, and keeps it not.
    pub(super) gate: Semaphore,
}

impl Watched {
    pub(super) fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    pub(super) fn open_gate(&self) {
        self.gate.add_permits(1_000_000);
    }
}

#[async_trait]
impl Journal for Watched {
    async fn append(&self, draft: Draft, dedup: Option<Dedup>) -> Result<Appended, AppendError> {
        self.journal.append(draft, dedup).await
    }

    async fn read(
        &self,
        selection: &Selection,
        after: Sequence,
        bytes_max: usize,
    ) -> Result<journal::EventPage, ReadError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.under_way_most.fetch_max(now, Ordering::SeqCst);
        let _leaves = Leaves(&self.under_way);
        self.gate.acquire().await.unwrap().forget();
        tokio::task::yield_now().await;
        if self.fails.swap(false, Ordering::SeqCst) {
            return Err(std::io::Error::other("a bad disk").into());
        }
        let page = self.journal.read(selection, after, bytes_max).await?;
        let found = page.events.len();
        self.events_read.fetch_add(found, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Ok(page)
    }

    async fn read_back(
        &self,
        selection: &Selection,
        before: Sequence,
        count: usize,
        bytes_max: usize,
    ) -> Result<journal::EventsBefore, ReadError> {
        let journal = &self.journal;
        journal.read_back(selection, before, count, bytes_max).await
    }

    async fn start_of_last_n(
        &self,
        selection: &Selection,
        count: usize,
    ) -> Result<Sequence, ReadError> {
        self.journal.start_of_last_n(selection, count).await
    }

    async fn start_of_arrivals(
        &self,
        from: Timestamp,
        now: Timestamp,
    ) -> Result<Sequence, ReadError> {
        self.journal.start_of_arrivals(from, now).await
    }

    async fn stored_topics(
        &self,
        query: journal::StoredTopicsQuery,
    ) -> Result<journal::StoredTopics, ReadError> {
        self.journal.stored_topics(query).await
    }

    fn follow(&self, after: Sequence) -> BoxStream<'static, Result<Commit, ReadError>> {
        self.journal.follow(after)
    }

    fn head(&self) -> Sequence {
        self.journal.head()
    }

    fn floor(&self) -> Sequence {
        self.journal.floor()
    }

    fn epoch(&self) -> Epoch {
        self.journal.epoch()
    }

    fn health(&self) -> Health {
        self.journal.health()
    }

    fn usage(&self) -> Option<journal::Usage> {
        self.journal.usage()
    }

    async fn failed(&self) -> journal::FatalError {
        self.journal.failed().await
    }

    async fn close(&self) {
        self.journal.close().await;
    }
}

struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
