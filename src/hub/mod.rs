//! Wakes live subscribers when a topic grows.
//!
//! A topic that somebody listens to has a channel; the pump is the only one
//! who sends. The newest frames stand in one [`Ring`], and channels carry only
//! weak references into it: a subscriber that does not read pins no memory,
//! for however long, and finds out when it reads again.
//!
//! Invariants: sequences on a channel only rise. A frame is in the ring before
//! any channel tells of it. [`Hub::done`] is a position that every channel has
//! been told of.

mod pump;
mod ring;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use dashmap::DashMap;
use futures_util::{FutureExt as _, StreamExt as _, stream::SelectAll};
use hookrill_core::{Cursor, Epoch, Event, Sequence, Topics};
use tokio::{
    sync::broadcast::{
        self,
        error::{RecvError, TryRecvError},
    },
    task::coop::unconstrained,
};
use tokio_stream::wrappers::BroadcastStream;

use crate::wire::{Encoder, Frame};
pub use pump::{PumpError, pump};
pub use ring::{Ring, RingPage};

/// How many slices a channel holds for a subscriber that is busy. Small, since
/// falling behind it costs no more than a look into the ring.
const CHANNEL_SLICES: usize = 16;
/// The channel of those who listen to everything. No topic has this name.
const EVERYTHING: &str = "";

/// What one commit has for one channel, in order; gone when the ring has let
/// go of it.
pub type Slice = Weak<[Frame]>;

/// Topic → live channel.
pub struct Hub {
    channels: DashMap<Box<str>, broadcast::Sender<Slice>>,
    ring: Ring,
    done: AtomicU64,
    epoch: Epoch,
    encoder: RwLock<Arc<Encoder>>,
    /// Held from the making of frames until they are found, so that no frame
    /// of an older encoder comes in after it was replaced. The pump's, which
    /// nobody else contends for but who replaces it.
    turn: Mutex<()>,
}

impl Hub {
    /// A hub that tells of what comes after `head`, and keeps about
    /// `ring_bytes_max` bytes of frames.
    #[must_use]
    pub fn new(head: Sequence, ring_bytes_max: usize, encoder: Arc<Encoder>) -> Arc<Self> {
        Arc::new(Self {
            channels: DashMap::new(),
            ring: Ring::new(head, ring_bytes_max),
            done: AtomicU64::new(head.0),
            epoch: encoder.epoch,
            encoder: RwLock::new(encoder),
            turn: Mutex::new(()),
        })
    }

    /// The newest frames.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// How frames are encoded here now.
    #[must_use]
    pub fn encoder(&self) -> Arc<Encoder> {
        let encoder = self.encoder.read();
        Arc::clone(&encoder.unwrap_or_else(PoisonError::into_inner))
    }

    /// Encodes all frames anew, those that are kept included. Channels told of
    /// frames that are gone now: who asks for them is sent to the ring.
    pub fn recode(&self, encoder: Arc<Encoder>) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.ring.recode(&encoder);
        let mut place = self.encoder.write().unwrap_or_else(PoisonError::into_inner);
        *place = encoder;
    }

    /// Where `sequence` is in this journal.
    #[must_use]
    pub fn cursor(&self, sequence: Sequence) -> Cursor {
        Cursor {
            epoch: self.epoch,
            sequence,
        }
    }

    /// The newest position that every channel has been told of.
    #[must_use]
    pub fn done(&self) -> Sequence {
        Sequence(self.done.load(Ordering::Acquire))
    }

    /// The number of live channels.
    #[cfg(test)]
    pub(crate) fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Starts listening to `topics`. What the journal holds from now on is
    /// told of; what it holds already is not.
    #[must_use]
    pub fn attach(self: &Arc<Self>, topics: &Topics) -> Attachment {
        let names: Box<[Box<str>]> = match topics {
            Topics::All => [EVERYTHING.into()].into(),
            Topics::These(topics) => topics.iter().map(|topic| topic.as_str().into()).collect(),
        };
        Attachment {
            hub: Arc::clone(self),
            listening: self.listen(&names),
            names,
        }
    }

    fn listen(&self, names: &[Box<str>]) -> Listening {
        match names {
            [one] => Listening::One(self.receiver(one)),
            many => Listening::Many(
                many.iter()
                    .map(|name| BroadcastStream::new(self.receiver(name)))
                    .collect(),
            ),
        }
    }

    fn receiver(&self, name: &str) -> broadcast::Receiver<Slice> {
        // Subscribed under the entry's guard, so that no `remove_if` comes
        // between finding the channel and joining it.
        let new = || broadcast::Sender::new(CHANNEL_SLICES);
        self.channels
            .entry(name.into())
            .or_insert_with(new)
            .subscribe()
    }

    /// Tells every channel of events that became durable; the pump's alone.
    fn publish(&self, commit: &[Arc<Event>]) {
        let Some(last) = commit.last().map(|event| event.sequence) else {
            return;
        };
        if self.channels.is_empty() {
            // Nobody to tell. Whoever attaches from now on asks the journal
            // for its head afterwards, and this commit is below that.
            self.ring.restart(last);
            self.done.store(last.0, Ordering::Release);
            return;
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let encoder = self.encoder();
        let frames: Vec<Frame> = commit
            .iter()
            .map(|event| Frame::new(Arc::clone(event), &encoder))
            .collect();
        let told = self.slices(&frames);
        let slices = told.iter().map(|(_, slice)| Arc::clone(slice)).collect();
        self.ring.push(frames.clone(), slices);
        drop(turn);
        for (name, slice) in told {
            self.tell(name, &Arc::downgrade(&slice));
        }
        self.done.store(last.0, Ordering::Release);
    }

    /// The frames of each channel that anybody listens to, in order.
    fn slices<'f>(&self, frames: &'f [Frame]) -> Vec<(&'f str, Arc<[Frame]>)> {
        // `None` for a channel that nobody listens to.
        let mut channels: HashMap<&str, Option<Vec<Frame>>> = HashMap::new();
        for frame in frames {
            let topic = &frame.event().draft.topic;
            for name in topic.lineage().chain([EVERYTHING]) {
                let channel = channels
                    .entry(name)
                    .or_insert_with(|| self.channels.contains_key(name).then(Vec::new));
                if let Some(slice) = channel {
                    slice.push(frame.clone());
                }
            }
        }
        let told = channels.into_iter();
        told.filter_map(|(name, slice)| Some((name, slice?.into())))
            .collect()
    }

    fn tell(&self, name: &str, slice: &Slice) {
        // Cloned out: sending wakes every receiver, and whoever attaches
        // meanwhile should not wait for that.
        let channel = self.channels.get(name).map(|channel| channel.clone());
        if let Some(channel) = channel {
            // Refused only where the last receiver has just gone.
            _ = channel.send(Weak::clone(slice));
        }
    }

    /// Makes every subscriber go back to the journal: events were deleted
    /// before the pump saw them.
    fn reset(&self, position: Sequence) {
        self.ring.restart(position);
        let gone: Slice = Arc::downgrade(&Arc::from([]));
        for channel in &self.channels {
            _ = channel.send(Weak::clone(&gone));
        }
    }
}

