//! Which signature a program is sent: the one that came, or one made again here.
//!
//! Signs with what whoever runs this has: the gateway never does, since whoever may read
//! deliveries could then have anything signed. Invariant: a signature is made only for
//! what a gateway has verified, and only by the scheme that it came with.

mod plan;

use anyhow::Context as _;
use clap::ValueEnum;
use hookrill_core::{Clock, Secret};
use hookrill_verify::{Delivery, Preset, Replay, Scheme, Settings, SignError, Signed, Verifier};
use http::Method;

use super::{super::UsageError, delivery::StoredDelivery, outgoing::Outgoing};
use crate::config::{Config, no_such_preset};
use plan::{Plan, has_proof, is_signed, may_be_of};

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
            SignatureMode::Auto if !plan.is_signed => false,
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
            is_signed: is_signed(&preset.scheme, delivery),
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
                is_signed: is_signed_for(&topic.verifier, delivery),
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

/// Whether a header is there by which a scheme of one's own verifies, or it has none.
fn is_signed_for(verifier: &Verifier, delivery: &StoredDelivery) -> bool {
    let names = verifier.proof_headers();
    names.is_empty() || names.iter().any(|name| delivery.headers.contains_key(name))
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

#[cfg(test)]
mod tests;
