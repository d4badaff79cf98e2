//! The requests of a round, made from a server's templates before its clock
//! starts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Spec, spec::Sign, template::fill};
use crate::payload::{self, Bodies};

/// How long the tokens are good: longer than any run.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Who subscribes to what.
#[derive(Debug, Clone)]
pub struct Audience {
    /// How the topics' names begin; each ends in its number.
    pub prefix: &'static str,
    /// How many topics; subscriber `i` takes topic `i % topics`.
    pub topics: usize,
    /// How many subscribers.
    pub subscribers: usize,
    /// Whether they begin with the oldest event.
    pub replay: bool,
    /// Whether they offer to take gzip.
    pub gzip: bool,
}

impl Audience {
    /// One topic's audience that wants what comes.
    #[must_use]
    pub fn of_one(prefix: &'static str, subscribers: usize) -> Self {
        Self {
            prefix,
            topics: 1,
            subscribers,
            replay: false,
            gzip: false,
        }
    }

    fn topic(&self, index: usize) -> String {
        format!("{}-{}", self.prefix, index % self.topics)
    }

    /// Their requests, one each.
    #[must_use]
    pub fn requests(&self, spec: &Spec) -> Vec<Vec<u8>> {
        let expires = unix_secs_now() + TOKEN_TTL.as_secs();
        let subscribe = &spec.subscribe;
        let path = match &subscribe.replay {
            Some(path) if self.replay => path,
            _ => &subscribe.path,
        };
        let request = |subscriber: usize| {
            let topic = self.topic(subscriber);
            let token = payload::token(&spec.token_secret, &topic, subscriber, expires);
            let number = subscriber.to_string();
            let values = [
                ("topic", topic.as_str()),
                ("token", &token),
                ("subscriber", &number),
            ];
            let headers = subscribe.headers.iter().map(|line| fill(line, &values));
            let gzip = self.gzip.then(|| "Accept-Encoding: gzip".to_owned());
            let headers: Vec<String> = headers.chain(gzip).collect();
            payload::request("GET", &fill(path, &values), "localhost", &headers, "")
        };
        (0..self.subscribers).map(request).collect()
    }
}

/// One event to publish.
#[derive(Debug)]
pub struct Post {
    /// The whole request.
    pub request: Vec<u8>,
    /// The length of the event's body, as subscribers are to get it.
    pub body_bytes: usize,
    /// When it is due, after the start.
    pub due: Duration,
}

/// The events of a round, numbered from `first` on.
#[derive(Debug)]
pub struct Posts {
    /// How the topics' names begin.
    pub prefix: &'static str,
    /// Event `n` goes to topic `n % topics`.
    pub topics: usize,
    /// The number of the first.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// So many are due per second; `None`: all at once.
    pub rate: Option<f64>,
    /// What they say.
    pub bodies: Bodies,
}

impl Posts {
    /// All of them, in the order in which they are due.
    #[must_use]
    pub fn make(&self, spec: &Spec) -> Vec<Post> {
        // Deduplication must not take one run's events for another's.
        let run = unix_secs_now();
        (0..self.count)
            .map(|index| self.post(spec, index, run))
            .collect()
    }

    fn post(&self, spec: &Spec, index: u32, run: u64) -> Post {
        let publish = &spec.publish;
        let number = self.first + index;
        let due = self.rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(f64::from(index) / rate)
        });
        let nanos = u64::try_from(due.as_nanos()).unwrap_or(u64::MAX);
        let payload = self.bodies.body(number, nanos);
        let topic = format!("{}-{}", self.prefix, number as usize % self.topics);
        let escaped = serde_json::Value::from(payload.as_str()).to_string();
        let body = fill(
            &publish.body,
            &[
                ("topic", &topic),
                ("payload", &payload),
                (
                    "payload_escaped",
                    escaped.get(1..escaped.len() - 1).unwrap_or_default(),
                ),
            ],
        );
        let signature = match publish.sign {
            Sign::None => String::new(),
            Sign::Github => payload::github_signature(&publish.secret, &body),
        };
        let id = format!("{run}-{}-{number}", self.prefix);
        let values = [
            ("topic", topic.as_str()),
            ("number", &id),
            ("signature", &signature),
        ];
        let headers = publish.headers.iter().map(|line| fill(line, &values));
        let headers: Vec<String> = headers.collect();
        let path = fill(&publish.path, &values);
        Post {
            request: payload::request("POST", &path, "localhost", &headers, &body),
            body_bytes: payload.len(),
            due,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tokens expire by the system's time, and this is the only place that asks for it"
)]
fn unix_secs_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
