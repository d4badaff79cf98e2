//! A proxy that runs, with the file that people copy.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    curl::CurlStream,
    more::{apache, haproxy, varnish},
    setup::{ORIGIN, ProxyKind, SetupBuilder, eventually},
    site::Site,
};
use hookrill_testing::{Response, Subprocess, free_address};

use crate::{
    installed::installed,
    program::{Group, give_to_nobody, unprivileged},
};

/// A proxy that runs.
pub(crate) struct Proxy {
    kind: ProxyKind,
    pub folder: PathBuf,
    address: SocketAddr,
    group: Group,
}

impl Proxy {
    pub(crate) fn start(plan: &SetupBuilder, folder: PathBuf, upstream: SocketAddr) -> Self {
        make_certificate(&folder);
        let mut site = Site::of(plan.kind);
        for (written, instead) in &plan.changes {
            site.change(written, instead);
        }
        let address = free_address();
        if plan.kind != ProxyKind::Varnish {
            site.change("127.0.0.1:8080", &upstream.to_string());
        }
        let mut command = match plan.kind {
            ProxyKind::Nginx => nginx(site, &folder, address, &plan.origin),
            ProxyKind::Caddy => caddy(site, &folder, address, &plan.origin),
            ProxyKind::Traefik => traefik(site, &folder, address, plan.log_level),
            ProxyKind::Haproxy => haproxy(site, &folder, address, &plan.origin),
            ProxyKind::Apache => apache(site, &folder, address),
            ProxyKind::Varnish => varnish(site, &folder, address, upstream),
        };
        let log = fs::File::create(folder.join("own.log")).unwrap();
        command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null());
        let mut proxy = Self {
            kind: plan.kind,
            group: Group::start(&mut command),
            folder,
            address,
        };
        eventually("a proxy that serves", || {
            assert!(
                !proxy.group.has_ended(),
                "{:?}: {}",
                plan.kind,
                proxy.logged()
            );
            (proxy.try_ask("/healthz", &[])?.status == 200).then_some(())
        });
        proxy
    }

    /// Everything that the proxy has written to a log.
    pub(crate) fn logged(&self) -> String {
        let logs = fs::read_dir(&self.folder).unwrap();
        let logs = logs.map(|entry| entry.unwrap().path());
        let logs = logs.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
        logs.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned())
            .collect()
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.kind == ProxyKind::Varnish {
            "http"
        } else {
            "https"
        };
        format!("{scheme}://localhost:{}", self.address.port())
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    /// A client over TLS that offers HTTP/2, and shows the answer's head.
    fn curl(&self, path: &str, args: &[&str]) -> Command {
        let mut curl = Command::new("curl");
        // Varnish has no TLS, and so no HTTP/2.
        let version = if self.kind == ProxyKind::Varnish {
            "--http1.1"
        } else {
            "--http2"
        };
        curl.args(["--silent", "--include", "--no-buffer", version])
            .args(["--max-time", "120"])
            .args([
                "--resolve",
                &format!("localhost:{}:127.0.0.1", self.address.port()),
            ])
            .arg("--cacert")
            .arg(self.certificate())
            .args(args)
            .arg(self.url() + path);
        curl
    }

    /// Asks, and gives the whole answer.
    pub(crate) fn ask(&self, path: &str, args: &[&str]) -> Response {
        self.try_ask(path, args)
            .unwrap_or_else(|| panic!("no answer from {path}"))
    }

    fn try_ask(&self, path: &str, args: &[&str]) -> Option<Response> {
        let output = self.curl(path, args).output().expect("curl runs");
        Response::try_parse(&output.stdout)
    }

    /// Stores an event; gives its id.
    pub(crate) fn post(&self, body: &str) -> String {
        let response = self.ask("/ingest/open", &["--data-binary", body]);
        assert_eq!(response.status, 200, "{response:?}");
        response.id()
    }

    /// Subscribes, and reads the answer's head.
    pub(crate) fn subscribe(&self, path: &str, args: &[&str]) -> CurlStream {
        let mut subscriber = self.begin(path, args);
        subscriber.read_head();
        subscriber
    }

    /// Subscribes, and waits for nothing.
    pub(crate) fn begin(&self, path: &str, args: &[&str]) -> CurlStream {
        CurlStream::new(Subprocess::start("curl", &mut self.curl(path, args)))
    }
}

