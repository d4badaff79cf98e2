//! Every delivery arrives in its order, however often gateway and program are killed.
//!
//! The gateway is a real one, with its journal on disk, that gets SIGKILL. The program is
//! in this process: killed, it closes its listener and all its connections wherever they
//! are, and what it had not recorded by then it never saw.
//!
//! `HOOKRILL_FORWARD_KILLS` sets the number of kills, `HOOKRILL_FORWARD_SEED` repeats their
//! moments.

use std::{
    collections::HashMap,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use fastrand::Rng;
use hookrill_testing::{Connection, Process, free_address};

use super::{
    app::{Request, answer, read},
    *,
};

const KILLS_DEFAULT: u32 = 20;
const EVENTS: u32 = 1_000;
const TOPICS: [&str; 2] = ["orders", "stock"];

const CONFIG: &str = r#"
[access]
secret = "0123456789abcdef0123456789abcdef"
[subscribe]
retry = "100ms"
[topics."*".scheme]
kind = "none"
dedup_id = [{ header = "X-Delivery" }]
"#;

/// A program that writes down what it is sent, and can be killed.
#[derive(Clone)]
struct Ledger {
    address: SocketAddr,
    state: Arc<Mutex<LedgerState>>,
}

#[derive(Default)]
struct LedgerState {
    /// How often it was started.
    life: u32,
    /// The thread that accepts; `None` while it is dead.
    accepting: Option<JoinHandle<()>>,
    connections: Vec<TcpStream>,
    recorded: Vec<Request>,
}

impl Ledger {
    fn new() -> Self {
        let ledger = Self {
            address: free_address(),
            state: Arc::default(),
        };
        ledger.launch();
        ledger
    }

    fn launch(&self) {
        let listener = TcpListener::bind(self.address).unwrap();
        let mut state = self.state.lock().unwrap();
        state.life += 1;
        let (life, ledger) = (state.life, self.clone());
        state.accepting = Some(thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                {
                    let mut now = ledger.state.lock().unwrap();
                    if now.life != life || now.accepting.is_none() {
                        return;
                    }
                    now.connections.retain(|other| other.peer_addr().is_ok());
                    now.connections.push(stream.try_clone().unwrap());
                }
                let ledger = ledger.clone();
                thread::spawn(move || ledger.take(stream, life));
            }
        }));
    }

    /// Takes a request, with a moment at each point at which it can be killed.
    fn take(&self, mut stream: TcpStream, life: u32) {
        let pause = || thread::park_timeout(Duration::from_micros(fastrand::u64(..1_500)));
        pause();
        let Some(request) = read(&stream) else { return };
        pause();
        {
            let mut state = self.state.lock().unwrap();
            if state.life != life || state.accepting.is_none() {
                return;
            }
            state.recorded.push(request);
        }
        pause();
        answer(&mut stream, "200 OK", "Content-Length: 2", "ok");
    }

    fn kill(&self) {
        let mut state = self.state.lock().unwrap();
        let accepting = state.accepting.take().unwrap();
        for stream in state.connections.drain(..) {
            _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        // Wakes the thread that accepts, which closes its listener.
        _ = TcpStream::connect(self.address);
        accepting.join().unwrap();
    }

    fn recorded(&self) -> usize {
        let state = self.state.lock().unwrap();
        let ids = state
            .recorded
            .iter()
            .map(|request| request.header("x-delivery").unwrap());
        ids.collect::<std::collections::HashSet<_>>().len()
    }
}

/// What a provider does: posts one after the other to each topic, until it is taken; as
/// many between two kills as between others.
fn post_all(address: SocketAddr, seed: u64, kills: u64, killed: &AtomicU64) {
    let mut rng = Rng::with_seed(seed);
    let mut connection = None;
    for number in 0..EVENTS {
        let topic = TOPICS[number as usize % TOPICS.len()];
        let (id, body) = (format!("{topic}-{number}"), body(number, &mut rng));
        let headers = [("X-Delivery", &*id), ("Content-Type", "application/json")];
        let deadline = Instant::now() + WAIT_MAX;
        let due = |so_far: u64| u64::from(EVENTS) * (so_far + 1) / (kills + 1);
        while u64::from(number) >= due(killed.load(Ordering::SeqCst)) {
            assert!(Instant::now() < deadline, "there are no more kills");
            thread::park_timeout(POLL_INTERVAL);
        }
        loop {
            assert!(Instant::now() < deadline, "{id} is not taken");
            let open = connection
                .take()
                .map_or_else(|| Connection::open(address), Ok);
            let Ok(mut open) = open else {
                thread::park_timeout(Duration::from_millis(20));
                continue;
            };
            let posted = open.post(&format!("/ingest/{topic}"), &headers, &body);
            if posted.is_ok_and(|response| response.status == 200) {
                connection = Some(open);
                break;
            }
        }
    }
}

