//! A flood of deliveries that are refused, from as many addresses as a proxy names.

use hookrill_testing::{ADMIN_TOKEN, Process};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};

use crate::honest::{attack_size, check_honest_traffic, connect_from, stranger};

/// Over how many connections they come.
const CONNECTIONS: usize = 16;
/// How many are sent before their answers are read.
const AT_ONCE: usize = 20;
/// What all of them may take, in bytes: 8 MiB are kept, and the allocator keeps more.
const TAKEN_BYTES_MAX: usize = 64 << 20;

const SECTIONS: &str = "[topics.open]\naccess = \"public\"\nscheme = { kind = \"none\" }\n\
                        [topics.github]\naccess = \"public\"\npreset = \"github\"\nsecrets = [\"a\"]\n\
                        [topics.other]\naccess = \"public\"\npreset = \"github\"\nsecrets = [\"a\"]\n";

/// A delivery that is signed with no secret that is known, from this address.
fn refused(topic: &str, address: &str, body: &str) -> String {
    let bytes = body.len();
    let signature = "5f".repeat(32);
    format!(
        "POST /ingest/{topic} HTTP/1.1\r\nHost: g\r\nX-Forwarded-For: {address}\r\n\
         X-Hub-Signature-256: sha256={signature}\r\nContent-Length: {bytes}\r\n\r\n{body}"
    )
}

/// What a flood sends, the nth one: to one section, from many addresses.
fn from_many(n: usize) -> String {
    let address = format!("10.{}.{}.{}", n >> 16 & 0xff, n >> 8 & 0xff, n & 0xff);
    // Some are longer than what is kept.
    let body = if n.is_multiple_of(256) { 70_000 } else { 200 };
    refused("github", &address, &format!("{n}{}", "x".repeat(body)))
}

/// The same from one network of IPv6, which has as many addresses.
fn from_one_network(n: usize) -> String {
    refused(
        "github",
        &format!("2001:db8:1:2::{:x}", n & 0xffff),
        &n.to_string(),
    )
}

async fn flood(gateway: &Process, count: usize, request: fn(usize) -> String) {
    let mut senders = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let address = gateway.address;
        senders.spawn(async move {
            let mut stream = connect_from(stranger(connection), address).await;
            let numbers: Vec<_> = (connection..count).step_by(CONNECTIONS).collect();
            for some in numbers.chunks(AT_ONCE) {
                let requests: String = some.iter().map(|n| request(*n)).collect();
                stream.write_all(requests.as_bytes()).await.unwrap();
                let mut answers = Vec::new();
                while count_of(&answers, b"HTTP/1.1 401") < some.len() {
                    let read = stream.read_buf(&mut answers).await.unwrap();
                    assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answers));
                }
            }
        });
    }
    while !senders.is_empty() {
        check_honest_traffic(gateway).await;
        while let Some(ended) = senders.try_join_next() {
            ended.unwrap();
        }
    }
}

fn count_of(bytes: &[u8], word: &[u8]) -> usize {
    bytes
        .windows(word.len())
        .filter(|part| part == &word)
        .count()
}

async fn listed(gateway: &Process, query: &str) -> Vec<Value> {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let path = format!("/admin/deliveries?{query}");
    let page = gateway.get(&path, &[("Authorization", &bearer)]).await;
    page.json()["deliveries"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_flood_of_refusals_hides_no_real_one_and_takes_bounded_memory() {
    let count = attack_size(80_000);
    let trusted = "trusted_proxies = [\"127.0.0.0/8\"]";
    let gateway = Process::with_sections(&format!("{trusted}\n{SECTIONS}"));
    for (topic, address) in [
        ("other", "192.0.2.1"),
        ("nobody", "192.0.2.1"),
        ("github", "192.0.2.1"),
    ] {
        let mut stream = connect_from(stranger(0), gateway.address).await;
        stream
            .write_all(refused(topic, address, "{\"real\":1}").as_bytes())
            .await
            .unwrap();
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 401"));
    }
    check_honest_traffic(&gateway).await;
    let before = gateway.resident_bytes();
    flood(&gateway, count / 4, from_one_network).await;
    let real = listed(&gateway, "outcome=refused&address=192.0.2.1").await;
    assert_eq!(
        real.len(),
        3,
        "one network pushes out its own alone: {real:?}"
    );
    flood(&gateway, count, from_many).await;
    let taken = gateway.resident_bytes().saturating_sub(before);
    assert!(taken < TAKEN_BYTES_MAX, "{} MiB taken", taken >> 20);
    let left = listed(&gateway, "outcome=refused&address=192.0.2.1").await;
    let mut topics: Vec<_> = left
        .iter()
        .map(|one| one["topic"].as_str().unwrap())
        .collect();
    topics.sort_unstable();
    assert_eq!(
        topics,
        ["nobody", "other"],
        "a flood of a section pushes out its own alone"
    );
    let all = listed(&gateway, "outcome=refused&limit=200").await;
    assert_eq!(all.len(), 64 + 2);
    let dropped = gateway.metric("hookrill_refused_dropped_total").await;
    assert!(dropped as usize >= count, "{dropped}");
    eprintln!(
        "{} refusals left {} MiB taken",
        count + count / 4,
        taken >> 20
    );
}
