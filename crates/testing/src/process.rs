//! The built program as a process of its own.
//!
//! It is asked over HTTP, by signals and by its command line alone. Invariant:
//! a process that was started here ends with its handle, by its id.

use std::{
    env, fs,
    net::SocketAddr,
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal};
use tempfile::TempDir;

use crate::{
    ADMIN_TOKEN, Client, Connection, POLL_INTERVAL, WAIT_MAX, client::metric_of, log::Log,
    port::free_address,
};

/// A topic that takes everything and shows it to everybody.
pub const OPEN_TOPIC: &str = "[topics.open]\naccess = \"public\"\nscheme = { kind = \"none\" }";

/// A gateway that runs, or ran, in a process of its own.
pub struct Process {
    client: Client,
    child: Child,
    folder: PathBuf,
    log: Arc<Log>,
    /// Where the folder lives as long as the process.
    owned_folder: Option<TempDir>,
    /// From the process's creation to the first 200 of `/readyz`.
    pub ready_after: Duration,
}

impl Process {
    /// Starts `hookrill serve` in `folder`, with this configuration behind the
    /// address in its `[server]`, and waits until it is ready.
    #[must_use]
    pub fn start(folder: &Path, config: &str) -> Self {
        let address = free_address();
        let file = format!("[server]\nlisten = \"{address}\"\n{config}");
        fs::write(folder.join("hookrill.toml"), file).expect("the folder can be written to");
        Self::start_at(folder, address)
    }

    /// Starts it with these sections, of which `[server]` is not one, in a
    /// folder that goes with the process.
    #[must_use]
    pub fn with_sections(sections: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let config = format!("admin_token = \"{ADMIN_TOKEN}\"\n{sections}");
        let mut process = Self::start(folder.path(), &config);
        process.owned_folder = Some(folder);
        process
    }

    /// As [`Process::with_sections`], for whoever counts its memory in kilobytes: without
    /// pages of 2 MiB, of which the allocator touches some more or less from run to run.
    #[must_use]
    pub fn with_small_pages(sections: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let address = free_address();
        let config = format!(
            "[server]\nlisten = \"{address}\"\nadmin_token = \"{ADMIN_TOKEN}\"\n{sections}"
        );
        fs::write(folder.path().join("hookrill.toml"), config).unwrap();
        let mut serve = hookrill(folder.path());
        serve.arg("serve").env("MIMALLOC_ALLOW_THP", "0");
        let mut process = Self::start_as(&mut serve, folder.path(), address);
        process.owned_folder = Some(folder);
        process
    }

    /// As [`Process::with_sections`], where the process may open so many files.
    #[must_use]
    pub fn with_open_files(open_files_max: u64, server: &str, sections: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let address = free_address();
        let config = format!(
            "[server]\nlisten = \"{address}\"\nadmin_token = \"{ADMIN_TOKEN}\"\n{server}\n{sections}"
        );
        fs::write(folder.path().join("hookrill.toml"), config).unwrap();
        let serve = hookrill(folder.path());
        let mut limited = Command::new("sh");
        limited
            .current_dir(folder.path())
            .args(["-c", "ulimit -n \"$1\" && exec \"$2\" serve", "sh"])
            .arg(open_files_max.to_string())
            .arg(serve.get_program());
        let mut process = Self::start_as(&mut limited, folder.path(), address);
        process.owned_folder = Some(folder);
        process
    }

