//! The libraries, and the program that each is used in.
//!
//! A program is what the library's own page shows, with `JSON.parse` of all that is
//! handed out. Lines in it that begin with `//+` or `#+` are what it needs in
//! addition, and those that end in `//-` or `#-` are what these replace: both are
//! in force in the program "with its line" alone.

use std::{fs, path::PathBuf, process::Command};

use super::programs::{Programs, folder};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Node,
    Deno,
    Bun,
    Python,
    Go,
    Rust,
    Java,
    Shell,
}

/// How a library is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Use {
    /// As its page shows.
    Naive,
    /// With the lines that it needs.
    WithLine,
}

#[derive(Debug)]
pub(super) struct Library {
    pub(super) language: Language,
    /// As the registry knows it; the manifest has its version by that.
    package: &'static str,
    /// The program's file, without its ending.
    pub(super) program: &'static str,
}

const fn library(language: Language, package: &'static str, program: &'static str) -> Library {
    Library {
        language,
        package,
        program,
    }
}

use Language::{Bun, Deno, Go, Java, Node, Python, Rust, Shell};

pub(super) const LIBRARIES: &[Library] = &[
    library(Node, "eventsource", "eventsource"),
    library(Node, "eventsource2", "eventsource-2"),
    library(Node, "event-source-polyfill", "event-source-polyfill"),
    library(Node, "eventsource-client", "eventsource-client"),
    library(Node, "eventsource-parser", "eventsource-parser"),
    library(Node, "extended-eventsource", "extended-eventsource"),
    library(Node, "reconnecting-eventsource", "reconnecting-eventsource"),
    library(Node, "launchdarkly-eventsource", "launchdarkly-eventsource"),
    library(Node, "@microsoft/fetch-event-source", "fetch-event-source"),
    library(
        Node,
        "@fortaine/fetch-event-source",
        "fortaine-fetch-event-source",
    ),
    library(Node, "fetch-event-stream", "fetch-event-stream"),
    library(Node, "undici", "undici"),
    library(Node, "@hookrill/client", "hookrill-client"),
    library(Deno, "", "deno"),
    library(Bun, "eventsource", "bun"),
    library(Python, "sseclient", "btubbs-sseclient"),
    library(Python, "sseclient-py", "sseclient-py"),
    library(Python, "aiohttp-sse-client", "aiohttp-sse-client"),
    library(Python, "aiohttp-sse-client2", "aiohttp-sse-client2"),
    library(Python, "aiosseclient", "aio-sseclient"),
    library(Python, "httpx-sse", "httpx-sse"),
    library(Python, "requests-sse", "requests-sse"),
    library(
        Python,
        "launchdarkly-eventsource",
        "launchdarkly-eventsource",
    ),
    library(Python, "jsonlines", "requests-jsonlines"),
    library(Go, "github.com/r3labs/sse/v2", "r3labs"),
    library(Go, "github.com/tmaxmax/go-sse", "tmaxmax"),
    library(Go, "github.com/donovanhide/eventsource", "donovanhide"),
    library(Go, "github.com/launchdarkly/eventsource", "launchdarkly"),
    library(Rust, "eventsource-client", "eventsource-client"),
    library(Rust, "reqwest-eventsource", "reqwest-eventsource"),
    library(Rust, "sseer", "sseer"),
    library(Rust, "eventsource-stream", "eventsource-stream"),
    library(Java, "okhttp-sse", "OkHttpSse"),
    library(Java, "okhttp-eventsource", "LaunchDarkly"),
    library(Java, "spring-webflux", "SpringWebClient"),
    library(Java, "jersey-media-sse", "JerseySse"),
    library(Java, "httpclient5", "ApacheHttpClient"),
    library(Shell, "", "curl"),
];

