//! Hookrill turns signed webhooks into live, resumable Server-Sent Events.
#![allow(missing_docs)]
pub mod event;
pub mod telemetry;
pub mod verify;
pub mod access;
pub mod journal;
pub mod subscribe;
pub mod http;
