//! A gateway that is started as a sentence, and what talks to it.
//!
//! ```ignore
//! let gateway = Gateway::on_disk().start().await;
//! gateway.post("orders", "{}").await;
//! gateway.subscriber("/events/orders").await.events(1).await;
//! ```

use std::{
    net::SocketAddr,
    ops::Deref,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hookrill::{
    access::{self, Claims},
    app::{App, Reloaded, Reloader, ServeError},
    config::{Config, ConfigError, Environment, MissingSecrets, Sources},
};
use hookrill_core::{Clock, Secret, Timestamp};
use rustix::process::{Pid, Resource, Rlimit};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

/// Longer than anything here takes on a slow day.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const TOKEN_SECRET: &str = "0123456789abcdef0123456789abcdef";
pub const ADMIN_TOKEN: &str = "the-operators-own-token";
pub const GITHUB_SECRET: &str = "It's a Secret to Everybody";
/// Where the gateway's clock begins, in seconds since the Unix epoch.
pub const BEGIN_SECS: u64 = 1_700_000_000;

const TOPICS: &str = r#"
[access]
secret = "0123456789abcdef0123456789abcdef"

[topics.open]
access = "public"
scheme = { kind = "none" }

[topics.shut]
scheme = { kind = "none" }

[topics.named]
access = "public"
event_names = true
preset = "github"
secrets = ["It's a Secret to Everybody", "the one before"]

[topics.standard]
access = "public"
preset = "standard-webhooks"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]

[topics.slack]
access = "public"
preset = "slack"
secrets = ["slack-signing-secret"]
"#;

/// A gateway that is yet to be started.
pub struct Plan {
    server: String,
    journal: String,
    rest: String,
    folder: Option<TempDir>,
    with_router_only: bool,
    with_router_beside: bool,
}

/// What talks to a gateway.
pub struct Client {
    pub address: SocketAddr,
}

/// A gateway that runs.
pub struct Gateway {
    client: Client,
    pub folder: Option<TempDir>,
    /// The routes, where they were to be kept.
    pub router: Option<axum::Router>,
    /// Seconds that the gateway's clock was moved on.
    pub later_secs: Arc<AtomicU64>,
    pub reloader: Reloader,
    /// What the configuration in use was read from.
    pub toml: String,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), ServeError>>,
}

impl Gateway {
    pub fn in_memory() -> Plan {
        Plan::new("kind = \"memory\"", None)
    }

    pub fn on_disk() -> Plan {
        let folder = TempDir::new().unwrap();
        Self::in_folder(folder)
    }

    pub fn in_folder(folder: TempDir) -> Plan {
        let journal = format!(
            "kind = \"disk\"\npath = {:?}\ndisk_reserve = \"128 MiB\"",
            folder.path()
        );
        Plan::new(&journal, Some(folder))
    }

    /// Stops it as an operator would, and gives back the folder.
    pub async fn stop(mut self) -> Option<TempDir> {
        self.ask_to_stop();
        timeout(PATIENCE, &mut self.running)
            .await
            .expect("the gateway stops in time")
            .expect("the gateway does not panic")
            .expect("the gateway stops cleanly");
        self.folder.take()
    }

    /// Reloads the configuration with the first of each pair replaced by the
    /// second, as the program does; keeps it if it was taken.
    ///
    /// # Errors
    ///
    /// What the gateway logs.
    pub fn reload(&mut self, changes: &[(&str, &str)]) -> Result<Reloaded, String> {
        let toml = replaced(&self.toml, changes);
        let reloaded = self.reloader.reload(config(&toml));
        let reloaded = reloaded.map_err(|error| error.to_string())?;
        self.toml = toml;
        Ok(reloaded)
    }

    pub fn ask_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).expect("the gateway runs");
        }
    }

    pub async fn has_stopped(&mut self) -> Result<(), ServeError> {
        let stopped = timeout(PATIENCE, &mut self.running).await;
        stopped.expect("the gateway stops in time").unwrap()
    }
}

