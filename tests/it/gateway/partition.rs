//! Per-customer streams: a delivery to one topic belongs to the subtopic that
//! its signed content says.

mod many;

use futures_util::future::join_all;
use hookrill::access::{self, Claims};
use hookrill_core::Secret;

use hookrill_testing::{
    BEGIN_SECS, GITHUB_SECRET, Gateway, GatewayBuilder, Response, Subscriber, TOKEN_SECRET,
    github_signature, token,
};

/// Signed over the body, which says the id and the customer.
const PAY: &str = r#"
[topics.pay]
partition = "{/data/object/customer}"
secrets = ["It's a Secret to Everybody"]
scheme = { kind = "hmac", hash = "sha256", encoding = "hex", message = ["body"], signature = { header = "X-Hub-Signature-256", prefix = "sha256=" }, dedup_id = [{ json = "/id" }] }
"#;

fn paying(plan: GatewayBuilder) -> GatewayBuilder {
    plan.sections(PAY)
}

/// A body with this text for the customer.
fn of(customer: &str) -> String {
    format!("{{\"data\":{{\"object\":{{\"customer\":{customer}}}}}}}")
}

async fn signed(gateway: &Gateway, topic: &str, body: &str) -> Response {
    let signature = github_signature(GITHUB_SECRET, body.as_bytes());
    let headers = [("X-Hub-Signature-256", &*signature)];
    gateway.post_with(topic, &headers, body).await
}

