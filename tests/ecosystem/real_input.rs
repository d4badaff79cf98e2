//! Real deliveries, by real signers, reach real clients.
//!
//! GitHub's own examples and sets of other providers, signed by packages that
//! nobody here wrote, go through the real binary on a disk journal to clients
//! that nobody here wrote: npm `eventsource` and PyPI `sseclient-py`. The
//! gateway is stopped once and killed once in the middle. Every client must
//! have every event of its topics once and in order, to the byte.
//!
//! `scripts/test` installs the packages into `tests/ecosystem/real_input/`.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::installed::installed;
use data_encoding::BASE64;
use hookrill_testing::{Process, Subprocess, hookrill};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// For the whole run; it takes some 20 s.
const WAIT_MAX: Duration = Duration::from_secs(240);
const PUBLIC_URL: &str = "https://hooks.example.com";
/// @octokit/webhooks-examples has as many for api.github.com.
const GITHUB_EXAMPLES: u64 = 329;
const TOPICS: [&str; 6] = ["github", "standard", "stripe", "shopify", "slack", "own"];

/// Every body comes out as it went in.
const CONFIG: &str = r#"
public_url = "https://hooks.example.com"
shutdown_grace = "5s"

[journal]
kind = "disk"
path = "data"

[subscribe]
heartbeat = "1s"
retry = "200ms"

[access]
secret = "6b2f0c9d8e7a41529384a5b6c7d8e9f00112233445566778899aabbccddeeff0"

[topics.github]
decode = "off"
preset = "github"
secrets = ["It's a Secret to Everybody"]
access = "public"

[topics.standard]
decode = "off"
preset = "standard-webhooks"
secrets = ["whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xk", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]

[topics.stripe]
decode = "off"
preset = "stripe"
secrets = ["whsec_stripe_uses_this_as_it_stands"]

[topics.shopify]
decode = "off"
preset = "shopify"
secrets = ["hush"]

[topics.slack]
decode = "off"
preset = "slack"
secrets = ["8f742231b10e8888abcd99yyyzzz85a5"]

[topics.own]
decode = "off"
secrets = ["one of our own"]
[topics.own.scheme]
kind = "hmac"
hash = "sha256"
signature = { header = "X-Signature", prefix = "sha256=" }
encoding = "hex"
message = ["body"]
"#;

const SECRETS: &str = r#"{
    "github": "It's a Secret to Everybody",
    "standard": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "stripe": "whsec_stripe_uses_this_as_it_stands",
    "shopify": "hush",
    "own": "one of our own"
}"#;
const SLACK_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// A line of a sender.
#[derive(Deserialize)]
#[serde(tag = "entry", rename_all = "lowercase")]
enum Entry {
    /// How many deliveries each set has.
    Plan {
        what: HashMap<String, u64>,
    },
    /// A stage is done; the sender waits.
    Stage {
        what: String,
    },
    Delivered(Delivered),
    Probed(Probed),
}

/// A delivery that had to be stored.
#[derive(Clone, Deserialize)]
struct Delivered {
    /// Whether it is the one before once more.
    again: bool,
    topic: String,
    #[serde(rename = "type")]
    event_type: String,
    content_type: Option<String>,
    /// In base64.
    body: String,
    /// As a WHATWG decoder reads it, with line ends unified.
    text: String,
    status: u16,
    answer: String,
}

/// A delivery that had to be answered in some other way.
#[derive(Deserialize)]
struct Probed {
    what: String,
    status: u16,
    answer: String,
}

/// What the gateway said of a delivery that it has.
#[derive(Deserialize)]
struct Receipt {
    id: String,
    topic: String,
    duplicate: bool,
}

/// An event as it has to arrive.
struct Expected {
    id: String,
    delivered: Delivered,
}

/// A line of a subscriber.
#[derive(Deserialize)]
struct Heard {
    kind: String,
    #[serde(default)]
    id: String,
    data: Option<String>,
}

