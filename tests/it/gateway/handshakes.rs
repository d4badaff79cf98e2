//! What providers ask before they send events, over real sockets.

use hookrill_testing::{GITHUB_SECRET, Gateway, GatewayBuilder, github_signature};

const TOPICS: &str = r#"
[topics.meta]
preset = "meta"
access = "public"
secrets = ["app secret"]
verify_token = "a word"
[topics.dropbox]
preset = "dropbox"
access = "public"
secrets = ["app secret"]
[topics.trello]
preset = "trello"
access = "public"
secrets = ["app secret"]
[topics.asana]
preset = "asana"
access = "public"
"#;

fn gateway() -> GatewayBuilder {
    Gateway::on_disk()
        .server("public_url = \"https://hooks.example.com\"")
        .sections(TOPICS)
}

fn hex(secret: &str, body: &[u8]) -> String {
    github_signature(secret, body).replace("sha256=", "")
}

#[tokio::test]
async fn a_challenge_is_echoed_as_text_that_no_browser_runs_and_nothing_is_stored() {
    let gateway = gateway().start().await;
    let script = "%3Cscript%3Ealert(1)%3C/script%3E";
    for path in [
        format!("/ingest/dropbox?challenge={script}"),
        format!("/ingest/dropbox.sub?challenge={script}"),
        format!("/ingest/meta?hub.mode=subscribe&hub.verify_token=a%20word&hub.challenge={script}"),
    ] {
        let answer = gateway.get(&path, &[]).await;
        let said = (answer.status, answer.text());
        assert_eq!(said, (200, "<script>alert(1)</script>"), "{path}");
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("transfer-encoding"), None, "not chunked");
    }
    assert_eq!(gateway.metric("hookrill_handshakes_total").await, 3.0);
    assert_eq!(gateway.metric("hookrill_ingested_total").await, 0.0);
}

#[tokio::test]
async fn a_handshake_that_is_not_verified_looks_like_a_topic_without_one() {
    let gateway = gateway().start().await;
    let refused = gateway.get("/ingest/named", &[]).await;
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("POST"))
    );
    let long = format!("/ingest/dropbox?challenge={}", "a".repeat(1025));
    for path in [
        "/ingest/meta?hub.mode=subscribe&hub.verify_token=guess&hub.challenge=1",
        "/ingest/meta?hub.mode=subscribe&hub.challenge=1",
        "/ingest/meta",
        "/ingest/dropbox",
        "/ingest/dropbox?challenge=%0d%0aSet-Cookie:%20a=b",
        &long,
        "/ingest/asana",
        "/ingest/unknown?challenge=1",
        "/ingest/a..b?challenge=1",
    ] {
        let answer = gateway.get(path, &[]).await;
        let undated = |head: &str| {
            let lines = head.lines().filter(|line| !line.starts_with("date:"));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(undated(&answer.head), undated(&refused.head), "{path}");
        assert_eq!(answer.text(), refused.text(), "{path}");
    }
    assert_eq!(gateway.metric("hookrill_handshakes_total").await, 0.0);
}

