//! Tokens that are valid and tokens that are not.

use data_encoding::BASE64URL_NOPAD;
use hookrill_core::Topic;
use jsonwebtoken::DecodingKey;
use serde_json::{Value, json};

use super::{rules::parse_topics, token_cache::token_hash, *};

mod issuers;
mod reload;

const NOW: Timestamp = Timestamp::from_unix_secs(1_000_000);

fn secret() -> Secret {
    Secret::new(*b"0123456789abcdef0123456789abcdef")
}

fn access() -> Access {
    let topic = |name: &str| name.parse().unwrap();
    let named = [
        (topic("open"), Policy::Public),
        (topic("shut"), Policy::Token),
    ];
    Access::new(&Settings {
        secret: Some(secret()),
        issuers: Vec::new(),
        leeway: Duration::from_secs(5),
        token_ttl_max: None,
        policies: TopicMap::new(named.into(), None),
    })
}

fn topics(names: &[&str]) -> Topics {
    Topics::these(names.iter().map(|name| name.parse().unwrap()).collect())
}

fn signed(algorithm: Algorithm, claims: &Value, key: &[u8]) -> String {
    jsonwebtoken::encode(
        &Header::new(algorithm),
        claims,
        &EncodingKey::from_secret(key),
    )
    .unwrap()
}

fn token(claims: &Value) -> String {
    signed(Algorithm::HS256, claims, secret().expose())
}

#[test]
fn public_topics_need_no_token_and_ignore_a_bad_one() {
    let grant = access().check(topics(&["open.a"]), Some("rubbish"), NOW);
    assert_eq!(grant.unwrap().expires_at(), None);
}

#[test]
fn a_token_covers_its_topics_and_what_is_below_them() {
    let shut = token(&json!({"topics": ["shut.a"], "exp": 1_000_010}));
    let all = token(&json!({"topics": ["*"], "exp": 1_000_010}));
    let unknown = |name: &str| AccessError::UnknownTopic(name.parse().unwrap());
    let not_covered = |name: &str| AccessError::NotCovered(name.into());
    for (wanted, token, expected) in [
        (topics(&["shut.a"]), Some(&shut), Ok(())),
        (topics(&["shut.a.b", "open"]), Some(&shut), Ok(())),
        (topics(&["shut"]), Some(&shut), Err(not_covered("shut"))),
        (
            topics(&["shut.ab"]),
            Some(&shut),
            Err(not_covered("shut.ab")),
        ),
        (topics(&["other"]), Some(&all), Err(unknown("other"))),
        (topics(&["shut"]), None, Err(AccessError::TokenMissing)),
        (
            topics(&["shut", "open"]),
            None,
            Err(AccessError::TokenMissing),
        ),
        (Topics::All, Some(&shut), Err(not_covered("*"))),
        (Topics::All, None, Err(AccessError::TokenMissing)),
        (Topics::All, Some(&all), Ok(())),
    ] {
        let granted = access().check(wanted.clone(), token.map(String::as_str), NOW);
        assert_eq!(granted.map(|_| ()), expected, "{wanted:?}");
    }
}

#[test]
fn admission_and_the_end_of_the_stream_are_one_instant() {
    let token = token(&json!({"topics": ["shut"], "exp": 1_000_000}));
    let at = |secs: u64, ms: u64| {
        let now = Timestamp::from_unix_ms(secs * 1000 + ms);
        access().check(topics(&["shut"]), Some(&token), now)
    };
    let ends = Timestamp::from_unix_secs(1_000_005);
    assert_eq!(at(1_000_004, 999).unwrap().expires_at(), Some(ends));
    let expired = AccessError::TokenBad(TokenError::Expired);
    assert_eq!(at(1_000_005, 0), Err(expired));
}

