//! How a stream gets from its route to the connection that writes it.
//!
//! hyper and axum parse, route and authorise a subscription like any request. The
//! response that comes out of all that carries the stream in its extensions; over
//! HTTP/1.1 its connection is then taken back from hyper, and what hyper and axum
//! held for it is freed. Go calls this hijacking.

use std::sync::Arc;

use axum::response::Response;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use super::{limits::StreamSlot, stall_timeout::StreamingGuard};
use crate::subscribe::SubscriberStream;

/// A subscription and what it holds while it is open.
pub(super) struct EventStream {
    pub(super) subscription: SubscriberStream,
    pub(super) permits: StreamPermits,
}

/// What a stream holds until its connection is closed.
pub(super) struct StreamPermits {
    /// Its place among all streams.
    pub(super) _all: OwnedSemaphorePermit,
    /// Its place among those of its address, where that is known.
    pub(super) _address: Option<StreamSlot>,
    /// Lets the connection be quiet, where the stream is a response's body.
    pub(super) streaming: Option<StreamingGuard>,
}

/// Marks a request whose connection can be taken back from hyper.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hijackable;

/// In a response's extensions, which have to be `Clone`.
#[derive(Clone)]
struct HijackingStream(Arc<Mutex<Option<EventStream>>>);

impl EventStream {
    /// The response, with the stream attached for its connection to take.
    pub(super) fn attach_to(self, mut response: Response) -> Response {
        let stream = HijackingStream(Arc::new(Mutex::new(Some(self))));
        response.extensions_mut().insert(stream);
        response
    }

    /// The stream that `response` carries, if any.
    pub(super) fn take_from<B>(response: &mut http::Response<B>) -> Option<Self> {
        let HijackingStream(stream) = response.extensions_mut().remove()?;
        stream.lock().take()
    }
}
