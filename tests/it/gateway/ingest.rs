//! `POST /ingest/<topic>`: verified, stored, answered.

use hookrill_testing::{BEGIN_SECS, GITHUB_SECRET, Gateway, github_signature};

#[tokio::test]
async fn a_verified_delivery_is_answered_with_its_cursor() {
    let gateway = Gateway::on_disk().start().await;
    let body = b"{\"zen\":1}";
    let signature = github_signature(GITHUB_SECRET, body);
    let headers = [
        ("X-Hub-Signature-256", &*signature),
        ("X-GitHub-Delivery", "d-1"),
        ("X-GitHub-Event", "ping"),
        ("Content-Type", "application/json"),
    ];
    let first = gateway.post_with("named.sub", &headers, body).await;
    assert_eq!(first.status, 200);
    let json = first.json();
    assert_eq!(json["topic"], "named.sub");
    assert_eq!(json["duplicate"], false);
    assert!(first.id().ends_with("-1"));

    let again = gateway.post_with("named.sub", &headers, body).await;
    assert_eq!((again.status, again.id()), (200, first.id()));
    assert_eq!(again.json()["duplicate"], true);

    let mut subscriber = gateway.subscriber("/events/named?since=earliest").await;
    let events = subscriber.events(1).await;
    assert_eq!(events[0].name, "ping");
    assert_eq!(events[0].data, "{\"zen\":1}");
    assert_eq!(events[0].id, first.id());
    assert_eq!(gateway.metric("hookrill_ingested_total").await, 1.0);
    assert_eq!(gateway.metric("hookrill_duplicates_total").await, 1.0);
}

#[tokio::test]
async fn a_section_decides_what_is_answered_and_wins_over_its_preset() {
    let topic = |name: &str, more: &str| {
        format!("[topics.{name}]\naccess = \"public\"\ndedup = \"1h\"\n{more}\n")
    };
    let none = "scheme = { kind = \"none\", respond = { body = \"of the scheme\" } }\n";
    let sections = [
        topic("schemes", none),
        topic("emptied", &format!("{none}respond = {{ status = 204 }}")),
        topic(
            "own",
            &format!("{none}respond = {{ body = \"[]\", content_type = \"application/json\" }}"),
        ),
    ];
    let gateway = Gateway::in_memory()
        .sections(&sections.concat())
        .start()
        .await;
    let plain = Some("text/plain; charset=utf-8");
    for (path, status, content_type, body) in [
        ("schemes", 200, plain, "of the scheme"),
        ("emptied", 204, plain, ""),
        ("own", 200, Some("application/json"), "[]"),
    ] {
        // The second one is a duplicate.
        for _ in 0..2 {
            let answer = gateway.post(path, "{}").await;
            assert_eq!((answer.status, answer.text()), (status, body), "{path}");
            assert_eq!(answer.header("content-type"), content_type, "{path}");
        }
    }
    assert_eq!(gateway.metric("hookrill_ingested_total").await, 3.0);
    assert_eq!(gateway.metric("hookrill_duplicates_total").await, 3.0);
}

#[tokio::test]
async fn duplicates_are_known_over_a_restart() {
    let gateway = Gateway::on_disk().start().await;
    let body = b"body";
    let signature = github_signature("the one before", body);
    let headers = [
        ("X-Hub-Signature-256", &*signature),
        ("X-GitHub-Delivery", "d-1"),
    ];
    let first = gateway.post_with("named", &headers, body).await.id();
    let folder = gateway.stop().await.unwrap();
    let restarted = Gateway::in_folder(folder).start().await;
    let again = restarted.post_with("named", &headers, body).await;
    assert_eq!((again.status, again.id()), (200, first));
}

#[tokio::test]
async fn every_failed_verification_gets_the_same_response_to_the_byte() {
    let gateway = Gateway::in_memory().start().await;
    let body = b"{}";
    let good = github_signature(GITHUB_SECRET, body);
    let other = github_signature("another secret", body);
    let stale = (BEGIN_SECS - 301).to_string();
    let sign = |value| vec![("X-Hub-Signature-256", value)];
    let long = "x".repeat(201);
    let v1 = "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=";
    let cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("named", vec![]),
        ("named", sign("")),
        ("named", sign("sha256=")),
        ("named", sign("sha256=00")),
        ("named", sign(&other)),
        ("named", [sign(&good), sign(&other)].concat()),
        ("nothing-configures-this", sign(&good)),
        ("a..b", sign(&good)),
        ("a/b", sign(&good)),
        ("%ff", sign(&good)),
        ("named%0d%0aid:%201", sign(&good)),
        (&long, sign(&good)),
        (
            "standard",
            vec![
                ("webhook-id", "m"),
                ("webhook-timestamp", &stale),
                ("webhook-signature", v1),
            ],
        ),
    ];
    let mut answers = Vec::new();
    for (topic, headers) in cases {
        let mut answer = gateway.post_with(topic, &headers, body).await;
        assert_eq!(answer.status, 401, "{topic} {headers:?}");
        let undated = answer
            .head
            .lines()
            .filter(|line| !line.starts_with("date:"));
        answer.head = undated.collect::<Vec<_>>().join("\n");
        answers.push(answer);
    }
    assert_eq!(
        answers[0].header("content-type"),
        Some("application/problem+json")
    );
    for answer in &answers {
        assert_eq!(*answer, answers[0]);
    }
    let good = gateway.post_with("named", &sign(&good), body).await;
    assert_eq!(good.status, 200, "the signature in these cases is good");
}

