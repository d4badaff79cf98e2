//! Who sees what: every token at every topic in every format, and what of each
//! event comes out.

use std::io::Write as _;

use flate2::write::GzDecoder;
use hookrill::access::{self, Claims};
use hookrill_core::Secret;
use proptest::prelude::*;
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use hookrill_testing::{
    ADMIN_TOKEN, BEGIN_SECS, ChunkedDecoder, Client, Gateway, GatewayBuilder, TOKEN_SECRET,
    WAIT_MAX,
};

/// Stands in what is hidden, and nowhere else.
const SECRET: &str = "s3cr3t";

const SECTIONS: &str = r#"
[topics.cut]
scheme = { kind = "none" }
hide = ["/secret"]

[topics."cut.deep"]
scheme = { kind = "none" }
expose = ["/n"]
headers = ["X-Kind"]

[topics.shown]
access = "public"
scheme = { kind = "none" }
expose = ["/n", "/list/*/k"]
"#;

/// The topics of the events, in order, and whether their section cuts them.
const EVENTS: [(&str, bool); 6] = [
    ("open", false),
    ("shut", false),
    ("cut", true),
    ("cut.other", true),
    ("cut.deep", true),
    ("shown", true),
];

fn body(topic: &str) -> String {
    format!(
        r#"{{ "n":"<{topic}>", "secret":{{"a":"{SECRET}"}},"list":[{{"secret":"{SECRET}","k":1}}]}}"#
    )
}

