//! `hookrill forward`: brings deliveries to a program on this machine, as they came.
//!
//! Reads what a gateway has verified and stored, and sends it on with its method, path,
//! query, headers and bytes. Opens no port and asks no provider for anything. Invariants:
//! per target, deliveries go out in the order of the journal; the command that it prints
//! at its end misses none.

mod app;
mod delivery;
mod gateway;
mod keys;
mod lane;
mod matching;
mod options;
mod outgoing;
mod saved;
mod screen;
mod session;
mod signing;
mod tally;
mod target;

use std::cell::RefCell;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hookrill_core::Cursor;
use tokio::signal::unix::{SignalKind, signal};

use super::{Context, NegativeResult, UsageError, block_on};
pub(super) use options::SendingArgs;
use {
    gateway::Beginning,
    lane::{Lane, LaneOptions, Until},
    matching::Match,
    session::{Patience, Session},
    tally::word,
    target::{ForwardRoute, Target, route_of, routes},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Topics, including their subtopics, and where their deliveries go: 3000, :3000/hooks,
    /// localhost:3000/hooks or http://…; each topic has a target of its own, or that at the end
    #[arg(required = true, value_name = "TOPIC[=TARGET]|TARGET", num_args = 1..=65)]
    words: Vec<String>,

    /// Send exactly this delivery again, then end; repeat it for more
    #[arg(long = "id", value_name = "ID")]
    #[arg(conflicts_with_all = ["since", "last", "until", "no_follow", "types", "matches"])]
    ids: Vec<Cursor>,

    /// Start at "earliest", after a cursor, with the last "2h", or at a time such as
    /// "2026-11-30T08:00:00Z", instead of with new deliveries
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,

    /// Start with the newest COUNT deliveries
    #[arg(long, value_name = "COUNT", conflicts_with = "since")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    last: Option<u16>,

    /// End after this cursor, or at what is stored "now"
    #[arg(long, value_name = "CURSOR|now", conflicts_with = "no_follow", value_parser = until)]
    until: Option<Until>,

    /// End once all that is stored was sent; with --since or --last
    #[arg(long)]
    no_follow: bool,

    /// Only events of these types, separated by commas
    #[arg(long)]
    types: Option<String>,

    /// Only deliveries whose body has this, such as /repository/name=demo or '/amount>100';
    /// repeat it for more, all of which have to hold
    #[arg(long = "match", value_name = "/POINTER=VALUE")]
    matches: Vec<Match>,

    /// How many deliveries of a target are sent at once; more than one changes their order
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    concurrency: u8,

    #[command(flatten)]
    sending: SendingArgs,
}

/// How a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunEnding {
    /// All that was asked for is done.
    Done,
    /// Somebody ended it.
    Interrupted,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    if !args.ids.is_empty() {
        let routes = match &args.words[..] {
            [target] if !target.contains('=') || Target::parse(target).is_ok() => {
                everything_to(target)?
            }
            words => routes(words)?,
        };
        return send_again(&args.ids, &routes, &args.sending, context);
    }
    let routes = routes(&args.words)?;
    let options = args.lane_options()?;
    let topics = routes.iter().flat_map(|route| route.topics.iter().cloned());
    let session = args.sending.session(topics.collect(), &routes, context)?;
    let lanes: Vec<_> = (0..routes.len())
        .map(|index| Lane {
            session: &session,
            routes: &routes,
            index,
            options: &options,
            position: RefCell::default(),
        })
        .collect();
    let all = async {
        let mut running: FuturesUnordered<_> = lanes.iter().map(Lane::run).collect();
        while let Some(ended) = running.next().await {
            ended?;
        }
        Ok(())
    };
    let ending = run_until_ended(&session, all);
    say_goodbye(&session, &routes, args);
    if matches!(ending, Ok(RunEnding::Interrupted)) || options.until == Until::Never {
        for lane in &lanes {
            say_how_to_go_on(lane, args);
        }
    }
    exit_of(ending, &session)
}

/// `hookrill resend`: sends exactly these to one program.
pub(super) fn resend(
    ids: &[Cursor],
    target: &str,
    sending: &SendingArgs,
    context: &Context,
) -> anyhow::Result<()> {
    send_again(ids, &everything_to(target)?, sending, context)
}

fn everything_to(target: &str) -> anyhow::Result<Vec<ForwardRoute>> {
    Ok(vec![ForwardRoute {
        topics: Vec::new(),
        target: Target::parse(target)?,
    }])
}

