//! With a gateway that is one: what a provider has signed is what a program verifies.

use super::*;
use hookrill_core::Timestamp;
use hookrill_testing::{GITHUB_SECRET, Process, github_signature};
use hookrill_verify::{Delivery, Outcome, Settings, Verifier};

const TOKEN_SECRET: &str = "0123456789abcdef0123456789abcdef";

fn config() -> String {
    format!(
        "[access]\nsecret = \"{TOKEN_SECRET}\"\n\
         [subscribe]\nretry = \"100ms\"\n\
         [topics.github]\npreset = \"github\"\nsecrets = [\"{GITHUB_SECRET}\"]\n\
         hide = [\"/secret\"]\n\
         [topics.stripe]\npreset = \"stripe\"\nsecrets = [\"whsec_stripe\"]\n\
         [topics.unkept]\npreset = \"github\"\nsecrets = [\"{GITHUB_SECRET}\"]\n\
         keep_proof = false\n\
         [topics.lab]\npreset = \"gitlab\"\nsecrets = [\"hunter2hunter2\"]\n\
         [topics.gitlab]\npreset = \"gitlab\"\nsecrets = [\"hunter2hunter2\"]\n"
    )
}

fn verify(request: &app::Request, preset: &str, secret: &str, at: Timestamp) {
    let scheme = hookrill_verify::preset(preset).unwrap().scheme;
    let verifier = Verifier::offline(scheme, Settings::new([secret])).unwrap();
    let headers = request.headers.iter().map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        let name: http::HeaderName = name.parse().unwrap();
        (name, http::HeaderValue::from_str(value).unwrap())
    });
    let path = request.line.split(' ').nth(1).unwrap();
    let delivery = Delivery::new(
        http::Method::POST,
        path,
        headers.collect(),
        request.body.clone(),
        at,
    );
    let outcome = verifier.verify(delivery, at);
    assert!(matches!(outcome, Ok(Outcome::Event(_))), "{outcome:?}");
}

#[test]
fn what_a_gateway_has_verified_verifies_in_the_program_too() {
    let folder = folder();
    let gateway = Process::start(folder.path(), &config());
    let app = FakeApp::answering("200 OK");
    let target = format!("{}/hooks", app.port());
    // Finds the gateway of its folder, and signs a token with that one's secret.
    let mut command = command(folder.path(), &["forward", "github", &target]);
    let forward = Forward::of(folder.path(), &mut command);
    forward.wait_until_it_says("Ready:");
    let body = "{ \"secret\" : 1e400,\t\"secret\":\"\u{e9}\u{0}\" }\r\n";
    let signature = github_signature(GITHUB_SECRET, body.as_bytes());
    let headers = [
        ("X-Hub-Signature-256", &*signature),
        ("X-GitHub-Event", "push"),
        ("X-GitHub-Delivery", "d-1"),
        ("Content-Type", "application/json"),
        ("Authorization", "Bearer theirs"),
    ];
    let path = "/ingest/github?a=b";
    let posted = gateway.connection().post(path, &headers, body).unwrap();
    assert_eq!(posted.status, 200);
    let request = app.next();
    assert_eq!(request.line, "POST /hooks?a=b HTTP/1.1");
    assert_eq!(request.body, body.as_bytes());
    assert_eq!(request.header("x-github-delivery"), Some("d-1"));
    assert_eq!(request.header("authorization"), None);
    verify(&request, "github", GITHUB_SECRET, Timestamp::default());
    let line = forward.next();
    assert_eq!(
        (&line["type"], &line["signature"]),
        (&json!("push"), &json!("kept"))
    );
    // The same once more, by its id.
    let id = line["id"].as_str().unwrap().to_owned();
    let mut resend = command_in(folder.path(), &["resend", &id, &target]);
    assert!(resend.status().unwrap().success());
    let again = app.next();
    assert_eq!((&again.body, &again.line), (&request.body, &request.line));
    verify(&again, "github", GITHUB_SECRET, Timestamp::default());
}

fn command_in(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = command(folder, arguments);
    command.stdout(Stdio::null()).stdin(Stdio::null());
    command
}

