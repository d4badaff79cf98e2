//! Memory for pages that are on their way to their readers.
//!
//! Each takes its bytes from when it is read until the last of them went out. Where all
//! are taken, the next one waits, and pages of which no byte was taken for some time are
//! broken off: their readers come back to the same place. One address has a part of the
//! whole at most.
//!
//! Invariant: all pages together have no more than [`BYTES_MAX`], save that one that is
//! longer than its address's part may be its only one.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, futures::Notified},
    time::{Instant, timeout_at},
};

use super::Address;
use crate::subscribe::StreamBreaker;

/// What all pages may have, in bytes.
const BYTES_MAX: usize = 64 << 20;
/// The part of it that one address may have: one in so many.
const ADDRESS_PART: usize = 4;
/// How long a page waits for room.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// How often it looks whether there is any.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How many of them at a time.
const BROKEN_OFF_AT_ONCE: usize = 16;
/// A page of which nothing was taken for so long is broken off for another.
const STOPPED_MIN: Duration = Duration::from_secs(2);

/// Of a page of which nothing could be taken so far.
const WAITING: u64 = u64::MAX;

/// Room for pages.
pub(in crate::http) struct PagePlaces {
    bytes_max: usize,
    taken: Mutex<TakenPlaces>,
    /// Wakes one that waits; who finds room wakes the next.
    freed: Notify,
    origin: Instant,
    /// When stopped pages were looked for last, in milliseconds.
    looked_at_ms: AtomicU64,
}

#[derive(Default)]
struct TakenPlaces {
    bytes: usize,
    per_address: HashMap<Address, usize>,
    pages: HashMap<u64, Arc<UnderWay>>,
    next: u64,
}

/// A page that is on its way.
struct UnderWay {
    address: Option<Address>,
    breaker: Option<Arc<StreamBreaker>>,
    /// When some of it was taken last, in milliseconds from the beginning; `WAITING`
    /// before it is sent.
    taken_at_ms: AtomicU64,
}

/// The room of one page, until it is dropped.
pub(in crate::http) struct PagePlace {
    places: Arc<PagePlaces>,
    id: u64,
    page: Arc<UnderWay>,
    bytes: usize,
}

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum PagePlacesFull {
    /// For this address.
    Address,
    /// For anybody.
    All,
}

impl PagePlaces {
    pub(in crate::http) fn new() -> Arc<Self> {
        Self::with_bytes_max(BYTES_MAX)
    }