/// What is left of that body in the eyes of who does not see all of it.
fn cut(topic: &str) -> String {
    match topic {
        "cut.deep" => format!(r#"{{"n":"<{topic}>"}}"#),
        "shown" => format!(r#"{{"n":"<{topic}>","list":[{{"k":1}}]}}"#),
        // What stands in `list` is not hidden there.
        _ => format!(r#"{{"n":"<{topic}>","list":[{{"secret":"{SECRET}","k":1}}]}}"#),
    }
}

/// A token and what it is good for.
struct Holder {
    name: &'static str,
    token: Option<String>,
    /// What it covers; `None` where it is no good at all.
    covers: Option<&'static [&'static str]>,
    full: bool,
}

fn token(topics: &[&str], exp: u64, full: bool, jti: &str, secret: &str) -> String {
    let claims = Claims {
        topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
        exp,
        full,
        jti: Some(jti.to_owned()),
        ..Claims::default()
    };
    access::mint(&Secret::new(secret.as_bytes()), &claims).unwrap()
}

fn holders() -> Vec<Holder> {
    const LATER: u64 = BEGIN_SECS + 600;
    let good = |name, topics: &'static [&'static str], full| Holder {
        name,
        token: Some(token(topics, LATER, full, name, TOKEN_SECRET)),
        covers: Some(topics),
        full,
    };
    let bad = |name, token| Holder {
        name,
        token: Some(token),
        covers: None,
        full: true,
    };
    let all = &["*"][..];
    vec![
        Holder {
            name: "nobody",
            token: None,
            covers: None,
            full: false,
        },
        bad("rubbish", "a.b.c".to_owned()),
        bad(
            "another's",
            token(all, LATER, true, "x", &TOKEN_SECRET.replace('0', "1")),
        ),
        bad("late", token(all, BEGIN_SECS, true, "x", TOKEN_SECRET)),
        bad("revoked", token(all, LATER, true, "revoked", TOKEN_SECRET)),
        good("shut", &["shut"], false),
        good("shut, full", &["shut"], true),
        good("cut", &["cut"], false),
        good("cut, full", &["cut"], true),
        good("below", &["cut.other"], false),
        good("below, full", &["cut.other"], true),
        good("public, full", &["shown"], true),
        good("all", all, false),
        good("all, full", all, true),
    ]
}

fn is_below(topic: &str, above: &str) -> bool {
    let rest = topic.strip_prefix(above);
    above == "*" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Holder {
    fn covers(&self, topic: &str) -> bool {
        let covered = self.covers.unwrap_or_default();
        covered.iter().any(|above| is_below(topic, above))
    }

    /// What `/events` answers for these topics; for everything, if there are
    /// none.
    fn status(&self, topics: &[&str]) -> u16 {
        let known = |topic: &&str| EVENTS.iter().any(|(name, _)| name == topic);
        let public = |topic: &&str| matches!(*topic, "open" | "shown");
        let everything: &[&str] = if topics.is_empty() { &["*"] } else { topics };
        match () {
            () if !topics.iter().all(known) => 404,
            () if !topics.is_empty() && topics.iter().all(public) => 200,
            () if self.covers.is_none() => 401,
            () if everything
                .iter()
                .all(|topic| public(topic) || self.covers(topic)) =>
            {
                200
            }
            () => 403,
        }
    }

    fn is_full(&self, topics: &[&str]) -> bool {
        let everything: &[&str] = if topics.is_empty() { &["*"] } else { topics };
        self.full && everything.iter().all(|topic| self.covers(topic))
    }
}

/// How a stream is asked for.
#[derive(Debug, Clone, Copy)]
struct Way {
    query: &'static str,
    headers: &'static [(&'static str, &'static str)],
}

const WAYS: [Way; 5] = [
    Way {
        query: "",
        headers: &[],
    },
    Way {
        query: "&format=cloudevents",
        headers: &[],
    },
    Way {
        query: "",
        headers: &[("Accept", "application/x-ndjson")],
    },
    Way {
        query: "&compress=gzip",
        headers: &[("Accept-Encoding", "gzip")],
    },
    Way {
        query: "&format=cloudevents&compress=gzip",
        headers: &[("Accept-Encoding", "gzip")],
    },
];

/// A stream's text as it comes.
struct Tap {
    socket: TcpStream,
    head: String,
    chunks: ChunkedDecoder,
    inflater: Option<GzDecoder<Vec<u8>>>,
    text: Vec<u8>,
}

impl Tap {
    async fn open(client: &Client, path: &str, headers: &[(&str, &str)]) -> Self {
        let subscriber = client.subscriber_with(path, headers).await;
        let is_gzip = subscriber.head.contains("content-encoding: gzip");
        let mut tap = Self {
            socket: subscriber.stream,
            head: subscriber.head,
            chunks: subscriber.chunks,
            inflater: is_gzip.then(|| GzDecoder::new(Vec::new())),
            text: Vec::new(),
        };
        tap.take_in();
        tap
    }

    fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    fn take_in(&mut self) {
        let bytes = std::mem::take(&mut self.chunks.body);
        match &mut self.inflater {
            None => self.text.extend(bytes),
            Some(inflater) => {
                inflater.write_all(&bytes).unwrap();
                inflater.flush().unwrap();
                self.text.append(inflater.get_mut());
            }
        }
    }

    /// Reads until all of these have come; gives all that came.
    async fn until(&mut self, marks: &[String]) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.text).into_owned();
            if marks.iter().all(|mark| text.contains(mark)) {
                return text;
            }
            let mut bytes = Vec::with_capacity(64 * 1024);
            let read = timeout(WAIT_MAX, self.socket.read_buf(&mut bytes)).await;
            let read = read.unwrap_or_else(|_| panic!("{marks:?} do not come: {text}"));
            assert_ne!(read.unwrap(), 0, "cut off: {text}");
            self.chunks.take(&bytes);
            self.take_in();
        }
    }
}

async fn gateway(plan: GatewayBuilder) -> Gateway {
    let gateway = plan.sections(SECTIONS).start().await;
    for (topic, _) in EVENTS {
        let headers = [("X-Kind", "a kind"), ("Content-Type", "application/json")];
        gateway.post_with(topic, &headers, body(topic)).await.id();
    }
    let revoke = r#"{"jti":"revoked"}"#;
    let request = format!(
        "POST /admin/revoke HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{revoke}",
        revoke.len()
    );
    assert_eq!(gateway.send(request).await.status, 200);
    gateway
}

