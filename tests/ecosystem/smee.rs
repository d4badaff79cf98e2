//! smee's client follows a topic as it follows smee.

use std::{
    io::{BufRead as _, BufReader},
    process::{ChildStdout, Command},
};

use serde_json::Value;

use crate::{installed::installed, program::Group};
use hookrill_testing::{GITHUB_SECRET, Process, github_signature};

const FOLDER: &str = "tests/ecosystem/smee";

const SECTIONS: &str = r#"
[access]
secret = "0123456789abcdef0123456789abcdef"

[topics.github]
preset = "github"
secrets = ["It's a Secret to Everybody"]
"#;

/// The app, and what it is sent.
struct App {
    lines: BufReader<ChildStdout>,
    _program: Group,
}

impl App {
    fn start(stream: &str) -> Self {
        installed(&format!("{FOLDER}/node_modules"));
        let mut program = Command::new("node");
        program
            .arg(installed(FOLDER).join("receive.mjs"))
            .args([stream, GITHUB_SECRET]);
        let (program, out) = Group::start_with_output(&mut program);
        let mut app = Self {
            lines: BufReader::new(out),
            _program: program,
        };
        assert_eq!(app.next()["ready"], true);
        app
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn smees_client_brings_webhooks_to_an_app_that_verifies_them() {
    let gateway = Process::with_sections(SECTIONS);
    let token = gateway.run(&["token", "--topic", "github", "--deliveries"]);
    let url = format!(
        "http://{}/events/github?format=smee&token={}",
        gateway.address,
        token.trim()
    );
    let mut app = App::start(&url);
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    for (kind, sent, brought, verified) in [
        (json, r#"{"ref":"x","n":1}"#, r#"{"ref":"x","n":1}"#, true),
        // What JavaScript writes anew is not what was signed.
        (
            json,
            r#"{"ref": "x", "n": 1.0}"#,
            r#"{"ref":"x","n":1}"#,
            false,
        ),
        (form, "payload=%7B%22a%22%3A1%7D", r#"{"a":1}"#, false),
        ("text/plain", "no JSON\n", r#""no JSON\n""#, false),
        (json, "", r#""""#, false),
    ] {
        let signature = github_signature(GITHUB_SECRET, sent.as_bytes());
        let headers = [
            ("Content-Type", kind),
            ("X-GitHub-Event", "push"),
            ("X-Hub-Signature-256", &*signature),
        ];
        let id = gateway
            .post_with("github?from=org", &headers, sent)
            .await
            .id();
        let request = tokio::task::block_in_place(|| app.next());
        assert_eq!(request["body"], brought, "{id}: {request}");
        assert_eq!(request["verified"], verified, "{request}");
        assert_eq!(request["url"], "/hooks?from=org");
        assert_eq!(request["headers"]["x-github-event"], "push");
        assert_eq!(request["headers"]["x-hub-signature-256"], signature);
    }
}
