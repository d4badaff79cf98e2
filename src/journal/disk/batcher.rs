//! Gathers appends into batches for the writer's thread, then publishes and
//! replies.
//!
//! A task, since those who wait are tasks: a batch costs one wake-up from the
//! writer's thread, where replies from there would cost one per event. A batch
//! takes all that have arrived, also those whose bytes the runtime has yet to
//! read; so the more there are, the more share an fsync. There is no timer in
//! it: a lone event goes at once.
//!
//! Invariant: one batch at a time, and its commit is published before its
//! replies are sent.

use std::sync::{Arc, mpsc::SyncSender};

use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
};

use super::{
    commit_watch::CommitWatch,
    writer::{AppendBatch, AppendRequest, BatchResult},
};
use crate::journal::tail::{FailOnPanic, LiveTail};

/// The most events in a batch.
const BATCH_EVENTS_MAX: usize = 256;
/// A batch takes no further event once it weighs as much.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Runs until every sender of requests is gone, or the writer is.
pub(super) async fn run(
    mut requests: mpsc::Receiver<AppendRequest>,
    batches: SyncSender<AppendBatch>,
    commits: Arc<CommitWatch>,
    tail: Arc<LiveTail>,
) {
    let _guard = FailOnPanic {
        tail: Arc::clone(&tail),
        thread: "journal-batch",
    };
    while let Some(first) = requests.recv().await {
        wait_for_arrivals(&requests).await;
        let (done, result) = oneshot::channel();
        let requests = take_batch(first, &mut requests);
        // There is room for it, since the one before it is done.
        if batches.send(AppendBatch { requests, done }).is_err() {
            return;
        }
        // Dropped if the journal has failed, and all requests with it.
        if let Ok(result) = commits.watch(result).await {
            publish_and_reply(result, &tail);
        }
    }
}

/// Completes when the queue has stopped growing, or has a full batch.
async fn wait_for_arrivals(requests: &mpsc::Receiver<AppendRequest>) {
    loop {
        let waiting = requests.len();
        // The runtime takes the first of these as the time to look at its
        // sockets, and the second to run the tasks that have something to read.
        yield_now().await;
        yield_now().await;
        if requests.len() == waiting || waiting >= BATCH_EVENTS_MAX {
            return;
        }
    }
}

/// All that wait, up to a full batch.
fn take_batch(
    first: AppendRequest,
    requests: &mut mpsc::Receiver<AppendRequest>,
) -> Vec<AppendRequest> {
    let mut bytes = first.draft.weight();
    let mut batch = Vec::with_capacity(BATCH_EVENTS_MAX.min(requests.len() + 1));
    batch.push(first);
    while batch.len() < BATCH_EVENTS_MAX && bytes < BATCH_BYTES_MAX {
        let Ok(request) = requests.try_recv() else {
            break;
        };
        bytes += request.draft.weight();
        batch.push(request);
    }
    batch
}

fn publish_and_reply(result: BatchResult, tail: &LiveTail) {
    if let Some(commit) = result.commit {
        tail.publish(commit);
    }
    for (reply, appended) in result.replies {
        // Whoever no longer waits needs no reply.
        let _ = reply.send(appended);
    }
}
