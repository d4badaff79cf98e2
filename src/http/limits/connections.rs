//! Which connections may be open, and which one makes room for another.
//!
//! A connection that carries a stream is bounded by `subscribers_max`. All others
//! are in a pool: a bound for all, a share for each address, and a few places for
//! the operator's routes that nobody else can take. Where the pool or a share is
//! full, the connection that has waited longest with no request under way is closed
//! for the new one; where all have requests, the one whose body arrives slowest. Some
//! places are left to addresses that have sent a verified delivery of late.
//!
//! Refuses to look at requests: a connection says when one begins and ends.
//! Invariant: the pool's counts are those of the entries in it, and a request is cut
//! for another connection only while its body is slow to arrive.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::Address;
use crate::telemetry::Telemetry;

/// A body that has been arriving for less than this is not slow, in milliseconds.
const BODY_GRACE_MILLIS: u64 = 1_000;
/// How long a verified delivery lets its address take the places that are left to
/// senders, in milliseconds.
const VERIFIED_MILLIS: u64 = 10 * 60 * 1_000;
/// How many such addresses are remembered.
const VERIFIED_ADDRESSES_MAX: usize = 1_024;
/// How often another connection is looked for where the one that was found has just
/// begun a request.
const CLAIM_TRIES: usize = 4;
/// In [`PoolEntry::requests`]: it was closed for another connection.
const EVICTED: u32 = u32::MAX;

/// How many connections there may be, above all of those that carry no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct ConnectionBounds {
    /// Sockets in all: with those of streams, and some that are being closed to make
    /// room.
    pub(in crate::http) sockets_max: usize,
    /// In all.
    pub(in crate::http) all_max: usize,
    /// Of one address.
    pub(in crate::http) per_address_max: usize,
    /// Beyond those, for addresses that have sent verified deliveries.
    pub(in crate::http) verified_max: usize,
    /// Beyond those, only for the operator's routes.
    pub(in crate::http) operator_max: usize,
}

/// The connections that carry no stream.
pub(in crate::http) struct Connections {
    bounds: ConnectionBounds,
    sockets: Arc<Semaphore>,
    pool: Mutex<Pool>,
    /// Times in places count from here.
    origin: Instant,
    telemetry: Arc<Telemetry>,
}

#[derive(Default)]
struct Pool {
    places: HashMap<u64, Arc<PoolEntry>>,
    per_address: HashMap<Address, usize>,
    any: usize,
    verified_only: usize,
    operator_only: usize,
    /// When each address sent its last verified delivery; bounded.
    verified: HashMap<Address, u64>,
    next_id: u64,
}

/// Whose a place in the pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlaceKind {
    Anybody,
    /// An address's that has sent a verified delivery.
    Verified,
    /// Only the operator's routes are answered.
    Operator,
}

/// A connection in the pool, as others see it.
struct PoolEntry {
    id: u64,
    address: Address,
    /// Many come through it: it has no share.
    is_proxy: bool,
    kind: PlaceKind,
    /// Requests under way, or [`EVICTED`].
    requests: AtomicU32,
    /// Whether a request was ever answered: those that never sent one go first.
    served: AtomicBool,
    /// Since when it has had no request, in milliseconds.
    idle_since: AtomicU64,
    /// When the body of its request was first waited for, in milliseconds and one
    /// more; 0 where none is.
    body_since: AtomicU64,
    body_bytes: AtomicU64,
    /// Whether the delivery of a request under way was verified.
    is_verified: AtomicBool,
    /// When that was last told to the pool, in milliseconds and one more; or 0.
    verified_at: AtomicU64,
    /// Streams that it carries; only changed while the pool is locked.
    streams: AtomicU32,
    evicted: Notify,
}

/// Why a connection is closed before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum ConnectionRefused {
    /// Its address has as many requests under way as it may have.
    Address,
    /// All have requests under way.
    All,
}

