//! The recipes for scripts, each as a process of its own.
//!
//! They are told the gateway and the token by their environment, as the
//! document says; what they write to both outputs is read as one.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use super::{
    document,
    orders::{Readers, Shown},
};
use crate::installed::installed;
use hookrill_testing::Subprocess;

/// Tells the test binary to be the recipe for Rust.
pub(super) const BE_THE_RECIPE: &str = "HOOKRILL_RECIPE";

/// How a recipe is run in a folder of its own.
pub(super) fn command(heading: &str, folder: &Path) -> Vec<OsString> {
    let file = |name: &str| {
        let file = folder.join(name);
        document::write(heading, &file, document::PLACEHOLDER);
        file
    };
    match heading {
        "curl" => vec!["sh".into(), file("orders.sh").into()],
        "Python" => vec!["python3".into(), file("orders.py").into()],
        "httpx-sse" => vec![
            installed("tests/ecosystem/recipes/.venv/bin/python").into(),
            file("orders.py").into(),
        ],
        "OkHttp" | "Spring WebFlux" => compiled_by_javac(folder, &file("Orders.java")),
        "Go" => vec![built_by_go(&file("orders.go")).into()],
        "Node" => vec!["node".into(), bundled(&file("orders.mjs")).into()],
        "Rust" => {
            let recipe = ["recipes::the_recipe_for_rust", "--exact", "--nocapture"];
            let this = env::current_exe().expect("it runs").into_os_string();
            [this].into_iter().chain(recipe.map(Into::into)).collect()
        }
        _ => panic!("{heading} is not a script"),
    }
}

/// With what it needs of Go's library compiled once, not by each test.
pub(crate) fn built_by_go(source: &Path) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let program = source.with_extension("");
    let go = match Path::new("/usr/local/go/bin/go") {
        usual if usual.exists() => usual,
        _ => Path::new("go"),
    };
    let mut build = Command::new(go);
    run(build.args(["build", "-o"]).arg(&program).arg(source));
    program
}

/// A class of its own, with the packages that its imports name.
fn compiled_by_javac(folder: &Path, source: &Path) -> Vec<OsString> {
    let mut packages = installed("tests/ecosystem/recipes/java/lib").into_os_string();
    packages.push("/*");
    let mut javac = Command::new("javac");
    javac.arg("-cp").arg(&packages).arg("-d").arg(folder);
    run(javac.arg(source));
    let mut path = folder.as_os_str().to_owned();
    path.push(":");
    path.push(packages);
    vec!["java".into(), "-cp".into(), path, "Orders".into()]
}

/// With the package that it imports, which is not on npm yet.
fn bundled(source: &Path) -> PathBuf {
    let bundle = source.with_extension("bundle.mjs");
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/js/src/index.ts");
    let mut esbuild = Command::new(installed(
        "tests/ecosystem/recipes/node_modules/.bin/esbuild",
    ));
    esbuild
        .arg(source)
        .args(["--bundle", "--platform=node", "--format=esm"]);
    esbuild.arg("--log-level=error");
    esbuild.arg(format!("--alias:@hookrill/client={}", client.display()));
    run(esbuild.arg(format!("--outfile={}", bundle.display())));
    bundle
}

fn run(command: &mut Command) {
    let name = command.get_program().display().to_string();
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
}

/// One that runs.
pub(super) struct Script {
    pub heading: &'static str,
    pub lines: Subprocess,
    shown: Vec<Shown>,
}

impl Script {
    /// Starts it in this folder, which is made.
    pub(super) fn start(heading: &'static str, folder: &Path, gateway: &str, token: &str) -> Self {
        let folder = folder.join(heading);
        fs::create_dir(&folder).expect("the folder can be written to");
        let recipe = command(heading, &folder);
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$@\" 2>&1", "sh"]).args(recipe);
        shell.current_dir(&folder);
        shell
            .env("HOOKRILL_URL", gateway)
            .env("HOOKRILL_TOKEN", token);
        shell.env(BE_THE_RECIPE, "");
        Self {
            heading,
            lines: Subprocess::start(heading, &mut shell),
            shown: Vec::new(),
        }
    }
}

impl Readers for Vec<Script> {
    const IN_ORDER: bool = true;

    fn shown(&mut self) -> Vec<(String, Vec<Shown>)> {
        let look = |script: &mut Script| {
            while let Some(line) = script.lines.try_next_line() {
                script.shown.extend(Shown::read(&line));
            }
            (script.heading.to_owned(), script.shown.clone())
        };
        self.iter_mut().map(look).collect()
    }
}
