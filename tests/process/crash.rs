//! `kill -9` at any moment loses nothing that was acknowledged.
//!
//! The real binary on a disk journal takes deliveries over many connections,
//! is killed, and is started again. By what its own subscribers would see,
//! every acknowledged event is there once, at the acknowledged position and in
//! order; what was not acknowledged is there once at most, and delivering it
//! again makes it once.
//!
//! `HOOKRILL_CRASH_ROUNDS` sets the number of rounds, `HOOKRILL_CRASH_SEED`
//! repeats the moments of a run. The scheduler has a say too, so a seed repeats
//! a failure often, not always.

use std::{
    collections::HashMap,
    sync::{Arc, Barrier, mpsc::sync_channel},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use hookrill_testing::{Connection, Message, Process};
use serde::Deserialize;

const WRITERS: usize = 12;
/// Who posts markers while nothing else is posted.
const CHECKER: usize = WRITERS;
const ROUNDS_DEFAULT: u32 = 50;
/// After so many kills a new journal begins.
const ROUNDS_PER_JOURNAL: u32 = 5;
const TOPICS: [&str; 4] = ["orders", "orders.eu", "orders.us.4711", "stock"];
/// Those of [`TOPICS`] include the rest.
const EVERYTHING: &str = "/events?topic=stock&topic=orders&since=earliest";
/// Of those that were acknowledged, so many are delivered again each round.
const REDELIVERED: usize = 40;

const CONFIG: &str = r#"
[journal]
kind = "disk"
path = "data"

[topics."*"]
access = "public"
[topics."*".scheme]
kind = "none"
dedup_id = [{ header = "X-Delivery" }]
"#;

/// One delivery that was begun.
#[derive(Clone)]
struct Delivery {
    /// By whom, and the how manieth of theirs.
    writer: usize,
    number: u32,
    topic: &'static str,
    body: Arc<str>,
}

/// What the gateway said about a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Receipt {
    id: String,
    duplicate: bool,
}

/// All that was ever posted to one journal.
#[derive(Default)]
struct Ledger {
    /// With the id, if there was an answer.
    entries: HashMap<Arc<str>, (Delivery, Option<String>)>,
    /// How many each writer began.
    begun: [u32; CHECKER + 1],
}

#[test]
fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let rounds = setting("HOOKRILL_CRASH_ROUNDS").unwrap_or(ROUNDS_DEFAULT);
    let seed = setting("HOOKRILL_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("HOOKRILL_CRASH_SEED={seed} HOOKRILL_CRASH_ROUNDS={rounds}");
    let mut rng = Rng::with_seed(seed);
    let began = Instant::now();
    let (mut acknowledged, mut open) = (0, 0);
    let mut left = rounds;
    while left > 0 {
        let kills = left.min(ROUNDS_PER_JOURNAL);
        let ledger = one_journal(kills, &mut rng);
        acknowledged += ledger.acknowledged();
        open += ledger.entries.len() - ledger.acknowledged();
        left -= kills;
    }
    assert!(acknowledged > rounds as usize, "hardly anything was posted");
    assert_eq!(open, 0, "all were delivered again in the end");
    println!(
        "{rounds} kills, {acknowledged} events, {:?}",
        began.elapsed()
    );
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var_os(name)?;
    let value = value.to_str().and_then(|text| text.parse().ok());
    Some(value.unwrap_or_else(|| panic!("{name} is no number")))
}

fn one_journal(kills: u32, rng: &mut Rng) -> Ledger {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let mut ledger = Ledger::default();
    let mut gateway = Process::start(folder.path(), CONFIG);
    for kill in 1..=kills {
        let moment = moment(rng);
        ledger = ingest_and_kill(&mut gateway, ledger, moment, rng);
        if rng.u8(..) < 64 {
            // Recovery may be interrupted like everything else.
            gateway = gateway.launch_and_kill(Duration::from_micros(rng.u64(..60_000)));
        }
        gateway = gateway.restart();
        let what = format!("kill {kill} of this journal, {moment:?} after the first request");
        let stored = ledger.hold_against(&gateway, &what);
        ledger.deliver_again(&gateway, &stored, rng, &what);
        ledger.hold_against(&gateway, &what);
    }
    ledger
}

