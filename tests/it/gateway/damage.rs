//! What subscribers and operators are told where the journal is damaged.

use std::{fs, path::Path, time::Duration};

use hookrill_testing::{Client, Gateway, Message, Subscriber, hookrill};
use tempfile::TempDir;

const EVENTS: usize = 40;
/// Segments of 1 MiB, the smallest, have some 16 of them.
const BODY_BYTES: usize = 60_000;

fn body(n: usize) -> String {
    format!("event {n} {}", "x".repeat(BODY_BYTES))
}

/// A stopped gateway's folder with events in several segments, and their ids.
async fn filled() -> (TempDir, Vec<String>) {
    let gateway = small_segments(Gateway::on_disk()).start().await;
    let mut ids = Vec::new();
    for n in 1..=EVENTS {
        let topic = if n % 2 == 0 { "open.even" } else { "open.odd" };
        ids.push(gateway.post(topic, body(n)).await.id());
    }
    // What is not sealed yet is read whole at the start, which refuses damage.
    let path = gateway.folder.as_ref().unwrap().path().join("segments");
    while count(&path, "idx") + 1 < count(&path, "log") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (gateway.stop().await.unwrap(), ids)
}

fn count(folder: &Path, extension: &str) -> usize {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == extension))
        .count()
}

fn small_segments(gateway: hookrill_testing::GatewayBuilder) -> hookrill_testing::GatewayBuilder {
    gateway.journal("retain_bytes = \"16 MiB\"")
}

/// Flips a bit in the stored body of an event.
fn flip(folder: &Path, n: usize) {
    let wanted = format!("event {n} x");
    for entry in fs::read_dir(folder.join("segments")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let found = bytes
            .windows(wanted.len())
            .position(|window| window == wanted.as_bytes());
        if let Some(at) = found {
            bytes[at + 1_000] ^= 0x10;
            return fs::write(path, bytes).unwrap();
        }
    }
    panic!("event {n} is stored");
}

/// What a subscriber gets up to the event with this number: events by their
/// numbers, and gaps as they are told.
async fn seen_until(subscriber: &mut Subscriber, last: usize) -> (Vec<usize>, Vec<Message>) {
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    while events.last() != Some(&last) {
        let message = subscriber.next().await.expect("the stream goes on");
        match &*message.name {
            "hookrill.cursor" => {}
            "hookrill.gap" => gaps.push(message),
            _ => {
                let n = message.sequence() as usize;
                assert_eq!(message.data, body(n), "nothing wrong is served");
                events.push(n);
            }
        }
    }
    (events, gaps)
}

fn told(gap: &Message) -> (String, String, String) {
    let told: serde_json::Value = serde_json::from_str(&gap.data).unwrap();
    let text = |key: &str| told[key].as_str().unwrap().to_owned();
    (text("reason"), text("asked"), text("resumed"))
}

async fn resumed(gateway: &Gateway, id: &str) -> Subscriber {
    let resume = [("Last-Event-ID", id)];
    gateway.subscriber_with("/events/open", &resume).await
}

async fn check_damaged_ready(gateway: &Client, events: usize) {
    let ready = gateway.get("/readyz", &[]).await;
    assert_eq!(ready.status, 200);
    let count = format!("ready; damaged events in the journal, skipped with a gap: {events}\n");
    assert!(ready.text().starts_with(&count), "{}", ready.text());
    let metric = gateway.metric("hookrill_journal_damaged_events").await;
    assert_eq!(metric, events as f64);
}

#[tokio::test]
async fn a_page_tells_of_damage_in_its_place_and_has_what_is_behind_it() {
    let (folder, ids) = filled().await;
    flip(folder.path(), 7);
    let gateway = small_segments(Gateway::in_folder(folder)).start().await;
    let (mut offset, mut events, mut gaps) = ("-1".to_owned(), Vec::new(), Vec::new());
    loop {
        let page = gateway
            .get(&format!("/streams/open?offset={offset}"), &[])
            .await;
        assert_eq!(page.status, 200, "{page:?}");
        for event in page.json().as_array().unwrap() {
            if event["type"] == "hookrill.gap" {
                gaps.push(event["data"].clone());
            } else {
                events.push(event["id"].as_str().unwrap().to_owned());
            }
        }
        offset = page.header("stream-next-offset").unwrap().to_owned();
        if page.header("stream-up-to-date").is_some() {
            break;
        }
    }
    let whole: Vec<_> = ids.iter().filter(|id| **id != ids[6]).cloned().collect();
    assert_eq!(events, whole);
    let told = serde_json::json!({"reason": "damaged", "asked": ids[5], "resumed": ids[6]});
    assert_eq!(gaps, [told]);
    // Who asks for just that is not stuck either.
    let path = format!("/streams/open?offset={}&limit=1", ids[5]);
    let page = gateway.get(&path, &[]).await;
    assert_eq!(page.json()[0]["type"], "hookrill.gap");
}

