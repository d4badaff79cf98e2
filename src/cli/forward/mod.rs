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

use super::{Context, NegativeResult, block_on};
pub(super) use options::{ForwardArgs, SendingArgs};
use {
    lane::{Lane, Until},
    session::{Patience, Session},
    tally::word,
    target::{Route, Target, route_of, routes},
};

/// How a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// All that was asked for is done.
    Done,
    /// Somebody ended it.
    Interrupted,
}

pub(super) fn run(args: &ForwardArgs, context: &Context) -> anyhow::Result<()> {
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
    if matches!(ending, Ok(Ending::Interrupted)) || options.until == Until::Never {
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

fn everything_to(target: &str) -> anyhow::Result<Vec<Route>> {
    Ok(vec![Route {
        topics: Vec::new(),
        target: Target::parse(target)?,
    }])
}

fn send_again(
    ids: &[Cursor],
    routes: &[Route],
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
) -> anyhow::Result<Ending> {
    block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut hung_up = signal(SignalKind::hangup())?;
        tokio::select! {
            done = work => done.map(|()| Ending::Done),
            never = keys::serve(session) => match never? {},
            _ = tokio::signal::ctrl_c() => Ok(Ending::Interrupted),
            _ = terminated.recv() => Ok(Ending::Interrupted),
            _ = hung_up.recv() => Ok(Ending::Interrupted),
        }
    })
}

fn say_goodbye(session: &Session, routes: &[Route], args: &ForwardArgs) {
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

fn say_how_to_go_on(lane: &Lane<'_>, args: &ForwardArgs) {
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

fn exit_of(ending: anyhow::Result<Ending>, session: &Session) -> anyhow::Result<()> {
    match ending? {
        Ending::Done if session.tally.borrow().failed > 0 => Err(NegativeResult.into()),
        Ending::Done | Ending::Interrupted => Ok(()),
    }
}
