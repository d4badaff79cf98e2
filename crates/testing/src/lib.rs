//! What Hookrill's tests share: a gateway in this process or as a process of
//! its own, signers, and clients that show each byte of HTTP.
//!
//! ```no_run
//! use hookrill_testing::Gateway;
//!
//! # async fn test() {
//! let gateway = Gateway::on_disk().start().await;
//! gateway.post("open", "{}").await;
//! let mut subscriber = gateway.subscriber("/events/open?since=earliest").await;
//! assert_eq!(subscriber.events(1).await[0].data, "{}");
//! # }
//! ```
//!
//! Everything here panics at a surprise, and nothing waits for longer than
//! [`WAIT_MAX`].

#![allow(
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise"
)]

mod client;
mod connection;
mod gateway;
mod http;
mod log;
mod port;
mod process;
mod signature;
mod subprocess;
mod subscriber;

use std::time::Duration;

pub use client::Client;
pub use connection::Connection;
pub use gateway::{Gateway, GatewayBuilder, config, replaced};
pub use http::{ChunkedDecoder, Response};
pub use port::free_address;
pub use process::{OPEN_TOPIC, Process, hookrill};
pub use signature::{github_signature, token, token_until};
pub use subprocess::Subprocess;
pub use subscriber::{Message, Subscriber};

/// Longer than anything here takes on a slow day.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two looks at something that tells nobody when it happens.
pub const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The secret of subscribers' tokens.
pub const TOKEN_SECRET: &str = "0123456789abcdef0123456789abcdef";
/// What the operator's routes ask for.
pub const ADMIN_TOKEN: &str = "the-operators-own-token";
/// The secret of the topic `named`.
pub const GITHUB_SECRET: &str = "It's a Secret to Everybody";
/// Where the clock of a gateway in this process begins, in seconds since the
/// Unix epoch.
pub const BEGIN_SECS: u64 = 1_700_000_000;