impl ConnectionBounds {
    /// The bounds where a process may have this many files open, and how many of
    /// `streams_max` streams fit beside them.
    pub(in crate::http) fn within(open_files_max: u64, streams_max: usize) -> (Self, usize) {
        /// For the journal, the listener, and what else is opened.
        const FILES_RESERVED: usize = 128;
        /// For sockets that are being closed, out of those.
        const CLOSING_MAX: usize = 32;
        const OPERATOR_MAX: usize = 16;
        const VERIFIED_MAX: usize = 64;
        let files = usize::try_from(open_files_max).unwrap_or(usize::MAX);
        let reserved = FILES_RESERVED.min(files / 2);
        let free = files - reserved;
        let operator_max = OPERATOR_MAX.min(free / 8).max(1);
        let verified_max = VERIFIED_MAX.min(free / 8).max(1);
        let free = free.saturating_sub(operator_max + verified_max);
        let all_max = super::SPARE_CONNECTIONS.min(free / 2).max(1);
        let streams = streams_max.min(free.saturating_sub(all_max)).max(1);
        let closing = CLOSING_MAX.min(reserved / 4).max(1);
        let bounds = Self {
            sockets_max: all_max + verified_max + operator_max + streams + closing,
            all_max,
            per_address_max: all_max.div_ceil(2),
            verified_max,
            operator_max,
        };
        (bounds, streams)
    }
}

impl ConnectionRefused {
    /// The reason as a metric's label.
    pub(in crate::http) fn reason(self) -> &'static str {
        match self {
            Self::Address => "connections_per_address",
            Self::All => "connections",
        }
    }
}

/// What a connection has in the pool, until it is closed.
pub(in crate::http) struct ConnectionSlot {
    requests: ConnectionRequests,
    permit: ConnectionPermit,
}

/// Counts the requests of one connection. Cheap to clone.
#[derive(Clone)]
pub(in crate::http) struct ConnectionRequests(Arc<Registration>);

struct Registration {
    connections: Arc<Connections>,
    place: Arc<PoolEntry>,
}

/// A request under way, until its response was sent.
pub(in crate::http) struct RequestGuard {
    registration: Arc<Registration>,
    is_stream: bool,
}

/// An open connection, counted until it is closed.
pub(in crate::http) struct ConnectionPermit {
    telemetry: Arc<Telemetry>,
    _socket: OwnedSemaphorePermit,
}

