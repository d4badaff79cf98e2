//! Which libraries come back after which end of a stream, tried on a server of a
//! few lines: what the gateway's own ends are chosen by.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_linger;

use super::{
    library::{Library, Use},
    listener::Listener,
    programs::Programs,
};

const PATIENCE: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum End {
    Complete,
    Cut,
    Reset,
    Unavailable,
    NoContent,
}

pub(super) const ENDS: [End; 5] = [
    End::Complete,
    End::Cut,
    End::Reset,
    End::Unavailable,
    End::NoContent,
];

impl End {
    /// As the document says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete: the last chunk of HTTP/1.1",
            Self::Cut => "cut off: closed without the last chunk",
            Self::Reset => "reset (RST)",
            Self::Unavailable => "cut off, and then 503 with `Retry-After`",
            Self::NoContent => "cut off, and then 204",
        }
    }
}

/// A library, and whether it is known to come back.
pub(super) type Trying = (&'static Library, Option<bool>);

/// Whether each of them comes back after that end.
pub(super) fn come_back(end: End, programs: &Programs, trying: &[Trying]) -> Vec<bool> {
    let servers: Vec<_> = trying.iter().map(|_| Server::start(end)).collect();
    let start = |(&(library, _), server): (&Trying, &Server)| {
        let url = format!("http://{}/events/open", server.address);
        Listener::start(programs, (library, Use::Naive), &url, &format!("{end:?}"))
    };
    let mut listeners: Vec<_> = trying.iter().zip(&servers).map(start).collect();
    let patience = Instant::now() + PATIENCE;
    loop {
        let mut is_waiting = false;
        for ((listener, server), &(_, known)) in listeners.iter_mut().zip(&servers).zip(trying) {
            let is_done = server.is_back() || listener.has_ended();
            // One that is known to stay away has to have been there.
            let has_been = server.has_ended_one();
            is_waiting |= !is_done && (known != Some(false) || !has_been);
        }
        if !is_waiting || Instant::now() > patience {
            return servers.iter().map(Server::is_back).collect();
        }
        thread::park_timeout(LOOK);
    }
}

/// Ends its streams like this, until one has come back.
struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    has_ended_one: AtomicBool,
    is_back: AtomicBool,
}

impl Server {
    fn start(end: End) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        thread::spawn(move || {
            for (number, client) in listener.incoming().flatten().enumerate() {
                let told = Arc::clone(&told);
                thread::spawn(move || answer(client, end, number, &told));
            }
        });
        Self { address, seen }
    }

    fn is_back(&self) -> bool {
        self.seen.is_back.load(Ordering::SeqCst)
    }

    fn has_ended_one(&self) -> bool {
        self.seen.has_ended_one.load(Ordering::SeqCst)
    }
}

/// The answer to the connection with this number.
fn answer(mut client: TcpStream, end: End, number: usize, seen: &Seen) -> io::Result<()> {
    let is_json_lines = read_request(&client)?;
    let refusal = match (end, number) {
        (End::Unavailable, 1) => Some("503 Service Unavailable\r\nretry-after: 1"),
        (End::NoContent, 1) => Some("204 No Content"),
        _ => None,
    };
    if let Some(status) = refusal {
        let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
        let length = if end == End::NoContent {
            ""
        } else {
            "content-length: 0\r\n"
        };
        return client.write_all(format!("{head}{length}\r\n").as_bytes());
    }
    let ends_before = if matches!(end, End::Unavailable | End::NoContent) {
        2
    } else {
        1
    };
    client.write_all(&stream(is_json_lines, number))?;
    if number >= ends_before {
        seen.is_back.store(true, Ordering::SeqCst);
        // Until it leaves.
        _ = client.read(&mut [0]);
        return Ok(());
    }
    match end {
        End::Complete => client.write_all(b"0\r\n\r\n")?,
        End::Reset => set_socket_linger(&client, Some(Duration::ZERO))?,
        End::Cut | End::Unavailable | End::NoContent => {}
    }
    drop(client);
    seen.has_ended_one.store(true, Ordering::SeqCst);
    Ok(())
}

/// Reads it all; returns whether it asks for lines of JSON.
fn read_request(client: &TcpStream) -> io::Result<bool> {
    let mut is_json_lines = false;
    for line in BufReader::new(client).lines() {
        let line = line?.to_lowercase();
        is_json_lines |= line.contains("ndjson");
        if line.is_empty() {
            break;
        }
    }
    Ok(is_json_lines)
}

/// A head, what opens a stream, and an event.
fn stream(is_json_lines: bool, number: usize) -> Vec<u8> {
    let (media_type, body) = if is_json_lines {
        let line =
            format!("{{\"id\":\"a-{number}\",\"type\":\"x\",\"data\":{{\"n\":{number}}}}}\n");
        ("application/x-ndjson", line)
    } else {
        let opening = "retry: 200\nid: a-0\nevent: hookrill.cursor\ndata: {}\n\n";
        let event = format!("id: a-{number}\ndata: {{\"n\":{number}}}\n\n");
        ("text/event-stream", format!("{opening}{event}"))
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncache-control: no-store\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    format!("{head}{:x}\r\n{body}\r\n", body.len()).into_bytes()
}
