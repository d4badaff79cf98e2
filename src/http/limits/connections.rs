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

mod bounds;
mod pool;
mod requests;

use std::{net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::address::Address;
use crate::telemetry::Telemetry;
pub(in crate::http) use bounds::ConnectionBounds;
use pool::{PlaceKind, Pool, PoolEntry};
pub(in crate::http) use requests::{
    ConnectionRequests, RequestGuard, RequestProgress, WaitingRequest,
};

/// How often another connection is looked for where the one that was found has just
/// begun a request.
const EVICTION_TRIES: usize = 4;

/// The connections that carry no stream.
pub(in crate::http) struct Connections {
    bounds: ConnectionBounds,
    sockets: Arc<Semaphore>,
    pool: Mutex<Pool>,
    /// Times in the pool's entries count from here.
    origin: Instant,
    telemetry: Arc<Telemetry>,
}

/// Why a connection is closed before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum ConnectionRefused {
    /// Its address has as many requests under way as it may have.
    Address,
    /// All have requests under way.
    All,
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
            && !self.make_room(&mut pool, |entry| entry.address() == address)
        {
            return Err(ConnectionRefused::Address);
        }
        let kind = self.place_for(&mut pool, address);
        let kind = kind.ok_or(ConnectionRefused::All)?;
        let entry = pool.add(peer, is_proxy, kind, self.now_millis());
        drop(pool);
        Ok(ConnectionSlot {
            requests: ConnectionRequests::new(Arc::clone(self), entry),
            permit: ConnectionPermit::new(Arc::clone(&self.telemetry), socket),
        })
    }

    /// How many connections the pool has.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.pool.lock().len()
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
        if pool.is_verified(address, self.now_millis())
            && self.has_room(pool, PlaceKind::Verified, verified_max)
        {
            return Some(PlaceKind::Verified);
        }
        let has_room = self.has_room_for_operator(pool, address);
        has_room.then_some(PlaceKind::Operator)
    }

    fn has_room(&self, pool: &mut Pool, kind: PlaceKind, max: usize) -> bool {
        pool.count(kind) < max || self.make_room(pool, |entry| entry.kind() == kind)
    }

    /// Takes a connection back whose stream has ended, if it was its last. Within
    /// the bounds, or whoever opens streams and ends them again could fill all
    /// sockets with connections that nobody makes room of.
    fn take_back(&self, entry: &Arc<PoolEntry>) {
        let mut pool = self.pool.lock();
        if !pool.stream_ends(entry) {
            return;
        }
        let (bounds, address, kind) = (&self.bounds, entry.address(), entry.kind());
        if !entry.is_proxy() && pool.count_of(address) > bounds.per_address_max {
            self.evict_idle(&mut pool, |other| other.address() == address);
        }
        let max = match kind {
            PlaceKind::Anybody => bounds.all_max,
            PlaceKind::Verified => bounds.verified_max,
            PlaceKind::Operator => bounds.operator_max,
        };
        if pool.count(kind) > max {
            self.evict_idle(&mut pool, |other| other.kind() == kind);
        }
    }

    /// One address takes at most a quarter of these places.
    fn has_room_for_operator(&self, pool: &mut Pool, address: Address) -> bool {
        let max = self.bounds.operator_max;
        let is_operators = |entry: &PoolEntry| entry.kind() == PlaceKind::Operator;
        let is_its = |entry: &PoolEntry| is_operators(entry) && entry.address() == address;
        let its = pool.entries().filter(|entry| is_its(entry)).count();
        if its >= max.div_ceil(4) {
            return self.evict_idle(pool, is_its);
        }
        pool.count(PlaceKind::Operator) < max || self.evict_idle(pool, is_operators)
    }

    /// Closes one of these for another: one without a request, or else one whose
    /// body arrives slowly. Returns whether there was one.
    fn make_room(&self, pool: &mut Pool, may_go: impl Fn(&PoolEntry) -> bool + Copy) -> bool {
        self.evict_idle(pool, may_go) || self.evict_slow_body(pool, may_go)
    }

    /// Closes the one of these that has waited longest with no request under way;
    /// returns whether there was one.
    fn evict_idle(&self, pool: &mut Pool, may_go: impl Fn(&PoolEntry) -> bool) -> bool {
        self.evict_first(pool, 0, |entry| entry.idle_rank().filter(|_| may_go(entry)))
    }

    /// Closes the one of these whose body arrives slowest; returns whether there was
    /// one.
    fn evict_slow_body(&self, pool: &mut Pool, may_go: impl Fn(&PoolEntry) -> bool) -> bool {
        let now = self.now_millis();
        let rank = |entry: &PoolEntry| entry.slow_body_rank(now).filter(|_| may_go(entry));
        self.evict_first(pool, 1, rank)
    }

    /// Closes the connection that `rank` puts first, among those that it ranks, with
    /// so many requests under way; returns whether there was one.
    fn evict_first<R: Ord>(
        &self,
        pool: &mut Pool,
        requests: u32,
        rank: impl Fn(&PoolEntry) -> Option<R>,
    ) -> bool {
        for _ in 0..EVICTION_TRIES {
            let ranked = pool.entries();
            let ranked = ranked.filter_map(|entry| Some((rank(entry)?, entry)));
            let first = ranked.min_by(|(one, _), (other, _)| one.cmp(other));
            let Some(entry) = first.map(|(_, entry)| Arc::clone(entry)) else {
                return false;
            };
            if entry.evict(requests) {
                pool.remove(&entry);
                self.telemetry.connections_evicted.increment(1);
                return true;
            }
        }
        false
    }

    fn now_millis(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
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
        tokio::time::advance(std::time::Duration::from_millis(pool::BODY_GRACE_MILLIS)).await;
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
        assert!(connections.len() == 0);
    }
}
