//! Addresses for servers that have to come back to the one they had.

use std::{
    net::{SocketAddr, TcpListener},
    ops::Range,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// Below the range that outgoing connections are given (32768 and up on
/// Linux): a client that tries to reconnect while the gateway is down must
/// neither take its port nor connect to itself.
const PORTS: Range<u16> = 20_000..32_000;

/// An address of this machine where nobody listens.
#[must_use]
pub fn free_address() -> SocketAddr {
    // One after the other, so that no two tests of a process are given the same.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(..)));
    for _ in 0..100 {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
        let address = SocketAddr::from(([127, 0, 0, 1], PORTS.start + offset));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}
