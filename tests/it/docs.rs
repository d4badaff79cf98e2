//! What the documents show can be used as it stands: configurations load, links
//! lead somewhere, names are those of the program.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use hookrill::{
    config::{Config, ConfigError, Environment, MissingSecrets, Sources},
    telemetry::{Route, Telemetry},
};
use hookrill_core::Timestamp;

/// What the blocks take from the environment, with values that fit everywhere.
const VARIABLES: [&str; 8] = [
    "GITHUB_WEBHOOK_SECRET",
    "HOOKRILL_ADMIN_TOKEN",
    "HOOKRILL_TOKEN_SECRET",
    "ISSUER_SECRET",
    "META_VERIFY_TOKEN",
    "ORDERS_SECRET",
    "STRIPE_WEBHOOK_SECRET",
    "HOOKRILL__ACCESS__SECRET",
];
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The example of RFC 8037, appendix A.2.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
";

/// A document and its text.
struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn read(path: &str) -> Self {
        let path = root().join(path);
        let text = fs::read_to_string(&path).unwrap();
        Self { path, text }
    }

    /// The blocks in this language, each with the number of its first line.
    fn blocks(&self, language: &str) -> Vec<(usize, String)> {
        let fence = format!("```{language}");
        let mut blocks = Vec::new();
        let mut lines = (1..).zip(self.text.lines());
        while let Some((at, line)) = lines.next() {
            if line == fence {
                let inside = lines.by_ref().map(|(_, inside)| inside);
                let inside: Vec<&str> = inside.take_while(|inside| *inside != "```").collect();
                blocks.push((at, inside.join("\n") + "\n"));
            }
        }
        blocks
    }

    /// The anchors that its headings have, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.text.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|line| {
                let title = line.trim_start_matches('#').trim().to_lowercase();
                let kept = title.chars().filter_map(|c| match c {
                    ' ' => Some('-'),
                    c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                    _ => None,
                });
                kept.collect()
            })
            .collect()
    }

    /// Where its links lead that stay in the project.
    fn links(&self) -> Vec<&str> {
        let after = self.text.split("](").skip(1);
        let links = after.filter_map(|rest| rest.split_once(')'));
        let links = links.map(|(link, _)| link);
        links
            .filter(|link| !link.contains("://") && !link.contains(char::is_whitespace))
            .collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Those that people read, without the page of presets, which has a test of its
/// own.
fn pages() -> Vec<Page> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let docs = docs.filter(|path| !path.ends_with("presets.md"));
    let docs = docs.map(|path| Page::read(path.to_str().unwrap()));
    let others = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "bench/README.md",
        "deploy/README.md",
        "fuzz/README.md",
    ];
    others.map(Page::read).into_iter().chain(docs).collect()
}

