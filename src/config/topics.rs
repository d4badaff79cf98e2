//! The sections `[topics.<name>]`, and the rules that join them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hookrill_core::{Pointer, SEGMENT_BYTES_MAX, Topic, TopicMap};
use hookrill_verify::{Partition, Verifier};

use super::{
    diagnostic::{Diagnostics, KeyPath, Location},
    section::{Located, Section},
    tree::TreeValue,
    values,
    verification::verification,
    view::view,
};
use crate::{
    access::Policy,
    ingest::{DedupBy, DedupRule},
    rate::Rate,
    wire::View,
};

/// For how long a delivery's id is remembered where nothing is written.
const DEDUP_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// What holds for deliveries to a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicSettings {
    /// The section's name; `None` for `"*"`.
    pub name: Option<Topic>,
    /// Proves deliveries.
    pub verifier: Verifier,
    /// The preset's name, or the algorithm of a scheme of one's own.
    pub scheme: Box<str>,
    /// Who may subscribe.
    pub access: Policy,
    /// How deliveries that come again are recognised; `None`: they are not.
    pub dedup: Option<DedupRule>,
    /// How many proven deliveries are taken, over all topics of the section;
    /// `None`: as many as come.
    pub rate_max: Option<Rate>,
    /// What subscribers are shown of its events.
    pub view: Arc<View>,
    /// What stands below the topic for each delivery; `None`: nothing. Only
    /// under a name, and then deliveries come to that topic itself, never below
    /// it.
    pub partition: Option<Partition>,
}

impl TopicSettings {
    /// The topic that deliveries come to, where `topic` is below it and takes
    /// none because their own content says their subtopic.
    #[must_use]
    pub fn elsewhere(&self, topic: &Topic) -> Option<&Topic> {
        self.partition.as_ref()?;
        self.name.as_ref().filter(|name| *name != topic)
    }
}

/// All topics.
pub(super) struct Topics {
    /// Those that are good.
    pub(super) settings: TopicMap<TopicSettings>,
    /// Who may subscribe, of all of which that is known.
    pub(super) policies: TopicMap<Policy>,
}

/// Reads `[topics]`.
pub(super) fn topics(section: Section<'_>, public_url: Option<&str>) -> Topics {
    let diagnostics = section.diagnostics;
    let above = section.path.clone();
    let (mut settings, mut policies) = (Collected::default(), Collected::default());
    let mut places = Vec::new();
    for (name, node) in section.into_names() {
        if let TreeValue::Unreadable = node.kind {
            continue;
        }
        let (path, location) = (above.key(&name), node.location.clone());
        let topic = name.parse::<Topic>();
        if let (Err(why), true) = (&topic, name != "*") {
            diagnostics.add(&path, &location, why.to_string());
        }
        // With a bad name nothing comes of it all, so it may stand for "*".
        let topic = topic.ok();
        let section = Section::new(node, path.clone(), diagnostics);
        let (policy, read) = one(section, topic.as_ref(), public_url);
        policies.put(topic.as_ref(), policy);
        settings.put(topic.as_ref(), read);
        places.extend(topic.map(|topic| (topic, path, location)));
    }
    let topics = Topics {
        settings: settings.map(),
        policies: policies.map(),
    };
    for (topic, path, location) in places {
        topics.refuse_what_is_above(&topic, &path, &location, diagnostics);
    }
    topics
}

impl Topics {
    /// Refuses a section that promises what one above it does not keep.
    fn refuse_what_is_above(
        &self,
        topic: &Topic,
        path: &KeyPath,
        location: &Location,
        diagnostics: &Diagnostics,
    ) {
        if let Some((above, hidden)) = type_from_above(topic, &self.settings) {
            let what = format!(
                "events of `{above}` may belong here by its partition, and their type is taken \
                 from {hidden}, which would go out with them though it is not shown here; show \
                 it, or take the type from elsewhere there"
            );
            diagnostics.add(path, location, what);
        }
        if let Some(above) = public_above(topic, &self.policies) {
            let what = format!(
                "this topic needs a token, and `{above}` above it is public and includes it; \
                 write access = \"public\" here, or \"token\" there"
            );
            diagnostics.add(&path.key("access"), location, what);
        }
    }
}

/// A [`TopicMap`] that is being filled.
struct Collected<T> {
    named: HashMap<Topic, T>,
    any: Option<T>,
}

