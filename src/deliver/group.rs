//! Live subscribers of one channel, written to by one task.
//!
//! What a task of its own costs for each event, to be woken, to look at the clock
//! and to listen anew, a group pays once for all its members, and its writes
//! follow one another while the caches are warm. Whoever needs more than the next
//! event is detached and goes on by itself: a peer that does not take all, a token
//! that ends, a drain, a history that the ring has evicted.
//!
//! Refuses more than [`MEMBERS_MAX`](super::inbox::MEMBERS_MAX) members, so that
//! every core has groups to write for. Invariant: a member has all that its group
//! has handed out, and nothing pending; a member that blocks costs the others one
//! failed write.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};

use super::{
    groups::Groups,
    inbox::Inbox,
    sink::{Disconnected, Sink, WriteOutcome},
    writer::StreamWriter,
};
use crate::subscribe::{Interrupts, SharedReader, Turn};

/// How long a group pauses after a turn, by how long the turn took.
const PAUSE_SHARE: u32 = 16;
/// The longest pause, and so the most that it delays an event.
const PAUSE_MAX: Duration = Duration::from_millis(10);
/// Timers are no finer.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// What becomes of a writer that its group detaches.
pub(super) type Detach<S> = dyn Fn(Box<StreamWriter<S>>) + Send + Sync;

/// One task's subscribers.
pub(super) struct WriterGroup<S: Sink> {
    groups: Arc<Groups<S>>,
    detach: Arc<Detach<S>>,
    channel: Box<str>,
    inbox: Arc<Inbox<S>>,
    reader: SharedReader,
    members: Vec<Box<StreamWriter<S>>>,
    /// When the first token calls for a look, or sooner.
    deadline: Option<Instant>,
}

impl<S: Sink> WriterGroup<S> {
    /// A group of `channel` that begins with `writer`; and its inbox, and what
    /// wakes it.
    pub(super) fn new(
        groups: Arc<Groups<S>>,
        detach: Arc<Detach<S>>,
        channel: &str,
        writer: Box<StreamWriter<S>>,
    ) -> (Arc<Inbox<S>>, (Self, Interrupts)) {
        let (reader, interrupts) = SharedReader::new(&writer.state);
        let inbox = Inbox::with_first(writer);
        let group = Self {
            groups,
            detach,
            channel: channel.into(),
            inbox: Arc::clone(&inbox),
            reader,
            members: Vec::new(),
            deadline: None,
        };
        (inbox, (group, interrupts))
    }

    /// Writes until the last member has left.
    pub(super) async fn run(mut self, mut interrupts: Interrupts) {
        loop {
            self.admit();
            self.process_deadlines();
            interrupts.set_deadline(self.deadline);
            let interrupted = interrupts.notified();
            let begun = Instant::now();
            let turn = self.reader.turn(self.members.len());
            // Behind the turn: what came after a revocation is not for those that
            // it ends.
            if self.reader.revocations_changed() {
                self.detach_revoked();
            }
            match turn {
                Turn::Write(ready) => self.for_each_member(|writer| writer.write_shared(&ready)),
                Turn::Heartbeat(published) => {
                    self.for_each_member(|writer| writer.heartbeat(published));
                }
                Turn::Disband => self.disband(),
                // The last may have left since the turn before.
                Turn::Wait if self.close_if_empty() => return,
                Turn::Wait => {
                    self.wait(interrupted).await;
                    continue;
                }
            }
            if self.close_if_empty() {
                return;
            }
            if self.reader.has_backlog() {
                // A turn is long enough for a task that others wait behind.
                yield_now().await;
            } else {
                pause(begun.elapsed()).await;
            }
        }
    }

    /// Takes in who has come, once it has all that was handed out so far.
    fn admit(&mut self) {
        for mut writer in self.inbox.drain() {
            let StreamWriter {
                state, interrupts, ..
            } = &mut *writer;
            self.reader.attach(state, interrupts);
            // Nothing more for those that have come and may not stay; members are
            // checked only when there is a new revocation.
            if state.is_revoked() {
                self.detach(writer);
                continue;
            }
            match writer.flush() {
                Ok(WriteOutcome::Flushed) if self.reader.is_caught_up(&writer.state) => {
                    let deadline = writer.state.deadline();
                    self.deadline = self.deadline.into_iter().chain(deadline).min();
                    self.members.push(writer);
                }
                Ok(_) => self.detach(writer),
                Err(Disconnected) => self.inbox.release(1),
            }
        }
    }

