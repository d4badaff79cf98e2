//! What a folder says when it is opened, and whether to believe it.
//!
//! Refuses a journal that ends below its high-water mark, that belongs to
//! another epoch than its mark, that has holes, or damage that is more than
//! the torn end of a last write. Sealed segments are believed by the first
//! bytes of their index and the length of their log: what is damaged inside is
//! noticed where it is read.
//!
//! Invariant: nothing whole is thrown away here; and sequences never restart.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    dedup::{Deliveries, Entry},
    dedup_file::DedupFacts,
    files, floor,
    high_water::Mark,
    index::Index,
    index_file::Facts,
    log::{self, Log},
    salvage,
    scan::{self, Rest, ScanError, Scanned},
    seal,
    segment::{self, FORMAT, Head, Kind, NoHead, damaged},
    shelf::{Open, Sealed, Segment},
};
use crate::{
    event::{Epoch, Sequence, Timestamp},
    journal::OpenError,
};

/// A journal as it was found.
pub(super) struct Recovered {
    pub(super) epoch: Epoch,
    pub(super) head: Sequence,
    pub(super) floor: Sequence,
    pub(super) segments: Vec<Segment>,
    pub(super) log: Log,
    pub(super) dedup_files: Vec<DedupFacts>,
    pub(super) deliveries: Deliveries,
}

/// What the start is told.
pub(super) struct Asked<'a> {
    /// The journal's folder.
    pub(super) folder: &'a Path,
    /// The mark that was found; where a new name is asked for, and in a new
    /// folder, there need be none.
    pub(super) mark: Option<Mark>,
    /// The name of a journal that is new, or is to have a new one.
    pub(super) fresh: Epoch,
    /// Whether losses are accepted, and the journal gets a new name.
    pub(super) new_epoch: bool,
    pub(super) dedup_entries_max: u64,
    pub(super) now: Timestamp,
}

/// The files of the segments, by first sequence.
pub(super) type Listing = BTreeMap<Sequence, Vec<Kind>>;

/// Decides whether the folder is whole, and opens it; blocks.
pub(super) fn recover(asked: &Asked<'_>) -> Result<Recovered, OpenError> {
    if asked.new_epoch {
        salvage::salvage(asked.folder)?;
    }
    let floor = floor::load(asked.folder)?;
    let found = asked.segments(&list(asked.folder)?, floor)?;
    asked.believe(&found, floor)?;
    let mut found = asked.go_on(found, floor)?;
    let (dedup_files, deliveries) = asked.deliveries(&mut found)?;
    let Some(Segment::Open(last)) = found.last() else {
        return Err(damaged(asked.folder, "no segment is open"));
    };
    let (epoch, log) = (last.head.epoch, Log::new(Arc::clone(last)));
    Ok(Recovered {
        epoch,
        head: found.last().map_or(Sequence::ZERO, Segment::last),
        floor,
        log: log.map_err(|e| asked.io(e))?,
        segments: found,
        dedup_files,
        deliveries,
    })
}

