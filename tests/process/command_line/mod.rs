//! The program as a shell sees it: output, errors, exit status.

mod backup;
mod deliveries;
mod tail;
mod verify;

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
    let forward = format!("hookrill forward hello 3000 --url {url}");
    assert!(said.contains(&forward), "{said}");
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
fn health_changes_nothing_where_there_is_no_gateway() {
    let folder = folder();
    let mut health = hookrill(folder.path(), &["health"]);
    Exit::of(health.env("PORT", "1"))
        .has_status(1)
        .says("refused");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
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
fn a_second_gateway_on_a_folder_is_told_what_to_do() {
    let folder = folder();
    let gateway = Gateway::on_disk(folder.path());
    Exit::of(hookrill(folder.path(), &["serve"]).env("PORT", "0"))
        .has_status(1)
        .says(&format!("is in use by process {}", gateway.process.id()))
        .says("(stop that process, or give this one another folder: journal.path)");
    gateway.end();
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
