//! The program as a shell sees it: output, errors, exit status.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long a process may take to end, which takes it milliseconds.
const WAIT_MAX: Duration = Duration::from_secs(60);

const GITHUB_SECRET: &str = "It's a Secret to Everybody";
/// GitHub's documentation, "Validating webhook deliveries".
const GITHUB_SIGNATURE: &str = "X-Hub-Signature-256: \
    sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

fn hookrill(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookrill"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null());
    command
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A process that has ended, and what it wrote.
#[derive(Debug)]
struct Exit {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Exit {
    fn new(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn of(command: &mut Command) -> Self {
        Self::new(command.output().unwrap())
    }

    #[track_caller]
    fn has_status(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:?}");
        self
    }

    /// Its standard output has these words.
    #[track_caller]
    fn prints(self, words: &str) -> Self {
        assert!(self.stdout.contains(words), "no {words:?} in {self:?}");
        self
    }

    /// Its standard error has these words.
    #[track_caller]
    fn says(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "no {words:?} in {self:?}");
        self
    }

    #[track_caller]
    fn prints_nothing(self) -> Self {
        assert_eq!(self.stdout, "", "{self:?}");
        self
    }

    #[track_caller]
    fn says_nothing(self) -> Self {
        assert_eq!(self.stderr, "", "{self:?}");
        self
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Exit {
    Exit::of(&mut hookrill(folder, arguments))
}

/// The status it exits with. One that does not exit is killed, and the test
/// fails.
fn exit_status(mut process: Child) -> Option<i32> {
    let pid = rustix::process::Pid::from_child(&process);
    let (ended, end) = mpsc::sync_channel(1);
    let waiting = thread::spawn(move || {
        let status = process.wait();
        _ = ended.send(());
        status
    });
    let in_time = end.recv_timeout(WAIT_MAX).is_ok();
    if !in_time {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    let status = waiting.join().unwrap().unwrap();
    assert!(in_time, "the process does not end");
    status.code()
}

/// A gateway that is ended with the test.
struct Gateway {
    process: Child,
    url: String,
    /// Taken where it is asked to end.
    stderr: Option<JoinHandle<String>>,
}

/// Of a test that failed, no process is left.
impl Drop for Gateway {
    fn drop(&mut self) {
        if self.stderr.is_some() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// A gateway in memory, on a port of its own, whose log is read.
fn serving(folder: &Path) -> Child {
    hookrill(folder, &["serve"])
        .env("PORT", "0")
        .env("HOOKRILL__JOURNAL__KIND", "memory")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

impl Gateway {
    fn start(folder: &Path) -> Self {
        Self::of(serving(folder))
    }

    /// As [`Gateway::start`], with its journal in the folder.
    fn on_disk(folder: &Path) -> Self {
        let mut serve = hookrill(folder, &["serve"]);
        let serve = serve.env("PORT", "0").stderr(Stdio::piped());
        Self::of(serve.spawn().unwrap())
    }

    fn of(mut process: Child) -> Self {
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        // A machine with few open files makes it warn first.
        let mut said = String::new();
        let url = loop {
            let from = said.len();
            assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
            if let Some(url) = said[from..].trim().strip_prefix("listening on ") {
                break url.to_owned();
            }
        };
        let stderr = thread::spawn(move || {
            let mut rest = String::new();
            stderr.read_to_string(&mut rest).unwrap();
            rest
        });
        Self {
            process,
            url,
            stderr: Some(stderr),
        }
    }

    fn signal(&self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Asks it to end; gives its status and what it said.
    fn end(mut self) -> (Option<i32>, String) {
        self.signal();
        let status = self.process.wait().unwrap();
        let stderr = self.stderr.take().unwrap();
        (status.code(), stderr.join().unwrap())
    }
}

#[test]
fn the_printed_commands_send_an_event_and_show_it() {
    let folder = folder();
    let folder = folder.path();
    let gateway = Gateway::start(folder);
    let url = gateway.url.clone();

    run(folder, &["send", "hello", r#"{"n":1}"#, "--url", &url])
        .has_status(0)
        .prints(r#""duplicate":false"#);
    let again = ["send", "hello", "2", "--url", &url, "--id", "msg_1"];
    run(folder, &again);
    run(folder, &again)
        .has_status(0)
        .prints(r#""duplicate":true"#);

    let mut tail = hookrill(folder, &["tail", "*", "--url", &url, "--since", "earliest"]);
    let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), r#"{"n":1}"#);
    assert_eq!(lines.next().unwrap().unwrap(), "2");
    tail.kill().unwrap();
    tail.wait().unwrap();

    assert_eq!(run(folder, &["health", "--url", &url]).stdout, "ok\n");
    let (status, said) = gateway.end();
    assert_eq!(status, Some(0), "{said}");
    let ready = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("curl -N '"));
    let ready = ready.unwrap().strip_suffix('\'').unwrap();
    assert!(
        ready.starts_with(&format!("{url}/events/hello?token=ey")),
        "{ready}"
    );
    let send = format!(r#"hookrill send hello '{{"text":"Hello, world"}}' --url {url}"#);
    assert!(said.contains(&send), "{said}");
    // Nobody is there any more.
    let unhealthy = run(folder, &["health", "--url", &url]).has_status(1);
    assert!(unhealthy.stderr.starts_with("hookrill: "), "{unhealthy:?}");
}

#[test]
fn a_gateway_without_topics_says_so() {
    for (file, says_so) in [
        (Some("[server]\nmetrics_public = true\n"), true),
        (None, false),
    ] {
        let folder = folder();
        let folder = folder.path();
        if let Some(text) = file {
            std::fs::write(folder.join("hookrill.toml"), text).unwrap();
        }
        let said = said_by_serve(folder);
        assert_eq!(
            said.contains("no topics are configured: every delivery"),
            says_so,
            "{said}"
        );
    }
}

/// What `serve` says until it listens.
fn said_by_serve(folder: &Path) -> String {
    let mut process = serving(folder);
    let mut stderr = BufReader::new(process.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("listening on ") {
        let bytes = stderr.read_line(&mut said).unwrap();
        assert_ne!(bytes, 0, "{said}");
    }
    process.kill().unwrap();
    process.wait().unwrap();
    said
}

#[test]
fn a_gateway_refuses_what_another_secret_signed() {
    let folder = folder();
    let folder = folder.path();
    let gateway = Gateway::start(folder);
    let mut send = hookrill(folder, &["send", "hello", "-", "--url", &gateway.url]);
    let mut send = send
        .args(["--secret", "env:OTHER"])
        .env("OTHER", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    send.stdin.take().unwrap().write_all(b"body").unwrap();
    Exit::new(send.wait_with_output().unwrap())
        .has_status(1)
        .prints_nothing()
        .says("401");

    let tail = ["tail", "hello", "--url", &gateway.url, "--token", "none"];
    run(folder, &tail).has_status(1).says("401");
    gateway.end();
}

/// Whatever has happened to the configuration since, and whatever port its environment
/// has set.
#[test]
fn health_finds_a_gateway_by_what_it_has_left() {
    let folder = folder();
    let folder = folder.path();
    let gateway = Gateway::on_disk(folder);
    let left = folder.join("data/address");
    let kept = std::fs::read_to_string(&left).unwrap();
    assert_eq!(kept.trim(), gateway.url);
    std::fs::write(folder.join("hookrill.toml"), "[server\nlisten = what?\n").unwrap();
    run(folder, &["health"]).has_status(0).says_nothing();
    run(folder, &["check"]).has_status(1);

    // As one that was killed left it.
    std::fs::write(&left, "http://127.0.0.1:1\n").unwrap();
    run(folder, &["health"])
        .has_status(1)
        .says("cannot reach http://127.0.0.1:1/healthz");
    let port = gateway.url.rsplit_once(':').unwrap().1;
    let address = format!("127.0.0.1:{port}");
    for (name, value) in [("PORT", port), ("HOOKRILL__SERVER__LISTEN", &address)] {
        let mut health = hookrill(folder, &["health"]);
        Exit::of(health.env(name, value))
            .has_status(0)
            .says_nothing();
    }
    std::fs::write(&left, kept).unwrap();
    gateway.end();
    assert!(!left.exists(), "a gateway that has ended leaves none");
    run(folder, &["health"]).has_status(1).says("refused");
}

#[test]
fn send_and_tail_find_a_gateway_by_what_it_has_left() {
    let folder = folder();
    let folder = folder.path();
    let gateway = Gateway::on_disk(folder);
    run(folder, &["send", "hello", "{}"]).has_status(0);
    let seen = tail_until_lines(folder, &["tail", "hello", "--since", "earliest"], 1);
    assert_eq!(seen, ["{}"]);
    // As one that was killed left it.
    std::fs::write(folder.join("data/address"), "http://127.0.0.1:1\n").unwrap();
    let port = gateway.url.rsplit_once(':').unwrap().1;
    let mut send = hookrill(folder, &["send", "hello", "{}"]);
    Exit::of(send.env("PORT", port)).has_status(0);

    let token = run(folder, &["token", "--topic", "*"]).has_status(0).stdout;
    std::fs::write(folder.join("hookrill.toml"), "[server\n").unwrap();
    std::fs::write(folder.join("data/address"), format!("{}\n", gateway.url)).unwrap();
    let tail = ["tail", "hello", "--last", "1", "--token", token.trim()];
    assert_eq!(tail_until_lines(folder, &tail, 1), ["{}"]);
    run(folder, &tail[..4])
        .has_status(1)
        .says("mistakes in the configuration here (`hookrill check` lists them)");
    gateway.end();
}

/// The first lines that a `tail` prints, which is ended then.
fn tail_until_lines(folder: &Path, arguments: &[&str], count: usize) -> Vec<String> {
    let mut command = hookrill(folder, arguments);
    let mut tail = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let lines = lines.take(count).map(Result::unwrap).collect();
    tail.kill().unwrap();
    tail.wait().unwrap();
    lines
}

#[test]
fn health_changes_nothing_where_there_is_no_gateway() {
    let folder = folder();
    let mut health = hookrill(folder.path(), &["health"]);
    Exit::of(health.env("PORT", "1"))
        .has_status(1)
        .says("refused");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn tail_says_what_gives_a_token() {
    const REFUSED: &str = "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n";
    let folder = folder();
    for (token, says) in [
        (
            &[][..],
            "give one with --token or HOOKRILL_TOKEN, name a configuration",
        ),
        (
            &["--token", "t"],
            "the token is that of --token or HOOKRILL_TOKEN",
        ),
    ] {
        let (url, _requests) = scripted_server(&[REFUSED]);
        let tail = ["tail", "a", "--url", &url];
        run(folder.path(), &[&tail[..], token].concat())
            .has_status(1)
            .says("401 Unauthorized")
            .says(says);
    }
}

#[test]
fn https_to_a_port_without_tls_says_so() {
    let folder = folder();
    let folder = folder.path();
    let gateway = Gateway::start(folder);
    let encrypted = gateway.url.replace("http:", "https:");
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for arguments in [
        &["health"][..],
        &["tail", "a", "--token", "t"],
        &["send", "a", "1", "--secret", secret],
    ] {
        run(folder, &[arguments, &["--url", &encrypted]].concat())
            .has_status(1)
            .says("speaks no TLS on this port: its URL begins with http://\n");
    }
    gateway.end();
}

#[test]
fn what_libraries_say_is_said_in_plain_words() {
    /// Begins to answer, and ends in the middle.
    const CUT: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n:a\n\n\n\r\n";
    const END: &str = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
    let folder = folder();
    let folder = folder.path();
    for (answers, says) in [
        (
            // An alert.
            &["\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{46}"][..],
            "this port speaks TLS: its URL begins with https://\n",
        ),
        (
            &[""],
            "it was closed without an answer: is this a gateway's port",
        ),
        (
            &["\u{1}\u{2}\r\n\r\n"],
            "what answers there does not speak HTTP",
        ),
        (&[CUT, END], "it was cut off, as by a gateway that stops"),
    ] {
        let (url, _requests) = scripted_server(answers);
        let said = run(folder, &["tail", "a", "--url", &url, "--token", "t"])
            .has_status(1)
            .says(says);
        for words in ["EOF", "chunk", "message", "parse", "body"] {
            assert!(!said.stderr.contains(words), "{said:?}");
        }
    }
    std::fs::write(folder.join("captured"), [b'P', 0xff, 0, 1]).unwrap();
    let verify = [
        "verify",
        "--preset",
        "github",
        "--secret",
        "s",
        "--request",
        "captured",
    ];
    let said = run(folder, &verify)
        .has_status(1)
        .says("captured is not a request: it must begin with a request line");
    assert!(!said.stderr.contains("utf-8"), "{said:?}");
}

/// Docker hands its own proxy to every container, and that cannot come back in.
#[test]
fn a_proxy_of_the_environment_is_not_asked_for_this_machine() {
    let folder = folder();
    let folder = folder.path();
    let gateway = Gateway::start(folder);
    let port = gateway.url.rsplit_once(':').unwrap().1.to_owned();
    let nobody = "http://127.0.0.1:1";
    for arguments in [&["health"][..], &["send", "hello", "{}"]] {
        let mut command = hookrill(folder, arguments);
        command.env("PORT", &port).env("HTTP_PROXY", nobody);
        Exit::of(&mut command).has_status(0).says_nothing();
    }
    let elsewhere = ["health", "--url", "http://hooks.example.com"];
    Exit::of(hookrill(folder, &elsewhere).env("HTTP_PROXY", nobody))
        .has_status(1)
        .says("refused");
    gateway.end();
}

/// A server that plays its part: an answer per connection. Gives the requests.
fn scripted_server(answers: &'static [&'static str]) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let play = move || {
        let answer = |answer: &&str| {
            let (mut peer, _) = listener.accept().unwrap();
            let request = head(&peer);
            peer.write_all(answer.as_bytes()).unwrap();
            request
        };
        answers.iter().map(answer).collect()
    };
    (url, thread::spawn(play))
}

fn head(peer: &TcpStream) -> String {
    let mut head = String::new();
    let mut lines = BufReader::new(peer);
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(lines.read_line(&mut head).unwrap(), 0, "{head}");
    }
    head.to_ascii_lowercase()
}

#[test]
fn tail_comes_back_to_where_it_was_and_says_gaps() {
    const FIRST: &str =
        "HTTP/1.1 200 OK\r\n\r\nretry: 1\nevent: hookrill.cursor\nid: e-1\ndata: {}\n\n";
    const SECOND: &str = "HTTP/1.1 200 OK\r\n\r\nid: e-2\ndata: {\ndata: }\n\nid: e-3\ndata: half";
    const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    const GAP: &str =
        "HTTP/1.1 200 OK\r\n\r\nevent: hookrill.gap\nid: e-9\ndata: {\"reason\":\"retention\"}\n\n";
    const END: &str = "HTTP/1.1 403 No\r\nContent-Length: 16\r\n\r\n{\"detail\":\"end\"}";
    let (url, requests) = scripted_server(&[FIRST, SECOND, BUSY, GAP, END]);
    let folder = folder();
    let tail = [
        "tail", "a", "--json", "--last", "3", "--url", &url, "--token", "t",
    ];
    let exit = run(folder.path(), &tail).has_status(1);
    assert_eq!(exit.stdout, "{}\n", "{exit:?}");
    let requests = requests.join().unwrap();
    let resumed = requests.iter().map(|request| {
        let mut lines = request.lines();
        lines.find_map(|line| line.strip_prefix("last-event-id: "))
    });
    let ids = [None, Some("e-1"), Some("e-2"), Some("e-2"), Some("e-9")];
    assert_eq!(resumed.collect::<Vec<_>>(), ids);
    for request in &requests {
        assert!(
            request.starts_with("get /events/a?last=3&format=cloudevents "),
            "{request}"
        );
        assert!(request.contains("authorization: bearer t\r\n"), "{request}");
    }
    let waits = " in ";
    let said: Vec<_> = exit.stderr.lines().collect();
    let without_waits = said.iter().map(|line| {
        let (what, wait) = line.split_once(waits).unwrap_or((line, "0.0 s"));
        assert!(
            wait.strip_suffix(" s").unwrap().parse::<f64>().is_ok(),
            "{line}"
        );
        what
    });
    let ended = "hookrill: the gateway has ended the stream; connecting again";
    let expected = [
        ended,
        ended,
        "hookrill: 503 Service Unavailable; connecting again",
        "hookrill: a part of the history is gone: {\"reason\":\"retention\"}",
        ended,
        "hookrill: 403 Forbidden: end",
    ];
    assert_eq!(without_waits.collect::<Vec<_>>(), expected);
}

#[test]
fn tail_waits_where_it_is_put_off_at_first() {
    const WAIT: &str = "HTTP/1.1 200 OK\r\n\r\nretry: 1\nevent: hookrill.wait\ndata: \
                        {\"detail\":\"the limit of subscribers is reached\"}\n\n";
    const END: &str = "HTTP/1.1 403 No\r\nContent-Length: 16\r\n\r\n{\"detail\":\"end\"}";
    let (url, requests) = scripted_server(&[WAIT, END]);
    let tail = ["tail", "a", "--url", &url, "--token", "t"];
    run(folder().path(), &tail)
        .has_status(1)
        .says("the limit of subscribers is reached; connecting again in ")
        .says("403 Forbidden: end");
    assert_eq!(requests.join().unwrap().len(), 2);
}

#[test]
fn send_needs_no_configuration() {
    const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    let folder = folder();
    for (preset, header) in [
        (&[][..], "webhook-signature: v1,"),
        (&["--preset", "github"], "x-hub-signature-256: sha256="),
    ] {
        let (url, requests) = scripted_server(&[TAKEN]);
        let send = [
            "send",
            "a.b",
            "1",
            "--url",
            &url,
            "--secret",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ];
        let exit = run(folder.path(), &[&send[..], preset].concat()).has_status(0);
        assert_eq!(exit.stdout, "{}\n", "{exit:?}");
        let request = requests.join().unwrap().remove(0);
        assert!(request.starts_with("post /ingest/a.b "), "{request}");
        assert!(request.contains(header), "{request}");
        assert!(
            request.contains("content-type: application/json\r\n"),
            "{request}"
        );
    }
}

#[test]
fn check_says_ok_or_all_that_is_wrong() {
    let folder = folder();
    let folder = folder.path();
    let good = run(folder, &["check"]).has_status(0).says_nothing();
    assert!(good.stdout.starts_with("ok "), "{good:?}");
    assert!(!folder.join("data").exists());

    std::fs::write(
        folder.join("hookrill.toml"),
        "[server]\nlisten = 1\n[topics.a]\nsecrets = [\"env:A\"]\naccess = \"public\"\n",
    )
    .unwrap();
    let bad = run(folder, &["check"]).has_status(1).prints_nothing();
    let said: Vec<_> = bad.stderr.lines().collect();
    assert_eq!(said.len(), 4, "{said:#?}");
    assert_eq!(said[0], "hookrill: the configuration has 3 errors:");
    let unset = "  topics.a.secrets[0]: the environment variable A is not set";
    assert!(said.iter().any(|line| line.starts_with(unset)), "{said:#?}");
    run(folder, &["serve"]).has_status(1);
}

#[test]
fn check_and_serve_tell_warnings_and_strict_makes_them_a_failure() {
    let folder = folder();
    let folder = folder.path();
    let warning = "topics.a.tolerance: has no effect";
    std::fs::write(
        folder.join("hookrill.toml"),
        "[topics.a]\nscheme = { kind = \"none\" }\naccess = \"public\"\ntolerance = \"5m\"\n",
    )
    .unwrap();
    let lenient = run(folder, &["check"]).has_status(0).prints("1 warning ");
    assert!(lenient.stderr.starts_with(&format!("warning: {warning}")));
    assert!(
        lenient.stderr.ends_with("(hookrill.toml:4)\n"),
        "{lenient:?}"
    );
    run(folder, &["check", "--strict"])
        .has_status(1)
        .says(warning);
    assert!(said_by_serve(folder).contains(warning));

    std::fs::write(folder.join("hookrill.toml"), "").unwrap();
    let empty = run(folder, &["check"]).has_status(0);
    assert!(!empty.stdout.starts_with("ok"), "{empty:?}");
    run(folder, &["check", "--strict"]).has_status(1);
}

#[test]
fn strict_says_ok_where_there_is_no_warning() {
    let folder = folder();
    run(folder.path(), &["check", "--strict"])
        .has_status(0)
        .prints("ok ")
        .says_nothing();
}

#[test]
fn verify_says_at_which_step_a_delivery_fails() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join("body"), "Hello, World!").unwrap();
    std::fs::write(folder.join("other"), "Hello, World?").unwrap();
    let verify = |body, more: &[&str]| {
        let secret = [
            "verify",
            "--preset",
            "github",
            "--secret",
            GITHUB_SECRET,
            body,
        ];
        run(folder, &[&secret[..], more].concat())
    };
    let good = verify("body", &["--header", GITHUB_SIGNATURE])
        .has_status(0)
        .says_nothing()
        .prints("the secret that matches: --secret number 1");
    assert!(good.stdout.ends_with("Signature verified.\n"), "{good:?}");

    let shapeless = ["--secret", "another", "--header", "X-Hub-Signature-256: 00"];
    verify("body", &shapeless)
        .has_status(1)
        .prints("header x-hub-signature-256 does not begin with \"sha256=\"");

    let changed = verify("other", &["--header", GITHUB_SIGNATURE, "--show-signed"])
        .has_status(1)
        .prints("\nFAIL  ");
    let signed = "signed: 13 bytes\nHello, World?\n";
    assert!(changed.stdout.starts_with(signed), "{changed:?}");
    assert!(!changed.stdout.contains(GITHUB_SECRET));

    verify("body", &[])
        .has_status(1)
        .prints("header x-hub-signature-256 is missing");
    verify("none", &[]).has_status(1);
    for unknown in [
        &["verify", "--preset", "GitHub", "--secret", "s", "body"][..],
        &["send", "a", "{}", "--preset", "githbu", "--secret", "s"],
        &["presets", "GITHUB"],
    ] {
        run(folder, unknown)
            .has_status(2)
            .says("there is no such preset; did you mean `github`? (`hookrill presets` lists all)");
    }
}

#[test]
fn verify_reads_a_whole_request_as_it_was_captured() {
    let folder = folder();
    let folder = folder.path();
    let head = format!(
        "POST /ingest/github?a=1 HTTP/1.1\r\nHost: hooks.example.com\r\n{GITHUB_SIGNATURE}\r\n\
         Content-Length: 13\r\n\r\n"
    );
    std::fs::write(folder.join("captured"), format!("{head}Hello, World!")).unwrap();
    // As an editor leaves it.
    let edited = format!("{head}Hello, World!\n").replace("\r\n", "\n");
    std::fs::write(folder.join("edited"), edited).unwrap();
    let verify = [
        "verify",
        "--preset",
        "github",
        "--secret",
        GITHUB_SECRET,
        "--show-signed",
        "--request",
    ];
    for file in ["captured", "edited"] {
        run(folder, &[&verify[..], &[file]].concat())
            .has_status(0)
            .says_nothing()
            .prints("signed: 13 bytes\nHello, World!\n")
            .prints("Signature verified.");
    }
    std::fs::write(folder.join("body"), "Hello, World!").unwrap();
    run(folder, &[&verify[..], &["body"]].concat())
        .has_status(1)
        .says("body is not a request")
        .says("it must begin with a request line");
}

#[test]
fn signed_bytes_are_printed_as_they_are() {
    let folder = folder();
    let folder = folder.path();
    let body = b"{\"a\":\"b\\n\", \"\x1b\":\xff}\r\n";
    std::fs::write(folder.join("body"), body).unwrap();
    let line = "verify --preset github --secret s --show-signed body";
    let arguments: Vec<&str> = line.split(' ').collect();
    let output = hookrill(folder, &arguments).output().unwrap();
    let expected = [b"signed: 20 bytes\n", &body[..], b"\n"].concat();
    assert!(output.stdout.starts_with(&expected), "{output:?}");
}

#[test]
fn a_file_where_the_journals_folder_should_be_is_said_plainly() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join("data"), "x").unwrap();
    let refuses = |command: &[&str]| {
        let output = hookrill(folder, command).env("PORT", "0").output();
        let exit = Exit::new(output.unwrap())
            .has_status(1)
            .says("data is a file, and the ");
        assert!(!exit.stderr.contains("os error"), "{exit:?}");
        assert_eq!(exit.stderr.matches("is a file").count(), 1, "{exit:?}");
    };
    refuses(&["check"]);
    refuses(&["serve"]);
    std::fs::write(
        folder.join("hookrill.toml"),
        "[topics.a]\nscheme = { kind = \"none\" }\naccess = \"public\"\n",
    )
    .unwrap();
    refuses(&["check"]);
    refuses(&["serve"]);
    refuses(&["journal", "check", "data"]);
}

#[test]
fn verify_names_the_secret_that_matches_and_never_shows_it() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join("body"), "Hello, World!").unwrap();
    std::fs::write(folder.join("old"), "of before\n").unwrap();
    std::fs::write(folder.join("new"), GITHUB_SECRET).unwrap();
    let secrets = ["--secret", "file:old", "--secret", "file:new"];
    let line = ["verify", "body", "--preset", "github"];
    let header = ["--header", GITHUB_SIGNATURE];
    let exit = run(folder, &[&line[..], &secrets, &header].concat())
        .has_status(0)
        .prints("number 2 matches")
        .prints("the secret that matches: file:new");
    assert!(!exit.stdout.contains(GITHUB_SECRET), "{exit:?}");
}

#[test]
fn verify_shows_how_a_handshake_is_answered() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join("empty"), "").unwrap();
    let ask = |target: &str| {
        let line = ["verify", "empty", "--preset", "dropbox", "--secret", "s"];
        run(
            folder,
            &[&line[..], &["--method", "GET", "--target", target]].concat(),
        )
    };
    ask("/ingest/files?challenge=a%1Bb")
        .has_status(1)
        .prints("no printable text");
    ask("/ingest/files?challenge=a-b")
        .has_status(0)
        .prints("This is a handshake. The answer is 200 OK: a-b\n");
}

#[test]
fn verify_judges_a_capture_as_of_then() {
    let folder = folder();
    let folder = folder.path();
    // The vector of the Standard Webhooks library for Go.
    std::fs::write(folder.join("body"), r#"{"test": 2432232314}"#).unwrap();
    let verify = |at: &[&str]| {
        let capture = [
            "verify",
            "body",
            "--preset",
            "standard-webhooks",
            "--secret",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "--header",
            "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek",
            "--header",
            "webhook-timestamp: 1614265330",
            "--header",
            "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ];
        run(folder, &[&capture[..], at].concat())
    };
    verify(&["--at", "1614265331"]).has_status(0);
    verify(&["--at", "2021-02-25T15:02:11Z"]).has_status(0);
    verify(&[])
        .has_status(1)
        .prints("hint: the signature is genuine");
}

#[test]
fn a_partition_is_shown_and_takes_deliveries_at_its_topic_alone() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(
        folder.join("hookrill.toml"),
        "[topics.pay]\nscheme = { kind = \"none\" }\naccess = \"public\"\n\
         partition = \"by.{/customer}\"\n",
    )
    .unwrap();
    std::fs::write(folder.join("body"), "{\"customer\":\"mia@example.com\"}").unwrap();
    run(folder, &["check"])
        .has_status(0)
        .prints("pay.by.{/customer}");
    run(folder, &["verify", "--topic", "pay", "body"])
        .has_status(0)
        .prints("partition by.mia~40example~2Ecom");
    for command in [
        ["verify", "--topic", "pay.by.x", "body"],
        ["send", "pay.by.x", "{}", "--url=http://127.0.0.1:1"],
    ] {
        run(folder, &command)
            .has_status(1)
            .says("pay.by.x accepts no deliveries");
    }
}

#[test]
fn results_go_to_stdout_and_wrong_usage_is_two() {
    let folder = folder();
    let folder = folder.path();
    run(folder, &["presets"])
        .has_status(0)
        .says_nothing()
        .prints("\ngithub ");
    let json = run(folder, &["presets", "--json"]).stdout;
    let presets: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let github = presets.iter().find(|preset| preset["name"] == "github");
    assert_eq!(github.unwrap()["header"], "x-hub-signature-256");
    assert!(presets.len() >= 50, "{}", presets.len());
    run(folder, &["no-such-command"])
        .has_status(2)
        .prints_nothing()
        .says("Usage");
    for help in [&["--help"][..], &["send", "--help"], &["--version"]] {
        let exit = run(folder, help).has_status(0).says_nothing();
        let printed = exit.stdout.to_lowercase();
        assert!(printed.contains("hookrill"), "{printed}");
    }
    let version = run(folder, &["--version"]).stdout;
    let details =
        version
            .trim()
            .strip_prefix(concat!("hookrill ", env!("CARGO_PKG_VERSION"), " ("));
    let details = details.and_then(|rest| rest.strip_suffix(')'));
    let (commit, date) = details.and_then(|rest| rest.split_once(", ")).unwrap();
    let is_commit = commit.len() == 12 && commit.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(is_commit || commit == "unknown", "{version}");
    assert!(date.len() == 10 || date == "unknown", "{version}");
}

#[test]
fn a_pipe_that_nobody_reads_is_no_failure() {
    let folder = folder();
    let mut presets = hookrill(folder.path(), &["presets"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = presets
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn a_token_is_minted_from_the_configuration_alone() {
    let folder = folder();
    let folder = folder.path();
    run(folder, &["token", "--topic", "a"])
        .has_status(1)
        .says("run `hookrill serve` in this folder first");
    let mut token = hookrill(
        folder,
        &["token", "--topic", "a", "--topic", "b", "--sub", "me"],
    );
    let secret = "0123456789abcdef0123456789abcdef";
    token
        .env("HOOKRILL__ACCESS__SECRET", secret)
        .env("HOOKRILL__TOPICS__A__SCHEME__KIND", "none");
    let exit = Exit::of(&mut token).has_status(0);
    assert_eq!(
        exit.stderr,
        "hookrill: note: no section of the configuration covers the topic b\n"
    );
    assert_eq!(exit.stdout.trim().split('.').count(), 3, "{exit:?}");
}

/// A log collector that dies takes no answer and no drain with it.
#[test]
fn shells_are_given_scripts_that_complete() {
    let folder = folder();
    let folder = folder.path();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(folder, &["completions", shell])
            .has_status(0)
            .says_nothing()
            .prints("restore")
            .prints("rate-max");
        std::fs::write(folder.join(shell), script.stdout).unwrap();
    }
    let mut check = Command::new("bash");
    Exit::of(check.args(["-n", "bash"]).current_dir(folder))
        .has_status(0)
        .says_nothing();
    let complete = "source ./bash; COMP_WORDS=(hookrill ba); COMP_CWORD=1; \
                    _hookrill hookrill ba hookrill; echo \"${COMPREPLY[@]}\"";
    let mut complete_one = Command::new("bash");
    let completed = Exit::of(complete_one.args(["-c", complete]).current_dir(folder));
    assert_eq!(completed.stdout, "backup\n", "{completed:?}");
}

#[test]
fn a_gateway_whose_stderr_is_gone_goes_on() {
    let folder = folder();
    let folder = folder.path();
    let mut process = serving(folder);
    let url = {
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut said = String::new();
        loop {
            assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
            if let Some(at) = said.find("listening on ") {
                break said[at + "listening on ".len()..].trim().to_owned();
            }
        }
    };
    let forged = hookrill(
        folder,
        &[
            "send",
            "--url",
            &url,
            "--secret",
            "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "a",
            "{}",
        ],
    )
    .output()
    .unwrap();
    let pid = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    // Judged once it is gone, so that no failure leaves it behind.
    let status = exit_status(process);
    let said = String::from_utf8(forged.stderr).unwrap();
    assert!(said.contains("401"), "{said}");
    assert_eq!(status, Some(0));
}

#[test]
fn a_backup_never_guesses_which_journal_is_meant() {
    let folder = folder();
    let folder = folder.path();
    // A journal lies where a gateway without a configuration would have it.
    let gateway = Gateway::on_disk(folder);
    gateway.end();
    for (toml, says) in [
        ("[journal]\npath = \"/other\"\n[topics.a\n", "give --from"),
        (
            "[journal]\npath = \"/other\"\nnonsense = 1\n",
            "give --from",
        ),
        (
            "[journal]\nkind = \"memory\"\n[topics.a]\npreset = \"github\"\n\
             access = \"public\"\nsecrets = [\"a secret of some length\"]\n",
            "the configured journal is in memory and has no folder; give --from",
        ),
    ] {
        std::fs::write(folder.join("broken.toml"), toml).unwrap();
        run(folder, &["backup", "kept", "--config", "broken.toml"])
            .has_status(1)
            .says(says);
        assert!(!folder.join("kept").exists());
    }
    run(
        folder,
        &[
            "backup",
            "kept",
            "--config",
            "broken.toml",
            "--from",
            "data",
        ],
    )
    .has_status(0);
    std::fs::write(folder.join("broken.toml"), "[").unwrap();
    run(folder, &["restore", "kept", "--config", "broken.toml"])
        .has_status(1)
        .says("give --to");
}

#[test]
fn a_backup_of_a_running_gateway_comes_back_under_another_epoch() {
    let folder = folder();
    let folder = folder.path();
    let gateway = Gateway::on_disk(folder);
    let send = |to: &Gateway, body| {
        let sent = run(folder, &["send", "hello", body, "--url", &to.url]).has_status(0);
        let answer: serde_json::Value = serde_json::from_str(&sent.stdout).unwrap();
        let id = answer["id"].as_str().unwrap().to_owned();
        let (epoch, sequence) = id.split_once('-').unwrap();
        (epoch.to_owned(), sequence.parse::<u64>().unwrap())
    };
    let (epoch, _) = send(&gateway, "1");
    send(&gateway, "2");
    run(folder, &["backup", "kept"])
        .has_status(0)
        .says_nothing()
        .prints("from          data")
        .prints(&format!("{epoch}-2"));
    run(folder, &["backup", "kept"])
        .has_status(1)
        .says("is not empty");
    send(&gateway, "lost");
    run(folder, &["restore", "kept"])
        .has_status(1)
        .says("data is not empty");
    gateway.end();

    std::fs::rename(folder.join("data"), folder.join("broken")).unwrap();
    run(folder, &["journal", "check", "kept"]).has_status(0);
    run(folder, &["restore", "kept"])
        .has_status(0)
        .says_nothing();
    // The secrets of zero configuration came along, or `send` could not sign.
    let restored = Gateway::on_disk(folder);
    let (new_epoch, sequence) = send(&restored, "3");
    assert_ne!(new_epoch, epoch);
    assert!(sequence > 2, "{sequence}");
    restored.end();
}