#[test]
fn a_token_that_is_not_valid_is_refused() {
    let good = json!({"topics": ["shut"], "exp": 1_000_010});
    let unsigned = {
        let part = |json: Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
        format!("{}.{}.", part(json!({"alg": "none"})), part(good.clone()))
    };
    let hs512 = signed(Algorithm::HS512, &good, secret().expose());
    let other_key = signed(Algorithm::HS256, &good, b"another secret");
    let mut changed = token(&good);
    changed.replace_range(changed.len() - 5..changed.len() - 4, "-");
    for (bad, why) in [
        (String::new(), TokenError::Signature),
        ("a.b.c".into(), TokenError::Signature),
        (unsigned, TokenError::Signature),
        (hs512, TokenError::Signature),
        (other_key, TokenError::Signature),
        (changed, TokenError::Signature),
        ("x".repeat(TOKEN_BYTES_MAX + 1), TokenError::Long),
        (token(&json!({"topics": ["shut"]})), TokenError::Claims),
        (token(&json!({"exp": 1_000_010})), TokenError::Claims),
        (
            token(&json!({"topics": "shut", "exp": 1_000_010})),
            TokenError::Claims,
        ),
        (
            token(&json!({"topics": ["a b"], "exp": 1_000_010})),
            TokenError::Claims,
        ),
        (
            token(&json!({"topics": ["shut"], "exp": "soon"})),
            TokenError::Claims,
        ),
        (
            token(&json!({"topics": ["shut"], "exp": 1e300})),
            TokenError::Claims,
        ),
        (
            token(&json!({"topics": ["shut"], "exp": -1})),
            TokenError::Claims,
        ),
        (
            token(&json!({"topics": ["shut"], "exp": 999_995})),
            TokenError::Expired,
        ),
        (
            token(&json!({"topics": ["shut"], "exp": 1_000_010, "nbf": 1_000_006})),
            TokenError::NotYet,
        ),
    ] {
        let granted = access().check(topics(&["shut"]), Some(&bad), NOW);
        assert_eq!(granted, Err(AccessError::TokenBad(why)), "{bad}");
    }
}

#[test]
fn a_time_may_have_a_fraction() {
    let token = token(&json!({"topics": ["shut"], "exp": 1_000_010.9, "nbf": 999_999.5}));
    let granted = access()
        .check(topics(&["shut"]), Some(&token), NOW)
        .unwrap();
    let ends = Timestamp::from_unix_secs(1_000_015);
    assert_eq!(granted.expires_at(), Some(ends));
}

#[test]
fn a_minted_token_is_a_good_token() {
    let claims = Claims {
        topics: vec!["shut".into()],
        exp: 1_000_010,
        sub: Some("someone".into()),
        ..Claims::default()
    };
    let token = mint(&secret(), &claims).unwrap();
    assert!(access().check(topics(&["shut"]), Some(&token), NOW).is_ok());
}

fn with_header(header: &Value, claims: &Value) -> String {
    let part = |json: &Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(secret().expose());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", signature.unwrap())
}

#[test]
fn a_token_that_demands_an_extension_is_refused() {
    let good = json!({"topics": ["shut"], "exp": 1_000_010});
    let check = |header: Value| {
        let token = with_header(&header, &good);
        access().check(topics(&["shut"]), Some(&token), NOW)
    };
    assert!(check(json!({"alg": "HS256"})).is_ok());
    assert!(check(json!({"alg": "HS256", "b64": true})).is_ok());
    for (crit, why) in [
        (json!(["b64"]), TokenError::Critical),
        (json!(["exp"]), TokenError::Critical),
        (json!([]), TokenError::Critical),
        (json!("b64"), TokenError::Signature),
        (json!([1]), TokenError::Signature),
    ] {
        let header = json!({"alg": "HS256", "b64": true, "crit": crit});
        assert_eq!(check(header), Err(AccessError::TokenBad(why)), "{crit}");
    }
}

/// An access that has lost the bytes of its key: it can accept a token only by
/// its cache.
fn by_cache_alone(access: Access) -> Access {
    let key = Key::from_secret(&secret());
    let key = key.with_material(DecodingKey::from_secret(b"another secret"));
    access.set_keys(0, Some(IssuerKeys::from_key(key)));
    access
}

#[test]
fn a_token_is_verified_once() {
    let (access, token) = (
        access(),
        token(&json!({"topics": ["shut"], "exp": 1_000_010})),
    );
    let first = access.check(topics(&["shut"]), Some(&token), NOW);
    let again = by_cache_alone(access).check(topics(&["shut"]), Some(&token), NOW);
    assert_eq!(again.unwrap(), first.unwrap());
}

