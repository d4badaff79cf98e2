//! Where a reader of `/streams` is: `<epoch>_<20 digits>`.
//!
//! A cursor in other clothes: offsets of one journal sort as text (Durable Streams,
//! section 6), which `k3f9-9` and `k3f9-10` do not. Refuses what is neither of the two.

use std::fmt;

use hookrill_core::{Cursor, Sequence};

/// How many digits the largest position has.
const DIGITS: usize = 20;

/// A cursor, as `/streams` writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamOffset(pub(super) Cursor);

impl fmt::Display for StreamOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cursor { epoch, sequence } = self.0;
        write!(f, "{epoch}_{:0DIGITS$}", sequence.0)
    }
}

/// The position that an offset or a cursor names.
pub(super) fn parse(text: &str) -> Option<Cursor> {
    let Some((epoch, digits)) = text.split_once('_') else {
        return text.parse().ok();
    };
    let is_plain = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    let sequence = digits.parse().ok().filter(|_| is_plain)?;
    Some(Cursor {
        epoch: epoch.parse().ok()?,
        sequence: Sequence(sequence),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(sequence: u64) -> String {
        let epoch = "k3f9x2ab".parse().unwrap();
        let sequence = Sequence(sequence);
        StreamOffset(Cursor { epoch, sequence }).to_string()
    }

    #[test]
    fn offsets_sort_as_text_and_are_read_as_they_are_written() {
        let positions = [0, 1, 9, 10, 99, 12_345, u64::MAX];
        for (one, next) in positions.iter().zip(&positions[1..]) {
            assert!(offset(*one) < offset(*next), "{one} {next}");
        }
        for position in positions {
            let text = offset(position);
            assert!(!text.contains([',', '&', '=', '?', '/']));
            assert_eq!(StreamOffset(parse(&text).unwrap()).to_string(), text);
        }
        assert_eq!(offset(7), "k3f9x2ab_00000000000000000007");
    }

    #[test]
    fn a_cursor_is_an_offset_too_and_nothing_else_is() {
        assert_eq!(parse("k3f9x2ab-7"), parse(&offset(7)));
        for bad in [
            "",
            "-1",
            "0",
            "now",
            "k3f9x2ab",
            "k3f9x2ab_7",
            "k3f9x2ab_0000000000000000007",
            "k3f9x2ab_000000000000000000007",
            "k3f9x2ab_+0000000000000000007",
            "k3f9x2ab_99999999999999999999",
            "K3F9_00000000000000000007",
            "_00000000000000000007",
            "k3f9x2ab_00000000000000000007 ",
            "0,1",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
