//! Schemes of one's own: what the language can express, and what it refuses.

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
        Coverage::from_scheme(&scheme(&toml)).dedup_id
    };
    assert!(read("{ header = [\"A\", \"b\"] }"));
    assert!(read("{ json = \"/id\" }"));
    for other in ["[\"b\", \"a\"]", "\"a\"", "\"b\"", "\"c\""] {
        assert!(!read(&format!("{{ header = {other} }}")), "{other}");
    }
    assert!(!read("{ json = \"/id\" }, { header = \"c\" }"));
    let token = "kind = \"token\"\ntoken = { query = \"t\" }\ndedup_id = [{ json = \"/id\" }]";
    assert!(
        !Coverage::from_scheme(&scheme(token)).dedup_id,
        "a token signs nothing"
    );
}

#[test]
fn what_is_misspelt_is_named_with_its_place() {
    for (toml, says) in [
        (HMAC.replace("hash", "hsah"), "unknown field `hsah`"),
        (
            HMAC.replace("sha256\"\n", "md4\"\n"),
            "unknown variant `md4`",
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
            "expected a duration with a unit",
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
fn what_does_not_fit_the_kind_or_the_answer_is_refused_with_what_to_do() {
    for (toml, says) in [
        (
            format!("{HMAC}token = {{ query = \"t\" }}"),
            "`token` does not apply to a scheme of kind \"hmac\"",
        ),
        (format!("{HMAC}respond = {{ status = 500 }}"), "200 to 299"),
        (
            format!("{HMAC}respond = {{ status = 204, body = \"OK\" }}"),
            "with the status 204 has none",
        ),
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
            "`hash` does not apply",
        ),
        (
            "kind = \"none\"\nmessage = [\"body\"]".into(),
            "`message` does not apply",
        ),
        (
            "kind = \"none\"".into(),
            "verifies nothing, yet secrets are configured",
        ),
    ] {
        let error = custom(&toml, &["s"]).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn parts_of_any_text_do_not_run_into_each_other() {
    let make = |message: &str| {
        let timestamp = if message.contains("timestamp") {
            "timestamp = { header = \"T\" }"
        } else {
            ""
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
        matches!(why, SignError::Refused(VerifyError::DelimiterInPart { .. })),
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
    let error = make(
        standard(),
        &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_hunter2!"],
    )
    .to_string();
    assert!(error.starts_with("secret 2 is not base64"), "{error}");
    assert!(!error.contains("hunter"), "{error}");
    // As the specification of Standard Webhooks has it: 24 bytes at least.
    let short = SchemeError::SecretShort {
        index: 1,
        bytes: 23,
        bytes_min: 24,
    };
    let of_23_bytes = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(
        make(
            standard(),
            &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", of_23_bytes]
        ),
        short
    );
    let token = scheme("kind = \"token\"\ntoken = { header = \"a\" }");
    assert_eq!(make(token.clone(), &[]), SchemeError::SecretMissing);
    assert_eq!(make(token, &[""]), SchemeError::SecretEmpty { index: 0 });
    let basic = scheme("kind = \"token\"\ntoken = { authorization = \"basic\" }");
    let unpaired = make(basic, &["user:", "hunter2"]);
    assert_eq!(unpaired, SchemeError::SecretNotAPair { index: 1 });
    assert!(!unpaired.to_string().contains("hunter"), "{unpaired}");
}

#[test]
fn the_shortest_secret_is_known_where_it_can_be_guessed() {
    let token = "kind = \"token\"\ntoken = { header = \"a\" }";
    for (scheme, secrets, shortest) in [
        (scheme(HMAC), ["sixteen bytes !!", "three"], Some(5)),
        (scheme(token), ["longer", "four"], Some(4)),
    ] {
        let verifier = Verifier::new(scheme, with(&secrets)).unwrap();
        assert_eq!(verifier.shortest_secret_bytes(), shortest);
    }
    let nothing = Verifier::new(scheme("kind = \"none\""), with(&[])).unwrap();
    assert_eq!(nothing.shortest_secret_bytes(), None);
}

#[test]
fn a_token_verifies_wherever_the_scheme_puts_it_and_goes_no_further() {
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
        let verifier = custom(&toml, &["other:", "user:p+ss w"]).unwrap();
        let mut delivery = post(r#"{"id":7}"#, &[header]);
        delivery.path_and_query.push_str(query);
        let Ok(Outcome::Event(verified)) = verifier.verify(delivery.clone(), at(0)) else {
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
        let missing = refusal(verifier.verify(post("", &[]), at(0))).reason();
        assert!(
            ["header_missing", "query_missing"].contains(&missing),
            "{token}"
        );
    }
}

#[test]
fn a_token_in_another_form_is_refused() {
    let verify = |token: &str, header: &str, query: &str| {
        let verifier = custom(
            &format!("kind = \"token\"\ntoken = {{ {token} }}"),
            &["s:s"],
        )
        .unwrap();
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
fn a_timestamp_in_the_body_is_judged_after_the_signature() {
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
            pointer: "/webhookTimestamp".parse().unwrap()
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
    // And has no effect where there is no timestamp.
    let github = preset("github").unwrap().scheme;
    assert!(Verifier::new(github, settings).is_ok());
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

/// Signs with a scheme and gives what the verifier says of it.
fn round(toml: &str, body: &str, headers: &[(&str, &str)]) -> Result<Outcome, VerifyError> {
    let verifier = custom(toml, &["s"]).unwrap();
    let mut draft = post(body, headers);
    let signed = verifier.sign(&draft, None, "id", at(SIGNED_AT)).unwrap();
    draft.headers.extend(signed.headers);
    verifier.verify(draft, at(SIGNED_AT))
}

#[test]
fn a_family_of_headers_is_read_to_its_last_number() {
    let toml = HMAC.replace(
        "\"X-Signature\", prefix = \"sha256=\"",
        "\"X-Sig-\", numbered = 3",
    );
    let verifier = custom(&toml, &["s"]).unwrap();
    let signed = verifier.sign(&post("a", &[]), None, "", at(0)).unwrap();
    let (name, good) = &signed.headers[0];
    assert_eq!(name, "x-sig-1");
    let good = good.to_str().unwrap();
    let other = "00".repeat(32);
    for (headers, verifies) in [
        (vec![("x-sig-1", good)], true),
        (vec![("x-sig-1", &*other), ("x-sig-3", good)], true),
        (vec![("x-sig-1", &*other), ("x-sig-4", good)], false),
        (vec![("x-sig-0", good)], false),
        (vec![("x-sig-", good)], false),
    ] {
        assert_eq!(
            verifier.verify(post("a", &headers), at(0)).is_ok(),
            verifies,
            "{headers:?}"
        );
    }
    for bad in ["numbered = 0", "numbered = 101"] {
        let error = custom(&toml.replace("numbered = 3", bad), &["s"]).unwrap_err();
        assert_eq!(error, SchemeError::NumberedInvalid);
    }
}

#[test]
fn a_prefix_may_be_left_out_only_where_the_scheme_says_so() {
    let optional = HMAC.replace("\"sha256=\"", "\"sha256=\", prefix_optional = true");
    let verifier = custom(&optional, &["s"]).unwrap();
    let signed = verifier.sign(&post("a", &[]), None, "", at(0)).unwrap();
    let whole = signed.headers[0].1.to_str().unwrap().to_owned();
    let bare = whole.strip_prefix("sha256=").unwrap();
    let verify =
        |by: &Verifier, value: &str| by.verify(post("a", &[("x-signature", value)]), at(0));
    facts(verify(&verifier, &whole));
    facts(verify(&verifier, bare));
    let strict = custom(HMAC, &["s"]).unwrap();
    let why = refusal(verify(&strict, bare)).to_string();
    assert_eq!(
        why,
        "header x-signature does not begin with \"sha256=\", the prefix of the signature"
    );
    let nothing = optional.replace("prefix = \"sha256=\", ", "");
    assert_eq!(
        custom(&nothing, &["s"]).unwrap_err(),
        SchemeError::PrefixMissing
    );
}

#[test]
fn parts_of_the_body_can_be_signed_apart_from_it() {
    let hashed = HMAC.replace("[\"body\"]", "[{ literal = \"x\" }, \"body_sha256\"]");
    facts(round(&hashed, "a", &[]));
    let json = HMAC.replace(
        "[\"body\"]",
        "[{ json = \"/a\" }, { literal = \":\" }, { json_or_empty = \"/b\" }]",
    );
    let error = custom(&json, &["s"]).unwrap_err();
    assert_eq!(error, SchemeError::BodyUnsigned);
    let json = format!(
        "{json}body_unsigned = true\ndedup_id = [{{ json = \"/a\" }}, {{ json = \"/c\" }}]"
    );
    let both = facts(round(&json, r#"{"a":"1","b":2,"c":3}"#, &[]));
    assert!(both.dedup_id_signed && both.content.is_some());
    let verifier = custom(&json, &["s"]).unwrap();
    let signs = |body: &str| verifier.sign(&post(body, &[]), None, "", at(0));
    assert!(signs(r#"{"a":"1"}"#).is_ok());
    let refused = |body: &str| match signs(body) {
        Err(SignError::Refused(why)) => why.reason(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(r#"{"b":"1"}"#), "json_missing");
    assert_eq!(refused(r#"{"a":"1:","b":"2"}"#), "delimiter_in_part");
    assert_eq!(refused(r#"{"a":"1","b":":2"}"#), "delimiter_in_part");
    // What is not signed may change, and what stands for the body does not.
    let mut draft = post(r#"{"a":"1","b":2,"c":3}"#, &[]);
    let signed = verifier.sign(&draft, None, "", at(0)).unwrap();
    draft.headers.extend(signed.headers);
    draft.body = r#"{"a":"1","b":2,"c":"forged"}"#.into();
    let other = facts(verifier.verify(draft, at(0)));
    assert_eq!(other.content, both.content);
    let signed_body = custom(&format!("{HMAC}body_unsigned = true"), &["s"]);
    assert_eq!(signed_body.unwrap_err(), SchemeError::BodySigned);
}

#[test]
fn a_form_is_signed_field_by_field_and_nothing_in_it_counts_as_signed() {
    let toml = HMAC.replace("[\"body\"]", "[\"url\", \"form_sorted\"]");
    let toml =
        format!("{toml}dedup_id = [{{ form = \"Sid\" }}]\nevent_type = [{{ query = \"t\" }}]");
    let verifier = custom(&toml, &["s"]).unwrap();
    let mut draft = post("b=2&Sid=S1&a=x+y", &[]);
    draft.path_and_query.push_str("?t=sms");
    let signed = verifier.sign(&draft, None, "", at(0)).unwrap();
    draft.headers.extend(signed.headers);
    let first = facts(verifier.verify(draft.clone(), at(0)));
    assert_eq!(first.dedup_id.as_deref(), Some("S1"));
    assert_eq!(first.event_type.as_deref(), Some("sms"));
    assert!(!first.dedup_id_signed && !first.event_type_signed);
    // The same fields in another order are the same content, and so is the
    // text of a name that was moved into a value.
    for same in ["Sid=S1&a=x%20y&b=2", "Sid=S1ax+yb2", "b=2&SidS=1&a=x+y"] {
        draft.body = same.into();
        let again = facts(verifier.verify(draft.clone(), at(0)));
        assert_eq!(again.content, first.content, "{same}");
    }
    draft.body = "b=2&Sid=S2&a=x+y".into();
    assert_eq!(
        refusal(verifier.verify(draft, at(0))),
        VerifyError::Mismatch
    );
    let mixed = HMAC.replace(
        "[\"body\"]",
        "[\"form_sorted\", { literal = \".\" }, { json = \"/a\" }]",
    );
    let error = custom(&mixed, &["s"]).unwrap_err();
    assert!(
        error.to_string().contains("as a form and as body /a"),
        "{error}"
    );
}

#[test]
fn a_secret_can_be_hashed_into_its_key() {
    let toml = format!("{HMAC}secret = {{ hash = \"sha256\" }}");
    let verifier = custom(&toml, &["s"]).unwrap();
    let signed = verifier.sign(&post("a", &[]), None, "", at(0)).unwrap();
    // The SHA-256 of "s", by `sha256sum`.
    let key = "043a718774c572bd8a25adbeb1bfcd5c0256ae11cecf9f9c3f925d0e52beaf89";
    let written = custom(&format!("{HMAC}secret = {{ encoding = \"hex\" }}"), &[key]);
    let same = written.unwrap().sign(&post("a", &[]), None, "", at(0));
    assert_eq!(signed.headers, same.unwrap().headers);
}

#[test]
fn a_date_without_a_zone_needs_delimiters() {
    let toml = |message: &str, format: &str| {
        let toml = HMAC.replace("\"body\"", message);
        format!("{toml}timestamp = {{ header = \"T\", format = \"{format}\" }}")
    };
    let make = |message: &str, format: &str| custom(&toml(message, format), &["s"]);
    for format in ["unix_ms", "rfc3339", "http_date"] {
        assert!(make("\"timestamp\", \"body\"", format).is_ok(), "{format}");
        facts(round(&toml("\"body\", \"timestamp\"", format), "a", &[]));
    }
    let delimited = "\"timestamp\", { literal = \":\" }, \"body\"";
    facts(round(&toml(delimited, "iso8601_utc"), "a", &[]));
    let error = make("\"timestamp\", \"body\"", "iso8601_utc").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("runs the timestamp into the body"),
        "{error}"
    );
}

#[test]
fn a_body_cannot_lend_its_end_to_the_url_behind_it() {
    let toml = HMAC.replace("[\"body\"]", "[\"body\", \"url\"]");
    let verifier = custom(&toml, &["s"]).unwrap();
    let quoting = r#"{"name":"https://webhook.site/ingest/orders?"}"#;
    let mut draft = post(quoting, &[]);
    let signed = verifier.sign(&draft, None, "", at(0)).unwrap();
    draft.headers.extend(signed.headers);
    facts(verifier.verify(draft.clone(), at(0)));
    draft.body = r#"{"name":""#.into();
    draft.path_and_query = "/ingest/orders?\"}https://webhook.site/ingest/orders".into();
    assert_eq!(
        refusal(verifier.verify(draft, at(0))).reason(),
        "delimiter_in_part"
    );
}

#[test]
fn a_public_key_verifies_and_signs_nothing() {
    let toml = r#"
        kind = "ed25519"
        signature = { header = "S" }
        encoding = "hex"
        secret = { encoding = "hex" }
        message = ["body"]"#;
    // RFC 8032, section 7.1, test 2.
    let key = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    let signature = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                     085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
    let verifier = custom(toml, &[key]).unwrap();
    facts(verifier.verify(post("r", &[("s", signature)]), at(0)));
    let changed = refusal(verifier.verify(post("s", &[("s", signature)]), at(0)));
    assert_eq!(changed, VerifyError::Mismatch);
    let cut = refusal(verifier.verify(post("r", &[("s", &signature[2..])]), at(0)));
    assert_eq!(cut.reason(), "signature_length");
    let signed = verifier.sign(&post("r", &[]), None, "", at(0));
    assert_eq!(signed.unwrap_err(), SignError::PublicKeyOnly);
    let zero = "00".repeat(32);
    for bad in [&key[2..], &*zero] {
        assert_eq!(
            custom(toml, &[bad]).unwrap_err(),
            SchemeError::PublicKeyInvalid { index: 0 }
        );
    }
    let with_hash = format!("{toml}\nhash = \"sha256\"");
    let error = custom(&with_hash, &[key]).unwrap_err().to_string();
    assert!(
        error.contains("`hash` does not apply to a scheme of kind \"ed25519\""),
        "{error}"
    );
}
