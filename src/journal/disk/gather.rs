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

use std::sync::{Arc, mpsc::SyncSender};

use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
};

use super::writer::{Request, Served, Turn};
use crate::journal::live::Live;

/// The most events in a turn.
const TURN_EVENTS_MAX: usize = 256;
/// A turn takes no further event once it weighs as much.
const TURN_BYTES_MAX: usize = 4 << 20;

/// Runs until every sender of requests is gone, or the writer is.
pub(super) async fn gather(
    mut requests: mpsc::Receiver<Request>,
    turns: SyncSender<Turn>,
    live: Arc<Live>,
) {
    while let Some(first) = requests.recv().await {
        all_have_come(&requests).await;
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

/// Completes when the queue has stopped growing, or a turn is full.
async fn all_have_come(requests: &mpsc::Receiver<Request>) {
    loop {
        let waiting = requests.len();
        // The runtime takes the first of these as the time to look at its
        // sockets, and the second to run the tasks that have something to read.
        yield_now().await;
        yield_now().await;
        if requests.len() == waiting || waiting >= TURN_EVENTS_MAX {
            return;
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
