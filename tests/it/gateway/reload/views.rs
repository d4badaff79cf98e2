//! What subscribers see changes with a reload, for events of before as well.

use super::*;

const CARD: &str = r#"{"n":1,"card":"4242"}"#;
const CUT: &str = r#"{"n":1}"#;

/// The next event's data at each of these.
async fn all_see(open: &mut [Subscriber], data: &str) {
    for subscriber in open {
        assert_eq!(subscriber.events(1).await[0].data, data);
    }
}

/// The data of all events so far, as somebody sees them who comes now.
async fn history(gateway: &Gateway, count: usize) -> Vec<String> {
    let mut data = Vec::new();
    for query in ["?since=earliest", "?last=1000"] {
        let mut late = gateway.subscriber(&format!("/events/open{query}")).await;
        let events = late.events(count).await;
        data.push(events.into_iter().map(|event| event.data));
    }
    let (a, b) = (data.remove(0), data.remove(0));
    a.zip(b)
        .inspect(|(a, b)| assert_eq!(a, b))
        .map(|(a, _)| a)
        .collect()
}

#[tokio::test]
async fn what_a_reload_hides_is_hidden_in_every_cache_and_no_stream_ends() {
    // With the events in memory, and with next to none of them there.
    for noise in [0, 40] {
        let mut gateway = Gateway::on_disk().sections(NEW).start().await;
        let mut open = settled(&gateway, "open", "").await;
        gateway.post("open", CARD).await.id();
        all_see(&mut open, CARD).await;
        for _ in 0..noise {
            gateway.post("new", "x".repeat(1 << 20)).await.id();
        }
        let hidden = format!("{OPEN}\nhide = [\"/card\"]\nevent_names = true");
        // Not JSON, so it is withheld from now on.
        let withheld = r#"{"reason":"not_json"}"#;
        for (section, whole, settled) in [
            (&*hidden, CUT, withheld),
            (OPEN, CARD, "settled"),
            (&hidden, CUT, withheld),
        ] {
            assert_eq!(
                history(&gateway, 2).await[1].len(),
                if whole == CUT { CARD.len() } else { CUT.len() }
            );
            let before = if whole == CUT { OPEN } else { &hidden };
            let reloaded = gateway.reload(&[(before, section)]).unwrap();
            assert!(reloaded.changed && reloaded.needs_restart.is_empty());
            let seen = history(&gateway, 2).await;
            assert_eq!(seen, [settled, whole]);
            let path = "/events/open?since=earliest";
            let mut named = gateway.subscriber(path).await;
            let name = if whole == CUT { "webhook" } else { "message" };
            assert_eq!(named.events(2).await[1].name, name);
        }
        gateway.post("open", CARD).await.id();
        all_see(&mut open, CUT).await;
        assert_eq!(history(&gateway, 3).await, [withheld, CUT, CUT]);
    }
}

#[tokio::test]
async fn limits_change_with_a_reload_and_open_streams_still_count() {
    let mut gateway = Gateway::in_memory().start().await;
    let _three = settled(&gateway, "open", "").await;
    let admin = format!("admin_token = \"{ADMIN_TOKEN}\"");
    let limited = |max: u32| format!("{admin}\nsubscribers_per_address_max = {max}");
    let asked = async |other: &Gateway| other.get("/events/open", &[("Accept", "x/y")]).await;
    assert!(gateway.reload(&[(&admin, &limited(3))]).unwrap().changed);
    assert_eq!(asked(&gateway).await.status, 429);
    assert!(
        gateway
            .reload(&[(&limited(3), &limited(4))])
            .unwrap()
            .changed
    );
    let mut fourth = gateway.subscriber("/events/open").await;
    fourth.opened().await;
    assert_eq!(asked(&gateway).await.status, 429);
    // A topic's rate, too.
    let rated = format!("{OPEN}\nrate_max = \"1/h\"");
    gateway.reload(&[(OPEN, &rated)]).unwrap();
    assert_eq!(gateway.post("open", "x").await.status, 200);
    assert_eq!(gateway.post("open", "x").await.status, 429);
    gateway.reload(&[(&rated, OPEN)]).unwrap();
    assert_eq!(gateway.post("open", "x").await.status, 200);
}