/// Delivers to `pay`, and says to which topic the event went.
async fn delivered(gateway: &Gateway, body: &str) -> String {
    let answer = signed(gateway, "pay", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["topic"].as_str().unwrap().to_owned()
}

async fn reader(gateway: &Gateway, topic: &str, from: &str) -> Subscriber {
    let token = token(&[topic], 600);
    let path = format!("/events/{topic}?token={token}{from}");
    let mut subscriber = gateway.subscriber(&path).await;
    assert_eq!(subscriber.status(), 200, "{topic}");
    subscriber.opened().await;
    subscriber
}

async fn gets(subscriber: &mut Subscriber, bodies: &[&str]) {
    let events = subscriber.events(bodies.len()).await;
    let data: Vec<_> = events.iter().map(|event| &*event.data).collect();
    assert_eq!(data, bodies);
}

#[tokio::test]
async fn an_event_reaches_its_customer_and_the_operator_and_nobody_else() {
    let gateway = paying(Gateway::on_disk()).start().await;
    let bodies: Vec<String> = ["\"cus_1\"", "\"cus_2\"", "\"cus_12\"", "\"cus_1\""]
        .iter()
        .zip(1..)
        .map(|(customer, n)| of(&format!("{customer},\"n\":{n}")))
        .collect();
    let [one, two, twelve, one_again] = [0, 1, 2, 3].map(|n| &*bodies[n]);
    let expected = [
        ("pay.cus_1", vec![one, one_again]),
        ("pay.cus_2", vec![two]),
        ("pay.cus_12", vec![twelve]),
        ("pay", vec![one, two, twelve, one_again]),
    ];
    let mut live = Vec::new();
    for (topic, _) in &expected {
        live.push(reader(&gateway, topic, "").await);
    }
    for (body, topic) in bodies.iter().zip(["cus_1", "cus_2", "cus_12", "cus_1"]) {
        assert_eq!(delivered(&gateway, body).await, format!("pay.{topic}"));
    }
    for (subscriber, (_, shown)) in live.iter_mut().zip(&expected) {
        gets(subscriber, shown).await;
    }
    for (topic, shown) in &expected {
        let mut late = reader(&gateway, topic, "&since=earliest").await;
        gets(&mut late, shown).await;
        live.push(late);
    }
    let customer = token(&["pay.cus_1"], 600);
    for elsewhere in ["pay", "pay.cus_2", "pay.cus_12", "pay.~none"] {
        let path = format!("/events/{elsewhere}?token={customer}");
        assert_eq!(gateway.get(&path, &[]).await.status, 403, "{elsewhere}");
    }
    // Whatever else one of them was given comes before the end.
    gateway.stop().await;
    for subscriber in &mut live {
        subscriber.cut_off().await;
    }
}

#[tokio::test]
async fn an_event_is_shown_as_its_own_topic_says_and_names_where_it_was_ingested() {
    let views = "expose = [\"/id\"]\n[topics.\"pay.special\"]\nscheme = { kind = \"none\" }\n\
                 expose = [\"/data/object/customer\"]";
    let plan = Gateway::in_memory().sections(&format!("{PAY}{views}"));
    let gateway = plan.start().await;
    for (n, customer) in ["cus_1", "special"].iter().enumerate() {
        let body =
            format!("{{\"id\":\"{n}\",\"data\":{{\"object\":{{\"customer\":\"{customer}\"}}}}}}");
        delivered(&gateway, &body).await;
    }
    let path = format!(
        "/events/pay?since=earliest&format=cloudevents&token={}",
        token(&["pay"], 600)
    );
    let events = gateway.subscriber(&path).await.events(2).await;
    let envelopes = events
        .iter()
        .map(|event| serde_json::from_str::<serde_json::Value>(&event.data).unwrap());
    let shown: Vec<_> = envelopes
        .map(|envelope| {
            (
                envelope["topic"].clone(),
                envelope["data"].clone(),
                envelope["source"].clone(),
            )
        })
        .collect();
    assert_eq!(shown[0].0, "pay.cus_1");
    assert_eq!(shown[0].1, serde_json::json!({"id": "0"}));
    assert!(
        shown[0].2.as_str().unwrap().ends_with("/ingest/pay"),
        "{shown:?}"
    );
    assert_eq!(shown[1].0, "pay.special");
    assert_eq!(
        shown[1].1,
        serde_json::json!({"data": {"object": {"customer": "special"}}})
    );
}

#[tokio::test]
async fn what_names_no_customer_goes_where_no_customer_can_be() {
    let gateway = paying(Gateway::in_memory()).start().await;
    let bodies = [
        "{}".to_owned(),
        of("null"),
        of("\"\""),
        of("true"),
        of("1.5"),
        of("1e3"),
        of("{\"id\":\"cus_1\"}"),
        of("[\"cus_1\"]"),
        of("\"cus_1\"").trim_end_matches('}').to_owned(),
        format!("{}x", of("\"cus_1\"")),
        "data[object][customer]=cus_1".to_owned(),
        // No text that UTF-8 could write.
        of("\"\\ud800\""),
    ];
    for body in &bodies {
        assert_eq!(delivered(&gateway, body).await, "pay.~none", "{body}");
    }
    let named_so = of("\"~none\"");
    assert_eq!(delivered(&gateway, &named_so).await, "pay.~7Enone");
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let mut none = reader(&gateway, "pay.~none", "&since=earliest").await;
    gets(&mut none, &bodies).await;
    let mut operator = reader(&gateway, "pay", "&since=earliest").await;
    gets(&mut operator, &[&bodies[..], &[&named_so]].concat()).await;
    gateway.stop().await;
    none.cut_off().await;
}

/// A token of an identity provider for this subject, whose topics are built
/// from it.
fn subject(sub: &str) -> String {
    let claims = Claims {
        sub: Some(sub.to_owned()),
        exp: BEGIN_SECS + 600,
        ..Claims::default()
    };
    access::mint(&Secret::new(TOKEN_SECRET.as_bytes()), &claims).unwrap()
}

/// Each customer's text in JSON, the same text, and the segment it becomes.
fn hostile() -> Vec<(String, String, String)> {
    let long = "x".repeat(100_000);
    let plain = |json: &str, text: &str, segment: &str| {
        (json.to_owned(), text.to_owned(), segment.to_owned())
    };
    vec![
        plain("\"a.b\"", "a.b", "a~2Eb"),
        plain("\"a..\"", "a..", "a~2E~2E"),
        plain("\"*\"", "*", "~2A"),
        plain("\"../../cus_1\"", "../../cus_1", "~2E~2E~2F~2E~2E~2Fcus_1"),
        plain("\"a/b?c#d\"", "a/b?c#d", "a~2Fb~3Fc~23d"),
        plain("\"a%2Eb\"", "a%2Eb", "a~252Eb"),
        plain("\"a~2Eb\"", "a~2Eb", "a~7E2Eb"),
        plain("\"é\"", "é", "~C3~A9"),
        // The same letter of two characters is another customer.
        plain("\"e\\u0301\"", "e\u{301}", "e~CC~81"),
        plain("\"\\u0061\"", "a", "a"),
        plain("\"\\n\\u0000\\r\"", "\n\0\r", "~0A~00~0D"),
        plain("\" \"", " ", "~20"),
        plain("4711", "4711", "4711"),
        plain("-7", "-7", "-7"),
        plain(
            "18446744073709551615",
            "18446744073709551615",
            "18446744073709551615",
        ),
        // Of two that say different things, the last counts, as for JSON.parse
        // in each subscriber.
        plain("\"first\",\"customer\":\"last\"", "last", "last"),
        (format!("\"{long}\""), long.clone(), hashed(&long)),
        (
            format!("\"{long}.\""),
            format!("{long}."),
            hashed(&format!("{long}.")),
        ),
    ]
}

fn hashed(text: &str) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(text.as_bytes());
    format!("~sha256:{}", data_encoding::HEXLOWER.encode(&digest))
}

