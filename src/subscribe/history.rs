//! Pages of older events, read once and shared by all who catch up.
//!
//! Ten thousand clients that reconnect after a deploy ask for the same stretch of
//! the journal from ten thousand positions in it. So pages begin and end at fixed
//! blocks, all that ask for one at the same time wait for one read, and the newest
//! pages are kept, within a bound. A page belongs to its topics and types and where
//! it begins, never to a request: frames encode themselves per form.
//!
//! A page of certain types has those alone: the journal's index knows types, and a
//! type that few events have must not make anybody read all the others. A reader
//! that was given a page without events is searching; searches wait for one another
//! and leave most of the reads to readers that have found something.
//!
//! Refuses to read more pages at a time than its budget; readers wait for it.
//! Invariant: a page has every event of its selection from where it begins to where
//! it was scanned, in order, except those up to `floor` that retention deleted, and
//! those that a page says are damaged.

mod page_cache;

use std::sync::Arc;

use hookrill_core::{Selection, Sequence};
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore};

use crate::{
    hub::Hub,
    journal::{self, Journal, ReadError},
    telemetry::Telemetry,
    wire::{Encoder, Frame},
};
use page_cache::{JoinPolicy, Lookup, PageCache};

/// Pages begin at multiples of so many positions, so that readers at nearby
/// cursors share them. Small compared to a page, or a reader would be given much
/// that it has.
const BLOCK: u64 = 16;

/// How much is read and kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// The most bytes of pages that are kept for those to come.
    pub(super) cache_bytes_max: usize,
    /// About how many bytes of events a page has; one event, if it is larger.
    pub(super) page_bytes_max: usize,
    /// The most pages that are being read at a time.
    pub(super) reads_max: usize,
    /// The most of these for readers that are searching.
    pub(super) searches_max: usize,
}

/// Older events, in pages that all readers share.
pub(super) struct History {
    journal: Arc<dyn Journal>,
    /// Knows how frames are encoded.
    hub: Arc<Hub>,
    /// Held for bookkeeping only, never over an `.await`.
    cache: Mutex<PageCache>,
    /// The memory that reads may take, in pages.
    read_permits: Semaphore,
    search_permits: Semaphore,
    page_bytes_max: usize,
    telemetry: Arc<Telemetry>,
}

/// A stretch of the journal, for certain topics and types.
///
/// It may begin before the position that was asked for: a reader skips what it
/// has. It may also hold what retention has deleted since.
#[derive(Debug)]
pub struct HistoryPage {
    /// The events of the selection, in order.
    pub(super) frames: Arc<[Frame]>,
    /// The position after which the page begins.
    pub(super) after: Sequence,
    /// All of the selection after `after` and up to here is in `frames`, except what
    /// retention deleted up to `floor`.
    pub(super) scanned: Sequence,
    /// Where this is above a reader's position, events up to it may be missing:
    /// a gap for that reader, and none for readers that are past it.
    pub(super) floor: Sequence,
    /// Whether the events of the topics up to `scanned` are damaged; it has none
    /// then.
    pub(super) is_damaged: bool,
}

/// A read that is under way, or done for those that waited for it.
type InFlightRead = Arc<OnceCell<Arc<HistoryPage>>>;

impl History {
    /// A history of which nothing was read yet.
    #[must_use]
    pub(super) fn new(
        journal: Arc<dyn Journal>,
        hub: Arc<Hub>,
        settings: Settings,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self {
            journal,
            hub,
            cache: Mutex::new(PageCache::new(settings.cache_bytes_max)),
            read_permits: permits(settings.reads_max),
            search_permits: permits(settings.searches_max),
            page_bytes_max: settings.page_bytes_max,
            telemetry,
        }
    }

    /// The page of `selection` that covers what follows `after`: its `scanned` is
    /// above `after`, unless nothing follows yet. Cancel-safe: others that wait
    /// for the same read carry on with it.
    ///
    /// # Errors
    ///
    /// [`ReadError`], of the read that this call made itself.
    pub(super) async fn page(
        &self,
        selection: &Selection,
        after: Sequence,
    ) -> Result<Arc<HistoryPage>, ReadError> {
        if after >= self.journal.head() {
            return Ok(self.nothing_after(after));
        }
        let selection = &Arc::new(selection.clone());
        let mut start = block_of(after);
        for policy in [
            JoinPolicy::Nearby,
            JoinPolicy::Nearby,
            JoinPolicy::Exact,
            JoinPolicy::Exact,
        ] {
            match self.page_from(start, policy, selection, after).await? {
                Some(page) if page.scanned > after => return Ok(page),
                // The page of another read, which turned out to end too soon.
                Some(page) if page.after != start => {}
                // The events of the block are too large for its page.
                Some(_) | None => start = after,
            }
        }
        Ok(self.nothing_after(after))
    }

    /// Drops every page, since the hub's encoder was replaced before this call.
    /// Reads that are under way bring pages of the new encoder.
    pub(super) fn clear(&self) {
        // Freed after the lock: pages may be large.
        let pages = self.cache.lock().clear();
        drop(pages);
    }

