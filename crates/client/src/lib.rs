//! The Rust client of Hookrill: subscribes to its streams, resuming over
//! disconnects, and sends signed webhooks.

mod backoff;
mod cloud_event;
mod gzip;
mod sender;
pub mod sse;
mod subscription;
mod token;
mod transport;

pub use cloud_event::{CloudEvent, CloudEventError};
pub use hookrill_core::{Clock, Secret};
pub use hookrill_verify;
pub use sender::{
    AcceptedEvent, Receipt, SendError, Sender, SenderBuilder, SenderOptionsError, Webhook,
};
pub use subscription::{
    EventFormat, GapReason, Interruption, Item, ReceivedEvent, ReceivedGap, SubscribeError,
    SubscribeOptionsError, Subscription, SubscriptionBuilder, WithheldEvent,
};
pub use token::{BoxError, TokenFuture, TokenSource};
pub use transport::{
    ConnectError, ConnectOptions, ConnectOptionsError, ExchangeError, StatusError, UrlError,
};
