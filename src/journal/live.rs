//! What is durable, and the followers that wait for more of it.
//!
//! Invariant: head and floor only rise, and a commit is published in order and
//! after it became durable.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use hookrill_core::Sequence;
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};

use super::{Commit, EventPage, ReadError};

/// The most commits that wait for a follower; beyond it, it reads pages.
const COMMITS_WAITING_MAX: usize = 16;

/// The part of a journal that changes under its readers' eyes.
pub(super) struct Live {
    head: AtomicU64,
    floor: AtomicU64,
    /// `None` once closed, which ends the followers.
    commits: Mutex<Option<broadcast::Sender<Commit>>>,
    failed: watch::Sender<Option<Arc<str>>>,
}

impl Live {
    pub(super) fn new(head: Sequence, floor: Sequence) -> Self {
        Self {
            head: AtomicU64::new(head.0),
            floor: AtomicU64::new(floor.0),
            commits: Mutex::new(Some(broadcast::Sender::new(COMMITS_WAITING_MAX))),
            failed: watch::Sender::new(None),
        }
    }

    pub(super) fn head(&self) -> Sequence {
        Sequence(self.head.load(Ordering::Acquire))
    }

    pub(super) fn floor(&self) -> Sequence {
        Sequence(self.floor.load(Ordering::Acquire))
    }

    pub(super) fn raise_floor(&self, to: Sequence) {
        self.floor.fetch_max(to.0, Ordering::AcqRel);
    }

    /// Shows a durable commit to readers and followers. Callers keep the order.
    pub(super) fn publish(&self, commit: Commit) {
        if let Some(last) = commit.last() {
            self.head.fetch_max(last.sequence.0, Ordering::AcqRel);
        }
        if let Some(commits) = &*self.commits() {
            // Nobody may be following; that is no error.
            let _ = commits.send(commit);
        }
    }

    /// Marks the journal as failed; the first reason stays.
    pub(super) fn fail(&self, reason: &str) {
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert_with(|| reason.into());
            first
        });
    }

    /// Why the journal failed, if it did.
    pub(super) fn failure(&self) -> Option<Arc<str>> {
        self.failed.borrow().clone()
    }

    /// Completes when the journal fails.
    pub(super) async fn failed(&self) -> String {
        let mut failed = self.failed.subscribe();
        loop {
            if let Some(reason) = &*failed.borrow_and_update() {
                return reason.to_string();
            }
            if failed.changed().await.is_err() {
                // The sender is in `self`, so it outlives this call.
                return "the journal is gone".into();
            }
        }
    }

    /// Ends the followers once they have what was published.
    pub(super) fn close(&self) {
        self.commits().take();
    }

    fn commits(&self) -> std::sync::MutexGuard<'_, Option<broadcast::Sender<Commit>>> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the page of everything after a position.
pub(super) type ReadPage =
    Box<dyn Fn(Sequence) -> BoxFuture<'static, Result<EventPage, ReadError>> + Send + Sync>;

/// Every event after `after`, in order, each once.
pub(super) fn follow(
    live: Arc<Live>,
    after: Sequence,
    read: ReadPage,
) -> BoxStream<'static, Result<Commit, ReadError>> {
    let commits = live.commits().as_ref().map(broadcast::Sender::subscribe);
    let follower = Follower {
        live,
        commits,
        position: after,
        behind: true,
        read,
    };
    stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        match follower.next().await {
            Ok(commit) => Some((Ok(commit), Some(follower))),
            Err(ReadError::Closed) => None,
            Err(e) => Some((Err(e), None)),
        }
    })
    .boxed()
}

struct Follower {
    live: Arc<Live>,
    commits: Option<broadcast::Receiver<Commit>>,
    /// The last event yielded, or known to be gone.
    position: Sequence,
    /// Whether pages have to be read before commits can be taken again.
    behind: bool,
    read: ReadPage,
}

impl Follower {
    async fn next(&mut self) -> Result<Commit, ReadError> {
        loop {
            while self.behind {
                if let Some(commit) = self.read_on().await? {
                    return Ok(commit);
                }
            }
            let Some(commits) = &mut self.commits else {
                return Err(ReadError::Closed);
            };
            match commits.recv().await {
                Ok(commit) => {
                    if let Some(commit) = self.take(commit) {
                        return Ok(commit);
                    }
                }
                Err(RecvError::Lagged(_)) => self.behind = true,
                Err(RecvError::Closed) => self.commits = None,
            }
        }
    }

    /// Reads a page. The receiver is older than the head this compares with,
    /// so nothing can fall between the last page and the next commit.
    async fn read_on(&mut self) -> Result<Option<Commit>, ReadError> {
        let page = (self.read)(self.position).await?;
        self.position = match page.events.last() {
            Some(last) => last.sequence,
            None => self.position.max(page.scanned),
        };
        self.behind = self.position < self.live.head();
        Ok((!page.events.is_empty()).then(|| page.events.into()))
    }

    /// The commit, if it continues the position.
    fn take(&mut self, commit: Commit) -> Option<Commit> {
        let (first, last) = (commit.first()?.sequence, commit.last()?.sequence);
        if last <= self.position {
            // It came in a page already.
            return None;
        }
        if first != self.position.next() {
            self.behind = true;
            return None;
        }
        self.position = last;
        Some(commit)
    }
}

/// Wraps an async function as a [`ReadPage`].
pub(super) fn read_page<F>(read: impl Fn(Sequence) -> F + Send + Sync + 'static) -> ReadPage
where
    F: Future<Output = Result<EventPage, ReadError>> + Send + 'static,
{
    Box::new(move |after| read(after).boxed())
}
