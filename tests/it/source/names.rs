//! One word, one meaning: no type's name stands in two rooms.
//!
//! `Settings`, `Args` and errors may: what they are is said by their room. The
//! tests' own crate is left out, like all test code.

use std::collections::{BTreeMap, BTreeSet};

use super::{crates, room};

#[test]
fn no_type_has_the_name_of_another_rooms() {
    let mut rooms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for modules in crates() {
        let tested = modules.0.into_iter();
        for module in tested.filter(|module| room(&module.file) != "crates/testing") {
            for name in module.types {
                rooms.entry(name).or_default().insert(room(&module.file));
            }
        }
    }
    rooms.retain(|name, rooms| rooms.len() > 1 && !may_be_shared(name));
    assert!(rooms.is_empty(), "in several rooms: {rooms:#?}");
}

fn may_be_shared(name: &str) -> bool {
    name == "Settings" || name == "Args" || name.ends_with("Error")
}
