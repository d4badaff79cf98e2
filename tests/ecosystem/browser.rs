//! What the gateway sends, read by real browsers: Debian's Chromium and
//! Debian's Firefox, by their own `EventSource` and by the package in
//! `clients/js/`.
//!
//! `tests/ecosystem/browser/` drives them by puppeteer-core: Chromium by its `DevTools`
//! protocol, Firefox by `WebDriver` `BiDi`, which it speaks itself (Debian has
//! no geckodriver, and none is needed). Each test here is one claim of
//! `tests/ecosystem/browser/claims/`, checked by node. Where there is no Firefox, its
//! tests say that they were left out; where `CI` is set, they fail.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{Condvar, Mutex, PoisonError},
};

use hookrill_testing::free_address;

use crate::{
    installed::installed,
    proxies::setup::{ProxyKind, Setup},
};

/// How many browsers run at a time: each wants a core for itself.
const BROWSERS_MAX: usize = 2;
static RUNNING: Mutex<usize> = Mutex::new(0);
static ONE_HAS_ENDED: Condvar = Condvar::new();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Browser {
    Chromium,
    Firefox,
}

/// The same claims in each.
macro_rules! in_each {
    ($($claim:ident),* $(,)?) => {
        mod chromium {
            $(#[test] fn $claim() { super::check(super::Browser::Chromium, stringify!($claim)); })*
        }
        mod firefox {
            $(#[test] fn $claim() { super::check(super::Browser::Firefox, stringify!($claim)); })*
        }
    };
}

in_each![
    each_event_arrives_once_in_order_with_its_id,
    a_reader_that_has_seen_only_a_cursor_resumes_behind_it,
    compression_holds_no_event_back,
    a_gateway_that_is_killed_costs_no_event,
    an_answer_ends_an_event_source_for_ever_and_not_the_client,
    the_first_configuration_of_the_readme_is_private_and_its_page_shows_its_events,
    the_page_of_the_readme_lives_through_every_answer,
    the_page_of_the_readme_notices_a_line_that_went_silent,
    the_page_of_the_readme_looks_for_silence_when_it_is_shown,
    a_token_that_ends_is_renewed_and_no_event_is_lost,
    a_cookie_lets_pages_of_a_known_origin_in_and_no_others,
    a_preflight_lets_the_clients_headers_through_and_stops_strangers,
    over_http_1_the_seventh_tab_waits_until_another_one_closes,
    over_http_2_seven_tabs_are_live_at_once,
    a_second_tab_of_the_same_address_does_not_wait_for_the_first,
    the_movie_page_shows_what_it_missed_and_where_history_is_gone,
    the_movie_page_obeys_keyboard_and_light,
];

fn check(browser: Browser, claim: &str) {
    if !is_there(browser) {
        return;
    }
    let _turn = Turn::wait();
    let name = match browser {
        Browser::Chromium => "chromium",
        Browser::Firefox => "firefox",
    };
    let mut node = Command::new("node");
    for packages in ["tests/ecosystem/browser", "clients/js", "examples/movies"] {
        installed(&format!("{packages}/node_modules"));
    }
    node.arg(installed("tests/ecosystem/browser/run.mjs"))
        .args([name, claim]);
    node.env("HOOKRILL_BINARY", env!("CARGO_BIN_EXE_hookrill"));
    let _setup = claim.contains("http_2").then(|| behind_caddy(&mut node));
    node.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = node.spawn().expect("node runs");
    // While this is open, somebody wants to know.
    let _interest = child.stdin.take();
    let checked = child.wait_with_output().expect("it is our child");
    assert!(
        checked.status.success(),
        "not so in {browser:?}: {}",
        String::from_utf8_lossy(&checked.stderr)
    );
}

/// One of the browsers that may run.
struct Turn;

impl Turn {
    fn wait() -> Self {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = ONE_HAS_ENDED
            .wait_while(running, |running| *running >= BROWSERS_MAX)
            .unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ONE_HAS_ENDED.notify_one();
    }
}

/// With the settings of `deploy/proxies/`, and HTTP/2 for browsers.
fn behind_caddy(node: &mut Command) -> Setup {
    let page = free_address();
    let setup = Setup::behind(ProxyKind::Caddy)
        .origin(&format!("http://{page}"))
        .build();
    node.env("HOOKRILL_FRONT", setup.proxy.url())
        .env("HOOKRILL_PAGE_PORT", page.port().to_string())
        .env("NODE_EXTRA_CA_CERTS", setup.proxy.certificate());
    setup
}

fn is_there(browser: Browser) -> bool {
    let path = match browser {
        Browser::Chromium => "/usr/bin/chromium",
        Browser::Firefox => "/usr/bin/firefox-esr",
    };
    let is_there = Path::new(path).exists();
    assert!(
        is_there || (browser == Browser::Firefox && std::env::var_os("CI").is_none()),
        "{path} is missing: run scripts/test, which installs what the tests need"
    );
    if !is_there {
        eprintln!("left out: there is no {path} here");
    }
    is_there
}
