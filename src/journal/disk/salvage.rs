//! `--new-epoch`: makes of a damaged folder one that has holes and is whole.
//!
//! Keeps every whole group: what is damaged between them goes, and a log in
//! which something was is written anew as one log per stretch. A log without a
//! head is set aside, since nothing in it can be believed.
//!
//! Invariant: what is written here is in place before what it comes from goes;
//! so a second attempt finds at least as much as the first.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use hookrill_core::Sequence;

use super::{
    floor,
    found::{list, open_log},
    index_file::Facts,
    scan::{self, Run},
    segment::{self, FileKind, Head},
};
use crate::{durable, journal::OpenError};

/// What a log without a head is called by.
const ASIDE: &str = "damaged";
/// No event's record is shorter.
const RECORD_BYTES_MIN: u64 = 42;

/// Repairs what can be repaired, says what is lost, and leaves the rest to be
/// judged; blocks.
pub(super) fn salvage(journal: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io {
        path: segment::folder(journal),
        source,
    };
    if let Err(error) = floor::load(journal) {
        tracing::warn!(%error, "what was deleted before may be there again");
        floor::store(journal, Sequence::ZERO).map_err(io)?;
    }
    for (first, kinds) in list(journal)? {
        if !kinds.contains(&FileKind::Log) || is_sealed(journal, first).map_err(io)? {
            continue;
        }
        durable::remove(&segment::path(journal, first, FileKind::Index)).map_err(io)?;
        match open_log(journal, first) {
            Ok((head, file)) => repair(journal, &head, &file).map_err(io)?,
            Err(OpenError::Storage { reason, .. }) => {
                tracing::error!(reason, "the events in it are lost; it is set aside");
                set_aside(journal, first).map_err(io)?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Whether an index says that the log is what it was when it was sealed.
fn is_sealed(journal: &Path, first: Sequence) -> io::Result<bool> {
    let len = fs::metadata(segment::path(journal, first, FileKind::Log))?.len();
    Ok(match Facts::load(journal, first)? {
        Some(Ok(facts)) => len == u64::from(facts.log_bytes),
        // To be refused, not repaired.
        Some(Err(segment::NoHead::Newer(_))) => true,
        _ => false,
    })
}

fn repair(journal: &Path, head: &Head, file: &File) -> io::Result<()> {
    let runs = scan::runs(file, head)?;
    let path = segment::path(journal, head.first, FileKind::Log);
    match &runs[..] {
        [] => durable::remove(&path),
        [all] if all.first == head.first && all.begin == segment::HEAD_BYTES as u64 => {
            file.set_len(all.end)?;
            file.sync_all()
        }
        several => {
            let whole: Vec<_> = several
                .iter()
                .map(|r| format!("{}–{}", r.first, r.last))
                .collect();
            let whole = whole.join(", ");
            tracing::error!(path = %path.display(), whole, "damaged; what is between these is lost");
            // The one that takes the damaged log's place comes last.
            for run in several.iter().rev() {
                rewrite(journal, head, file, *run)?;
            }
            match several.first() {
                Some(run) if run.first == head.first => Ok(()),
                _ => durable::remove(&path),
            }
        }
    }
}

/// Makes a log of its own of some groups. They have the same salt, and so the
/// same bytes.
fn rewrite(journal: &Path, head: &Head, file: &File, run: Run) -> io::Result<()> {
    let head = Head {
        first: run.first,
        ..*head
    };
    let mut bytes = head.encode().to_vec();
    let len = usize::try_from(run.end - run.begin).map_err(io::Error::other)?;
    bytes.resize(segment::HEAD_BYTES + len, 0);
    file.read_exact_at(&mut bytes[segment::HEAD_BYTES..], run.begin)?;
    let path = segment::path(journal, run.first, FileKind::Log);
    durable::replace(&path, &bytes).map(drop)
}

fn set_aside(journal: &Path, first: Sequence) -> io::Result<()> {
    let path = segment::path(journal, first, FileKind::Log);
    fs::rename(&path, path.with_added_extension(ASIDE))?;
    durable::sync_folder(&segment::folder(journal))
}

/// No event in a log that was set aside has a higher sequence.
pub(super) fn highest_set_aside(journal: &Path) -> Sequence {
    let entries = fs::read_dir(segment::folder(journal)).into_iter().flatten();
    let highest = entries.flatten().filter_map(|entry| {
        let path = entry.path();
        let is_aside = path.extension().is_some_and(|end| end == ASIDE);
        let name = path.file_stem().filter(|_| is_aside)?.to_str()?;
        let (first, _) = segment::parse_name(name)?;
        let bytes = entry.metadata().ok()?.len();
        Some(first.0.saturating_add(bytes / RECORD_BYTES_MIN))
    });
    Sequence(highest.max().unwrap_or_default())
}
