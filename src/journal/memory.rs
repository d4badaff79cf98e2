//! The journal in this process's memory.
//!
//! The same contract as on disk, with a new epoch at each start; nothing
//! survives the process. For trials, and for platforms that have no disk.
//!
//! Invariant: sequences are dense, so that event `n` is at `n - floor - 1`.

mod dedup;
mod matcher;
mod stats;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use hookrill_core::{Dedup, Draft, Epoch, Event, Selection, Sequence, SteadyClock, Timestamp};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use self::{
    dedup::{DedupKey, MemoryDedup},
    matcher::Matcher,
    stats::MemoryStatsScan,
};
use super::{
    AppendError, Appended, Bounds, Commit, CommitMetrics, EventPage, EventsBefore,
    FOLLOW_BYTES_MAX, FatalError, Health, Journal, LAST_ENTRIES_MAX, OpenError, PAGE_ENTRIES_MAX,
    ReadError, StoredTopics, StoredTopicsQuery, Usage,
    arrivals::{ArrivalAnswers, ArrivalSearch},
    dedup_shares::SectionHash,
    periodic::{NextRun, PeriodicTask, PeriodicThread},
    tail::{self, FailOnPanic, LiveTail},
};

/// How often old events are looked for while nothing is appended.
const RETENTION_PERIOD: Duration = Duration::from_secs(1);
const RETENTION_THREAD: &str = "journal-keep";

/// A journal that forgets everything at the end of the process.
pub(super) struct Memory {
    epoch: Epoch,
    log: Arc<MemoryLog>,
    metrics: CommitMetrics,
    /// Ends its thread when it is dropped.
    _retention: PeriodicThread,
}

struct MemoryLog {
    tail: Arc<LiveTail>,
    bounds: Bounds,
    clock: SteadyClock,
    state: RwLock<MemoryState>,
    /// Where searches for arrivals ended.
    arrivals: Mutex<ArrivalAnswers>,
}

#[derive(Default)]
struct MemoryState {
    events: VecDeque<Arc<Event>>,
    /// What the events weigh.
    bytes: u64,
    dedup: MemoryDedup,
    is_closed: bool,
}

/// A search under way for the newest events of a selection.
struct MemoryLastN {
    /// How many are still to be found.
    wanted: usize,
    /// The oldest event found.
    oldest: Option<Sequence>,
    /// Only events up to here are still to be looked at.
    up_to: Sequence,
    /// How many were looked at.
    looked_at: usize,
}

impl Memory {
    /// An empty journal.
    pub(super) fn new(
        epoch: Epoch,
        bounds: Bounds,
        clock: SteadyClock,
        metrics: CommitMetrics,
    ) -> Result<Self, OpenError> {
        Self::with_period(epoch, bounds, clock, metrics, RETENTION_PERIOD)
    }

    /// As [`Memory::new`], with another period for retention.
    pub(super) fn with_period(
        epoch: Epoch,
        bounds: Bounds,
        clock: SteadyClock,
        metrics: CommitMetrics,
        period: Duration,
    ) -> Result<Self, OpenError> {
        let log = Arc::new(MemoryLog {
            tail: Arc::new(LiveTail::new(Sequence::ZERO, Sequence::ZERO)),
            bounds,
            clock,
            state: RwLock::default(),
            arrivals: Mutex::default(),
        });
        let task = RetentionTask {
            log: Arc::clone(&log),
            _guard: FailOnPanic {
                tail: Arc::clone(&log.tail),
                thread: RETENTION_THREAD,
            },
        };
        let retention = PeriodicThread::start(RETENTION_THREAD, period, task);
        let retention = retention.map_err(|source| OpenError::Io {
            path: "memory".into(),
            source,
        })?;
        Ok(Self {
            epoch,
            log,
            metrics,
            _retention: retention,
        })
    }
}

/// Deletes old events while nothing is appended.
struct RetentionTask {
    log: Arc<MemoryLog>,
    _guard: FailOnPanic,
}

impl PeriodicTask for RetentionTask {
    fn run(&mut self) -> NextRun {
        let state = &mut self.log.state.write();
        self.log.delete_old(state);
        self.log.delete_behind_wrong_stamps(state);
        NextRun::NextPeriod
    }

    fn finish(self) {}
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.log.tail.close();
    }
}

#[async_trait]
impl Journal for Memory {
    async fn append(&self, draft: Draft, dedup: Option<Dedup>) -> Result<Appended, AppendError> {
        let appended = self.log.append(draft, dedup)?;
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
        self.log.page(selection, after, bytes_max)
    }

    async fn read_back(
        &self,
        selection: &Selection,
        before: Sequence,
        count: usize,
        bytes_max: usize,
    ) -> Result<EventsBefore, ReadError> {
        self.log.read_back(selection, before, count, bytes_max)
    }

