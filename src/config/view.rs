//! The keys of a topic's section that say what subscribers are shown.
//!
//! Refuses a configuration that shows more than it seems to: a hidden event
//! type, which would still be sent as the event's name, and two headers that
//! would become one attribute.

use hookrill_core::{FormReader, Pointer};

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

/// Reads `event_names`, `expose`, `hide` and `headers`. `type_pointers` are the
/// places in the body that the event's type is read from; `forms` reads forms.
pub(super) fn view(
    section: &mut Section<'_>,
    type_pointers: &[Pointer],
    forms: Option<FormReader>,
) -> View {
    let event_names = section.value("event_names", values::boolean);
    let before = section.diagnostics.len();
    let expose = pointers(section, "expose");
    let hide = pointers(section, "hide");
    let is_complete = section.diagnostics.len() == before;
    if let (Some(expose), Some(hide)) = (&expose, &hide) {
        warn_of_overlap(section, expose, hide);
    }
    let values = |list: Vec<Located<Pointer>>| list.into_iter().map(|item| item.value).collect();
    let projection = match (expose.map(values), hide.map(values)) {
        (None, None) => None,
        (expose, hide) => Some(Projection::new(expose, hide.unwrap_or_default())),
    };
    // A pointer that was left out for a mistake would look hidden.
    if let Some(projection) = projection.as_ref().filter(|_| is_complete) {
        check_type_is_shown(section, projection, type_pointers);
    }
    View {
        event_names: event_names.unwrap_or(false),
        projection,
        forms,
        headers: headers(section).into(),
        source: None,
    }
}

fn check_type_is_shown(section: &Section<'_>, projection: &Projection, type_pointers: &[Pointer]) {
    let mut hidden = type_pointers
        .iter()
        .filter(|type_| !projection.shows(type_));
    let Some(hidden) = hidden.next() else {
        return;
    };
    let key = if section.has_taken("expose") {
        "expose"
    } else {
        "hide"
    };
    section.report(
        key,
        format!(
            "the event's type is read from {hidden}, so it would be sent with every event \
             although it is hidden; show it, or read the type from somewhere else"
        ),
    );
}

/// Warns of pointers that have no effect next to the others: `hide` wins.
fn warn_of_overlap(section: &Section<'_>, expose: &[Located<Pointer>], hide: &[Located<Pointer>]) {
    let covers = |above: &Located<Pointer>, below: &Located<Pointer>| {
        below.value.steps().starts_with(above.value.steps())
    };
    for shown in expose {
        if let Some(hidden) = hide.iter().find(|hidden| covers(hidden, shown)) {
            let message = format!("has no effect, since `hide` has {}", hidden.value);
            shown.warn(section.diagnostics, message);
        }
    }
    for hidden in hide {
        let is_shown = |shown| covers(shown, hidden) || covers(hidden, shown);
        if !expose.iter().any(is_shown) {
            hidden.warn(
                section.diagnostics,
                "has no effect, since `expose` does not have it",
            );
        }
    }
}

fn pointers(section: &mut Section<'_>, key: &'static str) -> Option<Vec<Located<Pointer>>> {
    let list = section.list(key, values::pointer)?;
    if list.value.len() > POINTERS_MAX {
        let message = format!("must be at most {POINTERS_MAX} pointers");
        list.report(section.diagnostics, message);
    }
    Some(list.value)
}

fn headers(section: &mut Section<'_>) -> Vec<ShownHeader> {
    let Some(list) = section.list("headers", values::header_shown) else {
        return Vec::new();
    };
    if list.value.len() > HEADERS_MAX {
        let message = format!("must be at most {HEADERS_MAX} headers");
        list.report(section.diagnostics, message);
    }
    let mut headers: Vec<ShownHeader> = Vec::new();
    for header in list.value {
        match mistake(&header.value, &headers) {
            Some(message) => header.report(section.diagnostics, message),
            None => headers.push(header.value),
        }
    }
    headers
}

/// What is wrong with showing this header next to the others.
fn mistake(header: &ShownHeader, others: &[ShownHeader]) -> Option<String> {
    if !ingest::keeps_header(header.name()) {
        let message = "a header with such a name may contain a secret, and is never stored";
        return Some(message.to_owned());
    }
    let mut same = others
        .iter()
        .filter(|other| other.attribute() == header.attribute());
    let other = same.next()?;
    Some(format!(
        "its attribute would be `{}`, which is that of {} already",
        header.attribute(),
        other.name()
    ))
}
