//! What good configurations come to.

use std::time::Duration;

use hookrill_core::Topic;

use super::{Machine, example};
use crate::{
    access::{KeySource, Policy, TopicSource},
    config::Config,
    ingest::{DedupBy, DedupRule},
    journal::{Backend, Retention},
    telemetry::LogFormat,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The least that is a configuration, and what is added to it.
pub(super) fn least(more: &str) -> String {
    format!("{more}\n[topics.open]\nscheme = {{ kind = \"none\" }}\naccess = \"public\"\n")
}

fn topic<'c>(config: &'c Config, name: &str) -> &'c crate::config::TopicSettings {
    let topic: Topic = name.parse().unwrap();
    config.topics.lookup(&topic).unwrap()
}

#[test]
fn what_is_not_written_has_the_documented_defaults() {
    let toml = least("");
    let config = Machine::with(&toml).load().unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.public_url, "http://127.0.0.1:8080");
    assert_eq!(config.server.body_bytes_max, 5 << 20);
    assert_eq!(config.server.subscribers_max, 100_000);
    assert_eq!(config.server.shutdown_delay, Duration::ZERO);
    assert_eq!(config.server.shutdown_grace, Duration::from_secs(10));
    assert!(config.server.trusted_proxies.is_empty());
    assert!(config.server.cors_origins.is_empty());
    assert!(config.server.admin_token.is_none());
    assert!(!config.server.metrics_public);
    let Backend::Disk {
        path,
        reserve_bytes,
        commit_stall_max,
        new_epoch,
    } = &config.journal.backend
    else {
        panic!("the default is disk");
    };
    assert_eq!(path.to_str(), Some("data"));
    assert_eq!((*reserve_bytes, *new_epoch), (256 << 20, false));
    assert_eq!(*commit_stall_max, Duration::from_secs(5));
    let retention = Retention {
        age: 7 * DAY,
        bytes: 10 << 30,
    };
    assert_eq!(config.journal.retention, retention);
    assert_eq!(config.journal.dedup_entries_max, 1_000_000);
    assert_eq!(config.subscribe.heartbeat, Duration::from_secs(15));
    assert_eq!(config.subscribe.retry, Duration::from_secs(3));
    assert_eq!(config.subscribe.stream_age_max, None);
    let streams = &config.server.streams;
    assert!(streams.enabled && !streams.immutable);
    assert_eq!(streams.long_poll, Duration::from_secs(30));
    assert_eq!(streams.sse_ttl, Duration::from_secs(60));
    assert_eq!(streams.page_bytes, 256 << 10);
    assert_eq!(
        config.server.compression,
        crate::http::Compression::Browsers
    );
    assert_eq!(config.access.leeway, Duration::ZERO);
    assert_eq!(config.log.level, "info");
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.file.unwrap().to_str(), Some("hookrill.toml"));
    assert!(config.zero_config.is_none());
}

#[test]
fn a_journal_in_memory_keeps_what_fits_into_memory() {
    let toml = least("[journal]\nkind = \"memory\"\n");
    let config = Machine::with(&toml).load().unwrap();
    assert_eq!(config.journal.retention.bytes, 64 << 20);
    assert_eq!(config.journal.dedup_entries_max, 100_000);
}

#[test]
fn the_documented_example_says_all_but_what_any_topic_is() {
    let problems = example().diagnostics();
    let [problem] = &problems[..] else {
        panic!("{problems:#?}");
    };
    assert!(
        problem
            .starts_with("topics.\"*\".preset: must be set, since nothing else says how to verify"),
        "{problem}"
    );
    assert!(problem.ends_with("(hookrill.toml:47)"), "{problem}");
}

#[test]
fn the_documented_example_is_read_to_the_letter() {
    let config = example()
        .set("HOOKRILL__TOPICS__*__PRESET", "standard-webhooks")
        .set(
            "HOOKRILL__TOPICS__*__SECRETS__0",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        )
        .load()
        .unwrap();
    assert_eq!(config.public_url, "https://hooks.example.com");
    assert_eq!(config.server.trusted_proxies[0].to_string(), "10.0.0.0/8");
    assert_eq!(config.server.cors_origins, ["https://app.example.com"]);
    let admin_token = config.server.admin_token.as_ref().unwrap();
    assert_eq!(admin_token.expose(), b"admin-token-of-20-by");
    let secret = config.access.secret.as_ref().unwrap();
    assert_eq!(secret.expose(), b"0123456789abcdef0123456789abcdef");
    for (name, scheme, access, window) in [
        (
            "github",
            "github",
            Policy::Public,
            Some((DAY, DedupBy::IdOrBody)),
        ),
        ("orders.eu", "hmac-sha256, hex", Policy::Token, None),
        (
            "other",
            "standard-webhooks",
            Policy::Token,
            Some((DAY, DedupBy::Id)),
        ),
    ] {
        let topic = topic(&config, name);
        let dedup = window.map(|(window, by)| DedupRule { window, by });
        assert_eq!((&*topic.scheme, topic.access), (scheme, access), "{name}");
        assert_eq!(
            (topic.dedup, topic.view.event_names),
            (dedup, false),
            "{name}"
        );
    }
    let any = config.access.policies.any();
    assert_eq!(any, Some(&Policy::Token));
}

