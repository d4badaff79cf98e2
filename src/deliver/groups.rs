//! The inboxes of all groups, by channel.

use std::sync::Arc;

use dashmap::DashMap;

use super::{inbox::Inbox, sink::Sink, writer::StreamWriter};

/// The inboxes that may have room. The map is never locked under an inbox.
pub(super) struct Groups<S: Sink>(DashMap<Box<str>, Vec<Arc<Inbox<S>>>>);

impl<S: Sink> Groups<S> {
    pub(super) fn new() -> Self {
        Self(DashMap::new())
    }

    /// Adds `writer` to a group of `channel`. Where none has room, lists the inbox
    /// of a new one, which `group` makes of the writer.
    pub(super) fn join<G>(
        &self,
        channel: &str,
        mut writer: Box<StreamWriter<S>>,
        group: impl FnOnce(Box<StreamWriter<S>>) -> (Arc<Inbox<S>>, G),
    ) -> Option<G> {
        let mut inboxes = self.0.entry(channel.into()).or_default();
        while let Some(inbox) = inboxes.last() {
            writer = match inbox.try_push(writer) {
                Ok(()) => return None,
                Err(refused) => refused,
            };
            inboxes.pop();
        }
        let (inbox, group) = group(writer);
        inboxes.push(inbox);
        Some(group)
    }

    /// Lists an inbox again.
    pub(super) fn relist(&self, channel: &str, inbox: &Arc<Inbox<S>>) {
        let mut inboxes = self.0.entry(channel.into()).or_default();
        inbox.mark_listed();
        inboxes.push(Arc::clone(inbox));
    }

    /// Forgets an inbox that is closed.
    pub(super) fn forget(&self, channel: &str, inbox: &Arc<Inbox<S>>) {
        self.0.remove_if_mut(channel, |_, inboxes| {
            inboxes.retain(|other| !Arc::ptr_eq(other, inbox));
            inboxes.is_empty()
        });
    }
}
