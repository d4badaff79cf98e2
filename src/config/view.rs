//! What a topic's section says about what its subscribers are shown.
//!
//! Refuses what would show more than it seems to: a hidden event type, which
//! goes out as a name; two headers that would become one.

use hookrill_core::Pointer;

use super::{
    section::{Located, Section},
    values,
};
use crate::{
    ingest,
    wire::{Projection, ShownHeader, View},
};

/// The most pointers in `expose`, and in `hide`.
const POINTERS_MAX: usize = 64;
/// The most headers.
const HEADERS_MAX: usize = 16;

/// Reads `event_names`, `expose`, `hide` and `headers`. Events have their type
/// from `type_pointers`, where they have it from the body.
pub(super) fn view(section: &mut Section<'_>, type_pointers: &[Pointer]) -> View {
    let event_names = section.value("event_names", values::boolean);
    let before = section.diagnostics.count();
    let expose = pointers(section, "expose");
    let hide = pointers(section, "hide");
    let as_written = section.diagnostics.count() == before;
    let projection = match (expose, hide) {
        (None, None) => None,
        (expose, hide) => Some(Projection::new(expose, hide.unwrap_or_default())),
    };
    // What was left out for a mistake would look like something hidden.
    if let (Some(projection), true) = (&projection, as_written) {
        let hidden = type_pointers.iter().find(|type_| !projection.shows(type_));
        if let Some(hidden) = hidden {
            let key = match section.has_taken("expose") {
                true => "expose",
                false => "hide",
            };
            let what = format!(
                "the event's type is taken from {hidden}, which would go out with every event \
                 though it is not shown; show it, or take the type from elsewhere"
            );
            section.refuse(key, what);
        }
    }
    View {
        event_names: event_names.unwrap_or(false),
        projection,
        headers: headers(section).into(),
        source: None,
    }
}

fn pointers(section: &mut Section<'_>, key: &'static str) -> Option<Vec<Pointer>> {
    let list = section.list(key, values::pointer)?;
    if list.value.len() > POINTERS_MAX {
        let what = format!("this has at most {POINTERS_MAX} pointers");
        section.diagnostics.add(&list.path, &list.location, what);
    }
    Some(list.value.into_iter().map(|item| item.value).collect())
}

fn headers(section: &mut Section<'_>) -> Vec<ShownHeader> {
    let Some(list) = section.list("headers", values::header_shown) else {
        return Vec::new();
    };
    if list.value.len() > HEADERS_MAX {
        let what = format!("this has at most {HEADERS_MAX} headers");
        section.diagnostics.add(&list.path, &list.location, what);
    }
    let mut headers: Vec<ShownHeader> = Vec::new();
    for Located {
        path,
        location,
        value,
    } in list.value
    {
        let same = |other: &&ShownHeader| other.attribute() == value.attribute();
        if !ingest::keeps_header(value.name()) {
            let what = "a header of such a name may be a secret, and is never kept";
            section.diagnostics.add(&path, &location, what);
        } else if let Some(other) = headers.iter().find(same) {
            let what = format!(
                "its attribute would be `{}`, as that of {}",
                value.attribute(),
                other.name()
            );
            section.diagnostics.add(&path, &location, what);
        } else {
            headers.push(value);
        }
    }
    headers
}
