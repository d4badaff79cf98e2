//! What `/metrics` says: by section, and of the process.

use hookrill_testing::{ADMIN_TOKEN, Gateway, OPEN_TOPIC, Process};

const TWO: &str = "[access]\nsecret = \"0123456789abcdef0123456789abcdef\"\n\
                   [topics.other]\npreset = \"github\"\nsecrets = [\"0123456789abcdef\"]";

async fn page(gateway: &hookrill_testing::Client) -> String {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let page = gateway.get("/metrics", &[("Authorization", &bearer)]).await;
    page.text().to_owned()
}

#[tokio::test]
async fn figures_are_kept_by_section_and_are_there_at_0_from_the_start() {
    let gateway = Process::with_sections(&format!("{OPEN_TOPIC}\n{TWO}"));
    let before = page(&gateway).await;
    for series in [
        "hookrill_ingested_total{section=\"open\"} 0",
        "hookrill_ingest_refused_total{section=\"other\",reason=\"mismatch\"} 0",
        "hookrill_ingest_refused_total{section=\"\",reason=\"topic_unknown\"} 0",
        "hookrill_subscribe_refused_total{section=\"other\",reason=\"token_missing\"} 0",
        "hookrill_gaps_total{reason=\"retention\"} 0",
        "hookrill_connections_refused_total{reason=\"connections\"} 0",
        "hookrill_ready 1",
        "hookrill_journal_oldest_event_age_seconds 0",
    ] {
        assert!(
            before.contains(&format!("{series}\n")),
            "no {series}:\n{before}"
        );
    }
    gateway.post("open.sub", "12345").await;
    gateway.post("other", "12345").await;
    gateway.post("other.sub", "12345").await;
    gateway.post("unknown", "12345").await;
    gateway.get("/events/other", &[]).await;
    gateway.get("/events/unknown", &[]).await;
    gateway.get("/no/such/route", &[]).await;
    let after = page(&gateway).await;
    for series in [
        "hookrill_ingested_total{section=\"open\"} 1",
        "hookrill_ingested_bytes_total{section=\"open\"} 5",
        "hookrill_ingested_total{section=\"other\"} 0",
        "hookrill_ingest_refused_total{section=\"other\",reason=\"header_missing\"} 2",
        "hookrill_ingest_refused_total{section=\"open\",reason=\"header_missing\"} 0",
        "hookrill_ingest_refused_total{section=\"\",reason=\"topic_unknown\"} 1",
        "hookrill_subscribe_refused_total{section=\"other\",reason=\"token_missing\"} 1",
        "hookrill_subscribe_refused_total{section=\"\",reason=\"topic_unknown\"} 1",
        "hookrill_http_responses_total{route=\"/ingest\",status=\"401\"} 3",
        "hookrill_http_responses_total{route=\"other\",status=\"404\"} 1",
        "hookrill_ingest_seconds_count 1",
    ] {
        assert!(
            after.contains(&format!("{series}\n")),
            "no {series}:\n{after}"
        );
    }
    assert!(
        !after.contains("section=\"unknown"),
        "a made-up topic has a series"
    );
    for above_0 in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "hookrill_journal_bytes",
        "hookrill_journal_disk_free_bytes",
        "hookrill_build_info",
    ] {
        assert!(gateway.metric(above_0).await > 0.0, "{above_0}: {after}");
    }
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    let info = after
        .lines()
        .find(|line| line.starts_with("hookrill_build_info"));
    assert!(info.is_some_and(|line| line.contains(&version) && line.contains("commit=\"")));
}

#[tokio::test]
async fn help_texts_name_keys_that_there_are_and_what_only_rises_is_a_counter() {
    let gateway = Gateway::in_memory().start().await;
    let page = page(&gateway).await;
    assert!(
        page.contains("\n# TYPE process_cpu_seconds_total counter\n"),
        "{page}"
    );
    assert!(
        page.contains("as journal.retain_bytes counts them.\n"),
        "{page}"
    );
}

#[tokio::test]
async fn responses_are_counted_where_a_server_takes_only_the_routes() {
    let gateway = Gateway::in_memory().with_router_only().start().await;
    gateway.post("open", "1").await;
    let counted = "hookrill_http_responses_total{route=\"/ingest\"}";
    assert_eq!(gateway.metric(counted).await, 1.0);
    assert_eq!(gateway.metric("hookrill_ready").await, 1.0);
}
