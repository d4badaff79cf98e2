//! HAProxy, Apache and Varnish, as Debian has them.

use std::{fmt::Write as _, fs, net::SocketAddr, path::Path, process::Command};

use super::{setup::ORIGIN, site::Site};
use crate::program::{give_to_nobody, unprivileged};

pub(super) fn haproxy(mut site: Site, folder: &Path, address: SocketAddr, origin: &str) -> Command {
    let both = ["cert.pem", "key.pem"].map(|file| fs::read_to_string(folder.join(file)).unwrap());
    let pem = folder.join("both.pem");
    fs::write(&pem, both.concat()).unwrap();
    give_to_nobody(&pem);
    let own = "/etc/haproxy/certs/hooks.example.com.pem";
    site.change(own, &pem.display().to_string());
    site.change("bind :443", &format!("bind {address}"));
    site.change("maxconn 50000", "maxconn 1000");
    site.change("log /dev/log local0", "log stdout format raw local0");
    if origin != ORIGIN {
        site.change(ORIGIN, origin);
    }
    let file = folder.join("haproxy.cfg");
    site.write(&file);
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    unprivileged(&mut command, folder);
    command
}

pub(super) fn apache(mut site: Site, folder: &Path, address: SocketAddr) -> Command {
    let at = folder.display().to_string();
    site.change("<VirtualHost *:443>", &format!("<VirtualHost {address}>"));
    site.change("ServerName hooks.example.com", "ServerName localhost");
    site.take_certificate_from(folder);
    site.change("/var/log/apache2/", &format!("{at}/"));
    site.write(&folder.join("site.conf"));
    let modules = [
        "mpm_event",
        "authz_core",
        "proxy",
        "proxy_http",
        "http2",
        "ssl",
        "socache_shmcb",
        "env",
        "setenvif",
        "filter",
        "deflate",
    ];
    let mut main = format!(
        "ServerRoot {at}\nServerName localhost\nDefaultRuntimeDir {at}\nPidFile {at}/apache.pid\n\
         Mutex file:{at} default\nErrorLog {at}/main.log\nListen {address}\n"
    );
    for module in modules {
        let file = format!("/usr/lib/apache2/modules/mod_{module}.so");
        writeln!(main, "LoadModule {module}_module {file}").unwrap();
    }
    // Compression is on, as it may be on a person's own server.
    main += "SetOutputFilter DEFLATE\n";
    writeln!(main, "Include {at}/site.conf").unwrap();
    let file = folder.join("apache.conf");
    fs::write(&file, main).unwrap();
    let mut command = Command::new("apache2");
    command.arg("-DFOREGROUND").arg("-f").arg(file);
    unprivileged(&mut command, folder);
    command
}

pub(super) fn varnish(
    mut site: Site,
    folder: &Path,
    address: SocketAddr,
    upstream: SocketAddr,
) -> Command {
    site.change("\"8080\"", &format!("\"{}\"", upstream.port()));
    let file = folder.join("varnish.vcl");
    site.write(&file);
    let mut command = Command::new("varnishd");
    command
        .arg("-F")
        .arg("-n")
        .arg(folder.join("work"))
        .args(["-j", "none", "-s", "malloc,32m", "-a"])
        .arg(address.to_string())
        // Less than any heartbeat must take.
        .args(["-p", "pipe_timeout=3"])
        .arg("-f")
        .arg(file);
    unprivileged(&mut command, folder);
    command
}
