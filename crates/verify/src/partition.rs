//! Where a delivery's subtopic comes from: `{/data/object/customer}`.
//!
//! What a topic's section says is read here; whether the signature covers it is
//! decided by `plan`, and its text for a delivery is a fact. Refuses what has
//! no value in it, and what could make topics that the grammar does not have.
//! Invariant: two deliveries have one subtopic only where their values are the
//! same, since each value is one whole segment, spelled by `event::segment`.

use std::{fmt, str::FromStr};

use hookrill_core::{SEGMENT_BYTES_MAX, Topic, TopicError, segment};
use http::HeaderName;

use super::{delivery::Delivery, error::VerifyError, scheme::Source};

/// The most segments that a partition has.
const SEGMENTS_MAX: usize = 3;

/// What stands below a topic for each of its deliveries: literal segments, and
/// segments that are a value of the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    text: Box<str>,
    segments: Box<[Segment]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Value(Source),
}

/// Why a text is no [`Partition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// Neither literal segments nor values.
    #[error(
        "a partition such as \"{{/data/object/customer}}\": 1 to {SEGMENTS_MAX} segments with \
         dots between, each a literal or one {{/json/pointer}}, {{header:X-Customer}} or \
         {{query:customer}}"
    )]
    Form,
    /// Literals alone, which would put all events into one subtopic.
    #[error(
        "a partition, since no segment of it is a value of the delivery; write one in braces, \
         such as \"{{/data/object/customer}}\""
    )]
    Constant,
}

impl FromStr for Partition {
    type Err = PartitionError;

    fn from_str(text: &str) -> Result<Self, PartitionError> {
        let mut segments = Vec::new();
        let mut rest = Some(text);
        while let Some(written) = rest.take() {
            let (segment, after) = next(written)?;
            segments.push(segment);
            rest = match after {
                "" => None,
                after => Some(after.strip_prefix('.').ok_or(PartitionError::Form)?),
            };
        }
        if segments.len() > SEGMENTS_MAX {
            return Err(PartitionError::Form);
        }
        let value = |segment: &Segment| matches!(segment, Segment::Value(_));
        if !segments.iter().any(value) {
            return Err(PartitionError::Constant);
        }
        Ok(Self {
            text: text.into(),
            segments: segments.into(),
        })
    }
}

/// The first segment, and what is behind it. Pointers and names may have dots
/// in them, so a brace goes to its other half.
fn next(text: &str) -> Result<(Segment, &str), PartitionError> {
    if let Some(braced) = text.strip_prefix('{') {
        let (place, after) = braced.split_once('}').ok_or(PartitionError::Form)?;
        let source = source(place).ok_or(PartitionError::Form)?;
        return Ok((Segment::Value(source), after));
    }
    let (literal, after) = text.split_at(text.find('.').unwrap_or(text.len()));
    match literal.parse::<Topic>() {
        Ok(_) => Ok((Segment::Literal(literal.into()), after)),
        Err(_) => Err(PartitionError::Form),
    }
}

fn source(place: &str) -> Option<Source> {
    if let Some(name) = place.strip_prefix("header:") {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        return Some(Source::Header(name.into()));
    }
    if let Some(name) = place.strip_prefix("query:") {
        let named = !name.is_empty() && !name.contains(char::is_whitespace);
        return named.then(|| Source::Query(name.to_owned()));
    }
    // A pointer may have a brace too, and then its end would be anyone's guess.
    let pointer = Some(place).filter(|place| !place.contains('{'));
    pointer?.to_owned().try_into().ok().map(Source::Json)
}

impl Partition {
    /// Where its values come from.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Value(source) => Some(source),
        })
    }

    /// The longest topic that it can make below `topic`.
    ///
    /// # Errors
    ///
    /// [`TopicError`] where some delivery would have no topic.
    pub fn longest_topic(&self, topic: &Topic) -> Result<Topic, TopicError> {
        let longest = "x".repeat(SEGMENT_BYTES_MAX);
        let segments = self.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => text,
            Segment::Value(_) => &*longest,
        });
        topic.below(&segments.collect::<Vec<_>>().join("."))
    }

    /// What stands below the topic for this delivery.
    ///
    /// # Errors
    ///
    /// [`VerifyError::HeaderDuplicate`] where a header says two things.
    pub(super) fn of(&self, delivery: &Delivery) -> Result<Box<str>, VerifyError> {
        let text = |one: &Segment| match one {
            Segment::Literal(text) => Ok(text.to_string()),
            Segment::Value(source) => Ok(segment(source.find(delivery)?.as_deref())),
        };
        let segments = self.segments.iter().map(text);
        let segments = segments.collect::<Result<Vec<_>, VerifyError>>()?;
        Ok(segments.join(".").into())
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_literals_and_whole_values() {
        for (text, sources) in [
            (
                "{/data/object/customer}",
                vec!["body /data/object/customer"],
            ),
            ("{/a.b}.c.{/}", vec!["body /a.b", "body /"]),
            ("by_customer.{header:X-Customer}", vec!["header x-customer"]),
            ("{query:customer.id}", vec!["query customer.id"]),
            (
                "{query:a}.{query:b}.{query:c}",
                vec!["query a", "query b", "query c"],
            ),
        ] {
            let partition: Partition = text.parse().unwrap();
            let found: Vec<_> = partition.sources().map(ToString::to_string).collect();
            assert_eq!(found, sources, "{text}");
            assert_eq!(partition.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_partition_is_refused() {
        for text in [
            "",
            ".",
            "a.",
            ".{/a}",
            "{/a}.",
            "{/a}..{/b}",
            "{/a}{/b}",
            "{/a}x",
            "x{/a}",
            "{}",
            "{/a",
            "/a}",
            "/data/object/customer",
            "{a}",
            "{{/a}}",
            "{ /a}",
            "{$.a}",
            "{header:}",
            "{header: X}",
            "{header:a b}",
            "{query:}",
            "{query: a}",
            "{form:a}",
            "{Header:X}",
            "*.{/a}",
            "a b.{/a}",
            "{/a}.b.c.d",
        ] {
            assert_eq!(
                text.parse::<Partition>(),
                Err(PartitionError::Form),
                "{text}"
            );
        }
        for text in ["customer", "a.b.c"] {
            assert_eq!(text.parse::<Partition>(), Err(PartitionError::Constant));
        }
    }

    #[test]
    fn the_longest_topic_is_that_of_the_longest_values() {
        let longest = |base: &str, text: &str| {
            let partition: Partition = text.parse().unwrap();
            let topic = partition.longest_topic(&base.parse().unwrap());
            topic.map(|topic| topic.as_str().len())
        };
        assert_eq!(longest("a", "{/a}"), Ok(82));
        assert_eq!(longest(&"x".repeat(119), "{/a}"), Ok(200));
        assert_eq!(longest(&"x".repeat(120), "{/a}"), Err(TopicError::Long));
        assert_eq!(longest(&"x".repeat(38), "{/a}.{/b}"), Ok(200));
        assert_eq!(longest("a", "{/a}.{/b}.{/c}"), Err(TopicError::Long));
        assert_eq!(longest("1.2.3.4.5.6", "7.{/a}"), Ok(94));
        assert_eq!(longest("1.2.3.4.5.6.7", "8.{/a}"), Err(TopicError::Deep));
    }
}
