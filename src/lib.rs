//! Hookrill turns signed webhooks into live, resumable Server-Sent Events.
//!
//! This is the gateway as a library, for a program of your own that runs it
//! next to other things. To run the gateway by itself, use the binary
//! `hookrill`. To verify webhooks without a gateway, or to subscribe to one, use
//! the crates `hookrill-verify` and `hookrill-client`.
//!
//! ```no_run
//! use hookrill::{App, Config, Environment, MissingSecrets, Sources, system_clock};
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Reads hookrill.toml and the environment, as the binary does.
//! let environment = Environment::from_process();
//! let config = Config::load(Sources::new(&environment), MissingSecrets::Create)?;
//!
//! let listener = TcpListener::bind(config.listen).await?;
//! let app = App::build(config, system_clock()).await?;
//! let ctrl_c = async {
//!     tokio::signal::ctrl_c().await.expect("handlers can be installed");
//! };
//! // Serves until Ctrl-C, then drains and closes the journal.
//! app.serve(listener, ctrl_c).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`App::serve`] has the accept loop, the limits and the drain of the binary. A
//! program with a server of its own takes [`App::router`] instead and merges it
//! into its routes; it gives up the limits per address, the bound on
//! connections, and the writer that makes an idle subscriber cheap. A new
//! configuration is applied by [`App::reloader`].
//!
//! # Modules
//!
//! What this page lists is for users of the library. The modules are public only
//! so that tests, benchmarks and fuzzing reach them: they may change in any
//! version. A module may use only modules above it in this list, and of those
//! only what `tests/it/rooms.rs` allows.
//!
//! ```text
//! bytes → Delivery → Verified → Event{sequence} → Frame → bytes
//!         http       verify      journal           wire     deliver
//! ```

#[cfg_attr(docsrs, doc(hidden))]
pub mod durable;
#[cfg_attr(docsrs, doc(hidden))]
pub mod telemetry;
#[cfg_attr(docsrs, doc(hidden))]
pub mod wire;

#[cfg_attr(docsrs, doc(hidden))]
pub mod rate;

#[cfg_attr(docsrs, doc(hidden))]
pub mod access;

#[cfg_attr(docsrs, doc(hidden))]
pub mod identity;

#[cfg_attr(docsrs, doc(hidden))]
pub mod journal;

#[cfg_attr(docsrs, doc(hidden))]
pub mod ingest;

#[cfg_attr(docsrs, doc(hidden))]
pub mod recent;

#[cfg_attr(docsrs, doc(hidden))]
pub mod hub;

#[cfg_attr(docsrs, doc(hidden))]
pub mod subscribe;

#[cfg_attr(docsrs, doc(hidden))]
pub mod deliver;

#[cfg_attr(docsrs, doc(hidden))]
pub mod http;

#[cfg_attr(docsrs, doc(hidden))]
pub mod config;

#[cfg_attr(docsrs, doc(hidden))]
pub mod app;

#[cfg_attr(docsrs, doc(hidden))]
pub mod cli;

#[doc(inline)]
pub use app::{
    App, BuildError, ReloadError, Reloaded, Reloader, ServeError, raise_open_files_limit,
    system_clock,
};
#[doc(inline)]
pub use config::{
    Config, ConfigError, Diagnostic, Environment, KeyPath, Location, MissingSecrets, Severity,
    Sources, TopicSettings, ZeroConfig,
};
pub use hookrill_core::Clock;
#[doc(inline)]
pub use telemetry::{LogError, log_to_stderr};

/// What a [`Config`] consists of, for a program that reads or changes one.
///
/// ```no_run
/// use hookrill::{Config, Environment, MissingSecrets, Sources, settings::Backend};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let environment = Environment::from_process();
/// let mut config = Config::load(Sources::new(&environment), MissingSecrets::Create)?;
/// // For a test of one's own: nothing is written to a disk.
/// config.journal.backend = Backend::Memory;
/// # Ok(())
/// # }
/// ```
pub mod settings {
    #[doc(inline)]
    pub use crate::access::{Issuer, Key, KeySource, Policy, Settings as Access, TopicSource};
    #[doc(inline)]
    pub use crate::http::{AddressLimits, Settings as Server, StreamsSettings};
    #[doc(inline)]
    pub use crate::ingest::{DedupBy, DedupRule};
    #[doc(inline)]
    pub use crate::journal::{Backend, Retention, Settings as Journal};
    #[doc(inline)]
    pub use crate::rate::Rate;
    #[doc(inline)]
    pub use crate::subscribe::Settings as Subscribe;
    #[doc(inline)]
    pub use crate::telemetry::{LogFormat, Settings as Log};
    #[doc(inline)]
    pub use crate::wire::View;
    #[doc(inline)]
    pub use hookrill_core::{Secret, Topic, TopicMap};
    #[doc(inline)]
    pub use hookrill_verify::{Partition, Verifier};
}

/// What [`BuildError`] and [`ServeError`] name as causes.
pub mod errors {
    #[doc(inline)]
    pub use crate::config::{ReferenceError, VariableError};
    #[doc(inline)]
    pub use crate::hub::PumpError;
    #[doc(inline)]
    pub use crate::identity::OpenError as RevocationsError;
    #[doc(inline)]
    pub use crate::ingest::ProvisionedSecretError;
    #[doc(inline)]
    pub use crate::journal::{DamageError, DecodeError, FatalError, OpenError, ReadError};
}
