//! The program for Shuttle's runtime, as Shuttle's command line starts it.
//!
//! The process has the environment that `shuttle run` sets and nothing else,
//! and a stand-in answers the one question that the runtime asks: what stands
//! in `Secrets.toml`. Needs no platform, no login and no command line; run by
//! `scripts/shuttle`.

#[allow(dead_code, reason = "its `main` is for the runtime")]
#[path = "../../examples/shuttle_axum.rs"]
mod shuttle_axum;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use hookrill::config::{Config, MissingSecrets, Sources};
use hookrill_testing::{Process, free_address};
use rustix::process::{Resource, Signal};
use serde_json::json;
use shuttle_runtime::Service as _;

/// No answer takes that long.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// What the runtime ends with after a signal, whatever a service did.
const INTERRUPTED: Option<i32> = Some(10);
/// What it ends with where a service could not start to work.
const REFUSED: Option<i32> = Some(151);
/// What it ends with where a service ended in an error.
const FAILED: Option<i32> = Some(1);
const SECRET: &str = "It's a Secret to Everybody";
const PROJECT: &str = "proj_0";

#[test]
fn at_a_signal_streams_end_and_what_is_under_way_is_answered_and_kept() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let mut gateway = shuttle(folder.path(), "10s");
        let mut stream = Peer::subscribed(&gateway);
        Peer::posted(&gateway, "sha256=00", r#"{"zen":"forged"}"#).reads("401 Unauthorized");
        let first = r#"{"zen":"first"}"#;
        Peer::posted(&gateway, &signature(first), first).reads("200 OK");
        stream.reads(first);

        let second = r#"{"zen":"under way"}"#;
        let mut under_way = Peer::begun_posting(&gateway, &signature(second), second);
        gateway.signal(signal);
        let end = stream.rest();
        assert!(
            end.starts_with("retry: ") || end.contains("\nretry: "),
            "{end:?}"
        );
        assert!(!end.ends_with("\r\n0\r\n\r\n"), "{end:?}");
        under_way.says(second);
        assert!(under_way.rest().contains("200 OK"));
        assert_eq!(gateway.wait().code(), INTERRUPTED);
        // Its last word, when the journal is closed.
        gateway.wait_for_log("stopped");

        drop(gateway);
        let again = shuttle(folder.path(), "10s");
        let mut resumed = Peer::subscribed(&again);
        resumed.reads(first);
        resumed.reads(second);
    }
}

#[test]
fn a_request_that_never_ends_cannot_hold_up_the_end() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let mut gateway = shuttle(folder.path(), "200ms");
    let _under_way = Peer::begun_posting(&gateway, "sha256=00", "never sent");
    assert_eq!(gateway.terminate().code(), INTERRUPTED);
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let mut gateway = shuttle(folder.path(), "1h");
    let stream = Peer::subscribed(&gateway);
    let _under_way = Peer::begun_posting(&gateway, "sha256=00", "never sent");
    gateway.signal(Signal::TERM);
    stream.rest();
    // The first of these comes in the same moment, and counts as one with it.
    let status = gateway.signal_until_it_ends(Signal::TERM);
    assert_eq!(status.code(), INTERRUPTED);
    gateway.wait_for_log("ended by a second signal");
}

#[test]
fn the_delay_before_a_drain_is_served_through() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let mut secrets = secrets(folder.path(), "10s");
    secrets["HOOKRILL__SERVER__SHUTDOWN_DELAY"] = "1h".into();
    secrets["HOOKRILL__LOG__FORMAT"] = "json".into();
    let mut gateway = shuttle_with(folder.path(), secrets);
    let mut stream = Peer::subscribed(&gateway);
    gateway.signal(Signal::TERM);
    gateway.wait_for_log(
        r#""message":"/readyz answers 503 from now on; still serving until the delay is over""#,
    );
    let body = r#"{"zen":"still here"}"#;
    Peer::posted(&gateway, &signature(body), body).reads("200 OK");
    stream.reads(body);
    assert_eq!(gateway.terminate().code(), INTERRUPTED);
}

