//! Hookrill among the routes of your own Shuttle service, by `shuttle-axum`.
//!
//! Run it as your own package's `main`, with `Secrets.toml` beside it. What
//! `shuttle-axum` does not do, and `hookrill-shuttle` does: it ends the process
//! at SIGTERM without a drain, so that streams are cut (clients come back to
//! where they were); it bounds no request heads and no connections; and it does
//! not say who is asking, so that limits per address count nobody.

use std::{ffi::OsString, sync::Arc};

use axum::{Extension, Router, routing::get};
use hookrill::{
    app::{App, system_clock},
    config::{Config, MissingSecrets, Sources, read_file},
    telemetry,
};
use shuttle_axum::ShuttleAxum;
use shuttle_runtime::{CustomError, Error, SecretStore};

#[shuttle_runtime::main]
async fn main(#[shuttle_runtime::Secrets] secrets: SecretStore) -> ShuttleAxum {
    service(secrets).await
}

/// Your routes and Hookrill's. In a function of its own, so that a test can
/// run it.
pub async fn service(secrets: SecretStore) -> ShuttleAxum {
    let app = hookrill(secrets).await?;
    let router = Router::new()
        .route("/", get(async || "my own page"))
        .merge(app.router())
        // What works beside the routes does so as long as the app lives.
        .layer(Extension(Arc::new(app)));
    Ok(router.into())
}

async fn hookrill(secrets: SecretStore) -> Result<App, Error> {
    let environment = secrets
        .into_iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)))
        .collect();
    let sources = Sources {
        file: None,
        environment: &environment,
        read: &read_file,
    };
    let config = Config::load(sources, MissingSecrets::Create).map_err(CustomError::new)?;
    telemetry::log_to_stderr(&config.log).map_err(CustomError::new)?;
    let app = App::build(config, system_clock()).await;
    Ok(app.map_err(CustomError::new)?)
}
