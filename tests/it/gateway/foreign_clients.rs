//! Clients that were written for other servers, and what they call things.

use tokio::io::AsyncWriteExt as _;

use hookrill_testing::{Gateway, Message, Subscriber, token};

const LAST_EVENT_ID: &str = "Last-Event-ID";

/// The next message after the opening cursors.
async fn after_opening(subscriber: &mut Subscriber) -> Message {
    loop {
        let message = subscriber.next().await.expect("the stream goes on");
        if message.name != "hookrill.cursor" {
            return message;
        }
    }
}

/// Checks that a stream tells of a gap for an id that it does not know, and that the
/// next event follows.
async fn tells_of(gateway: &Gateway, mut subscriber: Subscriber, asked: &str) {
    assert_eq!(subscriber.status(), 200, "{asked}");
    let opening = subscriber.next().await.unwrap();
    assert_eq!(
        (&*opening.name, &*opening.id),
        ("hookrill.cursor", asked),
        "cut off before the gap, the client is told again"
    );
    let gap = subscriber.next().await.unwrap();
    assert_eq!(gap.name, "hookrill.gap", "{asked}");
    let told: serde_json::Value = serde_json::from_str(&gap.data).unwrap();
    assert_eq!(
        (&told["reason"], &told["asked"]),
        (&"unknown".into(), &asked.into())
    );
    assert_eq!(told["resumed"], gap.id);
    let next = gateway.post("open", "next").await.id();
    assert_eq!(after_opening(&mut subscriber).await.id, next, "{asked}");
}

#[tokio::test]
async fn an_id_of_another_server_opens_the_stream_with_a_gap() {
    let gateway = Gateway::in_memory().start().await;
    gateway.post("open", "before").await;
    let nines = format!("e-{}", "9".repeat(30));
    let long = "x".repeat(20_000);
    let cut = format!("{}...", "x".repeat(64));
    for (id, asked) in [
        ("42", "42"),
        ("undefined", "undefined"),
        ("null", "null"),
        ("urn:uuid:5e8f0f6e-9f3a", "urn:uuid:5e8f0f6e-9f3a"),
        ("{\"a\":\"b\\c\"}", "{\"a\":\"b\\c\"}"),
        ("1-0", "1-0"),
        (&nines, &nines),
        ("E-1", "E-1"),
        ("-1", "-1"),
        ("e-1\u{e9}", "e-1?"),
        (&long, &cut),
    ] {
        let header = [(LAST_EVENT_ID, id)];
        if id == "1-0" {
            // Of the form of ours: another journal's.
            let mut subscriber = gateway.subscriber_with("/events/open", &header).await;
            subscriber.opened().await;
            let gap = subscriber.next().await.unwrap();
            assert!(gap.data.contains("\"epoch\""), "{}", gap.data);
            continue;
        }
        let subscriber = gateway.subscriber_with("/events/open", &header).await;
        tells_of(&gateway, subscriber, asked).await;
        let escaped = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/events/open?lastEventId={escaped}");
        tells_of(&gateway, gateway.subscriber(&path).await, asked).await;
    }
}

#[tokio::test]
async fn an_id_that_is_no_text_and_one_that_comes_twice_open_the_stream_with_a_gap() {
    let gateway = Gateway::in_memory().start().await;
    for (lines, asked) in [
        (&b"Last-Event-ID: \xff\xfe"[..], "??"),
        (b"Last-Event-ID: 1\r\nLast-Event-ID: 2", "1, 2"),
    ] {
        let mut stream = gateway.connect().await;
        let request = [
            b"GET /events/open HTTP/1.1\r\nHost: g\r\n",
            lines,
            b"\r\n\r\n",
        ]
        .concat();
        stream.write_all(&request).await.unwrap();
        tells_of(&gateway, Subscriber::over(stream).await, asked).await;
    }
    let path = "/events/open?last_event_id=%FF";
    tells_of(&gateway, gateway.subscriber(path).await, "?").await;
}

/// What was asked for besides it still holds, where it is no place.
#[tokio::test]
async fn an_id_of_another_server_leaves_the_rest_of_the_request_as_it_is() {
    let gateway = Gateway::in_memory().start().await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(gateway.post("open", format!("{n}")).await.id());
    }
    let header = [(LAST_EVENT_ID, "42")];
    for (query, next) in [
        ("since=earliest", 0),
        ("last=1", 2),
        (&*format!("lastEventId={}", ids[0]), 1),
    ] {
        let path = format!("/events/open?{query}");
        let mut subscriber = gateway.subscriber_with(&path, &header).await;
        let gap = after_opening(&mut subscriber).await;
        assert_eq!(gap.name, "hookrill.gap", "{query}");
        assert_eq!(
            after_opening(&mut subscriber).await.id,
            ids[next],
            "{query}"
        );
    }
    let line = [(LAST_EVENT_ID, "42"), ("Accept", "application/x-ndjson")];
    let mut lines = gateway.subscriber_with("/events/open", &line).await;
    let gap: serde_json::Value = serde_json::from_str(&lines.line().await).unwrap();
    assert_eq!(
        (&gap["type"], &gap["data"]["asked"]),
        (&"hookrill.gap".into(), &"42".into())
    );
}

