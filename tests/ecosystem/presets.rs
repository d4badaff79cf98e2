//! Every preset, against somebody else's code.
//!
//! The programs in `tests/ecosystem/presets/` print deliveries that providers' own SDKs
//! signed, or accepted: each must be verified here, with the facts it says, and none
//! with one byte changed. Published vectors beside them. The same deliveries
//! go to the built gateway over a socket.
//!
//! `scripts/test` installs the packages into `tests/ecosystem/presets/`.

mod forwarded;
mod line;

use std::collections::{BTreeMap, BTreeSet};

use hookrill_core::Timestamp;
use hookrill_verify::{Facts, Outcome, Verifier, VerifyError, presets, scheme};
use line::{Line, known, signed_now, vectors};
use proptest::prelude::*;

/// Where the facts differ from what a line expects, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("adyen", "its pspReference is shared by several events"),
    (
        "mailgun",
        "its event's id is not signed; its token is, and is taken once",
    ),
];

/// Everything that was signed for this run, and all that was published.
fn all() -> impl Iterator<Item = Line> {
    signed_now().iter().chain(vectors()).cloned()
}

/// Those that are events; not handshakes.
fn events() -> impl Iterator<Item = Line> {
    all().filter(|line| line.handshake.is_none() && known(&line.preset).is_some())
}

fn facts(outcome: Result<Outcome, VerifyError>, line: &Line) -> Facts {
    match outcome {
        Ok(Outcome::Event(verified)) => verified.into_parts().1,
        other => panic!("{line}: not an event: {other:?}"),
    }
}

#[test]
fn every_line_verifies_with_the_facts_that_it_says() {
    let mut count = BTreeMap::<String, usize>::new();
    for line in events() {
        let outcome = line.verifier().verify(line.delivery(), line.at());
        let facts = facts(outcome, &line);
        *count.entry(line.preset.clone()).or_default() += 1;
        let expected = &line.expect;
        assert_eq!(
            facts.event_type.as_deref(),
            expected.event_type.as_deref(),
            "{line}"
        );
        let otherwise = OTHERWISE.iter().any(|(name, _)| *name == line.preset);
        let as_said = facts.dedup_id.as_deref() == expected.dedup_id.as_deref();
        // A vector says nothing of ids.
        assert!(
            as_said != otherwise || line.role == "vector",
            "{line}: {facts:?}"
        );
    }
    println!(
        "{} presets, {} deliveries",
        count.len(),
        count.values().sum::<usize>()
    );
}

/// The one rule of the preset table: what nobody else's code or page shows to
/// be right is not there.
#[test]
fn no_preset_is_without_evidence_and_each_names_it() {
    let lines: Vec<Line> = all().collect();
    for preset in presets() {
        let own: Vec<_> = lines
            .iter()
            .filter(|line| line.preset == *preset.name)
            .collect();
        let event = |line: &&&Line| line.handshake.is_none();
        assert!(
            own.iter().any(|line| event(&line)),
            "{} has no evidence",
            preset.name
        );
        for evidence in &preset.evidence {
            let named = match evidence.strip_prefix("vector: ") {
                Some(_) => own.iter().any(|line| line.role == "vector"),
                None => own.iter().any(|line| line.by.starts_with(&**evidence)),
            };
            assert!(named, "{}: no line is by {evidence}", preset.name);
        }
        let tokens = preset.scheme.kind == scheme::SchemeKind::Token;
        let page = preset
            .evidence
            .iter()
            .any(|evidence| evidence.starts_with("https://"));
        assert!(
            tokens || !page,
            "{}: a page is evidence for tokens only",
            preset.name
        );
    }
}

