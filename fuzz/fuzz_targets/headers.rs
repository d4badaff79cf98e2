//! A scheme with a random grammar reads random headers.
//!
//! Holds: no panic; an explanation has the same result as verification; what is verified is
//! what was signed.

#![no_main]

use arbitrary::Arbitrary;
use hookrill_core::Timestamp;
use hookrill_verify::{Delivery, Scheme, Settings, Verifier};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

#[derive(Debug, Arbitrary)]
struct Input {
    prefix: String,
    prefix_optional: bool,
    separator: Option<String>,
    keys: Option<(String, String)>,
    numbered: Option<u8>,
    encoding: u8,
    hash: u8,
    timestamp: u8,
    field: String,
    literal: String,
    values: Vec<(u8, Vec<u8>)>,
    body: Vec<u8>,
    now: u64,
    /// Whether the first header is a good signature.
    sign: bool,
}

fn scheme(input: &Input) -> Option<Scheme> {
    let encodings = ["hex", "base64", "base64url"];
    let hashes = ["sha1", "sha256", "sha384", "sha512"];
    let formats = ["unix_secs", "unix_ms", "rfc3339", "iso8601_utc", "http_date"];
    let mut signature = json!({ "header": "x-sig-", "prefix": input.prefix });
    if input.prefix_optional {
        signature["prefix_optional"] = true.into();
    }
    if let Some(separator) = &input.separator {
        signature["separator"] = separator.as_str().into();
    }
    if let Some((separator, key)) = &input.keys {
        signature["key_separator"] = separator.as_str().into();
        signature["key"] = key.as_str().into();
    }
    if let Some(numbered) = input.numbered {
        signature["numbered"] = numbered.into();
    }
    let mut scheme = json!({
        "kind": "hmac",
        "hash": hashes[usize::from(input.hash) % hashes.len()],
        "encoding": encodings[usize::from(input.encoding) % encodings.len()],
        "signature": signature,
        "message": ["body"],
    });
    let format = formats[usize::from(input.timestamp >> 2) % formats.len()];
    match input.timestamp % 4 {
        0 => {}
        1 => {
            scheme["message"] = json!(["timestamp", { "literal": input.literal }, "body"]);
            scheme["timestamp"] = json!({ "field": input.field, "format": format });
        }
        2 => {
            scheme["message"] = json!(["timestamp", { "literal": input.literal }, "body"]);
            scheme["timestamp"] = json!({ "header": "x-time", "format": format });
        }
        _ => scheme["timestamp"] = json!({ "json": "/time", "format": format }),
    }
    serde_json::from_value(scheme).ok()
}

fuzz_target!(|input: Input| {
    let Some(scheme) = scheme(&input) else { return };
    let settings = Settings::new(["first", "second"]).with_public_url("https://hooks.example.com");
    let Ok(verifier) = Verifier::new(scheme, settings) else {
        return;
    };
    let now = Timestamp::from_unix_ms(input.now);
    let mut delivery = Delivery::new(
        Method::POST,
        "/ingest/a",
        HeaderMap::new(),
        input.body.clone(),
        now,
    );
    if input.sign
        && let Ok(signed) = verifier.sign(&delivery, None, "id", now)
    {
        delivery.headers.extend(signed.headers);
        assert!(verifier.verify(delivery.clone(), now).is_ok());
    }
    let signed = delivery.headers.clone();
    let names = ["x-sig-", "x-sig-1", "x-sig-2", "x-time", "x-sig-100"];
    for (which, value) in &input.values {
        let name = names[usize::from(*which) % names.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            delivery.headers.append(HeaderName::from_static(name), value);
        }
    }
    let outcome = verifier.verify(delivery.clone(), now);
    let explained = verifier.explain(&delivery, now);
    assert_eq!(outcome.is_ok(), explained.outcome.is_ok());
    assert!(explained.steps.iter().all(|step| step.detail.len() < 10_000));
    // Nobody finds a MAC by chance: what is verified has the one that was made.
    assert!(outcome.is_err() || !signed.is_empty());
});
