//! `GET /admin/topics` over real sockets: who listens, what there is, and that
//! nobody else gets to know.

use std::{collections::HashMap, time::Duration};

use hookrill::access::{self, Claims};
use hookrill_core::Secret;
use serde_json::{Value, json};
use tokio::time::timeout;

use hookrill_testing::{
    ADMIN_TOKEN, BEGIN_SECS, Client, Gateway, GatewayBuilder, Response, Subscriber, TOKEN_SECRET,
    token,
};

async fn ask(gateway: &Client, query: &str) -> Response {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let path = format!("/admin/topics{query}");
    gateway.get(&path, &[("Authorization", &bearer)]).await
}

async fn presence(gateway: &Client, query: &str) -> Value {
    let answer = ask(gateway, query).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn names(page: &Value) -> Vec<&str> {
    let rows = page["topics"].as_array().unwrap().iter();
    rows.map(|row| row["topic"].as_str().unwrap()).collect()
}

fn row<'p>(page: &'p Value, topic: &str) -> &'p Value {
    let mut rows = page["topics"].as_array().unwrap().iter();
    rows.find(|row| row["topic"] == topic)
        .unwrap_or(&Value::Null)
}

/// The subscribers of each topic, and of all.
fn listening(page: &Value) -> HashMap<String, u64> {
    let rows = page["topics"].as_array().unwrap().iter();
    let rows = rows.map(|row| (row["topic"].as_str().unwrap(), &row["subscribers"]));
    rows.chain([("", &page["subscribers"])])
        .map(|(topic, count)| (topic.to_owned(), count.as_u64().unwrap()))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Waits until so many listen to these topics and to no other.
async fn are_listening(gateway: &Client, expected: &[(&str, u64)]) {
    let expected = expected
        .iter()
        .map(|(topic, count)| ((*topic).to_owned(), *count));
    let expected: HashMap<_, _> = expected.collect();
    let mut found = HashMap::new();
    let noticed = async {
        while found != expected {
            tokio::task::yield_now().await;
            found = listening(&presence(gateway, "").await);
        }
    };
    let noticed = timeout(Duration::from_secs(60), noticed).await;
    assert!(noticed.is_ok(), "{found:?}, and not {expected:?}");
}

async fn open(gateway: &Client, path: &str, count: usize) -> Vec<Subscriber> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut subscriber = gateway.subscriber(path).await;
        subscriber.opened().await;
        streams.push(subscriber);
    }
    streams
}

