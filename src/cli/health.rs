//! `hookrill health`: the health check of images that contain no other client.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::{Context, client, output};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// URL of the gateway [default: the configured gateway on this machine]
    #[arg(long, value_parser = super::url)]
    url: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let url = format!("{}/healthz", context.url(args.url.as_deref())?);
    let agent = client::short(&url, Duration::from_secs(5));
    let mut response = agent
        .get(&url)
        .call()
        .with_context(|| format!("cannot reach {url}"))?;
    if response.status() != 200 {
        bail!("{url}: {}", client::refusal(&mut response));
    }
    output::print("ok\n")
}
