//! A selection, prepared to be asked about many events.
//!
//! A selection can name dozens of topics and types, and a read that finds nothing
//! looks at thousands of events: each is looked up, and not compared with every
//! name.

use std::collections::HashSet;

use hookrill_core::{Event, Selection, Topic, Topics};

/// Answers as [`Selection::wants`] does.
pub(super) struct Matcher<'s> {
    topics: Option<HashSet<&'s str>>,
    types: Option<HashSet<&'s str>>,
}

impl<'s> Matcher<'s> {
    pub(super) fn new(selection: &'s Selection) -> Self {
        let topics = match &selection.topics {
            Topics::All => None,
            Topics::These(topics) => Some(topics.iter().map(Topic::as_str).collect()),
        };
        let types = selection.types.as_ref();
        Self {
            topics,
            types: types.map(|types| types.iter().map(|name| &**name).collect()),
        }
    }

    pub(super) fn wants(&self, event: &Event) -> bool {
        let draft = &event.draft;
        let of_types = self.types.as_ref();
        let of_topics = self.topics.as_ref();
        of_types.is_none_or(|types| types.contains(&*draft.event_type))
            && of_topics
                .is_none_or(|topics| draft.topic.lineage().any(|name| topics.contains(name)))
    }
}