fn load(toml: &str) -> Result<Config, ConfigError> {
    let environment: Environment = VARIABLES.iter().map(|name| (*name, SECRET)).collect();
    let read = |path: &Path| match path.extension().and_then(|kind| kind.to_str()) {
        Some("toml") => Ok(toml.as_bytes().to_owned()),
        Some("pem") => Ok(PUBLIC_KEY.as_bytes().to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let sources = Sources::new(&environment)
        .with_file(Path::new("hookrill.toml"))
        .with_reader(&read);
    Config::load(sources, MissingSecrets::Assume)
}

#[test]
fn every_configuration_that_is_shown_loads() {
    let mut shown = 0;
    // Blocks in the bench's are its own.
    let pages = pages().into_iter();
    for page in pages.filter(|page| !page.path.ends_with("bench/README.md")) {
        for (line, block) in page.blocks("toml") {
            let place = format!("{}:{line}", page.path.display());
            load(&block).unwrap_or_else(|error| panic!("{place}: {error}"));
            shown += 1;
        }
    }
    assert!(shown > 10, "{shown}");
}

#[test]
fn the_defaults_that_the_reference_shows_are_the_defaults() {
    let reference = Page::read("docs/configuration.md");
    let (_, defaults) = reference.blocks("toml").remove(0);
    let shown = load(&defaults).unwrap();
    let nothing = load("").unwrap();
    // The block writes even what is lowered without a warning where nobody wrote it.
    let written = "subscribers_max_is_written: true";
    let shown_text = format!("{shown:#?}").replace(written, "subscribers_max_is_written: false");
    assert_eq!(shown_text, format!("{nothing:#?}"));
}

/// Every key that the program asks for, by what its source asks.
#[test]
fn the_reference_has_every_key() {
    const ASKS: [&str; 7] = [
        ".value(",
        ".located(",
        ".list(",
        ".node(",
        ".section(",
        ".secret(",
        ".secrets(",
    ];
    let mut keys = BTreeSet::new();
    for file in ["access", "settings", "topics", "verification", "view"] {
        let source = fs::read_to_string(root().join(format!("src/config/{file}.rs"))).unwrap();
        for ask in ASKS {
            let asked = source.split(ask).skip(1);
            let asked = asked.filter_map(|rest| rest.trim_start().strip_prefix('"'));
            keys.extend(asked.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    // By a variable there.
    keys.extend(["expose", "hide"].map(str::to_owned));
    assert!(keys.len() > 45, "{keys:?}");

    let reference = Page::read("docs/configuration.md").text;
    let named: BTreeSet<_> = reference
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let missing: Vec<_> = keys
        .iter()
        .filter(|key| !named.contains(key.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The lines of the reference's blocks that set a key: section, key, line.
fn keys_shown(block: &str) -> Vec<(String, String, &str)> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in block.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.split(']').next().unwrap().to_owned();
        }
        let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") else {
            continue;
        };
        if key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            keys.push((section.clone(), key.to_owned(), line));
        }
    }
    keys
}

#[test]
fn the_keys_that_a_reload_takes_are_marked() {
    let source = fs::read_to_string(root().join("src/config/restart.rs")).unwrap();
    let literals = source.split('"').skip(1).step_by(2);
    let at_a_start: BTreeSet<_> = literals.map(str::to_owned).collect();

    let reference = Page::read("docs/configuration.md");
    let (_, gateway) = reference.blocks("toml").remove(0);
    let unmarked = keys_shown(&gateway).into_iter();
    let unmarked = unmarked.filter(|(.., line)| !line.contains('↻'));
    let unmarked: BTreeSet<_> = unmarked.map(|(s, key, _)| format!("{s}.{key}")).collect();
    assert_eq!(unmarked, at_a_start);
}

/// A bound as the reference writes it, in the smallest unit that its key can
/// tell apart.
struct Bound {
    amount: u64,
    unit: &'static str,
}

impl Bound {
    fn read(text: &str) -> Option<Self> {
        let text = text.replace(',', "");
        if let Ok(duration) = humantime::parse_duration(&text) {
            let amount = u64::try_from(duration.as_millis()).ok()?;
            return Some(Self { amount, unit: "ms" });
        }
        let size = text.parse::<bytesize::ByteSize>().ok()?;
        Some(Self {
            amount: size.as_u64(),
            unit: "",
        })
    }

    fn value(&self, amount: u64) -> String {
        match self.unit {
            "" => amount.to_string(),
            unit => format!("\"{amount}{unit}\""),
        }
    }
}

/// The bounds in a comment such as `(1s to 10m)` or `(from 1 KiB)`.
fn range(line: &str) -> Option<(Bound, Option<Bound>)> {
    let comment = line.rsplit_once('(')?.1.split(')').next()?;
    match comment.strip_prefix("from ") {
        Some(least) => Some((Bound::read(least)?, None)),
        None => {
            let (least, most) = comment.split_once(" to ")?;
            Some((Bound::read(least)?, Some(Bound::read(most)?)))
        }
    }
}

#[test]
fn the_ranges_that_the_reference_shows_are_the_ranges() {
    let reference = Page::read("docs/configuration.md");
    let blocks = reference.blocks("toml");
    let keys = blocks.iter().flat_map(|(_, block)| keys_shown(block));
    let mut seen = 0;
    for (section, key, line) in keys {
        let Some((least, most)) = range(line) else {
            continue;
        };
        let topic = "preset = \"github\"\nsecrets = [\"x\"]\naccess = \"public\"\n";
        let rest = if section.starts_with("topics.") {
            topic
        } else {
            ""
        };
        let takes = |value: String| load(&format!("[{section}]\n{rest}{key} = {value}\n")).is_ok();
        assert!(takes(least.value(least.amount)), "{line}");
        if let Some(below) = least.amount.checked_sub(1) {
            assert!(!takes(least.value(below)), "{line}");
        }
        if let Some(most) = most {
            assert!(takes(most.value(most.amount)), "{line}");
            assert!(!takes(most.value(most.amount + 1)), "{line}");
        }
        seen += 1;
    }
    assert!(seen > 14, "{seen}");
}

/// The keys and words of the scheme language, by its types.
fn scheme_words() -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for file in ["handshake", "message", "mod", "signature", "source"] {
        let path = root().join(format!("crates/verify/src/scheme/{file}.rs"));
        let source = fs::read_to_string(path).unwrap();
        for written in source.split("Deserialize)]").skip(1) {
            let upper =
                written.contains("UPPERCASE") && written.contains("pub enum HandshakeMethod");
            let body = written.split("\n}").next().unwrap();
            for line in body.lines().filter_map(|line| line.strip_prefix("    ")) {
                let name: String = line
                    .trim_start_matches("pub ")
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                let is_field = line.starts_with("pub ");
                if is_field || name.starts_with(|c: char| c.is_ascii_uppercase()) {
                    words.insert(if upper {
                        name.to_uppercase()
                    } else {
                        snake(&name)
                    });
                }
            }
        }
    }
    words
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[test]
fn the_reference_has_every_word_of_a_scheme() {
    let words = scheme_words();
    for known in [
        "hubspot_url",
        "form_sorted",
        "iso8601_utc",
        "HEAD",
        "before_verification",
    ] {
        assert!(words.contains(known), "{words:?}");
    }
    let reference = Page::read("docs/configuration.md").text;
    let (_, chapter) = reference.split_once("## A scheme of one's own").unwrap();
    let named: BTreeSet<_> = chapter
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let missing: Vec<_> = words
        .iter()
        .filter(|word| !named.contains(word.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    // And the table has no key that is none.
    let rows = chapter.lines().filter_map(|line| line.strip_prefix("| `"));
    let keys = rows.flat_map(|row| row.split(" |").next().unwrap().split(", "));
    for key in keys.map(|key| key.trim_matches('`')) {
        assert!(words.contains(key), "{key}");
    }
}

#[test]
fn every_reason_that_is_named_is_one() {
    const SAY: [&str; 7] = [
        "src/wire/gap.rs",
        "src/http/dead_peers.rs",
        "src/http/events.rs",
        "src/http/limits.rs",
        "src/ingest/error.rs",
        "src/subscribe/partial_events.rs",
        "crates/verify/src/error.rs",
    ];
    let said = SAY.map(|file| fs::read_to_string(root().join(file)).unwrap());
    let mut named = 0;
    for page in pages() {
        for rest in page.text.split("reason=\"").skip(1) {
            let reason = rest.split('"').next().unwrap();
            let literal = format!("\"{reason}\"");
            let is_said = said.iter().any(|source| source.contains(&literal));
            assert!(is_said, "{}: {reason}", page.path.display());
            named += 1;
        }
    }
    assert!(named > 2, "{named}");
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        for link in page.links() {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.path.clone(),
                path => page.path.parent().unwrap().join(path),
            };
            let place = format!("{}: {link}", page.path.display());
            assert!(target.exists(), "{place}");
            if !anchor.is_empty() {
                let anchors = Page::read(target.to_str().unwrap()).anchors();
                assert!(anchors.contains(anchor), "{place}: {anchors:?}");
            }
        }
    }
}

/// Names that begin like a metric and are none: the cookie, a program, a crate.
const OTHER_NAMES: [&str; 3] = ["hookrill_token", "hookrill_shuttle", "hookrill_client"];

#[test]
fn every_figure_that_is_named_is_one() {
    let figures = figures();
    let is_figure = |word: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"];
        let name = of_histogram.iter().find_map(|end| word.strip_suffix(end));
        figures.contains(word) || name.is_some_and(|name| figures.contains(name))
    };
    let mut named = 0;
    for page in pages() {
        let words = (page.text).split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("hookrill_") && word.len() > 9) {
            if !OTHER_NAMES.contains(&word) {
                assert!(is_figure(word), "{}: {word}", page.path.display());
                named += 1;
            }
        }
    }
    assert!(named > 5, "{named}");
}

/// Those of `/metrics`.
fn figures() -> BTreeSet<String> {
    let telemetry = Telemetry::new().unwrap();
    telemetry.section(&"github".into()).stored.increment(1);
    telemetry.responses.count(Route::of("/events"), 200);
    telemetry.started(Timestamp::from_unix_secs(1));
    telemetry.read_process_figures();
    for histogram in [
        &telemetry.commit_secs,
        &telemetry.commit_events,
        &telemetry.ingest_secs,
    ] {
        histogram.record(0.1);
    }
    let page = telemetry.render();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.map(|line| line.split(' ').next().unwrap().to_owned());
    names.collect()
}

#[test]
fn every_figure_is_explained() {
    let page = Page::read("docs/run.md");
    let figures = figures();
    assert!(figures.len() > 40, "{figures:?}");
    let missing: Vec<_> = figures
        .iter()
        .filter(|name| !page.text.contains(&format!("| `{name}")))
        .collect();
    assert!(
        missing.is_empty(),
        "not in the table of docs/run.md: {missing:?}"
    );
}