#[tokio::test]
async fn a_hostile_value_stays_in_its_segment_and_its_subjects_token_meets_it() {
    let issuer =
        format!("[[access.issuers]]\nsecret = \"{TOKEN_SECRET}\"\ntopics = [\"pay.{{sub}}\"]");
    let plan = Gateway::in_memory().access(&issuer);
    let gateway = paying(plan).start().await;
    let hostile = hostile();
    for (json, _, segment) in &hostile {
        assert_eq!(
            delivered(&gateway, &of(json)).await,
            format!("pay.{segment}")
        );
    }
    let mut all = Vec::new();
    for (json, text, segment) in &hostile {
        // Longer than a token may be; that its segment is the same is for
        // `access` to show.
        if text.len() > 1_000 {
            continue;
        }
        let path = format!("/events/pay.{segment}?since=earliest");
        let bearer = format!("Bearer {}", subject(text));
        let headers = [("Authorization", &*bearer)];
        let mut subscriber = gateway.subscriber_with(&path, &headers).await;
        assert_eq!(subscriber.status(), 200, "{segment}");
        gets(&mut subscriber, &[&of(json)]).await;
        all.push(subscriber);
    }
    gateway.stop().await;
    join_all(all.iter_mut().map(Subscriber::cut_off)).await;
}

#[tokio::test]
async fn of_a_key_that_comes_twice_the_last_counts_at_every_level() {
    let gateway = paying(Gateway::in_memory()).start().await;
    for (body, topic) in [
        (of("\"a\",\"customer\":\"b\""), "pay.b"),
        (of("\"a\",\"customer\":null"), "pay.~none"),
        (of("\"a\",\"c\\u0075stomer\":\"b\""), "pay.b"),
        (
            "{\"data\":{\"object\":{\"customer\":\"a\"}},\"data\":{}}".into(),
            "pay.~none",
        ),
        (
            "{\"data\":{\"object\":{\"customer\":\"a\"},\"object\":{\"customer\":\"b\"}}}".into(),
            "pay.b",
        ),
    ] {
        assert_eq!(delivered(&gateway, &body).await, topic, "{body}");
    }
}