    fn with_bytes_max(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            taken: Mutex::default(),
            freed: Notify::new(),
            origin: Instant::now(),
            looked_at_ms: AtomicU64::new(0),
        })
    }

    /// Room for a page of so many bytes, for which it may wait; `breaker` breaks it off.
    ///
    /// # Errors
    ///
    /// [`PagePlacesFull`] where there was none in time.
    pub(in crate::http) async fn take(
        self: &Arc<Self>,
        address: Option<Address>,
        breaker: Option<Arc<StreamBreaker>>,
        bytes: usize,
    ) -> Result<PagePlace, PagePlacesFull> {
        let mut place = self.empty_place(address, breaker);
        place.resize(bytes).await?;
        Ok(place)
    }

    fn empty_place(
        self: &Arc<Self>,
        address: Option<Address>,
        breaker: Option<Arc<StreamBreaker>>,
    ) -> PagePlace {
        let page = Arc::new(UnderWay {
            address,
            breaker,
            taken_at_ms: AtomicU64::new(WAITING),
        });
        let mut taken = self.taken.lock();
        let id = taken.next;
        taken.next += 1;
        taken.pages.insert(id, Arc::clone(&page));
        drop(taken);
        PagePlace {
            places: Arc::clone(self),
            id,
            page,
            bytes: 0,
        }
    }

    /// Waits for room until there is some, or nobody can make any in time.
    async fn until_grown(
        &self,
        mut grow: impl FnMut() -> Result<(), PagePlacesFull>,
    ) -> Result<(), PagePlacesFull> {
        let end = Instant::now() + WAIT_MAX;
        loop {
            let freed = self.freed.notified();
            let Err(full) = grow() else {
                self.freed.notify_one();
                return Ok(());
            };
            self.break_off_stopped();
            if Instant::now() >= end {
                return Err(full);
            }
            wait_for(freed, end).await;
        }
    }

    /// Breaks off the pages that have stopped for the longest, and for long.
    fn break_off_stopped(&self) {
        let now = self.now_ms();
        if !self.is_time_to_look(now) {
            return;
        }
        let stopped_before = now.saturating_sub(STOPPED_MIN.as_millis() as u64);
        let taken = self.taken.lock();
        let stopped = taken.pages.values().filter_map(|page| {
            let breaker = page.breaker.as_ref().filter(|it| !it.is_broken())?;
            let taken_at = page.taken_at_ms.load(Ordering::Relaxed);
            (taken_at <= stopped_before).then(|| (taken_at, Arc::clone(breaker)))
        });
        let mut stopped: Vec<_> = stopped.collect();
        drop(taken);
        stopped.sort_unstable_by_key(|(taken_at, _)| *taken_at);
        // Wakes their tasks: not under the lock.
        for (_, breaker) in stopped.iter().take(BROKEN_OFF_AT_ONCE) {
            breaker.break_off();
        }
    }

    /// Whether this is the one of all that wait who looks for stopped pages now.
    fn is_time_to_look(&self, now: u64) -> bool {
        let period = LOOK_EVERY.as_millis() as u64;
        let order = Ordering::Relaxed;
        let looked_at = self.looked_at_ms.load(order);
        now >= looked_at.saturating_add(period)
            && self
                .looked_at_ms
                .compare_exchange(looked_at, now, order, order)
                .is_ok()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

async fn wait_for(freed: Notified<'_>, end: Instant) {
    let look_at = end.min(Instant::now() + LOOK_EVERY);
    _ = timeout_at(look_at, freed).await;
}

impl PagePlace {
    /// Makes room for a page that turned out to have so many bytes.
    ///
    /// # Errors
    ///
    /// As [`PagePlaces::take`].
    pub(in crate::http) async fn resize(&mut self, bytes: usize) -> Result<(), PagePlacesFull> {
        if bytes <= self.bytes {
            self.shrink(bytes);
            return Ok(());
        }
        let places = Arc::clone(&self.places);
        places.until_grown(|| self.try_grow(bytes)).await
    }

    /// The bytes of the page, which hold its place until they are dropped.
    pub(in crate::http) fn hold(self, text: Vec<u8>) -> Bytes {
        debug_assert!(self.bytes >= text.len(), "each byte has its place");
        self.progress().taken();
        Bytes::from_owner(PlacedText { text, _place: self })
    }

    /// Where it is noted that some of it was taken.
    pub(in crate::http) fn progress(&self) -> PageProgress {
        PageProgress {
            places: Arc::clone(&self.places),
            page: Arc::clone(&self.page),
        }
    }

    fn try_grow(&mut self, bytes: usize) -> Result<(), PagePlacesFull> {
        let more = bytes - self.bytes;
        let mut taken = self.places.taken.lock();
        let max = self.places.bytes_max;
        if let Some(address) = self.page.address {
            let its = taken.per_address.get(&address).copied().unwrap_or_default();
            let is_only_one = its == self.bytes;
            if !is_only_one && its + more > max / ADDRESS_PART {
                return Err(PagePlacesFull::Address);
            }
        }
        let is_only_one = taken.bytes == self.bytes;
        if !is_only_one && taken.bytes + more > max {
            return Err(PagePlacesFull::All);
        }
        taken.change(self.page.address, self.bytes, bytes);
        drop(taken);
        self.bytes = bytes;
        Ok(())
    }

    fn shrink(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.bytes, "what grows waits for room");
        let mut taken = self.places.taken.lock();
        taken.change(self.page.address, self.bytes, bytes);
        drop(taken);
        self.bytes = bytes;
        self.places.freed.notify_one();
    }
}

impl TakenPlaces {
    /// A page of this address has so many bytes instead of others.
    fn change(&mut self, address: Option<Address>, from: usize, to: usize) {
        assert!(from <= self.bytes, "what a page has is counted");
        self.bytes = self.bytes - from + to;
        let Some(address) = address else { return };
        let its = self.per_address.entry(address).or_default();
        assert!(from <= *its, "what a page has is counted for its address");
        *its = *its - from + to;
        if *its == 0 {
            self.per_address.remove(&address);
        }
    }
}

