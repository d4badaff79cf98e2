//! A gateway for the recipes, and what happens to it while they listen.
//!
//! Orders are numbered from 1, and each is signed and posted by `hookrill send`.
//! Invariant: an order is posted after the one before it was stored.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use hookrill_testing::Process;

/// Longer than anything here takes on a slow day.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two looks at something that tells nobody when it happens.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// What signs tokens.
pub(super) const TOKEN_SECRET: &str =
    "6b2f0c9d8e7a41529384a5b6c7d8e9f00112233445566778899aabbccddeeff0";
/// Orders between two outages.
const ORDERS: u32 = 5;

/// What a subscriber has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Order(u32),
    Missed,
}

impl Shown {
    /// What a line of a recipe shows; none where it is only talk.
    pub(super) fn read(line: &str) -> Option<Self> {
        if line.starts_with("missed") {
            return Some(Self::Missed);
        }
        let (_, number) = line.split_once("\"A-")?;
        let (number, _) = number.split_once('"')?;
        number.parse().ok().map(Self::Order)
    }
}

/// Those who listen.
pub(super) trait Readers {
    /// Takes in what they have shown since the last look; gives all of it, by
    /// name.
    fn shown(&mut self) -> Vec<(String, Vec<Shown>)>;

    /// Whether what they show has an order that says where a gap was.
    const IN_ORDER: bool;
}

/// A gateway with one topic, `orders`.
pub(super) struct OrderGateway {
    gateway: Option<Process>,
    pub folder: TempDir,
    orders: u32,
}

impl OrderGateway {
    /// One whose streams a page of this origin may read.
    pub(super) fn build(origin: &str) -> Self {
        let folder = TempDir::new().expect("there is room for a folder");
        let config = format!(
            "cors_origins = [{origin:?}]\nmetrics_public = true\n\
             [subscribe]\nheartbeat = \"1s\"\nretry = \"200ms\"\n\
             [access]\nsecret = \"{TOKEN_SECRET}\"\n\
             [topics.orders]\npreset = \"standard-webhooks\"\n\
             secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n"
        );
        let gateway = Some(Process::start(folder.path(), &config));
        Self {
            gateway,
            folder,
            orders: 0,
        }
    }

    fn gateway(&self) -> &Process {
        self.gateway.as_ref().expect("it was started")
    }

    pub(super) fn url(&self) -> String {
        self.gateway().url()
    }

    /// A token for the orders, by the command line.
    pub(super) fn token(&self) -> String {
        self.gateway().token("orders")
    }

    pub(super) fn subscribers(&self) -> usize {
        self.gateway().subscribers()
    }

    fn post_orders(&mut self) {
        for _ in 0..ORDERS {
            self.orders += 1;
            let order = format!("{{\"order\":\"A-{}\"}}", self.orders);
            self.gateway().run(&["send", "orders", &order]);
        }
    }

    /// SIGKILL, and a start at the same address.
    fn outage(&mut self, meanwhile: impl FnOnce(&TempDir)) {
        let mut gateway = self.gateway.take().expect("it was started");
        gateway.kill();
        meanwhile(&self.folder);
        self.gateway = Some(gateway.restart());
    }

    /// Kills the gateway twice and takes its history once; the readers show
    /// every order once, in order, and says that something is missing where it
    /// is and nowhere else.
    pub(super) fn is_followed_by<A: Readers>(&mut self, readers: &mut A) {
        self.post_orders();
        self.all_show(readers, &[]);
        for _ in 0..2 {
            self.outage(|_| {});
            self.post_orders();
            self.all_show(readers, &[]);
        }
        let before = self.orders;
        self.outage(|folder| fs::remove_dir_all(folder.path().join("data")).unwrap());
        self.post_orders();
        self.all_show(readers, &[before]);
    }

    /// Waits until all show what they should, with something missed behind
    /// these orders.
    fn all_show<A: Readers>(&self, readers: &mut A, missed_behind: &[u32]) {
        let mut due = Vec::new();
        for order in 1..=self.orders {
            due.push(Shown::Order(order));
            if missed_behind.contains(&order) {
                due.push(Shown::Missed);
            }
        }
        if !A::IN_ORDER {
            due.sort_by_key(|shown| matches!(shown, Shown::Order(_)));
        }
        let patience = Instant::now() + WAIT_MAX;
        loop {
            let all = readers.shown();
            for (name, shown) in &all {
                assert!(due.starts_with(shown) || !A::IN_ORDER, "{name}: {shown:?}");
            }
            let behind: Vec<_> = all.iter().filter(|(_, shown)| *shown != due).collect();
            if behind.is_empty() {
                return;
            }
            assert!(Instant::now() < patience, "{behind:?}, not {due:?}");
            thread::park_timeout(POLL_INTERVAL);
        }
    }
}
