//! Where deliveries go: programs on this machine, and which topics are theirs.
//!
//! Refuses a URL with a user or a fragment. Invariant: of several topics that cover an
//! event, the one with the longest name has it.

use hookrill_core::{Topic, printable, without_secrets};
use http::Uri;

use super::super::UsageError;

const EXAMPLES: &str = "3000, :3000/hooks, localhost:3000/hooks or http://127.0.0.1:3000/hooks";
/// The most characters that are repeated of a word.
const WORD_CHARS_MAX: usize = 100;
/// The topic that means all of them.
const ALL_TOPICS: &str = "*";

/// A program that takes deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// As it was typed.
    pub(super) written: String,
    /// Scheme, host and port: `http://localhost:3000`.
    pub(super) origin: String,
    /// Begins with a slash.
    path: String,
    query: Option<String>,
}

/// Topics whose deliveries go to one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForwardRoute {
    /// None: whatever the topic is.
    pub(super) topics: Vec<String>,
    pub(super) target: Target,
}

impl Target {
    /// Reads a target as people write it.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        Self::read(text).ok_or_else(|| {
            let shown = without_secrets(text);
            UsageError::new(format!(
                "'{shown}' is not a target such as {EXAMPLES}: where the program listens that \
                 takes the deliveries, without user and fragment"
            ))
            .into()
        })
    }

    fn read(text: &str) -> Option<Self> {
        let url = if text.contains("://") {
            text.to_owned()
        } else {
            let end = text.find(['/', '?']).unwrap_or(text.len());
            let (host, rest) = text.split_at(end);
            if host.bytes().all(|byte| byte.is_ascii_digit()) {
                format!("http://localhost:{host}{rest}")
            } else if host.starts_with(':') {
                format!("http://localhost{text}")
            } else if host.contains(':') {
                format!("http://{text}")
            } else {
                return None;
            }
        };
        if url.contains(['@', '#']) {
            return None;
        }
        let uri: Uri = url.parse().ok()?;
        let scheme = uri
            .scheme_str()
            .filter(|scheme| ["http", "https"].contains(scheme))?;
        let authority = uri.authority()?;
        // An empty port or 0 would be taken for the scheme's own.
        let port = authority.as_str().rsplit_once(authority.host())?.1;
        let is_port = port.is_empty() || authority.port_u16().is_some_and(|number| number > 0);
        (is_port && !authority.host().is_empty()).then(|| Self {
            written: text.to_owned(),
            origin: format!("{scheme}://{authority}"),
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
        })
    }

    /// Path and query of a delivery that came to this path below its topic, with this
    /// query.
    pub(super) fn path_and_query(&self, tail: &str) -> String {
        let (path, query) = match tail.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (tail, None),
        };
        let mut text = self.path.clone();
        // A slash behind the topic is the gateway's to take, and means nothing.
        if !matches!(path, "" | "/") {
            text.truncate(text.trim_end_matches('/').len());
            text.push_str(path);
        }
        let queries = [self.query.as_deref(), query];
        for (index, part) in queries.into_iter().flatten().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.push_str(part);
        }
        text
    }

    /// The URL of deliveries without a path of their own.
    pub(super) fn url(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// Host and port, for people.
    pub(super) fn host(&self) -> &str {
        let origin = &self.origin;
        origin.split_once("://").map_or(origin, |(_, host)| host)
    }
}

impl ForwardRoute {
    /// The length of the longest topic here that covers this one; `None`: it has no part
    /// in it.
    fn reach(&self, topic: &Topic) -> Option<usize> {
        if self.topics.is_empty() {
            return Some(0);
        }
        let covering = self.topics.iter().filter_map(|name| match &**name {
            ALL_TOPICS => Some(0),
            name => {
                let own: Topic = name.parse().ok()?;
                own.covers(topic).then_some(name.len())
            }
        });
        covering.max()
    }

    /// Its topics, for people.
    pub(super) fn names(&self) -> String {
        self.topics.join(", ")
    }

