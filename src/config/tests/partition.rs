//! What a partition may say, and how a bad one is refused.

use super::Machine;

/// GitHub's preset signs the body alone.
const GITHUB: &str = "preset = \"github\"\nsecrets = [\"s\"]";
/// Signs a header too, the URL, and the body behind them.
const OWN: &str = "secrets = [\"s\"]\nscheme = { kind = \"hmac\", hash = \"sha256\", \
    encoding = \"hex\", signature = { header = \"x\" }, message = [\"url\", { literal = \"\\n\" }, \
    { header = \"X-Customer\" }, { literal = \"\\n\" }, \"body\"] }";
/// Signs the fields of a form.
const TWILIO: &str = "preset = \"twilio\"\nsecrets = [\"s\"]";
const TOKEN: &str =
    "secrets = [\"s\"]\nscheme = { kind = \"token\", token = { header = \"X-Token\" } }";
const NONE: &str = "scheme = { kind = \"none\" }";

fn problems(name: &str, scheme: &str, partition: &str) -> Vec<String> {
    let toml = format!(
        "[server]\npublic_url = \"https://hooks.example.com\"\n[topics.{name:?}]\n\
         access = \"public\"\npartition = '{partition}'\n{scheme}"
    );
    Machine::with(&toml).diagnostics()
}

#[test]
fn what_the_signature_covers_may_choose_the_subtopic() {
    for (scheme, partition) in [
        (GITHUB, "{/data/object/customer}"),
        (GITHUB, "customers.{/data.object/customer}"),
        (GITHUB, "{/org}.{/customer}"),
        (OWN, "{header:x-customer}"),
        (OWN, "{header:X-Customer}.{/a}"),
        (TOKEN, "{/a}"),
        (TOKEN, "{header:X-Customer}"),
        (NONE, "{query:customer}"),
    ] {
        assert_eq!(problems("a", scheme, partition), [""; 0], "{partition}");
    }
}

#[test]
fn what_the_signature_does_not_cover_is_named_with_the_reason() {
    for (scheme, partition, what) in [
        (
            GITHUB,
            "{/a}.{header:X-Customer}",
            "`partition` reads header x-customer, which the signature does not cover (it is not a \
             part of what is signed): whoever captures a delivery could send it to another \
             subtopic. Read it from what is signed: the body",
        ),
        (
            GITHUB,
            "{query:customer}",
            "`partition` reads query customer, which the signature does not cover (a query never \
             counts as signed: its end may run into what follows)",
        ),
        (
            OWN,
            "{query:customer}",
            "`partition` reads query customer, which the signature does not cover (a query never",
        ),
        (
            OWN,
            "{header:X-Other}",
            "`partition` reads header x-other, which the signature does not cover",
        ),
        (
            TWILIO,
            "{/a}",
            "`partition` reads body /a, which the signature does not cover (the JSON is not \
             signed as it stands)",
        ),
    ] {
        let problems = problems("a", scheme, partition);
        let [problem] = &problems[..] else {
            panic!("{partition}: {problems:#?}");
        };
        let beginning = format!("topics.a.partition: {what}");
        assert!(problem.starts_with(&beginning), "{problem}");
        assert!(problem.ends_with("(hookrill.toml:5)"), "{problem}");
    }
}

#[test]
fn a_partition_that_is_none_is_shown_the_right_form() {
    for (name, partition, what) in [
        (
            "a",
            "/data/object/customer",
            "\"/data/object/customer\" is not a partition: a partition is 1 to 3 segments",
        ),
        (
            "a",
            "cus_{/a}",
            "\"cus_{/a}\" is not a partition: a partition is 1 to 3 segments",
        ),
        (
            "a",
            "customer",
            "\"customer\" is not a partition: no segment of it is a value",
        ),
        (
            "a",
            "{/a}.{/b}.{/c}",
            "a value can have 80 bytes, and the resulting topic would not be valid; shorten the \
             topic's name, or remove a segment: a topic has at most 200 bytes",
        ),
        (
            "1.2.3.4.5.6.7.8",
            "{/a}",
            "a value can have 80 bytes, and the resulting topic would not be valid; shorten the \
             topic's name, or remove a segment: a topic has at most 8 segments",
        ),
        (
            "*",
            "{/a}",
            "must not be set for \"*\"; write a section for the topic to partition",
        ),
    ] {
        let problems = problems(name, NONE, partition);
        let [problem] = &problems[..] else {
            panic!("{partition}: {problems:#?}");
        };
        let (_, said) = problem.split_once(".partition: ").unwrap();
        assert!(said.starts_with(what), "{problem}");
    }
    let toml = format!("[topics.a]\naccess = \"public\"\npartition = true\n{NONE}");
    let problems = Machine::with(&toml).diagnostics();
    assert!(
        problems[0].starts_with(
            "topics.a.partition: must be a partition such as \"{/data/object/customer}\", not true"
        ),
        "{problems:?}"
    );
}

#[test]
fn deliveries_come_to_the_topic_that_has_the_partition() {
    let toml = format!("[topics.a]\naccess = \"public\"\npartition = '{{/c}}'\n{NONE}");
    let config = Machine::with(&toml).load().unwrap();
    let topic = |name: &str| name.parse().unwrap();
    let settings = config.topics.lookup(&topic("a.b")).unwrap();
    assert_eq!(settings.partition.as_ref().unwrap().to_string(), "{/c}");
    assert_eq!(settings.partitioned_above(&topic("a")), None);
    assert_eq!(settings.partitioned_above(&topic("a.b")), Some(&topic("a")));
}

#[test]
fn a_type_that_comes_from_above_is_not_hidden_below() {
    let below = |written: &str| {
        let toml = format!(
            "[topics.a]\naccess = \"public\"\nexpose = [\"/type\"]\npartition = \"{{/c}}\"\n\
             secrets = [\"s\"]\nscheme = {{ kind = \"token\", token = {{ header = \"X\" }}, \
             event_type = [{{ json = \"/type\" }}] }}\n\
             [topics.\"a.vip\"]\naccess = \"public\"\n{GITHUB}\n{written}"
        );
        Machine::with(&toml).diagnostics()
    };
    for shown in ["", "hide = [\"/secret\"]", "expose = [\"/type\", \"/id\"]"] {
        assert_eq!(below(shown), [""; 0], "{shown}");
    }
    for hidden in ["hide = [\"/type\"]", "expose = [\"/id\"]"] {
        let problems = below(hidden);
        let [problem] = &problems[..] else {
            panic!("{hidden}: {problems:#?}");
        };
        assert!(
            problem.contains("the partition of `a` may put events here"),
            "{problem}"
        );
        assert!(problem.contains("read from /type"), "{problem}");
    }
}
