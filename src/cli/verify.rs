//! `hookrill verify`: verifies a captured delivery offline, and shows the step
//! at which it fails.

use std::{fmt::Write as _, io::Read as _, time::UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use hookrill_core::{Secret, Timestamp, Topic};
use hookrill_verify::{Delivery, Explanation, Outcome, Verifier, VerifyError};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Context, NegativeResult, UsageError, output, send};
use crate::{config::MissingSecrets, telemetry::with_causes};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File with the captured body, byte for byte; "-" reads stdin
    #[arg(value_name = "BODY-FILE")]
    body: std::path::PathBuf,

    /// A header of the delivery, such as 'X-Hub-Signature-256: sha256=…'; repeat it for more
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// The preset to verify it with; `hookrill presets` lists them
    #[arg(long, requires = "secrets", required_unless_present = "topic")]
    preset: Option<String>,

    /// The secret; env:NAME or file:PATH keep it out of the process list; repeat it for more
    #[arg(long = "secret", value_name = "SECRET", requires = "preset")]
    secrets: Vec<String>,

    /// Verify it as this topic of the configuration does
    #[arg(long, conflicts_with = "preset")]
    topic: Option<Topic>,

    /// Pretend that it arrives at this time: 2026-11-23T15:41:00Z, or Unix seconds
    #[arg(long, value_name = "TIME", value_parser = instant)]
    at: Option<Timestamp>,

    /// The path and query that it was sent to, where the scheme uses them
    #[arg(long, value_name = "PATH")]
    target: Option<String>,

    /// The HTTP method; some handshakes use GET or HEAD, with an empty body
    #[arg(long, default_value = "POST")]
    method: Method,

    /// The URL in front of --target, where the scheme signs the whole URL
    #[arg(long, value_name = "URL", value_parser = super::url, conflicts_with = "topic")]
    public_url: Option<String>,

    /// Print the bytes that the sender has to sign
    #[arg(long)]
    show_signed: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let verifier = verifier(args, context)?;
    let delivery = delivery(args, context)?;
    let now = args.at.unwrap_or_else(|| context.clock.now());
    if args.show_signed {
        let signed = verifier
            .signed_bytes(&delivery)
            .context("the bytes to sign cannot be determined")?;
        output::print(render_signed_bytes(signed.as_deref()))?;
    }
    let explanation = verifier.explain(&delivery, now);
    let matched = explanation.secret_index.map(|index| name(args, index));
    output::print(render(
        &explanation,
        matched.as_deref(),
        output::use_color(&context.environment),
    ))?;
    match explanation.outcome {
        Ok(_) => Ok(()),
        Err(_) => Err(NegativeResult.into()),
    }
}

fn verifier(args: &Args, context: &Context) -> anyhow::Result<Verifier> {
    if let Some(topic) = &args.topic {
        let config = context.config(MissingSecrets::Refuse)?;
        let settings = config.topics.lookup(topic);
        let settings = settings
            .ok_or_else(|| anyhow!("no section of the configuration covers the topic {topic}"))?;
        if let Some(name) = settings.partitioned_above(topic) {
            bail!("{topic} accepts no deliveries, because {name} is partitioned; use {name}");
        }
        return Ok(settings.verifier.clone());
    }
    let (Some(preset), [_, ..]) = (&args.preset, &args.secrets[..]) else {
        return Err(UsageError::new("give --preset and --secret, or --topic").into());
    };
    let secrets = args.secrets.iter().map(|secret| {
        let secret = context
            .sources()
            .value(secret)
            .context(UsageError::new("--secret cannot be used"))?;
        Ok(Secret::new(secret.into_bytes()))
    });
    let secrets = secrets.collect::<anyhow::Result<Vec<_>>>()?;
    send::with_preset(preset, secrets, args.public_url.clone())
}

/// How to call a secret without showing it: by where it was read from.
fn name(args: &Args, index: usize) -> String {
    if args.topic.is_some() {
        return format!("secrets[{index}] of the topic");
    }
    match args.secrets.get(index) {
        Some(text) if text.starts_with("env:") || text.starts_with("file:") => text.clone(),
        _ => format!("--secret number {}", index + 1),
    }
}

fn delivery(args: &Args, context: &Context) -> anyhow::Result<Delivery> {
    let body = match args.body.to_str() {
        Some("-") => {
            let mut body = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut body);
            read.context("cannot read stdin")?;
            body
        }
        _ => std::fs::read(&args.body)
            .with_context(|| format!("cannot read {}", args.body.display()))?,
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &args.headers {
        headers.append(name, value.clone());
    }
    let topic = args.topic.as_ref().map_or("topic", Topic::as_str);
    let target = args.target.clone();
    Ok(Delivery::new(
        args.method.clone(),
        target.unwrap_or_else(|| format!("/ingest/{topic}")),
        headers,
        body,
        args.at.unwrap_or_else(|| context.clock.now()),
    ))
}

fn render(explanation: &Explanation, matched: Option<&str>, use_color: bool) -> String {
    let mut text = String::new();
    for step in &explanation.steps {
        let mark = mark(step.passed, use_color);
        let _ = writeln!(text, "{mark}  {:<10} {}", step.name, step.detail);
    }
    if let Some(matched) = matched {
        let _ = writeln!(text, "the secret that matches: {matched}");
    }
    if let Some(hint) = &explanation.hint {
        let _ = writeln!(text, "hint: {hint}");
    }
    if let Err(VerifyError::Stale { .. }) = explanation.outcome {
        let _ = writeln!(text, "--at verifies it as of another time");
    }
    let _ = match &explanation.outcome {
        Ok(Outcome::Event(_)) => writeln!(text, "Signature verified."),
        Ok(Outcome::Answer(reply)) => {
            let (status, body) = (reply.status, reply.body.escape_ascii());
            writeln!(text, "This is a handshake. The answer is {status}: {body}")
        }
        Ok(Outcome::ProvisionedSecret { .. }) => writeln!(
            text,
            "This delivery brings the provider's secret, which the gateway would store."
        ),
        Err(error) => {
            let error = with_causes(error);
            writeln!(text, "Signature verification failed: {error}")
        }
    };
    text
}

/// How a step begins, in four columns.
fn mark(passed: bool, use_color: bool) -> &'static str {
    match (passed, use_color) {
        (true, true) => "\x1b[32mok\x1b[0m  ",
        (true, false) => "ok  ",
        (false, true) => "\x1b[31mFAIL\x1b[0m",
        (false, false) => "FAIL",
    }
}

/// The bytes to sign, escaped so that no terminal acts on them.
fn render_signed_bytes(bytes: Option<&[u8]>) -> String {
    match bytes {
        Some(bytes) => format!("signed: {} bytes\n{}\n", bytes.len(), bytes.escape_ascii()),
        None => "signed: nothing, because this scheme has no signature\n".to_owned(),
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    const FORM: &str = "must be a header such as 'X-Hub-Signature-256: sha256=…'";
    let (name, value) = text.split_once(':').ok_or(FORM)?;
    let name = name.trim().parse().map_err(|_| FORM)?;
    Ok((name, value.trim().parse().map_err(|_| FORM)?))
}

fn instant(text: &str) -> Result<Timestamp, &'static str> {
    if let Ok(secs) = text.parse() {
        return Ok(Timestamp::from_unix_secs(secs));
    }
    let form = "must be a date such as 2026-11-23T15:41:00Z, or Unix seconds";
    let at = humantime::parse_rfc3339_weak(text).map_err(|_| form)?;
    let since = at.duration_since(UNIX_EPOCH).map_err(|_| form)?;
    Ok(Timestamp::from_unix_secs(since.as_secs()))
}
