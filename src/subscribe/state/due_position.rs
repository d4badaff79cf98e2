//! A position that is due, or none, in the eight bytes of a position.
//!
//! Each stream has one, and an `Option` would take sixteen.

use hookrill_core::Sequence;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DuePosition(u64);

impl DuePosition {
    /// No event ever has this sequence.
    pub(super) const NONE: Self = Self(u64::MAX);

    pub(super) fn at(position: Sequence) -> Self {
        debug_assert_ne!(position.0, Self::NONE.0, "sequences do not get there");
        Self(position.0)
    }

    pub(super) fn is_none(self) -> bool {
        self == Self::NONE
    }

    pub(super) fn take(&mut self) -> Option<Sequence> {
        let taken = std::mem::replace(self, Self::NONE);
        (!taken.is_none()).then_some(Sequence(taken.0))
    }
}
