//! A server on its own, and rounds on it.

#![allow(
    clippy::panic,
    clippy::disallowed_methods,
    dead_code,
    reason = "clippy takes a test's helpers for the program, and each test for all"
)]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use hookrill_bench::{
    ledger::Faults,
    payload::Bodies,
    round::{Limit, Offered, Round},
    server::{self, Audience, Places, Posts, Running, Spec},
};

pub(crate) struct Stage {
    pub spec: Spec,
    pub server: Running,
}

pub(crate) struct Outcome {
    pub offered: Offered,
    pub faults: Faults,
}

/// A description that comes along.
pub(crate) fn spec(name: &str) -> Spec {
    let all = server::built_in().expect("all are good");
    let mut all = all.into_iter();
    all.find(|spec| spec.name == name)
        .expect("there is such a server")
}

pub(crate) fn places(spec: &Spec) -> Places {
    Places {
        bench: env!("CARGO_BIN_EXE_hookrill-bench").into(),
        hookrill: match spec.name.as_str() {
            "hookrill" => hookrill().to_owned(),
            _ => PathBuf::new(),
        },
        peers: PathBuf::new(),
        // Tests run side by side: one core for all would be slow.
        cores: None,
    }
}

/// Hookrill's program. Cargo builds it where it is older than its sources: a
/// package's tests know only the programs of their own.
fn hookrill() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let bench = Path::new(env!("CARGO_BIN_EXE_hookrill-bench"));
        let release = bench
            .parent()
            .is_some_and(|folder| folder.ends_with("release"));
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--bin", "hookrill"]);
        cargo.args(release.then_some("--release"));
        let built = cargo.current_dir(root).status().expect("cargo runs");
        assert!(built.success(), "hookrill builds");
        bench.with_file_name("hookrill")
    })
}

impl Stage {
    pub(crate) fn start(spec: Spec) -> Self {
        let server = Running::start(&spec, &places(&spec)).expect("the server starts");
        Self { spec, server }
    }

    pub(crate) fn round(&self, topics: usize) -> Round<'_> {
        Round::new(&self.spec, &self.server, topics).expect("a round begins")
    }

    pub(crate) fn offer(
        &self,
        audience: &Audience,
        events: u32,
        rate: Option<f64>,
        limit: Limit,
    ) -> Outcome {
        let mut round = self.round(audience.topics);
        round.subscribe(audience).expect("all streams open");
        let posts = posts(audience, events, rate).make(&self.spec);
        let offered = round.offer(posts, limit).expect("all are offered");
        round
            .linger(Duration::from_millis(100))
            .expect("all streams last");
        let faults = round.faults();
        Outcome { offered, faults }
    }

    /// Publishes first, and subscribes from the oldest on.
    pub(crate) fn replay(&self, subscribers: usize, events: u32) -> Faults {
        let audience = Audience {
            replay: true,
            ..Audience::of_one("test", subscribers)
        };
        let mut round = self.round(1);
        let limit = Limit {
            senders: 4,
            time: Duration::from_secs(60),
            paced: false,
        };
        let posts = posts(&audience, events, None).make(&self.spec);
        round.offer(posts, limit).expect("all are offered");
        round.subscribe(&audience).expect("all streams open");
        let all = subscribers as u64 * u64::from(events);
        round.receive_until(all).expect("all streams last");
        assert_eq!(round.delivered(), all);
        round.faults()
    }
}

fn posts(audience: &Audience, count: u32, rate: Option<f64>) -> Posts {
    Posts {
        prefix: audience.prefix,
        topics: audience.topics,
        first: 0,
        count,
        rate,
        bodies: Bodies::Filled(512),
    }
}
