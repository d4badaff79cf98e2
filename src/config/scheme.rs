//! Reads a scheme of one's own from the tree.
//!
//! The scheme language is `hookrill_verify`'s, defined by its serde types, and
//! serde stops at the first error. So this reads a scheme again and again, each
//! time without what was bad in it, until nothing new is found.
//! Invariant: what is left out has a diagnostic, so that no gateway starts with the rest.

use serde::de::DeserializeOwned;

use super::{
    deserialize::{Finding, Findings},
    diagnostic::{Diagnostics, KeyPath, Location},
    environment::parse_index,
    tree::{Node, TreeValue},
};

/// How often a scheme is read, which bounds the work that a file can cause: a value
/// that is bad takes a reading, and so does what can't be made without it.
const READINGS_MAX: usize = 200;

/// Deserializes a node into any serde type; reports all that is wrong with it. Keys that
/// there are not are left out of what is returned: what else is missing can be told.
pub(super) fn read<T: DeserializeOwned>(
    mut node: Node,
    path: &KeyPath,
    diagnostics: &Diagnostics,
) -> Option<T> {
    let mut is_good = true;
    for _ in 0..READINGS_MAX {
        let reading = Findings::default();
        let value = reading.deserialize::<T>(node.clone(), path).ok();
        let findings = reading.into_list();
        is_good &= findings
            .iter()
            .all(|finding| finding.is_unknown_key || finding.message.is_none());
        for finding in &findings {
            report(finding, diagnostics);
            leave_out(&mut node, path, &finding.leave_out);
        }
        if value.is_some() {
            return value.filter(|_| is_good);
        }
        debug_assert!(!findings.is_empty(), "what fails has a finding");
        if matches!(node.value, TreeValue::Invalid) {
            return None;
        }
    }
    let message = "there are more mistakes here; correct those that are listed first";
    diagnostics.report(path, &node.location, message);
    None
}

fn report(finding: &Finding, diagnostics: &Diagnostics) {
    if let Some(message) = &finding.message {
        diagnostics.report(&finding.path, &finding.location, message.clone());
    }
}

/// Makes invalid what is at `target`, so that the next reading skips it.
fn leave_out(node: &mut Node, path: &KeyPath, target: &KeyPath) {
    if path == target {
        node.value = TreeValue::Invalid;
        return;
    }
    let below: Vec<(KeyPath, &mut Node)> = match &mut node.value {
        TreeValue::Table(table) => {
            let children = table.iter_mut().map(|(key, child)| {
                // The environment spells lists as sections.
                let item = parse_index(key).map(|index| path.item(index));
                let item = item.filter(|item| item.includes(target));
                (item.unwrap_or_else(|| path.key(key)), child)
            });
            children.collect()
        }
        TreeValue::List(items) => {
            let children = items.iter_mut().enumerate();
            children
                .map(|(index, child)| (path.item(index), child))
                .collect()
        }
        _ => return,
    };
    for (path_below, child) in below {
        if path_below.includes(target) {
            leave_out(child, &path_below, target);
        }
    }
}

/// A step down in a scheme.
#[derive(Debug, Clone, Copy)]
pub(super) enum SchemeStep {
    Key(&'static str),
    Item(usize),
}

/// The path of a key in a scheme as it was written, and where the key is written, or
/// what is nearest above it.
pub(super) fn place(node: &Node, path: &KeyPath, steps: &[SchemeStep]) -> (KeyPath, Location) {
    let mut whole = path.clone();
    let mut found = Some(node);
    let mut location = &node.location;
    for step in steps {
        let key = match step {
            SchemeStep::Key(key) => {
                whole = whole.key(key);
                (*key).to_owned()
            }
            SchemeStep::Item(index) => {
                whole = whole.item(*index);
                index.to_string()
            }
        };
        found = found.and_then(|above| match (&above.value, step) {
            (TreeValue::List(items), SchemeStep::Item(index)) => items.get(*index),
            // The environment spells lists as sections.
            _ => above.get(&key),
        });
        location = found.map_or(location, |below| &below.location);
    }
    (whole, location.clone())
}
