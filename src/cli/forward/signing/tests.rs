//! Signatures that are kept, made again, put back and left out.

use std::time::Duration;

use super::super::{delivery::tests::stored, target::Target};
use hookrill_core::Timestamp;
use hookrill_verify::Outcome;

use super::*;

const ORIGIN: &str = "http://localhost:3000";
/// When the deliveries of these tests arrived.
const ARRIVED: u64 = 1_796_040_000;

struct Case<'a> {
    mode: SignatureMode,
    secret: Option<&'a str>,
    preset: Option<&'a str>,
    public_url: Option<&'a str>,
    later: u64,
}

const AUTO: Case<'_> = Case {
    mode: SignatureMode::Auto,
    secret: None,
    preset: None,
    public_url: None,
    later: 0,
};

fn applied(
    case: &Case<'_>,
    topic: &str,
    headers: &[(&str, &str)],
) -> (Outgoing, SignatureState, String) {
    let omitted: Vec<_> = headers
        .iter()
        .filter(|(_, value)| value.is_empty())
        .collect();
    let stored = stored(serde_json::json!({
        "topic": topic,
        "headers": headers.iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>(),
        "omitted": omitted.iter().map(|(name, _)| name).collect::<Vec<_>>(),
    }));
    let now = Timestamp::from_unix_secs(ARRIVED).plus(Duration::from_secs(case.later));
    let args = SigningArgs {
        mode: case.mode,
        secret: case.secret.map(Secret::from),
        preset: case.preset,
        public_url: case.public_url,
    };
    let signing = SignatureChoice::new(args, None, Clock::fixed(now)).unwrap();
    let mut outgoing = Outgoing::new(&stored, &Target::parse("3000").unwrap());
    let (proof, note) = signing.apply(&mut outgoing, &stored, ORIGIN);
    (outgoing, proof, note.unwrap_or_default())
}

fn verifies(outgoing: &Outgoing, preset: &str, secret: &str, url: &str, at: u64) {
    let scheme = hookrill_verify::preset(preset).unwrap().scheme;
    let settings = Settings::new([secret]).with_public_url(url);
    let verifier = Verifier::offline(scheme, settings).unwrap();
    let at = Timestamp::from_unix_secs(at);
    let delivery = Delivery::new(
        outgoing.method.clone(),
        outgoing.path_and_query.clone(),
        outgoing.headers.clone(),
        outgoing.body.clone(),
        at,
    );
    let outcome = verifier.verify(delivery, at);
    assert!(matches!(outcome, Ok(Outcome::Event(_))), "{outcome:?}");
}

#[test]
fn a_signature_is_kept_while_it_is_good_and_then_made_again_where_there_is_a_secret() {
    let stripe = [("stripe-signature", "t=1796040000,v1=00")];
    for (later, secret, expected, says) in [
        (0, None, SignatureState::Kept, ""),
        (0, Some("whsec_s"), SignatureState::Kept, ""),
        (149, Some("whsec_s"), SignatureState::Kept, ""),
        (150, Some("whsec_s"), SignatureState::Fresh, ""),
        (86_400, Some("whsec_s"), SignatureState::Fresh, ""),
        (
            150,
            None,
            SignatureState::Kept,
            "refuse signatures older than 300 s: --preset stripe --secret \
             env:STRIPE_WEBHOOK_SECRET signs again",
        ),
    ] {
        let case = Case {
            secret,
            later,
            ..AUTO
        };
        let (outgoing, proof, note) = applied(&case, "pay", &stripe);
        assert_eq!(proof, expected, "{later} {secret:?}");
        assert!(note.contains(says), "{note}");
        assert_eq!(note.is_empty(), says.is_empty(), "{note}");
        if proof == SignatureState::Fresh {
            verifies(&outgoing, "stripe", "whsec_s", ORIGIN, ARRIVED + later);
        } else {
            assert_eq!(outgoing.headers["stripe-signature"], stripe[0].1);
        }
    }
}

#[test]
fn what_dates_nothing_is_kept_for_good_unless_asked_otherwise() {
    let github = [
        ("x-hub-signature-256", "sha256=00"),
        ("x-github-event", "push"),
    ];
    let old = Case {
        secret: Some("s"),
        later: 1 << 30,
        ..AUTO
    };
    assert_eq!(applied(&old, "github", &github).1, SignatureState::Kept);
    let fresh = Case {
        mode: SignatureMode::Fresh,
        ..old
    };
    let (outgoing, proof, _) = applied(&fresh, "github", &github);
    assert_eq!(proof, SignatureState::Fresh);
    verifies(&outgoing, "github", "s", ORIGIN, ARRIVED);
    // Several presets have this header, and the topic is named like none of them.
    let unknown = applied(&fresh, "code", &github);
    assert_eq!(unknown.1, SignatureState::Kept);
    assert!(unknown.2.contains("--preset"), "{}", unknown.2);
    let named = Case {
        preset: Some("github"),
        ..fresh
    };
    assert_eq!(applied(&named, "code", &github).1, SignatureState::Fresh);
}

