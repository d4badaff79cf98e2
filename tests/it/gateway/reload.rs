//! Another configuration while streams are open, over real sockets.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use hookrill_testing::{
    ADMIN_TOKEN, BEGIN_SECS, GITHUB_SECRET, Gateway, Message, Process, Subscriber, TOKEN_SECRET,
    github_signature, token,
};

mod files;
mod traffic;
mod views;

/// Open streams that have settled where they are written from: several of a
/// kind share a bundle.
async fn settled(gateway: &Gateway, topic: &str, query: &str) -> Vec<Subscriber> {
    let mut open = Vec::new();
    for _ in 0..3 {
        let path = format!("/events/{topic}{query}");
        let mut subscriber = gateway.subscriber(&path).await;
        assert_eq!(subscriber.status(), 200, "{}", subscriber.head);
        subscriber.opened().await;
        open.push(subscriber);
    }
    let id = gateway.post(topic, "settled").await.id();
    all_get(&mut open, &id).await;
    open
}

/// All of them get this event, and nothing before it.
async fn all_get(open: &mut [Subscriber], id: &str) {
    for subscriber in open {
        assert_eq!(subscriber.events(1).await[0].id, id);
    }
}

async fn all_end(open: &mut [Subscriber]) {
    for subscriber in open {
        subscriber.ended().await;
    }
}

