//! Numbers to read, not to hold: they depend on the machine.
//!
//! `scripts/numbers` runs this in release with more events; a plain test run
//! keeps it working.

use std::{
    thread,
    time::{Duration, Instant},
};

use hookrill_testing::{Process, github_signature};

const CONNECTIONS: usize = 16;
const BODY_BYTES: usize = 1024;
const EVENTS_DEFAULT: usize = 4_000;
const STARTS: usize = 5;
const SECRET: &str = "It's a Secret to Everybody";

const CONFIG: &str = r#"
[journal]
kind = "disk"
path = "data"
[topics.github]
preset = "github"
secrets = ["It's a Secret to Everybody"]
access = "public"
"#;

#[test]
fn numbers_to_read() {
    let events = std::env::var_os("HOOKRILL_NUMBERS_EVENTS").map_or(EVENTS_DEFAULT, |number| {
        let number = number.to_str().and_then(|text| text.parse().ok());
        number.expect("HOOKRILL_NUMBERS_EVENTS is a number")
    });
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_hookrill")).expect("the binary is built");
    println!(
        "binary size: {:.1} MiB",
        binary.len() as f64 / f64::from(1 << 20)
    );

    let folder = tempfile::tempdir().expect("there is room for a folder");
    let mut gateway = Process::start(folder.path(), CONFIG);
    let mut starts = vec![gateway.ready_after];
    for _ in 1..STARTS {
        gateway = gateway.restart();
        starts.push(gateway.ready_after);
    }
    println!("start to ready: {}", spread(&mut starts));

    let (took, mut latencies) = ingest(&gateway, events);
    println!(
        "durable ingest: {:.0} events/s over {CONNECTIONS} connections \
         ({BODY_BYTES} B bodies, GitHub-signed, {} events in {took:.2?})",
        latencies.len() as f64 / took.as_secs_f64(),
        latencies.len(),
    );
    println!("an answer took: {}", spread(&mut latencies));

    starts.clear();
    for _ in 0..STARTS {
        gateway.kill();
        gateway = gateway.restart();
        starts.push(gateway.ready_after);
    }
    println!(
        "start to ready after a kill with these events: {}",
        spread(&mut starts)
    );
}

/// Posts events one after the other on each connection; how long that took in
/// all, and each.
fn ingest(gateway: &Process, events: usize) -> (Duration, Vec<Duration>) {
    let each = events / CONNECTIONS;
    // Signed before, so that the sender costs little of the time.
    let requests: Vec<Vec<_>> = (0..CONNECTIONS)
        .map(|sender| (0..each).map(|number| signed(sender, number)).collect())
        .collect();
    let connections: Vec<_> = requests.iter().map(|_| gateway.connection()).collect();
    let began = Instant::now();
    let senders: Vec<_> = (requests.into_iter().zip(connections))
        .map(|(requests, mut connection)| {
            thread::spawn(move || {
                let one = |(id, signature, body): (String, String, String)| {
                    let headers = [
                        ("Content-Type", "application/json"),
                        ("X-GitHub-Event", "push"),
                        ("X-GitHub-Delivery", &id),
                        ("X-Hub-Signature-256", &signature),
                    ];
                    let sent = Instant::now();
                    let answer = connection.post("/ingest/github", &headers, &body);
                    assert_eq!(answer.expect("an answer comes").status, 200);
                    sent.elapsed()
                };
                requests.into_iter().map(one).collect::<Vec<_>>()
            })
        })
        .collect();
    let latencies = (senders.into_iter())
        .flat_map(|sender| sender.join().expect("every delivery is taken"))
        .collect();
    (began.elapsed(), latencies)
}

fn signed(sender: usize, number: usize) -> (String, String, String) {
    let start = format!(r#"{{"sender":{sender},"number":{number},"fill":""#);
    let fill = "x".repeat(BODY_BYTES - start.len() - 2);
    let body = format!(r#"{start}{fill}"}}"#);
    let signature = github_signature(SECRET, body.as_bytes());
    (format!("{sender}-{number}"), signature, body)
}

fn spread(times: &mut [Duration]) -> String {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    format!(
        "median {:.1?}, 99 % {:.1?}, most {:.1?}",
        at(0.5),
        at(0.99),
        at(1.0)
    )
}