#[test]
fn every_signed_scheme_refuses_another_body() {
    for line in events() {
        let scheme = line.preset().scheme;
        if !scheme.kind.signs() {
            continue;
        }
        let verifier = line.verifier();
        let body = line.body();
        let changed: Vec<Vec<u8>> = if scheme.covers_body() || !scheme.body_unsigned {
            (0..body.len()).map(|at| flipped(&body, at)).collect()
        } else {
            signed_texts(&scheme, &body)
        };
        for other in changed {
            let mut delivery = line.delivery();
            delivery.body = other.clone().into();
            let outcome = verifier.verify(delivery, line.at());
            let shown = String::from_utf8_lossy(&other).into_owned();
            assert!(outcome.is_err(), "{line}: {shown}");
        }
    }
}

/// The body with one byte of each signed text changed.
fn signed_texts(scheme: &scheme::Scheme, body: &[u8]) -> Vec<Vec<u8>> {
    if scheme
        .signature
        .as_ref()
        .is_some_and(|signature| signature.form.is_some())
    {
        return signed_fields(body);
    }
    let json: serde_json::Value = serde_json::from_slice(body).unwrap();
    let mut places: Vec<String> = scheme
        .parts()
        .iter()
        .filter_map(|part| match part {
            scheme::MessagePart::Json(at) | scheme::MessagePart::JsonOrEmpty(at) => {
                Some(at.to_string())
            }
            _ => None,
        })
        .collect();
    let timestamp = scheme
        .timestamp
        .as_ref()
        .and_then(|rule| rule.json.as_ref());
    places.extend(timestamp.map(ToString::to_string));
    let signature = scheme
        .signature
        .as_ref()
        .and_then(|rule| rule.json.as_ref());
    places.extend(signature.map(ToString::to_string));
    assert!(places.len() >= 3);
    let mut changed = Vec::new();
    for place in places {
        let mut json = json.clone();
        match json.pointer_mut(&place) {
            Some(serde_json::Value::String(text)) => {
                let bytes = flipped(text.as_bytes(), text.len() / 2);
                *text = String::from_utf8(bytes).unwrap();
            }
            Some(number) => *number = (number.as_u64().unwrap() + 1).into(),
            // One that may be left out, and was.
            None => continue,
        }
        changed.push(json.to_string().into_bytes());
    }
    changed
}

/// A form with one byte changed of each field that its signature is about: Mailgun's.
fn signed_fields(body: &[u8]) -> Vec<Vec<u8>> {
    let body = std::str::from_utf8(body).unwrap();
    let changed = ["timestamp=", "token=", "signature="].map(|field| {
        let at = body.find(field).unwrap() + field.len() + 3;
        flipped(body.as_bytes(), at)
    });
    changed.into()
}

#[test]
fn every_signed_scheme_refuses_another_signature() {
    let mut count = 0;
    for line in events() {
        let scheme = line.preset().scheme;
        let Some(names) = scheme.signature.and_then(|signature| signature.header) else {
            continue;
        };
        let is_signature = |name: &str| {
            let name = name.to_ascii_lowercase();
            names.iter().any(|known| name.starts_with(known.as_str()))
        };
        for place in [0.0, 0.5, 0.999] {
            let mut changed = line.clone();
            for (name, value) in &mut changed.headers {
                if is_signature(name) {
                    *value = other_runs(value, place);
                }
            }
            assert_ne!(changed.headers, line.headers, "{line}");
            let outcome = line.verifier().verify(changed.delivery(), line.at());
            assert!(outcome.is_err(), "{line}: {:?}", changed.headers);
            count += 1;
        }
    }
    assert!(count > 300, "{count}");
}

/// Each long run of digits or base64 with one character changed.
fn other_runs(value: &str, place: f64) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "+/_-".contains(c);
    let mut out = String::new();
    for piece in value.split_inclusive(|c| !is_part(c)) {
        let run = piece.trim_end_matches(|c| !is_part(c));
        let mut text: Vec<char> = piece.chars().collect();
        if run.len() >= 20 {
            let at = ((run.len() as f64) * place) as usize;
            text[at] = if text[at] == 'b' { 'c' } else { 'b' };
        }
        out.extend(text);
    }
    out
}

