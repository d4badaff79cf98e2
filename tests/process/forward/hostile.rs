//! Programs and gateways that lie, flood, or never end.

use std::io::Write as _;

use super::*;

/// Runs one delivery into a program; gives its last line.
fn outcome(behave: impl Fn(&mut std::net::TcpStream, usize) + Send + Sync + 'static) -> Value {
    let folder = folder();
    let gateway = FakeGateway::streaming([opening(0), event(1, json!({})), live(1)].concat());
    let app = FakeApp::start(behave);
    let port = app.port();
    let forward = [
        "forward",
        "orders",
        &port,
        "--last",
        "1",
        "--no-follow",
        "--timeout",
        "500ms",
    ];
    let (code, lines, said) = run(folder.path(), &gateway, &forward);
    let line: Value = serde_json::from_str(lines.lines().last().unwrap_or(&said)).unwrap();
    assert_eq!(
        code,
        Some(i32::from(line["outcome"] != "delivered")),
        "{said}"
    );
    line
}

#[test]
fn a_program_that_never_answers_has_its_time_and_no_more() {
    let line = outcome(|stream, _| app::hold(stream));
    assert_eq!(line["outcome"], "failed");
    assert!(
        line["message"]
            .as_str()
            .unwrap()
            .starts_with("no answer within"),
        "{line}"
    );
}

#[test]
fn a_program_that_answers_without_end_is_read_to_a_bound() {
    let line = outcome(|stream, _| {
        app::answer(stream, "200 OK", "Content-Length: 1073741824", "");
        let block = vec![b'x'; 1 << 16];
        while stream.write_all(&block).is_ok() {}
    });
    assert_eq!(
        (&line["outcome"], &line["status"]),
        (&json!("delivered"), &json!(200))
    );
}

#[test]
fn a_program_that_speaks_no_http_or_closes_in_the_middle_is_tried_and_then_passed() {
    for (answer, says) in [
        ("220 smtp.example ESMTP\r\n", "does not speak HTTP"),
        ("", "closed without an answer"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            "in the middle of the answer",
        ),
    ] {
        let line = outcome(move |stream, _| _ = stream.write_all(answer.as_bytes()));
        assert_eq!(
            (&line["outcome"], &line["attempt"]),
            (&json!("failed"), &json!(4)),
            "{line}"
        );
        assert!(line["message"].as_str().unwrap().contains(says), "{line}");
    }
}

#[test]
fn nothing_that_a_program_answers_reaches_a_terminal_as_it_is() {
    let line = outcome(|stream, _| {
        let body = "\u{1b}]0;owned\u{7}\u{1b}[2J";
        app::reply(stream, "400 No", "X-A: b", body);
    });
    let text = line.to_string();
    assert!(
        !text.contains("\\u001b") && !text.contains("\\u0007"),
        "{text}"
    );
}

#[test]
fn a_program_that_listens_on_ipv6_alone_is_found_by_localhost() {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else {
        println!("left out: this machine has no IPv6");
        return;
    };
    let address = listener.local_addr().unwrap();
    drop(listener);
    let folder = folder();
    let gateway = FakeGateway::streaming([opening(0), event(1, json!({})), live(1)].concat());
    let app = FakeApp::at(address, |stream, _| {
        app::answer(stream, "200 OK", "Content-Length: 0", "");
    });
    for target in [app.port(), format!("[::1]:{}", app.port())] {
        let again = FakeGateway::streaming([opening(0), event(1, json!({})), live(1)].concat());
        let forward = ["forward", "orders", &target, "--last", "1", "--no-follow"];
        let mut command = command(folder.path(), &forward);
        command.args(["--url", &again.url(), "--token", "t"]);
        let has_name = target.starts_with('[') || resolves_to_ipv6();
        if !has_name {
            println!("left out: localhost has no IPv6 address here");
            continue;
        }
        assert!(command.output().unwrap().status.success(), "{target}");
    }
    drop(gateway);
}

