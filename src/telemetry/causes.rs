//! Shows an error together with its causes.

use std::{error::Error, fmt};

/// The error with its causes, on one line: `a: b: c`.
pub fn with_causes(error: &dyn Error) -> impl fmt::Display {
    append_causes(error.to_string(), error.source())
}

/// The text, followed by `cause` and its own causes: `text: b: c`. Leaves out
/// what the text already contains, since some errors repeat their source.
#[must_use]
pub fn append_causes(mut text: String, mut cause: Option<&dyn Error>) -> String {
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_with_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read {name}")]
        struct Outer {
            name: &'static str,
            source: std::io::Error,
        }
        #[derive(Debug, thiserror::Error)]
        #[error("the start failed: {0}")]
        struct Repeating(#[from] Outer);
        let outer = Outer {
            name: "a",
            source: std::io::Error::other("it is gone"),
        };
        assert_eq!(with_causes(&outer).to_string(), "cannot read a: it is gone");
        let repeating = with_causes(&Repeating(outer)).to_string();
        assert_eq!(repeating, "the start failed: cannot read a: it is gone");
    }
}
