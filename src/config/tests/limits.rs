//! How often, and how many: what is written, and what comes of it.

use super::{Machine, usable::least};
use crate::http::AddressLimits;

const TOPIC: &str = "[topics.a]\naccess = \"public\"\nscheme = { kind = \"none\" }\n";

#[test]
fn nothing_is_limited_that_nobody_wrote() {
    let config = Machine::with(TOPIC).load().unwrap();
    assert_eq!(config.server.limits, AddressLimits::default());
    let limits = config.server.limits;
    assert_eq!(limits.ingest_rate_per_address_max, None);
    assert_eq!(limits.subscribe_rate_per_address_max, None);
    assert_eq!(limits.page_rate_per_address_max, None);
    assert_eq!(limits.subscribers_per_address_max, None);
    assert_eq!(config.topics.lookup(&topic("a")).unwrap().rate_max, None);
}

#[test]
fn limits_are_read_to_the_letter_from_the_file_and_the_environment() {
    let toml = format!(
        "[server]\ningest_rate_per_address_max = \"50/s\"\n\
         subscribe_rate_per_address_max = \"30/m\"\n\
         page_rate_per_address_max = \"20/s\"\n\
         subscribers_per_address_max = 100\n{TOPIC}rate_max = \"100/s\"\n\
         [topics.b]\naccess = \"public\"\nscheme = {{ kind = \"none\" }}\n"
    );
    let machine = Machine::with(&toml).set("HOOKRILL__TOPICS__B__RATE_MAX", "7/h");
    let config = machine.load().unwrap();
    let limits = &config.server.limits;
    assert_eq!(
        limits.ingest_rate_per_address_max.unwrap().to_string(),
        "50/s"
    );
    assert_eq!(
        limits.subscribe_rate_per_address_max.unwrap().to_string(),
        "30/m"
    );
    assert_eq!(
        limits.page_rate_per_address_max.unwrap().to_string(),
        "20/s"
    );
    assert_eq!(limits.subscribers_per_address_max, Some(100));
    for (name, rate) in [("a", "100/s"), ("a.sub", "100/s"), ("b", "7/h")] {
        let settings = config.topics.lookup(&topic(name)).unwrap();
        assert_eq!(settings.rate_max.unwrap().to_string(), rate, "{name}");
    }
}

#[test]
fn a_bad_limit_is_refused_at_its_place_with_the_form_of_a_good_one() {
    const FORM: &str = "is not a rate: a rate is a whole number and a period, such as 100/s";
    const COUNT: &str = "is not a rate: a rate is from 1 to 1000000, per s, m or h";
    let server = |line: &str| least(&format!("[server]\n{line}"));
    let section = |line: &str| format!("{TOPIC}{line}");
    for (toml, place, what) in [
        (
            server("ingest_rate_per_address_max = \"50\""),
            "server.ingest_rate_per_address_max: \"50\" ",
            FORM,
        ),
        (
            server("ingest_rate_per_address_max = \"0/s\""),
            "server.ingest_rate_per_address_max: \"0/s\" ",
            COUNT,
        ),
        (
            server("subscribe_rate_per_address_max = \"1000001/h\""),
            "server.subscribe_rate_per_address_max: \"1000001/h\" ",
            COUNT,
        ),
        (
            server("subscribe_rate_per_address_max = 10"),
            "server.subscribe_rate_per_address_max: ",
            "must be a rate such as \"100/s\", \"600/m\" or \"5/h\", not 10",
        ),
        (
            server("subscribers_per_address_max = 0"),
            "server.subscribers_per_address_max: ",
            "must be between 1 and 10000000, not 0",
        ),
        (
            server("subscribers_per_address_max = \"10/s\""),
            "server.subscribers_per_address_max: ",
            "must be a whole number, without quotes, not \"10/s\"",
        ),
        (
            section("rate_max = \"100/d\""),
            "topics.a.rate_max: \"100/d\" ",
            FORM,
        ),
        (
            section("rate_max = \"1.5/s\""),
            "topics.a.rate_max: \"1.5/s\" ",
            FORM,
        ),
        (
            section("rate_per_address_max = \"1/s\""),
            "topics.a.rate_per_address_max: ",
            "there is no such key",
        ),
    ] {
        let problems = Machine::with(&toml).diagnostics();
        let [problem] = &problems[..] else {
            panic!("{toml}: {problems:#?}");
        };
        let whole = format!("{place}{what}");
        assert!(problem.starts_with(&whole), "{problem} is not {whole}");
    }
}

fn topic(name: &str) -> hookrill_core::Topic {
    name.parse().unwrap()
}
