//! The floor: what streaming costs when nothing but the kernel takes part.
//!
//! One thread, one epoll. An event becomes one chunk of SSE, which is appended
//! to its topic's tape; each subscriber is a socket and a position on the tape,
//! and gets one `write`. No framework, no verification, no disk. Invariant: a
//! subscriber that lags is written to when it can take more, from where it is.

use std::{
    collections::HashMap,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, EventData, EventFlags},
};

use super::{Fault, http};

const LISTENER: u64 = u64::MAX;
/// A liar is wrong to one subscriber in so many.
const VICTIM_EVERY: usize = 10;
/// The event of each topic that a liar gets wrong, counted from 0.
const WRONG_EVENT: usize = 50;
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n";
const TAKEN: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
const READY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Serves until the process is ended; lies where a fault is given.
pub(super) fn serve(listener: &TcpListener, fault: Option<Fault>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut floor = Floor {
        epoll,
        fault,
        clients: HashMap::new(),
        listening: HashMap::new(),
        names: HashMap::new(),
        topics: Vec::new(),
        buffer: vec![0; 256 * 1024],
        accepted: 0,
    };
    let mut ready = Vec::with_capacity(1024);
    loop {
        ready.clear();
        match epoll::wait(&floor.epoll, spare_capacity(&mut ready), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &ready {
            match event.data.u64() {
                LISTENER => floor.accept(listener)?,
                client => floor.serve_client(client),
            }
        }
    }
}

struct Floor {
    epoll: OwnedFd,
    fault: Option<Fault>,
    clients: HashMap<u64, Client>,
    /// Who subscribed: to which topic, and its place there.
    listening: HashMap<u64, (usize, usize)>,
    names: HashMap<String, usize>,
    topics: Vec<TopicListeners>,
    buffer: Vec<u8>,
    accepted: u64,
}

/// A connection that did not subscribe, or not yet.
struct Client {
    socket: TcpStream,
    unread: Vec<u8>,
}

#[derive(Default)]
struct TopicListeners {
    tape: Tape,
    /// What a liar's victims get.
    wrong_tape: Tape,
    events: usize,
    listeners: Vec<Listener>,
}

#[derive(Default)]
struct Tape {
    bytes: Vec<u8>,
    /// Held back, to come behind the next one.
    held: Vec<u8>,
}

struct Listener {
    /// `None` once it has left.
    socket: Option<TcpStream>,
    /// So much of the tape was written to it.
    written: usize,
    victim: bool,
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            self.accepted += 1;
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(
                &self.epoll,
                &socket,
                EventData::new_u64(self.accepted),
                flags,
            )?;
            let client = Client {
                socket,
                unread: Vec::new(),
            };
            self.clients.insert(self.accepted, client);
        }
    }

    /// Edge-triggered: does all that can be done.
    fn serve_client(&mut self, id: u64) {
        if let Some(&(topic, place)) = self.listening.get(&id) {
            self.topics[topic].serve(place, &mut self.buffer);
            return;
        }
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        loop {
            match client.socket.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(bytes) => client.unread.extend_from_slice(&self.buffer[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.answer(id);
                }
                Err(_) => break,
            }
        }
        self.clients.remove(&id);
    }

    fn answer(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let unread = std::mem::take(&mut client.unread);
        let mut rest = unread.as_slice();
        while let Some(request) = http::request(rest) {
            rest = &rest[request.bytes..];
            let (kind, topic) = split(request.path);
            match kind {
                "publish" => self.publish(id, topic, request.body),
                "events" => return self.listen(id, topic, false),
                "replay" => return self.listen(id, topic, true),
                _ => self.say(id, READY),
            }
        }
        if let Some(still_here) = self.clients.get_mut(&id) {
            still_here.unread.extend_from_slice(rest);
        }
    }

    fn say(&mut self, id: u64, text: &[u8]) {
        if let Some(client) = self.clients.get_mut(&id) {
            // Who is gone is noticed by its next read.
            let _ = client.socket.write_all(text);
        }
    }

    fn publish(&mut self, id: u64, topic: &str, body: &[u8]) {
        let topic = self.topic(topic);
        let topic = &mut self.topics[topic];
        let event = sse(body);
        topic.tape.append(&chunk(&event), None);
        if let Some(fault) = self.fault {
            let fault = (topic.events == WRONG_EVENT).then_some(fault);
            let event = match fault {
                Some(Fault::Cut) => sse(&body[..body.len() / 2]),
                _ => event,
            };
            topic.wrong_tape.append(&chunk(&event), fault);
        }
        topic.events += 1;
        for place in 0..topic.listeners.len() {
            topic.write_to(place);
        }
        self.say(id, TAKEN);
    }

    fn listen(&mut self, id: u64, name: &str, from_start: bool) {
        self.say(id, STREAM_HEAD);
        let Some(client) = self.clients.remove(&id) else {
            return;
        };
        let index = self.topic(name);
        let topic = &mut self.topics[index];
        let place = topic.listeners.len();
        let victim = self.fault.is_some() && place % VICTIM_EVERY == VICTIM_EVERY - 1;
        let tape = if victim {
            &topic.wrong_tape
        } else {
            &topic.tape
        };
        topic.listeners.push(Listener {
            socket: Some(client.socket),
            written: if from_start { 0 } else { tape.bytes.len() },
            victim,
        });
        topic.write_to(place);
        self.listening.insert(id, (index, place));
    }

    fn topic(&mut self, name: &str) -> usize {
        if let Some(index) = self.names.get(name) {
            return *index;
        }
        self.topics.push(TopicListeners::default());
        self.names.insert(name.to_owned(), self.topics.len() - 1);
        self.topics.len() - 1
    }
}

