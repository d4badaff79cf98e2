//! `/streams`: pages of history, long polls and short streams, as the read half of
//! Durable Streams.

use std::time::{Duration, Instant};

use hookrill_testing::{Client, Response, WAIT_MAX, token};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Gateway;

/// Waits are as short as they may be.
const SHORT: &str = "[streams]\nlong_poll = \"1s\"\nsse_ttl = \"1s\"";

fn next(page: &Response) -> String {
    page.header("stream-next-offset").unwrap().to_owned()
}

fn is_last(page: &Response) -> bool {
    let said = page.header("stream-up-to-date");
    assert!(matches!(said, None | Some("true")), "{said:?}");
    said.is_some()
}

async fn page(gateway: &Client, query: &str) -> Response {
    let page = gateway.get(&format!("/streams/open{query}"), &[]).await;
    assert_eq!(page.status, 200, "{page:?}");
    page
}

/// The bodies of all events, page by page.
async fn bodies(gateway: &Client, more: &str) -> Vec<Value> {
    let (mut offset, mut all) = ("-1".to_owned(), Vec::new());
    loop {
        let page = page(gateway, &format!("?offset={offset}&format=raw{more}")).await;
        let Value::Array(events) = page.json() else {
            panic!("{page:?}")
        };
        all.extend(events);
        let after = next(&page);
        assert!(after > offset || is_last(&page), "{offset} {after}");
        offset = after;
        if is_last(&page) {
            return all;
        }
    }
}

async fn filled(gateway: &Client, count: usize) -> Vec<Value> {
    for n in 0..count {
        gateway.post("open", format!("{{\"n\":{n}}}")).await.id();
        gateway.post("named", "{}").await;
    }
    (0..count).map(|n| json!({ "n": n })).collect()
}

