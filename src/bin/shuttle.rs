//! Hookrill under Shuttle's runtime (`shuttle run`), behind the feature
//! `shuttle`.
//!
//! Secrets stand in `Secrets.toml` under the names that the environment has
//! elsewhere: `HOOKRILL__TOPICS__GITHUB__PRESET = "github"`. The runtime brings
//! the address; all else is the same gateway as in the container.

use std::{ffi::OsString, net::SocketAddr};

use hookrill::{
    app::{App, system_clock},
    config::{Config, Missing, Sources, read_file},
    telemetry,
};
use shuttle_runtime::{CustomError, Error, SecretStore, Service};
use tokio::net::TcpListener;

/// A gateway that waits for its address.
struct Gateway(App);

#[shuttle_runtime::main]
async fn main(#[shuttle_runtime::Secrets] secrets: SecretStore) -> Result<Gateway, Error> {
    let environment = secrets
        .into_iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)))
        .collect();
    let sources = Sources {
        file: None,
        environment: &environment,
        read: &read_file,
    };
    let config = Config::load(sources, Missing::Make).map_err(CustomError::new)?;
    telemetry::log_to_stderr(&config.log).map_err(CustomError::new)?;
    let app = App::build(config, system_clock()).await;
    Ok(Gateway(app.map_err(CustomError::new)?))
}

#[shuttle_runtime::async_trait]
impl Service for Gateway {
    async fn bind(mut self, address: SocketAddr) -> Result<(), Error> {
        let listener = TcpListener::bind(address).await?;
        // The runtime ends the process by itself; until then it serves.
        let served = self.0.serve(listener, std::future::pending()).await;
        Ok(served.map_err(CustomError::new)?)
    }
}