impl Deref for Gateway {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Client {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request and reads the whole answer.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request.as_ref()).await.unwrap();
        Answer::read(&mut stream).await
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(head("GET", path, headers) + "Connection: close\r\n\r\n")
            .await
    }

    pub async fn post(&self, topic: &str, body: impl AsRef<[u8]>) -> Answer {
        self.post_with(topic, &[], body).await
    }

    pub async fn post_with(
        &self,
        topic: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let body = body.as_ref();
        let mut request = head("POST", &format!("/ingest/{topic}"), headers);
        request += &format!(
            "Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        self.ask([request.as_bytes(), body].concat()).await
    }

    /// Ingests so many events over a few connections at once.
    pub async fn fill(&self, topic: &str, count: usize, body_bytes: usize) {
        const CONNECTIONS: usize = 16;
        let body = "x".repeat(body_bytes);
        let request = head("POST", &format!("/ingest/{topic}"), &[]);
        let request = format!("{request}Content-Length: {body_bytes}\r\n\r\n{body}");
        let posting = (0..CONNECTIONS).map(|n| {
            let request = request.as_bytes();
            async move {
                let mut stream = self.connect().await;
                for _ in 0..count / CONNECTIONS + usize::from(n < count % CONNECTIONS) {
                    stream.write_all(request).await.unwrap();
                    accepted(&mut stream).await;
                }
            }
        });
        futures_util::future::join_all(posting).await;
    }

    pub async fn subscriber(&self, path: &str) -> Subscriber {
        self.subscriber_with(path, &[]).await
    }

    pub async fn subscriber_with(&self, path: &str, headers: &[(&str, &str)]) -> Subscriber {
        let mut stream = self.connect().await;
        let request = head("GET", path, headers) + "\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        Subscriber::over(stream).await
    }

    pub async fn metric(&self, name: &str) -> f64 {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        let page = self.get("/metrics", &[("Authorization", &bearer)]).await;
        let line = page.text().lines().find_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            (key == name).then(|| value.parse().unwrap())
        });
        line.unwrap_or(0.0)
    }
}

impl Plan {
    fn new(journal: &str, folder: Option<TempDir>) -> Self {
        Self {
            server: format!("listen = \"127.0.0.1:0\"\nadmin_token = \"{ADMIN_TOKEN}\""),
            journal: journal.into(),
            rest: TOPICS.into(),
            folder,
            with_router_only: false,
            with_router_beside: false,
        }
    }

    /// Adds a line to `[server]`.
    pub fn server(mut self, line: &str) -> Self {
        self.server = format!("{}\n{line}", self.server);
        self
    }

    /// Adds a line to `[journal]`, instead of one for the same key.
    pub fn journal(mut self, line: &str) -> Self {
        let key = line.split('=').next().unwrap();
        let others = self.journal.lines().filter(|other| !other.starts_with(key));
        self.journal = others.chain([line]).collect::<Vec<_>>().join("\n");
        self
    }

    /// Leaves the connections to a server that only takes a router.
    pub fn with_router_only(mut self) -> Self {
        self.with_router_only = true;
        self
    }

    /// Keeps the routes for requests that take no socket.
    pub fn with_router_beside(mut self) -> Self {
        self.with_router_beside = true;
        self
    }

    /// Takes these lines for `[access]`, its head included.
    pub fn instead_of_access(mut self, section: &str) -> Self {
        let usual = format!("[access]\nsecret = \"{TOKEN_SECRET}\"");
        assert!(self.rest.contains(&usual));
        self.rest = self.rest.replace(&usual, section);
        self
    }

    /// Adds whole sections.
    pub fn sections(mut self, sections: &str) -> Self {
        self.rest = format!("{}\n{sections}", self.rest);
        self
    }

    pub async fn start(self) -> Gateway {
        self.try_start().await.unwrap_or_else(|e| panic!("{e}"))
    }

    /// # Errors
    ///
    /// What the gateway would say.
    pub async fn try_start(self) -> Result<Gateway, String> {
        let toml = format!(
            "[server]\n{}\n[journal]\n{}\n{}",
            self.server, self.journal, self.rest
        );
        let config = config(&toml).map_err(|e| e.to_string())?;
        let later_secs = Arc::new(AtomicU64::new(0));
        let clock = {
            let later_secs = Arc::clone(&later_secs);
            Clock::new(move || {
                Timestamp::from_unix_secs(BEGIN_SECS + later_secs.load(Ordering::Relaxed))
            })
        };
        let app = App::build(config, clock).await.map_err(|e| e.to_string())?;
        let reloader = app.reloader();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            _ = stopped.await;
        };
        let router = self.with_router_beside.then(|| app.router());
        let running = match self.with_router_only {
            true => spawn(serve_router(app, listener, shutdown)),
            false => spawn(app.serve(listener, shutdown)),
        };
        Ok(Gateway {
            client: Client { address },
            folder: self.folder,
            router,
            later_secs,
            reloader,
            toml,
            stop: Some(stop),
            running,
        })
    }
}