fn ways() -> [GatewayBuilder; 2] {
    // A heartbeat would meet a closed connection.
    let heartbeat = "[subscribe]\nheartbeat = \"10m\"";
    [
        Gateway::in_memory().sections(heartbeat),
        Gateway::in_memory().sections(heartbeat).with_router_only(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_rise_and_fall_with_streams_however_they_are_written() {
    for plan in ways() {
        let gateway = plan.start().await;
        are_listening(&gateway, &[]).await;
        // Enough for several bundles.
        let mut crowd = open(&gateway, "/events/open.crowd", 150).await;
        let above = open(&gateway, "/events/open", 2).await;
        let path = |topics: &[&str], rest: &str| {
            let token = token(topics, 3600);
            format!("/events{rest}token={token}")
        };
        let several = path(&["shut"], "?topic=open.crowd&topic=shut.a&topic=shut.b&");
        let several = open(&gateway, &several, 3).await;
        let everything = open(&gateway, &path(&["*"], "?"), 1).await;
        let all = [
            ("", 156),
            ("open", 155),
            ("open.crowd", 153),
            ("shut", 3),
            ("shut.a", 3),
            ("shut.b", 3),
        ];
        are_listening(&gateway, &all).await;
        let page = presence(&gateway, "").await;
        assert_eq!(page["subscribers_of_all_topics"], 1);
        assert_eq!(page["subscribers_uncounted"], 0);
        // They settle in bundles, and stay counted.
        let id = gateway.post("open.crowd", "x").await.id();
        for subscriber in &mut crowd {
            assert_eq!(subscriber.events(1).await[0].id, id);
        }
        are_listening(&gateway, &all).await;
        crowd.truncate(50);
        drop(several);
        let fewer = [("", 53), ("open", 52), ("open.crowd", 50)];
        are_listening(&gateway, &fewer).await;
        drop((above, everything));
        // Without so much as an end.
        for subscriber in &crowd {
            subscriber.stream.set_zero_linger().unwrap();
        }
        drop(crowd);
        are_listening(&gateway, &[]).await;
        let names: Vec<_> = presence(&gateway, "").await["topics"]
            .as_array()
            .cloned()
            .unwrap();
        assert_eq!(names.len(), 2, "those that have an event stay: {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stops_reading_counts_until_it_is_gone() {
    for plan in ways() {
        let gateway = plan.start().await;
        let stuck = open(&gateway, "/events/open", 5).await;
        gateway.fill("open", 2_000, 4_096).await;
        are_listening(&gateway, &[("", 5), ("open", 5)]).await;
        drop(stuck);
        // Those that are written into find out by themselves.
        are_listening(&gateway, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_revoked_token_are_counted_no_more() {
    for plan in ways() {
        let gateway = plan.start().await;
        let claims = |jti: &str| Claims {
            topics: vec!["shut".into()],
            exp: BEGIN_SECS + 600,
            jti: Some(jti.to_owned()),
            ..Claims::default()
        };
        let path = |jti: &str| {
            let secret = Secret::new(TOKEN_SECRET.as_bytes());
            let token = access::mint(&secret, &claims(jti)).unwrap();
            format!("/events/shut?token={token}")
        };
        let mut taken_back = open(&gateway, &path("a"), 3).await;
        let _stays = open(&gateway, &path("b"), 2).await;
        are_listening(&gateway, &[("", 5), ("shut", 5)]).await;
        let revocation = "{\"jti\":\"a\"}";
        let request = format!(
            "POST /admin/revoke HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{revocation}",
            revocation.len()
        );
        assert_eq!(gateway.send(request).await.text(), "{\"ended\":3}");
        for subscriber in &mut taken_back {
            subscriber.ended().await;
        }
        drop(taken_back);
        are_listening(&gateway, &[("", 2), ("shut", 2)]).await;
        // One that is refused was never there.
        assert_eq!(gateway.get(&path("a"), &[]).await.status, 401);
        are_listening(&gateway, &[("", 2), ("shut", 2)]).await;
    }
}

#[tokio::test]
async fn streams_over_http_2_count_each_for_itself() {
    let gateway = Gateway::in_memory().start().await;
    let stream = hyper_util::rt::TokioIo::new(gateway.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, stream)
        .await
        .unwrap();
    let open = async {
        let mut bodies = Vec::new();
        for topic in ["open.a", "open.a", "open.b"] {
            let request = http::Request::get(format!("http://{}/events/{topic}", gateway.address))
                .body(http_body_util::Empty::<bytes::Bytes>::new())
                .unwrap();
            let response = client.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            bodies.push(response.into_body());
        }
        are_listening(
            &gateway,
            &[("", 3), ("open", 3), ("open.a", 2), ("open.b", 1)],
        )
        .await;
        // One stream is reset, and the connection stays.
        bodies.pop();
        are_listening(&gateway, &[("", 2), ("open", 2), ("open.a", 2)]).await;
        bodies
    };
    tokio::select! {
        _ = connection => panic!("the connection ends"),
        _bodies = open => {}
    }
    // The connection is gone with its driver, and no stream was closed.
    are_listening(&gateway, &[]).await;
}

#[tokio::test]
async fn figures_are_those_of_the_events_that_are_here() {
    for gateway in [Gateway::in_memory(), Gateway::on_disk()] {
        let gateway = gateway.start().await;
        let empty = presence(&gateway, "").await;
        assert_eq!(names(&empty), [""; 0]);
        assert!(empty["head"].as_str().unwrap().ends_with("-0"));
        assert_eq!(
            (&empty["next"], &empty["oldest"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(
            (&empty["events"], &empty["events_per_second"]),
            (&json!(0), &json!(0.0))
        );
        let mut ids = Vec::new();
        for n in 0..6 {
            let topic = ["open.a", "open.b"][n % 2];
            ids.push(gateway.post(topic, "x".repeat(1000)).await.id());
        }
        let _listens = open(&gateway, "/events/open.c", 1).await;
        gateway.set_clock(30);
        ids.push(gateway.post("open", "x".repeat(1000)).await.id());
        let page = presence(&gateway, "").await;
        assert_eq!(names(&page), ["open", "open.a", "open.b", "open.c"]);
        let of = |topic: &str, figure: &str| row(&page, topic)[figure].clone();
        for (topic, events, oldest, head) in
            [("open", 7, 0, 6), ("open.a", 3, 0, 4), ("open.b", 3, 1, 5)]
        {
            assert_eq!(of(topic, "events"), events);
            assert_eq!(of(topic, "oldest"), ids[oldest]);
            assert_eq!(of(topic, "head"), ids[head]);
            let bytes = of(topic, "bytes").as_u64().unwrap();
            assert!((events * 1000..events * 1300).contains(&bytes), "{bytes}");
        }
        assert_eq!(of("open", "events_per_second"), 0.117);
        assert_eq!(of("open.a", "events_per_second"), 0.05);
        let nothing = json!({
            "topic": "open.c", "subscribers": 1, "events_per_second": 0.0,
            "head": null, "oldest": null, "events": 0, "bytes": 0,
        });
        assert_eq!(row(&page, "open.c"), &nothing);
        for figure in ["events", "bytes", "head", "oldest", "events_per_second"] {
            assert_eq!(page[figure], of("open", figure), "of all: {figure}");
        }
        gateway.set_clock(61);
        let later = presence(&gateway, "?under=open").await;
        assert_eq!(row(&later, "open")["events_per_second"], 0.017);
        assert_eq!(row(&later, "open.a")["events_per_second"], 0.0);
    }
}

#[tokio::test]
async fn figures_outlive_a_restart() {
    let gateway = Gateway::on_disk().start().await;
    gateway.fill("open.a", 50, 100).await;
    gateway.fill("shut", 20, 100).await;
    let before = presence(&gateway, "").await;
    let folder = gateway.stop().await.unwrap();
    let restarted = Gateway::in_folder(folder).start().await;
    let after = presence(&restarted, "").await;
    assert_eq!(after["topics"], before["topics"]);
    assert_eq!(row(&after, "shut")["events"], 20);
}

#[tokio::test]
async fn ten_thousand_topics_are_listed_once_each_page_by_page() {
    const TOPICS: usize = 10_000;
    const CONNECTIONS: usize = 16;
    let gateway = Gateway::on_disk().start().await;
    let posting = (0..CONNECTIONS).map(|from| {
        let gateway = &gateway;
        async move {
            let mut stream = gateway.connect().await;
            for n in (from..TOPICS).step_by(CONNECTIONS) {
                // In another order than that of their names.
                let n = (n * 7_919) % TOPICS;
                post_on(&mut stream, &format!("open.t{n}")).await;
            }
        }
    });
    futures_util::future::join_all(posting).await;
    // Some that have events as well, and some that have none.
    let topics: String = (9_970..10_030)
        .map(|n| format!("topic=open.t{n}&"))
        .collect();
    let _listens = open(&gateway, &format!("/events?{topics}"), 1).await;
    let mut expected: Vec<_> = (0..10_030).map(|n| format!("open.t{n}")).collect();
    expected.push("open".into());
    expected.sort();
    for limit in [1000, 777] {
        let mut listed = Vec::new();
        let mut after = String::new();
        loop {
            let query = format!("?limit={limit}{after}");
            let page = presence(&gateway, &query).await;
            let found = names(&page);
            assert!(found.len() <= limit);
            listed.extend(found.iter().map(|&name| name.to_owned()));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            assert_eq!(Some(&next), found.last());
            after = format!("&after={next}");
        }
        assert!(listed == expected, "by {limit}: {} topics", listed.len());
    }
    assert_eq!(
        presence(&gateway, "").await["topics"]
            .as_array()
            .unwrap()
            .len(),
        100
    );
    let page = presence(&gateway, "?under=open.t10029").await;
    assert_eq!(
        (names(&page), &page["next"]),
        (vec!["open.t10029"], &Value::Null)
    );
    let beyond = presence(&gateway, "?under=open&limit=2&after=open.t9999").await;
    assert_eq!(names(&beyond), [""; 0]);
}

async fn post_on(stream: &mut tokio::net::TcpStream, topic: &str) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let request =
        format!("POST /ingest/{topic} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1\r\n\r\nx");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "cut off");
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn nobody_but_the_operator_gets_to_know() {
    let gateway = Gateway::in_memory()
        .server("cors_origins = [\"*\"]")
        .start()
        .await;
    gateway.post("open", "x").await;
    let subscribers = token(&["*"], 3600);
    let bearers = [
        None,
        Some(format!("Bearer {subscribers}")),
        Some("Bearer wrong".to_owned()),
        Some(format!("Bearer {ADMIN_TOKEN}x")),
        Some(format!("Basic {ADMIN_TOKEN}")),
    ];
    let paths = [
        "/admin/topics".to_owned(),
        "/admin/topics?limit=x&after=%ff".to_owned(),
        format!("/admin/topics?token={ADMIN_TOKEN}"),
        format!("/admin/topics?token={subscribers}"),
    ];
    let cookie = format!("hookrill_token={ADMIN_TOKEN}");
    let mut bodies = Vec::new();
    for path in &paths {
        for bearer in &bearers {
            let mut headers = vec![("Cookie", &*cookie), ("Origin", "https://app.example.com")];
            headers.extend(bearer.as_ref().map(|bearer| ("Authorization", &**bearer)));
            // Beyond a few wrong ones, it is one a second.
            gateway.advance_clock(1);
            let answer = gateway.get(path, &headers).await;
            assert_eq!(answer.status, 401, "{path} with {bearer:?}");
            assert!(!answer.head.to_ascii_lowercase().contains("access-control"));
            bodies.push(answer.body);
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "one and the same answer");
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [
        ("Authorization", &*bearer),
        ("Origin", "https://app.example.com"),
    ];
    let answer = gateway.get("/admin/topics", &headers).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(!answer.head.to_ascii_lowercase().contains("access-control"));
}

#[tokio::test]
async fn a_parameter_that_cannot_be_used_is_named() {
    let gateway = Gateway::in_memory().start().await;
    for (query, named) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("after=", "after"),
        ("after=a..b", "after"),
        ("after=a&after=b", "after"),
        ("under=a%2Fb", "under"),
        ("under=*", "under"),
    ] {
        let answer = ask(&gateway, &format!("?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.starts_with(&format!("{named}: ")),
            "{query}: {detail}"
        );
    }
    for query in [
        "?limit=1",
        "?limit=1000",
        "?after=nothing&under=nothing",
        "?x=y",
    ] {
        assert_eq!(ask(&gateway, query).await.status, 200, "{query}");
    }
    assert_eq!(gateway.send(post()).await.status, 405);
}

fn post() -> String {
    format!(
        "POST /admin/topics HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\
         Connection: close\r\nContent-Length: 0\r\n\r\n"
    )
}
