//! A server as its TOML describes it.
//!
//! Refuses what it does not know, and names it. Invariant: a [`Spec`] has
//! exactly one of `start` and `running`, and only variables that exist where
//! they stand.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::template;

/// A kind of measure.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    clap::ValueEnum,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Case {
    /// Memory per idle subscriber.
    Idle,
    /// One event at a time to many subscribers.
    Live,
    /// More than one core can deliver.
    Overload,
    /// Events without subscribers.
    Ingest,
    /// Subscribers that catch up.
    Replay,
    /// Many topics against one.
    Topics,
    /// Compressed streams.
    Gzip,
    /// From start to ready.
    Start,
}

/// A server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What tables call it.
    pub name: String,
    /// Programs in `PATH`, or files, without which it can't be started.
    #[serde(default)]
    pub needs: Vec<String>,
    /// How a person gets them.
    #[serde(default)]
    pub install: String,
    /// The cases it takes part in.
    pub cases: Vec<Case>,
    /// Whether it drops events by design when it is overloaded: that is shown,
    /// but does not fail the run.
    #[serde(default)]
    pub lossy: bool,
    /// The most subscribers it can take.
    #[serde(default = "all_of_them")]
    pub subscribers_max: usize,
    /// So many streams may be opened at a time: below its backlog, beyond
    /// which the kernel would drop connections and try again after a second.
    #[serde(default = "opening_max")]
    pub opening_max: usize,
    /// How it is started, if it is.
    pub start: Option<StartCommand>,
    /// Where it runs already, otherwise.
    pub running: Option<Already>,
    /// How one subscribes.
    pub subscribe: Subscribe,
    /// How one publishes.
    pub publish: Publish,
    /// The HS256 secret for `{token}`.
    #[serde(default)]
    pub token_secret: String,
}

fn all_of_them() -> usize {
    usize::MAX
}

fn opening_max() -> usize {
    128
}

/// How a server is started.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartCommand {
    /// Program and arguments. Must stay in the foreground.
    pub command: Vec<String>,
    /// Environment variables beside those of the generator.
    #[serde(default)]
    pub environment: std::collections::BTreeMap<String, String>,
    /// Files to write into `{dir}` before.
    #[serde(default)]
    pub files: Vec<File>,
    /// Is ready when a GET of this path is answered with 200.
    pub ready: String,
    /// Processes it needs beside it; their costs are not counted.
    #[serde(default)]
    pub beside: Vec<Vec<String>>,
}

/// A file to write.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Below `{dir}`.
    pub path: String,
    /// The text, as a template.
    pub text: String,
}

/// A server that somebody else started.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Already {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where one publishes, if elsewhere.
    pub control: Option<SocketAddr>,
    /// Its processes; their children count too.
    pub pids: Vec<u32>,
}

/// How one subscribes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// The path with its query.
    pub path: String,
    /// The path that begins with the oldest event, where there is one.
    pub replay: Option<String>,
    /// Header lines.
    #[serde(default)]
    pub headers: Vec<String>,
    /// What stands before the number in a data line.
    #[serde(default = "marker")]
    pub marker: String,
}

fn marker() -> String {
    crate::payload::MARKER.to_owned()
}

/// How one publishes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The path.
    pub path: String,
    /// Whether at the `{control}` port, not at `{port}`.
    #[serde(default)]
    pub control: bool,
    /// Header lines.
    #[serde(default)]
    pub headers: Vec<String>,
    /// The body.
    #[serde(default = "payload")]
    pub body: String,
    /// How `{signature}` is made.
    #[serde(default)]
    pub sign: Sign,
    /// The key it is made with.
    #[serde(default)]
    pub secret: String,
}

fn payload() -> String {
    "{payload}".to_owned()
}

/// How a delivery is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// Not at all.
    #[default]
    None,
    /// `sha256=` and the HMAC-SHA256 of the body.
    Github,
}

/// What is wrong with a description.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Not TOML, or not of this form.
    #[error("{file}: {source}")]
    Form {
        /// Where it stands.
        file: String,
        /// The parser's message, with the place.
        source: Box<toml::de::Error>,
    },
    /// A variable that does not exist there.
    #[error("{file}: {place}: there is no variable {{{name}}} here; there are {known}")]
    Variable {
        /// Where it stands.
        file: String,
        /// In which key.
        place: &'static str,
        /// As written.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// Neither or both of `start` and `running`.
    #[error("{file}: it needs one of [start] and [running]")]
    Place {
        /// Where it stands.
        file: String,
    },
    /// A section that needs another key.
    #[error("{file}: {place} is empty")]
    Empty {
        /// Where it stands.
        file: String,
        /// The key.
        place: &'static str,
    },
}