#[test]
fn every_signed_timestamp_is_held_to_its_signature_and_to_the_clock() {
    let mut seen = BTreeSet::new();
    for line in events() {
        let scheme = line.preset().scheme;
        let Some(rule) = scheme.timestamp else {
            continue;
        };
        seen.insert(line.preset.clone());
        let verifier = line.verifier();
        let tolerance = u64::try_from(rule.tolerance.as_millis()).unwrap();
        // Seconds are cut off where the provider writes whole ones.
        for off in [tolerance + 1_001, tolerance * 10] {
            for now in [line.at().unix_ms() + off, line.at().unix_ms() - off] {
                let outcome = verifier.verify(line.delivery(), Timestamp::from_unix_ms(now));
                let stale = matches!(outcome, Err(VerifyError::Stale { .. }));
                assert!(stale, "{line}: {outcome:?}");
            }
        }
        // One in the body is changed with the body.
        let (name, key) = match (&rule.header, &rule.field) {
            (Some(names), _) => (names.clone(), None),
            (_, Some(key)) => (scheme.signature.unwrap().header.unwrap(), Some(key.clone())),
            _ => continue,
        };
        let mut changed = line.clone();
        for (header, value) in &mut changed.headers {
            if names_match(&name, header) {
                *value = other_digit(value, key.as_deref());
            }
        }
        assert_ne!(changed.headers, line.headers, "{line}");
        let outcome = verifier.verify(changed.delivery(), line.at());
        assert_eq!(outcome.unwrap_err(), VerifyError::Mismatch, "{line}");
    }
    assert!(seen.len() >= 25, "{seen:?}");
}

fn names_match(names: &scheme::HeaderNames, header: &str) -> bool {
    names
        .iter()
        .any(|name| header.eq_ignore_ascii_case(name.as_str()))
}

/// One digit changed that leaves the timestamp fresh: the last one but two.
fn other_digit(value: &str, key: Option<&str>) -> String {
    let start = key.map_or(0, |key| value.find(&format!("{key}=")).unwrap());
    let end = value[start..]
        .find([',', ';'])
        .map_or(value.len(), |at| start + at);
    let zone = value[start..end]
        .rfind(['+', 'Z'])
        .map_or(end, |at| start + at);
    let at = value[..zone].rfind(|c: char| c.is_ascii_digit()).unwrap();
    String::from_utf8(flipped(value.as_bytes(), at)).unwrap()
}

#[test]
fn every_preset_refuses_another_secret() {
    let mut refused = BTreeSet::new();
    for line in events() {
        for at in 0..line.secret.len() {
            let Ok(secret) = String::from_utf8(flipped(line.secret.as_bytes(), at)) else {
                continue;
            };
            // One that does not decode makes no verifier at all.
            let Ok(verifier) = line.verifier_with(&secret) else {
                continue;
            };
            let outcome = verifier.verify(line.delivery(), line.at());
            assert_eq!(
                outcome.unwrap_err(),
                VerifyError::Mismatch,
                "{line}: {secret}"
            );
            refused.insert(line.preset.clone());
        }
    }
    assert_eq!(refused.len(), presets().len());
}

#[test]
fn every_signed_url_and_method_is_held_to_the_signature() {
    let mut seen = BTreeSet::new();
    for line in events() {
        let scheme = line.preset().scheme;
        let parts = scheme.parts();
        let has = |wanted: fn(&scheme::MessagePart) -> bool| parts.iter().any(wanted);
        if !has(|part| {
            matches!(
                part,
                scheme::MessagePart::Url | scheme::MessagePart::Function(_)
            )
        }) {
            continue;
        }
        seen.insert(line.preset.clone());
        let within = line.target.replacen('/', "/x", 1);
        for target in [format!("{}x", line.target), within] {
            let mut delivery = line.delivery();
            delivery.path_and_query = target;
            let outcome = line.verifier().verify(delivery, line.at());
            assert!(outcome.is_err(), "{line}");
        }
    }
    let expected = [
        "hubspot",
        "hubspot-v2",
        "mandrill",
        "square",
        "trello",
        "twilio",
    ];
    assert!(seen.iter().map(|name| &**name).eq(expected), "{seen:?}");
}