    /// What was typed for it.
    pub(super) fn words(&self) -> Vec<String> {
        let target = self.target.written.clone();
        self.topics.iter().cloned().chain([target]).collect()
    }
}

/// Which of the routes a delivery to this topic takes.
pub(super) fn route_of(routes: &[ForwardRoute], topic: &Topic) -> Option<usize> {
    let reaches = routes.iter().enumerate();
    let reaches = reaches.filter_map(|(index, route)| Some((route.reach(topic)?, index)));
    // The first one where two reach as far.
    let best = reaches.max_by_key(|(reach, index)| (*reach, std::cmp::Reverse(*index)));
    best.map(|(_, index)| index)
}

/// Reads `TOPIC[=TARGET]... [TARGET]`.
pub(super) fn routes(words: &[String]) -> anyhow::Result<Vec<ForwardRoute>> {
    let mut pairs: Vec<(String, Option<Target>)> = Vec::new();
    let mut last = None;
    for (index, word) in words.iter().enumerate() {
        if let Some((topic, target)) = topic_with_target(word)? {
            pairs.push((topic, Some(target)));
        } else if index + 1 == words.len() {
            last = Some(word);
        } else {
            pairs.push((topic(word)?, None));
        }
    }
    let needs_target = pairs.iter().find(|(_, target)| target.is_none());
    let fallback = match last {
        None => None,
        Some(word) if pairs.is_empty() => return Err(without_target(word)),
        Some(word) => Some(Target::parse(word).map_err(|error| {
            if word.parse::<Topic>().is_ok() {
                UsageError::new(format!("{error}; as a topic it needs one: {word}=3000")).into()
            } else {
                error
            }
        })?),
    };
    if let (None, Some((topic, _))) = (&fallback, needs_target) {
        return Err(without_target(topic));
    }
    if fallback.is_some() && needs_target.is_none() {
        return Err(UsageError::new(format!(
            "each topic has a target of its own, so {} is for none of them",
            words.last().map_or("the last one", String::as_str)
        ))
        .into());
    }
    Ok(joined(pairs, fallback.as_ref()))
}

fn without_target(topic: &str) -> anyhow::Error {
    UsageError::new(format!(
        "{topic} has no target: write where your program listens, as in `hookrill forward {topic} \
         3000/webhooks`"
    ))
    .into()
}

/// One route for each target.
fn joined(pairs: Vec<(String, Option<Target>)>, fallback: Option<&Target>) -> Vec<ForwardRoute> {
    let mut routes: Vec<ForwardRoute> = Vec::new();
    for (topic, target) in pairs {
        let Some(target) = target.or_else(|| fallback.cloned()) else {
            continue;
        };
        let same = |route: &&mut ForwardRoute| {
            route.target.origin == target.origin
                && route.target.path_and_query("") == target.path_and_query("")
        };
        match routes.iter_mut().find(same) {
            Some(route) => route.topics.push(topic),
            None => routes.push(ForwardRoute {
                topics: vec![topic],
                target,
            }),
        }
    }
    routes
}

fn topic_with_target(word: &str) -> anyhow::Result<Option<(String, Target)>> {
    let Some((name, target)) = word.split_once('=') else {
        return Ok(None);
    };
    match topic(name) {
        Ok(name) => Ok(Some((name, Target::parse(target)?))),
        // The query of a target.
        Err(_) if name.contains(['/', '?']) => Ok(None),
        Err(error) => Err(error),
    }
}

