//! Asks Linux about TCP sockets (`sock_diag(7)`).
//!
//! A request, after a header of 16 bytes (`netlink(7)`):
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | address family |
//! | 1 | 1 | protocol: 6, TCP |
//! | 2 | 1 | what to say besides the answer below: 2 for the TCP information |
//! | 4 | 4 | the states of sockets, one bit each |
//! | 8 | 48 | which socket: its port (2, in network order), the peer's port (2), its |
//! | | | address (16), the peer's (16), interface (4), name (8) |
//!
//! An answer has, after such a header:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | address family |
//! | 2 | 1 | timer: 1 to send again, 4 to probe a peer that takes nothing |
//! | 3 | 1 | how often that was done without an answer |
//! | 4 | 48 | which socket, as above |
//! | 72 | | attributes: length (2), kind (2), and content, padded to 4 |
//!
//! The TCP information (kind 2) has at 2 how often something was sent again, at 3 how
//! many probes were, both without an answer, and at 56 the milliseconds since
//! anything was acknowledged (4). Numbers are in the byte order of the machine.
//!
//! Needs no privilege, and names only sockets of the same network namespace.

use std::{io, net::SocketAddr, os::fd::OwnedFd, time::Duration};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketType,
    netlink::{self, SocketAddrNetlink},
    recv, sendto, socket, sockopt,
};

const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = HEADER_BYTES + 56;
const ID_BYTES: usize = 48;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST: u16 = 1;
/// All sockets that fit, in as many messages as it takes.
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;
const TCP_INFO: u8 = 2;
/// Established, or closed by the peer alone.
const STATES: u32 = 1 << 1 | 1 << 8;
const ALL_STATES: u32 = u32::MAX;
const TIMER_AGAIN: u8 = 1;
const TIMER_PROBE: u8 = 4;

/// The system sends no more at once.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The system answers within the call; this is for the unforeseen.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// A way to ask.
pub(super) struct SockDiag(OwnedFd);

/// A socket that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SocketDiag {
    pub(super) name: u64,
    family: u8,
    id: [u8; ID_BYTES],
    /// How often it has asked for an answer in vain.
    unanswered: u8,
}

impl SockDiag {
    pub(super) fn open() -> io::Result<Self> {
        let protocol = Some(netlink::SOCK_DIAG);
        let diag = socket(AddressFamily::NETLINK, SocketType::DGRAM, protocol)?;
        sockopt::set_socket_timeout(&diag, sockopt::Timeout::Recv, Some(ANSWER_TIME_MAX))?;
        Ok(Self(diag))
    }

    /// The sockets that were accepted at `listening` and wait for an answer of their
    /// peers. Blocks.
    pub(super) fn sockets_that_wait(&self, listening: SocketAddr) -> io::Result<Vec<SocketDiag>> {
        let mut waiting = self.sockets(listening)?;
        waiting.retain(|socket| socket.unanswered > 0);
        Ok(waiting)
    }

    fn sockets(&self, listening: SocketAddr) -> io::Result<Vec<SocketDiag>> {
        let family = if listening.is_ipv4() {
            AF_INET
        } else {
            AF_INET6
        };
        let mut id = [0; ID_BYTES];
        id[..2].copy_from_slice(&listening.port().to_be_bytes());
        let mut sockets = Vec::new();
        self.send(&request(family, 0, STATES, DUMP, &id))?;
        while self.receive(|answer| sockets.extend(SocketDiag::read(answer)))? == More::ToCome {}
        Ok(sockets)
    }

