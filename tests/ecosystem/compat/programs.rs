//! Makes programs of the sources: naive ones, and those with their line.
//!
//! Nothing is written beside the sources; what is made is in `target/compat/`.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use super::library::{LIBRARIES, Language, Use};
use crate::installed::installed;

/// The programs, made.
pub(super) struct Programs(PathBuf);

/// Where the sources are.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ecosystem/compat")
}

impl Programs {
    pub(super) fn make() -> Self {
        for needed in ["js/node_modules", "python/.venv", "java/lib"] {
            installed(&format!("tests/ecosystem/compat/{needed}"));
        }
        let made = Self(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/compat"));
        for how in [Use::Naive, Use::WithLine] {
            made.write_sources(how);
        }
        made.link_packages();
        made.bundle_client();
        for how in [Use::Naive, Use::WithLine] {
            made.compile_go(how);
            made.compile_java(how);
        }
        made.compile_rust();
        made
    }

    /// Where programs in this language are.
    pub(super) fn folder(&self, language: Language, how: Use) -> PathBuf {
        match language {
            Language::Node | Language::Deno | Language::Bun => self.sources("js", how),
            Language::Python => self.sources("python", how),
            Language::Shell => self.sources("curl", how),
            Language::Go => self.sources("go", how).join("bin"),
            Language::Java => self.sources("java", how).join("classes"),
            Language::Rust => self.0.join("rust/target/debug"),
        }
    }

    /// What `java -cp` is given.
    pub(super) fn class_path(&self, how: Use) -> String {
        let classes = self.folder(Language::Java, how);
        let packages = folder().join("java/lib");
        format!("{}:{}/*", classes.display(), packages.display())
    }

    fn sources(&self, kind: &str, how: Use) -> PathBuf {
        let how = match how {
            Use::Naive => "naive",
            Use::WithLine => "line",
        };
        self.0.join(kind).join(how)
    }

    /// Every file of a program, with its lines in force or not.
    fn write_sources(&self, how: Use) {
        for library in LIBRARIES {
            let source = library.source();
            let within = source.strip_prefix(folder()).expect("it is a source");
            let mut parts = within.components();
            let kind = parts.next().expect("a folder").as_os_str().to_owned();
            let kind = kind.to_string_lossy();
            let file = if library.language == Language::Rust {
                let program = format!("src/bin/{}.rs", library.built_name(how));
                self.sources(&kind, Use::Naive).join(program)
            } else {
                self.sources(&kind, how).join(parts.as_path())
            };
            copy(&source, &file, how);
        }
        for (shared, kind) in [
            ("js/page.mjs", "js"),
            ("python/only.py", "python"),
            ("go/go.mod", "go"),
            ("go/go.sum", "go"),
            ("rust/Cargo.lock", "rust"),
            ("rust/Cargo.toml", "rust"),
        ] {
            let source = folder().join(shared);
            let name = source.file_name().expect("a file");
            copy(&source, &self.sources(kind, how).join(name), how);
        }
    }

    fn link_packages(&self) {
        let link = self.0.join("js/node_modules");
        _ = fs::remove_file(&link);
        symlink(folder().join("js/node_modules"), link).expect("the folder can be written to");
    }

    /// This project's own package, which is not on npm yet.
    fn bundle_client(&self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/js");
        let mut esbuild = Command::new(installed("clients/js/node_modules/.bin/esbuild"));
        esbuild.arg(root.join("src/index.ts"));
        esbuild.args(["--bundle", "--format=esm", "--log-level=error"]);
        let bundle = self.0.join("js/hookrill.mjs");
        run(esbuild.arg(format!("--outfile={}", bundle.display())));
    }

    fn compile_go(&self, how: Use) {
        let sources = self.sources("go", how);
        let go = match Path::new("/usr/local/go/bin/go") {
            usual if usual.exists() => usual,
            _ => Path::new("go"),
        };
        fs::create_dir_all(sources.join("bin")).expect("the folder can be written to");
        let mut build = Command::new(go);
        build
            .current_dir(sources)
            .args(["build", "-o", "bin/", "./..."]);
        run(&mut build);
    }

    fn compile_java(&self, how: Use) {
        let sources = self.sources("java", how);
        let classes = self.folder(Language::Java, how);
        fs::create_dir_all(&classes).expect("the folder can be written to");
        let mut javac = Command::new("javac");
        javac.arg("-nowarn").arg("-cp").arg(self.class_path(how));
        javac.arg("-d").arg(classes);
        let files = fs::read_dir(sources).expect("it was written");
        let files = files.map(|file| file.expect("it was written").path());
        javac.args(files.filter(|file| file.extension().is_some_and(|kind| kind == "java")));
        run(&mut javac);
    }

    /// One package has both uses, as programs of two names: two packages of one name
    /// would take each other's for built.
    fn compile_rust(&self) {
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(self.sources("rust", Use::Naive));
        build.args(["build", "--quiet", "--bins", "--target-dir"]);
        run(build.arg(self.0.join("rust/target")));
    }
}

/// Copies a source with its marked lines in force, or without them; a file that is
/// the same already keeps its time, so that it is not compiled again.
fn copy(source: &Path, to: &Path, how: Use) {
    let text = fs::read_to_string(source).expect("it is there");
    let text = text.replace("'@hookrill/client'", "'../hookrill.mjs'");
    write(to, &in_use(&text, how));
}

fn in_use(text: &str, how: Use) -> String {
    let line = |line: &str| {
        let replaced = line.ends_with("//-") || line.ends_with("#-");
        match how {
            Use::Naive => Some(line.to_owned()),
            Use::WithLine if replaced => None,
            Use::WithLine => Some(line.replacen("//+ ", "", 1).replacen("#+ ", "", 1)),
        }
    };
    let lines: Vec<_> = text.lines().filter_map(line).collect();
    lines.join("\n") + "\n"
}

fn write(file: &Path, text: &str) {
    if fs::read_to_string(file).is_ok_and(|old| old == text) {
        return;
    }
    let folder = file.parent().expect("a file is in a folder");
    fs::create_dir_all(folder).expect("the folder can be written to");
    fs::write(file, text).expect("the folder can be written to");
}

fn run(command: &mut Command) {
    let name = command.get_program().display().to_string();
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}; run scripts/test"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {complaint}");
}
