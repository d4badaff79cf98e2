//! Tokens of every kind of key against issuers of every kind of key.

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeys, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use data_encoding::BASE64;

use super::*;

/// A private key, and its public half as PEM and as JWK.
pub(super) struct SigningKey {
    algorithm: Algorithm,
    private: EncodingKey,
    pem: String,
    jwk: Value,
}

fn pem(spki: &[u8]) -> String {
    let body = BASE64.encode(spki);
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

fn url(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

impl SigningKey {
    fn rsa() -> Self {
        let pair = RsaKeys::generate(KeySize::Rsa2048).unwrap();
        let public = pair.public_key();
        let private: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let spki: PublicKeyX509Der<'_> = public.as_der().unwrap();
        // jsonwebtoken takes PKCS#1, which PKCS#8 has in its last element.
        let pkcs1 = private.as_ref()[26..].to_vec();
        Self {
            algorithm: Algorithm::RS256,
            private: EncodingKey::from_rsa_der(&pkcs1),
            pem: pem(spki.as_ref()),
            jwk: json!({
                "kty": "RSA", "n": url(public.modulus().big_endian_without_leading_zero()),
                "e": url(public.exponent().big_endian_without_leading_zero()),
            }),
        }
    }

    fn p256() -> Self {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pkcs8 = pkcs8.unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref());
        let pair = pair.unwrap();
        let public = pair.public_key();
        let spki: PublicKeyX509Der<'_> = public.as_der().unwrap();
        let point = public.as_ref();
        Self {
            algorithm: Algorithm::ES256,
            private: EncodingKey::from_ec_der(pkcs8.as_ref()),
            pem: pem(spki.as_ref()),
            jwk: json!({
                "kty": "EC", "crv": "P-256", "x": url(&point[1..33]), "y": url(&point[33..]),
            }),
        }
    }

    fn ed25519() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let public = pair.public_key();
        let spki: PublicKeyX509Der<'_> = public.as_der().unwrap();
        Self {
            algorithm: Algorithm::EdDSA,
            private: EncodingKey::from_ed_der(pkcs8.as_ref()),
            pem: pem(spki.as_ref()),
            jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": url(public.as_ref())}),
        }
    }

    pub(super) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = kid.into();
        jwk
    }

    pub(super) fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }
}

/// Two of each kind, made once.
pub(super) static PAIRS: LazyLock<[[SigningKey; 2]; 3]> = LazyLock::new(|| {
    [
        [SigningKey::rsa(), SigningKey::rsa()],
        [SigningKey::p256(), SigningKey::p256()],
        [SigningKey::ed25519(), SigningKey::ed25519()],
    ]
});

fn issuer(keys: KeySource) -> Issuer {
    Issuer {
        name: Some("id".into()),
        audience: ["hookrill".into()].into(),
        keys,
        topics: TopicSource::Claim(TOPICS_CLAIM.into()),
    }
}

fn access_of(issuers: Vec<Issuer>, secret: Option<Secret>) -> Access {
    Access::new(&Settings {
        secret,
        issuers,
        leeway: Duration::from_secs(5),
        token_ttl_max: None,
        policies: TopicMap::new([].into(), Some(Policy::Token)),
    })
}

fn by_pem(pair: &SigningKey) -> Access {
    access_of(
        vec![issuer(KeySource::Public(Box::new(
            Key::from_pem(&pair.pem).unwrap(),
        )))],
        None,
    )
}