impl Library {
    /// As the document names it.
    pub(super) fn name(&self) -> String {
        let version = self.version();
        match self.language {
            Deno => "Deno `EventSource`".to_owned(),
            Shell => "`curl`".to_owned(),
            Bun => format!("Bun with npm `eventsource`{version}"),
            Node if self.package == "eventsource2" => format!("npm `eventsource`{version}"),
            Node => format!("npm `{}`{version}", self.package),
            Python => format!("PyPI `{}`{version}", self.package),
            Go => format!(
                "Go `{}`{version}",
                self.package.trim_start_matches("github.com/")
            ),
            Rust => format!("crate `{}`{version}", self.package),
            Java => format!("Maven `{}`{version}", self.package),
        }
    }

    /// As the manifest pins it, behind a space; empty for those of this project.
    fn version(&self) -> String {
        let manifest = match self.language {
            Node | Bun => "js/package.json",
            Python => "python/requirements.txt",
            Go => "go/go.mod",
            Rust => "rust/Cargo.toml",
            Java => "java/pom.xml",
            Deno | Shell => return String::new(),
        };
        let text = fs::read_to_string(folder().join(manifest)).expect("it is there");
        let is_named = |line: &&str| {
            let mut words =
                line.split(|letter: char| !(letter.is_alphanumeric() || "-_./@".contains(letter)));
            words.any(|word| word == self.package)
        };
        let line = text.lines().find(is_named).unwrap_or_default();
        let words = line.split(|letter: char| !(letter.is_alphanumeric() || ".-".contains(letter)));
        let version = words
            .map(|word| word.trim_start_matches('v'))
            .rfind(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()));
        // A version of Go's without a tag goes by its commit.
        let version = version.map(|version| version.split("-0").next().unwrap_or(version));
        version.map_or_else(String::new, |version| format!(" {version}"))
    }

    /// The lines that it needs, as they stand in its program.
    pub(super) fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.source()).expect("each has a program");
        let marked = text.lines().filter_map(|line| {
            let line = line.trim();
            line.strip_prefix("//+ ")
                .or_else(|| line.strip_prefix("#+ "))
        });
        marked.map(str::to_owned).collect()
    }

    pub(super) fn source(&self) -> PathBuf {
        let program = self.program;
        folder().join(match self.language {
            Node | Deno | Bun => format!("js/{program}.mjs"),
            Python => format!("python/{program}.py"),
            Go => format!("go/{program}/main.go"),
            Rust => format!("rust/src/bin/{program}.rs"),
            Java => format!("java/{program}.java"),
            Shell => format!("curl/{program}.sh"),
        })
    }

    /// The name of its program, where both uses are built in one folder.
    pub(super) fn built_name(&self, how: Use) -> String {
        match how {
            Use::Naive => self.program.to_owned(),
            Use::WithLine => format!("{}-line", self.program),
        }
    }

    /// Its program, which reads the stream's URL from its environment.
    pub(super) fn command(&self, programs: &Programs, how: Use) -> Command {
        let program = self.program;
        let built = programs.folder(self.language, how);
        let interpreted = |interpreter: PathBuf, file: String| {
            let mut command = Command::new(interpreter);
            command.arg(file).current_dir(&built);
            command
        };
        match self.language {
            Node => interpreted("node".into(), format!("{program}.mjs")),
            Deno => {
                let deno = folder().join("js/node_modules/@deno/linux-x64-glibc/deno");
                let mut command = Command::new(deno);
                command.args(["run", "--allow-net", "--allow-env", "--no-config"]);
                command.arg(format!("{program}.mjs")).current_dir(&built);
                command
            }
            Bun => {
                let bun = folder().join("js/node_modules/@oven/bun-linux-x64/bin/bun");
                interpreted(bun, format!("{program}.mjs"))
            }
            Python => interpreted(
                folder().join("python/.venv/bin/python"),
                format!("{program}.py"),
            ),
            Go => Command::new(built.join(program)),
            Rust => Command::new(built.join(self.built_name(how))),
            Java => {
                let mut command = Command::new("java");
                // Starts in half the time.
                command.args([
                    "-XX:TieredStopAtLevel=1",
                    "-XX:+UseSerialGC",
                    "-Xshare:auto",
                    "-cp",
                ]);
                command.arg(programs.class_path(how)).arg(program);
                command
            }
            Shell => interpreted("sh".into(), format!("{program}.sh")),
        }
    }
}