#[tokio::test]
async fn a_delivery_under_another_url_is_refused_as_any_topic_that_nothing_configures() {
    let special = PAY
        .replace("topics.pay", "topics.\"pay.special\"")
        .replace("partition", "#");
    let any = "[topics.\"*\"]\nscheme = { kind = \"none\" }";
    let plan = paying(Gateway::in_memory())
        .sections(&special)
        .sections(any);
    let with_any = plan.start().await;
    let without = paying(Gateway::in_memory()).start().await;
    let body = of("\"cus_1\"");
    let undated = |answer: Response| {
        assert_eq!(answer.status, 401);
        let head = answer
            .head
            .lines()
            .filter(|line| !line.starts_with("date:"));
        (head.map(str::to_owned).collect::<Vec<_>>(), answer.body)
    };
    let unknown = undated(signed(&without, "nothing-configures-this", &body).await);
    for url in [
        "pay.cus_evil",
        "pay.cus_1",
        "pay.~none",
        "pay.cus_1.x",
        "pay%2Ecus_evil",
    ] {
        for gateway in [&with_any, &without] {
            assert_eq!(undated(signed(gateway, url, &body).await), unknown, "{url}");
            let path = format!("/ingest/{url}");
            assert_eq!(gateway.get(&path, &[]).await.status, 405);
        }
    }
    let mut operator = reader(&with_any, "pay", "&since=earliest").await;
    // What has a section of its own takes deliveries by itself.
    for (url, topic) in [
        ("pay", "pay.cus_1"),
        ("%70ay", "pay.cus_1"),
        ("pay.special", "pay.special"),
        ("pay.special.x", "pay.special.x"),
        ("payx", "payx"),
    ] {
        let body = body.replace("}}}", &format!("}}}},\"id\":\"{url}\"}}"));
        let answer = signed(&with_any, url, &body).await;
        assert_eq!(
            (answer.status, answer.json()["topic"].as_str()),
            (200, Some(topic))
        );
    }
    operator.events(4).await;
    let refused = "hookrill_ingest_refused_total{reason=\"topic_below_partition\"}";
    assert_eq!(with_any.metric(refused).await, 5.0);
}

/// The journal keys what it remembers by the topic that a delivery came to, not
/// by the customer's.
#[tokio::test]
async fn a_delivery_that_comes_again_is_known_also_under_another_customer() {
    let gateway = Gateway::on_disk()
        .sections(&PAY.replace("partition", "#"))
        .start()
        .await;
    let body = |id: &str, customer: &str| {
        let body = of(&format!("\"{customer}\""));
        body.replace("}}}", &format!("}}}},\"id\":\"{id}\"}}"))
    };
    let before = signed(&gateway, "pay", &body("evt_0", "cus_1")).await;
    assert_eq!(
        (before.status, before.json()["topic"].as_str()),
        (200, Some("pay"))
    );
    let folder = gateway.stop().await.unwrap();
    let restarted = paying(Gateway::in_folder(folder)).start().await;
    let first = signed(&restarted, "pay", &body("evt_1", "cus_1")).await;
    assert_eq!(first.status, 200);
    for (id, customer, earlier) in [
        ("evt_1", "cus_1", &first),
        // The provider's own signature is under it, and the id is the same.
        ("evt_1", "cus_2", &first),
        // From before there was a partition.
        ("evt_0", "cus_1", &before),
    ] {
        let again = signed(&restarted, "pay", &body(id, customer)).await;
        assert_eq!(
            (again.status, again.id()),
            (200, earlier.id()),
            "{id} {customer}"
        );
        let topic = format!("pay.{customer}");
        assert_eq!(again.json()["topic"].as_str(), Some(&*topic));
    }
    let mut operator = reader(&restarted, "pay", "&since=earliest").await;
    gets(
        &mut operator,
        &[&body("evt_0", "cus_1"), &body("evt_1", "cus_1")],
    )
    .await;
    restarted.stop().await;
    operator.cut_off().await;
}
