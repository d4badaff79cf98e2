//! Which events a subscription is about.

use crate::{Event, Topic};

/// The topics and types that a subscription asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Which topics, subtopics included.
    pub topics: Topics,
    /// Which event types; `None` is all of them.
    pub types: Option<Box<[Box<str>]>>,
}

/// A set of topics, each with its subtopics.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topics {
    /// Everything in the journal.
    All,
    /// These, each with its subtopics. [`Topics::these`] leaves out those that
    /// another one covers.
    These(Box<[Topic]>),
}

impl Topics {
    /// These topics, without those that another of them covers.
    #[must_use]
    pub fn these(mut topics: Vec<Topic>) -> Self {
        // Parents sort before their children, so one pass is enough.
        topics.sort();
        let mut kept: Vec<Topic> = Vec::with_capacity(topics.len());
        for topic in topics {
            if !kept.iter().any(|above| above.covers(&topic)) {
                debug_assert!(!kept.iter().any(|below| topic.covers(below)));
                kept.push(topic);
            }
        }
        Self::These(kept.into())
    }

    /// Whether an event of `topic` belongs to this set.
    #[must_use]
    pub fn contains(&self, topic: &Topic) -> bool {
        match self {
            Self::All => true,
            Self::These(topics) => topics.iter().any(|above| above.covers(topic)),
        }
    }
}

impl Selection {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self {
            topics: Topics::All,
            types: None,
        }
    }

    /// Every event of one topic and its subtopics.
    #[must_use]
    pub fn topic(topic: Topic) -> Self {
        Self {
            topics: Topics::These([topic].into()),
            types: None,
        }
    }

    /// Whether the selection wants events of this type.
    #[must_use]
    pub fn wants_type(&self, event_type: &str) -> bool {
        match &self.types {
            None => true,
            Some(types) => types.iter().any(|wanted| **wanted == *event_type),
        }
    }

    /// Whether the selection wants this event.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        self.wants_type(&event.draft.event_type) && self.topics.contains(&event.draft.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_another_covers_are_dropped() {
        let names = ["b.c", "a", "b", "a.x", "a-x", "a", "c.d"];
        let Topics::These(kept) = Topics::these(names.map(|n| n.parse().unwrap()).into()) else {
            panic!("named topics are not everything");
        };
        let kept: Vec<_> = kept.iter().map(Topic::as_str).collect();
        assert_eq!(kept, ["a", "a-x", "b", "c.d"]);
    }
}
