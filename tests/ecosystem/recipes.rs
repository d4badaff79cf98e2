//! What `docs/clients.md` gives to copy does what it says, as it stands there.
//!
//! Each recipe follows a gateway that is killed twice and loses its history
//! once. Pages run in Debian's Chromium, with frameworks that `scripts/test`
//! installs; scripts run as processes.

mod cuts;
mod document;
mod orders;
mod pages;
mod scripts;

/// The recipe's `main` is private, as in a program.
#[allow(
    clippy::disallowed_methods,
    reason = "a recipe is a program of its own"
)]
mod subscriber {
    include!("recipes/subscriber.rs");

    pub(super) fn run() {
        main().unwrap();
    }
}

use std::{
    env, thread,
    time::{Duration, Instant},
};

use hookrill_testing::free_address;
use orders::{OrderGateway, POLL_INTERVAL};
use pages::Pages;
pub(crate) use scripts::built_by_go;
use scripts::{BE_THE_RECIPE, Script};

const WAIT_MAX: Duration = Duration::from_secs(60);
const SCRIPTS: [&str; 8] = [
    "Node",
    "Python",
    "httpx-sse",
    "Go",
    "Rust",
    "OkHttp",
    "Spring WebFlux",
    "curl",
];
/// Looks in a row that have to see the same; more than a token lives.
const LOOKS: u32 = 200;

#[test]
fn every_recipe_is_run() {
    let pages = [
        "Plain HTML",
        "React",
        "Vue",
        "Svelte",
        "htmx",
        "fetch-event-source",
    ];
    let mut run: Vec<_> = SCRIPTS.into_iter().chain(pages).collect();
    run.sort_unstable();
    let written: Vec<_> = document::recipes().into_keys().collect();
    assert_eq!(written, run);
}

#[test]
fn scripts_show_each_order_once_over_every_outage() {
    let mut gateway = OrderGateway::build("https://app.example.com");
    let start = |heading| {
        Script::start(
            heading,
            gateway.folder.path(),
            &gateway.url(),
            &gateway.token(),
        )
    };
    let mut scripts: Vec<_> = SCRIPTS.map(start).into_iter().collect();
    gateway.is_followed_by(&mut scripts);
}

#[test]
fn pages_show_each_order_once_over_every_outage_and_token() {
    let site = free_address();
    let mut gateway = OrderGateway::build(&format!("http://{site}"));
    let mut pages = Pages::open(&gateway, site);
    gateway.is_followed_by(&mut pages);

    pages.leave();
    let patience = Instant::now() + WAIT_MAX;
    let mut looks = 0;
    while looks < LOOKS {
        looks = if gateway.subscribers() == 0 {
            looks + 1
        } else {
            0
        };
        assert!(Instant::now() < patience, "a component listens for ever");
        thread::park_timeout(POLL_INTERVAL);
    }
}

/// Half an event is none, an answer that may change is waited out, and one that
/// will not ends the script.
#[test]
fn scripts_know_half_an_event_and_a_last_answer() {
    let folder = tempfile::TempDir::new().unwrap();
    thread::scope(|scope| {
        // What Node uses has tests of its own for that.
        for heading in SCRIPTS.into_iter().filter(|name| *name != "Node") {
            scope.spawn(|| cuts::survived_by(heading, folder.path()));
        }
    });
}

/// What is compiled here is what the document says; it runs as a process of its
/// own, which is this binary again.
#[test]
fn the_recipe_for_rust() {
    let written = document::recipes()["Rust"].to_owned() + "\n";
    assert_eq!(include_str!("recipes/subscriber.rs"), written);
    if env::var_os(BE_THE_RECIPE).is_some() {
        subscriber::run();
    }
}