pub(super) fn set(keys: &[Value]) -> IssuerKeys {
    IssuerKeys::from_jwks(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

fn by_set(keys: &[Value]) -> Access {
    let access = access_of(vec![issuer(KeySource::Url("https://id".into()))], None);
    access.set_keys(0, Some(set(keys)));
    access
}

fn claims() -> Value {
    json!({"iss": "id", "aud": "hookrill", "sub": "mia", "topics": ["shut"], "exp": 1_000_010})
}

fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

fn without(claim: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(claim);
    claims
}

fn ask(access: &Access, token: &str) -> Result<(), TokenError> {
    match access.check(topics(&["shut.a"]), Some(token), NOW) {
        Ok(_) => Ok(()),
        Err(AccessError::TokenBad(why)) => Err(why),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_key_verifies_what_it_signed_and_nothing_that_another_did() {
    let all: Vec<&SigningKey> = PAIRS.iter().flatten().collect();
    for (n, key) in all.iter().enumerate() {
        for access in [by_pem(key), by_set(&[key.jwk("k")])] {
            for (m, signer) in all.iter().enumerate() {
                let asked = ask(&access, &signer.sign(Some("k"), &claims()));
                assert_eq!(
                    asked.is_ok(),
                    n == m,
                    "{:?} by {:?}",
                    key.algorithm,
                    signer.algorithm
                );
            }
            let by_secret = signed(Algorithm::HS256, &claims(), secret().expose());
            assert!(ask(&access, &by_secret).is_err());
        }
    }
}

#[test]
fn a_public_key_does_not_serve_as_a_secret() {
    for key in PAIRS.iter().map(|[key, _]| key) {
        let der = BASE64
            .decode(key.pem.lines().nth(1).unwrap().as_bytes())
            .unwrap();
        for access in [by_pem(key), by_set(&[key.jwk("k")])] {
            for known in [key.pem.as_bytes(), key.pem.trim().as_bytes(), &der] {
                for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                    let mut header = Header::new(algorithm);
                    header.kid = Some("k".into());
                    let confused = EncodingKey::from_secret(known);
                    let token = jsonwebtoken::encode(&header, &claims(), &confused).unwrap();
                    assert!(ask(&access, &token).is_err(), "{algorithm:?}");
                }
            }
            for alg in [
                "none", "None", "NONE", "", "HS256", "RS256", "ES256", "EdDSA",
            ] {
                let part = |json: Value| url(json.to_string().as_bytes());
                let head = part(json!({"alg": alg, "kid": "k"}));
                for signature in ["", "AAAA"] {
                    let token = format!("{head}.{}.{signature}", part(claims()));
                    assert!(ask(&access, &token).is_err(), "{alg}");
                }
            }
        }
    }
}

#[test]
fn a_symmetric_key_in_a_public_set_is_ignored() {
    let oct = json!({"kty": "oct", "kid": "k", "alg": "HS256", "k": url(secret().expose())});
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("k".into());
    let key = EncodingKey::from_secret(secret().expose());
    let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
    assert_eq!(ask(&by_set(&[oct]), &token), Err(TokenError::KeyUnknown(0)));
}

#[test]
fn every_claim_is_checked_for_every_kind_of_key() {
    let twice = |name: &str, key: &SigningKey| {
        let mut claims = claims().to_string();
        claims.insert_str(1, &format!("\"{name}\":\"other\","));
        let head = json!({"alg": key.algorithm, "kid": "k"});
        let message = format!(
            "{}.{}",
            url(head.to_string().as_bytes()),
            url(claims.as_bytes())
        );
        let bytes = message.as_bytes();
        let signature = jsonwebtoken::crypto::sign(bytes, &key.private, key.algorithm).unwrap();
        format!("{message}.{signature}")
    };
    for key in PAIRS.iter().map(|[key, _]| key) {
        for access in [by_pem(key), by_set(&[key.jwk("k")])] {
            for (claims, expected) in [
                (claims(), Ok(())),
                (with("aud", json!(["x", "hookrill"])), Ok(())),
                (with("exp", json!(999_995)), Err(TokenError::Expired)),
                (with("nbf", json!(1_000_006)), Err(TokenError::NotYet)),
                (with("iss", json!("other")), Err(TokenError::Issuer)),
                (with("iss", json!("id ")), Err(TokenError::Issuer)),
                (without("iss"), Err(TokenError::Issuer)),
                (with("iss", json!(["id"])), Err(TokenError::Claims)),
                (with("aud", json!("hookrill2")), Err(TokenError::Audience)),
                (with("aud", json!(["x", 1])), Err(TokenError::Audience)),
                (without("aud"), Err(TokenError::Audience)),
                (without("exp"), Err(TokenError::Claims)),
                (without("topics"), Err(TokenError::Claims)),
                (with("topics", json!("shut")), Err(TokenError::Claims)),
                (with("topics", json!(["a b"])), Err(TokenError::Claims)),
            ] {
                let asked = ask(&access, &key.sign(Some("k"), &claims));
                assert_eq!(asked, expected, "{claims}");
            }
            assert_eq!(ask(&access, &twice("topics", key)), Err(TokenError::Claims));
            for name in ["sub", "iss", "aud"] {
                assert!(ask(&access, &twice(name, key)).is_err(), "{name}");
            }
        }
    }
}

#[test]
fn a_key_id_names_one_key_and_none_names_the_only_one() {
    let [[rsa, _], [p256, other], _] = &*PAIRS;
    let access = by_set(&[rsa.jwk("r"), p256.jwk("p")]);
    for (token, expected) in [
        (p256.sign(Some("p"), &claims()), Ok(())),
        (p256.sign(None, &claims()), Ok(())),
        (
            p256.sign(Some("r"), &claims()),
            Err(TokenError::KeyUnknown(0)),
        ),
        (
            p256.sign(Some("x"), &claims()),
            Err(TokenError::KeyUnknown(0)),
        ),
        (
            p256.sign(Some(""), &claims()),
            Err(TokenError::KeyUnknown(0)),
        ),
        (other.sign(Some("p"), &claims()), Err(TokenError::Signature)),
    ] {
        assert_eq!(ask(&access, &token), expected);
    }
    let two_that_fit = by_set(&[p256.jwk("p"), other.jwk("o")]);
    assert_eq!(
        ask(&two_that_fit, &p256.sign(None, &claims())),
        Err(TokenError::KeyUnknown(0))
    );
}

#[test]
fn what_a_removed_key_signed_is_refused_though_it_was_cached() {
    let [_, [old, new], _] = &*PAIRS;
    let access = by_set(&[old.jwk("1")]);
    let token = old.sign(Some("1"), &claims());
    assert_eq!(ask(&access, &token), Ok(()));
    access.set_keys(0, Some(set(&[old.jwk("1"), new.jwk("2")])));
    assert_eq!(ask(&access, &token), Ok(()));
    access.set_keys(0, Some(set(&[new.jwk("2")])));
    assert_eq!(ask(&access, &token), Err(TokenError::KeyUnknown(0)));
    assert_eq!(ask(&access, &new.sign(Some("2"), &claims())), Ok(()));
    // Another key under the old key id.
    access.set_keys(0, Some(set(&[new.jwk("1")])));
    assert_eq!(ask(&access, &token), Err(TokenError::Signature));
    access.set_keys(0, None);
    assert_eq!(ask(&access, &token), Err(TokenError::KeysMissing(0)));
}

#[test]
fn several_issuers_have_each_their_own_key_and_topics() {
    let [_, [one, two], _] = &*PAIRS;
    let by = |name: &str, pair: &SigningKey, topics: &str| Issuer {
        name: Some(name.into()),
        topics: TopicSource::Templates([topics.parse().unwrap()].into()),
        ..issuer(KeySource::Public(Box::new(
            Key::from_pem(&pair.pem).unwrap(),
        )))
    };
    let issuers = vec![by("one", one, "shut.{sub}"), by("two", two, "shut.a")];
    let access = access_of(issuers, Some(secret()));
    let claims = |iss: &str, sub: &str| {
        let mut claims = with("iss", json!(iss));
        claims["sub"] = sub.into();
        // Ignored where there are templates.
        claims["topics"] = json!(["*"]);
        claims
    };
    let plain = token(&json!({"topics": ["shut"], "exp": 1_000_010}));
    for (token, wanted, good) in [
        (one.sign(None, &claims("one", "a")), "shut.a", true),
        (one.sign(None, &claims("one", "a")), "shut.b", false),
        (one.sign(None, &claims("one", "a")), "shut", false),
        (one.sign(None, &claims("one", "a.b")), "shut.a", false),
        (one.sign(None, &claims("one", "a.b")), "shut.a~2Eb", true),
        (one.sign(None, &claims("one", "*")), "shut.a", false),
        (one.sign(None, &claims("one", "")), "shut.a", false),
        (
            one.sign(None, &claims("one", &"x".repeat(200))),
            "shut.a",
            false,
        ),
        (
            one.sign(None, &claims("one", &"x".repeat(200))),
            "shut.~sha256:aa20c23e3201834050679e1d88941b9a6fed0557c9a705cb2c315e2e63fd486d",
            true,
        ),
        (one.sign(None, &claims("one", "~none")), "shut.~none", false),
        (one.sign(None, &claims("two", "a")), "shut.a", false),
        (two.sign(None, &claims("one", "a")), "shut.a", false),
        (two.sign(None, &claims("two", "a")), "shut.a", true),
        (two.sign(None, &claims("three", "a")), "shut.a", false),
        (
            signed(Algorithm::HS256, &claims("two", "a"), secret().expose()),
            "shut.a",
            false,
        ),
        (plain, "shut.a", true),
    ] {
        let asked = access.check(topics(&[wanted]), Some(&token), NOW);
        assert_eq!(asked.is_ok(), good, "{wanted}: {asked:?}");
    }
}

#[test]
fn a_set_is_bounded_and_what_cannot_be_used_is_left_out() {
    let [[rsa, _], [p256, _], _] = &*PAIRS;
    let many = vec![p256.jwk("p"); KEYS_MAX + 1];
    let read = |json: &Value| match IssuerKeys::from_jwks(json.to_string().as_bytes()) {
        Ok(keys) => Ok(keys.count()),
        Err(JwksError::Many(count)) => Err(Some(count)),
        Err(JwksError::Form(_)) => Err(None),
    };
    let changed = |name: &str, value: Value| {
        let mut jwk = p256.jwk("p");
        jwk[name] = value;
        json!({"keys": [jwk, rsa.jwk("r")]})
    };
    for (set, expected) in [
        (json!({"keys": []}), Ok(0)),
        (json!({"keys": many}), Err(Some(KEYS_MAX + 1))),
        (json!({}), Err(None)),
        (json!([]), Err(None)),
        (json!({"keys": [1, null, {}]}), Ok(0)),
        (changed("use", json!("sig")), Ok(2)),
        (changed("use", json!("enc")), Ok(1)),
        (changed("key_ops", json!(["verify"])), Ok(2)),
        (changed("key_ops", json!(["sign"])), Ok(1)),
        (changed("alg", json!("ES256")), Ok(2)),
        (changed("alg", json!("RS256")), Ok(1)),
        (changed("alg", json!("none")), Ok(1)),
        (changed("crv", json!("P-384")), Ok(1)),
        (changed("x", json!("AAAA")), Ok(1)),
        (changed("kid", json!("k".repeat(300))), Ok(1)),
    ] {
        assert_eq!(read(&set), expected, "{set}");
    }
    assert_eq!(Key::from_pem(&pem(&[0x30, 0])).err(), Some(KeyError::Form));
    let short = Key::from_rsa(&[0xff; 128], &[1, 0, 1]);
    assert_eq!(short.err(), Some(KeyError::Size));
}
