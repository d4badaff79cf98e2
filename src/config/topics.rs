//! The sections `[topics.<name>]`, and the rules that join them.

use std::{collections::HashMap, time::Duration};

use super::{proof::proof, section::Section, standin::Verifier, values};
use crate::{
    access::Policy,
    event::{Topic, TopicMap},
};

/// For how long a delivery's id is remembered where nothing is written.
const DEDUP_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// What holds for deliveries to a topic.
#[derive(Debug, Clone)]
pub struct TopicSettings {
    /// Proves deliveries.
    pub verifier: Verifier,
    /// The preset's name; `None` for a scheme of one's own.
    pub preset: Option<Box<str>>,
    /// Who may subscribe.
    pub access: Policy,
    /// How deliveries that come again are recognised; `None`: they are not.
    pub dedup: Option<Dedup>,
    /// Whether the type is the SSE event name.
    pub event_names: bool,
}

/// How deliveries that come again are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dedup {
    /// For how long after the first one.
    pub window: Duration,
    /// Whether a delivery without the provider's id is recognised by its
    /// body's hash. Only where somebody wrote so: two deliveries with one
    /// body may well be two events.
    pub body_hash: bool,
}

/// All topics.
pub(super) struct Topics {
    /// Those that are good.
    pub(super) settings: TopicMap<TopicSettings>,
    /// Who may subscribe, of all that have a name that is good.
    pub(super) policies: TopicMap<Policy>,
}

/// Reads `[topics]`.
pub(super) fn topics(section: Section<'_>, public_url: Option<&str>) -> Topics {
    let problems = section.problems;
    let above = section.place.clone();
    let mut named = HashMap::new();
    let mut any = None;
    let mut places = Vec::new();
    for (name, node) in section.into_names() {
        let place = above.key(&name);
        let origin = node.origin.clone();
        let topic = name.parse::<Topic>();
        if let (Err(why), true) = (&topic, name != "*") {
            problems.add(&place, &origin, why.to_string());
        }
        let read = one(Section::new(node, place.clone(), problems), public_url);
        match topic {
            Ok(topic) => {
                places.push((topic.clone(), place, origin));
                named.insert(topic, read);
            }
            Err(_) if name == "*" => any = Some(read),
            Err(_) => {}
        }
    }
    let topics = TopicMap::new(named, any);
    let policies = topics.map(|(policy, _)| *policy);
    for (topic, place, origin) in places {
        if let Some(above) = public_above(&topic, &policies) {
            let what = format!(
                "this topic needs a token, and `{above}` above it is public and includes it; \
                 write access = \"public\" here, or \"token\" there"
            );
            problems.add(&place.key("access"), &origin, what);
        }
    }
    Topics {
        settings: complete(&topics),
        policies,
    }
}

/// The topics with this policy, as they are written, in order.
pub(super) fn names(policies: &TopicMap<Policy>, policy: Policy) -> Vec<String> {
    let named = policies.named().filter(|(_, other)| **other == policy);
    let mut names: Vec<_> = named.map(|(topic, _)| topic.to_string()).collect();
    names.sort();
    names.extend((policies.any() == Some(&policy)).then(|| "\"*\"".to_owned()));
    names
}

/// The topics that could be read.
fn complete(topics: &TopicMap<(Policy, Option<TopicSettings>)>) -> TopicMap<TopicSettings> {
    let named = topics
        .named()
        .filter_map(|(topic, (_, settings))| Some((topic.clone(), settings.clone()?)))
        .collect();
    let any = topics.any().and_then(|(_, settings)| settings.clone());
    TopicMap::new(named, any)
}

/// The public topic whose subscribers would get this one's events, if this
/// one needs a token.
///
/// A name above may be public without a section: through one further above,
/// or through `"*"`.
fn public_above<'t>(topic: &'t Topic, policies: &TopicMap<Policy>) -> Option<&'t str> {
    if policies.lookup(topic) != Some(&Policy::Token) {
        return None;
    }
    topic.lineage().skip(1).find(|above| {
        let policy = above
            .parse()
            .ok()
            .and_then(|above: Topic| policies.lookup(&above).copied());
        policy == Some(Policy::Public)
    })
}

/// Reads one topic's section; `None` where no settings come out of it.
fn one(mut section: Section<'_>, public_url: Option<&str>) -> (Policy, Option<TopicSettings>) {
    let access = section.value("access", values::policy).unwrap_or_default();
    let event_names = section.value("event_names", values::boolean);
    let dedup = section.value("dedup", values::dedup);
    let proof = proof(&mut section, public_url);
    section.end();
    let settings = proof.map(|(preset, verifier)| TopicSettings {
        dedup: dedup_rule(dedup, &verifier),
        verifier,
        preset,
        access,
        event_names: event_names.unwrap_or(false),
    });
    (access, settings)
}

fn dedup_rule(written: Option<Option<Duration>>, verifier: &Verifier) -> Option<Dedup> {
    match written {
        Some(window) => Some(Dedup {
            window: window?,
            body_hash: true,
        }),
        None if verifier.scheme.dedup_id.is_empty() => None,
        None => Some(Dedup {
            window: DEDUP_WINDOW,
            body_hash: false,
        }),
    }
}