impl Connections {
    pub(in crate::http) fn new(bounds: ConnectionBounds, telemetry: Arc<Telemetry>) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            sockets: Arc::new(Semaphore::new(bounds.sockets_max)),
            pool: Mutex::default(),
            origin: Instant::now(),
            telemetry,
        })
    }

    /// Waits until another socket may be open: those that were closed to make room
    /// are so only after a moment.
    pub(in crate::http) async fn socket(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.sockets).acquire_owned().await;
        permit.expect("nobody closes the semaphore")
    }

    /// A slot for a connection from `peer`. One that `is_proxy` may have more than
    /// the share of an address: many come through it.
    ///
    /// # Errors
    ///
    /// [`ConnectionRefused`] where all that could make room have requests under way.
    pub(in crate::http) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        is_proxy: bool,
        socket: OwnedSemaphorePermit,
    ) -> Result<ConnectionSlot, ConnectionRefused> {
        let address = Address::from(peer);
        let mut pool = self.pool.lock();
        if !is_proxy
            && pool.count_of(address) >= self.bounds.per_address_max
            && !self.make_room(&mut pool, |place| place.address == address)
        {
            return Err(ConnectionRefused::Address);
        }
        let kind = self.place_for(&mut pool, address);
        let kind = kind.ok_or(ConnectionRefused::All)?;
        let place = Arc::new(PoolEntry {
            id: pool.next_id,
            address,
            is_proxy,
            kind,
            requests: AtomicU32::new(0),
            served: AtomicBool::new(false),
            idle_since: AtomicU64::new(self.now_millis()),
            body_since: AtomicU64::new(0),
            body_bytes: AtomicU64::new(0),
            is_verified: AtomicBool::new(false),
            verified_at: AtomicU64::new(0),
            streams: AtomicU32::new(0),
            evicted: Notify::new(),
        });
        pool.next_id += 1;
        pool.insert(&place);
        drop(pool);
        Ok(ConnectionSlot {
            requests: ConnectionRequests(Arc::new(Registration {
                connections: Arc::clone(self),
                place,
            })),
            permit: ConnectionPermit::new(Arc::clone(&self.telemetry), socket),
        })
    }

    /// How many connections the pool has.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.pool.lock().places.len()
    }

    /// The kind of place that there is for a connection of this address.
    fn place_for(&self, pool: &mut Pool, address: Address) -> Option<PlaceKind> {
        let ConnectionBounds {
            all_max,
            verified_max,
            ..
        } = self.bounds;
        if self.has_room(pool, PlaceKind::Anybody, all_max) {
            return Some(PlaceKind::Anybody);
        }
        if self.is_verified(pool, address) && self.has_room(pool, PlaceKind::Verified, verified_max)
        {
            return Some(PlaceKind::Verified);
        }
        let has_room = self.has_room_for_operator(pool, address);
        has_room.then_some(PlaceKind::Operator)
    }

    fn has_room(&self, pool: &mut Pool, kind: PlaceKind, max: usize) -> bool {
        *pool.count(kind) < max || self.make_room(pool, |place| place.kind == kind)
    }

    /// Takes a connection back whose stream has ended, if it was its last. Within
    /// the bounds, or whoever opens streams and ends them again could fill all
    /// sockets with connections that nobody makes room of.
    fn take_back(&self, place: &Arc<PoolEntry>) {
        let mut pool = self.pool.lock();
        if place.streams.fetch_sub(1, Ordering::Relaxed) != 1 {
            return;
        }
        pool.insert(place);
        let bounds = &self.bounds;
        if !place.is_proxy && pool.count_of(place.address) > bounds.per_address_max {
            self.evict(&mut pool, |other| other.address == place.address);
        }
        let max = match place.kind {
            PlaceKind::Anybody => bounds.all_max,
            PlaceKind::Verified => bounds.verified_max,
            PlaceKind::Operator => bounds.operator_max,
        };
        if *pool.count(place.kind) > max {
            self.evict(&mut pool, |other| other.kind == place.kind);
        }
    }

    /// Whether the address has sent a verified delivery of late.
    fn is_verified(&self, pool: &Pool, address: Address) -> bool {
        let verified = pool.verified.get(&address);
        verified.is_some_and(|at| self.now_millis().saturating_sub(*at) < VERIFIED_MILLIS)
    }

    /// One address takes at most a quarter of these places.
    fn has_room_for_operator(&self, pool: &mut Pool, address: Address) -> bool {
        let max = self.bounds.operator_max;
        let is_operators = |place: &PoolEntry| place.kind == PlaceKind::Operator;
        let is_its = |place: &PoolEntry| is_operators(place) && place.address == address;
        let its = pool.places.values().filter(|place| is_its(place)).count();
        if its >= max.div_ceil(4) {
            return self.evict(pool, is_its);
        }
        pool.operator_only < max || self.evict(pool, is_operators)
    }

    /// Closes one of these for another: one without a request, or else one whose
    /// body arrives slowly. Returns whether there was one.
    fn make_room(&self, pool: &mut Pool, may_go: impl Fn(&PoolEntry) -> bool + Copy) -> bool {
        self.evict(pool, may_go) || self.evict_slow_body(pool, may_go)
    }

    /// Closes the one of these whose body arrives slowest; returns whether there was
    /// one.
    fn evict_slow_body(&self, pool: &mut Pool, may_go: impl Fn(&PoolEntry) -> bool) -> bool {
        let now = self.now_millis();
        self.close_first(pool, 1, |place| {
            let rate = place.body_rate(now).filter(|_| may_go(place))?;
            Some((rate, place.id))
        })
    }

    /// Closes the one of these that has waited longest with no request under way;
    /// returns whether there was one.
    fn evict(&self, pool: &mut Pool, may_go: impl Fn(&PoolEntry) -> bool) -> bool {
        self.close_first(pool, 0, |place| {
            let is_idle = place.requests.load(Ordering::Relaxed) == 0;
            let served = place.served.load(Ordering::Relaxed);
            let idle_since = place.idle_since.load(Ordering::Relaxed);
            (is_idle && may_go(place)).then_some((served, idle_since, place.id))
        })
    }

    /// Closes the connection that `rank` puts first, among those that it ranks, with
    /// so many requests under way; returns whether there was one.
    fn close_first<R: Ord>(
        &self,
        pool: &mut Pool,
        requests: u32,
        rank: impl Fn(&PoolEntry) -> Option<R>,
    ) -> bool {
        for _ in 0..CLAIM_TRIES {
            let ranked = pool.places.values();
            let ranked = ranked.filter_map(|place| Some((rank(place)?, place)));
            let first = ranked.min_by(|(one, _), (other, _)| one.cmp(other));
            let Some(place) = first.map(|(_, place)| Arc::clone(place)) else {
                return false;
            };
            if place.claim(requests) {
                pool.remove(&place);
                place.evicted.notify_one();
                self.telemetry.connections_evicted.increment(1);
                return true;
            }
        }
        false
    }

    /// Remembers that this address has sent a verified delivery.
    fn verified(&self, place: &PoolEntry, now: u64) {
        /// Often enough for what lasts ten minutes, and seldom enough for a lock.
        const AGAIN_MILLIS: u64 = 60 * 1_000;
        let before = place.verified_at.load(Ordering::Relaxed);
        if before != 0 && now.saturating_sub(before - 1) < AGAIN_MILLIS {
            return;
        }
        place.verified_at.store(now + 1, Ordering::Relaxed);
        let verified = &mut self.pool.lock().verified;
        if verified.len() >= VERIFIED_ADDRESSES_MAX && !verified.contains_key(&place.address) {
            let oldest = verified.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                verified.remove(&oldest);
            }
        }
        verified.insert(place.address, now);
    }

    fn now_millis(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }
}

