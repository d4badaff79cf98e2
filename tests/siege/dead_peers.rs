//! Peers that are cut off without a word, beside peers that only take their time.
//!
//! Each is in a network namespace of its own, behind a link of its own; that needs
//! root and `ip`. Elsewhere this says so and looks at nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hookrill_testing::{
    ADMIN_TOKEN, OPEN_TOPIC, POLL_INTERVAL, Process, WAIT_MAX, free_address, hookrill,
};
use tokio::time::sleep;

/// The shortest that may be configured; with heartbeats every second.
const DEAD_PEER_MAX: Duration = Duration::from_secs(5);
/// What a peer takes of this has to wait in the gateway's journal: the buffers of
/// both sockets hold less.
const BODY_BYTES: usize = 4 << 20;
const BODIES: usize = 4;

/// A namespace with one link to this one; both are gone when it is dropped.
struct Site {
    name: String,
    /// The addresses at both ends of the link.
    here: String,
    there: String,
}

/// Runs `ip`; the error is what it says.
fn ip(command: &str) -> Result<(), String> {
    let run = Command::new("ip").args(command.split(' ')).output();
    let output = run.map_err(|error| format!("ip {command}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {command}: {said}"))
}

impl Site {
    /// The `n`th site of this process.
    fn new(n: u8) -> Result<Self, String> {
        let id = std::process::id();
        let site = Self {
            name: format!("hk{id}-{n}"),
            // A range for tests of networks (RFC 2544), and a part of it for each run.
            here: format!("198.18.{}.{}", id % 256, 4 * n + 1),
            there: format!("198.18.{}.{}", id % 256, 4 * n + 2),
        };
        let Self { name, here, there } = &site;
        ip(&format!("netns add {name}"))?;
        ip(&format!(
            "link add {name} type veth peer name eth0 netns {name}"
        ))?;
        ip(&format!("addr add {here}/30 dev {name}"))?;
        ip(&format!("link set {name} up"))?;
        ip(&format!("-n {name} addr add {there}/30 dev eth0"))?;
        ip(&format!("-n {name} link set eth0 up"))?;
        Ok(site)
    }

    /// Nothing that is sent there arrives any more, and nothing says so.
    fn cut_off(&self) {
        let Self { name, there, .. } = self;
        // A neighbour that does not answer would be noticed, as one far away is not.
        let neighbour = "lladdr 02:00:00:00:00:01 nud permanent";
        ip(&format!("neigh replace {there} dev {name} {neighbour}")).unwrap();
        ip(&format!("-n {name} addr flush dev eth0")).unwrap();
    }

    /// Subscribes from there, by a script that goes on with `reading` when the
    /// request, on file descriptor 3, is sent.
    fn subscriber(&self, port: u16, reading: &str) -> Subscriber {
        let script = format!(
            "exec 3<>/dev/tcp/{}/{port} && \
             printf 'GET /events/open HTTP/1.1\\r\\nHost: g\\r\\n\\r\\n' >&3 && {reading}",
            self.here
        );
        let mut bash = Command::new("ip");
        bash.args(["netns", "exec", &self.name, "bash", "-c", &script]);
        let child = bash.stdin(Stdio::null()).spawn().unwrap();
        Subscriber(child)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // With the link go both ends, with the name the namespace.
        for command in [
            format!("link del {}", self.name),
            format!("netns del {}", self.name),
        ] {
            if let Err(error) = ip(&command) {
                eprintln!("{error}");
            }
        }
    }
}

struct Subscriber(Child);

impl Drop for Subscriber {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// A gateway that all sites reach.
fn gateway(folder: &Path) -> Process {
    let address = free_address();
    let port = address.port();
    let config = format!(
        "[server]\nlisten = \"0.0.0.0:{port}\"\nadmin_token = \"{ADMIN_TOKEN}\"\n\
         [subscribe]\nheartbeat = \"1s\"\ndead_peer_max = \"{}s\"\n{OPEN_TOPIC}",
        DEAD_PEER_MAX.as_secs()
    );
    fs::write(folder.join("hookrill.toml"), config).unwrap();
    Process::start_as(hookrill(folder).arg("serve"), folder, address)
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so().await {
        assert!(
            began.elapsed() < WAIT_MAX,
            "{what}: not within {WAIT_MAX:?}"
        );
        sleep(10 * POLL_INTERVAL).await;
    }
    began.elapsed()
}

async fn subscribers(gateway: &Process) -> f64 {
    gateway.metric("hookrill_subscribers").await
}

const BROKEN_OFF: &str = "hookrill_streams_broken_off_total{reason=\"dead_peer\"}";

#[tokio::test]
async fn a_peer_that_is_cut_off_is_given_up_and_one_that_takes_nothing_is_kept() {
    let sites = Site::new(0).and_then(|cut| Ok((cut, Site::new(1)?)));
    let (cut, slow) = match sites {
        Ok(sites) => sites,
        Err(why) => return eprintln!("NOT LOOKED AT: peers that are cut off, since {why}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(folder.path());
    let port = gateway.address.port();
    let gone = cut.subscriber(port, "exec cat <&3 >/dev/null");
    // Reads nothing until somebody opens the gate.
    let [gate, read] = ["gate", "read"].map(|name| folder.path().join(name));
    assert!(
        Command::new("mkfifo")
            .arg(&gate)
            .status()
            .unwrap()
            .success()
    );
    let reading = format!(
        "read -r _ <{} ; exec cat <&3 >{}",
        gate.display(),
        read.display()
    );
    let kept = slow.subscriber(port, &reading);
    until("both listen", async || subscribers(&gateway).await == 2.0).await;
    for n in 0..BODIES {
        let mut body = format!("{n} ");
        body.push_str(&"x".repeat(BODY_BYTES));
        assert_eq!(gateway.post("open", &body).await.status, 200);
    }
    let delivered = "hookrill_delivered_bytes_total";
    until("one has all", async || {
        gateway.metric(delivered).await > (BODIES * BODY_BYTES) as f64
    })
    .await;
    let stopped = Instant::now();
    cut.cut_off();
    let within = until("it is given up", async || {
        subscribers(&gateway).await == 1.0
    })
    .await;
    eprintln!("cut off, and given up after {within:?} of {DEAD_PEER_MAX:?}");
    assert_eq!(gateway.metric(BROKEN_OFF).await, 1.0);
    drop(gone);
    // Much longer than a peer may be gone.
    until("it is tempted for long", async || {
        stopped.elapsed() > 2 * DEAD_PEER_MAX
    })
    .await;
    assert_eq!(subscribers(&gateway).await, 1.0);
    assert_eq!(gateway.metric(BROKEN_OFF).await, 1.0);
    open(gate).await;
    assert_eq!(gateway.post("open", "the last").await.status, 200);
    let has_all = async || {
        let text = fs::read_to_string(&read).unwrap_or_default();
        text.contains("data: the last") && text.len() > BODIES * BODY_BYTES
    };
    until("it reads on and misses nothing", has_all).await;
    drop(kept);
}

/// Has whoever waits there go on.
async fn open(gate: PathBuf) {
    let opened = tokio::task::spawn_blocking(move || fs::write(gate, "\n"));
    opened.await.unwrap().unwrap();
}
