//! A gateway that breaks off in the middle of an event, and then refuses.
//!
//! It takes one connection after the other and answers each as the script below
//! says. Invariant: it says itself which id each connection has to come with.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, ErrorKind, Write},
    iter,
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    orders::{POLL_INTERVAL, Shown},
    scripts::Script,
};

const WAIT_MAX: Duration = Duration::from_secs(60);
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 15\r\nConnection: close\r\n\r\n\
    {\"status\":401}\n";

/// What a script asks for.
#[derive(Clone, Copy)]
enum MediaType {
    Ndjson,
    EventStream,
}

impl MediaType {
    fn from_heading(heading: &str) -> Self {
        match heading {
            "Rust" | "httpx-sse" | "OkHttp" | "Spring WebFlux" => Self::EventStream,
            _ => Self::Ndjson,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::EventStream => "text/event-stream",
        }
    }

    fn head(self) -> String {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
            self.name()
        )
    }

    fn event(self, id: &str, kind: &str, data: &str) -> String {
        match (self, kind) {
            (Self::Ndjson, _) => format!(
                "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/ingest/orders\",\
                 \"type\":\"{kind}\",\"datacontenttype\":\"application/json\",\"data\":{data}}}\n"
            ),
            (Self::EventStream, "webhook") => format!("id: {id}\ndata: {data}\n\n"),
            (Self::EventStream, _) => format!("event: {kind}\nid: {id}\ndata: {data}\n\n"),
        }
    }

    /// What says nothing but that the connection lives.
    fn heartbeat(self) -> String {
        self.event("e-1", "hookrill.cursor", "{}")
    }

    /// The beginning of an event, as far as its id.
    fn beginning(self) -> &'static str {
        match self {
            Self::Ndjson => "{\"specversion\":\"1.0\",\"id\":\"e-",
            Self::EventStream => "id: e-",
        }
    }
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Runs the script and looks at what it asks for and what it shows.
pub(super) fn survived_by(heading: &'static str, folder: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.set_nonblocking(true).expect("it can be");
    let address = listener.local_addr().expect("it is bound");
    let url = format!("http://{address}");
    let script = Script::start(heading, folder, &url, "a token");
    let media_type = MediaType::from_heading(heading);
    for (due, answer) in story(media_type) {
        let mut stream = accepted(&listener, heading);
        let asked = asked(&stream);
        let id = asked.get("last-event-id").map_or("", String::as_str);
        assert_eq!(id, due, "{heading}");
        assert_eq!(asked["authorization"], "Bearer a token", "{heading}");
        assert_eq!(asked["accept"], media_type.name(), "{heading}");
        stream.write_all(answer.as_bytes()).expect("it reads");
    }
    let said = match heading {
        // It goes on asking, and has read all before it does.
        "curl" => {
            accepted(&listener, heading);
            iter::from_fn(|| script.lines.try_next_line()).collect()
        }
        _ => script.lines.remaining_lines(Instant::now() + WAIT_MAX),
    };
    let shown: Vec<_> = said.iter().filter_map(|line| Shown::read(line)).collect();
    let due = [Shown::Order(1), Shown::Order(2)];
    assert_eq!(shown, due, "{heading}: {said:?}");
    let refused = said.iter().any(|line| line.contains("401"));
    assert!(refused, "{heading}: {said:?}");
}

/// With which id each connection has to come, and how it is answered.
fn story(media_type: MediaType) -> [(&'static str, String); 5] {
    let event = |id, kind, data| chunk(&media_type.event(id, kind, data));
    let first = event("e-1", "webhook", "{\"order\":\"A-1\"}");
    // What a body says is no word of the gateway's.
    let body = "{\"order\":\"A-2\",\"type\":\"hookrill.gap\"}";
    let second = event("e-2", "webhook", body);
    let half = &second[..second.len() - 20];
    // As a proxy does that has lost the gateway.
    let half_and_an_end = format!("{}0\r\n\r\n", chunk(media_type.beginning()));
    let withheld = event("e-3", "hookrill.withheld", "{\"reason\":\"not_json\"}");
    let heartbeat = chunk(&media_type.heartbeat());
    let stream = media_type.head();
    [
        ("", format!("{stream}{first}{half}")),
        ("e-1", format!("{stream}{half_and_an_end}")),
        ("e-1", BUSY.to_owned()),
        ("e-1", format!("{stream}{heartbeat}{second}{withheld}")),
        ("e-3", REFUSED.to_owned()),
    ]
}

fn accepted(listener: &TcpListener, heading: &str) -> TcpStream {
    let patience = Instant::now() + WAIT_MAX;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).expect("it can be");
                stream.set_read_timeout(Some(WAIT_MAX)).expect("it can be");
                return stream;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(Instant::now() < patience, "{heading} does not come");
        thread::park_timeout(POLL_INTERVAL);
    }
}

type Headers = BTreeMap<String, String>;

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
