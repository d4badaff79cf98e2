//! Hookrill turns signed webhooks into live, resumable Server-Sent Events.
#![allow(missing_docs)]
pub mod access;
pub mod event;
pub mod http;
pub mod journal;
pub mod subscribe;
pub mod telemetry;
pub mod verify;
