//! The Rust client of Hookrill: subscribes to its streams, resuming over
//! disconnects, and sends signed webhooks.

mod backoff;
mod cloud_event;
mod gzip;
mod http;
pub mod sse;
mod subscription;
mod token;

pub use cloud_event::{CloudEvent, CloudEventError};
pub use http::{
    ConnectError, ConnectOptions, ConnectOptionsError, ExchangeError, StatusError, UrlError,
};
pub use subscription::{
    EventFormat, GapReason, Interruption, Item, ReceivedEvent, ReceivedGap, SubscribeError,
    SubscribeOptionsError, Subscription, SubscriptionBuilder, WithheldEvent,
};
pub use token::{BoxError, TokenFuture, TokenSource};
