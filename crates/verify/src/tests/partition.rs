//! What a delivery's subtopic is made of.

use super::*;

const SIGNED: &str = r#"
    kind = "hmac"
    hash = "sha256"
    signature = { header = "X-Signature" }
    encoding = "hex"
    message = [{ header = "X-Customer" }, { literal = "\n" }, "body"]
"#;
const TOKEN: &str = "kind = \"token\"\ntoken = { query = \"key\" }";

fn verifier(toml: &str, partition: &str, secrets: &[&str]) -> Result<Verifier, SchemeError> {
    let settings = Settings {
        partition: Some(partition.parse().unwrap()),
        ..with(secrets)
    };
    Verifier::new(scheme(toml), settings)
}

fn subtopic(verifier: &Verifier, delivery: Delivery) -> String {
    let facts = facts(verifier.verify(delivery, at(SIGNED_AT)));
    facts.partition.unwrap().into_string()
}

#[test]
fn no_preset_lets_an_unsigned_header_or_query_choose() {
    for preset in presets() {
        let settings = |partition: &str| Settings {
            partition: Some(partition.parse().unwrap()),
            verify_token: (preset.scheme.needs_verify_token()).then(|| secret("word")),
            ..with(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
        };
        for partition in ["{header:X-Any}", "{query:any}", "{/any}"] {
            let made = Verifier::new(preset.scheme.clone(), settings(partition));
            let unsigned = matches!(made, Err(SchemeError::PartitionUnsigned { .. }));
            let any = scheme::Source::Json("/any".parse().unwrap());
            let body = preset.scheme.covers(&any) && partition == "{/any}";
            assert_eq!(
                unsigned,
                preset.scheme.kind.signs() && !body,
                "{}",
                preset.name
            );
        }
    }
}

#[test]
fn a_header_that_is_signed_chooses_and_no_other_spelling_of_it_verifies() {
    let verifier = verifier(SIGNED, "by.{header:x-customer}.{/org}", &["s"]).unwrap();
    let mut draft = post(r#"{"org":7}"#, &[("X-Customer", "a.b")]);
    let signed = verifier.sign(&draft, None, "id", at(SIGNED_AT)).unwrap();
    draft.headers.extend(signed.headers);
    assert_eq!(subtopic(&verifier, draft.clone()), "by.a~2Eb.7");
    for (name, value) in [("X-Customer", "b"), ("X-Customer", "a.b ")] {
        let mut changed = draft.clone();
        changed.headers.insert(name, value.parse().unwrap());
        let why = refusal(verifier.verify(changed, at(SIGNED_AT)));
        assert_eq!(why, VerifyError::Mismatch);
    }
    draft.headers.append("X-Customer", "b".parse().unwrap());
    let why = refusal(verifier.verify(draft, at(SIGNED_AT)));
    assert!(matches!(why, VerifyError::HeaderDuplicate { .. }));
}

#[test]
fn a_query_may_choose_where_nothing_is_signed_and_never_shows_the_token() {
    let to = |query: &str| Delivery {
        path_and_query: format!("/ingest/orders?key=hush{query}"),
        ..post("", &[])
    };
    let by_customer = verifier(TOKEN, "{query:customer}", &["hush"]).unwrap();
    for (query, expected) in [
        ("&customer=cus_1", "cus_1"),
        ("&customer=a%2eb+c", "a~2Eb~20c"),
        ("&customer=1&customer=1", "1"),
        ("&customer=1&customer=2", "~none"),
        ("&customer=", "~none"),
        ("&customer=%ff", "~none"),
        ("", "~none"),
    ] {
        assert_eq!(subtopic(&by_customer, to(query)), expected, "{query}");
    }
    let by_token = verifier(TOKEN, "{query:key}", &["hush"]).unwrap();
    assert_eq!(subtopic(&by_token, to("")), "~none");
}

#[test]
fn a_whole_number_of_any_size_is_its_digits() {
    let by_customer = verifier("kind = \"none\"", "{/customer}", &[]).unwrap();
    for (written, expected) in [
        (
            "123456789012345678901234567890",
            "123456789012345678901234567890",
        ),
        ("-9223372036854775809", "-9223372036854775809"),
        ("-0", "-0"),
        ("0", "0"),
        ("42", "42"),
        ("\"42\"", "42"),
        ("1e3", "~none"),
        ("1E3", "~none"),
        ("42.0", "~none"),
        ("true", "~none"),
        ("[42]", "~none"),
    ] {
        let delivery = post(&format!("{{\"customer\":{written}}}"), &[]);
        assert_eq!(subtopic(&by_customer, delivery), expected, "{written}");
    }
    let long = "7".repeat(100);
    let delivery = post(&format!("{{\"customer\":{long}}}"), &[]);
    assert_eq!(
        subtopic(&by_customer, delivery),
        hookrill_core::segment(Some(&long))
    );
}

#[test]
fn an_explanation_names_the_partition() {
    let verifier = verifier("kind = \"none\"", "{/customer}", &[]).unwrap();
    let explained = verifier.explain(&post(r#"{"customer":"a b"}"#, &[]), at(SIGNED_AT));
    let facts = explained.steps.last().unwrap();
    assert_eq!(facts.detail, "type none, dedup id none, partition a~20b");
}

#[test]
fn a_delivery_that_is_refused_behind_its_token_is_returned_as_it_came() {
    for (location, target, header, body) in [
        ("{ query = \"key\" }", "/ingest/a?b=1&key=s:s", None, "{}"),
        (
            "{ header = \"X-Token\" }",
            "/ingest/a",
            Some(("x-token", "s:s")),
            "{}",
        ),
        (
            "{ authorization = \"basic\" }",
            "/ingest/a",
            Some(("authorization", "Basic czpz")),
            "{}",
        ),
        (
            "{ json = \"/key\" }",
            "/ingest/a",
            None,
            "{\"key\":\"s:s\"}",
        ),
    ] {
        let toml = format!("kind = \"token\"\ntoken = {location}");
        let verifier = verifier(&toml, "{header:x-customer}", &["s:s"]).unwrap();
        let mut delivery = post(body, &[("X-Customer", "a")]);
        delivery.path_and_query = target.into();
        delivery.sent = Some("coded".into());
        if let Some((name, value)) = header {
            delivery.headers.append(name, value.parse().unwrap());
        }
        assert!(
            verifier.verify(delivery.clone(), at(SIGNED_AT)).is_ok(),
            "{location}"
        );
        delivery.headers.append("x-customer", "b".parse().unwrap());
        let refused = verifier.verify_or_return(delivery.clone(), at(SIGNED_AT));
        let refused = refused.unwrap_err();
        assert_eq!(refused.error.reason(), "header_duplicate");
        let returned = refused.delivery;
        assert_eq!(returned.headers, delivery.headers, "{location}");
        assert_eq!(returned.path_and_query, delivery.path_and_query);
        assert_eq!(
            (&returned.body, &returned.sent),
            (&delivery.body, &delivery.sent)
        );
    }
}
