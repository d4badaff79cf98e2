//! The journal in this process's memory.
//!
//! The same contract as on disk with a new epoch at each start; what it
//! acknowledges survives nothing. For trials, and for platforms with no disk.
//!
//! Invariant: sequences are dense, so that event `n` is at `n - floor - 1`.

mod stats;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use hookrill_core::{Clock, Dedup, Draft, Epoch, Event, Selection, Sequence, Timestamp, Topic};

use self::stats::Stocktaking;
use super::{
    AppendError, Appended, Bounds, Commit, CommitMetrics, EventPage, FOLLOW_BYTES_MAX, Journal,
    LAST_ENTRIES_MAX, OpenError, PAGE_ENTRIES_MAX, ReadError, StoredTopics, StoredTopicsQuery,
    live::{self, Live},
    ticker::{Chore, Next, Ticker},
};

/// How often old events are looked for where no append does it.
const TICK: Duration = Duration::from_secs(1);

/// A journal that forgets everything at the end of the process.
pub(super) struct Memory {
    epoch: Epoch,
    inner: Arc<Inner>,
    metrics: CommitMetrics,
    /// Ends its thread when it is dropped.
    _ticker: Ticker,
}

struct Inner {
    live: Arc<Live>,
    bounds: Bounds,
    clock: Clock,
    kept: RwLock<Kept>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Arc<Event>>,
    bytes: u64,
    dedup: HashMap<DedupKey, Seen>,
    /// Oldest first; as many as `dedup` has.
    dedup_order: VecDeque<(Sequence, DedupKey)>,
    closed: bool,
}

type DedupKey = (Topic, [u8; 32]);

struct Seen {
    sequence: Sequence,
    until: Timestamp,
}

impl Memory {
    /// An empty journal.
    pub(super) fn new(
        epoch: Epoch,
        bounds: Bounds,
        clock: Clock,
        metrics: CommitMetrics,
    ) -> Result<Self, OpenError> {
        Self::ticking(epoch, bounds, clock, metrics, TICK)
    }

    /// As [`Memory::new`], with a tick of one's own.
    pub(super) fn ticking(
        epoch: Epoch,
        bounds: Bounds,
        clock: Clock,
        metrics: CommitMetrics,
        tick: Duration,
    ) -> Result<Self, OpenError> {
        let inner = Arc::new(Inner {
            live: Arc::new(Live::new(Sequence::ZERO, Sequence::ZERO)),
            bounds,
            clock,
            kept: RwLock::default(),
        });
        let keeper = Keeper(Arc::clone(&inner));
        let ticker = Ticker::start("journal-keep", tick, keeper);
        let ticker = ticker.map_err(|source| OpenError::Io {
            path: "memory".into(),
            source,
        })?;
        Ok(Self {
            epoch,
            inner,
            metrics,
            _ticker: ticker,
        })
    }
}

/// Drops old events where no append does it.
struct Keeper(Arc<Inner>);

impl Chore for Keeper {
    fn tick(&mut self) -> Next {
        self.0.retain(&mut self.0.write());
        Next::Wait
    }

    fn end(self) {}
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.inner.live.close();
    }
}

#[async_trait]
impl Journal for Memory {
    async fn append(&self, draft: Draft, dedup: Option<Dedup>) -> Result<Appended, AppendError> {
        let appended = self.inner.append(draft, dedup)?;
        if !appended.duplicate {
            self.metrics.commit_secs.record(0.0);
            self.metrics.commit_events.record(1.0);
        }
        Ok(appended)
    }

    async fn read(
        &self,
        selection: &Selection,
        after: Sequence,
        bytes_max: usize,
    ) -> Result<EventPage, ReadError> {
        self.inner.page(selection, after, bytes_max)
    }

    async fn start_of_last_n(
        &self,
        selection: &Selection,
        count: usize,
    ) -> Result<Sequence, ReadError> {
        self.inner.start_of_last_n(selection, count)
    }

    async fn stored_topics(&self, query: StoredTopicsQuery) -> Result<StoredTopics, ReadError> {
        let mut taking = Stocktaking::new(query, &self.inner);
        loop {
            let inner = Arc::clone(&self.inner);
            // Thousands of names to compare: not on a thread that others need.
            let looking = tokio::task::spawn_blocking(move || {
                let more = taking.look(&inner)?;
                Ok::<_, ReadError>((taking, more))
            });
            let panicked = |e: tokio::task::JoinError| ReadError::Storage(e.to_string().into());
            let (looked, more) = looking.await.map_err(panicked)??;
            if !more {
                return Ok(looked.finish());
            }
            taking = looked;
        }
    }

