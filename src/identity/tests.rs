//! Key sets of a real server on this machine that misbehaves on demand.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use data_encoding::BASE64URL_NOPAD;
use futures_util::future::join_all;
use hookrill_core::{Timestamp, TopicMap, Topics};
use serde_json::{Value, json};

use super::*;
use crate::access::{AccessError, Issuer, KeySource, Policy, TopicSource};

const NOW: Timestamp = Timestamp::from_unix_secs(1_000_000);

/// What the provider answers.
#[derive(Clone)]
enum Answer {
    Set(String),
    Status(u16),
    /// Nothing, until the test ends.
    Silence,
}

/// An identity provider.
struct Provider {
    url: String,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    _ends_silence: mpsc::SyncSender<()>,
}

impl Provider {
    fn start(first: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(first));
        let asked = Arc::new(AtomicUsize::new(0));
        let (ends_silence, silence) = mpsc::sync_channel::<()>(0);
        let (newest, count) = (Arc::clone(&answer), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let now = newest.lock().unwrap().clone();
                match now {
                    Answer::Set(set) => say(stream.unwrap(), 200, &set),
                    Answer::Status(status) => say(stream.unwrap(), status, "{\"keys\":[]}"),
                    // Ends with the test, which drops the other half.
                    Answer::Silence => _ = silence.recv(),
                }
            }
        });
        Self {
            url,
            answer,
            asked,
            _ends_silence: ends_silence,
        }
    }

    fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn say(mut stream: TcpStream, status: u16, body: &str) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        request.push(byte[0]);
    }
    let length = body.len();
    let head = format!("HTTP/1.1 {status} S\r\nLocation: /other\r\nConnection: close\r\n");
    _ = write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}");
}

struct ProviderKey(Ed25519KeyPair);

impl ProviderKey {
    fn new() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    fn token(&self, kid: &str) -> String {
        let part = |json: Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
        let header = part(json!({"alg": "EdDSA", "kid": kid}));
        let claims = json!({"aud": "h", "topics": ["a"], "exp": 1_000_100});
        let message = format!("{header}.{}", part(claims));
        let signature = self.0.sign(message.as_bytes());
        format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }

    fn jwk(&self, kid: &str) -> Value {
        let x = BASE64URL_NOPAD.encode(self.0.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
    }
}

fn set(keys: &[Value]) -> Answer {
    Answer::Set(json!({"keys": keys}).to_string())
}

struct Fixture {
    access: Arc<Access>,
    sets: Arc<KeySets>,
    telemetry: Arc<Telemetry>,
    running: tokio::task::JoinHandle<()>,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.running.abort();
    }
}

const QUICK: Settings = Settings {
    age: Duration::from_secs(600),
    age_min: Duration::from_millis(10),
    age_max: Duration::from_secs(600),
    refresh_pause: Duration::ZERO,
    retry: Duration::from_millis(20),
    stale_max: Duration::from_secs(600),
    fetch_time_max: Duration::from_secs(10),
};

/// Issuers with the key sets at these URLs, each under its name.
fn rules(issuers: &[(Option<&str>, &str)]) -> crate::access::Settings {
    let issuers = issuers.iter().map(|(name, url)| Issuer {
        name: name.map(Into::into),
        audience: ["h".into()].into(),
        keys: KeySource::Url((*url).into()),
        topics: TopicSource::Claim("topics".into()),
    });
    crate::access::Settings {
        secret: None,
        issuers: issuers.collect(),
        leeway: Duration::ZERO,
        token_ttl_max: None,
        policies: TopicMap::new([].into(), Some(Policy::Token)),
    }
}

impl Fixture {
    fn new(provider: &Provider, settings: Settings) -> Self {
        let access = Arc::new(Access::new(&rules(&[(None, &provider.url)])));
        let telemetry = Telemetry::new().unwrap();
        let sets = KeySets::new(Arc::clone(&access), settings, Arc::clone(&telemetry));
        let keeper = Arc::clone(&sets);
        #[expect(clippy::disallowed_methods, reason = "dropping the fixture aborts it")]
        let running = tokio::spawn(async move { keeper.run().await });
        Self {
            access,
            sets,
            telemetry,
            running,
        }
    }

    fn accepts(&self, token: &str) -> bool {
        let topics = Topics::these(vec!["a".parse().unwrap()]);
        match self.access.check(topics, Some(token), NOW) {
            Ok(_) => true,
            Err(AccessError::TokenBad(_)) => false,
            Err(other) => panic!("{other}"),
        }
    }

