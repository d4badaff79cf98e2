//! Many reloads while events come and go.

use super::*;

const EVENTS: usize = 2_000;
const RELOADS: usize = 100;

/// Each of them changes something of access, of routes and of the server.
fn changes(gateway: &Gateway, round: usize) -> Vec<(String, String)> {
    let line = |name: &str| {
        let mut lines = gateway.toml.lines();
        lines
            .find(|line| line.starts_with(name))
            .unwrap()
            .to_owned()
    };
    let set = |name: &str, value: String| (line(name), format!("{name} = {value}"));
    vec![
        set("leeway", format!("\"{}s\"", 1 + round % 7)),
        set("cors_origins", format!("[\"https://{round}.example.com\"]")),
        set("tolerance", format!("\"{}s\"", 100 + round)),
    ]
}

#[tokio::test]
async fn a_hundred_reloads_under_traffic_lose_no_event_and_drop_no_stream() {
    let sections = format!("[access]\nsecret = \"{TOKEN_SECRET}\"\nleeway = \"9s\"");
    let mut gateway = Gateway::on_disk()
        .server("cors_origins = []")
        .access(&sections)
        .sections(
            "[topics.other]\npreset = \"slack\"\nsecrets = [\"a secret\"]\ntolerance = \"9s\"",
        )
        .start()
        .await;
    let query = format!("?token={}", token(&["shut"], 6_000));
    let mut streams = settled(&gateway, "open", "").await;
    streams.extend(settled(&gateway, "shut", &query).await);
    let all = format!("/events?topic=open&topic=shut&token={}", &query[7..]);
    let mut of_both = gateway.subscriber(&all).await;
    of_both.opened().await;
    let address = gateway.address;

    let reading = streams.into_iter().map(|mut stream| async move {
        let events = stream.events(EVENTS).await;
        let bodies: Vec<usize> = events.iter().map(|e| e.data.parse().unwrap()).collect();
        (bodies, stream)
    });
    let posting = |topic: &'static str| async move {
        let client = hookrill_testing::Client { address };
        for n in 0..EVENTS {
            assert_eq!(client.post(topic, n.to_string()).await.status, 200);
        }
    };
    let reloading = async {
        for round in 0..RELOADS {
            let changes = changes(&gateway, round);
            let changes: Vec<_> = changes.iter().map(|(a, b)| (&**a, &**b)).collect();
            assert!(gateway.reload(&changes).unwrap().changed);
            // Between the events, not before them all.
            let stored = 2 * EVENTS * round / RELOADS;
            while gateway.metric("hookrill_ingested_total").await < stored as f64 {}
        }
    };
    let (read, both, _, _, ()) = tokio::join!(
        futures_util::future::join_all(reading),
        of_both.events(2 * EVENTS),
        posting("open"),
        posting("shut"),
        reloading
    );
    let expected: Vec<usize> = (0..EVENTS).collect();
    for (bodies, _) in &read {
        assert!(*bodies == expected);
    }
    let positions: Vec<u64> = both.iter().map(Message::sequence).collect();
    assert!(positions.is_sorted_by(|a, b| a < b) && positions.len() == 2 * EVENTS);
    let applied = "hookrill_reloads_total{result=\"applied\"}";
    assert_eq!(gateway.metric(applied).await, RELOADS as f64);
    assert_eq!(gateway.metric("hookrill_subscribers").await, 7.0);
}
