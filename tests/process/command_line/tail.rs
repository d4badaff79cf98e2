//! `hookrill tail` and `hookrill send`: how they find a gateway, and what they say of it.

use super::*;

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
fn a_url_that_cannot_be_used_is_repeated_without_what_may_be_secret() {
    let folder = folder();
    for (url, shown) in [
        ("http://user:hunter2@a", "http://…@a"),
        ("http://a/?token=hunter2", "http://a/?…"),
        ("http://a/#hunter2", "http://a/#…"),
        ("nowhere", "nowhere"),
    ] {
        for arguments in [&["tail", "a"][..], &["send", "a", "1"], &["health"]] {
            let exit = run(folder.path(), &[arguments, &["--url", url]].concat())
                .has_status(2)
                .says(&format!(
                    "invalid value '{shown}' for '--url <URL>': must be a URL such as"
                ));
            assert!(!exit.stderr.contains("hunter2"), "{exit:?}");
        }
        let verify = [
            "verify",
            "-",
            "--preset",
            "github",
            "--secret",
            "s",
            "--public-url",
            url,
        ];
        let exit = run(folder.path(), &verify)
            .has_status(2)
            .says(&format!("invalid value '{shown}' for '--public-url <URL>'"));
        assert!(!exit.stderr.contains("hunter2"), "{exit:?}");
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
fn tail_waits_for_a_gateway_that_is_not_there_yet_and_send_and_health_do_not() {
    const END: &str = "HTTP/1.1 403 No\r\nContent-Length: 16\r\n\r\n{\"detail\":\"end\"}";
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let (url, folder) = (format!("http://{address}"), folder());
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for arguments in [&["health"][..], &["send", "a", "1", "--secret", secret]] {
        run(folder.path(), &[arguments, &["--url", &url]].concat())
            .has_status(1)
            .says("Connection refused: is a gateway running there, and are host and port right?");
    }
    let mut command = hookrill(folder.path(), &["tail", "a", "--url", &url, "--token", "t"]);
    let mut tail = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(tail.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let waits = format!("hookrill: cannot connect to {url}: Connection refused; trying again in ");
    assert!(line.starts_with(&waits) && line.ends_with(" s\n"), "{line}");
    let listener = TcpListener::bind(address).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    head(&peer);
    peer.write_all(END.as_bytes()).unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("403 Forbidden: end\n"), "{rest}");
    assert_eq!(exit_status(tail), Some(1));
}

#[test]
fn tail_ends_where_a_name_does_not_resolve() {
    let folder = folder();
    // No name has so long a label, so no server is asked for it.
    let name = "a".repeat(64);
    let url = format!("http://{name}.invalid");
    run(folder.path(), &["tail", "a", "--token", "t", "--url", &url])
        .has_status(1)
        .says(&format!("cannot resolve {name}.invalid"));
}

#[test]
fn send_reads_a_body_from_a_file_byte_for_byte() {
    let folder = folder();
    let folder = folder.path();
    let gateway = Gateway::on_disk(folder);
    std::fs::write(folder.join("big.json"), "{\"a\": 1}\n").unwrap();
    run(folder, &["send", "hello", "@big.json"]).has_status(0);
    let seen = tail_until_lines(folder, &["tail", "hello", "--since", "earliest"], 1);
    assert_eq!(seen, ["{\"a\": 1}"]);
    run(folder, &["send", "hello", "@none.json"])
        .has_status(1)
        .says("none.json cannot be read (a text that begins with @ can come from stdin)");
    gateway.end();
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
fn a_tail_that_is_to_end_prints_what_there_is_and_ends() {
    let folder = folder();
    let folder = folder.path();
    let gateway = Gateway::on_disk(folder);
    for n in 0..6 {
        run(folder, &["send", "hello", &n.to_string()]).has_status(0);
    }
    let all = run(folder, &["tail", "hello", "--json", "--no-follow"]).has_status(0);
    let events: Vec<serde_json::Value> = all
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 6);
    let third = events[2]["id"].as_str().unwrap();
    let ends = |more: &[&str]| {
        let exit = run(folder, &[&["tail", "hello"], more].concat()).has_status(0);
        exit.stdout.replace('\n', "")
    };
    for (more, printed) in [
        (&["--no-follow"][..], "012345"),
        (&["--until", "now"], "012345"),
        (&["--no-follow", "--last", "2"], "45"),
        (&["--no-follow", "--since", third], "345"),
        (&["--since", "earliest", "--limit", "4"], "0123"),
        (&["--no-follow", "--limit", "4"], "0123"),
        (&["--no-follow", "--limit", "9"], "012345"),
        (&["--last", "3", "--limit", "2"], "34"),
        (&["--until", third], "012"),
        (&["--until", "1h"], ""),
        (&["--until", "2020-01-01T00:00:00Z"], ""),
        (
            &["--no-follow", "--until", "2100-01-01T00:00:00Z"],
            "012345",
        ),
        (&["--no-follow", "--types", "nothing"], ""),
    ] {
        assert_eq!(ends(more), printed, "{more:?}");
    }
    run(folder, &["tail", "hello", "--until", "otherone-3"])
        .has_status(1)
        .says("--until otherone-3 is in another journal");
    for (flag, bad) in [("--until", "yesterday"), ("--limit", "0")] {
        run(folder, &["tail", "hello", flag, bad]).has_status(2);
    }
    gateway.end();
}

#[test]
fn a_tail_that_is_to_end_comes_through_kills_of_the_gateway_and_says_gaps() {
    const EVENTS: u64 = 30;
    let mut gateway = hookrill_testing::Process::with_sections(&format!(
        "[subscribe]\nretry = \"100ms\"\n{}",
        hookrill_testing::OPEN_TOPIC
    ));
    let url = gateway.url();
    let folder = folder();
    let limit = EVENTS.to_string();
    let arguments = [
        "tail", "open", "--since", "earliest", "--limit", &limit, "--url", &url,
    ];
    let mut tail = hookrill(folder.path(), &arguments);
    let mut tail = tail
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    for n in 0..EVENTS {
        if n > 0 && n % 10 == 0 {
            gateway = gateway.restart();
        }
        let stored = gateway
            .connection()
            .post("/ingest/open", &[], &n.to_string());
        assert_eq!(stored.unwrap().status, 200);
        if n % 4 == 0 {
            for printed in n.saturating_sub(3)..=n {
                assert_eq!(lines.next().unwrap().unwrap(), printed.to_string());
            }
        }
    }
    // What came after the last look.
    for n in EVENTS - EVENTS % 4 + 1..EVENTS {
        assert_eq!(lines.next().unwrap().unwrap(), n.to_string());
    }
    assert!(lines.next().is_none());
    assert!(tail.wait().unwrap().success());

    const CUT: &str = "HTTP/1.1 200 OK\r\n\r\nretry: 1\nevent: hookrill.cursor\nid: e-0\ndata: {}\n\n\
                       id: e-1\ndata: 1\n\n";
    const GAP: &str = "HTTP/1.1 200 OK\r\n\r\nevent: hookrill.gap\nid: e-9\n\
                       data: {\"reason\":\"retention\"}\n\nid: e-10\ndata: 10\n\n\
                       event: hookrill.cursor\nid: e-10\ndata: {\"live\":true}\n\n";
    let (scripted, _requests) = scripted_server(&[CUT, GAP]);
    let no_follow = [
        "tail",
        "a",
        "--no-follow",
        "--url",
        &scripted,
        "--token",
        "t",
    ];
    let exit = run(folder.path(), &no_follow)
        .has_status(0)
        .says("a part of the history is gone: {\"reason\":\"retention\"}");
    assert_eq!(exit.stdout, "1\n10\n");
}
