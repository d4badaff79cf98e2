//! `GET /events`: what a subscriber gets, and how it goes on after a cut.
//! Read twice: over the connection writer, and over an ordinary body.

use super::Gateway;
use hookrill_testing::{WAIT_MAX, token};

const ACCEPT_STREAM: (&str, &str) = ("Accept", "text/event-stream");

#[tokio::test]
async fn a_stream_says_what_it_is() {
    let gateway = Gateway::in_memory().start().await;
    let mut subscriber = gateway.subscriber("/events/open").await;
    let head = subscriber.head.to_ascii_lowercase();
    for line in [
        "content-type: text/event-stream; charset=utf-8\r\n",
        "cache-control: no-store, no-transform\r\n",
        "x-accel-buffering: no",
    ] {
        assert!(head.contains(line), "{head}");
    }
    subscriber.opened().await;
    let retry = subscriber.take_retry().expect("a wait is written");
    assert!((3_000..=6_000).contains(&retry), "{retry}");
}

#[tokio::test]
async fn an_id_just_returned_is_an_id_to_resume_from() {
    let gateway = Gateway::on_disk().start().await;
    for n in 0..100 {
        let id = gateway.post("open", format!("{n}")).await.id();
        let resume = [("Last-Event-ID", &*id)];
        let mut subscriber = gateway.subscriber_with("/events/open", &resume).await;
        assert_eq!(subscriber.opened().await, id, "no gap, no other place");
    }
}

#[tokio::test]
async fn right_after_a_restart_any_id_yields_what_followed() {
    let gateway = Gateway::on_disk().start().await;
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(gateway.post("open", format!("{n}")).await.id());
    }
    let folder = gateway.stop().await.unwrap();
    let restarted = Gateway::in_folder(folder).start().await;
    for after in [0, 10, 48] {
        let resume = [("Last-Event-ID", &*ids[after])];
        let mut subscriber = restarted.subscriber_with("/events/open", &resume).await;
        let events = subscriber.events(49 - after).await;
        let seen: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
        assert_eq!(seen, ids[after + 1..]);
    }
    // And with nothing new, what comes next comes next.
    let resume = [("Last-Event-ID", &*ids[49])];
    let mut subscriber = restarted.subscriber_with("/events/open", &resume).await;
    assert_eq!(subscriber.opened().await, ids[49]);
    let next = restarted.post("open", "next").await.id();
    assert_eq!(subscriber.events(1).await[0].id, next);
}

#[tokio::test]
async fn the_memory_journal_tells_of_what_it_forgot() {
    let gateway = Gateway::in_memory().start().await;
    let id = gateway.post("open", "x").await.id();
    gateway.stop().await;
    let restarted = Gateway::in_memory().start().await;
    let resume = [("Last-Event-ID", &*id)];
    let mut subscriber = restarted.subscriber_with("/events/open", &resume).await;
    subscriber.opened().await;
    let gap = subscriber.next().await.unwrap();
    assert_eq!(gap.name, "hookrill.gap");
    let told: serde_json::Value = serde_json::from_str(&gap.data).unwrap();
    assert_eq!(told["reason"], "epoch");
    assert_eq!(told["asked"], id);
    assert_eq!(told["resumed"], gap.id);
}

#[tokio::test]
async fn what_is_asked_first_wins() {
    let gateway = Gateway::in_memory().start().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(gateway.post("open", format!("{n}")).await.id());
    }
    let all = format!("/events/open?since={}&last=1", ids[1]);
    let resume = [("Last-Event-ID", &*ids[3])];
    let mut resumed = gateway.subscriber_with(&all, &resume).await;
    assert_eq!(resumed.events(1).await[0].id, ids[4]);
    let mut since = gateway.subscriber(&all).await;
    assert_eq!(since.events(1).await[0].id, ids[2]);
    let mut last = gateway.subscriber("/events/open?last=2").await;
    assert_eq!(last.events(1).await[0].id, ids[3]);
}

