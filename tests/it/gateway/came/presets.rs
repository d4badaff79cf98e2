//! For every preset: no answer has a secret, a token, a whole signature, or one that was
//! expected.

use std::collections::BTreeSet;

use hookrill_verify::{
    Delivery, Pointer, Preset, Settings, SignError, Timestamp, Verifier, presets, scheme::Source,
};
use http::{HeaderMap, Method};

use super::*;

const PUBLIC_URL: &str = "https://hooks.example.com";
const VERIFY_TOKEN: &str = "the-token-that-was-agreed-on";
const WRONG_VERIFY_TOKEN: &str = "a-token-that-somebody-sends";
/// What is configured, and what the sender signs with: in the forms that schemes want.
const SECRETS: &[(&str, &str)] = &[
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_C2FVsBQIhrscChlQIMVb5sSYspob7oDa",
    ),
    ("user:the-configured-one", "user:what-is-sent"),
    (
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100",
    ),
    (
        "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU2Nzg5YWJjZGVmZ2hpams=",
        "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXpBQkNERUZHSElKS0xNTk9QUVJTVFU=",
    ),
];

/// A preset with what verifies here, and what signs elsewhere.
struct Tried {
    preset: Preset,
    configured: &'static str,
    sent: &'static str,
    own: Verifier,
    others: Verifier,
}

fn tried(preset: Preset) -> Option<Tried> {
    let verifier = |secret: &str| {
        let settings = Settings::new([secret]).with_public_url(PUBLIC_URL);
        Verifier::offline(preset.scheme.clone(), settings).ok()
    };
    let found = SECRETS.iter().find_map(|(configured, sent)| {
        Some((*configured, *sent, verifier(configured)?, verifier(sent)?))
    });
    let (configured, sent, own, others) = found?;
    Some(Tried {
        preset,
        configured,
        sent,
        own,
        others,
    })
}

impl Tried {
    fn needs_verify_token(&self) -> bool {
        let mut challenges = self.preset.scheme.challenge.iter();
        challenges.any(hookrill_verify::scheme::Handshake::needs_verify_token)
    }

    fn topic(&self) -> String {
        format!("p-{}", self.preset.name)
    }

    fn section(&self) -> String {
        let (topic, name, secret) = (self.topic(), &self.preset.name, self.configured);
        let token = if self.needs_verify_token() {
            format!("verify_token = \"{VERIFY_TOKEN}\"\n")
        } else {
            String::new()
        };
        format!("[topics.{topic}]\npreset = \"{name}\"\nsecrets = [\"{secret}\"]\n{token}")
    }

    /// A delivery that is signed with this secret, as far as it can be signed here.
    fn signed(&self, verifier: &Verifier, secret: &str, body: &str) -> Delivery {
        let now = Timestamp::from_unix_secs(hookrill_testing::BEGIN_SECS);
        let target = format!("/ingest/{}", self.topic());
        let mut body = body.to_owned();
        if let Some(pointer) = self
            .preset
            .scheme
            .token
            .as_ref()
            .and_then(|it| it.json.as_ref())
        {
            body = with_value(pointer, secret);
        }
        let signature = self.preset.scheme.signature.as_ref();
        if let Some(pointer) = signature.and_then(|it| it.json.as_ref()) {
            body = with_value(pointer, &"5f".repeat(32));
        }
        if let Some(name) = signature.and_then(|it| it.form.as_ref()) {
            body = format!("a=1&{name}={}&b=2", "5f".repeat(32));
        }
        let mut delivery = Delivery::new(Method::POST, target, HeaderMap::new(), body, now);
        match verifier.sign(&delivery, None, "an-id", now) {
            Ok(signed) => {
                delivery.headers.extend(signed.headers);
                if let Some(query) = signed.query {
                    delivery.path_and_query += &format!("?{query}");
                }
            }
            Err(
                SignError::SignatureInBody
                | SignError::PublicKeyOnly
                | SignError::Refused(_)
                | SignError::TokenInBody { .. }
                | SignError::SecretPending,
            ) => {
                let names = signature.and_then(|it| it.header.as_ref());
                if let Some(names) = names {
                    let junk = "5f".repeat(32).parse().unwrap();
                    delivery.headers.insert(names.first(), junk);
                }
            }
            Err(error) => panic!("{}: {error}", self.preset.name),
        }
        delivery
    }

    /// What is in one and not in the other, and looks like a signature or a token.
    fn needles(&self, body: &str) -> BTreeSet<String> {
        let own = runs(&self.signed(&self.own, self.configured, body));
        let sent = runs(&self.signed(&self.others, self.sent, body));
        let mut needles: BTreeSet<_> = own.symmetric_difference(&sent).cloned().collect();
        for secret in [self.configured, self.sent] {
            needles.insert(secret.to_owned());
            needles.insert(secret.trim_start_matches("whsec_").to_owned());
            needles.insert(BASE64.encode(secret.as_bytes()));
        }
        for token in [VERIFY_TOKEN, WRONG_VERIFY_TOKEN, &"5f".repeat(32)] {
            needles.insert(token.to_owned());
        }
        needles
    }
}

