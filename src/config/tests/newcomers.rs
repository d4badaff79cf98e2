//! What people write on their first day, and what they are told.

use super::{Machine, assert_says, says, usable::least};

/// A section, lines in it, and what each diagnostic says.
const FIRST_TRIES: &[(&str, &[&str])] = &[
    (
        "[server]\nlisten = \"8080\"\nbody_bytes_max = \"5\"\nshutdown_grace = 10",
        &[
            "server.listen: must be an address and a port such as \"127.0.0.1:8080\"…, not \"8080\" (hookrill.toml:2)",
            "server.body_bytes_max: must be between 1.0 KiB…",
            "server.shutdown_grace: must be a duration with a unit…, not 10 (hookrill.toml:4)",
        ],
    ),
    (
        "[server]\nmetrics_public = \"true\"\nlisten = [\"127.0.0.1:1\"]\ncors_origins = \"*\"",
        &[
            "server.metrics_public: must be true or false, without quotes, not \"true\"",
            "server.listen: must be …, not a list",
            "server.cors_origins: must be a list: write it in [ ]",
        ],
    ),
    (
        "listen = \"127.0.0.1:1\"\nretain_age = \"1d\"\nsecrets = [\"x\"]",
        &[
            "listen: there is no such key; `listen` belongs into [server]",
            "retain_age: there is no such key; `retain_age` belongs into [journal]",
            "secrets: there is no such key; `secrets` belongs into the section of a topic",
        ],
    ),
    (
        "[server]\nretain_bytes = \"1 GiB\"\nport = 8080",
        &[
            "server.retain_bytes: there is no such key; `retain_bytes` belongs into [journal]",
            "server.port: there is no such key (",
        ],
    ),
    (
        "[journal]\npath = \"~/data\"",
        &[
            "journal.path: `~` stands for no folder here…; write the whole path, not \"~/data\" (hookrill.toml:2)",
        ],
    ),
    (
        "[journal]\npath = \"$HOME/data\"",
        &["journal.path: no variable is read here…; write the whole path"],
    ),
    (
        "[access]\nsecret = \"file:~/secret\"",
        &["access.secret: `~` stands for no folder here…, not ~/secret"],
    ),
    (
        "[topics.a]\naccess = \"public\"\npreset = [\"github\"]\nsecrets = \"hunter2\"",
        &[
            "topics.a.preset: must be a string in quotes, not a list",
            "topics.a.secrets: must be a list: write it in [ ]",
        ],
    ),
    (
        "[topics.a]\naccess = \"public\"\nprest = \"github\"\nsecret = [\"hunter2\"]",
        &[
            "topics.a.prest: there is no such key; did you mean `preset`?",
            "topics.a.secret: there is no such key; did you mean `secrets`?",
        ],
    ),
    (
        "[topics.a]\naccess = \"public\"\npreset = \"githb\"\nsecret = \"hunter2\"",
        &[
            "topics.a.preset: there is no such preset; did you mean `github`? (`hookrill presets` lists all)",
            "topics.a.secret: there is no such key; did you mean `secrets`?",
        ],
    ),
    (
        "[topics.a]\naccess = \"public\"\npreset = \"github\"\nsecret = \"hunter2\"",
        &["topics.a.secret: there is no such key; did you mean `secrets`?"],
    ),
    (
        "[topics.orders.eu]\npreset = \"github\"\nsecrets = [\"hunter2\"]",
        &[
            "topics.orders.eu: there is no such key; for the topic orders.eu, write [topics.\"orders.eu\"] (hookrill.toml:1)",
        ],
    ),
    (
        "[topics.orders.eu.west]\npreset = \"github\"",
        &[
            "topics.orders.eu: there is no such key; for the topic orders.eu.west, write [topics.\"orders.eu.west\"]",
        ],
    ),
    (
        "[topics.orders]\naccess = \"public\"\npreset = \"githb\"\n[topics.orders.eu]\npreset = \"github\"\n[topics.orders.us]",
        &[
            "topics.orders.preset: there is no such preset",
            "topics.orders.eu: there is no such key; for the topic orders.eu,…(hookrill.toml:4)",
            "topics.orders.us: there is no such key; for the topic orders.us,…(hookrill.toml:6)",
        ],
    ),
    (
        "[topics.a]\naccess = \"public\"\n[topics.a.shceme]\nkind = \"none\"",
        &["topics.a.shceme: there is no such key; did you mean `scheme`?"],
    ),
    (
        "[server]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\nretry = \"1s\"\n[server]",
        &[
            "`listen` is written twice; a key or a section can be written only once (hookrill.toml:3:1)",
            "`server` is written twice…(hookrill.toml:5:2)",
            "server.retry: there is no such key; `retry` belongs into [subscribe] (hookrill.toml:4)",
        ],
    ),
];