impl TopicListeners {
    /// Goes on where the socket was full, and looks whether the peer left: a
    /// subscriber says nothing else.
    fn serve(&mut self, place: usize, buffer: &mut [u8]) {
        self.write_to(place);
        let listener = &mut self.listeners[place];
        if let Some(socket) = &mut listener.socket
            && is_gone(socket, buffer)
        {
            listener.socket = None;
        }
    }

    fn write_to(&mut self, place: usize) {
        let listener = &mut self.listeners[place];
        let Some(socket) = &mut listener.socket else {
            return;
        };
        let tape = if listener.victim {
            &self.wrong_tape
        } else {
            &self.tape
        };
        while let Some(rest) = tape.bytes.get(listener.written..) {
            if rest.is_empty() {
                break;
            }
            match socket.write(rest) {
                Ok(bytes) => listener.written += bytes,
                // Full: its next event on the epoll goes on. Gone: likewise.
                Err(_) => break,
            }
        }
    }
}

impl Tape {
    fn append(&mut self, frame: &[u8], fault: Option<Fault>) {
        match fault {
            Some(Fault::Lose) => return,
            Some(Fault::Swap) => {
                self.held = frame.to_vec();
                return;
            }
            Some(Fault::Double) => self.bytes.extend_from_slice(frame),
            Some(Fault::Cut) | None => {}
        }
        self.bytes.extend_from_slice(frame);
        self.bytes.append(&mut self.held);
    }
}

fn is_gone(socket: &mut TcpStream, buffer: &mut [u8]) -> bool {
    match socket.read(buffer) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

fn split(path: &str) -> (&str, &str) {
    let path = path.trim_start_matches('/');
    path.split_once('/').unwrap_or((path, ""))
}

fn sse(body: &[u8]) -> Vec<u8> {
    [b"data: ", body, b"\n\n"].concat()
}

fn chunk(event: &[u8]) -> Vec<u8> {
    let head = format!("{:x}\r\n", event.len());
    [head.as_bytes(), event, b"\r\n"].concat()
}
