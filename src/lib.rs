//! Hookrill turns signed webhooks into live, resumable Server-Sent Events.
//!
//! The rooms, from the ground up. A room may use only rooms above it in this
//! list, and of those only what `tests/it/rooms.rs` allows it.
//!
//! ```text
//! bytes → Delivery → Verified → Event{sequence} → Frame → bytes
//!         http       verify      journal           wire     http
//! ```

pub mod durable;
pub mod telemetry;
pub mod wire;

pub mod rate;

pub mod access;

pub mod identity;

pub mod journal;

pub mod ingest;

pub mod hub;

pub mod subscribe;

pub mod deliver;

pub mod http;

pub mod config;

pub mod app;

pub mod cli;