#[test]
fn what_is_written_on_the_first_day_is_corrected_line_by_line() {
    for (written, expected) in FIRST_TRIES {
        let problems = Machine::with(&least(written)).diagnostics();
        assert_says(&problems, expected, written);
        assert!(!problems.concat().contains("hunter2"), "{problems:#?}");
    }
}

#[test]
fn a_line_that_is_not_toml_is_told_what_most_such_lines_lack() {
    let toml = "[server]\nlisten = 127.0.0.1:8080\nadmin_token =\npublic_url = https://a\n\
                cors_origins = [\"a\" \"b\"]\n";
    let expected = [
        "this is not valid TOML: …; a text has to be in quotes (hookrill.toml:2:…",
        "this is not valid TOML: …; a value is missing behind the `=` (hookrill.toml:3:…",
        "this is not valid TOML: …; a text has to be in quotes (hookrill.toml:4:…",
        "this is not valid TOML: …(hookrill.toml:5:…",
    ];
    assert_says(&Machine::with(toml).diagnostics(), &expected, toml);
}

/// What is written with slips in it, and what each diagnostic says: all that is wrong
/// by itself, and nothing that only follows from a slip.
const SLIPS: &[(&str, &[&str])] = &[
    (
        "[server]\nlisten = 127.0.0.1:8080\nbody_bytes_max = \"5\"\nretry = \"1s\"\n\
         [topics.a]\npreset = \"githb\"\nsecrets = [env:A]\n\
         [topics.b]\npreset = \"github\"\nsecrets = [\"\"]\n",
        &[
            "this is not valid TOML: …(hookrill.toml:2:…",
            "server.body_bytes_max: must be between …(hookrill.toml:3)",
            "server.retry: there is no such key; `retry` belongs into [subscribe] (hookrill.toml:4)",
            "topics.a.preset: there is no such preset…(hookrill.toml:6)",
            "this is not valid TOML: …(hookrill.toml:7:…",
            "topics.b.secrets[0]: must not be empty…(hookrill.toml:10)",
        ],
    ),
    // The line that is lost may have said all that is missing.
    (
        "[topics.a]\npreset : \"github\"\nsecrets = [\"\"]\n[log]\nformat: json\nlevel = 5\n",
        &[
            "this is not valid TOML: …(hookrill.toml:2:…",
            "topics.a.secrets[0]: must not be empty…(hookrill.toml:3)",
            "this is not valid TOML: …(hookrill.toml:5:…",
            "log.level: must be …(hookrill.toml:6)",
        ],
    ),
    (
        "[log]\nlevel = 5\ntopics.a]\npreset = \"github\"\n[server]\nlisten = \"x\"\n",
        &[
            "log.level: must be …(hookrill.toml:2)",
            "this is not valid TOML: …(hookrill.toml:3:…",
            "server.listen: must be …(hookrill.toml:6)",
        ],
    ),
    (
        "[topics.a]\npreset = \"github\"\nsecrets = [\n  env:A,\n]\n[topics.b\npreset = \"x\"\n",
        &[
            "this is not valid TOML: …(hookrill.toml:4:…",
            "this is not valid TOML: …(hookrill.toml:6:…",
        ],
    ),
    (
        "[topics.a]\npreset = github\ntolerance = \"1m\"\n[topics.a.scheme]\nkind = \"hmca\"\n",
        &[
            "this is not valid TOML: …(hookrill.toml:2:…",
            "topics.a.scheme: must not be set together with `preset`…",
        ],
    ),
    (
        "[topics.a]\nscheme = { kind = \"hmac\", hash = sha256, encoding = \"hx\" }\n",
        &["this is not valid TOML: …(hookrill.toml:2:…"],
    ),
    (
        "[topics.a.scheme]\nkind = \"hmac\"\nhash = sha256\nencoding = \"hx\"\n",
        &[
            "this is not valid TOML: …(hookrill.toml:3:…",
            "topics.a.scheme.encoding: must be one of …(hookrill.toml:4)",
        ],
    ),
    (
        "[[access.issuers]]\nissuer = \"a\"\nsecret : \"s\"\n[topics.a]\naccess = \"publik\"\n",
        &[
            "this is not valid TOML: …(hookrill.toml:3:…",
            "topics.a.access: must be …(hookrill.toml:5)",
        ],
    ),
    ("[server\nlisten = \"x\"\n", &["this is not valid TOML: …"]),
    (
        "[servr]\nlisten = 5 5\n",
        &[
            "servr: there is no such key; did you mean `server`? (hookrill.toml:1)",
            "this is not valid TOML: …(hookrill.toml:2:…",
        ],
    ),
];

