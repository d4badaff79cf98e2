//! stub
use std::time::Duration;

/// How streams are kept alive and brought back.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often a quiet stream is given a sign of life.
    pub heartbeat: Duration,
    /// What clients are told to wait before they reconnect; between one and
    /// two times this.
    pub retry: Duration,
}
