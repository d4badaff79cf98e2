//! `hookrill token`: creates a subscriber token, signed with the configured
//! secret.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use data_encoding::HEXLOWER;
use hookrill_core::{Clock, Topic};

use super::{Context, output};
use crate::{
    access::{self, Claims},
    config::{Config, MissingSecrets},
};

/// In a token, this means all topics.
const ALL_TOPICS: &str = "*";
const TTL_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A topic that it may read, with its subtopics; "*" is all topics; repeat it for more
    #[arg(long = "topic", value_name = "TOPIC", required = true, value_parser = topic)]
    topics: Vec<String>,

    /// How long it is valid
    #[arg(long, default_value = "1h", value_parser = ttl)]
    ttl: Duration,

    /// Who it is for: the claim "sub", by which it can be revoked
    #[arg(long, value_name = "NAME")]
    sub: Option<String>,

    /// Also show what the topics' `expose` and `hide` keep from others
    #[arg(long)]
    full: bool,

    /// Also show deliveries as they came, with their signatures: for `hookrill forward`
    /// and `resend`
    #[arg(long)]
    deliveries: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let config = context.config(MissingSecrets::Refuse)?;
    for topic in args.topics.iter().filter(|topic| !covers(&config, topic)) {
        output::status(format_args!(
            "hookrill: note: no section of the configuration covers the topic {topic}"
        ));
    }
    if let Some(ttl_max) = config.access.token_ttl_max.filter(|max| args.ttl > *max) {
        let ttl_max = humantime::format_duration(ttl_max);
        bail!(
            "--ttl is longer than access.token_ttl_max ({ttl_max}); \
             the gateway would refuse the token"
        );
    }
    let wanted = Claims {
        topics: args.topics.clone(),
        sub: args.sub.clone(),
        full: args.full,
        deliveries: args.deliveries,
        ..Claims::default()
    };
    let token = mint(&config, wanted, args.ttl, &context.clock)?;
    output::print(format!("{token}\n"))
}

/// Whether anything configures this topic. `"*"` names no topic.
fn covers(config: &Config, topic: &str) -> bool {
    match topic.parse() {
        Ok(topic) => config.topics.lookup(&topic).is_some(),
        Err(_) => true,
    }
}

/// A token with these claims, which the gateway with this configuration
/// accepts.
pub(super) fn mint(
    config: &Config,
    wanted: Claims,
    ttl: Duration,
    clock: &Clock,
) -> anyhow::Result<String> {
    let secret = config.access.secret.as_ref();
    let secret = secret.ok_or_else(|| {
        anyhow!("access.secret is not set, and the token has to be signed with it")
    })?;
    let now = clock.now();
    let ttl = config.access.token_ttl_max.map_or(ttl, |max| ttl.min(max));
    let claims = Claims {
        exp: now.plus(ttl).unix_secs(),
        // These make it possible to revoke the token.
        iat: Some(now.unix_secs()),
        jti: Some(token_id()?),
        ..wanted
    };
    access::mint(secret, &claims).context("cannot sign the token")
}

/// A random id.
fn token_id() -> anyhow::Result<String> {
    let mut entropy = [0; 16];
    getrandom::fill(&mut entropy).context("the system provides no random numbers")?;
    Ok(HEXLOWER.encode(&entropy))
}

/// Parses a topic, or `"*"`.
pub(super) fn topic(text: &str) -> Result<String, hookrill_core::TopicError> {
    match text {
        ALL_TOPICS => Ok(text.to_owned()),
        _ => text.parse().map(|topic: Topic| topic.to_string()),
    }
}

fn ttl(text: &str) -> Result<Duration, &'static str> {
    match humantime::parse_duration(text) {
        Ok(ttl) if ttl >= Duration::from_secs(1) && ttl <= TTL_MAX => Ok(ttl),
        Ok(_) => Err("must be between one second and ten years"),
        Err(_) => Err("must be a duration with a unit, such as 15m, 1h or 30d"),
    }
}