#[tokio::test]
async fn an_empty_id_is_none() {
    let gateway = Gateway::in_memory().start().await;
    let mut id = gateway.post("open", "x").await.id();
    for path in [
        "/events/open",
        "/events/open?lastEventId=",
        "/events/open?lastEventId=%20",
    ] {
        let mut subscriber = gateway.subscriber_with(path, &[(LAST_EVENT_ID, "")]).await;
        assert_eq!(subscriber.opened().await, id, "{path}");
        id = gateway.post("open", "x").await.id();
        assert_eq!(subscriber.events(1).await[0].id, id, "no gap");
    }
}

#[tokio::test]
async fn a_place_counts_under_every_name_that_clients_have_for_it() {
    let gateway = Gateway::in_memory().start().await;
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(gateway.post("open", format!("{n}")).await.id());
    }
    for name in [
        "lastEventId",
        "lastEventID",
        "last_event_id",
        "Last-Event-ID",
        "Last-Event-Id",
        "evs_last_event_id",
    ] {
        // Below the header, above `since` and `last`.
        let path = format!("/events/open?since={}&last=1&{name}={}", ids[0], ids[1]);
        let mut in_query = gateway.subscriber(&path).await;
        assert_eq!(in_query.events(1).await[0].id, ids[2], "{name}");
        let header = [(LAST_EVENT_ID, &*ids[2])];
        let mut by_header = gateway.subscriber_with(&path, &header).await;
        assert_eq!(by_header.events(1).await[0].id, ids[3], "{name}");
    }
    // Under any other name it is refused, rather than passed over.
    for name in ["place", "resumeAt", "x", "id"] {
        let path = format!("/events/open?{name}={}", ids[0]);
        let answer = gateway.get(&path, &[]).await;
        assert_eq!(answer.status, 400, "{name}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(&format!("{name}: ")), "{detail}");
        assert!(detail.contains("since or lastEventId"), "{detail}");
    }
}

#[tokio::test]
async fn a_parameter_that_is_nearly_one_is_refused_and_others_are_not() {
    let gateway = Gateway::in_memory().start().await;
    for (given, meant) in [
        ("sinc=earliest", "since"),
        ("Since=earliest", "since"),
        ("type=push", "types"),
        ("topics=open", "topic"),
        ("topic%5B%5D=open", "topic"),
        ("amp;since=earliest", "since"),
        ("access_token=x", "token"),
        ("cursor=e-1", "lastEventId"),
        ("limit=10", "last"),
    ] {
        let answer = gateway.get(&format!("/events/open?{given}"), &[]).await;
        assert_eq!(answer.status, 400, "{given}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        let name = given.split('=').next().unwrap().replace("%5B%5D", "[]");
        assert!(detail.starts_with(&format!("{name}: ")), "{detail}");
        assert!(
            detail.ends_with(&format!("did you mean {meant}?")),
            "{detail}"
        );
    }
    let path = "/events/open?_=1764512000&t=1&utm_source=x&v=2&list=3&name=4&from=news&id=7";
    let mut subscriber = gateway.subscriber(path).await;
    subscriber.opened().await;
    let operator = [("Authorization", "Bearer the-operators-own-token")];
    for (query, status) in [("?limt=1", 400), ("?Under=a", 400), ("?_=1&limit=1", 200)] {
        let answer = gateway
            .get(&format!("/admin/topics{query}"), &operator)
            .await;
        assert_eq!(answer.status, status, "{query}");
    }
}

#[tokio::test]
async fn one_slash_at_the_end_of_a_stream_is_taken() {
    let gateway = Gateway::in_memory().start().await;
    let id = gateway.post("open.a", "x").await.id();
    for path in [
        "/events/open/",
        "/events/open.a/?since=earliest",
        "/events/?topic=open",
    ] {
        let separator = if path.contains('?') { "&" } else { "?" };
        let path = format!("{path}{separator}last=1");
        let mut subscriber = gateway.subscriber(&path).await;
        assert_eq!(subscriber.events(1).await[0].id, id, "{path}");
    }
    for path in ["/events/open//", "/events//", "/events/open%2F"] {
        assert_eq!(gateway.get(path, &[]).await.status, 400, "{path}");
    }
    // Not everything, for want of a topic.
    assert_eq!(gateway.get("/events/", &[]).await.status, 401);
}

/// Browsers send one for each path and domain that has one; the first may be stale.
#[tokio::test]
async fn each_of_several_token_cookies_is_tried() {
    let gateway = Gateway::in_memory().start().await;
    let (good, other) = (token(&["shut"], 60), token(&["other"], 60));
    for (cookies, status) in [
        (format!("hookrill_token=stale; hookrill_token={good}"), 200),
        (
            format!("hookrill_token={other}; hookrill_token={good}"),
            200,
        ),
        (format!("hookrill_token={good}; hookrill_token=stale"), 200),
        (
            format!("hookrill_token=; a=b; hookrill_token=\"{good}\""),
            200,
        ),
        (format!("hookrill_token=stale; hookrill_token={other}"), 403),
        ("hookrill_token=stale; hookrill_token=staler".into(), 401),
    ] {
        let headers = [("Cookie", &*cookies)];
        let answer = gateway.subscriber_with("/events/shut", &headers).await;
        assert_eq!(answer.status(), status, "{cookies}");
    }
    // A bounded number of signatures.
    let many = "hookrill_token=stale0; ".to_owned();
    let many: String = (0..8).map(|n| many.replace('0', &n.to_string())).collect();
    let cookies = format!("{many}hookrill_token={good}");
    let answer = gateway.get("/events/shut", &[("Cookie", &cookies)]).await;
    assert_eq!(answer.status, 401);
}
