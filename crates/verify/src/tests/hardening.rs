//! What a stranger may try: each attempt is a refusal, never a panic.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use sha2::Sha256;

use super::{vectors::VECTORS, *};

/// HMAC-SHA256 in hex, straight from the library.
fn hmac_hex(secret: &str, message: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    HEXLOWER.encode(&mac.finalize().into_bytes())
}

fn slack(body: &str) -> Delivery {
    let signature = format!("v0={}", hmac_hex("hush", &format!("v0:{SIGNED_AT}:{body}")));
    let timestamp = SIGNED_AT.to_string();
    post(
        body,
        &[
            ("x-slack-request-timestamp", &timestamp),
            ("x-slack-signature", &signature),
        ],
    )
}

fn github(body: &str, headers: &[(&str, &str)]) -> Delivery {
    let signature = format!("sha256={}", hmac_hex("hush", body));
    post(
        body,
        &[&[("x-hub-signature-256", &*signature)], headers].concat(),
    )
}

fn swap_bit(text: &str, index: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[index] ^= 1;
    String::from_utf8(bytes).unwrap()
}

#[test]
fn one_changed_byte_of_body_signature_timestamp_or_id_is_refused() {
    const UNSIGNED: [&str; 4] = [
        "X-GitHub-Event",
        "X-GitHub-Delivery",
        "X-Shopify-Topic",
        "X-Shopify-Webhook-Id",
    ];
    for vector in VECTORS {
        for index in 0..vector.body.len() {
            let mut delivery = vector.delivery();
            delivery.body = swap_bit(vector.body, index).into();
            let why = refusal(vector.verify(delivery));
            assert_eq!(why, VerifyError::Mismatch, "{} body {index}", vector.preset);
        }
        for (name, value) in vector.headers {
            let signed = !UNSIGNED.contains(name);
            for index in 0..value.len() {
                let mut delivery = vector.delivery();
                let name: HeaderName = name.parse().unwrap();
                let changed = swap_bit(value, index);
                delivery.headers.insert(&name, changed.parse().unwrap());
                let verified = vector.verify(delivery).is_ok();
                assert_eq!(verified, !signed, "{} {name}: {changed}", vector.preset);
            }
        }
    }
}

#[test]
fn one_changed_byte_of_the_secret_is_refused() {
    for vector in VECTORS {
        for index in 0..vector.secret.len() {
            let scheme = preset(vector.preset).unwrap().scheme;
            let other = swap_bit(vector.secret, index);
            // A secret that does not decode makes no verifier at all.
            if let Ok(verifier) = Verifier::new(scheme, with(&[&other])) {
                let outcome = verifier.verify(vector.delivery(), at(vector.signed_at));
                assert_eq!(refusal(outcome), VerifyError::Mismatch, "{}", vector.preset);
            }
        }
    }
}

#[test]
fn a_missing_header_is_refused_and_named() {
    for vector in VECTORS {
        let bare = post(vector.body, &[]);
        let why = refusal(vector.verify(bare));
        assert_eq!(why.reason(), "header_missing", "{}", vector.preset);
    }
}

#[test]
fn a_delivery_is_fresh_up_to_its_tolerance_in_both_directions() {
    let timestamped = VECTORS.iter().filter(|vector| {
        let scheme = preset(vector.preset).unwrap().scheme;
        scheme.timestamp.is_some()
    });
    let mut count = 0;
    for vector in timestamped {
        count += 1;
        let verify = |now| vector.verifier().verify(vector.delivery(), at(now));
        facts(verify(vector.signed_at + 300));
        facts(verify(vector.signed_at - 300));
        for now in [vector.signed_at + 301, vector.signed_at - 301, 0] {
            assert_eq!(refusal(verify(now)).reason(), "stale", "{}", vector.preset);
        }
    }
    assert_eq!(count, 4);
}

#[test]
fn any_of_many_secrets_verifies_and_is_named() {
    let verifier = by_preset("github", &["new", "hush", "old"]);
    let explained = verifier.explain(&github("a", &[]), at(0));
    assert_eq!(explained.secret_index, Some(1));
    facts(explained.outcome);
    let without = by_preset("github", &["new", "old"]);
    let why = refusal(without.verify(github("a", &[]), at(0)));
    assert_eq!(why, VerifyError::Mismatch);
}

#[test]
fn any_of_many_signatures_verifies() {
    let vector = &VECTORS[2];
    let good = vector.headers[2].1;
    let junk = format!("v1,{} v1,!!! v2,x {good} v1,AAAA", "A".repeat(43) + "=");
    let mut delivery = vector.delivery();
    delivery
        .headers
        .insert("webhook-signature", junk.parse().unwrap());
    facts(vector.verify(delivery.clone()));
    // Both families of names, each with its own list.
    delivery
        .headers
        .insert("svix-signature", "v1,AAAA".parse().unwrap());
    facts(vector.verify(delivery.clone()));
    let many = [good; SIGNATURES_MAX + 1].join(" ");
    delivery
        .headers
        .insert("webhook-signature", many.parse().unwrap());
    assert_eq!(
        refusal(vector.verify(delivery)),
        VerifyError::SignaturesTooMany
    );
}

