//! What happens where program or gateway do not take or give what they should.

use super::*;
use hookrill_testing::free_address;
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_program_that_is_down_is_waited_for_and_what_is_behind_it_waits_too() {
    let folder = folder();
    let text = [opening(0), event(1, json!({})), event(2, json!({}))].concat();
    let gateway = FakeGateway::streaming(text);
    let address = free_address();
    let target = format!("127.0.0.1:{}", address.port());
    let forward = Forward::start(folder.path(), &gateway, &["forward", "orders", &target]);
    let waiting = forward.next();
    assert_eq!(
        (&waiting["outcome"], &waiting["id"]),
        (&json!("waiting"), &json!("e-1"))
    );
    let message = format!("nothing listens at {target}; it waits");
    assert_eq!(waiting["message"], json!(message));
    let app = FakeApp::at(address, |stream, _| {
        app::answer(stream, "200 OK", "Content-Length: 0", "");
    });
    for number in ["1", "2"] {
        assert_eq!(app.next().header("x-number"), Some(number));
        let line = forward.next();
        assert_eq!(line["outcome"], "delivered", "{line}");
        assert_eq!(line["waited_ms"].is_number(), number == "1", "{line}");
        assert_eq!(line["attempt"], 1, "{line}");
    }
}

#[test]
fn what_was_not_taken_is_sent_again_as_often_as_was_asked_for_and_then_passed() {
    let folder = folder();
    let text = [
        opening(0),
        event(1, json!({})),
        event(2, json!({})),
        live(2),
    ]
    .concat();
    let gateway = FakeGateway::start(move |_| Reply::Stream(text.clone()));
    for (status, retries, expected) in [
        ("500 Oh", "0", "failed failed"),
        ("429 Slow", "1", "retrying delivered delivered"),
        ("404 No", "5", "refused refused"),
        ("302 Found", "5", "refused refused"),
        ("503 Later", "0", "failed failed"),
    ] {
        let app = FakeApp::start(move |stream, number| {
            let is_second = number > 1 && status.starts_with("429");
            let status = if is_second { "200 OK" } else { status };
            app::reply(stream, status, "Location: /", "  \nTypeError: undefined");
        });
        let port = app.port();
        let forward = [
            "forward",
            "orders",
            &port,
            "--last",
            "2",
            "--no-follow",
            "--retries",
            retries,
        ];
        let (code, lines, said) = run(folder.path(), &gateway, &forward);
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let outcomes: Vec<_> = lines
            .iter()
            .map(|line| line["outcome"].as_str().unwrap())
            .collect();
        assert_eq!(outcomes.join(" "), expected, "{status}");
        let is_bad = expected.contains("failed") || expected.contains("refused");
        assert_eq!(code, Some(i32::from(is_bad)), "{status}");
        if is_bad {
            let message = lines[0]["message"].as_str().unwrap();
            assert!(message.contains("TypeError: undefined"), "{message}");
            assert_eq!(
                message.contains("redirect"),
                status.starts_with("302"),
                "{message}"
            );
            assert!(
                said.contains(&format!("Again:  hookrill resend e-1 e-2 {port}")),
                "{said}"
            );
        }
    }
}

#[test]
fn a_gateway_that_is_away_is_waited_for_and_the_stream_goes_on_where_it_was() {
    let folder = folder();
    let gateway = FakeGateway::start(|number| match number {
        1 => Reply::Cut([opening(0), event(1, json!({}))].concat()),
        2 => Reply::Bytes(refusal("503 Service Unavailable", "restarting")),
        _ => Reply::Stream([opening(1), event(2, json!({}))].concat()),
    });
    let app = FakeApp::answering("200 OK");
    let forward = Forward::start(folder.path(), &gateway, &["forward", "orders", &app.port()]);
    assert_eq!(app.next().header("x-number"), Some("1"));
    assert_eq!(app.next().header("x-number"), Some("2"));
    assert_eq!(gateway.next_request().header("last-event-id"), None);
    for _ in 0..2 {
        assert_eq!(gateway.next_request().header("last-event-id"), Some("e-1"));
    }
    forward.wait_until_it_says("connected again");
    for words in ["gateway away, again in 0.", "restarting"] {
        assert!(forward.said().contains(words), "{}", forward.said());
    }
}

#[test]
fn a_gateway_that_refuses_ends_it_with_what_helps() {
    let folder = folder();
    for (status, says) in [
        (
            "401 Unauthorized",
            "the token is that of --token or HOOKRILL_TOKEN",
        ),
        (
            "403 Forbidden",
            "`hookrill token --topic orders --deliveries --full`",
        ),
        (
            "404 Not Found",
            "topics are those of the gateway's configuration",
        ),
    ] {
        let gateway = FakeGateway::start(move |_| Reply::Bytes(refusal(status, "because")));
        for arguments in [
            &["forward", "orders", "3000"][..],
            &["resend", "e-1", "3000"],
        ] {
            let (code, lines, said) = run(folder.path(), &gateway, arguments);
            assert_eq!((code, &*lines), (Some(1), ""), "{said}");
            assert!(said.contains("because"), "{said}");
            let is_gone = status.starts_with("404") && arguments[0] == "resend";
            let says = says.replace(
                "orders",
                if arguments[0] == "resend" {
                    "'*'"
                } else {
                    "orders"
                },
            );
            assert_eq!(said.contains(&says), !is_gone, "{said}");
        }
    }
}

