//! `hookrill verify`: verifies a captured delivery offline, and shows the step
//! at which it fails.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use hookrill_core::{Secret, Timestamp, Topic};
use hookrill_verify::{Delivery, Explanation, Outcome, Verifier, VerifyError};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{
    Context, NegativeResult, UsageError,
    captured::{self, CapturedRequest},
    output, send,
};
use crate::{
    config::{BODY_BYTES_MAX, MissingSecrets},
    http::decode_captured,
    telemetry::with_causes,
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File with the captured body, byte for byte; "-" reads stdin
    #[arg(value_name = "BODY-FILE", required_unless_present = "request")]
    body: Option<PathBuf>,

    /// File with the whole captured request instead: request line, headers, an empty line, and
    /// the body; "-" reads stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["body", "target", "method"])]
    request: Option<PathBuf>,

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
    #[arg(long, value_name = "URL", value_parser = super::UrlParser, conflicts_with = "topic")]
    public_url: Option<String>,

    /// Print the bytes that the sender has to sign
    #[arg(long)]
    show_signed: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let request = captured(args)?;
    let (verifier, body_bytes_max) = verifier(args, request.origin.as_deref(), context)?;
    for note in &request.notes {
        output::status(format_args!("{note}"));
    }
    let now = args.at.unwrap_or_else(|| context.clock.now());
    let delivery = match delivery(request, now, body_bytes_max) {
        Ok(delivery) => delivery,
        Err(answer) => {
            output::print(answer.render(output::use_color(&context.environment)))?;
            return Err(NegativeResult.into());
        }
    };
    if args.show_signed {
        let signed = verifier
            .signed_bytes(&delivery)
            .context("the bytes to sign cannot be determined")?;
        let is_terminal = std::io::stdout().is_terminal();
        output::print(render_signed_bytes(signed.as_deref(), is_terminal))?;
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

/// A delivery that a gateway answers before it verifies anything.
struct EarlyAnswer {
    status: StatusCode,
    detail: String,
}

impl EarlyAnswer {
    fn render(&self, use_color: bool) -> String {
        let Self { status, detail } = self;
        let mark = mark(false, use_color);
        let hint = if *status == StatusCode::BAD_REQUEST {
            "hint: if what captured it has decoded the body, leave out the header Content-Encoding\n"
        } else {
            ""
        };
        format!(
            "{mark}  {:<10} {detail}\n{hint}The gateway answers {status}, and verifies nothing.\n",
            "body"
        )
    }
}

/// The delivery as the gateway has it once it was read.
fn delivery(
    request: CapturedRequest,
    now: Timestamp,
    body_bytes_max: usize,
) -> Result<Delivery, EarlyAnswer> {
    let sent = Bytes::from(request.body);
    let decoded = decode_captured(&request.headers, &sent, body_bytes_max)
        .map_err(|(status, detail)| EarlyAnswer { status, detail })?;
    let body = decoded.clone().unwrap_or_else(|| sent.clone());
    let mut delivery = Delivery::new(request.method, request.target, request.headers, body, now);
    delivery.sent = decoded.map(|_| sent);
    Ok(delivery)
}

/// What verifies it, and how long its body may be.
///
/// `origin` is what stood in front of the path in the captured request.
fn verifier(
    args: &Args,
    origin: Option<&str>,
    context: &Context,
) -> anyhow::Result<(Verifier, usize)> {
    if let Some(topic) = &args.topic {
        let config = context.config(MissingSecrets::Refuse)?;
        let settings = config.topics.lookup(topic);
        let settings = settings
            .ok_or_else(|| anyhow!("no section of the configuration covers the topic {topic}"))?;
        if let Some(name) = settings.partitioned_above(topic) {
            bail!("{topic} accepts no deliveries, because {name} is partitioned; use {name}");
        }
        return Ok((settings.verifier.clone(), config.server.body_bytes_max));
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
    let public_url = args.public_url.as_deref().or(origin);
    let verifier = send::with_preset(preset, secrets, public_url.map(str::to_owned))?;
    Ok((verifier, BODY_BYTES_MAX))
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

/// The request to verify, from a capture of it or from its parts.
fn captured(args: &Args) -> anyhow::Result<CapturedRequest> {
    let mut request = match (&args.request, &args.body) {
        (Some(file), _) => {
            let parsed = captured::parse(&read(file)?);
            parsed.with_context(|| format!("{} is not a request", file.display()))?
        }
        (None, Some(body)) => {
            let topic = args.topic.as_ref().map_or("topic", Topic::as_str);
            let target = args.target.clone();
            CapturedRequest {
                method: args.method.clone(),
                target: target.unwrap_or_else(|| format!("/ingest/{topic}")),
                origin: None,
                headers: HeaderMap::new(),
                body: read(body)?,
                notes: Vec::new(),
            }
        }
        (None, None) => return Err(UsageError::new("give BODY-FILE or --request").into()),
    };
    for (name, value) in &args.headers {
        request.headers.append(name, value.clone());
    }
    Ok(request)
}

/// The bytes of a file, or of stdin where it is called "-".
fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file.as_os_str() != "-" {
        return std::fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    read.context("cannot read stdin")?;
    Ok(bytes)
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
pub(super) fn mark(passed: bool, use_color: bool) -> &'static str {
    match (passed, use_color) {
        (true, true) => "\x1b[32mok\x1b[0m  ",
        (true, false) => "ok  ",
        (false, true) => "\x1b[31mFAIL\x1b[0m",
        (false, false) => "FAIL",
    }
}

/// The bytes to sign as they are. On a terminal, what it would act on is escaped.
pub(super) fn render_signed_bytes(bytes: Option<&[u8]>, is_terminal: bool) -> Vec<u8> {
    let Some(bytes) = bytes else {
        return b"signed: nothing, because this scheme has no signature\n".to_vec();
    };
    let shown = if is_terminal {
        printable(bytes)
    } else {
        bytes.to_vec()
    };
    let note = if shown == bytes {
        ""
    } else {
        "; those that a terminal would act on are escaped here, and not in a file"
    };
    let mut text = format!("signed: {} bytes{note}\n", bytes.len()).into_bytes();
    text.extend(shown);
    text.push(b'\n');
    text
}

/// The text with escapes in place of control characters and of bytes that are no
/// text.
fn printable(bytes: &[u8]) -> Vec<u8> {
    let mut shown = Vec::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() && c != '\n' && c != '\t' {
                shown.extend(c.escape_default().collect::<String>().bytes());
            } else {
                shown.extend(c.encode_utf8(&mut [0; 4]).bytes());
            }
        }
        shown.extend(chunk.invalid().escape_ascii());
    }
    shown
}

pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_bytes_are_shown_as_they_are_and_no_terminal_acts_on_them() {
        let plain = "{\"a\":\"\u{e4}\\n\"}\n";
        let shown = |bytes: &[u8], is_terminal| {
            String::from_utf8_lossy(&render_signed_bytes(Some(bytes), is_terminal)).into_owned()
        };
        for is_terminal in [false, true] {
            let expected = format!("signed: 13 bytes\n{plain}\n");
            assert_eq!(shown(plain.as_bytes(), is_terminal), expected);
        }
        let raw = b"a\x1b[2Jb\xff\r";
        let piped = render_signed_bytes(Some(raw), false);
        assert_eq!(piped, [b"signed: 8 bytes\n", &raw[..], b"\n"].concat());
        let on_terminal = shown(raw, true);
        assert!(
            on_terminal.ends_with("\na\\u{1b}[2Jb\\xff\\r\n"),
            "{on_terminal}"
        );
        assert!(on_terminal.contains("are escaped here"), "{on_terminal}");
    }
}