#[test]
fn a_cut_signature_does_not_hide_among_others() {
    let vector = &VECTORS[2];
    let mac = data_encoding::BASE64.decode(&vector.headers[2].1.as_bytes()[3..]);
    let mac = mac.unwrap();
    let junk = data_encoding::BASE64.encode(&[0; 32]);
    for cut in [&mac[..0], &mac[..1], &mac[..31], &mac[1..]] {
        let cut = data_encoding::BASE64.encode(cut);
        let mut delivery = vector.delivery();
        let value = format!("v1,{junk} v1,{cut}").parse().unwrap();
        delivery.headers.insert("webhook-signature", value);
        assert_eq!(refusal(vector.verify(delivery)), VerifyError::Mismatch);
    }
}

#[test]
fn a_signature_of_another_length_or_writing_is_refused() {
    let verifier = by_preset("github", &["hush"]);
    let refuse = |value: &str| {
        let delivery = post("a", &[("x-hub-signature-256", value)]);
        refusal(verifier.verify(delivery, at(0))).reason()
    };
    let good = hmac_hex("hush", "a");
    assert_eq!(refuse("sha256="), "signature_length");
    assert_eq!(
        refuse(&format!("sha256={}", &good[..62])),
        "signature_length"
    );
    assert_eq!(refuse(&format!("sha256={good}00")), "signature_length");
    assert_eq!(
        refuse(&format!("sha256={}", &good[..63])),
        "signature_encoding"
    );
    assert_eq!(refuse(&format!("sha256={good}, ")), "signature_encoding");
    assert_eq!(refuse(&good), "signature_prefix");
    assert_eq!(refuse(&format!("SHA256={good}")), "signature_prefix");
    assert_eq!(refuse(""), "signature_form");
    let upper = format!("sha256={}", good.to_uppercase());
    facts(verifier.verify(post("a", &[("x-hub-signature-256", &upper)]), at(0)));
}

#[test]
fn a_header_with_two_values_is_refused() {
    for vector in VECTORS {
        for (name, value) in vector.headers {
            let mut delivery = vector.delivery();
            let name: HeaderName = name.parse().unwrap();
            delivery.headers.append(&name, value.parse().unwrap());
            facts(vector.verify(delivery.clone()));
            delivery.headers.append(&name, "other".parse().unwrap());
            let why = refusal(vector.verify(delivery));
            assert_eq!(why, VerifyError::HeaderDuplicate { header: name });
        }
    }
}

#[test]
fn header_bytes_that_are_not_ascii_matter_only_where_the_scheme_reads_them() {
    let everything = r#"
        kind = "hmac"
        hash = "sha256"
        signature = { header = "X-Sig" }
        encoding = "hex"
        message = [{ header = "X-Signed" }, { literal = "\n" }, "timestamp", { literal = "\n" }, "body"]
        timestamp = { header = "X-Time" }
        dedup_id = [{ header = "X-Id" }]
        event_type = [{ header = "X-Type" }]
    "#;
    let verifier = custom(everything, &["hush"]).unwrap();
    let mut draft = post("a", &[("x-signed", "s"), ("x-type", "t")]);
    let signed = verifier.sign(&draft, None, "id", at(SIGNED_AT)).unwrap();
    draft.headers.extend(signed.headers);
    for bytes in [&b"Z\xc3\xbcrich"[..], b"\xff", b"a\x80b"] {
        let value = HeaderValue::from_bytes(bytes).unwrap();
        let with = |name: &'static str| {
            let mut delivery = draft.clone();
            delivery.headers.insert(name, value.clone());
            delivery
        };
        for name in ["cf-ipcity", "content-type", "user-agent", "x-signature"] {
            let mut delivery = with(name);
            delivery
                .headers
                .append(name, "a second line".parse().unwrap());
            let known = facts(verifier.verify(delivery, at(SIGNED_AT)));
            assert_eq!(known.event_type.as_deref(), Some("t"), "{name}");
        }
        for name in ["x-sig", "x-signed", "x-time", "x-id", "x-type"] {
            let why = refusal(verifier.verify(with(name), at(SIGNED_AT)));
            let header = name.parse().unwrap();
            assert_eq!(why, VerifyError::HeaderNotAscii { header });
        }
    }
    let token = custom(
        "kind = \"token\"\ntoken = { header = \"X-Token\" }",
        &["hush"],
    )
    .unwrap();
    let mut delivery = post("", &[]);
    let value = HeaderValue::from_bytes(b"hush\xff").unwrap();
    delivery.headers.insert("x-token", value);
    let why = refusal(token.verify(delivery, at(0)));
    assert_eq!(why.reason(), "not_ascii");
}

