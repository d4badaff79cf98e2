//! The command line of the benchmark.
//!
//! Exit status: 0 where every delivery was right, 1 where one was wrong or a
//! measure of Hookrill broke off, 2 for wrong usage. A slow figure fails nothing.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::{Parser, Subcommand, ValueEnum as _};
use hookrill_bench::{
    case::{self, Scale, Size},
    machine::{self, Cores},
    peer::Peer,
    report::{self, Row, Run},
    server::{self, Case, Places, Spec},
};

/// Files that the generator opens beside its connections.
const FILES_BESIDE: u64 = 200;

/// Measures Hookrill against its neighbours on this machine
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measures, prints a table, and judges Hookrill's targets
    All(All),
    /// Says which servers are here, and how to get the others
    Servers(Servers),
    /// Runs one of the peers that come along
    #[command(subcommand, hide = true)]
    Peer(Peer),
}

#[derive(clap::Args)]
struct Servers {
    /// Adds a server, described in TOML; may be repeated
    #[arg(long = "server", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Hookrill's program, instead of building it
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

#[derive(clap::Args)]
struct All {
    #[command(flatten)]
    from: Servers,

    /// Small counts and short times: to see whether it works
    #[arg(long)]
    quick: bool,

    /// Writes all figures there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Only these cases
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    only: Vec<Case>,

    /// Only these servers
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    servers: Vec<String>,

    /// How long events are offered in each case
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    let run = match Arguments::parse().command {
        Task::All(all) => all.run(),
        Task::Servers(servers) => servers.run().map(|()| true),
        Task::Peer(peer) => peer.run().map(|()| true).map_err(Into::into),
    };
    match run {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            talk(format_args!("hookrill-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl All {
    /// Whether every delivery was right.
    fn run(&self) -> anyhow::Result<bool> {
        let files_max = machine::raise_file_limit();
        let places = places(self.from.binary.as_deref())?;
        let specs = self.chosen()?;
        if let Some(cores) = places.cores {
            cores.take_generator().context("the generator's core")?;
        }
        let size = self.size(files_max);
        let (mut rows, mut left_out) = (Vec::new(), Vec::new());
        let mut unbroken = true;
        for case in self.cases() {
            for spec in specs.iter().filter(|spec| spec.takes_part(case)) {
                let missing = server::missing(spec, &places);
                if !missing.is_empty() {
                    leave_out(&mut left_out, spec, &missing);
                    continue;
                }
                talk(format_args!("{case:?}: {}", spec.name));
                match case::measure(case, spec, &places, &size) {
                    Ok(measured) => rows.extend(measured),
                    Err(error) => {
                        talk(format_args!("{case:?}: {}: {error:#}", spec.name));
                        // A peer that breaks is a figure less; of Hookrill
                        // nothing is known then.
                        unbroken &= spec.name != report::SUBJECT;
                        let why = format!("{case:?} broke off: {}", error.root_cause());
                        left_out.push((spec.name.clone(), why));
                    }
                }
            }
        }
        self.report(&rows, &left_out)?;
        Ok(unbroken && !rows.iter().any(Row::is_wrong))
    }

    fn report(&self, rows: &[Row], left_out: &[(String, String)]) -> anyhow::Result<()> {
        let verdicts = report::judge(rows);
        let machine = machine::description();
        let mut out = io::stdout().lock();
        writeln!(out, "{machine}\n")?;
        report::print(&mut out, rows, &verdicts)?;
        for (server, why) in left_out {
            writeln!(out, "left out: {server}: {why}")?;
        }
        let Some(file) = &self.json else {
            return Ok(());
        };
        let run = Run {
            machine: &machine,
            rows,
            verdicts: &verdicts,
            left_out,
        };
        let json = serde_json::to_string_pretty(&run)?;
        fs::write(file, json + "\n").with_context(|| file.display().to_string())
    }

    fn chosen(&self) -> anyhow::Result<Vec<Spec>> {
        let mut specs = specs(&self.from.files)?;
        for name in &self.servers {
            let known: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
            ensure!(
                known.contains(&name.as_str()),
                "there is no server {name}; there are {}",
                known.join(", ")
            );
        }
        specs.retain(|spec| self.servers.is_empty() || self.servers.contains(&spec.name));
        Ok(specs)
    }

    fn cases(&self) -> Vec<Case> {
        if self.only.is_empty() {
            Case::value_variants().to_vec()
        } else {
            self.only.clone()
        }
    }

    fn size(&self, files_max: u64) -> Size {
        let seconds = self.seconds.unwrap_or(if self.quick { 1 } else { 5 });
        let subscribers_max = files_max.saturating_sub(FILES_BESIDE);
        Size {
            scale: if self.quick {
                Scale::Quick
            } else {
                Scale::Whole
            },
            time: Duration::from_secs(seconds),
            subscribers_max: usize::try_from(subscribers_max).unwrap_or(usize::MAX),
            examples: Some(sources().join("../tests/ecosystem/real_input/node_modules/@octokit")),
        }
    }
}

impl Servers {
    fn run(&self) -> anyhow::Result<()> {
        let places = Places {
            bench: PathBuf::new(),
            hookrill: PathBuf::new(),
            peers: sources().join("peers"),
            cores: None,
        };
        let mut out = io::stdout().lock();
        for spec in specs(&self.files)? {
            let missing = server::missing(&spec, &places);
            if missing.is_empty() {
                writeln!(out, "{:<12} is here", spec.name)?;
            } else {
                let (names, install) = (missing.join(", "), &spec.install);
                writeln!(out, "{:<12} lacks {names}: {install}", spec.name)?;
            }
        }
        Ok(())
    }
}

fn leave_out(left_out: &mut Vec<(String, String)>, spec: &Spec, missing: &[String]) {
    let why = format!("{} is missing: {}", missing.join(", "), spec.install);
    let entry = (spec.name.clone(), why);
    if !left_out.contains(&entry) {
        left_out.push(entry);
    }
}

fn specs(files: &[PathBuf]) -> anyhow::Result<Vec<Spec>> {
    let mut specs = server::built_in()?;
    for file in files {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).with_context(|| name.clone())?;
        specs.push(Spec::read(&name, &text)?);
    }
    Ok(specs)
}

fn places(binary: Option<&Path>) -> anyhow::Result<Places> {
    let bench = std::env::current_exe().context("this program's own path")?;
    let hookrill = match binary {
        Some(path) => path
            .canonicalize()
            .with_context(|| path.display().to_string())?,
        None => build_hookrill(&bench)?,
    };
    let cores = Cores::choose();
    if cores.is_none() {
        talk(format_args!("one core only: server and generator share it"));
    }
    Ok(Places {
        hookrill,
        peers: sources().join("peers"),
        cores,
        bench,
    })
}

/// Has Cargo see whether the program beside this one is newer than its
/// sources, and build it where it is not.
fn build_hookrill(bench: &Path) -> anyhow::Result<PathBuf> {
    let root = sources().join("..");
    let built = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--bin", "hookrill"])
        .current_dir(&root)
        .status();
    let hookrill = bench.with_file_name("hookrill");
    match built {
        Ok(status) => ensure!(status.success(), "hookrill does not build"),
        Err(error) => talk(format_args!("cargo: {error}; taking what is there")),
    }
    ensure!(hookrill.exists(), "{} is missing", hookrill.display());
    Ok(hookrill)
}

/// This package's folder: the peers' sources are not compiled in.
fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn talk(text: std::fmt::Arguments<'_>) {
    // Nothing is left to do where even this can't be said.
    let _ = writeln!(io::stderr(), "{text}");
}
