//! Signatures, tokens and what is signed, in forms and in JSON bodies.

use super::*;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// HMAC with the secret `hush`, in hex, straight from the library.
fn hex<D>(text: &str) -> String
where
    D: hmac::EagerHash,
    hmac::Hmac<D>: hmac::Mac + hmac::KeyInit,
{
    use hmac::{KeyInit as _, Mac as _};
    let mut mac = hmac::Hmac::<D>::new_from_slice(b"hush").unwrap();
    mac.update(text.as_bytes());
    data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes())
}

const BODY_OR_FIELD: &str = r#"
    kind = "hmac"
    hash = "sha256"
    signature = { header = "X-Gitea-Signature" }
    encoding = "hex"
    message = [{ body_or_field = "payload" }]
"#;

/// Gitea and Gogs sign the JSON, and send it as it is or in a form.
#[test]
fn a_signature_may_be_over_the_json_in_a_form() {
    let gitea = custom(BODY_OR_FIELD, &["hush"]).unwrap();
    let json = r#"{"ref":"refs/heads/main","note":"a b&c=\u00e9"}"#;
    let signature = hex::<sha2::Sha256>(json);
    let verify = |body: &str, headers: &[(&str, &str)]| {
        let mut headers = headers.to_vec();
        headers.push(("x-gitea-signature", &signature));
        gitea.verify(post(body, &headers), at(0))
    };
    let escaped = |text: &str| {
        let set = percent_encoding::NON_ALPHANUMERIC;
        percent_encoding::utf8_percent_encode(text, set).to_string()
    };
    let form = format!("payload={}", escaped(json));
    let as_json = facts(verify(json, &[])).content;
    assert!(as_json.is_some());
    // Whatever the content type says: nobody signs it.
    for headers in [&[FORM][..], &[], &[("content-type", "application/json")]] {
        let known = facts(verify(&form, headers));
        assert_eq!(known.content, as_json, "the same event, and so a duplicate");
    }
    for other in [
        format!("{form}&evil=1"),
        format!("evil=1&{form}"),
        format!("{form}&{form}"),
        format!("x{form}"),
        json[1..].to_owned(),
    ] {
        let why = refusal(verify(&other, &[FORM]));
        assert_eq!(why.reason(), "not_a_form", "{other}");
    }
    assert_eq!(
        refusal(verify(&form.replace("main", "mine"), &[FORM])),
        VerifyError::Mismatch
    );
    assert_eq!(
        refusal(verify(&json.replace("main", "mine"), &[])),
        VerifyError::Mismatch
    );
}

/// Gitea's other method: the form is the query then.
#[test]
fn a_get_may_have_the_signed_json_in_its_query() {
    let toml = format!("{BODY_OR_FIELD}json_field = \"payload\"\n");
    let settings = Settings {
        partition: Some("{/ref}".parse().unwrap()),
        ..with(&["hush"]).with_methods([Method::GET])
    };
    let gitea = Verifier::new(scheme(&toml), settings).unwrap();
    let signature = hex::<sha2::Sha256>("{\"ref\":\"main\"}");
    let verify = |query: &str| {
        let delivery = Delivery {
            method: Method::GET,
            path_and_query: format!("/ingest/orders?{query}"),
            ..post("", &[("x-gitea-signature", &signature)])
        };
        gitea.verify(delivery, at(0))
    };
    let signed = "payload=%7B%22ref%22%3A%22main%22%7D";
    assert_eq!(facts(verify(signed)).partition.as_deref(), Some("main"));
    let changed = signed.replace("main", "mine");
    assert_eq!(refusal(verify(&changed)), VerifyError::Mismatch);
    for other in [
        format!("{signed}&a=1"),
        format!("{signed}&{signed}"),
        String::new(),
    ] {
        assert_eq!(refusal(verify(&other)).reason(), "not_a_form", "{other}");
    }
}

#[test]
fn json_in_a_signed_field_counts_as_signed_and_other_fields_do_not() {
    let reads = |source: &str| {
        let toml = format!("{BODY_OR_FIELD}dedup_id = [{source}]");
        Coverage::from_scheme(&scheme(&toml)).dedup_id
    };
    assert!(reads("{ json = \"/id\" }"));
    assert!(!reads("{ form = \"id\" }") && !reads("{ header = \"X-Id\" }"));
}

