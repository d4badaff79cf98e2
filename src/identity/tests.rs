//! Key sets against a real server on this machine that misbehaves on demand.

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
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(answer));
        let asked = Arc::new(AtomicUsize::new(0));
        let (ends_silence, silence) = mpsc::sync_channel::<()>(0);
        let (shared, count) = (Arc::clone(&answer), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = shared.lock().unwrap().clone();
                match answer {
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

struct Pair(Ed25519KeyPair);

impl Pair {
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

struct House {
    access: Arc<Access>,
    sets: Arc<KeySets>,
    telemetry: Arc<Telemetry>,
    keeping: tokio::task::JoinHandle<()>,
}

impl Drop for House {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

const QUICK: Settings = Settings {
    age: Duration::from_secs(600),
    age_min: Duration::from_millis(10),
    age_max: Duration::from_secs(600),
    asked_pause: Duration::ZERO,
    retry: Duration::from_millis(20),
    stale_max: Duration::from_secs(600),
    fetch_time_max: Duration::from_secs(10),
};

/// What the providers at these addresses sign, each under its name.
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

impl House {
    fn of(provider: &Provider, settings: Settings) -> Self {
        let access = Arc::new(Access::new(&rules(&[(None, &provider.url)])));
        let telemetry = Telemetry::new().unwrap();
        let sets = KeySets::new(Arc::clone(&access), settings, Arc::clone(&telemetry));
        let keeper = Arc::clone(&sets);
        #[expect(clippy::disallowed_methods, reason = "the house aborts it")]
        let keeping = tokio::spawn(async move { keeper.keep().await });
        Self {
            access,
            sets,
            telemetry,
            keeping,
        }
    }

    fn takes(&self, token: &str) -> bool {
        let topics = Topics::these(vec!["a".parse().unwrap()]);
        match self.access.check(topics, Some(token), NOW) {
            Ok(_) => true,
            Err(AccessError::TokenBad(_)) => false,
            Err(other) => panic!("{other}"),
        }
    }

    /// As a request does.
    async fn takes_after_asking(&self, token: &str) -> bool {
        self.takes(token) || (self.sets.refresh(0).await && self.takes(token))
    }

    /// Waits until so many fetches have ended, of whichever sets.
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
    let (old, new) = (Pair::new(), Pair::new());
    let provider = Provider::start(set(&[old.jwk("1")]));
    let house = House::of(&provider, QUICK);
    assert!(house.takes_after_asking(&old.token("1")).await);
    provider.answer(set(&[old.jwk("1"), new.jwk("2")]));
    assert!(!house.takes(&new.token("2")));
    assert!(house.takes_after_asking(&new.token("2")).await);
    assert!(house.takes(&old.token("1")));
    provider.answer(set(&[new.jwk("2")]));
    assert!(!house.takes_after_asking(&Pair::new().token("3")).await);
    assert!(!house.takes(&old.token("1")), "kept beyond its key");
    assert!(house.takes(&new.token("2")));
}

/// Whoever asks while the first fetch is under way is answered by it. Another
/// one for the same question would race the rotation that follows, and lose
/// some of these.
#[tokio::test]
async fn who_asks_during_a_fetch_causes_no_other() {
    const HOUSES: usize = 400;
    let (old, new) = (Pair::new(), Pair::new());
    let provider = Provider::start(set(&[old.jwk("1")]));
    for house in 0..HOUSES {
        provider.answer(set(&[old.jwk("1")]));
        let gateway = House::of(&provider, QUICK);
        assert!(gateway.takes_after_asking(&old.token("1")).await);
        provider.answer(set(&[new.jwk("2")]));
        assert!(gateway.takes_after_asking(&new.token("2")).await, "{house}");
    }
}

#[tokio::test]
async fn a_set_is_fetched_again_before_it_ages_out() {
    let (old, new) = (Pair::new(), Pair::new());
    let provider = Provider::start(set(&[old.jwk("1")]));
    let settings = Settings {
        age: Duration::from_millis(10),
        ..QUICK
    };
    let house = House::of(&provider, settings);
    house.fetched(1).await;
    provider.answer(set(&[new.jwk("1")]));
    let before = provider.asked() as u64;
    house.fetched(before + 2).await;
    assert!(house.takes(&new.token("1")) && !house.takes(&old.token("1")));
}

#[tokio::test]
async fn old_keys_stay_while_the_provider_is_down_but_not_for_ever() {
    let pair = Pair::new();
    for down in [
        Answer::Status(500),
        Answer::Status(404),
        Answer::Status(302),
        Answer::Set("no JSON".into()),
        Answer::Set(format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300_000))),
        Answer::Silence,
    ] {
        let provider = Provider::start(set(&[pair.jwk("1")]));
        let settings = Settings {
            fetch_time_max: Duration::from_millis(300),
            age: Duration::from_millis(10),
            ..QUICK
        };
        let house = House::of(&provider, settings);
        house.fetched(1).await;
        provider.answer(down);
        let page = || house.telemetry.render();
        while !page().contains("hookrill_key_sets_stale 1") {
            house.sets.sets.load()[0]
                .fetched
                .subscribe()
                .changed()
                .await
                .unwrap();
        }
        assert!(house.takes(&pair.token("1")));
        provider.answer(set(&[pair.jwk("1")]));
    }
    let provider = Provider::start(set(&[pair.jwk("1")]));
    let settings = Settings {
        age: Duration::from_millis(10),
        stale_max: Duration::from_millis(1),
        ..QUICK
    };
    let house = House::of(&provider, settings);
    house.fetched(1).await;
    provider.answer(Answer::Status(500));
    while house.takes(&pair.token("1")) {
        house.sets.sets.load()[0]
            .fetched
            .subscribe()
            .changed()
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn without_keys_nothing_is_taken() {
    let pair = Pair::new();
    let provider = Provider::start(Answer::Status(500));
    let house = House::of(&provider, QUICK);
    assert!(!house.takes_after_asking(&pair.token("1")).await);
    provider.answer(set(&[pair.jwk("1")]));
    while !house.takes_after_asking(&pair.token("1")).await {}
}

#[tokio::test]
async fn all_that_wait_wait_for_one_fetch_and_a_storm_causes_no_other() {
    let pair = Pair::new();
    let provider = Provider::start(set(&[pair.jwk("1")]));
    let settings = Settings {
        asked_pause: Duration::from_secs(600),
        ..QUICK
    };
    let house = House::of(&provider, settings);
    let token = pair.token("1");
    let asking = (0..500).map(|_| house.takes_after_asking(&token));
    assert!(join_all(asking).await.into_iter().all(|taken| taken));
    assert_eq!(provider.asked(), 1);
    let made_up: Vec<String> = (0..2_000).map(|n| pair.token(&format!("x{n}"))).collect();
    let asking = made_up.iter().map(|token| house.takes_after_asking(token));
    assert!(join_all(asking).await.into_iter().all(|taken| !taken));
    assert_eq!(provider.asked(), 1);
    assert!(house.takes(&token));
}

#[tokio::test]
async fn sets_that_are_still_wanted_go_on_after_a_reload_others_end_and_new_ones_begin() {
    let pair = Pair::new();
    let provider = |kid: &str| Provider::start(set(&[pair.jwk(kid)]));
    let (first, second) = (provider("1"), provider("2"));
    let house = House::of(&first, QUICK);
    house.fetched(1).await;
    let reload = |issuers: &[(Option<&str>, &str)]| {
        assert!(house.access.reload(&rules(issuers)));
        house.sets.follow();
    };
    let count = || (first.asked(), second.asked());
    // One joins, whose tokens are asked for under no name as well.
    reload(&[(None, &first.url), (Some("b"), &second.url)]);
    house.fetched(2).await;
    assert!(house.takes(&pair.token("1")));
    assert_eq!(count(), (1, 1), "the first is kept with its keys");
    // One leaves, and comes back as somebody new.
    reload(&[(Some("b"), &second.url)]);
    assert!(!house.takes(&pair.token("1")));
    assert!(!house.sets.refresh(0).await, "nobody keeps it any more");
    reload(&[(None, &first.url), (Some("b"), &second.url)]);
    house.fetched(3).await;
    assert!(house.takes(&pair.token("1")));
    assert_eq!(count(), (2, 1));
}

#[tokio::test]
async fn a_set_that_is_not_wanted_any_more_is_not_stale() {
    let (down, up) = (
        Provider::start(Answer::Status(500)),
        Provider::start(set(&[])),
    );
    let house = House::of(&down, QUICK);
    let stale = |figure: &str| {
        let page = house.telemetry.render();
        page.contains(&format!("hookrill_key_sets_stale {figure}"))
    };
    house.fetched(1).await;
    assert!(stale("1"));
    assert!(house.access.reload(&rules(&[(None, &up.url)])));
    house.sets.follow();
    let mut fetched = house.sets.sets.load()[0].fetched.subscribe();
    if fetched.borrow_and_update().is_none() {
        fetched.changed().await.unwrap();
    }
    while !stale("0") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_key_that_its_issuer_withdraws_ends_what_it_signed() {
    let (old, new) = (Pair::new(), Pair::new());
    let provider = Provider::start(set(&[old.jwk("1")]));
    let house = House::of(&provider, QUICK);
    house.fetched(1).await;
    let topics = || Topics::these(vec!["a".parse().unwrap()]);
    let grant = house.access.check(topics(), Some(&old.token("1")), NOW);
    let grant = grant.unwrap();
    let holds = || {
        let token = grant.token().map(|token| &**token);
        house.access.still_grants(grant.topics(), token)
    };
    provider.answer(set(&[old.jwk("1"), new.jwk("2")]));
    assert!(house.takes_after_asking(&new.token("2")).await);
    assert!(holds());
    provider.answer(set(&[new.jwk("2")]));
    assert!(!house.takes_after_asking(&new.token("3")).await);
    house.sets.dropped_a_key().await;
    assert!(!holds());
}