#[tokio::test]
async fn a_flipped_bit_is_a_gap_and_the_stream_goes_on_behind_it() {
    let (folder, ids) = filled().await;
    flip(folder.path(), 7);
    flip(folder.path(), 8);
    let gateway = small_segments(Gateway::in_folder(folder)).start().await;
    let ready = gateway.get("/readyz", &[]).await;
    assert_eq!(ready.text(), "ready\n", "nobody has met it yet");
    let mut first = resumed(&gateway, &ids[2]).await;
    let (events, gaps) = seen_until(&mut first, EVENTS).await;
    let expected: Vec<_> = (4..=6).chain(9..=EVENTS).collect();
    assert_eq!(events, expected);
    let [gap] = &gaps[..] else {
        panic!("{gaps:?}");
    };
    let damaged = ("damaged".to_owned(), ids[5].clone(), ids[7].clone());
    assert_eq!((told(gap), &gap.id), (damaged.clone(), &ids[7]));
    check_damaged_ready(&gateway, 2).await;
    let metric = "hookrill_gaps_total{reason=\"damaged\"}";
    assert_eq!(gateway.metric(metric).await, 1.0);

    // Whoever comes back by the gap's id is past it.
    let mut back = resumed(&gateway, &gap.id).await;
    assert_eq!(back.opened().await, gap.id);
    let rest = seen_until(&mut back, EVENTS).await;
    assert_eq!((rest.0.len(), rest.1.len()), (EVENTS - 8, 0));

    // Wherever a stream begins, and whatever it asks for, it is told once.
    for (path, count) in [
        ("/events/open?since=earliest", EVENTS - 2),
        ("/events/open?last=36", 36 - 2),
        ("/events/open.even?since=earliest", EVENTS / 2 - 1),
        ("/events/open.odd?since=earliest", EVENTS / 2 - 1),
        (
            "/events?topic=open.odd&topic=open.even&since=earliest",
            EVENTS - 2,
        ),
    ] {
        let mut subscriber = gateway.subscriber(path).await;
        let last = if path.contains("odd?") {
            EVENTS - 1
        } else {
            EVENTS
        };
        let seen = seen_until(&mut subscriber, last).await;
        assert_eq!((seen.0.len(), seen.1.len()), (count, 1), "{path}");
        assert_eq!(told(&seen.1[0]).0, "damaged", "{path}");
    }
    // And goes live.
    gateway.post("open.even", "live").await;
    for subscriber in [&mut first, &mut back] {
        assert_eq!(subscriber.events(1).await[0].data, "live");
    }
    check_damaged_ready(&gateway, 2).await;
}

#[tokio::test]
async fn a_new_epoch_mends_it_and_still_tells_of_the_gap() {
    let (folder, ids) = filled().await;
    flip(folder.path(), 7);
    let mended = small_segments(Gateway::in_folder(folder)).with_new_epoch();
    let gateway = mended.start().await;
    for (start, reasons) in [
        ("Last-Event-ID", vec!["epoch", "damaged"]),
        ("since", vec!["damaged"]),
    ] {
        let mut subscriber = match start {
            "since" => gateway.subscriber("/events/open?since=earliest").await,
            _ => resumed(&gateway, &ids[2]).await,
        };
        let (events, gaps) = seen_until(&mut subscriber, EVENTS).await;
        let expected: Vec<_> = (1..=6).chain(8..=EVENTS).collect();
        assert_eq!(events, expected, "{start}");
        let found: Vec<_> = gaps.iter().map(|gap| told(gap).0).collect();
        assert_eq!(found, reasons, "{start}");
    }
    let ready = gateway.get("/readyz", &[]).await;
    assert_eq!(ready.text(), "ready\n", "there is nothing left to do");
}

/// Runs `hookrill journal check`; returns its exit status and what it prints.
fn check(folder: &Path, option: &str) -> (i32, String) {
    let arguments = ["journal", "check", option];
    let mut command = hookrill(folder);
    let output = command.args(arguments).arg(folder).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "", "no bar where there is no terminal");
    let printed = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), printed)
}

#[tokio::test]
async fn a_check_lists_the_damage_while_the_gateway_runs() {
    let (folder, _) = filled().await;
    let gateway = small_segments(Gateway::in_folder(folder)).start().await;
    let path = gateway.folder.as_ref().unwrap().path().to_owned();
    let (status, printed) = check(&path, "--");
    assert_eq!(status, 0, "{printed}");
    assert!(printed.starts_with("ok "), "{printed}");
    assert!(printed.contains("40, none damaged"), "{printed}");
    flip(&path, 7);
    let (damaged_status, listed) = check(&path, "--json");
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((damaged_status, &listed["ok"]), (1, &false.into()));
    let damage = &listed["damage"][0];
    assert_eq!(
        (&damage["first_event"], &damage["last_event"]),
        (&7.into(), &7.into())
    );
    // The gateway has noticed nothing of it.
    assert_eq!(gateway.post("open", "x").await.status, 200);
    let stopped = gateway.stop().await.unwrap();
    let mending = small_segments(Gateway::in_folder(stopped)).with_new_epoch();
    let _mended = mending.start().await.stop().await.unwrap();
    let (mended_status, mended) = check(&path, "--");
    assert_eq!(mended_status, 0, "{mended}");
    assert!(
        mended.contains("1 given up by an earlier --new-epoch"),
        "{mended}"
    );
}
