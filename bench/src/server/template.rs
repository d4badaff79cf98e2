//! Variables in braces: `{topic}`.
//!
//! Only names that exist are replaced; other braces stay, for configuration
//! files are full of them.

/// Where a server is.
pub(super) const PLACE: &[&str] = &[
    "dir", "port", "control", "origin", "self", "hookrill", "peers",
];
/// Who subscribes.
pub(super) const SUBSCRIBER: &[&str] = &["topic", "token", "subscriber"];
/// What is published.
pub(super) const EVENT: &[&str] = &["topic", "number", "signature"];

/// Replaces each `{name}` by its value.
pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        filled.push_str(before);
        let value = behind.split_once('}').and_then(|(name, after)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((value, after))
        });
        match value {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = behind;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// The first `{name}` that is none of `known`.
pub(super) fn unknown<'t>(text: &'t str, known: &[&str]) -> Option<&'t str> {
    let names = text.split('{').skip(1);
    let names = names.filter_map(|behind| Some(behind.split_once('}')?.0));
    let mut names = names.filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    names.find(|name| !name.is_empty() && !known.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_other_braces_stay() {
        let values = [("port", "80"), ("dir", "/x{port}")];
        let filled = fill("http { listen {port}; root {dir}; {other} } {", &values);
        assert_eq!(filled, "http { listen 80; root /x{port}; {other} } {");
    }

    #[test]
    fn the_first_unknown_variable_is_named() {
        assert_eq!(unknown("/{topic}/{topik}", &["topic"]), Some("topik"));
        assert_eq!(unknown("/{topic}/{}/{ x }", &["topic"]), None);
    }
}