/// Mailgun's routes: the signature, the time and what is signed are fields of a form.
#[test]
fn a_signature_may_be_a_field_of_a_form() {
    let routes = by_preset("mailgun-routes", &["hush"]);
    let signature = hex::<sha2::Sha256>(&format!("{SIGNED_AT}50ab"));
    let form = |time: u64, token: &str, mac: &str| {
        format!("sender=a%40b.c&timestamp={time}&token={token}&signature={mac}&body-plain=hi")
    };
    let verify = |body: &str, now: u64| routes.verify(post(body, &[FORM]), at(now));
    let known = facts(verify(&form(SIGNED_AT, "50ab", &signature), SIGNED_AT));
    assert_eq!(known.dedup_id.as_deref(), Some("50ab"));
    assert!(known.dedup_id_signed);
    for body in [
        form(SIGNED_AT + 1, "50ab", &signature),
        form(SIGNED_AT, "50ac", &signature),
        form(SIGNED_AT, "50ab", &signature.replace(['1', '2'], "3")),
    ] {
        assert_eq!(refusal(verify(&body, SIGNED_AT)), VerifyError::Mismatch);
    }
    // A mail with an attachment comes in several parts.
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let in_parts = |token: &str| {
        let time = part("timestamp", &SIGNED_AT.to_string());
        let file = "attachment-1\"; filename=\"a.png";
        let (token, mac) = (part("token", token), part("signature", &signature));
        format!("{time}{}{token}{mac}--b--\r\n", part(file, "\0token=50ab"))
    };
    let mailed = facts(verify(&in_parts("50ab"), SIGNED_AT));
    assert_eq!(mailed.dedup_id.as_deref(), Some("50ab"));
    let other = refusal(verify(&in_parts("50ac"), SIGNED_AT));
    assert_eq!(other, VerifyError::Mismatch);
    let late = refusal(verify(
        &form(SIGNED_AT, "50ab", &signature),
        SIGNED_AT + 301,
    ));
    assert_eq!(late.reason(), "stale");
    let twice = format!("{}&token=50ac", form(SIGNED_AT, "50ab", &signature));
    for body in ["", "{}", "timestamp=1&token=a", &twice] {
        assert_eq!(
            refusal(verify(body, SIGNED_AT)).reason(),
            "field_missing",
            "{body}"
        );
    }
    let signing = routes.sign(&post("a=1", &[]), None, "id", at(SIGNED_AT));
    assert_eq!(signing, Err(SignError::SignatureInBody));
}

