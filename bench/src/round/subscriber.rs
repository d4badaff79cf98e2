//! Subscribers of a round: they connect a few at a time, read, and check.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use rustix::event::epoll;

use super::{Round, RoundError, WAIT_MAX};
use crate::{ledger::Place, server::Audience, wire::StreamDecoder};

/// One subscriber.
pub(super) struct Subscriber {
    socket: TcpStream,
    pub(super) stream: StreamDecoder,
    pub(super) topic: usize,
    pub(super) place: Place,
}

impl Round<'_> {
    /// Opens a stream for each of the audience, and waits until all are open.
    ///
    /// # Errors
    ///
    /// Where one is refused.
    pub fn subscribe(&mut self, audience: &Audience) -> Result<(), RoundError> {
        let requests = audience.requests(self.spec);
        for (index, request) in requests.iter().enumerate() {
            let topic = index % audience.topics;
            self.connect(request, topic)
                .map_err(|error| RoundError::system("a subscriber's connection", error))?;
            self.audiences[topic] += 1;
            self.wait_for_heads(self.spec.opening_max.max(1))?;
        }
        self.wait_for_heads(1)
    }

    /// How many events came.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.tally.delivered
    }

    fn connect(&mut self, request: &[u8], topic: usize) -> io::Result<()> {
        let mut socket = TcpStream::connect(self.address)?;
        socket.write_all(request)?;
        socket.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(self.subscribers.len() as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
        self.subscribers.push(Subscriber {
            socket,
            stream: StreamDecoder::default(),
            topic,
            place: Place::default(),
        });
        Ok(())
    }

    /// Until fewer than `most` streams are being opened.
    fn wait_for_heads(&mut self, most: usize) -> Result<(), RoundError> {
        let began = self.clock.elapsed();
        loop {
            let opening = self.subscribers.len() - self.tally.opened;
            if opening < most {
                return Ok(());
            }
            let silent_since = began.max(self.tally.last_progress);
            if self.clock.elapsed() > silent_since + WAIT_MAX {
                let all = self.subscribers.len();
                return Err(RoundError::NotOpened { opening, all });
            }
            self.turn(Duration::from_millis(100))?;
        }
    }

    /// Reads once: who has more is ready again at the next turn, and nobody
    /// waits behind a loud stream.
    pub(super) fn receive(&mut self, index: usize) -> Result<(), RoundError> {
        let subscriber = &mut self.subscribers[index];
        let bytes = match subscriber.socket.read(&mut self.buffer) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(RoundError::system("a subscriber's read", error)),
        };
        if bytes == 0 {
            self.tally.ended += 1;
            let gone = epoll::delete(&self.epoll, &subscriber.socket);
            return gone.map_err(|error| RoundError::system("epoll", error.into()));
        }
        let now = self.clock.elapsed();
        let was_open = subscriber.stream.is_open();
        let tally = &mut self.tally;
        tally.wire_bytes += bytes as u64;
        let before = tally.delivered;
        let Subscriber {
            stream,
            place,
            topic,
            ..
        } = subscriber;
        let (ledger, events) = (&mut self.ledgers[*topic], &self.events);
        let marker = self.spec.subscribe.marker.as_bytes();
        let fed = stream.feed(&self.buffer[..bytes], marker, |arrival| {
            ledger.take(place, arrival.number);
            tally.arrived(events, arrival, now);
        });
        fed.map_err(|source| RoundError::Stream {
            subscriber: index,
            source,
        })?;
        if !was_open && stream.is_open() {
            tally.opened += 1;
            tally.last_progress = now;
        }
        if tally.delivered > before {
            tally.last_delivery = now;
            tally.last_progress = now;
        }
        Ok(())
    }
}
