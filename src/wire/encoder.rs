//! What the encoding of an event depends on besides the event.

use std::sync::Arc;

use hookrill_core::{Cursor, Epoch, Sequence, TopicMap};

use super::View;

/// What the encoding of an event depends on besides the event.
#[derive(Debug)]
pub struct Encoder {
    /// Names the journal in cursors.
    pub epoch: Epoch,
    /// Under which address senders reach this gateway, without a trailing
    /// slash; empty where none is configured. Part of a CloudEvent's source.
    pub public_url: Box<str>,
    /// Per topic: what its subscribers are shown. Of a topic that is not here
    /// they are shown nothing.
    pub views: TopicMap<Arc<View>>,
}

impl Encoder {
    /// Where `sequence` is in this journal.
    #[must_use]
    pub fn cursor(&self, sequence: Sequence) -> Cursor {
        Cursor {
            epoch: self.epoch,
            sequence,
        }
    }
}
