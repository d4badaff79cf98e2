//! Clients with habits of their own: senders that wait to be asked for a password, and
//! a subscriber that fails on long lines.

use std::{path::Path, process::Command};

use crate::installed::installed;
use hookrill_testing::{OPEN_TOPIC, Process};

const FOLDER: &str = "tests/ecosystem/habits";

const BASIC: &str = r#"
[topics.basic]
access = "public"
secrets = ["mia:correct horse"]
scheme = { kind = "token", token = { authorization = "basic" } }
"#;

/// Runs a program to its end; returns what it has written.
fn output(command: &mut Command) -> String {
    let name = command.get_program().to_owned();
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", name.display()));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {text}{errors}",
        name.display()
    );
    text
}

fn go() -> Command {
    let usual = Path::new("/usr/local/go/bin/go");
    Command::new(if usual.exists() {
        usual
    } else {
        Path::new("go")
    })
}

/// Neither sends a password before it was asked for one.
#[test]
fn senders_that_wait_to_be_asked_for_a_password_get_in() {
    let gateway = Process::with_sections(BASIC);
    let url = format!("http://{}/ingest/basic", gateway.address);
    let curl = [
        "-sS",
        "--noproxy",
        "*",
        "--anyauth",
        "-u",
        "mia:correct horse",
    ];
    let curl = output(Command::new("curl").args(curl).args(["-d", "{}", &url]));
    assert!(curl.contains("\"topic\":\"basic\""), "curl: {curl}");
    let python = installed(FOLDER).join("basic.py");
    let python = output(Command::new("python3").arg(python).arg(&url));
    assert!(python.contains("\"topic\":\"basic\""), "urllib: {python}");
    let wrong = ["-sS", "--noproxy", "*", "--anyauth", "-u", "mia:wrong"];
    let wrong = output(Command::new("curl").args(wrong).args(["-d", "{}", &url]));
    assert!(wrong.contains("signature verification failed"), "{wrong}");
}

/// Go's `bufio.Scanner` stops at lines of 64 KiB.
#[test]
fn a_scanner_that_stops_at_a_long_line_is_told_of() {
    let gateway = Process::with_sections(OPEN_TOPIC);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (first, next) = runtime.block_on(async {
        let first = gateway.post("open", "{}").await.id();
        (first, gateway.post("open", vec![b'x'; 70_000]).await.id())
    });
    let url = format!("http://{}/events/open", gateway.address);
    let program = installed(FOLDER).join("scanner.go");
    let ended = output(go().arg("run").arg(program).args([&url, &first, "12"]));
    // It says so itself, each time, and is where it was.
    assert_eq!(ended.matches("token too long").count(), 12, "{ended}");
    assert!(ended.trim_end().ends_with(&first), "{ended}");
    gateway.wait_for_log("comes back at the same id again and again");
    let log = gateway.stop();
    let line = log.lines().find(|line| line.contains("the same id"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    for field in [
        &format!("id={first}"),
        &format!("next_id={next}"),
        "next_bytes=70000",
        "topic=open ",
        "Go-http-client/1.1",
    ] {
        assert!(line.contains(field), "{field}: {line}");
    }
}
