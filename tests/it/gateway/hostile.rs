//! What a stranger may try, and what it gets for it.

use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use hookrill_testing::{BEGIN_SECS, Gateway, Response, TOKEN_SECRET, WAIT_MAX, token};

#[tokio::test]
async fn a_body_one_byte_over_the_limit_is_refused_and_one_at_it_is_not() {
    let gateway = Gateway::in_memory()
        .server("body_bytes_max = 100000")
        .start()
        .await;
    let at = gateway.post("open", vec![b'x'; 100_000]).await;
    assert_eq!(at.status, 200);
    let over = gateway.post("open", vec![b'x'; 100_001]).await;
    assert_eq!(over.status, 413);
    // Whatever the topic: what is configured does not show.
    let unknown = gateway.post("unknown", vec![b'x'; 100_001]).await;
    assert_eq!(unknown.status, 413);
    let chunk = format!("{:x}\r\n{}\r\n", 50_000, "x".repeat(50_000));
    let chunked = "POST /ingest/open HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\
                   Connection: close\r\n\r\n";
    let end = "0\r\n\r\n";
    let chunked_at = [chunked, &chunk, &chunk, end].concat();
    assert_eq!(gateway.send(chunked_at).await.status, 200);
    let chunked_over = [chunked, &chunk, &chunk, "1\r\nx\r\n", end].concat();
    assert_eq!(gateway.send(chunked_over).await.status, 413);
    // Far over the limit, and the sender still gets to see it.
    let far_over = gateway.post("open", vec![b'x'; 190_000]).await;
    assert_eq!(far_over.status, 413);
}

