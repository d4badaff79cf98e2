//! What readers that have stopped hold of events they have taken a part of.
//!
//! The rest of an event can't be found again by its sequence, so it is held for
//! its reader, with the whole encoded event around it; HTTP/2 holds pieces of it
//! as well, and the page that comes next. Each is counted once, however many hold
//! it. Beyond the bound, what has been held the longest without progress gives
//! way: its readers are broken off, and come back by their last id.
//!
//! Refuses to count what is smaller than [`COUNTED_BYTES_MIN`], which is no more
//! than a connection costs anyway. Invariants: nothing is held longer than its
//! [`Hold`]s are; what was held last never gives way, so that one event larger
//! than the bound gets through to who reads it.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::telemetry::Telemetry;

/// What is no larger is held without being counted.
pub(super) const COUNTED_BYTES_MIN: usize = 4 * 1024;
/// How often at most the log tells of readers that were broken off.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// All that is held in part, by where it is in memory.
pub(super) struct PartialEvents {
    bytes_max: usize,
    /// Counts what has begun to be held. A hold's age is how many have begun
    /// since its last progress: what floods the bound ages those before it.
    begun: AtomicU64,
    held: Mutex<AllHeld>,
    telemetry: Arc<Telemetry>,
}

#[derive(Default)]
struct AllHeld {
    /// Of what is not to give way.
    bytes: usize,
    /// Of what its holders have been told to let go of.
    leaving_bytes: usize,
    places: HashMap<MemoryPlace, Held>,
    /// Broken off since the log told of it.
    untold: usize,
    told_at: Option<Instant>,
}

/// What is held in one place.
struct Held {
    bytes: usize,
    /// What [`PartialEvents::begun`] was when a holder last took some of it.
    progress: Arc<AtomicU64>,
    /// By where the breaker is in memory; how often each holds it.
    holders: HashMap<usize, (Arc<StreamBreaker>, usize)>,
    /// Its holders have been told to let go of it.
    gives_way: bool,
}

/// Where some memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct MemoryPlace(usize);

/// Ends a stream from outside, also while its peer takes nothing.
#[derive(Default)]
pub struct StreamBreaker {
    is_broken: AtomicBool,
    waker: AtomicWaker,
}

/// Counts an allocation as held, until it is dropped.
pub(super) struct Hold {
    all: Arc<PartialEvents>,
    place: MemoryPlace,
    progress: Arc<AtomicU64>,
    breaker: Arc<StreamBreaker>,
}

impl PartialEvents {
    /// Nothing held yet, of at most about so many bytes.
    pub(super) fn new(bytes_max: usize, telemetry: Arc<Telemetry>) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            begun: AtomicU64::new(0),
            held: Mutex::default(),
            telemetry,
        })
    }

    /// Counts so many bytes in this place as held by the stream of `breaker`, unless
    /// they are too few. Where that is too much, the readers of something else are
    /// broken off.
    pub(super) fn hold(
        self: &Arc<Self>,
        place: MemoryPlace,
        bytes: usize,
        breaker: &mut Option<Arc<StreamBreaker>>,
    ) -> Option<Hold> {
        if bytes < COUNTED_BYTES_MIN {
            return None;
        }
        let breaker = breaker.get_or_insert_default();
        let now = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let mut all = self.held.lock();
        let progress = all.add(place, bytes, breaker, now);
        let broken = all.make_room(self.bytes_max, place, now);
        self.show(&all);
        let untold = all.take_untold(broken.len());
        drop(all);
        self.tell(&broken, untold);
        Some(Hold {
            all: Arc::clone(self),
            place,
            progress,
            breaker: Arc::clone(breaker),
        })
    }

    fn show(&self, all: &AllHeld) {
        let bytes = all.bytes + all.leaving_bytes;
        self.telemetry.partial_events_bytes.set(bytes as f64);
    }

    /// Wakes those that were broken off, not under the lock.
    fn tell(&self, broken: &[Arc<StreamBreaker>], untold: Option<usize>) {
        for breaker in broken {
            self.telemetry.stream_broken_off("partial_events");
            breaker.waker.wake();
        }
        if let Some(streams) = untold {
            let bytes_max = self.bytes_max;
            tracing::warn!(
                streams,
                bytes_max,
                "streams were broken off that had stopped within an event: \
                 subscribe.partial_events_bytes_max is reached"
            );
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.held.lock().bytes
    }
}