impl Pool {
    fn count_of(&self, address: Address) -> usize {
        self.per_address.get(&address).copied().unwrap_or_default()
    }

    fn count(&mut self, kind: PlaceKind) -> &mut usize {
        match kind {
            PlaceKind::Anybody => &mut self.any,
            PlaceKind::Verified => &mut self.verified_only,
            PlaceKind::Operator => &mut self.operator_only,
        }
    }

    fn insert(&mut self, place: &Arc<PoolEntry>) {
        let before = self.places.insert(place.id, Arc::clone(place));
        debug_assert!(before.is_none(), "a place is in the pool once");
        *self.per_address.entry(place.address).or_default() += 1;
        *self.count(place.kind) += 1;
    }

    /// Takes it out, where it is in.
    fn remove(&mut self, place: &PoolEntry) {
        if self.places.remove(&place.id).is_none() {
            return;
        }
        *self.count(place.kind) -= 1;
        let Some(count) = self.per_address.get_mut(&place.address) else {
            debug_assert!(false, "the address of each place is counted");
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.per_address.remove(&place.address);
        }
    }
}

impl PoolEntry {
    /// Takes it for another connection, unless it has more or fewer requests under
    /// way than these.
    fn claim(&self, requests: u32) -> bool {
        self.requests
            .compare_exchange(requests, EVICTED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// How fast the body of its only request arrives, in bytes per second; `None`
    /// where none is waited for, or not long enough.
    fn body_rate(&self, now_millis: u64) -> Option<u64> {
        let since = self.body_since.load(Ordering::Relaxed).checked_sub(1)?;
        let millis = now_millis.saturating_sub(since);
        let is_slow = millis >= BODY_GRACE_MILLIS && self.requests.load(Ordering::Relaxed) == 1;
        is_slow.then(|| self.body_bytes.load(Ordering::Relaxed) * 1_000 / millis)
    }
}

impl ConnectionSlot {
    /// For those who answer its requests.
    pub(in crate::http) fn requests(&self) -> &ConnectionRequests {
        &self.requests
    }

    /// The connection carries a stream from now on, which is bounded elsewhere.
    pub(in crate::http) fn into_stream(self) -> ConnectionPermit {
        self.permit
    }
}

impl ConnectionRequests {
    /// Counts a request as under way; `None` where the connection has just been
    /// taken for another one.
    pub(in crate::http) fn begin(&self) -> Option<RequestGuard> {
        let requests = &self.0.place.requests;
        let begun = requests.fetch_update(Ordering::AcqRel, Ordering::Acquire, |requests| {
            (requests != EVICTED).then(|| requests + 1)
        });
        begun.ok()?;
        Some(RequestGuard {
            registration: Arc::clone(&self.0),
            is_stream: false,
        })
    }

    /// Whether only the operator's routes may be answered.
    pub(in crate::http) fn only_operator(&self) -> bool {
        self.0.place.kind == PlaceKind::Operator
    }

    /// Completes when the connection has to make room.
    pub(in crate::http) async fn evicted(self) {
        self.0.place.evicted.notified().await;
    }
}

/// What a request says to its connection's pool. Cheap to clone.
#[derive(Clone)]
pub(in crate::http) struct RequestProgress(Arc<Registration>);

impl RequestProgress {
    /// The rest of the body is waited for; so much of it came.
    pub(in crate::http) fn waits_for_body(&self, received_bytes: usize) {
        let Registration { connections, place } = &*self.0;
        place
            .body_bytes
            .store(received_bytes as u64, Ordering::Relaxed);
        if place.body_since.load(Ordering::Relaxed) == 0 {
            let since = connections.now_millis() + 1;
            place.body_since.store(since, Ordering::Relaxed);
        }
    }

    /// The body came.
    pub(in crate::http) fn has_body(&self) {
        self.0.place.body_since.store(0, Ordering::Relaxed);
    }

    /// The delivery was verified, which counts once its request has ended.
    pub(in crate::http) fn verified(&self) {
        self.0.place.is_verified.store(true, Ordering::Relaxed);
    }
}

impl RequestGuard {
    /// For those who read the request.
    pub(in crate::http) fn progress(&self) -> RequestProgress {
        RequestProgress(Arc::clone(&self.registration))
    }

    /// The response is a stream, which is bounded elsewhere: the connection is out
    /// of the pool until its last stream ends.
    pub(in crate::http) fn carries_stream(&mut self) {
        debug_assert!(!self.is_stream, "a request has one response");
        self.is_stream = true;
        let Registration { connections, place } = &*self.registration;
        let mut pool = connections.pool.lock();
        if place.streams.fetch_add(1, Ordering::Relaxed) == 0 {
            pool.remove(place);
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let Registration { connections, place } = &*self.registration;
        place.served.store(true, Ordering::Relaxed);
        let now = connections.now_millis();
        if place.is_verified.swap(false, Ordering::Relaxed) {
            connections.verified(place, now);
        }
        place.idle_since.store(now, Ordering::Relaxed);
        place.body_since.store(0, Ordering::Relaxed);
        let ended = place
            .requests
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |requests| {
                (requests != EVICTED).then(|| requests - 1)
            });
        debug_assert!(ended != Ok(0), "a request ends once");
        if self.is_stream {
            connections.take_back(place);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.connections.pool.lock().remove(&self.place);
    }
}

impl ConnectionPermit {
    fn new(telemetry: Arc<Telemetry>, socket: OwnedSemaphorePermit) -> Self {
        telemetry.connections.increment(1.0);
        Self {
            telemetry,
            _socket: socket,
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.telemetry.connections.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const BOUNDS: ConnectionBounds = ConnectionBounds {
        sockets_max: 100,
        all_max: 8,
        per_address_max: 4,
        verified_max: 1,
        operator_max: 4,
    };

    #[test]
    fn connections_and_streams_leave_files_for_the_journal() {
        for (files, streams_max, all_max, streams) in [
            (u64::MAX, 100_000, 1_024, 100_000),
            (20_000, 20_000, 1_024, 18_768),
            (1_000, 100_000, 396, 396),
            (64, 100_000, 12, 12),
            (8, 100_000, 1, 1),
        ] {
            let (bounds, fit) = ConnectionBounds::within(files, streams_max);
            assert_eq!((bounds.all_max, fit), (all_max, streams), "{files}");
            assert!(bounds.per_address_max <= bounds.all_max);
            let used = bounds.sockets_max;
            assert!(files < 16 || used as u64 + 16 <= files, "{files}");
        }
    }

    fn connections() -> Arc<Connections> {
        Connections::new(BOUNDS, Telemetry::new().unwrap())
    }

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn admit(
        connections: &Arc<Connections>,
        peer: IpAddr,
        is_proxy: bool,
    ) -> Result<ConnectionSlot, ConnectionRefused> {
        let socket = connections.socket().now_or_never().expect("few are open");
        connections.admit(peer, is_proxy, socket)
    }

    fn is_evicted(slot: &ConnectionSlot) -> bool {
        slot.requests().begin().is_none()
    }

    fn all_busy(slots: &[ConnectionSlot]) -> Vec<RequestGuard> {
        let begun = slots.iter().map(|slot| slot.requests().begin());
        begun.collect::<Option<_>>().expect("none is evicted")
    }

    /// As many connections as there may be, two of each address.
    fn full(connections: &Arc<Connections>) -> Vec<ConnectionSlot> {
        let peers = (0..BOUNDS.all_max as u8).map(|n| peer(n / 2));
        peers
            .map(|peer| admit(connections, peer, false).unwrap())
            .collect()
    }

    #[test]
    fn the_oldest_of_an_address_makes_room_for_its_next() {
        let connections = connections();
        let other = admit(&connections, peer(2), false).unwrap();
        let mut slots: Vec<_> = (0..4)
            .map(|_| admit(&connections, peer(1), false).unwrap())
            .collect();
        slots.push(admit(&connections, peer(1), false).unwrap());
        assert!(
            slots[0]
                .requests()
                .clone()
                .evicted()
                .now_or_never()
                .is_some()
        );
        let evicted: Vec<bool> = slots.iter().map(is_evicted).collect();
        assert_eq!(evicted, [true, false, false, false, false]);
        assert!(!is_evicted(&other) && connections.len() == 5);
    }

    #[test]
    fn the_neighbours_of_an_ipv6_address_share_its_places() {
        let connections = connections();
        let peer = |n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
        let slots: Vec<_> = (0..5)
            .map(|n| admit(&connections, peer(n), false).unwrap())
            .collect();
        assert!(is_evicted(&slots[0]) && connections.len() == 4);
    }

    #[test]
    fn a_request_under_way_is_never_closed_and_a_served_connection_goes_last() {
        let connections = connections();
        let slots = full(&connections);
        let under_way = slots[0].requests().begin().unwrap();
        drop(slots[1].requests().begin());
        let more: Vec<_> = (10..16)
            .map(|n| admit(&connections, peer(n), false).unwrap())
            .collect();
        // The six that never sent a request went, oldest first; next is what was
        // served, since all that came later is younger but has not been.
        assert!(slots[2..].iter().all(is_evicted));
        assert!(!is_evicted(&slots[0]) && !is_evicted(&slots[1]));
        assert!(!more.iter().any(is_evicted));
        drop(under_way);
        assert_eq!(connections.len(), BOUNDS.all_max);
    }

    #[test]
    fn where_all_are_busy_an_address_is_refused_and_the_operator_gets_in() {
        let connections = connections();
        let slots = full(&connections);
        let busy = all_busy(&slots);
        let operators: Vec<_> = (0..6)
            .map(|n| admit(&connections, peer(20 + n), false).unwrap())
            .collect();
        assert!(operators.iter().all(|slot| slot.requests().only_operator()));
        assert!(is_evicted(&operators[0]) && is_evicted(&operators[1]));
        let busy_too = all_busy(&operators[2..]);
        let refused = admit(&connections, peer(30), false).err();
        assert_eq!(refused, Some(ConnectionRefused::All));
        drop((busy, busy_too));
        assert!(
            !admit(&connections, peer(30), false)
                .unwrap()
                .requests()
                .only_operator()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_are_busy_the_slowest_body_makes_room() {
        let connections = connections();
        let slots = full(&connections);
        let busy = all_busy(&slots);
        for (n, guard) in busy.iter().enumerate().skip(1) {
            guard.progress().waits_for_body(100 - n);
        }
        tokio::time::advance(std::time::Duration::from_millis(BODY_GRACE_MILLIS)).await;
        busy[7].progress().has_body();
        let next = admit(&connections, peer(20), false).unwrap();
        assert!(!next.requests().only_operator());
        let evicted: Vec<bool> = slots.iter().map(is_evicted).collect();
        let expected = [false, false, false, false, false, false, true, false];
        assert_eq!(evicted, expected);
        drop(busy);
    }

    #[test]
    fn an_address_that_sent_a_verified_delivery_gets_in_where_all_are_busy() {
        let connections = connections();
        let sender = admit(&connections, peer(20), false).unwrap();
        sender.requests().begin().unwrap().progress().verified();
        drop(sender);
        let slots = full(&connections);
        let _busy = all_busy(&slots);
        let again = admit(&connections, peer(20), false).unwrap();
        let another = admit(&connections, peer(21), false).unwrap();
        assert!(!again.requests().only_operator());
        assert!(another.requests().only_operator());
        assert!(!is_evicted(&again), "its place is no stranger's");
    }

    #[test]
    fn one_address_takes_its_share_and_a_proxy_more() {
        let connections = connections();
        let slots: Vec<_> = (0..4)
            .map(|_| admit(&connections, peer(1), false).unwrap())
            .collect();
        let _busy = all_busy(&slots);
        let refused = admit(&connections, peer(1), false).err();
        assert_eq!(refused, Some(ConnectionRefused::Address));
        assert!(admit(&connections, peer(1), true).is_ok());
    }

    #[test]
    fn connections_that_come_back_from_their_streams_stay_within_the_bounds() {
        let connections = connections();
        let mut open = Vec::new();
        for n in 0..40 {
            let slot = admit(&connections, peer(n / 10), false).unwrap();
            let mut stream = slot.requests().begin().unwrap();
            stream.carries_stream();
            open.push((slot, stream));
        }
        assert_eq!(connections.len(), 0);
        let slots: Vec<_> = open.into_iter().map(|(slot, _)| slot).collect();
        assert_eq!(connections.len(), BOUNDS.all_max);
        for n in 0..4 {
            let of_address = slots[10 * n..][..10].iter();
            let left = of_address.filter(|slot| !is_evicted(slot)).count();
            assert!(left <= BOUNDS.per_address_max, "{left} of address {n}");
        }
    }

    #[test]
    fn a_connection_is_out_of_the_pool_while_it_carries_streams() {
        let connections = connections();
        let slot = admit(&connections, peer(1), false).unwrap();
        let [mut one, mut two] = [0, 1].map(|_| slot.requests().begin().unwrap());
        one.carries_stream();
        two.carries_stream();
        drop(one);
        assert_eq!(connections.len(), 0);
        drop(two);
        assert_eq!(connections.len(), 1);
        let permit = slot.into_stream();
        assert_eq!(connections.len(), 0);
        drop(permit);
        assert!(connections.pool.lock().per_address.is_empty());
    }
}