#[test]
fn what_only_a_private_key_signs_is_kept_and_says_so() {
    let discord = [
        ("x-signature-ed25519", "00"),
        ("x-signature-timestamp", "1796040000"),
    ];
    for mode in [SignatureMode::Auto, SignatureMode::Fresh] {
        let key = "11".repeat(32);
        let secret = (mode == SignatureMode::Fresh).then_some(&*key);
        let case = Case {
            mode,
            secret,
            later: 1 << 20,
            ..AUTO
        };
        let (_, proof, note) = applied(&case, "discord", &discord);
        assert_eq!(proof, SignatureState::Kept);
        assert!(
            note.contains("private key") || note.contains("public key"),
            "{note}"
        );
    }
}

#[test]
fn a_token_is_put_back_or_left_out_with_a_word() {
    let gitlab = [("x-gitlab-token", "")];
    let (outgoing, proof, note) = applied(&AUTO, "gitlab", &gitlab);
    assert_eq!((proof, outgoing.headers.len()), (SignatureState::Kept, 0));
    assert!(note.contains("left out"), "{note}");
    assert!(
        note.contains("--preset gitlab --secret env:GITLAB_WEBHOOK_SECRET"),
        "{note}"
    );
    let case = Case {
        secret: Some("hunter2"),
        ..AUTO
    };
    let (restored, restored_proof, _) = applied(&case, "gitlab", &gitlab);
    assert_eq!(restored_proof, SignatureState::Fresh);
    assert_eq!(restored.headers["x-gitlab-token"], "hunter2");
    assert!(!format!("{:?}", restored.without_secrets()).contains("hunter2"));
}

#[test]
fn a_url_that_is_signed_is_the_one_that_the_program_has() {
    let twilio = [("x-twilio-signature", "AA==")];
    let (_, kept, note) = applied(&AUTO, "twilio", &twilio);
    assert_eq!(kept, SignatureState::Kept);
    assert!(
        note.contains("…/ingest/twilio") && note.contains(ORIGIN),
        "{note}"
    );
    let fresh = Case {
        mode: SignatureMode::Fresh,
        secret: Some("s"),
        ..AUTO
    };
    let (outgoing, proof, _) = applied(&fresh, "twilio", &twilio);
    assert_eq!(proof, SignatureState::Fresh);
    verifies(&outgoing, "twilio", "s", ORIGIN, ARRIVED);
    let public_url = Some("https://tunnel.example");
    let case = Case {
        public_url,
        secret: Some("s"),
        ..AUTO
    };
    let (for_tunnel, proof_for_tunnel, _) = applied(&case, "twilio", &twilio);
    assert_eq!(proof_for_tunnel, SignatureState::Fresh);
    verifies(
        &for_tunnel,
        "twilio",
        "s",
        "https://tunnel.example",
        ARRIVED,
    );
}

#[test]
fn fresh_without_anything_to_sign_with_is_wrong_usage() {
    let args = |preset, secret: Option<&str>| SigningArgs {
        mode: SignatureMode::Fresh,
        secret: secret.map(Secret::from),
        preset,
        public_url: None,
    };
    let clock = || Clock::fixed(Timestamp::default());
    for (wrong, says) in [
        (args(None, None), "--signature fresh needs a secret"),
        (args(Some("gihtub"), Some("s")), "did you mean"),
        (
            args(Some("standard-webhooks"), Some("%")),
            "--secret cannot be used",
        ),
    ] {
        let error = SignatureChoice::new(wrong, None, clock()).err().unwrap();
        assert!(error.is::<UsageError>(), "{error:#}");
        assert!(format!("{error:#}").contains(says), "{error:#}");
    }
}

#[test]
fn what_a_gateway_has_not_kept_is_made_again_where_there_is_a_secret() {
    // `applied` leaves out what has no value, as a section with keep_proof = false does.
    let unkept = [("x-hub-signature-256", ""), ("x-github-event", "push")];
    let without = applied(&AUTO, "github", &unkept);
    assert_eq!(without.1, SignatureState::Kept);
    assert!(without.2.contains("keep_proof = false"), "{}", without.2);
    let case = Case {
        secret: Some("s"),
        ..AUTO
    };
    let (outgoing, state, _) = applied(&case, "github", &unkept);
    assert_eq!(state, SignatureState::Fresh);
    verifies(&outgoing, "github", "s", ORIGIN, ARRIVED);
}
