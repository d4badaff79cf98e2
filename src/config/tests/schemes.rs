//! Every mistake in a scheme of one's own is said, each at its key.

use super::{Machine, assert_says};

const HMAC: &str = "kind = \"hmac\"\nhash = \"sha256\"\nencoding = \"hex\"\n\
    signature = { header = \"x\" }\nmessage = [\"body\"]\n";

fn problems(scheme: &str) -> Vec<String> {
    let toml = format!(
        "[topics.o]\naccess = \"public\"\nsecrets = [\"0123456789abcdef\"]\n[topics.o.scheme]\n{scheme}"
    );
    let problems = Machine::with(&toml).diagnostics();
    let cut = |line: &String| {
        line.strip_prefix("topics.o.scheme")
            .unwrap_or(line)
            .to_owned()
    };
    problems.iter().map(cut).collect()
}

#[test]
fn six_mistakes_in_a_scheme_are_six_lines_each_with_its_own() {
    let scheme = "kind = \"hmac\"\nhash = \"sha-256\"\nencoding = \"Hex\"\n\
        signature = { header = \"X Sig\", prefx = \"v1=\" }\nmessage = [\"timestmp\", \"body\"]\n\
        timestamp = { field = \"t\", tolerance = 300 }\nrespond = { status = \"204\" }\n";
    let expected = [
        ".hash: must be one of …sha1, sha256…, not \"sha-256\"; did you mean `sha256`? (hookrill.toml:6)",
        ".encoding: must be one of hex, base64, base64url, not \"Hex\"; did you mean `hex`? (hookrill.toml:7)",
        ".signature.header: \"X Sig\" is not a header name (hookrill.toml:8)",
        ".signature.prefx: there is no such key; did you mean `prefix`? (hookrill.toml:8)",
        ".message[0]: must be one of body, …, not \"timestmp\"; did you mean `timestamp`? (hookrill.toml:9)",
        ".timestamp.tolerance: must be a duration with a unit such as \"5m\", not 300 (hookrill.toml:10)",
        ".respond.status: must be a whole number from 0 to 65535, without quotes, not \"204\" (hookrill.toml:11)",
    ];
    assert_says(&problems(scheme), &expected, scheme);
}

/// A scheme, and what its diagnostics say behind `topics.o.scheme`.
const BAD: &[(&str, &[&str])] = &[
    ("", &[".kind: must be set (hookrill.toml:4)"]),
    (
        "kind = 3",
        &[".kind: must be one of hmac, ed25519, token, none, not 3"],
    ),
    (
        "kind = [\"hmac\"]",
        &[".kind: must be one of …, not a list"],
    ),
    (
        "knd = \"hmac\"",
        &[".knd: there is no such key; did you mean `kind`?"],
    ),
    (
        "kind = \"token\"\ntoken = \"X-Token\"",
        &[".token: must be a section, such as { header = … }, not \"X-Token\""],
    ),
    (
        "kind = \"none\"\nevent_type = \"type\"",
        &[".event_type: must be a list: write it in [ ]"],
    ),
    (
        "kind = \"none\"\nevent_type = [{ jsn = \"/type\" }, { json = \"type\" }, { header = 3 }, \"json\", {}]",
        &[
            ".event_type[0].jsn: there is no such key; did you mean `json`?",
            ".event_type[1].json: \"type\" is not a JSON pointer",
            ".event_type[2].header: must be a header name, or a list of header names, not 3",
            ".event_type[3]: \"json\" needs a value: write { json = … }",
            ".event_type[4]: must have exactly one of header, json, query, form as its key",
        ],
    ),
    (
        "kind = \"none\"\nevent_type = [{ json = \"/a\", header = \"b\" }]",
        &[".event_type[0]: must have exactly one of header, json"],
    ),
    (
        "kind = \"none\"\nchallenge = [{ when = [{ equals = \"a\" }], text = { hmac = { off = 1 } } }]",
        &[
            ".challenge[0].when[0].at: must be set",
            ".challenge[0].text.hmac.off: there is no such key; did you mean `of`?",
        ],
    ),
    (
        "kind = \"hmac\"\nbody_unsigned = \"true\"\nmessage = [{ body = true }, 5]\nsecret = { bytes_min = -1 }\nsignature = { numbered = 70000 }",
        &[
            ".body_unsigned: must be true or false, without quotes, not \"true\"",
            ".message[0].body: has no value: write \"body\" alone",
            ".message[1]: must be one of body, …, not 5",
            ".secret.bytes_min: must be a whole number from 0 …, not -1",
            ".signature.numbered: must be a whole number from 0 to 65535…, not 70000",
        ],
    ),
    (
        "kind = \"none\"\nrespond = { status = 1.5, body = 1979-05-27 }",
        &[
            ".respond.status: must be a whole number…, not a number with a fraction",
            ".respond.body: must be a string in quotes, not a date",
        ],
    ),
];

#[test]
fn a_mistake_in_a_scheme_is_said_at_its_key_in_plain_words() {
    for (scheme, expected) in BAD {
        let problems = problems(scheme);
        assert_says(&problems, expected, scheme);
        for words in [
            "variant",
            "field `",
            "invalid type",
            "expected",
            "unit",
            "struct",
            "enum",
        ] {
            assert!(!problems.concat().contains(words), "{words}: {problems:#?}");
        }
    }
}

