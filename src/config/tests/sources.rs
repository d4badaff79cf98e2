//! Which source says what.

use proptest::prelude::*;

use super::{Machine, usable::least};
use crate::access::Policy;

#[test]
fn the_file_that_is_named_wins_over_the_others() {
    let [a, b, c] = ["[log]\nlevel = \"debug\"", "[log]\nlevel = \"warn\"", ""].map(least);
    let machine = || {
        let machine = Machine::with(&c).file("a.toml", &a);
        machine.file("b.toml", &b)
    };
    let level = |files: Machine<'_>| files.load().unwrap().log.level;
    assert_eq!(level(machine()), "info");
    assert_eq!(level(machine().set("HOOKRILL_CONFIG", "b.toml")), "warn");
    let both = machine()
        .set("HOOKRILL_CONFIG", "b.toml")
        .name_file("a.toml");
    assert_eq!(level(both), "debug");
}

#[test]
fn a_file_that_is_named_has_to_exist() {
    for (machine, named_by) in [
        (Machine::default().name_file("none.toml"), "--config"),
        (
            Machine::default().set("HOOKRILL_CONFIG", "none.toml"),
            "HOOKRILL_CONFIG",
        ),
    ] {
        let diagnostics = machine.diagnostics();
        let expected = format!("cannot read none.toml (named by {named_by}): ");
        assert!(diagnostics[0].starts_with(&expected), "{diagnostics:?}");
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    let toml = r#"
        [server]
        listen = "127.0.0.1:1"
        cors_origins = ["https://a", "https://b"]
        [topics.a]
        preset = "github"
        secrets = ["old"]
        access = "public"
    "#;
    let config = Machine::with(toml)
        .set("HOOKRILL__SERVER__LISTEN", "0.0.0.0:2")
        .set("HOOKRILL__SERVER__SUBSCRIBERS_MAX", "7")
        .set("HOOKRILL__SERVER__METRICS_PUBLIC", "true")
        .set("HOOKRILL__SERVER__BODY_BYTES_MAX", "2048")
        .set("HOOKRILL__SERVER__CORS_ORIGINS__1", "https://c")
        .set("HOOKRILL__SERVER__CORS_ORIGINS__2", "https://d")
        .set("HOOKRILL__ACCESS__SECRET", "env:KEY")
        .set("KEY", "0123456789abcdef0123456789abcdef")
        .set("HOOKRILL__TOPICS__A__ACCESS", "token")
        .set("HOOKRILL__TOPICS__ORDERS.EU__PRESET", "github")
        .set("HOOKRILL__TOPICS__ORDERS.EU__SECRETS__0", "file:s")
        .set("HOOKRILL__TOPICS__0__SCHEME__KIND", "hmac")
        .set("HOOKRILL__TOPICS__0__SCHEME__HASH", "sha256")
        .set("HOOKRILL__TOPICS__0__SCHEME__ENCODING", "hex")
        .set("HOOKRILL__TOPICS__0__SCHEME__SIGNATURE__HEADER", "X-Sig")
        .set("HOOKRILL__TOPICS__0__SCHEME__SIGNATURE__PREFIX", "1")
        .set("HOOKRILL__TOPICS__0__SCHEME__MESSAGE__0__LITERAL", "v0:")
        .set("HOOKRILL__TOPICS__0__SCHEME__MESSAGE__1", "body")
        .set("HOOKRILL__TOPICS__0__SCHEME__RESPOND__STATUS", "204")
        .set("HOOKRILL__TOPICS__0__SECRETS__0", "s")
        .set("HOOKRILL__TOPICS__0__EVENT_NAMES", "true")
        .file("s", "secret\r\n")
        .load()
        .unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:2");
    assert_eq!(config.server.subscribers_max, 7);
    assert_eq!(config.server.body_bytes_max, 2048);
    assert!(config.server.metrics_public);
    let origins = ["https://a", "https://c", "https://d"];
    assert_eq!(config.server.cors_origins, origins);
    let mut names: Vec<_> = config
        .topics
        .named()
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["0", "a", "orders.eu"]);
    let policy = config.access.policies.lookup(&"a".parse().unwrap());
    assert_eq!(policy, Some(&Policy::Token));
    let views = config.views();
    let view = views.lookup(&"0".parse().unwrap());
    assert!(view.is_some_and(|view| view.event_names));
}

#[test]
fn more_than_ten_items_keep_their_order() {
    let names: Vec<_> = (0..12)
        .map(|i| format!("HOOKRILL__SERVER__CORS_ORIGINS__{i}"))
        .collect();
    let values: Vec<_> = (0..12).map(|i| format!("https://a{i}")).collect();
    let (none, one) = (least(""), least("[server]\ncors_origins = [\"https://b\"]"));
    for toml in [none, one] {
        let mut machine = Machine::with(&toml);
        for (name, value) in names.iter().zip(&values) {
            machine = machine.set(name, value);
        }
        assert_eq!(machine.load().unwrap().server.cors_origins, values);
    }
}

