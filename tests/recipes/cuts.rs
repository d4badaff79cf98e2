//! A gateway that breaks off in the middle of an event, and then refuses.
//!
//! It takes one connection after the other and answers each as the script below
//! says. Invariant: it says itself which id each connection has to come with.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use super::{house::Shown, process::free_address, scripts::Script};

const PATIENCE: Duration = Duration::from_secs(60);
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\
    Transfer-Encoding: chunked\r\n\r\n";
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 15\r\nConnection: close\r\n\r\n\
    {\"status\":401}\n";

fn event(id: &str, kind: &str, data: &str) -> String {
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/ingest/orders\",\"type\":\"{kind}\",\
         \"datacontenttype\":\"application/json\",\"data\":{data}}}\n"
    )
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Runs the script and looks at what it asks for and what it shows.
pub fn survived_by(heading: &'static str, folder: &Path) {
    let address = free_address();
    let listener = TcpListener::bind(address).expect("it was free just now");
    let url = format!("http://{address}");
    let script = Script::start(heading, folder, &url, "a token");
    let first = chunk(&event("e-1", "webhook", "{\"order\":\"A-1\"}"));
    let second = event(
        "e-2",
        "webhook",
        "{\"order\":\"A-2\",\"type\":\"hookrill.gap\"}",
    );
    let withheld = chunk(&event(
        "e-3",
        "hookrill.withheld",
        "{\"reason\":\"not_json\"}",
    ));
    let half = &chunk(&second)[..second.len() - 20];
    for (due, answer) in [
        (None, format!("{STREAM}{first}{half}")),
        (Some("e-1"), BUSY.to_owned()),
        (
            Some("e-1"),
            format!("{STREAM}{}{}{withheld}", chunk("\n"), chunk(&second)),
        ),
        (Some("e-3"), REFUSED.to_owned()),
    ] {
        let (stream, _) = listener.accept().expect("it listens");
        let asked = asked(&stream);
        assert_eq!(
            asked
                .get("last-event-id")
                .filter(|id| !id.is_empty())
                .map(String::as_str),
            due,
            "{heading}"
        );
        assert_eq!(asked["authorization"], "Bearer a token", "{heading}");
        assert_eq!(asked["accept"], "application/x-ndjson", "{heading}");
        (&stream).write_all(answer.as_bytes()).expect("it reads");
    }
    let mut said = Vec::new();
    let patience = Instant::now() + PATIENCE;
    if heading == "curl" {
        // It goes on asking.
        listener.accept().expect("it listens");
        while let Some(line) = script.lines.ready() {
            said.push(line);
        }
    } else {
        said = script.lines.rest(patience);
    }
    let shown: Vec<_> = said.iter().filter_map(|line| Shown::read(line)).collect();
    assert_eq!(
        shown,
        [Shown::Order(1), Shown::Order(2)],
        "{heading}: {said:?}"
    );
    assert!(
        said.iter().any(|line| line.contains("401")),
        "{heading}: {said:?}"
    );
}

type Headers = std::collections::BTreeMap<String, String>;

/// The headers of a request without a body.
fn asked(stream: &TcpStream) -> Headers {
    let mut headers = Headers::new();
    for line in BufReader::new(stream).lines() {
        let line = line.expect("it sends a whole request");
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
    }
    headers
}
