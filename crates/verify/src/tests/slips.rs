//! The usual slips are found out, and named without what they are about.

use data_encoding::{BASE64, HEXLOWER};

use super::*;

/// A key of 24 bytes, and its text as providers write it.
const KEY: &[u8] = b"0123456789abcdefghijklmn";

/// A delivery of GitHub's, signed with these bytes over this body.
fn signed(key: &[u8], body: &str) -> Delivery {
    let verifier = Verifier::new(
        preset("github").unwrap().scheme,
        Settings {
            secrets: vec![Secret::new(key)],
            ..Settings::default()
        },
    );
    let mut delivery = post(body, &[]);
    let signed = verifier.unwrap().sign(&delivery, None, "", at(SIGNED_AT));
    delivery.headers.extend(signed.unwrap().headers);
    delivery
}

fn hint(verifier: &Verifier, delivery: &Delivery) -> String {
    verifier.explain(delivery, at(SIGNED_AT)).hint.unwrap()
}

#[test]
fn another_form_of_the_secret_is_named_and_not_shown() {
    let base64 = BASE64.encode(KEY);
    let (whsec, hex) = (format!("whsec_{base64}"), HEXLOWER.encode(KEY));
    let text = "hunter2hunter2hunter2";
    for (configured, sender, expected) in [
        (
            format!(" {text}\t"),
            text.as_bytes(),
            "without the white space around",
        ),
        (format!("\"{text}\""), text.as_bytes(), "without the quotes"),
        (format!("whsec_{text}"), text.as_bytes(), "without `whsec_`"),
        (base64.clone(), KEY, "decoded from base64"),
        (whsec.clone(), KEY, "decoded from base64"),
        (format!("'{whsec}'\n"), KEY, "decoded from base64"),
        (hex.clone(), KEY, "decoded from hex"),
        (
            text.to_owned(),
            b"hunter2hunter2hunter2\n",
            "a line feed at the end of the secret",
        ),
        (text.to_owned(), b"\"hunter2hunter2hunter2\"", "in quotes"),
        (
            text.to_owned(),
            b"whsec_hunter2hunter2hunter2",
            "`whsec_` in front",
        ),
    ] {
        let verifier = by_preset("github", &[&configured]);
        let found = hint(&verifier, &signed(sender, "{}"));
        assert!(
            found.starts_with("it matches ") && found.contains(expected),
            "{found}"
        );
        for part in ["hunter2", &base64, &hex] {
            assert!(!found.contains(part), "{found}");
        }
    }
    // The other way round: a scheme that decodes, and a sender that does not.
    let decoding = "kind = \"hmac\"\nhash = \"sha256\"\nencoding = \"hex\"\nmessage = [\"body\"]\n\
        signature = { header = \"x-hub-signature-256\", prefix = \"sha256=\" }\n";
    for (form, configured, sender) in [
        (
            "{ encoding = \"base64\", prefix = \"whsec_\" }",
            &whsec,
            &whsec,
        ),
        (
            "{ encoding = \"base64\", prefix = \"whsec_\" }",
            &whsec,
            &base64,
        ),
        ("{ encoding = \"hex\" }", &hex, &hex),
    ] {
        let verifier = custom(&format!("{decoding}secret = {form}"), &[configured]).unwrap();
        let found = hint(&verifier, &signed(sender.as_bytes(), "{}"));
        assert!(found.contains("as it is written"), "{found}");
    }
}

#[test]
fn the_secret_that_would_match_is_named_by_its_number() {
    let verifier = by_preset("github", &["another", " second "]);
    let found = hint(&verifier, &signed(b"second", "{}"));
    assert_eq!(
        found,
        "secret 2 matches without the white space around the secret"
    );
    let token = by_preset("gitlab", &["\"hunter2\""]);
    let of_token = hint(&token, &post("{}", &[("x-gitlab-token", "hunter2")]));
    assert_eq!(of_token, "it matches without the quotes around the secret");
}