#[tokio::test]
async fn a_chunked_body_that_never_ends_is_refused() {
    let gateway = Gateway::in_memory()
        .server("body_bytes_max = 100000")
        .start()
        .await;
    let mut stream = gateway.connect().await;
    let head = "POST /ingest/open HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let endless = async {
        while writing.write_all(chunk.as_bytes()).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    tokio::select! {
        () = endless => {}
        read = timeout(WAIT_MAX, reading.read_buf(&mut answer)) => {
            assert!(read.unwrap().unwrap() > 0);
        }
    }
    assert!(
        answer.starts_with(b"HTTP/1.1 413"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn a_peer_that_says_nothing_or_half_a_head_is_cut_off() {
    let gateway = Gateway::in_memory().start().await;
    let begun = [
        "",
        "P",
        "PRI",
        "PRI * HTTP/2.0",
        "POST /ingest/open HTTP/1.1\r\nHost:",
    ];
    join_all(begun.map(|begun| {
        let gateway = &gateway;
        async move {
            let mut stream = gateway.connect().await;
            stream.write_all(begun.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            _ = timeout(WAIT_MAX, stream.read_to_end(&mut answer))
                .await
                .unwrap_or_else(|_| panic!("{begun:?} is held open"));
        }
    }))
    .await;
}

#[tokio::test]
async fn a_body_that_stops_in_the_middle_is_given_up() {
    let gateway = Gateway::in_memory().start().await;
    let mut stream = gateway.connect().await;
    let head = "POST /ingest/open HTTP/1.1\r\nHost: g\r\nContent-Length: 100\r\n\r\nhalf";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(Response::read(&mut stream).await.status, 408);
}

#[tokio::test]
async fn a_hundred_kilobytes_of_headers_are_refused() {
    let gateway = Gateway::in_memory().start().await;
    let long = "x".repeat(100_000);
    let one = gateway.post_with("open", &[("X-Long", &long)], "x").await;
    assert_eq!(one.status, 431);
    let many: Vec<(&str, &str)> = vec![("X-Many", "x"); 1000];
    let many = gateway.post_with("open", &many, "x").await;
    assert_eq!(many.status, 431);
    assert_eq!(gateway.post("open", "x").await.status, 200);
}

#[tokio::test]
async fn bodies_cannot_inject_fields() {
    let gateway = Gateway::in_memory().start().await;
    let mut raw = gateway.subscriber("/events/open").await;
    let mut exact = gateway.subscriber("/events/open?format=cloudevents").await;
    raw.opened().await;
    exact.opened().await;
    let bodies: [&[u8]; 7] = [
        b"a\rid: evil-9\rretry: 1",
        b"a\r\n\r\nevent: hookrill.gap\r\ndata: x\r\n\r\n",
        b"\n\n",
        b"\0",
        b"\xff\xfe\xc3",
        b": comment\n",
        b"",
    ];
    for body in bodies {
        let headers = [("Content-Type", "text/plain")];
        let id = gateway.post_with("open", &headers, body).await.id();
        let expected = String::from_utf8_lossy(body);
        let expected = expected.replace("\r\n", "\n").replace('\r', "\n");
        let seen = &raw.events(1).await[0];
        assert_eq!(
            (&*seen.name, &seen.id, &seen.data),
            ("message", &id, &expected)
        );
        let exactly = &exact.events(1).await[0];
        let envelope: serde_json::Value = serde_json::from_str(&exactly.data).unwrap();
        let carried = match envelope["data"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => data_encoding::BASE64
                .decode(envelope["data_base64"].as_str().unwrap().as_bytes())
                .unwrap(),
        };
        assert_eq!((&seen.id, &*carried), (&id, body));
    }
}

#[tokio::test]
async fn parameters_that_cannot_be_used_are_named() {
    let gateway = Gateway::in_memory().start().await;
    let digits = format!("e-{}", "9".repeat(30));
    let many: String = (0..65).map(|n| format!("topic=open.t{n}&")).collect();
    for (path, named) in [
        ("/events/a..b", "topic"),
        ("/events/open?topic=a%00b", "topic"),
        (&*format!("/events?{many}"), "topic"),
        ("/events/open?since=", "since"),
        ("/events/open?since=latest", "since"),
        (&*format!("/events/open?since={digits}"), "since"),
        ("/events/open?since=e-1%0Aid:2", "since"),
        ("/events/open?since=e-1&since=e-1", "since"),
        ("/events/open?last=0", "last"),
        ("/events/open?last=1001", "last"),
        ("/events/open?last=-1", "last"),
        ("/events/open?last=%2B1", "last"),
        ("/events/open?types=", "types"),
        ("/events/open?types=a,,b", "types"),
        ("/events/open?format=xml", "format"),
    ] {
        let answer = gateway.get(path, &[]).await;
        assert_eq!(answer.status, 400, "{path}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.starts_with(&format!("{named}: ")),
            "{path}: {detail}"
        );
    }
}

#[tokio::test]
async fn tokens_that_do_not_hold_open_nothing() {
    let gateway = Gateway::in_memory().start().await;
    let claims = json!({"topics": ["shut"], "exp": BEGIN_SECS + 60});
    let key = EncodingKey::from_secret(TOKEN_SECRET.as_bytes());
    let signed = |algorithm, content: &serde_json::Value| {
        jsonwebtoken::encode(&Header::new(algorithm), content, &key).unwrap()
    };
    let part = |json: serde_json::Value| {
        data_encoding::BASE64URL_NOPAD.encode(json.to_string().as_bytes())
    };
    let none = format!(
        "{}.{}.",
        part(json!({"alg": "none", "typ": "JWT"})),
        part(claims.clone())
    );
    for bad in [
        none,
        signed(Algorithm::HS384, &claims),
        signed(Algorithm::HS256, &json!({"topics": ["shut"]})),
        signed(
            Algorithm::HS256,
            &json!({"topics": ["shut"], "exp": BEGIN_SECS}),
        ),
        "x".into(),
        "..".into(),
        token(&["shut"], 60) + "x",
    ] {
        let bearer = format!("Bearer {bad}");
        for (path, headers) in [
            ("/events/shut", vec![("Authorization", &*bearer)]),
            (&*format!("/events/shut?token={bad}"), vec![]),
            (
                "/events/shut",
                vec![("Cookie", &*format!("a=b; hookrill_token={bad}"))],
            ),
        ] {
            let answer = gateway.get(path, &headers).await;
            assert_eq!(answer.status, 401, "{bad}");
            assert!(
                !answer.text().contains(&bad),
                "a token comes back in a refusal"
            );
        }
    }
    assert_eq!(gateway.get("/events/shut", &[]).await.status, 401);
    let other = format!("Bearer {}", token(&["shut.a"], 60));
    let elsewhere = gateway
        .get("/events/shut", &[("Authorization", &other)])
        .await;
    assert_eq!(elsewhere.status, 403);
    let all = format!("/events?token={}", token(&["shut"], 60));
    assert_eq!(gateway.get(&all, &[]).await.status, 403);
    let unknown = format!("/events/unknown?token={}", token(&["*"], 60));
    assert_eq!(gateway.get(&unknown, &[]).await.status, 404);
}

#[tokio::test]
async fn the_operators_pages_need_the_operators_token() {
    let gateway = Gateway::in_memory().start().await;
    assert_eq!(gateway.get("/metrics", &[]).await.status, 401);
    let wrong = [("Authorization", "Bearer the-operators-own-tokem")];
    assert_eq!(gateway.get("/metrics", &wrong).await.status, 401);
    assert_eq!(gateway.get("/healthz", &[]).await.status, 200);
    assert_eq!(gateway.get("/readyz", &[]).await.status, 200);
    assert_eq!(gateway.get("/nothing", &[]).await.status, 404);
}

/// Figures have labels of bounded number, whatever a stranger makes up.
#[tokio::test]
async fn made_up_topics_make_no_metrics() {
    let gateway = Gateway::in_memory()
        .server("metrics_public = true")
        .start()
        .await;
    gateway.post("made-up-topic", "x").await;
    gateway.get("/events/made-up-too", &[]).await;
    let page = gateway.get("/metrics", &[]).await;
    assert!(
        page.text().contains("reason=\"topic_unknown\""),
        "{}",
        page.text()
    );
    assert!(!page.text().contains("made-up"));
}

/// And a page that is let in can read why.
#[tokio::test]
async fn a_request_is_for_one_host() {
    const APP: &str = "https://app.example.com";
    let gateway = Gateway::in_memory()
        .server(&format!("cors_origins = [\"{APP}\"]"))
        .start()
        .await;
    let rest = format!("Origin: {APP}\r\nConnection: close\r\n\r\n");
    for (hosts, why) in [
        ("", "missing"),
        ("Host: a\r\nHost: a\r\n", "not several"),
        ("Host: a\r\nHost: b\r\n", "not several"),
        ("Host: a b\r\n", "not a host"),
        ("Host: a/b\r\n", "not a host"),
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\n{hosts}{rest}");
        let answer = gateway.send(request).await;
        assert_eq!(answer.status, 400, "{hosts:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some(APP), "{hosts:?}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(why), "{hosts:?}: {detail}");
    }
    let old = format!("GET /healthz HTTP/1.0\r\n{rest}");
    assert_eq!(gateway.send(old).await.status, 200);
}

/// RFC 9110, section 15.5.2, and RFC 6750, section 3.
#[tokio::test]
async fn every_401_says_how_to_log_in_and_nothing_of_the_topic() {
    let gateway = Gateway::in_memory().start().await;
    let bad = [("Authorization", "Bearer x")];
    let other = format!("Bearer {}", token(&["other"], 60));
    let other = [("Authorization", &*other)];
    let missing = "Bearer realm=\"hookrill\"";
    let invalid = "Bearer realm=\"hookrill\", error=\"invalid_token\"";
    let scope = "Bearer realm=\"hookrill\", error=\"insufficient_scope\"";
    for (path, headers, status, challenge) in [
        ("/events/shut", &[][..], 401, missing),
        ("/events", &[], 401, missing),
        ("/events/shut", &bad, 401, invalid),
        ("/events/shut.a?token=x", &[], 401, invalid),
        ("/events/shut", &other, 403, scope),
        ("/metrics", &[], 401, missing),
        ("/metrics", &bad, 401, invalid),
        ("/admin/topics", &[], 401, missing),
        ("/admin/topics", &bad, 401, invalid),
    ] {
        let answer = gateway.get(path, headers).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("www-authenticate"), Some(challenge), "{path}");
    }
    let revoke = gateway
        .send("POST /admin/revoke HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(revoke.header("www-authenticate"), Some(missing));
    for topic in ["named", "standard", "slack", "unknown", "a..b"] {
        let answer = gateway.post(topic, "{}").await;
        assert_eq!(answer.status, 401, "{topic}");
        let challenge = answer.header("www-authenticate");
        let basic = "Basic realm=\"hookrill\", charset=\"UTF-8\"";
        assert_eq!(challenge, Some(basic), "{topic}");
    }
}
