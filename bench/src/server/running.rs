//! A server that runs: started in a folder of its own, on its own core,
//! stopped when it is dropped.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{PidfdFlags, Signal, kill_process, pidfd_open},
};
use tempfile::TempDir;

use super::{Spec, spec::StartCommand, template::fill};
use crate::machine::{self, Cores, Tree};

/// How long a server may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to end once it was asked to.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Where the programs are that descriptions name by variables.
#[derive(Debug, Clone)]
pub struct Places {
    /// This program, for `{self}`.
    pub bench: PathBuf,
    /// Hookrill's program, for `{hookrill}`.
    pub hookrill: PathBuf,
    /// The folder of the peers' sources, for `{peers}`.
    pub peers: PathBuf,
    /// Who runs where; `None` on a machine of one core.
    pub cores: Option<Cores>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system refused.
    #[error("{name} can't be started: {source}")]
    System {
        /// The server.
        name: String,
        /// As the system says.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("{name} ended before it was ready; it said:\n{said}")]
    Ended {
        /// The server.
        name: String,
        /// The end of its output.
        said: String,
    },
    /// It did not get ready in time.
    #[error("{name} was not ready within {READY_WITHIN:?}; it said:\n{said}")]
    Late {
        /// The server.
        name: String,
        /// The end of its output.
        said: String,
    },
}

/// A server that can be measured.
#[derive(Debug)]
pub struct Running {
    /// Where one subscribes.
    pub address: SocketAddr,
    /// Where one publishes.
    pub publish_address: SocketAddr,
    /// Its processes.
    pub tree: Tree,
    /// From start to ready.
    pub ready_after: Duration,
    started: Option<Started>,
}

#[derive(Debug)]
struct Started {
    child: Child,
    beside: Vec<Child>,
    /// Taken out where the server is to be started again in it.
    folder: Option<TempDir>,
}

impl Running {
    /// Starts the server in a new folder, or finds the one that runs already.
    ///
    /// # Errors
    ///
    /// [`StartError`] with what the server said.
    pub fn start(spec: &Spec, places: &Places) -> Result<Self, StartError> {
        let folder = tempfile::Builder::new().prefix("hookrill-bench-").tempdir();
        let folder = folder.map_err(|source| StartError::System {
            name: spec.name.clone(),
            source,
        })?;
        Self::start_in(folder, spec, places)
    }

    /// Starts it in a folder that it may know.
    ///
    /// # Errors
    ///
    /// [`StartError`] with what the server said.
    pub fn start_in(folder: TempDir, spec: &Spec, places: &Places) -> Result<Self, StartError> {
        let system = |source| StartError::System {
            name: spec.name.clone(),
            source,
        };
        match (&spec.start, &spec.running) {
            (Some(start), _) => {
                let mut running = Self::spawn(folder, spec, start, places).map_err(system)?;
                running.wait_until_ready(spec, start)?;
                Ok(running)
            }
            (None, Some(already)) => Ok(Self {
                address: already.address,
                publish_address: already
                    .control
                    .filter(|_| spec.publish.control)
                    .unwrap_or(already.address),
                tree: Tree::of(already.pids.clone()),
                ready_after: Duration::ZERO,
                started: None,
            }),
            (None, None) => Err(system(io::Error::other("it has no [start]"))),
        }
    }

