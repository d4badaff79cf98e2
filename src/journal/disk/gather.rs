//! Gathers events into turns for the writer's thread, and tells of what became
//! of them.
//!
//! A task, since those who wait are tasks: a turn costs one wake-up from the
//! writer's thread, where answers from there would cost one per event. A turn
//! takes all that have arrived, also those whose bytes the runtime has yet to
//! look at; so the more there are, the more share an fsync. It waits for
//! nobody who is not here: there is no timer in it, and a lone event goes at
//! once.
//!
//! Invariant: one turn at a time, and its commit is published before its
//! answers are given.

use std::{
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
};

use super::writer::{Request, Served, Turn};
use crate::journal::live::Live;

/// The most events in a turn.
const TURN_EVENTS_MAX: usize = 256;
/// How long a turn looks for more at most: a busy runtime, with thousands of
/// subscribers to write to, comes back late from each look.
const LOOK_TIME_MAX: Duration = Duration::from_micros(500);
/// For how many turns a busy runtime is left alone. Those fill up while the
/// turn before them is written.
const TURNS_WITHOUT_LOOKING: u32 = 64;
/// A turn takes no further event once it weighs as much.
const TURN_BYTES_MAX: usize = 4 << 20;

/// Runs until every sender of requests is gone, or the writer is.
pub(super) async fn gather(
    mut requests: mpsc::Receiver<Request>,
    turns: SyncSender<Turn>,
    live: Arc<Live>,
) {
    let mut without_looking = 0_u32;
    while let Some(first) = requests.recv().await {
        match without_looking {
            0 if !all_have_come(&requests).await => without_looking = TURNS_WITHOUT_LOOKING,
            left => without_looking = left.saturating_sub(1),
        }
        let (done, served) = oneshot::channel();
        let waiting = take(first, &mut requests);
        // There is room for it, since the one before it has been served.
        if turns.send(Turn { waiting, done }).is_err() {
            return;
        }
        // Dropped where the journal has failed, and all requests with it.
        if let Ok(served) = served.await {
            tell(served, &live);
        }
    }
}

/// Completes when the queue has stopped growing, a turn is full, or it has
/// taken too long; says whether the runtime was quick to look.
async fn all_have_come(requests: &mpsc::Receiver<Request>) -> bool {
    let begun = Instant::now();
    loop {
        let waiting = requests.len();
        // The runtime takes the first of these as the time to look at its
        // sockets, and the second to run the tasks that have something to read.
        yield_now().await;
        yield_now().await;
        if begun.elapsed() > LOOK_TIME_MAX {
            return false;
        }
        if requests.len() == waiting || waiting >= TURN_EVENTS_MAX {
            return true;
        }
    }
}

/// All that wait, up to a turn full.
fn take(first: Request, requests: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let mut bytes = first.draft.weight();
    let mut waiting = Vec::with_capacity(TURN_EVENTS_MAX.min(requests.len() + 1));
    waiting.push(first);
    while waiting.len() < TURN_EVENTS_MAX && bytes < TURN_BYTES_MAX {
        let Ok(request) = requests.try_recv() else {
            break;
        };
        bytes += request.draft.weight();
        waiting.push(request);
    }
    waiting
}

fn tell(served: Served, live: &Live) {
    if let Some(commit) = served.commit {
        live.publish(commit);
    }
    for (answer, appended) in served.answers {
        // Who no longer waits for the answer needs none.
        let _ = answer.send(appended);
    }
}