fn signed(secret: &str) -> [(&'static str, String); 1] {
    [("X-Hub-Signature-256", github_signature(secret, b"{}"))]
}

async fn post_signed(gateway: &Gateway, secret: &str) -> u16 {
    let [(name, value)] = signed(secret);
    let answer = gateway.post_with("named", &[(name, &value)], "{}").await;
    answer.status
}

#[tokio::test]
async fn a_secret_is_rotated_and_an_open_stream_misses_nothing() {
    let mut gateway = Gateway::in_memory().start().await;
    let mut subscriber = gateway.subscriber("/events/named").await;
    subscriber.opened().await;
    assert_eq!(post_signed(&gateway, "the one before").await, 200);
    let reloaded = gateway
        .reload(&[("\"the one before\"", "\"the one to come\"")])
        .unwrap();
    assert!(reloaded.changed && reloaded.needs_restart.is_empty());
    assert_eq!(post_signed(&gateway, "the one before").await, 401);
    assert_eq!(post_signed(&gateway, "the one to come").await, 200);
    assert_eq!(post_signed(&gateway, GITHUB_SECRET).await, 200);
    let events = subscriber.events(3).await;
    let sequences: Vec<_> = events.iter().map(Message::sequence).collect();
    assert_eq!(sequences, [1, 2, 3]);
}

const NEW: &str = "[topics.new]\naccess = \"public\"\nscheme = { kind = \"none\" }";
const SHUT: &str = "[topics.shut]\nscheme = { kind = \"none\" }";
const OPEN: &str = "[topics.open]\naccess = \"public\"\nscheme = { kind = \"none\" }";

#[tokio::test]
async fn one_topic_is_added_and_another_removed() {
    let mut gateway = Gateway::in_memory().start().await;
    let query = format!("?token={}", token(&["shut", "open"], 600));
    let mut gone = settled(&gateway, "shut", &query).await;
    let mut both = gateway
        .subscriber(&format!(
            "/events?topic=open&topic=shut&token={}",
            &query[7..]
        ))
        .await;
    both.opened().await;
    let mut stays = settled(&gateway, "open", "").await;
    both.events(1).await;
    assert_eq!(gateway.post("new", "x").await.status, 401);
    assert!(gateway.reload(&[(SHUT, NEW)]).unwrap().changed);
    all_end(&mut gone).await;
    both.ended().await;
    assert_eq!(gateway.post("shut", "x").await.status, 401);
    assert_eq!(gateway.get("/events/shut", &[]).await.status, 404);
    settled(&gateway, "new", "").await;
    let id = gateway.post("open", "y").await.id();
    all_get(&mut stays, &id).await;
}

/// With nothing on its topic and no sign of life due, only a call reaches it.
#[tokio::test]
async fn a_quiet_stream_that_is_no_longer_allowed_ends_at_once_as_well() {
    let quiet = "[subscribe]\nheartbeat = \"10m\"";
    let mut gateway = Gateway::in_memory().sections(quiet).start().await;
    let mut bundled = settled(&gateway, "open", "").await;
    let mut alone = gateway.subscriber("/events/open.a").await;
    alone.opened().await;
    gateway
        .reload(&[(OPEN, &OPEN.replace("public", "token"))])
        .unwrap();
    all_end(&mut bundled).await;
    alone.ended().await;
}

#[tokio::test]
async fn a_topic_that_becomes_private_ends_who_has_no_token_and_nobody_else() {
    for router_only in [false, true] {
        let mut plan = Gateway::in_memory();
        if router_only {
            plan = plan.with_router_only();
        }
        let mut gateway = plan.sections(NEW).start().await;
        let mut without = settled(&gateway, "open", "").await;
        let mut alone = gateway.subscriber("/events?topic=open.a&topic=new").await;
        alone.opened().await;
        let mut others = settled(&gateway, "new", "").await;
        let query = format!("?token={}", token(&["shut"], 600));
        let mut with = settled(&gateway, "shut", &query).await;
        alone.events(1).await;
        let private = OPEN.replace("public", "token");
        assert!(gateway.reload(&[(OPEN, &private)]).unwrap().changed);
        // Nobody gets it who had to go before it came.
        let id = gateway.post("open", "private").await.id();
        all_end(&mut without).await;
        alone.ended().await;
        assert_eq!(gateway.get("/events/open", &[]).await.status, 401);
        let since = format!("since=earliest&token={}", token(&["open"], 600));
        let mut back = gateway.subscriber(&format!("/events/open?{since}")).await;
        assert_eq!(back.events(2).await[1].id, id);
        for (topic, open) in [("new", &mut others), ("shut", &mut with)] {
            let later = gateway.post(topic, "x").await.id();
            all_get(open, &later).await;
        }
    }
}

fn issuer(name: &str) -> String {
    format!(
        "[[access.issuers]]\nissuer = \"{name}\"\naudience = \"hookrill\"\n\
         secret = \"a secret of {name}, long enough for it\"\n"
    )
}

fn token_by(name: &str) -> String {
    let claims: Value = json!({
        "iss": name, "aud": "hookrill", "topics": ["shut"], "exp": BEGIN_SECS + 600,
    });
    let secret = format!("a secret of {name}, long enough for it");
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}

#[tokio::test]
async fn what_changes_about_an_issuer_ends_its_streams_and_no_others() {
    let (a, b) = (issuer("a"), issuer("b"));
    let rotated = a.replace("long enough", "and another");
    let elsewhere = a.replace("\"hookrill\"", "\"elsewhere\"");
    let claimed = format!("{a}topics_claim = \"may\"\n");
    for now in ["", &rotated, &elsewhere, &claimed] {
        let mut gateway = Gateway::in_memory()
            .access(&format!("{a}{b}"))
            .start()
            .await;
        let of = |name| format!("?token={}", token_by(name));
        let mut ended = settled(&gateway, "shut", &of("a")).await;
        let mut lives = settled(&gateway, "shut", &of("b")).await;
        ended[0].events(1).await;
        ended[1].events(1).await;
        ended[2].events(1).await;
        assert!(gateway.reload(&[(&a, now)]).unwrap().changed);
        let id = gateway.post("shut", "x").await.id();
        all_end(&mut ended).await;
        all_get(&mut lives, &id).await;
        let back = format!("/events/shut{}", of("a"));
        assert_eq!(gateway.get(&back, &[]).await.status, 401, "{now}");
    }
}

#[tokio::test]
async fn a_bad_configuration_is_refused_whole_and_a_good_one_is_taken_after_it() {
    let mut gateway = Gateway::in_memory().start().await;
    let mut open = settled(&gateway, "open", "").await;
    let before = gateway.toml.clone();
    // Much of it is good, and more than one thing is not.
    let bad = [
        (SHUT, NEW),
        (GITHUB_SECRET, "rotated"),
        ("secret = \"0123456789abcdef", "secret = \"too short"),
        ("preset = \"slack\"", "preset = \"slak\""),
    ];
    let shortened = [bad[0], bad[1], bad[3], (TOKEN_SECRET, "short")];
    let why = gateway.reload(&shortened).unwrap_err();
    for place in ["access.secret", "topics.slack.preset"] {
        assert!(why.contains(place), "{why}");
    }
    assert_eq!(gateway.toml, before);
    assert_eq!(gateway.post("new", "x").await.status, 401);
    assert_eq!(gateway.post("shut", "x").await.status, 200);
    assert_eq!(post_signed(&gateway, GITHUB_SECRET).await, 200);
    let query = format!("?token={}", token(&["shut"], 600));
    settled(&gateway, "shut", &query).await;
    let id = gateway.post("open", "x").await.id();
    all_get(&mut open, &id).await;
    let figures = async |asked: &Gateway| {
        let of = |result| format!("hookrill_reloads_total{{result=\"{result}\"}}");
        (
            asked.metric(&of("applied")).await,
            asked.metric(&of("rejected")).await,
            asked.metric("hookrill_reload_last_applied").await,
        )
    };
    assert_eq!(figures(&gateway).await, (0.0, 1.0, 0.0));

    let reloaded = gateway.reload(&bad[..2]).unwrap();
    assert!(reloaded.changed);
    assert_eq!(post_signed(&gateway, GITHUB_SECRET).await, 401);
    assert_eq!(gateway.post("new", "x").await.status, 200);
    let later = gateway.post("open", "x").await.id();
    all_get(&mut open, &later).await;
    assert_eq!(figures(&gateway).await, (1.0, 1.0, 1.0));
    assert!(!gateway.reload(&[]).unwrap().changed, "the same once more");
    assert!(
        !gateway
            .reload(&[(OPEN, &format!("{OPEN}\n# a word\nevent_names = false"))])
            .unwrap()
            .changed,
        "the same in other words"
    );
    assert_eq!(figures(&gateway).await, (3.0, 1.0, 1.0));
}

#[tokio::test]
async fn what_only_a_restart_can_change_is_named_and_the_rest_is_taken() {
    let mut gateway = Gateway::in_memory().start().await;
    let reloaded = gateway.reload(&[
        (SHUT, NEW),
        (
            "listen = \"127.0.0.1:0\"",
            "listen = \"127.0.0.1:1\"\nbody_bytes_max = \"1 KiB\"\nsubscribers_max = 1\n\
             shutdown_delay = \"1s\"\nshutdown_grace = \"3s\"\nmetrics_public = true",
        ),
        (
            "kind = \"memory\"",
            "kind = \"memory\"\nretain_age = \"1h\"\nretain_bytes = \"9 MiB\"\n\
             dedup_entries_max = 1000\n[log]\nlevel = \"debug\"\nformat = \"json\"\n\
             [subscribe]\nheartbeat = \"9s\"\nretry = \"2s\"",
        ),
        ("event_names = true", ""),
    ]);
    let reloaded = reloaded.unwrap();
    let mut named = reloaded.needs_restart.clone();
    named.sort_unstable();
    assert_eq!(
        named,
        [
            "journal.dedup_entries_max",
            "journal.retain_age",
            "journal.retain_bytes",
            "log.format",
            "log.level",
            "server.body_bytes_max",
            "server.listen",
            "server.shutdown_delay",
            "server.shutdown_grace",
            "server.subscribers_max",
            "subscribe.heartbeat",
            "subscribe.retry",
        ]
    );
    let again = gateway.reload(&[]).unwrap();
    assert_eq!(
        (again.changed, again.needs_restart),
        (false, reloaded.needs_restart)
    );
    // The rest holds, and these bounds are as they were.
    assert_eq!(gateway.post("new", "x".repeat(2_000)).await.status, 200);
    let _one = settled(&gateway, "new", "").await;
    assert_eq!(gateway.get("/metrics", &[]).await.status, 200);
}

#[tokio::test]
async fn who_the_operator_is_and_which_origins_may_listen_is_taken_too() {
    let mut gateway = Gateway::in_memory().start().await;
    let mut open = settled(&gateway, "open", "").await;
    let metrics = async |asked: &Gateway, token: &str| {
        let bearer = format!("Bearer {token}");
        let page = asked.get("/metrics", &[("Authorization", &bearer)]).await;
        page.status
    };
    let allowed = async |asked: &Gateway, origin: &str| {
        let headers = [("Origin", origin), ("Accept", "*/*")];
        let answer = asked.get("/events/x", &headers).await;
        let header = |name| answer.header(name).map(str::to_owned);
        (
            header("access-control-allow-origin"),
            header("access-control-allow-credentials"),
        )
    };
    let app = "https://app.example.com";
    assert_eq!(allowed(&gateway, app).await, (None, None));
    let admin = format!("admin_token = \"{ADMIN_TOKEN}\"");
    let one = format!("admin_token = \"another-operators-token\"\ncors_origins = [\"{app}\"]");
    gateway.reload(&[(&admin, &one)]).unwrap();
    assert_eq!(metrics(&gateway, ADMIN_TOKEN).await, 401);
    assert_eq!(metrics(&gateway, "another-operators-token").await, 200);
    let credentials = Some("true".to_owned());
    assert_eq!(
        allowed(&gateway, app).await,
        (Some(app.into()), credentials)
    );
    assert_eq!(allowed(&gateway, "https://evil.example.com").await.0, None);
    gateway.reload(&[(&format!("\"{app}\""), "\"*\"")]).unwrap();
    assert_eq!(allowed(&gateway, app).await, (Some("*".into()), None));
    gateway.reload(&[("cors_origins = [\"*\"]", "")]).unwrap();
    assert_eq!(allowed(&gateway, app).await, (None, None));
    let id = gateway.post("open", "x").await.id();
    all_get(&mut open, &id).await;
}

/// In memory as well, where there is no file to read it from again.
#[tokio::test]
async fn a_secret_that_a_provider_handed_over_survives_a_reload() {
    const ASANA: &str = "[topics.asana]\npreset = \"asana\"\naccess = \"public\"";
    for plan in [Gateway::in_memory(), Gateway::on_disk()] {
        let mut gateway = plan.sections(ASANA).start().await;
        let handed = [("X-Hook-Secret", "handed over")];
        let answer = gateway.post_with("asana", &handed, "{}").await;
        assert_eq!(answer.header("x-hook-secret"), Some("handed over"));
        let body = br#"{"events":[{"action":"changed"}]}"#;
        let signature = github_signature("handed over", body).replace("sha256=", "");
        for dedup in ["1h", "2h"] {
            let changed = format!("{ASANA}\ndedup = \"{dedup}\"");
            let reloaded = gateway.reload(&[(ASANA, &changed)]).unwrap();
            assert!(reloaded.changed);
            let signed = [("X-Hook-Signature", &*signature)];
            let status = gateway.post_with("asana", &signed, body).await.status;
            assert_eq!(status, 200);
            let other = [("X-Hook-Secret", "somebody else's")];
            assert_eq!(gateway.post_with("asana", &other, "{}").await.status, 401);
            gateway.reload(&[(&changed, ASANA)]).unwrap();
        }
    }
}
