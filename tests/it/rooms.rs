//! Holds the table of rooms: who may use whom, and who must not touch what.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::source::{package_folders, root};

/// A room, the rooms it may use, and the words that must not stand in it.
struct Room {
    name: &'static str,
    uses: &'static [&'static str],
    avoids: &'static [&'static str],
}

/// From the ground up, as `src/lib.rs` lists them.
const ROOMS: &[Room] = &[
    Room {
        name: "durable",
        uses: &[],
        avoids: &["axum", "tokio", "SystemTime", "env::"],
    },
    Room {
        name: "telemetry",
        uses: &[],
        avoids: &["axum", "SystemTime", "env::"],
    },
    Room {
        name: "wire",
        uses: &[],
        avoids: &["axum", "tokio", "SystemTime", "env::", "Instant::now"],
    },
    Room {
        name: "rate",
        uses: &[],
        avoids: &["axum", "tokio", "SystemTime", "env::", "Instant::now"],
    },
    Room {
        name: "access",
        uses: &[],
        avoids: &["axum", "tokio", "SystemTime", "env::", "Instant::now"],
    },
    Room {
        // Apart from `access`, which must stay free of sockets and clocks: it
        // is given keys, and this fetches them.
        name: "identity",
        uses: &["access", "telemetry"],
        avoids: &["axum", "SystemTime", "env::"],
    },
    Room {
        name: "journal",
        uses: &["telemetry"],
        avoids: &["axum", "hub::", "SystemTime", "env::"],
    },
    Room {
        name: "ingest",
        uses: &["journal", "rate", "telemetry", "wire"],
        avoids: &["axum", "hub::", "SystemTime", "env::"],
    },
    Room {
        name: "recent",
        uses: &[],
        avoids: &["axum", "tokio", "SystemTime", "env::", "Instant::now"],
    },
    Room {
        name: "hub",
        uses: &["wire", "journal", "telemetry"],
        avoids: &["axum", "SystemTime", "env::"],
    },
    Room {
        name: "subscribe",
        uses: &["wire", "access", "journal", "hub", "telemetry"],
        avoids: &["axum", "SystemTime", "env::"],
    },
    Room {
        name: "deliver",
        uses: &["subscribe", "telemetry"],
        avoids: &["axum", "hyper", "http", "SystemTime", "env::"],
    },
    Room {
        name: "http",
        // In addition to its own: a refusal is an error of the rooms below, said in
        // HTTP, and a delivery is what `verify` is given.
        uses: &[
            "wire",
            "access",
            "identity",
            "ingest",
            "journal",
            "rate",
            "recent",
            "deliver",
            "subscribe",
            "telemetry",
        ],
        avoids: &["config", "hub::", "SystemTime", "env::"],
    },
    Room {
        name: "config",
        uses: &[
            "wire",
            "access",
            "http",
            "ingest",
            "journal",
            "rate",
            "recent",
            "subscribe",
            "telemetry",
        ],
        avoids: &["axum", "tokio", "SystemTime", "hub::"],
    },
    Room {
        name: "app",
        uses: &[
            "wire",
            "access",
            "config",
            "http",
            "hub",
            "identity",
            "ingest",
            "journal",
            "subscribe",
            "telemetry",
        ],
        avoids: &["env::"],
    },
    Room {
        name: "cli",
        uses: &["access", "app", "config", "http", "journal", "telemetry"],
        avoids: &["axum"],
    },
];

/// Rooms that all above them may use.
const FOR_ALL: &[&str] = &["durable"];

/// A crate that other programs use to speak with a gateway, and the rooms that
/// speak with one, or with a server of keys.
const CLIENT: (&str, &[&str]) = ("hookrill_client", &["identity", "cli"]);

/// What may be built or read in certain rooms only, by how that is written.
const BUILT_IN: &[(&str, &[&str])] = &[
    // `journal` reads back what was stored.
    ("= Draft {", &["ingest", "journal"]),
    ("draft.at(", &["journal"]),
    // It is stored, and shown to those who may have deliveries.
    ("original.proof", &["journal", "wire"]),
    // `subscribe` wraps what it reads from the journal.
    ("Frame::new(", &["hub", "subscribe"]),
];

#[test]
fn rooms_use_only_what_the_table_allows() {
    for room in ROOMS {
        for (path, text) in sources(room.name) {
            for used in used_rooms(&text) {
                let listed = room.uses.contains(&&*used) || FOR_ALL.contains(&&*used);
                let allowed = used == room.name || listed;
                assert!(allowed, "{} uses {used}", path.display());
            }
            for word in room.avoids {
                let found = code_lines(&text).find(|line| names(line, word));
                assert_eq!(found, None, "{} touches {word}", path.display());
            }
        }
    }
}