    /// For how long nothing came from the socket's peer; `None` where it has answered
    /// meanwhile, or the socket is gone. Blocks.
    pub(super) fn silence(&self, socket: &SocketDiag) -> io::Result<Option<Duration>> {
        let request = request(socket.family, TCP_INFO, ALL_STATES, 0, &socket.id);
        self.send(&request)?;
        let mut silence = None;
        match self.receive(|answer| silence = read_silence(answer)) {
            Ok(_) => Ok(silence),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn send(&self, request: &[u8]) -> io::Result<()> {
        let system = SocketAddrNetlink::new(0, 0);
        sendto(&self.0, request, SendFlags::empty(), &system)?;
        Ok(())
    }

    /// Receives once, and hands out the answers, each without its header.
    fn receive(&self, mut answer: impl FnMut(&[u8])) -> io::Result<More> {
        let mut buffer = vec![0; ANSWER_BYTES_MAX];
        // The length is that of what was sent, also where that is longer.
        let (_, len) = recv(&self.0, buffer.as_mut_slice(), RecvFlags::TRUNC)?;
        let received = buffer.get(..len).ok_or(io::ErrorKind::InvalidData)?;
        for message in Messages(received) {
            match message? {
                (DONE, _) => return Ok(More::None),
                (ERROR, content) => return Err(error(content)),
                (_, content) => answer(content),
            }
        }
        Ok(More::ToCome)
    }
}

/// Whether a dump goes on after what was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    ToCome,
    None,
}

impl SocketDiag {
    /// The socket that an answer is about.
    fn read(answer: &[u8]) -> Option<Self> {
        let [family, _, timer, count] = *answer.first_chunk()?;
        let id: [u8; ID_BYTES] = *answer.get(4..)?.first_chunk()?;
        let is_waiting = timer == TIMER_AGAIN || timer == TIMER_PROBE;
        // In two halves, the lower one first.
        let [low, high] = [40, 44].map(|at| u64::from(u32_at(&id, at).unwrap_or_default()));
        Some(Self {
            name: high << 32 | low,
            family,
            id,
            unanswered: if is_waiting { count } else { 0 },
        })
    }

    /// A socket of this name.
    #[cfg(test)]
    pub(super) fn named(name: u64) -> Self {
        Self {
            name,
            family: AF_INET,
            id: [0; ID_BYTES],
            unanswered: 1,
        }
    }
}

/// A request, with its header.
fn request(family: u8, and: u8, states: u32, flags: u16, id: &[u8; ID_BYTES]) -> Vec<u8> {
    let mut out = Vec::with_capacity(REQUEST_BYTES);
    out.extend((REQUEST_BYTES as u32).to_ne_bytes());
    out.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    out.extend((REQUEST | flags).to_ne_bytes());
    out.extend([0; 8]);
    out.extend([family, TCP, and, 0]);
    out.extend(states.to_ne_bytes());
    out.extend(id);
    debug_assert_eq!(out.len(), REQUEST_BYTES);
    out
}

/// The messages in what was received: the kind and the content of each.
struct Messages<'r>(&'r [u8]);

impl<'r> Iterator for Messages<'r> {
    type Item = io::Result<(u16, &'r [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let message = next_message(&mut self.0);
        if message.is_none() {
            self.0 = &[];
        }
        Some(message.ok_or_else(|| io::ErrorKind::InvalidData.into()))
    }
}

fn next_message<'r>(rest: &mut &'r [u8]) -> Option<(u16, &'r [u8])> {
    let (len, kind) = (u32_at(rest, 0)? as usize, u16_at(rest, 4)?);
    let content = rest.get(HEADER_BYTES..len)?;
    *rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, content))
}

/// The error that the content of a message says.
fn error(content: &[u8]) -> io::Error {
    let code = u32_at(content, 0).map(u32::cast_signed);
    match code {
        Some(code) if code < 0 => io::Error::from_raw_os_error(code.saturating_neg()),
        _ => io::ErrorKind::InvalidData.into(),
    }
}

