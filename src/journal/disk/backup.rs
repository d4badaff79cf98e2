//! Copies a journal's folder while a gateway writes to it, and puts a copy in place.
//!
//! Takes no lock on what it copies and changes nothing there. The high-water mark is
//! read first: all up to it was durable before the first file was copied. The copy's own
//! is written last and is its newest event, so that a copy that is cut short later is
//! noticed; one that was interrupted has none, and no gateway opens it. The floor
//! is read last: what retention deleted meanwhile is below it. Invariant: a folder has a
//! high-water mark only once all else in it is whole and durable.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use hookrill_core::{Epoch, Sequence};

use super::{
    floor,
    high_water::{self, HighWaterMark},
    lock::FolderLock,
    log_reader::LogReader,
    recovery,
    scan::{self, LogEnd, ScanError, ScannedLog},
    segment::{self, FileKind, SegmentHeader},
};
use crate::{durable, journal::OpenError};

/// So many bytes are copied at a time.
const PIECE_BYTES: usize = 256 * 1024;
/// So often the segments are listed where one is begun meanwhile.
const LISTINGS_MAX: usize = 10;
/// Folders in the journal's folder, one in the other.
const DEPTH_MAX: usize = 4;
/// What of the folder is not copied as it is.
const OWN_NAMES: [&str; 6] = [
    "segments",
    "lock",
    "high-water",
    "floor",
    "address",
    "lost+found",
];

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalCopy {
    /// The name of the journal: of a copy that was put in place, the new one.
    pub epoch: Epoch,
    /// Its newest event.
    pub head: Sequence,
    /// How many bytes were copied.
    pub bytes: u64,
}

/// Why a journal was not copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The operating system refused something.
    #[error("cannot copy {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// There is no journal, or it can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is something already.
    #[error("{} is not empty, and nothing is overwritten: name a folder that does not exist", .0.display())]
    Occupied(PathBuf),
    /// The copy would contain itself.
    #[error("{} is in the folder that is to be copied", .0.display())]
    Inside(PathBuf),
    /// A copy that is damaged is not put in place.
    #[error(
        "{}: `hookrill journal check` lists what is damaged. Use another backup; or copy the \
         folder to its place by hand, and start with --new-epoch",
        damaged(path, *events)
    )]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// How many.
        events: u64,
    },
    /// Retention has deleted all that was copied.
    #[error(
        "retention deletes from the journal in {} faster than this copies it: raise --rate-max",
        .0.display()
    )]
    Outrun(PathBuf),
    /// The end of the log is not what it was.
    #[error(
        "the end of the journal in {} is damaged, or was replaced while it was copied: try again; \
         `hookrill journal check` lists what is damaged",
        .0.display()
    )]
    Changed(PathBuf),
}

/// Copies the journal in `from`, which a gateway may be using, and what else is in its
/// folder, into the folder `to`. `pace` is told of bytes that were copied, and may wait.
/// Blocks.
///
/// # Errors
///
/// [`CopyError`]; then nothing that was made in `to` is left.
pub fn backup(from: &Path, to: &Path, pace: &mut dyn FnMut(u64)) -> Result<JournalCopy, CopyError> {
    recovery::list_names(from)?;
    let mark = HighWaterMark::load(from)?;
    let mark = mark.ok_or_else(|| HighWaterMark::refused(from, "missing".into()))?;
    let mut made = Made::default();
    let copied = make_empty(to, &mut made).and_then(|()| {
        let copy = FolderCopy::new(from, to, pace, &mut made)?;
        copy.copy(mark)
    });
    if copied.is_err() {
        made.remove();
    }
    copied
}

/// Copies a backup to where a gateway is to be started; returns what it
/// made there, too. Blocks.
///
/// # Errors
///
/// [`CopyError`]; then nothing that was made in `to` is left.
pub(super) fn copy_back(
    from: &Path,
    to: &Path,
    pace: &mut dyn FnMut(u64),
) -> Result<(JournalCopy, Made), CopyError> {
    let mut made = Made::default();
    let mut lock = None;
    let copied = make_empty(to, &mut made).and_then(|()| {
        // Nobody begins a journal there meanwhile.
        lock = Some(FolderLock::acquire(to)?);
        made.0.push(to.join("lock"));
        let mark = HighWaterMark::load(from)?;
        let mark = mark.ok_or_else(|| HighWaterMark::refused(from, "missing".into()))?;
        FolderCopy::new(from, to, pace, &mut made)?.copy(mark)
    });
    if copied.is_err() {
        made.remove();
    }
    drop(lock);
    Ok((copied?, made))
}

/// The files and folders that a copy has made, those above first.
#[derive(Default)]
pub(super) struct Made(Vec<PathBuf>);

impl Made {
    /// Removes them, save folders in which somebody else has put something.
    pub(super) fn remove(&self) {
        for path in self.0.iter().rev() {
            // What can't be removed stays, and is no journal: the mark goes first.
            _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
        }
    }
}

