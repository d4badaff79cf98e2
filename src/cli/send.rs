//! `hookrill send`: signs an event as its topic requires, and posts it.

use std::io::Read as _;

use anyhow::{Context as _, anyhow, bail};
use hookrill_client::{ConnectOptions, SendError, Sender, Webhook};
use hookrill_core::{Secret, Topic};
use hookrill_verify::Verifier;
use http::HeaderValue;

use super::{Context, USER_AGENT, UsageError, block_on, output};
use crate::config::{MissingSecrets, no_such_preset};

/// What signs where nothing is configured.
const PRESET: &str = "standard-webhooks";

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Topic to send to
    topic: Topic,

    /// Body of the event; "@FILE" reads it from a file; "-", or leaving it out, from stdin
    body: Option<String>,

    /// URL of the gateway [default: the gateway of this folder or configuration, on this
    /// machine]
    #[arg(long, value_parser = super::UrlParser)]
    url: Option<String>,

    /// Secret to sign with, instead of the configured one; env:NAME and file:PATH
    /// keep it out of the process list
    #[arg(long, hide_env_values = true)]
    secret: Option<String>,

    /// Preset to sign with, instead of the configured scheme
    #[arg(long, requires = "secret")]
    preset: Option<String>,

    /// Type of the event; goes where the topic's scheme reads it
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,

    /// Media type of the body [default: JSON if the body is JSON, else text]
    #[arg(long)]
    content_type: Option<HeaderValue>,

    /// Id of the delivery; a second one with the same id is a duplicate [default:
    /// a random id]
    #[arg(long)]
    id: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let url = context.url(args.url.as_deref());
    let verifier = verifier(args, &url, context)?;
    let webhook = webhook(args, body(args.body.as_deref())?);
    let sender = Sender::builder(&url)
        .verifier(verifier)
        .clock(context.clock.clone())
        // Whoever typed this sees what went wrong, and can type it again.
        .attempts_max(1)
        .connect_options(ConnectOptions::new().user_agent(USER_AGENT))
        .build()?;
    let receipt = block_on(async {
        let sent = sender.send(args.topic.as_str(), webhook).await;
        sent.map_err(|error| with_target(error, &url, &args.topic))
    })?;
    let answer = String::from_utf8_lossy(&receipt.body);
    output::print(format!("{}\n", answer.trim_end()))
}

/// The error with the URL that was posted to, where it got that far.
fn with_target(error: SendError, url: &str, topic: &Topic) -> anyhow::Error {
    if let SendError::Sign(_) = error {
        return error.into();
    }
    anyhow::Error::new(error).context(format!("{url}/ingest/{topic}"))
}

/// The topic's scheme with its first secret, or what the arguments say.
fn verifier(args: &Args, url: &str, context: &Context) -> anyhow::Result<Verifier> {
    let configured = || -> anyhow::Result<_> {
        let config = context.config(MissingSecrets::Refuse)?;
        let settings = config.topics.lookup(&args.topic).cloned();
        let settings = settings.ok_or_else(|| {
            anyhow!(
                "no section of the configuration covers the topic {}",
                args.topic
            )
        })?;
        match settings.partitioned_above(&args.topic) {
            Some(name) => bail!(
                "{} accepts no deliveries, because {name} is partitioned; send to {name}",
                args.topic
            ),
            None => Ok(settings),
        }
    };
    let Some(secret) = &args.secret else {
        return Ok(configured()?.verifier);
    };
    let preset = match (&args.preset, configured()) {
        (Some(preset), _) => preset.clone(),
        (None, Ok(topic)) => topic.scheme.into(),
        (None, Err(_)) => PRESET.to_owned(),
    };
    let secret = context
        .sources()
        .value(secret)
        .context(UsageError::new("--secret cannot be used"))?;
    let secrets = vec![Secret::new(secret.into_bytes())];
    with_preset(&preset, secrets, Some(url.to_owned()))
}

/// A preset with secrets.
pub(super) fn with_preset(
    name: &str,
    secrets: Vec<Secret>,
    url: Option<String>,
) -> anyhow::Result<Verifier> {
    let Some(preset) = hookrill_verify::preset(name) else {
        return Err(UsageError::new(no_such_preset(name)).into());
    };
    let mut settings = hookrill_verify::Settings::new(secrets);
    settings.public_url = url;
    let verifier = Verifier::offline(preset.scheme, settings);
    verifier.with_context(|| format!("preset {name}"))
}

fn body(written: Option<&str>) -> anyhow::Result<Vec<u8>> {
    match written {
        None | Some("-") => {
            let mut body = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut body);
            read.context("stdin cannot be read")?;
            Ok(body)
        }
        Some(text) => match text.strip_prefix('@') {
            None => Ok(text.as_bytes().to_owned()),
            Some(file) => std::fs::read(file).with_context(|| {
                format!("{file} cannot be read (a text that begins with @ can come from stdin)")
            }),
        },
    }
}

fn webhook(args: &Args, body: Vec<u8>) -> Webhook {
    let mut webhook = Webhook::new(body);
    if let Some(content_type) = &args.content_type {
        webhook = webhook.content_type(content_type.clone());
    }
    if let Some(event_type) = &args.event_type {
        webhook = webhook.event_type(event_type);
    }
    if let Some(id) = &args.id {
        webhook = webhook.id(id);
    }
    webhook
}
