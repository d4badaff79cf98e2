//! What providers ask before they send events, and what they are answered.

use super::*;

fn get(query: &str, headers: &[(&str, &str)]) -> Delivery {
    Delivery {
        method: Method::GET,
        path_and_query: format!("/ingest/orders{query}"),
        ..post("", headers)
    }
}

fn with_token(preset: &str, verify_token: Option<&str>) -> Verifier {
    let settings = Settings {
        verify_token: verify_token.map(secret),
        ..with(&["hush"])
    };
    Verifier::new(super::preset(preset).unwrap().scheme, settings).unwrap()
}

/// Status, type and body of an answer that must be one.
fn answer(outcome: Result<Outcome, VerifyError>) -> (u16, String, String) {
    match outcome {
        Ok(Outcome::Answer(reply)) => (
            reply.status.as_u16(),
            reply.content_type.to_str().unwrap().to_owned(),
            String::from_utf8(reply.body.to_vec()).unwrap(),
        ),
        other => panic!("not answered: {other:?}"),
    }
}

fn text(body: &str) -> (u16, String, String) {
    (200, "text/plain".into(), body.into())
}

fn json(body: &str) -> (u16, String, String) {
    (200, "application/json".into(), body.into())
}

/// HMAC-SHA256 with the secret `hush`, straight from the library.
fn mac(text: &str) -> Vec<u8> {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"hush").unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn metas_challenge_is_echoed_only_to_whoever_knows_the_token() {
    let meta = with_token("meta", Some("a word"));
    let ask = |query: &str| meta.verify(get(query, &[]), at(0));
    let asked = "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=";
    assert_eq!(answer(ask(&format!("{asked}a+word"))), text("1158201444"));
    for wrong in [
        "a wor",
        "a+words",
        "A+word",
        "",
        "a+word&hub.verify_token=x",
    ] {
        let why = refusal(ask(&format!("{asked}{wrong}")));
        assert_eq!(why, VerifyError::VerifyTokenMismatch, "{wrong}");
    }
    for other in [
        "?hub.mode=unsubscribe&hub.challenge=1",
        "",
        "?hub.challenge=1",
    ] {
        assert_eq!(refusal(ask(other)), VerifyError::MethodNotTaken, "{other}");
    }
    let script = "?hub.mode=subscribe&hub.verify_token=a+word&hub.challenge=";
    assert_eq!(
        answer(ask(&format!("{script}%3Cscript%3E"))),
        text("<script>")
    );
    for bad in [
        "%0d%0a",
        "%00",
        "%c3%a9",
        "",
        &"a".repeat(CHALLENGE_BYTES_MAX + 1),
    ] {
        assert_eq!(
            refusal(ask(&format!("{script}{bad}"))),
            VerifyError::ChallengeInvalid,
            "{bad}"
        );
    }
}

#[test]
fn a_verify_token_is_needed_where_a_handshake_compares_one_and_only_there() {
    let make = |preset: &str, word: Option<&str>| {
        let settings = Settings {
            verify_token: word.map(secret),
            ..with(&["hush"])
        };
        Verifier::new(super::preset(preset).unwrap().scheme, settings).map(drop)
    };
    assert_eq!(make("meta", None), Err(SchemeError::VerifyTokenMissing));
    assert_eq!(make("meta", Some("")), Err(SchemeError::VerifyTokenMissing));
    assert_eq!(
        make("github", Some("w")),
        Err(SchemeError::VerifyTokenUseless)
    );
    assert_eq!(make("meta", Some("w")), Ok(()));
}

