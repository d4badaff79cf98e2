//! How fast it is: printed, not judged, since machines differ.
//!
//! `cargo test --release --lib figures -- --nocapture`

use std::time::Instant;

use hookrill_core::{Draft, Topics};

use super::*;

const EVENT_BYTES: usize = 1024;

/// A little where it only has to run, enough to mean something in a release.
const EVENTS: usize = if cfg!(debug_assertions) {
    2_000
} else {
    400_000
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_of_durable_appends() {
    for appenders in [1, 16, 256] {
        let folder = tempfile::tempdir().unwrap();
        let disk = open_in(settings(folder.path()), ROOMY, Env::real());
        let disk = disk.await.unwrap();
        let events = EVENTS * appenders.min(64) / 256;
        let body = bytes::Bytes::from(body());
        let started = Instant::now();
        let appends = join_all((0..appenders).map(|_| async {
            let mut slowest = Duration::ZERO;
            for _ in 0..events / appenders {
                let asked = Instant::now();
                append(&disk, draft("orders.eu", body.clone())).await;
                slowest = slowest.max(asked.elapsed());
            }
            slowest
        }));
        let slowest = appends.await.into_iter().max().unwrap();
        let secs = started.elapsed().as_secs_f64();
        println!(
            "{appenders} appenders: {:.0} events/s, slowest {slowest:?}, {} KiB resident",
            disk.head().0 as f64 / secs,
            resident_kib(),
        );
        read_figures(&disk).await;
        disk.close().await;
        let reopening = Instant::now();
        open(folder.path()).await.close().await;
        println!("  opened and closed again in {:?}", reopening.elapsed());
    }
}

/// What it costs to pass over small events of which few or none are wanted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_of_passing_over() {
    let events = 4 * EVENTS;
    let folder = tempfile::tempdir().unwrap();
    let disk = open_in(settings(folder.path()), ROOMY, Env::real());
    let disk = disk.await.unwrap();
    for from in (0..events).step_by(512) {
        let drafts = (from..events.min(from + 512)).map(|n| Draft {
            event_type: if n % 2_000 == 0 { "rare" } else { "webhook" }.into(),
            ..draft("orders.eu", "{}")
        });
        join_all(drafts.map(|draft| disk.append(draft, None))).await;
    }
    let sixty_four: Vec<String> = (0..64).map(|n| format!("absen{n:02}")).collect();
    let sixty_four: Vec<&str> = sixty_four.iter().map(String::as_str).collect();
    for (what, topic, types) in [
        ("a type that none has", None, Some(&["absent"][..])),
        ("64 types that none has", None, Some(&sixty_four[..])),
        ("a type that few have", None, Some(&["rare"])),
        ("the same in a topic", Some("orders"), Some(&["rare"])),
        ("a topic that none has", Some("absent"), None),
        ("everything", None, None),
    ] {
        let selection = Selection {
            topics: topic.map_or(Topics::All, |name| {
                Topics::these(vec![name.parse().unwrap()])
            }),
            types: types.map(|types| types.iter().map(|&name| name.into()).collect()),
        };
        let (mut found, mut reads, mut position) = (0, 0, Sequence::ZERO);
        let (started, mut longest) = (Instant::now(), Duration::ZERO);
        while position < disk.head() {
            let asked = Instant::now();
            let page = disk.read(&selection, position, 64 * 1024).await.unwrap();
            longest = longest.max(asked.elapsed());
            (found, reads, position) = (found + page.events.len(), reads + 1, page.scanned);
        }
        let nanos = started.elapsed().as_nanos() / events as u128;
        println!(
            "{what}: {nanos} ns an event of {events}, {found} found in {reads} reads, longest {longest:?}"
        );
    }
}

async fn read_figures(disk: &Disk) {
    let topic = Selection::topic("orders".parse().unwrap());
    for (what, selection) in [("everything", Selection::all()), ("a topic", topic)] {
        let started = Instant::now();
        let (mut events, mut position) = (0, Sequence::ZERO);
        while position < disk.head() {
            let page = disk.read(&selection, position, 256 * 1024).await.unwrap();
            events += page.events.len();
            position = page.scanned;
        }
        let secs = started.elapsed().as_secs_f64();
        println!("  reads {what}: {:.0} events/s", events as f64 / secs);
    }
}

/// Bytes that do not compress.
fn body() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..))
        .take(EVENT_BYTES)
        .collect()
}

fn resident_kib() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap_or("? kB").trim().replace(" kB", "")
}

/// A tenth as many topics as events, so that each segment has very many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_of_counting_topics() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open_in(settings(folder.path()), ROOMY, Env::real());
    let disk = disk.await.unwrap();
    let topics = EVENTS / 10;
    let appends = join_all((0..256).map(|from| {
        let disk = &disk;
        async move {
            for n in (from..EVENTS).step_by(256) {
                let topic = format!("customers.{}", (n * 7_919) % topics);
                append(disk, draft(&topic, "a short body")).await;
            }
        }
    }));
    appends.await;
    let resident = resident_kib();
    for (count, after) in [(1, None), (1000, None), (1000, Some("customers.5"))] {
        let started = Instant::now();
        let query = StoredTopicsQuery {
            after: after.map(|name| name.parse().unwrap()),
            under: None,
            limit: count,
            recent_from: NOON,
        };
        let page = disk.stored_topics(query).await.unwrap();
        let (listed, secs) = (page.topics.len(), started.elapsed());
        println!("a page of {listed} of {topics} topics, {EVENTS} events: {secs:?}");
    }
    println!("{resident} KiB resident before, {} after", resident_kib());
    for meanwhile in [false, true] {
        println!(
            "slowest of 1000 appends, counting {meanwhile}: {:?}",
            slowest(&disk, meanwhile).await
        );
    }
}

async fn slowest(disk: &Disk, counting: bool) -> Duration {
    let appending = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..1000 {
            let asked = Instant::now();
            append(disk, draft("orders.eu", "x")).await;
            slowest = slowest.max(asked.elapsed());
        }
        slowest
    };
    let counting = async {
        if !counting {
            return std::future::pending().await;
        }
        loop {
            let query = StoredTopicsQuery {
                after: None,
                under: None,
                limit: 1000,
                recent_from: NOON,
            };
            disk.stored_topics(query).await.unwrap();
        }
    };
    tokio::select! {
        slowest = appending => slowest,
        never = counting => never,
    }
}
