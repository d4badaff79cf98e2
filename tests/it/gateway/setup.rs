//! What every provider sends while a webhook is set up, over real sockets: its creation
//! check, its handshake, its test event (`setup.toml`).
//!
//! Invariant: a preset that says that something comes has it there, and no other has.

use std::collections::{BTreeMap, BTreeSet};

use hookrill_core::Timestamp;
use hookrill_testing::{BEGIN_SECS, Gateway, GatewayBuilder, Response};
use hookrill_verify::{Delivery, Preset, Settings, Verifier, presets, scheme::SchemeKind};
use http::{HeaderMap, HeaderName};
use serde::Deserialize;

const PUBLIC_URL: &str = "https://hooks.example.com";
/// As hex and as base64 it is a secret too.
const SECRET: &str = "c0ffee00c0ffee00c0ffee00c0ffee00";
/// The public key of RFC 8032, section 7.1, test 2.
const PUBLIC_KEY: [(&str, &str); 2] = [
    (
        "discord",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    ),
    ("telnyx", "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="),
];
const VERIFY_TOKEN: &str = "a word";

/// A request of a provider, and what it has to hear.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    what: String,
    method: Option<String>,
    query: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    /// Whether it is signed as an event is.
    #[serde(default)]
    signed: bool,
    /// Another secret that it is signed with.
    signed_with: Option<String>,
    event_type: Option<String>,
    /// Whether it is an event.
    #[serde(default)]
    stored: bool,
    #[serde(default)]
    answer: Answer,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Answer {
    status: Option<u16>,
    body: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

fn exchanges() -> BTreeMap<String, Vec<Exchange>> {
    toml::from_str(include_str!("setup.toml")).unwrap()
}

fn secret(preset: &Preset) -> &'static str {
    if preset.name.as_ref() == "postmark" {
        return "user:password";
    }
    let key = PUBLIC_KEY.iter().find(|(name, _)| *name == &*preset.name);
    key.map_or(SECRET, |(_, key)| key)
}

/// A topic for each preset.
fn gateway(presets: &[Preset]) -> GatewayBuilder {
    let mut sections = String::new();
    for preset in presets {
        let name = &preset.name;
        sections += &format!("[topics.set-up-{name}]\npreset = \"{name}\"\naccess = \"public\"\n");
        if preset.scheme.provisioned_secret.is_none() {
            sections += &format!("secrets = [\"{}\"]\n", secret(preset));
        }
        if preset.scheme.needs_verify_token() {
            sections += &format!("verify_token = \"{VERIFY_TOKEN}\"\n");
        }
    }
    Gateway::on_disk()
        .server(&format!("public_url = \"{PUBLIC_URL}\""))
        .sections(&sections)
}

impl Exchange {
    fn method(&self) -> &str {
        self.method.as_deref().unwrap_or("POST")
    }

    fn target(&self, preset: &Preset) -> String {
        let path = format!("/ingest/set-up-{}", preset.name);
        match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        }
    }

    /// The headers, with a signature where there is one.
    fn headers(&self, preset: &Preset) -> HeaderMap {
        let header = |(name, value): (&String, &String)| {
            let name: HeaderName = name.parse().unwrap();
            (name, value.parse().unwrap())
        };
        let mut headers: HeaderMap = self.headers.iter().map(header).collect();
        let with = self.signed_with.as_deref();
        let Some(with) = with.or(self.signed.then(|| secret(preset))) else {
            return headers;
        };
        let settings = Settings::new([with]).with_public_url(PUBLIC_URL);
        let verifier = Verifier::offline(preset.scheme.clone(), settings).unwrap();
        let method = self.method().parse().unwrap();
        let now = Timestamp::from_unix_secs(BEGIN_SECS);
        let body = self.body.clone().into_bytes();
        let draft = Delivery::new(method, self.target(preset), headers.clone(), body, now);
        let signed = verifier.sign(&draft, self.event_type.as_deref(), "id-1", now);
        let signed = signed.unwrap_or_else(|why| panic!("{}: {why}", preset.name));
        headers.extend(signed.headers);
        headers
    }

    async fn send(&self, gateway: &Gateway, preset: &Preset) -> Response {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n",
            self.method(),
            self.target(preset)
        );
        for (name, value) in &self.headers(preset) {
            head += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        if self.method() == "POST" {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        gateway.send(head + "\r\n" + &self.body).await
    }

    fn holds(&self, answer: &Response, name: &str) {
        let what = format!("{name}, {}", self.what);
        let wanted = &self.answer;
        assert_eq!(answer.status, wanted.status.unwrap_or(200), "{what}");
        if let Some(body) = &wanted.body {
            assert_eq!(answer.text(), body, "{what}");
        }
        if let Some(content_type) = &wanted.content_type {
            assert_eq!(
                answer.header("content-type"),
                Some(&**content_type),
                "{what}"
            );
        }
        for (header, value) in &wanted.headers {
            assert_eq!(answer.header(header), Some(&**value), "{what}");
        }
    }
}

#[test]
fn every_preset_that_something_comes_to_at_its_set_up_has_it_here_and_no_other() {
    let exchanges = exchanges();
    let here: BTreeSet<&str> = exchanges.keys().map(String::as_str).collect();
    let presets = presets();
    let come = presets.iter().filter(|preset| preset.setup_traffic.comes());
    let said: BTreeSet<&str> = come.map(|preset| &*preset.name).collect();
    assert_eq!(here, said);
}

#[tokio::test]
async fn every_provider_hears_at_its_set_up_what_it_has_to_hear() {
    let presets = presets();
    let gateway = gateway(&presets).start().await;
    let mut stored = 0.0;
    for (name, exchanges) in exchanges() {
        let preset = presets.iter().find(|preset| *preset.name == *name).unwrap();
        for exchange in exchanges {
            let answer = exchange.send(&gateway, preset).await;
            exchange.holds(&answer, &name);
            stored += f64::from(u8::from(exchange.stored));
            let ingested = gateway.metric("hookrill_ingested_total").await;
            let duplicates = gateway.metric("hookrill_duplicates_total").await;
            assert_eq!(ingested + duplicates, stored, "{name}, {}", exchange.what);
        }
    }
}

/// A GET or a HEAD that no handshake expects is answered as everywhere, and so is an
/// unsigned POST: the exceptions above are all that there are.
#[tokio::test]
async fn nothing_else_is_answered_unsigned() {
    let presets = presets();
    let gateway = gateway(&presets).start().await;
    for preset in &presets {
        let name = &preset.name;
        let ask = async |method: &str, body: &str| {
            let length = match method {
                "POST" => format!("Content-Length: {}\r\n", body.len()),
                _ => String::new(),
            };
            let head = format!(
                "{method} /ingest/set-up-{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{length}\r\n{body}"
            );
            gateway.send(head).await.status
        };
        assert_eq!(ask("GET", "").await, 405, "{name}");
        let heads = ["intercom", "mandrill", "trello"].contains(&&**name);
        assert_eq!(
            ask("HEAD", "").await,
            if heads { 200 } else { 405 },
            "{name}"
        );
        assert_eq!(ask("OPTIONS", "").await, 405, "{name}");
        for body in ["", "{}", "a=1", "[]"] {
            assert_eq!(ask("POST", body).await, 401, "{name}: {body}");
        }
        assert_ne!(preset.scheme.kind, SchemeKind::None);
    }
}
