//! Schemes of one's own: what the language can say, and how it says no.

use super::*;

const HMAC: &str = r#"
    kind = "hmac"
    hash = "sha256"
    signature = { header = "X-Signature", prefix = "sha256=" }
    encoding = "hex"
    message = ["body"]
"#;

fn parse_error(toml: &str) -> String {
    toml::from_str::<Scheme>(toml).unwrap_err().to_string()
}

#[test]
fn the_documented_scheme_of_ones_own_makes_a_verifier() {
    assert!(custom(HMAC, &["s"]).is_ok());
}

#[test]
fn a_fact_is_signed_only_if_it_is_read_where_it_was_signed() {
    let read = |source: &str| {
        let toml = HMAC.replace("[\"body\"]", "[{ header = [\"a\", \"b\"] }, \"body\"]");
        let toml = format!("{toml}dedup_id = [{source}]");
        Covered::by(&scheme(&toml)).dedup_id
    };
    assert!(read("{ header = [\"A\", \"b\"] }"));
    assert!(read("{ json = \"/id\" }"));
    for other in ["[\"b\", \"a\"]", "\"a\"", "\"b\"", "\"c\""] {
        assert!(!read(&format!("{{ header = {other} }}")), "{other}");
    }
    assert!(!read("{ json = \"/id\" }, { header = \"c\" }"));
    let token = "kind = \"token\"\ntoken = { query = \"t\" }\ndedup_id = [{ json = \"/id\" }]";
    assert!(
        !Covered::by(&scheme(token)).dedup_id,
        "a token signs nothing"
    );
}

#[test]
fn what_is_misspelt_is_named_with_its_place() {
    for (toml, says) in [
        (HMAC.replace("hash", "hsah"), "unknown field `hsah`"),
        (
            HMAC.replace("sha256\"\n", "md5\"\n"),
            "unknown variant `md5`",
        ),
        (
            HMAC.replace("\"hmac\"", "\"ed448\""),
            "unknown variant `ed448`",
        ),
        (HMAC.replace("prefix", "prefx"), "unknown field `prefx`"),
        (
            HMAC.replace("[\"body\"]", "[\"bdy\"]"),
            "unknown variant `bdy`",
        ),
        (
            HMAC.replace("X-Signature", "X Signature"),
            "\"X Signature\" is not a header name",
        ),
        (HMAC.replace("\"X-Signature\"", "[]"), "needs at least one"),
        (
            format!("{HMAC}timestamp = {{ header = \"t\", tolerance = \"soon\" }}"),
            "\"soon\" is not a duration",
        ),
        (
            format!("{HMAC}dedup_id = [{{ json = \"id\" }}]"),
            "starts with a slash",
        ),
        (HMAC.replace("kind = \"hmac\"", ""), "missing field `kind`"),
    ] {
        let error = parse_error(&toml);
        assert!(error.contains(says), "{error}");
        assert!(error.contains("line"), "{error}");
    }
}