#[test]
fn every_preset_names_what_is_missing() {
    for line in events() {
        let bare = Line {
            headers: Vec::new(),
            ..line.clone()
        };
        let outcome = line.verifier().verify(bare.delivery(), line.at());
        if line.signed_in_body() {
            assert!(outcome.is_ok(), "{line}");
        } else {
            assert_eq!(outcome.unwrap_err().reason(), "header_missing", "{line}");
        }
    }
}

#[test]
fn handshakes_are_answered_as_the_sdks_do() {
    let mut seen = BTreeSet::new();
    for line in all() {
        let (Some(wanted), Some(_)) = (&line.handshake, known(&line.preset)) else {
            continue;
        };
        seen.insert(line.preset.clone());
        let outcome = line.verifier().verify(line.delivery(), line.at());
        let reply = match outcome {
            Ok(Outcome::Answer(reply) | Outcome::ProvisionedSecret { reply, .. }) => reply,
            other => panic!("{line}: not answered: {other:?}"),
        };
        wanted.is_like(reply.status.as_u16(), &reply.body, &line);
        for (name, value) in &wanted.headers {
            let found = match name.to_ascii_lowercase().as_str() {
                "content-type" => reply.content_type.to_str().unwrap().to_owned(),
                // The gateway adds it to every answer of this kind.
                "x-content-type-options" => continue,
                name => reply.headers[name].to_str().unwrap().to_owned(),
            };
            assert!(found.starts_with(&**value), "{line}: {name}: {found}");
        }
    }
    println!("handshakes: {seen:?}");
    assert!(seen.len() >= 10, "{seen:?}");
}