    fn spawn(
        folder: TempDir,
        spec: &Spec,
        start: &StartCommand,
        places: &Places,
    ) -> io::Result<Self> {
        let ports = free_ports::<3>()?;
        let texts = ports.map(|port| port.to_string());
        let dir = folder.path().display().to_string();
        let bench = places.bench.display().to_string();
        let hookrill = places.hookrill.display().to_string();
        let peers = places.peers.display().to_string();
        let values = [
            ("dir", dir.as_str()),
            ("port", &texts[0]),
            ("control", &texts[1]),
            ("origin", &texts[2]),
            ("self", &bench),
            ("hookrill", &hookrill),
            ("peers", &peers),
        ];
        for file in &start.files {
            let path = folder.path().join(&file.path);
            fs::create_dir_all(path.parent().unwrap_or(folder.path()))?;
            fs::write(path, fill(&file.text, &values))?;
        }
        let said = folder.path().join("said");
        let beside = start.beside.iter().map(|words| {
            let mut command = command(words, &values, &said)?;
            command.spawn()
        });
        let beside = beside.collect::<io::Result<Vec<Child>>>()?;
        let mut command = command(&start.command, &values, &said)?;
        command.current_dir(folder.path());
        for (key, value) in &start.environment {
            command.env(key, fill(value, &values));
        }
        let child = match places.cores {
            Some(cores) => cores.as_server(|| command.spawn()),
            None => command.spawn(),
        }?;
        let at = |index: usize| SocketAddr::from((Ipv4Addr::LOCALHOST, ports[index]));
        Ok(Self {
            address: at(0),
            publish_address: at(usize::from(spec.publish.control)),
            tree: Tree::of(vec![child.id()]),
            ready_after: Duration::ZERO,
            started: Some(Started {
                child,
                beside,
                folder: Some(folder),
            }),
        })
    }

    fn wait_until_ready(&mut self, spec: &Spec, start: &StartCommand) -> Result<(), StartError> {
        let began = Instant::now();
        let name = || spec.name.clone();
        while began.elapsed() < READY_WITHIN {
            if is_ready(self.address, &start.ready) {
                self.ready_after = began.elapsed();
                return Ok(());
            }
            if self.ended_within(Duration::from_micros(500)) {
                return Err(StartError::Ended {
                    name: name(),
                    said: self.said(),
                });
            }
        }
        Err(StartError::Late {
            name: name(),
            said: self.said(),
        })
    }

    /// Stops the server, with SIGKILL where `kill`, and gives back its folder
    /// for another start.
    #[must_use]
    pub fn stop(mut self, kill: bool) -> Option<TempDir> {
        if kill && let Some(started) = &mut self.started {
            // Ended already is as good.
            let _ = started.child.kill();
        }
        let folder = self.started.as_mut()?.folder.take();
        drop(self);
        folder
    }

    /// Whether its process ends within that time: the only wait here.
    fn ended_within(&mut self, time: Duration) -> bool {
        let Some(started) = &mut self.started else {
            return false;
        };
        let Some(pid) = machine::pid(started.child.id()) else {
            return true;
        };
        let timeout = Timespec::try_from(time).ok();
        if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
            let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
            // Whatever it says, `try_wait` knows.
            let _ = poll(&mut fds, timeout.as_ref());
        }
        !matches!(started.child.try_wait(), Ok(None))
    }

    /// The end of what it wrote.
    #[must_use]
    pub fn said(&self) -> String {
        const LINES: usize = 20;
        let folder = self.started.as_ref().and_then(|all| all.folder.as_ref());
        let said = folder.and_then(|folder| fs::read(folder.path().join("said")).ok());
        let said = said.unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pids = self.tree.pids();
        let Some(started) = &mut self.started else {
            return;
        };
        signal(started.child.id(), Signal::TERM);
        if !self.ended_within(STOP_WITHIN) {
            // Its children first: they would be nobody's.
            for pid in pids.into_iter().rev() {
                signal(pid, Signal::KILL);
            }
        }
        if let Some(ended) = &mut self.started {
            for child in ended.beside.iter_mut().chain([&mut ended.child]) {
                // Ended already is as good.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn signal(number: u32, signal: Signal) {
    if let Some(pid) = machine::pid(number) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

fn command(words: &[String], values: &[(&str, &str)], said: &Path) -> io::Result<Command> {
    let words: Vec<String> = words.iter().map(|word| fill(word, values)).collect();
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| io::Error::other("no program"))?;
    let output = File::options().create(true).append(true).open(said)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    Ok(command)
}

/// Ports that nobody listens at now. All are held until the last is found.
fn free_ports<const COUNT: usize>() -> io::Result<[u16; COUNT]> {
    let mut held = Vec::new();
    let mut ports = [0; COUNT];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

fn is_ready(address: SocketAddr, path: &str) -> bool {
    let ask = || -> io::Result<bool> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes())?;
        let mut answer = [0; 12];
        socket.read_exact(&mut answer)?;
        Ok(answer.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}
