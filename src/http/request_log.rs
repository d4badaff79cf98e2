//! What the log and the metrics say of requests: those that were refused, and
//! handshakes.
//!
//! Says who sent what, and for which section. Shows nothing of bodies, tokens and
//! queries, and no text of a stranger that is long or that a terminal would act upon.
//! Invariant: each line is within the budget of its kind.

use std::{borrow::Cow, iter, net::IpAddr, sync::Arc};

use hookrill_core::{Topic, printable};
use http::{HeaderMap, HeaderValue, Uri, header};
use percent_encoding::percent_decode_str;
use tracing::{Level, field::display};

use super::{
    Gateway,
    body::BodyError,
    limits::{Address, LimitExceeded},
    log_budget::{LineCause, LineKind, at_level},
    query::topics_in_query,
};
use crate::{
    ingest::{Accepted, IngestError, Refusal},
    subscribe::{StuckSubscriber, Visitor},
    telemetry::{SectionMetrics, with_causes},
};

/// The longest text of a stranger that is shown, in characters.
const TEXT_CHARS_MAX: usize = 200;
/// The longest user agent that is shown, in characters.
const AGENT_CHARS_MAX: usize = 100;
/// Below which paths name a topic to subscribe to.
const PREFIXES: [&str; 2] = ["/events/", "/streams/"];
/// How each JWT begins: with `{"`, in Base64.
const TOKEN_BEGIN: &str = "eyJ";

/// What a line says of a delivery that was not accepted.
struct DeliveryLine<'d> {
    kind: LineKind,
    topic: &'d str,
    /// Its id is looked for where there is a line to write.
    refusal: Option<&'d Refusal>,
    /// Of its body, where that was read.
    bytes: Option<usize>,
    error: &'d (dyn std::error::Error + 'static),
}

/// Who sent a request, for the log.
pub(super) struct Caller {
    pub(super) client: Option<IpAddr>,
    user_agent: Option<HeaderValue>,
}

impl Caller {
    pub(super) fn new(client: Option<IpAddr>, headers: &HeaderMap) -> Self {
        Self {
            client,
            // Shares the bytes of the head.
            user_agent: headers.get(header::USER_AGENT).cloned(),
        }
    }

    /// As streams know it.
    pub(super) fn visitor(&self) -> Visitor {
        Visitor {
            client: self.client,
            network: self
                .client
                .map_or(0, |client| Address::from(client).number()),
            user_agent: self.user_agent().map(String::into_boxed_str),
        }
    }

    fn user_agent(&self) -> Option<String> {
        let user_agent = self.user_agent.as_ref()?;
        Some(shown(user_agent, AGENT_CHARS_MAX))
    }

    fn cause(&self) -> LineCause<'_> {
        let user_agent = self.user_agent.as_ref().map(HeaderValue::as_bytes);
        LineCause {
            client: self.client,
            user_agent: user_agent.unwrap_or_default(),
        }
    }
}

/// What a refused subscription has asked for, for the log.
struct AskedTopics<'u> {
    topics: Vec<Cow<'u, str>>,
    /// The section of the first topic that has one.
    section: Option<Arc<SectionMetrics>>,
}

impl AskedTopics<'_> {
    fn shown(&self) -> String {
        if self.topics.is_empty() {
            return "*".to_owned();
        }
        let shown: Vec<_> = self.topics.iter().map(|topic| shown_topic(topic)).collect();
        printable(&shown.join(", "), TEXT_CHARS_MAX)
    }

    /// An error's text, in which these topics are shown so.
    fn shown_error(&self, error: &str) -> String {
        let topics = self.topics.iter();
        topics.fold(error.to_owned(), |text, topic| shown_error(&text, topic))
    }
}

/// Why a subscription was refused, for the log.
pub(super) struct SubscribeRefusal<'e> {
    pub(super) level: Level,
    pub(super) reason: &'static str,
    pub(super) error: Cow<'e, str>,
    /// Of which page it is.
    pub(super) origin: Option<&'e HeaderValue>,
    /// No section covers a topic that was asked for.
    pub(super) is_unknown: bool,
}

