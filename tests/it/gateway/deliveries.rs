//! Deliveries as they came: to whom they are shown, and to the byte.

use std::fs;

use data_encoding::BASE64;
use hookrill::access::{self, Claims};
use hookrill_core::Secret;
use serde_json::{Value, json};
use tempfile::TempDir;

use hookrill_testing::{
    ADMIN_TOKEN, BEGIN_SECS, GITHUB_SECRET, Gateway, GatewayBuilder, TOKEN_SECRET, github_signature,
};

/// Odd white space, a doubled key, and a number that no double has.
const BODY: &[u8] = b"\xef\xbb\xbf{\"n\" : 1e400,\r\n \"n\":1.0}\0";

const SECTIONS: &str = r#"
[topics.hiding]
preset = "github"
secrets = ["It's a Secret to Everybody"]
hide = ["/secret"]

[topics.without]
preset = "github"
secrets = ["It's a Secret to Everybody"]
keep_proof = false

[topics.gitlab]
preset = "gitlab"
secrets = ["s3cr3t-w0rd-that-is-l0ng"]

[topics.word]
access = "public"
scheme = { kind = "token", token = { query = "key" } }
secrets = ["s3cr3t-w0rd-that-is-l0ng"]
methods = ["POST", "PUT", "GET"]
"#;

fn token(topics: &[&str], full: bool, deliveries: bool) -> String {
    let claims = Claims {
        topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
        exp: BEGIN_SECS + 600,
        full,
        deliveries,
        ..Claims::default()
    };
    access::mint(&Secret::new(TOKEN_SECRET.as_bytes()), &claims).unwrap()
}

async fn gateway(plan: GatewayBuilder) -> Gateway {
    plan.sections(SECTIONS).start().await
}

/// Sends what GitHub would, and returns the id and the signature.
async fn send(gateway: &Gateway, path: &str, body: &[u8]) -> (String, String) {
    let signature = github_signature(GITHUB_SECRET, body);
    let headers = [
        ("X-Hub-Signature-256", &*signature),
        ("X-Hub-Signature", "sha1=0123456789"),
        ("X-GitHub-Delivery", "d-1"),
        ("X-GitHub-Event", "push"),
        ("Content-Type", "application/json"),
        ("Cookie", "a=hush"),
    ];
    let sent = gateway.post_with(path, &headers, body).await;
    assert_eq!(sent.status, 200, "{}", sent.text());
    (sent.id(), signature)
}

fn header<'j>(delivery: &'j Value, name: &str) -> Option<&'j str> {
    let mut lines = delivery["headers"].as_array().unwrap().iter();
    lines
        .find(|line| line[0] == name)
        .and_then(|line| line[1].as_str())
}

fn body_of(delivery: &Value) -> Vec<u8> {
    let base64 = delivery["body_base64"].as_str().unwrap();
    BASE64.decode(base64.as_bytes()).unwrap()
}

#[tokio::test]
async fn a_delivery_is_shown_as_it_came_by_its_id() {
    for plan in [Gateway::in_memory(), Gateway::on_disk()] {
        let gateway = gateway(plan).await;
        let (id, signature) = send(&gateway, "named.sub/?a=1&b=%20", BODY).await;
        let bearer = format!("Bearer {}", token(&["named"], false, true));
        let asked = [("Authorization", &*bearer)];
        let shown = gateway.get(&format!("/deliveries/{id}"), &asked).await;
        assert_eq!(shown.status, 200, "{}", shown.text());
        assert_eq!(shown.header("cache-control"), Some("no-store"));
        let delivery = shown.json();
        for (member, value) in [
            ("id", json!(id)),
            ("topic", json!("named.sub")),
            ("type", json!("push")),
            ("method", json!("POST")),
            ("target", json!("/?a=1&b=%20")),
            ("headers_cut", json!(false)),
            ("omitted", json!(["x-hub-signature", "cookie"])),
        ] {
            assert_eq!(delivery[member], value, "{member}");
        }
        assert_eq!(header(&delivery, "x-hub-signature-256"), Some(&*signature));
        assert_eq!(header(&delivery, "x-github-delivery"), Some("d-1"));
        assert_eq!(body_of(&delivery), BODY);
        let path = format!("/deliveries/{id}/body?token={}", &bearer["Bearer ".len()..]);
        let bytes = gateway.get(&path, &[]).await;
        assert_eq!((bytes.status, &*bytes.body), (200, BODY));
        for (name, value) in [
            ("content-type", "application/octet-stream"),
            ("x-content-type-options", "nosniff"),
            (
                "content-disposition",
                &format!("attachment; filename=\"{id}\""),
            ),
        ] {
            assert_eq!(bytes.header(name), Some(value), "{name}");
        }
    }
}