/// What this configuration comes to.
///
/// # Errors
///
/// All that is wrong with it.
pub fn config(toml: &str) -> Result<Config, ConfigError> {
    let sources = Sources {
        file: Some("test.toml".as_ref()),
        environment: &Environment::default(),
        read: &|_| Ok(toml.to_owned().into_bytes()),
    };
    Config::load(sources, MissingSecrets::Create)
}

/// This text with changes, each of which has its place in it.
pub fn replaced(text: &str, changes: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from:?} is not in {text}");
        text = text.replace(from, to);
    }
    text
}

fn spawn(
    running: impl Future<Output = Result<(), ServeError>> + Send + 'static,
) -> JoinHandle<Result<(), ServeError>> {
    #[expect(clippy::disallowed_methods, reason = "the harness waits for it")]
    tokio::spawn(running)
}

/// As a program does that has the gateway's routes among its own.
async fn serve_router(
    app: App,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let router = app.router();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { _ = stopped.await };
    let serving = axum::serve(listener, router).with_graceful_shutdown(stopped);
    let ending = async {
        shutdown.await;
        app.end_streams();
        drop(stop);
    };
    let (served, ()) = tokio::join!(serving.into_future(), ending);
    served.unwrap();
    app.close().await;
    Ok(())
}

/// Reads one answer of a connection that stays open.
async fn accepted(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}") {
        let read = timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
        assert_ne!(read.expect("an answer comes").unwrap(), 0, "cut off");
    }
    let answer = String::from_utf8_lossy(&bytes);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

/// A gateway in a process of its own, so that its memory can be read.
pub struct Process {
    client: Client,
    child: Child,
    heard: watch::Receiver<String>,
    folder: TempDir,
}

async fn heard_address(mut heard: watch::Receiver<String>) -> SocketAddr {
    const SAID: &str = "listening on http://";
    let listening = heard.wait_for(|said| said.contains(SAID) && said.ends_with('\n'));
    let said = timeout(PATIENCE, listening)
        .await
        .expect("it starts")
        .unwrap();
    let (_, address) = said.split_once(SAID).unwrap();
    let end = address.find(|c: char| !c.is_ascii_digit() && !".:".contains(c));
    address[..end.unwrap()].parse().unwrap()
}

impl Process {
    /// One on disk, with the topic `open`.
    pub async fn start() -> Self {
        Self::start_with("[topics.open]\naccess = \"public\"\nscheme = { kind = \"none\" }").await
    }

    /// One on disk with these sections, of which `[server]` is not one.
    pub async fn start_with(sections: &str) -> Self {
        Self::start_in(TempDir::new().unwrap(), sections).await
    }

    /// As [`Process::start_with`], in a folder that may have a journal.
    pub async fn start_in(folder: TempDir, sections: &str) -> Self {
        let config = folder.path().join("hookrill.toml");
        let server = format!("listen = \"127.0.0.1:0\"\nadmin_token = \"{ADMIN_TOKEN}\"");
        std::fs::write(&config, format!("[server]\n{server}\n{sections}")).unwrap();
        Self::run_in(folder, &[]).await
    }

    /// One without a configuration, in this folder.
    pub async fn start_as_newcomer(folder: TempDir) -> Self {
        Self::run_in(folder, &[("HOOKRILL__SERVER__LISTEN", "127.0.0.1:0")]).await
    }

