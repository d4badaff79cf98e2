//! What is done with texts that others wrote, before they are shown or compared.

/// A text of at most `chars_max` characters without what a terminal would act upon:
/// control characters, and those that turn the direction of what follows, become U+FFFD.
#[must_use]
pub fn printable(text: &str, chars_max: usize) -> String {
    let shown = text.chars().take(chars_max);
    shown
        .map(|c| if acts(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Whether whatever shows it does something else than show it: a line may end there, or
/// be read from the other side (Unicode, annex 9).
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a `Content-Type` says that the body is JSON: `application/json`,
/// `text/json`, or any type with the suffix `+json` (RFC 6839, section 3.1).
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_upon_is_not_shown() {
        assert_eq!(
            printable("a\x1b[31mb\r\n", 100),
            "a\u{fffd}[31mb\u{fffd}\u{fffd}"
        );
        assert_eq!(printable("äöü", 2), "äö");
        assert_eq!(
            printable("a\u{202e}b\u{2066}\u{2028}", 9),
            "a\u{fffd}b\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn json_is_known_by_its_media_type() {
        for (content_type, expected) in [
            ("application/json", true),
            (" Application/JSON ; charset=utf-8", true),
            ("text/json", true),
            ("application/cloudevents+json", true),
            ("application/jsonl", false),
            ("text/plain; a=application/json", false),
            ("", false),
        ] {
            assert_eq!(is_json(content_type), expected, "{content_type}");
        }
    }
}