#[test]
fn a_signature_is_made_again_with_the_secret_of_the_configuration_here() {
    let folder = folder();
    let gateway = Process::start(folder.path(), &config());
    let address = gateway.url();
    let send = |topic: &str| {
        let mut send = command_in(folder.path(), &["send", topic, "{\"type\":\"charge\"}"]);
        assert!(send.args(["--url", &address]).status().unwrap().success());
    };
    send("stripe");
    send("gitlab");
    let app = FakeApp::answering("200 OK");
    let port = app.port();
    for (topic, secret) in [("stripe", "whsec_stripe"), ("gitlab", "hunter2hunter2")] {
        let forward = [
            "forward",
            topic,
            &port,
            "--last",
            "1",
            "--no-follow",
            "--signature",
            "fresh",
        ];
        let output = command(folder.path(), &forward).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(line["signature"], "fresh", "{said}");
        let request = app.next();
        let at = humantime::parse_rfc3339(line["at"].as_str().unwrap());
        verify(&request, topic, secret, at.unwrap().into());
    }
    send("unkept");
    let unkept = ["forward", "unkept", &port, "--last", "1", "--no-follow"];
    assert!(
        command_in(folder.path(), &unkept)
            .status()
            .unwrap()
            .success()
    );
    verify(&app.next(), "github", GITHUB_SECRET, Timestamp::default());
    // Whoever has no secret is told that the word is left out: by the name of the topic, and
    // by that of the header, which the gateway has not forgotten.
    send("lab");
    let elsewhere = self::folder();
    for topic in ["gitlab", "lab"] {
        let arguments = ["token", "--topic", topic, "--deliveries"];
        let minted = command(folder.path(), &arguments).output().unwrap();
        let token = String::from_utf8(minted.stdout).unwrap();
        let mut without = command(
            elsewhere.path(),
            &["forward", topic, &port, "--last", "1", "--no-follow"],
        );
        without.args(["--url", &address, "--token", token.trim()]);
        let output = without.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let words = "sends a token, which no gateway keeps, so it is left out: --preset gitlab";
        assert!(said.contains(words), "{topic}: no {words:?} in {said}");
        assert_eq!(app.next().header("x-gitlab-token"), None);
    }
}

#[test]
fn a_token_without_the_claim_is_told_which_one_is_needed() {
    let folder = folder();
    let gateway = Process::start(folder.path(), &config());
    let token = command(folder.path(), &["token", "--topic", "github"])
        .output()
        .unwrap();
    let token = String::from_utf8(token.stdout).unwrap();
    for arguments in [
        &["forward", "github", "3000"][..],
        &["resend", "e-1", "3000"],
    ] {
        let mut command = command(folder.path(), arguments);
        command.args(["--token", token.trim(), "--url", &gateway.url()]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("--deliveries"), "{said}");
    }
}

#[test]
fn what_retention_took_while_the_program_was_down_is_told() {
    let folder = folder();
    let journal = "[journal]\nretain_bytes = \"512 KiB\"\n\
                   [topics.\"*\".scheme]\nkind = \"none\"\n";
    let gateway = Process::start(folder.path(), &format!("{}{journal}", config()));
    let address = hookrill_testing::free_address();
    let target = address.to_string();
    let mut forward = command(folder.path(), &["forward", "a", &target]);
    let forward = Forward::of(folder.path(), &mut forward);
    forward.wait_until_it_says("Ready:");
    let post = |to: &Process, number: usize| {
        let headers = [("X-Number", &*number.to_string())];
        let body = "x".repeat(100_000);
        let posted = to.connection().post("/ingest/a", &headers, &body).unwrap();
        let answer: Value = serde_json::from_slice(&posted.body).unwrap();
        answer["id"].as_str().unwrap().to_owned()
    };
    post(&gateway, 1);
    assert_eq!(forward.next()["outcome"], "waiting");
    // Its stream ends with the gateway, and it reads no other while its program is down.
    let gateway = gateway.restart();
    let token = command_of_token(folder.path());
    let second = post(&gateway, 2);
    let path = format!("/deliveries/{second}?token={token}");
    let mut last = 2;
    while gateway.connection().get(&path).unwrap().status != 410 {
        last += 1;
        assert!(last < 10_000, "retention takes nothing");
        post(&gateway, last);
    }
    let app = FakeApp::at(address, |stream, _| {
        app::answer(stream, "200 OK", "Content-Length: 0", "");
    });
    let mut numbers = Vec::new();
    let mut gap_at = None;
    while numbers.last() != Some(&last) {
        let line = forward.next();
        if line["gap"]["reason"] == "retention" {
            gap_at = Some(numbers.len());
            continue;
        }
        assert_eq!(line["outcome"], "delivered", "{line}");
        let number: usize = app.next().header("x-number").unwrap().parse().unwrap();
        numbers.push(number);
    }
    let gap_at = gap_at.unwrap_or_else(|| panic!("no gap among {numbers:?}"));
    for (index, pair) in numbers.windows(2).enumerate() {
        assert_eq!(
            pair[1] == pair[0] + 1,
            index + 1 != gap_at,
            "{numbers:?}, a gap at {gap_at}"
        );
    }
}

fn command_of_token(folder: &Path) -> String {
    let token = ["token", "--topic", "a", "--deliveries"];
    let token = command(folder, &token).output().unwrap();
    String::from_utf8(token.stdout).unwrap().trim().to_owned()
}
