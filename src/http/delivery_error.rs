//! Why one delivery is not shown.

use hookrill_core::Cursor;

use crate::wire::Withheld;

/// Why one delivery is not shown.
pub(super) enum DeliveryError {
    /// What was asked for is no cursor.
    NoCursor,
    /// There is none at this place, or none for this token.
    Unknown(Cursor),
    /// It is an id of another journal.
    AnotherJournal(Cursor),
    /// It is deleted; what is left comes behind this place.
    Deleted { asked: Cursor, behind: Cursor },
    /// It can't be read any more.
    Damaged(Cursor),
    /// Its topic hides parts of it, or is not configured any more.
    Withheld(Withheld),
    /// The journal can't be read now.
    Journal,
}
