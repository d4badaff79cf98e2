//! The movie page of `examples/movies/` does what its README says, from a fresh
//! folder to a real browser.
//!
//! The tests are in its own language: those of its logic beside it, those of
//! the whole in `tests/ecosystem/movies/`. Here is that they pass. `scripts/test` installs
//! what they need.

use std::process::Command;

use crate::installed::installed;

/// The page's own folder.
const EXAMPLE: &str = "examples/movies";

#[test]
fn what_the_movie_page_knows_and_says_is_right() {
    passes(EXAMPLE, &["npm", "test", "--silent"]);
}

#[test]
fn the_movie_page_has_sound_types_and_builds() {
    passes(EXAMPLE, &["npm", "run", "typecheck", "--silent"]);
    passes(EXAMPLE, &["npm", "run", "build", "--silent"]);
}

#[test]
fn the_movie_page_keeps_its_promises_in_a_browser() {
    passes(
        "tests/ecosystem/movies",
        &["node", "--test", "movies.test.mjs"],
    );
}

fn passes(folder: &str, command: &[&str]) {
    for packages in [EXAMPLE, "tests/ecosystem/browser", "tests/ecosystem/movies"] {
        installed(&format!("{packages}/node_modules"));
    }
    let [program, arguments @ ..] = command else {
        panic!("there is no command");
    };
    let ended = Command::new(program)
        .args(arguments)
        .current_dir(installed(folder))
        .env("HOOKRILL_BINARY", env!("CARGO_BIN_EXE_hookrill"))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; run scripts/test"));
    let said = String::from_utf8_lossy(&ended.stdout);
    let complained = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}\n{complained}");
}
