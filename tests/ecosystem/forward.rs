//! `hookrill forward` hands webhooks to programs that check them by the providers' own SDKs.
//!
//! The programs are `presets/receivers.mjs` and `presets/receivers.py`. What they refuse
//! themselves, whatever the signature, such as an empty body, is not sent to them.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::HEXLOWER;
use flate2::{Compression, write::GzEncoder};
use hookrill::access::{self, Claims};
use hookrill_core::{Secret, Timestamp};
use hookrill_testing::{
    BEGIN_SECS, Gateway, Process, Subprocess, TOKEN_SECRET, WAIT_MAX, hookrill,
};
use hookrill_verify::{Delivery, Settings, Verifier};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use crate::installed::installed;

const FOLDER: &str = "tests/ecosystem/presets";
const PUBLIC_URL: &str = "https://hooks.example.com";
const DAY_SECS: u64 = 24 * 60 * 60;

/// A provider whose SDK takes or refuses.
struct Provider {
    preset: &'static str,
    secret: String,
    /// Whether its SDK looks at the date of a signature.
    is_dated: bool,
    /// Whether its SDK takes an empty body.
    takes_nothing: bool,
    /// Whether its SDK takes bytes that are no text.
    takes_bytes: bool,
}

fn providers(discord_key: &str) -> Vec<Provider> {
    let provider = |preset, secret: &str, is_dated, takes_nothing| Provider {
        preset,
        secret: secret.to_owned(),
        is_dated,
        takes_nothing,
        takes_bytes: preset == "discord",
    };
    vec![
        provider("github", "It's a Secret to Everybody", false, false),
        provider("stripe", "whsec_stripe_uses_this_as_it_stands", true, false),
        provider(
            "standard-webhooks",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            true,
            true,
        ),
        provider("shopify", "hush: the API secret key", false, false),
        provider("slack", "8f742231b10e8888abcd99yyyzzz85a5", true, true),
        provider("discord", discord_key, false, true),
        provider("twilio", "12345678901234567890123456789012", false, true),
    ]
}

fn section(provider: &Provider) -> String {
    let Provider { preset, secret, .. } = provider;
    format!("[topics.sdk-{preset}]\npreset = \"{preset}\"\nsecrets = [{secret:?}]\n")
}

/// A body, its type and its coding. The signature is over what it was before the coding
/// unless `signs_coded`.
struct Body {
    bytes: Vec<u8>,
    content_type: &'static str,
    is_gzip: bool,
    signs_coded: bool,
}

fn bodies(provider: &Provider) -> Vec<Body> {
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let body = |bytes: &[u8], content_type| Body {
        bytes: bytes.to_vec(),
        content_type,
        is_gzip: false,
        signs_coded: false,
    };
    let gzip = |signs_coded| Body {
        is_gzip: true,
        signs_coded,
        ..body(b"{ \"coded\" :true}", json)
    };
    if provider.preset == "twilio" {
        return vec![
            body(b"Body=Zo%C3%AB+%26+co&From=%2B1415&a=&a=1", form),
            body(b"", form),
        ];
    }
    let mut bodies = vec![
        body(b"{ \"odd\"\t:\r\n [ 1.0 , 1e2 ] }\n\n", json),
        body(b"{\"n\":1e400,\"n\":-0,\"n\":\"\xc3\xa9\\u0000\"}", json),
        body(b"\xef\xbb\xbf{\"mark\":1}", json),
        body(b"{\"nul\":\"\0\"}", json),
        body(b"a=1&b=%20+&a=2", form),
        gzip(false),
    ];
    if provider.takes_nothing {
        bodies.push(body(b"", json));
    }
    if provider.takes_bytes {
        bodies.push(gzip(true));
        bodies.push(body(
            &(0..=255).collect::<Vec<_>>(),
            "application/octet-stream",
        ));
    }
    bodies
}

