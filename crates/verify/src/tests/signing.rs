//! What is signed here verifies here: for every preset and for schemes of
//! one's own.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const CUSTOM: &[&str] = &[
    r#"
    kind = "hmac"
    hash = "sha512"
    encoding = "base64url"
    message = [
        "method", { literal = "|" }, "url", "timestamp", { literal = "|" },
        { header = "X-Id" }, { literal = "|" }, "body",
    ]
    timestamp = { field = "ts", format = "unix_ms" }
    dedup_id = [{ header = "X-Id" }]
    event_type = [{ header = ["X-Kind", "X-Type"] }]
    [signature]
    header = "X-Sig"
    prefix = "v1="
    separator = " ;"
    key_separator = ":"
    key = "s"
    "#,
    r#"
    kind = "hmac"
    hash = "sha1"
    signature = { header = "X-Sig" }
    encoding = "base64"
    message = ["body"]
    "#,
    "kind = \"token\"\ntoken = { header = \"X-Token\", prefix = \"T \" }",
    "kind = \"token\"\ntoken = { query = \"to ken\" }",
    "kind = \"token\"\ntoken = { authorization = \"bearer\" }",
    "kind = \"token\"\ntoken = { authorization = \"basic\" }",
];

/// Those that sign any body, by secrets of any text.
fn verifiers() -> Vec<Verifier> {
    let any_body = |scheme: &Scheme| {
        scheme.kind == scheme::SchemeKind::Hmac
            && scheme.covers_body()
            && scheme
                .timestamp
                .as_ref()
                .is_none_or(|rule| rule.json.is_none())
            && scheme.challenge.is_empty()
    };
    let presets = presets()
        .into_iter()
        .filter(|preset| any_body(&preset.scheme));
    let presets = presets.filter_map(|preset| Verifier::new(preset.scheme, with(&[KEY])).ok());
    let presets: Vec<_> = presets.collect();
    assert!(presets.len() > 60, "{}", presets.len());
    let customs = CUSTOM.iter().map(|toml| {
        let is_basic = toml.contains("basic");
        let key = if is_basic { "user:password" } else { KEY };
        custom(toml, &[key, "old:old"]).unwrap()
    });
    presets.into_iter().chain(customs).collect()
}

fn signed(verifier: &Verifier, draft: &Delivery, event_type: Option<&str>) -> Delivery {
    let signed = verifier
        .sign(draft, event_type, "id-1", at(SIGNED_AT))
        .unwrap();
    let mut delivery = draft.clone();
    delivery.headers.extend(signed.headers);
    if let Some(query) = signed.query {
        delivery.path_and_query = format!("{}?{query}", delivery.path_and_query);
    }
    delivery
}

#[test]
fn type_and_id_travel_in_the_headers_that_the_scheme_reads() {
    for (verifier, read) in [
        (by_preset("github", &["s"]), "push"),
        (by_preset("shopify", &["s"]), "push"),
        (custom(CUSTOM[0], &["s"]).unwrap(), "push"),
    ] {
        let delivery = signed(&verifier, &post("a", &[]), Some(read));
        let facts = facts(verifier.verify(delivery, at(SIGNED_AT)));
        assert_eq!(facts.event_type.as_deref(), Some(read));
        assert_eq!(facts.dedup_id.as_deref(), Some("id-1"));
    }
}