/// A subscriber's hold on its channels; lets go of them when dropped.
pub struct Attachment {
    hub: Arc<Hub>,
    names: Box<[Box<str>]>,
    listening: Listening,
}

enum Listening {
    One(broadcast::Receiver<Slice>),
    /// Several channels only wake: one event may be due on two of them, and
    /// between two channels there is no order.
    Many(SelectAll<BroadcastStream<Slice>>),
    /// None, while another listens.
    Paused,
}

/// What a channel had to say.
#[derive(Debug)]
pub enum News {
    /// The next frames, in order, none left out.
    Slice(Slice),
    /// Something has come, or was missed: the ring and the journal know what.
    Look,
    /// Nothing, now.
    Quiet,
}

impl Attachment {
    /// Waits until there is news; never says [`News::Quiet`]. Cancel-safe.
    pub async fn news(&mut self) -> News {
        match &mut self.listening {
            Listening::One(receiver) => match receiver.recv().await {
                Ok(slice) => return News::Slice(slice),
                Err(RecvError::Lagged(_)) => return News::Look,
                Err(RecvError::Closed) => {}
            },
            Listening::Many(streams) => {
                if streams.next().await.is_some() {
                    drain(streams);
                    return News::Look;
                }
            }
            Listening::Paused => {}
        }
        // Never: senders live as long as their receivers do.
        std::future::pending().await
    }

    /// Whether this is one channel, which tells of frames and not only that
    /// something came.
    #[must_use]
    pub fn is_of_one(&self) -> bool {
        matches!(self.listening, Listening::One(_))
    }

    /// The news there is already. What was sent before this call is not
    /// overlooked.
    pub fn news_now(&mut self) -> News {
        match &mut self.listening {
            Listening::One(receiver) => match receiver.try_recv() {
                Ok(slice) => News::Slice(slice),
                Err(TryRecvError::Lagged(_)) => News::Look,
                Err(TryRecvError::Empty | TryRecvError::Closed) => News::Quiet,
            },
            Listening::Many(streams) => match drain(streams) {
                0 => News::Quiet,
                _ => News::Look,
            },
            Listening::Paused => News::Quiet,
        }
    }

    /// The one channel that this listens to, where others do so as well.
    #[must_use]
    pub fn shared_channel(&self) -> Option<&str> {
        let (Listening::One(_), [name]) = (&self.listening, &*self.names) else {
            return None;
        };
        let channel = self.hub.channels.get(&**name)?;
        (channel.receiver_count() > 1).then_some(name)
    }

    /// Lets go of its channels, and hears nothing until it is resumed.
    pub fn pause(&mut self) {
        self.listening = Listening::Paused;
        for name in &self.names {
            self.hub
                .channels
                .remove_if(name, |_, channel| channel.receiver_count() == 0);
        }
    }

    /// Listens anew: as [`Hub::attach`], to what comes from now on.
    pub fn resume(&mut self) {
        self.listening = self.hub.listen(&self.names);
    }
}

/// Empties the channels and says how many messages there were; bounded, since
/// the pump may go on sending.
fn drain(streams: &mut SelectAll<BroadcastStream<Slice>>) -> usize {
    let bound = streams.len() * CHANNEL_SLICES;
    (0..bound)
        // Unconstrained, or a task that has done much already would be told
        // that there is nothing, whatever waits.
        .take_while(|_| matches!(unconstrained(streams.next()).now_or_never(), Some(Some(_))))
        .count()
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.pause();
    }
}

#[cfg(test)]
mod tests;
