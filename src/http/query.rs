//! The query of a request, with its names checked.
//!
//! A parameter that is ignored because its name is off by a letter loses history, a
//! filter or a topic without a word, so a name that is near a known one is refused,
//! and both are named. Refuses nothing else: what is near no name is a cache buster, a
//! tracker or a proxy's own, and to refuse it would close a page for good.
//!
//! All of this is done before a token is looked at, so it has to cost little whoever
//! asks. Invariant: nothing is collected of a query with more than [`PARAMETERS_MAX`].

use std::borrow::Cow;

use axum::extract::Query;
use hookrill_core::{Cursor, Epoch};
use http::Uri;
use strsim::osa_distance;

use super::problem::ProblemDetails;

/// The most parameters of a query, whatever their names; no browser's page has as many.
const PARAMETERS_MAX: usize = 256;
pub(super) const GIVEN_TWICE: &str = "it is given more than once";

/// A parameter, and the words by which others call the same.
pub(super) struct Parameter {
    name: &'static str,
    /// The name, and those elsewhere, as by [`folded`].
    folded: &'static str,
    elsewhere: &'static [&'static str],
}

/// What `/events` takes. `lastEventId` stands for all spellings of it.
pub(super) const EVENTS: &[Parameter] = &[
    Parameter::new("topic", &["channel", "channels", "topicid", "topicname"]),
    Parameter::new("since", &["sinceid"]),
    Parameter {
        folded: LAST_EVENT_ID,
        ..Parameter::new("lastEventId", PLACES)
    },
    Parameter::new("last", &["lastn", "limit", "tail", "replay", "history"]),
    Parameter::new("types", &["eventtype", "eventtypes", "eventname"]),
    Parameter::new("format", &["fmt"]),
    Parameter::new("compress", &["compression", "encoding", "gzip"]),
    Parameter::new("names", &["eventnames"]),
    Parameter {
        folded: "bytesmax",
        ..Parameter::new("bytes_max", &["maxbytes", "maxsize", "sizemax"])
    },
    Parameter::new("token", TOKENS),
];

/// What `/deliveries` takes.
pub(super) const DELIVERIES: &[Parameter] = &[Parameter::new("token", TOKENS)];

/// What `/admin/topics` takes.
pub(super) const ADMIN_TOPICS: &[Parameter] = &[
    Parameter::new("limit", &["count", "pagesize", "perpage"]),
    Parameter::new("after", &["cursor", "offset", "page", "next"]),
    Parameter::new("under", &["prefix", "parent", "topic", "topics"]),
];

/// What others call a token.
const TOKENS: &[&str] = &["accesstoken", "authtoken", "bearertoken", "authorization"];

/// What `/admin/deliveries` takes.
pub(super) const ADMIN_DELIVERIES: &[Parameter] = &[
    Parameter::new("outcome", OUTCOME_ELSEWHERE),
    Parameter::new("topic", TOPIC_ELSEWHERE),
    Parameter::new("type", TYPE_ELSEWHERE),
    Parameter::new("reason", &["error", "why"]),
    Parameter::new("address", ADDRESS_ELSEWHERE),
    Parameter::new("before", &["cursor", "offset", "page", "next", "after"]),
    Parameter::new("limit", &["count", "pagesize", "perpage"]),
];

/// What `/admin/deliveries/live` takes.
pub(super) const ADMIN_DELIVERIES_LIVE: &[Parameter] = &[
    Parameter::new("outcome", OUTCOME_ELSEWHERE),
    Parameter::new("topic", TOPIC_ELSEWHERE),
    Parameter::new("type", TYPE_ELSEWHERE),
    Parameter::new("reason", &["error", "why"]),
    Parameter::new("address", ADDRESS_ELSEWHERE),
    Parameter::new("after", &["cursor", "since", "position", "lasteventid"]),
];

const OUTCOME_ELSEWHERE: &[&str] = &["outcomes", "status", "result", "kind"];
const TOPIC_ELSEWHERE: &[&str] = &["topics", "section", "channel"];
const TYPE_ELSEWHERE: &[&str] = &["types", "eventtype"];
const ADDRESS_ELSEWHERE: &[&str] = &["ip", "client", "from", "sender"];

/// What all spellings of it end in: see [`Given::is_last_event_id`].
const LAST_EVENT_ID: &str = "lasteventid";

/// What can only be the place of a subscriber.
const PLACES: &[&str] = &[
    "cursor",
    "eventid",
    "lastevent",
    "lastid",
    "lastseen",
    "lastseenid",
    "resume",
    "resumefrom",
    "startingafter",
];

