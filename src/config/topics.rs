//! The sections `[topics.<name>]`, and the rules that concern several of them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hookrill_core::{Pointer, SEGMENT_BYTES_MAX, Topic, TopicMap};
use hookrill_verify::{Partition, Verifier};

use ipnet::IpNet;

use super::{
    diagnostic::{Diagnostics, Location, Mistake},
    section::{Located, Section},
    tree::TreeValue,
    values,
    verification::{Verification, verification},
    view::view,
};
use crate::{
    access::Policy,
    ingest::{DedupBy, DedupRule},
    rate::Rate,
    wire::View,
};

/// How long the id of a delivery is remembered by default.
const DEDUP_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of a topic.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TopicSettings {
    /// The section's name; `None` for `"*"`.
    pub name: Option<Topic>,
    /// Verifies deliveries.
    pub verifier: Verifier,
    /// The preset's name, or the algorithm of a scheme of one's own.
    pub scheme: Box<str>,
    /// Who may subscribe.
    pub access: Policy,
    /// How duplicates are detected; `None`: they are not.
    pub dedup: Option<DedupRule>,
    /// The networks that deliveries are taken from; `None`: any.
    pub allow_from: Option<Vec<IpNet>>,
    /// How many verified deliveries are accepted, over all topics of the
    /// section; `None`: any number.
    pub rate_max: Option<Rate>,
    /// Whether events keep the headers by which their deliveries were verified.
    pub keep_proof: bool,
    /// What subscribers are shown of its events.
    pub view: Arc<View>,
    /// The subtopic that each delivery belongs to; `None`: the topic that it was
    /// sent to. Never in the section of `"*"`. Deliveries are sent to the topic
    /// of the section itself, never below it.
    pub partition: Option<Partition>,
}

impl TopicSettings {
    /// The partitioned topic that `topic` is below. Deliveries have to be sent
    /// to that topic, since their content determines the subtopic.
    #[must_use]
    pub fn partitioned_above(&self, topic: &Topic) -> Option<&Topic> {
        self.partition.as_ref()?;
        self.name.as_ref().filter(|name| *name != topic)
    }
}

/// All topic sections.
pub(super) struct TopicSections {
    /// The settings of those without a mistake.
    pub(super) settings: TopicMap<TopicSettings>,
    /// Who may subscribe, for all sections where that could be read.
    pub(super) policies: TopicMap<Policy>,
}

/// Reads `[topics]`.
pub(super) fn topics(section: Section<'_>, public_url: Option<&str>) -> TopicSections {
    let diagnostics = section.diagnostics;
    let above = section.path.clone();
    let (mut settings, mut policies) = (TopicMapBuilder::default(), TopicMapBuilder::default());
    let mut named = Vec::new();
    for (name, node) in section.into_table() {
        if let TreeValue::Invalid = node.value {
            continue;
        }
        let (path, location) = (above.key(&name), node.location.clone());
        let topic = match name.parse::<Topic>() {
            Ok(topic) => Some(topic),
            Err(error) => {
                if name != "*" {
                    diagnostics.report(&path, &location, Mistake::from_error(error));
                }
                // A section with a bad name stands for "*" from here on. It is
                // checked, and comes to nothing because of the diagnostic.
                None
            }
        };
        let mut topic_section = Section::new(node, path.clone(), diagnostics);
        if topic_section.has_only_sections(&["scheme"]) {
            report_below(&mut topic_section, &name);
            continue;
        }
        let (policy, topic_settings) = read_topic(topic_section, topic.as_ref(), public_url);
        policies.insert(topic.as_ref(), policy);
        settings.insert(topic.as_ref(), topic_settings);
        named.extend(topic.map(|topic| Located {
            path,
            location,
            value: topic,
        }));
    }
    let sections = TopicSections {
        settings: settings.build(),
        policies: policies.build(),
    };
    for topic in named {
        sections.check_against_above(&topic, diagnostics);
    }
    sections
}

