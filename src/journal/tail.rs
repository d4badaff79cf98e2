//! The end of a journal: what is durable, and the followers that wait for
//! more.
//!
//! Invariants: head and floor only rise, and the floor is never above the
//! head. Commits are published in order, without a hole, after they became
//! durable.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use hookrill_core::Sequence;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};

use super::{Commit, EventPage, FatalError, ReadError};

/// The most commits that wait for a follower; beyond it, it reads pages.
const COMMITS_WAITING_MAX: usize = 16;

/// The part of a journal that changes while it is read.
pub(super) struct LiveTail {
    head: AtomicU64,
    floor: AtomicU64,
    /// `None` once closed, which ends the followers.
    commits: Mutex<Option<broadcast::Sender<Commit>>>,
    failure: watch::Sender<Option<FatalError>>,
}

impl LiveTail {
    pub(super) fn new(head: Sequence, floor: Sequence) -> Self {
        assert!(floor <= head, "floor {floor} is above head {head}");
        Self {
            head: AtomicU64::new(head.0),
            floor: AtomicU64::new(floor.0),
            commits: Mutex::new(Some(broadcast::Sender::new(COMMITS_WAITING_MAX))),
            failure: watch::Sender::new(None),
        }
    }

    pub(super) fn head(&self) -> Sequence {
        Sequence(self.head.load(Ordering::Acquire))
    }

    pub(super) fn floor(&self) -> Sequence {
        Sequence(self.floor.load(Ordering::Acquire))
    }

    pub(super) fn raise_floor(&self, to: Sequence) {
        let head = self.head();
        assert!(to <= head, "floor {to} would be above head {head}");
        self.floor.fetch_max(to.0, Ordering::AcqRel);
    }

    /// Shows a durable commit to readers and followers. Callers keep the order.
    pub(super) fn publish(&self, commit: Commit) {
        let (Some(first), Some(last)) = (commit.first(), commit.last()) else {
            debug_assert!(false, "a commit has events");
            return;
        };
        let expected = self.head().next();
        assert_eq!(first.sequence, expected, "a commit continues the head");
        self.head.store(last.sequence.0, Ordering::Release);
        if let Some(commits) = &*self.commits() {
            // Nobody may be following; that is no error.
            let _ = commits.send(commit);
        }
    }

    /// Marks the journal as failed; the first reason stays.
    pub(super) fn fail(&self, reason: FatalError) {
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert(reason);
            is_first
        });
    }

    /// Why the journal failed, if it did.
    pub(super) fn failure(&self) -> Option<FatalError> {
        self.failure.borrow().clone()
    }

    /// Completes when the journal fails.
    pub(super) async fn failed(&self) -> FatalError {
        let mut failure = self.failure.subscribe();
        loop {
            if let Some(reason) = &*failure.borrow_and_update() {
                return reason.clone();
            }
            if failure.changed().await.is_err() {
                // Never: the sender is in `self`, which outlives this call.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends the followers once they have what was published.
    pub(super) fn close(&self) {
        self.commits().take();
    }

    fn commits(&self) -> MutexGuard<'_, Option<broadcast::Sender<Commit>>> {
        self.commits.lock()
    }
}

/// Marks the journal as failed if the thread that holds this panics, so that
/// nobody waits for that thread's work.
pub(super) struct FailOnPanic {
    pub(super) tail: Arc<LiveTail>,
    /// The thread's name.
    pub(super) thread: &'static str,
}

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tail.fail(FatalError::Panicked(self.thread));
        }
    }
}

/// Reads the page of all events after a position.
pub(super) type PageReader =
    Box<dyn Fn(Sequence) -> BoxFuture<'static, Result<EventPage, ReadError>> + Send + Sync>;

/// Wraps an async function as a [`PageReader`].
pub(super) fn page_reader<F>(read: impl Fn(Sequence) -> F + Send + Sync + 'static) -> PageReader
where
    F: Future<Output = Result<EventPage, ReadError>> + Send + 'static,
{
    Box::new(move |after| read(after).boxed())
}

/// Every event after `after`, in order, each once.
pub(super) fn follow(
    tail: Arc<LiveTail>,
    after: Sequence,
    read: PageReader,
) -> BoxStream<'static, Result<Commit, ReadError>> {
    let commits = tail.commits().as_ref().map(broadcast::Sender::subscribe);
    let start = Follower {
        tail,
        commits,
        position: after,
        is_behind: true,
        read,
    };
    stream::unfold(Some(start), |state| async move {
        let mut follower = state?;
        match follower.next().await {
            Ok(commit) => Some((Ok(commit), Some(follower))),
            Err(ReadError::Closed) => None,
            Err(e) => Some((Err(e), None)),
        }
    })
    .boxed()
}

struct Follower {
    tail: Arc<LiveTail>,
    commits: Option<broadcast::Receiver<Commit>>,
    /// The last event yielded, or known to be deleted.
    position: Sequence,
    /// Whether it has to read pages before it can take commits again.
    is_behind: bool,
    read: PageReader,
}

impl Follower {
    async fn next(&mut self) -> Result<Commit, ReadError> {
        loop {
            while self.is_behind {
                if let Some(commit) = self.read_page().await? {
                    return Ok(commit);
                }
            }
            let Some(commits) = &mut self.commits else {
                return Err(ReadError::Closed);
            };
            match commits.recv().await {
                Ok(commit) => {
                    if let Some(commit) = self.accept(commit) {
                        return Ok(commit);
                    }
                }
                Err(RecvError::Lagged(_)) => self.is_behind = true,
                Err(RecvError::Closed) => self.commits = None,
            }
        }
    }

    /// Reads a page. The receiver is older than the head that this compares
    /// with, so nothing can fall between the last page and the next commit.
    async fn read_page(&mut self) -> Result<Option<Commit>, ReadError> {
        let page = (self.read)(self.position).await?;
        self.position = match page.events.last() {
            Some(last) => last.sequence,
            None => self.position.max(page.scanned),
        };
        self.is_behind = self.position < self.tail.head();
        Ok((!page.events.is_empty()).then(|| page.events.into()))
    }

    /// The commit, if it continues the position.
    fn accept(&mut self, commit: Commit) -> Option<Commit> {
        let (first, last) = (commit.first()?.sequence, commit.last()?.sequence);
        if last <= self.position {
            // A page had it already.
            return None;
        }
        if first != self.position.next() {
            self.is_behind = true;
            return None;
        }
        self.position = last;
        Some(commit)
    }
}