#[derive(Clone, Copy)]
enum Format {
    Raw,
    CloudEvents,
}

/// A client that runs.
struct Subscriber {
    name: &'static str,
    lines: Subprocess,
    format: Format,
    /// Of which topics it hears, subtopics included.
    topics: Vec<&'static str>,
    connections: usize,
    /// Heard, and not yet asked for.
    kept: VecDeque<Heard>,
}

#[test]
fn every_real_delivery_reaches_every_client_once_in_order_and_to_the_byte() {
    let patience = Instant::now() + WAIT_MAX;
    let tools = Tools::find();
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let mut gateway = Process::start(folder.path(), CONFIG);
    let token = mint(folder.path());
    let mut subscribers = subscribers(&tools, &gateway.url(), &token);
    for subscriber in &mut subscribers {
        subscriber.wait_for_the_opening(patience);
    }

    let mut sender = tools.sender(&gateway.url());
    let mut told = Told::default();
    told.listen(&sender, "first", patience);
    assert_eq!(told.plan["github"], GITHUB_EXAMPLES);
    sender.send_newline();
    told.listen(&sender, "second", patience);
    let slack = tools.slack_sender(&gateway.url());
    told.listen(&slack, "end", patience);
    // Subscribers are away now, and come back by themselves; deliveries wait
    // for nobody.
    gateway.kill();
    gateway = gateway.restart();
    sender.send_newline();
    told.listen(&sender, "third", patience);
    // A gateway starts faster than clients come back: the second interruption
    // has to meet them there.
    for subscriber in &mut subscribers {
        subscriber.wait_until_it_is_back(patience);
    }
    let status = gateway.terminate();
    assert!(
        status.success(),
        "after SIGTERM: {status}: {}",
        gateway.log()
    );
    gateway = gateway.restart();
    for next in ["refusals", "marker", "end"] {
        sender.send_newline();
        told.listen(&sender, next, patience);
    }
    told.probes_are_answered_as_they_must_be();

    let expected = told.expected();
    let late = latecomer(&tools, &gateway.url(), &token);
    for mut subscriber in subscribers.into_iter().chain([late]) {
        subscriber.hears(&expected, patience);
    }
}

/// What the senders said, put together.
#[derive(Default)]
struct Told {
    plan: HashMap<String, u64>,
    delivered: Vec<Delivered>,
    probed: Vec<Probed>,
}

impl Told {
    /// Takes what a sender says up to this stage.
    fn listen(&mut self, sender: &Subprocess, stage: &str, patience: Instant) {
        loop {
            let line = sender.next_line(patience);
            match serde_json::from_str(&line).expect("senders speak JSON") {
                Entry::Plan { what } => self.plan = what,
                Entry::Stage { what } => return assert_eq!(what, stage),
                Entry::Delivered(delivered) => self.delivered.push(delivered),
                Entry::Probed(probed) => self.probed.push(probed),
            }
        }
    }

    /// Everything that was stored, in the order in which it was posted.
    fn expected(&self) -> Vec<Expected> {
        let mut expected: Vec<Expected> = Vec::new();
        for delivered in self.delivered.iter().cloned() {
            let Delivered { status, answer, .. } = &delivered;
            let receipt: Receipt = serde_json::from_str(answer)
                .unwrap_or_else(|_| panic!("{status} {answer} to {}", delivered.topic));
            assert_eq!(receipt.topic, delivered.topic);
            let known = delivered.again && !delivered.topic.starts_with("own");
            let before = expected.last();
            assert_eq!((*status, receipt.duplicate), (200, known), "{answer}");
            if known {
                assert_eq!(Some(&receipt.id), before.map(|event| &event.id));
                continue;
            }
            if let Some(before) = before {
                let (before, at) = (position(&before.id), position(&receipt.id));
                assert!(
                    before.0 == at.0 && before.1 < at.1,
                    "{at:?} follows {before:?}"
                );
            }
            expected.push(Expected {
                id: receipt.id,
                delivered,
            });
        }
        self.count(&expected);
        expected
    }

