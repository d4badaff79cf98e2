//! A program that takes deliveries, and behaves as a test says.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::Duration,
};

use hookrill_testing::WAIT_MAX;

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) line: String,
    /// Each line as it was written.
    pub(super) headers: Vec<String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (own, value) = line.split_once(": ").or(line.split_once(':'))?;
            own.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// What the program does with a connection on which a request has come; the number of
/// requests so far counts this one.
pub(super) type Behaviour = dyn Fn(&mut TcpStream, usize) + Send + Sync;

/// A program that takes deliveries. It ends with this.
pub(super) struct FakeApp {
    pub(super) address: SocketAddr,
    requests: Receiver<Request>,
    is_closed: Arc<AtomicBool>,
}

impl FakeApp {
    /// One that answers with this status.
    pub(super) fn answering(status: &'static str) -> Self {
        Self::start(move |stream, _| answer(stream, status, "Content-Length: 0", ""))
    }

    pub(super) fn start(behave: impl Fn(&mut TcpStream, usize) + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), behave)
    }

    pub(super) fn at(
        address: SocketAddr,
        behave: impl Fn(&mut TcpStream, usize) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let bound = listener.local_addr().unwrap();
        let (sender, requests) = sync_channel(100_000);
        let is_closed = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&is_closed);
        let count = Arc::new(Mutex::new(0));
        let behave: Arc<Behaviour> = Arc::new(behave);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if closed.load(Ordering::SeqCst) {
                    return;
                }
                let (sender, behave) = (sender.clone(), Arc::clone(&behave));
                let count = Arc::clone(&count);
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(request) = read(&stream) else { return };
                    let number = {
                        let mut count = count.lock().unwrap();
                        *count += 1;
                        *count
                    };
                    _ = sender.send(request);
                    behave(&mut stream, number);
                });
            }
        });
        Self {
            address: bound,
            requests,
            is_closed,
        }
    }

    pub(super) fn port(&self) -> String {
        self.address.port().to_string()
    }

    pub(super) fn next(&self) -> Request {
        self.requests.recv_timeout(WAIT_MAX).unwrap()
    }

    /// Whether nothing more has come, which is known once the client has ended.
    pub(super) fn is_done(&self) -> bool {
        self.requests.try_recv().is_err()
    }
}

impl Drop for FakeApp {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::SeqCst);
        _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

/// Reads a request; `None`: the connection ended before it was whole.
pub(super) fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut next = || {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).ok()?;
        let line = line.strip_suffix(b"\r\n")?;
        Some(String::from_utf8_lossy(line).into_owned())
    };
    let line = next()?;
    let mut headers = Vec::new();
    loop {
        let header = next()?;
        if header.is_empty() {
            break;
        }
        headers.push(header);
    }
    let mut request = Request {
        line,
        headers,
        body: Vec::new(),
    };
    let length = request.header("content-length");
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

pub(super) fn answer(stream: &mut TcpStream, status: &str, header: &str, body: &str) {
    let text = format!("HTTP/1.1 {status}\r\n{header}\r\n\r\n{body}");
    _ = stream.write_all(text.as_bytes());
}

/// An answer with the length of its body.
pub(super) fn reply(stream: &mut TcpStream, status: &str, header: &str, body: &str) {
    let headers = format!("{header}\r\nContent-Length: {}", body.len());
    answer(stream, status, &headers, body);
}

/// Leaves the connection open until its peer closes it.
pub(super) fn hold(stream: &mut TcpStream) {
    let mut rest = [0; 64];
    while stream.read(&mut rest).is_ok_and(|count| count > 0) {}
}
