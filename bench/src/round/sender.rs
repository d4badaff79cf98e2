//! Senders of a round: keep-alive connections with one request in flight each.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
};

use rustix::event::epoll;

use super::{Round, RoundError, SENDERS, offer::Offering};
use crate::wire::Response;

/// So much of a refusal's text is kept.
const REFUSAL_BYTES: usize = 300;
/// A server that refuses this many events is not measured further.
const REFUSALS_MAX: u64 = 100;

/// One connection to publish over.
pub(super) struct LoadSender {
    /// `None` once the server closed it.
    socket: Option<TcpStream>,
    answer: Response,
    /// The number of the event whose answer is awaited.
    pub(super) waits_for: Option<usize>,
    /// What of its request is still to be written.
    unwritten: Vec<u8>,
}

impl Round<'_> {
    /// Makes as many senders as are asked for.
    pub(super) fn employ(&mut self, count: usize) {
        while self.senders.len() < count {
            self.senders.push(LoadSender {
                socket: None,
                answer: Response::default(),
                waits_for: None,
                unwritten: Vec::new(),
            });
        }
    }

    /// Sends a request; the sender must be idle.
    pub(super) fn post(
        &mut self,
        index: usize,
        event: usize,
        request: &[u8],
    ) -> Result<(), RoundError> {
        let failed = |error| RoundError::system("a sender's request", error);
        if self.senders[index].socket.is_none() {
            let socket = self.connect_sender(index).map_err(failed)?;
            self.senders[index].socket = Some(socket);
        }
        let sender = &mut self.senders[index];
        sender.waits_for = Some(event);
        sender.unwritten.clear();
        sender.unwritten.extend_from_slice(request);
        sender.write().map_err(failed)
    }

    fn connect_sender(&self, index: usize) -> io::Result<TcpStream> {
        let socket = TcpStream::connect(self.publish_address)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        // Edge-triggered, since it is writable most of the time.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(SENDERS + index as u64);
        epoll::add(&self.epoll, &socket, data, flags)?;
        Ok(socket)
    }

    /// Writes and reads what can be.
    pub(super) fn serve_sender(&mut self, index: usize) -> Result<(), RoundError> {
        let mut sender = &mut self.senders[index];
        let failed = |error| RoundError::system("a sender's answer", error);
        sender.write().map_err(failed)?;
        while let Some(socket) = &mut sender.socket {
            let bytes = match socket.read(&mut self.buffer) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(failed(error)),
            };
            self.tally.last_progress = self.clock.elapsed();
            if bytes == 0 {
                sender.socket = None;
                return match sender.waits_for {
                    None => Ok(()),
                    Some(_) => Err(failed(io::ErrorKind::UnexpectedEof.into())),
                };
            }
            self.take_answer(index, bytes)?;
            sender = &mut self.senders[index];
        }
        Ok(())
    }

    fn take_answer(&mut self, index: usize, bytes: usize) -> Result<(), RoundError> {
        let sender = &mut self.senders[index];
        let input = &self.buffer[..bytes];
        let head = sender.answer.feed_head(input).map_err(RoundError::Answer)?;
        let status = sender.answer.status();
        let taken = (200..300).contains(&status);
        let mut text = Vec::new();
        let fed = sender.answer.feed(&input[head..], |piece| {
            if !taken && text.len() < REFUSAL_BYTES {
                text.extend_from_slice(piece);
            }
        });
        fed.map_err(RoundError::Answer)?;
        if !sender.answer.is_done() {
            return Ok(());
        }
        if sender.answer.closes() {
            sender.socket = None;
        }
        sender.answer.reset();
        let Some(event) = sender.waits_for.take() else {
            return Ok(());
        };
        if taken {
            self.events[event].acknowledged = true;
            self.tally.acknowledged += 1;
            self.tally.expected += self.audiences[event % self.audiences.len()];
        } else {
            self.tally.refused += 1;
            let text = String::from_utf8_lossy(&text).into_owned();
            self.tally.refusal.get_or_insert((status, text));
        }
        Ok(())
    }

    /// Gives up on a server that refuses.
    pub(super) fn check_refusals(&self, offering: &Offering) -> Result<(), RoundError> {
        let all_refused = offering.is_sent() && self.tally.acknowledged == 0;
        match &self.tally.refusal {
            Some((status, text)) if all_refused || self.tally.refused > REFUSALS_MAX => {
                Err(RoundError::Refused {
                    count: self.tally.refused,
                    status: *status,
                    text: text.clone(),
                })
            }
            _ => Ok(()),
        }
    }
}

impl LoadSender {
    fn write(&mut self) -> io::Result<()> {
        let Some(socket) = &mut self.socket else {
            return Ok(());
        };
        while !self.unwritten.is_empty() {
            match socket.write(&self.unwritten) {
                Ok(bytes) => {
                    self.unwritten.drain(..bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
