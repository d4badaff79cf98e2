//! One round of load on one server: senders, subscribers, and the clock.
//!
//! One thread and one epoll, so that the generator takes one core and its own
//! cost per delivery stays far below a server's. Latency runs from when an
//! event was due, not from when a sender found time for it. Invariant: between
//! the first event and the last delivery nothing is allocated per delivery.

mod offer;
mod sender;
mod subscriber;
mod tally;

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
};

pub use offer::{Limit, Offered};

use crate::{
    ledger::{Faults, Ledger, Sent},
    server::{Running, Spec},
    wire::WireError,
};
use sender::LoadSender;
use subscriber::Subscriber;
use tally::{OfferedEvent, Tally};

/// Without progress for so long, nothing more is waited for.
const WAIT_MAX: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 256 * 1024;
const READY_AT_ONCE: usize = 1024;
/// Senders' numbers begin here, subscribers' at 0.
const SENDERS: u64 = 1 << 32;

/// Why a round ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The system refused a connection or broke it.
    #[error("{doing}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// As the system says.
        source: io::Error,
    },
    /// A subscriber got what is no stream.
    #[error("subscriber {subscriber}: {source}")]
    Stream {
        /// Which one.
        subscriber: usize,
        /// What was wrong.
        source: WireError,
    },
    /// A sender got what is no answer.
    #[error("a sender's answer: {0}")]
    Answer(WireError),
    /// The server took its time over opening streams.
    #[error("{opening} of {all} streams were not open after {WAIT_MAX:?} of silence")]
    NotOpened {
        /// How many.
        opening: usize,
        /// Of how many.
        all: usize,
    },
    /// The server refused many events.
    #[error("the server refused {count} events, the first with status {status}: {text}")]
    Refused {
        /// How many.
        count: u64,
        /// The first one's status.
        status: u16,
        /// The beginning of the answer's body.
        text: String,
    },
}

/// A round on one server.
pub struct Round<'s> {
    spec: &'s Spec,
    address: SocketAddr,
    publish_address: SocketAddr,
    epoll: std::os::fd::OwnedFd,
    ready: Vec<epoll::Event>,
    buffer: Box<[u8]>,
    subscribers: Vec<Subscriber>,
    senders: Vec<LoadSender>,
    /// One per topic.
    ledgers: Vec<Ledger>,
    /// How many subscribers each topic has.
    audiences: Vec<u64>,
    events: Vec<OfferedEvent>,
    tally: Tally,
    clock: Instant,
}

impl<'s> Round<'s> {
    /// A round of `topics` topics that nobody listens to yet.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub fn new(spec: &'s Spec, server: &Running, topics: usize) -> Result<Self, RoundError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC);
        let epoll = epoll.map_err(|error| RoundError::system("epoll", error.into()))?;
        Ok(Self {
            spec,
            address: server.address,
            publish_address: server.publish_address,
            epoll,
            ready: Vec::with_capacity(READY_AT_ONCE),
            buffer: vec![0; READ_BYTES].into(),
            subscribers: Vec::new(),
            senders: Vec::new(),
            ledgers: (0..topics).map(|_| Ledger::default()).collect(),
            audiences: vec![0; topics],
            events: Vec::new(),
            tally: Tally::new(),
            clock: Instant::now(),
        })
    }

    /// Receives for a while, whatever comes.
    ///
    /// # Errors
    ///
    /// Where a stream breaks.
    pub fn linger(&mut self, time: Duration) -> Result<(), RoundError> {
        let end = self.clock.elapsed() + time;
        while let Some(left) = end.checked_sub(self.clock.elapsed()) {
            self.turn(left)?;
        }
        Ok(())
    }

    /// What was wrong with the deliveries so far.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let topics = self.ledgers.len();
        let mut sent: Vec<Sent> = (0..topics).map(|_| self.nothing_sent()).collect();
        for (number, event) in (0..).zip(&self.events) {
            let of_topic = &mut sent[number as usize % topics];
            match event.sender {
                Some(sender) if event.acknowledged => of_topic.acknowledged[sender].push(number),
                Some(_) => of_topic.unanswered.push(number),
                None => {}
            }
        }
        let mut places: Vec<Vec<_>> = (0..topics).map(|_| Vec::new()).collect();
        for subscriber in &self.subscribers {
            places[subscriber.topic].push(&subscriber.place);
        }
        let mut faults = Faults {
            damaged: self.tally.damaged,
            ..Faults::default()
        };
        for ((ledger, of_topic), listening) in self.ledgers.iter().zip(&sent).zip(&places) {
            faults.add(&ledger.verdict(listening.iter().copied(), of_topic));
        }
        faults
    }

    fn nothing_sent(&self) -> Sent {
        Sent {
            acknowledged: vec![Vec::new(); self.senders.len()],
            unanswered: Vec::new(),
        }
    }

    /// Whether the server compresses what it sends.
    #[must_use]
    pub fn is_gzip(&self) -> bool {
        let mut streams = self.subscribers.iter().map(|one| &one.stream);
        streams.all(crate::wire::StreamDecoder::is_gzip) && !self.subscribers.is_empty()
    }

    /// Waits at most so long for sockets, and serves those that are ready.
    fn turn(&mut self, timeout: Duration) -> Result<(), RoundError> {
        let timeout = Timespec::try_from(timeout).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        });
        self.ready.clear();
        let waited = epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(&timeout));
        match waited {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(RoundError::system("epoll", error.into())),
        }
        for index in 0..self.ready.len() {
            match self.ready[index].data.u64() {
                sender if sender >= SENDERS => self.serve_sender((sender - SENDERS) as usize)?,
                subscriber => self.receive(subscriber as usize)?,
            }
        }
        Ok(())
    }
}

impl RoundError {
    fn system(doing: &'static str, source: io::Error) -> Self {
        Self::System { doing, source }
    }
}
