//! A walk over JSON that is known to be JSON.
//!
//! Checks nothing, and so takes one pass where a reader of values would take
//! one for each level that is cut. Refuses nothing: what is not JSON is for the
//! caller to refuse before; a walk over it ends somewhere, and never panics.

/// Goes from value to value.
pub(super) struct Walk<'t> {
    rest: &'t str,
}

impl<'t> Walk<'t> {
    /// From the beginning of `json`.
    pub(super) fn over(json: &'t str) -> Self {
        Self { rest: json }
    }

    /// The next byte that is no white space, which is then the next.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest.as_bytes().first().copied()
    }

    /// Goes past the next byte that is no white space: a bracket, a colon or a
    /// comma.
    pub(super) fn pass(&mut self) {
        self.peek();
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    /// Whether another item stands before the end of what `close` closes; goes
    /// to it, or past that end.
    pub(super) fn more(&mut self, close: u8) -> bool {
        if self.peek() == Some(b',') {
            self.pass();
        }
        match self.peek() {
            None => false,
            Some(byte) if byte == close => {
                self.pass();
                false
            }
            Some(_) => true,
        }
    }

    /// Goes past the next value, and gives its text.
    pub(super) fn value(&mut self) -> &'t str {
        self.peek();
        // It ends before or behind a byte of ASCII, so within no character; and
        // not where it begins, so that a walk comes to its end.
        let end = end_of_value(self.rest.as_bytes()).max(1);
        let (value, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        value
    }
}

/// How many bytes the value has that `json` begins with.
fn end_of_value(json: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => at += end_of_string(&json[at..]),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            // Those of what a number or a word stands in are not its own.
            b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

/// How many bytes the string has that `json` begins with, quotes included.
fn end_of_string(json: &[u8]) -> usize {
    let mut at = 1;
    loop {
        match json.get(at) {
            None => return json.len(),
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn a_walk_goes_from_item_to_item() {
        let mut walk = Walk::over(r#" [ 1.0e+2 , "a]\\\"," ,{"b":[{}]},true,[ ] ] 7"#);
        walk.pass();
        let items = std::iter::from_fn(|| walk.more(b']').then(|| walk.value()));
        assert_eq!(
            items.collect::<Vec<_>>(),
            ["1.0e+2", r#""a]\\\",""#, r#"{"b":[{}]}"#, "true", "[ ]"]
        );
        assert_eq!(
            (walk.peek(), walk.value(), walk.peek()),
            (Some(b'7'), "7", None)
        );
    }

    proptest! {
        #[test]
        fn a_value_is_what_a_parser_takes(json in r#"([\[\]{}:, 0-9a\\"é]|"a":|\[1,|\[\]){1,12}"#) {
            if let Ok(value) = serde_json::from_str::<&RawValue>(&json) {
                prop_assert_eq!(Walk::over(&json).value(), value.get());
            }
        }

        #[test]
        fn what_is_not_json_comes_to_an_end_as_well(text in r#"[\[\]{}:, \\"1é]{0,20}"#) {
            let mut walk = Walk::over(&text);
            let values = (0..=text.len()).take_while(|_| walk.more(b']') && walk.value() != "");
            prop_assert!(values.count() <= text.len());
        }
    }
}
