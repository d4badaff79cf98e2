//! The `hookrill` program: the whole life of the process on a page.

use std::process::ExitCode;

use anyhow::bail;
use hookrill::{
    App, Config,
    cli::{
        self, Command, CommandLine, Context,
        address::LeftAddress,
        serve::{self, ConfigWatch, Hangup, Signals},
    },
    log_to_stderr, system_clock,
};
use tokio::{runtime::Runtime, sync::oneshot};

/// With several threads, much faster than musl's own allocator.
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
    log_to_stderr(&config.log)?;
    serve::raise_fd_limit();
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(run(config, context, watch));
    // Does not wait for tasks that are still running.
    runtime.shutdown_background();
    ended
}

/// From opening the socket to the end. The first signal starts the drain, and a
/// second one ends the process at once. Reloads run meanwhile.
async fn run(mut config: Config, context: &Context, watch: ConfigWatch) -> anyhow::Result<()> {
    let (mut signals, hangup) = (Signals::listen()?, Hangup::listen()?);
    // First, so that a port that is in use is reported before anything is built.
    let listener = serve::listen(config.listen)?;
    let address = listener.local_addr()?;
    let clock = system_clock();
    let app = App::build(config.clone(), clock.clone()).await;
    let app = app.map_err(serve::advised)?;
    config.listen = address;
    let _left = LeftAddress::leave(&config);
    serve::print_banner(&config, &app, &clock);

    let (drain, requested) = oneshot::channel();
    let shutdown = async { requested.await.unwrap_or_default() };
    let second_signal = async {
        signals.next().await;
        // Fails only after the app has ended.
        let _ = drain.send(());
        signals.next_request().await;
    };
    let reload_loop = serve::reload(context, watch, hangup, app.reloader());
    tokio::select! {
        ended = app.serve(listener, shutdown) => Ok(ended?),
        () = second_signal => bail!("ended by a second signal, before the drain was complete"),
        never = reload_loop => match never {},
    }
}