#[tokio::test]
async fn other_methods_are_told_to_post() {
    let gateway = Gateway::in_memory().start().await;
    for path in [
        "/ingest/named",
        "/ingest/unknown",
        "/ingest/slack?challenge=x",
    ] {
        let answer = gateway.get(path, &[]).await;
        assert_eq!(answer.status, 405, "{path}");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
}

#[tokio::test]
async fn slack_gets_its_challenge_back_and_nothing_is_stored() {
    let gateway = Gateway::in_memory().start().await;
    let body = br#"{"type":"url_verification","challenge":"<script>"}"#;
    let now = BEGIN_SECS.to_string();
    let signed = [b"v0:", now.as_bytes(), b":", &body[..]].concat();
    let digest = github_signature("slack-signing-secret", &signed);
    let signature = digest.replace("sha256=", "v0=");
    let headers = |signature_sent| {
        [
            ("X-Slack-Signature", signature_sent),
            ("X-Slack-Request-Timestamp", &*now),
        ]
    };
    let answer = gateway.post_with("slack", &headers(&signature), body).await;
    assert_eq!((answer.status, answer.text()), (200, "<script>"));
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let forged = signature.replace("v0=", "v0=00");
    let refused = gateway.post_with("slack", &headers(&forged), body).await;
    assert_eq!(refused.status, 401);
    assert_eq!(gateway.metric("hookrill_ingested_total").await, 0.0);
    assert_eq!(gateway.metric("hookrill_handshakes_total").await, 1.0);
}

#[tokio::test]
async fn below_the_reserve_nothing_is_stored_and_reading_goes_on() {
    let gateway = Gateway::on_disk().start().await;
    gateway.post("open", "before").await.id();
    let folder = gateway.stop().await.unwrap();
    let full = Gateway::in_folder(folder)
        .journal("disk_reserve = \"1 TiB\"")
        .start()
        .await;
    let refused = full.post("open", "while full").await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    let mut subscriber = full.subscriber("/events/open?since=earliest").await;
    assert_eq!(subscriber.events(1).await[0].data, "before");
    assert_eq!(full.get("/healthz", &[]).await.status, 200);
    let kept = full.stop().await.unwrap();
    let roomy = Gateway::in_folder(kept).start().await;
    assert!(roomy.post("open", "after").await.id().ends_with("-2"));
}

/// As Cloudflare adds `cf-ipcity`; other proxies add bytes that are no UTF-8.
#[tokio::test]
async fn headers_that_nothing_is_verified_by_may_hold_any_bytes_over_either_http() {
    let shown = "[topics.shown]\npreset = \"github\"\naccess = \"public\"\n\
                 secrets = [\"hush\"]\nheaders = [\"CF-IPCity\", \"X-Latin\"]\n";
    let gateway = Gateway::in_memory().sections(shown).start().await;
    let signature = github_signature("hush", b"{}");
    let head = format!(
        "POST /ingest/shown HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\
         X-Hub-Signature-256: {signature}\r\nCF-IPCity: Z\u{fc}rich\r\nX-Latin: "
    );
    let raw = [head.as_bytes(), b"Z\xfcrich\r\n\r\n{}"].concat();
    assert!(gateway.send(raw).await.status < 300);

    let stream = hyper_util::rt::TokioIo::new(gateway.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, stream)
        .await
        .unwrap();
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(connection);
    let bytes = |bytes: &[u8]| http::HeaderValue::from_bytes(bytes).unwrap();
    let request = http::Request::post("http://gateway/ingest/shown")
        .header("x-hub-signature-256", signature)
        .header("cf-ipcity", bytes("Bras\u{ed}lia".as_bytes()))
        .header("x-latin", bytes(b"\xff"))
        .body("{}".to_owned())
        .unwrap();
    assert!(
        client
            .send_request(request)
            .await
            .unwrap()
            .status()
            .is_success()
    );

    let path = "/events/shown?since=earliest&format=cloudevents";
    let mut subscriber = gateway.subscriber(path).await;
    for (event, city) in subscriber
        .events(2)
        .await
        .iter()
        .zip(["Z\u{fc}rich", "Bras\u{ed}lia"])
    {
        let event: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(event["cfipcity"], city);
        assert!(event.get("xlatin").is_none(), "{event}");
    }
}