#[test]
fn what_is_missing_is_told_and_what_is_withheld_ends_it() {
    let folder = folder();
    let gap =
        "event: hookrill.gap\nid: e-5\ndata: {\"reason\":\"retention\",\"asked\":\"e-1\"}\n\n";
    let unconfigured = "event: hookrill.withheld\nid: e-6\ndata: {\"reason\":\"unconfigured\"}\n\n";
    let withheld = "event: hookrill.withheld\nid: e-8\ndata: {\"reason\":\"not_json\"}\n\n";
    let text = [gap, unconfigured, &event(7, json!({})), withheld].concat();
    let gateway = FakeGateway::streaming(text);
    let app = FakeApp::answering("200 OK");
    let forward = ["forward", "orders", &app.port(), "--since", "e-1"];
    let forward = Forward::start(folder.path(), &gateway, &forward);
    let (lines, said) = forward.rest();
    assert_eq!(
        lines[0],
        json!({"gap": {"reason": "retention", "resumed": "e-5"}})
    );
    assert!(
        said.contains("-- history before e-5 is gone (retention) --"),
        "{said}"
    );
    assert!(said.contains("e-6 is not sent"), "{said}");
    assert!(
        said.contains("it needs a token with --deliveries"),
        "{said}"
    );
}

#[test]
fn it_ends_by_a_signal_with_the_command_that_goes_on() {
    let folder = folder();
    let text = [opening(3), event(4, json!({})), event(5, json!({}))].concat();
    let gateway = FakeGateway::streaming(text);
    let app = FakeApp::start(|stream, number| match number {
        1 => app::answer(stream, "200 OK", "Content-Length: 0", ""),
        _ => app::hold(stream),
    });
    let target = format!("{}/a?b=c", app.port());
    let mut command = command(folder.path(), &["forward", "orders", &target]);
    command.args([
        "--url",
        &gateway.url(),
        "--token",
        "hunter2",
        "--secret",
        "hunter2",
    ]);
    command.args(["--types", "x", "--header", "X-Mine: 1"]);
    let forward = Forward::of(folder.path(), &mut command);
    let first = app.next();
    assert_eq!(first.header("x-number"), Some("4"));
    assert_eq!(app.next().header("x-number"), Some("5"));
    let pid = Pid::from_raw(forward.process.id().cast_signed()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let (_, said) = forward.rest();
    assert!(said.contains("1 delivered, 0 failed"), "{said}");
    let words = format!("Go on:  hookrill forward orders '{target}' --since e-4 --types x --url ");
    assert!(said.contains(&words), "no {words:?} in {said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn it_ends_behind_the_cursor_that_was_asked_for() {
    let folder = folder();
    let app = FakeApp::answering("200 OK");
    let port = app.port();
    let all: String = (1..=9).map(|number| event(number, json!({}))).collect();
    for (until, text, sent, status) in [
        ("e-3", [opening(0), all.clone()].concat(), 3, 0),
        ("e-9", [opening(0), all.clone()].concat(), 9, 0),
        // The journal has gone on, and the topic has not.
        ("e-12", [opening(0), all.clone(), live(20)].concat(), 9, 0),
        ("f-3", [opening(0), all.clone()].concat(), 0, 1),
    ] {
        let gateway = FakeGateway::streaming(text);
        let forward = [
            "forward", "orders", &port, "--since", "earliest", "--until", until,
        ];
        let (code, lines, said) = run(folder.path(), &gateway, &forward);
        assert_eq!(code, Some(status), "{until}: {said}");
        if status == 0 {
            assert_eq!(lines.lines().count(), sent, "{until}: {lines}");
        } else {
            assert!(said.contains("of another journal"), "{said}");
        }
    }
}

#[test]
fn a_token_that_ends_says_so() {
    let folder = folder();
    let expiring = "event: hookrill.expiring\nid: e-1\ndata: {\"seconds\":7}\n\n";
    let gateway = FakeGateway::streaming([&opening(0), expiring].concat());
    let forward = Forward::start(folder.path(), &gateway, &["forward", "orders", "3000"]);
    forward.wait_until_it_says("the token ends in 7 s");
}

#[test]
fn several_at_once_are_as_many_as_was_asked_for_and_the_oldest_says_where_to_go_on() {
    let folder = folder();
    let events: String = (1..=9).map(|number| event(number, json!({}))).collect();
    let gateway = FakeGateway::streaming([opening(0), events].concat());
    // The second one is held, and so is whatever comes once three are on their way.
    let app = FakeApp::start(|stream, number| match number {
        1 | 3 | 4 => app::answer(stream, "200 OK", "Content-Length: 0", ""),
        _ => app::hold(stream),
    });
    let forward = ["forward", "orders", &app.port(), "--concurrency", "3"];
    let forward = Forward::start(folder.path(), &gateway, &forward);
    let came: Vec<_> = (0..6)
        .map(|_| app.next().header("x-number").unwrap().to_owned())
        .collect();
    assert_eq!(came.len(), 6);
    let taken: Vec<_> = (0..3).map(|_| forward.next()).collect();
    assert!(
        taken.iter().all(|line| line["outcome"] == "delivered"),
        "{taken:?}"
    );
    let done: Vec<_> = taken
        .iter()
        .map(|line| line["id"].as_str().unwrap().to_owned())
        .collect();
    let oldest = (1..=9)
        .find(|number| !done.contains(&format!("e-{number}")))
        .unwrap();
    let pid = Pid::from_raw(forward.process.id().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let (_, said) = forward.rest();
    let words = format!("--since e-{} ", oldest - 1);
    assert!(said.contains(&words), "no {words:?} in {said}");
    assert!(app.is_done(), "three at once, and no more");
}