#[test]
fn an_empty_header_counts_as_absent_where_another_name_has_the_value() {
    let key = data_encoding::BASE64.encode(&[7; 24]);
    let svix = by_preset("standard-webhooks", &[&key]);
    let mut draft = post("{}", &[]);
    let signed = svix.sign(&draft, None, "msg", at(SIGNED_AT)).unwrap();
    for (name, value) in signed.headers {
        let other = name.as_str().replace("webhook-", "svix-");
        let other: HeaderName = other.parse().unwrap();
        draft.headers.insert(other, value);
        draft.headers.insert(name, HeaderValue::from_static(""));
    }
    let known = facts(svix.verify(draft.clone(), at(SIGNED_AT)));
    assert_eq!(known.dedup_id.as_deref(), Some("msg"));
    let none = HeaderValue::from_static("");
    draft.headers.insert("svix-id", none.clone());
    let why = refusal(svix.verify(draft.clone(), at(SIGNED_AT)));
    assert_eq!(why, VerifyError::Mismatch);
    draft.headers.insert("svix-timestamp", none);
    let undated = refusal(svix.verify(draft, at(SIGNED_AT)));
    assert_eq!(undated.reason(), "timestamp_form");
}

#[test]
fn only_a_post_is_a_delivery() {
    let none = custom("kind = \"none\"", &[]).unwrap();
    for method in [Method::GET, Method::HEAD, Method::PUT] {
        let mut delivery = post("", &[]);
        delivery.method = method;
        assert_eq!(
            refusal(none.verify(delivery, at(0))),
            VerifyError::MethodNotTaken
        );
    }
}

#[test]
fn a_signed_id_cannot_hold_what_ends_it() {
    // One signature that would do for both ids, were the dot allowed.
    let key = [7; 24];
    let text = data_encoding::BASE64.encode(&key);
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(b"msg.1614265330.1614265330.body");
    let mac = data_encoding::BASE64.encode(&mac.finalize().into_bytes());
    let verifier = by_preset("standard-webhooks", &[&text]);
    let verify = |id, body| {
        let headers = [
            ("webhook-id", id),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", &*format!("v1,{mac}")),
        ];
        verifier.verify(post(body, &headers), at(SIGNED_AT))
    };
    facts(verify("msg", "1614265330.body"));
    let why = refusal(verify("msg.1614265330", "body"));
    assert_eq!(why.reason(), "delimiter_in_part");
    assert_eq!(
        why.to_string(),
        "webhook-id contains \".\", which separates it in the signed message"
    );
}

#[test]
fn a_timestamp_is_read_strictly_even_if_it_is_signed() {
    for text in [
        "+1614265330",
        "1614265330.0",
        "",
        "0x60379",
        "99999999999999999999",
    ] {
        let signature = format!("v0={}", hmac_hex("hush", &format!("v0:{text}:a")));
        let headers = [
            ("x-slack-request-timestamp", text),
            ("x-slack-signature", &*signature),
        ];
        let outcome = by_preset("slack", &["hush"]).verify(post("a", &headers), at(SIGNED_AT));
        assert_eq!(refusal(outcome).reason(), "timestamp_form", "{text}");
    }
}

#[test]
fn slacks_challenge_is_echoed_only_after_verification() {
    let verifier = by_preset("slack", &["hush"]);
    let body = r#"{"type":"url_verification","token":"x","challenge":"3eZbrw1a"}"#;
    let Ok(Outcome::Answer(reply)) = verifier.verify(slack(body), at(SIGNED_AT)) else {
        panic!("not answered");
    };
    assert_eq!(reply.status, 200);
    assert_eq!(reply.content_type, "text/plain");
    assert_eq!(reply.body, "3eZbrw1a");

    let mut forged = slack(body);
    forged.headers.remove("x-slack-signature");
    assert_eq!(
        refusal(verifier.verify(forged, at(SIGNED_AT))).reason(),
        "header_missing"
    );
    let late = refusal(verifier.verify(slack(body), at(SIGNED_AT + 301)));
    assert_eq!(late.reason(), "stale");
    let long = format!(
        r#"{{"type":"url_verification","challenge":"{}"}}"#,
        "a".repeat(1025)
    );
    for invalid in [
        r#"{"type":"url_verification"}"#,
        r#"{"type":"url_verification","challenge":""}"#,
        r#"{"type":"url_verification","challenge":"a\r\nb"}"#,
        &long,
    ] {
        let why = refusal(verifier.verify(slack(invalid), at(SIGNED_AT)));
        assert_eq!(why, VerifyError::ChallengeInvalid);
    }
    let event = r#"{"type":"event_callback","event_id":"Ev1","event":{"type":"app_mention"}}"#;
    let facts = facts(verifier.verify(slack(event), at(SIGNED_AT)));
    assert_eq!(facts.event_type.as_deref(), Some("app_mention"));
    assert_eq!(facts.dedup_id.as_deref(), Some("Ev1"));
}