/// For how long nothing came, by the TCP information in an answer; `None` where
/// nothing waits for an answer.
fn read_silence(answer: &[u8]) -> Option<Duration> {
    const ATTRIBUTES: usize = 72;
    let mut rest = answer.get(ATTRIBUTES..)?;
    loop {
        let (len, kind) = (u16_at(rest, 0)? as usize, u16_at(rest, 2)?);
        let info = rest.get(4..len)?;
        if kind == u16::from(TCP_INFO) {
            let [again, probes] = *info.get(2..)?.first_chunk()?;
            let millis = u32_at(info, 56)?;
            let is_waiting = again > 0 || probes > 0;
            return is_waiting.then(|| Duration::from_millis(millis.into()));
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// An answer about one socket.
    fn answer(timer: u8, count: u8, name: u64) -> Vec<u8> {
        let mut bytes = vec![AF_INET, 1, timer, count];
        bytes.extend([7; 40]);
        bytes.extend((name as u32).to_ne_bytes());
        bytes.extend(((name >> 32) as u32).to_ne_bytes());
        bytes.extend([0; 20]);
        bytes
    }

    /// Such an answer, with the TCP information behind another attribute.
    fn answer_with_info(again: u8, probes: u8, millis: u32) -> Vec<u8> {
        let mut bytes = answer(TIMER_AGAIN, again, 5);
        bytes.extend(5_u16.to_ne_bytes());
        bytes.extend(8_u16.to_ne_bytes());
        bytes.extend([3, 0, 0, 0]);
        bytes.extend(108_u16.to_ne_bytes());
        bytes.extend(2_u16.to_ne_bytes());
        let mut info = [0; 104];
        info[2..4].copy_from_slice(&[again, probes]);
        info[56..60].copy_from_slice(&millis.to_ne_bytes());
        bytes.extend(info);
        bytes
    }

    #[test]
    fn a_socket_waits_where_something_was_sent_again_or_probed() {
        const NAME: u64 = 0x1_0000_0002;
        for (timer, count, unanswered) in [(0, 0, 0), (1, 0, 0), (1, 3, 3), (4, 2, 2), (2, 9, 0)] {
            let read = SocketDiag::read(&answer(timer, count, NAME)).unwrap();
            assert_eq!((read.name, read.unanswered), (NAME, unanswered));
        }
    }

    #[test]
    fn silence_is_that_of_a_peer_that_has_not_answered() {
        let secs = |again, probes| read_silence(&answer_with_info(again, probes, 31_000));
        assert_eq!(secs(1, 0), Some(Duration::from_secs(31)));
        assert_eq!(secs(0, 1), Some(Duration::from_secs(31)));
        assert_eq!(secs(0, 0), None);
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_is_no_answer() {
        let whole = answer_with_info(1, 0, 1);
        // Up to the end of what is read of it.
        for len in 0..72 + 8 + 4 + 60 {
            assert_eq!(read_silence(&whole[..len]), None, "{len}");
        }
        for len in 0..52 {
            assert_eq!(SocketDiag::read(&whole[..len]), None, "{len}");
        }
        let mut message = vec![0; HEADER_BYTES];
        message[..4].copy_from_slice(&40_u32.to_ne_bytes());
        for len in 1..40_usize {
            message.resize(len, 0);
            let read: Vec<_> = Messages(&message).collect();
            assert!(matches!(&read[..], [Err(_)]), "{len}");
            message.resize(HEADER_BYTES.max(len), 0);
        }
    }

    /// Of this very machine. The last listens at IPv6 addresses and is connected to
    /// over IPv4.
    #[test]
    fn the_system_names_the_sockets_that_were_accepted_and_knows_their_silence() {
        const V4: &str = "127.0.0.1";
        for (address, from) in [("127.0.0.1:0", V4), ("[::1]:0", "::1"), ("[::]:0", V4)] {
            let listener = match TcpListener::bind(address) {
                Ok(listener) => listener,
                Err(error) => {
                    eprintln!("not looked at, since {address} can't be bound: {error}");
                    continue;
                }
            };
            let listening = listener.local_addr().unwrap();
            let _peer = TcpStream::connect((from, listening.port())).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let diag = SockDiag::open().unwrap();
            let sockets = diag.sockets(listening).unwrap();
            let [one] = sockets[..] else {
                panic!("{sockets:?} at {address}");
            };
            assert_eq!(one.name, sockopt::socket_cookie(&accepted).unwrap());
            assert_eq!((one.unanswered, diag.silence(&one).unwrap()), (0, None));
            assert_eq!(diag.sockets_that_wait(listening).unwrap(), []);
            // There is an answer about this one, and not about one that is gone.
            let asked = request(one.family, TCP_INFO, ALL_STATES, 0, &one.id);
            diag.send(&asked).unwrap();
            assert!(diag.receive(|_| {}).is_ok());
            drop(accepted);
            assert_eq!(
                diag.silence(&SocketDiag::named(77)).unwrap(),
                None,
                "it is gone"
            );
        }
    }
}
