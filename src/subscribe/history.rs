//! Pages of older events, read once and shared by all who catch up.
//!
//! Ten thousand clients that come back after a deploy ask for the same
//! stretch of the journal from ten thousand places in it. So pages begin and
//! end at fixed blocks, all that ask for one at the same time wait for one
//! read, and the newest pages are kept, within a bound. A page belongs to its
//! topics and where it begins, never to a request: frames encode themselves
//! per form, and types are picked when frames are given out.
//!
//! Refuses to read more pages at a time than its budget; readers wait for it.
//! Invariant: a page has every event of its topics from where it begins to
//! where it was scanned, in order, save what `floor` took.

mod shelves;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hookrill_core::{Selection, Sequence, Topics};
use tokio::sync::{OnceCell, Semaphore};

use crate::{
    hub::Hub,
    journal::{self, Journal, ReadError},
    telemetry::Telemetry,
    wire::{Encoder, Frame},
};
use shelves::{Found, Reach, Shelves};

/// Pages begin at multiples of so many positions, so that readers at nearby
/// cursors share them. Small beside a page, or a reader would be given much
/// that it has.
const BLOCK: u64 = 16;

/// How much is read and kept.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The most bytes of pages that are kept for those to come.
    pub cache_bytes_max: usize,
    /// About how many bytes of events a page has; one event, if it is larger.
    pub page_bytes_max: usize,
    /// The most pages that are being read at a time.
    pub reads_max: usize,
}

/// Older events, in pages that all readers share.
pub struct History {
    journal: Arc<dyn Journal>,
    /// Says how frames are encoded.
    hub: Arc<Hub>,
    /// Held for bookkeeping only, never over an `.await`.
    shelves: Mutex<Shelves>,
    /// What reads may take of memory, in pages.
    places: Semaphore,
    page_bytes_max: usize,
    telemetry: Arc<Telemetry>,
}

/// A stretch of the journal, for certain topics.
///
/// It may begin before the position that was asked for: a reader skips what
/// it has. It may also hold what retention has deleted since.
#[derive(Debug)]
pub struct Page {
    /// The events of the topics, of all types, in order.
    pub frames: Arc<[Frame]>,
    /// The position after which the page begins.
    pub after: Sequence,
    /// All of the topics after `after` and up to here is in `frames`, save
    /// what `floor` took.
    pub scanned: Sequence,
    /// Where it is above a reader's position, events up to it may be missing:
    /// a gap for that reader, and none for those who are past it.
    pub floor: Sequence,
}

/// A read that is under way, or done for those who waited for it.
type Flight = Arc<OnceCell<Arc<Page>>>;

impl History {
    /// Nothing read yet.
    #[must_use]
    pub fn new(
        journal: Arc<dyn Journal>,
        hub: Arc<Hub>,
        settings: Settings,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self {
            journal,
            hub,
            shelves: Mutex::new(Shelves::new(settings.cache_bytes_max)),
            places: Semaphore::new(settings.reads_max.clamp(1, Semaphore::MAX_PERMITS)),
            page_bytes_max: settings.page_bytes_max,
            telemetry,
        }
    }

    /// The page of `topics` that covers what follows `after`: its `scanned` is
    /// above `after`, unless nothing follows yet. Cancel-safe; whoever else
    /// waits for the same read carries on with it.
    ///
    /// # Errors
    ///
    /// [`ReadError`], of the read that this call made itself.
    pub async fn page(&self, topics: &Topics, after: Sequence) -> Result<Arc<Page>, ReadError> {
        if after >= self.journal.head() {
            return Ok(self.nothing_after(after));
        }
        let mut start = block_of(after);
        for reach in [Reach::Near, Reach::Near, Reach::Own, Reach::Own] {
            match self.page_from(start, reach, topics, after).await? {
                Some(page) if page.scanned > after => return Ok(page),
                // Another's page, that turned out to end too soon.
                Some(page) if page.after != start => {}
                // The events of the block are too large for its page.
                Some(_) | None => start = after,
            }
        }
        Ok(self.nothing_after(after))
    }

    /// Lets go of every page, since the hub's encoder was replaced before this
    /// call. Reads that are under way bring what is encoded by the new one.
    pub fn recode(&self) {
        let pages = self.shelves().take_down();
        drop(pages);
    }

