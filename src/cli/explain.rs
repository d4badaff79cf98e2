//! `hookrill explain`: why a delivery was refused, step by step, and what to try; and
//! taking it, once it verifies.
//!
//! The gateway looks at it, with the configuration that it has now. A secret that is to be
//! tried is read here.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use data_encoding::BASE64;
use hookrill_core::printable;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    Context, NegativeResult, UsageError,
    admin::AdminArgs,
    block_on, output,
    verify::{mark, render_signed_bytes},
};

/// The longest text of a gateway that is shown, in characters.
const TEXT_CHARS_MAX: usize = 2_000;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id, such as r-41; `hookrill deliveries --refused` lists them
    #[arg(value_parser = id)]
    id: String,

    /// Try this secret instead of the configured ones; env:NAME and file:PATH keep it out of the
    /// process list; repeat it for more
    #[arg(long = "secret", value_name = "SECRET")]
    secrets: Vec<String>,

    /// Have it verified again as of its arrival, and stored if it verifies
    #[arg(long, conflicts_with = "secrets")]
    take: bool,

    /// Print the bytes that the sender has to sign
    #[arg(long, conflicts_with = "take")]
    show_signed: bool,

    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let client = args.admin.client(context)?;
    let secrets = args.secrets.iter().map(|secret| {
        let read = context.sources().value(secret);
        read.context(UsageError::new("--secret cannot be used"))
    });
    let secrets = secrets.collect::<anyhow::Result<Vec<_>>>()?;
    let (verb, body) = match (args.take, secrets.is_empty()) {
        (true, _) => ("take", String::new()),
        (false, true) => ("explain", String::new()),
        (false, false) => ("explain", json!({"secrets": secrets}).to_string()),
    };
    let path = format!("/admin/deliveries/{}/{verb}", args.id);
    let is_taken =
        |status| status == StatusCode::OK || (args.take && status == StatusCode::CONFLICT);
    let (status, answer) = block_on(client.ask(Method::POST, &path, body, is_taken))?;
    if args.take && status == StatusCode::OK {
        return output::print(taken(&answer));
    }
    if answer["steps"].is_null() {
        // It can't be taken, whether it verifies or not.
        anyhow::bail!("{}", text(&answer["detail"]));
    }
    if args.show_signed {
        output::print(signed(&answer)?)?;
    }
    let use_color = output::use_color(&context.environment);
    output::print(render(&answer, args, use_color))?;
    if answer["verified"] == true {
        Ok(())
    } else {
        Err(NegativeResult.into())
    }
}

/// The bytes to sign, as `hookrill verify` prints them.
fn signed(answer: &Value) -> anyhow::Result<Vec<u8>> {
    let is_terminal = std::io::stdout().is_terminal();
    let Some(text) = answer["signed_base64"].as_str() else {
        anyhow::ensure!(
            answer["signed_bytes"].is_null(),
            "the bytes to sign have something in them that a gateway does not show, such as a \
             token in the URL"
        );
        return Ok(render_signed_bytes(None, is_terminal));
    };
    let bytes = BASE64.decode(text.as_bytes());
    let bytes = bytes.context("the gateway's answer is not of this version")?;
    Ok(render_signed_bytes(Some(&bytes), is_terminal))
}

fn taken(answer: &Value) -> String {
    let (id, topic) = (text(&answer["id"]), text(&answer["topic"]));
    if answer["duplicate"] == true {
        format!("It was stored before, as {id} of {topic}.\n")
    } else {
        format!("Signature verified. Stored as {id} of {topic}.\n")
    }
}

fn render(answer: &Value, args: &Args, use_color: bool) -> String {
    let mut page = String::new();
    for step in answer["steps"].as_array().into_iter().flatten() {
        let mark = mark(step["passed"] == true, use_color);
        let (name, detail) = (text(&step["name"]), text(&step["detail"]));
        page.push_str(&format!("{mark}  {name:<10} {detail}\n"));
    }
    if let Some(index) = answer["secret"].as_u64() {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let name = match args.secrets.get(index) {
            Some(given) if given.starts_with("env:") || given.starts_with("file:") => given.clone(),
            Some(_) => format!("--secret number {}", index.saturating_add(1)),
            None => format!("secrets[{index}] of the topic"),
        };
        page.push_str(&format!("the secret that matches: {name}\n"));
    }
    if answer["hint"].is_string() {
        page.push_str(&format!("hint: {}\n", text(&answer["hint"])));
    }
    let is_verified = answer["verified"] == true;
    page.push_str(match (is_verified, args.secrets.is_empty()) {
        (true, true) => "Signature verified: `hookrill explain --take` stores it.\n",
        (true, false) => {
            "Signature verified with what was given here: configure that secret, and \
             `hookrill explain --take` stores it.\n"
        }
        (false, _) => "",
    });
    if !is_verified {
        let reason = answer["reason"].as_str().or(answer["refused_as"].as_str());
        let reason = printable(reason.unwrap_or("unknown"), TEXT_CHARS_MAX);
        page.push_str(&format!("Signature verification failed: {reason}\n"));
    }
    page
}

fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or("–"), TEXT_CHARS_MAX)
}

fn id(text: &str) -> Result<String, &'static str> {
    let number = text.strip_prefix("r-").map(str::parse::<u64>);
    match number {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => Err(
            "must be the id of a refused delivery, such as r-41; `hookrill deliveries \
                  --refused` lists them",
        ),
    }
}
