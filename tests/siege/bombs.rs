//! Bodies that become large when they are decoded, at their end or on their way to it.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use hookrill_testing::Process;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};

use crate::honest::{attack_size, check_honest_traffic, connect_from, stranger};

/// How long each is once it is decoded, in bytes.
const DECODED_BYTES: usize = 200 << 20;
/// Over how many connections they come.
const CONNECTIONS: usize = 16;
/// What all of them may take while they come, in bytes. It is about half of that: how much
/// the allocator keeps differs from run to run.
const TAKEN_BYTES_MAX: usize = 192 << 20;
/// What they may leave taken, in bytes; it is about half of that, too.
const LEFT_BYTES_MAX: usize = 128 << 20;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// The same in each coding, with its name; and one that becomes long on its way to
/// nothing, which takes no memory and as much time.
fn bombs() -> [(&'static str, Vec<u8>); 4] {
    // A window of 8 MiB; blocks of one byte that is repeated (RFC 8878).
    let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3];
    let blocks = DECODED_BYTES >> 17;
    for block in 1..=blocks as u32 {
        let head: u32 = (128 << 10) << 3 | 1 << 1 | u32::from(block == blocks as u32);
        zstd.extend(&head.to_le_bytes()[..3]);
        zstd.push(0);
    }
    // Made by Node's zlib, with a window of 16 MiB.
    let brotli = "z///f/gnAOKxQCD3/p/////wTwDEYQGA7v0/////4Z8AiMMiAN37f/7//8M/ARCHBQC69//8//+Hfw\
                  IgDgsAdO//+f//D/8EQBwWAOje//P//x/+CYA4LADQvf/n//8//BMAcVgAoHv/z///f/gnAOKwAED3\
                  /p/////wTwDEYQGA7v0/////4Z8AiMMCAN37f/7//8M/ARCHBQC69//5//+HfwIgDgsAdO//AA==";
    [
        ("gzip", gzip(&vec![0; DECODED_BYTES])),
        ("gzip, gzip, gzip", gzip(&gzip(&gzip(b"").repeat(1 << 20)))),
        ("zstd", zstd),
        (
            "br",
            data_encoding::BASE64.decode(brotli.as_bytes()).unwrap(),
        ),
    ]
}

#[tokio::test]
async fn bodies_that_become_large_take_little_memory_and_time_of_others() {
    let count = attack_size(1_000);
    let gateway = Process::with_sections(
        "[topics.open]\naccess = \"public\"\nscheme = { kind = \"none\" }\n",
    );
    check_honest_traffic(&gateway).await;
    let before = gateway.resident_bytes();
    let requests: Vec<Vec<u8>> = bombs()
        .iter()
        .map(|(coding, body)| {
            let length = body.len();
            let head = format!(
                "POST /ingest/open HTTP/1.1\r\nHost: g\r\nContent-Encoding: {coding}\r\n\
                 Content-Length: {length}\r\n\r\n"
            );
            [head.as_bytes(), body].concat()
        })
        .collect();
    let mut senders = JoinSet::new();
    for n in 0..CONNECTIONS {
        let (requests, address) = (requests.clone(), gateway.address);
        senders.spawn(async move {
            let mut stream = connect_from(stranger(n), address).await;
            let mut answer = vec![0; 4096];
            for bomb in (n..count).step_by(CONNECTIONS) {
                let request = &requests[bomb % requests.len()];
                stream.write_all(request).await.unwrap();
                let read = stream.read(&mut answer).await.unwrap();
                let answer = String::from_utf8_lossy(&answer[..read]);
                let status = answer.split(' ').nth(1);
                assert!(matches!(status, Some("413" | "503")), "{answer}");
            }
        });
    }
    let mut taken_max = 0;
    while !senders.is_empty() {
        check_honest_traffic(&gateway).await;
        let taken = gateway.resident_bytes().saturating_sub(before);
        taken_max = taken_max.max(taken);
        assert!(taken < TAKEN_BYTES_MAX, "{} MiB taken", taken >> 20);
        while let Some(ended) = senders.try_join_next() {
            ended.unwrap();
        }
    }
    check_honest_traffic(&gateway).await;
    let left = gateway.resident_bytes().saturating_sub(before);
    assert!(left < LEFT_BYTES_MAX, "{} MiB left", left >> 20);
    let (taken_max, left) = (taken_max >> 20, left >> 20);
    eprintln!("{count} bombs took {taken_max} MiB at most, and left {left} MiB");
}
