//! What the log says of those who were refused.

use hookrill_testing::{
    GITHUB_SECRET, OPEN_TOPIC, Process, TOKEN_SECRET, github_signature, token_until,
};

fn github(log: &str) -> Process {
    Process::with_sections(&format!(
        "[log]\n{log}\n[access]\nsecret = \"{TOKEN_SECRET}\"\n\
         [topics.github]\npreset = \"github\"\nsecrets = [\"{GITHUB_SECRET}\"]\n{OPEN_TOPIC}"
    ))
}

fn lines<'l>(log: &'l str, message: &str) -> Vec<&'l str> {
    log.lines().filter(|line| line.contains(message)).collect()
}

#[tokio::test]
async fn a_flood_at_an_unknown_topic_hides_no_refusal_of_a_configured_one() {
    let gateway = github("level = \"info\"");
    let old = github_signature("the secret before", b"{}");
    for delivery in 0..6 {
        for _ in 0..50 {
            assert_eq!(gateway.post("nobody", "junk").await.status, 401);
        }
        let id = format!("delivery-{delivery}");
        let headers = [("X-Hub-Signature-256", &*old), ("X-GitHub-Delivery", &*id)];
        assert_eq!(
            gateway.post_with("github", &headers, "{}").await.status,
            401
        );
    }
    let log = gateway.stop();
    for delivery in 0..6 {
        let id = format!("delivery_id=\"delivery-{delivery}\"");
        assert_eq!(lines(&log, &id).len(), 1, "{id}: {log}");
    }
    let junk = lines(&log, "delivery refused topic");
    let junk = junk.iter().filter(|line| line.contains("\"nobody\""));
    assert!(junk.count() <= 40, "{log}");
    let told = lines(&log, "more like this were left out in the last");
    let told = told
        .iter()
        .filter(|line| line.contains("reason=\"topic_unknown\""));
    let left_out = told.map(|line| {
        let words = line.split("delivery refused: ").nth(1).unwrap();
        words.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    assert!(left_out.sum::<u64>() >= 250, "{log}");
}

#[tokio::test]
async fn refusals_of_a_configured_topic_are_warnings_with_what_helps_to_find_out_why() {
    let gateway = github("level = \"warn\"");
    let wrong = github_signature("another secret", b"12345");
    let headers = [
        ("X-Hub-Signature-256", &*wrong),
        ("X-GitHub-Delivery", "72d3162e"),
        ("User-Agent", "GitHub-Hookshot/044aadd"),
    ];
    gateway.post_with("github.push", &headers, "12345").await;
    gateway.post("unknown", "12345").await;
    gateway.get("/events/github", &[]).await;
    gateway.get("/events/unknown", &[]).await;
    let other = token_until(&["other"], u64::MAX / 1000);
    let path = format!("/events?topic=github.a&topic=github.b&token={other}");
    let page = [("User-Agent", "curl/8"), ("Origin", "https://app.example")];
    gateway.get(&path, &page).await;
    gateway.get("/events/github?since=x", &[]).await;
    let log = gateway.stop();
    assert!(!log.contains("unknown"), "lower than a warning: {log}");
    for (message, fields) in [
        (
            "delivery refused",
            &[
                "client=127.0.0.1",
                "topic=\"github.push\"",
                "section=\"github\"",
                "reason=\"mismatch\"",
                "delivery_id=\"72d3162e\"",
                "bytes=5",
                "user_agent=\"GitHub-Hookshot/044aadd\"",
            ][..],
        ),
        (
            "subscription refused",
            &[
                "topic=\"github\"",
                "reason=\"token_missing\"",
                "section=\"github\"",
            ],
        ),
        (
            "subscription refused",
            &[
                "topic=\"github.a, github.b\"",
                "reason=\"topic_not_covered\"",
                "origin=\"https://app.example\"",
                "user_agent=\"curl/8\"",
            ],
        ),
        ("subscription refused", &["reason=\"malformed\"", "since"]),
    ] {
        let said = lines(&log, message);
        let has_all = |line: &&&str| fields.iter().all(|field| line.contains(field));
        assert_eq!(said.iter().filter(has_all).count(), 1, "{fields:?}: {log}");
        assert!(said.iter().all(|line| line.contains("WARN")), "{log}");
    }
    assert!(!log.contains(&other), "a token is logged");
}

#[tokio::test]
async fn a_page_that_is_not_let_in_is_logged_once_with_what_to_write() {
    let gateway = Process::with_sections(&format!(
        "cors_origins = [\"https://app.example.com\"]\n[log]\nlevel = \"warn\"\n{OPEN_TOPIC}"
    ));
    let page = "http://localhost:5173";
    for _ in 0..3 {
        for origin in [page, "null", "https://app.example.com"] {
            let mut stream = gateway
                .subscriber_with("/events/open", &[("Origin", origin)])
                .await;
            stream.opened().await;
        }
    }
    for (path, headers) in [
        ("/events/open?since=x", &[("Origin", "not an origin")][..]),
        ("/events/open?since=x", &[("Origin", "http://gateway")]),
        (
            "/events/open?since=x",
            &[("Origin", "https://own"), ("X-Forwarded-Host", "own")],
        ),
        (
            "/events/open?since=x",
            &[("Origin", "https://own"), ("Sec-Fetch-Site", "same-origin")],
        ),
        ("/ingest/open", &[("Origin", "https://form.example")]),
        ("/healthz", &[("Origin", "https://form.example")]),
    ] {
        gateway.get(path, headers).await;
    }
    let log = gateway.stop();
    let said = lines(&log, "may not read streams");
    assert_eq!(said.len(), 2, "{log}");
    let advice = format!("write cors_origins = [\"{page}\"] in [server]");
    assert_eq!(lines(&log, &advice).len(), 1, "{log}");
    assert_eq!(lines(&log, "pages without an origin").len(), 1, "{log}");
}

#[tokio::test]
async fn at_debug_each_delivery_and_each_stream_has_a_line_that_its_span_ties_together() {
    let gateway = Process::with_sections(&format!("[log]\nlevel = \"debug\"\n{OPEN_TOPIC}"));
    let mut subscriber = gateway.subscriber("/events/open").await;
    subscriber.opened().await;
    let id = gateway.post("open", "12345").await.id();
    subscriber.events(1).await;
    drop(subscriber);
    gateway.wait_for_log("stream ended");
    let log = gateway.stop();
    let start = lines(&log, "the gateway starts").concat();
    for field in [
        "version=", "commit=", "file=", "topics=1", "epoch=", "events=0",
    ] {
        assert!(start.contains(field), "no {field}: {start}");
    }
    let accepted = lines(&log, "delivery accepted").concat();
    for field in [
        "delivery{request=",
        "topic=\"open\"",
        &format!("cursor={id}"),
        "duplicate=false",
        "bytes=5",
    ] {
        assert!(accepted.contains(field), "no {field}: {accepted}");
    }
    let opened = lines(&log, "stream opened").concat();
    let ended = lines(&log, "stream ended").concat();
    let span = |line: &str| {
        let (_, rest) = line.split_once("subscription{").unwrap();
        rest.split('}').next().unwrap().to_owned()
    };
    assert_eq!(span(&opened), span(&ended), "{log}");
    for field in ["why=\"the client has left\"", "events=1"] {
        assert!(ended.contains(field), "no {field}: {ended}");
    }
}