    async fn start_of_last_n(
        &self,
        selection: &Selection,
        count: usize,
    ) -> Result<Sequence, ReadError> {
        let head = self.head();
        let mut search = MemoryLastN {
            wanted: count,
            oldest: None,
            up_to: head,
            looked_at: 0,
        };
        // Step by step, so that others get their turn.
        while self
            .log
            .search_last_n(&Matcher::new(selection), &mut search)?
        {
            tokio::task::yield_now().await;
        }
        Ok(search.oldest.map_or(head, Sequence::previous))
    }

    async fn start_of_arrivals(
        &self,
        from: Timestamp,
        now: Timestamp,
    ) -> Result<Sequence, ReadError> {
        let head = self.head();
        let mut search = self.log.arrivals.lock().search(from, now);
        while self.log.search_arrivals(&mut search, head)? {
            tokio::task::yield_now().await;
        }
        self.log.arrivals.lock().add(&search, head);
        Ok(search.start(head))
    }

    async fn stored_topics(&self, query: StoredTopicsQuery) -> Result<StoredTopics, ReadError> {
        let mut scan = MemoryStatsScan::new(query, &self.log);
        loop {
            let log = Arc::clone(&self.log);
            // Thousands of names to compare: not on a thread that others need.
            let step = tokio::task::spawn_blocking(move || {
                let has_more = scan.step(&log)?;
                Ok::<_, ReadError>((scan, has_more))
            });
            let (stepped, has_more) = step.await??;
            if !has_more {
                return Ok(stepped.finish());
            }
            scan = stepped;
        }
    }

    fn follow(&self, after: Sequence) -> BoxStream<'static, Result<Commit, ReadError>> {
        let log = Arc::clone(&self.log);
        let read = tail::page_reader(move |position| {
            std::future::ready(log.page(&Selection::all(), position, FOLLOW_BYTES_MAX))
        });
        tail::follow(Arc::clone(&self.log.tail), after, read)
    }

    fn head(&self) -> Sequence {
        self.log.tail.head()
    }

    fn floor(&self) -> Sequence {
        self.log.tail.floor()
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn health(&self) -> Health {
        Health::default()
    }

    fn usage(&self) -> Option<Usage> {
        let state = self.log.state.read();
        Some(Usage {
            bytes: state.bytes,
            oldest: state.events.front().map(|event| event.draft.received_at),
            free_bytes: None,
        })
    }

    async fn failed(&self) -> FatalError {
        self.log.tail.failed().await
    }

    async fn close(&self) {
        let mut state = self.log.state.write();
        *state = MemoryState {
            is_closed: true,
            ..MemoryState::default()
        };
        self.log.tail.close();
    }
}

impl MemoryLog {
    fn append(&self, draft: Draft, dedup: Option<Dedup>) -> Result<Appended, AppendError> {
        let mut state = self.state.write();
        if state.is_closed {
            return Err(AppendError::Closed);
        }
        // Of two clocks that differ, the one that remembers for longer.
        let now = self.clock.now();
        let dedup = dedup.map(|dedup| (DedupKey::new(&draft.topic, &dedup), dedup));
        if let Some((key, _)) = &dedup
            && let Some(sequence) = state.dedup.first_seen(key, now.min(draft.received_at))
        {
            return Ok(Appended {
                sequence,
                duplicate: true,
            });
        }
        let sequence = self.tail.head().next();
        if let Some((key, dedup)) = dedup {
            let until = now.max(draft.received_at).plus(dedup.window);
            let section = SectionHash::new(dedup.section.as_ref());
            let entries_max = usize::try_from(self.bounds.dedup_entries_max).unwrap_or(usize::MAX);
            state.dedup.remove_expired(now);
            let remembered = &mut state.dedup;
            remembered.remember(key, section, sequence, until, entries_max);
        }
        state.bytes += draft.weight() as u64;
        let event = Arc::new(draft.at(sequence));
        state.events.push_back(Arc::clone(&event));
        // Under the lock: commits are published in order.
        self.tail.publish([event].into());
        self.delete_old(&mut state);
        Ok(Appended {
            sequence,
            duplicate: false,
        })
    }

    /// Deletes what is older or more than is to be kept.
    fn delete_old(&self, state: &mut MemoryState) {
        let oldest = self.clock.now().minus(self.bounds.retention.age);
        while let Some(event) = state.events.front() {
            let is_over = state.bytes > self.bounds.retention.bytes;
            if !is_over && event.draft.received_at >= oldest {
                break;
            }
            self.delete_first(state);
        }
        self.debug_assert_dense(state);
    }

    /// Deletes events at the front that are stamped with a time that has not come yet,
    /// with the next one that is old enough.
    fn delete_behind_wrong_stamps(&self, state: &mut MemoryState) {
        let oldest = self.clock.now().minus(self.bounds.retention.age);
        let latest = self.clock.latest();
        let stamps = state.events.iter().map(|event| event.draft.received_at);
        let front = stamps.take_while(|&stamp| stamp < oldest || stamp > latest);
        let last_old = front
            .enumerate()
            .filter_map(|(at, stamp)| (stamp < oldest).then_some(at))
            .last();
        for _ in 0..last_old.map_or(0, |at| at + 1) {
            self.delete_first(state);
        }
        self.debug_assert_dense(state);
    }

