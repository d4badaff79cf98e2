//! `hookrill token`: mints a subscriber token with the configured secret.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use data_encoding::HEXLOWER;
use hookrill_core::{Clock, Topic};

use super::{Context, output};
use crate::{
    access::{self, Claims},
    config::{Config, MissingSecrets},
};

/// In a token: every topic.
const EVERYTHING: &str = "*";
const TTL_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A topic it may read, subtopics included; "*" for all. May be repeated
    #[arg(long = "topic", value_name = "TOPIC", required = true, value_parser = topic)]
    topics: Vec<String>,

    /// For how long it is good
    #[arg(long, default_value = "1h", value_parser = ttl)]
    ttl: Duration,

    /// For whom
    #[arg(long, value_name = "NAME")]
    sub: Option<String>,

    /// Show bodies whole, whatever `expose` and `hide` keep from others
    #[arg(long)]
    full: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let config = context.config(MissingSecrets::Refuse)?;
    for topic in &args.topics {
        let known = topic
            .parse()
            .map(|topic| config.topics.lookup(&topic).is_some());
        if known == Ok(false) {
            output::talk(format_args!("hookrill: note: nothing configures {topic}"));
        }
    }
    if let Some(ttl_max) = config.access.token_ttl_max.filter(|max| args.ttl > *max) {
        let ttl_max = humantime::format_duration(ttl_max);
        bail!("access.token_ttl_max is {ttl_max}: a longer --ttl would be refused");
    }
    let wanted = Claims {
        topics: args.topics.clone(),
        sub: args.sub.clone(),
        full: args.full,
        ..Claims::default()
    };
    let token = mint(&config, wanted, args.ttl, &context.clock)?;
    output::print(format!("{token}\n"))
}

/// A token that `config`'s gateway takes, for these topics and this subject.
pub(super) fn mint(
    config: &Config,
    wanted: Claims,
    ttl: Duration,
    clock: &Clock,
) -> anyhow::Result<String> {
    let secret = config.access.secret.as_ref();
    let secret = secret.ok_or_else(|| {
        anyhow!("access.secret is not written: nothing could check a token, and no topic needs one")
    })?;
    let now = clock.now();
    let ttl = config.access.token_ttl_max.map_or(ttl, |max| ttl.min(max));
    let claims = Claims {
        exp: now.plus(ttl).unix_secs(),
        // With these, it can be revoked.
        iat: Some(now.unix_secs()),
        jti: Some(token_id()?),
        ..wanted
    };
    access::mint(secret, &claims).context("the token cannot be signed")
}

/// A name that no other token has.
fn token_id() -> anyhow::Result<String> {
    let mut entropy = [0; 16];
    let filled = getrandom::fill(&mut entropy);
    filled.map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
    Ok(HEXLOWER.encode(&entropy))
}

/// Reads a topic, or `"*"`.
pub(super) fn topic(text: &str) -> Result<String, hookrill_core::TopicError> {
    match text {
        EVERYTHING => Ok(text.to_owned()),
        _ => text.parse().map(|topic: Topic| topic.to_string()),
    }
}

fn ttl(text: &str) -> Result<Duration, &'static str> {
    match humantime::parse_duration(text) {
        Ok(ttl) if ttl >= Duration::from_secs(1) && ttl <= TTL_MAX => Ok(ttl),
        Ok(_) => Err("a second to ten years"),
        Err(_) => Err("a duration with a unit, such as 15m, 1h or 30d"),
    }
}
