//! The `hookrill` program: the whole life of the process on a page.

use std::process::ExitCode;

use anyhow::bail;
use hookrill::{
    app::{App, system_clock},
    cli::{
        self, Command, CommandLine, Context,
        serve::{self, ConfigWatch, Hangup, Signals},
    },
    config::Config,
    telemetry,
};
use tokio::{runtime::Runtime, sync::oneshot};

/// Several times as fast as musl's own with more than one thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let line = match CommandLine::read(std::env::args_os()) {
        Ok(line) => line,
        Err(status) => return status,
    };
    let context = Context::from_process(&line);
    cli::exit_code(match line.command {
        Command::Serve(args) => serve(&args, &context),
        other => cli::run(other, &context),
    })
}

/// Configuration → build → serve → wait → drain.
fn serve(args: &serve::Args, context: &Context) -> anyhow::Result<()> {
    let (config, watch) = serve::config(args, context)?;
    telemetry::log_to_stderr(&config.log)?;
    serve::raise_fd_limit(&config);
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(live(config, context, watch));
    // What has not ended by now is not waited for.
    runtime.shutdown_background();
    ended
}

/// From the socket to the end: the first signal drains, a second one ends at
/// once; what is written anew is taken meanwhile.
async fn live(config: Config, context: &Context, watch: ConfigWatch) -> anyhow::Result<()> {
    let (mut signals, hangup) = (Signals::listen()?, Hangup::listen()?);
    // A port that is taken is told of before anything is built.
    let listener = serve::listen(config.listen)?;
    let address = listener.local_addr()?;
    let clock = system_clock();
    let app = App::build(config.clone(), clock.clone()).await?;
    serve::print_banner(&config, address, &clock);

    let (drain, asked) = oneshot::channel();
    let asked = async { asked.await.unwrap_or_default() };
    let twice = async {
        signals.next().await;
        // The app listens until it has ended, and then nobody has to be told.
        let _ = drain.send(());
        signals.next().await;
    };
    let reloading = serve::reload(context, watch, hangup, app.reloader());
    tokio::select! {
        ended = app.serve(listener, asked) => Ok(ended?),
        () = twice => bail!("ended by a second signal, before all was drained"),
        never = reloading => match never {},
    }
}
