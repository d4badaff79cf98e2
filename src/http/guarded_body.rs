//! A response's body that says when it was sent, or given up.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::limits::RequestGuard;

/// A body, and what is held until it is dropped; nothing, where the connection was
/// just taken for another one.
pub(super) struct GuardedBody {
    body: Body,
    _guard: Option<RequestGuard>,
}

impl GuardedBody {
    pub(super) fn new(body: Body, guard: Option<RequestGuard>) -> Self {
        Self {
            body,
            _guard: guard,
        }
    }
}

impl http_body::Body for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
