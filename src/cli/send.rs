//! `hookrill send`: signs an event as its topic demands, and posts it.

use std::{io::Read as _, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use data_encoding::HEXLOWER;
use hookrill_core::{Secret, Topic};
use hookrill_verify::{Delivery, Signed, Verifier};
use http::{HeaderMap, HeaderValue, Method, header::CONTENT_TYPE};

use super::{Context, UsageError, client, output};
use crate::config::MissingSecrets;

/// What signs where nothing is configured.
const PRESET: &str = "standard-webhooks";

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to
    topic: Topic,

    /// The event; "-" or nothing reads it from stdin
    body: Option<String>,

    /// The gateway [default: the configured one on this machine]
    #[arg(long, value_parser = super::url)]
    url: Option<String>,

    /// The secret, instead of the configured one; env:NAME and file:PATH keep
    /// it out of the process list
    #[arg(long, hide_env_values = true)]
    secret: Option<String>,

    /// How to sign, instead of as configured
    #[arg(long, requires = "secret")]
    preset: Option<String>,

    /// The event's type, put where the topic's scheme reads it
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,

    /// The body's type [default: JSON, if it is JSON, else text]
    #[arg(long)]
    content_type: Option<HeaderValue>,

    /// The delivery's id; the same one twice is a duplicate [default: a random one]
    #[arg(long)]
    id: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let url = context.url(args.url.as_deref())?;
    let verifier = verifier(args, &url, context)?;
    let body = body(args.body.as_deref())?;
    let draft = draft(args, body, context);
    let id = match &args.id {
        Some(id) => id.clone(),
        None => random_id()?,
    };
    let signed = verifier
        .sign(&draft, args.event_type.as_deref(), &id, context.clock.now())
        .context("the event cannot be signed")?;
    post(&url, &draft, &signed)
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
        let near = match hookrill_verify::nearest_preset(name) {
            Some(near) => format!("did you mean {near}? "),
            None => String::new(),
        };
        let what = format!("there is no preset {name:?}; {near}`hookrill presets` lists them");
        return Err(UsageError::new(what).into());
    };
    let mut settings = hookrill_verify::Settings::new(secrets);
    settings.public_url = url;
    if preset.scheme.needs_verify_token() {
        // Required, and not used: no handshake is answered here.
        settings.verify_token = Some("unused".into());
    }
    let verifier = Verifier::new(preset.scheme, settings);
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
        Some(text) => Ok(text.as_bytes().to_owned()),
    }
}

fn draft(args: &Args, body: Vec<u8>, context: &Context) -> Delivery {
    let content_type = args.content_type.clone().unwrap_or_else(|| {
        let json = serde_json::from_slice::<&serde_json::value::RawValue>(&body).is_ok();
        HeaderValue::from_static(match json {
            true => "application/json",
            false => "text/plain; charset=utf-8",
        })
    });
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
    let target = format!("/ingest/{}", args.topic);
    Delivery::new(Method::POST, target, headers, body, context.clock.now())
}

fn random_id() -> anyhow::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).context("the system gives no random numbers")?;
    Ok(format!("msg_{}", HEXLOWER.encode(&random)))
}

fn post(url: &str, draft: &Delivery, signed: &Signed) -> anyhow::Result<()> {
    let mut url = format!("{url}{}", draft.path_and_query);
    if let Some(query) = &signed.query {
        url = format!("{url}?{query}");
    }
    let mut headers = draft.headers.clone();
    headers.extend(signed.headers.iter().cloned());
    let mut request = client::short(&url, Duration::from_secs(30)).post(&url);
    for (name, value) in &headers {
        request = request.header(name, value);
    }
    // The query may hold a secret.
    let shown = url.split('?').next().unwrap_or_default();
    let mut response = request
        .send(&draft.body[..])
        .with_context(|| shown.to_owned())?;
    if !response.status().is_success() {
        bail!("{shown}: {}", client::refusal(&mut response));
    }
    let answer = client::text(&mut response);
    output::print(format!("{}\n", answer.trim_end()))
}
