//! What is wrong is said all at once, each with its place and its writer, and
//! no secret with it.

use super::{Machine, says, usable::least};

/// A configuration, and what its only diagnostic says.
#[track_caller]
fn refused(toml: &str, expected: &str) {
    let found = Machine::with(toml).diagnostics();
    match &found[..] {
        [diagnostic] if says(diagnostic, expected) => {}
        _ => panic!("expected {expected:?} of\n{toml}\nand got {found:#?}"),
    }
}

/// A section, a line in it, and what its diagnostic says.
const BAD_VALUES: &[(&str, &str, &str)] = &[
    (
        "server",
        "listen = \"localhost\"",
        "server.listen: must be an address and a port…, not \"localhost\"",
    ),
    (
        "server",
        "listen = 8080",
        "server.listen: must be …, not 8080",
    ),
    (
        "server",
        "public_url = \"hooks.example.com\"",
        "server.public_url: must be a URL…, not \"hooks.example.com\"",
    ),
    (
        "server",
        "public_url = \"ftp://a\"",
        "server.public_url: must be a URL…, not \"ftp://a\"",
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
        "server.body_bytes_max: must be between 1.0 KiB and 64.0 MiB…, not 0",
    ),
    (
        "server",
        "body_bytes_max = \"1 GiB\"",
        "server.body_bytes_max: must be between …, not \"1 GiB\"",
    ),
    (
        "server",
        "body_bytes_max = -1",
        "server.body_bytes_max: must be a size…, not -1",
    ),
    (
        "server",
        "body_bytes_max = \"much\"",
        "server.body_bytes_max: must be a size…, not \"much\"",
    ),
    (
        "server",
        "body_bytes_max = 1.5",
        "server.body_bytes_max: must be …, not a number with a fraction",
    ),
    (
        "server",
        "subscribers_max = 0",
        "server.subscribers_max: must be between 1 and 10000000…, not 0",
    ),
    (
        "server",
        "subscribers_max = -1",
        "server.subscribers_max: must be a whole number…, not -1",
    ),
    (
        "server",
        "subscribers_max = \"9\"",
        "server.subscribers_max: must be a whole number, without quotes…, not \"9\"",
    ),
    (
        "server",
        "shutdown_delay = \"2h\"",
        "server.shutdown_delay: must be between 0s and 1h…, not \"2h\"",
    ),
    (
        "server",
        "shutdown_delay = 5",
        "server.shutdown_delay: must be …, not 5",
    ),
    (
        "server",
        "shutdown_grace = \"0s\"",
        "server.shutdown_grace: must be between 100ms and 1h…, not \"0s\"",
    ),
    (
        "server",
        "shutdown_grace = \"10\"",
        "server.shutdown_grace: must be a duration with a unit…, not \"10\"",
    ),
    (
        "server",
        "metrics_public = \"yes\"",
        "server.metrics_public: must be true or false…, not \"yes\"",
    ),
    (
        "server",
        "trusted_proxies = [\"::/0\", \"10.0.0.0/33\"]",
        "server.trusted_proxies[1]: must be an address or a network…, not \"10.0.0.0/33\"",
    ),
    (
        "server",
        "trusted_proxies = \"10.0.0.1\"",
        "server.trusted_proxies: must be a list: write it in [ ]",
    ),
    (
        "server",
        "cors_origins = [\"https://a/\"]",
        "server.cors_origins[0]: must be an origin…, not \"https://a/\"",
    ),
    (
        "server",
        "cors_origins = [\"a.example\"]",
        "server.cors_origins[0]: ",
    ),
    (
        "server",
        "cors_origins = [\"https://a:443\"]",
        "server.cors_origins[0]: must not contain the default port",
    ),
    (
        "server",
        "cors_origins = [\"https://*.a.example\", \"null\"]",
        "server.cors_origins[1]: ",
    ),
    (
        "server",
        "cors_origins = [\"https://*.com\"]",
        "server.cors_origins[0]: `*` in a host stands for all subdomains",
    ),
    (
        "server",
        "cors_origins = [\"https://a.example:*\"]",
        "server.cors_origins[0]: `*` as a port is for localhost",
    ),
    (
        "server",
        "cors_headers = [\"x-tenant\", \"*\"]",
        "server.cors_headers[1]: must name each header",
    ),
    (
        "server",
        "cors_headers = [\"x tenant\"]",
        "server.cors_headers[0]: must be the name of a header…, not \"x tenant\"",
    ),
    (
        "server",
        "admin_token = \"short\"",
        "server.admin_token: must have at least 16 bytes, not 5",
    ),
    (
        "server",
        "admin_token = \"with space and more\"",
        "server.admin_token: must consist of printable ASCII",
    ),
    (
        "server",
        "admin_token = 17",
        "server.admin_token: must be a string in quotes",
    ),
    (
        "journal",
        "kind = \"nats\"",
        "journal.kind: \"nats\" is not supported yet",
    ),
    (
        "journal",
        "kind = \"tape\"",
        "journal.kind: must be \"disk\" or \"memory\"",
    ),
    ("journal", "path = \"\"", "journal.path: must not be empty"),
    (
        "journal",
        "retain_age = \"0s\"",
        "journal.retain_age: must be between 1s and 36500d…, not \"0s\"",
    ),
    (
        "journal",
        "retain_bytes = 3",
        "journal.retain_bytes: must be between …, not 3",
    ),
    (
        "journal",
        "disk_reserve = 0",
        "journal.disk_reserve: must be between 128.0 MiB and 1.0 TiB…, not 0",
    ),
    (
        "journal",
        "commit_stall_max = \"0s\"",
        "journal.commit_stall_max: must be between 1s and 10m…, not \"0s\"",
    ),
    (
        "journal",
        "dedup_entries_max = 0",
        "journal.dedup_entries_max: must be between …, not 0",
    ),
    (
        "subscribe",
        "heartbeat = \"1ms\"",
        "subscribe.heartbeat: must be between 1s and 10m…, not \"1ms\"",
    ),
    (
        "subscribe",
        "dead_peer_max = \"1s\"",
        "subscribe.dead_peer_max: must be between 5s and 1h…, not \"1s\"",
    ),
    (
        "subscribe",
        "stream_age_max = \"0s\"",
        "subscribe.stream_age_max: must be between 1s and 365d…, not \"0s\"",
    ),
    (
        "subscribe",
        "compression = \"gzip\"",
        "subscribe.compression: must be \"browsers\", \"accept\" or \"off\", not \"gzip\"",
    ),
    (
        "subscribe",
        "retry = \"1h\"",
        "subscribe.retry: must be between …, not \"1h\"",
    ),
    (
        "access",
        "leeway = \"1d\"",
        "access.leeway: must be between 0s and 10m…, not \"1d\"",
    ),
    (
        "access",
        "secret = \"short\"",
        "access.secret: must have at least 32 bytes, not 5; create one with: openssl rand -hex 32",
    ),
    (
        "access",
        "secret = \" \"",
        "access.secret: must not be empty; write the secret",
    ),
    (
        "access",
        "token_ttl_max = \"1s\"",
        "access.token_ttl_max: must be between 1m and 3650d, not \"1s\"",
    ),
    (
        "log",
        "level = \"loud\"",
        "log.level: must be a log filter…, not \"loud\"",
    ),
    ("log", "level = \"a=b=c\"", "log.level: "),
    (
        "log",
        "format = \"xml\"",
        "log.format: must be \"text\" or \"json\"…, not \"xml\"",
    ),
    (
        "log",
        "format = 1979-05-27",
        "log.format: must be …, not a date",
    ),
];