impl Spec {
    /// Reads a description; `file` names it in errors.
    ///
    /// # Errors
    ///
    /// [`SpecError`], which names what is wrong.
    pub fn read(file: &str, text: &str) -> Result<Self, SpecError> {
        let spec: Spec = toml::from_str(text).map_err(|source| SpecError::Form {
            file: file.to_owned(),
            source: Box::new(source),
        })?;
        spec.check(file)?;
        Ok(spec)
    }

    /// Whether it takes part in `case`.
    #[must_use]
    pub fn takes_part(&self, case: Case) -> bool {
        self.cases.contains(&case)
    }

    fn check(&self, file: &str) -> Result<(), SpecError> {
        let owned = || file.to_owned();
        if self.start.is_some() == self.running.is_some() {
            return Err(SpecError::Place { file: owned() });
        }
        let empty = |place| {
            Err(SpecError::Empty {
                file: owned(),
                place,
            })
        };
        if self.name.is_empty() {
            return empty("name");
        }
        if self
            .start
            .as_ref()
            .is_some_and(|start| start.command.is_empty())
        {
            return empty("start.command");
        }
        if self.publish.sign == Sign::Github && self.publish.secret.is_empty() {
            return empty("publish.secret");
        }
        for (place, known, texts) in self.templates() {
            for text in texts {
                if let Some(name) = template::unknown(text, known) {
                    return Err(SpecError::Variable {
                        file: owned(),
                        place,
                        name: name.to_owned(),
                        known: known.join(", "),
                    });
                }
            }
        }
        Ok(())
    }

    fn templates(&self) -> Vec<(&'static str, &'static [&'static str], Vec<&String>)> {
        let mut all = vec![
            (
                "subscribe.path",
                template::SUBSCRIBER,
                vec![&self.subscribe.path],
            ),
            (
                "subscribe.replay",
                template::SUBSCRIBER,
                self.subscribe.replay.iter().collect(),
            ),
            (
                "subscribe.headers",
                template::SUBSCRIBER,
                self.subscribe.headers.iter().collect(),
            ),
            ("publish.path", template::EVENT, vec![&self.publish.path]),
            (
                "publish.headers",
                template::EVENT,
                self.publish.headers.iter().collect(),
            ),
            // Not publish.body: it is JSON, full of braces.
        ];
        if let Some(start) = &self.start {
            let beside = start.beside.iter().flatten();
            let words = start.command.iter().chain(beside).collect();
            all.push(("start.command", template::PLACE, words));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "x"
cases = ["live"]
[running]
address = "127.0.0.1:1"
pids = [1]
[subscribe]
path = "/events/{topic}"
[publish]
path = "/ingest/{topic}"
"#;

    #[test]
    fn a_description_with_all_it_needs_is_read() {
        let spec = Spec::read("x.toml", GOOD).expect("it is good");
        assert!(spec.takes_part(Case::Live) && !spec.takes_part(Case::Idle));
    }

    #[test]
    fn an_error_names_what_is_wrong_and_where() {
        let cases = [
            ("cases = [\"live\"]", "cases = [\"lively\"]", "lively"),
            (
                "path = \"/events/{topic}\"",
                "path = \"/{topik}\"",
                "{topik}",
            ),
            (
                "path = \"/events/{topic}\"",
                "path = \"/{topik}\"",
                "subscribe.path",
            ),
            ("pids = [1]", "pidz = [1]", "pidz"),
            ("pids = [1]", "", "pids"),
            ("name = \"x\"", "name = \"\"", "name"),
            ("127.0.0.1:1", "localhost", "address"),
            (
                "/ingest/{topic}\"",
                "/x\"\nsign = \"github\"",
                "publish.secret",
            ),
            (
                "[running]",
                "[start]\ncommand=[\"x\"]\nready=\"/\"\n[running]",
                "[start]",
            ),
            ("name = \"x\"", "name = x", "x.toml"),
        ];
        for (written, instead, expect) in cases {
            let text = GOOD.replace(written, instead);
            assert_ne!(text, GOOD, "{written} stands there");
            let error = Spec::read("x.toml", &text).expect_err("it is wrong");
            assert!(error.to_string().contains(expect), "{expect} in {error}");
            assert!(error.to_string().contains("x.toml"), "{error}");
        }
    }
}
