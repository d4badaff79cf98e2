//! A line of the signers: a whole delivery, and what is to come of it.
//!
//! Knows how the signers are run; they run once for all tests.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use bytes::Bytes;
use data_encoding::BASE64;
use hookrill_core::{Secret, Timestamp};
use hookrill_verify::{Delivery, Preset, SchemeError, Settings, Verifier, presets};
use serde::Deserialize;

use crate::installed::installed;

/// What stands before the target where a URL is signed.
const PUBLIC_URL: &str = "https://hooks.example.com";
/// The word of topics whose line names none.
const VERIFY_TOKEN: &str = "a word";

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Line {
    pub preset: String,
    pub by: String,
    pub role: String,
    pub secret: String,
    pub public_url: Option<String>,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body_base64: String,
    pub at_ms: u64,
    pub expect: Expect,
    pub handshake: Option<Handshake>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Expect {
    pub dedup_id: Option<String>,
    pub event_type: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Handshake {
    pub status: u16,
    pub body: String,
    pub headers: std::collections::BTreeMap<String, String>,
    pub verify_token: Option<String>,
}

pub(super) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub nosniff: Option<String>,
}

/// What the signers signed for this run.
pub(super) fn signed_now() -> &'static [Line] {
    static LINES: LazyLock<Vec<Line>> = LazyLock::new(|| {
        installed("tests/ecosystem/presets/node_modules");
        let folder = folder();
        let python = installed("tests/ecosystem/presets/.venv/bin/python");
        let mut lines = run(Command::new("node").arg(folder.join("signers.mjs")));
        lines.extend(run(Command::new(python).arg(folder.join("signers.py"))));
        lines
    });
    &LINES
}

/// What providers published.
pub(super) fn vectors() -> &'static [Line] {
    static VECTORS: LazyLock<Vec<Line>> = LazyLock::new(|| {
        let text = std::fs::read_to_string(folder().join("vectors.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    });
    &VECTORS
}

/// The preset of that name; they are read once.
pub(super) fn known(name: &str) -> Option<Preset> {
    static KNOWN: LazyLock<Vec<Preset>> = LazyLock::new(presets);
    KNOWN.iter().find(|preset| *preset.name == *name).cloned()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ecosystem/presets")
}

fn run(command: &mut Command) -> Vec<Line> {
    let output = command.output().expect("the signers can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let line =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
    text.lines().map(line).collect()
}

/// Refusals are answers, not errors.
pub(super) fn lenient() -> ureq::config::Config {
    ureq::config::Config::builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .build()
}

impl Line {
    pub(super) fn preset(&self) -> Preset {
        known(&self.preset).unwrap()
    }

    pub(super) fn at(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.at_ms)
    }

    pub(super) fn body(&self) -> Bytes {
        BASE64.decode(self.body_base64.as_bytes()).unwrap().into()
    }

    pub(super) fn delivery(&self) -> Delivery {
        let header = |(name, value): &(String, String)| {
            let name: http::HeaderName = name.parse().unwrap();
            (name, value.parse::<http::HeaderValue>().unwrap())
        };
        Delivery::new(
            self.method.parse().unwrap(),
            &*self.target,
            self.headers.iter().map(header).collect(),
            self.body(),
            self.at(),
        )
    }

    /// The verifier of a topic with this line's secret, or without one where
    /// the line hands it over.
    pub(super) fn verifier(&self) -> Verifier {
        let verifier = match self.hands_over() {
            true => Verifier::new(self.preset().scheme, self.settings(Vec::new())),
            // Where no secret is used the line has a word in its place.
            false if !self.is_secret() => self.verifier_with("00"),
            false => self.verifier_with(&self.secret),
        };
        verifier.unwrap_or_else(|why| panic!("{self}: {why}"))
    }

    pub(super) fn verifier_with(&self, secret: &str) -> Result<Verifier, SchemeError> {
        let secrets = vec![Secret::new(secret.as_bytes())];
        Verifier::new(self.preset().scheme, self.settings(secrets))
    }

    fn settings(&self, secrets: Vec<Secret>) -> Settings {
        let public_url = self.public_url.as_deref().unwrap_or(PUBLIC_URL);
        let mut settings = Settings::new(secrets).with_public_url(public_url);
        if self.handshake.is_none() {
            settings.methods = vec![self.method.parse().unwrap()];
        }
        if self.preset().scheme.needs_verify_token() {
            let said = self.handshake.as_ref().and_then(|h| h.verify_token.clone());
            let token = said.unwrap_or_else(|| VERIFY_TOKEN.to_owned());
            settings.verify_token = Some(token.into());
        }
        settings
    }

    /// Whether the gateway here takes it: it has one public URL, and its sections take
    /// events by POST.
    pub(super) fn is_for_the_gateway(&self) -> bool {
        let url = self.public_url.as_deref();
        let is_its_url = url.is_none_or(|url| url == PUBLIC_URL);
        is_its_url && (self.method != "GET" || self.handshake.is_some())
    }

    /// Whether it gives the secret that is used from then on.
    pub(super) fn hands_over(&self) -> bool {
        self.handshake.is_some() && self.preset().scheme.provisioned_secret.is_some()
    }

    pub(super) fn is_secret(&self) -> bool {
        self.secret != "unused"
    }

    pub(super) fn signed_in_body(&self) -> bool {
        let scheme = self.preset().scheme;
        let signature = scheme.signature.map(|place| (place.json, place.form));
        let token = scheme.token.map(|token| (token.json, None));
        let places = signature.into_iter().chain(token);
        places
            .into_iter()
            .any(|(json, form)| json.is_some() || form.is_some())
    }

    /// The topic that it goes to; a hand-over has one of its own.
    pub(super) fn topic(&self) -> String {
        if self.hands_over() {
            format!("{}-new", self.preset)
        } else {
            self.preset.clone()
        }
    }

    pub(super) fn send(&self, url: &str, headers: &[(String, String)]) -> Answer {
        let path = format!("/ingest/{}", self.preset);
        let target = self
            .target
            .replacen(&path, &format!("/ingest/{}", self.topic()), 1);
        let mut request = http::Request::builder()
            .method(&*self.method)
            .uri(format!("{url}{target}"));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let agent = ureq::Agent::new_with_config(lenient());
        let response = match &*self.method {
            "POST" => agent.run(request.body(self.body().to_vec()).unwrap()),
            _ => agent.run(request.body(()).unwrap()),
        };
        let mut response = response.unwrap_or_else(|why| panic!("{self}: {why}"));
        let nosniff = response.headers().get("x-content-type-options");
        let nosniff = nosniff.map(|value| value.to_str().unwrap().to_owned());
        Answer {
            status: response.status().as_u16(),
            body: response.body_mut().read_to_vec().unwrap(),
            nosniff,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.preset, self.by)
    }
}

impl Handshake {
    /// Whether an answer is this one. JSON may have another layout.
    pub(super) fn is_like(&self, status: u16, body: &[u8], line: &Line) {
        assert_eq!(status, self.status, "{line}");
        let found = String::from_utf8_lossy(body);
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text);
        match (json(&found), json(&self.body)) {
            (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{line}"),
            _ => assert_eq!(found, self.body, "{line}"),
        }
    }
}
