//! Reads on blocking threads, a bounded number at a time.
//!
//! Invariant: a read holds its permit until its thread is done, even if nobody
//! waits for the result any more; so once `close` has all permits, no thread
//! uses the files.

use std::{sync::Arc, time::Duration};

use hookrill_core::{Selection, Sequence, Timestamp};
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{
    arrivals,
    backward::read_back,
    files::Files,
    index::Index,
    last_n::LastNSearch,
    page_builder::read_page,
    segment_set::{LogSegment, between},
    stats::SegmentStatsScan,
};
use crate::journal::{
    EventPage, EventsBefore, ReadError, StoredTopics, StoredTopicsQuery, Usage,
    arrivals::ArrivalAnswers,
    scarcity::{ScarcityLog, is_scarce},
    tail::LiveTail,
};

/// The most reads at a time; further ones wait.
const READS_MAX: u32 = 8;
/// The most steps of long searches at a time: one that has found nothing in its
/// first step leaves most of the reads to others.
const SEARCHES_MAX: usize = 2;
/// The most reads for followers, which are two: the pump and the count of
/// withheld events. The pump must not queue behind subscribers who catch up, or
/// nobody would get anything new.
const FOLLOWER_READS_MAX: u32 = 2;
/// How long a read tries again where the system has no descriptor for it; a
/// stream that ends then is resumed by its client.
const SCARCITY_MAX: Duration = Duration::from_secs(30);
const SCARCITY_STEP: Duration = Duration::from_millis(50);

/// The way to the files.
pub(super) struct ReadPool {
    /// `None` once closed.
    files: Mutex<Option<Arc<Files>>>,
    tail: Arc<LiveTail>,
    permits: Arc<Semaphore>,
    follower_permits: Arc<Semaphore>,
    search_permits: Semaphore,
    /// Where searches for arrivals ended.
    arrivals: Mutex<ArrivalAnswers>,
    scarcity: ScarcityLog,
}

impl ReadPool {
    pub(super) fn new(files: Arc<Files>, tail: Arc<LiveTail>) -> Self {
        Self {
            files: Mutex::new(Some(files)),
            tail,
            permits: Arc::new(Semaphore::new(READS_MAX as usize)),
            follower_permits: Arc::new(Semaphore::new(FOLLOWER_READS_MAX as usize)),
            search_permits: Semaphore::new(SEARCHES_MAX),
            arrivals: Mutex::default(),
            scarcity: ScarcityLog::default(),
        }
    }

    pub(super) async fn page(
        &self,
        selection: Selection,
        after: Sequence,
        bytes_max: usize,
    ) -> Result<EventPage, ReadError> {
        self.patiently(SCARCITY_MAX, || {
            let selection = selection.clone();
            self.read(&self.permits, move |files, tail| {
                read_page(files, tail, &selection, after, bytes_max)
            })
        })
        .await
    }

    /// The newest events before a position.
    pub(super) async fn back(
        &self,
        selection: Selection,
        before: Sequence,
        count: usize,
        bytes_max: usize,
    ) -> Result<EventsBefore, ReadError> {
        self.patiently(SCARCITY_MAX, || {
            let selection = selection.clone();
            self.read(&self.permits, move |files, tail| {
                read_back(files, tail, &selection, before, count, bytes_max)
            })
        })
        .await
    }

    /// A page of all events, for a follower.
    pub(super) async fn follower_page(
        &self,
        after: Sequence,
        bytes_max: usize,
    ) -> Result<EventPage, ReadError> {
        // Who follows has nobody to give up to: nothing would be live any more.
        self.patiently(Duration::MAX, || {
            self.read(&self.follower_permits, move |files, tail| {
                read_page(files, tail, &Selection::all(), after, bytes_max)
            })
        })
        .await
    }

    pub(super) async fn start_of_last_n(
        &self,
        selection: &Selection,
        count: usize,
    ) -> Result<Sequence, ReadError> {
        let head = self.tail.head();
        let mut search = LastNSearch::new(count, head);
        // Step by step, so that other reads and searches get their turn.
        let mut turn = None;
        loop {
            let step = || {
                let selection = selection.clone();
                self.read(&self.permits, move |files: &Files, tail: &LiveTail| {
                    let has_more = search.step(files, tail, &selection)?;
                    Ok((search, has_more))
                })
            };
            let (stepped, has_more) = self.patiently(SCARCITY_MAX, step).await?;
            if !has_more {
                return Ok(stepped.oldest.map_or(head, Sequence::previous));
            }
            search = stepped;
            // Back to the end of the queue.
            drop(turn.take());
            let next_turn = self.search_permits.acquire().await;
            turn = Some(next_turn.map_err(|_| ReadError::Closed)?);
        }
    }

