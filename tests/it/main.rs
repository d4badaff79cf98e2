//! What runs in this process, with cargo alone: the gateway over real sockets,
//! the documents against the program, and the order of the source.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop at a surprise, and say what it measured"
)]

mod docs;
mod gateway;
mod gzip;
mod presets_page;
mod rooms;
mod source;
