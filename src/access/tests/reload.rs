//! New rules for grants, keys and tokens that were made under others.

use std::collections::HashMap;

use super::{
    issuers::{PAIRS, set},
    *,
};

/// An issuer with a secret and this `iss`.
fn issuer(name: &str, secret: &[u8]) -> Issuer {
    Issuer {
        name: Some(name.into()),
        audience: ["hookrill".into()].into(),
        keys: KeySource::Secret(Secret::new(secret)),
        topics: TopicSource::Claim(TOPICS_CLAIM.into()),
    }
}

fn settings(issuers: &[Issuer]) -> Settings {
    let topic = |name: &str| name.parse().unwrap();
    let named = [
        (topic("open"), Policy::Public),
        (topic("shut"), Policy::Token),
        (topic("other"), Policy::Token),
    ];
    Settings {
        secret: None,
        issuers: issuers.to_vec(),
        leeway: Duration::ZERO,
        token_ttl_max: None,
        policies: TopicMap::new(named.into(), None),
    }
}

fn both() -> Settings {
    settings(&[issuer("a", b"secret a"), issuer("b", b"secret b")])
}

fn claims(name: &str) -> Value {
    json!({"iss": name, "aud": "hookrill", "sub": "mia", "topics": ["shut"],
           "iat": 999_990, "exp": 1_000_010})
}

fn token_of(name: &str) -> String {
    let secret = format!("secret {name}");
    signed(Algorithm::HS256, &claims(name), secret.as_bytes())
}

fn grant(access: &Access, wanted: &[&str], token: Option<&str>) -> Grant {
    access.check(topics(wanted), token, NOW).unwrap()
}

fn holds(access: &Access, grant: &Grant) -> bool {
    access.still_grants(grant.topics(), grant.token().map(|token| &**token))
}

/// Changes one setting.
type SettingsChange = fn(&mut Settings);

/// One changed setting, and which streams go on: without a token on `open`, by
/// `a` on `shut`, by `b` on `shut`, by `a` on `open` and `shut`.
#[test]
fn a_stream_goes_on_where_the_new_rules_would_grant_it_the_same_way() {
    let changes: [(&str, SettingsChange, [bool; 4]); 13] = [
        ("nothing", |_| {}, [true; 4]),
        ("the order", |s| s.issuers.reverse(), [true; 4]),
        (
            "a is gone",
            |s| drop(s.issuers.remove(0)),
            [true, false, true, false],
        ),
        (
            "a has another name",
            |s| s.issuers[0].name = Some("c".into()),
            [true, false, true, false],
        ),
        (
            "a has another key",
            |s| s.issuers[0].keys = KeySource::Secret(Secret::new(*b"rotated")),
            [true, false, true, false],
        ),
        (
            "a has another audience",
            |s| s.issuers[0].audience = ["elsewhere".into()].into(),
            [true, false, true, false],
        ),
        (
            "a names its topics in another claim",
            |s| s.issuers[0].topics = TopicSource::Claim("may".into()),
            [true, false, true, false],
        ),
        ("a third", |s| s.issuers.push(issuer("c", b"c")), [true; 4]),
        ("leeway", |s| s.leeway = Duration::from_secs(9), [true; 4]),
        (
            "lifetimes are bounded below theirs",
            |s| s.token_ttl_max = Some(Duration::from_secs(19)),
            [true, false, false, false],
        ),
        (
            "open is private",
            |s| policy(s, "open", Some(Policy::Token)),
            [false, true, true, false],
        ),
        (
            "shut is gone",
            |s| policy(s, "shut", None),
            [true, false, false, false],
        ),
        (
            "shut is public",
            |s| policy(s, "shut", Some(Policy::Public)),
            [true; 4],
        ),
    ];
    for (what, change, expected) in changes {
        let access = Access::new(&both());
        let (a, b) = (token_of("a"), token_of("b"));
        let grants = [
            grant(&access, &["open"], None),
            grant(&access, &["shut.x"], Some(&a)),
            grant(&access, &["shut"], Some(&b)),
            grant(&access, &["open", "shut"], Some(&a)),
        ];
        let mut settings = both();
        change(&mut settings);
        assert_eq!(access.reload(&settings), what != "nothing", "{what}");
        assert_eq!(
            grants.map(|grant| holds(&access, &grant)),
            expected,
            "{what}"
        );
    }
}

fn policy(settings: &mut Settings, name: &str, policy: Option<Policy>) {
    let mut policies = HashMap::new();
    for (topic, before) in settings.policies.named() {
        policies.insert(topic.clone(), *before);
    }
    let topic: Topic = name.parse().unwrap();
    match policy {
        Some(policy) => policies.insert(topic, policy),
        None => policies.remove(&topic),
    };
    settings.policies = TopicMap::new(policies, None);
}