#[test]
fn a_body_counts_as_an_id_only_where_dedup_is_written() {
    let id = "preset = \"github\"\nsecrets = [\"s\"]\n";
    let none = "scheme = { kind = \"none\" }\n";
    let by = |window, by| Some(DedupRule { window, by });
    for (scheme, written, expected) in [
        (id, "", by(DAY, DedupBy::Id)),
        (id, "dedup = \"1h\"", by(HOUR, DedupBy::IdOrBody)),
        (id, "dedup_by = \"id\"", by(DAY, DedupBy::Id)),
        (id, "dedup_by = \"body\"", by(DAY, DedupBy::Body)),
        (
            id,
            "dedup_by = \"body\"\ndedup = \"1h\"",
            by(HOUR, DedupBy::Body),
        ),
        (id, "dedup = \"off\"", None),
        (none, "", None),
        (none, "dedup = \"1h\"", by(HOUR, DedupBy::IdOrBody)),
        (none, "dedup_by = \"body\"", by(DAY, DedupBy::Body)),
    ] {
        let toml = format!("[topics.a]\naccess = \"public\"\n{scheme}{written}");
        let config = Machine::with(&toml).load().unwrap();
        assert_eq!(topic(&config, "a").dedup, expected, "{toml}");
    }
}

#[test]
fn values_have_the_forms_that_people_write() {
    let toml = least(
        r#"
        [server]
        listen = "[::]:80"
        public_url = "https://example.com:8443/hooks///"
        body_bytes_max = 1048576
        trusted_proxies = ["10.0.0.7", "2001:db8::/32"]
        cors_origins = ["*", "HTTP://localhost:3000", "capacitor://localhost", "https://[::1]:1"]
        [journal]
        retain_age = "1h 30m"
        retain_bytes = "1.5 GB"
        [log]
        level = "info,hookrill::hub=debug"
        format = "json"
        "#,
    );
    let config = Machine::with(&toml).load().unwrap();
    assert_eq!(config.public_url, "https://example.com:8443/hooks");
    assert_eq!(config.local_url(), "http://[::1]:80");
    assert_eq!(config.server.body_bytes_max, 1 << 20);
    let proxies = &config.server.trusted_proxies;
    assert_eq!(proxies[0].to_string(), "10.0.0.7/32");
    assert_eq!(proxies[1].to_string(), "2001:db8::/32");
    assert_eq!(config.server.cors_origins[1], "http://localhost:3000");
    assert_eq!(config.journal.retention.age, HOUR * 3 / 2);
    assert_eq!(config.journal.retention.bytes, 1_500_000_000);
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn a_configuration_shows_no_secret() {
    let config = example()
        .set("HOOKRILL__TOPICS__*__PRESET", "github")
        .set("HOOKRILL__TOPICS__*__SECRETS__0", "tell-nobody")
        .load()
        .unwrap();
    let shown = format!("{config:?} {config:#?}");
    for secret in [
        "admin-token-of",
        "0123456789abcdef",
        "Everybody",
        "orders-secret",
        "tell-nobody",
    ] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[test]
fn issuers_are_sections_and_their_keys_may_stand_elsewhere() {
    let key = "-----BEGIN PUBLIC KEY-----\n\
               MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
               -----END PUBLIC KEY-----\n";
    let toml = "[topics.a]\nscheme = { kind = \"none\" }\n\
                [[access.issuers]]\nissuer = \"https://id.example.com/\"\n\
                audience = [\"hookrill\", \"other\"]\npublic_key = \"file:id.pem\"\n\
                topics = [\"orders.{sub}\"]\n\
                [[access.issuers]]\nissuer = \"b\"\naudience = \"hookrill\"\n\
                jwks_url = \"http://127.0.0.1:1/jwks\"\ntopics_claim = \"may_read\"\n";
    let config = Machine::with(toml).file("id.pem", key).load().unwrap();
    let [first, second] = &config.access.issuers[..] else {
        panic!("{:?}", config.access.issuers);
    };
    assert_eq!(first.name.as_deref(), Some("https://id.example.com/"));
    assert_eq!(first.audience.len(), 2);
    assert!(matches!(first.keys, KeySource::Public(_)));
    assert!(matches!(first.topics, TopicSource::Templates(_)));
    assert!(matches!(&second.keys, KeySource::Url(url) if &**url == "http://127.0.0.1:1/jwks"));
    assert_eq!(second.topics, TopicSource::Claim("may_read".into()));
}