/// Meraki sends the secret itself, in the body.
#[test]
fn a_token_in_the_body_verifies_and_goes_no_further() {
    let toml = "kind = \"token\"\ntoken = { json = \"/sharedSecret\" }\nevent_type = [{ json = \"/type\" }]";
    let verifier = custom(toml, &["other", "hu\"sh"]).unwrap();
    let verify = |body: &str| verifier.verify(post(body, &[]), at(0));
    let body = r#"{ "type": "a", "n": 1.50, "sharedSecret" : "hu\u0022sh" }"#;
    let Ok(Outcome::Event(verified)) = verify(body) else {
        panic!("refused");
    };
    let left = std::str::from_utf8(&verified.delivery().body).unwrap();
    assert_eq!(left, r#"{ "type": "a", "n": 1.50, "sharedSecret" : "" }"#);
    assert_eq!(verified.facts().event_type.as_deref(), Some("a"));
    // Neither is it left behind a byte order mark, which readers of JSON leave out.
    let Ok(Outcome::Event(marked)) = verify("\u{feff}{\"sharedSecret\":\"hu\\\"sh\"}") else {
        panic!("refused");
    };
    assert_eq!(
        &marked.delivery().body[..],
        "\u{feff}{\"sharedSecret\":\"\"}".as_bytes()
    );
    // What JavaScript would not read of it is cut out too.
    let twice = r#"{"sharedSecret":{"a":"hu\"sh"},"sharedSecret":"hu\"sh"}"#;
    let Ok(Outcome::Event(twice_sent)) = verify(twice) else {
        panic!("refused");
    };
    assert_eq!(
        &twice_sent.delivery().body[..],
        br#"{"sharedSecret":"","sharedSecret":""}"#
    );
    for wrong in ["\"hush\"", "\"\"", "\"hu\\\"sh \"", "1"] {
        let other = format!("{{\"sharedSecret\":{wrong}}}");
        assert_eq!(refusal(verify(&other)), VerifyError::Mismatch, "{wrong}");
    }
    for without in ["", "{}", "sharedSecret=hush", r#"{"sharedSecret":null}"#] {
        assert_eq!(
            refusal(verify(without)).reason(),
            "json_missing",
            "{without}"
        );
    }
    let draft = post(r#"{"sharedSecret":"other"}"#, &[]);
    assert!(verifier.sign(&draft, None, "id", at(0)).is_ok());
    let why = verifier
        .sign(&post("{}", &[]), None, "id", at(0))
        .unwrap_err();
    assert!(why.to_string().contains("/sharedSecret"), "{why}");
}

#[test]
fn md5_is_taken_only_where_it_is_confirmed_and_inside_an_hmac() {
    let md5 = BODY_OR_FIELD
        .replace("sha256", "md5")
        .replace("{ body_or_field = \"payload\" }", "\"body\"");
    let error = |toml: &str| custom(toml, &["hush"]).unwrap_err().to_string();
    assert!(error(&md5).contains("write legacy = true"));
    let confirmed = format!("{md5}legacy = true\n");
    let verifier = custom(&confirmed, &["hush"]).unwrap();
    let signature = hex::<md5::Md5>("{}");
    facts(verifier.verify(post("{}", &[("x-gitea-signature", &signature)]), at(0)));
    assert!(error(&format!("{confirmed}construction = \"prefix\"")).contains("too weak"));
    let needless = confirmed.replace("md5", "sha256");
    assert!(error(&needless).contains("needs no such confirmation"));
    let token = "kind = \"token\"\ntoken = { query = \"t\" }\nlegacy = true";
    assert!(error(token).contains("`legacy` does not apply"));
    for preset in presets() {
        let is_legacy = preset.scheme.hash.is_some_and(scheme::Hash::is_legacy);
        assert_eq!(preset.scheme.legacy, is_legacy, "{}", preset.name);
    }
}

#[test]
fn a_place_in_the_body_that_contradicts_another_is_refused_with_what_to_do() {
    for (toml, says) in [
        (
            BODY_OR_FIELD.replace(
                "{ header = \"X-Gitea-Signature\" }",
                "{ form = \"s\", json = \"/s\" }",
            ),
            "`signature` needs exactly one of `header`, `json` and `form`",
        ),
        (
            format!("{BODY_OR_FIELD}timestamp = {{ form = \"t\" }}"),
            "does not contain \"timestamp\"",
        ),
        (
            BODY_OR_FIELD.replace("[{ body_or_field = \"payload\" }]", "[{ form = \"t\" }]"),
            "does not contain \"body\"",
        ),
        (
            BODY_OR_FIELD.replace(
                "[{ body_or_field = \"payload\" }]",
                "[{ form = \"a\" }, { form = \"b\" }]\nbody_unsigned = true",
            ),
            "runs form field a into form field b",
        ),
        (
            BODY_OR_FIELD.replace(
                "[{ body_or_field = \"payload\" }]",
                "[{ form = \"a\" }, { literal = \".\" }, { json = \"/b\" }]\nbody_unsigned = true",
            ),
            "as a form and as body /b",
        ),
        (
            "kind = \"token\"\ntoken = { json = \"/t\", query = \"t\" }".to_owned(),
            "`token` needs exactly one of",
        ),
        (
            "kind = \"token\"\ntoken = { json = \"/t\", prefix = \"t\" }".to_owned(),
            "`token` needs exactly one of",
        ),
    ] {
        let error = custom(&toml, &["s"]).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_query_that_is_signed_like_a_body_is_not_taken_beside_one() {
    let of = |message: &str, methods: &[Method]| {
        let toml = format!(
            "kind = \"hmac\"\nhash = \"sha256\"\nsignature = {{ header = \"X-S\" }}\n\
             encoding = \"hex\"\nmessage = [{message}]"
        );
        let settings = with(&["s"]).with_methods(methods.iter().cloned());
        Verifier::new(scheme(&toml), settings).err()
    };
    let both = [Method::POST, Method::GET];
    let url_and_body = "\"url\", \"body\"";
    assert_eq!(of(url_and_body, &both), Some(SchemeError::GetBesideBody));
    assert_eq!(of(url_and_body, &[Method::GET]), None);
    assert_eq!(of(url_and_body, &[Method::POST, Method::PUT]), None);
    let with_method = "\"method\", { literal = \" \" }, \"url\", \"body\"";
    assert_eq!(of(with_method, &both), None);
    assert_eq!(of("{ body_or_field = \"payload\" }", &both), None);
    let twilio = preset("twilio").unwrap().scheme;
    let settings = with(&["s"]).with_methods(both);
    assert_eq!(
        Verifier::new(twilio, settings).err(),
        Some(SchemeError::GetBesideBody)
    );
}