#[test]
fn no_delivery_can_be_forged_by_what_xs_handshake_signs_for_anybody() {
    let x = with_token("x", None);
    let ask = |token: &str| x.verify(get(&format!("?crc_token={token}"), &[]), at(0));
    let base64 = |text| data_encoding::BASE64.encode(&mac(text));
    let (_, _, said) = answer(ask("MTQ4NjYwNzA3Nw=="));
    assert_eq!(
        said,
        format!(
            "{{\"response_token\":\"sha256={}\"}}",
            base64("MTQ4NjYwNzA3Nw==")
        )
    );
    // Nothing that a body of JSON begins with is signed…
    for body in ["%7B%7D", "[1]", "%22a%22", "a%20b", "a%0a"] {
        assert_eq!(refusal(ask(body)), VerifyError::ChallengeInvalid, "{body}");
    }
    // …and what is signed is refused as a delivery, though its signature is right.
    for body in ["12345", "true", "MTQ4NjYwNzA3Nw=="] {
        let signature = format!("sha256={}", base64(body));
        let forged = post(body, &[("x-twitter-webhooks-signature", &signature)]);
        assert_eq!(
            refusal(x.verify(forged, at(0))),
            VerifyError::SignableByAnyone
        );
    }
    let body = r#"{"for_user_id":"1"}"#;
    let signature = format!("sha256={}", base64(body));
    facts(x.verify(
        post(body, &[("x-twitter-webhooks-signature", &signature)]),
        at(0),
    ));
}

#[test]
fn linkedins_challenge_signs_no_delivery_either() {
    // The message has a literal before the body, which a challenge can say.
    let linkedin = r#"
        kind = "hmac"
        hash = "sha256"
        signature = { header = "X-LI-Signature" }
        encoding = "hex"
        message = [{ literal = "hmacsha256=" }, "body"]
        [[challenge]]
        method = "GET"
        when = [{ at = { query = "challengeCode" } }]
        [challenge.json]
        challengeCode = { echo = { query = "challengeCode" } }
        challengeResponse = { hmac = { of = { query = "challengeCode" }, encoding = "hex" } }
    "#;
    let verifier = custom(linkedin, &["hush"]).unwrap();
    let hex = |text| data_encoding::HEXLOWER.encode(&mac(text));
    let code = "890e4665-4dfe-4ab1-b689-ed553bceeed0";
    let said = answer(verifier.verify(get(&format!("?challengeCode={code}"), &[]), at(0)));
    let expected = format!(
        "{{\"challengeCode\":\"{code}\",\"challengeResponse\":\"{}\"}}",
        hex(code)
    );
    assert_eq!(said, json(&expected));
    let leaked = hex("hmacsha256=abc");
    let asked = answer(verifier.verify(get("?challengeCode=hmacsha256=abc", &[]), at(0)));
    assert!(asked.2.contains(&leaked), "the handshake gives it away");
    let forged = post("abc", &[("x-li-signature", &leaked)]);
    assert_eq!(
        refusal(verifier.verify(forged, at(0))),
        VerifyError::SignableByAnyone
    );
    let body = r#"{"type":"x"}"#;
    let signature = hex(&format!("hmacsha256={body}"));
    facts(verifier.verify(post(body, &[("x-li-signature", &signature)]), at(0)));
}

