//! Where a delivery's subtopic comes from: `{/data/object/customer}`.
//!
//! What a configuration says is parsed here; whether the signature covers it is
//! decided by `compile`. Refuses what has no value in it, and what could make
//! topics outside the grammar. Invariant: two deliveries have the same subtopic
//! only where their values are the same, since each value is one whole segment,
//! spelled by [`hookrill_core::segment`].

use std::{fmt, str::FromStr};

use hookrill_core::{SEGMENT_BYTES_MAX, Topic, TopicError, segment};
use http::HeaderName;

use crate::{delivery::Delivery, error::VerifyError, scheme::Source};

/// The most segments that a partition has.
const SEGMENTS_MAX: usize = 3;

/// Which subtopic each delivery of a topic belongs to: literal segments, and
/// segments that are a value of the delivery.
///
/// Parsed from a text such as `{/data/object/customer}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    text: Box<str>,
    segments: Box<[PartitionSegment]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PartitionSegment {
    Literal(Box<str>),
    Value(Source),
}

/// Why a text is not a [`Partition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// Neither literal segments nor values, or too many of them.
    #[error(
        "a partition is 1 to {SEGMENTS_MAX} segments with dots between them, such as \
         \"{{/data/object/customer}}\"; each is a literal or one {{/json/pointer}}, \
         {{header:X-Customer}} or {{query:customer}}"
    )]
    Malformed,
    /// Literals alone, which would put all events into one subtopic.
    #[error(
        "no segment of it is a value of the delivery; write one in braces, such as \
         \"{{/data/object/customer}}\""
    )]
    Constant,
}

impl FromStr for Partition {
    type Err = PartitionError;

    fn from_str(text: &str) -> Result<Self, PartitionError> {
        let mut segments = Vec::new();
        let mut rest = Some(text);
        while let Some(written) = rest.take() {
            let (segment, after) = parse_segment(written)?;
            segments.push(segment);
            if segments.len() > SEGMENTS_MAX {
                return Err(PartitionError::Malformed);
            }
            if !after.is_empty() {
                let next = after.strip_prefix('.');
                rest = Some(next.ok_or(PartitionError::Malformed)?);
            }
        }
        let is_value = |segment: &PartitionSegment| matches!(segment, PartitionSegment::Value(_));
        if !segments.iter().any(is_value) {
            return Err(PartitionError::Constant);
        }
        Ok(Self {
            text: text.into(),
            segments: segments.into(),
        })
    }
}

/// The first segment, and the text behind it. Pointers and names may have dots
/// in them, so an opening brace goes to its closing one.
fn parse_segment(text: &str) -> Result<(PartitionSegment, &str), PartitionError> {
    if let Some(braced) = text.strip_prefix('{') {
        let (inside, after) = braced.split_once('}').ok_or(PartitionError::Malformed)?;
        let source = parse_source(inside).ok_or(PartitionError::Malformed)?;
        return Ok((PartitionSegment::Value(source), after));
    }
    let (literal, after) = text.split_at(text.find('.').unwrap_or(text.len()));
    if literal.parse::<Topic>().is_err() {
        return Err(PartitionError::Malformed);
    }
    Ok((PartitionSegment::Literal(literal.into()), after))
}

/// What stands in the braces: `/json/pointer`, `header:Name` or `query:name`.
fn parse_source(text: &str) -> Option<Source> {
    if let Some(name) = text.strip_prefix("header:") {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        return Some(Source::Header(name.into()));
    }
    if let Some(name) = text.strip_prefix("query:") {
        let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
        return is_name.then(|| Source::Query(name.to_owned()));
    }
    // A pointer may contain a brace too, and then its end would be ambiguous.
    if text.contains('{') {
        return None;
    }
    text.parse().ok().map(Source::Json)
}

impl Partition {
    /// Where its values come from.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.segments.iter().filter_map(|segment| match segment {
            PartitionSegment::Literal(_) => None,
            PartitionSegment::Value(source) => Some(source),
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
            PartitionSegment::Literal(text) => text,
            PartitionSegment::Value(_) => &*longest,
        });
        topic.below(&segments.collect::<Vec<_>>().join("."))
    }

    /// The subtopic of this delivery: segments joined by dots.
    ///
    /// # Errors
    ///
    /// [`VerifyError::HeaderDuplicate`], [`VerifyError::HeaderNotAscii`].
    pub(crate) fn subtopic(&self, delivery: &Delivery) -> Result<Box<str>, VerifyError> {
        let mut subtopic = String::new();
        for part in &self.segments {
            if !subtopic.is_empty() {
                subtopic.push('.');
            }
            match part {
                PartitionSegment::Literal(text) => subtopic.push_str(text),
                PartitionSegment::Value(source) => {
                    let value = source.find(delivery)?;
                    subtopic.push_str(&segment(value.as_deref()));
                }
            }
        }
        debug_assert_eq!(
            subtopic.split('.').count(),
            self.segments.len(),
            "a value is one whole segment"
        );
        Ok(subtopic.into())
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
    fn a_text_that_is_not_a_partition_is_refused() {
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
                Err(PartitionError::Malformed),
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
        assert_eq!(longest(&"x".repeat(120), "{/a}"), Err(TopicError::TooLong));
        assert_eq!(longest(&"x".repeat(38), "{/a}.{/b}"), Ok(200));
        assert_eq!(longest("a", "{/a}.{/b}.{/c}"), Err(TopicError::TooLong));
        assert_eq!(longest("1.2.3.4.5.6", "7.{/a}"), Ok(94));
        assert_eq!(
            longest("1.2.3.4.5.6.7", "8.{/a}"),
            Err(TopicError::TooManySegments)
        );
    }
}
