//! All streams that are written by tasks, and their ways between being alone and
//! being in a group.
//!
//! Invariant: a stream is in exactly one place, a task of its own or a group; the
//! tracker waits for both.

use std::{future::Future, pin::Pin, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    alone::{Handoff, finish, write_alone},
    group::{Detach, WriterGroup},
    groups::Groups,
    sink::{Disconnected, Sink},
    writer::StreamWriter,
};

/// Writes streams in tasks: each alone, or those of one channel in groups.
pub struct Fanout<S: Sink> {
    tasks: TaskTracker,
    /// Ends at once what is being finished.
    cutting: CancellationToken,
    groups: Arc<Groups<S>>,
}

impl<S: Sink> Fanout<S> {
    /// Tasks are run in `tasks`; `cutting` ends those that are about to end.
    #[must_use]
    pub fn new(tasks: TaskTracker, cutting: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            tasks,
            cutting,
            groups: Arc::new(Groups::new()),
        })
    }

    /// Writes this stream from now on.
    pub fn write(self: &Arc<Self>, writer: StreamWriter<S>) {
        self.spawn_alone(Box::new(writer));
    }

    fn spawn_alone(self: &Arc<Self>, writer: Box<StreamWriter<S>>) {
        self.tasks.spawn(alone(Arc::clone(self), writer));
    }

    /// Puts `writer`, which has nothing pending, into a group of `channel`.
    fn join(self: &Arc<Self>, channel: &str, writer: Box<StreamWriter<S>>) {
        let new = |first| WriterGroup::new(Arc::clone(&self.groups), self.detach(), channel, first);
        if let Some((group, interrupts)) = self.groups.join(channel, writer, new) {
            // Boxed: a group spawns writers, and those join groups.
            let run: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(group.run(interrupts));
            self.tasks.spawn(run);
        }
    }

    fn detach(self: &Arc<Self>) -> Arc<Detach<S>> {
        let fanout = Arc::clone(self);
        Arc::new(move |writer| fanout.spawn_alone(writer))
    }
}

/// Writes a stream until it ends, its peer leaves, or a group goes on with it.
fn alone<S: Sink>(
    fanout: Arc<Fanout<S>>,
    writer: Box<StreamWriter<S>>,
) -> impl Future<Output = ()> + Send {
    // An `async fn` would keep its arguments and what they were moved to.
    let mut writer = writer;
    async move {
        match write_alone(&mut writer, true).await {
            Err(Disconnected) => {}
            Ok(Handoff::ToGroup(channel)) => fanout.join(&channel, writer),
            Ok(Handoff::ToFinish) => {
                let cutting = fanout.cutting.clone();
                _ = cutting.run_until_cancelled_owned(finish(&mut writer)).await;
            }
        }
    }
}

/// The size of the task that writes one stream by itself, in bytes.
#[cfg(test)]
pub(crate) fn task_bytes<S: Sink>() -> usize {
    fn size_of_result<S: Sink, F>(
        _: impl FnOnce(Arc<Fanout<S>>, Box<StreamWriter<S>>) -> F,
    ) -> usize {
        size_of::<F>()
    }
    size_of_result(alone::<S>)
}