    pub(super) async fn start_of_arrivals(
        &self,
        from: Timestamp,
        now: Timestamp,
    ) -> Result<Sequence, ReadError> {
        let head = self.tail.head();
        let mut search = self.arrivals.lock().search(from, now);
        // As for the newest events: many may come at once and ask for the same time.
        let mut turn = None;
        loop {
            let step = || {
                let mut search = search;
                self.read(&self.permits, move |files: &Files, tail: &LiveTail| {
                    let has_more = arrivals::step(&mut search, files, tail, head)?;
                    Ok((search, has_more))
                })
            };
            let (stepped, has_more) = self.patiently(SCARCITY_MAX, step).await?;
            if !has_more {
                self.arrivals.lock().add(&stepped, head);
                return Ok(stepped.start(head).min(head));
            }
            search = stepped;
            drop(turn.take());
            let next_turn = self.search_permits.acquire().await;
            turn = Some(next_turn.map_err(|_| ReadError::Closed)?);
        }
    }

    pub(super) async fn stored_topics(
        &self,
        query: StoredTopicsQuery,
    ) -> Result<StoredTopics, ReadError> {
        let mut scan = SegmentStatsScan::new(query, &self.tail);
        // Segment by segment, so that other reads get their turn, and nothing
        // goes on once nobody waits for the answer any more.
        loop {
            let step = move |files: &Files, tail: &LiveTail| {
                let has_more = scan.step(files, tail)?;
                Ok((scan, has_more))
            };
            let (stepped, has_more) = self.read(&self.permits, step).await?;
            if !has_more {
                return Ok(stepped.finish());
            }
            scan = stepped;
        }
    }

    /// How much there is; blocks. `None` where all reads are taken, and once closed.
    pub(super) fn usage(&self) -> Option<Usage> {
        let _permit = self.permits.try_acquire().ok()?;
        let files = self.files.lock().clone()?;
        let (floor, head) = (self.tail.floor(), self.tail.head());
        let segments = files.segments.list();
        let stored = between(&segments, floor.next(), head);
        Some(Usage {
            bytes: stored.iter().map(LogSegment::bytes).sum(),
            oldest: oldest_arrival(&files, stored, floor.next(), head),
            free_bytes: files.free_bytes().ok(),
        })
    }

    /// Reads again while the system has no descriptor or memory for it, so that
    /// a stream need not end for what passes; holds no permit meanwhile.
    pub(super) async fn patiently<T, F>(
        &self,
        wait_max: Duration,
        read: impl Fn() -> F,
    ) -> Result<T, ReadError>
    where
        F: Future<Output = Result<T, ReadError>>,
    {
        let began = Instant::now();
        loop {
            match read().await {
                Err(ReadError::Io(source)) if is_scarce(&source) && began.elapsed() < wait_max => {
                    self.scarcity.tell(&source);
                    sleep(SCARCITY_STEP).await;
                }
                done => return done,
            }
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        permits: &Arc<Semaphore>,
        read: impl FnOnce(&Files, &LiveTail) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let permit = Arc::clone(permits).acquire_owned().await;
        let permit = permit.map_err(|_| ReadError::Closed)?;
        let files = self.files.lock().clone().ok_or(ReadError::Closed)?;
        let tail = Arc::clone(&self.tail);
        let reading = spawn_blocking(move || {
            let found = read(&files, &tail);
            drop((files, permit));
            found
        });
        reading.await?
    }

    /// Waits for the reads under way, then lets go of the files.
    pub(super) async fn close(&self) {
        let all = self.permits.acquire_many(READS_MAX).await;
        let followers = self.follower_permits.acquire_many(FOLLOWER_READS_MAX).await;
        let files = self.files.lock().take();
        // Closing the files blocks.
        let closed = spawn_blocking(move || drop(files)).await;
        drop((all, followers, closed));
        self.permits.close();
        self.follower_permits.close();
    }

    /// The files, for tests that look at them.
    #[cfg(test)]
    pub(super) fn files_for_tests(&self) -> Arc<Files> {
        let files = self.files.lock();
        files.clone().expect("the journal is open")
    }
}

/// When the oldest event arrived, by its record.
fn oldest_arrival(
    files: &Files,
    stored: &[LogSegment],
    from: Sequence,
    head: Sequence,
) -> Option<Timestamp> {
    let segment = stored.first()?;
    let oldest = from.max(segment.first());
    if oldest > head {
        return None;
    }
    let look = |index: &Index| index.offset(index.ordinal(oldest));
    let offset = files.segments.with_index(segment, look).ok()?;
    files.segments.arrival(segment, offset).ok()
}
