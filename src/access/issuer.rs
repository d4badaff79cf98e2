//! Who may sign subscriber tokens, and how topics come out of theirs.
//!
//! A [`Template`] builds a topic from claims: each value becomes one segment,
//! as `event::segment` makes it of a delivery's values too, so that the two
//! meet and no value can reach beyond its place. Refuses values that are
//! missing, empty, or not a text or a whole number, and topics that are too
//! long.

use std::{fmt::Write as _, str::FromStr};

use hookrill_core::{Secret, Topic, TopicError, segment};
use serde_json::{Map, Value};

use super::{EVERYTHING, Key};

/// Somebody whose tokens are taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuer {
    /// What `iss` has to be; `None` takes any.
    pub name: Option<Box<str>>,
    /// One of these has to be in `aud`; none: it is not looked at.
    pub audience: Box<[Box<str>]>,
    /// What signs.
    pub keys: KeySource,
    /// What its tokens may read.
    pub topics: TopicSource,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq)]
pub enum KeySource {
    /// HS256.
    Secret(Secret),
    /// A public key, which says its algorithm.
    Public(Box<Key>),
    /// A JSON Web Key Set at this address, handed in by whoever fetches it.
    Url(Box<str>),
}

/// Where the topics of a token come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicSource {
    /// The list in this claim.
    Claim(Box<str>),
    /// Built from claims.
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

/// Why a text is no [`Template`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its other half, or nothing in it.
    #[error("a claim stands in braces, such as orders.{{sub}}")]
    Braces,
    /// Two claims in one segment: `a` and `bc` would be `ab` and `c`.
    #[error("a segment has one claim at most; put a dot between two")]
    Shared,
    /// What is around a claim would be read as a part of its escape.
    #[error("`~` begins an escape; leave it out of a segment with a claim")]
    Escape,
    /// What is around the claims is no topic.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (before, braced) = rest.split_at(open);
            let braced = braced.strip_prefix('{').ok_or(TemplateError::Braces)?;
            let (claim, after) = braced.split_once('}').ok_or(TemplateError::Braces)?;
            if claim.is_empty() || claim.contains('{') {
                return Err(TemplateError::Braces);
            }
            let beside = |text: &str| text.contains('~');
            if before.rsplit('.').next().is_some_and(beside)
                || after.split(['.', '{']).next().is_some_and(beside)
            {
                return Err(TemplateError::Escape);
            }
            parts.push(TemplatePart::Text(before.into()));
            parts.push(TemplatePart::Claim(claim.into()));
            rest = after;
        }
        parts.push(TemplatePart::Text(rest.into()));
        if text
            .split('.')
            .any(|segment| segment.matches('{').count() > 1)
        {
            return Err(TemplateError::Shared);
        }
        let template = Self(parts.into());
        if text != EVERYTHING {
            // Whatever the values, the text around them stays.
            template
                .filled(|_| Some("x".to_owned()))?
                .parse::<Topic>()?;
        }
        Ok(template)
    }
}

impl Template {
    /// The topic for these claims; `None` where they do not make one.
    pub(super) fn topic(&self, claims: &Map<String, Value>) -> Option<String> {
        let value = |claim: &str| {
            let text = match claims.get(claim)? {
                Value::String(text) if !text.is_empty() => text.clone(),
                Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
                _ => return None,
            };
            Some(segment(Some(&text)))
        };
        self.filled(value).ok()
    }

    fn filled(&self, value: impl Fn(&str) -> Option<String>) -> Result<String, TopicError> {
        let mut topic = String::new();
        for part in &self.0 {
            match part {
                TemplatePart::Text(text) => topic.push_str(text),
                TemplatePart::Claim(claim) => {
                    let value = value(claim).ok_or(TopicError::EmptySegment)?;
                    _ = topic.write_str(&value);
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
            assert_eq!(template.topic(claims).as_deref(), topic, "{template:?}");
        }
    }

    #[test]
    fn a_template_that_can_make_no_topic_is_refused() {
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
            ("a b.{sub}", TemplateError::Topic(TopicError::Character)),
            ("orders.*", TemplateError::Topic(TopicError::Character)),
        ] {
            assert_eq!(text.parse::<Template>(), Err(why), "{text}");
        }
    }
}
