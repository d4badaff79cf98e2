//! Peers of streams that are gone and have not said so: the cable is out, the phone
//! has no network.
//!
//! The system itself gives such a peer up only after a quarter of an hour, and can't
//! be asked to do so sooner: `TCP_USER_TIMEOUT` also ends a peer that reads slowly and
//! acknowledges every probe. So the gateway looks for itself, and a stream asks at its
//! heartbeats what the last look found.
//!
//! Refuses to call a peer dead that is merely slow. Invariant: a peer is dead only
//! where what was sent to it was unanswered at two looks in a row, and nothing at all
//! came from it for [`DeadPeerBounds::silence_max`].

#[cfg(target_os = "linux")]
mod sock_diag;
#[cfg(target_os = "linux")]
mod watch;

use std::{
    collections::HashSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use rustix::net::sockopt;
use tokio::net::TcpStream;

use crate::telemetry::Telemetry;

#[cfg(target_os = "linux")]
pub(super) use watch::watch;

/// By when a peer that is gone is given up.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "nobody looks there")
)]
pub(super) struct DeadPeerBounds {
    /// It has not answered for so long.
    pub(super) silence_max: Duration,
    /// How often the gateway looks.
    pub(super) look_every: Duration,
    /// After so much silence the system asks an idle peer whether it is there.
    keepalive_after: Duration,
    keepalive_every: Duration,
}

/// How many keepalives in a row an idle peer may leave unanswered.
const KEEPALIVES_MAX: u32 = 3;

impl DeadPeerBounds {
    /// Bounds that end a stream within `dead_peer_max` after its peer was cut off,
    /// where heartbeats come so often. It takes one heartbeat until something is
    /// sent that the peer fails to answer, and at most one until the stream asks.
    pub(super) fn new(dead_peer_max: Duration, heartbeat: Duration) -> Self {
        let within = dead_peer_max.max(4 * heartbeat);
        Self {
            silence_max: within / 2,
            look_every: within / 12,
            keepalive_after: within / 2,
            // Whole seconds, of which there is at least one.
            keepalive_every: (within / 8).max(Duration::from_secs(1)),
        }
    }
}

/// The peers that the last look found dead.
pub(super) struct DeadPeers {
    bounds: DeadPeerBounds,
    /// The system's names of their sockets: no other socket is ever given the same.
    sockets: RwLock<HashSet<u64>>,
    /// Whether there are any: mostly, nobody has to ask for more.
    has_some: AtomicBool,
    telemetry: Arc<Telemetry>,
}

impl DeadPeers {
    pub(super) fn new(bounds: DeadPeerBounds, telemetry: Arc<Telemetry>) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            sockets: RwLock::default(),
            has_some: AtomicBool::new(false),
            telemetry,
        })
    }

    /// Has the system look after a peer to which nothing is on its way, and elsewhere
    /// than on Linux after all.
    pub(super) fn keep_alive(&self, socket: &TcpStream) {
        // A system that can't do that has a stream that ends later.
        _ = sockopt::set_tcp_keepidle(socket, self.bounds.keepalive_after);
        _ = sockopt::set_tcp_keepintvl(socket, self.bounds.keepalive_every);
        _ = sockopt::set_tcp_keepcnt(socket, KEEPALIVES_MAX);
        _ = sockopt::set_socket_keepalive(socket, true);
    }

    /// Whether the socket's peer is dead; it is counted then.
    pub(super) fn has(&self, socket: &TcpStream) -> bool {
        if !self.has_some.load(Ordering::Relaxed) {
            return false;
        }
        let is_dead = name(socket).is_some_and(|name| self.sockets.read().contains(&name));
        if is_dead {
            self.telemetry.stream_broken_off("dead_peer");
        }
        is_dead
    }

    /// As if a look had found this peer dead.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn find(&self, socket: &TcpStream) {
        self.replace(name(socket).into_iter().collect());
    }

    /// Takes what a look has found in place of what the last one did.
    #[cfg(target_os = "linux")]
    fn replace(&self, dead: HashSet<u64>) {
        let has_some = !dead.is_empty();
        let before = std::mem::replace(&mut *self.sockets.write(), dead);
        self.has_some.store(has_some, Ordering::Relaxed);
        drop(before);
    }
}

/// Whether the system says by this error that a peer does not answer, and not that it
/// has left.
pub(super) fn is_dead(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

/// The system's name of a socket.
#[cfg(target_os = "linux")]
fn name(socket: &TcpStream) -> Option<u64> {
    sockopt::socket_cookie(socket).ok()
}

/// Elsewhere nobody looks: keepalives have to do.
#[cfg(not(target_os = "linux"))]
pub(super) async fn watch(
    _dead: &Arc<DeadPeers>,
    _listening: std::net::SocketAddr,
) -> std::convert::Infallible {
    std::future::pending().await
}

/// Elsewhere sockets have none.
#[cfg(not(target_os = "linux"))]
fn name(_socket: &TcpStream) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_cut_off_is_gone_in_time_however_heartbeats_and_looks_fall() {
        // What the network may take until an unanswered packet is sent again.
        const AGAIN: Duration = Duration::from_secs(3);
        for (max, heartbeat, within) in [(60, 15, 60), (60, 1, 60), (30, 15, 60), (600, 60, 600)] {
            let heartbeat = Duration::from_secs(heartbeat);
            let bounds = DeadPeerBounds::new(Duration::from_secs(max), heartbeat);
            let unanswered = heartbeat + AGAIN;
            let found = (unanswered + bounds.look_every).max(bounds.silence_max);
            let asked = found + bounds.look_every + heartbeat;
            assert!(asked < Duration::from_secs(within), "{asked:?} of {within}");
            let idle = bounds.keepalive_after + KEEPALIVES_MAX * bounds.keepalive_every;
            assert!(idle < Duration::from_secs(within), "{idle:?} of {within}");
        }
    }
}
