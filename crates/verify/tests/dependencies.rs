//! What a program gets with this crate: no async runtime, no web framework.

#![allow(clippy::unwrap_used, reason = "a test may stop at a surprise")]

use std::process::Command;

const UNWANTED: [&str; 8] = [
    "async-std",
    "axum",
    "futures",
    "hyper",
    "reqwest",
    "rustls",
    "smol",
    "tokio",
];

#[test]
fn no_runtime_and_no_framework_is_in_the_tree() {
    let listed = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal,build"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&listed.stderr);
    assert!(listed.status.success(), "{errors}");
    let text = String::from_utf8(listed.stdout).unwrap();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(names.contains(&"hookrill-verify") && names.contains(&"hmac"));
    let unwanted = UNWANTED.iter().find(|name| names.contains(name));
    assert_eq!(unwanted, None, "{text}");
}