    /// As a request is checked.
    async fn accepts_after_refresh(&self, token: &str) -> bool {
        self.accepts(token) || (self.sets.refresh(0).await && self.accepts(token))
    }

    /// Waits until so many fetches have ended, of any set.
    async fn fetched(&self, count: u64) {
        let ended = || {
            let page = self.telemetry.render();
            let figure = |name: &str| -> u64 {
                let line = page.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap().trim().parse().unwrap()
            };
            figure("hookrill_key_fetches_total ") + figure("hookrill_key_fetches_failed_total ")
        };
        while ended() < count {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_rotated_key_is_fetched_when_it_is_first_seen_and_the_old_one_ends() {
    let (old, new) = (ProviderKey::new(), ProviderKey::new());
    let provider = Provider::start(set(&[old.jwk("1")]));
    let fixture = Fixture::new(&provider, QUICK);
    assert!(fixture.accepts_after_refresh(&old.token("1")).await);
    provider.answer(set(&[old.jwk("1"), new.jwk("2")]));
    assert!(!fixture.accepts(&new.token("2")));
    assert!(fixture.accepts_after_refresh(&new.token("2")).await);
    assert!(fixture.accepts(&old.token("1")));
    provider.answer(set(&[new.jwk("2")]));
    assert!(
        !fixture
            .accepts_after_refresh(&ProviderKey::new().token("3"))
            .await
    );
    assert!(!fixture.accepts(&old.token("1")), "cached beyond its key");
    assert!(fixture.accepts(&new.token("2")));
}

/// A request during the first fetch is answered by it. Another fetch for the
/// same request would race the rotation that follows, and lose
/// some of these.
#[tokio::test]
async fn a_request_during_a_fetch_causes_no_other() {
    const ROUNDS: usize = 400;
    let (old, new) = (ProviderKey::new(), ProviderKey::new());
    let provider = Provider::start(set(&[old.jwk("1")]));
    for round in 0..ROUNDS {
        provider.answer(set(&[old.jwk("1")]));
        let fixture = Fixture::new(&provider, QUICK);
        assert!(fixture.accepts_after_refresh(&old.token("1")).await);
        provider.answer(set(&[new.jwk("2")]));
        assert!(
            fixture.accepts_after_refresh(&new.token("2")).await,
            "{round}"
        );
    }
}

#[tokio::test]
async fn a_set_is_fetched_again_before_it_ages_out() {
    let (old, new) = (ProviderKey::new(), ProviderKey::new());
    let provider = Provider::start(set(&[old.jwk("1")]));
    let settings = Settings {
        age: Duration::from_millis(10),
        ..QUICK
    };
    let fixture = Fixture::new(&provider, settings);
    fixture.fetched(1).await;
    provider.answer(set(&[new.jwk("1")]));
    let before = provider.asked() as u64;
    fixture.fetched(before + 2).await;
    assert!(fixture.accepts(&new.token("1")) && !fixture.accepts(&old.token("1")));
}

#[tokio::test]
async fn old_keys_stay_while_the_provider_is_down_but_not_for_ever() {
    let key = ProviderKey::new();
    for down in [
        Answer::Status(500),
        Answer::Status(404),
        Answer::Status(302),
        Answer::Set("no JSON".into()),
        Answer::Set(format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300_000))),
        Answer::Silence,
    ] {
        let provider = Provider::start(set(&[key.jwk("1")]));
        let settings = Settings {
            fetch_time_max: Duration::from_millis(300),
            age: Duration::from_millis(10),
            ..QUICK
        };
        let fixture = Fixture::new(&provider, settings);
        fixture.fetched(1).await;
        provider.answer(down);
        let page = || fixture.telemetry.render();
        while !page().contains("hookrill_key_sets_stale 1") {
            fixture.sets.sets.load()[0].until_fetched().await;
        }
        assert!(fixture.accepts(&key.token("1")));
        provider.answer(set(&[key.jwk("1")]));
    }
    let provider = Provider::start(set(&[key.jwk("1")]));
    let settings = Settings {
        age: Duration::from_millis(10),
        stale_max: Duration::from_millis(1),
        ..QUICK
    };
    let fixture = Fixture::new(&provider, settings);
    fixture.fetched(1).await;
    provider.answer(Answer::Status(500));
    while fixture.accepts(&key.token("1")) {
        fixture.sets.sets.load()[0].until_fetched().await;
    }
}

#[tokio::test]
async fn without_keys_every_token_is_refused() {
    let key = ProviderKey::new();
    let provider = Provider::start(Answer::Status(500));
    let fixture = Fixture::new(&provider, QUICK);
    assert!(!fixture.accepts_after_refresh(&key.token("1")).await);
    provider.answer(set(&[key.jwk("1")]));
    while !fixture.accepts_after_refresh(&key.token("1")).await {}
}

#[tokio::test]
async fn all_that_wait_share_one_fetch_and_a_storm_causes_no_other() {
    let key = ProviderKey::new();
    let provider = Provider::start(set(&[key.jwk("1")]));
    let settings = Settings {
        refresh_pause: Duration::from_secs(600),
        ..QUICK
    };
    let fixture = Fixture::new(&provider, settings);
    let good = key.token("1");
    let waiting = (0..500).map(|_| fixture.accepts_after_refresh(&good));
    assert!(join_all(waiting).await.into_iter().all(|accepted| accepted));
    assert_eq!(provider.asked(), 1);
    let made_up: Vec<String> = (0..2_000).map(|n| key.token(&format!("x{n}"))).collect();
    let storm = made_up
        .iter()
        .map(|token| fixture.accepts_after_refresh(token));
    assert!(join_all(storm).await.into_iter().all(|accepted| !accepted));
    assert_eq!(provider.asked(), 1);
    assert!(fixture.accepts(&good));
}

#[tokio::test]
async fn sets_that_are_still_needed_stay_after_a_reload_others_end_and_new_ones_start() {
    let key = ProviderKey::new();
    let provider = |kid: &str| Provider::start(set(&[key.jwk(kid)]));
    let (first, second) = (provider("1"), provider("2"));
    let fixture = Fixture::new(&first, QUICK);
    fixture.fetched(1).await;
    let reload = |issuers: &[(Option<&str>, &str)]| {
        assert!(fixture.access.reload(&rules(issuers)));
        fixture.sets.reload();
    };
    let count = || (first.asked(), second.asked());
    // A second one is added; tokens without a name are for the first still.
    reload(&[(None, &first.url), (Some("b"), &second.url)]);
    fixture.fetched(2).await;
    assert!(fixture.accepts(&key.token("1")));
    assert_eq!(count(), (1, 1), "the first keeps its keys");
    // The first is removed, and comes back as a new one.
    reload(&[(Some("b"), &second.url)]);
    assert!(!fixture.accepts(&key.token("1")));
    assert!(!fixture.sets.refresh(0).await, "the set was removed");
    reload(&[(None, &first.url), (Some("b"), &second.url)]);
    fixture.fetched(3).await;
    assert!(fixture.accepts(&key.token("1")));
    assert_eq!(count(), (2, 1));
}

#[tokio::test]
async fn a_set_that_was_removed_is_not_stale() {
    let (down, up) = (
        Provider::start(Answer::Status(500)),
        Provider::start(set(&[])),
    );
    let fixture = Fixture::new(&down, QUICK);
    let stale = |figure: &str| {
        let page = fixture.telemetry.render();
        page.contains(&format!("hookrill_key_sets_stale {figure}"))
    };
    fixture.fetched(1).await;
    assert!(stale("1"));
    assert!(fixture.access.reload(&rules(&[(None, &up.url)])));
    fixture.sets.reload();
    fixture.sets.sets.load()[0].until_first_fetched().await;
    while !stale("0") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_key_that_its_issuer_withdraws_ends_what_it_signed() {
    let (old, new) = (ProviderKey::new(), ProviderKey::new());
    let provider = Provider::start(set(&[old.jwk("1")]));
    let fixture = Fixture::new(&provider, QUICK);
    fixture.fetched(1).await;
    let topics = || Topics::these(vec!["a".parse().unwrap()]);
    let grant = fixture.access.check(topics(), Some(&old.token("1")), NOW);
    let grant = grant.unwrap();
    let holds = || {
        let token = grant.token().map(|token| &**token);
        fixture.access.still_grants(grant.topics(), token)
    };
    provider.answer(set(&[old.jwk("1"), new.jwk("2")]));
    assert!(fixture.accepts_after_refresh(&new.token("2")).await);
    assert!(holds());
    provider.answer(set(&[new.jwk("2")]));
    assert!(!fixture.accepts_after_refresh(&new.token("3")).await);
    fixture.sets.key_dropped().await;
    assert!(!holds());
}
