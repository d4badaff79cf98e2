//! Which events a selection wants by their type, as far as an index says.
//!
//! Types are looked up once for each type that a segment has, not once for each
//! event. Invariant: an index only says which events are surely not wanted. One of
//! which it knows no type is wanted as far as it goes; whoever reads the event
//! decides.

use std::collections::HashSet;

use hookrill_core::Selection;

use super::index::Index;

/// A segment with more types is asked for each event, or asking for each type
/// would take longer than a short read.
const NAMES_MAX: usize = 256;

/// The types of a selection.
pub(super) struct WantedTypes<'s>(Option<HashSet<&'s str>>);

/// The types of a selection in one index.
pub(super) enum TypesInIndex<'i> {
    /// All are wanted.
    All,
    /// Those at these places of the index's names.
    Places(Vec<bool>),
    /// Those with these names.
    Named(&'i HashSet<&'i str>),
}

impl<'s> WantedTypes<'s> {
    pub(super) fn new(selection: &'s Selection) -> Self {
        let types = selection.types.as_ref();
        Self(types.map(|types| types.iter().map(|name| &**name).collect()))
    }

    /// Looks the types up in an index.
    pub(super) fn within<'i>(&'i self, index: &Index) -> TypesInIndex<'i> {
        let Some(wanted) = &self.0 else {
            return TypesInIndex::All;
        };
        if index.type_names.len() > NAMES_MAX {
            return TypesInIndex::Named(wanted);
        }
        let names = index.type_names.iter();
        TypesInIndex::Places(names.map(|name| wanted.contains(&**name)).collect())
    }
}

impl TypesInIndex<'_> {
    /// Whether no event of the index is wanted, so that none need be looked at.
    pub(super) fn is_empty(&self, index: &Index) -> bool {
        // One that is missing may be of any type.
        if !index.missing.is_empty() {
            return false;
        }
        match self {
            Self::All => false,
            Self::Places(places) => !places.contains(&true),
            Self::Named(wanted) => wanted.is_empty(),
        }
    }

    /// Whether the event may be wanted.
    pub(super) fn may_want(&self, index: &Index, ordinal: u32) -> bool {
        match self {
            Self::All => true,
            Self::Places(places) => {
                let place = index.types.get(ordinal as usize);
                let wanted = place.and_then(|place| places.get(*place as usize));
                wanted.copied().unwrap_or(true)
            }
            Self::Named(wanted) => {
                let name = index.event_type(ordinal);
                name.is_none_or(|name| wanted.contains(name))
            }
        }
    }
}
