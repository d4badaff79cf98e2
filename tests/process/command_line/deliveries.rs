//! `hookrill deliveries` and `hookrill explain`: what came, and why it was refused.

use super::*;

const CONFIG: &str = "[server]\nlisten = \"127.0.0.1:0\"\nadmin_token = \"the-operators-own-token\"\n\
                      [topics.hello]\naccess = \"public\"\npreset = \"standard-webhooks\"\n\
                      secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A folder with that configuration.
fn configured() -> tempfile::TempDir {
    let folder = folder();
    std::fs::write(folder.path().join("hookrill.toml"), CONFIG).unwrap();
    folder
}

fn refused(folder: &Path, body: &str) {
    run(folder, &["send", "hello", body, "--secret", OTHER]).has_status(1);
}

#[test]
fn a_refused_delivery_is_found_explained_and_taken() {
    let folder = configured();
    let folder = folder.path();
    let gateway = Gateway::on_disk(folder);
    run(folder, &["send", "hello", "{\"n\":0}"]).has_status(0);
    refused(folder, "{\"n\":1}");
    let listed = run(folder, &["deliveries"]).has_status(0);
    let lines: Vec<serde_json::Value> = listed
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["id"], &lines[0]["reason"]),
        (&"r-1".into(), &"mismatch".into())
    );
    run(folder, &["deliveries", "--outcome", "stored"])
        .has_status(0)
        .prints("\"outcome\":\"stored\"");
    assert_eq!(
        run(folder, &["deliveries", "--refused", "--limit", "5"])
            .stdout
            .lines()
            .count(),
        1
    );
    run(folder, &["deliveries", "--reason", "stale"])
        .has_status(0)
        .prints_nothing();
    run(folder, &["deliveries", "--reason", "nothing"])
        .has_status(1)
        .says("there is no such reason");

    run(folder, &["explain", "r-1"])
        .has_status(1)
        .prints("FAIL  secret")
        .prints("hint: ")
        .prints("Signature verification failed: mismatch");
    run(folder, &["explain", "r-1", "--show-signed"])
        .has_status(1)
        .prints(".{\"n\":1}\n");
    let mut explain = hookrill(folder, &["explain", "r-1", "--secret", "env:OTHER"]);
    Exit::of(explain.env("OTHER", OTHER))
        .has_status(0)
        .prints("the secret that matches: env:OTHER")
        .prints("configure that secret");
    run(folder, &["explain", "r-1", "--take"])
        .has_status(1)
        .prints("FAIL  secret");

    let rotated = CONFIG.replace("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", OTHER);
    std::fs::write(folder.join("hookrill.toml"), rotated).unwrap();
    let pid = rustix::process::Pid::from_child(&gateway.process);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    while run(folder, &["explain", "r-1"]).status != Some(0) {}
    run(folder, &["explain", "r-1", "--take"])
        .has_status(0)
        .prints("Stored as ");
    run(folder, &["explain", "r-1", "--take"])
        .has_status(0)
        .prints("It was stored before, as ");
    let (_, log) = gateway.end();
    assert!(log.contains("a refused delivery was taken"), "{log}");
    assert!(!log.contains("whsec_"), "{log}");
}

#[test]
fn what_can_not_be_asked_says_what_to_do() {
    let folder = configured();
    let folder = folder.path();
    let gateway = Gateway::on_disk(folder);
    run(folder, &["explain", "r-7"])
        .has_status(1)
        .says("refused deliveries are kept in memory, and are gone at a restart");
    for (arguments, says) in [
        (
            &["deliveries", "--admin-token", "another-token-than-that"][..],
            "--admin-token or HOOKRILL_ADMIN_TOKEN",
        ),
        (
            &["deliveries", "--url", "http://127.0.0.1:1"],
            "Connection refused",
        ),
        (
            &["deliveries", "--admin-token", "env:NOT_THERE"],
            "NOT_THERE",
        ),
    ] {
        let exit = run(folder, arguments).has_status(1).says(says);
        assert!(!exit.stderr.contains("another-token"), "{exit:?}");
    }
    let url = gateway.url.clone();
    let elsewhere = super::folder();
    run(elsewhere.path(), &["deliveries", "--url", &url])
        .has_status(1)
        .says("admin token");
    let mut with_token = hookrill(elsewhere.path(), &["deliveries"]);
    Exit::of(
        with_token
            .env("HOOKRILL_URL", &url)
            .env("HOOKRILL_ADMIN_TOKEN", "the-operators-own-token"),
    )
    .has_status(0)
    .says_nothing();
    gateway.end();
}

#[test]
fn a_list_that_is_followed_goes_on_over_a_restart() {
    let folder = configured();
    let folder = folder.path();
    let gateway = Gateway::on_disk(folder);
    let port = gateway.url.rsplit_once(':').unwrap().1.to_owned();
    let mut follow = hookrill(folder, &["deliveries", "--follow", "--url", &gateway.url]);
    let mut follow = follow
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut said = BufReader::new(follow.stderr.take().unwrap()).lines();
    let mut n = 0;
    // Until it listens, what comes is not new to it.
    let (sent, first) = mpsc::sync_channel(1);
    let reading = thread::spawn(move || {
        let line = lines.next().unwrap().unwrap();
        sent.send(line).unwrap();
        lines
    });
    let line = loop {
        n += 1;
        refused(folder, &format!("{{\"n\":{n}}}"));
        if let Ok(line) = first.try_recv() {
            break line;
        }
    };
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["outcome"], "refused");
    gateway.end();
    let interrupted = said.next().unwrap().unwrap();
    assert!(
        interrupted.contains("connecting again in 1 s"),
        "{interrupted}"
    );
    let mut again = hookrill(folder, &["serve"]);
    let again = again.env("PORT", &port).stderr(Stdio::piped()).spawn();
    let again = Gateway::of(again.unwrap());
    run(folder, &["send", "hello", "{\"after\":1}"]).has_status(0);
    let mut rest = reading.join().unwrap();
    while !rest.next().unwrap().unwrap().contains("\"stored\"") {}
    follow.kill().unwrap();
    follow.wait().unwrap();
    again.end();
}