    /// As [`History::page`], where that takes no read and no wait.
    #[must_use]
    pub fn page_now(&self, topics: &Topics, after: Sequence) -> Option<Arc<Page>> {
        let page = self.shelves().find(topics, after)?;
        self.telemetry.history_pages_shared.increment(1);
        Some(page)
    }

    /// A page that covers `after`, or one that may. `None` where the one that
    /// begins at `start` is known to end too soon.
    async fn page_from(
        &self,
        start: Sequence,
        reach: Reach,
        topics: &Topics,
        after: Sequence,
    ) -> Result<Option<Arc<Page>>, ReadError> {
        let found = self.shelves().seek(topics, start, reach, after);
        let (start, flight) = match found {
            Found::Flight(start, flight) => (start, flight),
            Found::Short => return Ok(None),
            Found::Page(page) => {
                self.telemetry.history_pages_shared.increment(1);
                return Ok(Some(page));
            }
        };
        let seat = Seat {
            history: self,
            topics,
            start,
            flight,
        };
        seat.fly().await.map(Some)
    }

    /// What a reader is given that has everything.
    fn nothing_after(&self, after: Sequence) -> Arc<Page> {
        Arc::new(Page {
            frames: Arc::from([]),
            after,
            scanned: after,
            floor: self.journal.floor(),
        })
    }

    /// Reads a page and puts it where others find it.
    async fn read(&self, topics: &Topics, start: Sequence) -> Result<Arc<Page>, ReadError> {
        // Given back when the read is done, or nobody waits for it any more.
        let _place = self.places.acquire().await.map_err(|_| ReadError::Closed)?;
        let selection = Selection {
            topics: topics.clone(),
            types: None,
        };
        let head = self.journal.head();
        let read = self.journal.read(&selection, start, self.page_bytes_max);
        let found = read.await?;
        self.telemetry.history_pages_read.increment(1);
        // A read that stops short of the head it could see was full: the rest
        // is another page's. One that did not stands for all up to `scanned`
        // and no further, so that whoever has that much looks elsewhere.
        let full = found.scanned < head;
        loop {
            let encoder = self.hub.encoder();
            let page = Arc::new(bind(start, &found, full, &encoder));
            let mut shelves = self.shelves();
            // Asked under the lock: whoever replaces the encoder clears the
            // shelves afterwards.
            if !Arc::ptr_eq(&encoder, &self.hub.encoder()) {
                continue;
            }
            let evicted = shelves.put(topics, &page, full);
            // Freeing takes longer than the bookkeeping: not under the lock.
            drop(shelves);
            drop(evicted);
            return Ok(page);
        }
    }

    // A panic while the lock is held would have to come from the collections
    // themselves; what they hold is whole at every step.
    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The page of what a read found, without what another page is to begin with.
fn bind(start: Sequence, found: &journal::EventPage, full: bool, encoder: &Arc<Encoder>) -> Page {
    // What is cut off is read again, and by whoever comes next from
    // anywhere in this page, instead of once by each.
    let end = block_of(found.scanned);
    let scanned = match full && end > start {
        true => end,
        false => found.scanned,
    };
    let events = found.events.iter();
    let events = events.take_while(|event| event.sequence <= scanned);
    Page {
        frames: events
            .map(|event| Frame::new(Arc::clone(event), encoder))
            .collect(),
        after: start,
        scanned,
        floor: found.floor,
    }
}

/// The last place at or before `position` where a page may begin.
fn block_of(position: Sequence) -> Sequence {
    Sequence(position.0 - position.0 % BLOCK)
}

/// One asker's part in a flight. The last one to leave, for whatever reason,
/// takes it off the shelf.
struct Seat<'h> {
    history: &'h History,
    topics: &'h Topics,
    start: Sequence,
    flight: Flight,
}

impl Seat<'_> {
    /// The page, read by this asker or by another. If that one is cancelled
    /// or gets an error, the next in line reads.
    async fn fly(&self) -> Result<Arc<Page>, ReadError> {
        let mut reads_itself = false;
        let read = || {
            reads_itself = true;
            self.history.read(self.topics, self.start)
        };
        let page = Arc::clone(self.flight.get_or_try_init(read).await?);
        if !reads_itself {
            self.history.telemetry.history_pages_shared.increment(1);
        }
        Ok(page)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut shelves = self.history.shelves();
        shelves.leave(self.topics, self.start, &self.flight);
    }
}

#[cfg(test)]
mod tests;
