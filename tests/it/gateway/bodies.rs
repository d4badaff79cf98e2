//! What senders put into bodies, and queries: subscribers read JSON all the same.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use hookrill_testing::{GITHUB_SECRET, Gateway, Response, Subscriber, github_signature};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const TOPICS: &str = r#"
[topics.cut]
access = "public"
expose = ["/a", "/list"]
dedup_by = "id"
[topics.cut.scheme]
kind = "none"
json_field = "payload"
event_type = [{ json = "/a" }]
dedup_id = [{ json = "/id" }]

[topics.hid]
access = "public"
hide = ["/secret"]
[topics.hid.scheme]
kind = "none"
json_field = "payload"

[topics.text]
access = "public"
decode = "off"
[topics.text.scheme]
kind = "none"
event_type = [{ json = "/a" }, { form = "a" }]

[topics.got]
access = "public"
secrets = ["a-long-token"]
methods = ["GET", "PUT"]
dedup_by = "body"
[topics.got.scheme]
kind = "token"
token = { query = "key" }
event_type = [{ form = "type" }]

[topics.split]
access = "public"
partition = "{/a}"
scheme = { kind = "none" }
"#;

async fn gateway() -> Gateway {
    Gateway::in_memory().sections(TOPICS).start().await
}

async fn post(gateway: &Gateway, topic: &str, content_type: &str, body: &[u8]) -> Response {
    let headers = [("Content-Type", content_type)];
    let answer = gateway.post_with(topic, &headers, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

async fn all(gateway: &Gateway, path: &str) -> Subscriber {
    gateway.subscriber(&format!("/events/{path}")).await
}

#[tokio::test]
async fn githubs_form_is_its_payload_for_who_reads_it() {
    let gateway = Gateway::on_disk().start().await;
    let form = "payload=%7B%22action%22%3A%22opened%22%2C%22x%22%3A%22%26%22%7D";
    let signature = github_signature(GITHUB_SECRET, form.as_bytes());
    let headers = [
        ("X-Hub-Signature-256", &*signature),
        ("X-GitHub-Event", "issues"),
        ("Content-Type", FORM),
    ];
    let answer = gateway.post_with("named", &headers, form).await;
    assert_eq!(answer.status, 200);
    let json = r#"{"action":"opened","x":"&"}"#;
    let mut subscriber = all(&gateway, "named?since=earliest").await;
    assert_eq!(subscriber.events(1).await[0].data, json);
    let mut envelopes = all(&gateway, "named?since=earliest&format=cloudevents").await;
    let envelope: serde_json::Value =
        serde_json::from_str(&envelopes.events(1).await[0].data).unwrap();
    assert_eq!(
        envelope["data"],
        serde_json::from_str::<serde_json::Value>(json).unwrap()
    );
    assert_eq!(envelope["datacontenttype"], JSON);
    // The bytes that were signed are what is stored.
    let folder = gateway.stop().await.unwrap();
    let segments = walk(folder.path());
    assert!(
        segments
            .windows(form.len())
            .any(|bytes| bytes == form.as_bytes())
    );
}

/// All that is in the files of a folder.
fn walk(folder: &std::path::Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(walk(&path));
        } else {
            all.extend(std::fs::read(path).unwrap());
        }
    }
    all
}

