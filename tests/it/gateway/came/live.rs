//! The list as it grows.

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::*;

/// A reader of the live list, behind its head.
struct LiveLines(tokio::io::Lines<BufReader<TcpStream>>);

impl LiveLines {
    async fn open(gateway: &Client, query: &str) -> Self {
        let mut stream = gateway.connect().await;
        // HTTP/1.0: the body is not in chunks.
        let head = format!(
            "GET /admin/deliveries/live?{query} HTTP/1.0\r\nHost: g\r\nAuthorization: {}\r\n\r\n",
            bearer()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let status = lines.next_line().await.unwrap().unwrap();
        assert!(status.contains("200"), "{status}");
        while !lines.next_line().await.unwrap().unwrap().is_empty() {}
        Self(lines)
    }

    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        let line = timeout(hookrill_testing::WAIT_MAX, self.0.next_line()).await;
        let line = line.expect("a line comes in time").unwrap()?;
        Some(serde_json::from_str(&line).unwrap())
    }
}

#[tokio::test]
async fn lines_come_as_deliveries_do_and_go_on_where_a_reader_left() {
    let mut gateway = gateway().await;
    gateway.post("open", "before").await;
    let mut live = LiveLines::open(&gateway, "").await;
    assert!(live.next().await.unwrap()["position"].is_string());
    let stored = gateway.post("open", "1").await.id();
    assert_eq!(live.next().await.unwrap()["id"], stored);
    deliver(&gateway, "github", "wrong", "{}").await;
    let refused = live.next().await.unwrap();
    assert_eq!(
        (&refused["id"], &refused["count"]),
        (&json!("r-1"), &json!(1))
    );
    deliver(&gateway, "github", "wrong", "{}").await;
    let again = live.next().await.unwrap();
    assert_eq!((&again["id"], &again["count"]), (&json!("r-1"), &json!(2)));
    drop(live);

    let missed = gateway.post("open", "2").await.id();
    gateway.post("nobody", "{}").await;
    let position = again["position"].as_str().unwrap();
    let mut later = LiveLines::open(&gateway, &format!("after={position}")).await;
    assert_eq!(later.next().await.unwrap()["position"], position);
    let ids = [later.next().await.unwrap(), later.next().await.unwrap()];
    let mut ids = texts(&ids, "id");
    ids.sort();
    let mut expected = vec![missed, "r-2".to_owned()];
    expected.sort();
    assert_eq!(ids, expected);
    gateway.request_stop();
    assert_eq!(later.next().await, None, "a drain ends it");
    gateway.stopped().await.unwrap();
}

#[tokio::test]
async fn a_filter_holds_for_what_comes() {
    let gateway = gateway().await;
    let mut live = LiveLines::open(&gateway, "outcome=refused&topic=github").await;
    live.next().await.unwrap();
    gateway.post("open", "1").await;
    gateway.post("nobody", "{}").await;
    deliver(&gateway, "github", "wrong", "{}").await;
    assert_eq!(live.next().await.unwrap()["topic"], "github");
}

#[tokio::test]
async fn of_a_flood_fifty_lines_a_second_are_shown_and_the_rest_is_counted() {
    let gateway = gateway().await;
    let mut live = LiveLines::open(&gateway, "").await;
    live.next().await.unwrap();
    gateway.fill("open", 400, 10).await;
    let (mut shown, mut skipped) = (0, 0);
    while shown + skipped < 400 {
        let line = live.next().await.unwrap();
        match line["skipped"].as_u64() {
            Some(more) => skipped += more,
            None => shown += 1,
        }
    }
    assert_eq!(shown + skipped, 400);
    assert!(shown >= 50, "{shown}");
    let last = gateway.post("open", "after the flood").await.id();
    while live.next().await.unwrap()["id"] != last {}
}

#[tokio::test]
async fn of_refusals_that_push_each_other_out_each_is_shown_or_counted() {
    const COUNT: u64 = 500;
    let gateway = gateway().await;
    let mut live = LiveLines::open(&gateway, "").await;
    live.next().await.unwrap();
    let posting = async {
        for n in 0..COUNT {
            deliver(&gateway, "github", "wrong", &format!("{{\"n\":{n}}}")).await;
        }
    };
    let reading = async {
        let (mut shown, mut skipped) = (0, 0);
        while shown + skipped < COUNT {
            let line = live.next().await.unwrap();
            match line["skipped"].as_u64() {
                Some(more) => skipped += more,
                None => shown += u64::from(line["id"].is_string()),
            }
        }
        (shown, skipped)
    };
    let ((), (shown, skipped)) = tokio::join!(posting, reading);
    assert_eq!(shown + skipped, COUNT);
    assert!(shown > 0 && skipped > 0, "{shown} {skipped}");
}

#[tokio::test]
async fn another_admin_token_ends_it_and_only_so_many_read_at_a_time() {
    let mut gateway = gateway().await;
    let mut readers = Vec::new();
    for _ in 0..8 {
        readers.push(LiveLines::open(&gateway, "").await);
    }
    let refused = ask(&gateway, "/admin/deliveries/live").await;
    assert_eq!(refused.status, 503);
    assert_eq!(
        list(&gateway, "").await.len(),
        0,
        "the list answers all the same"
    );
    let token = format!("\"{ADMIN_TOKEN}\"");
    gateway
        .reload(&[(&*token, "\"another-token-of-the-operator\"")])
        .unwrap();
    for mut reader in readers {
        reader.next().await.unwrap();
        assert_eq!(reader.next().await, None);
    }
}