impl<T> Collected<T> {
    /// Takes the value of a topic, or of `"*"` where there is no topic.
    fn put(&mut self, topic: Option<&Topic>, value: Option<T>) {
        match (topic, value) {
            (_, None) => {}
            (None, value) => self.any = value,
            (Some(topic), Some(value)) => {
                self.named.insert(topic.clone(), value);
            }
        }
    }

    fn map(self) -> TopicMap<T> {
        TopicMap::new(self.named, self.any)
    }
}

impl<T> Default for Collected<T> {
    fn default() -> Self {
        Self {
            named: HashMap::new(),
            any: None,
        }
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

/// The topic above whose events may belong to this one, and where in their
/// bodies their type stands, if this one does not show what stands there.
///
/// That each section shows what its own types are taken from, `view` has seen.
fn type_from_above<'t>(
    topic: &Topic,
    settings: &'t TopicMap<TopicSettings>,
) -> Option<(&'t Topic, &'t Pointer)> {
    let shown = settings.lookup(topic)?.view.projection.as_ref()?;
    let above = settings.named().filter(|(above, _)| *above != topic);
    let above = above.filter(|(above, from)| above.covers(topic) && from.partition.is_some());
    let mut types = above.flat_map(|(above, from)| {
        let types = from.verifier.type_pointers();
        types.map(move |type_| (above, type_))
    });
    types.find(|(_, type_)| !shown.shows(type_))
}

/// Reads one topic's section. What is bad in it is reported and left out.
fn one(
    mut section: Section<'_>,
    name: Option<&Topic>,
    public_url: Option<&str>,
) -> (Option<Policy>, Option<TopicSettings>) {
    let access = match section.has("access") {
        true => section.value("access", values::policy),
        false => Some(Policy::default()),
    };
    let dedup = section.value("dedup", values::dedup);
    let by_body = section.value("dedup_by", values::dedup_by);
    let rate_max = section.value("rate_max", values::rate);
    if let (Some(None), Some(true)) = (dedup, by_body) {
        section.refuse(
            "dedup_by",
            "dedup is off, so nothing is recognised; remove one",
        );
    }
    let partition = partition(&mut section, name);
    let verification = verification(&mut section, partition.as_ref(), name.is_none(), public_url);
    let type_pointers = verification
        .iter()
        .flat_map(|verification| verification.verifier.type_pointers());
    let type_pointers: Vec<Pointer> = type_pointers.cloned().collect();
    let mut view = view(&mut section, &type_pointers);
    view.source = name.filter(|_| partition.is_some()).cloned();
    section.end();
    let settings = verification.map(|verification| TopicSettings {
        name: name.cloned(),
        dedup: dedup_rule(dedup, by_body.unwrap_or(false), verification.names_an_id),
        rate_max,
        verifier: verification.verifier,
        scheme: verification.scheme,
        access: access.unwrap_or_default(),
        view: Arc::new(view),
        partition: partition.map(|located| located.value),
    });
    (access, settings)
}

/// Reads what stands below a topic, and sees that it makes a topic for every
/// delivery.
fn partition(section: &mut Section<'_>, name: Option<&Topic>) -> Option<Located<Partition>> {
    let located = section.located("partition", values::partition)?;
    let what = match name.map(|name| located.value.longest_topic(name)) {
        Some(Ok(_)) => return Some(located),
        None => "below \"*\" nothing says which topic is partitioned; name the topic".to_owned(),
        Some(Err(why)) => format!(
            "not every value would make a topic, since each may have {SEGMENT_BYTES_MAX} bytes: \
             {why}; shorten the topic's name, or leave a segment out"
        ),
    };
    section
        .diagnostics
        .add(&located.path, &located.location, what);
    None
}

/// The body's hash serves only where somebody wrote `dedup` or `dedup_by`: two
/// deliveries with one body may well be two events.
fn dedup_rule(
    written: Option<Option<Duration>>,
    by_body: bool,
    names_an_id: bool,
) -> Option<DedupRule> {
    let by = match (by_body, written.is_some()) {
        (true, _) => DedupBy::Body,
        (false, true) => DedupBy::IdOrBody,
        (false, false) if names_an_id => DedupBy::Id,
        (false, false) => return None,
    };
    let window = written.unwrap_or(Some(DEDUP_WINDOW))?;
    Some(DedupRule { window, by })
}
