//! What segments a folder has: those that are sealed, believed by the first
//! bytes of their index and the length of their log; the others read whole.
//!
//! Seals what a crash kept from being sealed, and cuts the torn end of a last
//! write. Invariant: a log that holds anything behind its last whole group that
//! is more than that is refused.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
};

use hookrill_core::Sequence;

use super::{
    dedup::Entry,
    index::Index,
    index_file::Facts,
    recover::Asked,
    scan::{self, Rest, ScanError, Scanned},
    seal,
    segment::{self, FORMAT, FileKind, Head, NoHead, damaged},
    shelf::{Open, Sealed, Segment},
};
use crate::{durable, journal::OpenError};

/// The files of the segments, by first sequence.
pub(super) type FileList = BTreeMap<Sequence, Vec<FileKind>>;

/// Lists the segments' files, and removes what was in the making.
pub(super) fn list(journal: &Path) -> Result<FileList, OpenError> {
    let folder = segment::folder(journal);
    let io = |source| OpenError::Io {
        path: folder.clone(),
        source,
    };
    let mut listing = FileList::new();
    match durable::remove_temporaries(&folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(listing),
        removed => removed.map_err(io)?,
    }
    let entries = fs::read_dir(&folder).map_err(io)?;
    for entry in entries {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some((first, kind)) = name.and_then(segment::parse_name) {
            listing.entry(first).or_default().push(kind);
        }
    }
    Ok(listing)
}