    /// As [`History::page`], for a reader that was given a page without events:
    /// when its turn comes among those that search.
    ///
    /// # Errors
    ///
    /// As [`History::page`].
    pub(super) async fn searched_page(
        &self,
        selection: &Selection,
        after: Sequence,
    ) -> Result<Arc<HistoryPage>, ReadError> {
        // Before it joins a read, for which others may wait that do not search.
        let turn = self.search_permits.acquire().await;
        let _turn = turn.map_err(|_| ReadError::Closed)?;
        self.page(selection, after).await
    }

    /// As [`History::page`], where that takes no read and no wait.
    #[must_use]
    pub(super) fn cached_page(
        &self,
        selection: &Selection,
        after: Sequence,
    ) -> Option<Arc<HistoryPage>> {
        let page = self.cache.lock().find(selection, after)?;
        self.telemetry.history_pages_shared.increment(1);
        Some(page)
    }

    /// A page that covers `after`, or one that may. `None` where the one that
    /// begins at `start` is known to end too soon.
    async fn page_from(
        &self,
        start: Sequence,
        policy: JoinPolicy,
        selection: &Arc<Selection>,
        after: Sequence,
    ) -> Result<Option<Arc<HistoryPage>>, ReadError> {
        let found = self
            .cache
            .lock()
            .find_or_join(selection, start, policy, after);
        let (begin, read) = match found {
            Lookup::Read(begin, read) => (begin, read),
            Lookup::TooShort => return Ok(None),
            Lookup::Page(page) => {
                self.telemetry.history_pages_shared.increment(1);
                return Ok(Some(page));
            }
        };
        let waiter = ReadWaiter {
            history: self,
            selection,
            start: begin,
            read,
        };
        waiter.page().await.map(Some)
    }

    /// The page of a reader that has everything.
    fn nothing_after(&self, after: Sequence) -> Arc<HistoryPage> {
        Arc::new(HistoryPage {
            frames: Arc::from([]),
            after,
            scanned: after,
            floor: self.journal.floor(),
            is_damaged: false,
        })
    }

    /// Reads a page and caches it.
    async fn read(
        &self,
        selection: &Arc<Selection>,
        start: Sequence,
    ) -> Result<Arc<HistoryPage>, ReadError> {
        // Released when the read is done, or nobody waits for it any more.
        let _permit = self
            .read_permits
            .acquire()
            .await
            .map_err(|_| ReadError::Closed)?;
        let head = self.journal.head();
        let read = self.journal.read(selection, start, self.page_bytes_max);
        let found = read.await?;
        self.telemetry.history_pages_read.increment(1);
        // A read that stops short of the head it could see was full: the rest
        // is another page's. One that did not stands for all up to `scanned`
        // and no further, so that whoever has that much looks elsewhere.
        let full = found.scanned < head;
        loop {
            let encoder = self.hub.encoder();
            let page = Arc::new(build_page(start, &found, full, &encoder));
            let mut cache = self.cache.lock();
            // Checked under the lock: whoever replaces the encoder clears the
            // cache afterwards.
            if !Arc::ptr_eq(&encoder, &self.hub.encoder()) {
                continue;
            }
            let evicted = cache.insert(selection, &page, full);
            // Freeing takes longer than the bookkeeping: not under the lock.
            drop(cache);
            drop(evicted);
            return Ok(page);
        }
    }
}

fn permits(count: usize) -> Semaphore {
    Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS))
}

/// The page of what a read found, without the block that the next page begins
/// with.
fn build_page(
    start: Sequence,
    found: &journal::EventPage,
    full: bool,
    encoder: &Arc<Encoder>,
) -> HistoryPage {
    // What is cut off is read again once, by whoever comes next from anywhere in
    // this page, and not once by each.
    let end = block_of(found.scanned);
    let scanned = if full && end > start && !found.is_damaged {
        end
    } else {
        found.scanned
    };
    debug_assert!(scanned >= start, "a page goes forward");
    let events = found.events.iter();
    let events = events.take_while(|event| event.sequence <= scanned);
    HistoryPage {
        frames: events
            .map(|event| Frame::new(Arc::clone(event), encoder))
            .collect(),
        after: start,
        scanned,
        floor: found.floor,
        is_damaged: found.is_damaged,
    }
}

/// The last place at or before `position` where a page may begin.
fn block_of(position: Sequence) -> Sequence {
    Sequence(position.0 - position.0 % BLOCK)
}

/// A waiter for an in-flight read. The last waiter to drop removes the entry.
struct ReadWaiter<'h> {
    history: &'h History,
    selection: &'h Arc<Selection>,
    start: Sequence,
    read: InFlightRead,
}

impl ReadWaiter<'_> {
    /// The page, read by this waiter or by another one. Where that one is
    /// cancelled or gets an error, the next in line reads.
    async fn page(&self) -> Result<Arc<HistoryPage>, ReadError> {
        let mut reads_itself = false;
        let read = || {
            reads_itself = true;
            self.history.read(self.selection, self.start)
        };
        let page = Arc::clone(self.read.get_or_try_init(read).await?);
        if !reads_itself {
            self.history.telemetry.history_pages_shared.increment(1);
        }
        Ok(page)
    }
}

impl Drop for ReadWaiter<'_> {
    fn drop(&mut self) {
        let mut cache = self.history.cache.lock();
        cache.leave(self.selection, self.start, &self.read);
    }
}

#[cfg(test)]
mod tests;