    /// How many files it has open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        open.unwrap().count()
    }

    fn start_at(folder: &Path, address: SocketAddr) -> Self {
        Self::start_as(hookrill(folder).arg("serve"), folder, address)
    }

    /// Starts a program that is a gateway at `address`, and waits until it is
    /// ready.
    #[must_use]
    pub fn start_as(program: &mut Command, folder: &Path, address: SocketAddr) -> Self {
        let began = Instant::now();
        let mut process = Self::spawn(program, folder, address);
        process.wait_until_ready();
        process.ready_after = began.elapsed();
        process
    }

    /// Starts a program that is to end by itself; returns its status and all
    /// that it wrote to standard error.
    pub fn refused_as(
        program: &mut Command,
        folder: &Path,
        address: SocketAddr,
    ) -> (Option<i32>, String) {
        let mut refused = Self::spawn(program, folder, address);
        let status = refused.wait();
        (status.code(), refused.log())
    }

    /// Starts the process and waits for nothing.
    fn spawn(program: &mut Command, folder: &Path, address: SocketAddr) -> Self {
        let mut child = program
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let log = Log::of(child.stderr.take().expect("it is piped"));
        Self {
            client: Client { address },
            child,
            folder: folder.to_owned(),
            log,
            owned_folder: None,
            ready_after: Duration::ZERO,
        }
    }

    /// Kills it, and starts `hookrill serve` in the same folder, at the same
    /// address.
    #[must_use]
    pub fn restart(mut self) -> Self {
        self.kill();
        let mut next = Self::start_at(&self.folder, self.address);
        next.owned_folder = self.owned_folder.take();
        next
    }

    /// Starts the process once more, and kills it `after` that.
    #[must_use]
    pub fn launch_and_kill(mut self, after: Duration) -> Self {
        self.kill();
        let mut next = Self::spawn(
            hookrill(&self.folder).arg("serve"),
            &self.folder,
            self.address,
        );
        next.owned_folder = self.owned_folder.take();
        match next.wait_for(after) {
            None => next.kill(),
            Some(status) => panic!("ended by itself with {status}: {}", next.log()),
        }
        next
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + WAIT_MAX;
        while Instant::now() < deadline {
            if let Ok(mut connection) = Connection::open(self.address)
                && let Ok(response) = connection.get("/readyz")
                && response.status == 200
            {
                return;
            }
            if let Some(status) = self.wait_for(POLL_INTERVAL) {
                panic!("did not start: {status}: {}", self.log());
            }
        }
        panic!("not ready within {WAIT_MAX:?}: {}", self.log());
    }

    /// The gateway's URL, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The folder that it runs in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A connection that blocks.
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection::open(self.address).expect("the gateway accepts connections")
    }

    /// A subscriber's token for this topic, by the command line.
    #[must_use]
    pub fn token(&self, topic: &str) -> String {
        let token = self.run(&["token", "--topic", topic, "--ttl", "1h"]);
        token.trim().to_owned()
    }

    /// Runs the program once in the gateway's folder; returns what it prints.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = hookrill(&self.folder).args(arguments).output();
        let output = output.expect("the program is built");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// How many subscribers the gateway has, by its own metric, which has to be
    /// public.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        let page = self.connection().get("/metrics").unwrap();
        let count = metric_of(page.text(), "hookrill_subscribers");
        count.expect("it is there from the start on") as usize
    }

    /// SIGKILL, now.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Stops it as an operator would; returns all that it wrote.
    pub fn stop(mut self) -> String {
        let status = self.terminate();
        assert!(status.success(), "{status}: {}", self.log());
        self.log()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.id(), signal).expect("it is our child");
    }

    /// Sends a signal again and again, until it ends.
    pub fn signal_until_it_ends(&mut self, signal: Signal) -> ExitStatus {
        loop {
            self.signal(signal);
            if let Some(status) = self.wait_for(POLL_INTERVAL) {
                self.log.wait_for_end(WAIT_MAX);
                return status;
            }
        }
    }

    /// From now on it may have so much of this; returns what it might before.
    pub fn limit(&self, resource: Resource, to: u64) -> Rlimit {
        let limit = Rlimit {
            current: Some(to),
            maximum: Some(to),
        };
        rustix::process::prlimit(Some(self.id()), resource, limit).expect("it is our child")
    }

    /// From now on it may open so many files more than it has open.
    pub fn limit_open_files_to_more(&self, more: u64) {
        self.limit(Resource::Nofile, self.open_files() as u64 + more);
    }

    /// The memory that it has resident (proc(5), `VmRSS`).
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kib.parse::<usize>().unwrap() * 1024
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self
            .wait_for(WAIT_MAX)
            .unwrap_or_else(|| panic!("did not end within {WAIT_MAX:?}: {}", self.log()));
        self.log.wait_for_end(WAIT_MAX);
        status
    }

    /// The status, if the process ends within this time.
    fn wait_for(&mut self, time: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return Some(status);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            thread::park_timeout(left.min(POLL_INTERVAL));
        }
    }

    /// Waits until it has written these words to standard error.
    pub fn wait_for_log(&self, words: &str) {
        self.wait_for_log_times(words, 1);
    }

    /// Waits until it has written these words so often.
    pub fn wait_for_log_times(&self, words: &str, times: usize) {
        let found = self.log.wait_for(words, times, WAIT_MAX);
        assert!(found, "no {words:?} ({times} times) in:\n{}", self.log());
    }

    /// All that it has written to standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }
}

impl Deref for Process {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the gateway wrote:\n{}", self.log());
        }
    }
}

/// The built program, to run in `folder`, with nothing of this process's
/// environment that it would read.
#[must_use]
pub fn hookrill(folder: &Path) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("HOOKRILL") || name_text == "PORT" {
            command.env_remove(&name);
        }
    }
    command.current_dir(folder);
    command
}

/// Cargo builds the program before it runs a test of the same package, and
/// says where.
fn binary() -> PathBuf {
    let path = env::var_os("CARGO_BIN_EXE_hookrill").map_or_else(beside_the_test, PathBuf::from);
    assert!(path.exists(), "{} is not built", path.display());
    path
}

/// Where the program is if the test was not started by cargo: tests are in
/// `deps`, beside it.
fn beside_the_test() -> PathBuf {
    let test = env::current_exe().expect("it runs");
    let folder = test.parent().and_then(Path::parent);
    folder.expect("tests are in a folder").join("hookrill")
}