/// What a copy has that is damaged.
fn damaged(folder: &Path, events: u64) -> String {
    let folder = folder.display();
    match events {
        0 => format!("files in {folder} are damaged, though no event is lost"),
        1 => format!("1 event in {folder} is damaged or missing"),
        _ => format!("{events} events in {folder} are damaged or missing"),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> CopyError {
    move |source| CopyError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Makes a folder where there is none; refuses one with anything in it.
fn make_empty(folder: &Path, made: &mut Made) -> Result<(), CopyError> {
    let missing = folder.ancestors();
    let missing = missing.take_while(|path| !path.as_os_str().is_empty() && !path.exists());
    made.0.extend(missing.map(Path::to_owned));
    made.0.reverse();
    durable::create_folder(folder).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            CopyError::Occupied(folder.to_owned())
        }
        _ => at(folder)(error),
    })?;
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        // A file system of its own has that.
        if entry.map_err(at(folder))?.file_name() != "lost+found" {
            return Err(CopyError::Occupied(folder.to_owned()));
        }
    }
    Ok(())
}

/// A copy under way.
struct FolderCopy<'c> {
    from: &'c Path,
    to: &'c Path,
    pace: &'c mut dyn FnMut(u64),
    made: &'c mut Made,
    bytes: u64,
}

impl<'c> FolderCopy<'c> {
    fn new(
        from: &'c Path,
        to: &'c Path,
        pace: &'c mut dyn FnMut(u64),
        made: &'c mut Made,
    ) -> Result<Self, CopyError> {
        let real = |path: &Path| fs::canonicalize(path).map_err(at(path));
        if real(to)?.starts_with(real(from)?) {
            return Err(CopyError::Inside(to.to_owned()));
        }
        Ok(Self {
            from,
            to,
            pace,
            made,
            bytes: 0,
        })
    }

    fn copy(mut self, mark: HighWaterMark) -> Result<JournalCopy, CopyError> {
        let last = self.copy_segments()?;
        // Newer than the events, so that no token is valid again that was revoked.
        self.copy_rest(Path::new(""), 0)?;
        let head = match last {
            Some(first) => {
                let trimmed = self.trim(first, mark)?;
                self.bytes = self.bytes.saturating_sub(trimmed.bytes);
                trimmed.head
            }
            // A journal that ever had an event has a segment.
            None if mark.sequence > Sequence::ZERO => {
                return Err(CopyError::Changed(self.from.to_owned()));
            }
            None => Sequence::ZERO,
        };
        let floor = floor::load(self.from)?;
        if floor > head {
            return Err(CopyError::Outrun(self.from.to_owned()));
        }
        self.made.0.push(self.to.join(floor::NAME));
        floor::store(self.to, floor).map_err(at(self.to))?;
        self.made.0.push(self.to.join(high_water::NAME));
        // The one that was copied may be a second behind.
        let own_mark = HighWaterMark {
            sequence: head,
            ..mark
        };
        own_mark.store(self.to).map_err(at(self.to))?;
        Ok(JournalCopy {
            epoch: mark.epoch,
            head,
            bytes: self.bytes,
        })
    }

    /// Copies the segments, the oldest first; returns the one that is written.
    fn copy_segments(&mut self) -> Result<Option<Sequence>, CopyError> {
        let folder = segment::folder(self.to);
        durable::create_folder(&folder).map_err(at(&folder))?;
        self.made.0.push(folder.clone());
        let mut last = None;
        for (first, kinds) in self.list_segments()? {
            let has_log = kinds.contains(&FileKind::Log);
            if has_log && !self.copy_segment_file(first, FileKind::Log)? {
                // Deleted meanwhile, so it is below the floor; its index alone would
                // say that it is missing.
                continue;
            }
            for kind in kinds.into_iter().filter(|kind| *kind != FileKind::Log) {
                self.copy_segment_file(first, kind)?;
            }
            if has_log {
                last = Some(first);
            }
        }
        durable::sync_folder(&folder).map_err(at(&folder))?;
        Ok(last)
    }

    /// The files of the segments, of which the last one is not sealed.
    fn list_segments(&self) -> Result<recovery::SegmentFiles, CopyError> {
        for _ in 0..LISTINGS_MAX {
            let files = recovery::list_names(self.from)?;
            let logs = files.values().rev();
            let mut logs = logs.filter(|kinds| kinds.contains(&FileKind::Log));
            let last = logs.next();
            // Otherwise the next one was begun while the names were read.
            if last.is_none_or(|kinds| !kinds.contains(&FileKind::Index)) {
                return Ok(files);
            }
        }
        Err(CopyError::Changed(self.from.to_owned()))
    }

    /// Copies one of a segment's files; returns false where retention has deleted it.
    fn copy_segment_file(&mut self, first: Sequence, kind: FileKind) -> Result<bool, CopyError> {
        let from = segment::path(self.from, first, kind);
        let to = segment::path(self.to, first, kind);
        self.copy_file(&from, &to)
    }