impl AllHeld {
    fn add(
        &mut self,
        place: MemoryPlace,
        bytes: usize,
        breaker: &Arc<StreamBreaker>,
        now: u64,
    ) -> Arc<AtomicU64> {
        let held = self.places.entry(place).or_insert_with(|| {
            self.bytes += bytes;
            Held {
                bytes,
                progress: Arc::default(),
                holders: HashMap::new(),
                gives_way: false,
            }
        });
        if std::mem::take(&mut held.gives_way) {
            self.leaving_bytes -= held.bytes;
            self.bytes += held.bytes;
        }
        held.progress.store(now, Ordering::Relaxed);
        let id = Arc::as_ptr(breaker).addr();
        let holder = held.holders.entry(id);
        holder.or_insert_with(|| (Arc::clone(breaker), 0)).1 += 1;
        Arc::clone(&held.progress)
    }

    /// Breaks off the readers of what has been held for the longest, and of much
    /// before little, until the bound is kept; never those of `newest`.
    fn make_room(
        &mut self,
        bytes_max: usize,
        newest: MemoryPlace,
        now: u64,
    ) -> Vec<Arc<StreamBreaker>> {
        let mut broken = Vec::new();
        while self.bytes > bytes_max {
            let others = self.places.iter_mut();
            let others = others.filter(|(place, held)| **place != newest && !held.gives_way);
            let Some((_, held)) = others.max_by_key(|(_, held)| held.cost(now)) else {
                break;
            };
            held.gives_way = true;
            self.bytes -= held.bytes;
            self.leaving_bytes += held.bytes;
            for (breaker, _) in held.holders.values() {
                if !breaker.is_broken.swap(true, Ordering::AcqRel) {
                    broken.push(Arc::clone(breaker));
                }
            }
        }
        broken
    }

    fn remove(&mut self, hold: &Hold) {
        let Some(held) = self.places.get_mut(&hold.place) else {
            debug_assert!(false, "what is held is counted");
            return;
        };
        let id = Arc::as_ptr(&hold.breaker).addr();
        if let Some((_, count)) = held.holders.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                held.holders.remove(&id);
            }
        }
        if held.holders.is_empty() {
            let bytes = if held.gives_way {
                &mut self.leaving_bytes
            } else {
                &mut self.bytes
            };
            *bytes -= held.bytes;
            self.places.remove(&hold.place);
        }
    }

    /// How many were broken off, where it is time to tell.
    fn take_untold(&mut self, more: usize) -> Option<usize> {
        self.untold += more;
        if more == 0 || self.told_at.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return None;
        }
        self.told_at = Some(Instant::now());
        Some(std::mem::take(&mut self.untold))
    }
}

impl Held {
    /// How large it is, times how long nobody has taken any of it.
    fn cost(&self, now: u64) -> u128 {
        let age = now.saturating_sub(self.progress.load(Ordering::Relaxed));
        u128::from(age) * self.bytes as u128
    }
}

impl MemoryPlace {
    /// Of bytes by their end, since they are cut off from their beginning.
    pub(super) fn ending(bytes: &Bytes) -> Self {
        Self(bytes.as_ptr_range().end.addr())
    }

    pub(super) fn of_slice<T>(slice: &[T]) -> Self {
        Self(slice.as_ptr().addr())
    }
}

impl Hold {
    /// What is held.
    pub(super) fn place(&self) -> MemoryPlace {
        self.place
    }

    /// Some of it was taken.
    pub(super) fn progressed(&self) {
        let now = self.all.begun.load(Ordering::Relaxed);
        self.progress.store(now, Ordering::Relaxed);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut all = self.all.held.lock();
        all.remove(self);
        self.all.show(&all);
    }
}

impl StreamBreaker {
    /// Has the stream broken off.
    pub fn break_off(&self) {
        self.is_broken.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether the stream is to be broken off.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// As [`StreamBreaker::is_broken`]; where it is not yet, `waker` is woken once
    /// it is.
    #[must_use]
    pub fn is_broken_or_wakes(&self, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.is_broken()
    }
}

impl fmt::Debug for StreamBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamBreaker({})", self.is_broken())
    }
}

