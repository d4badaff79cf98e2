//! Live subscribers of one channel, written to by one task.
//!
//! What a task of its own costs for each event, to be woken, to look at the
//! clock and to listen anew, a bundle pays once for all its members, and its
//! writes follow one another while the caches are warm. Whoever needs more than
//! the next event leaves for a task of its own: a peer that does not take all,
//! a token that ends, a drain, a history that the ring has let go of.
//!
//! Refuses more than [`MEMBERS_MAX`] members, so that every core has bundles to
//! write for. Invariant: a member has all that its bundle has handed out, and
//! nothing pending; a member that blocks costs the others one failed write.

#![expect(
    clippy::vec_box,
    reason = "members move from task to task, and their places grow by doubling"
)]

mod door;

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use dashmap::DashMap;
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

use super::writer::{Gone, Writer};
use crate::subscribe::{Calls, Given, Relay, Turn};
use door::Door;

/// The most members of a bundle.
const MEMBERS_MAX: usize = 64;
/// A bundle that was full takes new members again once it has so few.
const MEMBERS_FEW: usize = MEMBERS_MAX / 2;

/// How long a bundle rests after a turn, by how long the turn took.
const REST_SHARE: u32 = 16;
/// The longest rest, and so the most that it delays an event.
const REST_MAX: Duration = Duration::from_millis(10);
/// Timers are no finer.
const REST_MIN: Duration = Duration::from_millis(1);

/// All bundles, by channel.
pub(super) struct Bundles {
    tasks: TaskTracker,
    /// The doors of those that may have room; never locked under a door.
    open: DashMap<Box<str>, Vec<Arc<Door>>>,
}

impl Bundles {
    /// No bundles yet; their tasks and those of who leaves them run in `tasks`.
    pub(super) fn new(tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self {
            tasks,
            open: DashMap::new(),
        })
    }

    /// Puts `writer`, which has nothing pending, into a bundle of `channel`.
    pub(super) fn join(self: &Arc<Self>, channel: &str, mut writer: Box<Writer>) {
        let mut doors = self.open.entry(channel.into()).or_default();
        while let Some(door) = doors.last() {
            writer = match door.enter(writer) {
                Ok(()) => return,
                Err(writer) => writer,
            };
            doors.pop();
        }
        let (relay, calls) = Relay::beside(writer.subscription());
        let bundle = Bundle {
            bundles: Arc::clone(self),
            channel: channel.into(),
            door: Door::with(writer),
            relay,
            members: Vec::new(),
            end: None,
        };
        doors.push(Arc::clone(&bundle.door));
        drop(doors);
        // Boxed: a bundle spawns writers, and those join bundles.
        let run: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(bundle.run(calls));
        self.tasks.spawn(run);
    }

    /// Shows new members to this door again.
    fn reopen(&self, channel: &str, door: &Arc<Door>) {
        let mut doors = self.open.entry(channel.into()).or_default();
        door.mark_shown();
        doors.push(Arc::clone(door));
    }

    /// Forgets a door that is closed.
    fn forget(&self, channel: &str, door: &Arc<Door>) {
        self.open.remove_if_mut(channel, |_, doors| {
            doors.retain(|other| !Arc::ptr_eq(other, door));
            doors.is_empty()
        });
    }
}

/// One task's subscribers.
struct Bundle {
    bundles: Arc<Bundles>,
    channel: Box<str>,
    door: Arc<Door>,
    relay: Relay,
    members: Vec<Box<Writer>>,
    /// When the first token calls for a look, or sooner.
    end: Option<Instant>,
}

impl Bundle {
    /// Writes until the last member has left.
    async fn run(mut self, mut calls: Calls) {
        loop {
            self.admit();
            self.expire();
            calls.end_at(self.end);
            let called = calls.hear();
            let begun = Instant::now();
            let turn = self.relay.turn(self.members.len());
            // Behind the turn: what came after a verdict is not for those whom
            // it ends.
            if self.relay.heard_of_verdicts() {
                self.dismiss();
            }
            match turn {
                Turn::Give(hand) => self.each(|writer| writer.give_of(&hand)),
                Turn::Beat(done) => self.each(|writer| writer.beat(done)),
                Turn::Scatter => self.scatter(),
                // The last may have left since the turn before.
                Turn::Wait if self.retire() => return,
                Turn::Wait => {
                    self.wait(called).await;
                    continue;
                }
            }
            if self.retire() {
                return;
            }
            match self.relay.is_pressed() {
                // A turn is long enough for a task that others wait behind.
                true => yield_now().await,
                false => rest(begun.elapsed()).await,
            }
        }
    }

