//! Builds everything and owns it: what runs, what ends it, and in what order.
//!
//! Reads no arguments and no environment. Invariant: every task belongs to the
//! app, and after [`App::serve`] none of them runs any more.

use std::{fmt, sync::Arc, time::Duration};

use tokio::net::TcpListener;

use crate::{
    access::Access,
    config::Config,
    event::{Clock, Timestamp, frame::Encoder},
    http::{Gateway, Server},
    hub::{self, Hub},
    ingest::Ingest,
    journal::{self, Journal, Measures},
    subscribe::Streams,
    telemetry::{Telemetry, UPKEEP_EVERY},
};
pub use crate::http::raise_open_files_limit;