/// Lists the segments' files, and removes what was in the making.
pub(super) fn list(journal: &Path) -> Result<Listing, OpenError> {
    let folder = segment::folder(journal);
    let io = |source| OpenError::Io {
        path: folder.clone(),
        source,
    };
    let mut listing = Listing::new();
    let entries = match fs::read_dir(&folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(listing),
        entries => entries.map_err(io)?,
    };
    for entry in entries {
        let path = entry.map_err(io)?.path();
        if files::is_unfinished(&path) {
            files::remove(&path).map_err(io)?;
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some((first, kind)) = name.and_then(segment::parse_name) {
            listing.entry(first).or_default().push(kind);
        }
    }
    Ok(listing)
}

impl Asked<'_> {
    fn io(&self, source: io::Error) -> OpenError {
        OpenError::Io {
            path: segment::folder(self.folder),
            source,
        }
    }

    fn lost(&self, expected: String, found: String) -> OpenError {
        OpenError::Lost {
            path: self.folder.into(),
            expected,
            found,
        }
    }

    /// The segments, in order; the last one is open if it may be written.
    fn segments(&self, listing: &Listing, floor: Sequence) -> Result<Vec<Segment>, OpenError> {
        let has_log = |kinds: &Vec<Kind>| kinds.contains(&Kind::Log);
        let mut logs = listing.iter().filter(|(_, kinds)| has_log(kinds));
        let last = logs.next_back().map(|(first, _)| *first);
        let mut segments = Vec::new();
        for (first, kinds) in listing {
            match (kinds.contains(&Kind::Log), kinds.contains(&Kind::Index)) {
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
    fn last(&self, first: Sequence, kinds: &[Kind]) -> Result<Segment, OpenError> {
        if kinds.contains(&Kind::Index) {
            if self.new_epoch {
                return Ok(Segment::Sealed(Arc::new(self.sealed(first)?)));
            }
            // It was sealed, so there was one behind it.
            let path = segment::path(self.folder, first, Kind::Log);
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
            Rest::Damaged(next) => return Err(self.hole(&index, first, next)),
        }
        // What is shown from now on must not go with the next power cut.
        file.sync_all().map_err(|e| self.io(e))?;
        let open = Open::new(head, file, index, entries);
        Ok(Segment::Open(Arc::new(open)))
    }

    /// Cuts a torn end, unless what it was is known to have been acknowledged.
    fn cut(&self, file: &File, index: &Index, first: Sequence) -> Result<(), OpenError> {
        let path = segment::path(self.folder, first, Kind::Log);
        if let Some(mark) = self.mark.filter(|_| !self.new_epoch) {
            self.reaches(mark, index.last())?;
        }
        let (path, end) = (path.display(), index.end);
        tracing::info!(%path, end, "the last write was not finished; what there is of it is cut");
        let cut = file.set_len(end.into());
        cut.map_err(|e| self.io(e))
    }

    fn hole(&self, index: &Index, first: Sequence, next: Sequence) -> OpenError {
        let missing = index.last().next();
        let path = segment::path(self.folder, first, Kind::Log);
        let expected = format!("it should have all from {first} to {next} and on");
        let (path, end) = (path.display(), index.end);
        let found = format!("event {missing} is not there: {path} is damaged at byte {end}");
        self.lost(expected, found)
    }

    /// A segment that is not the last: sealed, or sealed now.
    fn sealed(&self, first: Sequence) -> Result<Sealed, OpenError> {
        let path = segment::path(self.folder, first, Kind::Log);
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
            Some(Err(NoHead::Newer(version))) => Err(self.newer(version)),
            Some(Err(NoHead::Damaged)) => {
                let index = segment::path(self.folder, first, Kind::Index);
                tracing::warn!(path = %index.display(), "damaged; it is made anew");
                self.seal(first).map(|(sealed, _)| sealed)
            }
            None => self.seal(first).map(|(sealed, _)| sealed),
        }
    }

    /// Seals a segment from its log; says what its dedup entries are.
    fn seal(&self, first: Sequence) -> Result<(Sealed, Vec<Entry>), OpenError> {
        let (head, file, scanned) = self.scan(first)?;
        match scanned.rest {
            Rest::Blank => {}
            Rest::Torn => return Err(self.hole(&scanned.index, first, scanned.index.last())),
            Rest::Damaged(next) => return Err(self.hole(&scanned.index, first, next)),
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

    fn newer(&self, version: u8) -> OpenError {
        newer(self.folder, version)
    }

    /// An index without a log: what a deletion leaves behind, or a loss.
    fn without_log(&self, first: Sequence, floor: Sequence) -> Result<(), OpenError> {
        let path = segment::path(self.folder, first, Kind::Index);
        let facts = Facts::load(self.folder, first).map_err(|e| self.io(e))?;
        let is_below = match facts {
            Some(Ok(facts)) => facts.last() <= floor,
            _ => first <= floor,
        };
        if is_below || self.new_epoch {
            return files::remove(&path).map_err(|e| self.io(e));
        }
        let log = segment::path(self.folder, first, Kind::Log);
        let expected = format!("events from {first} on are in {}", log.display());
        Err(self.lost(expected, "it is not there".into()))
    }

    /// Whether all that was acknowledged is there.
    fn believe(&self, segments: &[Segment], floor: Sequence) -> Result<(), OpenError> {
        let Some(last) = segments.last() else {
            return match self.mark {
                Some(mark) if !self.new_epoch && mark.sequence > Sequence::ZERO => {
                    Err(self.lost(acknowledged(mark), "nothing is there".into()))
                }
                _ => Ok(()),
            };
        };
        let head = match last {
            Segment::Open(open) => open.head,
            Segment::Sealed(sealed) => sealed.facts.head,
        };
        if self.new_epoch {
            return self.no_holes(segments, Sequence(u64::MAX));
        }
        if let Some(mark) = self.mark {
            if mark.epoch != head.epoch {
                let wrong = format!("of journal {}, not of {}", mark.epoch, head.epoch);
                return Err(Mark::refuse(self.folder, wrong));
            }
            self.reaches(mark, last.last())?;
        }
        self.no_holes(segments, floor.max(head.start))?;
        match last.last() < floor {
            true => {
                let expected = format!("it was deleted up to event {floor}");
                Err(self.lost(expected, format!("it ends at event {}", last.last())))
            }
            false => Ok(()),
        }
    }

    fn reaches(&self, mark: Mark, last: Sequence) -> Result<(), OpenError> {
        if last >= mark.sequence {
            return Ok(());
        }
        Err(self.lost(acknowledged(mark), format!("it ends at event {last}")))
    }

    /// Whether each segment follows the one before; up to `start` it need not.
    fn no_holes(&self, segments: &[Segment], start: Sequence) -> Result<(), OpenError> {
        let mut before = start;
        let mut is_first = true;
        for segment in segments {
            let (first, expected) = (segment.first(), before.next());
            if first > expected && first.previous() > start {
                let wanted = format!("it should have all from {expected} on");
                return Err(self.lost(wanted, format!("event {expected} is not there")));
            }
            if first < expected && !is_first && self.overlaps(segments, segment) {
                let reason = format!("its segment {first} begins before the one before it ends");
                return Err(damaged(self.folder, reason));
            }
            (before, is_first) = (segment.last().max(start), false);
        }
        Ok(())
    }

    fn overlaps(&self, segments: &[Segment], segment: &Segment) -> bool {
        let mut before = segments.iter().take_while(|s| s.first() < segment.first());
        before.any(|s| s.last() >= segment.first())
    }

    /// Makes the segment that is written where there is none, or where the
    /// journal gets a new name.
    fn go_on(
        &self,
        mut segments: Vec<Segment>,
        floor: Sequence,
    ) -> Result<Vec<Segment>, OpenError> {
        if !segments.is_empty() && !self.new_epoch {
            return Ok(segments);
        }
        let head = self.highest(&segments, floor);
        if let Some(Segment::Open(open)) = segments.last() {
            let open = Arc::clone(open);
            segments.pop();
            // An empty one gives its place, and its name, to the new one.
            if open.contents().index.events() > 0 {
                let sealed = seal::seal(self.folder, &open, |write| write());
                let (sealed, _) = sealed.map_err(|e| self.io(e))?;
                segments.push(Segment::Sealed(Arc::new(sealed)));
            } else {
                let path = segment::path(self.folder, open.head.first, Kind::Log);
                files::remove(&path).map_err(|e| self.io(e))?;
            }
        }
        let head = Head {
            epoch: self.fresh,
            start: head,
            first: head.next(),
            salt: log::salt().map_err(|e| self.io(e))?,
        };
        let file = segment::create(self.folder, &head).map_err(|e| self.io(e))?;
        let index = Index::new(head.first, segment::HEAD_BYTES as u32);
        let open = Open::new(head, file, index, Vec::new());
        segments.push(Segment::Open(Arc::new(open)));
        Ok(segments)
    }

    /// The highest sequence that was ever given, as far as anything here says.
    fn highest(&self, segments: &[Segment], floor: Sequence) -> Sequence {
        let last = segments.last().map_or(Sequence::ZERO, Segment::last);
        let marked = self.mark.map_or(Sequence::ZERO, |mark| mark.sequence);
        let set_aside = salvage::highest_set_aside(self.folder);
        last.max(floor).max(marked).max(set_aside)
    }

    /// What is remembered of deliveries, and where it is kept.
    fn deliveries(
        &self,
        segments: &mut [Segment],
    ) -> Result<(Vec<DedupFacts>, Deliveries), OpenError> {
        let listing = list(self.folder)?;
        let files = listing
            .iter()
            .filter(|(_, kinds)| kinds.contains(&Kind::Dedup));
        let mut known = Vec::new();
        let _ = files;
        for (first, _) in &listing {
            known.extend(self.dedup_facts(*first, segments)?);
        }
        let mut deliveries = Deliveries::new(self.dedup_entries_max);
        deliveries.reserve(known.iter().map(|facts| facts.entries).sum());
        for facts in self.needed(&known) {
            let entries = facts.entries(self.folder).map_err(|e| self.io(e))?;
            let entries = match entries {
                Some(entries) => entries,
                None => self.entries_again(facts.first, segments)?,
            };
            entries
                .into_iter()
                .for_each(|entry| deliveries.remember(entry));
        }
        if let Some(Segment::Open(open)) = segments.last() {
            let contents = open.contents();
            (contents.entries.iter()).for_each(|entry| deliveries.remember(*entry));
        }
        deliveries.forget(self.now);
        Ok((known, deliveries))
    }

    /// The files whose entries may still be asked for: the newest that hold as
    /// many as are remembered.
    fn needed<'f>(&self, known: &'f [DedupFacts]) -> Vec<&'f DedupFacts> {
        let mut entries = 0;
        let newest = known.iter().rev().take_while(|facts| {
            let wanted = entries < self.dedup_entries_max;
            entries += facts.entries;
            wanted
        });
        let mut needed: Vec<_> = newest.filter(|facts| facts.until > self.now).collect();
        needed.reverse();
        needed
    }

    /// What a segment's dedup file says of itself; made anew where it is
    /// damaged and the log is there.
    fn dedup_facts(
        &self,
        first: Sequence,
        segments: &[Segment],
    ) -> Result<Option<DedupFacts>, OpenError> {
        let sealed = segments.iter().find(|segment| segment.first() == first);
        let is_expected = match sealed {
            Some(Segment::Sealed(sealed)) => sealed.facts.dedup_entries > 0,
            Some(Segment::Open(_)) => return Ok(None),
            None => true,
        };
        let load = || DedupFacts::load(self.folder, first).map_err(|e| self.io(e));
        match load()? {
            Some(facts) => Ok(Some(facts)),
            None if !is_expected => Ok(None),
            None => {
                self.entries_again(first, segments)?;
                load()
            }
        }
    }

    /// The dedup entries of a segment whose file of them is damaged.
    fn entries_again(
        &self,
        first: Sequence,
        segments: &[Segment],
    ) -> Result<Vec<Entry>, OpenError> {
        let path: PathBuf = segment::path(self.folder, first, Kind::Dedup);
        if segments.iter().any(|segment| segment.first() == first) {
            tracing::warn!(path = %path.display(), "damaged; it is made anew");
            return self.seal(first).map(|(_, entries)| entries);
        }
        if self.new_epoch {
            tracing::warn!(path = %path.display(), "damaged; late duplicates may be stored again");
            files::remove(&path).map_err(|e| self.io(e))?;
            return Ok(Vec::new());
        }
        Err(damaged(
            self.folder,
            format!("{} is damaged", path.display()),
        ))
    }
}

fn acknowledged(mark: Mark) -> String {
    format!("event {} was acknowledged", mark.sequence)
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
    let path = segment::path(journal, first, Kind::Log);
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
