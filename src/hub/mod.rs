//! Wakes live subscribers when a topic grows.
//!
//! A topic that somebody listens to has a channel; the pump is the only one
//! that sends. The newest frames are in one [`Ring`], and channels carry only
//! weak references into it: a subscriber that does not read pins no memory,
//! however long it waits, and finds out when it reads again.
//!
//! Invariants: sequences on a channel only rise. A frame is in the ring before
//! any channel carries it. Everything up to [`Hub::published`] was sent on every
//! channel.

mod pump;
mod receiver;
mod ring;

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use dashmap::DashMap;
use hookrill_core::{Cursor, Epoch, Event, Sequence, Swap, Topics};
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use crate::wire::{Encoder, Frame};
pub use pump::{PumpError, pump};
use receiver::Channels;
pub use receiver::{Received, Receiver};
pub use ring::{Ring, RingPage};

/// How many slices a channel holds for a subscriber that is busy. Small, since
/// falling behind it costs no more than a look into the ring.
const CHANNEL_SLICES: usize = 16;
/// The channel of those who listen to everything. No topic has this name.
const ALL_TOPICS: &str = "";

/// The frames of one commit for one channel, in order; gone once the ring has
/// evicted them.
pub type FrameSlice = Weak<[Frame]>;

/// Topic → live channel.
pub struct Hub {
    channels: DashMap<Box<str>, broadcast::Sender<FrameSlice>>,
    ring: Ring,
    published: AtomicU64,
    epoch: Epoch,
    encoder: Swap<Encoder>,
    /// Held from the making of frames until they are in the ring, so that no
    /// frame of an older encoder enters it after that was replaced. Contended
    /// only while the encoder is replaced.
    encoding: Mutex<()>,
}

impl Hub {
    /// A hub for what comes after `head`, with a ring of about `ring_bytes_max`
    /// bytes of frames.
    #[must_use]
    pub fn new(head: Sequence, ring_bytes_max: usize, encoder: Encoder) -> Arc<Self> {
        Arc::new(Self {
            channels: DashMap::new(),
            ring: Ring::new(head, ring_bytes_max),
            published: AtomicU64::new(head.0),
            epoch: encoder.epoch,
            encoder: Swap::new(encoder),
            encoding: Mutex::new(()),
        })
    }

    /// The newest frames.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// How frames are encoded now.
    #[must_use]
    pub fn encoder(&self) -> Arc<Encoder> {
        self.encoder.load()
    }

    /// Encodes all frames by `encoder` from now on, those in the ring included.
    /// What channels carry from before is gone: whoever takes that up is sent
    /// to the ring.
    pub fn replace_encoder(&self, encoder: Encoder) {
        let encoder = Arc::new(encoder);
        let _encoding = self.encoding.lock();
        self.ring.reencode(&encoder);
        self.encoder.store_shared(encoder);
    }

    /// Where `sequence` is in this journal.
    #[must_use]
    pub fn cursor(&self, sequence: Sequence) -> Cursor {
        Cursor {
            epoch: self.epoch,
            sequence,
        }
    }

    /// The newest position that was sent on every channel.
    #[must_use]
    pub fn published(&self) -> Sequence {
        Sequence(self.published.load(Ordering::Acquire))
    }