    async fn run_in(folder: TempDir, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hookrill"))
            .arg("serve")
            .envs(variables.iter().copied())
            .current_dir(folder.path())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (said, heard) = watch::channel(String::new());
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        #[expect(clippy::disallowed_methods, reason = "ends with the process")]
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                said.send_modify(|said| *said += &(line + "\n"));
            }
        });
        let address = heard_address(heard.clone()).await;
        Self {
            client: Client { address },
            child,
            heard,
            folder,
        }
    }

    fn id(&self) -> Pid {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        Pid::from_raw(id).unwrap()
    }

    /// From now on no file of it may grow beyond so many bytes.
    pub fn limit_files_to(&self, bytes: u64) {
        self.limit(Resource::Fsize, bytes);
    }

    /// From now on it may open so many files more than it has open.
    pub fn limit_open_files_to_more(&self, more: u64) {
        let open = format!("/proc/{}/fd", self.child.id().unwrap());
        let open = std::fs::read_dir(open).unwrap().count() as u64;
        self.limit(Resource::Nofile, open + more);
    }

    fn limit(&self, resource: Resource, to: u64) {
        let limit = Rlimit {
            current: Some(to),
            maximum: Some(to),
        };
        rustix::process::prlimit(Some(self.id()), resource, limit).unwrap();
    }

    /// Its folder, with `hookrill.toml` in it.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Asks it to read its configuration again.
    pub fn hang_up(&self) {
        rustix::process::kill_process(self.id(), rustix::process::Signal::HUP).unwrap();
    }

    /// Waits until it has said this so often.
    pub async fn heard_times(&self, what: &str, times: usize) {
        let mut heard = self.heard.clone();
        let often = |said: &String| said.matches(what).count() >= times;
        let said = timeout(PATIENCE, heard.wait_for(often)).await;
        said.expect("it is said").expect("it runs");
    }

    /// All that it has said so far.
    pub fn said(&self) -> String {
        self.heard.borrow().clone()
    }

    /// Waits until it has said this.
    pub async fn heard(&self, what: &str) {
        let mut heard = self.heard.clone();
        let said = timeout(PATIENCE, heard.wait_for(|said| said.contains(what))).await;
        said.expect("it is said").expect("it runs");
    }

    /// Waits until it ends by itself; gives its status and its folder.
    pub async fn ends(mut self) -> (Option<i32>, TempDir) {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        (ended.expect("it ends").unwrap().code(), self.folder)
    }

    /// Stops it as an operator would, and gives all that it said.
    pub async fn stop(mut self) -> String {
        rustix::process::kill_process(self.id(), rustix::process::Signal::TERM).unwrap();
        let ended = timeout(PATIENCE, self.child.wait()).await;
        assert!(ended.expect("it stops in time").unwrap().success());
        // The task ends with the process, and lets go of its end.
        while self.heard.changed().await.is_ok() {}
        self.heard.borrow().clone()
    }

    /// The memory it has resident (proc(5), `VmRSS`).
    pub fn resident_bytes(&self) -> usize {
        let status = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kib.parse::<usize>().unwrap() * 1024
    }
}

impl Deref for Process {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// A subscriber token for these topics, good for so many seconds.
pub fn token(topics: &[&str], secs: u64) -> String {
    token_until(topics, BEGIN_SECS + secs)
}

/// A subscriber token for these topics with this `exp`.
pub fn token_until(topics: &[&str], exp: u64) -> String {
    let claims = Claims {
        topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
        exp,
        ..Claims::default()
    };
    access::mint(&Secret::new(TOKEN_SECRET.as_bytes()), &claims).unwrap()
}

fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: gateway\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head
}

/// A whole HTTP/1.1 response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A reset after the answer is no concern of these tests.
        _ = timeout(PATIENCE, stream.read_to_end(&mut bytes))
            .await
            .expect("the answer comes, and its end");
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Self {
        let end = find(bytes, b"\r\n\r\n").unwrap_or_else(|| {
            panic!("no response: {:?}", String::from_utf8_lossy(bytes));
        });
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head[9..12].parse().unwrap();
        let mut body = bytes[end + 4..].to_vec();
        if head
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked")
        {
            let mut chunks = Chunks::default();
            chunks.take(&body);
            body = chunks.body;
        }
        Self { status, head, body }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The id of an event that was stored.
    pub fn id(&self) -> String {
        assert!(matches!(self.status, 200 | 202), "{self:?}");
        self.json()["id"].as_str().unwrap().to_owned()
    }
}

/// The chunked transfer coding (RFC 9112, section 7.1), as it comes.
#[derive(Default)]
pub struct Chunks {
    waiting: Vec<u8>,
    pub body: Vec<u8>,
    pub ended: bool,
}

