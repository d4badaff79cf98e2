//! A page as the body of a response, handed out in pieces, so that whoever stops taking
//! them is known.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::http::limits::PageProgress;

/// The most bytes of one piece.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// What is left of a page.
pub(super) struct PageBody {
    progress: PageProgress,
    rest: Bytes,
}

impl PageBody {
    pub(super) fn new(progress: PageProgress, text: Bytes) -> Self {
        Self {
            progress,
            rest: text,
        }
    }
}

impl Body for PageBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        self.progress.taken();
        let bytes = self.rest.len().min(PIECE_BYTES_MAX);
        let piece = self.rest.split_to(bytes);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
