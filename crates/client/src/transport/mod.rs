//! HTTP/1.1 by hyper, over connections of our own: no pool, no redirects, no
//! spawned task.

mod answer;
mod connect;
mod exchange;
mod proxy;
#[cfg(feature = "tls")]
mod tls;
mod url;

pub(crate) use answer::Answer;
pub use answer::StatusError;
pub(crate) use connect::Connector;
pub use connect::{ConnectError, ConnectOptions, ConnectOptionsError};
pub use exchange::ExchangeError;
pub(crate) use exchange::{Exchange, IdleConnection};
pub use url::UrlError;
