//! The built binary as a process of its own, and the least of HTTP.
//!
//! Knows the contract alone: nothing here links to the gateway's code.
//! Invariant: a process that was started here ends with its handle, by its id.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal};

/// Between two looks at something that tells nobody when it happens.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// No start, answer or end takes that long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway that runs, or ran.
pub struct Gateway {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
    output: Receiver<String>,
    /// From the process's creation to the first 200 of `/readyz`.
    pub ready_after: Duration,
}

/// A process whose standard output is read line by line.
pub struct Lines {
    name: String,
    child: Child,
    lines: Receiver<String>,
}

/// An answer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// A connection that is kept for many requests.
pub struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Gateway {
    /// Starts `hookrill serve` in `folder`, with this configuration below its
    /// `[server]`, and waits until it is ready.
    pub fn start(folder: &Path, config: &str) -> Self {
        let address = free_address();
        let file = format!("[server]\nlisten = \"{address}\"\n{config}");
        std::fs::write(folder.join("hookrill.toml"), file).expect("the folder can be written to");
        Self::start_at(folder, address)
    }

    /// The same gateway once more, at the same address.
    pub fn restart(self) -> Self {
        let (folder, address) = (self.folder.clone(), self.address);
        drop(self);
        Self::start_at(&folder, address)
    }

    fn start_at(folder: &Path, address: SocketAddr) -> Self {
        Self::start_as(hookrill(folder).arg("serve"), folder, address)
    }

    /// Starts another program that is a gateway at `address`, and waits until
    /// it is ready. Not to be restarted: that starts `hookrill serve`.
    pub fn start_as(program: &mut Command, folder: &Path, address: SocketAddr) -> Self {
        let began = Instant::now();
        let mut gateway = Self::spawn(program, folder, address);
        gateway.wait_until_ready();
        gateway.ready_after = began.elapsed();
        gateway
    }

    /// Starts a program that is to end by itself. Gives its status and all that
    /// it wrote to standard error.
    pub fn refused_as(
        program: &mut Command,
        folder: &Path,
        address: SocketAddr,
    ) -> (Option<i32>, String) {
        let mut refused = Self::spawn(program, folder, address);
        let status = refused.ended();
        // To the end of the pipe, which is there now.
        let said: Vec<_> = refused.output.iter().collect();
        (status.code(), said.join("\n"))
    }

    /// Starts the process and waits for nothing.
    fn launch(folder: &Path, address: SocketAddr) -> Self {
        Self::spawn(hookrill(folder).arg("serve"), folder, address)
    }

    fn spawn(program: &mut Command, folder: &Path, address: SocketAddr) -> Self {
        let mut child = program
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary is built");
        let output = lines_of(child.stderr.take().expect("it is piped"), DISCARD);
        Self {
            child,
            folder: folder.to_owned(),
            address,
            output,
            ready_after: Duration::ZERO,
        }
    }

    /// Starts the process once more, and kills it `after` that.
    pub fn launch_and_kill(self, after: Duration) -> Self {
        let (folder, address) = (self.folder.clone(), self.address);
        drop(self);
        let mut gateway = Self::launch(&folder, address);
        match gateway.ends_within(after) {
            None => gateway.kill(),
            Some(status) => panic!("ended by itself with {status}: {}", gateway.said()),
        }
        gateway
    }

    fn wait_until_ready(&mut self) {
        let patience = Instant::now() + PATIENCE;
        while Instant::now() < patience {
            if let Ok(answer) = Connection::open(self.address).and_then(|mut c| c.get("/readyz"))
                && answer.status == 200
            {
                return;
            }
            if let Some(status) = self.ends_within(LOOK_AGAIN) {
                panic!("did not start: {status}: {}", self.said());
            }
        }
        panic!("not ready within {PATIENCE:?}: {}", self.said());
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.address).expect("the gateway accepts connections")
    }

    /// SIGKILL, now.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.id(), signal).expect("it is our child");
    }

    /// From now on it may have so much of this. Gives what it might before.
    pub fn limit(&self, resource: Resource, to: u64) -> Rlimit {
        let limit = Rlimit {
            current: Some(to),
            maximum: Some(to),
        };
        rustix::process::prlimit(Some(self.id()), resource, limit).expect("it is our child")
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for the end.
    pub fn ended(&mut self) -> ExitStatus {
        self.ends_within(PATIENCE)
            .unwrap_or_else(|| panic!("did not end within {PATIENCE:?}: {}", self.said()))
    }

    /// The status, if the process ends within this time.
    fn ends_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + time;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return Some(status);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            thread::park_timeout(left.min(LOOK_AGAIN));
        }
    }

    /// Waits until it writes this to standard error, over what is before it.
    pub fn says(&self, words: &str) {
        let until = Instant::now() + PATIENCE;
        let mut said = String::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(line) if line.contains(words) => return,
                Ok(line) => said = said + "\n  | " + &line,
                Err(error) => panic!("no {words:?}: {error}: {said}"),
            }
        }
    }

    /// What it wrote to standard error since it was last asked.
    pub fn said(&self) -> String {
        let mut said = String::new();
        while let Ok(line) = self.output.recv_timeout(LOOK_AGAIN) {
            said += "\n  | ";
            said += &line;
        }
        said
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the gateway said:{}", self.said());
        }
    }
}

