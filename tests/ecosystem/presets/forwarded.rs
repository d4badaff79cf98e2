//! The same deliveries, sent on by `hookrill forward`.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{body::Bytes, extract::State};
use hookrill_testing::{Process, hookrill};
use hookrill_verify::{Delivery, Outcome, Replay, scheme::SchemeKind};
use http::{HeaderMap, Method, Uri};
use serde_json::Value;

use super::{
    gateway::config,
    line::{Line, known, signed_now},
};

/// What a program was sent, in its order.
type Taken = Arc<Mutex<Vec<(Method, Uri, HeaderMap, Bytes)>>>;

async fn take(
    State(taken): State<Taken>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) {
    taken.lock().unwrap().push((method, uri, headers, body));
}

/// Sends on all that is stored; gives what was sent, with its topic.
fn forwarded(folder: &Path, port: u16, taken: &Taken, mode: &str) -> Vec<(String, Delivery)> {
    let target = format!("{port}/ingest");
    let mut command = hookrill(folder);
    command.args([
        "forward",
        "*",
        &target,
        "--since",
        "earliest",
        "--no-follow",
    ]);
    command.args([
        "--signature",
        mode,
        "--public-url",
        "https://hooks.example.com",
    ]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let topics = lines.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["topic"].as_str().unwrap().to_owned()
    });
    let sent = std::mem::take(&mut *taken.lock().unwrap());
    let deliveries = sent.into_iter().map(|(method, uri, headers, body)| {
        let path = uri.path_and_query().unwrap().as_str();
        Delivery::new(
            method,
            path,
            headers,
            body,
            hookrill_core::Timestamp::default(),
        )
    });
    let all: Vec<_> = topics.zip(deliveries).collect();
    assert_eq!(all.len(), lines.lines().count());
    all
}

#[test]
fn what_is_forwarded_verifies_for_every_preset_as_it_came_and_signed_again() {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<&Line> = signed_now()
        .iter()
        .filter(|line| known(&line.preset).is_some() && line.is_for_the_gateway())
        .collect();
    let gateway = Process::start(folder.path(), &config(&all));
    for line in all.iter().filter(|line| line.handshake.is_none()) {
        assert_eq!(
            line.send(&gateway.url(), &line.headers).status,
            200,
            "{line}"
        );
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let taken = Taken::default();
    let app = axum::Router::new()
        .fallback(take)
        .with_state(Arc::clone(&taken));
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move { axum::serve(listener, app).await });
    for mode in ["keep", "fresh"] {
        let mut verified = BTreeSet::new();
        for (topic, delivery) in forwarded(folder.path(), port, &taken, mode) {
            // That of a handshake may be the secret that signs.
            let own: Vec<_> = all.iter().filter(|line| line.topic() == topic).collect();
            let scheme = own[0].preset().scheme;
            let is_token = Replay::of(&scheme) == Replay::Token;
            let is_kept = scheme.kind == SchemeKind::Ed25519 || own[0].signed_in_body();
            if mode == "keep" && is_token {
                continue;
            }
            let verifies = own.iter().any(|line| {
                let mut delivery = delivery.clone();
                if mode == "keep" || is_kept && !is_token {
                    delivery.path_and_query.clone_from(&line.target);
                }
                let at = if mode == "keep" || is_kept {
                    line.at()
                } else {
                    now()
                };
                let outcome = line.verifier().verify(delivery, at);
                matches!(outcome, Ok(Outcome::Event(_)))
            });
            assert!(verifies, "{topic} by {mode}: {:?}", delivery.headers);
            verified.insert(topic);
        }
        println!("{mode}: {} presets", verified.len());
        assert!(verified.len() > 80, "{mode}: {}", verified.len());
    }
}

fn now() -> hookrill_core::Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the command has no other clock")]
    let now = std::time::SystemTime::now();
    now.into()
}