    fn delete_first(&self, state: &mut MemoryState) {
        let Some(event) = state.events.pop_front() else {
            return;
        };
        let weight = event.draft.weight() as u64;
        assert!(weight <= state.bytes, "events weigh what was added");
        state.bytes -= weight;
        self.tail.raise_floor(event.sequence);
    }

    fn debug_assert_dense(&self, state: &MemoryState) {
        let expected = self.tail.head().0 - self.tail.floor().0;
        debug_assert!(state.is_closed || state.events.len() as u64 == expected);
    }

    fn page(
        &self,
        selection: &Selection,
        after: Sequence,
        bytes_max: usize,
    ) -> Result<EventPage, ReadError> {
        let state = self.open_state()?;
        let (head, floor) = (self.tail.head(), self.tail.floor());
        let mut page = EventPage {
            events: Vec::new(),
            scanned: after.max(head),
            floor,
            is_damaged: false,
        };
        let matcher = Matcher::new(selection);
        let mut bytes = 0;
        for (looked_at, event) in state.events_after(after, floor).enumerate() {
            let is_wanted = matcher.wants(event);
            let is_full =
                is_wanted && !page.events.is_empty() && bytes + event.draft.weight() > bytes_max;
            if is_full || looked_at == PAGE_ENTRIES_MAX {
                page.scanned = event.sequence.previous();
                break;
            }
            if is_wanted {
                bytes += event.draft.weight();
                page.events.push(Arc::clone(event));
            }
        }
        Ok(page)
    }

    fn read_back(
        &self,
        selection: &Selection,
        before: Sequence,
        count: usize,
        bytes_max: usize,
    ) -> Result<EventsBefore, ReadError> {
        let state = self.open_state()?;
        let floor = self.tail.floor();
        let older = before.previous().0.saturating_sub(floor.0);
        let older = usize::try_from(older).unwrap_or(usize::MAX);
        let older = state.events.range(..older.min(state.events.len()));
        let matcher = Matcher::new(selection);
        let mut found = EventsBefore {
            events: Vec::new(),
            from: floor.next(),
        };
        let mut bytes = 0;
        for (looked_at, event) in older.rev().enumerate() {
            let is_full = found.events.len() >= count
                || (bytes > bytes_max && !found.events.is_empty())
                || looked_at == PAGE_ENTRIES_MAX;
            if is_full {
                found.from = event.sequence.next();
                break;
            }
            if matcher.wants(event) {
                bytes += event.draft.weight();
                found.events.push(Arc::clone(event));
            }
        }
        Ok(found)
    }

    /// Looks at the next events towards the oldest; returns whether there may be
    /// more to find.
    fn search_last_n(
        &self,
        matcher: &Matcher<'_>,
        search: &mut MemoryLastN,
    ) -> Result<bool, ReadError> {
        let state = self.open_state()?;
        let floor = self.tail.floor();
        let count = usize::try_from(search.up_to.0.saturating_sub(floor.0)).unwrap_or(usize::MAX);
        let older = state.events.range(..count.min(state.events.len()));
        for event in older.rev().take(PAGE_ENTRIES_MAX) {
            if search.wanted == 0 || search.looked_at == LAST_ENTRIES_MAX {
                return Ok(false);
            }
            search.looked_at += 1;
            search.up_to = event.sequence.previous();
            if matcher.wants(event) {
                search.oldest = Some(event.sequence);
                search.wanted -= 1;
            }
        }
        Ok(search.wanted > 0 && search.up_to > floor)
    }

    /// Looks at the next events up to `head`; returns whether there may be more to find.
    fn search_arrivals(
        &self,
        search: &mut ArrivalSearch,
        head: Sequence,
    ) -> Result<bool, ReadError> {
        let state = self.open_state()?;
        let floor = self.tail.floor();
        search.position = search.position.max(floor);
        let events = state.events_after(search.position, floor);
        for event in events.take(PAGE_ENTRIES_MAX) {
            if event.sequence > head
                || search.look_at(event.sequence, Some(event.draft.received_at))
            {
                return Ok(false);
            }
        }
        Ok(search.position < head)
    }

    fn open_state(&self) -> Result<RwLockReadGuard<'_, MemoryState>, ReadError> {
        let state = self.state.read();
        if state.is_closed {
            return Err(ReadError::Closed);
        }
        Ok(state)
    }
}

impl MemoryState {
    /// The events after a position, by the journal's floor.
    fn events_after(
        &self,
        after: Sequence,
        floor: Sequence,
    ) -> impl Iterator<Item = &Arc<Event>> + use<'_> {
        let skipped = usize::try_from(after.0.saturating_sub(floor.0)).unwrap_or(usize::MAX);
        let events = self.events.range(skipped.min(self.events.len())..);
        let first = events.clone().next();
        debug_assert!(first.is_none_or(|e| e.sequence == after.max(floor).next()));
        events
    }
}