#[test]
fn keys_of_the_environment_that_contradict_each_other_are_refused() {
    let toml = least("[server]\ncors_origins = [\"https://a\"]");
    for (variables, beginning) in [
        (
            &[("HOOKRILL__LOG", "x"), ("HOOKRILL__LOG__LEVEL", "info")][..],
            "another variable sets the key above",
        ),
        (
            &[
                ("HOOKRILL__LOG__LEVEL", "info"),
                ("HOOKRILL__log__level", "info"),
            ],
            "another variable sets the same key",
        ),
        (
            &[("HOOKRILL__SERVER__CORS_ORIGINS__2", "https://a")],
            "an item before this one is missing",
        ),
        (
            &[("HOOKRILL__SERVER__CORS_ORIGINS__X", "https://a")],
            "this key is a list: its items are __0",
        ),
        (
            &[("HOOKRILL__SERVER__CORS_ORIGINS__01", "https://a")],
            "this key is a list: its items are __0",
        ),
        (
            &[("HOOKRILL__SERVER__CORS_ORIGINS", "https://a")],
            "server.cors_origins: must be a list: append __0",
        ),
        (
            &[("HOOKRILL__SERVER__TRUSTED_PROXIES__1", "::1")],
            "server.trusted_proxies: must be a list: number",
        ),
        (
            &[("HOOKRILL__SERVER__LISTEN", "")],
            "server.listen: must be an address",
        ),
        (&[("HOOKRILL__SERVER", "")], "server: must be a section"),
    ] {
        let mut machine = Machine::with(&toml);
        for (name, value) in variables {
            machine = machine.set(name, value);
        }
        let problems = machine.diagnostics();
        assert!(
            problems[0].starts_with(beginning),
            "{variables:?}: {problems:#?}"
        );
    }
}

#[test]
fn port_sets_the_port_and_nothing_else() {
    let toml = least("[server]\nlisten = \"0.0.0.0:1\"");
    let listen = |port| {
        let config = Machine::with(&toml).set("PORT", port).load();
        config.unwrap().listen.to_string()
    };
    assert_eq!(listen("8123"), "0.0.0.0:8123");
    assert_eq!(listen(""), "0.0.0.0:1");
    let machine = Machine::with(&toml).set("PORT", "65536");
    let problem = "server.listen: PORT sets the port of server.listen, and must be a number from \
                   0 to 65535 (environment variable PORT)";
    assert_eq!(machine.diagnostics(), [problem]);
}

#[test]
fn a_reference_is_resolved_once() {
    let secret = "0123456789abcdef0123456789abcdef";
    let line = format!("{secret}\n\n");
    let toml = least("[access]\nsecret = \"file:a\"\n[server]\nadmin_token = \"env:A\"");
    // A value that was read through a reference is never one itself.
    let machine = Machine::with(&toml)
        .file("a", &line)
        .set("A", "file:0123456789ab");
    let config = machine.load().unwrap();
    assert_eq!(config.access.secret.unwrap().expose(), secret.as_bytes());
    let admin_token = config.server.admin_token.unwrap();
    assert_eq!(admin_token.expose(), b"file:0123456789ab");
}

#[test]
fn what_a_reference_names_has_to_exist() {
    let toml = least("[access]\nsecret = \"env:A\"\n[server]\nadmin_token = \"file:a\"");
    let machine = Machine::with(&toml).set("A", "").file("a", "\n");
    let problems = machine.diagnostics();
    let expected = [
        "access.secret: the environment variable A is empty; set it, or change `env:A` \
         (hookrill.toml:2)",
        "server.admin_token: a is empty; write the value into it (hookrill.toml:4)",
    ];
    assert_eq!(problems, expected);
}

proptest! {
    #[test]
    fn no_file_and_no_environment_ends_the_process(
        toml in "[\\[\\]a-z.=\"'{},0-9 \n#*\\\\-]{0,80}|\\PC{0,80}",
        variables in prop::collection::vec(("HOOKRILL__(SERVER|TOPICS|A|0|_|__){0,4}\\PC{0,3}", "\\PC{0,9}"), 0..6),
    ) {
        let mut machine = Machine::with(&toml);
        for (name, value) in &variables {
            machine = machine.set(name, value);
        }
        let _ = machine.diagnostics();
    }

    #[test]
    fn no_value_ends_the_process(
        key in prop::sample::select(vec![
            "server.listen", "server.public_url", "server.body_bytes_max", "server.trusted_proxies",
            "server.subscribers_max", "server.cors_origins", "server.shutdown_grace", "server.shutdown_delay",
            "server.admin_token", "journal.kind", "journal.retain_age", "journal.retain_bytes",
            "access.secret", "log.level", "topics.a.scheme", "topics.a.secrets", "topics.a.dedup",
            "topics.a.scheme.kind", "topics.a.scheme.message", "topics.a.scheme.signature.header",
        ]),
        value in "\\PC{0,40}|[0-9.]{1,30}(ns|s|d|years| GiB|EB| PB)?|https?://\\PC{0,20}|[a-z]{1,9}://[a-z:@\\[\\]0-9]{0,20}",
        in_list in any::<bool>(),
    ) {
        let quoted = toml::Value::String(value.clone()).to_string();
        let toml = if in_list { format!("{key} = [{quoted}]") } else { format!("{key} = {quoted}") };
        let _ = Machine::with(&toml).diagnostics();
        let name = format!("HOOKRILL__{}", key.replace('.', "__").to_uppercase());
        let _ = Machine::with("").set(&name, &value).diagnostics();
    }
}