    /// Takes in who has come, once it has all that was handed out so far.
    fn admit(&mut self) {
        for mut writer in self.door.arrivals() {
            self.relay.take_on(writer.subscription_mut());
            // Nothing more for those who came to the door and may not stay; as
            // a member, one is looked at only when there is a new verdict.
            if writer.is_forbidden() {
                self.send_off(writer);
                continue;
            }
            match writer.give_pending() {
                Ok(Given::All) if self.relay.is_level_with(writer.subscription()) => {
                    self.end = self.end.into_iter().chain(writer.deadline()).min();
                    self.members.push(writer);
                }
                Ok(_) => self.send_off(writer),
                Err(Gone) => self.door.leave(1),
            }
        }
    }

    /// Tells whose token is about to end, and sends off whose has ended; looks
    /// at the clock once.
    fn expire(&mut self) {
        let Some(first) = self.end else { return };
        let now = Instant::now();
        if now < first {
            return;
        }
        let due = |writer: &mut Box<Writer>| writer.deadline().is_some_and(|at| at <= now);
        let due: Vec<_> = self.members.extract_if(.., due).collect();
        for mut writer in due {
            match writer.heed_deadline(now) {
                Ok(Given::All) => self.members.push(writer),
                Ok(Given::Part) => self.send_off(writer),
                Err(Gone) => self.door.leave(1),
            }
        }
        let deadlines = self.members.iter().filter_map(|writer| writer.deadline());
        self.end = deadlines.min();
    }

    /// Sends off whose stream is to end.
    fn dismiss(&mut self) {
        let forbidden = |writer: &mut Box<Writer>| writer.is_forbidden();
        let forbidden: Vec<_> = self.members.extract_if(.., forbidden).collect();
        for writer in forbidden {
            self.send_off(writer);
        }
    }

    /// Gives every member its due; those that do not take all of it leave.
    fn each(&mut self, mut give: impl FnMut(&mut Writer) -> Result<Given, Gone>) {
        let mut place = 0;
        while let Some(writer) = self.members.get_mut(place) {
            let given = give(writer);
            self.relay.count(writer.subscription_mut());
            match given {
                Ok(Given::All) => place += 1,
                Ok(Given::Part) => {
                    let writer = self.members.swap_remove(place);
                    self.send_off(writer);
                }
                Err(Gone) => {
                    drop(self.members.swap_remove(place));
                    self.door.leave(1);
                }
            }
        }
        self.relay.settle();
    }

    fn scatter(&mut self) {
        for writer in std::mem::take(&mut self.members) {
            self.send_off(writer);
        }
    }

    /// Lets `writer` go on in a task of its own.
    fn send_off(&self, mut writer: Box<Writer>) {
        self.door.leave(1);
        self.relay.let_go(writer.subscription_mut());
        self.bundles.tasks.spawn(writer.run());
    }

    /// Whether this has ended, since nobody is left; else whoever comes may
    /// find the door again once few are.
    fn retire(&self) -> bool {
        if self.members.is_empty() && self.door.close() {
            self.bundles.forget(&self.channel, &self.door);
            return true;
        }
        if self.door.is_hidden_with_room() {
            self.bundles.reopen(&self.channel, &self.door);
        }
        false
    }

    /// Waits for news, a call, an arrival, or the leaving of a peer.
    async fn wait(&mut self, called: impl Future<Output = ()>) {
        let Self {
            door,
            relay,
            members,
            ..
        } = self;
        let (mut news, mut called) = (pin!(relay.news()), pin!(called));
        poll_fn(|cx| {
            if news.as_mut().poll(cx).is_ready()
                || called.as_mut().poll(cx).is_ready()
                || door.poll_arrival(cx).is_ready()
            {
                // The next wait asks the members.
                return Poll::Ready(());
            }
            // All of them, whatever woke this: the socket that did has
            // forgotten its waker.
            let before = members.len();
            members.retain_mut(|writer| writer.poll_gone(cx).is_pending());
            let left = before - members.len();
            door.leave(left);
            match left > 0 {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

/// Leaves the thread to others after a turn that took so long.
///
/// Where events come faster than one by one can be written, those of the
/// meantime go out in one write, and whoever brings more of them gets to run. A
/// turn costs a crowd milliseconds and a few members nothing that a timer could
/// measure, and so does the rest.
async fn rest(turn: Duration) {
    let rest = (turn * REST_SHARE).min(REST_MAX);
    match rest < REST_MIN {
        true => yield_now().await,
        false => sleep(rest).await,
    }
}
