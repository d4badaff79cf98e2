//! The Rust client of [Hookrill], the gateway that turns signed webhooks into
//! live Server-Sent Events.
//!
//! - [`Subscription`] gives the events of some topics, over all disconnects.
//! - [`Sender`] sends signed webhooks, again where that helps.
//! - [`SseReader`](sse::SseReader) reads any `text/event-stream`, without I/O.
//! - [`Fetch`] fetches a small document, such as a token.
//! - [`Relay`] passes requests on exactly as they are.
//!
//! Everything runs on tokio, and no task is spawned. A whole subscription,
//! against a server of three lines:
//!
//! ```
//! use std::io::{Read, Write};
//!
//! use hookrill_client::{Item, Subscription};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let url = format!("http://{}", listener.local_addr()?);
//! let server = std::thread::spawn(move || -> std::io::Result<()> {
//!     let (mut stream, _) = listener.accept()?;
//!     _ = stream.read(&mut [0; 1024])?;
//!     stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nid: e-1\ndata: {\"order\":\"A-1\"}\n\n")
//! });
//!
//! let mut orders = Subscription::builder(url).topic("orders").build()?;
//! while let Some(item) = orders.next().await {
//!     if let Item::Event(order) = item? {
//!         assert_eq!(order.data, r#"{"order":"A-1"}"#);
//!         break;
//!     }
//! }
//! assert_eq!(orders.position(), Some("e-1"));
//! # server.join().unwrap()?;
//! # Ok(())
//! # }
//! ```
//!
//! [Hookrill]: https://docs.rs/hookrill

mod backoff;
mod cloud_event;
mod fetch;
mod gzip;
mod relay;
mod sender;
pub mod sse;
mod subscription;
mod token;
mod transport;

pub use cloud_event::{CloudEvent, CloudEventError};
pub use fetch::{Document, Fetch, FetchError};
pub use hookrill_core::{Clock, Secret};
pub use hookrill_verify;
pub use relay::{Relay, RelayAnswer, RelayBody};
pub use sender::{
    AcceptedEvent, Receipt, SendError, Sender, SenderBuilder, SenderOptionsError, Webhook,
};
pub use subscription::{
    EventFormat, Interruption, Item, ReceivedEvent, ReceivedGap, ReceivedGapReason, SubscribeError,
    SubscribeOptionsError, Subscription, SubscriptionBuilder, WithheldEvent,
};
pub use token::{BoxError, TokenFuture, TokenSource};
pub use transport::{
    ConnectError, ConnectOptions, ConnectOptionsError, ExchangeError, StatusError, UrlError,
};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
