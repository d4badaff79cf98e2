//! Where a stream's bytes go.

use std::{
    future::Future,
    task::{Context, Poll},
};

use bytes::Buf;

use crate::subscribe::Ending;

/// Takes the bytes of one stream.
pub trait Sink: Send + 'static {
    /// About how many pieces it takes in one write.
    const PIECES_MAX: usize;

    /// Whether there is a point in trying to write.
    fn can_write(&self) -> bool;

    /// Writes what it takes of `batch` now, and advances `batch` past that.
    ///
    /// # Errors
    ///
    /// [`Disconnected`] where nothing can be written any more.
    fn try_write(&mut self, batch: &mut impl Buf) -> Result<WriteOutcome, Disconnected>;

    /// Ready when it may take more, or when the next write meets an error.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Ready when the peer has left.
    fn poll_disconnected(&mut self, cx: &mut Context<'_>) -> Poll<Disconnected>;

    /// Whether the peer is gone and can't say so. Asked at heartbeats.
    fn has_dead_peer(&mut self) -> bool {
        false
    }

    /// Whether the peer was given up, and has not left. Asked when the stream is
    /// dropped.
    fn was_given_up(&self) -> bool;

    /// Ends the body like this, after its last byte was written.
    ///
    /// # Errors
    ///
    /// [`Disconnected`] where the peer left before it had all.
    fn finish(&mut self, ending: Ending) -> impl Future<Output = Result<(), Disconnected>> + Send;
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// All of it was written.
    Flushed,
    /// The sink takes no more now.
    Blocked,
}

/// The peer left, or is not written to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnected;
