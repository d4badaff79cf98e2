//! What signals do to the built program.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use hookrill_testing::Process;
use rustix::process::Signal;

/// A gateway in memory with these keys in `[server]`.
fn gateway(server: &str) -> (tempfile::TempDir, Process) {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "{server}\n[journal]\nkind = \"memory\"\n[topics.a]\naccess = \"public\"\nscheme = {{ kind = \"none\" }}\n"
    );
    let process = Process::start(folder.path(), &config);
    (folder, process)
}

#[test]
fn the_first_signal_drains_and_the_second_ends_at_once() {
    let (_folder, mut gateway) = gateway("");
    // A request whose body does not come keeps the drain waiting.
    let url = gateway.url();
    let mut slow = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    let request = "POST /ingest/a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\
                   Expect: 100-continue\r\n\r\n";
    slow.write_all(request.as_bytes()).unwrap();
    let mut goes_on = [0; 13];
    slow.read_exact(&mut goes_on).unwrap();
    assert_eq!(&goes_on, b"HTTP/1.1 100 ");

    gateway.signal(Signal::TERM);
    gateway.wait_for_log("draining");
    let status = gateway.signal_until_it_ends(Signal::TERM);
    gateway.wait_for_log("hookrill: ended by a second signal");
    assert_eq!(status.code(), Some(1));
}

/// As GNU timeout, `tini -g` and npm send them.
#[test]
fn signals_of_the_same_moment_are_one() {
    let (_folder, mut gateway) = gateway("shutdown_delay = \"1500ms\"");
    for signal in [Signal::TERM, Signal::TERM, Signal::INT] {
        gateway.signal(signal);
    }
    assert_eq!(gateway.wait().code(), Some(0));
    gateway.wait_for_log("stopped");
}

#[test]
fn a_second_signal_ends_a_gateway_that_serves_on_before_its_drain() {
    let (_folder, mut gateway) = gateway("shutdown_delay = \"1h\"");
    gateway.signal(Signal::TERM);
    gateway.wait_for_log("still serving");
    let status = gateway.signal_until_it_ends(Signal::TERM);
    gateway.wait_for_log("hookrill: ended by a second signal");
    assert_eq!(status.code(), Some(1));
}