fn nginx(mut site: Site, folder: &Path, address: SocketAddr, origin: &str) -> Command {
    let at = folder.display();
    site.change("listen 443 ssl", &format!("listen {address} ssl"));
    site.change("listen [::]:443 ssl http2;", "");
    site.change("listen 80;", &format!("listen {};", free_address()));
    site.change("listen [::]:80;", "");
    site.change("server_name hooks.example.com;", "server_name localhost;");
    site.take_certificate_from(folder);
    site.change("/var/log/nginx/", &format!("{at}/"));
    if origin != ORIGIN {
        site.change(ORIGIN, origin);
    }
    site.write(&folder.join("site.conf"));
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {at}/{what};\n"));
    // Compression is on, as it may be on a person's own server.
    let main = format!(
        "daemon off;\npid {at}/nginx.pid;\nerror_log {at}/main.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\naccess_log {at}/access.log;\ngzip on;\ngzip_types *;\ngzip_min_length 0;\ngzip_proxied any;\n\
         {}include {at}/site.conf;\n}}\n",
        temporary.concat()
    );
    fs::write(folder.join("nginx.conf"), main).unwrap();
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(folder)
        .arg("-e")
        .arg(folder.join("main.log"))
        .arg("-c")
        .arg(folder.join("nginx.conf"));
    unprivileged(&mut command, folder);
    command
}

fn caddy(mut site: Site, folder: &Path, address: SocketAddr, origin: &str) -> Command {
    let at = folder.display();
    // No certificate is to be had from anywhere, and nothing else is listened to.
    site.change(
        "\tgrace_period",
        &format!("\tadmin off\n\tauto_https off\n\tstorage file_system {at}/caddy\n\tgrace_period"),
    );
    site.change(
        "hooks.example.com} {",
        &format!("hooks.example.com}} {{\n\tbind 127.0.0.1\n\ttls {at}/cert.pem {at}/key.pem\n"),
    );
    site.write(&folder.join("Caddyfile"));
    let mut command = Command::new("caddy");
    command
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(folder.join("Caddyfile"))
        .env(
            "HOOKRILL_DOMAIN",
            format!("https://localhost:{}", address.port()),
        )
        .env_remove("HOOKRILL_UPSTREAM")
        .env("HOOKRILL_CORS_ORIGIN", origin);
    unprivileged(&mut command, folder);
    command
}

fn traefik(mut site: Site, folder: &Path, address: SocketAddr, log_level: &str) -> Command {
    let at = folder.display();
    site.change("Host(`hooks.example.com`)", "Host(`localhost`)");
    site.change("        certResolver: letsencrypt", "        {}");
    site.0 += &format!(
        "\ntls:\n  certificates:\n    - certFile: {at}/cert.pem\n      keyFile: {at}/key.pem\n"
    );
    let dynamic = folder.join("dynamic");
    fs::create_dir(&dynamic).unwrap();
    site.write(&dynamic.join("hookrill.yaml"));
    // What the file's head says; and a time-out of reads that must not end a
    // stream, which Traefik's own of 60 s would not show.
    let own = format!(
        "global: {{ checkNewVersion: false, sendAnonymousUsage: false }}\n\
         entryPoints:\n  websecure:\n    address: {address}\n    \
         transport: {{ respondingTimeouts: {{ readTimeout: 2s }} }}\n\
         providers: {{ file: {{ directory: {}, watch: false }} }}\n\
         accessLog: {{ fields: {{ names: {{ RequestPath: drop }} }} }}\n\
         log: {{ level: {log_level} }}\n",
        dynamic.display()
    );
    fs::write(folder.join("traefik.yaml"), own).unwrap();
    let mut command = Command::new(installed("tests/ecosystem/proxies/.venv/bin/traefik"));
    command
        .arg(format!("--configFile={at}/traefik.yaml"))
        .current_dir(folder);
    command
}

/// For two days, for this machine's own name.
fn make_certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .expect("openssl runs");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    for file in ["key.pem", "cert.pem"] {
        give_to_nobody(&folder.join(file));
    }
}