fn send_again(
    ids: &[Cursor],
    routes: &[ForwardRoute],
    sending: &SendingArgs,
    context: &Context,
) -> anyhow::Result<()> {
    let session = sending.session(vec!["*".to_owned()], routes, context)?;
    let ending = run_until_ended(&session, async {
        for id in ids {
            let Some(delivery) = session.fetched(id, Patience::Waits).await? else {
                session.tally.borrow_mut().count_failed(*id, usize::MAX);
                continue;
            };
            match route_of(routes, &delivery.topic) {
                Some(app) => _ = session.deliver(app, &delivery, Patience::Waits).await?,
                None => {
                    let topic = &delivery.topic;
                    session.status(&format!("{id} is not sent: it is an event of {topic}"));
                    session.tally.borrow_mut().count_failed(*id, usize::MAX);
                }
            }
        }
        Ok(())
    });
    let counts = session.tally.borrow().counts();
    session.status(&counts);
    exit_of(ending, &session)
}

/// Runs the work beside the keyboard, until it is done or a signal comes.
fn run_until_ended(
    session: &Session,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<RunEnding> {
    block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut hung_up = signal(SignalKind::hangup())?;
        tokio::select! {
            done = work => done.map(|()| RunEnding::Done),
            never = keys::serve(session) => match never? {},
            _ = tokio::signal::ctrl_c() => Ok(RunEnding::Interrupted),
            _ = terminated.recv() => Ok(RunEnding::Interrupted),
            _ = hung_up.recv() => Ok(RunEnding::Interrupted),
        }
    })
}

fn say_goodbye(session: &Session, routes: &[ForwardRoute], args: &Args) {
    let tally = session.tally.borrow();
    session.status(&tally.counts());
    for (app, route) in routes.iter().enumerate() {
        let options = args.sending.again_options();
        if let Some(command) = tally.again(app, &route.target.written, &options) {
            session
                .screen
                .borrow_mut()
                .status(&format!("Again:  {command}"));
        }
    }
}

fn say_how_to_go_on(lane: &Lane<'_>, args: &Args) {
    if let Some(position) = &*lane.position.borrow() {
        let words: Vec<_> = lane.routes[lane.index]
            .words()
            .iter()
            .map(|text| word(text))
            .collect();
        let command = format!(
            "hookrill forward {} --since {}{}{}",
            words.join(" "),
            word(position),
            args.reading_options(),
            args.sending.again_options()
        );
        lane.session
            .screen
            .borrow_mut()
            .status(&format!("Go on:  {command}"));
    }
}

fn exit_of(ending: anyhow::Result<RunEnding>, session: &Session) -> anyhow::Result<()> {
    match ending? {
        RunEnding::Done if session.tally.borrow().failed > 0 => Err(NegativeResult.into()),
        RunEnding::Done | RunEnding::Interrupted => Ok(()),
    }
}

impl Args {
    fn lane_options(&self) -> anyhow::Result<LaneOptions> {
        let until = match self.until {
            Some(until) => until,
            None if self.no_follow => Until::Now,
            None => Until::Never,
        };
        if until == Until::Now && self.since.is_none() && self.last.is_none() {
            return Err(UsageError::new(
                "what is stored is sent from where --since or --last says: add one of them, such \
                 as --since 2h",
            )
            .into());
        }
        Ok(LaneOptions {
            begin: Beginning {
                since: self.since.clone(),
                last: self.last,
            },
            until,
            types: self.types.clone(),
            matches: self.matches.clone(),
            concurrency: usize::from(self.concurrency),
        })
    }

    /// What says which deliveries are wanted, for a command that goes on.
    fn reading_options(&self) -> String {
        let mut text = String::new();
        if let Some(types) = &self.types {
            text.push_str(&format!(" --types {}", word(types)));
        }
        for one in &self.matches {
            text.push_str(&format!(" --match {}", word(&one.written())));
        }
        if self.concurrency > 1 {
            text.push_str(&format!(" --concurrency {}", self.concurrency));
        }
        text
    }
}

fn until(text: &str) -> Result<Until, &'static str> {
    match text {
        "now" => Ok(Until::Now),
        text => {
            let cursor = text
                .parse()
                .map_err(|_| "must be \"now\", or the id of an event")?;
            Ok(Until::Position(cursor))
        }
    }
}