    /// That nothing of the plan was left out.
    fn count(&self, expected: &[Expected]) {
        let stored = |topic: &str| {
            let mut events = expected.iter().map(|event| &event.delivered);
            events
                .by_ref()
                .filter(|event| covers(topic, &event.topic))
                .count() as u64
        };
        for (topic, planned) in &self.plan {
            let again = (self.delivered.iter())
                .filter(|event| event.again && topic == "own" && covers(topic, &event.topic));
            let marker = u64::from(topic == "own");
            assert_eq!(
                stored(topic),
                planned + again.count() as u64 + marker,
                "{topic}"
            );
        }
        let duplicates = self.delivered.len() - expected.len();
        assert!(duplicates > 20, "only {duplicates} were delivered twice");
        assert_eq!(stored("slack"), 12);
    }

    fn probes_are_answered_as_they_must_be(&self) {
        let (handshakes, refused): (Vec<_>, Vec<_>) =
            (self.probed.iter()).partition(|probed| probed.what == "handshake");
        let echoes: Vec<_> = (handshakes.iter())
            .map(|p| (p.status, &*p.answer))
            .collect();
        assert_eq!(echoes, [(200, "3eZbrw1a")]);
        assert!(
            refused.len() > 70,
            "only {} were to be refused",
            refused.len()
        );
        for probed in &refused {
            assert_eq!(probed.status, 401, "{}: {}", probed.what, probed.answer);
        }
        let answers: HashSet<_> = refused.iter().map(|probed| &probed.answer).collect();
        assert_eq!(answers.len(), 1, "a refusal tells why: {answers:?}");
    }
}

fn subscribers(tools: &Tools, url: &str, token: &str) -> Vec<Subscriber> {
    use Format::{CloudEvents, Raw};
    let each: String = TOPICS.map(|topic| format!("&topic={topic}")).concat();
    let all = TOPICS.to_vec();
    // The JavaScript client can't set headers, so that its token is in the URL.
    vec![
        tools.npm(
            "npm, raw",
            Raw,
            all.clone(),
            &format!("{url}/events?token={token}"),
        ),
        tools.npm(
            "npm, cloudevents",
            CloudEvents,
            all.clone(),
            &format!("{url}/events?format=cloudevents&token={token}{each}"),
        ),
        tools.npm(
            "npm, public",
            Raw,
            vec!["github"],
            &format!("{url}/events/github"),
        ),
        tools.pypi("pypi, raw", Raw, all, &format!("{url}/events"), token, 97),
        tools.pypi(
            "pypi, cloudevents",
            CloudEvents,
            vec!["stripe", "own", "github"],
            &format!("{url}/events?topic=own&topic=stripe&topic=github&format=cloudevents"),
            token,
            61,
        ),
    ]
}

/// One that comes when all is over.
fn latecomer(tools: &Tools, url: &str, token: &str) -> Subscriber {
    let url = format!("{url}/events?since=earliest&format=cloudevents");
    let format = Format::CloudEvents;
    tools.pypi("pypi, late", format, TOPICS.to_vec(), &url, token, 400)
}