#[test]
fn a_gateway_that_fails_ends_with_an_error() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let mut gateway = shuttle(folder.path(), "10s");
    let mut stream = Peer::subscribed(&gateway);
    let first = r#"{"zen":"first"}"#;
    Peer::posted(&gateway, &signature(first), first).reads("200 OK");
    stream.reads(first);
    // From here on every write of the journal fails.
    gateway.limit(Resource::Fsize, 1);
    let second = r#"{"zen":"too much"}"#;
    Peer::posted(&gateway, &signature(second), second).reads("503 Service Unavailable");
    assert!(!stream.rest().ends_with("\r\n0\r\n\r\n"));
    assert_eq!(gateway.wait().code(), FAILED);
    gateway.wait_for_log("Service encountered an error in `bind`: the gateway stopped");
}

#[test]
fn the_runtimes_address_is_the_gateways() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let mut secrets = secrets(folder.path(), "10s");
    secrets["HOOKRILL__SERVER__LISTEN"] = "127.0.0.9:9".into();
    secrets["PORT"] = "99".into();
    let gateway = shuttle_with(folder.path(), secrets);
    gateway.wait_for_log(&format!("listening on {}", gateway.url()));
    let body = r#"{"zen":"where"}"#;
    Peer::posted(&gateway, &signature(body), body).reads("200 OK");
    let mut stream = Peer::patiently(gateway.address);
    stream
        .asks(
            "GET /events/github?since=earliest&format=cloudevents HTTP/1.1",
            "",
        )
        .reads(&format!(r#""source":"{}/"#, gateway.url()));

    // Where somebody listens already, another says what to do about it.
    let elsewhere = tempfile::tempdir().expect("there is room for a folder");
    let same_address = self::secrets(elsewhere.path(), "10s");
    let (status, said) = refused(elsewhere.path(), same_address, gateway.address);
    assert_eq!(status, FAILED, "{said}");
    assert!(said.contains("stop the program that uses it"), "{said}");
}

#[test]
fn open_files_are_as_many_as_the_system_allows() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let gateway = shuttle(folder.path(), "10s");
    let allowed = gateway.limit(Resource::Nofile, 256);
    assert_eq!(allowed.current, allowed.maximum);
}

#[test]
fn a_start_that_is_refused_says_all_that_is_wrong_and_no_secret() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let mut wrong = secrets(folder.path(), "soon");
    wrong["HOOKRILL__TOPICS__GITHUB__PRESET"] = "gihtub".into();
    let (status, said) = refused(folder.path(), wrong, free_address());
    assert_eq!(status, REFUSED, "{said}");
    for name in ["SERVER__SHUTDOWN_GRACE", "TOPICS__GITHUB__PRESET"] {
        assert!(said.contains(&format!("HOOKRILL__{name}")), "{said}");
    }
    assert!(!said.contains(SECRET), "{said}");

    let _has_the_journal = shuttle(folder.path(), "10s");
    let right = secrets(folder.path(), "10s");
    let (second_status, second_said) = refused(folder.path(), right, free_address());
    assert_eq!(second_status, REFUSED, "{second_said}");
    assert!(
        second_said.contains("one process per folder"),
        "{second_said}"
    );
}

#[test]
fn without_a_configuration_secrets_are_made_and_kept() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let data = folder.path().join("data");
    let secrets = json!({ "HOOKRILL__JOURNAL__PATH": data });
    let _gateway = shuttle_with(folder.path(), secrets);
    let made = std::fs::read_to_string(data.join("webhook-secret"));
    assert!(made.expect("it is kept there").starts_with("whsec_"));
}

#[test]
fn the_example_of_secrets_is_a_configuration() {
    let example = include_str!("../../deploy/shuttle/Secrets.example.toml");
    let secrets: BTreeMap<&str, &str> = toml::from_str(example).expect("names and texts");
    let environment = secrets.into_iter().collect();
    let sources = Sources::new(&environment).with_reader(&|_| Err(ErrorKind::NotFound.into()));
    let config =
        Config::load(sources, MissingSecrets::Refuse).unwrap_or_else(|error| panic!("{error}"));
    assert!(config.zero_config.is_none());
}

