//! Topic names, and what is configured for them.
//!
//! Invariant: a [`Topic`] that exists is well formed, so nothing that uses one
//! needs to escape or bound it.

use std::{borrow::Borrow, collections::HashMap, fmt, str::FromStr, sync::Arc};

/// The most segments in a topic: `a.b.c` has three.
pub const SEGMENTS_MAX: usize = 8;
/// The longest topic in bytes, dots included.
pub const TOPIC_BYTES_MAX: usize = 200;

/// A dot-separated name: what is ingested to and subscribed to.
///
/// 1 to [`SEGMENTS_MAX`] segments of `A–Z a–z 0–9 _ ~ : -`. A subscription to a
/// topic includes its subtopics. Cheap to clone.
///
/// ```
/// use hookrill_core::Topic;
///
/// let orders: Topic = "orders".parse()?;
/// assert!(orders.covers(&orders.below("eu.4711")?));
/// assert!("or ders".parse::<Topic>().is_err());
/// # Ok::<(), hookrill_core::TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// Why a text is not a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// Longer than [`TOPIC_BYTES_MAX`].
    #[error("a topic has at most {TOPIC_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`SEGMENTS_MAX`] segments.
    #[error("a topic has at most {SEGMENTS_MAX} segments")]
    TooManySegments,
    /// Nothing between two dots, or nothing at all.
    #[error("a topic has no empty segment")]
    EmptySegment,
    /// A character outside the grammar.
    #[error("a topic has only A-Z a-z 0-9 _ ~ : - and dots")]
    InvalidCharacter,
}

impl Topic {
    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a segment of a topic may have this character.
    #[must_use]
    pub fn has_character(c: char) -> bool {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '~' | ':' | '-')
    }

    /// The topic itself and all above it, from the longest: `a.b.c`, `a.b`, `a`.
    pub fn lineage(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.as_str()), |name| parent(name))
    }

    /// The topic `rest` below this one: `orders` and `eu.4711` make
    /// `orders.eu.4711`.
    ///
    /// # Errors
    ///
    /// [`TopicError`] where that is not a topic.
    pub fn below(&self, rest: &str) -> Result<Self, TopicError> {
        format!("{self}.{rest}").parse()
    }

    /// Whether a subscription to this topic includes `other`.
    #[must_use]
    pub fn covers(&self, other: &Topic) -> bool {
        self.covers_name(other.as_str())
    }

    /// As [`Topic::covers`], for the name of a topic.
    #[must_use]
    pub fn covers_name(&self, other: &str) -> bool {
        match other.strip_prefix(&*self.0) {
            Some(rest) => rest.is_empty() || rest.starts_with('.'),
            None => false,
        }
    }
}

fn parent(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(above, _)| above)
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        if text.len() > TOPIC_BYTES_MAX {
            return Err(TopicError::TooLong);
        }
        for (i, segment) in text.split('.').enumerate() {
            if i == SEGMENTS_MAX {
                return Err(TopicError::TooManySegments);
            }
            if segment.is_empty() {
                return Err(TopicError::EmptySegment);
            }
            if !segment.chars().all(Self::has_character) {
                return Err(TopicError::InvalidCharacter);
            }
        }
        Ok(Self(text.into()))
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.0)
    }
}

/// Values configured by topic. A topic without a value of its own has that of
/// its longest configured prefix, else that of `"*"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMap<T> {
    named: HashMap<Topic, T>,
    any: Option<T>,
}

impl<T> TopicMap<T> {
    /// A map with these named topics, and this value for any other topic.
    #[must_use]
    pub fn new(named: HashMap<Topic, T>, any: Option<T>) -> Self {
        Self { named, any }
    }

    /// The value for `topic`; `None` where nothing configures it.
    #[must_use]
    pub fn lookup(&self, topic: &Topic) -> Option<&T> {
        topic
            .lineage()
            .find_map(|name| self.named.get(name))
            .or(self.any.as_ref())
    }

    /// The named topics with their values, in no particular order.
    pub fn named(&self) -> impl Iterator<Item = (&Topic, &T)> {
        self.named.iter()
    }

    /// The value of `"*"`.
    #[must_use]
    pub fn any(&self) -> Option<&T> {
        self.any.as_ref()
    }

    /// The same topics with other values.
    #[must_use]
    pub fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> TopicMap<U> {
        TopicMap {
            named: self
                .named
                .iter()
                .map(|(topic, value)| (topic.clone(), f(value)))
                .collect(),
            any: self.any.as_ref().map(f),
        }
    }
}

impl<T> Default for TopicMap<T> {
    fn default() -> Self {
        Self::new(HashMap::new(), None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic(text: &str) -> Topic {
        text.parse().unwrap()
    }

    #[test]
    fn the_grammar_is_closed() {
        for good in [
            "a",
            "orders.eu.4711",
            "A_~:-9",
            "1.2.3.4.5.6.7.8",
            &"x".repeat(200),
        ] {
            assert_eq!(topic(good).as_str(), good);
        }
        for (bad, why) in [
            ("", TopicError::EmptySegment),
            (".", TopicError::EmptySegment),
            ("a.", TopicError::EmptySegment),
            (".a", TopicError::EmptySegment),
            ("a..b", TopicError::EmptySegment),
            ("a b", TopicError::InvalidCharacter),
            ("a/b", TopicError::InvalidCharacter),
            ("*", TopicError::InvalidCharacter),
            ("a\n", TopicError::InvalidCharacter),
            ("a\0", TopicError::InvalidCharacter),
            ("é", TopicError::InvalidCharacter),
            ("1.2.3.4.5.6.7.8.9", TopicError::TooManySegments),
            (&"x".repeat(201), TopicError::TooLong),
        ] {
            assert_eq!(bad.parse::<Topic>(), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn a_topic_covers_itself_and_what_is_below_it() {
        assert!(topic("a").covers(&topic("a")));
        assert!(topic("a").covers(&topic("a.b.c")));
        assert!(!topic("a").covers(&topic("ab")));
        assert!(!topic("a.b").covers(&topic("a")));
        assert!(!topic("a.b").covers(&topic("a.bc")));
    }

    #[test]
    fn the_longest_configured_prefix_wins() {
        let named = [("orders", 1), ("orders.eu", 2)];
        let named = named.map(|(name, value)| (topic(name), value)).into();
        let map = TopicMap::new(named, Some(0));
        for (name, value) in [
            ("orders", 1),
            ("orders.us", 1),
            ("orders.eu", 2),
            ("orders.eu.4711", 2),
            ("ordersx", 0),
        ] {
            assert_eq!(map.lookup(&topic(name)), Some(&value), "{name}");
        }
        assert_eq!(TopicMap::<u8>::default().lookup(&topic("a")), None);
    }

    proptest! {
        #[test]
        fn a_topic_that_exists_is_well_formed_and_so_is_all_above_it(
            text in "[A-Za-z0-9_~:. é/-]{0,210}",
        ) {
            if let Ok(topic) = text.parse::<Topic>() {
                for name in topic.lineage() {
                    let segments: Vec<_> = name.split('.').collect();
                    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"_~:-".contains(&b);
                    prop_assert!(segments.len() <= SEGMENTS_MAX && name.len() <= TOPIC_BYTES_MAX);
                    prop_assert!(segments.iter().all(|segment| !segment.is_empty()));
                    prop_assert!(segments.iter().all(|segment| segment.bytes().all(is_allowed)));
                    prop_assert!(name.parse::<Topic>().is_ok_and(|above| above.covers(&topic)));
                }
            }
        }
    }
}
