//! The arguments that `forward` and `resend` share: how deliveries are sent.

use std::{cell::RefCell, collections::BTreeSet, path::PathBuf, time::Duration};

use anyhow::Context as _;
use hookrill_core::Secret;
use http::{HeaderName, HeaderValue};

use super::{
    super::{Context, UsageError, verify::header},
    app::LocalApp,
    gateway::RemoteGateway,
    outgoing::HeaderChanges,
    saved::Saved,
    screen::Screen,
    session::Session,
    signing::{SignatureChoice, SignatureMode, SigningArgs},
    tally::word,
    target::ForwardRoute,
};
use crate::config::MissingSecrets;

/// The longest that a program may take.
const TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

/// Arguments about how deliveries are sent.
#[derive(Debug, clap::Args)]
pub(in super::super) struct SendingArgs {
    /// URL of the gateway [default: the gateway of this folder or configuration, on this
    /// machine]
    #[arg(long, env = "HOOKRILL_URL", value_parser = super::super::UrlParser)]
    url: Option<String>,

    /// Subscriber token with the claim "deliveries" [default: a new one, signed with the
    /// configured secret]
    #[arg(long, env = "HOOKRILL_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// Which signature is sent
    #[arg(long, value_enum, default_value_t)]
    signature: SignatureMode,

    /// Secret to sign with again, or token to put back, instead of the configured one; env:NAME
    /// and file:PATH keep it out of the process list
    #[arg(long, hide_env_values = true)]
    secret: Option<String>,

    /// Preset to sign with again [default: the topic's, or the one whose headers a delivery has]
    #[arg(long)]
    preset: Option<String>,

    /// URL that the program believes to have, where the scheme signs it [default: the target's]
    #[arg(long, value_name = "URL", value_parser = super::super::UrlParser)]
    public_url: Option<String>,

    /// Add this header to each request, in place of one of the same name; repeat it for more
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// Leave this header out of each request; repeat it for more
    #[arg(long = "drop-header", value_name = "NAME")]
    drop_headers: Vec<HeaderName>,

    /// How long the program may take to answer
    #[arg(long, default_value = "30s", value_parser = timeout)]
    timeout: Duration,

    /// How often a request is sent again that was answered with 5xx or 429, or in no time
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=10))]
    retries: u8,

    /// Also save each request in this folder, as <ID>.http and as a script with curl, <ID>.sh
    #[arg(long, value_name = "FOLDER")]
    save: Option<PathBuf>,

    /// Take any certificate of a target with https
    #[arg(long)]
    insecure: bool,

    /// Print JSON, one line for each attempt [default where stdout is not a terminal]
    #[arg(long)]
    json: bool,
}

impl SendingArgs {
    /// A run with one program for each route.
    pub(super) fn session(
        &self,
        topics: Vec<String>,
        routes: &[ForwardRoute],
        context: &Context,
    ) -> anyhow::Result<Session> {
        let secret = match &self.secret {
            None => None,
            Some(text) => {
                let value = context.sources().value(text);
                let value = value.context(UsageError::new("--secret cannot be used"))?;
                Some(Secret::new(value.into_bytes()))
            }
        };
        let signing = SignatureChoice::new(
            SigningArgs {
                mode: self.signature,
                secret,
                preset: self.preset.as_deref(),
                public_url: self.public_url.as_deref(),
            },
            context.config(MissingSecrets::Refuse).ok(),
            context.clock.clone(),
        )?;
        let apps = routes
            .iter()
            .map(|route| LocalApp::new(route.target.clone(), self.timeout, self.insecure));
        Ok(Session {
            gateway: RemoteGateway::new(
                self.url.as_deref(),
                self.token.as_deref(),
                topics,
                context,
            ),
            clock: context.clock.clone(),
            signing,
            headers: HeaderChanges {
                added: self.headers.clone(),
                dropped: self.drop_headers.clone(),
            },
            retries: u32::from(self.retries),
            saved: self.save.as_deref().map(Saved::in_folder).transpose()?,
            apps: apps.collect::<anyhow::Result<_>>()?,
            screen: RefCell::new(Screen::new(self.json, &context.environment)),
            tally: RefCell::default(),
            notes: RefCell::new(BTreeSet::new()),
        })
    }

    /// What a command has to say that goes on or sends again: everything but tokens and
    /// secrets that are written out.
    pub(super) fn again_options(&self) -> String {
        let mut text = String::new();
        let mut add = |option: &str, value: Option<&str>| {
            if let Some(value) = value {
                text.push_str(&format!(" {option} {}", word(value)));
            }
        };
        add("--url", self.url.as_deref());
        add("--preset", self.preset.as_deref());
        add("--public-url", self.public_url.as_deref());
        let by_name = |secret: &&str| secret.starts_with("env:") || secret.starts_with("file:");
        add("--secret", self.secret.as_deref().filter(by_name));
        match self.signature {
            SignatureMode::Auto => {}
            SignatureMode::Keep => add("--signature", Some("keep")),
            SignatureMode::Fresh => add("--signature", Some("fresh")),
        }
        text
    }
}

fn timeout(text: &str) -> Result<Duration, &'static str> {
    match humantime::parse_duration(text) {
        Ok(timeout) if !timeout.is_zero() && timeout <= TIMEOUT_MAX => Ok(timeout),
        Ok(_) => Err("must be more than nothing and at most 1h"),
        Err(_) => Err("must be a duration with a unit, such as 30s or 2m"),
    }
}
