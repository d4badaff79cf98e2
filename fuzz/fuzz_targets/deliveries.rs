//! A whole delivery for one of the presets, signed and then damaged.
//!
//! Holds: no panic; nothing is verified that was not signed; a handshake's answer
//! is bounded and printable.

#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use hookrill_core::Timestamp;
use hookrill_verify::{
    CHALLENGE_BYTES_MAX, Delivery, Outcome, Preset, Settings, Verifier, presets,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    preset: u8,
    method: u8,
    query: String,
    body: Body,
    headers: Vec<(u8, Vec<u8>)>,
    now_ms: u32,
    sign: bool,
    /// Which byte of the body is changed behind the signature, and how.
    damage: Option<(u16, u8)>,
}

#[derive(Debug, Arbitrary)]
enum Body {
    Bytes(Vec<u8>),
    Json(Vec<(u8, String)>),
    Form(Vec<(u8, String)>),
}

struct Known {
    preset: Preset,
    verifier: Verifier,
    headers: Vec<HeaderName>,
}

static KNOWN: LazyLock<Vec<Known>> =
    LazyLock::new(|| presets().into_iter().filter_map(known).collect());

/// The names that schemes look for, in headers and bodies.
const WORDS: [&str; 14] = [
    "type",
    "event",
    "challenge",
    "id",
    "timestamp",
    "signature",
    "token",
    "payload",
    "plainToken",
    "verification_token",
    "eventName",
    "version",
    "hub.mode",
    "crc_token",
];

fn known(preset: Preset) -> Option<Known> {
    let settings = |secret: &str| {
        let settings = Settings::new([secret]).with_public_url("https://hooks.example.com");
        if preset.scheme.needs_verify_token() {
            return settings.with_verify_token("a word");
        }
        settings
    };
    let verifier = ["c0ffee00", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
        .into_iter()
        .find_map(|text| Verifier::new(preset.scheme.clone(), settings(text)).ok())?;
    let names = format!("{:?}", preset.scheme);
    let mut headers: Vec<HeaderName> = names
        .split('"')
        .skip(1)
        .step_by(2)
        .filter_map(|name| name.parse().ok())
        .collect();
    headers.push(HeaderName::from_static("x-hook-secret"));
    Some(Known {
        preset,
        verifier,
        headers,
    })
}

fn body(body: &Body) -> Vec<u8> {
    let pairs = |pairs: &[(u8, String)]| -> Vec<(&'static str, String)> {
        let word =
            |(which, text): &(u8, String)| (WORDS[usize::from(*which) % WORDS.len()], text.clone());
        pairs.iter().map(word).collect()
    };
    match body {
        Body::Bytes(bytes) => bytes.clone(),
        Body::Json(given) => {
            let pairs = pairs(given)
                .into_iter()
                .map(|(key, text)| (key.to_owned(), text.into()));
            let mut object: serde_json::Map<String, serde_json::Value> = pairs.collect();
            let inner = serde_json::Value::from(object.clone());
            object.insert("payload".to_owned(), inner);
            serde_json::Value::from(object).to_string().into_bytes()
        }
        Body::Form(given) => {
            let pairs = pairs(given)
                .into_iter()
                .map(|(key, text)| format!("{key}={text}"));
            pairs.collect::<Vec<_>>().join("&").into_bytes()
        }
    }
}

fuzz_target!(|input: Input| {
    let known = &KNOWN[usize::from(input.preset) % KNOWN.len()];
    let now = Timestamp::from_unix_ms(1_700_000_000_000 + u64::from(input.now_ms));
    let methods = [
        Method::POST,
        Method::POST,
        Method::POST,
        Method::GET,
        Method::HEAD,
    ];
    let mut delivery = Delivery::new(
        methods[usize::from(input.method) % methods.len()].clone(),
        format!("/ingest/a?{}", input.query),
        HeaderMap::new(),
        body(&input.body),
        now,
    );
    let mut signed = false;
    if input.sign
        && let Ok(made) = known.verifier.sign(&delivery, None, "id", now)
    {
        delivery.headers.extend(made.headers);
        signed = true;
    }
    let before = delivery.body.clone();
    if let Some((at, bits)) = input.damage
        && !before.is_empty()
    {
        let mut bytes = before.to_vec();
        let at = usize::from(at) % bytes.len();
        bytes[at] ^= bits;
        delivery.body = bytes.into();
    }
    for (which, value) in &input.headers {
        let name = &known.headers[usize::from(*which) % known.headers.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            delivery.headers.insert(name, value);
        }
    }
    let outcome = known.verifier.verify(delivery.clone(), now);
    let explained = known.verifier.explain(&delivery, now);
    assert_eq!(outcome.is_ok(), explained.outcome.is_ok());
    match outcome {
        Ok(Outcome::Event(_)) if known.preset.scheme.kind.signs() => {
            assert!(signed, "{}: verified unsigned", known.preset.name);
            if known.preset.scheme.covers_body() {
                assert_eq!(
                    delivery.body, before,
                    "{}: verified changed",
                    known.preset.name
                );
            }
        }
        Ok(Outcome::Answer(reply)) => {
            assert!(reply.body.len() <= 4 * CHALLENGE_BYTES_MAX);
            assert!(reply.body.iter().all(|byte| matches!(byte, b' '..=b'~')));
        }
        _ => {}
    }
});
