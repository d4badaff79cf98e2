//! What is wrong is said all at once, each with its place and its writer, and
//! no secret with it.

use super::{Machine, usable::least};

/// A configuration, and how its only problem begins.
#[track_caller]
fn refused(toml: &str, beginning: &str) {
    let problems = Machine::with(toml).diagnostics();
    match &problems[..] {
        [problem] if problem.starts_with(beginning) => {}
        _ => panic!("expected {beginning:?} of\n{toml}\nand got {problems:#?}"),
    }
}

#[test]
fn a_bad_value_is_refused_at_its_place() {
    for (section, line, beginning) in [
        (
            "server",
            "listen = \"localhost\"",
            "server.listen: \"localhost\" is not an address and a port",
        ),
        (
            "server",
            "listen = 8080",
            "server.listen: 8080 is no string",
        ),
        (
            "server",
            "public_url = \"hooks.example.com\"",
            "server.public_url: \"hooks.example.com\" is not a URL",
        ),
        (
            "server",
            "public_url = \"ftp://a\"",
            "server.public_url: \"ftp://a\" is not a URL",
        ),
        (
            "server",
            "public_url = \"https://u:p@a\"",
            "server.public_url: ",
        ),
        (
            "server",
            "public_url = \"https://a?b\"",
            "server.public_url: ",
        ),
        (
            "server",
            "public_url = \"https://a:x\"",
            "server.public_url: ",
        ),
        ("server", "public_url = \"https://\"", "server.public_url: "),
        (
            "server",
            "body_bytes_max = 0",
            "server.body_bytes_max: 0 is out of range: 1.0 KiB to 64.0 MiB",
        ),
        (
            "server",
            "body_bytes_max = \"1 GiB\"",
            "server.body_bytes_max: \"1 GiB\" is out of range",
        ),
        (
            "server",
            "body_bytes_max = -1",
            "server.body_bytes_max: -1 is not a size",
        ),
        (
            "server",
            "body_bytes_max = \"much\"",
            "server.body_bytes_max: \"much\" is not a size",
        ),
        (
            "server",
            "body_bytes_max = 1.5",
            "server.body_bytes_max: a fraction is no string",
        ),
        (
            "server",
            "subscribers_max = 0",
            "server.subscribers_max: 0 is out of range: 1 to 10000000",
        ),
        (
            "server",
            "subscribers_max = -1",
            "server.subscribers_max: -1 is not a whole number",
        ),
        (
            "server",
            "subscribers_max = \"9\"",
            "server.subscribers_max: \"9\" is not a whole number, without quotes",
        ),
        (
            "server",
            "shutdown_delay = \"2h\"",
            "server.shutdown_delay: \"2h\" is out of range: 0s to 1h",
        ),
        (
            "server",
            "shutdown_delay = 5",
            "server.shutdown_delay: 5 is no string",
        ),
        (
            "server",
            "shutdown_grace = \"0s\"",
            "server.shutdown_grace: \"0s\" is out of range: 100ms to 1h",
        ),
        (
            "server",
            "shutdown_grace = \"10\"",
            "server.shutdown_grace: \"10\" is not a duration with a unit",
        ),
        (
            "server",
            "metrics_public = \"yes\"",
            "server.metrics_public: \"yes\" is neither true nor false",
        ),
        (
            "server",
            "trusted_proxies = [\"::/0\", \"10.0.0.0/33\"]",
            "server.trusted_proxies[1]: \"10.0.0.0/33\"",
        ),
        (
            "server",
            "trusted_proxies = \"10.0.0.1\"",
            "server.trusted_proxies: this is a list: write it in [ ]",
        ),
        (
            "server",
            "cors_origins = [\"https://a/\"]",
            "server.cors_origins[0]: \"https://a/\" is not an origin",
        ),
        (
            "server",
            "cors_origins = [\"a.example\"]",
            "server.cors_origins[0]: ",
        ),
        (
            "server",
            "cors_origins = [\"https://a:443\"]",
            "server.cors_origins[0]: \"https://a:443\" is not what a browser sends",
        ),
        (
            "server",
            "cors_origins = [\"https://*.a\", \"null\"]",
            "server.cors_origins[1]: ",
        ),
        (
            "server",
            "admin_token = \"short\"",
            "server.admin_token: this has 5 bytes and needs at least 16",
        ),
        (
            "server",
            "admin_token = \"with space and more\"",
            "server.admin_token: this has characters",
        ),
        (
            "server",
            "admin_token = 17",
            "server.admin_token: a secret is a string",
        ),
        (
            "journal",
            "kind = \"nats\"",
            "journal.kind: the nats journal is not built yet",
        ),
        (
            "journal",
            "kind = \"tape\"",
            "journal.kind: this is no journal",
        ),
        ("journal", "path = \"\"", "journal.path: this is empty"),
        (
            "journal",
            "retain_age = \"0s\"",
            "journal.retain_age: \"0s\" is out of range: 1s to 99years",
        ),
        (
            "journal",
            "retain_bytes = 3",
            "journal.retain_bytes: 3 is out of range",
        ),
        (
            "journal",
            "disk_reserve = 0",
            "journal.disk_reserve: 0 is out of range: 128.0 MiB to 1.0 TiB",
        ),
        (
            "journal",
            "dedup_entries_max = 0",
            "journal.dedup_entries_max: 0 is out of range",
        ),
        (
            "subscribe",
            "heartbeat = \"1ms\"",
            "subscribe.heartbeat: \"1ms\" is out of range: 1s to 10m",
        ),
        (
            "subscribe",
            "retry = \"1h\"",
            "subscribe.retry: \"1h\" is out of range",
        ),
        (
            "access",
            "leeway = \"1d\"",
            "access.leeway: \"1d\" is out of range: 0s to 10m",
        ),
        (
            "access",
            "secret = \"short\"",
            "access.secret: this has 5 bytes and needs at least 32; make one with: openssl rand -hex 32",
        ),
        (
            "access",
            "secret = \" \"",
            "access.secret: this secret is empty",
        ),
        (
            "access",
            "token_ttl_max = \"1s\"",
            "access.token_ttl_max: \"1s\" is out of range: 1m to",
        ),
        (
            "log",
            "level = \"loud\"",
            "log.level: \"loud\" is not a log filter",
        ),
        ("log", "level = \"a=b=c\"", "log.level: "),
        (
            "log",
            "format = \"xml\"",
            "log.format: \"xml\" is not \"text\" or \"json\"",
        ),
        (
            "log",
            "format = 1979-05-27",
            "log.format: a date is no string",
        ),
    ] {
        refused(&least(&format!("[{section}]\n{line}")), beginning);
    }
}

