//! The built program, started as a process of its own.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "clippy takes a test's helpers for the program"
)]

mod command_line;
mod crash;
mod forward;
mod numbers;
#[cfg(feature = "shuttle")]
mod shuttle;
mod signals;
