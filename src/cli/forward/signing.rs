//! Which signature a program is sent: the one that came, or one made again here.
//!
//! Signs with what whoever runs this has: the gateway never does, since whoever may read
//! deliveries could then have anything signed. Invariant: a signature is made only for
//! what a gateway has verified, and only by the scheme that it came with.

use anyhow::Context as _;
use clap::ValueEnum;
use hookrill_core::{Clock, Secret};
use hookrill_verify::{
    Delivery, Preset, Replay, Scheme, Settings, SignError, Signed, Verifier,
    scheme::{Authorization, HeaderNames},
};
use http::{HeaderName, Method};

use super::{super::UsageError, delivery::StoredDelivery, outgoing::Outgoing};
use crate::config::{Config, no_such_preset};

/// Which signature is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum SignatureMode {
    /// The one that came while a receiver takes it, then one made again
    #[default]
    Auto,
    /// The one that came
    Keep,
    /// One made again, as of now
    Fresh,
}

/// What became of the proof of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignatureState {
    /// It is as it came, or there is none.
    Kept,
    /// It was made again.
    Fresh,
}

/// Decides on the signature of each request, and signs.
pub(super) struct SignatureChoice {
    mode: SignatureMode,
    secret: Option<Secret>,
    preset: Option<Preset>,
    /// What the program believes to be its URL, if not where it is reached.
    public_url: Option<String>,
    /// The configuration of a gateway, where one is here.
    config: Option<Config>,
    presets: Vec<Preset>,
    clock: Clock,
}

/// How deliveries of a provider are signed, and what is there to sign with.
struct Plan {
    replay: Replay,
    /// Who signs like this.
    title: String,
    /// Its name as one of the presets.
    preset: Option<String>,
    verifier: Option<Verifier>,
}

/// What the arguments say of signatures.
pub(super) struct SigningArgs<'a> {
    pub(super) mode: SignatureMode,
    pub(super) secret: Option<Secret>,
    pub(super) preset: Option<&'a str>,
    pub(super) public_url: Option<&'a str>,
}

impl SignatureChoice {
    /// # Errors
    ///
    /// Where nothing could ever be signed as was asked for.
    pub(super) fn new(
        args: SigningArgs<'_>,
        config: Option<Config>,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let preset = match args.preset {
            None => None,
            Some(name) => {
                let found = hookrill_verify::preset(name);
                Some(found.with_context(|| UsageError::new(no_such_preset(name)))?)
            }
        };
        if args.mode == SignatureMode::Fresh && args.secret.is_none() && config.is_none() {
            return Err(UsageError::new(
                "--signature fresh needs a secret: give --secret env:NAME, and --preset NAME where \
                 it can't be told from the headers, or name the gateway's configuration with \
                 --config",
            )
            .into());
        }
        let signing = Self {
            mode: args.mode,
            secret: args.secret,
            preset,
            public_url: args.public_url.map(str::to_owned),
            config,
            presets: hookrill_verify::presets(),
            clock,
        };
        signing.check_secret()?;
        Ok(signing)
    }

    /// Refuses a secret that the preset can't be used with.
    fn check_secret(&self) -> anyhow::Result<()> {
        let (Some(preset), Some(_)) = (&self.preset, &self.secret) else {
            return Ok(());
        };
        if Replay::of(&preset.scheme) == Replay::Unsigned {
            return Ok(());
        }
        let compiled = self.compiled(&preset.scheme, &Method::POST, "http://localhost");
        compiled.context(UsageError::new("--secret cannot be used with this preset"))?;
        Ok(())
    }

    /// Gives a request its signature; returns what became of it, and what to say once.
    pub(super) fn apply(
        &self,
        request: &mut Outgoing,
        delivery: &StoredDelivery,
        origin: &str,
    ) -> (SignatureState, Option<String>) {
        let Some(plan) = self.plan(delivery, origin) else {
            return (SignatureState::Kept, self.without_plan());
        };
        match plan.replay {
            Replay::Token => self.put_token_back(&plan, request, delivery),
            Replay::Signature { .. } if self.keeps(&plan, delivery) => (
                SignatureState::Kept,
                self.about_url(&plan, delivery, origin),
            ),
            Replay::Signature { .. } => self.sign_again(&plan, request, delivery),
            _ => (SignatureState::Kept, None),
        }
    }

    fn without_plan(&self) -> Option<String> {
        let wants = self.secret.is_some() || self.mode == SignatureMode::Fresh;
        wants.then(|| {
            "the scheme can't be told from the headers, so signatures stay as they came: --preset \
             NAME says which it is"
                .to_owned()
        })
    }

