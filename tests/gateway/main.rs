//! The whole gateway over real sockets, in this process.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop at a surprise, and say what it measured"
)]

mod harness;

mod crowd;
mod events;
mod hostile;
mod ingest;
mod life;
mod slow;
