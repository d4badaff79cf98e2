//! Clients with a gateway: those in `clients/`, and curl.
//!
//! Those in `clients/` have tests of their own, each in its own language, which
//! run as their users would run them; here is only that they pass.
//! `scripts/test` installs what they need.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use hookrill_testing::{Gateway, WAIT_MAX};
use tokio::time::{sleep, timeout};

use crate::installed::installed;

#[test]
fn the_javascript_client_keeps_what_it_promises() {
    installed("clients/js/node_modules");
    let folder = installed("clients/js");
    let tests = Command::new("npm")
        .args(["test", "--silent"])
        .current_dir(folder)
        .env("HOOKRILL_BINARY", env!("CARGO_BIN_EXE_hookrill"))
        .output()
        .unwrap_or_else(|error| panic!("npm: {error}; run scripts/test"));
    let said = String::from_utf8_lossy(&tests.stdout);
    let complained = String::from_utf8_lossy(&tests.stderr);
    assert!(tests.status.success(), "{said}\n{complained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_decodes_a_compressed_stream() {
    let gateway = Gateway::in_memory().start().await;
    let body = "{\"key\":\"value\"}".repeat(100);
    gateway.post("open", &body).await;
    let url = format!(
        "http://{}/events/open?since=earliest&compress=gzip",
        gateway.address
    );
    let curl = Command::new("curl")
        .args(["--silent", "--show-error", "--no-buffer", "--compressed"])
        .args(["--max-time", "60", &url])
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl is installed");
    while gateway.metric("hookrill_delivered_total").await < 1.0 {
        sleep(Duration::from_millis(10)).await;
    }
    gateway.stop().await;
    let output = tokio::task::spawn_blocking(|| curl.wait_with_output());
    let output = timeout(WAIT_MAX, output).await.expect("curl ends");
    let output = output.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("data: {body}\n\n")), "{text}");
    // It checks the trailer, and says that the gateway cut the stream off.
    assert_eq!(output.status.code(), Some(18), "{}", output.status);
}