fn topic(word: &str) -> anyhow::Result<String> {
    super::super::token::topic(word).map_err(|error| {
        let shown = printable(word, WORD_CHARS_MAX);
        UsageError::new(format!("'{shown}' is not a topic: {error}")).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_target_is_read_as_people_write_it() {
        for (text, url) in [
            ("3000", "http://localhost:3000/"),
            ("3000/hooks", "http://localhost:3000/hooks"),
            (":3000", "http://localhost:3000/"),
            (":3000/a/b/", "http://localhost:3000/a/b/"),
            ("localhost:3000/hooks", "http://localhost:3000/hooks"),
            ("[::1]:3000", "http://[::1]:3000/"),
            ("http://[::1]:3000/x", "http://[::1]:3000/x"),
            ("http://app/x?y=1", "http://app/x"),
            ("https://127.0.0.1:3000", "https://127.0.0.1:3000/"),
        ] {
            assert_eq!(Target::parse(text).unwrap().url(), url, "{text}");
        }
        for text in [
            "",
            "/hooks",
            "localhost",
            "stripe",
            "0",
            "70000",
            "ftp://a",
            "http://",
            "http://u:p@a",
            "3000/#a",
            "localhost:",
            "http://localhost:0",
            ":x",
        ] {
            let error = Target::parse(text).unwrap_err();
            assert!(error.is::<UsageError>(), "{text}");
            assert!(!error.to_string().contains("u:p"), "{error}");
        }
    }

    #[test]
    fn path_and_query_of_a_delivery_follow_those_of_the_target() {
        for (target, tail, expected) in [
            ("3000", "", "/"),
            ("3000", "/x/y", "/x/y"),
            ("3000/hooks", "", "/hooks"),
            ("3000/hooks/", "/x", "/hooks/x"),
            ("3000/hooks", "/", "/hooks"),
            ("3000/hooks", "/?a", "/hooks?a"),
            ("3000/hooks", "?a=b", "/hooks?a=b"),
            ("3000/hooks?k=1", "/x?a=b&c", "/hooks/x?k=1&a=b&c"),
            ("3000/hooks?k=1", "", "/hooks?k=1"),
            ("3000", "/%2e%2E//x?", "/%2e%2E//x?"),
        ] {
            let target = Target::parse(target).unwrap();
            assert_eq!(target.path_and_query(tail), expected);
        }
    }

    #[test]
    fn topics_and_targets_are_told_apart() {
        let read = |line: &str| {
            let routes = routes(&words(line)).unwrap();
            let shown = routes
                .iter()
                .map(|route| format!("{}>{}", route.names(), route.target.url()));
            shown.collect::<Vec<_>>().join(" ")
        };
        for (line, expected) in [
            ("github 3000", "github>http://localhost:3000/"),
            ("a b 3000/x", "a, b>http://localhost:3000/x"),
            (
                "a=3000 b=:4000/y c=3000",
                "a, c>http://localhost:3000/ b>http://localhost:4000/y",
            ),
            (
                "a=3000 * 4000",
                "a>http://localhost:3000/ *>http://localhost:4000/",
            ),
            ("a 3000/x?b=c", "a>http://localhost:3000/x"),
            ("a=http://h/?b=c", "a>http://h/"),
            ("3000 4000", "3000>http://localhost:4000/"),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
        for (line, says) in [
            ("github", "github has no target"),
            ("github stripe", "'stripe' is not a target such as"),
            ("github stripe", "as a topic it needs one: stripe=3000"),
            ("github=3000 stripe", "as a topic it needs one: stripe=3000"),
            ("github=3000 4000", "so 4000 is for none of them"),
            ("a/b 3000", "a/b"),
            ("a..b=3000", "a..b"),
            (
                "github localhost:x",
                "'localhost:x' is not a target such as",
            ),
        ] {
            let error = routes(&words(line)).unwrap_err();
            assert!(error.is::<UsageError>(), "{line}");
            assert!(error.to_string().contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn the_longest_topic_that_covers_an_event_has_it() {
        let routes = routes(&words("orders=1 orders.eu=2 *=3")).unwrap();
        for (topic, index) in [
            ("orders", 0),
            ("orders.us", 0),
            ("orders.eu.x", 1),
            ("stock", 2),
        ] {
            assert_eq!(
                route_of(&routes, &topic.parse().unwrap()),
                Some(index),
                "{topic}"
            );
        }
        assert_eq!(route_of(&routes[..1], &"stock".parse().unwrap()), None);
    }
}
