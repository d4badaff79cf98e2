//! The folder of the segments: which files it has, and opening a log.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use hookrill_core::Sequence;

use crate::{
    durable,
    journal::{
        DamageError, OpenError,
        disk::segment::{self, FORMAT, FileKind, HeaderError, SegmentHeader},
    },
};

/// The files of the segments, by first sequence.
pub(in crate::journal::disk) type SegmentFiles = BTreeMap<Sequence, Vec<FileKind>>;

/// Lists the segments' files, and removes what a crash left unfinished.
pub(in crate::journal::disk) fn list(journal: &Path) -> Result<SegmentFiles, OpenError> {
    let folder = segment::folder(journal);
    let io = |source| OpenError::Io {
        path: folder.clone(),
        source,
    };
    match durable::remove_temporaries(&folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(SegmentFiles::new()),
        removed => removed.map_err(io)?,
    }
    list_names(journal)
}

/// Lists the segments' files, and changes nothing. Refuses a folder that has not even a
/// folder for them.
pub(in crate::journal::disk) fn list_names(journal: &Path) -> Result<SegmentFiles, OpenError> {
    let folder = segment::folder(journal);
    let io = |source| OpenError::Io {
        path: folder.clone(),
        source,
    };
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::NoJournal(journal.to_owned()));
        }
        entries => entries.map_err(io)?,
    };
    let mut files = SegmentFiles::new();
    for entry in entries {
        let name = entry.map_err(io)?.file_name();
        if let Some((first, kind)) = name.to_str().and_then(segment::parse_name) {
            files.entry(first).or_default().push(kind);
        }
    }
    Ok(files)
}

/// Opens a log and reads its header; blocks.
pub(super) fn open_log(
    journal: &Path,
    first: Sequence,
) -> Result<(SegmentHeader, File), OpenError> {
    let path = segment::path(journal, first, FileKind::Log);
    let io = |source| OpenError::Io {
        path: path.clone(),
        source,
    };
    let file = File::options().read(true).write(true).open(&path);
    let file = file.map_err(io)?;
    let mut bytes = [0; segment::HEADER_BYTES];
    let header = match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => SegmentHeader::decode(&bytes),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(HeaderError::Damaged),
        Err(e) => return Err(io(e)),
    };
    match header {
        Ok(header) if header.first == first => Ok((header, file)),
        Err(HeaderError::Newer(version)) => Err(newer(journal, version)),
        Err(HeaderError::Older) => Err(OpenError::Older {
            path: journal.into(),
        }),
        _ => Err(OpenError::Damaged {
            path: journal.into(),
            source: DamageError::SegmentHeader(path),
        }),
    }
}

/// The error for a folder that a newer Hookrill wrote.
pub(super) fn newer(journal: &Path, version: u8) -> OpenError {
    OpenError::Newer {
        path: journal.into(),
        version,
        version_max: FORMAT,
    }
}
