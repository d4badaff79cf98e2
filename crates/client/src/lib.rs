//! The Rust client of Hookrill: subscribes to its streams, resuming over
//! disconnects, and sends signed webhooks.

pub mod sse;