/// A scheme whose keys are good each by itself, and what its diagnostics say.
const CONTRADICTING: &[(&str, &[&str])] = &[
    (
        "kind = \"none\"\nhash = \"sha256\"\nencoding = \"hex\"\nrespond = { status = 404, content_type = \"\\n\" }",
        &[
            ".hash: `hash` does not apply to a scheme of kind \"none\"…(hookrill.toml:6)",
            ".encoding: `encoding` does not apply…(hookrill.toml:7)",
            ".respond.status: `respond` has the status 404",
            ".respond.content_type: `respond` has the content type",
            "topics.o.secrets: a scheme of kind \"none\" verifies nothing",
        ],
    ),
    (
        "kind = \"hmac\"\nmessage = [{ header = \"x\" }]",
        &[
            ".hash: a scheme of kind \"hmac\" needs `hash`",
            ".encoding: a scheme of kind \"hmac\" needs `encoding`",
            ".signature: a scheme of kind \"hmac\" needs `signature`",
            ".message: `message` does not contain \"body\"…(hookrill.toml:6)",
        ],
    ),
    (
        "kind = \"hmac\"\nhahs = \"sha256\"\nsignature = { header = \"x\", prefx = \"v1=\" }\nfoo = 1",
        &[
            ".hahs: there is no such key; did you mean `hash`? (hookrill.toml:6)",
            ".signature.prefx: there is no such key; did you mean `prefix`? (hookrill.toml:7)",
            ".foo: there is no such key (hookrill.toml:8)",
            ".encoding: a scheme of kind \"hmac\" needs `encoding`",
            ".message: a scheme of kind \"hmac\" needs `message`",
        ],
    ),
    // What only follows from a key that is misspelt is not said.
    (
        "kind = \"hmac\"\nhash = \"sha256\"\nencoding = \"hex\"\nsignature = { hedaer = \"x\" }\n\
         message = [\"timestamp\"]\ntimestmp = { field = \"t\" }\nbody_unsignd = true",
        &[
            ".signature.hedaer: there is no such key; did you mean `header`?",
            ".timestmp: there is no such key; did you mean `timestamp`?",
            ".body_unsignd: there is no such key; did you mean `body_unsigned`?",
        ],
    ),
    (
        "kind = \"token\"\nchallenge = [{ status = 500 }, { method = \"GET\", status = 200 }]",
        &[
            ".challenge[0]: `challenge` 1: its `status` is 200 to 299",
            ".challenge[1]: `challenge` 2: it answers any",
            ".token: a scheme of kind \"token\" needs `token`",
        ],
    ),
];

#[test]
fn all_that_contradicts_itself_in_a_scheme_is_said_at_once() {
    for (scheme, expected) in CONTRADICTING {
        assert_says(&problems(scheme), expected, scheme);
    }
}

#[test]
fn each_bad_secret_of_a_topic_is_said_with_its_own_number() {
    let toml = "[topics.o]\naccess = \"public\"\npreset = \"standard-webhooks\"\nsecrets = [\n\
        \"!\",\n\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\",\n\"whsec_AAAA\",\n]\n\
        verify_token = \"t\"\ntolerance = \"x\"\n";
    let expected = [
        "topics.o.secrets[0]: secret 1 is not base64…(hookrill.toml:5)",
        "topics.o.secrets[2]: secret 3 has 3 bytes…(hookrill.toml:7)",
        "topics.o.verify_token: this scheme has no handshake…(hookrill.toml:9)",
        "topics.o.tolerance: must be a duration…(hookrill.toml:10)",
    ];
    assert_says(&Machine::with(toml).diagnostics(), &expected, toml);
}

#[test]
fn a_scheme_in_the_environment_is_corrected_by_the_names_of_variables() {
    let machine = Machine::default()
        .set("HOOKRILL__TOPICS__O__ACCESS", "public")
        .set("HOOKRILL__TOPICS__O__SCHEME__KIND", "tokn")
        .set("HOOKRILL__TOPICS__O__SCHEME__TOKEN__HEADER", "X Token")
        .set("HOOKRILL__TOPICS__O__SCHEME__EVENT_TYPE__0__JSON", "type")
        .set("HOOKRILL__TOPICS__O__SCHEME__EVENT_TYPE__1", "header");
    let expected = [
        "topics.o.scheme.kind: must be one of…did you mean `token`? (environment variable HOOKRILL__TOPICS__O__SCHEME__KIND)",
        "topics.o.scheme.token.header: \"X Token\" is not…(environment variable HOOKRILL__TOPICS__O__SCHEME__TOKEN__HEADER)",
        "topics.o.scheme.event_type[0].json: \"type\" is not a JSON pointer…__JSON)",
        "topics.o.scheme.event_type[1]: \"header\" needs a value…__EVENT_TYPE__1)",
    ];
    assert_says(&machine.diagnostics(), &expected, "the environment");
}

#[test]
fn a_scheme_full_of_mistakes_takes_bounded_work() {
    let events = "{ json = 1 },".repeat(500);
    let scheme = format!("kind = \"none\"\nevent_type = [{events}]");
    let problems = problems(&scheme);
    assert_eq!(problems.len(), 101, "{problems:#?}");
    assert!(
        problems
            .iter()
            .any(|line| line.contains("there are more mistakes here"))
    );
}

#[test]
fn a_good_scheme_is_read_whatever_order_its_keys_have() {
    let access = "access = \"public\"\nsecrets = [\"0123456789abcdef\"]\n";
    let toml = format!("[topics.o]\n{access}[topics.o.scheme]\n{HMAC}");
    assert_eq!(Machine::with(&toml).diagnostics(), [""; 0]);
}