impl Drop for PagePlace {
    fn drop(&mut self) {
        self.shrink(0);
        self.places.taken.lock().pages.remove(&self.id);
    }
}

/// Says of a page that some of it was taken.
pub(in crate::http) struct PageProgress {
    places: Arc<PagePlaces>,
    page: Arc<UnderWay>,
}

impl PageProgress {
    pub(in crate::http) fn taken(&self) {
        let now = self.places.now_ms();
        self.page.taken_at_ms.store(now, Ordering::Relaxed);
    }
}

/// The text of a page, with its place.
struct PlacedText {
    text: Vec<u8>,
    _place: PagePlace,
}

impl AsRef<[u8]> for PlacedText {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::FutureExt as _;
    use tokio::time::advance;

    use super::*;

    fn address(n: u8) -> Option<Address> {
        Some(Address::V4(Ipv4Addr::new(192, 0, 2, n)))
    }

    async fn take(
        places: &Arc<PagePlaces>,
        from: u8,
        breaker: &Arc<StreamBreaker>,
        bytes: usize,
    ) -> Result<PagePlace, PagePlacesFull> {
        places
            .take(address(from), Some(Arc::clone(breaker)), bytes)
            .await
    }

    fn breakers<const N: usize>() -> [Arc<StreamBreaker>; N] {
        std::array::from_fn(|_| Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_its_part_and_the_rest_is_for_others() {
        let places = PagePlaces::with_bytes_max(400);
        let [breaker] = breakers();
        let one = take(&places, 1, &breaker, 60).await.unwrap();
        let second = take(&places, 1, &breaker, 60).await.err();
        assert_eq!(second, Some(PagePlacesFull::Address));
        let others = [2, 3, 4].map(|n| take(&places, n, &breaker, 100).now_or_never());
        let others = others.map(|other| other.expect("it does not wait").unwrap());
        // 40 are left.
        let full = take(&places, 5, &breaker, 41).await.err();
        assert_eq!(full, Some(PagePlacesFull::All));
        drop(one);
        assert!(take(&places, 5, &breaker, 41).await.is_ok());
        drop(others);
        assert_eq!(places.taken.lock().bytes, 0);
        assert!(places.taken.lock().per_address.is_empty());
        assert!(places.taken.lock().pages.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_longer_than_its_address_s_part_gets_through_alone() {
        let places = PagePlaces::with_bytes_max(400);
        let [breaker] = breakers();
        let mut one = take(&places, 1, &breaker, 50).await.unwrap();
        one.resize(1_000).await.unwrap();
        let second = take(&places, 1, &breaker, 1).await.err();
        assert_eq!(second, Some(PagePlacesFull::Address));
        one.resize(10).await.unwrap();
        assert!(take(&places, 1, &breaker, 90).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn of_those_that_have_stopped_the_one_that_did_first_makes_room() {
        let places = PagePlaces::with_bytes_max(100);
        let [oldest, moving, newest, other] = breakers();
        let held = take(&places, 1, &oldest, 25).await.unwrap();
        let bytes = held.hold(vec![0; 25]);
        let reads_on = take(&places, 2, &moving, 25).await.unwrap();
        reads_on.progress().taken();
        let _held = [
            take(&places, 3, &newest, 25).await.unwrap(),
            take(&places, 4, &newest, 25).await.unwrap(),
        ];
        advance(STOPPED_MIN - Duration::from_millis(10)).await;
        reads_on.progress().taken();
        // Its task ends when it is broken off.
        let ending = async {
            while !oldest.is_broken() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(bytes);
        };
        let (room, ()) = tokio::join!(take(&places, 5, &other, 25), ending);
        assert!(room.is_ok());
        assert!(!moving.is_broken() && !newest.is_broken());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_who_reads_is_broken_off() {
        let places = PagePlaces::with_bytes_max(100);
        let [breaker, other] = breakers();
        let reads = take(&places, 1, &breaker, 100).await.unwrap();
        let reading = async {
            loop {
                tokio::time::sleep(STOPPED_MIN / 2).await;
                reads.progress().taken();
            }
        };
        let full = tokio::select! {
            room = take(&places, 2, &other, 1) => room.err(),
            () = reading => None,
        };
        assert_eq!(full, Some(PagePlacesFull::All));
        assert!(!breaker.is_broken());
    }
}
