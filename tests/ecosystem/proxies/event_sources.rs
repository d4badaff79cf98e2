//! Many `EventSource`s, made by nobody here, and one that posts all the while.
//!
//! A event_sources says what became of each of its clients; what it means is judged
//! here. Invariant: a client that gave up, or was told of a gap, fails whoever
//! waits for the event_sources.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::setup::Setup;
use hookrill_testing::Subprocess;

use crate::{
    installed::installed,
    program::{Group, unprivileged},
};

/// For each thing that is waited for.
const WAIT_MAX: Duration = Duration::from_secs(60);
const NPM_CLIENTS: usize = 100;
/// More than the six connections to a host that a browser opens over HTTP/1.1:
/// that all have a stream at once shows that they share one over HTTP/2.
const CHROMIUM_CLIENTS: usize = 12;

/// Clients of one process.
pub(super) struct EventSources {
    name: &'static str,
    lines: Subprocess,
    clients: Vec<Client>,
    /// The browser, where there is one.
    _browser: Option<Group>,
}

#[derive(Default, Clone)]
struct Client {
    /// Whether the gateway's stream has begun and has not ended.
    streams: bool,
    /// Answers with 200 since it last had a stream.
    answers: u32,
    closed: bool,
    heard: Option<Vec<u32>>,
}

/// A line of a event_sources.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Open { client: usize },
    Stream { client: usize },
    Interrupted { client: usize },
    Closed { client: usize },
    Gap { client: usize },
    Heard { client: usize, numbers: Vec<u32> },
    Ready,
}

impl EventSources {
    pub(super) fn npm(setup: &Setup) -> Self {
        installed("tests/ecosystem/proxies/node_modules/eventsource");
        let mut command = node(setup, "event_sources.mjs");
        command.args([stream(setup), NPM_CLIENTS.to_string()]);
        Self::of("npm", NPM_CLIENTS, &mut command)
    }

    /// A page at this address in a browser that has nothing else to do.
    pub(super) fn chromium(setup: &Setup, page: SocketAddr) -> Self {
        let mut command = node(setup, "page.mjs");
        command.arg(page.port().to_string());
        command.args([stream(setup), CHROMIUM_CLIENTS.to_string()]);
        let mut event_sources = Self::of("Chromium", CHROMIUM_CLIENTS, &mut command);
        assert!(matches!(
            event_sources.line(Instant::now() + WAIT_MAX),
            Line::Ready
        ));
        let folder = &setup.proxy.folder;
        let mut browser = Command::new("chromium");
        browser
            .args(["--headless=new", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync"])
            .args([
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
                "--ignore-certificate-errors",
            ])
            .arg(format!("--user-data-dir={}/browser", folder.display()))
            .arg(format!("http://{page}/"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        unprivileged(&mut browser, folder);
        event_sources._browser = Some(Group::start(&mut browser));
        event_sources
    }

    fn of(name: &'static str, count: usize, command: &mut Command) -> Self {
        Self {
            name,
            lines: Subprocess::start(name, command),
            clients: vec![Client::default(); count],
            _browser: None,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.clients.len()
    }

    pub(super) fn all_have_a_stream(&mut self) {
        self.wait("a stream", |client| client.streams);
        for client in &mut self.clients {
            client.answers = 0;
        }
    }

    pub(super) fn all_have_lost_it(&mut self) {
        self.wait("without a stream", |client| !client.streams);
    }

    /// The gateway is down: whoever is answered is answered in its place.
    pub(super) fn all_have_been_told_to_come_back(&mut self) {
        self.wait("an answer in its place", |client| client.answers > 0);
    }

    pub(super) fn all_have_given_up(&mut self) {
        let deadline = Instant::now() + WAIT_MAX;
        while !self.clients.iter().all(|client| client.closed) {
            self.take(deadline);
        }
    }

    pub(super) fn all_have_heard_each_once_in_order(&mut self, last: u32) {
        self.wait("the last event", |client| client.heard.is_some());
        let due: Vec<u32> = (1..=last).collect();
        for (number, client) in self.clients.iter().enumerate() {
            let heard = client.heard.as_deref().unwrap_or_default();
            let at = heard.iter().zip(&due).position(|(heard, due)| heard != due);
            assert!(
                heard == due,
                "client {number} of {}: {} events of {last}, the first wrong one at {at:?}",
                self.name,
                heard.len()
            );
        }
    }

    fn wait(&mut self, what: &str, done: impl Fn(&Client) -> bool) {
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            let closed = self.clients.iter().filter(|client| client.closed).count();
            assert_eq!(closed, 0, "so many of {} gave up for ever", self.name);
            if self.clients.iter().all(&done) {
                return;
            }
            let left = self.clients.iter().filter(|client| !done(client)).count();
            assert!(
                Instant::now() < deadline,
                "{left} of {}: not {what}",
                self.name
            );
            self.take(deadline);
        }
    }

    fn take(&mut self, deadline: Instant) {
        match self.line(deadline) {
            Line::Open { client } => self.clients[client].answers += 1,
            Line::Stream { client } => self.clients[client].streams = true,
            Line::Interrupted { client } => self.clients[client].streams = false,
            Line::Closed { client } => self.clients[client].closed = true,
            Line::Gap { client } => panic!("client {client} of {} was told of a gap", self.name),
            Line::Heard { client, numbers } => self.clients[client].heard = Some(numbers),
            Line::Ready => {}
        }
    }

    fn line(&self, deadline: Instant) -> Line {
        serde_json::from_str(&self.lines.next_line(deadline)).expect("it speaks JSON")
    }
}

/// Posts all the while.
pub(super) struct Sender(Subprocess);

impl Sender {
    pub(super) fn start(setup: &Setup) -> Self {
        let mut command = node(setup, "sender.mjs");
        command.arg(setup.proxy.url() + "/ingest/open");
        Self(Subprocess::start("sender", &mut command))
    }

    /// Waits until so many more are stored.
    pub(super) fn stores(&self, count: u32) {
        let deadline = Instant::now() + WAIT_MAX;
        for _ in 0..count {
            self.0.next_line(deadline);
        }
    }

    /// Ends it; gives the last event's number.
    pub(super) fn end(mut self) -> u32 {
        self.0.send_newline();
        let last = self.0.remaining_lines(Instant::now() + WAIT_MAX).pop();
        last.expect("it stored some").parse().expect("a number")
    }
}

fn stream(setup: &Setup) -> String {
    setup.proxy.url() + "/events/open?since=earliest"
}

fn node(setup: &Setup, script: &str) -> Command {
    let mut command = Command::new("node");
    command
        .arg(installed(&format!("tests/ecosystem/proxies/{script}")))
        .env("NODE_EXTRA_CA_CERTS", setup.proxy.certificate());
    command
}