/// What `examples/shuttle_axum.rs` shows, in this process.
#[tokio::test(flavor = "multi_thread")]
async fn hookrill_works_among_the_routes_of_another_shuttle_service() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let secrets = secrets(folder.path(), "10s");
    let secrets = serde_json::from_value(secrets).expect("they are a map of texts");
    let service = shuttle_axum::service(secrets).await;
    let service = service.unwrap_or_else(|error| panic!("{error}"));
    let address = free_address();
    let asked = tokio::task::spawn_blocking(move || {
        Peer::patiently(address)
            .asks("GET / HTTP/1.1", "")
            .reads("my own page");
        let mut stream = Peer::patiently(address);
        stream
            .asks("GET /events/github HTTP/1.1", "")
            .reads("\r\n\r\n");
        let body = r#"{"zen":"embedded"}"#;
        Peer::patiently(address)
            .posts(&signature(body), body)
            .reads("200 OK");
        stream.reads(body);
    });
    tokio::select! {
        ended = service.bind(address) => panic!("ended by itself: {ended:?}"),
        done = asked => done.expect("all was as it should be"),
    }
}

/// `hookrill-shuttle`, ready.
fn shuttle(folder: &Path, shutdown_grace: &str) -> Process {
    shuttle_with(folder, secrets(folder, shutdown_grace))
}

fn shuttle_with(folder: &Path, secrets: serde_json::Value) -> Process {
    let address = free_address();
    let mut program = program(folder, secrets, address);
    Process::start_as(&mut program, folder, address)
}

/// What a start that fails ends with, and what it said.
fn refused(
    folder: &Path,
    secrets: serde_json::Value,
    address: SocketAddr,
) -> (Option<i32>, String) {
    let mut program = program(folder, secrets, address);
    Process::refused_as(&mut program, folder, address)
}

/// `hookrill-shuttle`, as the command line would start it, with few open files
/// until it asks for more.
fn program(folder: &Path, secrets: serde_json::Value, address: SocketAddr) -> Command {
    let api = stand_in(secrets);
    let mut program = Command::new("/bin/sh");
    program
        .args(["-c", "ulimit -Sn 256 && exec \"$0\""])
        .arg(env!("CARGO_BIN_EXE_hookrill-shuttle"))
        .current_dir(folder)
        .env_clear()
        .env("SHUTTLE_ENV", "local")
        .env("SHUTTLE_PROJECT_ID", PROJECT)
        .env("SHUTTLE_PROJECT_NAME", "hookrill")
        .env("SHUTTLE_RUNTIME_IP", address.ip().to_string())
        .env("SHUTTLE_RUNTIME_PORT", address.port().to_string())
        .env("SHUTTLE_API", format!("http://{api}"));
    program
}

/// What would stand in `Secrets.toml`.
fn secrets(folder: &Path, shutdown_grace: &str) -> serde_json::Value {
    let secret = folder.join("secret");
    std::fs::write(&secret, SECRET).expect("the folder can be written to");
    json!({
        "HOOKRILL__SERVER__SHUTDOWN_GRACE": shutdown_grace,
        "HOOKRILL__JOURNAL__PATH": folder.join("data"),
        "HOOKRILL__TOPICS__GITHUB__PRESET": "github",
        "HOOKRILL__TOPICS__GITHUB__SECRETS__0": format!("file:{}", secret.display()),
        "HOOKRILL__TOPICS__GITHUB__ACCESS": "public",
        "SOMEBODY_ELSES": "is left alone",
    })
}