/// What may be the place of a subscriber, if its value is one.
const PERHAPS_PLACES: &[&str] = &[
    "after", "at", "begin", "from", "id", "offset", "pos", "position", "seq", "sequence", "start",
];

/// Names as near as those of typos that somebody else may well mean, and the values with
/// which nobody does.
const OTHERS: &[(&str, &[&str])] = &[("name", &["on", "off"])];

/// Longer names are near none.
const NAME_CHARS_MAX: usize = 40;

/// What a query has given, in its order.
pub(super) struct QueryParams(Vec<Given>);

/// One pair of a query.
struct Given {
    name: String,
    /// The name as by [`folded`]: it is compared with many.
    folded: String,
    value: String,
}

impl QueryParams {
    /// The parameters of a route that takes `known`.
    ///
    /// # Errors
    ///
    /// A problem that names the parameter, and the one that is near it.
    pub(super) fn of_route(uri: &Uri, known: &[Parameter]) -> Result<Self, ProblemDetails> {
        let query = Self::from_uri(uri)?;
        for given in query.unknown(known) {
            if let Some(near) = given.near(known) {
                let why = format!("there is no such parameter; did you mean {}?", near.name);
                return Err(ProblemDetails::parameter(&shortened(&given.name), why));
            }
        }
        Ok(query)
    }

    /// The parameters of `/events` in a gateway whose journal has this epoch. No
    /// place of a subscriber is ignored, whatever its name.
    ///
    /// # Errors
    ///
    /// As [`QueryParams::of_route`].
    pub(super) fn of_events(uri: &Uri, epoch: Epoch) -> Result<Self, ProblemDetails> {
        let query = Self::of_route(uri, EVENTS)?;
        for given in query.unknown(EVENTS) {
            if given.is_place(epoch) {
                let why = "there is no such parameter, and its value is a place in the stream; \
                           did you mean since or lastEventId?";
                return Err(ProblemDetails::parameter(&shortened(&given.name), why));
            }
        }
        Ok(query)
    }

    /// The parameters of a route that ignores those that it does not know.
    ///
    /// # Errors
    ///
    /// A problem where the query can't be read.
    pub(super) fn from_uri(uri: &Uri) -> Result<Self, ProblemDetails> {
        if has_too_many(uri) {
            let why = format!("it has more than {PARAMETERS_MAX} parameters");
            return Err(ProblemDetails::parameter("query", why));
        }
        match Query::<Vec<(String, String)>>::try_from_uri(uri) {
            Ok(Query(pairs)) => Ok(Self(pairs.into_iter().map(Given::new).collect())),
            Err(_) => Err(ProblemDetails::parameter("query", "it is malformed")),
        }
    }

    fn unknown(&self, known: &[Parameter]) -> impl Iterator<Item = &Given> {
        self.0.iter().filter(|given| {
            let is_known = known.iter().any(|parameter| parameter.name == given.name);
            !is_known && !given.is_last_event_id()
        })
    }

    pub(super) fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        let named = self.0.iter().filter(move |given| given.name == name);
        named.map(|given| given.value.as_str())
    }

    /// The value of a parameter that may be given once.
    pub(super) fn one<'q>(&'q self, name: &'q str) -> Result<Option<&'q str>, ProblemDetails> {
        let mut values = self.all(name);
        let value = values.next();
        if values.next().is_some() {
            return Err(ProblemDetails::parameter(name, GIVEN_TWICE));
        }
        Ok(value)
    }

    /// What stands for the header `Last-Event-ID`, for clients that can set none.
    pub(super) fn last_event_ids(&self) -> impl Iterator<Item = &str> {
        let named = self.0.iter().filter(|given| given.is_last_event_id());
        named.map(|given| given.value.as_str())
    }
}

/// What a query says are topics, for the log: none where it has too many parameters.
pub(super) fn topics_in_query(uri: &Uri) -> Vec<String> {
    let Ok(QueryParams(all)) = QueryParams::from_uri(uri) else {
        return Vec::new();
    };
    let topics = all.into_iter().filter(|given| given.name == "topic");
    topics.map(|given| given.value).collect()
}

fn has_too_many(uri: &Uri) -> bool {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.nth(PARAMETERS_MAX).is_some()
}

impl Parameter {
    const fn new(name: &'static str, elsewhere: &'static [&'static str]) -> Self {
        Self {
            name,
            folded: name,
            elsewhere,
        }
    }

    fn is_near(&self, folded_name: &str) -> bool {
        folded_name == self.folded
            || self.elsewhere.contains(&folded_name)
            || is_typo_of(self.folded, folded_name)
    }
}

impl Given {
    fn new((name, value): (String, String)) -> Self {
        Self {
            folded: folded(&name),
            name,
            value,
        }
    }

