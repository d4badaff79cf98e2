//! Hookrill among the routes of your own Shuttle service, with `shuttle-axum`.
//!
//! Use it as the `main` of your own package, with a `Secrets.toml` next to it.
//! Compared to `hookrill-shuttle`, you give up three things: `shuttle-axum` ends
//! the process at SIGTERM without a drain, so streams are cut (clients reconnect
//! and resume); it limits neither request heads nor the number of connections;
//! and it does not pass on the client's address, so the limits per address have
//! no effect.

use std::{ffi::OsString, sync::Arc};

use axum::{Extension, Router, routing::get};
use hookrill::{App, Config, MissingSecrets, Sources, log_to_stderr, system_clock};
use shuttle_axum::ShuttleAxum;
use shuttle_runtime::{CustomError, Error, SecretStore};

#[shuttle_runtime::main]
async fn main(#[shuttle_runtime::Secrets] secrets: SecretStore) -> ShuttleAxum {
    service(secrets).await
}

/// Your routes and Hookrill's; a function of its own, so that a test can run
/// it.
pub(crate) async fn service(secrets: SecretStore) -> ShuttleAxum {
    let app = hookrill(secrets).await?;
    let router = Router::new()
        .route("/", get(async || "my own page"))
        .merge(app.router())
        // The app's background tasks run only as long as the app lives.
        .layer(Extension(Arc::new(app)));
    Ok(router.into())
}

async fn hookrill(secrets: SecretStore) -> Result<App, Error> {
    let environment = secrets
        .into_iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)))
        .collect();
    let config = Config::load(Sources::new(&environment), MissingSecrets::Create)
        .map_err(CustomError::new)?;
    log_to_stderr(&config.log).map_err(CustomError::new)?;
    let app = App::build(config, system_clock()).await;
    Ok(app.map_err(CustomError::new)?)
}
