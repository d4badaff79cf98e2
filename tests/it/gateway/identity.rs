//! Tokens of an identity provider that the gateway fetches keys from.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use hookrill_testing::{BEGIN_SECS, Gateway};

fn part(json: &Value) -> String {
    BASE64URL_NOPAD.encode(json.to_string().as_bytes())
}

fn token(pair: &Ed25519KeyPair, kid: &str, sub: &str) -> String {
    let claims = json!({"iss": "id", "aud": ["hookrill"], "sub": sub, "exp": BEGIN_SECS + 600});
    let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid});
    let message = format!("{}.{}", part(&header), part(&claims));
    let signature = pair.sign(message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

/// Serves one answer to everybody; gives its address.
fn provider(status: u16, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            _ = stream.read(&mut request);
            let head = format!("HTTP/1.1 {status} S\r\nConnection: close\r\n");
            _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    url
}

async fn gateway(url: &str) -> Gateway {
    let section = format!(
        "[[access.issuers]]\nissuer = \"id\"\naudience = \"hookrill\"\njwks_url = \"{url}\"\n\
         topics = [\"shut.{{sub}}\"]"
    );
    Gateway::in_memory().access(&section).start().await
}

#[tokio::test]
async fn a_providers_token_opens_its_subjects_stream_and_no_other() {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let x = BASE64URL_NOPAD.encode(pair.public_key().as_ref());
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": x}]});
    let gateway = gateway(&provider(200, set.to_string())).await;
    let mine = token(&pair, "1", "mia@example.com");
    let path = |topic: &str, token: &str| format!("/events/{topic}?token={token}");
    let own = "shut.mia~40example~2Ecom";
    let mut subscriber = gateway.subscriber(&path(own, &mine)).await;
    subscriber.opened().await;
    gateway.post("shut.leo", "not mine").await;
    let id = gateway.post(own, "mine").await.id();
    assert_eq!(subscriber.events(1).await[0].id, id);
    for (topic, token, status) in [
        ("shut", mine.clone(), 403),
        ("shut.leo", mine.clone(), 403),
        ("shut.leo", token(&pair, "2", "leo"), 401),
        ("shut.leo", token(&pair, "1", ""), 401),
    ] {
        let answer = gateway.get(&path(topic, &token), &[]).await;
        assert_eq!(answer.status, status, "{topic}: {}", answer.text());
    }
}

#[tokio::test]
async fn where_no_keys_can_be_had_subscribers_are_asked_to_come_back() {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let gateway = gateway(&provider(500, String::new())).await;
    let path = format!("/events/shut.mia?token={}", token(&pair, "1", "mia"));
    let answer = gateway.get(&path, &[]).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let stream = [("Accept", "text/event-stream")];
    let kept_alive = gateway.get(&path, &stream).await;
    assert_eq!(kept_alive.status, 200);
    let text = kept_alive.text();
    assert!(text.starts_with("retry: "), "{text}");
    assert!(gateway.metric("hookrill_key_fetches_failed_total").await >= 1.0);
}