fn coded(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Posts a webhook as the provider would at this time.
fn post(
    url: &str,
    provider: &Provider,
    key: &Ed25519KeyPair,
    body: &Body,
    id: &str,
    at: Timestamp,
) {
    let path = format!("/ingest/sdk-{}", provider.preset);
    let path = if provider.preset == "twilio" {
        format!("{path}?id={id}")
    } else {
        path
    };
    let sent = if body.is_gzip {
        coded(&body.bytes)
    } else {
        body.bytes.clone()
    };
    let signed = if body.signs_coded { &sent } else { &body.bytes };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(body.content_type));
    if body.is_gzip {
        headers.insert("content-encoding", HeaderValue::from_static("gzip"));
    }
    if provider.preset == "shopify" {
        // Its SDK wants all of them.
        for (name, value) in [
            ("x-shopify-topic", "orders/create"),
            ("x-shopify-shop-domain", "a.myshopify.com"),
            ("x-shopify-api-version", "2025-07"),
            ("x-shopify-webhook-id", id),
            ("x-shopify-event-id", id),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
    }
    if provider.preset == "discord" {
        let time = at.unix_secs().to_string();
        let signature = key.sign(&[time.as_bytes(), signed].concat());
        let signature = HEXLOWER.encode(signature.as_ref());
        for (name, value) in [
            ("x-signature-timestamp", time),
            ("x-signature-ed25519", signature),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
    } else {
        let scheme = hookrill_verify::preset(provider.preset).unwrap().scheme;
        let settings = Settings::new([&*provider.secret]).with_public_url(PUBLIC_URL);
        let verifier = Verifier::offline(scheme, settings).unwrap();
        let draft = Delivery::new(Method::POST, &*path, headers.clone(), signed.clone(), at);
        headers.extend(verifier.sign(&draft, None, id, at).unwrap().headers);
    }
    let mut request = http::Request::post(format!("{url}{path}"));
    request.headers_mut().unwrap().extend(headers);
    let config = ureq::config::Config::builder()
        .http_status_as_error(false)
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let mut response = agent.run(request.body(sent).unwrap()).unwrap();
    let said = response.body_mut().read_to_string().unwrap();
    assert_eq!(response.status(), 200, "{}: {said}", provider.preset);
}

/// The programs: those on npm, and those on PyPI.
struct Receivers {
    npm: Subprocess,
    npm_port: String,
    pypi_port: String,
    pypi: Subprocess,
}

impl Receivers {
    fn start(providers: &[Provider]) -> Self {
        installed(&format!("{FOLDER}/node_modules"));
        let python = installed(&format!("{FOLDER}/.venv/bin/python"));
        let secrets = providers
            .iter()
            .map(|provider| (provider.preset, json!(provider.secret)));
        let secrets = Value::from_iter(secrets).to_string();
        let start = |program: &mut Command, file: &str| {
            let file = installed(&format!("{FOLDER}/{file}"));
            let process = Subprocess::start(
                &file.display().to_string(),
                program.arg(&file).arg(&secrets),
            );
            let port = process.next_line(Instant::now() + WAIT_MAX);
            (process, port)
        };
        let (npm, npm_port) = start(&mut Command::new("node"), "receivers.mjs");
        let (pypi, pypi_port) = start(&mut Command::new(python), "receivers.py");
        Self {
            npm,
            npm_port,
            pypi_port,
            pypi,
        }
    }

    fn target(&self, preset: &str) -> String {
        let port = if ["slack", "twilio"].contains(&preset) {
            &self.pypi_port
        } else {
            &self.npm_port
        };
        format!("{port}/{preset}")
    }

    fn have_ended(&mut self) -> bool {
        self.npm.has_ended() || self.pypi.has_ended()
    }
}

/// All stored deliveries of a provider, sent on; gives what came of each.
fn forward(
    folder: &Path,
    url: &str,
    provider: &Provider,
    target: &str,
    more: &[&str],
) -> Vec<Value> {
    let topic = format!("sdk-{}", provider.preset);
    let mut command = hookrill(folder);
    command.args([
        "forward",
        &topic,
        target,
        "--url",
        url,
        "--since",
        "earliest",
        "--no-follow",
    ]);
    let output = command.args(more).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(!lines.is_empty(), "{said}");
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn all_have(lines: &[Value], count: usize, key: &str, value: &Value, what: &str) {
    assert_eq!(lines.len(), count, "{what}");
    for line in lines {
        assert_eq!(&line[key], value, "{what}: {line}");
    }
}

#[test]
fn what_comes_live_is_taken_by_the_providers_own_sdks() {
    let key = Ed25519KeyPair::generate().unwrap();
    let providers = providers(&HEXLOWER.encode(key.public_key().as_ref()));
    let sections: String = providers.iter().map(section).collect();
    let folder = tempfile::tempdir().unwrap();
    let config =
        format!("public_url = {PUBLIC_URL:?}\n[access]\nsecret = {TOKEN_SECRET:?}\n{sections}");
    let gateway = Process::start(folder.path(), &config);
    let mut receivers = Receivers::start(&providers);
    for provider in &providers {
        let bodies = bodies(provider);
        for (number, body) in bodies.iter().enumerate() {
            let id = format!("id-{number}");
            post(&gateway.url(), provider, &key, body, &id, now());
        }
        let mut target = receivers.target(provider.preset);
        let mut count = bodies.len();
        if provider.preset == "twilio" {
            // The URL that Twilio was given is told to its SDK: one delivery, one URL.
            let url = format!("{PUBLIC_URL}/ingest/sdk-twilio?id=id-0");
            let escaped: String = url.bytes().map(|byte| format!("%{byte:02X}")).collect();
            target = format!("{target}?at={escaped}");
            count = 1;
        }
        let more = ["--signature", "keep", "--match", "/Body=Zo\u{eb} & co"];
        let more = if provider.preset == "twilio" {
            &more[..]
        } else {
            &more[..2]
        };
        let lines = forward(folder.path(), &gateway.url(), provider, &target, more);
        if provider.preset == "twilio" {
            // `id=…` of the delivery follows `at=…` of the target.
            assert_eq!(
                lines[0]["url"],
                format!("http://localhost:{target}&id=id-0")
            );
        }
        all_have(&lines, count, "status", &json!(200), provider.preset);
        all_have(&lines, count, "signature", &json!("kept"), provider.preset);
    }
    assert!(!receivers.have_ended());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_a_day_old_is_signed_again_for_sdks_that_look_at_the_date() {
    let key = Ed25519KeyPair::generate().unwrap();
    let providers = providers(&HEXLOWER.encode(key.public_key().as_ref()));
    let sections: String = providers.iter().map(section).collect();
    // The clock of this gateway is years behind that of the command.
    let gateway = Gateway::in_memory()
        .server(&format!("public_url = {PUBLIC_URL:?}"))
        .sections(&sections)
        .start()
        .await;
    let claims = Claims {
        topics: vec!["*".to_owned()],
        exp: BEGIN_SECS + DAY_SECS,
        deliveries: true,
        ..Claims::default()
    };
    let token = access::mint(&Secret::new(TOKEN_SECRET.as_bytes()), &claims).unwrap();
    let url = format!("http://{}", gateway.address);
    let done = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let receivers = Receivers::start(&providers);
        for provider in &providers {
            let bodies = bodies(provider);
            for (number, body) in bodies.iter().enumerate() {
                let at = Timestamp::from_unix_secs(BEGIN_SECS);
                post(&url, provider, &key, body, &format!("id-{number}"), at);
            }
            send_old(
                folder.path(),
                &url,
                &token,
                provider,
                &receivers,
                bodies.len(),
            );
        }
    });
    done.await.unwrap();
    drop(gateway);
}

/// Sends what is old with and without the secret.
fn send_old(
    folder: &Path,
    url: &str,
    token: &str,
    provider: &Provider,
    receivers: &Receivers,
    count: usize,
) {
    let preset = provider.preset;
    let secret = folder.join(preset);
    fs::write(&secret, &provider.secret).unwrap();
    let secret = format!("file:{}", secret.display());
    let target = receivers.target(preset);
    let with = |more: &[&str]| {
        let common = ["--token", token, "--preset", preset];
        forward(
            folder,
            url,
            provider,
            &target,
            &[&common[..], more].concat(),
        )
    };
    let kept = with(&[]);
    let status = if provider.is_dated || preset == "twilio" {
        400
    } else {
        200
    };
    all_have(&kept, count, "status", &json!(status), preset);
    all_have(&kept, count, "signature", &json!("kept"), preset);
    if preset == "discord" {
        return;
    }
    let automatic = with(&["--secret", &secret]);
    let state = if provider.is_dated { "fresh" } else { "kept" };
    all_have(&automatic, count, "signature", &json!(state), preset);
    if provider.is_dated {
        all_have(&automatic, count, "status", &json!(200), preset);
    }
    let fresh = with(&["--secret", &secret, "--signature", "fresh"]);
    all_have(&fresh, count, "signature", &json!("fresh"), preset);
    all_have(&fresh, count, "status", &json!(200), preset);
}

fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "SDKs have no other clock")]
    let now = std::time::SystemTime::now();
    now.into()
}
