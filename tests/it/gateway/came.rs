//! `/admin/deliveries…`: what came, why it was refused, and how it is taken after all.

use data_encoding::BASE64;
use futures_util::future::join_all;
use hookrill_testing::{ADMIN_TOKEN, Client, Gateway, Response, TOKEN_SECRET, github_signature};
use serde_json::{Value, json};

mod hostile;
mod lists;
mod live;
mod presets;

const SECTIONS: &str = "[topics.github]\npreset = \"github\"\nsecrets = [\"the new one\"]\n\
                        [topics.other]\npreset = \"github\"\nsecrets = [\"another\"]\n";

async fn gateway() -> Gateway {
    Gateway::in_memory().sections(SECTIONS).start().await
}

fn bearer() -> String {
    format!("Bearer {ADMIN_TOKEN}")
}

async fn ask(gateway: &Client, path: &str) -> Response {
    gateway.get(path, &[("Authorization", &bearer())]).await
}

async fn ask_json(gateway: &Client, path: &str) -> Value {
    let response = ask(gateway, path).await;
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    assert_eq!(response.header("cache-control"), Some("no-store"));
    response.json()
}

async fn tell(gateway: &Client, path: &str, body: &str) -> Response {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: g\r\nAuthorization: {}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        bearer(),
        body.len()
    );
    gateway.send(request).await
}

async fn list(gateway: &Client, query: &str) -> Vec<Value> {
    let page = ask_json(gateway, &format!("/admin/deliveries?{query}")).await;
    page["deliveries"].as_array().unwrap().clone()
}

