//! How a delivery that comes again is recognised.

use std::time::Duration;

use hookrill_core::{Dedup, Topic};
use hookrill_verify::Verified;
use sha2::{Digest as _, Sha256};

/// How deliveries that come again are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DedupRule {
    /// For how long.
    pub window: Duration,
    /// By what.
    pub by: DedupBy,
}

/// What deliveries that come again are recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DedupBy {
    /// By the provider's id; those without one are not recognised.
    Id,
    /// By the provider's id, else by the body.
    IdOrBody,
    /// By the body alone.
    Body,
}

impl DedupBy {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::IdOrBody => "id or body",
            Self::Body => "body",
        }
    }
}

/// What a second delivery of the same event would have in common with this one;
/// `None` where it could not be recognised.
///
/// Whoever replays a delivery can change an id that the signature does not
/// cover. Such an id counts only together with what was signed: the body, or
/// where the body is not signed as it is, the signed text.
///
/// The key counts within the topic that the delivery came to, whichever subtopic
/// the event belongs to. So a partition that is added later, or an id that comes
/// again with other content, changes nothing about what is known.
pub(super) fn dedup_key(
    topic: &Topic,
    section: Option<&Topic>,
    verified: &Verified,
    rule: DedupRule,
) -> Option<Dedup> {
    let facts = verified.facts();
    let delivery = verified.delivery();
    // What was sent, where that is signed: whoever leaves out the header that says how it is
    // coded, which nobody signs, replays the same bytes.
    let signed_body = delivery.sent.as_ref().unwrap_or(&delivery.body);
    let content = match &facts.content {
        Some(signed) => &signed[..],
        None => &signed_body[..],
    };
    let mut hash = Sha256::new();
    match (&facts.dedup_id, rule.by) {
        (Some(id), DedupBy::Id | DedupBy::IdOrBody) => {
            hash.update([u8::from(facts.dedup_id_signed)]);
            hash.update((id.len() as u64).to_le_bytes());
            hash.update(id.as_bytes());
            if !facts.dedup_id_signed {
                hash.update(content);
            }
        }
        (None, DedupBy::Id) => return None,
        (None, DedupBy::IdOrBody) | (_, DedupBy::Body) => {
            hash.update([2]);
            hash.update(content);
        }
    }
    Some(Dedup {
        within: Some(topic.clone()),
        section: section.cloned(),
        key: hash.finalize().into(),
        window: rule.window,
    })
}
