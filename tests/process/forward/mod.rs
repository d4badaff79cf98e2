//! `hookrill forward` and `hookrill resend`, between a gateway and a program.

mod app;
mod gateway;
mod hostile;
mod keys;
mod kills;
mod real;
mod states;
mod usage;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use data_encoding::BASE64;
use hookrill_testing::{POLL_INTERVAL, Subprocess, WAIT_MAX, hookrill};
use serde_json::{Value, json};

use app::FakeApp;
use gateway::{FakeGateway, Reply, delivery, event, live, opening, refusal};

/// A command that runs, of which every line is read.
struct Forward {
    process: Subprocess,
    said: PathBuf,
}

impl Forward {
    /// Starts it in a folder, at this gateway.
    fn start(folder: &Path, gateway: &FakeGateway, arguments: &[&str]) -> Self {
        let mut command = command(folder, arguments);
        command.args(["--url", &gateway.url(), "--token", "t"]);
        Self::of(folder, &mut command)
    }

    fn of(folder: &Path, command: &mut Command) -> Self {
        let said = folder.join(format!("said-{}", fastrand::u64(..)));
        command.stderr(File::create(&said).unwrap());
        Self {
            process: Subprocess::start("hookrill", command),
            said,
        }
    }

    /// The next line, as JSON.
    fn next(&self) -> Value {
        let line = self.process.next_line(Instant::now() + WAIT_MAX);
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// All lines up to its end, as JSON, and what it said.
    fn rest(&self) -> (Vec<Value>, String) {
        let lines = self.process.remaining_lines(Instant::now() + WAIT_MAX);
        let lines = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        (lines.collect(), self.said())
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    fn wait_until_it_says(&self, words: &str) {
        let deadline = Instant::now() + WAIT_MAX;
        while !self.said().contains(words) {
            assert!(Instant::now() < deadline, "no {words:?} in {}", self.said());
            thread::park_timeout(POLL_INTERVAL);
        }
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = hookrill(folder);
    command.args(arguments);
    command
}

/// A command that ends by itself: its status, its lines, and what it said.
fn run(folder: &Path, gateway: &FakeGateway, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command(folder, arguments);
    command.args(["--url", &gateway.url(), "--token", "t"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_delivery_arrives_as_it_came() {
    let folder = folder();
    let body: Vec<u8> = (0..=255).collect();
    let came = json!({
        "method": "PUT", "target": "/a%2fb//c?x=1&y=%00", "type": "push",
        "headers": [["X-B", "1"], ["content-encoding", "gzip"], ["X-A", ""], ["x-b", "2 "],
            ["user-agent", "Sender/1.0"], ["host", "hooks.example.com"], ["cookie", "a=b"]],
        "body_base64": BASE64.encode(&body),
    });
    let gateway = FakeGateway::streaming([opening(6), event(7, came)].concat());
    let app = FakeApp::answering("204 No Content");
    let target = format!("{}/hooks?k=v", app.port());
    let forward = Forward::start(folder.path(), &gateway, &["forward", "orders", &target]);
    let asked = gateway.next_request();
    assert_eq!(asked.header("authorization"), Some("Bearer t"));
    assert!(
        asked.line.starts_with("GET /events/orders?format=delivery"),
        "{asked:?}"
    );
    let request = app.next();
    assert_eq!(request.line, "PUT /hooks/a%2fb//c?k=v&x=1&y=%00 HTTP/1.1");
    assert_eq!(request.body, body);
    let mut headers = request.headers.clone();
    headers.sort();
    let host = format!("host: localhost:{}", app.port());
    assert_eq!(
        headers,
        [
            "content-encoding: gzip",
            "content-length: 256",
            &host,
            "user-agent: Sender/1.0",
            "x-a: ",
            "x-b: 1",
            "x-b: 2 ",
        ]
    );
    let line = forward.next();
    for (key, value) in [
        ("id", json!("e-7")),
        ("type", json!("push")),
        ("outcome", json!("delivered")),
        ("status", json!(204)),
        ("attempt", json!(1)),
        ("bytes", json!(256)),
        ("signature", json!("kept")),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    forward.wait_until_it_says("Ready: orders → http://localhost:");
}

#[test]
fn an_empty_body_stays_empty_and_methods_stay_what_they_are() {
    let folder = folder();
    let methods = ["GET", "POST", "DELETE", "PATCH"];
    let events = methods.iter().zip(1..).map(|(method, number)| {
        event(
            number,
            json!({"method": method, "body_base64": "", "headers": []}),
        )
    });
    let events: String = events.collect();
    let gateway = FakeGateway::streaming([opening(0), events, live(4)].concat());
    let app = FakeApp::answering("200 OK");
    let port = app.port();
    let forward = [
        "forward",
        "orders",
        &port,
        "--since",
        "earliest",
        "--no-follow",
    ];
    let (status, lines, said) = run(folder.path(), &gateway, &forward);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(lines.lines().count(), 4);
    for method in methods {
        let request = app.next();
        assert_eq!(request.line, format!("{method} / HTTP/1.1"));
        assert!(request.body.is_empty());
        assert_eq!(request.header("content-type"), None);
    }
}

#[test]
fn what_was_asked_for_is_sent_and_nothing_else() {
    let folder = folder();
    let amounts = [5, 500, 50].iter().zip(1..);
    let events: String = amounts
        .map(|(amount, number)| {
            let body = json!({"repository": {"name": "demo"}, "amount": amount}).to_string();
            event(
                number,
                json!({"body_base64": BASE64.encode(body.as_bytes())}),
            )
        })
        .collect();
    let other_topic = event(
        4,
        json!({"topic": "orders.eu", "body_base64": BASE64.encode(b"[]")}),
    );
    let text = [opening(0), events, other_topic, live(4)].concat();
    let gateway = FakeGateway::streaming(text);
    let app = FakeApp::answering("200 OK");
    let save = folder.path().join("saved");
    let (port, save_text) = (app.port(), save.to_str().unwrap());
    let forward = [
        "forward",
        "orders",
        &port,
        "--last",
        "9",
        "--until",
        "now",
        "--types",
        "a,b",
        "--match",
        "/repository/name=demo",
        "--match",
        "/amount>10",
        "--header",
        "X-Mine: 1",
        "--drop-header",
        "x-number",
        "--save",
        save_text,
    ];
    let (status, lines, said) = run(folder.path(), &gateway, &forward);
    assert_eq!(status, Some(0), "{said}");
    let asked = gateway.next_request();
    assert!(asked.line.contains("last=9"), "{asked:?}");
    assert!(asked.line.contains("types=a%2Cb"), "{asked:?}");
    let ids = lines.lines().map(|line| {
        serde_json::from_str::<Value>(line).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    });
    let ids: Vec<String> = ids.collect();
    assert_eq!(ids, ["e-2", "e-3"]);
    assert!(
        said.contains("2 delivered, 0 failed, 2 passed over by --match"),
        "{said}"
    );
    let request = app.next();
    assert_eq!(request.header("x-mine"), Some("1"));
    assert_eq!(request.header("x-number"), None);
    let mut names: Vec<_> = fs::read_dir(&save)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["e-2.http", "e-2.sh", "e-3.http", "e-3.sh"]);
}

#[test]
fn each_target_has_its_topics_in_their_order_and_one_that_is_down_stops_no_other() {
    let folder = folder();
    // Both lanes are sent all, as a gateway would where topics overlap.
    let events: String = (1..=20)
        .map(|number| {
            let topic = if number % 2 == 0 {
                "orders"
            } else {
                "orders.eu"
            };
            event(number, json!({"topic": topic}))
        })
        .collect();
    let text = [opening(0), events, live(20)].concat();
    let gateway = FakeGateway::start(move |_| Reply::Stream(text.clone()));
    let app = FakeApp::answering("200 OK");
    let down = hookrill_testing::free_address().port();
    let words = [
        format!("orders.eu={}", app.port()),
        format!("orders={down}"),
    ];
    let forward = ["forward", &words[0], &words[1], "--since", "earliest"];
    let forward = Forward::start(folder.path(), &gateway, &forward);
    let numbers: Vec<_> = (0..10)
        .map(|_| app.next().header("x-number").unwrap().to_owned())
        .collect();
    let odd: Vec<_> = (1..=20)
        .step_by(2)
        .map(|number: u32| number.to_string())
        .collect();
    assert_eq!(numbers, odd);
    assert!(app.is_done());
    let lines: Vec<_> = (0..11).map(|_| forward.next()).collect();
    assert!(
        lines
            .iter()
            .any(|line| line["outcome"] == "waiting" && line["id"] == "e-2")
    );
}

#[test]
fn exactly_these_are_sent_again() {
    let folder = folder();
    let gateway = FakeGateway::start(|number| {
        let body = delivery(6 + number as u64, json!({})).to_string();
        let length = body.len();
        match number {
            3 => Reply::Bytes(refusal("410 Gone", "the event is deleted")),
            4 => Reply::Bytes(refusal("404 Not Found", "there is no such event")),
            5 => Reply::Bytes(refusal("503 Service Unavailable", "later")),
            _ => Reply::Bytes(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
            )),
        }
    });
    let app = FakeApp::answering("200 OK");
    let port = app.port();
    let (status, lines, said) = run(folder.path(), &gateway, &["resend", "e-7", "e-8", &port]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(lines.lines().count(), 2);
    assert_eq!(gateway.next_request().line, "GET /deliveries/e-7 HTTP/1.1");
    assert_eq!(app.next().header("x-number"), Some("7"));
    assert_eq!(app.next().header("x-number"), Some("8"));
    // Two that are gone, and one for which the gateway has to be asked twice.
    let ids = ["--id", "e-1", "--id", "e-2", "--id", "e-12"];
    let forward = [&["forward", "orders", &port][..], &ids].concat();
    let (status_of_gone, _, said_of_gone) = run(folder.path(), &gateway, &forward);
    assert_eq!(status_of_gone, Some(1), "{said_of_gone}");
    for words in [
        "e-1 can't be sent again",
        "the event is deleted",
        "no such event",
        "again in 1 s",
    ] {
        assert!(
            said_of_gone.contains(words),
            "no {words:?} in {said_of_gone}"
        );
    }
    assert!(
        said_of_gone.contains("1 delivered, 2 failed"),
        "{said_of_gone}"
    );
    assert_eq!(app.next().header("x-number"), Some("12"));
}