impl Gateway {
    /// Whether one more line of this kind may be logged now.
    pub(super) fn may_log(&self, kind: &LineKind, cause: LineCause<'_>) -> bool {
        self.log_budget.take(kind, cause, self.clock.monotonic())
    }

    /// As [`Gateway::may_log`], for what concerns no section.
    pub(super) fn may_log_of(
        &self,
        message: &'static str,
        reason: &'static str,
        client: Option<IpAddr>,
    ) -> bool {
        let kind = LineKind {
            message,
            level: Level::INFO,
            reason,
            section: None,
        };
        let user_agent = b"";
        self.may_log(&kind, LineCause { client, user_agent })
    }

    /// Says of lines that were left out how many they were, as soon as it is time.
    pub async fn report_left_out_lines(&self) {
        self.log_budget.run(|| self.clock.monotonic()).await;
    }

    /// Says of lines that were left out how many they are until now.
    pub fn report_last_left_out_lines(&self) {
        self.log_budget.close(self.clock.monotonic());
    }

    /// A handshake that was answered: an operator who sets up a provider waits for
    /// this line.
    pub(super) fn log_handshake(&self, accepted: &Accepted, who: &Caller) {
        let Accepted::Answered {
            topic,
            secret_stored,
            ..
        } = accepted
        else {
            return;
        };
        let client = who.client.map(display);
        if *secret_stored {
            tracing::warn!(client, %topic, "a provider's secret was stored");
            return;
        }
        // Within the budget: some handshakes need no secret, so anybody could fill the
        // log.
        let kind = LineKind {
            message: "handshake answered",
            level: Level::INFO,
            reason: "handshake",
            section: name(self.ingest.section(topic).as_ref()),
        };
        if self.may_log(&kind, who.cause()) {
            let (section, user_agent) = (kind.section.as_deref(), who.user_agent());
            tracing::info!(client, %topic, section, user_agent, "handshake answered");
        }
    }

    /// A delivery that was read and is not accepted.
    pub(super) fn log_refusal(&self, refusal: &Refusal, topic: &str, bytes: usize, who: &Caller) {
        let error = &refusal.error;
        let section = refusal.section();
        let (message, level) = match error {
            IngestError::SecretNotStored { .. } | IngestError::Interrupted(_) => {
                ("delivery not stored", Level::ERROR)
            }
            // The journal has said so itself, once.
            IngestError::Journal(_) => ("delivery not stored", Level::WARN),
            _ => ("delivery refused", level_of(section)),
        };
        let kind = LineKind {
            message,
            level,
            reason: error.reason(),
            section: name(section),
        };
        let line = DeliveryLine {
            kind,
            topic,
            refusal: Some(refusal),
            bytes: Some(bytes),
            error,
        };
        self.log_delivery(line, who);
    }

    /// Writes the line of a delivery, within the budget of its kind.
    fn log_delivery(&self, line: DeliveryLine<'_>, who: &Caller) {
        let DeliveryLine { kind, topic, .. } = line;
        if !self.may_log(&kind, who.cause()) {
            return;
        }
        let message = kind.message;
        at_level!(
            kind.level,
            client = who.client.map(display),
            topic = shown_topic(topic),
            section = kind.section.as_deref(),
            reason = kind.reason,
            delivery_id = line.refusal.and_then(Refusal::delivery_id),
            bytes = line.bytes,
            user_agent = who.user_agent(),
            error = shown_error(&with_causes(line.error).to_string(), topic),
            "{message}"
        );
    }

    /// A delivery whose body was not read to its end.
    pub(super) fn note_unread(&self, error: BodyError, topic: &str, who: &Caller) {
        self.note_without_body("delivery not read", error.reason(), &error, topic, who);
    }

    /// A delivery that was refused before its body was read.
    pub(super) fn note_limited_delivery(&self, limit: LimitExceeded, topic: &str, who: &Caller) {
        self.note_without_body("delivery refused", limit.reason(), &limit, topic, who);
    }

