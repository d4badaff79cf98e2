//! The protocol's own clients, over kills of the gateway.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use hookrill_testing::{OPEN_TOPIC, Process, Subprocess, WAIT_MAX};
use serde_json::Value;
use tempfile::TempDir;

use crate::installed::installed;

const EVENTS: u64 = 120;
/// A kill after so many.
const EVENTS_PER_LIFE: u64 = 12;

const READERS: [(&str, &str, &str); 4] = [
    ("node", "js/reader.mjs", "long-poll"),
    ("node", "js/reader.mjs", "sse"),
    ("python", "python/reader.py", "long-poll"),
    ("python", "python/reader.py", "sse"),
];

/// A reader that runs, and what it is to print next.
struct Reader {
    name: String,
    program: Subprocess,
    next: u64,
    offset: String,
}

impl Reader {
    fn start((program, script, live): (&str, &str, &str), url: &str) -> Self {
        let folder = "tests/ecosystem/streams";
        let mut command = match program {
            "node" => Command::new(program),
            _ => Command::new(installed(&format!("{folder}/python/.venv/bin/python"))),
        };
        command
            .arg(installed(folder).join(script))
            .args([url, live])
            .stderr(Stdio::null());
        let name = format!("{script} {live}");
        Self {
            program: Subprocess::start(&name, &mut command),
            name,
            next: 0,
            offset: String::new(),
        }
    }

    /// Waits until it has printed this event, and each before it once.
    fn has_printed(&mut self, n: u64) {
        let deadline = Instant::now() + WAIT_MAX;
        while self.next <= n {
            let line = self.program.next_line(deadline);
            let line: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line["item"]["n"], self.next, "{}", self.name);
            let offset = line["offset"].as_str().unwrap();
            assert!(*offset >= *self.offset, "{}: offsets sort", self.name);
            offset.clone_into(&mut self.offset);
            self.next += 1;
        }
    }
}

#[test]
fn clients_of_the_protocol_lose_and_double_nothing_over_kills() {
    let folder = TempDir::new().unwrap();
    let sections = format!("[streams]\nlong_poll = \"2s\"\nsse_ttl = \"2s\"\n{OPEN_TOPIC}");
    let mut gateway = Process::start(folder.path(), &sections);
    let url = format!("{}/streams/open?format=raw", gateway.url());
    let mut readers = READERS.map(|reader| Reader::start(reader, &url));
    let mut connection = gateway.connection();
    for n in 0..EVENTS {
        if n > 0 && n % EVENTS_PER_LIFE == 0 {
            gateway = gateway.restart();
            connection = gateway.connection();
        }
        let stored = connection.post("/ingest/open", &[], &format!("{{\"n\":{n}}}"));
        assert_eq!(stored.unwrap().status, 200);
        // Some events come while they wait, others in pages.
        if n % 5 == 0 {
            readers[(n / 5) as usize % READERS.len()].has_printed(n);
        }
    }
    for reader in &mut readers {
        reader.has_printed(EVENTS - 1);
        assert_eq!(reader.program.try_next_line(), None, "{}", reader.name);
    }
}