/// A JSON body with this text at a place.
fn with_value(pointer: &Pointer, text: &str) -> String {
    let steps = pointer.steps().iter().rev();
    let value = steps.fold(json!(text), |value, step| match step.parse::<usize>() {
        Ok(0) => json!([value]),
        _ => json!({ step: value, "other": 1 }),
    });
    value.to_string()
}

/// Long runs of letters and digits in headers and query.
fn runs(delivery: &Delivery) -> BTreeSet<String> {
    let values = delivery.headers.values();
    let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let texts: Vec<_> = values.chain([delivery.path_and_query.clone()]).collect();
    let is_of_run = |c: char| c.is_ascii_alphanumeric() || "+/-_=.%".contains(c);
    let runs = texts
        .iter()
        .flat_map(|text| text.split(|c: char| !is_of_run(c)));
    let parts = runs.flat_map(|run| {
        let behind_key = run.split_once('=').map_or(run, |(_, rest)| rest);
        [run, behind_key]
    });
    parts
        .filter(|run| run.len() > 13)
        .map(str::to_owned)
        .collect()
}

fn wire(delivery: &Delivery) -> Vec<u8> {
    let mut request = format!(
        "{} {} HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Length: {}\r\nConnection: close\r\n",
        delivery.method,
        delivery.path_and_query,
        delivery.body.len()
    )
    .into_bytes();
    for (name, value) in &delivery.headers {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(&delivery.body);
    request
}

#[tokio::test]
async fn for_every_preset_no_answer_has_what_could_be_used_elsewhere() {
    let all: Vec<_> = presets().into_iter().filter_map(tried).collect();
    assert!(all.len() > 90, "{}", all.len());
    let sections: String = all.iter().map(Tried::section).collect();
    let gateway = Gateway::in_memory()
        .server(&format!("public_url = \"{PUBLIC_URL}\""))
        .sections(&sections)
        .sections("[console]\nrefused_max = 4096")
        .start()
        .await;
    let bodies = [
        "{\"id\":\"evt_1\",\"type\":\"a.b\",\"created\":1}",
        "payload=a&b=2",
    ];
    for one in &all {
        for body in bodies {
            let refused = one.signed(&one.others, one.sent, body);
            let answer = gateway.send(wire(&refused)).await;
            assert!([200, 401].contains(&answer.status), "{}", one.preset.name);
            // The same where no section says what is confidential.
            let mut elsewhere = refused;
            elsewhere.path_and_query = elsewhere.path_and_query.replace("/p-", "/nobody-");
            assert_eq!(gateway.send(wire(&elsewhere)).await.status, 401);
            check(&gateway, one, body).await;
        }
        for challenge in &one.preset.scheme.challenge {
            if let Some(Source::Query(name)) = &challenge.verify_token {
                let target = format!(
                    "GET /ingest/{}?hub.mode=subscribe&hub.challenge=7&{name}={WRONG_VERIFY_TOKEN} \
                     HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n",
                    one.topic()
                );
                gateway.send(target).await;
                check(&gateway, one, bodies[0]).await;
            }
        }
    }
}

/// Looks at every answer about what came lately.
async fn check(gateway: &Client, one: &Tried, body: &str) {
    let page = ask(gateway, "/admin/deliveries?limit=3").await;
    let rows = page.json()["deliveries"].as_array().unwrap().clone();
    let mut answers = vec![page];
    let ids = texts(&rows, "id");
    for id in ids.iter().filter(|id| id.starts_with("r-")) {
        let path = format!("/admin/deliveries/{id}");
        answers.push(ask(gateway, &path).await);
        answers.push(ask(gateway, &format!("{path}/body")).await);
        answers.push(tell(gateway, &format!("{path}/explain"), "").await);
        let secrets = json!({"secrets": [one.sent]}).to_string();
        answers.push(tell(gateway, &format!("{path}/explain"), &secrets).await);
        answers.push(tell(gateway, &format!("{path}/take"), "").await);
    }
    let needles = one.needles(body);
    for answer in answers {
        let mut text = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.body.starts_with(b"{") {
            let json = answer.json();
            for base64 in [&json["request"]["body"]["base64"], &json["signed_base64"]] {
                let decoded = BASE64.decode(base64.as_str().unwrap_or_default().as_bytes());
                text += &String::from_utf8_lossy(&decoded.unwrap());
            }
        }
        for needle in &needles {
            assert!(
                !text.contains(&**needle),
                "{}: {needle} in {text}",
                one.preset.name
            );
        }
    }
}
