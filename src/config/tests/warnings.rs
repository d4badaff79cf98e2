//! What is legal and does nothing is said, and the configuration is used.

use super::{Machine, assert_says, usable::least};

const GITHUB: &str =
    "[topics.a]\naccess = \"public\"\npreset = \"github\"\nsecrets = [\"0123456789abcdef\"]\n";

/// A configuration, and what its warnings say.
const WITHOUT_EFFECT: &[(&str, &[&str])] = &[
    (
        "",
        &["topics: no topics are configured: every delivery and every subscription is refused"],
    ),
    (
        "[journal]\nkind = \"memory\"\npath = \"data\"\ndisk_reserve = \"1 GiB\"\ncommit_stall_max = \"5s\"\n{GITHUB}",
        &[
            "journal.path: has no effect with kind = \"memory\"…(hookrill.toml:3)",
            "journal.disk_reserve: has no effect…(hookrill.toml:4)",
            "journal.commit_stall_max: has no effect…(hookrill.toml:5)",
        ],
    ),
    (
        "[journal]\nretain_bytes = \"1 MiB\"\n{GITHUB}",
        &[
            "journal.retain_bytes: is less than the 5.0 MiB that one delivery may have…(hookrill.toml:2)",
        ],
    ),
    (
        "[server]\nsubscribers_max = 10\nsubscribers_per_address_max = 10\n{GITHUB}",
        &[
            "server.subscribers_per_address_max: has no effect, since subscribers_max allows 10 in all…(hookrill.toml:3)",
        ],
    ),
    (
        "[subscribe]\nheartbeat = \"1m\"\ndead_peer_max = \"1m\"\n{GITHUB}",
        &["subscribe.dead_peer_max: has no effect below four heartbeats, which take 4m"],
    ),
    (
        "[access]\nleeway = \"1s\"\ntoken_ttl_max = \"1h\"\n{GITHUB}",
        &[
            "access.leeway: has no effect, since nothing signs",
            "access.token_ttl_max: has no effect",
        ],
    ),
    (
        "{GITHUB}tolerance = \"5m\"",
        &[
            "topics.a.tolerance: has no effect, since this scheme signs no time; remove it (hookrill.toml:5)",
        ],
    ),
    (
        "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\ntolerance = \"5m\"\nevent_names = true\ndedup_by = \"id\"\nkeep_proof = true",
        &[
            "topics.a.tolerance: has no effect",
            "topics.a.event_names: has no effect, since this scheme reads no type",
            "topics.a.dedup_by: has no effect, since this scheme reads no id",
            "topics.a.keep_proof: has no effect, since this scheme verifies deliveries by no header",
        ],
    ),
    (
        "{GITHUB}expose = [\"/a/b\", \"/c\"]\nhide = [\"/a\", \"/d\", \"/c/e\"]",
        &[
            "topics.a.expose[0]: has no effect, since `hide` has /a (hookrill.toml:5)",
            "topics.a.hide[1]: has no effect, since `expose` does not have it (hookrill.toml:6)",
        ],
    ),
    (
        "[topics.a]\naccess = \"public\"\npreset = \"github\"\nsecrets = [\"short\", \"0123456789abcdef\", \"0123456789abcdef\"]",
        &[
            "topics.a.secrets: the shortest has 5 bytes, so it can be guessed",
            "topics.a.secrets[2]: is the same as one above it",
        ],
    ),
];

#[test]
fn what_has_no_effect_is_a_warning_at_its_line() {
    for (written, expected) in WITHOUT_EFFECT {
        let toml = written.replace("{GITHUB}", GITHUB);
        assert_says(&Machine::with(&toml).warnings(), expected, &toml);
    }
}

#[test]
fn a_configuration_that_does_what_it_says_has_no_warning() {
    let stripe = GITHUB.replace("github", "stripe");
    for toml in [
        GITHUB.to_owned(),
        format!(
            "{stripe}tolerance = \"1m\"\nevent_names = true\nexpose = [\"/a\", \"/type\"]\nhide = [\"/a/b\"]"
        ),
        format!("[journal]\nkind = \"memory\"\nretain_bytes = \"5 MiB\"\n{GITHUB}"),
    ] {
        assert_eq!(Machine::with(&toml).warnings(), [""; 0], "{toml}");
    }
    // The image sets the path.
    let toml = format!("[journal]\nkind = \"memory\"\n{GITHUB}");
    let image = Machine::with(&toml)
        .set("HOOKRILL__JOURNAL__PATH", "/data")
        .set("HOOKRILL__SERVER__LISTEN", "0.0.0.0:8080");
    assert_eq!(image.warnings(), [""; 0]);
}