#[test]
fn another_form_of_the_body_is_named() {
    let json = "{\"a\": [1, 2.0], \"b\": \"x / y\"}";
    for (sent, captured, expected) in [
        ("a", "a\n", "without the last line feed"),
        ("a", "a\r\n", "without the last line feed"),
        ("a\n", "a", "a line feed at the end"),
        ("a\r\nb\r\n", "a\nb\n", "CRLF at the ends of lines"),
        ("a\nb", "a\r\nb", "LF at the ends of lines"),
        ("{\"a\":[1,2.0],\"b\":\"x / y\"}", json, "no blanks"),
        (
            json,
            "{ \"a\":[1,2.0],\n  \"b\":\"x / y\" }",
            "a blank behind each colon and comma",
        ),
        (
            "{\"a\": [1, 2.0], \"b\": \"x \\/ y\"}",
            json,
            "slashes in the JSON are escaped",
        ),
        (
            json,
            "{\"a\": [1, 2.0], \"b\": \"x \\/ y\"}",
            "slashes in the JSON are not escaped",
        ),
    ] {
        let mut delivery = signed(b"hush", sent);
        delivery.body = Bytes::copy_from_slice(captured.as_bytes());
        let found = hint(&by_preset("github", &["hush"]), &delivery);
        assert!(found.contains(expected), "{sent} {captured}: {found}");
    }
}

#[test]
fn two_slips_at_once_are_named_together() {
    let mut delivery = signed(b"hush", "{}");
    delivery.body = "{}\n".into();
    let found = hint(&by_preset("github", &["\"hush\""]), &delivery);
    assert!(found.contains("without the quotes around the secret, and without the last line"));
}

/// The URL that was signed in two parts, the one that is configured, and the hint.
const URLS: [([&str; 2], [&str; 2], &str); 9] = [
    (
        ["https://a.example", "/x"],
        ["http://a.example", "/x"],
        "it matches with https:// in",
    ),
    (
        ["http://a.example", "/x"],
        ["https://a.example", "/x"],
        "it matches with http:// in",
    ),
    (
        ["https://a.example:443", "/x"],
        ["https://a.example", "/x"],
        "the port 443",
    ),
    (
        ["https://a.example", "/x"],
        ["https://a.example:8443", "/x"],
        "without the port",
    ),
    (
        ["https://a.example", "/x"],
        ["http://a.example:8080", "/x"],
        "https:// and without the port",
    ),
    (
        ["https://a.example", "/x/"],
        ["https://a.example", "/x"],
        "a slash at the end",
    ),
    (
        ["https://a.example", "/x"],
        ["https://a.example", "/x?a=/"],
        "without the query",
    ),
    (
        ["https://a.example", "/x?a=/"],
        ["https://a.example", "/x/?a=/"],
        "without the slash",
    ),
    (
        ["https://a.example", "/x/"],
        ["http://a.example", "/x"],
        "in the public URL, and with a slash",
    ),
];

#[test]
fn another_url_is_named() {
    let at_url = |url: &str| {
        let settings = Settings {
            public_url: Some(url.to_owned()),
            ..with(&["hush"])
        };
        Verifier::new(preset("square").unwrap().scheme, settings).unwrap()
    };
    for (signed, configured, expected) in URLS {
        let mut delivery = post("{}", &[]);
        delivery.path_and_query = signed[1].to_owned();
        let headers = at_url(signed[0]).sign(&delivery, None, "", at(SIGNED_AT));
        delivery.headers.extend(headers.unwrap().headers);
        delivery.path_and_query = configured[1].to_owned();
        let found = hint(&at_url(configured[0]), &delivery);
        assert!(
            found.contains(expected),
            "{signed:?} {configured:?}: {found}"
        );
    }
}

#[test]
fn a_header_of_another_preset_is_named_with_that_preset() {
    for (header, expected) in [
        ("stripe-signature", "there is stripe-signature, as stripe"),
        (
            "x-shopify-hmac-sha256",
            "there is x-shopify-hmac-sha256, as shopify",
        ),
        ("x-gitlab-token", "there is x-gitlab-token, as gitlab"),
        (
            "x-my-signature",
            "there is x-my-signature: is this the right preset or scheme?",
        ),
    ] {
        let found = hint(
            &by_preset("github", &["hush"]),
            &post("{}", &[(header, "x")]),
        );
        assert!(found.starts_with(expected), "{found}");
    }
    let found = hint(
        &by_preset("github", &["hush"]),
        &post("{}", &[("accept", "x")]),
    );
    assert!(found.contains("most providers sign only once"), "{found}");
}

#[test]
fn what_no_slip_explains_is_not_explained_by_one() {
    let verifier = by_preset("github", &["hush"]);
    for delivery in [signed(b"another", "{\"a\": 1}\n"), {
        let mut changed = signed(b"hush", "{\"a\": 1}");
        changed.body = "{\"a\": 2}".into();
        changed
    }] {
        assert!(hint(&verifier, &delivery).contains("the secret is another one"));
    }
    let mut zipped = signed(b"hush", "{}");
    zipped.body = Bytes::from_static(b"\x1f\x8b\x08\x00");
    assert!(hint(&verifier, &zipped).contains("before it was compressed"));
}
