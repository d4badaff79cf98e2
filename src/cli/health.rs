//! `hookrill health`: the health check of images that contain no other client.
//!
//! Needs an address only, and never the whole configuration: a file that was broken
//! meanwhile must not make a gateway look ill that runs. Reads, and changes nothing.

use std::time::Duration;

use anyhow::Context as _;
use hookrill_client::{ConnectOptions, Document, Fetch, FetchError};

use super::{Context, USER_AGENT, address, block_on, output};

/// How long each gateway has to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// URL of the gateway [default: the gateway of this folder or configuration, on this
    /// machine]
    #[arg(long, value_parser = super::UrlParser)]
    url: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let urls = match &args.url {
        Some(url) => vec![url.clone()],
        None => address::likely(&context.place()),
    };
    block_on(check(&urls))?;
    output::print("ok\n")
}

/// Asks the first gateway that is there. What a gateway left that was killed may be
/// where nobody listens any more.
async fn check(urls: &[String]) -> anyhow::Result<()> {
    let mut nobody = None;
    for url in urls {
        let url = format!("{url}/healthz");
        match ask(&url).await {
            Ok(document) => {
                document.ok().with_context(|| url)?;
                return Ok(());
            }
            Err(error) => {
                let error = anyhow::Error::new(error);
                nobody.get_or_insert(error.context(format!("cannot reach {url}")));
            }
        }
    }
    Err(nobody.context("there is no address to ask")?)
}

async fn ask(url: &str) -> Result<Document, FetchError> {
    let connect = ConnectOptions::new().user_agent(USER_AGENT);
    let fetch = Fetch::new(url).timeout(ANSWER_TIME_MAX);
    fetch.connect_options(connect).get().await
}
