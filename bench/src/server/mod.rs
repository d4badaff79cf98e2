//! Servers to measure: described in TOML, all alike, started one at a time.
//!
//! Knows no server by name: what differs stands in `bench/servers/*.toml`, or
//! in a file that a user gives. Invariant: what was started is stopped, also
//! when the measuring fails.

mod catalog;
mod requests;
mod running;
mod spec;
mod template;

pub use catalog::{built_in, missing};
pub use requests::{Audience, Post, Posts};
pub use running::{Places, Running, StartError};
pub use spec::{Case, Spec, SpecError};
