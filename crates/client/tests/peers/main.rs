//! The client against peers on this machine that are slow, lie, cut off and
//! refuse. What a real gateway does is tested where the gateway is.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod fetching;
mod hostile;
mod peer;
mod proxy;
mod resume;
mod sending;
mod streams;
#[cfg(feature = "tls")]
mod tls;
mod tokens;