#[test]
fn a_topic_says_who_may_send_to_it_and_who_may_read() {
    for (toml, beginning) in [
        (
            "[topics.a]\naccess = \"public\"",
            "topics.a.preset: nothing says how",
        ),
        (
            "[topics.a]\naccess = \"private\"\nscheme = { kind = \"none\" }",
            "topics.a.access: \"private\" is not \"public\" or \"token\"",
        ),
        (
            "[topics.a]\naccess = \"public\"\npreset = \"githbu\"\nsecrets = [\"s\"]",
            "topics.a.preset: there is no preset of this name; did you mean \"github\"? `hookrill presets` lists them",
        ),
        (
            "[topics.a]\naccess = \"public\"\npreset = \"github\"\nsecrets = [\"s\"]\nscheme = {}",
            "topics.a.scheme: a topic has a preset or a scheme",
        ),
        (
            "[topics.a]\naccess = \"public\"\npreset = \"github\"",
            "topics.a.secrets: no secret is configured",
        ),
        (
            "[topics.a]\naccess = \"public\"\npreset = \"github\"\nsecrets = []",
            "topics.a.secrets: no secret is configured",
        ),
        (
            "[topics.a]\naccess = \"public\"\npreset = \"github\"\nsecrets = [\"\"]",
            "topics.a.secrets[0]: this secret is empty",
        ),
        (
            "[topics.a]\naccess = \"public\"\npreset = \"github\"\nsecrets = [\"s\", \"\"]",
            "topics.a.secrets[1]: this secret is empty",
        ),
        (
            "[topics.a]\naccess = \"public\"\npreset = \"standard-webhooks\"\nsecrets = [\"whsec_AAAA\", \"!\"]",
            "topics.a.secrets[1]: secret 2 is not base64",
        ),
        (
            "[topics.a]\naccess = \"public\"\nsecrets = [\"s\"]\nscheme = { kind = \"none\" }",
            "topics.a.secrets: a scheme of kind \"none\" verifies nothing",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"hmca\" }",
            "topics.a.scheme.kind: unknown variant `hmca`",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\", hahs = \"sha256\" }",
            "topics.a.scheme.hahs: unknown field `hahs`",
        ),
        (
            "[topics.a]\naccess = \"public\"\nsecrets = [\"s\"]\nscheme = { kind = \"hmac\" }",
            "topics.a.scheme: a scheme of kind \"hmac\" needs `hash`",
        ),
        (
            "[topics.a]\naccess = \"public\"\nsecrets = [\"s\"]\nscheme = { kind = \"hmac\", message = [\"body\", \"bodi\"] }",
            "topics.a.scheme.message[1]: unknown variant",
        ),
        (
            "[topics.a]\naccess = \"public\"\nsecrets = [\"s\"]\nscheme = { kind = \"hmac\", hash = \"sha1\", encoding = \"hex\", signature = { header = \"x\" }, message = [\"body\", \"url\"] }",
            "topics.a.scheme: this scheme signs the URL that the sender was given; set server.public_url",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\ndedup = \"0s\"",
            "topics.a.dedup: \"0s\" is out of range: 1s to 30days is allowed; \"off\" takes",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\ntolerance = \"2d\"",
            "topics.a.tolerance: \"2d\" is out of range: 1s to 1day",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nevent_names = 1",
            "topics.a.event_names: 1 is neither",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nexpose = [\"a\"]",
            "topics.a.expose[0]: \"a\" is not a JSON pointer: it starts with a slash",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\", event_type = [{ json = \"/type\" }] }\nexpose = [\"/id\"]",
            "topics.a.expose: the event's type is taken from /type, which would go out",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\", event_type = [{ json = \"/e/type\" }] }\nhide = [\"/*/type\"]",
            "topics.a.hide: the event's type is taken from /e/type, which would go out",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nheaders = [\"X Y\"]",
            "topics.a.headers[0]: \"X Y\": this is no name of a header",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nheaders = [\"Time\"]",
            "topics.a.headers[0]: \"Time\": its attribute would be `time`, which every event has",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nheaders = [\"X-Api-Key\"]",
            "topics.a.headers[0]: a header of such a name may be a secret, and is never kept",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nheaders = [\"X-A-B\", \"Xa-b\"]",
            "topics.a.headers[1]: its attribute would be `xab`, as that of x-a-b",
        ),
        (
            "[topics.\"a b\"]\naccess = \"public\"\nscheme = { kind = \"none\" }",
            "topics.\"a b\": a topic has only",
        ),
        (
            "[topics.\"a..b\"]\naccess = \"public\"\nscheme = { kind = \"none\" }",
            "topics.\"a..b\": a topic has no empty segment",
        ),
        (
            "[topics.a]\nscheme = { kind = \"none\" }\n[topics.\"*\"]\nscheme = { kind = \"none\" }",
            "access.secret: a, \"*\" can be read with a token only, and nothing signs tokens",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\ndedup = \"off\"\ndedup_by = \"body\"",
            "topics.a.dedup_by: dedup is off, so nothing is recognised",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\ndedup_by = \"hash\"",
            "topics.a.dedup_by: \"hash\" is not \"id\" or \"body\"",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nverify_token = \"w\"",
            "topics.a.verify_token: this scheme has no handshake with a `verify_token`",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\", challenge = [{ method = \"GET\", verify_token = { query = \"t\" }, text = { echo = { query = \"c\" } } }] }",
            "topics.a.verify_token: this scheme's handshake needs the word",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\", challenge = [{ method = \"PUT\" }] }",
            "topics.a.scheme.challenge[0].method: unknown variant `PUT`",
        ),
        (
            "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\", challenge = [{ status = 200 }] }",
            "topics.a.scheme: `challenge` 1: every delivery would be taken for a handshake",
        ),
        (
            "[topics.a]\naccess = \"public\"\nsecrets = [\"00\"]\nscheme = { kind = \"ed25519\", encoding = \"hex\", secret = { encoding = \"hex\" }, signature = { header = \"x\" }, message = [\"body\"] }",
            "topics.a.secrets[0]: secret 1 is not an Ed25519 public key",
        ),
        (
            "[topics.\"*\"]\naccess = \"public\"\nscheme = { kind = \"hmac\", hash = \"sha256\", encoding = \"hex\", signature = { header = \"x\" }, message = [\"body\"], hand_over = { at = { header = \"y\" } } }",
            "topics.\"*\".preset: the provider hands over its secret here",
        ),
        ("topics = 3", "topics: this is a section"),
    ] {
        refused(toml, beginning);
    }
}

#[test]
fn an_issuer_leaves_no_question_open() {
    const SECRET: &str = "secret = \"0123456789abcdef0123456789abcdef\"";
    const URL: &str = "jwks_url = \"https://id.example.com/jwks\"\naudience = \"hookrill\"";
    let key = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----";
    for (above, issuers, beginning) in [
        (
            "",
            &["issuer = \"a\""][..],
            "access.issuers[0]: an issuer has exactly one of",
        ),
        (
            "",
            &[&*format!("{SECRET}\n{URL}")],
            "access.issuers[0]: an issuer has exactly one of",
        ),
        (
            "",
            &["jwks_url = \"https://id.example.com/jwks\""],
            "access.issuers[0].audience: write what `aud` is",
        ),
        (
            "",
            &["audience = []\njwks_url = \"https://id.example.com/jwks\""],
            "access.issuers[0].audience: this names nobody",
        ),
        (
            "",
            &["audience = \"a\"\njwks_url = \"http://id.example.com/jwks\""],
            "access.issuers[0].jwks_url: \"http://id.example.com/jwks\" is not an https URL",
        ),
        (
            "",
            &["audience = \"a\"\njwks_url = \"https://u:p@id.example.com\""],
            "access.issuers[0].jwks_url: ",
        ),
        (
            "",
            &["audience = \"a\"\npublic_key = \"nothing\""],
            "access.issuers[0].public_key: this is not a PEM public key",
        ),
        (
            "",
            &[&*format!(
                "audience = \"a\"\npublic_key = \"\"\"{key}\"\"\""
            )],
            "access.issuers[0].public_key: this is not a PEM public key",
        ),
        (
            "",
            &["audience = \"a\"\npublic_key = \"-----BEGIN PRIVATE KEY-----\""],
            "access.issuers[0].public_key: this is a private key",
        ),
        (
            "",
            &["secret = \"short\""],
            "access.issuers[0].secret: this has 5 bytes",
        ),
        (
            SECRET,
            &[URL],
            "access.issuers[0].issuer: with several that sign",
        ),
        (
            "",
            &[URL, &*format!("issuer = \"b\"\n{SECRET}")],
            "access.issuers[0].issuer: with",
        ),
        (
            "",
            &[
                &*format!("issuer = \"a\"\n{URL}"),
                &*format!("issuer = \"a\"\n{SECRET}"),
            ],
            "access.issuers[1].issuer: another issuer has this name",
        ),
        (
            "",
            &[&*format!("{URL}\ntopics = [\"orders.{{sub\"]")],
            "access.issuers[0].topics[0]: \"orders.{sub\" is not a topic with claims in it; a claim",
        ),
        (
            "",
            &[&*format!("{URL}\ntopics = [\"a\"]\ntopics_claim = \"t\"")],
            "access.issuers[0].topics_claim: topics come from a claim or are built",
        ),
        (
            "",
            &[&*format!("{URL}\ntopics = []")],
            "access.issuers[0].topics: this is a list of 1",
        ),
        (
            "",
            &[&*format!("{URL}\njwks = \"x\"")],
            "access.issuers[0].jwks: there is no such key; did you mean `jwks_url`?",
        ),
        ("issuers = 3", &[], "access.issuers: these are sections"),
    ] {
        let sections = issuers
            .iter()
            .map(|issuer| format!("[[access.issuers]]\n{issuer}\n"));
        let sections: String = sections.collect();
        let none = "[topics.a]\nscheme = { kind = \"none\" }";
        refused(&format!("[access]\n{above}\n{sections}{none}"), beginning);
    }
}

#[test]
fn a_topic_that_needs_a_token_is_not_below_one_that_is_public() {
    let none = "scheme = { kind = \"none\" }\n";
    let check = |topics: &[(&str, &str)], refused: Option<&str>| {
        let mut toml = "[access]\nsecret = \"0123456789abcdef0123456789abcdef\"\n".to_owned();
        for (name, access) in topics {
            toml += &format!("[topics.\"{name}\"]\naccess = \"{access}\"\n{none}");
        }
        let problems = Machine::with(&toml).diagnostics();
        match (&problems[..], refused) {
            ([], None) => {}
            ([problem], Some(beginning)) if problem.starts_with(beginning) => {}
            _ => panic!("{topics:?}: {problems:#?}"),
        }
    };
    let refused = Some("topics.\"a.b\".access: this topic needs a token, and `a` above it");
    check(&[("a", "public"), ("a.b", "token")], refused);
    check(&[("a", "token"), ("a.b", "public")], None);
    check(&[("a", "public"), ("ab", "token")], None);
    // Nobody wrote `a`, and yet it is public, through "*".
    check(&[("*", "public"), ("a.b", "token")], refused);
    check(&[("*", "public"), ("a", "token")], None);
    check(&[("*", "token"), ("a.b", "token")], None);
    let deeper = Some("topics.\"a.b.c\".access: this topic needs a token, and `a.b` above it");
    check(&[("a", "public"), ("a.b.c", "token")], deeper);
}

#[test]
fn an_unknown_key_is_an_error_with_the_nearest_known_one() {
    for (toml, problem) in [
        (
            "[server]\nlisten_ = \"x\"",
            "server.listen_: there is no such key; did you mean `listen`? (hookrill.toml:2)",
        ),
        (
            "[serve]\na = 1",
            "serve: there is no such key; did you mean `server`? (hookrill.toml:1)",
        ),
        ("zebra = 1", "zebra: there is no such key (hookrill.toml:1)"),
        (
            "[server]\n\"a\\u0007b\" = 1",
            "server.\"a\\u{7}b\": there is no such key (hookrill.toml:2)",
        ),
    ] {
        assert_eq!(Machine::with(&least(toml)).diagnostics(), [problem]);
    }
    let toml = least("");
    for (name, problem) in [
        (
            "HOOKRILL__SERVER__LISEN",
            "server.lisen: there is no such key; did you mean HOOKRILL__SERVER__LISTEN? (environment variable HOOKRILL__SERVER__LISEN)",
        ),
        (
            "HOOKRILL__SERVR__LISTEN",
            "servr: there is no such key; did you mean HOOKRILL__SERVER? (environment variable HOOKRILL__SERVR__LISTEN)",
        ),
        (
            "HOOKRILL__",
            "a key is words with `__` between them, such as HOOKRILL__SERVER__LISTEN (environment variable HOOKRILL__)",
        ),
        (
            "HOOKRILL__A____B",
            "a key is words with `__` between them, such as HOOKRILL__SERVER__LISTEN (environment variable HOOKRILL__A____B)",
        ),
    ] {
        assert_eq!(
            Machine::with(&toml).set(name, "secret").diagnostics(),
            [problem]
        );
    }
}

/// What was meant to be shown is no pointer, so nothing says that it is hidden.
#[test]
fn a_mistake_in_what_is_shown_has_no_second_message() {
    let toml = "[topics.a]\naccess = \"public\"\nexpose = [\"type\"]\n\
                scheme = { kind = \"none\", event_type = [{ json = \"/type\" }] }";
    let problems = Machine::with(toml).diagnostics();
    let [only] = problems.as_slice() else {
        panic!("{problems:#?}");
    };
    assert!(only.starts_with("topics.a.expose[0]: "), "{only}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once_in_its_place() {
    let toml = r#"
        [server]
        listen = "nowhere"
        zebra = 1
        [journal]
        kind = "nats"
        [access]
        secret = "file:/run/secrets/none"
        [topics.github]
        preset = "github"
        secrets = ["env:UNSET", "env:EMPTY", "fine"]
        [topics.orders]
        access = "open"
    "#;
    let machine = Machine::with(toml)
        .set("EMPTY", "")
        .set("PORT", "http")
        .set("HOOKRILL__SUBSCRIBE__RETRY", "never");
    let places: Vec<_> = machine
        .load()
        .unwrap_err()
        .diagnostics
        .into_iter()
        .map(|problem| format!("{} ({})", problem.path.as_str(), problem.location))
        .collect();
    let expected = [
        "access.secret (hookrill.toml:8)",
        "topics.github.secrets[0] (hookrill.toml:11)",
        "topics.github.secrets[1] (hookrill.toml:11)",
        "server.listen (hookrill.toml:3)",
        "server.listen (environment variable PORT)",
        "server.zebra (hookrill.toml:4)",
        "journal.kind (hookrill.toml:6)",
        "subscribe.retry (environment variable HOOKRILL__SUBSCRIBE__RETRY)",
        "topics.orders.access (hookrill.toml:13)",
        "topics.orders.preset (hookrill.toml:12)",
    ];
    assert_eq!(places, expected);
}

#[test]
fn what_is_not_toml_is_said_without_quoting_it() {
    let problems = Machine::with("[server]\nadmin_token = \"hunter2\nlisten = = 1\n").diagnostics();
    assert!(
        problems[0].starts_with("this is not TOML: "),
        "{problems:?}"
    );
    assert!(problems[0].ends_with("(hookrill.toml:2)"), "{problems:?}");
    assert!(problems[1].ends_with("(hookrill.toml:3)"), "{problems:?}");
    assert!(!problems.concat().contains("hunter2"), "{problems:?}");
}

#[test]
fn no_error_shows_a_secret() {
    // Secrets where they belong and where they do not.
    let toml = r#"
        [server]
        listen = "env:S"
        public_url = "env:S"
        body_bytes_max = "env:S"
        subscribers_max = "env:S"
        shutdown_grace = "env:S"
        trusted_proxies = ["env:S"]
        cors_origins = ["env:S"]
        metrics_public = "env:S"
        admin_token = "hunter2"
        [journal]
        kind = "env:S"
        [access]
        secret = "hunter2"
        [log]
        level = "env:S"
        format = "file:s"
        [topics.a]
        preset = "env:S"
        secrets = [["hunter2"], "env:S"]
        access = "env:S"
        dedup = "env:S"
        [topics.b]
        preset = "standard-webhooks"
        secrets = ["hunter2!"]
        [topics.c]
        secrets = ["s"]
        scheme = { kind = "env:S" }
        [topics.d]
        secrets = ["s"]
        scheme = { kind = "hmac", signature = { header = "env:S" } }
    "#;
    let machine = Machine::with(toml)
        .set("S", "hunter2=a=b")
        .file("s", "hunter2");
    let error = machine.load().unwrap_err();
    assert_eq!(error.diagnostics.len(), 20, "{error}");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