#[test]
fn a_type_without_a_header_to_travel_in_is_an_error_that_says_where() {
    let sign = |preset, body| {
        let verifier = by_preset(preset, &[KEY]);
        verifier.sign(&post(body, &[]), Some("a.b"), "id", at(SIGNED_AT))
    };
    let place = |text: &str| {
        Err(SignError::EventTypeInBody {
            location: scheme::Source::Json(text.parse().unwrap()),
        })
    };
    assert_eq!(sign("stripe", "{}"), place("/type"));
    assert_eq!(sign("standard-webhooks", "text"), place("/type"));
    assert!(sign("stripe", r#"{"type":"a.b"}"#).is_ok());
    let bare = custom(CUSTOM[1], &["s"]).unwrap();
    let why = bare.sign(&post("", &[]), Some("a"), "id", at(0));
    assert_eq!(why, Err(SignError::EventTypeUnsupported));
}

#[test]
fn what_would_be_refused_is_not_signed() {
    let standard = by_preset("standard-webhooks", &[KEY]);
    let dotted = standard.sign(&post("", &[]), None, "a.b", at(0));
    assert!(
        matches!(
            dotted,
            Err(SignError::Refused(VerifyError::DelimiterInPart { .. }))
        ),
        "{dotted:?}"
    );
    let github = by_preset("github", &[KEY]);
    let two_lines = github.sign(&post("", &[]), Some("a\nb"), "id", at(0));
    assert!(
        matches!(two_lines, Err(SignError::HeaderValueInvalid { .. })),
        "{two_lines:?}"
    );
    let mut get = post("", &[]);
    get.method = Method::GET;
    let why = github.sign(&get, None, "id", at(0)).unwrap_err();
    assert_eq!(why, SignError::Refused(VerifyError::MethodNotTaken));
}

#[test]
fn the_first_secret_signs_and_a_captured_signature_is_replaced() {
    let both = by_preset("github", &["new", "old"]);
    let captured = signed(&by_preset("github", &["other"]), &post("a", &[]), None);
    let delivery = signed(&both, &captured, None);
    let new = by_preset("github", &["new"]);
    let mut replaced = post("a", &[]);
    for (name, value) in both.sign(&captured, None, "id", at(0)).unwrap().headers {
        replaced.headers.insert(name, value);
    }
    facts(new.verify(replaced, at(0)));
    // Next to the captured one it would be a duplicate.
    let why = refusal(new.verify(delivery, at(0)));
    assert_eq!(why.reason(), "header_duplicate");
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_one_changed_byte_does_not(
        body in proptest::collection::vec(any::<u8>(), 1..200),
        at_byte: usize,
        bit in 0u8..8,
    ) {
        static VERIFIERS: LazyLock<Vec<Verifier>> = LazyLock::new(verifiers);
        for verifier in &*VERIFIERS {
            let mut draft = post("", &[]);
            draft.body = body.clone().into();
            let mut delivery = signed(verifier, &draft, None);
            let explained = verifier.explain(&delivery, at(SIGNED_AT));
            prop_assert!(matches!(explained.outcome, Ok(Outcome::Event(_))));
            prop_assert_eq!(explained.secret_index, Some(0));
            let signs = verifier.signed_bytes(&delivery).unwrap().is_some();
            let mut changed = body.clone();
            changed[at_byte % body.len()] ^= 1_u8 << bit;
            delivery.body = changed.into();
            // A token verifies the sender and not the body.
            prop_assert_eq!(verifier.verify(delivery, at(SIGNED_AT)).is_err(), signs);
        }
    }
}

#[test]
fn headers_are_replaced_by_the_name_that_they_came_with() {
    const SCHEME: &str = r#"
    kind = "hmac"
    hash = "sha256"
    encoding = "hex"
    message = ["timestamp", { literal = "." }, "body"]
    timestamp = { header = ["webhook-timestamp", "svix-timestamp"] }
    signature = { header = ["webhook-signature", "svix-signature"] }
    "#;
    let verifier = custom(SCHEME, &["s"]).unwrap();
    let old = [
        ("svix-timestamp", "1"),
        ("svix-signature", "00"),
        ("svix-other", "o"),
    ];
    let headers = old.map(|(name, value)| {
        let value = http::HeaderValue::from_static(value);
        (http::HeaderName::from_static(name), value)
    });
    let headers = http::HeaderMap::from_iter(headers);
    let draft = Delivery::new(http::Method::POST, "/", headers, "{}", at(SIGNED_AT));
    let signed = verifier.sign(&draft, None, "i", at(SIGNED_AT)).unwrap();
    let mut names: Vec<_> = signed
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["svix-signature", "svix-timestamp"]);
}
