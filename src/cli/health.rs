//! `hookrill health`: the health check of images that contain no other client.

use std::time::Duration;

use anyhow::Context as _;
use hookrill_client::{ConnectOptions, Fetch};

use super::{Context, USER_AGENT, block_on, output};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// URL of the gateway [default: the configured gateway on this machine]
    #[arg(long, value_parser = super::url)]
    url: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let url = format!("{}/healthz", context.url(args.url.as_deref())?);
    let fetch = Fetch::new(&url)
        .timeout(Duration::from_secs(5))
        .connect_options(ConnectOptions::new().user_agent(USER_AGENT));
    let document = block_on(async {
        let got = fetch.get().await;
        got.with_context(|| format!("cannot reach {url}"))
    })?;
    document.ok().with_context(|| url.clone())?;
    output::print("ok\n")
}