    /// Copies what else is in the folder: secrets, revocations.
    fn copy_rest(&mut self, below: &Path, depth: usize) -> Result<(), CopyError> {
        let (from, to) = (self.from.join(below), self.to.join(below));
        let Some(entries) = unless_gone(fs::read_dir(&from)).map_err(at(&from))? else {
            return Ok(());
        };
        for entry in entries {
            let name = entry.map_err(at(&from))?.file_name();
            let is_own = depth == 0 && OWN_NAMES.iter().any(|own| name == *own);
            let path = from.join(&name);
            if is_own || durable::is_temporary(&path) {
                continue;
            }
            // A link that leads nowhere, or what was removed meanwhile.
            let Some(metadata) = unless_gone(fs::metadata(&path)).map_err(at(&path))? else {
                continue;
            };
            let kind = metadata.file_type();
            if kind.is_file() {
                self.copy_file(&path, &to.join(&name))?;
            } else if kind.is_dir() && depth < DEPTH_MAX {
                let folder = to.join(&name);
                let made = DirBuilder::new().mode(0o700).create(&folder);
                made.map_err(at(&folder))?;
                self.made.0.push(folder);
                self.copy_rest(&below.join(&name), depth + 1)?;
            }
        }
        durable::sync_folder(&to).map_err(at(&to))
    }

    /// Copies a file as far as it goes now, and makes the copy durable; returns false
    /// where it is gone.
    fn copy_file(&mut self, from: &Path, to: &Path) -> Result<bool, CopyError> {
        let Some(mut source) = unless_gone(File::open(from)).map_err(at(from))? else {
            return Ok(false);
        };
        let mut options = File::options();
        let copy = options.write(true).create_new(true).mode(0o600).open(to);
        let mut copy = copy.map_err(at(to))?;
        self.made.0.push(to.to_owned());
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = source.read(&mut piece).map_err(at(from))?;
            let Some(read) = piece.get(..read).filter(|read| !read.is_empty()) else {
                return copy.sync_all().map(|()| true).map_err(at(to));
            };
            copy.write_all(read).map_err(at(to))?;
            self.bytes += read.len() as u64;
            (self.pace)(read.len() as u64);
        }
    }

    /// Cuts off what was being written while the segment at the end was copied, and
    /// returns its last event and how much that was.
    fn trim(&self, first: Sequence, mark: HighWaterMark) -> Result<Trimmed, CopyError> {
        let path = segment::path(self.to, first, FileKind::Log);
        let changed = || CopyError::Changed(self.from.to_owned());
        let file = File::options().read(true).write(true).open(&path);
        let file = file.map_err(at(&path))?;
        let mut header_bytes = [0; segment::HEADER_BYTES];
        file.read_exact_at(&mut header_bytes, 0)
            .map_err(at(&path))?;
        let header = SegmentHeader::decode(&header_bytes).map_err(|_| changed())?;
        let log = scan::scan(&file, &header).map_err(|error| match error {
            ScanError::Io(source) => at(&path)(source),
            ScanError::Event { .. } => changed(),
        })?;
        let head = log.index.last();
        if header.epoch != mark.epoch || head < mark.sequence {
            return Err(changed());
        }
        if log.end != LogEnd::Blank && !self.is_end_unfinished(&header, &log)? {
            return Err(changed());
        }
        let copied = file.metadata().map_err(at(&path))?.len();
        let end = log.index.end.into();
        file.set_len(end).map_err(at(&path))?;
        file.sync_all().map_err(at(&path))?;
        let bytes = copied.saturating_sub(end);
        Ok(Trimmed { head, bytes })
    }

    /// Whether what is behind the last whole group of the copied log was being written.
    /// Otherwise it was written and is damaged, and to cut it off would lose events.
    fn is_end_unfinished(
        &self,
        header: &SegmentHeader,
        log: &ScannedLog,
    ) -> Result<bool, CopyError> {
        let path = segment::path(self.from, header.first, FileKind::Log);
        let Some(source) = unless_gone(File::open(&path)).map_err(at(&path))? else {
            // Retention deleted it, and the floor is above it.
            return Ok(true);
        };
        let (end, next) = (u64::from(log.index.end), log.index.last().next());
        // Each with a reader of its own, since a reader remembers what it read.
        let reader = || LogReader::new(&source, header).map_err(at(&path));
        let finished = reader()?.finished_group_at(end, next).map_err(at(&path))?;
        if log.end == LogEnd::Torn && finished.is_none() {
            return Ok(true);
        }
        // A later group was there, or all of this one: so it is whole by now.
        let group = reader()?.group_at(end, next).map_err(at(&path))?;
        Ok(group.is_some())
    }
}

/// What is left of the segment at the end, and how much is not.
struct Trimmed {
    head: Sequence,
    bytes: u64,
}

/// `None` where there is nothing of this name any more.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}