    /// Whether the signature stays as it came.
    fn keeps(&self, plan: &Plan, delivery: &StoredDelivery) -> bool {
        let Replay::Signature {
            tolerance,
            signs_url,
            ..
        } = plan.replay
        else {
            return true;
        };
        match self.mode {
            SignatureMode::Keep => true,
            SignatureMode::Fresh => false,
            // It was said which URL the program has.
            SignatureMode::Auto if signs_url && self.public_url.is_some() => false,
            SignatureMode::Auto => {
                let age = self.clock.now().since(delivery.arrived);
                tolerance.is_none_or(|tolerance| age < tolerance / 2)
            }
        }
    }

    /// What to know of a signature that covers a URL, and stays.
    fn about_url(&self, plan: &Plan, delivery: &StoredDelivery, origin: &str) -> Option<String> {
        match plan.replay {
            Replay::Signature {
                signs_url: true, ..
            } => Some(format!(
                "the signature of {} covers the URL that it was given (…/ingest/{}): tell your \
                 program that URL, or --signature fresh signs for {origin}",
                plan.title, delivery.topic
            )),
            _ => None,
        }
    }

    fn sign_again(
        &self,
        plan: &Plan,
        request: &mut Outgoing,
        delivery: &StoredDelivery,
    ) -> (SignatureState, Option<String>) {
        let Some(verifier) = &plan.verifier else {
            return (SignatureState::Kept, Some(plan.without_secret(self.mode)));
        };
        match self.signed(verifier, request, delivery) {
            Ok(signed) => {
                put(request, signed, false);
                (SignatureState::Fresh, None)
            }
            Err(error) => (SignatureState::Kept, Some(plan.unsignable(&error))),
        }
    }

    fn put_token_back(
        &self,
        plan: &Plan,
        request: &mut Outgoing,
        delivery: &StoredDelivery,
    ) -> (SignatureState, Option<String>) {
        if self.mode == SignatureMode::Keep {
            return (SignatureState::Kept, None);
        }
        let Some(verifier) = &plan.verifier else {
            return (SignatureState::Kept, Some(plan.without_token()));
        };
        if let Some(body) = verifier.with_token_in(&request.body) {
            request.secrets.body = Some(std::mem::replace(&mut request.body, body.into()));
        }
        match self.signed(verifier, request, delivery) {
            Ok(signed) => {
                put(request, signed, true);
                (SignatureState::Fresh, None)
            }
            Err(error) => (SignatureState::Kept, Some(plan.unsignable(&error))),
        }
    }

    fn signed(
        &self,
        verifier: &Verifier,
        request: &Outgoing,
        delivery: &StoredDelivery,
    ) -> Result<Signed, SignError> {
        let now = self.clock.now();
        let draft = Delivery::new(
            request.method.clone(),
            request.path_and_query.clone(),
            request.headers.clone(),
            request.body.clone(),
            now,
        );
        verifier.sign(&draft, None, &delivery.name(), now)
    }

    /// How this delivery is signed, as far as that can be told.
    fn plan(&self, delivery: &StoredDelivery, origin: &str) -> Option<Plan> {
        let url = self.public_url.as_deref().unwrap_or(origin);
        if let Some(preset) = &self.preset {
            return Some(self.preset_plan(preset, delivery, url, true));
        }
        if let Some(plan) = self.configured_plan(delivery, url) {
            return Some(plan);
        }
        let (preset, is_certain) = self.guessed(delivery)?;
        Some(self.preset_plan(preset, delivery, url, is_certain))
    }

    fn preset_plan(
        &self,
        preset: &Preset,
        delivery: &StoredDelivery,
        url: &str,
        is_certain: bool,
    ) -> Plan {
        let compiled = self.compiled(&preset.scheme, &delivery.method, url);
        Plan {
            replay: Replay::of(&preset.scheme),
            title: preset.title.to_string(),
            preset: Some(preset.name.to_string()),
            verifier: compiled.ok().filter(|_| is_certain),
        }
    }

    /// As the topic is configured here, if the delivery looks like one of that scheme: the
    /// configuration may be another gateway's.
    fn configured_plan(&self, delivery: &StoredDelivery, url: &str) -> Option<Plan> {
        let topic = self.config.as_ref()?.topics.lookup(&delivery.topic)?;
        let Some(preset) = self
            .presets
            .iter()
            .find(|preset| preset.name == topic.scheme)
        else {
            let verifier = self.secret.is_none().then(|| topic.verifier.clone());
            return Some(Plan {
                replay: topic.verifier.replay(),
                title: format!("the topic {}", delivery.topic),
                preset: None,
                verifier: verifier.map(|verifier| verifier.with_public_url(url)),
            });
        };
        if !may_be_of(&preset.scheme, delivery) {
            return None;
        }
        let mut plan = self.preset_plan(preset, delivery, url, true);
        if self.secret.is_none() {
            plan.verifier = Some(topic.verifier.clone().with_public_url(url));
        }
        Some(plan)
    }

