//! What a folder says when it is opened, and whether to believe it.
//!
//! Refuses a journal that ends below its high-water mark, that belongs to
//! another epoch than its mark, or that has holes. The engine cuts its
//! write-ahead journal at a damaged place while it opens, before anything here
//! can look: who wants the evidence copies the folder before the first start.
//!
//! Invariant: the head is the highest of last event, floor and stored head, so
//! that sequences never restart.

use std::path::Path;

use super::{
    high_water::Mark,
    keys::{self, FORMAT, Floor, Named, State},
    pages::{Direction, Walk},
    store::{Purpose, Store},
};
use crate::{
    event::{Epoch, Selection, Sequence},
    journal::OpenError,
};

/// How many of the newest events are looked at for holes. A cut in one of the
/// engine's write-ahead journals with another behind it leaves a hole and the
/// right head. Those journals hold 128 MiB together and take more than 256
/// bytes per event, so no hole can be further back.
const LOOKED_AT_MAX: u64 = 1 << 19;

/// A journal as it was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recovered {
    pub(super) epoch: Epoch,
    pub(super) state: State,
    pub(super) floor: Floor,
}

/// What the files hold.
struct Found {
    named: Option<Named>,
    state: State,
    floor: Floor,
    last_event: Sequence,
}

/// Decides under which name the folder goes on. A new journal, and one that is
/// to have a new name, takes the mark's.
pub(super) fn recover(store: &Store, mark: Mark, new_epoch: bool) -> Result<Recovered, OpenError> {
    let found = Found::read(store)?;
    match found.named {
        Some(named) if !new_epoch => believe(store, &found, mark, named)?,
        // Its mark is older than its name: a journal that is being made.
        None if mark.sequence > Sequence::ZERO => {
            return Err(OpenError::Lost {
                path: store.folder.clone(),
                expected: acknowledged(mark),
                found: "nothing is there".into(),
            });
        }
        _ => name(store, mark.epoch, found.state.head)?,
    }
    Ok(Recovered {
        epoch: mark.epoch,
        state: found.state,
        floor: found.floor,
    })
}

/// Whether all that was acknowledged is there.
fn believe(store: &Store, found: &Found, mark: Mark, named: Named) -> Result<(), OpenError> {
    if named.epoch != mark.epoch {
        let wrong = format!("of journal {}, not of {}", mark.epoch, named.epoch);
        return Err(Mark::refuse(&store.folder, wrong));
    }
    let head = found.state.head;
    if head < mark.sequence {
        return Err(OpenError::Lost {
            path: store.folder.clone(),
            expected: acknowledged(mark),
            found: format!("it ends at event {head}"),
        });
    }
    no_holes(store, found, named.start)
}

fn acknowledged(mark: Mark) -> String {
    format!("event {} was acknowledged", mark.sequence)
}

/// Looks for holes among the newest events, by the index of everything.
fn no_holes(store: &Store, found: &Found, start: Sequence) -> Result<(), OpenError> {
    let head = found.state.head;
    let floor = found.floor.floor.max(start);
    let lost = |sequence| OpenError::Lost {
        path: store.folder.clone(),
        expected: format!("it should have all from {} to {head}", floor.next()),
        found: format!("event {sequence} is not there"),
    };
    if head <= floor {
        return Ok(());
    }
    if found.last_event != head {
        return Err(lost(found.last_event.next()));
    }
    let from = floor
        .next()
        .max(Sequence(head.0.saturating_sub(LOOKED_AT_MAX)));
    let (all, snapshot) = (Selection::all(), store.snapshot());
    let walk = Walk::new(store, &snapshot, &all, from, head, Direction::Backward)
        .map_err(|e| unreadable(&store.folder, e))?;
    let mut expected = head;
    for entry in walk {
        let entry = entry.map_err(|e| unreadable(&store.folder, e))?;
        if entry.sequence != expected {
            return Err(lost(expected));
        }
        expected = expected.previous();
    }
    if expected >= from {
        return Err(lost(expected));
    }
    Ok(())
}

/// Gives the journal a name.
fn name(store: &Store, epoch: Epoch, start: Sequence) -> Result<(), OpenError> {
    let mut batch = store.durable_batch();
    batch.insert(&store.meta, keys::EPOCH, Named { epoch, start }.encode());
    let written = store.commit(Purpose::Name, batch);
    written.map_err(|e| unreadable(&store.folder, e))
}

impl Found {
    fn read(store: &Store) -> Result<Self, OpenError> {
        let folder = &store.folder;
        let named = match read(store, keys::EPOCH)? {
            Some(value) => Some(known_format(folder, &value)?),
            None => None,
        };
        let mut state: State = match read(store, keys::STATE)? {
            Some(value) => State::decode(&value).ok_or_else(|| damaged(folder, keys::STATE))?,
            None => State::default(),
        };
        let floor: Floor = match read(store, keys::FLOOR)? {
            Some(value) => Floor::decode(&value).ok_or_else(|| damaged(folder, keys::FLOOR))?,
            None => Floor::default(),
        };
        let last_event = match store.events.last_key_value() {
            Some(entry) => {
                let key = entry.key().map_err(|e| unreadable(folder, e))?;
                keys::sequence_of(&key).ok_or_else(|| damaged(folder, "last event"))?
            }
            None => Sequence::ZERO,
        };
        state.head = state.head.max(last_event).max(floor.floor);
        Ok(Self {
            named,
            state,
            floor,
            last_event,
        })
    }
}

fn known_format(folder: &Path, value: &[u8]) -> Result<Named, OpenError> {
    match value.first() {
        Some(&version) if version > FORMAT => Err(OpenError::Newer {
            path: folder.into(),
            version,
            version_max: FORMAT,
        }),
        _ => Named::decode(value).ok_or_else(|| damaged(folder, keys::EPOCH)),
    }
}

fn read(store: &Store, key: &str) -> Result<Option<fjall::UserValue>, OpenError> {
    store
        .meta
        .get(key)
        .map_err(|e| unreadable(&store.folder, e))
}

fn damaged(folder: &Path, what: &str) -> OpenError {
    unreadable(folder, format_args!("its {what} is damaged"))
}

fn unreadable(folder: &Path, reason: impl std::fmt::Display) -> OpenError {
    OpenError::Storage {
        path: folder.into(),
        reason: reason.to_string(),
    }
}