    fn note_without_body(
        &self,
        message: &'static str,
        reason: &'static str,
        error: &(dyn std::error::Error + 'static),
        topic: &str,
        who: &Caller,
    ) {
        let section = self.section(topic);
        let counted = section.as_ref().unwrap_or(&self.telemetry.no_section);
        counted.ingest_refused(reason);
        let kind = LineKind {
            message,
            level: level_of(section.as_ref()),
            reason,
            section: name(section.as_ref()),
        };
        let line = DeliveryLine {
            kind,
            topic,
            refusal: None,
            bytes: None,
            error,
        };
        self.log_delivery(line, who);
    }

    /// A subscriber that comes back to where it was, and gets no further.
    pub(super) fn log_stuck(&self, stuck: &StuckSubscriber, who: &Caller) {
        let kind = LineKind {
            message: "a subscriber is stuck",
            level: Level::WARN,
            reason: stuck.reason.as_str(),
            section: name(self.ingest.section(&stuck.next_topic).as_ref()),
        };
        if !stuck.is_news() || !self.may_log(&kind, who.cause()) {
            return;
        }
        tracing::warn!(
            client = who.client.map(display),
            topic = %stuck.next_topic,
            section = kind.section.as_deref(),
            reason = kind.reason,
            id = %stuck.at,
            next_id = %stuck.next,
            next_bytes = stuck.next_bytes,
            times = stuck.times,
            user_agent = who.user_agent(),
            "{}",
            stuck.what_it_does()
        );
    }

    /// A page that may not read streams: the operator is told once what to write.
    pub(super) fn log_missing_origin(&self, origin: &str, who: &Caller) {
        let kind = LineKind {
            message: "pages of an origin may not read streams",
            level: Level::WARN,
            reason: "cors_origin",
            section: None,
        };
        if self.missing_origins.contains(origin) || !self.may_log(&kind, who.cause()) {
            return;
        }
        self.missing_origins.add(origin);
        let origin = &*printable(origin, TEXT_CHARS_MAX);
        let (client, user_agent) = (who.client.map(display), who.user_agent());
        if origin == "null" {
            tracing::warn!(
                client,
                user_agent,
                "pages without an origin (files, sandboxed frames) may not read streams; serve them \
                 from a web server, or let in every page: cors_origins = [\"*\"] in [server]"
            );
        } else {
            tracing::warn!(
                client,
                origin,
                user_agent,
                "pages of this origin may not read streams; to let them in, write \
                 cors_origins = [\"{origin}\"] in [server], or add it to the list there"
            );
        }
    }

    /// A subscription that was refused.
    pub(super) fn note_refused_subscription(
        &self,
        why: &SubscribeRefusal<'_>,
        uri: &Uri,
        who: &Caller,
    ) {
        let asked = self.asked_topics(uri);
        let section = asked.section.clone().filter(|_| !why.is_unknown);
        let counted = section.as_ref().unwrap_or(&self.telemetry.no_section);
        counted.subscribe_refused(why.reason);
        let level = match why.level {
            Level::WARN => level_of(section.as_ref()),
            level => level,
        };
        let kind = LineKind {
            message: "subscription refused",
            level,
            reason: why.reason,
            section: name(section.as_ref()),
        };
        if !self.may_log(&kind, who.cause()) {
            return;
        }
        at_level!(
            kind.level,
            client = who.client.map(display),
            topic = asked.shown(),
            section = kind.section.as_deref(),
            reason = kind.reason,
            origin = why.origin.map(|origin| shown(origin, TEXT_CHARS_MAX)),
            user_agent = who.user_agent(),
            error = printable(&asked.shown_error(&why.error), TEXT_CHARS_MAX),
            "subscription refused"
        );
    }

    fn asked_topics<'u>(&self, uri: &'u Uri) -> AskedTopics<'u> {
        let path = PREFIXES
            .iter()
            .find_map(|prefix| uri.path().strip_prefix(prefix));
        let in_path = path.map(|raw| percent_decode_str(raw).decode_utf8_lossy());
        let in_query = topics_in_query(uri).into_iter().map(Cow::Owned);
        let topics: Vec<_> = in_path.into_iter().chain(in_query).collect();
        let section = topics.iter().find_map(|topic| self.section(topic));
        AskedTopics { topics, section }
    }

    fn section(&self, topic: &str) -> Option<Arc<SectionMetrics>> {
        let topic: Topic = topic.parse().ok()?;
        self.ingest.section(&topic)
    }
}