    /// Whether it is `lastEventId`, `lastEventID`, `last_event_id`, `Last-Event-ID` or
    /// whatever else polyfills call it: `evs_last_event_id`.
    fn is_last_event_id(&self) -> bool {
        self.folded.ends_with(LAST_EVENT_ID)
    }

    /// The known parameter that was probably meant.
    fn near<'k>(&self, known: &'k [Parameter]) -> Option<&'k Parameter> {
        // By convention somebody's own: `_=1700000000`, Laravel's `_token`.
        if self.name.starts_with('_') || self.name.len() > NAME_CHARS_MAX {
            return None;
        }
        let other = OTHERS.iter().find(|(name, _)| *name == self.folded);
        if other.is_some_and(|(_, ours)| !ours.contains(&&*self.value)) {
            return None;
        }
        let mut known = known.iter();
        known.find(|parameter| parameter.is_near(&self.folded))
    }

    /// Whether it tells the place of a subscriber: an id of this gateway, or what looks
    /// like one of another under a name that fits.
    fn is_place(&self, epoch: Epoch) -> bool {
        let fits = || PERHAPS_PLACES.contains(&&*self.folded);
        match self.value.trim().parse::<Cursor>() {
            Ok(cursor) => cursor.epoch == epoch || (looks_generated(cursor.epoch) && fits()),
            Err(_) => self.value == "earliest" && fits(),
        }
    }
}

