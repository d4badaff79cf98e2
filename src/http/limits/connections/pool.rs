//! The connections that may make room for others, and what is known of each.
//!
//! Invariant: the counts are those of the entries that are in.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use crate::http::limits::address::Address;

/// A body that has been arriving for less than this is not slow, in milliseconds.
pub(super) const BODY_GRACE_MILLIS: u64 = 1_000;
/// How long a verified delivery lets its address take the places that are left to
/// senders, in milliseconds.
const VERIFIED_MILLIS: u64 = 10 * 60 * 1_000;
/// How many such addresses are remembered.
const VERIFIED_ADDRESSES_MAX: usize = 1_024;
/// In [`PoolEntry::requests`]: it was closed for another connection.
const EVICTED: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct Pool {
    entries: HashMap<u64, Arc<PoolEntry>>,
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
pub(super) enum PlaceKind {
    Anybody,
    /// An address's that has sent a verified delivery.
    Verified,
    /// Only the operator's routes are answered.
    Operator,
}

/// A connection in the pool, as others see it.
pub(super) struct PoolEntry {
    id: u64,
    peer: IpAddr,
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

impl Pool {
    /// A new connection takes a place.
    pub(super) fn add(
        &mut self,
        peer: IpAddr,
        is_proxy: bool,
        kind: PlaceKind,
        now_millis: u64,
    ) -> Arc<PoolEntry> {
        let entry = Arc::new(PoolEntry {
            id: self.next_id,
            peer,
            address: peer.into(),
            is_proxy,
            kind,
            requests: AtomicU32::new(0),
            served: AtomicBool::new(false),
            idle_since: AtomicU64::new(now_millis),
            body_since: AtomicU64::new(0),
            body_bytes: AtomicU64::new(0),
            is_verified: AtomicBool::new(false),
            verified_at: AtomicU64::new(0),
            streams: AtomicU32::new(0),
            evicted: Notify::new(),
        });
        self.next_id += 1;
        self.insert(&entry);
        entry
    }

    /// How many places are taken.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many places those of an address have.
    pub(super) fn count_of(&self, address: Address) -> usize {
        self.per_address.get(&address).copied().unwrap_or_default()
    }

    /// How many places of a kind are taken.
    pub(super) fn count(&self, kind: PlaceKind) -> usize {
        match kind {
            PlaceKind::Anybody => self.any,
            PlaceKind::Verified => self.verified_only,
            PlaceKind::Operator => self.operator_only,
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<PoolEntry>> {
        self.entries.values()
    }

    /// The connection carries one stream more, and has no place from the first on.
    pub(super) fn stream_begins(&mut self, entry: &PoolEntry) {
        if entry.streams.fetch_add(1, Ordering::Relaxed) == 0 {
            self.remove(entry);
        }
    }

    /// The connection carries one stream less, and has a place again after the last.
    /// Returns whether that was the last.
    pub(super) fn stream_ends(&mut self, entry: &Arc<PoolEntry>) -> bool {
        let before = entry.streams.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a stream ends once");
        if before == 1 {
            self.insert(entry);
        }
        before == 1
    }

    fn insert(&mut self, entry: &Arc<PoolEntry>) {
        let before = self.entries.insert(entry.id, Arc::clone(entry));
        debug_assert!(before.is_none(), "a connection has one place");
        *self.per_address.entry(entry.address).or_default() += 1;
        *self.count_mut(entry.kind) += 1;
        self.assert_counts();
    }

    /// Takes it out, where it is in.
    pub(super) fn remove(&mut self, entry: &PoolEntry) {
        if self.entries.remove(&entry.id).is_none() {
            return;
        }
        *self.count_mut(entry.kind) -= 1;
        let Some(count) = self.per_address.get_mut(&entry.address) else {
            debug_assert!(false, "the address of each place is counted");
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.per_address.remove(&entry.address);
        }
        self.assert_counts();
    }

    fn assert_counts(&self) {
        let of_kinds = self.any + self.verified_only + self.operator_only;
        debug_assert_eq!(of_kinds, self.entries.len());
        debug_assert!(self.per_address.len() <= self.entries.len());
    }

    fn count_mut(&mut self, kind: PlaceKind) -> &mut usize {
        match kind {
            PlaceKind::Anybody => &mut self.any,
            PlaceKind::Verified => &mut self.verified_only,
            PlaceKind::Operator => &mut self.operator_only,
        }
    }

    /// Remembers that an address has sent a verified delivery.
    pub(super) fn remember_verified(&mut self, address: Address, now_millis: u64) {
        let verified = &mut self.verified;
        if verified.len() >= VERIFIED_ADDRESSES_MAX && !verified.contains_key(&address) {
            let oldest = verified.iter().min_by_key(|(_, at)| **at);
            let oldest = oldest.map(|(other, _)| *other);
            oldest.and_then(|oldest| verified.remove(&oldest));
        }
        verified.insert(address, now_millis);
    }

    /// Whether an address has sent a verified delivery of late.
    pub(super) fn is_verified(&self, address: Address, now_millis: u64) -> bool {
        let verified = self.verified.get(&address);
        verified.is_some_and(|at| now_millis.saturating_sub(*at) < VERIFIED_MILLIS)
    }
}

impl PoolEntry {
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    pub(super) fn address(&self) -> Address {
        self.address
    }

    pub(super) fn is_proxy(&self) -> bool {
        self.is_proxy
    }

    pub(super) fn kind(&self) -> PlaceKind {
        self.kind
    }

    /// A request begins; `false` where the place has been taken for another.
    pub(super) fn begin_request(&self) -> bool {
        self.change_requests(|requests| requests + 1).is_ok()
    }

    /// A request ended; returns whether that is to be remembered as a verified
    /// delivery: often enough for what lasts minutes, and seldom enough for a lock.
    pub(super) fn end_request(&self, now_millis: u64) -> bool {
        const AGAIN_MILLIS: u64 = 60 * 1_000;
        self.served.store(true, Ordering::Relaxed);
        self.idle_since.store(now_millis, Ordering::Relaxed);
        self.body_since.store(0, Ordering::Relaxed);
        let is_verified = self.is_verified.swap(false, Ordering::Relaxed);
        let before = self.change_requests(|requests| requests - 1);
        debug_assert!(before != Ok(0), "a request ends once");
        let told = self.verified_at.load(Ordering::Relaxed);
        if !is_verified || (told != 0 && now_millis.saturating_sub(told - 1) < AGAIN_MILLIS) {
            return false;
        }
        self.verified_at.store(now_millis + 1, Ordering::Relaxed);
        true
    }

    /// Sets how many requests are under way; the error is that it was evicted.
    fn change_requests(&self, change: impl Fn(u32) -> u32) -> Result<u32, u32> {
        let change = |requests| (requests != EVICTED).then(|| change(requests));
        self.requests
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change)
    }

    /// The rest of a body is waited for; so much of it came.
    pub(super) fn waits_for_body(&self, received_bytes: usize, now_millis: impl FnOnce() -> u64) {
        let received_bytes = received_bytes as u64;
        self.body_bytes.store(received_bytes, Ordering::Relaxed);
        if self.body_since.load(Ordering::Relaxed) == 0 {
            self.body_since.store(now_millis() + 1, Ordering::Relaxed);
        }
    }

    /// The body came.
    pub(super) fn has_body(&self) {
        self.body_since.store(0, Ordering::Relaxed);
    }

    /// The delivery of a request under way was verified.
    pub(super) fn delivery_is_verified(&self) {
        self.is_verified.store(true, Ordering::Relaxed);
    }

    /// Which goes first of those without a request; `None` where one is under way.
    pub(super) fn idle_rank(&self) -> Option<(bool, u64, u64)> {
        let is_idle = self.requests.load(Ordering::Relaxed) == 0;
        let served = self.served.load(Ordering::Relaxed);
        let idle_since = self.idle_since.load(Ordering::Relaxed);
        is_idle.then_some((served, idle_since, self.id))
    }

    /// Which goes first of those whose only request has a body that arrives slowly,
    /// by bytes per second; `None` where none is waited for, or not long enough.
    pub(super) fn slow_body_rank(&self, now_millis: u64) -> Option<(u64, u64)> {
        let since = self.body_since.load(Ordering::Relaxed).checked_sub(1)?;
        let millis = now_millis.saturating_sub(since);
        let is_slow = millis >= BODY_GRACE_MILLIS && self.requests.load(Ordering::Relaxed) == 1;
        let bytes = self.body_bytes.load(Ordering::Relaxed);
        is_slow.then(|| (bytes * 1_000 / millis, self.id))
    }

    /// Takes its place for another connection, unless it has more or fewer requests
    /// under way than these.
    pub(super) fn evict(&self, requests: u32) -> bool {
        let evicted =
            self.requests
                .compare_exchange(requests, EVICTED, Ordering::AcqRel, Ordering::Acquire);
        if evicted.is_ok() {
            self.evicted.notify_one();
        }
        evicted.is_ok()
    }

    /// Completes when its place has been taken.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}