#[test]
fn a_line_that_is_not_toml_hides_no_other_mistake_and_makes_none() {
    for (written, expected) in SLIPS {
        let error = Machine::with(written)
            .set("HOOKRILL_OTHER", "x")
            .load()
            .unwrap_err();
        let problems: Vec<_> = error.diagnostics.iter().map(ToString::to_string).collect();
        assert_says(&problems, expected, written);
        assert!(error.warnings.is_empty(), "{:?}", error.warnings);
    }
}

#[test]
fn a_topic_with_a_mistake_is_a_topic() {
    for written in [
        "[topics.a]\nprest = \"github\"\n",
        "[topics.a]\npreset = \"twilio\"\n[server]\npublic_url = 5\n",
        "[topic.a]\npreset = \"github\"\n",
        "[topics.orders.eu]\npreset = \"github\"\n",
    ] {
        let error = Machine::with(written).load().unwrap_err();
        assert!(error.warnings.is_empty(), "{written}: {:?}", error.warnings);
    }
}

#[test]
fn a_topic_below_another_is_one_level_in_a_variable() {
    let toml = least("");
    let machine = Machine::with(&toml).set("HOOKRILL__TOPICS__ORDERS__EU__PRESET", "github");
    let expected = "topics.orders.eu: there is no such key; the topic orders.eu is one level in a \
        variable's name, as in HOOKRILL__TOPICS__ORDERS.EU__PRESET (environment variable \
        HOOKRILL__TOPICS__ORDERS__EU__PRESET)";
    assert_eq!(machine.diagnostics(), [expected]);
}