/// Bytes that are handed out of the gateway's sight, and are held until they are
/// dropped there.
pub(super) struct HeldBytes {
    pub(super) bytes: Bytes,
    pub(super) _hold: Hold,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn up_to(bytes_max: usize) -> Arc<PartialEvents> {
        PartialEvents::new(bytes_max, Telemetry::new().unwrap())
    }

    fn hold(
        all: &Arc<PartialEvents>,
        place: usize,
        bytes: usize,
        reader: &Arc<StreamBreaker>,
    ) -> Hold {
        let held = all.hold(MemoryPlace(place), bytes, &mut Some(Arc::clone(reader)));
        held.expect("it is counted")
    }

    fn reader() -> Arc<StreamBreaker> {
        Arc::default()
    }

    #[test]
    fn what_many_hold_counts_once_and_until_the_last_lets_go() {
        let all = up_to(100 * KIB);
        let (one, other) = (reader(), reader());
        let first = hold(&all, 1, 60 * KIB, &one);
        let again = hold(&all, 1, 60 * KIB, &one);
        let shared = hold(&all, 1, 60 * KIB, &other);
        assert_eq!(all.bytes(), 60 * KIB);
        drop((first, again));
        assert_eq!(all.bytes(), 60 * KIB);
        drop(shared);
        assert_eq!(all.bytes(), 0);
        assert!(all.held.lock().places.is_empty());
        assert_eq!(all.held.lock().leaving_bytes, 0);
        assert!(!one.is_broken() && !other.is_broken());
    }

    #[test]
    fn who_has_stopped_the_longest_gives_way_and_never_who_reads() {
        let all = up_to(100 * KIB);
        let readers: Vec<_> = (0..20).map(|_| reader()).collect();
        let mut holds = Vec::new();
        for (n, reader) in readers.iter().enumerate() {
            holds.push(hold(&all, n + 1, 20 * KIB, reader));
            // The first goes on reading, the others don't.
            holds[0].progressed();
            assert!(all.bytes() <= 100 * KIB, "{} bytes", all.bytes());
        }
        let broken: Vec<bool> = readers.iter().map(|reader| reader.is_broken()).collect();
        let expected: Vec<bool> = (0..20).map(|n| (1..16).contains(&n)).collect();
        assert_eq!(broken, expected);
        assert_eq!(all.held.lock().leaving_bytes, 15 * 20 * KIB);
        drop(holds);
        assert_eq!((all.bytes(), all.held.lock().leaving_bytes), (0, 0));
    }

    #[test]
    fn much_gives_way_before_little() {
        let all = up_to(100 * KIB);
        let (little, much, newest) = (reader(), reader(), reader());
        let _little = hold(&all, 1, 5 * KIB, &little);
        let _much = hold(&all, 2, 90 * KIB, &much);
        let _newest = hold(&all, 3, 50 * KIB, &newest);
        assert!(much.is_broken() && !little.is_broken() && !newest.is_broken());
    }

    #[test]
    fn one_event_larger_than_the_bound_is_held_for_who_reads_it() {
        let all = up_to(10 * KIB);
        let (small, large) = (reader(), reader());
        let _small = hold(&all, 1, 5 * KIB, &small);
        let held = hold(&all, 2, 50 * KIB, &large);
        assert!(small.is_broken() && !large.is_broken());
        drop(held);
        assert_eq!(all.bytes(), 0);
    }

    #[test]
    fn what_was_to_give_way_counts_again_for_who_comes_to_it() {
        let all = up_to(10 * KIB);
        let (first, second) = (reader(), reader());
        let held = hold(&all, 1, 8 * KIB, &first);
        let other = hold(&all, 2, 8 * KIB, &second);
        assert!(first.is_broken());
        let third = reader();
        let shared = hold(&all, 1, 8 * KIB, &third);
        assert!(second.is_broken() && !third.is_broken());
        assert_eq!(all.bytes(), 8 * KIB);
        drop((held, other, shared));
        assert_eq!(all.bytes(), 0);
    }
}
