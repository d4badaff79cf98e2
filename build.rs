//! Says which commit the program is built from: for `--version` and
//! `hookrill_build_info`.
//!
//! Needs neither git nor a repository. In this order: `HOOKRILL_COMMIT` and
//! `HOOKRILL_COMMIT_DATE`, for images and packages; what `cargo package` wrote down;
//! git, if it is there. Otherwise the commit is unknown, which is no reason not to build.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script is told everything by its environment"
)]

use std::{env, fs, process::Command};

const UNKNOWN: &str = "unknown";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=HOOKRILL_COMMIT");
    println!("cargo::rerun-if-env-changed=HOOKRILL_COMMIT_DATE");
    // Each commit would build the crate once more; whoever develops can do without, and
    // a release is built from a checkout of its own.
    if env::var("PROFILE").as_deref() == Ok("release")
        && let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"])
    {
        println!("cargo::rerun-if-changed={head}");
    }
    let commit = given("HOOKRILL_COMMIT")
        .or_else(packaged)
        .or_else(|| git(&["rev-parse", "HEAD"]));
    let date = given("HOOKRILL_COMMIT_DATE").or_else(|| git(&["log", "-1", "--format=%cs"]));
    let commit: String = commit.map_or(UNKNOWN.into(), |text| text.chars().take(12).collect());
    println!("cargo::rustc-env=HOOKRILL_COMMIT={commit}");
    let date = date.unwrap_or_else(|| UNKNOWN.into());
    println!("cargo::rustc-env=HOOKRILL_COMMIT_DATE={date}");
}

fn given(name: &str) -> Option<String> {
    let value = env::var(name).ok()?.trim().to_owned();
    (!value.is_empty()).then_some(value)
}

/// The commit that `cargo package` found.
fn packaged() -> Option<String> {
    let info = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = info.split_once("\"sha1\": \"")?;
    rest.split('"').next().map(str::to_owned)
}

/// What git says of this folder's repository, if it is ours: a checkout has this file
/// under version control.
fn git(arguments: &[&str]) -> Option<String> {
    run_git(&["ls-files", "--error-unmatch", "build.rs"])?;
    run_git(arguments).filter(|text| !text.is_empty())
}

fn run_git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
