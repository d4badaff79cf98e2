//! Between the word to stop and the drain: those who route to a gateway look
//! at its readiness only now and then.

use super::harness::{Client, Gateway};

const LONG: &str = "shutdown_delay = \"1h\"";

/// Asks until readiness is off, and gives the reason.
async fn unready(gateway: &Client) -> String {
    loop {
        let answer = gateway.get("/readyz", &[]).await;
        if answer.status == 503 {
            return answer.text().to_owned();
        }
    }
}

#[tokio::test]
async fn a_gateway_that_is_to_stop_is_unready_and_serves_on_during_its_delay() {
    let mut gateway = Gateway::in_memory()
        .server(LONG)
        .sections("[subscribe]\nheartbeat = \"1s\"")
        .start()
        .await;
    let mut before = gateway.subscriber("/events/open").await;
    before.opened().await;
    gateway.ask_to_stop();
    let reason = unready(&gateway).await;
    assert!(reason.contains("about to stop"), "{reason}");

    // Not for a moment only: two more heartbeats come.
    for _ in 0..2 {
        let heartbeat = before.next().await.expect("the stream goes on");
        assert_eq!(heartbeat.name, "hookrill.cursor");
    }
    let mut during = gateway.subscriber("/events/open").await;
    during.opened().await;
    assert_eq!(gateway.post("open", "still here").await.status, 202);
    for subscriber in [&mut before, &mut during] {
        assert_eq!(subscriber.events(1).await[0].data, "still here");
    }
    assert_eq!(gateway.get("/healthz", &[]).await.status, 200);
}

#[tokio::test]
async fn after_its_delay_a_gateway_drains() {
    let mut gateway = Gateway::in_memory()
        .server("shutdown_delay = \"100ms\"")
        .start()
        .await;
    let mut subscriber = gateway.subscriber("/events/open").await;
    subscriber.opened().await;
    gateway.ask_to_stop();
    subscriber.ended().await;
    drop(subscriber);
    gateway.has_stopped().await.unwrap();
}