fn resolves_to_ipv6() -> bool {
    use std::net::ToSocketAddrs as _;
    let addresses = ("localhost", 1).to_socket_addrs();
    addresses.is_ok_and(|mut addresses| addresses.any(|address| address.is_ipv6()))
}

#[test]
fn a_gateway_that_lies_is_left_and_not_repeated() {
    let folder = folder();
    let save = folder.path().join("saved");
    let app = FakeApp::answering("200 OK");
    let (port, save_text) = (app.port(), save.to_str().unwrap());
    for block in [
        event(1, json!({"id": "../../owned"})),
        event(1, json!({"id": "e-2"})),
        event(1, json!({"method": "GET /x HTTP/1.1\r\n\r\nPOST"})),
        event(1, json!({"target": "//\u{1b}[2J"})),
        event(1, json!({"topic": "\u{1b}[2J"})),
        "id: e-1\ndata: {\"order\":1}\n\n".to_owned(),
        "id: \u{1b}[2J\ndata: {}\n\n".to_owned(),
    ] {
        let gateway = FakeGateway::streaming([opening(0), block.clone()].concat());
        let forward = ["forward", "orders", &port, "--save", save_text];
        let (code, lines, said) = run(folder.path(), &gateway, &forward);
        assert_eq!((code, &*lines), (Some(1), ""), "{block}: {said}");
        assert!(
            !said.contains('\u{1b}') && !said.contains("owned"),
            "{said:?}"
        );
        assert_eq!(fs::read_dir(&save).unwrap().count(), 0);
    }
    assert!(app.is_done());
    // One that answers with another delivery than it was asked for.
    let body = delivery(9, json!({})).to_string();
    let length = body.len();
    let gateway = FakeGateway::start(move |_| {
        Reply::Bytes(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    });
    let (code, _, said) = run(folder.path(), &gateway, &["resend", "e-1", &port]);
    assert_eq!(code, Some(1));
    assert!(said.contains("another delivery than e-1"), "{said}");
}

#[test]
fn a_slow_program_makes_the_reader_wait() {
    let folder = folder();
    // Much more than the sockets in between hold.
    let body = BASE64.encode(&vec![b'x'; 200_000]);
    let events: String = (1..=300)
        .map(|n| event(n, json!({"body_base64": body})))
        .collect();
    let gateway = FakeGateway::streaming([opening(0), events].concat());
    let app = FakeApp::start(|stream, number| match number {
        1 => app::hold(stream),
        _ => app::answer(stream, "200 OK", "Content-Length: 0", ""),
    });
    let forward = ["forward", "orders", &app.port(), "--timeout", "3s"];
    let forward = Forward::start(folder.path(), &gateway, &forward);
    app.next();
    let status = fs::read_to_string(format!("/proc/{}/status", forward.process.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    assert!(
        kib < 80_000,
        "{kib} kB for one delivery of 200 kB, of 80 MB that wait"
    );
    assert_eq!(forward.next()["outcome"], "failed");
    assert_eq!(forward.next()["id"], "e-2");
}

#[test]
fn an_answer_counts_although_the_body_was_not_read() {
    let folder = folder();
    let body = BASE64.encode(&vec![b'x'; 8_000_000]);
    let gateway = FakeGateway::streaming(
        [opening(0), event(1, json!({"body_base64": body})), live(1)].concat(),
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            app::reply(
                &mut stream,
                "413 Too Large",
                "Connection: close",
                "too large",
            );
            // As servers do that want their answer to arrive.
            _ = stream.shutdown(std::net::Shutdown::Write);
            app::hold(&mut stream);
        }
    });
    let forward = ["forward", "orders", &port, "--last", "1", "--no-follow"];
    let (code, lines, said) = run(folder.path(), &gateway, &forward);
    assert_eq!(code, Some(1), "{said}");
    // A connection that breaks before its answer is tried again.
    let last = lines.trim().lines().last().unwrap();
    let line: Value = serde_json::from_str(last).unwrap();
    assert_eq!(
        (&line["status"], &line["outcome"]),
        (&json!(413), &json!("refused")),
        "{line}"
    );
}
