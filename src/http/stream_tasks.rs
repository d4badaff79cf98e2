//! The tasks of one HTTP/2 connection: one for each request.
//!
//! hyper asks a body for more only when the peer has room for it, so a stream that
//! is to be broken off is ended from outside: its task is dropped, which resets the
//! HTTP/2 stream and frees what is queued for it. Where the whole connection has
//! stopped, nothing can be freed by that, and it is cut.
//!
//! Invariant: a request's task looks at the breaker that was put into its request.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Request;
use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::stall_timeout::StreamingFlag;
use crate::subscribe::StreamBreaker;

/// Runs the requests' tasks where the drain waits for them.
#[derive(Clone)]
pub(super) struct StreamTasks {
    tasks: TaskTracker,
    connection: StreamingFlag,
    /// Of the request whose task comes next: hyper calls the service for a request
    /// and then runs what that returned, one request at a time.
    next: Arc<Mutex<Option<Arc<StreamBreaker>>>>,
}

impl StreamTasks {
    pub(super) fn new(tasks: TaskTracker, connection: StreamingFlag) -> Self {
        Self {
            tasks,
            connection,
            next: Arc::default(),
        }
    }

    /// To be called for each request when the service is called with it.
    pub(super) fn prepare<B>(&self, request: &mut Request<B>) {
        let breaker = Arc::new(StreamBreaker::default());
        *self.next.lock() = Some(Arc::clone(&breaker));
        request.extensions_mut().insert(breaker);
        request.extensions_mut().insert(self.connection.clone());
    }
}

impl<F> Executor<F> for StreamTasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        let breaker = self.next.lock().take().unwrap_or_default();
        self.tasks.spawn(Breakable {
            task,
            breaker,
            connection: self.connection.clone(),
        });
    }
}

pin_project_lite::pin_project! {
    /// A task that ends when it is broken off.
    struct Breakable<F> {
        #[pin]
        task: F,
        breaker: Arc<StreamBreaker>,
        connection: StreamingFlag,
    }
}

impl<F: Future> Future for Breakable<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.project();
        if task.breaker.is_broken_or_wakes(cx.waker()) {
            task.connection.cut_if_stalled();
            return Poll::Ready(());
        }
        task.task.poll(cx).map(drop)
    }
}