#[test]
fn a_variable_that_nothing_reads_is_told_the_nearest_key() {
    for (name, expected) in [
        (
            "HOOKRILL_SERVER__LISTEN",
            "did you mean HOOKRILL__SERVER__LISTEN?",
        ),
        (
            "HOOKRILL_SERVER_LISTEN",
            "did you mean HOOKRILL__SERVER__LISTEN?",
        ),
        (
            "hookrill__server__listen",
            "did you mean HOOKRILL__SERVER__LISTEN?",
        ),
        ("HOOKRILL_LISTEN", "did you mean HOOKRILL__SERVER__LISTEN?"),
        ("HOOKRILL_PORT", "did you mean PORT?"),
        (
            "HOOKRILL_ADMIN_TOKEN",
            "did you mean HOOKRILL__SERVER__ADMIN_TOKEN?",
        ),
        ("HOOKRILL_LOG_LEVEL", "did you mean HOOKRILL__LOG__LEVEL?"),
        (
            "HOOKRILL_TOPICS__GITHUB__PRESET",
            "did you mean HOOKRILL__TOPICS__GITHUB__PRESET?",
        ),
        (
            "HOOKRILL_ZEBRA",
            "keys are set by names such as HOOKRILL__SERVER__LISTEN, and a value env:HOOKRILL_ZEBRA would read it",
        ),
        ("RUST_LOG", "what is logged is set by HOOKRILL__LOG__LEVEL"),
    ] {
        let toml = least("");
        let warnings = Machine::with(&toml).set(name, "hunter2").warnings();
        let place = format!("…{expected}… (environment variable {name})");
        let whole = format!("nothing reads this variable{place}");
        assert_says(&warnings, &[&whole], name);
        assert!(!warnings.concat().contains("hunter2"), "{warnings:?}");
    }
}

#[test]
fn a_variable_that_something_reads_is_no_warning() {
    let toml = least("[access]\nsecret = \"env:HOOKRILL_TOKEN_SECRET\"");
    let machine = Machine::with(&toml)
        .set("HOOKRILL_TOKEN_SECRET", "0123456789abcdef0123456789abcdef")
        .set("HOOKRILL_CONFIG", "hookrill.toml")
        .set("HOOKRILL_TOKEN", "t")
        .set("HOOKRILL_COMMIT", "abc")
        .set("HOOKRILL__LOG__LEVEL", "warn")
        .set("HOOKRILL_PORT", "tcp://10.0.0.1:8080")
        .set("HOOKRILL_PORT_8080_TCP", "tcp://10.0.0.1:8080")
        .set("HOOKRILL_SERVICE_HOST", "10.0.0.1")
        .set("HOOKRILLS", "x")
        .set("PATH", "/bin");
    assert_eq!(machine.warnings(), [""; 0]);
}

#[test]
fn a_name_in_one_word_of_two_levels_is_an_error_with_the_right_key() {
    let toml = least("");
    let machine = Machine::with(&toml).set("HOOKRILL__SERVER_LISTEN", "0.0.0.0:1");
    let expected = "server_listen: there is no such key; did you mean HOOKRILL__SERVER__LISTEN? \
        (environment variable HOOKRILL__SERVER_LISTEN)";
    assert_eq!(machine.diagnostics(), [expected]);
}

#[test]
fn a_secret_that_looks_like_a_mistake_is_a_warning_wherever_it_is_read() {
    for (key, toml) in [
        ("access.secret", "[access]\nsecret = \"env:S\""),
        ("server.admin_token", "[server]\nadmin_token = \"env:S\""),
        (
            "access.issuers[0].secret",
            "[[access.issuers]]\nsecret = \"env:S\"",
        ),
    ] {
        let toml = least(toml);
        let machine = Machine::with(&toml).set("S", "\"0123456789abcdef0123456789abcdef\"");
        let expected = format!("{key}: begins and ends with \"");
        assert_says(&machine.warnings(), &[&expected], &toml);
    }
    let toml = "[topics.a]\naccess = \"public\"\npreset = \"meta\"\nsecrets = [\"env:A\", \"file:b\"]\nverify_token = \"env:C\"";
    let machine = Machine::with(toml)
        .set("A", " 0123456789abcdef")
        .file("b", "0123456789abcdef0\nhunter2\n")
        .set("C", "change-me");
    let expected = [
        "topics.a.secrets[0]: begins or ends with a blank",
        "topics.a.secrets[1]: has several lines",
        "topics.a.verify_token: is a word from an example",
    ];
    assert_says(&machine.warnings(), &expected, toml);
}

#[test]
fn a_secret_of_a_variable_loses_its_line_end_as_that_of_a_file_does() {
    let secret = "0123456789abcdef0123456789abcdef";
    let toml = least("[access]\nsecret = \"env:A\"");
    let (line, lines) = (format!("{secret}\n"), format!("{secret}\r\n\n"));
    for machine in [
        Machine::with(&toml).set("A", &line),
        Machine::with(&toml).set("A", &lines),
        Machine::with(&toml)
            .set("A", "unused")
            .set("HOOKRILL__ACCESS__SECRET", &lines),
    ] {
        let config = machine.load().unwrap();
        assert_eq!(config.access.secret.unwrap().expose(), secret.as_bytes());
    }
    let empty = Machine::with(&toml).set("A", "\n").diagnostics();
    assert!(
        empty[0].contains("the environment variable A is empty"),
        "{empty:?}"
    );
}

#[test]
fn warnings_are_told_with_the_errors() {
    let toml = "[journal]\nkind = \"memory\"\npath = \"data\"\n[server]\nlisten = 1";
    let error = Machine::with(toml).load().unwrap_err();
    let shown = error.to_string();
    assert!(
        shown.starts_with("the configuration has an error:\n  server.listen: "),
        "{shown}"
    );
    assert!(
        shown.contains("\n  warning: journal.path: has no effect"),
        "{shown}"
    );
    assert_eq!(error.diagnostics.len(), 1);
}