#[tokio::test]
async fn types_and_several_topics_make_one_stream() {
    let gateway = Gateway::in_memory()
        .sections(
            "[topics.typed]\naccess = \"public\"\n\
             scheme = { kind = \"none\", event_type = [{ header = \"X-Type\" }] }",
        )
        .start()
        .await;
    let path = "/events/typed.a?topic=typed.b&topic=open&types=push,ping,webhook";
    let mut subscriber = gateway.subscriber(path).await;
    subscriber.opened().await;
    let mut expected = Vec::new();
    for (topic, event_type, wanted) in [
        ("typed.a", "push", true),
        ("typed.b", "issues", false),
        ("typed.c", "push", false),
        ("typed.b.x", "ping", true),
        ("open", "ignored", true),
    ] {
        let headers = [("X-Type", event_type)];
        let id = gateway.post_with(topic, &headers, "x").await.id();
        expected.extend(wanted.then_some(id));
    }
    let seen = subscriber.events(3).await;
    let seen: Vec<_> = seen.iter().map(|event| event.id.clone()).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_token_serves_by_header_query_and_cookie() {
    let gateway = Gateway::in_memory().start().await;
    let token = token(&["shut"], 60);
    let bearer = format!("Bearer {token}");
    let cookie = format!("other=1; hookrill_token={token}");
    for (path, headers) in [
        ("/events/shut", vec![("Authorization", &*bearer)]),
        (&*format!("/events/shut.below?token={token}"), vec![]),
        ("/events/shut", vec![("Cookie", &*cookie)]),
    ] {
        let mut subscriber = gateway.subscriber_with(path, &headers).await;
        assert_eq!(subscriber.status(), 200);
        subscriber.opened().await;
    }
}

#[tokio::test]
async fn a_token_for_everything_opens_everything() {
    let gateway = Gateway::in_memory().start().await;
    let path = format!("/events?token={}", token(&["*"], 60));
    let mut subscriber = gateway.subscriber(&path).await;
    subscriber.opened().await;
    let shut = gateway.post("shut.a", "x").await.id();
    let open = gateway.post("open", "y").await.id();
    let seen = subscriber.events(2).await;
    assert_eq!([&seen[0].id, &seen[1].id], [&shut, &open]);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_does() {
    let gateway = Gateway::in_memory().start().await;
    let path = format!("/events/shut?token={}", token(&["shut"], 1));
    let mut subscriber = gateway.subscriber(&path).await;
    subscriber.opened().await;
    let begun = std::time::Instant::now();
    subscriber.ended().await;
    assert!(begun.elapsed().as_millis() > 500);
    gateway.set_clock(1);
    assert_eq!(gateway.get(&path, &[]).await.status, 401);
}

#[tokio::test]
async fn event_source_is_kept_alive_where_waiting_helps() {
    let gateway = Gateway::in_memory()
        .server("subscribers_max = 1")
        .start()
        .await;
    let mut only = gateway.subscriber("/events/open").await;
    only.opened().await;
    let refused = gateway.get("/events/open", &[ACCEPT_STREAM]).await;
    assert_eq!(refused.status, 200);
    assert_eq!(
        refused.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(
        refused.header("cache-control"),
        Some("no-store, no-transform")
    );
    let (wait, rest) = refused.text().split_once('\n').unwrap();
    let wait: u64 = wait.strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((5_000..=30_000).contains(&wait), "{wait}");
    assert_eq!(
        rest,
        "event: hookrill.wait\ndata: {\"detail\":\"the limit of subscribers is reached\"}\n\n"
    );
    // Whoever says where it is, is told so: some clients forget it otherwise.
    // Another server's id too: the gap that is due would be left out.
    for (path, id) in [
        ("/events/open", "e-7"),
        ("/events/open", "4f2a/9"),
        ("/events/open?lastEventId=e-8", "4f2a/9"),
    ] {
        let placed = [ACCEPT_STREAM, ("Last-Event-ID", id)];
        let placed = gateway.get(path, &placed).await;
        assert!(
            placed.text().contains(&format!("\nid: {id}\n")),
            "{placed:?}"
        );
    }
    // Kept alive, those who wait would take the places of ingest and health.
    let head = "GET /events/open HTTP/1.1\r\nHost: g\r\nAccept: text/event-stream\r\n\r\n";
    let closed = gateway.send(head).await;
    // What is announced would be complete to some, and they would not come back.
    assert_eq!(closed.header("connection"), None);
    let mut put_off = gateway
        .subscriber_with("/events/open", &[ACCEPT_STREAM])
        .await;
    put_off.cut_off().await;
    let unavailable = gateway.get("/events/open", &[]).await;
    assert_eq!(unavailable.status, 503);
    assert!(unavailable.header("retry-after").is_some());
    // Ingest and health have connections of their own.
    assert_eq!(gateway.post("open", "x").await.status, 200);
    assert_eq!(gateway.get("/healthz", &[]).await.status, 200);
    // What no wait helps stays final.
    assert_eq!(
        gateway.get("/events/shut", &[ACCEPT_STREAM]).await.status,
        401
    );
    assert_eq!(gateway.get("/events/x", &[ACCEPT_STREAM]).await.status, 404);
    drop(only);
    loop {
        // The place is free as soon as the connection's end is noticed.
        let mut next = gateway
            .subscriber_with("/events/open", &[ACCEPT_STREAM])
            .await;
        if next.next().await.is_some() {
            break;
        }
    }
}

#[tokio::test]
async fn ndjson_has_one_cloud_event_per_line() {
    let gateway = Gateway::in_memory().start().await;
    let id = gateway
        .post_with(
            "open",
            &[("Content-Type", "application/json")],
            "{ \"a\":\n1.0 }",
        )
        .await
        .id();
    let path = "/events/open?since=earliest";
    let accept = [("Accept", "application/x-ndjson")];
    let mut stream = gateway.subscriber_with(path, &accept).await;
    assert!(
        stream
            .head
            .to_ascii_lowercase()
            .contains("application/x-ndjson")
    );
    let line = stream.line().await;
    assert!(line.contains(&format!("\"id\":\"{id}\"")), "{line}");
    assert!(line.ends_with("\"data\":{\"a\":1.0}}"), "{line}");
}

#[tokio::test]
async fn a_history_of_twenty_thousand_is_replayed_while_more_arrives() {
    const OLD: usize = 20_000;
    const NEW: usize = 500;
    let gateway = std::sync::Arc::new(Gateway::on_disk().start().await);
    gateway.fill("open", OLD, 64).await;
    let mut subscriber = gateway.subscriber("/events/open?since=earliest").await;
    let filling = std::sync::Arc::clone(&gateway);
    let (events, ()) = tokio::join!(subscriber.events(OLD + NEW), async move {
        filling.fill("open", NEW, 64).await;
    });
    let seen: Vec<u64> = events
        .iter()
        .map(hookrill_testing::Message::sequence)
        .collect();
    let expected: Vec<u64> = (1..=(OLD + NEW) as u64).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn http_1_0_gets_the_stream_without_chunks() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let gateway = Gateway::in_memory().start().await;
    gateway.post("open", "for an old client").await;
    let mut stream = gateway.connect().await;
    let head = "GET /events/open?since=earliest HTTP/1.0\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    // The last of what comes by itself.
    while !seen.ends_with(b"\ndata: {\"live\":true}\n\n") {
        let read = tokio::time::timeout(WAIT_MAX, stream.read_buf(&mut seen)).await;
        assert_ne!(read.unwrap().unwrap(), 0, "cut off");
    }
    let seen = String::from_utf8(seen).unwrap();
    let (response_head, body) = seen.split_once("\r\n\r\n").unwrap();
    let lowercase = response_head.to_ascii_lowercase();
    assert!(!lowercase.contains("chunked"), "{lowercase}");
    assert!(body.starts_with("retry: "), "{body}");
    assert!(body.contains("\ndata: for an old client\n\n"), "{body}");
}

#[tokio::test]
async fn a_client_is_told_before_its_token_ends_and_loses_nothing() {
    let gateway = Gateway::in_memory().start().await;
    let id = gateway.post("shut", "before").await.id();
    let brief = || format!("/events/shut?since={id}&token={}", token(&["shut"], 6));
    // Enough of them for a bundle.
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut reader = gateway.subscriber(&brief()).await;
        reader.opened().await;
        readers.push(reader);
    }
    let lines = [("Accept", "application/x-ndjson")];
    let mut lines = gateway.subscriber_with(&brief(), &lines).await;
    let second = gateway.post("shut", "second").await.id();
    for reader in &mut readers {
        assert_eq!(reader.events(1).await[0].id, second);
        let mut told = reader.next().await.unwrap();
        while told.name == "hookrill.cursor" {
            told = reader.next().await.unwrap();
        }
        assert_eq!(
            (&*told.name, &*told.data),
            ("hookrill.expiring", "{\"seconds\":5}")
        );
        assert_eq!(told.id, second);
    }
    let told: serde_json::Value = loop {
        let line: serde_json::Value = serde_json::from_str(&lines.line().await).unwrap();
        if line["type"] == "hookrill.expiring" {
            break line;
        }
    };
    assert_eq!(
        (&told["data"]["seconds"], &told["id"]),
        (&5.into(), &second.clone().into())
    );
    let third = gateway.post("shut", "third").await.id();
    let fresh = format!("/events/shut?token={}", token(&["shut"], 600));
    let resume = [("Last-Event-ID", &*second)];
    let mut resumed = gateway.subscriber_with(&fresh, &resume).await;
    assert_eq!(resumed.events(1).await[0].id, third);
    for reader in &mut readers {
        assert_eq!(reader.events(1).await[0].id, third);
        reader.ended().await;
    }
}

#[tokio::test]
async fn what_is_too_long_for_a_client_is_told_of_in_its_place() {
    let gateway = Gateway::in_memory().start().await;
    let long = format!("{{\"blob\":\"{}\"}}", "x".repeat(70_000));
    let told = format!("{{\"reason\":\"too_long\",\"bytes\":{}}}", long.len());
    let old = gateway.post("open", &long).await.id();
    let lines = [("Accept", "application/x-ndjson")];
    let path = "/events/open?since=earliest&types=webhook&bytes_max=";
    let mut bounded = gateway.subscriber(&format!("{path}64KiB")).await;
    let mut in_bytes = gateway.subscriber(&format!("{path}65536")).await;
    let mut roomy = gateway.subscriber(&format!("{path}1MiB")).await;
    let mut as_lines = gateway
        .subscriber_with(&format!("{path}64KiB"), &lines)
        .await;
    let new = gateway.post("open", &long).await.id();
    let short = gateway.post("open", "short").await.id();
    for subscriber in [&mut bounded, &mut in_bytes] {
        let events = subscriber.events(3).await;
        for (event, id) in events.iter().zip([&old, &new]) {
            let said = (&*event.name, &event.id, &event.data);
            assert_eq!(said, ("hookrill.withheld", id, &told));
        }
        assert_eq!((&events[2].id, &*events[2].data), (&short, "short"));
    }
    let events = roomy.events(3).await;
    assert_eq!((&events[0].data, &events[1].data), (&long, &long));
    for id in [&old, &new] {
        let line: serde_json::Value = serde_json::from_str(&as_lines.line().await).unwrap();
        assert_eq!(
            (line["type"].as_str(), line["id"].as_str()),
            (Some("hookrill.withheld"), Some(&**id))
        );
        assert_eq!(line["data"]["reason"], "too_long");
    }
    let line = as_lines.line().await;
    assert!(line.contains(&short), "{line}");
    for refused in ["0", "-1", "much", ""] {
        let answer = gateway
            .get(&format!("/events/open?bytes_max={refused}"), &[])
            .await;
        assert_eq!(answer.status, 400, "{refused}");
        assert!(answer.text().contains("64KiB"), "{answer:?}");
    }
}

#[tokio::test]
async fn who_asks_gets_names_or_none() {
    let gateway = Gateway::in_memory().start().await;
    for (names, expected) in [
        ("", "message"),
        ("&names=off", "message"),
        ("&names=on", "webhook"),
    ] {
        let path = format!("/events/open?since=earliest{names}");
        let mut subscriber = gateway.subscriber(&path).await;
        gateway.post("open", "x").await;
        assert_eq!(subscriber.events(1).await[0].name, expected, "{names}");
    }
    let answer = gateway.get("/events/open?names=yes", &[]).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("on or off"), "{answer:?}");
}

#[tokio::test]
async fn a_stream_may_begin_at_a_time() {
    let gateway = Gateway::on_disk().start().await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(gateway.post("open", "x").await.id());
        gateway.advance_clock(60);
    }
    let all = "/events/open?since=earliest&format=cloudevents";
    let stored = gateway.subscriber(all).await.events(10).await;
    let sixth: serde_json::Value = serde_json::from_str(&stored[5].data).unwrap();
    let time = sixth["time"].as_str().unwrap();
    for (since, first) in [("330s", 5), ("5m 30s", 5), (time, 5), ("1d", 0)] {
        let path = format!("/events/open?since={}", since.replace(' ', "%20"));
        let mut subscriber = gateway.subscriber(&path).await;
        let events = subscriber.events(10 - first).await;
        assert_eq!(events[0].id, ids[first], "{since}");
    }
    let mut subscriber = gateway
        .subscriber("/events/open?since=9999-01-01T00:00:00Z")
        .await;
    assert_eq!(subscriber.opened().await, ids[9]);
    let refused = gateway.get("/events/open?since=10minuets", &[]).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("2026-11-30T08:00:00Z"),
        "{refused:?}"
    );
}