#[test]
fn a_grant_has_the_version_of_the_rules_that_it_was_made_under() {
    let access = Access::new(&both());
    let before = grant(&access, &["open"], None);
    assert!(!access.reload(&both()), "the same settings again");
    assert_eq!(before.policy_version(), access.policy_version());
    assert!(access.reload(&settings(&[])));
    assert_ne!(before.policy_version(), access.policy_version());
    let after = grant(&access, &["open"], None);
    assert_eq!(after.policy_version(), access.policy_version());
}

#[test]
fn a_token_that_other_rules_verified_is_verified_again() {
    let access = Access::new(&both());
    let a = token_of("a");
    grant(&access, &["shut"], Some(&a));
    let ask = || access.check(topics(&["shut"]), Some(&a), NOW).map(|_| ());
    let refused = |why| Err(AccessError::TokenBad(why));
    for (issuer, why) in [
        (issuer("a", b"rotated"), TokenError::Signature),
        (
            Issuer {
                audience: ["elsewhere".into()].into(),
                ..issuer("a", b"secret a")
            },
            TokenError::Audience,
        ),
        (
            Issuer {
                topics: TopicSource::Claim("may".into()),
                ..issuer("a", b"secret a")
            },
            TokenError::Claims,
        ),
        (issuer("b", b"secret a"), TokenError::Issuer),
    ] {
        access.reload(&settings(&[issuer]));
        assert_eq!(ask(), refused(why));
        access.reload(&both());
        assert_eq!(ask(), Ok(()));
    }
}

/// Keys of an issuer that is gone, or whose keys are at another URL by now.
#[test]
fn keys_that_come_late_go_to_no_other_issuer() {
    let [old, new] = &PAIRS[2];
    let by_url = |name: &str, url: &str| Issuer {
        keys: KeySource::Url(url.into()),
        ..issuer(name, b"")
    };
    let access = Access::new(&settings(&[
        by_url("a", "https://1"),
        by_url("b", "https://2"),
    ]));
    let ids = || -> Vec<IssuerId> {
        let urls = access.jwks_urls();
        urls.into_iter().map(|(id, _)| id).collect()
    };
    let [a, b] = *ids() else { panic!() };
    access.set_keys(b, Some(set(&[old.jwk("1")])));
    let b_token = old.sign(Some("1"), &claims("b"));
    let of_b = grant(&access, &["shut"], Some(&b_token));

    // `b` comes first and keeps its keys; only its audience changed, which ends
    // its grant.
    let mut moved = by_url("b", "https://2");
    moved.audience = ["hookrill".into(), "more".into()].into();
    access.reload(&settings(&[moved, by_url("a", "https://other")]));
    let [b_now, a_now] = *ids() else { panic!() };
    assert_eq!(b_now, b);
    assert!(a_now != a && a_now != b);
    assert!(!holds(&access, &of_b));
    let of_b_now = grant(&access, &["shut"], Some(&b_token));
    // What was fetched for the old `a` arrives.
    assert!(!access.set_keys(a, Some(set(&[new.jwk("1")]))));
    let missing = AccessError::TokenBad(TokenError::KeysMissing(a_now));
    let a_token = new.sign(Some("1"), &claims("a"));
    let asked = access.check(topics(&["shut"]), Some(&a_token), NOW);
    assert_eq!(asked, Err(missing));

    // A key that is withdrawn ends what it signed; a new one ends nothing.
    let version = access.policy_version();
    assert!(!access.set_keys(b, Some(set(&[old.jwk("1"), new.jwk("2")]))));
    assert!(holds(&access, &of_b_now) && access.policy_version() == version);
    assert!(access.set_keys(b, Some(set(&[new.jwk("2")]))));
    assert!(!holds(&access, &of_b_now) && access.policy_version() != version);
}

#[test]
fn a_revocation_outlives_rules_and_lasts_as_long_as_the_longest_of_them() {
    let hours = |count: u64| Duration::from_secs(3_600 * count);
    let lived = |hours_max: u64| Settings {
        token_ttl_max: Some(hours(hours_max)),
        ..both()
    };
    for (before, after) in [(1, 24), (24, 1)] {
        let access = Access::new(&lived(before));
        let revoke = |sub: &str, now| {
            let entry = Revocation::new(RevokedClaim::Sub, sub, now);
            access.revoke(entry, now).unwrap()
        };
        revoke("mia", NOW);
        access.reload(&lived(after));
        // Another one drops those that have expired.
        let before_the_end = revoke("leo", NOW.plus(hours(23)));
        assert_eq!(before_the_end.len(), 2, "{before} h, then {after} h");
        let after_the_end = revoke("leo", NOW.plus(hours(25)));
        assert_eq!(after_the_end.len(), 1);
        access.reload(&both());
        assert_eq!(revoke("zoe", NOW.plus(hours(9_999))).len(), 2, "for good");
    }
}