impl Asked<'_> {
    /// The segments, in order; the last one is open if it may be written.
    pub(super) fn segments(
        &self,
        listing: &FileList,
        floor: Sequence,
    ) -> Result<Vec<Segment>, OpenError> {
        let has_log = |kinds: &Vec<FileKind>| kinds.contains(&FileKind::Log);
        let mut logs = listing.iter().filter(|(_, kinds)| has_log(kinds));
        let last = logs.next_back().map(|(first, _)| *first);
        let mut segments = Vec::new();
        for (first, kinds) in listing {
            match (
                kinds.contains(&FileKind::Log),
                kinds.contains(&FileKind::Index),
            ) {
                (true, _) if Some(*first) == last => segments.push(self.last(*first, kinds)?),
                (true, _) => segments.push(Segment::Sealed(Arc::new(self.sealed(*first)?))),
                (false, true) => self.without_log(*first, floor)?,
                // Dedup entries outlive their events.
                (false, false) => {}
            }
        }
        Ok(segments)
    }

    /// The segment at the end, which is read whole.
    fn last(&self, first: Sequence, kinds: &[FileKind]) -> Result<Segment, OpenError> {
        if kinds.contains(&FileKind::Index) {
            if self.new_epoch {
                return Ok(Segment::Sealed(Arc::new(self.sealed(first)?)));
            }
            // It was sealed, so there was one behind it.
            let path = segment::path(self.folder, first, FileKind::Log);
            let expected = format!("there was a segment behind {}", path.display());
            return Err(self.lost(expected, "it is not there".into()));
        }
        let (head, file, scanned) = self.scan(first)?;
        let Scanned {
            index,
            entries,
            rest,
        } = scanned;
        match rest {
            Rest::Blank => {}
            Rest::Torn => self.cut(&file, &index, first)?,
            Rest::Damaged => return Err(self.hole(&index, first)),
        }
        // What is shown from now on must not go with the next power cut.
        file.sync_all().map_err(|e| self.io(e))?;
        let open = Open::new(head, file, index, entries);
        Ok(Segment::Open(Arc::new(open)))
    }

    /// Cuts a torn end, unless what it was is known to have been acknowledged.
    fn cut(&self, file: &File, index: &Index, first: Sequence) -> Result<(), OpenError> {
        let path = segment::path(self.folder, first, FileKind::Log);
        if let Some(mark) = self.mark.filter(|_| !self.new_epoch) {
            self.reaches(mark, index.last())?;
        }
        let (path, end) = (path.display(), index.end);
        tracing::info!(%path, end, "the last write was not finished; what there is of it is cut");
        let cut = file.set_len(end.into());
        cut.map_err(|e| self.io(e))
    }

    fn hole(&self, index: &Index, first: Sequence) -> OpenError {
        let (missing, end) = (index.last().next(), index.end);
        let path = segment::path(self.folder, first, FileKind::Log);
        let path = path.display();
        let found = format!("event {missing} is not there: {path} is damaged at byte {end}");
        self.lost("what follows it is there".into(), found)
    }

    /// A segment that is not the last: sealed, or sealed now.
    fn sealed(&self, first: Sequence) -> Result<Sealed, OpenError> {
        let path = segment::path(self.folder, first, FileKind::Log);
        let facts = Facts::load(self.folder, first).map_err(|e| self.io(e))?;
        match facts {
            Some(Ok(facts)) => {
                let len = fs::metadata(&path).map_err(|e| self.io(e))?.len();
                if len == u64::from(facts.log_bytes) {
                    return Ok(Sealed { facts });
                }
                let expected = format!("{} had {} bytes", path.display(), facts.log_bytes);
                Err(self.lost(expected, format!("it has {len}")))
            }
            Some(Err(NoHead::Newer(version))) => Err(newer(self.folder, version)),
            Some(Err(NoHead::Damaged)) => {
                let index = segment::path(self.folder, first, FileKind::Index);
                tracing::warn!(path = %index.display(), "damaged; it is made anew");
                self.seal(first).map(|(sealed, _)| sealed)
            }
            None => self.seal(first).map(|(sealed, _)| sealed),
        }
    }

    /// Seals a segment from its log; says what its dedup entries are.
    pub(super) fn seal(&self, first: Sequence) -> Result<(Sealed, Vec<Entry>), OpenError> {
        let (head, file, scanned) = self.scan(first)?;
        if scanned.rest != Rest::Blank {
            // Another segment follows it, so its last write was finished.
            return Err(self.hole(&scanned.index, first));
        }
        let entries = scanned.entries.clone();
        let open = Open::new(head, file, scanned.index, scanned.entries);
        let sealed = seal::seal(self.folder, &open, |write| write());
        let (sealed, _) = sealed.map_err(|e| self.io(e))?;
        Ok((sealed, entries))
    }

    fn scan(&self, first: Sequence) -> Result<(Head, File, Scanned), OpenError> {
        let (head, file) = open_log(self.folder, first)?;
        match scan::scan(&file, &head) {
            Ok(scanned) => Ok((head, file, scanned)),
            Err(ScanError::Io(e)) => Err(self.io(e)),
            Err(e) => Err(damaged(self.folder, e.to_string())),
        }
    }

    /// An index without a log: what a deletion leaves behind, or a loss.
    fn without_log(&self, first: Sequence, floor: Sequence) -> Result<(), OpenError> {
        let path = segment::path(self.folder, first, FileKind::Index);
        let facts = Facts::load(self.folder, first).map_err(|e| self.io(e))?;
        let is_below = match facts {
            Some(Ok(facts)) => facts.last() <= floor,
            _ => first <= floor,
        };
        if is_below || self.new_epoch {
            return durable::remove(&path).map_err(|e| self.io(e));
        }
        let log = segment::path(self.folder, first, FileKind::Log);
        let expected = format!("events from {first} on are in {}", log.display());
        Err(self.lost(expected, "it is not there".into()))
    }
}

fn newer(journal: &Path, version: u8) -> OpenError {
    OpenError::Newer {
        path: journal.into(),
        version,
        version_max: FORMAT,
    }
}

/// Opens a log and reads its head; blocks.
pub(super) fn open_log(journal: &Path, first: Sequence) -> Result<(Head, File), OpenError> {
    let path = segment::path(journal, first, FileKind::Log);
    let io = |source| OpenError::Io {
        path: path.clone(),
        source,
    };
    let file = File::options().read(true).write(true).open(&path);
    let file = file.map_err(io)?;
    let mut bytes = [0; segment::HEAD_BYTES];
    let head = match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Head::decode(&bytes),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(NoHead::Damaged),
        Err(e) => return Err(io(e)),
    };
    match head {
        Ok(head) if head.first == first => Ok((head, file)),
        Err(NoHead::Newer(version)) => Err(newer(journal, version)),
        _ => Err(damaged(
            journal,
            format!("the head of {} is damaged", path.display()),
        )),
    }
}
