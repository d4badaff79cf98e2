//! The lines of a TOML file that can be read next to one that can't.
//!
//! The parser goes on behind a value that is none. At a line without a `=` it stops, and
//! what is below half a header it takes for a part of something else: such lines are made
//! blank here, and all is parsed again. Every offset stays what it is.

use toml::de::{DeTable, Error};

/// How many lines are made blank, which bounds the work that a file can cause.
const BLANKED_MAX: usize = 64;

/// The text without the lines that the parser can't get over, and what it says of them.
pub(super) fn readable(text: &str) -> (String, Vec<Error>) {
    let (mut readable, mut errors) = (text.to_owned(), Vec::new());
    for _ in 0..BLANKED_MAX {
        let (_, found) = DeTable::parse_recoverable(&readable);
        let Some(stop) = found.into_iter().find(is_stop) else {
            break;
        };
        let at = stop.span().map_or(0, |span| span.start);
        errors.push(stop);
        if !blank(&mut readable, at) {
            break;
        }
    }
    (readable, errors)
}

fn is_stop(error: &Error) -> bool {
    const STOPS: [&str; 3] = [
        "key with no value",
        "unclosed table",
        "unclosed array table",
    ];
    STOPS.iter().any(|stop| error.message().starts_with(stop))
}

/// Makes the line at `at` blank, and what is below it if it was meant as the header of a
/// section; returns whether anything was there.
fn blank(text: &mut String, at: usize) -> bool {
    let start = text.get(..at).and_then(|before| before.rfind('\n'));
    let start = start.map_or(0, |line_end| line_end + 1);
    let Some(rest) = text.get(start..) else {
        return false;
    };
    let mut lines = rest.split_inclusive('\n');
    let line = lines.next().unwrap_or_default();
    let begins_section = |any: &str| any.trim_start().starts_with('[');
    let is_header =
        begins_section(line) || (!line.contains('=') && line.trim_end().ends_with([']', ':']));
    let below = lines.take_while(|next| is_header && !begins_section(next));
    let len = line.len() + below.map(str::len).sum::<usize>();
    let blanks: String = rest[..len]
        .bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect();
    let has_changed = blanks != rest[..len];
    text.replace_range(start..start + len, &blanks);
    has_changed
}