fn body(number: u32, rng: &mut Rng) -> String {
    let length = if rng.u8(..) == 0 {
        300_000
    } else {
        rng.usize(..2_000)
    };
    let fill: String = std::iter::repeat_with(|| rng.alphanumeric())
        .take(length)
        .collect();
    format!("{{ \"number\" : {number}.0,\t\"fill\":\"{fill}\" }}\r\n")
}

#[test]
fn each_delivery_arrives_in_order_however_often_gateway_and_program_are_killed() {
    let setting = |name: &str| std::env::var_os(name)?.to_str()?.parse::<u64>().ok();
    let kills = setting("HOOKRILL_FORWARD_KILLS").unwrap_or(u64::from(KILLS_DEFAULT));
    let seed = setting("HOOKRILL_FORWARD_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("HOOKRILL_FORWARD_SEED={seed} HOOKRILL_FORWARD_KILLS={kills}");
    let mut rng = Rng::with_seed(seed);
    let folder = folder();
    let mut gateway = Process::start(folder.path(), CONFIG);
    let ledger = Ledger::new();
    let target = ledger.address.to_string();
    let arguments = [&["forward"][..], &TOPICS, &[&target, "--since", "earliest"]].concat();
    let mut forward = Forward::of(folder.path(), &mut command(folder.path(), &arguments));
    forward.wait_until_it_says("Ready:");
    let address = gateway.url().trim_start_matches("http://").parse().unwrap();
    let killed = Arc::new(AtomicU64::new(0));
    let killed_too = Arc::clone(&killed);
    let poster = thread::spawn(move || post_all(address, seed, kills, &killed_too));
    for _ in 0..kills {
        thread::park_timeout(Duration::from_micros(rng.u64(1_000..60_000)));
        if rng.bool() {
            gateway.kill();
            gateway = gateway.restart();
        } else {
            ledger.kill();
            // Longer than a request that broke waits before it is sent again.
            thread::park_timeout(Duration::from_millis(rng.u64(..250)));
            ledger.launch();
        }
        assert!(!forward.process.has_ended(), "{}", forward.said());
        killed.fetch_add(1, Ordering::SeqCst);
    }
    poster.join().unwrap();
    let deadline = Instant::now() + WAIT_MAX;
    while ledger.recorded() < EVENTS as usize {
        assert!(
            Instant::now() < deadline,
            "{} of {EVENTS}: {}",
            ledger.recorded(),
            forward.said()
        );
        assert!(!forward.process.has_ended(), "{}", forward.said());
        thread::park_timeout(POLL_INTERVAL);
    }
    let mut bodies = Rng::with_seed(seed);
    let bodies: Vec<_> = (0..EVENTS)
        .map(|number| body(number, &mut bodies))
        .collect();
    let again = hold_against(&ledger.state.lock().unwrap().recorded, &bodies);
    println!("{kills} kills, {EVENTS} deliveries, {again} of them more than once");
}

/// Each topic's deliveries came in their order, one that came again right after itself, and
/// each with its id and its bytes; gives how many came again.
fn hold_against(recorded: &[Request], bodies: &[String]) -> usize {
    let mut last: HashMap<&str, usize> = HashMap::new();
    let mut again = 0;
    for request in recorded {
        let id = request.header("x-delivery").unwrap();
        let (topic, number) = id.split_once('-').unwrap();
        let number: usize = number.parse().unwrap();
        assert_eq!(request.body, bodies[number].as_bytes(), "{id}");
        let first = TOPICS.iter().position(|name| *name == topic).unwrap();
        let expected = last.get(topic).map_or(first, |last| last + TOPICS.len());
        if last.get(topic) == Some(&number) {
            again += 1;
        } else {
            assert_eq!(number, expected, "{id} follows {:?}", last.get(topic));
        }
        last.insert(topic, number);
    }
    again
}
