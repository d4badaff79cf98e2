//! The address that a running gateway leaves in its journal's folder.
//!
//! `health`, `send` and `tail` find it there, whatever has happened to the configuration
//! since, and whatever port the environment of `serve` has set. A hint, and nothing more: a
//! gateway that was killed leaves it behind. Invariant: nothing is decided by it but whom to
//! ask.

use std::{
    fs,
    io::Read as _,
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    config::{Config, GatewayPlace},
    durable, journal,
};

const FILE: &str = "address";
/// The most bytes that are read: no URL of a local address is longer.
const BYTES_MAX: u64 = 200;
/// How long it may take to connect within a machine.
const LISTENER_TIME_MAX: Duration = Duration::from_secs(1);

/// The file that a running gateway has left; removed with this.
#[must_use = "the file is removed when this is dropped"]
pub struct LeftAddress {
    file: Option<PathBuf>,
}

impl LeftAddress {
    /// Leaves the address of a gateway that listens there. Where it can't be written,
    /// `health` finds the gateway by the configuration.
    pub fn leave(config: &Config) -> Self {
        let journal::Backend::Disk { path, .. } = &config.journal.backend else {
            return Self { file: None };
        };
        let file = path.join(FILE);
        let line = format!("{}\n", config.local_url());
        if let Err(error) = durable::replace(&file, line.as_bytes()) {
            let file = file.display();
            tracing::warn!(%error, %file, "hookrill health may not find this gateway");
            return Self { file: None };
        }
        Self { file: Some(file) }
    }
}

impl Drop for LeftAddress {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // One that stays leads to where nobody listens.
            _ = durable::remove(file);
        }
    }
}

/// The URLs at which a gateway is likely to be found, the likeliest first.
pub(super) fn likely(place: &GatewayPlace) -> Vec<String> {
    let left = left(&place.journal_folder);
    let mut urls: Vec<_> = left.into_iter().collect();
    if !urls.contains(&place.local_url) {
        urls.push(place.local_url.clone());
    }
    urls
}

/// The first of them at which anybody listens, or else the likeliest. Blocks.
pub(super) fn likeliest(place: &GatewayPlace) -> String {
    let mut urls = likely(place);
    let listening = urls.iter().position(|url| has_listener(url));
    urls.swap_remove(listening.unwrap_or_default())
}

/// Whether somebody listens there. Holds also where it can't be told.
fn has_listener(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    match authority.parse() {
        Ok(address) => TcpStream::connect_timeout(&address, LISTENER_TIME_MAX).is_ok(),
        Err(_) => true,
    }
}

fn left(folder: &Path) -> Option<String> {
    let file = fs::File::open(folder.join(FILE)).ok()?;
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    crate::config::url::base_url(text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gateway_left_comes_first_and_rubbish_counts_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let place = GatewayPlace {
            journal_folder: folder.path().to_owned(),
            local_url: "http://127.0.0.1:8080".to_owned(),
        };
        for (written, urls) in [
            (None, &["http://127.0.0.1:8080"][..]),
            (
                Some("http://[::1]:9000\n"),
                &["http://[::1]:9000", "http://127.0.0.1:8080"],
            ),
            (Some("http://127.0.0.1:8080\n"), &["http://127.0.0.1:8080"]),
            (Some("rubbish"), &["http://127.0.0.1:8080"]),
            (Some(""), &["http://127.0.0.1:8080"]),
        ] {
            if let Some(text) = written {
                fs::write(folder.path().join(FILE), text).unwrap();
            }
            assert_eq!(likely(&place), urls, "{written:?}");
        }
    }
}