#[test]
fn what_makes_no_sense_together_is_refused_with_what_to_do() {
    let timestamp = |rest: &str| format!("{HMAC}timestamp = {{ {rest} }}");
    let signed = |rest: &str| timestamp(rest).replace("[\"body\"]", "[\"timestamp\", \"body\"]");
    for (toml, says) in [
        (
            HMAC.replace("    hash = \"sha256\"\n", ""),
            "needs `hash`, such as \"sha256\"",
        ),
        (
            HMAC.replace("    message = [\"body\"]\n", ""),
            "needs `message`, such as [\"body\"]",
        ),
        (
            HMAC.replace("[\"body\"]", "[\"method\"]"),
            "does not contain \"body\"",
        ),
        (
            HMAC.replace("[\"body\"]", "[\"timestamp\", \"body\"]"),
            "does not say where it is",
        ),
        (
            timestamp("header = \"T\""),
            "does not contain \"timestamp\"",
        ),
        (
            signed("header = \"T\", field = \"t\""),
            "`timestamp` needs exactly one of",
        ),
        (
            signed("tolerance = \"5m\""),
            "`timestamp` needs exactly one of",
        ),
        (signed("field = \"t\""), "needs them and `separator`"),
        (
            signed("header = \"T\", tolerance = \"0s\""),
            "`tolerance` is zero",
        ),
        (
            HMAC.replace("prefix = \"sha256=\"", "key = \"v1\""),
            "needs both `key` and `key_separator`",
        ),
        (
            HMAC.replace("prefix = \"sha256=\"", "separator = \"\""),
            "empty `separator`",
        ),
        (
            format!("{HMAC}token = {{ query = \"t\" }}"),
            "`token` means nothing in a scheme of kind \"hmac\"",
        ),
        (format!("{HMAC}respond = {{ status = 500 }}"), "200 to 299"),
        (
            format!("{HMAC}respond = {{ status = 200, content_type = \"a\\nb\" }}"),
            "content type",
        ),
        ("kind = \"token\"".into(), "needs `token`, such as"),
        (
            "kind = \"token\"\ntoken = {}".into(),
            "`token` needs exactly one of",
        ),
        (
            "kind = \"token\"\ntoken = { header = \"a\", query = \"b\" }".into(),
            "`token` needs exactly one of",
        ),
        (
            "kind = \"token\"\ntoken = { query = \"b\", prefix = \"c\" }".into(),
            "`token` needs exactly one of",
        ),
        (
            "kind = \"token\"\nhash = \"sha1\"\ntoken = { query = \"b\" }".into(),
            "`hash` means nothing",
        ),
        (
            "kind = \"none\"\nmessage = [\"body\"]".into(),
            "`message` means nothing",
        ),
        (
            "kind = \"none\"".into(),
            "proves nothing, yet secrets are configured",
        ),
    ] {
        let error = custom(&toml, &["s"]).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let url = scheme(&HMAC.replace("[\"body\"]", "[\"url\", \"body\"]"));
    let settings = Settings {
        public_url: None,
        ..with(&["s"])
    };
    let error = Verifier::new(url, settings).unwrap_err();
    assert!(error.to_string().contains("set `public_url`"), "{error}");
}

#[test]
fn parts_of_any_text_do_not_run_into_each_other() {
    let make = |message: &str| {
        let timestamp = match message.contains("timestamp") {
            true => "timestamp = { header = \"T\" }",
            false => "",
        };
        let toml = HMAC.replace("\"body\"", message);
        custom(&format!("{toml}{timestamp}"), &["s"])
    };
    let error = make(r#"{ header = "X-Id" }, "body""#).unwrap_err();
    assert!(
        error.to_string().contains("runs header x-id into the body"),
        "{error}"
    );
    assert!(make(r#""body", { header = "X-Id" }"#).is_err());
    assert!(make(r#"{ header = "a" }, { literal = "" }, "body""#).is_err());
    assert!(make(r#""body", { json = "/id" }"#).is_err());
    assert!(make(r#""url", "body""#).is_ok());
    assert!(make(r#"{ header = "X-Id" }, "timestamp", "body""#).is_ok());

    // What stands behind a literal cannot hold it either.
    let verifier = make(r#""body", { literal = "." }, { header = "X-Id" }"#).unwrap();
    let sign = |id| verifier.sign(&post("a", &[("x-id", id)]), None, "", at(0));
    assert!(sign("b").is_ok());
    let why = sign("b.c").unwrap_err();
    assert!(
        matches!(why, SignError::Refused(VerifyError::Separator { .. })),
        "{why}"
    );
}

#[test]
fn secrets_that_cannot_serve_are_refused_and_never_shown() {
    let standard = || preset("standard-webhooks").unwrap().scheme;
    let make = |scheme: Scheme, secrets: &[&str]| Verifier::new(scheme, with(secrets)).unwrap_err();
    assert_eq!(make(standard(), &[]), SchemeError::SecretMissing);
    assert_eq!(
        make(scheme(HMAC), &["a", ""]),
        SchemeError::SecretEmpty { index: 1 }
    );
    assert_eq!(
        make(standard(), &["whsec_"]),
        SchemeError::SecretEmpty { index: 0 }
    );
    assert_eq!(
        make(scheme(HMAC), &["a"; SECRETS_MAX + 1]),
        SchemeError::SecretsTooMany {
            count: SECRETS_MAX + 1
        }
    );
    let error = make(standard(), &["whsec_AAAA", "whsec_hunter2!"]).to_string();
    assert!(error.starts_with("secret 2 is not base64"), "{error}");
    assert!(!error.contains("hunter"), "{error}");
    let token = scheme("kind = \"token\"\ntoken = { header = \"a\" }");
    assert_eq!(make(token.clone(), &[]), SchemeError::SecretMissing);
    assert_eq!(make(token, &[""]), SchemeError::SecretEmpty { index: 0 });
}

#[test]
fn a_token_proves_wherever_the_scheme_puts_it_and_goes_no_further() {
    let in_header = r#"token = { header = "X-Token", prefix = "T " }"#;
    let basic = data_encoding::BASE64.encode(b"user:p+ss w");
    for (token, header, query) in [
        (in_header, ("x-token", "T user:p+ss w"), ""),
        (
            r#"token = { query = "to ken" }"#,
            ("a", "b"),
            "?x=1&to%20ken=user%3Ap%2Bss+w&y",
        ),
        (
            r#"token = { authorization = "bearer" }"#,
            ("authorization", "beaRer user:p+ss w"),
            "",
        ),
        (
            r#"token = { authorization = "basic" }"#,
            ("authorization", &*format!("Basic {basic}")),
            "",
        ),
    ] {
        let toml = format!("kind = \"token\"\n{token}\ndedup_id = [{{ json = \"/id\" }}]");
        let verifier = custom(&toml, &["other", "user:p+ss w"]).unwrap();
        let mut delivery = post(r#"{"id":7}"#, &[header]);
        delivery.path_and_query.push_str(query);
        let Ok(Proven::Event(verified)) = verifier.verify(delivery.clone(), at(0)) else {
            panic!("{token}");
        };
        let (left, facts) = verified.into_parts();
        assert_eq!(facts.dedup_id.as_deref(), Some("7"));
        assert!(!facts.dedup_id_signed, "a token signs nothing");
        let headers = format!("{:?}", left.headers);
        assert!(!headers.contains("ss") && !headers.contains(&basic));
        assert!(!left.path_and_query.contains("ss"));
        assert!(!format!("{delivery:?}").contains("ss"), "{delivery:?}");
        assert_eq!(left.path_and_query.contains("x=1&y"), !query.is_empty());

        let wrong = custom(&toml, &["user:p+ss", "user:p+ss ww", "USER:p+ss w"]).unwrap();
        let why = refusal(wrong.verify(delivery, at(0)));
        assert_eq!(why, VerifyError::Mismatch, "{token}");
        let why = refusal(verifier.verify(post("", &[]), at(0))).reason();
        assert!(
            ["header_missing", "query_missing"].contains(&why),
            "{token}"
        );
    }
}

#[test]
fn a_token_in_another_form_is_refused() {
    let verify = |token: &str, header: &str, query: &str| {
        let verifier = custom(&format!("kind = \"token\"\ntoken = {{ {token} }}"), &["s"]).unwrap();
        let mut delivery = post("", &[("authorization", header)]);
        delivery.path_and_query.push_str(query);
        refusal(verifier.verify(delivery, at(0))).reason()
    };
    for header in ["s", "Basic s", "Bearer", ""] {
        assert_eq!(
            verify("authorization = \"bearer\"", header, ""),
            "token_form"
        );
    }
    for header in ["Basic s!", "Bearer cw==", "Basic cw"] {
        assert_eq!(
            verify("authorization = \"basic\"", header, ""),
            "token_form"
        );
    }
    assert_eq!(verify("query = \"t\"", "", "?t=s&t=r"), "token_form");
    assert_eq!(verify("query = \"t\"", "", "?t"), "mismatch");
    assert_eq!(
        verify("header = \"authorization\", prefix = \"K \"", "s", ""),
        "token_form"
    );
}

#[test]
fn a_timestamp_in_the_body_is_judged_behind_the_proof() {
    // Linear's form: milliseconds in the signed body.
    let toml = r#"
        kind = "hmac"
        hash = "sha256"
        signature = { header = "Linear-Signature" }
        encoding = "hex"
        message = ["body"]
        timestamp = { json = "/webhookTimestamp", format = "unix_ms", tolerance = "1m" }"#;
    let verifier = custom(toml, &["s"]).unwrap();
    let mut draft = post(r#"{"webhookTimestamp":1614265330123}"#, &[]);
    let now = Timestamp::from_unix_ms(1_614_265_390_123);
    let signed = verifier.sign(&draft, None, "id", now).unwrap();
    draft.headers.extend(signed.headers);
    facts(verifier.verify(draft.clone(), now));
    let later = Timestamp::from_unix_ms(1_614_265_390_124);
    assert_eq!(
        refusal(verifier.verify(draft.clone(), later)).reason(),
        "stale"
    );
    draft.body = "{}".into();
    assert_eq!(refusal(verifier.verify(draft, now)), VerifyError::Mismatch);
    let without = verifier.sign(&post("{}", &[]), None, "id", now);
    assert_eq!(
        without,
        Err(SignError::Refused(VerifyError::JsonMissing {
            place: "/webhookTimestamp".to_owned()
        }))
    );
}

#[test]
fn a_topics_tolerance_goes_before_the_schemes() {
    let tolerance = Some(std::time::Duration::from_secs(10));
    let scheme = preset("slack").unwrap().scheme;
    let settings = Settings {
        tolerance,
        ..with(&["s"])
    };
    let verifier = Verifier::new(scheme, settings.clone()).unwrap();
    let mut draft = post("a", &[]);
    let signed = verifier.sign(&draft, None, "id", at(SIGNED_AT)).unwrap();
    draft.headers.extend(signed.headers);
    facts(verifier.verify(draft.clone(), at(SIGNED_AT + 10)));
    assert_eq!(
        refusal(verifier.verify(draft, at(SIGNED_AT + 11))).reason(),
        "stale"
    );
    // And means nothing where there is no timestamp.
    let scheme = preset("github").unwrap().scheme;
    assert!(Verifier::new(scheme, settings).is_ok());
}

#[test]
fn a_demanded_answer_comes_with_the_facts() {
    let toml = "kind = \"none\"\nrespond = { status = 201, body = \"[accepted]\" }";
    let facts = facts(custom(toml, &[]).unwrap().verify(post("", &[]), at(0)));
    let reply = facts.respond.unwrap();
    assert_eq!(
        (reply.status.as_u16(), &reply.body[..]),
        (201, &b"[accepted]"[..])
    );
    assert_eq!(reply.content_type, "text/plain; charset=utf-8");
}