/// Answers one question, as the command line does.
fn stand_in(secrets: serde_json::Value) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let (mut runtime, _) = listener.accept().expect("somebody asks");
        let asked = head(&mut BufReader::new(&runtime));
        let resource =
            json!({ "type": "secrets", "state": "ready", "config": null, "output": secrets });
        let wanted = format!("GET /projects/{PROJECT}/resources/secrets ");
        let (status, body) = if asked.starts_with(&wanted) {
            ("200 OK", resource.to_string())
        } else {
            ("404 Not Found", String::new())
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        runtime
            .write_all(answer.as_bytes())
            .expect("the runtime listens");
    });
    address
}

fn head(asking: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = asking.read_line(&mut head).expect("a head is sent");
        assert_ne!(read, 0, "closed within the head: {head:?}");
    }
    head
}

fn signature(body: &str) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes());
    let mut mac = mac.expect("any length is a key");
    mac.update(body.as_bytes());
    let digest = mac.finalize().into_bytes();
    format!("sha256={}", data_encoding::HEXLOWER.encode(&digest))
}

/// One connection, and what came over it that was not looked for yet.
struct Peer {
    socket: TcpStream,
    unread: String,
}

impl Peer {
    /// Connects, as soon as somebody listens there.
    fn patiently(address: SocketAddr) -> Self {
        let until = Instant::now() + WAIT_MAX;
        let socket = loop {
            match TcpStream::connect(address) {
                Ok(socket) => break socket,
                Err(error) if Instant::now() > until => panic!("{address}: {error}"),
                Err(_) => thread::park_timeout(Duration::from_millis(2)),
            }
        };
        socket
            .set_read_timeout(Some(WAIT_MAX))
            .expect("it is no zero");
        let unread = String::new();
        Self { socket, unread }
    }

    /// A stream from the earliest event on.
    fn subscribed(gateway: &Process) -> Self {
        let mut peer = Self::patiently(gateway.address);
        peer.asks("GET /events/github?since=earliest HTTP/1.1", "")
            .reads("\r\n\r\n");
        peer
    }

    fn posted(gateway: &Process, signature: &str, body: &str) -> Self {
        let mut peer = Self::patiently(gateway.address);
        peer.posts(signature, body);
        peer
    }

    /// A delivery whose body the gateway waits for.
    fn begun_posting(gateway: &Process, signature: &str, body: &str) -> Self {
        let mut peer = Self::patiently(gateway.address);
        let headers = format!("{}Expect: 100-continue\r\n", delivery(signature, body));
        peer.asks("POST /ingest/github HTTP/1.1", &headers)
            .reads("100 Continue\r\n\r\n");
        peer
    }

    fn posts(&mut self, signature: &str, body: &str) -> &mut Self {
        self.asks("POST /ingest/github HTTP/1.1", &delivery(signature, body));
        self.says(body);
        self
    }

    fn asks(&mut self, line: &str, headers: &str) -> &mut Self {
        self.says(&format!("{line}\r\nHost: gateway\r\n{headers}\r\n"));
        self
    }

    fn says(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).expect("it is open");
    }

    /// Reads on until this has come. For so long, since heartbeats never end.
    fn reads(&mut self, wanted: &str) {
        let until = Instant::now() + WAIT_MAX;
        let mut bytes = [0; 4096];
        loop {
            if let Some(at) = self.unread.find(wanted) {
                self.unread.drain(..at + wanted.len());
                return;
            }
            let count = self.socket.read(&mut bytes).unwrap_or_default();
            let in_time = count > 0 && Instant::now() < until;
            assert!(in_time, "no {wanted:?} in {:?}", self.unread);
            self.unread += &String::from_utf8_lossy(&bytes[..count]);
        }
    }

    /// All that comes until the gateway closes the connection. Closes it here
    /// too, which a drain waits for.
    fn rest(mut self) -> String {
        let mut rest = self.unread;
        self.socket
            .read_to_string(&mut rest)
            .expect("it ends in time");
        rest
    }
}

fn delivery(signature: &str, body: &str) -> String {
    let id = body.len();
    format!(
        "X-GitHub-Delivery: {id}\r\nX-GitHub-Event: ping\r\nX-Hub-Signature-256: {signature}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    )
}