    /// Tells those whose token is about to end, and detaches those whose token has
    /// ended; looks at the clock once.
    fn process_deadlines(&mut self) {
        let Some(first) = self.deadline else { return };
        let now = Instant::now();
        if now < first {
            return;
        }
        let is_due = |writer: &mut Box<StreamWriter<S>>| {
            let deadline = writer.state.deadline();
            deadline.is_some_and(|at| at <= now)
        };
        let due: Vec<_> = self.members.extract_if(.., is_due).collect();
        for mut writer in due {
            match writer.at_deadline(now) {
                Ok(WriteOutcome::Flushed) => self.members.push(writer),
                Ok(WriteOutcome::Blocked) => self.detach(writer),
                Err(Disconnected) => self.inbox.release(1),
            }
        }
        let deadlines = self.members.iter();
        self.deadline = deadlines.filter_map(|writer| writer.state.deadline()).min();
    }

    /// Detaches those whose stream has to end.
    fn detach_revoked(&mut self) {
        let is_revoked = |writer: &mut Box<StreamWriter<S>>| writer.state.is_revoked();
        let revoked: Vec<_> = self.members.extract_if(.., is_revoked).collect();
        for writer in revoked {
            self.detach(writer);
        }
    }

    /// Writes to every member; those that do not take all of it leave.
    fn for_each_member(
        &mut self,
        mut write: impl FnMut(&mut StreamWriter<S>) -> Result<WriteOutcome, Disconnected>,
    ) {
        let mut index = 0;
        while let Some(writer) = self.members.get_mut(index) {
            let outcome = write(writer);
            self.reader.count(&mut writer.state);
            match outcome {
                Ok(WriteOutcome::Flushed) => {
                    debug_assert!(self.reader.is_caught_up(&writer.state));
                    index += 1;
                }
                Ok(WriteOutcome::Blocked) => {
                    let blocked = self.members.swap_remove(index);
                    self.detach(blocked);
                }
                Err(Disconnected) => {
                    drop(self.members.swap_remove(index));
                    self.inbox.release(1);
                }
            }
        }
        self.reader.flush_counters();
    }

    fn disband(&mut self) {
        for writer in std::mem::take(&mut self.members) {
            self.detach(writer);
        }
    }

    /// Lets `writer` go on by itself.
    fn detach(&self, mut writer: Box<StreamWriter<S>>) {
        self.inbox.release(1);
        let StreamWriter {
            state, interrupts, ..
        } = &mut *writer;
        self.reader.detach(state, interrupts);
        (self.detach)(writer);
    }

    /// Whether this has ended, since nobody is left; otherwise lists it again once
    /// it has few members.
    fn close_if_empty(&self) -> bool {
        if self.members.is_empty() && self.inbox.close_if_empty() {
            self.groups.forget(&self.channel, &self.inbox);
            return true;
        }
        if self.inbox.should_relist() {
            self.groups.relist(&self.channel, &self.inbox);
        }
        false
    }

    /// Waits for events, an interrupt, an arrival, or the leaving of a peer.
    async fn wait(&mut self, interrupted: impl Future<Output = ()>) {
        let Self {
            inbox,
            reader,
            members,
            ..
        } = self;
        let (mut received, mut interrupted) = (pin!(reader.received()), pin!(interrupted));
        poll_fn(|cx| {
            if received.as_mut().poll(cx).is_ready()
                || interrupted.as_mut().poll(cx).is_ready()
                || inbox.poll_arrival(cx).is_ready()
            {
                // The next wait asks the members.
                return Poll::Ready(());
            }
            // All of them, whatever woke this: the socket that did has forgotten
            // its waker.
            let before = members.len();
            members.retain_mut(|writer| writer.sink.poll_disconnected(cx).is_pending());
            let left = before - members.len();
            inbox.release(left);
            if left > 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// Leaves the thread to others after a turn that took so long.
///
/// Where events come faster than one by one can be written, those of the meantime
/// go out in one write, and whoever brings more of them gets to run. A turn costs
/// a crowd milliseconds and a few members nothing that a timer could measure, and
/// so does the pause.
async fn pause(turn: Duration) {
    let pause = (turn * PAUSE_SHARE).min(PAUSE_MAX);
    if pause < PAUSE_MIN {
        yield_now().await;
    } else {
        sleep(pause).await;
    }
}