#[test]
fn a_bad_reference_is_told_the_nearest_one() {
    let toml = |reference: &str| least(&format!("[access]\nsecret = \"{reference}\""));
    for (reference, expected) in [
        ("env:GITHUB_SECRT", "did you mean `env:GITHUB_SECRET`?"),
        ("env:$GITHUB_SECRET", "did you mean `env:GITHUB_SECRET`?"),
        ("env:${OTHER}", "did you mean `env:OTHER`?"),
        ("env://OTHER", "did you mean `env:OTHER`?"),
        ("env: OTHER", "did you mean `env:OTHER`?"),
        ("env:NOTHING", "set it, or change `env:NOTHING`"),
        ("${OTHER}", "did you mean `env:OTHER`?"),
        ("ENV:OTHER", "did you mean `env:OTHER`?"),
        ("file:/none", "cannot read /none"),
        (
            "file:",
            "nothing follows `file:`; write the path of a file, as in file:/run",
        ),
        (
            "env: ",
            "nothing follows `env:`; write the name of a variable, as in env:G",
        ),
        ("vault:secret/github", "only another tool resolves"),
    ] {
        let toml = toml(reference);
        let machine = Machine::with(&toml).set("GITHUB_SECRET", "hunter2");
        let problems = machine.diagnostics();
        let [problem] = &problems[..] else {
            panic!("{reference}: {problems:#?}");
        };
        assert!(problem.starts_with("access.secret: "), "{problem}");
        assert!(problem.contains(expected), "{reference}: {problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}

#[test]
fn a_secret_behind_a_prefix_is_not_repeated() {
    let toml = |reference: &str| least(&format!("[access]\nsecret = \"{reference}\""));
    for (reference, expected) in [
        ("env:whsec_MfKQ9r8GKYqr", "is it the secret itself?"),
        ("env:kJ8sd7MfKQfGhaa81xx", "is it the secret itself?"),
        ("env:MfKQ/9r8+GKYqr==", "is it the secret itself?"),
        ("env:${kJ8sd7MfKQfGhaa81xx}", "is it the secret itself?"),
        ("file:whsec_MfKQ9r8GKYqr", "is it the secret itself?"),
        ("file:kJ8sd7MfKQfGhaa81xx", "is it the secret itself?"),
        ("file:kJ8sd7/MfKQfGhaa81xx", "is it the secret itself?"),
        ("ENV:whsec_MfKQ9r8GKYqr", "write env:NAME"),
        ("env:MfKQ,env:B", "must be a list"),
    ] {
        let toml = toml(reference);
        let problems = Machine::with(&toml).diagnostics();
        let [problem] = &problems[..] else {
            panic!("{reference}: {problems:#?}");
        };
        assert!(problem.contains(expected), "{reference}: {problem}");
        assert!(!problem.contains("MfKQ"), "{problem}");
    }
}

#[test]
fn a_key_that_is_misspelt_is_named_and_nothing_that_only_follows_from_it() {
    let topic = |line: &str| {
        format!(
            "[topics.github]\npreset = \"github\"\nsecrets = [\"hunter2hunter2hunter2\"]\n{line}"
        )
    };
    let issuer = |lines: &str| least(&format!("[[access.issuers]]\n{lines}"));
    let mut cases: Vec<(String, String)> = Vec::new();
    for typo in ["acess", "cacess", "ACCESS", "accss", "acecss", "acces"] {
        cases.push((
            topic(&format!("{typo} = \"public\"")),
            format!("topics.github.{typo}: there is no such key; did you mean `access`?"),
        ));
    }
    let secret = "\"0123456789abcdef0123456789abcdef\"";
    cases.extend([
        (
            topic(&format!("[acess]\nsecret = {secret}")),
            "acess: there is no such key; did you mean `access`?".to_owned(),
        ),
        (
            topic(&format!("[[access.isuers]]\nsecret = {secret}")),
            "access.isuers: there is no such key; did you mean `issuers`?".to_owned(),
        ),
        (
            issuer(&format!("secert = {secret}")),
            "access.issuers[0].secert: there is no such key; did you mean `secret`?".to_owned(),
        ),
        (
            issuer("jwks_url = \"https://a/keys\"\naudiense = \"a\""),
            "access.issuers[0].audiense: there is no such key; did you mean `audience`?".to_owned(),
        ),
    ]);
    for (toml, expected) in cases {
        let found = Machine::with(&toml).diagnostics();
        assert_says(&found, &[&expected], &toml);
    }
}

#[test]
fn a_secret_of_http_basic_has_a_user_and_is_not_shown() {
    for scheme in [
        "preset = \"postmark\"",
        "scheme = { kind = \"token\", token = { authorization = \"basic\" } }",
    ] {
        for written in ["hunter2hunter2", "env:PAIR", "file:pair"] {
            let topic = format!(
                "[topics.a]\naccess = \"public\"\n{scheme}\nsecrets = [\"user:hunter2\", \"{written}\"]"
            );
            let machine = Machine::with(&topic)
                .set("PAIR", "hunter2hunter2")
                .file("pair", "hunter2hunter2\n");
            let found = machine.diagnostics();
            let [problem] = &found[..] else {
                panic!("{topic}: {found:#?}");
            };
            let expected = "topics.a.secrets[1]: secret 2 is not `user:password`";
            assert!(says(problem, expected), "{topic}: {problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}

#[test]
fn a_url_is_repeated_without_what_may_be_secret() {
    for (section, line) in [
        ("server", "public_url = \"https://user:hunter2@a\""),
        ("server", "public_url = \"https://a/?token=hunter2\""),
        ("server", "public_url = \"https://a/#hunter2\""),
        ("server", "cors_origins = [\"https://user:hunter2@a\"]"),
        ("server", "cors_origins = [\"https://a/?token=hunter2\"]"),
        (
            "[access.issuers]",
            "audience = \"a\"\njwks_url = \"https://user:hunter2@a/keys\"",
        ),
        (
            "[access.issuers]",
            "audience = \"a\"\njwks_url = \"http://a/keys?key=hunter2\"",
        ),
    ] {
        let toml = least(&format!("[{section}]\n{line}"));
        let found = Machine::with(&toml).diagnostics();
        assert!(!found.is_empty(), "{line}");
        for problem in found {
            assert!(!problem.contains("hunter2"), "{line}: {problem}");
        }
    }
    let toml = least("[server]\n");
    let machine = Machine::with(&toml).set("HOOKRILL__SERVER__PUBLIC_URL", "https://u:hunter2@a/b");
    let found = machine.diagnostics();
    let [problem] = &found[..] else {
        panic!("{found:#?}");
    };
    assert!(problem.contains("not \"https://…@a/b\""), "{problem}");
}