#[tokio::test]
async fn a_page_has_the_events_and_says_where_the_next_one_begins() {
    let gateway = Gateway::on_disk().start().await;
    let id = gateway.post("open", r#"{"a": [1, 2]}"#).await.id();
    gateway.post("open.sub", "not json").await.id();
    let whole = page(&gateway, "").await;
    assert_eq!(whole.header("content-type"), Some("application/json"));
    let events = whole.json();
    assert_eq!(events[0]["id"], id);
    assert_eq!(events[0]["data"], json!({"a": [1, 2]}));
    assert_eq!(events[1]["topic"], "open.sub");
    assert_eq!(events.as_array().unwrap().len(), 2);
    assert!(is_last(&whole));
    let (epoch, _) = id.split_once('-').unwrap();
    assert_eq!(next(&whole), format!("{epoch}_{:020}", 2));
    for query in [
        "?offset=-1",
        &format!("?offset={epoch}_{:020}", 0),
        "?since=earliest",
    ] {
        assert_eq!(page(&gateway, query).await.text(), whole.text(), "{query}");
    }
    // A cursor as ingest gave it.
    let rest = page(&gateway, &format!("?offset={id}")).await;
    assert_eq!(rest.json()[0], events[1]);
    assert_eq!(page(&gateway, "?last=1").await.json()[0], events[1]);
    let raw = page(&gateway, "?format=raw").await;
    assert_eq!(raw.text(), r#"[{"a":[1,2]},"not json"]"#);
    let lines = gateway
        .get(
            "/streams/open?format=raw",
            &[("Accept", "application/x-ndjson")],
        )
        .await;
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(lines.text(), "{\"a\":[1,2]}\n\"not json\"\n");
    let end = page(&gateway, "?offset=now").await;
    assert_eq!((end.text(), next(&end)), ("[]", next(&whole)));
    assert_eq!(end.header("cache-control"), Some("no-store"));
    assert_eq!(end.header("etag"), None);
    // Nothing more: the same place, and nothing.
    let nothing = page(&gateway, &format!("?offset={}", next(&whole))).await;
    assert_eq!((nothing.text(), next(&nothing)), ("[]", next(&whole)));
    assert!(is_last(&nothing));
}

#[tokio::test]
async fn pages_of_every_size_have_all_events_in_order_and_each_once() {
    let gateway = Gateway::on_disk()
        .sections("[streams]\npage_bytes = \"1 KiB\"")
        .start()
        .await;
    let all = filled(&gateway, 40).await;
    for more in [
        "",
        "&limit=1",
        "&limit=7",
        "&limit=40",
        "&limit=1000",
        "&types=webhook",
    ] {
        assert_eq!(bodies(&gateway, more).await, all, "{more}");
    }
    assert!(bodies(&gateway, "&types=other").await.is_empty());
    let linked = page(&gateway, "?offset=-1&limit=39&types=webhook&format=raw").await;
    assert!(!is_last(&linked));
    let link = linked.header("link").unwrap();
    let target = link
        .strip_prefix('<')
        .unwrap()
        .strip_suffix(">; rel=\"next\"");
    let rest = page(&gateway, target.unwrap()).await;
    assert_eq!(rest.json(), json!([all[39]]));
    assert!(is_last(&rest), "and the page says that this was all");
    // Full to the limit, and nothing follows.
    let exact = page(&gateway, "?limit=40&format=raw").await;
    assert!(is_last(&exact));
}

#[tokio::test]
async fn an_event_longer_than_a_page_is_a_page() {
    let gateway = Gateway::on_disk()
        .sections("[streams]\npage_bytes = \"1 KiB\"")
        .start()
        .await;
    gateway.post("open", "\"a\"").await.id();
    let long = format!("\"{}\"", "x".repeat(3 << 20));
    gateway.post("open", &long).await.id();
    gateway.post("open", "\"b\"").await.id();
    let first = page(&gateway, "?format=raw").await;
    assert_eq!(first.text(), "[\"a\"]");
    let second = page(&gateway, &format!("?format=raw&offset={}", next(&first))).await;
    assert!(second.text() == format!("[{long}]"));
    let third = page(&gateway, &format!("?format=raw&offset={}", next(&second))).await;
    assert_eq!(third.text(), "[\"b\"]");
}

#[tokio::test]
async fn what_is_gone_is_told_with_where_history_goes_on() {
    let gateway = Gateway::in_memory()
        .journal("retain_bytes = \"64 KiB\"")
        .start()
        .await;
    let first = gateway.post("open", "first").await.id();
    let beginning = next(&page(&gateway, "").await);
    let (epoch, _) = first.split_once('-').unwrap();
    for (offset, reason) in [
        (format!("otherone_{:020}", 1), "epoch"),
        ("otherone-1".to_owned(), "epoch"),
        (format!("{epoch}_{:020}", 2), "unknown"),
        (format!("{epoch}_{}", u64::MAX), "unknown"),
    ] {
        let gone = gateway
            .get(&format!("/streams/open?offset={offset}"), &[])
            .await;
        is_gap(&gone, reason, &format!("{epoch}_{:020}", 0));
    }
    gateway.fill("named", 0, 1).await;
    gateway.fill("open", 100, 4096).await;
    for live in ["", "&live=long-poll", "&live=sse"] {
        let path = format!("/streams/open?offset={beginning}{live}");
        let gone = gateway.get(&path, &[]).await;
        assert_eq!(gone.status, 410, "{gone:?}");
        let earliest = gone.header("stream-earliest-offset").unwrap();
        is_gap(&gone, "retention", earliest);
        let rest = page(&gateway, &format!("?offset={earliest}")).await;
        let oldest = page(&gateway, "?offset=-1").await;
        assert_eq!(rest.text(), oldest.text());
    }
    assert!(
        gateway
            .metric("hookrill_gaps_total{reason=\"retention\"}")
            .await
            >= 3.0
    );
}

fn is_gap(gone: &Response, reason: &str, earliest: &str) {
    assert_eq!(gone.status, 410, "{gone:?}");
    assert_eq!(
        gone.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(gone.header("cache-control"), Some("no-store"));
    assert_eq!(gone.header("stream-earliest-offset"), Some(earliest));
    assert_eq!(gone.json()["earliest"], earliest);
    assert_eq!(gone.json()["reason"], reason);
}

#[tokio::test]
async fn whoever_needs_a_token_is_answered_as_at_events_and_nobody_else_keeps_it() {
    let gateway = Gateway::in_memory().start().await;
    gateway.post("shut", "1").await.id();
    let good = token(&["shut"], 60);
    for live in ["", "?offset=-1&live=long-poll", "?offset=-1&live=sse"] {
        for (path, status) in [
            ("/streams/shut", 401),
            ("/streams/unknown", 404),
            ("/streams/open/x", 400),
            ("/streams", 401),
        ] {
            let refused = gateway.get(&format!("{path}{live}"), &[]).await;
            assert_eq!(refused.status, status, "{path}{live}: {refused:?}");
            assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(refused.header("cache-control"), Some("no-store"));
        }
        let bearer = format!("Bearer {}", token(&["other"], 60));
        let headers = [("Authorization", &*bearer)];
        let refused = gateway.get(&format!("/streams/shut{live}"), &headers).await;
        assert_eq!(refused.status, 403);
    }
    let page = gateway
        .get(&format!("/streams/shut?token={good}"), &[])
        .await;
    let cache = page.header("cache-control").unwrap();
    assert!(cache.starts_with("private, "), "{cache}");
    assert_eq!(page.header("vary"), Some("accept, authorization, cookie"));
    assert!(!page.head.contains(&good), "{}", page.head);
}

#[tokio::test]
async fn head_says_where_the_stream_begins_and_ends_and_nothing_can_be_written() {
    let gateway = Gateway::in_memory().start().await;
    gateway.post("open", "1").await.id();
    let send = async |method: &str, path: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n");
        gateway.send(head).await
    };
    let head = send("HEAD", "/streams/open").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        head.header("content-length"),
        None,
        "no page has that length"
    );
    assert_eq!(next(&head), next(&page(&gateway, "").await));
    assert_eq!(head.header("cache-control"), Some("no-store"));
    assert_eq!(head.header("content-type"), Some("application/json"));
    assert!(
        head.header("stream-earliest-offset")
            .unwrap()
            .ends_with('0')
    );
    assert_eq!(send("HEAD", "/streams/unknown").await.status, 404);
    assert_eq!(send("HEAD", "/streams/shut").await.status, 401);
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        let refused = send(method, "/streams/open").await;
        assert_eq!(refused.status, 405, "{method}");
        assert_eq!(refused.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    let options = send("OPTIONS", "/streams/open").await;
    assert_eq!(
        (options.status, options.header("allow")),
        (204, Some("GET, HEAD, OPTIONS"))
    );
}

#[tokio::test]
async fn a_long_poll_waits_for_an_event_and_says_at_its_end_that_there_was_none() {
    let gateway = Gateway::in_memory().sections(SHORT).start().await;
    gateway.post("open", "1").await.id();
    let there = page(&gateway, "?offset=-1&live=long-poll&format=raw").await;
    assert_eq!(there.text(), "[1]");
    let cursor: u64 = there.header("stream-cursor").unwrap().parse().unwrap();
    let offset = next(&there);
    let path = format!("/streams/open?offset={offset}&live=long-poll&cursor={cursor}&format=raw");
    let begun = Instant::now();
    let nothing = gateway.get(&path, &[]).await;
    assert!(begun.elapsed() >= Duration::from_millis(900));
    assert_eq!((nothing.status, nothing.body.len()), (204, 0));
    assert_eq!(next(&nothing), offset);
    assert!(is_last(&nothing));
    let later: u64 = nothing.header("stream-cursor").unwrap().parse().unwrap();
    assert!(later > cursor);
    for start in [&*offset, "now"] {
        let live = format!("/streams/open?offset={start}&live=long-poll&format=raw");
        let polling = async {
            loop {
                let answer = gateway.get(&live, &[]).await;
                if answer.status == 200 {
                    return answer;
                }
                assert_eq!(answer.status, 204);
            }
        };
        let posting = async {
            waits(&gateway, 1.0).await;
            // Of no concern to it.
            gateway.post("shut", "0").await.id();
            gateway.post("open.sub", "2").await.id();
        };
        let (answer, ()) = tokio::join!(polling, posting);
        let all: Value = answer.json();
        assert_eq!(all.as_array().unwrap().last().unwrap(), 2, "{start}");
    }
    waits(&gateway, 0.0).await;
}

/// Until so many wait.
async fn waits(gateway: &Client, count: f64) {
    let waiting = async {
        while (gateway.metric("hookrill_subscribers").await - count).abs() > 0.1 {
            tokio::time::sleep(hookrill_testing::POLL_INTERVAL).await;
        }
    };
    timeout(WAIT_MAX, waiting)
        .await
        .expect("as many as that wait");
}

#[tokio::test]
async fn a_short_stream_says_after_each_data_where_it_is_and_ends() {
    let gateway = Gateway::on_disk().sections(SHORT).start().await;
    let all = filled(&gateway, 5).await;
    let path = "/streams/open?offset=-1&live=sse&limit=2&format=raw";
    let answer = gateway.get(path, &[]).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert!(answer.header("cache-control").unwrap().contains("no-cache"));
    assert_eq!(answer.header("content-length"), None);
    let mut events = Vec::new();
    let blocks: Vec<_> = answer.text().split_terminator("\n\n").collect();
    for (block, follows) in blocks.iter().zip(blocks[1..].iter().chain([&""])) {
        if let Some(data) = block.strip_prefix("event: data\ndata:") {
            let Value::Array(page) = serde_json::from_str(data).unwrap() else {
                panic!("{data}")
            };
            events.extend(page);
            assert!(follows.starts_with("event: control\ndata:{"), "{follows}");
        }
    }
    assert_eq!(events, all);
    let control = blocks.last().unwrap().strip_prefix("event: control\ndata:");
    let control: Value = serde_json::from_str(control.unwrap()).unwrap();
    assert_eq!(control["upToDate"], true);
    assert_eq!(control["streamNextOffset"], next(&page(&gateway, "").await));
    assert!(
        control["streamCursor"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .is_ok()
    );
    let first = blocks[1].strip_prefix("event: control\ndata:").unwrap();
    assert!(!first.contains("upToDate"), "{first}");
}