fn texts(rows: &[Value], name: &str) -> Vec<String> {
    let each = rows.iter().map(|row| match &row[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    each.collect()
}

/// Posts a delivery that is signed with this secret.
async fn deliver(gateway: &Client, topic: &str, secret: &str, body: &str) -> Response {
    let signature = github_signature(secret, body.as_bytes());
    let headers = [
        ("X-Hub-Signature-256", &*signature),
        ("X-GitHub-Event", "push"),
        ("X-GitHub-Delivery", body),
    ];
    gateway.post_with(topic, &headers, body).await
}

#[tokio::test]
async fn after_a_secret_was_rotated_what_was_refused_meanwhile_is_taken() {
    let mut gateway = gateway().await;
    assert_eq!(
        deliver(&gateway, "github", "the newest", "{\"n\":1}")
            .await
            .status,
        401
    );
    let listed = list(&gateway, "outcome=refused").await;
    let [refused] = &listed[..] else {
        panic!("{listed:?}")
    };
    assert_eq!(refused["id"], "r-1");
    assert_eq!(refused["reason"], "mismatch");
    assert_eq!(refused["section"], "github");
    assert_eq!(refused["address"], "127.0.0.1");
    let explained = tell(&gateway, "/admin/deliveries/r-1/explain", "")
        .await
        .json();
    assert_eq!(explained["verified"], false);
    assert_eq!(
        explained["steps"].as_array().unwrap().last().unwrap()["name"],
        "secret"
    );
    assert!(explained["hint"].is_string());
    assert_eq!(explained["signed_bytes"], 7);
    assert_eq!(explained["signed_base64"], BASE64.encode(b"{\"n\":1}"));
    let other = "{\"secrets\":[\"wrong\",\"the newest\"]}";
    let with_others = tell(&gateway, "/admin/deliveries/r-1/explain", other)
        .await
        .json();
    assert_eq!(
        (&with_others["verified"], &with_others["secret"]),
        (&json!(true), &json!(1))
    );

    let early = tell(&gateway, "/admin/deliveries/r-1/take", "").await;
    assert_eq!(early.status, 409);
    assert_eq!(early.json()["reason"], "mismatch");

    gateway.advance_clock(3_600);
    let change = ("secrets = [\"the new one\"]", "secrets = [\"the newest\"]");
    gateway.reload(&[change]).unwrap();
    let takes = (0..8).map(|_| tell(&gateway, "/admin/deliveries/r-1/take", ""));
    let taken = join_all(takes).await;
    let stored: Vec<_> = taken.iter().filter(|one| one.status == 200).collect();
    assert!(taken.iter().all(|one| [200, 409].contains(&one.status)));
    let new = stored.iter().filter(|one| one.json()["duplicate"] == false);
    assert_eq!(new.count(), 1, "it is taken once");
    let again = tell(&gateway, "/admin/deliveries/r-1/take", "")
        .await
        .json();
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["id"], stored[0].json()["id"]);
    assert_eq!(
        list(&gateway, "outcome=refused").await[0]["event"],
        again["id"]
    );
    let events = list(&gateway, "outcome=stored").await;
    assert_eq!(texts(&events, "type"), ["push"]);
    assert_eq!(events[0]["at"], refused["at"], "as of its arrival");

    // The provider sends it again, and it is known.
    let repeated = deliver(&gateway, "github", "the newest", "{\"n\":1}").await;
    assert_eq!(repeated.json()["duplicate"], true);
}

#[tokio::test]
async fn what_the_provider_sent_again_meanwhile_is_a_duplicate_when_it_is_taken() {
    let mut gateway = gateway().await;
    deliver(&gateway, "github", "the newest", "{}").await;
    let change = ("secrets = [\"the new one\"]", "secrets = [\"the newest\"]");
    gateway.reload(&[change]).unwrap();
    gateway.advance_clock(60);
    let id = deliver(&gateway, "github", "the newest", "{}").await.id();
    let taken = tell(&gateway, "/admin/deliveries/r-1/take", "")
        .await
        .json();
    assert_eq!(
        (&taken["duplicate"], &taken["id"]),
        (&json!(true), &json!(id))
    );
}

#[tokio::test]
async fn the_rate_of_a_section_holds_for_what_is_taken() {
    let mut gateway = gateway().await;
    for n in 0..2 {
        deliver(&gateway, "github", "the newest", &format!("{{\"n\":{n}}}")).await;
    }
    let change = (
        "secrets = [\"the new one\"]",
        "rate_max = \"1/h\"\nsecrets = [\"the newest\"]",
    );
    gateway.reload(&[change]).unwrap();
    assert_eq!(
        tell(&gateway, "/admin/deliveries/r-1/take", "")
            .await
            .status,
        200
    );
    let limited = tell(&gateway, "/admin/deliveries/r-2/take", "").await;
    assert_eq!(limited.status, 429);
    assert!(limited.header("retry-after").is_some());
}

#[tokio::test]
async fn references_are_not_read_on_the_gateways_machine_and_no_secret_is_repeated() {
    let gateway = gateway().await;
    deliver(&gateway, "github", "x", "{}").await;
    for body in [
        "{\"secrets\":[\"env:PATH\"]}",
        "{\"secrets\":[\"file:/etc/passwd\"]}",
        "{\"secrets\":[]}",
        "{\"secrets\":\"my-own-secret\"}",
        "{\"secret\":[\"my-own-secret\"]}",
        "my-own-secret",
    ] {
        let refused = tell(&gateway, "/admin/deliveries/r-1/explain", body).await;
        assert_eq!(refused.status, 400, "{body}");
        assert!(
            !refused.text().contains("my-own-secret"),
            "{}",
            refused.text()
        );
    }
    let long = format!("{{\"secrets\":[\"{}\"]}}", "x".repeat(20_000));
    assert_eq!(
        tell(&gateway, "/admin/deliveries/r-1/explain", &long)
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn what_is_gone_or_of_another_kind_says_what_to_do() {
    let gateway = Gateway::in_memory()
        .sections(SECTIONS)
        .sections("[console]\nrefused_max = 1")
        .start()
        .await;
    for body in ["1", "2"] {
        deliver(&gateway, "github", "x", body).await;
    }
    let id = deliver(&gateway, "github", "the new one", "3").await.id();
    for (path, status, says) in [
        ("r-1", 410, "not kept any more"),
        ("r-9", 404, "gone at a restart"),
        ("d-1", 410, "not kept"),
        ("x", 400, "r-41"),
        ("zzz-1", 404, "another journal"),
        ("r-1/body", 410, "not kept any more"),
    ] {
        let answer = ask(&gateway, &format!("/admin/deliveries/{path}")).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text().contains(says), "{path}: {}", answer.text());
    }
    for verb in ["explain", "take"] {
        let stored = tell(&gateway, &format!("/admin/deliveries/{id}/{verb}"), "").await;
        assert_eq!(stored.status, 400);
    }
    assert_eq!(gateway.metric("hookrill_refused_dropped_total").await, 1.0);
}

#[tokio::test]
async fn a_delivery_whose_section_is_gone_or_new_is_explained_by_the_configuration_of_now() {
    let mut gateway = gateway().await;
    deliver(&gateway, "github", "x", "{}").await;
    deliver(&gateway, "later", "the new one", "{}").await;
    let unknown = tell(&gateway, "/admin/deliveries/r-2/explain", "")
        .await
        .json();
    assert_eq!(unknown["steps"][0]["name"], "topic");
    assert_eq!(unknown["reason"], "topic_unknown");
    gateway
        .reload(&[("[topics.github]", "[topics.later]")])
        .unwrap();
    let gone = tell(&gateway, "/admin/deliveries/r-1/explain", "")
        .await
        .json();
    assert_eq!(gone["reason"], "topic_unknown");
    assert_eq!(
        tell(&gateway, "/admin/deliveries/r-1/take", "")
            .await
            .status,
        409
    );
    assert_eq!(list(&gateway, "outcome=refused").await.len(), 2);
    let new = tell(&gateway, "/admin/deliveries/r-2/explain", "")
        .await
        .json();
    assert_eq!(new["verified"], true);
    assert_eq!(
        tell(&gateway, "/admin/deliveries/r-2/take", "")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn what_was_not_read_is_listed_by_its_head_and_can_be_explained_in_one_step() {
    let gateway = Gateway::in_memory()
        .server("body_bytes_max = \"64 KiB\"")
        .sections(SECTIONS)
        .start()
        .await;
    let long = "x".repeat(70_000);
    assert_eq!(gateway.post("github", &long).await.status, 413);
    let coded = [("Content-Encoding", "rot13")];
    assert_eq!(gateway.post_with("github", &coded, "{}").await.status, 415);
    let listed = list(&gateway, "outcome=refused&topic=github").await;
    assert_eq!(
        texts(&listed, "reason"),
        ["coding_unknown", "body_too_long"]
    );
    let one = ask_json(&gateway, "/admin/deliveries/r-1").await;
    assert_eq!(one["request"]["method"], "POST");
    assert!(one["request"]["body"].is_null() && one["error"].is_string());
    let explained = tell(&gateway, "/admin/deliveries/r-1/explain", "")
        .await
        .json();
    assert_eq!(explained["steps"][0]["passed"], false);
    assert_eq!(
        tell(&gateway, "/admin/deliveries/r-1/take", "")
            .await
            .status,
        409
    );
}

#[tokio::test]
async fn of_a_long_body_the_beginning_is_kept_and_nothing_is_claimed_of_the_rest() {
    let gateway = gateway().await;
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(100_000));
    let signature = github_signature("wrong", long.as_bytes());
    let headers = [("X-Hub-Signature-256", &*signature)];
    assert_eq!(
        gateway.post_with("github", &headers, &long).await.status,
        401
    );
    let body = loop {
        let page = ask_json(&gateway, "/admin/deliveries/r-1").await;
        let body = &page["request"]["body"];
        if body["sha256"].is_string() {
            break body.clone();
        }
    };
    assert_eq!(
        (&body["cut"], &body["bytes"]),
        (&json!(true), &json!(long.len()))
    );
    let begin = BASE64
        .decode(body["base64"].as_str().unwrap().as_bytes())
        .unwrap();
    assert_eq!(begin, &long.as_bytes()[..65_536]);
    let expected = data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(&long));
    assert_eq!(body["sha256"], expected);
    let explained = tell(&gateway, "/admin/deliveries/r-1/explain", "")
        .await
        .json();
    let last = explained["steps"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert!(
        last["detail"]
            .as_str()
            .unwrap()
            .contains("only the first 65536"),
        "{explained}"
    );
    assert_eq!(
        (&explained["verified"], &explained["refused_as"]),
        (&json!(false), &json!("mismatch"))
    );
    assert_eq!(
        tell(&gateway, "/admin/deliveries/r-1/take", "")
            .await
            .status,
        409
    );
}

#[tokio::test]
async fn what_is_stored_needs_a_second_token_to_be_seen() {
    let gateway = Gateway::in_memory()
        .sections(SECTIONS)
        .sections("[topics.hiding]\nscheme = { kind = \"none\" }\nhide = [\"/secret\"]")
        .start()
        .await;
    let open = gateway.post("open", "{\"a\":1}").await.id();
    let hiding = gateway.post("hiding", "{\"secret\":1}").await.id();
    let mint = |claims: Value| {
        let header = jsonwebtoken::Header::default();
        let key = jsonwebtoken::EncodingKey::from_secret(TOKEN_SECRET.as_bytes());
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    };
    let exp = hookrill_testing::BEGIN_SECS + 600;
    let shows = mint(json!({"topics": ["*"], "exp": exp, "deliveries": true}));
    let full = mint(json!({"topics": ["*"], "exp": exp, "deliveries": true, "full": true}));
    let of_open = mint(json!({"topics": ["open"], "exp": exp, "deliveries": true}));
    let plain = mint(json!({"topics": ["*"], "exp": exp}));
    for (id, token, is_shown) in [
        (&open, None, false),
        (&open, Some("rubbish"), false),
        (&open, Some(&*plain), false),
        (&open, Some(&*shows), true),
        (&open, Some(&*of_open), true),
        (&hiding, Some(&*of_open), false),
        (&hiding, Some(&*shows), false),
        (&hiding, Some(&*full), true),
    ] {
        let bearer = bearer();
        let mut headers = vec![("Authorization", &*bearer)];
        headers.extend(token.map(|token| ("Hookrill-Token", token)));
        let path = format!("/admin/deliveries/{id}");
        let page = gateway.get(&path, &headers).await;
        assert_eq!(page.status, 200);
        assert_eq!(
            page.json()["request"].is_object(),
            is_shown,
            "{}",
            page.text()
        );
        assert_eq!(page.json()["withheld"].is_string(), !is_shown);
        let body = gateway.get(&format!("{path}/body"), &headers).await;
        assert_eq!(body.status, if is_shown { 200 } else { 403 });
        if is_shown {
            assert_eq!(
                body.header("content-type"),
                Some("application/octet-stream")
            );
            let disposition = body.header("content-disposition").unwrap();
            assert!(disposition.starts_with("attachment; filename="));
        }
    }
    let without_admin = gateway
        .get(
            &format!("/admin/deliveries/{open}"),
            &[("Hookrill-Token", &full)],
        )
        .await;
    assert_eq!(without_admin.status, 401);
}

#[tokio::test]
async fn an_address_tries_few_wrong_admin_tokens_and_then_one_a_second() {
    let gateway = gateway().await;
    let wrong = || gateway.get("/admin/deliveries", &[("Authorization", "Bearer wrong")]);
    for _ in 0..5 {
        assert_eq!(wrong().await.status, 401);
    }
    let limited = wrong().await;
    assert_eq!(
        (limited.status, limited.header("retry-after")),
        (429, Some("1"))
    );
    for path in ["/admin/topics", "/metrics"] {
        assert_eq!(
            ask(&gateway, path).await.status,
            429,
            "also with the right one"
        );
    }
    assert_eq!(gateway.get("/admin/topics", &[]).await.status, 401);
    gateway.advance_clock(1);
    assert_eq!(ask(&gateway, "/admin/topics").await.status, 200);
    assert_eq!(
        ask(&gateway, "/admin/topics").await.status,
        200,
        "a right one costs nothing"
    );
}
