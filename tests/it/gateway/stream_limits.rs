//! What bounds `/streams`, and what ends a wait: tokens, reloads, the drain, and how much
//! one address may have.

use hookrill_testing::{Client, Gateway, POLL_INTERVAL, Response, WAIT_MAX, token};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

const OFFSET: &str = "stream-next-offset";

/// Until so many wait.
async fn waits(gateway: &Client, count: f64) {
    let waiting = async {
        while (gateway.metric("hookrill_subscribers").await - count).abs() > 0.1 {
            sleep(POLL_INTERVAL).await;
        }
    };
    timeout(WAIT_MAX, waiting)
        .await
        .expect("as many as that wait");
}

/// Asks from another task.
fn asking(client: Client, path: &str, from: &'static str) -> JoinHandle<Response> {
    let path = path.to_owned();
    let asking = async move { client.get(&path, &[("X-Forwarded-For", from)]).await };
    #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
    tokio::spawn(asking)
}

async fn answered(asking: JoinHandle<Response>) -> Response {
    let answer = timeout(WAIT_MAX, asking).await;
    answer.expect("an answer comes").unwrap()
}

#[tokio::test]
async fn a_tag_is_found_again_until_anything_changes() {
    let mut gateway = Gateway::on_disk().start().await;
    gateway.post("open", r#"{"n":1,"card":"4242"}"#).await.id();
    gateway.post("open", r#"{"n":2,"card":"4242"}"#).await.id();
    let asked = async |client: &Client, query: &str, tag: &str| {
        let path = format!("/streams/open{query}");
        client.get(&path, &[("If-None-Match", tag)]).await
    };
    let first = asked(&gateway, "?format=raw", "\"none\"").await;
    let tag = first.header("etag").unwrap();
    let cache = "public, max-age=60, stale-while-revalidate=300";
    assert_eq!(first.header("cache-control"), Some(cache));
    for same in [tag, &format!("W/{tag}"), &format!("\"x\", {tag}"), "*"] {
        let unchanged = asked(&gateway, "?format=raw", same).await;
        assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
        assert_eq!(unchanged.header(OFFSET), first.header(OFFSET));
        assert_eq!(unchanged.header("etag"), Some(tag));
    }
    for other in [
        "",
        "?format=raw&limit=1",
        "?format=raw&offset=now",
        "?format=raw&last=5",
    ] {
        assert_eq!(asked(&gateway, other, tag).await.status, 200, "{other}");
    }
    const OPEN: &str = "[topics.open]\naccess = \"public\"";
    let hidden = format!("{OPEN}\nhide = [\"/card\"]");
    gateway.reload(&[(OPEN, &hidden)]).unwrap();
    let cut = asked(&gateway, "?format=raw", tag).await;
    assert_eq!((cut.status, cut.text()), (200, "[{\"n\":1},{\"n\":2}]"));
    gateway.post("open", "{}").await.id();
    let cut_tag = cut.header("etag").unwrap();
    assert_eq!(asked(&gateway, "?format=raw", cut_tag).await.status, 200);
    gateway.reload(&[(&hidden, OPEN)]).unwrap();
    for old in [tag, cut_tag] {
        assert_eq!(asked(&gateway, "?format=raw", old).await.status, 200);
    }
    // Another process, which may have been told to hide something.
    let folder = gateway.stop().await.unwrap();
    let next = Gateway::in_folder(folder).start().await;
    assert_eq!(asked(&next, "?format=raw", tag).await.status, 200);
}

#[tokio::test]
async fn a_long_poll_ends_with_its_token_with_a_reload_and_with_the_gateway() {
    let mut gateway = Gateway::in_memory().start().await;
    let client = *gateway;
    let by_token = |secs: u64| {
        let token = token(&["shut"], secs);
        let path = format!("/streams/shut?offset=now&live=long-poll&token={token}");
        asking(client, &path, "")
    };
    let short = by_token(1);
    waits(&gateway, 1.0).await;
    gateway.advance_clock(5);
    let expired = answered(short).await;
    assert_eq!(expired.status, 401, "{expired:?}");
    assert!(expired.text().contains("expired"), "{}", expired.text());
    let public = asking(client, "/streams/open?offset=now&live=long-poll", "");
    waits(&gateway, 1.0).await;
    let open = "[topics.open]\naccess = \"public\"";
    gateway.reload(&[(open, "[topics.open]")]).unwrap();
    let closed = answered(public).await;
    assert_eq!(closed.status, 401, "{closed:?}");
    let long = by_token(600);
    waits(&gateway, 1.0).await;
    gateway.request_stop();
    assert_eq!(answered(long).await.status, 204);
    gateway.stopped().await.unwrap();
}

#[tokio::test]
async fn a_thousand_long_polls_of_one_address_take_nobody_elses_place() {
    let gateway = Gateway::in_memory()
        .server("subscribers_per_address_max = 1000\ntrusted_proxies = [\"127.0.0.1\"]")
        .start()
        .await;
    let (client, path) = (*gateway, "/streams/open?offset=now&live=long-poll");
    let polls: Vec<_> = (0..1000)
        .map(|_| asking(client, path, "192.0.2.1"))
        .collect();
    waits(&gateway, 1000.0).await;
    let over = answered(asking(client, path, "192.0.2.1")).await;
    assert_eq!(over.status, 429);
    assert!(over.header("retry-after").is_some());
    let other = asking(client, path, "192.0.2.2");
    waits(&gateway, 1001.0).await;
    let mut stream = gateway.subscriber("/events/open").await;
    stream.opened().await;
    // Ingest has connections of its own.
    gateway.post("open", "1").await.id();
    for polled in polls.into_iter().chain([other]) {
        assert_eq!(answered(polled).await.status, 200);
    }
}

#[tokio::test]
async fn an_address_that_asks_for_pages_too_often_is_put_off() {
    let gateway = Gateway::in_memory()
        .server("page_rate_per_address_max = \"3/m\"")
        .start()
        .await;
    for path in [
        "/streams/open",
        "/streams/unknown",
        "/streams/open?offset=x",
    ] {
        assert_ne!(gateway.get(path, &[]).await.status, 429);
    }
    // Never a 200 that says wait, not even to what accepts a stream.
    for accept in ["*/*", "text/event-stream"] {
        let refused = gateway
            .get("/streams/open?offset=-1&live=sse", &[("Accept", accept)])
            .await;
        assert_eq!(refused.status, 429);
        assert_eq!(refused.header("retry-after"), Some("20"));
    }
    gateway.subscriber("/events/open").await.opened().await;
}

#[tokio::test]
async fn nothing_is_there_where_it_is_turned_off() {
    let mut gateway = Gateway::in_memory()
        .sections("[streams]\nenabled = false")
        .start()
        .await;
    gateway.post("open", "1").await.id();
    assert_eq!(gateway.get("/streams/open", &[]).await.status, 404);
    let reloaded = gateway
        .reload(&[("enabled = false", "enabled = true")])
        .unwrap();
    assert!(reloaded.needs_restart.is_empty());
    assert_eq!(gateway.get("/streams/open", &[]).await.status, 200);
}

#[tokio::test]
async fn pages_that_are_not_the_last_may_be_kept_for_ever_where_somebody_says_so() {
    let gateway = Gateway::in_memory()
        .sections("[streams]\nimmutable = true")
        .start()
        .await;
    let first = gateway.post("open", "1").await.id();
    for _ in 0..2 {
        gateway.post("open", "2").await.id();
    }
    for (query, immutable) in [
        (format!("?offset={first}&limit=1"), true),
        (format!("?offset={first}"), false),
        // What is the oldest changes with retention.
        ("?offset=-1&limit=1".to_owned(), false),
    ] {
        let page = gateway.get(&format!("/streams/open{query}"), &[]).await;
        let cache = page.header("cache-control").unwrap();
        assert_eq!(cache.contains("immutable"), immutable, "{query}: {cache}");
    }
}

/// Each asks for other bytes, and takes none.
#[tokio::test]
async fn those_who_stop_within_a_page_make_room_for_who_reads() {
    use tokio::io::AsyncWriteExt as _;
    let gateway = Gateway::on_disk().start().await;
    let mut ids = Vec::new();
    let body = format!("\"{}\"", "x".repeat(4 << 20));
    for _ in 0..3 {
        ids.push(gateway.post("open", &body).await.id());
    }
    let mut stopped = Vec::new();
    // A quarter of all room is one address's.
    for n in 0..40 {
        let mut stream = gateway.connect().await;
        let path = format!("/streams/open?offset={}&limit=1&n={n}", ids[n % 2]);
        let request = format!("GET {path} HTTP/1.1\r\nHost: g\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stopped.push(stream);
    }
    let reading = async {
        loop {
            let path = format!("/streams/open?offset={}&limit=1&format=raw", ids[0]);
            let page = gateway.get(&path, &[]).await;
            if page.status == 200 {
                return page;
            }
            assert_eq!(page.status, 429, "{page:?}");
        }
    };
    let page = timeout(WAIT_MAX, reading).await.expect("there is room");
    assert_eq!(page.body.len(), body.len() + 2);
}
