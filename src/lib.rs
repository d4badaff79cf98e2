//! Hookrill turns signed webhooks into live, resumable Server-Sent Events.
#![allow(missing_docs)]
pub mod event;