/// From 100 µs to 400 ms, as often in each tenfold of it.
fn moment(rng: &mut Rng) -> Duration {
    Duration::from_micros((100.0 * 4000_f64.powf(rng.f64())) as u64)
}

/// Posts over all connections until the gateway is gone.
fn ingest_and_kill(
    gateway: &mut Process,
    mut ledger: Ledger,
    moment: Duration,
    rng: &mut Rng,
) -> Ledger {
    let together = Arc::new(Barrier::new(WRITERS + 1));
    let (done, posted) = sync_channel(WRITERS);
    for writer in 0..WRITERS {
        let connection = gateway.connection();
        let (together, done) = (Arc::clone(&together), done.clone());
        let (first, rng) = (ledger.begun[writer], rng.fork());
        thread::spawn(move || {
            together.wait();
            let deliveries = post_until_gone(connection, writer, first, rng);
            _ = done.send(deliveries);
        });
    }
    drop(done);
    together.wait();
    // Nobody sends before the end, so that this is the moment; a writer that
    // fails wakes it up early.
    let early = posted.recv_timeout(moment).ok();
    gateway.kill();
    for (delivery, id) in early.into_iter().chain(posted).flatten() {
        ledger.enter(delivery, id);
    }
    ledger
}

fn post_until_gone(
    mut connection: Connection,
    writer: usize,
    first: u32,
    mut rng: Rng,
) -> Vec<(Delivery, Option<String>)> {
    let mut posted = Vec::new();
    for number in first.. {
        let delivery = Delivery::random(writer, number, &mut rng);
        match delivery.post(&mut connection) {
            Ok((200, Some(Receipt { id, duplicate }))) => {
                assert!(!duplicate, "{id} is new");
                posted.push((delivery, Some(id)));
            }
            Ok(other) => panic!("answered with {other:?}"),
            Err(_) => {
                posted.push((delivery, None));
                break;
            }
        }
    }
    posted
}

impl Delivery {
    fn random(writer: usize, number: u32, rng: &mut Rng) -> Self {
        let fill = match rng.u8(..) {
            0 => 200_000,
            1..=15 => rng.usize(..20_000),
            _ => rng.usize(..1_500),
        };
        let fill: String = std::iter::repeat_with(|| rng.alphanumeric())
            .take(fill)
            .collect();
        Self {
            writer,
            number,
            topic: TOPICS[rng.usize(..TOPICS.len())],
            body: format!(r#"{{"writer":{writer},"number":{number},"fill":"{fill}"}}"#).into(),
        }
    }

    /// The status, and the receipt of one that was stored.
    fn post(&self, connection: &mut Connection) -> std::io::Result<(u16, Option<Receipt>)> {
        let id = format!("{}-{}", self.writer, self.number);
        let headers = [("X-Delivery", &*id), ("Content-Type", "application/json")];
        let answer = connection.post(&format!("/ingest/{}", self.topic), &headers, &self.body)?;
        Ok((answer.status, serde_json::from_slice(&answer.body).ok()))
    }

    /// Posts to a gateway that has to take it.
    fn deliver(&self, gateway: &Process) -> (u16, Receipt) {
        match self.post(&mut gateway.connection()) {
            Ok((status, Some(receipt))) => (status, receipt),
            other => panic!("{} was answered with {other:?}", self.body),
        }
    }
}

impl Ledger {
    fn enter(&mut self, delivery: Delivery, id: Option<String>) {
        let begun = &mut self.begun[delivery.writer];
        *begun = (*begun).max(delivery.number + 1);
        let body = Arc::clone(&delivery.body);
        self.entries.insert(body, (delivery, id));
    }

    fn acknowledged(&self) -> usize {
        self.entries.values().filter(|(_, id)| id.is_some()).count()
    }