#[test]
fn the_client_is_used_where_the_gateway_is_a_client() {
    let (name, homes) = CLIENT;
    for room in ROOMS {
        let texts = sources(room.name);
        let using = texts
            .iter()
            .find(|(_, text)| code_lines(text).any(|line| names(line, name)));
        let path = using.map(|(path, _)| path.display().to_string());
        assert_eq!(path.is_some(), homes.contains(&room.name), "{path:?}");
    }
}

#[test]
fn the_table_goes_from_the_ground_up_as_the_map_does() {
    let names: Vec<_> = ROOMS.iter().map(|room| room.name).collect();
    let map = fs::read_to_string(folder().join("lib.rs")).unwrap();
    let listed: Vec<_> = map
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(listed, names);
    for (place, room) in ROOMS.iter().enumerate() {
        for used in room.uses {
            assert!(
                names[..place].contains(used),
                "{} is below {used}",
                room.name
            );
        }
    }
}

#[test]
fn each_thing_on_the_way_is_built_in_its_room() {
    for (built, homes) in BUILT_IN {
        let mut builders = BTreeSet::new();
        for room in ROOMS {
            for (path, text) in sources(room.name) {
                if let Some(line) = code_lines(&text).find(|line| line.contains(built)) {
                    let place = path.display();
                    assert!(homes.contains(&room.name), "{place} builds: {line}");
                    builders.insert(room.name);
                }
            }
        }
        assert!(
            builders.contains(homes[0]),
            "the table is out of date: {built}"
        );
    }
}

/// In every crate, tests included.
#[test]
fn every_file_opens_with_what_it_is() {
    for package in package_folders() {
        for path in files(&root().join(package), "src") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//! "), "{}", path.display());
            let lines = text.lines().count();
            assert!(lines <= 800, "{} has {lines} lines", path.display());
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The files of a room with their text, tests left out.
fn sources(room: &str) -> Vec<(PathBuf, String)> {
    let is_test = |path: &PathBuf| {
        let mut parts = path.iter().filter_map(|part| part.to_str());
        parts.any(|part| ["tests", "tests.rs", "contract", "contract.rs"].contains(&part))
    };
    let paths = files(&folder(), room).into_iter();
    paths
        .filter(|path| !is_test(&path.strip_prefix(folder()).unwrap().to_owned()))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            (path, code.to_owned())
        })
        .collect()
}

fn files(folder: &Path, room: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let file = folder.join(format!("{room}.rs"));
    if file.exists() {
        found.push(file);
    }
    let mut left = vec![folder.join(room)];
    while let Some(inner) = left.pop() {
        let Ok(entries) = fs::read_dir(&inner) else {
            continue;
        };
        for entry in entries.map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                left.push(entry);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                found.push(entry);
            }
        }
    }
    assert!(!found.is_empty(), "no room {room}");
    found
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// Whether a line has `word` as a name of its own or the end of one's path.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        // Of a module such as `std::env` functions are used; of another one of
        // that name, types.
        let is_end = if word.ends_with(':') {
            after.is_some_and(char::is_lowercase)
        } else {
            !joins(after)
        };
        !joins(before) && is_end && !in_string(line, at)
    })
}

fn in_string(line: &str, at: usize) -> bool {
    line[..at].matches('"').count() % 2 == 1
}

/// The rooms that stand behind `crate::`, also in braces.
fn used_rooms(text: &str) -> BTreeSet<String> {
    let code: String = code_lines(text).collect::<Vec<_>>().join("\n");
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => rooms.extend(first_name(rest)),
            Some(group) => {
                let mut depth = 1;
                let mut item = String::new();
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 || (depth == 1 && c == ',') {
                        rooms.extend(first_name(item.trim()));
                        item.clear();
                    } else {
                        item.push(c);
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
    }
    rooms
}

fn first_name(path: &str) -> Option<String> {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
    let name = &path[..end.unwrap_or(path.len())];
    (!name.is_empty()).then(|| name.to_owned())
}

#[test]
fn the_reader_of_imports_reads_them() {
    let text = "use crate::{\n    access::Grant,\n    event::{Clock, Cursor},\n    hub,\n};\n\
                use crate::journal::Journal;\n// use crate::cli;\nlet x = crate::http::Y;";
    let used: Vec<_> = used_rooms(text).into_iter().collect();
    assert_eq!(used, ["access", "event", "http", "hub", "journal"]);
    assert!(names("use axum::Router;", "axum") && !names("use taxumy;", "axum"));
    assert!(names("std::env::var(x)", "env::") && !names("super::env::{Env};", "env::"));
}
