//! Why a journal does not store, read or open: facts, and what to do.

use std::{path::PathBuf, sync::Arc};

use hookrill_core::Sequence;

use crate::journal::stored::DecodeError;

/// Why an event was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Free disk is below the reserve; passes when there is room again.
    #[error("{free_bytes} bytes are free on the journal's disk; the reserve is {reserve_bytes}")]
    NoRoom {
        /// Free bytes on the journal's file system.
        free_bytes: u64,
        /// The configured reserve.
        reserve_bytes: u64,
    },
    /// The journal is shutting down.
    #[error("the journal is closed")]
    Closed,
    /// A write failed; the journal takes nothing any more.
    #[error("the journal failed: {0}")]
    Failed(Arc<str>),
}

/// Why the journal could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The files cannot be read, or make no sense.
    #[error("the journal cannot be read: {0}")]
    Storage(Arc<str>),
    /// Stored bytes that are no event.
    #[error("event {sequence}: {source}")]
    Decode {
        /// Which event.
        sequence: Sequence,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why a journal could not be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused something.
    #[error("the journal's {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// Another process, or another part of this one, has it open.
    #[error("the journal in {} is in use by {holder}: one process per folder", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// `process 4711`, or `another process`.
        holder: String,
    },
    /// Something in it is damaged.
    #[error(
        "the journal in {} cannot be opened: {reason}. Restore the folder from a backup and start with --new-epoch",
        path.display()
    )]
    Storage {
        /// The folder.
        path: PathBuf,
        /// What is damaged, and where.
        reason: String,
    },
    /// Acknowledged events are missing.
    #[error(
        "the journal in {} has lost events: {found}; {expected}. Restore the folder from a backup, or accept the loss, and start with --new-epoch",
        path.display()
    )]
    Lost {
        /// The folder.
        path: PathBuf,
        /// What is known to have been acknowledged.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The file that says how far events were acknowledged can't be believed.
    #[error(
        "{} is {wrong}, so nothing proves that the journal is whole. Restore the folder from a backup, or accept that events may be lost, and start with --new-epoch",
        path.display()
    )]
    HighWater {
        /// The file.
        path: PathBuf,
        /// `missing`, `damaged`, or whose it is.
        wrong: String,
    },
    /// A newer Hookrill wrote this folder.
    #[error(
        "the journal in {} has format {version}, this Hookrill reads up to {version_max}: run the version that wrote it, or a newer one",
        path.display()
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        version: u8,
        /// The newest format known here.
        version_max: u8,
    },
    /// An older Hookrill, with another storage engine, wrote this folder.
    #[error(
        "the journal in {} was written by an older Hookrill, in a form that this one does not read: run that version, or give journal.path another folder",
        path.display()
    )]
    Older {
        /// The folder.
        path: PathBuf,
    },
    /// The system has no random bytes for the journal's name.
    #[error("no random bytes for the journal's name: {0}")]
    Random(String),
}