    /// Reads the whole journal as a subscriber would and compares; returns the
    /// ids of what was stored and not acknowledged.
    fn hold_against(&mut self, gateway: &Process, what: &str) -> HashMap<Arc<str>, String> {
        let received = self.read_up_to_a_marker(gateway, what);
        let mut before: Option<(&str, u64)> = None;
        let mut numbers = [None; CHECKER + 1];
        let mut ids = HashMap::new();
        for Message { id, data: body, .. } in &received {
            let at = position(id);
            if let Some(before) = before {
                assert_eq!(before.0, at.0, "{id} is of another epoch: {what}");
                assert!(before.1 < at.1, "{id} comes after {before:?}: {what}");
            }
            before = Some(at);
            let Some((delivery, acknowledged)) = self.entries.get(body.as_str()) else {
                panic!("{id} is nothing that was posted, {body:?}: {what}");
            };
            if let Some(acknowledged) = acknowledged {
                assert_eq!(id, acknowledged, "another id was acknowledged: {what}");
            }
            if let Some(other) = ids.insert(Arc::clone(&delivery.body), id.clone()) {
                panic!("{id} is {other} once more: {what}");
            }
            let number = &mut numbers[delivery.writer];
            assert!(
                *number < Some(delivery.number),
                "{id} was posted before the one it follows: {what}"
            );
            *number = Some(delivery.number);
        }
        for (delivery, acknowledged) in self.entries.values() {
            if let Some(id) = acknowledged {
                let body = &delivery.body;
                assert!(
                    ids.contains_key(body),
                    "{id} was acknowledged and is lost: {what}"
                );
            }
        }
        ids.retain(|body, _| self.entries[body].1.is_none());
        ids
    }

    /// Everything before an event that is posted now, and that event.
    fn read_up_to_a_marker(&mut self, gateway: &Process, what: &str) -> Vec<Message> {
        let number = self.begun[CHECKER];
        let marker = Delivery {
            writer: CHECKER,
            number,
            topic: TOPICS[0],
            body: format!(r#"{{"marker":{number}}}"#).into(),
        };
        let (status, receipt) = marker.deliver(gateway);
        assert_eq!(
            (status, receipt.duplicate),
            (200, false),
            "the marker: {what}"
        );
        self.enter(marker, Some(receipt.id.clone()));
        read_up_to(gateway, &receipt.id)
    }

    /// What a provider does: it delivers again what it heard no answer to, and
    /// at times what it did.
    fn deliver_again(
        &mut self,
        gateway: &Process,
        stored: &HashMap<Arc<str>, String>,
        rng: &mut Rng,
        what: &str,
    ) {
        let (mut answered, open): (Vec<_>, Vec<_>) =
            (self.entries.values().cloned()).partition(|(_, acknowledged)| acknowledged.is_some());
        rng.shuffle(&mut answered);
        answered.truncate(REDELIVERED);
        for (delivery, acknowledged) in answered.into_iter().chain(open) {
            let first = acknowledged.as_ref().or(stored.get(&delivery.body));
            let (status, receipt) = delivery.deliver(gateway);
            match first {
                Some(id) => {
                    assert_eq!((status, receipt.duplicate), (200, true), "{id}: {what}");
                    assert_eq!(
                        &receipt.id, id,
                        "a duplicate has the first one's id: {what}"
                    );
                }
                None => assert_eq!((status, receipt.duplicate), (200, false), "{what}"),
            }
            self.enter(delivery, Some(receipt.id));
        }
    }
}

/// Reads as a subscriber from the oldest event up to this one.
fn read_up_to(gateway: &Process, last: &str) -> Vec<Message> {
    let mut received: Vec<Message> = Vec::new();
    let messages = gateway.connection().subscribe(EVERYTHING);
    for message in messages.expect("everybody may subscribe") {
        let message = message.expect("the stream goes on until the marker");
        match &*message.name {
            "hookrill.cursor" => {}
            "message" => received.push(message),
            _ => panic!("{message:?}"),
        }
        if received.last().is_some_and(|event| event.id == last) {
            return received;
        }
    }
    panic!("the stream ended before {last}");
}

/// Epoch and sequence of a cursor.
fn position(id: &str) -> (&str, u64) {
    let (epoch, sequence) = id.split_once('-').expect("a cursor has two parts");
    (epoch, sequence.parse().expect("a sequence is a number"))
}