/// Letters and digits in lower case, without what `&amp;` and `[]` add: `topic[]`,
/// `amp;topic` and `TOPIC` are one.
fn folded(name: &str) -> String {
    let name = name.strip_prefix("amp;").unwrap_or(name);
    let name = name.split('[').next().unwrap_or_default();
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether one letter is missing, wrong, too many or in its neighbour's place: two in
/// a long name. The first one is hardly ever wrong.
///
/// Four letters with one missing or wrong are another word (`list`, `lat`).
fn is_typo_of(own: &str, name: &str) -> bool {
    let edits_max = if own.len() < 8 { 1 } else { 2 };
    if own.len().abs_diff(name.len()) > edits_max
        || own.as_bytes().first() != name.as_bytes().first()
    {
        return false;
    }
    let is_word = own.len() < 5 && name.len() <= own.len() && sorted(own) != sorted(name);
    !is_word && osa_distance(own, name) <= edits_max
}

fn sorted(text: &str) -> Vec<u8> {
    let mut letters = text.as_bytes().to_vec();
    letters.sort_unstable();
    letters
}

/// Whether this is no word, as in `order-42`: nearly all epochs have letters and digits.
fn looks_generated(epoch: Epoch) -> bool {
    let bytes = epoch.as_str().as_bytes();
    bytes.len() == 8
        && bytes.iter().any(u8::is_ascii_digit)
        && bytes.iter().any(u8::is_ascii_lowercase)
}

fn shortened(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]).into(),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str, value: &str) -> Given {
        Given::new((name.to_owned(), value.to_owned()))
    }

    /// The parameter that a name is near.
    fn near(name: &str, known: &[Parameter]) -> Option<&'static str> {
        given(name, "1").near(known).map(|near| near.name)
    }

    fn events(query: &str) -> Result<QueryParams, ProblemDetails> {
        let uri: Uri = format!("/events?{query}").parse().unwrap();
        QueryParams::of_events(&uri, "k3f9x2ab".parse().unwrap())
    }

    #[test]
    fn a_query_has_so_many_parameters_and_no_more() {
        let most = vec!["a"; PARAMETERS_MAX - 1].join("&") + "&topic=b";
        assert_eq!(events(&most).ok().unwrap().all("topic").next(), Some("b"));
        for long in [format!("a&{most}"), format!("&{most}"), "a&".repeat(15_000)] {
            let refused = events(&long).err().unwrap();
            assert!(
                refused.detail().contains("more than 256"),
                "{}",
                refused.detail()
            );
            let uri: Uri = format!("/events?{long}").parse().unwrap();
            assert!(topics_in_query(&uri).is_empty(), "nothing is collected");
        }
    }

    #[test]
    fn known_names_are_folded_as_given_ones_are() {
        for Parameter {
            name,
            folded: own,
            elsewhere,
        } in [
            EVENTS,
            ADMIN_TOPICS,
            ADMIN_DELIVERIES,
            ADMIN_DELIVERIES_LIVE,
        ]
        .into_iter()
        .flatten()
        {
            assert_eq!(*own, folded(name));
            for other in *elsewhere {
                assert_eq!(*other, folded(other));
            }
        }
    }

    #[test]
    fn a_name_that_is_nearly_a_parameter_is_near_it() {
        for (parameter, names) in [
            (
                "topic",
                "topics topi tpoic toppic Topic TOPIC topic[] topic[0] topic[a] topic1 amp;topic \
                 topic. topic_ channel channels topic_name topicId",
            ),
            (
                "since",
                "sinc Since sicne sinse sincee amp;since since[] since: since_id",
            ),
            (
                "lastEventId",
                "lastEventI lastEvenId lastEventIds last_evnt_id Last-Event last_id lastId cursor \
                 Cursor event_id resume resume_from starting_after last_seen",
            ),
            (
                "last",
                "Last LAST lats lsat lasst lasts last[] last_n limit tail replay history",
            ),
            (
                "types",
                "type Types typse tpyes types[] type[] event_type eventTypes event-types",
            ),
            ("format", "formats formt fromat Format fmt"),
            (
                "token",
                "Token tokens tokn toekn access_token accessToken auth_token authorization",
            ),
        ] {
            for name in names.split(' ') {
                let found = near(name, EVENTS);
                assert_eq!(found, Some(parameter), "{name}");
            }
        }
    }

    /// A page whose stream is refused for one of these would be closed for good.
    #[test]
    fn what_others_add_to_a_url_is_near_nothing() {
        let names = "_ _t _token __t _dc _since t ts v ver version r rnd rand random nocache \
            cachebust cb bust time timestamp now utm_source utm_medium utm_campaign utm_id ref \
            fbclid gclid msclkid mc_cid igshid lang locale tz debug test env sid session \
            session_id client client_id clientId user user_id uid name page tab id from to at \
            start end begin after before offset seq position padding evs_preamble heartbeat \
            retry timeout key apikey api_key auth jwt sig signature expires Expires Policy \
            Key-Pair-Id X-Amz-Date X-Amz-Signature hdnts nonce state code csrf list lat lst las \
            past fast cast lost filter q query search sort order stream event events transport \
            EIO polling tenant org project room group app view mode source origin host url path \
            redirect callback jsonp since_the_beginning_of_all_things_that_ever_happened";
        for name in names.split_whitespace() {
            let found = near(name, EVENTS);
            assert_eq!(found, None, "{name}");
        }
        assert!(near("", EVENTS).is_none());
        // Nobody else's `name` is one of these.
        let ours = given("name", "off");
        assert_eq!(ours.near(EVENTS).map(|near| near.name), Some("names"));
    }

    #[test]
    fn no_parameter_is_near_another_of_its_route() {
        for known in [
            EVENTS,
            ADMIN_TOPICS,
            ADMIN_DELIVERIES,
            ADMIN_DELIVERIES_LIVE,
        ] {
            for Parameter { name, .. } in known {
                let uri: Uri = format!("/?{name}=1").parse().unwrap();
                assert!(QueryParams::of_route(&uri, known).is_ok(), "{name}");
                let own = near(name, known);
                assert_eq!(own, Some(*name));
            }
        }
    }

    #[test]
    fn an_id_of_this_gateway_is_a_place_under_any_name() {
        let epoch: Epoch = "k3f9x2ab".parse().unwrap();
        for (name, value, expected) in [
            ("x", "k3f9x2ab-7", true),
            ("_", "k3f9x2ab-7", true),
            ("x", "k3f9x2aa-7", false),
            ("build", "20261130-4", false),
            ("id", "q7other2-7", true),
            ("From", "q7other2-7", true),
            ("id", "order-42", false),
            ("id", "customer-42", false),
            ("from", "20261130-4", false),
            ("from", "earliest", true),
            ("from", "/page", false),
            ("x", "earliest", false),
            ("id", "7", false),
            ("offset", "-1", false),
        ] {
            assert_eq!(
                given(name, value).is_place(epoch),
                expected,
                "{name}={value}"
            );
        }
    }

    #[test]
    fn the_last_event_id_has_many_spellings() {
        for name in [
            "lastEventId",
            "lastEventID",
            "last_event_id",
            "Last-Event-ID",
            "Last-Event-Id",
            "lasteventid",
            "evs_last_event_id",
        ] {
            assert!(given(name, "").is_last_event_id(), "{name}");
        }
        for name in ["lastEvent", "eventId"] {
            assert!(!given(name, "").is_last_event_id());
        }
    }
}
