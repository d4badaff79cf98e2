//! No file of a crate leads back to itself by what it imports.
//!
//! A file and those of its own child modules may use each other.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
};

use super::{crates, imports::Imports, modules::Modules, room};

/// Rooms that still have circles. This list only ever gets shorter: a room
/// whose last circle is opened has to be taken off.
const STILL_WITH_CIRCLES: &[&str] = &[];

/// Files each of which leads to each, and one way around.
struct Circle {
    files: BTreeSet<PathBuf>,
    way: Vec<PathBuf>,
}

/// All circles among these imports.
fn circles(imports: &Imports) -> Vec<Circle> {
    let mut circles: Vec<Circle> = Vec::new();
    for start in imports.keys() {
        if circles.iter().any(|circle| circle.files.contains(start)) {
            continue;
        }
        if let Some(way) = way_around(imports, start) {
            let reached = reached(imports, start);
            let files = reached.into_iter();
            let files = files.filter(|file| self::reached(imports, file).contains(start));
            circles.push(Circle {
                files: files.collect(),
                way,
            });
        }
    }
    circles
}

/// All files that this one leads to.
fn reached(imports: &Imports, start: &Path) -> BTreeSet<PathBuf> {
    let mut reached = BTreeSet::new();
    let mut left = vec![start.to_owned()];
    while let Some(file) = left.pop() {
        for used in imports.get(&file).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(used.clone()) {
                left.push(used.clone());
            }
        }
    }
    reached
}

/// The shortest way from a file back to it.
fn way_around(imports: &Imports, start: &Path) -> Option<Vec<PathBuf>> {
    let mut ways = VecDeque::from([vec![start.to_owned()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let last = way.last().expect("a way begins somewhere");
        for used in imports.get(last).into_iter().flat_map(BTreeMap::keys) {
            let further = [&way[..], std::slice::from_ref(used)].concat();
            if used == start {
                return Some(further);
            }
            if seen.insert(used.clone()) {
                ways.push_back(further);
            }
        }
    }
    None
}

/// The way around, with what is used at each step, and all that are part of it.
fn describe(imports: &Imports, circle: &Circle) -> String {
    let mut text = circle.way[0].display().to_string();
    for step in circle.way.windows(2) {
        let names: Vec<_> = imports[&step[0]][&step[1]].iter().cloned().collect();
        text += &format!("\n  uses {} of {}", names.join(", "), step[1].display());
    }
    format!("{text}\n  among {:?}", circle.files)
}

#[test]
fn no_file_leads_back_to_itself() {
    let mut unseen: BTreeSet<_> = STILL_WITH_CIRCLES.iter().copied().collect();
    let mut found = Vec::new();
    for modules in crates() {
        let imports = modules.imports();
        for circle in circles(&imports) {
            let room = room(&circle.way[0]);
            if STILL_WITH_CIRCLES.contains(&&*room) {
                unseen.remove(&*room);
            } else {
                found.push(describe(&imports, &circle));
            }
        }
    }
    assert!(
        found.is_empty(),
        "circles of imports:\n{}",
        found.join("\n")
    );
    assert!(unseen.is_empty(), "there is no circle any more: {unseen:?}");
}

/// Circles in a made-up crate, each as its way around.
fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    let read = |path: &Path| {
        let mut files = files.iter();
        let found = files.find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| (*text).to_owned())
    };
    let imports = Modules::read(Path::new("lib.rs"), &read).imports();
    let circles = circles(&imports).into_iter();
    let ways = circles.map(|circle| {
        let steps = circle.way.iter().map(|file| file.display().to_string());
        steps.collect::<Vec<_>>().join(" ")
    });
    ways.collect()
}

#[test]
fn a_circle_of_three_is_found_however_its_imports_are_written() {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        (
            "a.rs",
            "use crate::{b::{self, deep::{Other, One as Two}}}; fn f(_: b::B) {}",
        ),
        (
            "b.rs",
            "pub mod deep { pub struct One; pub struct Other; } pub struct B; \
                  fn f() { let x = super::c::C::new(); }",
        ),
        (
            "c.rs",
            "pub struct C; fn f() { assert!(matches!(x, crate::a::f(_)), \"{}\", 1) }",
        ),
        ("d.rs", "use super::a::f;"),
    ]);
    assert_eq!(found, ["a.rs b.rs c.rs a.rs"]);
}

#[test]
fn a_parent_and_its_own_child_may_use_each_other_and_cousins_may_not() {
    let found = circles_of(&[
        ("lib.rs", "mod room; mod shed;"),
        (
            "room/mod.rs",
            "mod child; pub struct Parent; use child::Child;",
        ),
        (
            "room/child.rs",
            "use super::Parent; pub struct Child; use crate::shed::tool::Tool;",
        ),
        ("shed.rs", "pub mod tool;"),
        (
            "shed/tool.rs",
            "pub struct Tool; fn f() -> crate::room::child::Child {}",
        ),
    ]);
    assert_eq!(found, ["room/child.rs shed/tool.rs room/child.rs"]);
}

#[test]
fn a_re_export_leads_to_the_file_that_defines_it() {
    let files = [
        ("lib.rs", "mod room;"),
        (
            "room/mod.rs",
            "mod a; mod b; mod list; pub use a::A; use list::*;",
        ),
        ("room/a.rs", "use super::B; pub struct A;"),
        ("room/b.rs", "use super::A; pub struct B;"),
        ("room/list.rs", "pub use super::b::B;"),
    ];
    assert_eq!(circles_of(&files), ["room/a.rs room/b.rs room/a.rs"]);
}

#[test]
fn a_glob_leads_to_what_is_used_of_it() {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::*; use crate::c::*; fn f(_: B) {}"),
        ("b.rs", "pub struct B; use crate::a::f;"),
        ("c.rs", "pub struct C; use crate::a::f;"),
    ]);
    assert_eq!(found, ["a.rs b.rs a.rs"]);
}

#[test]
fn test_code_and_visibility_lead_nowhere() {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "pub struct A; #[cfg(test)] mod tests { use crate::b::B; } \
                  #[cfg(all(test, unix))] use crate::b::B; #[test] fn t() { crate::b::f() } \
                  struct S { pub(in crate::b) f: u8 }",
        ),
        ("b.rs", "use crate::a::A; pub struct B; pub fn f() {}"),
    ]);
    assert_eq!(found, [""; 0]);
    let compiled = circles_of(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub struct A; #[cfg(not(test))] use crate::b::B;"),
        ("b.rs", "use crate::a::A; pub struct B;"),
    ]);
    assert_eq!(compiled, ["a.rs b.rs a.rs"]);
}

#[test]
fn the_roots_of_all_crates_are_read() {
    let roots: BTreeSet<_> = crates().map(|modules| modules.0[0].file.clone()).collect();
    for root in [
        "src/lib.rs",
        "src/main.rs",
        "crates/core/src/lib.rs",
        "bench/src/lib.rs",
    ] {
        assert!(roots.contains(Path::new(root)), "{roots:?}");
    }
}