/// The binary, with nothing of this process's environment that it would read.
pub fn hookrill(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookrill"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("HOOKRILL") || name_text == "PORT" {
            command.env_remove(&name);
        }
    }
    command.current_dir(folder);
    command
}

/// An address where nobody listens.
///
/// Below the range that outgoing connections are given (32768 and up on
/// Linux): a client that tries to come back while the gateway is down must
/// neither take its port nor connect to itself.
pub fn free_address() -> SocketAddr {
    const PORTS: std::ops::Range<u16> = 20_000..32_000;
    // One after the other, so that no two tests of a process are given the same.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(..)));
    for _ in 0..100 {
        let port = PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS.len() as u16;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}

/// Lines kept for the reader before the writer has to wait.
const WAIT: usize = 1 << 16;
/// As many, and what is beyond them is thrown away: the writer never waits.
const DISCARD: usize = 1 << 10;

fn lines_of(output: impl Read + Send + 'static, kept: usize) -> Receiver<String> {
    let (sender, receiver) = sync_channel(kept);
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            if kept == DISCARD {
                _ = sender.try_send(line);
            } else if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Lines {
    /// Starts a program of which every line is wanted.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        let lines = lines_of(child.stdout.take().expect("it is piped"), WAIT);
        Self {
            name: name.to_owned(),
            child,
            lines,
        }
    }

    /// The next line, waited for until then.
    pub fn next(&self, patience: Instant) -> String {
        let left = patience.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("{} has nothing to say in time", self.name),
            Err(RecvTimeoutError::Disconnected) => panic!("{} has ended", self.name),
        }
    }

    /// All lines up to the program's own end, waited for until then.
    pub fn rest(&self, patience: Instant) -> Vec<String> {
        let mut rest = Vec::new();
        loop {
            let left = patience.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => return rest,
                Err(RecvTimeoutError::Timeout) => panic!("{} does not end in time", self.name),
            }
        }
    }

    /// The next line, if it is there already.
    pub fn ready(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// Tells the program to go on.
    pub fn go_on(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(b"\n").expect("the program listens");
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let stream = BufReader::new(stream);
        Ok(Self { stream, address })
    }

    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.request("GET", path, &[], "")
    }

    pub fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Answer> {
        self.request("POST", path, headers, body)
    }

    fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (status, length) = self.head()?;
        let length = length.ok_or(io::ErrorKind::InvalidData)?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let body = String::from_utf8(body).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Answer { status, body })
    }

    /// Subscribes, and gives the stream's lines. In HTTP/1.0, which knows no
    /// chunks.
    pub fn stream(mut self, path: &str) -> io::Result<impl Iterator<Item = io::Result<String>>> {
        let request = format!("GET {path} HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        match self.head()? {
            (200, _) => Ok(self.stream.lines()),
            (status, _) => Err(io::Error::other(format!("answered with {status}"))),
        }
    }

    /// The status and the length of the body, where one is written.
    fn head(&mut self) -> io::Result<(u16, Option<usize>)> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let mut length = None;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':') {
                None => return Ok((status, length)),
                Some(("content-length", value)) => length = value.trim().parse().ok(),
                Some(_) => {}
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}
