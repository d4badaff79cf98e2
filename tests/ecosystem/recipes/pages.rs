//! The recipes for pages, in Chromium.
//!
//! Invariant: the browser and the site end with their handle.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;
use tempfile::TempDir;

use super::{
    document,
    orders::{OrderGateway, Readers, Shown, TOKEN_SECRET},
};
use hookrill_testing::Subprocess;

use crate::{
    installed::installed,
    program::{Group, give_to_nobody, unprivileged},
};

const WAIT_MAX: Duration = Duration::from_secs(60);
/// A recipe's heading, and the file that `pages.mjs` looks for.
const FILES: [(&str, &str); 6] = [
    ("Plain HTML", "html.html"),
    ("React", "react.jsx"),
    ("Vue", "vue.vue"),
    ("Svelte", "svelte.svelte"),
    ("htmx", "htmx.html"),
    ("fetch-event-source", "fetch.js"),
];

/// What one page shows.
#[derive(Deserialize)]
struct Page {
    page: String,
    lines: Vec<String>,
}

pub(super) struct Pages {
    lines: Subprocess,
    shown: BTreeMap<String, Vec<Shown>>,
    _browser: Group,
    _folder: TempDir,
}

impl Pages {
    /// The pages, of a site at this address, in a browser.
    pub(super) fn open(gateway: &OrderGateway, site: SocketAddr) -> Self {
        let folder = TempDir::new().unwrap();
        for (heading, file) in FILES {
            document::write(heading, &folder.path().join(file), &gateway.url());
        }
        let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/js");
        let mut command = Command::new("node");
        command
            .arg(installed("tests/ecosystem/recipes/pages.mjs"))
            .arg(folder.path());
        command.arg(site.port().to_string());
        command.arg(client).arg(TOKEN_SECRET);
        let lines = Subprocess::start("pages.mjs", &mut command);
        lines.next_line(Instant::now() + WAIT_MAX);
        Self {
            lines,
            shown: FILES
                .map(|(_, file)| (file.split('.').next().unwrap().to_owned(), Vec::new()))
                .into(),
            _browser: chromium(folder.path(), site),
            _folder: folder,
        }
    }

    /// Ends every component, while its page stays open.
    pub(super) fn leave(&mut self) {
        self.lines.send_newline();
    }
}

impl Readers for Pages {
    // A gap has a place of its own on most of them.
    const IN_ORDER: bool = false;

    fn shown(&mut self) -> Vec<(String, Vec<Shown>)> {
        while let Some(line) = self.lines.try_next_line() {
            let Page { page, lines } = serde_json::from_str(&line).expect("it speaks JSON");
            let mut shown: Vec<_> = lines
                .iter()
                .filter_map(|shown| Shown::read(shown))
                .collect();
            shown.sort_by_key(|shown| matches!(shown, Shown::Order(_)));
            self.shown.insert(page, shown);
        }
        self.shown.clone().into_iter().collect()
    }
}

fn chromium(folder: &Path, site: SocketAddr) -> Group {
    let home = folder.join("browser");
    fs::create_dir(&home).unwrap();
    give_to_nobody(folder);
    give_to_nobody(&home);
    let mut browser = Command::new("chromium");
    browser
        .args(["--headless=new", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync"])
        .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1")
        .arg(format!("--user-data-dir={}", home.display()))
        .arg(format!("http://{site}/"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    unprivileged(&mut browser, &home);
    Group::start(&mut browser)
}
