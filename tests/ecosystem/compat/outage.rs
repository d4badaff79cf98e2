//! What happens to a gateway while the libraries listen.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use hookrill_testing::{OPEN_TOPIC, Process};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{
    library::{Library, Use},
    listener::{Listener, Outcome},
    programs::Programs,
    relay::Relay,
};

/// For those that start, or come back, on a slow day.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a gateway is away: longer than a drain asks its clients to wait, so that
/// each of them is refused a connection at least once.
const AWAY: Duration = Duration::from_secs(9);
/// Between two events, and two looks.
const PACE: Duration = Duration::from_millis(100);
/// In one burst, so that some are on their way when the gateway ends.
const BURST: u32 = 5;
const LONG_BYTES: usize = 70_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Outage {
    Kill,
    Drain,
    Limit,
    Long,
    Gzip,
}

pub(super) const OUTAGES: [Outage; 5] = [
    Outage::Kill,
    Outage::Drain,
    Outage::Limit,
    Outage::Long,
    Outage::Gzip,
];

/// One use of a library, and whether it is known to come through.
pub(super) type Listening = (&'static Library, Use, Option<bool>);

/// Lets all of them listen while that happens; returns how each came through.
pub(super) fn survive(
    outage: Outage,
    programs: &Programs,
    listening: &[Listening],
) -> Vec<Outcome> {
    let folder = TempDir::new().expect("there is room for a folder");
    let gateway = Process::start(folder.path(), &config(outage, LIMIT_ON));
    let relays: Vec<_> = listening
        .iter()
        .map(|_| (outage == Outage::Limit).then(|| Relay::to(gateway.address)))
        .collect();
    let start = |(&(library, how, known), relay): (&Listening, &Option<Relay>)| {
        let address = relay
            .as_ref()
            .map_or(gateway.address, |relay| relay.address);
        let url = format!("http://{address}/events/open");
        let mut listener = Listener::start(programs, (library, how), &url, &format!("{outage:?}"));
        listener.is_known_to_stop = known == Some(false);
        listener
    };
    // Takes the only place that there is.
    let first = (outage == Outage::Limit).then(|| {
        let stream = gateway.connection().lines("/events/open");
        stream.expect("there is a place")
    });
    let listeners = listening.iter().zip(&relays).map(start).collect();
    let mut run = Run {
        gateway: Some(gateway),
        listeners,
        newest: 0,
    };
    match outage {
        Outage::Kill | Outage::Drain => run.ends_and_comes_back(outage),
        Outage::Limit => {
            run.refuses_all(&relays);
            fs::write(folder.path().join("hookrill.toml"), run.lifted()).expect("it is ours");
            run.gateway().signal(Signal::HUP);
            drop(first);
        }
        Outage::Long => {
            run.all_have_begun();
            run.post(&"x".repeat(LONG_BYTES));
        }
        Outage::Gzip => {}
    }
    run.all_have_the_next();
    let last = run.newest;
    let outcomes = run.listeners.iter().map(|listener| listener.outcome(last));
    outcomes.collect()
}

const LIMIT_ON: &str = "subscribers_per_address_max = 1";

fn config(outage: Outage, limit: &str) -> String {
    let limit = if outage == Outage::Limit { limit } else { "" };
    let compression = if outage == Outage::Gzip {
        COMPRESSION
    } else {
        ""
    };
    format!(
        "metrics_public = true\n{limit}\n\
         [subscribe]\nheartbeat = \"1s\"\nretry = \"200ms\"\n{compression}\n{OPEN_TOPIC}"
    )
}

/// For everybody who says that they take it.
const COMPRESSION: &str = "compression = \"accept\"";

struct Run {
    gateway: Option<Process>,
    listeners: Vec<Listener>,
    /// The number of the newest event.
    newest: u32,
}

impl Run {
    fn gateway(&self) -> &Process {
        self.gateway.as_ref().expect("it runs")
    }

    fn post(&mut self, text: &str) {
        self.newest += 1;
        let body = format!("{{\"n\":{},\"text\":\"{text}\"}}", self.newest);
        let headers = [("content-type", "application/json")];
        let answer = self
            .gateway()
            .connection()
            .post("/ingest/open", &headers, &body);
        let status = answer.expect("the gateway takes webhooks").status;
        assert!(status / 100 == 2, "{status}");
    }

    fn burst(&mut self) {
        for _ in 0..BURST {
            self.post("");
        }
    }

    fn ends_and_comes_back(&mut self, outage: Outage) {
        self.all_have_begun();
        self.burst();
        let mut gateway = self.gateway.take().expect("it runs");
        if outage == Outage::Drain {
            assert!(gateway.terminate().success());
        }
        gateway.kill();
        // How long is what is tried: there is nothing to wait for.
        let is_back_at = Instant::now() + AWAY;
        while Instant::now() < is_back_at {
            thread::park_timeout(PACE);
        }
        self.gateway = Some(gateway.restart());
        self.burst();
    }

    /// Posts until each has shown an event.
    fn all_have_begun(&mut self) {
        self.wait_posting(|listener, _| listener.has_seen(1), |_| true);
    }

    /// Posts until each has shown one that was posted from now on, and then one
    /// behind that.
    fn all_have_the_next(&mut self) {
        let next = self.newest + 1;
        self.wait_posting(
            |listener, _| listener.has_seen(next),
            |listener| !listener.is_known_to_stop,
        );
        self.burst();
        let last = self.newest;
        self.wait(
            |listener, _| listener.has_seen(last),
            |listener| !listener.is_known_to_stop,
            |_| {},
        );
    }

    fn wait_posting(
        &mut self,
        is_done: impl Fn(&Listener, usize) -> bool,
        counts: impl Fn(&Listener) -> bool,
    ) {
        self.wait(is_done, counts, |run| run.post(""));
    }

    /// Waits for those that count and have not ended; one that takes too long is not
    /// waited for again.
    fn wait(
        &mut self,
        is_done: impl Fn(&Listener, usize) -> bool,
        counts: impl Fn(&Listener) -> bool,
        mut meanwhile: impl FnMut(&mut Self),
    ) {
        let patience = Instant::now() + PATIENCE;
        loop {
            let mut is_waiting = false;
            let is_over = Instant::now() > patience;
            for (index, listener) in self.listeners.iter_mut().enumerate() {
                listener.look();
                let counts = counts(listener) && !listener.has_given_up;
                if counts && !is_done(listener, index) && !listener.has_ended() {
                    is_waiting = true;
                    listener.has_given_up = is_over;
                }
            }
            if !is_waiting || is_over {
                return;
            }
            meanwhile(self);
            thread::park_timeout(PACE);
        }
    }

    fn refuses_all(&mut self, relays: &[Option<Relay>]) {
        self.wait(
            |_, index| relays[index].as_ref().is_some_and(|relay| relay.cuts() > 0),
            |_| true,
            |_| {},
        );
    }

    /// The configuration without its limit.
    fn lifted(&self) -> String {
        let listen = self.gateway().address;
        let config = config(Outage::Limit, "subscribers_per_address_max = 1000");
        format!("[server]\nlisten = \"{listen}\"\n{config}")
    }
}