#[test]
fn a_cached_token_still_has_its_times_and_topics() {
    let first = access();
    let token = token(&json!({"topics": ["shut.a"], "exp": 1_000_010, "nbf": 999_990}));
    let ask = |access: &Access, name: &str, secs: u64| {
        let now = Timestamp::from_unix_secs(secs);
        let granted = access.check(topics(&[name]), Some(&token), now);
        granted.map(|_| ())
    };
    assert_eq!(ask(&first, "shut.a", 1_000_000), Ok(()));
    let cached = by_cache_alone(first);
    let bad = |why| Err(AccessError::TokenBad(why));
    for (name, secs, expected) in [
        ("shut.a", 1_000_014, Ok(())),
        ("shut.a.b", 1_000_000, Ok(())),
        ("shut.a", 1_000_015, bad(TokenError::Expired)),
        ("shut.a", 999_984, bad(TokenError::NotYet)),
        ("shut.a", 999_985, Ok(())),
        (
            "shut",
            1_000_000,
            Err(AccessError::NotCovered("shut".into())),
        ),
        (
            "shut.ab",
            1_000_000,
            Err(AccessError::NotCovered("shut.ab".into())),
        ),
    ] {
        assert_eq!(ask(&cached, name, secs), expected, "{name} at {secs}");
    }
}

#[test]
fn what_is_not_valid_is_not_cached() {
    let access = access();
    let later = token(&json!({"topics": ["shut"], "exp": 1_000_100, "nbf": 1_000_050}));
    let past = token(&json!({"topics": ["shut"], "exp": 999_000}));
    let forged = signed(
        Algorithm::HS256,
        &json!({"topics": ["shut"], "exp": 1_000_010}),
        b"another secret",
    );
    for token in [&later, &past, &forged] {
        assert!(access.check(topics(&["shut"]), Some(token), NOW).is_err());
        let cached = access.rules.load().cache.get(&token_hash(token));
        assert!(cached.is_none());
    }
}

#[test]
fn the_twin_of_a_cached_token_is_refused() {
    let access = access();
    let good = token(&json!({"topics": ["shut"], "exp": 1_000_010}));
    access.check(topics(&["shut"]), Some(&good), NOW).unwrap();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let other = json!({"topics": ["*"], "exp": 1_000_010});
    let other = signed(Algorithm::HS256, &other, b"x");
    let (other_message, _) = other.rsplit_once('.').unwrap();
    let mut flipped = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    flipped[31] ^= 1;
    for twin in [
        format!("{message}.{}", BASE64URL_NOPAD.encode(&flipped)),
        format!("{message}."),
        format!("{message}.{}", &signature[..signature.len() - 1]),
        format!("{other_message}.{signature}"),
        format!("{good} "),
    ] {
        let granted = access.check(topics(&["shut"]), Some(&twin), NOW);
        let bad = AccessError::TokenBad(TokenError::Signature);
        assert_eq!(granted, Err(bad), "{twin}");
    }
}

#[test]
fn another_secret_knows_nothing_of_what_was_cached() {
    let settings = |secret: &[u8]| Settings {
        secret: Some(Secret::new(secret)),
        issuers: Vec::new(),
        leeway: Duration::ZERO,
        token_ttl_max: None,
        policies: TopicMap::new([].into(), Some(Policy::Token)),
    };
    let good = token(&json!({"topics": ["shut"], "exp": 1_000_010}));
    let before = Access::new(&settings(secret().expose()));
    assert!(before.check(topics(&["shut"]), Some(&good), NOW).is_ok());
    let after = Access::new(&settings(b"rotated"));
    assert!(after.check(topics(&["shut"]), Some(&good), NOW).is_err());
}

/// Prints what the cache saves; asserts nothing about time.
#[test]
fn fifteen_thousand_tokens_come_back() {
    let mint_one = |n: usize| {
        let claims = Claims {
            topics: vec![format!("shut.customer-{n}")],
            exp: 1_000_010,
            sub: Some(format!("user-{n}@example.com")),
            ..Claims::default()
        };
        mint(&secret(), &claims).unwrap()
    };
    let tokens: Vec<String> = (0..15_000).map(mint_one).collect();
    let all = |access: &Access| {
        let begun = std::time::Instant::now();
        for (n, token) in tokens.iter().enumerate() {
            let wanted = topics(&[&format!("shut.customer-{n}")]);
            assert!(access.check(wanted, Some(token), NOW).is_ok());
        }
        begun.elapsed()
    };
    let access = access();
    let first = all(&access);
    let access = by_cache_alone(access);
    let again = all(&access);
    println!("15,000 tokens: verified in {first:?}, found again in {again:?}");
}

