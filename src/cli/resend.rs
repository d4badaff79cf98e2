//! `hookrill resend`: sends deliveries again that a gateway has, by their ids, then ends.

use anyhow::anyhow;
use hookrill_core::Cursor;

use super::{
    Context, UsageError,
    forward::{self, SendingArgs},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ids of deliveries, then where they go: 3000, :3000/hooks, localhost:3000/hooks or http://…
    #[arg(required = true, value_names = ["ID", "TARGET"], num_args = 2..=1025)]
    words: Vec<String>,

    #[command(flatten)]
    sending: SendingArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let Some((target, ids)) = args.words.split_last() else {
        return Err(UsageError::new("ids and a target are missing").into());
    };
    if target.parse::<Cursor>().is_ok() {
        let message = format!(
            "the last one must be a target: write where your program listens, as in `hookrill \
             resend {target} 3000/webhooks`"
        );
        return Err(UsageError::new(message).into());
    }
    let ids = ids.iter().map(|id| {
        let read: Result<Cursor, _> = id.parse();
        read.map_err(|error| {
            anyhow!(error).context(UsageError::new(format!(
                "'{}' is no id of an \
            event",
                hookrill_core::printable(id, 80)
            )))
        })
    });
    let ids: Vec<Cursor> = ids.collect::<anyhow::Result<_>>()?;
    forward::resend(&ids, target, &args.sending, context)
}