/// Checks one cell of the table.
async fn check(gateway: &Client, holder: &Holder, topics: &[&str], way: Way) {
    let named: String = topics
        .iter()
        .map(|topic| format!("&topic={topic}"))
        .collect();
    let path = format!("/events?since=earliest{named}{}", way.query);
    let cell = format!("{} at {path} with {:?}", holder.name, way.headers);
    let bearer = holder.token.as_ref().map(|token| format!("Bearer {token}"));
    let bearer = bearer
        .iter()
        .map(|bearer| ("Authorization", bearer.as_str()));
    let headers: Vec<_> = way.headers.iter().copied().chain(bearer).collect();
    let expected = holder.status(topics);
    if expected != 200 {
        let refused = gateway.get(&path, &headers).await;
        assert_eq!(refused.status, expected, "{cell}");
        let text = String::from_utf8_lossy(&refused.body);
        assert!(
            !text.contains('<') && !text.contains(SECRET),
            "{cell}: {text}"
        );
        return;
    }
    let mut tap = Tap::open(gateway, &path, &headers).await;
    assert_eq!(tap.status(), 200, "{cell}");
    let is_asked =
        |topic: &str| topics.is_empty() || topics.iter().any(|above| is_below(topic, above));
    let due = EVENTS.iter().filter(|(topic, _)| is_asked(topic));
    let marks: Vec<String> = due.clone().map(|(topic, _)| format!("<{topic}>")).collect();
    let text = tap.until(&marks).await;
    for (topic, _) in EVENTS.iter().filter(|(topic, _)| !is_asked(topic)) {
        assert!(!text.contains(&format!("<{topic}>")), "{cell}: {text}");
    }
    for (topic, is_cut) in due {
        let whole = body(topic);
        let is_line = way.headers.iter().any(|(name, _)| *name == "Accept");
        let whole = if is_line {
            whole.replace(' ', "")
        } else {
            whole
        };
        let hides = *is_cut && !holder.is_full(topics);
        let shown = if hides { cut(topic) } else { whole };
        assert!(text.contains(&shown), "{cell}: {topic}: {text}");
    }
    if !holder.is_full(topics) {
        assert!(!text.contains(r#"<cut>", "secret"#), "{cell}: {text}");
    }
}

#[tokio::test]
async fn every_token_sees_at_every_topic_in_every_format_what_it_may_and_no_more() {
    let asked: [&[&str]; 10] = [
        &["open"],
        &["shut"],
        &["cut"],
        &["cut.other"],
        &["cut.deep"],
        &["shown"],
        &["none"],
        &["cut", "shown"],
        &["shut", "open", "shown"],
        &[],
    ];
    for plan in [Gateway::in_memory(), Gateway::on_disk().with_router_only()] {
        let gateway = gateway(plan).await;
        for holder in holders() {
            for topics in asked {
                for way in WAYS {
                    check(&gateway, &holder, topics, way).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn chosen_headers_go_out_in_cloudevents_and_the_events_topic_says_which() {
    let gateway = gateway(Gateway::in_memory()).await;
    let bearer = format!("Bearer {}", holders().pop().unwrap().token.unwrap());
    let headers = [
        ("Accept", "application/x-ndjson"),
        ("Authorization", &bearer),
    ];
    let mut tap = Tap::open(&gateway, "/events?since=earliest", &headers).await;
    let text = tap.until(&["<shown>".to_owned()]).await;
    for line in text.lines().filter(|line| line.contains('<')) {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let kind = event.get("xkind").and_then(|kind| kind.as_str());
        let expected = (event["topic"] == "cut.deep").then_some("a kind");
        assert_eq!(kind, expected, "{line}");
    }
}

#[tokio::test]
async fn what_cannot_be_cut_is_withheld_told_of_and_counted() {
    let gateway = gateway(Gateway::in_memory()).await;
    for body in [
        format!("secret={SECRET}"),
        format!("{{\"secret\":\"{SECRET}\""),
        "\u{feff}\u{feff}{}".into(),
    ] {
        gateway.post("shown", body).await.id();
    }
    gateway.post("shown", r#"{"n":"<end>"}"#).await.id();
    gateway
        .post("open", "not JSON, and nothing is hidden here")
        .await
        .id();
    // Events are counted in their order: with this one, all before it are.
    gateway.post("cut", "not JSON either").await.id();
    assert_eq!(counted_from(&gateway, 4.0).await, 4.0);
    let full = token(&["shown"], BEGIN_SECS + 600, true, "f", TOKEN_SECRET);
    for way in WAYS {
        let path = format!("/events/shown?last=4{}", way.query);
        let mut tap = Tap::open(&gateway, &path, way.headers).await;
        let text = tap.until(&["<end>".to_owned()]).await;
        assert!(!text.contains(SECRET), "{text}");
        assert_eq!(
            text.matches(r#"{"reason":"not_json"}"#).count(),
            3,
            "{text}"
        );
        let path = format!("{path}&token={full}");
        let mut whole = Tap::open(&gateway, &path, way.headers).await;
        let shown = whole.until(&["<end>".to_owned()]).await;
        assert!(!shown.contains("withheld"), "{shown}");
    }
    let mut plain = gateway.subscriber("/events/shown?last=4").await;
    let names: Vec<_> = plain
        .events(4)
        .await
        .into_iter()
        .map(|event| event.name)
        .collect();
    let withheld = "hookrill.withheld";
    assert_eq!(names, [withheld, withheld, withheld, "message"]);
}

/// How many events are withheld, once there are so many: they are counted when
/// the sender has his answer.
async fn counted_from(gateway: &Gateway, least: f64) -> f64 {
    let counting = async {
        loop {
            let counted = gateway.metric("hookrill_withheld_total").await;
            if counted >= least {
                return counted;
            }
        }
    };
    timeout(WAIT_MAX, counting).await.expect("they are counted")
}

/// A JSON value in which every text below a hidden key is a secret.
fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i32>().prop_map(serde_json::Value::from),
        "[a-z\r\n\"\\\\\u{e9}]{0,6}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[abh]", inner, 0..4)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Puts the secret into each text and key below `h`, and nowhere else.
fn seal(value: &mut serde_json::Value, hidden: bool) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                seal(inner, hidden || key == "h");
            }
            if hidden {
                map.insert(SECRET.to_owned(), 1.into());
            }
        }
        serde_json::Value::Array(list) => {
            for inner in list {
                seal(inner, hidden);
            }
        }
        scalar if hidden => *scalar = SECRET.into(),
        _ => {}
    }
}

/// `h` at every depth that a document has.
fn hidden_everywhere() -> String {
    let at = |depth: usize| format!("\"{}/h\"", "/*".repeat(depth));
    (0..6).map(at).collect::<Vec<_>>().join(", ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_byte_of_a_hidden_field_reaches_a_subscriber(
        documents in prop::collection::vec((document(), any::<bool>()), 1..12),
        cursor in 0_u64..12,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let section = format!(
                "[topics.h]\naccess = \"public\"\nscheme = {{ kind = \"none\" }}\nhide = [{}]",
                hidden_everywhere()
            );
            // Little history, so that there are gaps.
            let plan = Gateway::in_memory().journal("retain_bytes = \"4 KiB\"");
            let gateway = plan.sections(&section).start().await;
            let mut live = Vec::new();
            for way in WAYS {
                live.push(Tap::open(&gateway, &format!("/events/h?x=1{}", way.query), way.headers).await);
            }
            for (mut document, pretty) in documents {
                seal(&mut document, false);
                let body = if pretty {
                    serde_json::to_string_pretty(&document).unwrap().replace('\n', "\r\n")
                } else {
                    document.to_string()
                };
                gateway.post("h", body).await.id();
            }
            let last = gateway.post("h", r#"{"end":"<end>"}"#).await.id();
            let (epoch, head) = last.split_once('-').unwrap();
            let head_seq: u64 = head.parse().unwrap();
            // Behind the head there is nothing to be seen, ahead of it a gap.
            let from = if cursor == head_seq { 0 } else { cursor };
            for (way, mut tap) in WAYS.iter().zip(live) {
                let text = tap.until(&["<end>".to_owned()]).await;
                assert!(!text.contains(SECRET), "{way:?}: {text}");
                for since in ["earliest".to_owned(), format!("{epoch}-{from}"), "other-3".into()] {
                    let path = format!("/events/h?since={since}{}", way.query);
                    let mut late = Tap::open(&gateway, &path, way.headers).await;
                    let ahead = from > head_seq && since.starts_with(epoch);
                    let mark = if ahead { "hookrill.gap" } else { "<end>" };
                    let again = late.until(&[mark.to_owned()]).await;
                    assert!(!again.contains(SECRET), "{way:?}: {again}");
                }
            }
        });
    }
}
