//! Who may sign subscriber tokens, and how a token names its topics.
//!
//! A [`Template`] builds a topic from claims: each value becomes one segment,
//! written by `hookrill_core::segment` like the values of deliveries, so that
//! the two match and no value can reach beyond its segment. Refuses values that
//! are missing, empty, or neither a string nor a whole number, and topics that
//! are too long.

use std::str::FromStr;

use hookrill_core::{Secret, Topic, TopicError, segment};
use serde_json::{Map, Value};

use super::key::Key;

/// The claim with a token's topics, unless another is configured.
pub const TOPICS_CLAIM: &str = "topics";
/// Stands for every topic, in a token and in a template.
pub(super) const ALL_TOPICS: &str = "*";

/// Identifies an issuer's keys while the process lives: those of one name from
/// one place. No id is used twice.
pub type IssuerId = usize;

/// Somebody whose tokens are accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuer {
    /// What `iss` must be; `None` accepts any.
    pub name: Option<Box<str>>,
    /// One of these must be in `aud`; where there are none, `aud` is ignored.
    pub audience: Box<[Box<str>]>,
    /// What verifies its tokens.
    pub keys: KeySource,
    /// How its tokens name their topics.
    pub topics: TopicSource,
}

impl Issuer {
    /// Whether both have the same name, and their keys from the same place.
    pub(super) fn has_keys_of(&self, other: &Self) -> bool {
        self.name == other.name && self.keys == other.keys
    }
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum KeySource {
    /// A secret, for HS256.
    Secret(Secret),
    /// A public key, whose kind decides the algorithm.
    Public(Box<Key>),
    /// A JSON Web Key Set at this URL, which `identity` fetches.
    Url(Box<str>),
}

/// How a token names its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicSource {
    /// In the list that this claim has.
    Claim(Box<str>),
    /// By claims that fill these templates.
    Templates(Box<[Template]>),
}

/// A topic with claims in it: `orders.{sub}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Box<[TemplatePart]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum TemplatePart {
    Text(Box<str>),
    Claim(Box<str>),
}

/// Why a text is not a [`Template`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its other half, or nothing between them.
    #[error("a claim is written in braces, such as orders.{{sub}}")]
    Braces,
    /// Two claims in one segment: `a` and `bc` would be the same as `ab` and `c`.
    #[error("a segment can have only one claim; put a dot between two")]
    Shared,
    /// Text next to a claim could be read as part of its escape.
    #[error("`~` starts an escape, so it cannot be in a segment with a claim")]
    Escape,
    /// The text around the claims is not a topic.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let parts = parse_parts(text)?;
        let mut segments = text.split('.');
        if segments.any(|segment| segment.matches('{').count() > 1) {
            return Err(TemplateError::Shared);
        }
        let template = Self(parts.into());
        if text != ALL_TOPICS {
            // Whatever the values are, the text around them stays.
            let example = template.fill_with(|_| Some("x".to_owned()))?;
            example.parse::<Topic>()?;
        }
        Ok(template)
    }
}

fn parse_parts(text: &str) -> Result<Vec<TemplatePart>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let (before, braced) = rest.split_at(open);
        let braced = braced.strip_prefix('{').ok_or(TemplateError::Braces)?;
        let (claim, after) = braced.split_once('}').ok_or(TemplateError::Braces)?;
        if claim.is_empty() || claim.contains('{') {
            return Err(TemplateError::Braces);
        }
        let start_of_segment = before.rsplit('.').next().unwrap_or_default();
        let end_of_segment = after.split(['.', '{']).next().unwrap_or_default();
        if start_of_segment.contains('~') || end_of_segment.contains('~') {
            return Err(TemplateError::Escape);
        }
        parts.push(TemplatePart::Text(before.into()));
        parts.push(TemplatePart::Claim(claim.into()));
        rest = after;
    }
    parts.push(TemplatePart::Text(rest.into()));
    Ok(parts)
}

impl Template {
    /// The topic that these claims make; `None` where a claim is missing or
    /// cannot be a segment.
    pub(super) fn fill(&self, claims: &Map<String, Value>) -> Option<String> {
        let topic = self.fill_with(|claim| {
            let text = match claims.get(claim)? {
                Value::String(text) if !text.is_empty() => text.clone(),
                Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
                _ => return None,
            };
            Some(segment(Some(&text)))
        });
        topic.ok()
    }

    fn fill_with(&self, value: impl Fn(&str) -> Option<String>) -> Result<String, TopicError> {
        let mut topic = String::new();
        for part in &self.0 {
            match part {
                TemplatePart::Text(text) => topic.push_str(text),
                TemplatePart::Claim(claim) => {
                    let segment = value(claim).ok_or(TopicError::EmptySegment)?;
                    topic.push_str(&segment);
                }
            }
        }
        Ok(topic)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_fills_one_place_and_no_more() {
        let claims = json!({
            "sub": "auth0|5f.7c", "org": 42, "empty": "", "list": ["a"], "yes": true,
            "half": 1.5, "long": "x".repeat(300), "star": "*",
        });
        let claims = claims.as_object().unwrap();
        let long = format!("orders.{}", segment(Some(&"x".repeat(300))));
        assert!(long.starts_with("orders.~sha256:"));
        for (template, topic) in [
            ("orders.{sub}", Some("orders.auth0~7C5f~2E7c")),
            ("o.{org}.u-{sub}", Some("o.42.u-auth0~7C5f~2E7c")),
            ("orders.{star}", Some("orders.~2A")),
            ("{star}", Some("~2A")),
            ("orders.{long}", Some(&*long)),
            ("orders.u-{long}", Some(&*long.replace("~sha", "u-~sha"))),
            ("*", Some("*")),
            ("news", Some("news")),
            ("~none.{org}.~x", Some("~none.42.~x")),
            ("orders.{empty}", None),
            ("orders.{list}", None),
            ("orders.{yes}", None),
            ("orders.{half}", None),
            ("orders.{missing}", None),
        ] {
            let template: Template = template.parse().unwrap();
            assert_eq!(template.fill(claims).as_deref(), topic, "{template:?}");
        }
    }

    #[test]
    fn a_template_that_cannot_make_a_topic_is_refused() {
        for (text, why) in [
            ("orders.{}", TemplateError::Braces),
            ("orders.{sub", TemplateError::Braces),
            ("orders.sub}", TemplateError::Braces),
            ("orders.{{sub}}", TemplateError::Braces),
            ("{org}-{sub}", TemplateError::Shared),
            ("orders.~{sub}", TemplateError::Escape),
            ("orders.~2{sub}.x", TemplateError::Escape),
            ("{sub}~7E.x", TemplateError::Escape),
            (
                "orders..{sub}",
                TemplateError::Topic(TopicError::EmptySegment),
            ),
            ("{sub}.", TemplateError::Topic(TopicError::EmptySegment)),
            ("", TemplateError::Topic(TopicError::EmptySegment)),
            (
                "a b.{sub}",
                TemplateError::Topic(TopicError::InvalidCharacter),
            ),
            (
                "orders.*",
                TemplateError::Topic(TopicError::InvalidCharacter),
            ),
        ] {
            assert_eq!(text.parse::<Template>(), Err(why), "{text}");
        }
    }
}