#[tokio::test]
async fn a_form_and_json_behind_a_byte_order_mark_are_cut_and_named_as_json_is() {
    let gateway = gateway().await;
    let marked = b"\xef\xbb\xbf{\"a\":\"x\",\"id\":\"4\"}";
    for (content_type, body, shown) in [
        (JSON, &b"{\"a\":\"x\",\"id\":\"1\"}"[..], r#"{"a":"x"}"#),
        (
            FORM,
            b"id=2&a=x&list=1&list=2&secret=s",
            r#"{"a":"x","list":["1","2"]}"#,
        ),
        (
            FORM,
            b"payload=%7B%22a%22:%22x%22,%22id%22:%223%22%7D&list=1",
            r#"{"a":"x"}"#,
        ),
        (JSON, marked, r#"{"a":"x"}"#),
        // As `curl -d` calls it.
        (FORM, b"{\"a\":\"x\",\"id\":\"5\"}", r#"{"a":"x"}"#),
    ] {
        let first = post(&gateway, "cut", content_type, body).await;
        // Whoever replays it may call it something else, and it is known all the same.
        for other in [FORM, JSON, "text/plain"] {
            let again = post(&gateway, "cut", other, body).await;
            assert_eq!(
                (again.id(), &again.json()["duplicate"]),
                (first.id(), &true.into())
            );
        }
        let mut subscriber = all(&gateway, "cut?last=1&types=x").await;
        assert_eq!(subscriber.events(1).await[0].data, shown);
    }
    assert_eq!(gateway.metric("hookrill_withheld_total").await, 0.0);
    let multipart = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\ncus_3\r\n--x--\r\n";
    let parted = post(
        &gateway,
        "split",
        "multipart/form-data; boundary=x",
        multipart.as_bytes(),
    );
    assert_eq!(parted.await.json()["topic"], "split.cus_3");
    let split = post(&gateway, "split", FORM, b"a=cus_1").await;
    assert_eq!(split.json()["topic"], "split.cus_1");
    let marked_split = post(&gateway, "split", JSON, b"\xef\xbb\xbf{\"a\":\"cus_2\"}").await;
    assert_eq!(marked_split.json()["topic"], "split.cus_2");
    let mut subscriber = all(&gateway, "split?since=earliest").await;
    for (event, customer) in subscriber
        .events(3)
        .await
        .iter()
        .zip(["cus_3", "cus_1", "cus_2"])
    {
        assert_eq!(event.data, format!("{{\"a\":\"{customer}\"}}"));
    }
}

/// An object with other names would show all that is to be hidden.
#[tokio::test]
async fn what_is_called_a_form_and_is_none_is_withheld_where_something_is_hidden() {
    const PART: &str = "Content-Disposition: form-data; name=\"secret\"\r\n\r\ns3cr3t\r\n";
    let gateway = gateway().await;
    for body in [
        format!("preamble\r\n--x\r\n{PART}--x--"),
        format!("--x\r\n{PART}"),
        format!("--x\r\n{PART}--x--").replace("\r\n", "\n"),
        "<a secret=\"s3cr3t\">x</a>".into(),
        "payload={\"secret\":\"s3cr3t\"}&payload={}".into(),
        "payload={\"secret\":\"s3cr3t\"}x".into(),
    ] {
        post(&gateway, "hid", FORM, body.as_bytes()).await;
        let event = &all(&gateway, "hid?last=1").await.events(1).await[0];
        assert_eq!(event.name, "hookrill.withheld", "{body}: {event:?}");
        assert_eq!(event.data, r#"{"reason":"not_json"}"#);
    }
    for body in [
        format!("\r\n--x \r\n{PART}--x--"),
        "a=1&secret=s3cr3t".into(),
        "payload={\"secret\":\"s3cr3t\"}".into(),
    ] {
        post(&gateway, "hid", FORM, body.as_bytes()).await;
        let event = &all(&gateway, "hid?last=1").await.events(1).await[0];
        assert!(!event.data.contains("s3cr3t"), "{body}: {event:?}");
        assert_eq!(event.name, "message", "{body}: {event:?}");
    }
}

#[tokio::test]
async fn a_section_may_leave_bodies_as_they_come() {
    let gateway = gateway().await;
    post(&gateway, "text", FORM, b"b=1&a=x").await;
    post(&gateway, "text", JSON, b"\xef\xbb\xbf{}").await;
    let mut subscriber = all(&gateway, "text?since=earliest").await;
    let events = subscriber.events(2).await;
    assert_eq!(events[0].data, "b=1&a=x");
    assert_eq!(events[1].data, "\u{feff}{}");
    let mut typed = all(&gateway, "text?since=earliest&types=x").await;
    assert_eq!(
        typed.events(1).await[0].data,
        "b=1&a=x",
        "it is a form still"
    );
}

#[tokio::test]
async fn the_query_of_a_get_is_its_form_without_the_token() {
    let gateway = gateway().await;
    let got = async |method: &str, query: &str, body: &str| {
        let length = body.len();
        let request = format!(
            "{method} /ingest/got/?{query} HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        gateway.send(request).await
    };
    let first = got("GET", "type=call&key=a-long-token&to=%2B49", "").await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.header("cache-control"), Some("no-store"));
    let again = got("GET", "type=call&key=a-long-token&to=%2B49", "").await;
    assert_eq!(again.json()["duplicate"], true);
    let put = got("PUT", "key=a-long-token", "{\"a\":1}").await;
    assert_eq!(put.json()["duplicate"], false, "{put:?}");
    let mut subscriber = all(&gateway, "got?since=earliest").await;
    let events = subscriber.events(2).await;
    assert_eq!(events[0].data, r#"{"type":"call","to":"+49"}"#);
    assert_eq!(events[1].data, r#"{"a":1}"#);
    let mut typed = all(&gateway, "got?since=earliest&types=call").await;
    typed.events(1).await;

    // What fails is like any topic's, and a method that this one does not take as well.
    let refused = got("GET", "key=guess", "").await;
    assert_eq!(refused.status, 401);
    for (method, path) in [("GET", "named"), ("GET", "unknown"), ("POST", "got")] {
        let request = format!(
            "{method} /ingest/{path}?key=a-long-token HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let answer = gateway.send(request).await;
        assert_eq!(
            (answer.status, answer.text()),
            (401, refused.text()),
            "{method} {path}"
        );
    }
    for path in ["got", "named", "unknown", "a..b"] {
        let request =
            format!("DELETE /ingest/{path} HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n");
        let answer = gateway.send(request).await;
        let told = (answer.status, answer.header("allow"));
        assert_eq!(told, (405, Some("GET, POST, PUT")), "{path}");
    }
    let body = got("GET", "key=a-long-token", "x").await;
    assert_eq!(body.status, 401, "a GET with a body says two things");
}

#[tokio::test]
async fn one_slash_behind_the_topic_is_taken_and_no_more() {
    let gateway = Gateway::in_memory().start().await;
    for (path, status) in [
        ("/ingest/open/", 200),
        ("/ingest/open.sub/", 200),
        ("/ingest/open//", 401),
        ("/ingest/open%2F", 401),
        ("/ingest/unknown/", 401),
        ("//ingest/open", 404),
    ] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
        );
        let answer = gateway.send(request).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(
            answer.text().contains("two slashes"),
            path.starts_with("//")
        );
    }
    for path in ["/ingest/", "/ingest"] {
        for method in ["POST", "GET"] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
            );
            let answer = gateway.send(request).await;
            assert_eq!(answer.status, 404, "{path}");
            assert!(answer.text().contains("names no topic"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_signed_url_is_the_url_as_it_came_slash_and_all() {
    let gateway = Gateway::in_memory()
        .server("public_url = \"https://hooks.example.com\"")
        .sections(
            "[topics.signed]\naccess = \"public\"\nsecrets = [\"It's a Secret to Everybody\"]\n\
             scheme = { kind = \"hmac\", hash = \"sha256\", encoding = \"hex\", \
             message = [\"url\", { literal = \"|\" }, \"body\"], \
             signature = { header = \"X-Hub-Signature-256\", prefix = \"sha256=\" } }\n",
        )
        .start()
        .await;
    for (signed, sent, status) in [
        ("signed/", "signed/", 200),
        ("signed", "signed", 200),
        ("signed", "signed/", 401),
        ("signed/", "signed", 401),
    ] {
        let message = format!("https://hooks.example.com/ingest/{signed}|x");
        let signature = github_signature(GITHUB_SECRET, message.as_bytes());
        let headers = [("X-Hub-Signature-256", &*signature)];
        let answer = gateway.post_with(sent, &headers, "x").await;
        assert_eq!(answer.status, status, "{signed} {sent}");
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_coded_body_is_verified_as_sent_or_decoded_and_streamed_plain() {
    let gateway = Gateway::on_disk().start().await;
    let plain = br#"{"action":"opened"}"#;
    let coded = gzip(plain);
    let other = gzip(br#"{"action":"other"}"#);
    let deliver = async |id: &str, signed: &[u8], sent: &[u8], coding: Option<&str>| {
        let signature = github_signature(GITHUB_SECRET, signed);
        let mut headers = vec![
            ("X-Hub-Signature-256", &*signature),
            ("X-GitHub-Delivery", id),
            ("X-GitHub-Event", "issues"),
            ("Content-Type", JSON),
        ];
        headers.extend(coding.map(|coding| ("Content-Encoding", coding)));
        gateway.post_with("named", &headers, sent).await
    };
    let first = deliver("d-1", plain, &coded, Some("gzip")).await;
    assert_eq!(first.status, 200, "{first:?}");
    // The same, sent plain the second time.
    let again = deliver("d-1", plain, plain, None).await;
    assert_eq!(
        (again.id(), &again.json()["duplicate"]),
        (first.id(), &true.into())
    );
    let second = deliver("d-2", &coded, &coded, Some("x-gzip")).await;
    assert_eq!(second.status, 200, "{second:?}");
    // Nobody signs the header: a replay without it is the same delivery.
    let replayed = deliver("d-2", &coded, &coded, None).await;
    assert_eq!(
        (replayed.id(), &replayed.json()["duplicate"]),
        (second.id(), &true.into())
    );
    assert_eq!(
        deliver("d-3", plain, &other, Some("gzip")).await.status,
        401
    );
    assert_eq!(deliver("d-3", plain, plain, Some("gzip")).await.status, 400);
    assert_eq!(
        deliver("d-3", &other, &coded, Some("gzip")).await.status,
        401
    );

    let mut subscriber = all(&gateway, "named?since=earliest&types=issues").await;
    for event in subscriber.events(2).await {
        assert_eq!(event.data.as_bytes(), plain);
    }
    // What was signed is kept.
    let folder = gateway.stop().await.unwrap();
    let kept = &*coded;
    let stored = walk(folder.path());
    let times = stored
        .windows(kept.len())
        .filter(|bytes| *bytes == kept)
        .count();
    assert_eq!(times, 1, "where the signature is over it");
}

#[tokio::test]
async fn what_cannot_be_decoded_is_refused_whatever_the_topic() {
    let gateway = Gateway::in_memory()
        .server("body_bytes_max = 200000")
        .start()
        .await;
    let bomb = gzip(&vec![b' '; 200_001]);
    for (coding, body, status) in [
        ("gzip", gzip(b"{}"), 200),
        ("identity", b"{}".to_vec(), 200),
        ("gzip", Vec::new(), 200),
        ("gzip, gzip", gzip(&gzip(&vec![b' '; 200_000])), 200),
        ("gzip", bomb.clone(), 413),
        ("gzip, gzip", gzip(&bomb), 413),
        ("gzip", b"{}".to_vec(), 400),
        ("gzip", bomb[..bomb.len() / 2].to_vec(), 400),
        ("compress", b"{}".to_vec(), 415),
        ("gzip, gzip, gzip, gzip", b"{}".to_vec(), 415),
    ] {
        let headers = [("Content-Encoding", coding)];
        let answer = gateway.post_with("open", &headers, &body).await;
        assert_eq!(answer.status, status, "{coding}: {answer:?}");
        if status == 415 {
            assert_eq!(
                answer.header("accept-encoding"),
                Some("gzip, deflate, br, zstd")
            );
        }
        if status != 200 {
            let unknown = gateway.post_with("unknown", &headers, &body).await;
            assert_eq!((unknown.status, unknown.text()), (status, answer.text()));
        }
    }
    let refused = async |reason: &str| {
        let name = format!("hookrill_ingest_refused_total{{reason=\"{reason}\"}}");
        gateway.metric(&name).await
    };
    assert_eq!(refused("body_too_long").await, 4.0);
    assert_eq!(refused("coding_broken").await, 4.0);
    assert_eq!(refused("coding_unknown").await, 4.0);
}