impl TopicSections {
    /// Reports a section that promises something that a section above it
    /// breaks.
    fn check_against_above(&self, topic: &Located<Topic>, diagnostics: &Diagnostics) {
        if let Some((above, hidden)) = hidden_type_from_above(&topic.value, &self.settings) {
            let message = format!(
                "the partition of `{above}` may put events here, and their type is read from \
                 {hidden}, so it would be sent with them although it is hidden here; show it \
                 here, or read the type from somewhere else there"
            );
            topic.report(diagnostics, message);
        }
        if let Some(above) = public_above(&topic.value, &self.policies) {
            let message = format!(
                "this topic needs a token, but `{above}` above it is public and includes its \
                 events; write access = \"public\" here, or access = \"token\" there"
            );
            diagnostics.report(&topic.path.key("access"), &topic.location, message);
        }
    }
}

/// Collects the values of a [`TopicMap`].
struct TopicMapBuilder<T> {
    named: HashMap<Topic, T>,
    any: Option<T>,
}

impl<T> TopicMapBuilder<T> {
    /// Adds the value of a topic, or of `"*"` where `topic` is `None`.
    fn insert(&mut self, topic: Option<&Topic>, value: Option<T>) {
        let Some(value) = value else {
            return;
        };
        match topic {
            Some(topic) => {
                self.named.insert(topic.clone(), value);
            }
            None => self.any = Some(value),
        }
    }

    fn build(self) -> TopicMap<T> {
        TopicMap::new(self.named, self.any)
    }
}

impl<T> Default for TopicMapBuilder<T> {
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

/// The public topic whose subscribers would receive the events of `topic`,
/// although `topic` needs a token.
///
/// A topic above may be public without a section of its own: through one
/// further above, or through `"*"`.
fn public_above<'t>(topic: &'t Topic, policies: &TopicMap<Policy>) -> Option<&'t str> {
    if policies.lookup(topic) != Some(&Policy::Token) {
        return None;
    }
    topic.lineage().skip(1).find(|above| {
        let above = above.parse::<Topic>();
        above.is_ok_and(|above| policies.lookup(&above) == Some(&Policy::Public))
    })
}

/// The topic above whose partition may put events into `topic`, and where in
/// their bodies their type is read from, if `topic` hides that place.
///
/// `view` has checked already that each section shows its own types.
fn hidden_type_from_above<'t>(
    topic: &Topic,
    settings: &'t TopicMap<TopicSettings>,
) -> Option<(&'t Topic, &'t Pointer)> {
    let shown = settings.lookup(topic)?.view.projection.as_ref()?;
    let others = settings.named().filter(|(other, _)| *other != topic);
    let above = others.filter(|(other, from)| other.covers(topic) && from.partition.is_some());
    let mut types = above.flat_map(|(above, from)| {
        let types = from.verifier.type_pointers();
        types.map(move |type_| (above, type_))
    });
    types.find(|(_, type_)| !shown.shows(type_))
}

/// Reads the section of one topic. Reports what is bad in it and leaves it out.
fn read_topic(
    mut section: Section<'_>,
    name: Option<&Topic>,
    public_url: Option<&str>,
) -> (Option<Policy>, Option<TopicSettings>) {
    let has_access = section.has("access");
    let access = section.value("access", values::policy);
    let dedup = section.value("dedup", values::dedup);
    let by_body = section.value("dedup_by", values::dedup_by);
    let rate_max = section.value("rate_max", values::rate);
    let allow_from = allow_from(&mut section);
    let keep_proof = section.value("keep_proof", values::boolean);
    if let (Some(None), Some(true)) = (dedup, by_body) {
        section.report(
            "dedup_by",
            "must not be set together with dedup = \"off\"; remove one of them",
        );
    }
    let partition = partition(&mut section, name);
    let verification = verification(&mut section, partition.as_ref(), name.is_none(), public_url);
    let type_pointers: Vec<Pointer> = verification
        .iter()
        .flat_map(|verification| verification.verifier.type_pointers())
        .cloned()
        .collect();
    let forms = verification.as_ref().and_then(|it| it.verifier.forms());
    let forms = forms.cloned();
    let mut view = view(&mut section, &type_pointers, forms);
    view.source = name.filter(|_| partition.is_some()).cloned();
    let has_body_rule = dedup.is_some() || by_body == Some(true);
    warn_of_identity(
        &section,
        verification.as_ref(),
        view.event_names,
        has_body_rule,
    );
    report_below(&mut section, name.map_or("*", Topic::as_str));
    // What a misspelt key was meant to say is not known.
    let is_default = !has_access && !section.is_misspelt("access");
    let policy = if is_default {
        Some(Policy::default())
    } else {
        access
    };
    section.finish();
    let settings = verification.map(|verification| TopicSettings {
        name: name.cloned(),
        dedup: dedup_rule(dedup, by_body.unwrap_or(false), verification.has_id),
        allow_from,
        rate_max,
        keep_proof: keep_proof.unwrap_or(true),
        verifier: verification.verifier,
        scheme: verification.scheme,
        access: policy.unwrap_or_default(),
        view: Arc::new(view),
        partition: partition.map(|located| located.value),
    });
    (policy, settings)
}

