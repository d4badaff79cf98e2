//! stub
use crate::verify::Secret;
use std::time::Duration;

/// The bounds of what a stranger may do, and who the operator is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The longest body taken, in bytes.
    pub body_bytes_max: usize,
    /// The most streams at one time; ingest, health and admin have
    /// connections of their own beyond it.
    pub subscribers_max: usize,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Which origins may subscribe across origins: `https://app.example.com`,
    /// or `*` for any, without credentials.
    pub cors_origins: Vec<String>,
    /// How long a drain may take in all.
    pub shutdown_grace: Duration,
    /// The operator's bearer token; without one, admin routes are closed.
    pub admin_token: Option<Secret>,
    /// Whether `/metrics` is open to everybody.
    pub metrics_public: bool,
}