#[test]
fn a_fact_that_is_empty_or_too_long_counts_as_absent() {
    let verifier = by_preset("github", &["hush"]);
    for (length, taken) in [
        (0, false),
        (1, true),
        (FACT_BYTES_MAX, true),
        (FACT_BYTES_MAX + 1, false),
    ] {
        let id = "a".repeat(length);
        let delivery = github("a", &[("x-github-delivery", &id)]);
        let facts = facts(verifier.verify(delivery, at(0)));
        assert_eq!(facts.dedup_id.is_some(), taken, "{length}");
    }
}

#[test]
fn an_explanation_names_the_step_that_failed() {
    let verifier = by_preset("slack", &["hush"]);
    let stale = verifier.explain(&slack("a"), at(SIGNED_AT + 1000));
    let last = stale.steps.last().unwrap();
    assert_eq!((last.name, last.passed), ("freshness", false));
    assert_eq!(last.detail, "timestamp is 1000 s off; the limit is 300 s");
    assert_eq!(stale.secret_index, Some(0));
    assert!(stale.hint.unwrap().contains("genuine"));

    let mut captured = slack("a");
    captured.body = "a\n".into();
    let changed = verifier.explain(&captured, at(SIGNED_AT));
    assert_eq!(changed.steps.last().unwrap().name, "secret");
    assert!(changed.hint.unwrap().contains("line feed"));
    assert!(!format!("{:?} {verifier:?}", changed.steps).contains("hush"));

    let verified = verifier.explain(&slack("a"), at(SIGNED_AT));
    assert!(verified.steps.iter().all(|step| step.passed));
    let signed = verifier.signed_bytes(&slack("a")).unwrap().unwrap();
    assert_eq!(signed, format!("v0:{SIGNED_AT}:a").into_bytes());
}

#[test]
fn a_hint_names_what_would_help() {
    let hint = |verifier: &Verifier, delivery: &Delivery| {
        let explained = verifier.explain(delivery, at(SIGNED_AT));
        explained.hint.unwrap()
    };
    let spaced = by_preset("slack", &["hush\n"]);
    assert!(hint(&spaced, &slack("a")).contains("white space around"));
    let other = by_preset("slack", &["other"]);
    assert!(hint(&other, &slack("a")).contains("byte for byte"));
    let another_scheme = hint(&by_preset("slack", &["hush"]), &github("a", &[]));
    assert!(
        another_scheme.contains("there is x-hub-signature-256"),
        "{another_scheme}"
    );

    let square = preset("square").unwrap().scheme;
    let secure = Verifier::new(square.clone(), with(&["s"])).unwrap();
    let mut draft = post("a", &[]);
    let signed = secure.sign(&draft, None, "", at(SIGNED_AT)).unwrap();
    draft.headers.extend(signed.headers);
    let settings = Settings {
        public_url: Some("http://webhook.site".to_owned()),
        ..with(&["s"])
    };
    let plain = Verifier::new(square, settings).unwrap();
    assert!(hint(&plain, &draft).contains("https://"));
}

proptest! {
    #[test]
    fn arbitrary_deliveries_never_verify_and_never_panic(
        which in 0..VECTORS.len(),
        body: Vec<u8>,
        values in proptest::collection::vec(
            prop_oneof![
                "[ -~]{0,80}",
                "(v1|t|v0)[,=][0-9a-f]{64}",
                "sha256=[0-9a-f]{64}",
                "t=[0-9]{1,20},v1=[0-9a-f]{64}",
                "v1,[A-Za-z0-9+/]{43}=",
                "[0-9]{1,20}",
            ],
            0..6,
        ),
        raw: Vec<u8>,
        now: u64,
    ) {
        let vector = &VECTORS[which];
        let mut delivery = vector.delivery();
        let names: Vec<HeaderName> = delivery.headers.keys().cloned().collect();
        delivery.body = body.into();
        for (index, value) in values.iter().enumerate() {
            let name = &names[index % names.len()];
            delivery.headers.insert(name, value.parse().unwrap());
        }
        if let Ok(value) = HeaderValue::from_bytes(&raw) {
            delivery.headers.append("x-raw", value);
        }
        prop_assume!(delivery.body != vector.body.as_bytes());
        let now = Timestamp::from_unix_ms(now);
        prop_assert!(vector.verifier().verify(delivery.clone(), now).is_err());
        prop_assert!(vector.verifier().explain(&delivery, now).outcome.is_err());
    }
}
