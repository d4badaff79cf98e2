//! The built program under attack, with honest traffic beside it.
//!
//! Each attack is bounded in connections and time, and sends to loopback alone, from
//! as many loopback addresses as it claims to have. `SIEGE_FACTOR=10` makes them so
//! many times as large.

#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "clippy takes a test's helpers for the program"
)]

mod bombs;
mod connections;
mod dead_peers;
mod honest;
mod pinned_events;
mod refusals;
