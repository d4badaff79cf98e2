//! The clients in `clients/` keep what they promise, with the built gateway.
//!
//! Each has its own tests, in its own language, and they are run as its users
//! would run them; here is only that they pass. `scripts/test` installs what
//! they need.

use std::process::Command;

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
