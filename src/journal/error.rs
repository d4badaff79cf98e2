//! Why a journal does not store, read or open: facts, and what to do.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use hookrill_core::Sequence;
use tokio::task::JoinError;

use super::{scarcity, stored::DecodeError};

/// Why an event was not stored.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Free disk space is below the reserve; passes once there is room again.
    #[error("{free_bytes} bytes are free on the journal's disk; the reserve is {reserve_bytes}")]
    NoRoom {
        /// Free bytes on the journal's file system.
        free_bytes: u64,
        /// The configured reserve.
        reserve_bytes: u64,
    },
    /// The system has no descriptor, memory or space for a new segment now.
    #[error("the journal can't begin a new segment now")]
    Scarce(#[source] Arc<io::Error>),
    /// The disk hangs: a commit takes longer than one may. Passes once it is
    /// done.
    #[error("the journal's disk hangs: a commit has been under way for {} s", commit_age.as_secs())]
    Stalled {
        /// For how long that commit is under way.
        commit_age: Duration,
    },
    /// The journal is shutting down.
    #[error("the journal is closed")]
    Closed,
    /// The journal stores nothing any more.
    #[error("the journal failed")]
    Failed(#[source] FatalError),
}

/// Why a journal stores nothing any more.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FatalError {
    /// A write failed, so what is on the disk is not known.
    #[error("a write failed")]
    Write(#[source] Arc<io::Error>),
    /// One of the journal's own threads panicked.
    #[error("the journal's thread {0} panicked")]
    Panicked(&'static str),
}

/// Why the journal could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system cannot read a file.
    #[error("the journal cannot be read")]
    Io(#[source] Arc<io::Error>),
    /// Stored bytes are not an event.
    #[error("event {sequence} cannot be read")]
    Decode {
        /// Which event.
        sequence: Sequence,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The thread that read panicked, or the process is about to end.
    #[error("the read did not finish")]
    Interrupted(#[source] Arc<JoinError>),
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

impl ReadError {
    /// Whether these bytes will not be read later either: they are not what was
    /// written, or the disk does not give them out. Not so where something is
    /// scarce or forbidden, and where another version is needed.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Io(source) => scarcity::is_damage(source),
            Self::Decode { source, .. } => !matches!(source, DecodeError::Newer(_)),
            Self::Interrupted(_) | Self::Closed => false,
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(source: io::Error) -> Self {
        Self::Io(Arc::new(source))
    }
}

impl From<JoinError> for ReadError {
    fn from(source: JoinError) -> Self {
        Self::Interrupted(Arc::new(source))
    }
}

/// Why a journal could not be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The operating system refused something.
    #[error("the journal's {}: {source}{}", path.display(), scarcity::hint(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// There is nothing to read or copy.
    #[error("there is no journal in {}", .0.display())]
    NoJournal(PathBuf),
    /// There is a file where a folder should be.
    #[error(
        "{} is a file, and the journal needs a folder: give journal.path the name of a folder, or move the file away",
        path.display()
    )]
    NotAFolder {
        /// The file.
        path: PathBuf,
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
        "the journal in {} cannot be opened: {source}. Restore the folder from a backup and start with --new-epoch",
        path.display()
    )]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What is damaged, and where.
        source: DamageError,
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
    /// The file that says how far events were acknowledged cannot be used.
    #[error(
        "{} is {problem}, so nobody can tell whether the journal is whole. Restore the folder from a backup, or accept that events may be lost, and start with --new-epoch",
        path.display()
    )]
    HighWater {
        /// The file.
        path: PathBuf,
        /// `missing`, `damaged`, or which journal it belongs to.
        problem: String,
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
    /// An older Hookrill wrote this folder.
    #[error(
        "the journal in {} was written by an older version of Hookrill, in a format that this one does not read: run that version, or give journal.path another folder",
        path.display()
    )]
    Older {
        /// The folder.
        path: PathBuf,
    },
    /// The system has no random bytes for the journal's name.
    #[error("there are no random bytes for the journal's name")]
    Random(#[source] io::Error),
    /// The thread that opened it panicked, or the process is about to end.
    #[error("opening the journal did not finish")]
    Interrupted(#[source] JoinError),
}

/// What is damaged in a folder. Says its cause itself: what to do follows it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DamageError {
    /// The file that says up to where events were deleted.
    #[error("its floor is damaged")]
    Floor,
    /// The first bytes of a log.
    #[error("the header of {} is damaged", .0.display())]
    SegmentHeader(PathBuf),
    /// An event of a group whose checksum is right.
    #[error("event {sequence}: {source}")]
    Event {
        /// Which event.
        sequence: Sequence,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// A file of dedup entries whose log is gone, so it cannot be rebuilt.
    #[error("{} is damaged", .0.display())]
    DedupFile(PathBuf),
    /// Two segments that overlap.
    #[error("two of its segments have event {0}")]
    Overlap(Sequence),
}