    /// The preset whose headers a delivery has, and whether there is only one.
    fn guessed(&self, delivery: &StoredDelivery) -> Option<(&Preset, bool)> {
        let topic = delivery.topic.as_str().split('.').next();
        let namesake = self
            .presets
            .iter()
            .find(|preset| Some(&*preset.name) == topic);
        if let Some(preset) = namesake.filter(|preset| may_be_of(&preset.scheme, delivery)) {
            return Some((preset, true));
        }
        let of_headers = self.presets.iter();
        let of_headers: Vec<_> = of_headers
            .filter(|preset| has_proof(&preset.scheme, delivery))
            .collect();
        let first = *of_headers.first()?;
        let replay = Replay::of(&first.scheme);
        let is_shared = of_headers
            .iter()
            .all(|preset| Replay::of(&preset.scheme) == replay);
        is_shared.then_some((first, of_headers.len() == 1))
    }

    fn compiled(&self, scheme: &Scheme, method: &Method, url: &str) -> anyhow::Result<Verifier> {
        let secret = self.secret.clone().context("there is no secret")?;
        let mut settings = Settings::new([secret]).with_public_url(url);
        settings.methods = vec![method.clone()];
        Ok(Verifier::offline(scheme.clone(), settings)?)
    }
}

impl Plan {
    /// The argument that would help.
    fn secret_argument(&self) -> String {
        match &self.preset {
            Some(name) => {
                let variable = name.to_ascii_uppercase().replace('-', "_");
                format!("--preset {name} --secret env:{variable}_WEBHOOK_SECRET")
            }
            None => "--preset NAME --secret env:NAME".to_owned(),
        }
    }

    fn without_secret(&self, mode: SignatureMode) -> String {
        let Replay::Signature {
            tolerance,
            is_by_public_key,
            ..
        } = self.replay
        else {
            return String::new();
        };
        let secs = tolerance.unwrap_or_default().as_secs();
        let title = &self.title;
        if is_by_public_key {
            return format!(
                "{title} signs with a private key, so its signature can only be kept: a program \
                 that checks the time refuses it"
            );
        }
        let why = match (mode, tolerance) {
            (SignatureMode::Auto, Some(_)) => {
                format!("receivers of {title} refuse signatures older than {secs} s")
            }
            _ => format!("there is no secret to sign with as {title} does"),
        };
        format!("{why}: {} signs again", self.secret_argument())
    }

    fn without_token(&self) -> String {
        format!(
            "{} sends a token, which no gateway keeps, so it is left out: {} puts it back",
            self.title,
            self.secret_argument()
        )
    }

    fn unsignable(&self, error: &SignError) -> String {
        format!("the signature of {} stays as it came: {error}", self.title)
    }
}

/// Adds what was signed; `is_token`: that is a secret itself.
fn put(request: &mut Outgoing, signed: Signed, is_token: bool) {
    for (name, value) in signed.headers {
        if is_token {
            request.secrets.headers.push(name.clone());
        }
        request.headers.insert(name, value);
    }
    if let Some(parameter) = signed.query {
        request.append_query(&parameter);
        request.secrets.query = Some(parameter);
    }
}

/// Whether a delivery can be one of this scheme: a token leaves no trace.
fn may_be_of(scheme: &Scheme, delivery: &StoredDelivery) -> bool {
    Replay::of(scheme) == Replay::Token || has_proof(scheme, delivery)
}

/// Whether a delivery has what this scheme verifies, or had it.
fn has_proof(scheme: &Scheme, delivery: &StoredDelivery) -> bool {
    let has = |name: &HeaderName| delivery.headers.contains_key(name);
    let has_any = |names: &HeaderNames| names.iter().any(&has);
    if let Some(signature) = &scheme.signature {
        let has_signature = match (&signature.header, signature.numbered) {
            (Some(names), None) => has_any(names),
            (Some(names), Some(_)) => {
                let first = format!("{}1", names.first());
                delivery.headers.contains_key(first)
            }
            (None, _) => false,
        };
        let time = scheme
            .timestamp
            .as_ref()
            .and_then(|rule| rule.header.as_ref());
        return has_signature && time.is_none_or(has_any);
    }
    let Some(token) = &scheme.token else {
        return false;
    };
    match (&token.header, token.authorization) {
        (Some(names), _) => names
            .iter()
            .any(|name| delivery.omitted.contains(name.as_str())),
        (None, Some(Authorization::Bearer | Authorization::Basic)) => {
            delivery.omitted.contains("authorization")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use super::super::{delivery::tests::stored, target::Target};
    use hookrill_core::Timestamp;
    use hookrill_verify::Outcome;

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
}