#[test]
fn bodies_are_whole_where_the_token_covers_all_topics_and_nowhere_else() {
    let access = access();
    let full = token(&json!({"topics": ["shut.a", "open.a"], "exp": 1_000_010, "full": true}));
    for (wanted, is_full) in [
        (&["shut.a"][..], true),
        (&["shut.a.b", "open.a"], true),
        (&["open.a"], true),
        // Public, and the token does not cover all of it.
        (&["open"], false),
        (&["open.b"], false),
        (&["shut.a", "open"], false),
        (&["shut.a", "open.b"], false),
    ] {
        let grant = access.check(topics(wanted), Some(&full), NOW).unwrap();
        assert_eq!(grant.is_full(), is_full, "{wanted:?}");
        // A public stream ends with the token only if the token adds to it.
        let is_timed = is_full || wanted.contains(&"shut.a");
        assert_eq!(grant.expires_at().is_some(), is_timed, "{wanted:?}");
    }
    for not_true in [json!(false), json!("true"), json!(1), Value::Null] {
        let claims = json!({"topics": ["shut.a"], "exp": 1_000_010, "full": not_true});
        let grant = access.check(topics(&["shut.a"]), Some(&token(&claims)), NOW);
        assert!(!grant.unwrap().is_full(), "{claims}");
    }
}

#[test]
fn deliveries_need_a_token_that_says_so_on_public_topics_too() {
    let access = access();
    let with = |deliveries: Value| {
        let covered = ["shut.a", "open.a"];
        token(&json!({"topics": covered, "exp": 1_000_010, "deliveries": deliveries}))
    };
    let shows = with(json!(true));
    let check =
        |topic: &str, given: Option<&str>| access.check_deliveries(topics(&[topic]), given, NOW);
    for topic in ["shut.a", "shut.a.b", "open.a", "open.a.b"] {
        let grant = check(topic, Some(&shows)).unwrap();
        // It ends with the token, which the topic's policy alone would not ask for.
        assert!(grant.expires_at().is_some(), "{topic}");
        assert!(!grant.is_full(), "another claim says that");
        assert_eq!(
            check(topic, None),
            Err(AccessError::TokenMissing),
            "{topic}"
        );
    }
    // Public, and the token does not cover all of it.
    for topic in ["shut.c", "open", "open.b"] {
        let not_covered = AccessError::NotCovered(topic.into());
        assert_eq!(check(topic, Some(&shows)), Err(not_covered));
    }
    let everything = access.check_deliveries(Topics::All, Some(&shows), NOW);
    assert_eq!(everything, Err(AccessError::NotCovered("*".into())));
    for not_true in [json!(false), json!("true"), json!(1), Value::Null] {
        let shown = check("open.a", Some(&with(not_true)));
        assert_eq!(shown, Err(AccessError::NoDeliveries));
    }
    let expired = token(&json!({"topics": ["open"], "exp": 999_000, "deliveries": true}));
    let bad = AccessError::TokenBad(TokenError::Expired);
    assert_eq!(check("open", Some(&expired)), Err(bad));
    let unknown = AccessError::UnknownTopic("nowhere".parse().unwrap());
    assert_eq!(check("nowhere", Some(&shows)), Err(unknown));
}

#[test]
fn a_token_names_no_more_topics_than_it_may() {
    for (count, holds) in [(TOKEN_TOPICS_MAX, true), (TOKEN_TOPICS_MAX + 1, false)] {
        let covered = parse_topics(&vec!["a".to_owned(); count]);
        assert_eq!(covered.is_ok(), holds, "{count}");
    }
}

#[test]
fn a_revocation_is_kept_until_all_that_it_applies_to_has_expired() {
    let (leeway, ttl) = (Duration::from_secs(5), Duration::from_secs(600));
    let access = Access::new(&Settings {
        secret: Some(secret()),
        issuers: Vec::new(),
        leeway,
        token_ttl_max: Some(ttl),
        policies: TopicMap::new([].into(), Some(Policy::Token)),
    });
    // Issued by a clock that is ahead by the leeway.
    let claims = json!({"topics": ["a"], "iat": 1_000_005, "exp": 1_000_605, "jti": "j"});
    let token = token(&claims);
    let check = |now| access.check(topics(&["a"]), Some(&token), now);
    assert!(check(NOW).is_ok());
    let revoke = |jti, now| access.revoke(Revocation::new(RevokedClaim::Jti, jti, now), now);
    revoke("j", NOW).unwrap();
    let last = Timestamp::from_unix_secs(1_000_609);
    // Drops expired entries, if there are any.
    assert_eq!(revoke("other", last).unwrap().len(), 2);
    assert_eq!(check(last), Err(AccessError::TokenBad(TokenError::Revoked)));
}
