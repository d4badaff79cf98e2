//! `hookrill verify`: proves a captured delivery offline, and says at which
//! step it fails.

use std::{fmt::Write as _, io::Read as _, time::UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use hookrill_core::{Secret, Timestamp, Topic};
use hookrill_verify::{Delivery, Explanation, Proven, Verifier};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Context, No, Usage, output, send};
use crate::config::MissingSecrets;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The body as it was captured, byte for byte; "-" reads it from stdin
    #[arg(value_name = "BODY-FILE")]
    body: std::path::PathBuf,

    /// A header of the delivery, such as 'X-Hub-Signature-256: sha256=…'. May be repeated
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// How it should be signed
    #[arg(long, requires = "secrets", required_unless_present = "topic")]
    preset: Option<String>,

    /// The secret; env:NAME and file:PATH keep it out of the process list. May be repeated
    #[arg(long = "secret", value_name = "SECRET", requires = "preset")]
    secrets: Vec<String>,

    /// Prove it as this configured topic does
    #[arg(long, conflicts_with = "preset")]
    topic: Option<Topic>,

    /// Judge it as of then: a date such as 2026-11-23T15:41:00Z, or Unix seconds
    #[arg(long, value_name = "TIME", value_parser = instant)]
    at: Option<Timestamp>,

    /// The path and query that it came to, where they are signed or asked
    #[arg(long, value_name = "PATH")]
    target: Option<String>,

    /// The method; GET and HEAD for handshakes, with an empty body
    #[arg(long, default_value = "POST")]
    method: Method,

    /// What stands before that, where it is signed
    #[arg(long, value_name = "URL", value_parser = super::url, conflicts_with = "topic")]
    public_url: Option<String>,

    /// Print the bytes that should have been signed
    #[arg(long)]
    show_signed: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let verifier = verifier(args, context)?;
    let delivery = delivery(args, context)?;
    let now = args.at.unwrap_or_else(|| context.clock.now());
    if args.show_signed {
        let signed = verifier.signed_bytes(&delivery);
        output::print(signed_bytes(
            signed.context("nothing can be signed")?.as_deref(),
        ))?;
    }
    let explanation = verifier.explain(&delivery, now);
    let matched = explanation.secret_index.map(|index| name(args, index));
    output::print(told(
        &explanation,
        matched.as_deref(),
        output::in_colour(&context.environment),
    ))?;
    match explanation.outcome {
        Ok(_) => Ok(()),
        Err(_) => Err(No.into()),
    }
}

fn verifier(args: &Args, context: &Context) -> anyhow::Result<Verifier> {
    if let Some(topic) = &args.topic {
        let config = context.config(MissingSecrets::Refuse)?;
        let settings = config.topics.lookup(topic);
        let settings = settings.ok_or_else(|| anyhow!("nothing configures {topic}"))?;
        if let Some(name) = settings.elsewhere(topic) {
            bail!("{topic} takes no deliveries; they come to {name}");
        }
        return Ok(settings.verifier.clone());
    }
    let (Some(preset), [_, ..]) = (&args.preset, &args.secrets[..]) else {
        return Err(Usage::new("--preset and --secret, or --topic").into());
    };
    let secrets = args.secrets.iter().map(|secret| {
        let secret = context.sources().value(secret).map_err(Usage::new)?;
        Ok(Secret::new(secret.into_bytes()))
    });
    let secrets = secrets.collect::<anyhow::Result<Vec<_>>>()?;
    send::with_preset(preset, secrets, args.public_url.clone())
}

/// What a secret is called: where it was read from, never its text.
fn name(args: &Args, index: usize) -> String {
    let pointer = |text: &&String| text.starts_with("env:") || text.starts_with("file:");
    match (args.secrets.get(index).filter(pointer), &args.topic) {
        (Some(pointer), _) => pointer.clone(),
        (None, Some(_)) => format!("secrets[{index}] of the topic"),
        (None, None) => format!("--secret number {}", index + 1),
    }
}

fn delivery(args: &Args, context: &Context) -> anyhow::Result<Delivery> {
    let body = match args.body.to_str() {
        Some("-") => {
            let mut body = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut body);
            read.context("stdin cannot be read")?;
            body
        }
        _ => std::fs::read(&args.body).with_context(|| args.body.display().to_string())?,
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &args.headers {
        headers.append(name, value.clone());
    }
    let topic = args.topic.as_ref().map_or("topic", Topic::as_str);
    let target = args.target.clone();
    Ok(Delivery {
        method: args.method.clone(),
        path_and_query: target.unwrap_or_else(|| format!("/ingest/{topic}")),
        headers,
        body: body.into(),
        received_at: args.at.unwrap_or_else(|| context.clock.now()),
    })
}

fn told(explanation: &Explanation, matched: Option<&str>, in_colour: bool) -> String {
    let paint = |passed| match (passed, in_colour) {
        (true, true) => "\x1b[32mok\x1b[0m  ",
        (true, false) => "ok  ",
        (false, true) => "\x1b[31mFAIL\x1b[0m",
        (false, false) => "FAIL",
    };
    let mut text = String::new();
    for step in &explanation.steps {
        let _ = writeln!(
            text,
            "{}  {:<10} {}",
            paint(step.passed),
            step.name,
            step.detail
        );
    }
    if let Some(matched) = matched {
        let _ = writeln!(text, "the secret that matches: {matched}");
    }
    if let Some(hint) = &explanation.hint {
        let _ = writeln!(text, "hint: {hint}");
    }
    text.push_str(&match &explanation.outcome {
        Ok(Proven::Event(_)) => "The delivery proves.\n".to_owned(),
        Ok(Proven::Answer(reply)) => format!(
            "A handshake, answered with {}: {}\n",
            reply.status,
            reply.body.escape_ascii()
        ),
        Ok(Proven::HandOver { .. }) => "A secret is handed over, and would be kept.\n".to_owned(),
        Err(_) => "The delivery does not prove.\n".to_owned(),
    });
    text
}

/// The bytes to sign as text that a terminal shows and does not act upon.
fn signed_bytes(bytes: Option<&[u8]>) -> String {
    match bytes {
        Some(bytes) => format!("signed: {} bytes\n{}\n", bytes.len(), bytes.escape_ascii()),
        None => "signed: nothing, in this scheme\n".to_owned(),
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    const FORM: &str = "a header such as 'X-Hub-Signature-256: sha256=…'";
    let (name, value) = text.split_once(':').ok_or(FORM)?;
    let name = name.trim().parse().map_err(|_| FORM)?;
    Ok((name, value.trim().parse().map_err(|_| FORM)?))
}

fn instant(text: &str) -> Result<Timestamp, &'static str> {
    if let Ok(secs) = text.parse() {
        return Ok(Timestamp::from_unix_secs(secs));
    }
    let form = "a date such as 2026-11-23T15:41:00Z, or Unix seconds";
    let at = humantime::parse_rfc3339_weak(text).map_err(|_| form)?;
    let since = at.duration_since(UNIX_EPOCH).map_err(|_| form)?;
    Ok(Timestamp::from_unix_secs(since.as_secs()))
}