#[tokio::test]
async fn whoever_has_no_token_for_deliveries_is_shown_none() {
    let gateway = gateway(Gateway::in_memory()).await;
    let (public, _) = send(&gateway, "named", b"{}").await;
    let (hiding, signature) = send(&gateway, "hiding", br#"{"secret":"hush"}"#).await;
    for (id, given, status) in [
        (&public, None, 401),
        (&public, Some(token(&["named"], true, false)), 403),
        (&public, Some(token(&["open", "shut"], true, true)), 404),
        (&public, Some(token(&["named"], false, true)), 200),
        (&public, Some(token(&["*"], false, true)), 200),
        (&public, Some(ADMIN_TOKEN.to_owned()), 401),
        (&hiding, Some(token(&["hiding"], false, true)), 403),
        (&hiding, Some(token(&["hiding"], true, false)), 403),
        (&hiding, Some(token(&["hiding"], true, true)), 200),
    ] {
        let bearer = given.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|it| ("Authorization", &**it)).collect();
        for path in ["", "/body"] {
            let path = format!("/deliveries/{id}{path}");
            let shown = gateway.get(&path, &headers).await;
            assert_eq!(shown.status, status, "{path}: {}", shown.text());
            if status != 200 {
                let told = String::from_utf8_lossy(&shown.body).into_owned();
                assert!(
                    !told.contains("hush") && !told.contains(&signature),
                    "{told}"
                );
            }
            if status == 401 || status == 403 {
                assert!(shown.header("www-authenticate").is_some(), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_there_says_why() {
    let gateway = gateway(Gateway::in_memory().journal("retain_bytes = \"1MiB\"")).await;
    let (first, _) = send(&gateway, "named", b"{}").await;
    let epoch = first.split('-').next().unwrap();
    gateway.fill("open", 40, 60_000).await;
    let token = token(&["*"], true, true);
    for (id, status, told) in [
        ("nonsense", 400, "looks like"),
        ("-1", 400, "looks like"),
        (&*format!("{epoch}-0"), 404, "there is no delivery"),
        (&*format!("{epoch}-999999"), 404, "there is no delivery"),
        ("another00-1", 404, "in another journal"),
        (&first, 410, "is deleted"),
    ] {
        let path = format!("/deliveries/{id}?token={token}");
        let shown = gateway.get(&path, &[]).await;
        let text = String::from_utf8_lossy(&shown.body).into_owned();
        assert_eq!(shown.status, status, "{id}: {text}");
        assert!(text.contains(told), "{id}: {text}");
    }
    let near = gateway
        .get(&format!("/deliveries/{first}?tokn=a"), &[])
        .await;
    assert_eq!(near.status, 400);
    let posted = gateway.send(
        "POST /deliveries/a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    let posted = posted.await;
    assert_eq!(
        (posted.status, posted.header("allow")),
        (405, Some("GET,HEAD"))
    );
}

#[tokio::test]
async fn streams_of_deliveries_need_the_same_token_and_withhold_what_is_hidden() {
    let gateway = gateway(Gateway::in_memory()).await;
    let (id, signature) = send(&gateway, "named", BODY).await;
    let (hiding, _) = send(&gateway, "hiding", br#"{"secret":"hush"}"#).await;
    for format in ["delivery", "smee", "gosmee"] {
        for (given, status) in [
            (None, 401),
            (Some(token(&["named"], true, false)), 403),
            (Some(token(&["open"], true, true)), 403),
        ] {
            let bearer = given.map(|token| format!("Bearer {token}"));
            let headers: Vec<_> = bearer.iter().map(|it| ("Authorization", &**it)).collect();
            let path = format!("/events/named?format={format}&since=earliest");
            assert_eq!(
                gateway.get(&path, &headers).await.status,
                status,
                "{format}"
            );
        }
        let token = token(&["*"], false, true);
        let path = format!("/events?format={format}&since=earliest&token={token}");
        let mut stream = gateway.subscriber(&path).await;
        // smee's clients wait for an event of theirs.
        let is_ready = stream.next().await.unwrap().name == "ready";
        assert_eq!(is_ready, format != "delivery");
        let first = stream.next().await.unwrap();
        assert_eq!(first.id, id);
        let told: Value = serde_json::from_str(&first.data).unwrap();
        match format {
            "delivery" => assert_eq!(header(&told, "x-hub-signature-256"), Some(&*signature)),
            _ => assert_eq!(told["x-hub-signature-256"], signature, "{told}"),
        }
        let withheld = stream.next().await.unwrap();
        assert_eq!(
            (&*withheld.id, &*withheld.data),
            (&*hiding, r#"{"reason":"hidden"}"#)
        );
    }
    let token = token(&["*"], true, true);
    let lines = [("Accept", "application/x-ndjson")];
    let path = format!("/events?format=delivery&since=earliest&token={token}");
    let mut stream = gateway.subscriber_with(&path, &lines).await;
    let mut next = async || -> Value { serde_json::from_str(&stream.line().await).unwrap() };
    let delivery = next().await;
    assert_eq!(
        (body_of(&delivery), &delivery["id"]),
        (BODY.to_vec(), &json!(id))
    );
    assert_eq!(body_of(&next().await), br#"{"secret":"hush"}"#);
}

#[tokio::test]
async fn what_a_section_does_not_keep_and_what_is_a_secret_is_named_alone() {
    let gateway = gateway(Gateway::on_disk()).await;
    let (id, signature) = send(&gateway, "without", b"{}").await;
    let token = token(&["*"], true, true);
    let shown = gateway
        .get(&format!("/deliveries/{id}?token={token}"), &[])
        .await;
    let delivery = shown.json();
    let omitted = json!(["x-hub-signature-256", "x-hub-signature", "cookie"]);
    assert_eq!(delivery["omitted"], omitted);
    assert!(!shown.text().contains(&signature));
    // A word that is sent along is kept nowhere.
    for (method, body) in [("PUT", "{}"), ("GET", "")] {
        let request = format!(
            "{method} /ingest/word?a=1&key=s3cr3t-w0rd-that-is-l0ng&b=2 HTTP/1.1\r\nHost: a\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let sent = gateway.send(request).await;
        assert_eq!(sent.status, 200, "{}", sent.text());
        let again = gateway
            .get(&format!("/deliveries/{}?token={token}", sent.id()), &[])
            .await;
        let of_word = again.json();
        assert!(!again.text().contains("s3cr3t"), "{of_word}");
        assert_eq!(of_word["method"], method);
        assert_eq!(of_word["omitted"], json!(["?key"]));
        let target = of_word["target"].as_str().unwrap();
        assert!(target.contains("a=1") && target.contains("b=2"), "{target}");
        assert_eq!(body_of(&of_word), body.as_bytes());
    }
}

#[tokio::test]
async fn an_id_is_kept_whatever_its_header_is_called_and_a_token_that_is_sent_is_not() {
    let gateway = gateway(Gateway::in_memory()).await;
    let headers = [
        ("X-Gitlab-Token", "s3cr3t-w0rd-that-is-l0ng"),
        ("Idempotency-Key", "id-77"),
        ("X-Gitlab-Event", "Push Hook"),
    ];
    let target = "gitlab?a=1&token=hush&api_key=hush&b=2";
    let sent = gateway.post_with(target, &headers, b"{}").await;
    assert_eq!(sent.status, 200, "{}", sent.text());
    let token = token(&["*"], true, true);
    let path = format!("/deliveries/{}?token={token}", sent.id());
    let shown = gateway.get(&path, &[]).await;
    let delivery = shown.json();
    assert_eq!(header(&delivery, "idempotency-key"), Some("id-77"));
    assert_eq!(delivery["target"], "?a=1&b=2");
    let omitted = json!(["x-gitlab-token", "?token", "?api_key"]);
    assert_eq!(delivery["omitted"], omitted);
    assert!(!shown.text().contains("hush") && !shown.text().contains("s3cr3t"));
    // Subscribers are not shown it for that.
    let events = format!("/events/gitlab?since=earliest&format=cloudevents&token={token}");
    let mut stream = gateway.subscriber(&events).await;
    assert!(!stream.events(1).await[0].data.contains("id-77"));
}

#[tokio::test]
async fn the_version_is_told_as_gosmee_asks() {
    let gateway = gateway(Gateway::in_memory()).await;
    let told = gateway.get("/version", &[]).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.json()["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told.header("x-gosmee-version"), Some("0.0.0"));
    let path = "/events/open?format=gosmee&since=earliest";
    let refused = gateway
        .get(
            path,
            &[
                ("Accept", "text/event-stream"),
                ("User-Agent", "gosmee/0.32.0"),
            ],
        )
        .await;
    assert_eq!(refused.status, 401);
}

/// A folder as the version before wrote it: three of GitHub's deliveries, the second
/// compressed and signed as it was sent.
fn folder_of_version_1() -> TempDir {
    const LOG_BYTES: usize = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let segments = folder.path().join("segments");
    fs::create_dir(&segments).unwrap();
    // Space that nothing was written to yet.
    let mut log = include_bytes!("version_1/first.log").to_vec();
    log.resize(LOG_BYTES, 0);
    fs::write(segments.join("00000000000000000001.log"), log).unwrap();
    let high_water = include_bytes!("version_1/high-water");
    fs::write(folder.path().join("high-water"), high_water).unwrap();
    folder
}

#[tokio::test]
async fn a_folder_of_the_version_before_opens_is_read_and_goes_on() {
    let token = token(&["*"], true, true);
    let plan = |folder| Gateway::in_folder(folder).journal("retain_age = \"3650d\"");
    let gateway = gateway(plan(folder_of_version_1())).await;
    let mut stream = gateway
        .subscriber(&format!("/events?since=earliest&token={token}"))
        .await;
    let events = stream.events(3).await;
    let bodies: Vec<_> = events.iter().map(|event| &*event.data).collect();
    let first = "{\"ref\": \"x\",\n \"n\": 1.0}";
    assert_eq!(bodies, [first, r#"{"coded":true}"#, "a\u{fffd}\0b"]);
    let shown = gateway
        .get(&format!("/deliveries/{}?token={token}", events[1].id), &[])
        .await;
    let delivery = shown.json();
    assert_eq!(delivery["headers_cut"], true);
    assert_eq!(header(&delivery, "content-encoding"), Some("gzip"));
    assert_eq!(header(&delivery, ":sent"), None);
    assert_eq!(body_of(&delivery)[..2], *b"\x1f\x8b");
    drop(stream);
    let (fourth, _) = send(&gateway, "named", b"{}").await;
    let folder = gateway.stop().await.unwrap();
    let again = self::gateway(plan(folder)).await;
    let mut all = again
        .subscriber(&format!("/events?since=earliest&token={token}"))
        .await;
    let ids: Vec<_> = all
        .events(4)
        .await
        .into_iter()
        .map(|event| event.id)
        .collect();
    let before: Vec<_> = events.into_iter().map(|event| event.id).collect();
    assert_eq!(ids, [before, vec![fourth]].concat());
}
