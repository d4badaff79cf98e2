//! The settings that people copy, changed only where a person has to change them.
//!
//! Invariant: a change that changes nothing is a failure.

use std::{fs, path::Path};

use super::setup::ProxyKind;

/// The text of a file that people copy.
pub(super) struct Site(pub(super) String);

impl Site {
    pub(super) fn of(kind: ProxyKind) -> Self {
        let file = match kind {
            ProxyKind::Nginx => "nginx.conf",
            ProxyKind::Caddy => "Caddyfile",
            ProxyKind::Traefik => "traefik.yaml",
            ProxyKind::Haproxy => "haproxy.cfg",
            ProxyKind::Apache => "apache.conf",
            ProxyKind::Varnish => "varnish.vcl",
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self(fs::read_to_string(root.join("deploy/proxies").join(file)).unwrap())
    }

    /// A test that changes nothing would say nothing.
    pub(super) fn change(&mut self, written: &str, instead: &str) {
        assert!(self.0.contains(written), "there is no {written:?} any more");
        self.0 = self.0.replace(written, instead);
    }

    /// Puts the certificate in this folder in place of a person's own.
    pub(super) fn take_certificate_from(&mut self, folder: &Path) {
        for (own, file) in [
            ("/etc/ssl/certs/hooks.example.com.pem", "cert.pem"),
            ("/etc/ssl/private/hooks.example.com.key", "key.pem"),
        ] {
            self.change(own, &folder.join(file).display().to_string());
        }
    }

    pub(super) fn write(&self, path: &Path) {
        fs::write(path, &self.0).unwrap();
    }
}