#[test]
fn what_send_signs_is_verified_for_every_preset_that_can_sign() {
    let mut signs = 0;
    for preset in presets() {
        let Some(line) = events().find(|line| line.preset == *preset.name) else {
            panic!("{} has no line", preset.name);
        };
        let verifier: Verifier = line.verifier();
        let mut draft = line.delivery();
        draft.headers.clear();
        let now = Timestamp::from_unix_secs(1_700_000_000);
        let in_body = preset
            .scheme
            .timestamp
            .as_ref()
            .is_some_and(|rule| rule.json.is_some());
        let now = if in_body { line.at() } else { now };
        match verifier.sign(&draft, None, "id-1", now) {
            Ok(signed) => {
                draft.headers.extend(signed.headers);
                facts(verifier.verify(draft, now), &line);
                signs += 1;
            }
            Err(why) => {
                let whys = [
                    "only the provider can sign",
                    "puts the signature into the body",
                ];
                let why = why.to_string();
                assert!(
                    whys.iter().any(|known| why.contains(known)),
                    "{line}: {why}"
                );
            }
        }
    }
    assert!(signs >= presets().len() - 5, "{signs}");
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

proptest! {
    /// Any bytes in any place: a refusal, or the same delivery.
    #[test]
    fn damaged_deliveries_are_never_verified_and_never_panic(
        which: prop::sample::Index,
        body: Option<Vec<u8>>,
        values in prop::collection::vec("[ -~]{0,60}", 0..4),
        cut: prop::sample::Index,
    ) {
        let lines = signed_now();
        let line = &lines[which.index(lines.len())];
        prop_assume!(known(&line.preset).is_some_and(|preset| preset.scheme.kind.signs()));
        let mut damaged = line.clone();
        let headers = damaged.headers.len();
        for (index, value) in values.iter().enumerate() {
            if headers > 0 {
                damaged.headers[index % headers].1 = match value.len() % 3 {
                    0 => value.clone(),
                    _ => line.headers[index % headers].1.chars().take(cut.index(80)).collect(),
                };
            }
        }
        let mut delivery = damaged.delivery();
        if let Some(body) = body {
            delivery.body = body.into();
        }
        let explained = line.verifier().explain(&delivery, line.at());
        if let Ok(Outcome::Event(_)) = explained.outcome {
            prop_assert_eq!(&delivery.body[..], &line.body()[..]);
        }
    }
}

mod gateway {
    //! The same deliveries over a socket, to the binary that people run.

    use std::{
        collections::{BTreeMap, BTreeSet},
        fmt::Write as _,
        io::{BufRead as _, BufReader},
    };

    use data_encoding::BASE64;
    use hookrill::ingest::keeps_header;
    use hookrill_verify::{Delivery, Outcome};
    use serde_json::Value;

    use super::line::{Line, known, signed_now};
    use hookrill_testing::Process;

    /// The shortest value that is looked for: others may stand anywhere.
    const SECRET_CHARS_MIN: usize = 16;

    /// What each preset's sender signed is verified again of what the journal has of it,
    /// and nobody sees the signature who may not.
    #[test]
    fn what_is_kept_of_a_delivery_is_enough_to_verify_it_and_is_shown_to_few() {
        let folder = tempfile::tempdir().unwrap();
        let lines: Vec<&Line> = signed_now()
            .iter()
            .filter(|line| known(&line.preset).is_some() && line.is_for_the_gateway())
            .collect();
        let gateway = Process::start(folder.path(), &config(&lines));
        for line in &lines {
            line.send(&gateway.url(), &line.headers);
        }
        let token = gateway.run(&["token", "--topic", "*", "--full", "--deliveries"]);
        let token = token.trim();
        let deliveries = history(&gateway, &format!("format=delivery&token={token}"));
        let mut verified = BTreeSet::new();
        for json in deliveries.lines() {
            let delivery: Value = serde_json::from_str(json).unwrap();
            let Some(topic) = delivery["topic"].as_str() else {
                continue;
            };
            let is_of_it = |line: &&&Line| line.topic() == topic && !line.hands_over();
            let mut of_it = lines.iter().filter(is_of_it);
            let holds = of_it.any(|line| {
                let outcome = line.verifier().verify(rebuilt(&delivery, line), line.at());
                matches!(outcome, Ok(Outcome::Event(_)))
            });
            let signs = known(topic).is_some_and(|preset| preset.scheme.kind.signs());
            assert!(holds || !signs, "{topic}: {delivery}");
            assert_eq!(delivery["headers_cut"], false, "{topic}");
            verified.extend(signs.then(|| topic.to_owned()));
        }
        assert!(verified.len() >= 80, "{}: {verified:?}", verified.len());
        let secrets = lines.iter().flat_map(|line| &line.headers);
        let secrets: Vec<&str> = secrets
            .filter(|(name, value)| {
                !keeps_header(&name.to_ascii_lowercase()) && value.len() >= SECRET_CHARS_MIN
            })
            .map(|(_, value)| &**value)
            .collect();
        assert!(secrets.len() > 80, "{}", secrets.len());
        let full = gateway.run(&["token", "--topic", "*", "--full"]);
        for asked in ["format=raw", "format=cloudevents", "names=on", ""] {
            let seen = history(&gateway, &format!("{asked}&token={}", full.trim()));
            assert!(seen.lines().count() > 80);
            let leaked = secrets.iter().find(|secret| seen.contains(**secret));
            assert_eq!(leaked, None, "{asked}");
        }
        let log = gateway.stop();
        assert_eq!(secrets.iter().find(|secret| log.contains(**secret)), None);
    }

    /// All that a stream has of the history: lines for deliveries and where no format is
    /// asked for, else Server-Sent Events.
    fn history(gateway: &Process, query: &str) -> String {
        let lines = query.contains("delivery") || query.starts_with('&');
        let accept = if lines {
            "application/x-ndjson"
        } else {
            "text/event-stream"
        };
        let url = format!("{}/events?since=earliest&{query}", gateway.url());
        let response = ureq::get(&url).header("Accept", accept).call().unwrap();
        let mut seen = String::new();
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line.unwrap();
            if line.contains(r#"{"live":true}"#) {
                break;
            }
            seen += &line;
            seen += "\n";
        }
        seen
    }

    /// The delivery as whoever is shown it can build it.
    fn rebuilt(told: &Value, line: &Line) -> Delivery {
        let text = |member: &str| told[member].as_str().unwrap();
        let header = |pair: &Value| {
            let name: http::HeaderName = pair[0].as_str().unwrap().parse().unwrap();
            let value = http::HeaderValue::from_str(pair[1].as_str().unwrap()).unwrap();
            (name, value)
        };
        let target = format!("/ingest/{}{}", line.topic(), text("target"));
        let headers = told["headers"].as_array().unwrap().iter().map(header);
        Delivery::new(
            text("method").parse().unwrap(),
            target,
            headers.collect(),
            BASE64.decode(text("body_base64").as_bytes()).unwrap(),
            line.at(),
        )
    }

    #[test]
    fn takes_them_all_and_answers_every_handshake() {
        let folder = tempfile::tempdir().unwrap();
        let lines: Vec<&Line> = signed_now()
            .iter()
            .filter(|line| known(&line.preset).is_some() && line.is_for_the_gateway())
            .collect();
        let gateway = Process::start(folder.path(), &config(&lines));
        let url = gateway.url();
        for line in lines {
            let answer = line.send(&url, &line.headers);
            match &line.handshake {
                Some(wanted) => {
                    wanted.is_like(answer.status, &answer.body, line);
                    assert_eq!(answer.nosniff, Some("nosniff".to_owned()), "{line}");
                }
                None => assert_eq!(answer.status, 200, "{line}"),
            }
            if line.method == "POST" && !line.hands_over() && !line.signed_in_body() {
                let refused = line.send(&url, &[]);
                assert_eq!(refused.status, 401, "{line}");
            }
        }
        for (path, allowed) in [
            ("/ingest/github?challenge=x", "POST"),
            (
                "/ingest/meta?hub.mode=subscribe&hub.challenge=x&hub.verify_token=guess",
                "POST",
            ),
            ("/ingest/okta", "POST"),
            ("/ingest/nothing", "POST"),
        ] {
            let response = ureq::Agent::new_with_config(super::line::lenient())
                .get(&format!("{url}{path}"))
                .call()
                .unwrap();
            assert_eq!(response.status(), 405, "{path}");
            assert_eq!(response.headers()["allow"], allowed, "{path}");
        }
    }

    /// A topic for each preset with all the secrets that its lines have.
    pub(super) fn config(lines: &[&Line]) -> String {
        let mut secrets = BTreeMap::<String, Vec<String>>::new();
        let mut words = BTreeMap::<String, String>::new();
        // The first secret answers handshakes.
        let greets = |line: &&Line| line.handshake.is_some();
        let (greeting, others): (Vec<&Line>, Vec<&Line>) = lines.iter().copied().partition(greets);
        for line in greeting.into_iter().chain(others) {
            let known = secrets.entry(line.topic()).or_default();
            if !known.contains(&line.secret) && !line.hands_over() && line.is_secret() {
                known.push(line.secret.clone());
            }
            if let Some(word) = line.handshake.as_ref().and_then(|h| h.verify_token.clone()) {
                words.insert(line.topic(), word);
            }
        }
        let mut toml = "public_url = \"https://hooks.example.com\"\n\
                        [journal]\nkind = \"memory\"\n\
                        [access]\nsecret = \"0123456789abcdef0123456789abcdef\"\n"
            .to_owned();
        for (topic, known) in secrets {
            let preset = topic.trim_end_matches("-new");
            let list = toml::Value::from(known);
            writeln!(
                toml,
                "[topics.{topic}]\npreset = \"{preset}\"\naccess = \"public\""
            )
            .unwrap();
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                writeln!(toml, "secrets = {list}").unwrap();
            }
            if let Some(word) = words.get(&topic) {
                writeln!(toml, "verify_token = \"{word}\"").unwrap();
            }
        }
        toml
    }
}
