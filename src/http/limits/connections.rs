//! A connection among all that may be open.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::telemetry::Telemetry;

/// A connection's permit, until it is closed; counted as open meanwhile.
pub(in crate::http) struct ConnectionPermit {
    telemetry: Arc<Telemetry>,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionPermit {
    pub(in crate::http) fn new(telemetry: Arc<Telemetry>, permit: OwnedSemaphorePermit) -> Self {
        telemetry.connections.increment(1.0);
        Self {
            telemetry,
            _permit: permit,
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.telemetry.connections.decrement(1.0);
    }
}