impl Chunks {
    pub fn take(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        while let Some(end) = find(&self.waiting, b"\r\n") {
            let size = std::str::from_utf8(&self.waiting[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let whole = end + 2 + size + 2;
            if self.waiting.len() < whole {
                return;
            }
            self.body
                .extend_from_slice(&self.waiting[end + 2..whole - 2]);
            self.waiting.drain(..whole);
            self.ended |= size == 0;
        }
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

/// An SSE client by the book: parses fields, keeps the last id.
pub struct Subscriber {
    pub stream: TcpStream,
    pub chunks: Chunks,
    pub head: String,
    pub last_id: Option<String>,
    pub retry: Option<u64>,
}

/// A dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub name: String,
    pub id: String,
    pub data: String,
}

impl Message {
    pub fn sequence(&self) -> u64 {
        self.id.split_once('-').unwrap().1.parse().unwrap()
    }
}

impl Subscriber {
    pub async fn over(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = find(&bytes, b"\r\n\r\n") {
                break end;
            }
            let more = timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
            assert_ne!(
                more.expect("a head comes").unwrap(),
                0,
                "closed before the head"
            );
        };
        let mut chunks = Chunks::default();
        chunks.take(&bytes[end + 4..]);
        Self {
            stream,
            chunks,
            head: String::from_utf8(bytes[..end].to_vec()).unwrap(),
            last_id: None,
            retry: None,
        }
    }

    pub fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    /// The next event of any name; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            while let Some(end) = find(&self.chunks.body, b"\n\n") {
                let block: Vec<u8> = self.chunks.body.drain(..end + 2).collect();
                if let Some(message) = self.dispatch(std::str::from_utf8(&block).unwrap()) {
                    return Some(message);
                }
            }
            if self.chunks.ended {
                return None;
            }
            let mut bytes = Vec::with_capacity(64 * 1024);
            let read = timeout(PATIENCE, self.stream.read_buf(&mut bytes)).await;
            match read.expect("the stream goes on or ends") {
                Ok(0) | Err(_) => panic!("cut off without the last chunk"),
                Ok(_) => self.chunks.take(&bytes),
            }
        }
    }

    fn dispatch(&mut self, block: &str) -> Option<Message> {
        let (mut name, mut data) = (String::new(), Vec::new());
        for line in block.lines().filter(|line| !line.is_empty()) {
            let (field, value) = line.split_once(':').unwrap();
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => name = value.into(),
                "id" => self.last_id = Some(value.into()),
                "retry" => self.retry = Some(value.parse().unwrap()),
                "data" => data.push(value),
                other => panic!("a field {other:?}"),
            }
        }
        (!data.is_empty()).then(|| Message {
            name,
            id: self.last_id.clone().unwrap_or_default(),
            data: data.join("\n"),
        })
    }

    /// The next events that are not Hookrill's own.
    pub async fn events(&mut self, count: usize) -> Vec<Message> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            let message = self.next().await.expect("the stream goes on");
            match &*message.name {
                "hookrill.cursor" => {}
                "hookrill.gap" => panic!("an unexpected gap: {}", message.data),
                _ => events.push(message),
            }
        }
        events
    }

    /// Waits for the stream's clean end, with nothing but heartbeats before it.
    pub async fn ended(&mut self) {
        while let Some(message) = self.next().await {
            assert_eq!(message.name, "hookrill.cursor", "{message:?}");
        }
    }

    /// The next line of an NDJSON stream that is not empty.
    pub async fn line(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.chunks.body, b"\n") {
                let line: Vec<u8> = self.chunks.body.drain(..=end).collect();
                match String::from_utf8(line).unwrap().trim_end() {
                    "" => continue,
                    line => return line.to_owned(),
                }
            }
            let mut bytes = Vec::new();
            let read = timeout(PATIENCE, self.stream.read_buf(&mut bytes)).await;
            assert_ne!(read.expect("the stream goes on").unwrap(), 0, "cut off");
            self.chunks.take(&bytes);
        }
    }

    /// Waits for the opening cursor and gives it.
    pub async fn opened(&mut self) -> String {
        let message = self.next().await.expect("a stream opens");
        assert_eq!(message.name, "hookrill.cursor");
        message.id
    }
}

/// A signature as GitHub makes it.
pub fn github_signature(secret: &str, body: &[u8]) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    format!("sha256={}", data_encoding::HEXLOWER.encode(&digest))
}