#[test]
fn stravas_handshake_can_be_expressed() {
    let strava = r#"
        kind = "token"
        token = { query = "key" }
        [[challenge]]
        method = "GET"
        when = [{ at = { query = "hub.mode" }, equals = "subscribe" }]
        verify_token = { query = "hub.verify_token" }
        json = { "hub.challenge" = { echo = { query = "hub.challenge" } } }
    "#;
    let settings = Settings {
        verify_token: Some(secret("STRAVA")),
        ..with(&["hush"])
    };
    let verifier = Verifier::new(scheme(strava), settings).unwrap();
    let query = "?hub.verify_token=STRAVA&hub.challenge=15f7%22d1a9&hub.mode=subscribe";
    let said = answer(verifier.verify(get(query, &[]), at(0)));
    assert_eq!(said, json(r#"{"hub.challenge":"15f7\"d1a9"}"#));
}

#[test]
fn fronts_handshake_can_be_expressed() {
    let front = r#"
        kind = "hmac"
        hash = "sha256"
        signature = { header = "X-Front-Signature" }
        encoding = "base64"
        message = ["body"]
        [[challenge]]
        when = [{ at = { header = "X-Front-Challenge" } }]
        text = { echo = { header = "X-Front-Challenge" } }
    "#;
    let verifier = custom(front, &["hush"]).unwrap();
    let signature = data_encoding::BASE64.encode(&mac("{}"));
    let signed = [
        ("x-front-signature", &*signature),
        ("x-front-challenge", "c h"),
    ];
    assert_eq!(
        answer(verifier.verify(post("{}", &signed), at(0))),
        text("c h")
    );
    let unsigned = post("{}", &[("x-front-challenge", "c")]);
    assert_eq!(
        refusal(verifier.verify(unsigned, at(0))).reason(),
        "header_missing"
    );
}

/// eBay's answer: the hash of the code, the token and the URL.
#[test]
fn ebays_handshake_can_be_expressed() {
    let ebay = r#"
        kind = "none"
        [[challenge]]
        method = "GET"
        when = [{ at = { query = "challenge_code" } }]
        json = { challengeResponse = { sha256 = { of = [{ text = { query = "challenge_code" } }, "verify_token", "url"], encoding = "hex" } } }
    "#;
    let settings = Settings {
        verify_token: Some(secret("STRAVA")),
        ..with(&[])
    };
    let verifier = Verifier::new(scheme(ebay), settings).unwrap();
    let said = answer(verifier.verify(get("?challenge_code=a8628072", &[]), at(0)));
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(b"a8628072STRAVAhttps://webhook.site/ingest/orders");
    let hash = data_encoding::HEXLOWER.encode(&hash);
    assert_eq!(said, json(&format!("{{\"challengeResponse\":\"{hash}\"}}")));
}

#[test]
fn a_get_is_answered_after_the_token_where_the_scheme_says_so() {
    let okta = with_token("okta", None);
    let challenge = ("x-okta-verification-challenge", "xdaD");
    let token = ("authorization", "hush");
    let said = answer(okta.verify(get("", &[challenge, token]), at(0)));
    assert_eq!(said, json(r#"{"verification":"xdaD"}"#));
    let without = refusal(okta.verify(get("", &[challenge]), at(0)));
    assert_eq!(without.reason(), "header_missing");
    let other = refusal(okta.verify(get("", &[challenge, ("authorization", "x")]), at(0)));
    assert_eq!(other, VerifyError::Mismatch);
    // A GET is never an event, even if it verifies.
    assert_eq!(
        refusal(okta.verify(get("", &[token]), at(0))),
        VerifyError::MethodNotTaken
    );
}

#[test]
fn a_head_is_answered_for_trello_and_for_nobody_else() {
    let head = || Delivery {
        method: Method::HEAD,
        ..get("", &[])
    };
    assert_eq!(
        answer(with_token("trello", None).verify(head(), at(0))),
        text("")
    );
    for preset in ["github", "dropbox", "slack"] {
        let why = refusal(with_token(preset, None).verify(head(), at(0)));
        assert_eq!(why, VerifyError::MethodNotTaken);
    }
}

/// CloudEvents' HTTP 1.1 Web Hooks, section 4: who is about to send asks by OPTIONS.
#[test]
fn an_offer_of_cloudevents_is_answered_where_the_scheme_says_so() {
    let offered = r#"
        kind = "token"
        token = { query = "key" }
        [[challenge]]
        method = "OPTIONS"
        when = [{ at = { header = "WebHook-Request-Origin" } }]
        [challenge.headers]
        WebHook-Allowed-Origin = { echo = { header = "WebHook-Request-Origin" } }
        WebHook-Allowed-Rate = { literal = "*" }
        Allow = { literal = "POST" }
    "#;
    let verifier = custom(offered, &["hush"]).unwrap();
    let options = |headers: &[(&str, &str)]| Delivery {
        method: Method::OPTIONS,
        ..get("", headers)
    };
    let origin = ("webhook-request-origin", "eventgrid.azure.net");
    let Ok(Outcome::Answer(reply)) = verifier.verify(options(&[origin]), at(0)) else {
        panic!("not answered");
    };
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b""[..]));
    assert_eq!(
        reply.headers["webhook-allowed-origin"],
        "eventgrid.azure.net"
    );
    assert_eq!(reply.headers["webhook-allowed-rate"], "*");
    assert_eq!(reply.headers["allow"], "POST");
    let without = refusal(verifier.verify(options(&[]), at(0)));
    assert_eq!(without.reason(), "method");
    let long = "a".repeat(CHALLENGE_BYTES_MAX + 1);
    let too_long = verifier.verify(options(&[("webhook-request-origin", &long)]), at(0));
    assert_eq!(refusal(too_long), VerifyError::ChallengeInvalid);
    let github = with_token("github", None).verify(options(&[origin]), at(0));
    assert_eq!(refusal(github).reason(), "method");

    let only_with_the_token = offered.replace("method =", "before_verification = false\nmethod =");
    let asked = custom(&only_with_the_token, &["hush"]).unwrap();
    let unasked = refusal(asked.verify(options(&[origin]), at(0)));
    assert_eq!(unasked, VerifyError::QueryMissing);
    let mut with_key = options(&[origin]);
    with_key.path_and_query.push_str("?key=hush");
    assert_eq!(answer(asked.verify(with_key, at(0))), text(""));
    let bad = offered.replace("WebHook-Allowed-Rate", "\"a b\"");
    let error = custom(&bad, &["hush"]).unwrap_err().to_string();
    assert!(error.contains("not the name of a header"), "{error}");
}

/// Mailchimp's creation check is a GET with nothing but the URL that it was given.
#[test]
fn a_bare_get_is_answered_where_the_url_has_the_token() {
    let mailchimp = "kind = \"token\"\ntoken = { query = \"key\" }\n\
        challenge = [{ method = \"GET\", before_verification = false, status = 200 }]";
    let verifier = custom(mailchimp, &["hush"]).unwrap();
    assert_eq!(
        answer(verifier.verify(get("?key=hush", &[]), at(0))),
        text("")
    );
    for query in ["", "?key=hus"] {
        assert!(verifier.verify(get(query, &[]), at(0)).is_err(), "{query}");
    }
    for open in [
        mailchimp.replace("before_verification = false", "before_verification = true"),
        mailchimp
            .replace("token = { query = \"key\" }", "")
            .replace("token", "none"),
    ] {
        let error = custom(&open, &[]).unwrap_err().to_string();
        assert!(error.contains("it answers any such request"), "{error}");
    }
}

#[test]
fn discords_events_are_not_taken_for_its_pings() {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    let pair = Ed25519KeyPair::generate().unwrap();
    let key = data_encoding::HEXLOWER.encode(pair.public_key().as_ref());
    let verifier = by_preset("discord", &[&key]);
    let verify = |body: &str| {
        let signature = pair.sign(format!("{SIGNED_AT}{body}").as_bytes());
        let signature = data_encoding::HEXLOWER.encode(signature.as_ref());
        let time = SIGNED_AT.to_string();
        let headers = [
            ("x-signature-timestamp", &*time),
            ("x-signature-ed25519", &*signature),
        ];
        verifier.verify(post(body, &headers), at(SIGNED_AT))
    };
    assert_eq!(
        answer(verify(r#"{"type":1,"id":"1"}"#)),
        json(r#"{"type":1}"#)
    );
    assert_eq!(answer(verify(r#"{"version":1,"type":0}"#)).0, 204);
    let event = r#"{"version":1,"type":1,"event":{"type":"ENTITLEMENT_CREATE"}}"#;
    assert_eq!(
        facts(verify(event)).event_type.as_deref(),
        Some("ENTITLEMENT_CREATE")
    );
    assert_eq!(
        facts(verify(r#"{"type":2,"id":"7"}"#)).dedup_id.as_deref(),
        Some("7")
    );
}

#[test]
fn a_secret_is_accepted_once_and_from_then_on_verifies() {
    let scheme = preset("asana").unwrap().scheme;
    let asana = Verifier::new(scheme.clone(), with(&[])).unwrap();
    let provision = |secret| post("{}", &[("x-hook-secret", secret)]);
    let event = || {
        let signature = data_encoding::HEXLOWER.encode(&mac("{}"));
        post("{}", &[("x-hook-signature", &signature)])
    };
    assert!(asana.awaits_secret());
    assert_eq!(
        refusal(asana.verify(event(), at(0))),
        VerifyError::SecretPending
    );
    let Ok(Outcome::ProvisionedSecret { secret, reply }) = asana.verify(provision("hush"), at(0))
    else {
        panic!("not accepted");
    };
    assert_eq!(secret.expose(), b"hush");
    assert_eq!(reply.headers["x-hook-secret"], "hush");
    assert!(
        !format!("{reply:?} {secret:?}").contains("hush"),
        "{reply:?}"
    );

    let known = asana.clone().with_provisioned_secret(secret);
    assert!(!known.awaits_secret());
    facts(known.verify(event(), at(0)));
    // Asana repeats its request if it missed the answer; nobody else is believed.
    assert_eq!(answer(known.verify(provision("hush"), at(0))).0, 200);
    for other in ["hush2", "hus", "HUSH"] {
        assert_eq!(
            refusal(known.verify(provision(other), at(0))),
            VerifyError::SecretAlreadyProvisioned
        );
    }
    let configured = Verifier::new(scheme, with(&["hush"])).unwrap();
    assert!(!configured.awaits_secret());
    assert_eq!(
        refusal(configured.verify(provision("x"), at(0))),
        VerifyError::SecretAlreadyProvisioned
    );
    for bad in ["", "caf\u{e9}", &"a".repeat(CHALLENGE_BYTES_MAX + 1)] {
        let mut delivery = post("{}", &[]);
        let value = HeaderValue::from_bytes(bad.as_bytes()).unwrap();
        delivery.headers.insert("x-hook-secret", value);
        assert!(asana.verify(delivery, at(0)).is_err(), "{bad}");
    }
}

#[test]
fn a_handshake_that_contradicts_itself_is_refused_with_what_to_do() {
    let dropbox = r#"method = "GET", when = [{ at = { query = "c" } }]"#;
    for (challenge, says) in [
        (format!("{{ {dropbox} }}"), "answers nothing"),
        (
            format!("{{ {dropbox}, text = {{ literal = \"a\" }}, json = {{}} }}"),
            "remove one",
        ),
        (format!("{{ {dropbox}, status = 302 }}"), "200 to 299"),
        (
            r#"{ method = "HEAD", text = { literal = "a" } }"#.to_owned(),
            "HEAD has no body",
        ),
        (
            r#"{ method = "GET", text = { literal = "a" } }"#.to_owned(),
            "it answers any such request",
        ),
        (
            r#"{ when = [{ at = { json = "/a" }, absent = true }], status = 200 }"#.to_owned(),
            "every delivery would be taken",
        ),
        (
            r#"{ when = [{ at = { json = "/a" }, equals = "b", absent = true }], status = 200 }"#
                .to_owned(),
            "remove one",
        ),
        (
            format!(
                "{{ {dropbox}, text = {{ hmac = {{ of = {{ query = \"c\" }}, encoding = \"hex\" }} }} }}"
            ),
            "only a scheme of kind \"hmac\"",
        ),
    ] {
        let error = custom(&format!("kind = \"none\"\nchallenge = [{challenge}]"), &[]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(says), "{challenge}: {error}");
        assert!(error.starts_with("`challenge` 1: "), "{error}");
    }
    let extensible = "kind = \"hmac\"\nhash = \"sha256\"\nconstruction = \"prefix\"\nencoding = \"hex\"\n\
        signature = { header = \"S\" }\nmessage = [\"body\"]\n\
        challenge = [{ method = \"GET\", when = [{ at = { query = \"c\" } }], text = { hmac = { of = { query = \"c\" }, encoding = \"hex\" } } }]";
    let error = custom(extensible, &["s"]).unwrap_err().to_string();
    assert!(error.contains("keyed by HMAC"), "{error}");
}
