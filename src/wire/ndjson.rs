//! Lines of newline-delimited JSON (<https://github.com/ndjson/ndjson-spec>).

use bytes::Bytes;

/// A JSON text that has no line feed, as a line.
pub(super) fn line(mut json: String) -> Bytes {
    debug_assert!(!json.contains('\n'), "it is one line");
    json.push('\n');
    with_escaped_line_ends(json).into()
}

/// The same JSON, in which nothing but `\n` ends a line for anybody: U+2028,
/// U+2029 and U+0085, which stand in strings alone, as escapes. Python's
/// `splitlines` and what is built on it cut lines there.
fn with_escaped_line_ends(json: String) -> String {
    const LINE_ENDS: [(char, &str); 3] = [
        ('\u{85}', "\\u0085"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ];
    let is_one = |c: char| LINE_ENDS.iter().any(|(end, _)| *end == c);
    if !json.contains(is_one) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 64);
    let mut rest = &*json;
    while let Some(at) = rest.find(is_one) {
        let (before, from) = rest.split_at(at);
        let mut chars = from.chars();
        let escape = chars
            .next()
            .and_then(|c| LINE_ENDS.iter().find(|(end, _)| *end == c));
        escaped.push_str(before);
        escaped.push_str(escape.map_or("", |(_, escape)| escape));
        rest = chars.as_str();
    }
    escaped.push_str(rest);
    escaped
}