fn shown(value: &HeaderValue, chars_max: usize) -> String {
    printable(&String::from_utf8_lossy(value.as_bytes()), chars_max)
}

/// What may be shown of a text in a topic's place: all up to the first character that
/// no topic can have. After a wrong separator, what follows may be a token:
/// `/events/orders&token=…`. A token itself has the characters of a topic, so it ends
/// where one begins, too.
pub(super) fn shown_topic(text: &str) -> String {
    let is_kept = |c: char| c == '.' || Topic::has_character(c);
    let end = text.find(|c| !is_kept(c)).unwrap_or(text.len());
    let mut segment_starts = iter::once(0).chain(text.match_indices('.').map(|(at, _)| at + 1));
    let token = segment_starts.find(|&at| text[at..].starts_with(TOKEN_BEGIN));
    let end = token.map_or(end, |at| at.min(end));
    if end == text.len() {
        return printable(text, TEXT_CHARS_MAX);
    }
    format!("{}…", printable(&text[..end], TEXT_CHARS_MAX))
}

/// An error's text, in which a topic that may be a token is shown as by [`shown_topic`].
/// Errors name no others that are not topics.
pub(super) fn shown_error(error: &str, topic: &str) -> String {
    if topic.contains(TOKEN_BEGIN) {
        error.replace(topic, &shown_topic(topic))
    } else {
        error.to_owned()
    }
}

/// The path of a subscription, as [`shown_topic`].
pub(super) fn shown_path(path: &str) -> String {
    let mut prefixes = PREFIXES.into_iter();
    let found = prefixes.find_map(|prefix| Some((prefix, path.strip_prefix(prefix)?)));
    match found {
        Some((prefix, topic)) => format!("{prefix}{}", shown_topic(topic)),
        None if path.starts_with("/streams") => "/streams".to_owned(),
        None => "/events".to_owned(),
    }
}

fn name(section: Option<&Arc<SectionMetrics>>) -> Option<Arc<str>> {
    section.map(|section| Arc::clone(section.name()))
}

/// What is refused of a configured topic concerns its operator: a secret that was
/// changed, a token that has expired. What strangers guess does not.
fn level_of(section: Option<&Arc<SectionMetrics>>) -> Level {
    if section.is_some() {
        Level::WARN
    } else {
        Level::INFO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown_of_what_follows_a_wrong_separator() {
        for (text, shown) in [
            ("orders.eu:4~_-", "orders.eu:4~_-"),
            ("orders&token=secret", "orders…"),
            ("orders?token=secret", "orders…"),
            ("orders;token=secret", "orders…"),
            ("orders token", "orders…"),
            ("orders/secret", "orders…"),
            ("orders%26token=secret", "orders…"),
            ("&token=secret", "…"),
            ("\u{1b}[31m", "…"),
            ("", ""),
            // No separator at all.
            ("eyJhbGciOiJIUzI1NiJ9.eyJ0b3BpY3MiOltdfQ.c2ln", "…"),
            ("orders.eyJhbGciOiJIUzI1NiJ9.eyJ0.c2ln", "orders.…"),
            ("orders&eyJ.eyJ", "orders…"),
            ("keyJob", "keyJob"),
        ] {
            assert_eq!(shown_topic(text), shown, "{text}");
            let path = format!("/events/{text}");
            assert_eq!(shown_path(&path), format!("/events/{shown}"));
        }
        assert_eq!(shown_path("/events"), "/events");
        assert_eq!(shown_topic(&"a".repeat(300)).len(), TEXT_CHARS_MAX);
    }
}