#[test]
fn a_bad_value_is_refused_at_its_key() {
    for (section, line, expected) in BAD_VALUES {
        refused(&least(&format!("[{section}]\n{line}")), expected);
    }
}

/// Sections of topics, and what their diagnostic says.
const BAD_TOPICS: &[(&str, &str)] = &[
    (
        "[topics.a]\naccess = \"public\"",
        "topics.a.preset: must be set, since nothing else says how",
    ),
    (
        "[topics.a]\naccess = \"private\"\nscheme = { kind = \"none\" }",
        "topics.a.access: must be \"public\" or \"token\"…, not \"private\"",
    ),
    (
        "[topics.a]\naccess = \"public\"\npreset = \"githbu\"\nsecrets = [\"s\"]",
        "topics.a.preset: there is no such preset; did you mean `github`? (`hookrill presets` lists all)",
    ),
    (
        "[topics.a]\naccess = \"public\"\npreset = \"GitHub\"\nsecrets = [\"s\"]",
        "topics.a.preset: there is no such preset; did you mean `github`?",
    ),
    (
        "[topics.a]\naccess = \"public\"\npreset = \"github\"\nsecrets = [\"s\"]\nscheme = {}",
        "topics.a.scheme: must not be set together with `preset`",
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
        "topics.a.secrets[0]: must not be empty; write the secret",
    ),
    (
        "[topics.a]\naccess = \"public\"\npreset = \"github\"\nsecrets = [\"s\", \"\"]",
        "topics.a.secrets[1]: must not be empty; write the secret",
    ),
    (
        "[topics.a]\naccess = \"public\"\npreset = \"standard-webhooks\"\nsecrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\", \"!\"]",
        "topics.a.secrets[1]: secret 2 is not base64",
    ),
    (
        "[topics.a]\naccess = \"public\"\npreset = \"standard-webhooks\"\nsecrets = [\"whsec_AAAA\"]",
        "topics.a.secrets[0]: secret 1 has 3 bytes once it is decoded",
    ),
    (
        "[topics.a]\naccess = \"public\"\nsecrets = [\"s\"]\nscheme = { kind = \"none\" }",
        "topics.a.secrets: a scheme of kind \"none\" verifies nothing",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"hmca\" }",
        "topics.a.scheme.kind: must be one of hmac, ed25519, token, none…, not \"hmca\"; did you mean `hmac`?",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\", hahs = \"sha256\" }",
        "topics.a.scheme.hahs: there is no such key; did you mean `hash`?",
    ),
    (
        "[topics.a]\naccess = \"public\"\nsecrets = [\"s\"]\nscheme = { kind = \"hmac\", message = [\"body\", \"bodi\"] }",
        "topics.a.scheme.message[1]: must be one of body, …, not \"bodi\"; did you mean `body`?",
    ),
    (
        "[topics.a]\naccess = \"public\"\nsecrets = [\"s\"]\nscheme = { kind = \"hmac\", hash = \"sha1\", encoding = \"hex\", signature = { header = \"x\" }, message = [\"body\", \"url\"] }",
        "topics.a.scheme: this scheme signs the URL that the provider was given; set server.public_url",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\ndedup = \"0s\"",
        "topics.a.dedup: must be between 1s and 30d…, not \"0s\"; or \"off\"",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\ntolerance = \"2d\"",
        "topics.a.tolerance: must be between 1s and 1d…, not \"2d\"",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nevent_names = 1",
        "topics.a.event_names: must be true or false…, not 1",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nexpose = [\"a\"]",
        "topics.a.expose[0]: \"a\" is not a JSON pointer: it starts with a slash",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\", event_type = [{ json = \"/type\" }] }\nexpose = [\"/id\"]",
        "topics.a.expose: the event's type is read from /type, so it would be sent",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\", event_type = [{ json = \"/e/type\" }] }\nhide = [\"/*/type\"]",
        "topics.a.hide: the event's type is read from /e/type, so it would be sent",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nheaders = [\"X Y\"]",
        "topics.a.headers[0]: \"X Y\" can't be shown: this is not the name of a header",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nheaders = [\"Time\"]",
        "topics.a.headers[0]: \"Time\" can't be shown: its CloudEvents attribute would be named `time`, which every event has",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nheaders = [\"X-Api-Key\"]",
        "topics.a.headers[0]: a header with such a name may contain a secret, and is never stored",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nheaders = [\"X-A-B\", \"Xa-b\"]",
        "topics.a.headers[1]: its attribute would be `xab`, which is that of x-a-b already",
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
        "access.secret: subscribers need a token for a, \"*\", but nothing signs tokens",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\ndedup = \"off\"\ndedup_by = \"body\"",
        "topics.a.dedup_by: must not be set together with dedup = \"off\"",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\ndedup_by = \"hash\"",
        "topics.a.dedup_by: must be \"id\" or \"body\"…, not \"hash\"",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nallow_from = [\"localhost\"]",
        "topics.a.allow_from[0]: must be an address or a network…, not \"localhost\"",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nallow_from = []",
        "topics.a.allow_from: must list at least one",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\ndecode = \"form\"",
        "topics.a.decode: must be \"auto\" or \"off\"…, not \"form\"",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nmethods = [\"post\"]",
        "topics.a.methods[0]: must be \"POST\", \"PUT\"…, not \"post\"",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nmethods = []",
        "topics.a.methods: must list at least one method",
    ),
    (
        "[topics.a]\naccess = \"public\"\npreset = \"github\"\nsecrets = [\"s\"]\nmethods = [\"GET\"]",
        "topics.a.methods: a GET has no body",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nrespond = { status = 302 }",
        "topics.a.respond.status: `respond` has the status 302: it is 200 to 299",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nrespond = { status = 200, code = 1 }",
        "topics.a.respond.code: there is no such key",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nrespond = { status = 204, body = \"x\" }",
        "topics.a.respond.body: `respond` has a body, but",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\nverify_token = \"w\"",
        "topics.a.verify_token: this scheme has no handshake with a `verify_token`",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\", challenge = [{ method = \"GET\", verify_token = { query = \"t\" }, text = { echo = { query = \"c\" } } }] }",
        "topics.a.verify_token: this scheme's handshake needs the token",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\", challenge = [{ method = \"PUT\" }] }",
        "topics.a.scheme.challenge[0].method: must be one of POST, GET, HEAD…, not \"PUT\"",
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\", challenge = [{ status = 200 }] }",
        "topics.a.scheme.challenge[0]: `challenge` 1: every delivery would be taken for a handshake",
    ),
    (
        "[topics.a]\naccess = \"public\"\nsecrets = [\"00\"]\nscheme = { kind = \"ed25519\", encoding = \"hex\", secret = { encoding = \"hex\" }, signature = { header = \"x\" }, message = [\"body\"] }",
        "topics.a.secrets[0]: secret 1 is not an Ed25519 public key",
    ),
    (
        "[topics.\"*\"]\naccess = \"public\"\nscheme = { kind = \"hmac\", hash = \"sha256\", encoding = \"hex\", signature = { header = \"x\" }, message = [\"body\"], provisioned_secret = { at = { header = \"y\" } } }",
        "topics.\"*\".preset: this provider sends its secret itself",
    ),
    ("topics = 3", "topics: must be a section"),
];

#[test]
fn a_topic_says_who_may_send_to_it_and_who_may_read() {
    for (toml, expected) in BAD_TOPICS {
        refused(toml, expected);
    }
}

/// What is in `[access]`, the issuers, and what the diagnostic says. `{SECRET}`,
/// `{URL}` and `{KEY}` stand for the texts below.
const BAD_ISSUERS: &[(&str, &[&str], &str)] = &[
    (
        "",
        &["issuer = \"a\""],
        "access.issuers[0]: an issuer must have exactly one of",
    ),
    (
        "",
        &["{SECRET}\n{URL}"],
        "access.issuers[0]: an issuer must have exactly one of",
    ),
    (
        "",
        &["jwks_url = \"https://id.example.com/jwks\""],
        "access.issuers[0].audience: must be set to the value of `aud`",
    ),
    (
        "",
        &["audience = []\njwks_url = \"https://id.example.com/jwks\""],
        "access.issuers[0].audience: must not be an empty list",
    ),
    (
        "",
        &["audience = \"a\"\njwks_url = \"http://id.example.com/jwks\""],
        "access.issuers[0].jwks_url: must be an https URL without user or fragment…, not \"http://id.example.com/jwks\"",
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
        &["audience = \"a\"\npublic_key = \"\"\"{KEY}\"\"\""],
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
        "access.issuers[0].secret: must have at least 32 bytes, not 5",
    ),
    (
        "{SECRET}",
        &["{URL}"],
        "access.issuers[0].issuer: must be set where several sign tokens",
    ),
    (
        "",
        &["{URL}", "issuer = \"b\"\n{SECRET}"],
        "access.issuers[0].issuer: must be set where several sign",
    ),
    (
        "",
        &["issuer = \"a\"\n{URL}", "issuer = \"a\"\n{SECRET}"],
        "access.issuers[1].issuer: another issuer has the same name",
    ),
    (
        "",
        &["{URL}\ntopics = [\"orders.{sub\"]"],
        "access.issuers[0].topics[0]: \"orders.{sub\" is not a topic with claims: a claim",
    ),
    (
        "",
        &["{URL}\ntopics = [\"a\"]\ntopics_claim = \"t\""],
        "access.issuers[0].topics_claim: must not be set together with `topics`",
    ),
    (
        "",
        &["{URL}\ntopics = []"],
        "access.issuers[0].topics: must be a list of 1",
    ),
    (
        "",
        &["{URL}\njwks = \"x\""],
        "access.issuers[0].jwks: there is no such key; did you mean `jwks_url`?",
    ),
    ("issuers = 3", &[], "access.issuers: must be sections"),
];

#[test]
fn an_issuer_leaves_no_question_open() {
    const SECRET: &str = "secret = \"0123456789abcdef0123456789abcdef\"";
    const URL: &str = "jwks_url = \"https://id.example.com/jwks\"\naudience = \"hookrill\"";
    const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----";
    for (above, issuers, expected) in BAD_ISSUERS {
        let sections = issuers
            .iter()
            .map(|issuer| format!("[[access.issuers]]\n{issuer}\n"));
        let sections: String = sections.collect();
        let none = "[topics.a]\nscheme = { kind = \"none\" }";
        let toml = format!("[access]\n{above}\n{sections}{none}")
            .replace("{SECRET}", SECRET)
            .replace("{URL}", URL)
            .replace("{KEY}", KEY);
        refused(&toml, expected);
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
    let refused = Some("topics.\"a.b\".access: this topic needs a token, but `a` above it");
    check(&[("a", "public"), ("a.b", "token")], refused);
    check(&[("a", "token"), ("a.b", "public")], None);
    check(&[("a", "public"), ("ab", "token")], None);
    // Nobody wrote `a`, and yet it is public, through "*".
    check(&[("*", "public"), ("a.b", "token")], refused);
    check(&[("*", "public"), ("a", "token")], None);
    check(&[("*", "token"), ("a.b", "token")], None);
    let deeper = Some("topics.\"a.b.c\".access: this topic needs a token, but `a.b` above it");
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
            "servr: there is no such key; did you mean HOOKRILL__SERVER__LISTEN? (environment variable HOOKRILL__SERVR__LISTEN)",
        ),
        (
            "HOOKRILL__",
            "the name must be words with `__` between them, such as HOOKRILL__SERVER__LISTEN (environment variable HOOKRILL__)",
        ),
        (
            "HOOKRILL__A____B",
            "the name must be words with `__` between them, such as HOOKRILL__SERVER__LISTEN (environment variable HOOKRILL__A____B)",
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
fn everything_that_is_wrong_is_said_at_once_in_the_order_of_the_file() {
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
        "server.listen (hookrill.toml:3)",
        "server.zebra (hookrill.toml:4)",
        "journal.kind (hookrill.toml:6)",
        "access.secret (hookrill.toml:8)",
        "topics.github.secrets[0] (hookrill.toml:11)",
        "topics.github.secrets[1] (hookrill.toml:11)",
        "topics.orders.preset (hookrill.toml:12)",
        "topics.orders.access (hookrill.toml:13)",
        "server.listen (environment variable PORT)",
        "subscribe.retry (environment variable HOOKRILL__SUBSCRIBE__RETRY)",
    ];
    assert_eq!(places, expected);
}

#[test]
fn what_is_not_toml_is_said_without_quoting_it() {
    let problems = Machine::with("[server]\nadmin_token = \"hunter2\nlisten = = 1\n").diagnostics();
    assert!(
        problems[0].starts_with("this is not valid TOML: "),
        "{problems:?}"
    );
    assert_eq!(problems.len(), 2, "one for each line: {problems:?}");
    assert!(
        problems[0].ends_with("(hookrill.toml:2:23)"),
        "{problems:?}"
    );
    assert!(
        problems[1].ends_with("(hookrill.toml:3:10)"),
        "{problems:?}"
    );
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