    /// The number of live channels.
    #[cfg(test)]
    pub(crate) fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Starts listening to `topics`: to what is published from now on.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, topics: &Topics) -> Receiver {
        let names: Box<[Box<str>]> = match topics {
            Topics::All => [ALL_TOPICS.into()].into(),
            Topics::These(topics) => topics.iter().map(|topic| topic.as_str().into()).collect(),
        };
        Receiver::new(Arc::clone(self), names)
    }

    /// Joins the channels of these names.
    fn join(&self, names: &[Box<str>]) -> Channels {
        if let [one] = names {
            return Channels::One(self.channel(one));
        }
        let channels = names.iter().map(|name| self.channel(name));
        Channels::Many(channels.map(BroadcastStream::new).collect())
    }

    fn channel(&self, name: &str) -> broadcast::Receiver<FrameSlice> {
        // Subscribed under the entry's guard, so that no `remove_if` comes
        // between finding the channel and joining it.
        let new = || broadcast::Sender::new(CHANNEL_SLICES);
        self.channels
            .entry(name.into())
            .or_insert_with(new)
            .subscribe()
    }

    /// How many receivers the channel of this name has.
    fn listeners(&self, name: &str) -> usize {
        let channel = self.channels.get(name);
        channel.map_or(0, |channel| channel.receiver_count())
    }

    /// Removes those channels that nobody listens to any more.
    fn forget_unused(&self, names: &[Box<str>]) {
        for name in names {
            self.channels
                .remove_if(name, |_, channel| channel.receiver_count() == 0);
        }
    }

    /// Sends events that became durable on every channel; only the pump calls
    /// this.
    fn publish(&self, commit: &[Arc<Event>]) {
        let Some(last) = commit.last().map(|event| event.sequence) else {
            return;
        };
        debug_assert!(
            commit.is_sorted_by(|one, next| one.sequence < next.sequence),
            "sequences only rise"
        );
        debug_assert!(
            commit[0].sequence > self.published(),
            "what was published is not published again"
        );
        if self.channels.is_empty() {
            // Nobody listens. Whoever subscribes from now on asks the journal
            // for its head afterwards, and this commit is below that.
            self.ring.restart(last);
            self.published.store(last.0, Ordering::Release);
            return;
        }
        for (name, slice) in self.encode(commit) {
            self.send(name, &Arc::downgrade(&slice));
        }
        self.published.store(last.0, Ordering::Release);
    }

    /// Puts the frames of a commit into the ring; returns those of each channel
    /// that anybody listens to.
    fn encode<'e>(&self, commit: &'e [Arc<Event>]) -> Vec<(&'e str, Arc<[Frame]>)> {
        let _encoding = self.encoding.lock();
        let encoder = self.encoder();
        let frames: Vec<Frame> = commit
            .iter()
            .map(|event| Frame::new(Arc::clone(event), &encoder))
            .collect();
        let slices = self.slices(commit, &frames);
        let kept = slices.iter().map(|(_, slice)| Arc::clone(slice)).collect();
        self.ring.push(frames, kept);
        slices
    }

    /// The frames of each channel that anybody listens to, in order.
    fn slices<'e>(
        &self,
        commit: &'e [Arc<Event>],
        frames: &[Frame],
    ) -> Vec<(&'e str, Arc<[Frame]>)> {
        // `None` for a channel that nobody listens to.
        let mut channels: HashMap<&str, Option<Vec<Frame>>> = HashMap::new();
        for (event, frame) in commit.iter().zip(frames) {
            let topic = &event.draft.topic;
            for name in topic.lineage().chain([ALL_TOPICS]) {
                let channel = channels
                    .entry(name)
                    .or_insert_with(|| self.channels.contains_key(name).then(Vec::new));
                if let Some(slice) = channel {
                    slice.push(frame.clone());
                }
            }
        }
        let slices = channels.into_iter();
        slices
            .filter_map(|(name, slice)| Some((name, slice?.into())))
            .collect()
    }

    fn send(&self, name: &str, slice: &FrameSlice) {
        // Cloned out: sending wakes every receiver, and whoever subscribes
        // meanwhile should not wait for that.
        let channel = self.channels.get(name).map(|channel| channel.clone());
        if let Some(channel) = channel {
            // Refused only where the last receiver has just left.
            _ = channel.send(Weak::clone(slice));
        }
    }

    /// Makes every subscriber go back to the journal: events were deleted
    /// before the pump saw them.
    fn reset(&self, position: Sequence) {
        self.ring.restart(position);
        let gone: FrameSlice = Arc::downgrade(&Arc::from([]));
        for channel in &self.channels {
            _ = channel.send(Weak::clone(&gone));
        }
    }
}

#[cfg(test)]
mod tests;
