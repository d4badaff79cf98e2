//! The arguments of `forward` and `resend`, and what follows from them.

use std::{cell::RefCell, collections::BTreeSet, path::PathBuf, time::Duration};

use anyhow::Context as _;
use hookrill_core::{Cursor, Secret};
use http::{HeaderName, HeaderValue};

use super::{
    super::{Context, UsageError, verify::header},
    app::App,
    gateway::{Beginning, Gateway},
    lane::{LaneOptions, Until},
    matching::Match,
    outgoing::HeaderChanges,
    saved::Saved,
    screen::Screen,
    session::Session,
    signing::{SignatureMode, Signing, SigningArgs},
    tally::word,
    target::Route,
};
use crate::config::MissingSecrets;

/// The longest that a program may take.
const TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

/// Arguments of `hookrill forward`.
#[derive(Debug, clap::Args)]
pub struct ForwardArgs {
    /// Topics, including their subtopics, and where their deliveries go: 3000, :3000/hooks,
    /// localhost:3000/hooks or http://…; each topic has a target of its own, or that at the end
    #[arg(required = true, value_name = "TOPIC[=TARGET]... [TARGET]", num_args = 1..=65)]
    pub(super) words: Vec<String>,

    /// Send exactly this delivery again, then end; repeat it for more
    #[arg(long = "id", value_name = "ID")]
    #[arg(conflicts_with_all = ["since", "last", "until", "no_follow", "types", "matches"])]
    pub(super) ids: Vec<Cursor>,

    /// Start at "earliest", after a cursor, with the last "2h", or at a time such as
    /// "2026-11-30T08:00:00Z", instead of with new deliveries
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,

    /// Start with the newest COUNT deliveries
    #[arg(long, value_name = "COUNT", conflicts_with = "since")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    last: Option<u16>,

    /// End after this cursor, or at what is stored "now"
    #[arg(long, value_name = "CURSOR|now", conflicts_with = "no_follow", value_parser = until)]
    until: Option<Until>,

    /// End once all that is stored was sent; with --since or --last
    #[arg(long)]
    no_follow: bool,

    /// Only events of these types, separated by commas
    #[arg(long)]
    types: Option<String>,

    /// Only deliveries whose body has this, such as /repository/name=demo or '/amount>100';
    /// repeat it for more, all of which have to hold
    #[arg(long = "match", value_name = "/POINTER=VALUE")]
    matches: Vec<Match>,

    /// How many deliveries of a target are sent at once; more than one changes their order
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    concurrency: u8,

    #[command(flatten)]
    pub(super) sending: SendingArgs,
}

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

impl ForwardArgs {
    pub(super) fn lane_options(&self) -> anyhow::Result<LaneOptions> {
        let until = match self.until {
            Some(until) => until,
            None if self.no_follow => Until::Now,
            None => Until::Never,
        };
        if until == Until::Now && self.since.is_none() && self.last.is_none() {
            return Err(UsageError::new(
                "what is stored is sent from where --since or --last says: add one of them, such \
                 as --since 2h",
            )
            .into());
        }
        Ok(LaneOptions {
            begin: Beginning {
                since: self.since.clone(),
                last: self.last,
            },
            until,
            types: self.types.clone(),
            matches: self.matches.clone(),
            concurrency: usize::from(self.concurrency),
        })
    }

    /// What says which deliveries are wanted, for a command that goes on.
    pub(super) fn reading_options(&self) -> String {
        let mut text = String::new();
        if let Some(types) = &self.types {
            text.push_str(&format!(" --types {}", word(types)));
        }
        for one in &self.matches {
            text.push_str(&format!(" --match {}", word(&one.written())));
        }
        if self.concurrency > 1 {
            text.push_str(&format!(" --concurrency {}", self.concurrency));
        }
        text
    }
}

impl SendingArgs {
    /// A run with one program for each route.
    pub(super) fn session(
        &self,
        topics: Vec<String>,
        routes: &[Route],
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
        let signing = Signing::new(
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
            .map(|route| App::new(route.target.clone(), self.timeout, self.insecure));
        Ok(Session {
            gateway: Gateway::new(self.url.as_deref(), self.token.as_deref(), topics, context),
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

fn until(text: &str) -> Result<Until, &'static str> {
    match text {
        "now" => Ok(Until::Now),
        text => {
            let cursor = text
                .parse()
                .map_err(|_| "must be \"now\", or the id of an event")?;
            Ok(Until::Position(cursor))
        }
    }
}