#[tokio::test]
async fn a_head_is_answered_where_the_provider_asks_by_it() {
    let gateway = gateway().start().await;
    let ask = async |topic: &str| {
        let head = format!("HEAD /ingest/{topic} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        gateway.send(head).await.status
    };
    assert_eq!(ask("trello").await, 200);
    assert_eq!(ask("dropbox").await, 405);
    assert_eq!(ask("named").await, 405);
}

#[tokio::test]
async fn a_secret_that_is_handed_over_is_kept_over_a_restart_and_never_replaced() {
    let gateway = gateway().start().await;
    let hand = |word| [("X-Hook-Secret", word)];
    let body = br#"{"events":[]}"#;
    let given = hex("given", body);
    let signed = [("X-Hook-Signature", &*given)];
    assert_eq!(gateway.post_with("asana", &signed, body).await.status, 401);
    // Not below the section's name, where anybody could open a topic.
    let below = gateway.post_with("asana.mine", &hand("mine"), b"{}").await;
    assert_eq!(below.status, 401);

    let taken = gateway.post_with("asana", &hand("given"), b"{}").await;
    assert_eq!((taken.status, taken.text()), (200, ""));
    assert_eq!(taken.header("x-hook-secret"), Some("given"));
    assert_eq!(gateway.post_with("asana", &signed, body).await.status, 200);
    let again = gateway.post_with("asana", &hand("given"), b"{}").await;
    assert_eq!(again.status, 200);
    for other in ["another", "give"] {
        let refused = gateway.post_with("asana", &hand(other), b"{}").await;
        assert_eq!(
            (refused.status, refused.header("x-hook-secret")),
            (401, None)
        );
    }

    let folder = gateway.stop().await.unwrap();
    let restarted = Gateway::in_folder(folder)
        .sections(TOPICS)
        .server("public_url = \"https://hooks.example.com\"")
        .start()
        .await;
    let signature = hex("given", b"{}");
    let empty = [("X-Hook-Signature", &*signature)];
    assert_eq!(
        restarted.post_with("asana", &empty, b"{}").await.status,
        200
    );
    let refused = restarted.post_with("asana", &hand("another"), b"{}").await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn two_hand_overs_at_once_leave_one_secret_that_both_memory_and_disk_know() {
    let gateway = gateway().start().await;
    let words: Vec<String> = (0..8).map(|i| format!("secret-{i}")).collect();
    let hands = words.iter().map(|word| {
        let headers = [("X-Hook-Secret", &**word)];
        let gateway = &gateway;
        async move { gateway.post_with("asana", &headers, b"{}").await.status }
    });
    let statuses = futures_util::future::join_all(hands).await;
    let taken: Vec<_> = statuses.iter().filter(|status| **status == 200).collect();
    assert_eq!(taken.len(), 1, "{statuses:?}");
    let winner = &words[statuses.iter().position(|status| *status == 200).unwrap()];
    let signature = hex(winner, b"{}");
    let signed = [("X-Hook-Signature", &*signature)];
    assert_eq!(gateway.post_with("asana", &signed, b"{}").await.status, 200);
}

#[tokio::test]
async fn a_kept_secret_that_makes_no_sense_is_an_error_at_start() {
    let folder = gateway().start().await.stop().await.unwrap();
    let kept = folder.path().join("provisioned-secrets");
    std::fs::create_dir_all(&kept).unwrap();
    std::fs::write(kept.join("asana"), "").unwrap();
    let start = Gateway::in_folder(folder)
        .server("public_url = \"https://hooks.example.com\"")
        .sections(TOPICS);
    let Err(error) = start.try_start().await else {
        panic!("started");
    };
    assert!(
        error.contains("delete it and let the provider send"),
        "{error}"
    );
}

#[tokio::test]
async fn by_body_a_replay_under_a_fresh_id_is_known() {
    let sections = format!(
        "[topics.by_body]\npreset = \"github\"\naccess = \"public\"\n\
         secrets = [\"{GITHUB_SECRET}\"]\ndedup_by = \"body\"\n\
         [topics.by_id]\npreset = \"github\"\naccess = \"public\"\nsecrets = [\"{GITHUB_SECRET}\"]"
    );
    let gateway = Gateway::on_disk().sections(&sections).start().await;
    let body = b"{\"zen\":1}";
    let signature = github_signature(GITHUB_SECRET, body);
    for (topic, again) in [("by_body", true), ("by_id", false)] {
        let mut duplicates = Vec::new();
        for id in ["d-1", "d-2"] {
            let headers = [
                ("X-Hub-Signature-256", &*signature),
                ("X-GitHub-Delivery", id),
            ];
            let answer = gateway.post_with(topic, &headers, body).await;
            assert_eq!(answer.status, 200);
            duplicates.push(answer.json()["duplicate"].as_bool().unwrap());
        }
        assert_eq!(duplicates, [false, again], "{topic}");
    }
}

#[tokio::test]
async fn a_form_in_another_order_is_the_same_delivery() {
    // Twilio's signature holds for every order of the fields, and where bytes
    // are moved from a name to its value.
    let sections =
        "[topics.twilio]\npreset = \"twilio\"\naccess = \"public\"\nsecrets = [\"12345\"]";
    let gateway = Gateway::on_disk()
        .server("public_url = \"https://mycompany.com\"")
        .sections(sections)
        .start()
        .await;
    let signature = twilio("12345", "https://mycompany.com/ingest/twilioBodyhiFrom+1");
    let headers = [
        ("X-Twilio-Signature", &*signature),
        ("I-Twilio-Idempotency-Token", "t-1"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let first = gateway
        .post_with("twilio", &headers, b"Body=hi&From=%2B1")
        .await;
    assert_eq!((first.status, first.text()), (200, "<Response/>"));
    for again in [
        &b"From=%2B1&Body=hi"[..],
        b"Bodyhi=&From=%2B1",
        b"Body=hiFrom%2B1",
    ] {
        let answer = gateway.post_with("twilio", &headers, again).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(gateway.metric("hookrill_ingested_total").await, 1.0);
    assert_eq!(gateway.metric("hookrill_duplicates_total").await, 3.0);
}

fn twilio(secret: &str, message: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    data_encoding::BASE64.encode(&mac.finalize().into_bytes())
}

/// CloudEvents' HTTP 1.1 Web Hooks, section 4, as Event Grid and others send it.
#[tokio::test]
async fn an_offer_by_options_is_answered_where_the_section_says_so_and_nowhere_else() {
    let sections = r#"
[topics.grid]
access = "public"
secrets = ["hush"]
[topics.grid.scheme]
kind = "token"
token = { query = "key" }
[[topics.grid.scheme.challenge]]
method = "OPTIONS"
before_verification = false
when = [{ at = { header = "WebHook-Request-Origin" } }]
[topics.grid.scheme.challenge.headers]
WebHook-Allowed-Origin = { echo = { header = "WebHook-Request-Origin" } }
WebHook-Allowed-Rate = { literal = "*" }
"#;
    let gateway = gateway()
        .server("cors_origins = [\"https://page.example\"]")
        .sections(sections)
        .start()
        .await;
    let ask = async |target: &str, header: &str| {
        let request = format!(
            "OPTIONS /ingest/{target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{header}\r\n"
        );
        gateway.send(request).await
    };
    let origin = "WebHook-Request-Origin: eventgrid.azure.net\r\n";
    let answer = ask("grid?key=hush", origin).await;
    assert_eq!((answer.status, answer.text()), (200, ""));
    let allowed = answer.header("webhook-allowed-origin");
    assert_eq!(allowed, Some("eventgrid.azure.net"));
    assert_eq!(answer.header("webhook-allowed-rate"), Some("*"));
    for (target, header) in [
        ("grid", origin),
        ("grid?key=hus", origin),
        ("grid?key=hush", ""),
        ("dropbox", origin),
        ("unknown", origin),
    ] {
        let refused = ask(target, header).await;
        assert_eq!(refused.status, 405, "{target}");
        assert_eq!(refused.header("webhook-allowed-origin"), None, "{target}");
    }
    assert_eq!(gateway.metric("hookrill_ingested_total").await, 0.0);
}
