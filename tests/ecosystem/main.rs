//! Hookrill among programs that nobody here wrote: browsers, proxies, clients,
//! providers' own SDKs, and those who read the files that deploy it.
//!
//! `scripts/test` installs what these tests need; each says what is missing.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "clippy takes a test's helpers for the program"
)]

mod installed;
mod program;

mod browser;
mod clients;
mod compat;
mod deploy;
mod forward;
mod habits;
mod image;
mod movies;
mod presets;
mod proxies;
mod real_input;
mod recipes;
mod senders;
mod smee;
mod streams;