/// Reports sections below a topic's that were meant to be topics of their own:
/// TOML reads the dot in `[topics.orders.eu]` as a level.
fn report_below(section: &mut Section<'_>, above: &str) {
    for (key, node) in section.take_sections() {
        let mut name = format!("{above}.{key}");
        let mut last = &node;
        while let TreeValue::Table(table) = &last.value
            && let Some((below, next)) = table.first_key_value()
            && table.len() == 1
            && below != "scheme"
            && matches!(next.value, TreeValue::Table(_))
        {
            name = format!("{name}.{below}");
            last = next;
        }
        let message = match &node.location {
            Location::Variable(_) => format!(
                "there is no such key; the topic {name} is one level in a variable's name, as in \
                 HOOKRILL__TOPICS__{}__PRESET",
                name.to_ascii_uppercase()
            ),
            _ => format!("there is no such key; for the topic {name}, write [topics.{name:?}]"),
        };
        section
            .diagnostics
            .report(&section.path.key(&key), &node.location, message);
    }
}

/// Warns of keys that need what the scheme does not read.
fn warn_of_identity(
    section: &Section<'_>,
    verification: Option<&Verification>,
    event_names: bool,
    has_body_rule: bool,
) {
    let Some(verification) = verification else {
        return;
    };
    if event_names && !verification.has_type {
        let message = "has no effect, since this scheme reads no type of an event";
        section.warn("event_names", message);
    }
    if section.has_taken("dedup_by") && !verification.has_id && !has_body_rule {
        let message = "has no effect, since this scheme reads no id of a delivery; write \"body\"";
        section.warn("dedup_by", message);
    }
    if section.has_taken("keep_proof") && verification.verifier.proof_headers().is_empty() {
        let message = "has no effect, since this scheme verifies deliveries by no header that \
                       could be kept; remove it";
        section.warn("keep_proof", message);
    }
}

/// Reads `allow_from`. An empty list allows nobody, which nobody means.
fn allow_from(section: &mut Section<'_>) -> Option<Vec<IpNet>> {
    let list = section.list("allow_from", values::network)?;
    if list.value.is_empty() && !section.diagnostics.any_in(&list.path) {
        let message = "must list at least one address or network; without the key, all may send";
        list.report(section.diagnostics, message);
    }
    Some(
        list.value
            .into_iter()
            .map(|network| network.value)
            .collect(),
    )
}

/// Reads `partition`, and checks that it leads to a valid topic for every
/// delivery.
fn partition(section: &mut Section<'_>, name: Option<&Topic>) -> Option<Located<Partition>> {
    let partition = section.located("partition", values::partition)?;
    let Some(name) = name else {
        let message = "must not be set for \"*\"; write a section for the topic to partition";
        partition.report(section.diagnostics, message);
        return None;
    };
    let Err(error) = partition.value.longest_topic(name) else {
        return Some(partition);
    };
    let message = format!(
        "a value can have {SEGMENT_BYTES_MAX} bytes, and the resulting topic would not be valid; \
         shorten the topic's name, or remove a segment"
    );
    partition.report(section.diagnostics, Mistake::caused_by(message, error));
    None
}

/// The hash of the body serves as an id only where `dedup` or `dedup_by` is
/// written, because two deliveries with the same body may well be two events.
fn dedup_rule(written: Option<Option<Duration>>, by_body: bool, has_id: bool) -> Option<DedupRule> {
    let by = match (by_body, written.is_some()) {
        (true, _) => DedupBy::Body,
        (false, true) => DedupBy::IdOrBody,
        (false, false) if has_id => DedupBy::Id,
        (false, false) => return None,
    };
    let window = written.unwrap_or(Some(DEDUP_WINDOW))?;
    Some(DedupRule { window, by })
}