    fn follow(&self, after: Sequence) -> BoxStream<'static, Result<Commit, ReadError>> {
        let inner = Arc::clone(&self.inner);
        let read = live::read_page(move |after| {
            std::future::ready(inner.page(&Selection::all(), after, FOLLOW_BYTES_MAX))
        });
        live::follow(Arc::clone(&self.inner.live), after, read)
    }

    fn head(&self) -> Sequence {
        self.inner.live.head()
    }

    fn floor(&self) -> Sequence {
        self.inner.live.floor()
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    async fn failed(&self) -> String {
        self.inner.live.failed().await
    }

    async fn close(&self) {
        let mut kept = self.inner.write();
        *kept = Kept {
            closed: true,
            ..Kept::default()
        };
        self.inner.live.close();
    }
}

impl Inner {
    fn append(&self, draft: Draft, dedup: Option<Dedup>) -> Result<Appended, AppendError> {
        let mut kept = self.write();
        if kept.closed {
            return Err(AppendError::Closed);
        }
        let dedup = dedup.map(|d| {
            let within = d.within.unwrap_or_else(|| draft.topic.clone());
            ((within, d.key), d.window)
        });
        if let Some(sequence) = dedup
            .as_ref()
            .and_then(|(key, _)| kept.seen(key, draft.received_at))
        {
            return Ok(Appended {
                sequence,
                duplicate: true,
            });
        }
        let sequence = self.live.head().next();
        if let Some((key, window)) = dedup {
            let until = draft.received_at.plus(window);
            kept.remember(key, Seen { sequence, until });
            kept.forget(self.bounds.dedup_entries_max, self.clock.now());
        }
        kept.bytes += draft.weight() as u64;
        let event = Arc::new(draft.at(sequence));
        kept.events.push_back(Arc::clone(&event));
        // Under the lock: commits are published in order.
        self.live.publish([event].into());
        self.retain(&mut kept);
        Ok(Appended {
            sequence,
            duplicate: false,
        })
    }

    /// Drops what is older or more than is to be kept.
    fn retain(&self, kept: &mut Kept) {
        let oldest = self.clock.now().minus(self.bounds.retention.age);
        while let Some(event) = kept.events.front() {
            let over = kept.bytes > self.bounds.retention.bytes;
            if !over && event.draft.received_at >= oldest {
                break;
            }
            kept.bytes -= event.draft.weight() as u64;
            self.live.raise_floor(event.sequence);
            kept.events.pop_front();
        }
    }

    fn page(
        &self,
        selection: &Selection,
        after: Sequence,
        bytes_max: usize,
    ) -> Result<EventPage, ReadError> {
        let kept = self.read()?;
        let (head, floor) = (self.live.head(), self.live.floor());
        let mut page = EventPage {
            events: Vec::new(),
            scanned: after.max(head),
            floor,
        };
        let start = usize::try_from(after.0.saturating_sub(floor.0)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let ahead = kept.events.range(start.min(kept.events.len())..);
        for (looked_at, event) in ahead.enumerate() {
            let wanted = selection.wants(event);
            let full =
                wanted && !page.events.is_empty() && bytes + event.draft.weight() > bytes_max;
            if full || looked_at == PAGE_ENTRIES_MAX {
                page.scanned = event.sequence.previous();
                break;
            }
            if wanted {
                bytes += event.draft.weight();
                page.events.push(Arc::clone(event));
            }
        }
        Ok(page)
    }

    fn start_of_last_n(&self, selection: &Selection, count: usize) -> Result<Sequence, ReadError> {
        let kept = self.read()?;
        let newest = kept.events.iter().rev().take(LAST_ENTRIES_MAX);
        let oldest = newest.filter(|e| selection.wants(e)).take(count).last();
        Ok(oldest.map_or(self.live.head(), |e| e.sequence.previous()))
    }

    fn read(&self) -> Result<RwLockReadGuard<'_, Kept>, ReadError> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        if kept.closed {
            return Err(ReadError::Closed);
        }
        Ok(kept)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn seen(&self, key: &DedupKey, at: Timestamp) -> Option<Sequence> {
        let seen = self.dedup.get(key)?;
        (at < seen.until).then_some(seen.sequence)
    }

    fn remember(&mut self, key: DedupKey, seen: Seen) {
        self.dedup_order.push_back((seen.sequence, key.clone()));
        if let Some(replaced) = self.dedup.insert(key, seen) {
            let place = self
                .dedup_order
                .binary_search_by_key(&replaced.sequence, |(sequence, _)| *sequence);
            if let Ok(place) = place {
                self.dedup_order.remove(place);
            }
        }
    }

    /// Forgets the oldest entries: those beyond the maximum, and the expired
    /// ones at the front.
    fn forget(&mut self, entries_max: u64, now: Timestamp) {
        while let Some((_, key)) = self.dedup_order.front() {
            let over = self.dedup_order.len() as u64 > entries_max;
            let expired = self.dedup.get(key).is_none_or(|seen| seen.until <= now);
            if !over && !expired {
                break;
            }
            self.dedup.remove(key);
            self.dedup_order.pop_front();
        }
    }
}
