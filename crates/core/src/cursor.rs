//! Where a subscriber is: `<epoch>-<sequence>`, the SSE id.
//!
//! Strict: what is not of this form is refused, so that nothing a client sends
//! as its last id can reach a parser further in. Invariant: an [`Epoch`] is 1 to
//! 16 characters of `a–z0–9`.

use std::{fmt, str::FromStr};

/// Position in the journal. The first event has 1; 0 is before everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The position before the first event.
    pub const ZERO: Self = Self(0);

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before this one; zero stays zero.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A short random name given to a journal when it is created.
///
/// 1 to 16 characters of `a–z0–9`. It tells a cursor of this journal from one of
/// a journal that was in its place before.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch {
    bytes: [u8; Self::BYTES_MAX],
    len: u8,
}

/// Why a text is not an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is 1 to 16 characters of a-z and 0-9")]
pub struct EpochError;

impl Epoch {
    /// The longest epoch.
    pub const BYTES_MAX: usize = 16;
    /// The length of a generated epoch: 36⁸ names.
    const GENERATED_BYTES: usize = 8;

    /// Makes an epoch out of random bytes.
    #[must_use]
    pub fn from_entropy(random: [u8; 8]) -> Self {
        const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut rest = u64::from_le_bytes(random);
        let mut bytes = [0; Self::BYTES_MAX];
        for byte in &mut bytes[..Self::GENERATED_BYTES] {
            *byte = DIGITS[(rest % 36) as usize];
            rest /= 36;
        }
        let epoch = Self {
            bytes,
            len: Self::GENERATED_BYTES as u8,
        };
        debug_assert_eq!(epoch.as_str().parse(), Ok(epoch));
        epoch
    }

    /// The epoch as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = &self.bytes[..usize::from(self.len)];
        std::str::from_utf8(bytes).expect("an epoch is ASCII")
    }
}

impl FromStr for Epoch {
    type Err = EpochError;

    fn from_str(text: &str) -> Result<Self, EpochError> {
        let well_formed = (1..=Self::BYTES_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !well_formed {
            return Err(EpochError);
        }
        let mut bytes = [0; Self::BYTES_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self {
            bytes,
            len: text.len() as u8,
        })
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({})", self.as_str())
    }
}

/// A position in one particular journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Which journal.
    pub epoch: Epoch,
    /// Where in it.
    pub sequence: Sequence,
}

/// Why a text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is <epoch>-<sequence>, such as k3f9x2ab-1042")]
pub struct CursorError;

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (epoch, digits) = text.split_once('-').ok_or(CursorError)?;
        // `u64::from_str` takes a leading `+`, which no cursor has.
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CursorError);
        }
        Ok(Self {
            epoch: epoch.parse().map_err(|_| CursorError)?,
            sequence: Sequence(digits.parse().map_err(|_| CursorError)?),
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_written() {
        for text in [
            "a-0",
            "k3f9x2ab-1042",
            "0123456789abcdef-18446744073709551615",
        ] {
            let cursor: Cursor = text.parse().unwrap();
            assert_eq!(cursor.to_string(), text);
        }
    }

    #[test]
    fn a_text_that_is_not_a_cursor_is_refused() {
        for text in [
            "",
            "-",
            "a-",
            "-1",
            "a1",
            "A-1",
            "a-1 ",
            "a-+1",
            "a--1",
            "a-1\n",
            "é-1",
            "01234567890abcdef-1",
            "a-18446744073709551616",
            "a-123456789012345678901234567890",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text:?}");
        }
    }

    #[test]
    fn a_generated_epoch_is_an_epoch() {
        for random in [[0; 8], [255; 8], *b"entropy!"] {
            let epoch = Epoch::from_entropy(random);
            assert_eq!(epoch.as_str().parse(), Ok(epoch));
            assert_eq!(epoch.as_str().len(), 8);
        }
    }
}