/// A token for everything, by the command line.
fn mint(folder: &Path) -> String {
    let output = hookrill(folder)
        .args(["token", "--topic", "*", "--ttl", "1h"])
        .output()
        .expect("the binary is built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "hookrill token: {said}");
    let token = String::from_utf8(output.stdout).expect("a token is text");
    token.trim().to_owned()
}

impl Subscriber {
    fn next(&mut self, patience: Instant) -> Heard {
        match self.kept.pop_front() {
            Some(heard) => heard,
            None => self.hear(patience),
        }
    }

    fn hear(&mut self, patience: Instant) -> Heard {
        let heard: Heard =
            serde_json::from_str(&self.lines.next_line(patience)).expect("it speaks JSON");
        self.connections += usize::from(heard.kind == "open");
        heard
    }

    /// Waits for its next connection, and keeps what it hears until then.
    fn wait_until_it_is_back(&mut self, patience: Instant) {
        loop {
            let heard = self.hear(patience);
            let is_back = heard.kind == "open";
            self.kept.push_back(heard);
            if is_back {
                return;
            }
        }
    }

    fn wait_for_the_opening(&mut self, patience: Instant) {
        loop {
            let heard = self.next(patience);
            match &*heard.kind {
                "open" => {}
                // From here on nothing can be missed.
                "hookrill.cursor" => return,
                other => panic!("{}: {other} {:?}", self.name, heard.data),
            }
        }
    }

    /// Compares all it hears with all it has to hear.
    fn hears(&mut self, all: &[Expected], patience: Instant) {
        let due = |event: &&Expected| {
            let topic = &event.delivered.topic;
            self.topics.iter().any(|own| covers(own, topic))
        };
        let due: Vec<_> = all.iter().filter(due).collect();
        for expected in &due {
            let (id, data) = self.next_message(patience);
            assert_eq!(
                id, expected.id,
                "{}: out of order, lost or doubled",
                self.name
            );
            match self.format {
                Format::Raw => assert_same(&data, &expected.delivered.text, self.name, &id),
                Format::CloudEvents => expected.is_told_by(&data, self.name),
            }
        }
        println!(
            "{}: {} events, {} connections",
            self.name,
            due.len(),
            self.connections
        );
        let late = self.name.contains("late");
        assert!(
            late || self.connections >= 3,
            "it was to be interrupted twice"
        );
        if let Some(last) = all.last() {
            self.rests_at(&last.id, patience);
        }
    }

    /// Nothing more comes, and a heartbeat brings the id up to the last event,
    /// though its topic may be none of this client's.
    fn rests_at(&mut self, last: &str, patience: Instant) {
        loop {
            let heard = self.next(patience);
            match &*heard.kind {
                "hookrill.cursor" if heard.id == last => return,
                "hookrill.cursor" | "open" => {}
                other => panic!("{}: {other} {} after the end", self.name, heard.id),
            }
        }
    }

    /// What reached `onmessage`, or what a Python loop would take for an event.
    fn next_message(&mut self, patience: Instant) -> (String, String) {
        loop {
            let heard = self.next(patience);
            match &*heard.kind {
                "message" => return (heard.id, heard.data.unwrap_or_default()),
                "hookrill.cursor" => {
                    let data = heard.data.as_deref().unwrap_or_default();
                    assert!([r"{}", r#"{"live":true}"#].contains(&data), "{}", self.name);
                }
                "open" | "interrupted" => {}
                other => panic!("{}: {other} {:?}", self.name, heard.data),
            }
        }
    }
}

/// An event's envelope. `data` stays as it was written.
#[derive(Deserialize)]
struct CloudEvent<'a> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: String,
    time: &'a str,
    topic: &'a str,
    datacontenttype: &'a str,
    /// `null` is a body too.
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    data_base64: Option<&'a str>,
}

fn present<'de, D: serde::Deserializer<'de>>(member: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(member).map(Some)
}

impl Expected {
    fn is_told_by(&self, text: &str, subscriber: &str) {
        let id = &self.id;
        let event: CloudEvent<'_> = serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("{subscriber}, {id}: {error}: {text}"));
        let Delivered {
            topic,
            event_type,
            content_type,
            ..
        } = &self.delivered;
        let source = format!("{PUBLIC_URL}/ingest/{topic}");
        assert_eq!(event.specversion, "1.0");
        assert_eq!(
            (event.id, event.topic, event.source, &event.event_type),
            (&**id, &**topic, &*source, event_type)
        );
        assert!(
            event.time.ends_with('Z') && event.time.contains('T'),
            "{}",
            event.time
        );
        if let Some(content_type) = content_type {
            assert_eq!(event.datacontenttype, content_type);
        }
        let body = BASE64
            .decode(self.delivered.body.as_bytes())
            .expect("it is base64");
        let got = event.body(text);
        assert!(
            got == body,
            "{subscriber}, {id}: {text}\n  is not {:?}",
            String::from_utf8_lossy(&body)
        );
    }
}

impl CloudEvent<'_> {
    /// The body's bytes, as a reader of the CloudEvents specification gets
    /// them; JSON is cut out of the envelope's text.
    fn body(&self, envelope: &str) -> Vec<u8> {
        let is_json = self
            .datacontenttype
            .split(';')
            .next()
            .is_some_and(|essence| essence == "application/json" || essence.ends_with("+json"));
        match (self.data, self.data_base64) {
            (None, Some(base64)) => BASE64.decode(base64.as_bytes()).expect("it is base64"),
            (Some(data), None) if is_json => {
                // The member's value with the white space around it.
                let (_, rest) = envelope.split_once("\"data\":").expect("it has data");
                let (before, rest) = rest.split_once(data.get()).expect("it has this data");
                assert!(
                    before.trim_ascii().is_empty(),
                    "{before} is before the data"
                );
                let end = rest.find(['}', ',']).expect("the envelope ends");
                format!("{before}{data}{}", &rest[..end]).into_bytes()
            }
            (Some(data), None) => match serde_json::from_str(data.get()) {
                Ok(Value::String(text)) => text.into_bytes(),
                other => panic!("text is a JSON string, not {other:?}"),
            },
            _ => panic!("one of data and data_base64: {envelope}"),
        }
    }
}

fn assert_same(got: &str, due: &str, subscriber: &str, id: &str) {
    assert!(got == due, "{subscriber}, {id}: {got:?}\n  is not {due:?}");
}

/// Whether a subscription to `topic` includes `other`.
fn covers(topic: &str, other: &str) -> bool {
    let rest = other.strip_prefix(topic);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Epoch and sequence of a cursor.
fn position(id: &str) -> (&str, u64) {
    let (epoch, sequence) = id.split_once('-').expect("a cursor has two parts");
    (epoch, sequence.parse().expect("a sequence is a number"))
}

/// Node and Python with the packages.
struct Tools {
    folder: PathBuf,
    python: PathBuf,
}

impl Tools {
    fn find() -> Self {
        installed("tests/ecosystem/real_input/node_modules/eventsource");
        let folder = installed("tests/ecosystem/real_input");
        let python = installed("tests/ecosystem/real_input/.venv/bin/python");
        Self { folder, python }
    }

    fn node(&self, script: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(self.folder.join(script));
        command
    }

    fn python(&self, script: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.folder.join(script));
        command
    }

    fn sender(&self, url: &str) -> Subprocess {
        let mut command = self.node("sender.mjs");
        Subprocess::start("sender", command.arg(url).env("SECRETS", SECRETS))
    }

    fn slack_sender(&self, url: &str) -> Subprocess {
        let mut command = self.python("sender.py");
        Subprocess::start(
            "Slack's sender",
            command.arg(url).env("SECRET", SLACK_SECRET),
        )
    }

    fn npm(
        &self,
        name: &'static str,
        format: Format,
        topics: Vec<&'static str>,
        url: &str,
    ) -> Subscriber {
        let lines = Subprocess::start(name, self.node("subscriber.mjs").arg(url));
        Subscriber {
            name,
            lines,
            format,
            topics,
            connections: 0,
            kept: VecDeque::new(),
        }
    }

    fn pypi(
        &self,
        name: &'static str,
        format: Format,
        topics: Vec<&'static str>,
        url: &str,
        token: &str,
        leave_every: usize,
    ) -> Subscriber {
        let mut command = self.python("subscriber.py");
        command.args([url, token, &leave_every.to_string()]);
        Subscriber {
            name,
            lines: Subprocess::start(name, &mut command),
            format,
            topics,
            connections: 0,
            kept: VecDeque::new(),
        }
    }
}
