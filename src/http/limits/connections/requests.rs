//! What a connection says of its requests: that one begins, waits for its body, turns
//! out to be a stream, and ends.

use std::{net::IpAddr, sync::Arc};

use super::{
    Connections,
    pool::{PlaceKind, PoolEntry},
};

/// Counts the requests of one connection. Cheap to clone.
#[derive(Clone)]
pub(in crate::http) struct ConnectionRequests(Arc<Registration>);

struct Registration {
    connections: Arc<Connections>,
    entry: Arc<PoolEntry>,
}

/// A request under way, until its response was sent.
pub(in crate::http) struct RequestGuard {
    registration: Arc<Registration>,
    is_stream: bool,
}

/// A request that waits for events: its connection has no place in the pool, as one that
/// carries a stream.
pub(in crate::http) struct WaitingRequest(Arc<Registration>);

/// What a request says to its connection's pool. Cheap to clone.
#[derive(Clone)]
pub(in crate::http) struct RequestProgress(Arc<Registration>);

impl ConnectionRequests {
    pub(super) fn new(connections: Arc<Connections>, entry: Arc<PoolEntry>) -> Self {
        Self(Arc::new(Registration { connections, entry }))
    }

    /// Counts a request as under way; `None` where the connection has just been
    /// closed for another one.
    pub(in crate::http) fn begin(&self) -> Option<RequestGuard> {
        self.0.entry.begin_request().then(|| RequestGuard {
            registration: Arc::clone(&self.0),
            is_stream: false,
        })
    }

    /// Whether only the operator's routes may be answered.
    pub(in crate::http) fn only_operator(&self) -> bool {
        self.0.entry.kind() == PlaceKind::Operator
    }

    /// Completes when the connection has to make room.
    pub(in crate::http) async fn evicted(self) {
        self.0.entry.evicted().await;
    }
}

impl RequestProgress {
    /// Who is connected.
    pub(in crate::http) fn peer(&self) -> IpAddr {
        self.0.entry.peer()
    }

    /// The rest of the body is waited for; so much of it came.
    pub(in crate::http) fn waits_for_body(&self, received_bytes: usize) {
        let Registration { connections, entry } = &*self.0;
        entry.waits_for_body(received_bytes, || connections.now_millis());
    }

    /// The body came.
    pub(in crate::http) fn has_body(&self) {
        self.0.entry.has_body();
    }

    /// It waits for events from now on, which is bounded elsewhere, until the guard is
    /// dropped.
    pub(in crate::http) fn waits_for_events(&self) -> WaitingRequest {
        let Registration { connections, entry } = &*self.0;
        connections.pool.lock().stream_begins(entry);
        WaitingRequest(Arc::clone(&self.0))
    }

    /// The delivery was verified, which counts once its request has ended.
    pub(in crate::http) fn verified(&self) {
        self.0.entry.delivery_is_verified();
    }
}

impl RequestGuard {
    /// For those who read the request.
    pub(in crate::http) fn progress(&self) -> RequestProgress {
        RequestProgress(Arc::clone(&self.registration))
    }

    /// The response is a stream, which is bounded elsewhere: the connection has no
    /// place in the pool until its last stream ends.
    pub(in crate::http) fn carries_stream(&mut self) {
        debug_assert!(!self.is_stream, "a request has one response");
        self.is_stream = true;
        let Registration { connections, entry } = &*self.registration;
        connections.pool.lock().stream_begins(entry);
    }
}

impl Drop for WaitingRequest {
    fn drop(&mut self) {
        let Registration { connections, entry } = &*self.0;
        connections.take_back(entry);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let Registration { connections, entry } = &*self.registration;
        let now_millis = connections.now_millis();
        if entry.end_request(now_millis) {
            let mut pool = connections.pool.lock();
            pool.remember_verified(entry.address(), now_millis);
        }
        if self.is_stream {
            connections.take_back(entry);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.connections.pool.lock().remove(&self.entry);
    }
}
