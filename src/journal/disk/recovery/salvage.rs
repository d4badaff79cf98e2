//! `--new-epoch`: makes a damaged folder usable, with gaps where the damage
//! was.
//!
//! Keeps every whole group. What is damaged between them is dropped: a log with
//! damage in it is rewritten as one log per run of whole groups. A log without
//! a header is set aside, since nothing in it can be believed.
//!
//! Invariant: what is written here is in place before what it comes from is
//! removed; so a second attempt finds at least as much as the first.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use hookrill_core::Sequence;

use super::directory::{list, open_log};
use crate::{
    durable,
    journal::{
        DamageError, OpenError,
        disk::{
            floor,
            group::RECORD_BYTES_MIN,
            index_file::IndexHeader,
            scan::{self, GroupRun},
            segment::{self, FileKind, HeaderError, SegmentHeader},
        },
    },
};

/// What the name of a log without a header ends with.
const SET_ASIDE_END: &str = "damaged";

/// Repairs what can be repaired, logs what is lost, and leaves the rest to
/// recovery; blocks.
pub(super) fn salvage(journal: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io {
        path: segment::folder(journal),
        source,
    };
    if let Err(error) = floor::load(journal) {
        tracing::warn!(%error, "events that retention had deleted may reappear");
        floor::store(journal, Sequence::ZERO).map_err(io)?;
    }
    for (first, kinds) in list(journal)? {
        if !kinds.contains(&FileKind::Log) || is_sealed(journal, first).map_err(io)? {
            continue;
        }
        durable::remove(&segment::path(journal, first, FileKind::Index)).map_err(io)?;
        match open_log(journal, first) {
            Ok((header, file)) => repair(journal, &header, &file).map_err(io)?,
            Err(OpenError::Damaged {
                source: error @ DamageError::SegmentHeader(_),
                ..
            }) => {
                tracing::error!(%error, "the events of this segment are lost; its file is set aside");
                set_aside(journal, first).map_err(io)?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Whether an index says that the log is as it was when it was sealed.
fn is_sealed(journal: &Path, first: Sequence) -> io::Result<bool> {
    let len = fs::metadata(segment::path(journal, first, FileKind::Log))?.len();
    Ok(match IndexHeader::load(journal, first)? {
        Some(Ok(header)) => len == u64::from(header.log_bytes),
        // Recovery refuses it; it is not to be repaired.
        Some(Err(HeaderError::Newer(_))) => true,
        _ => false,
    })
}

fn repair(journal: &Path, header: &SegmentHeader, file: &File) -> io::Result<()> {
    let (runs, work) = scan::group_runs(file, header)?;
    let path = segment::path(journal, header.first, FileKind::Log);
    if work.unchecked > 0 {
        let unchecked = work.unchecked;
        tracing::error!(path = %path.display(), unchecked, "this file is damaged, and too large to search for all intact events");
    }
    match &runs[..] {
        [] => durable::remove(&path),
        [all] if all.first == header.first && all.begin == segment::HEADER_BYTES as u64 => {
            file.set_len(all.end)?;
            file.sync_all()
        }
        several => {
            let names = several.iter().map(|r| format!("{}–{}", r.first, r.last));
            let whole = names.collect::<Vec<_>>().join(", ");
            tracing::error!(path = %path.display(), whole, "this file is damaged; the events between the intact ones are lost");
            // The one that takes the damaged log's place comes last.
            for run in several.iter().rev() {
                rewrite(journal, header, file, *run)?;
            }
            match several.first() {
                Some(run) if run.first == header.first => Ok(()),
                _ => durable::remove(&path),
            }
        }
    }
}

/// Makes a log of its own of some groups. It has the same salt, so the groups
/// stay as they are, to the byte.
fn rewrite(journal: &Path, header: &SegmentHeader, file: &File, run: GroupRun) -> io::Result<()> {
    let header = SegmentHeader {
        first: run.first,
        ..*header
    };
    let mut bytes = header.encode().to_vec();
    let len = usize::try_from(run.end - run.begin).map_err(io::Error::other)?;
    bytes.resize(segment::HEADER_BYTES + len, 0);
    file.read_exact_at(&mut bytes[segment::HEADER_BYTES..], run.begin)?;
    let path = segment::path(journal, run.first, FileKind::Log);
    durable::replace(&path, &bytes).map(drop)
}

fn set_aside(journal: &Path, first: Sequence) -> io::Result<()> {
    let path = segment::path(journal, first, FileKind::Log);
    fs::rename(&path, path.with_added_extension(SET_ASIDE_END))?;
    durable::sync_folder(&segment::folder(journal))
}

/// A sequence that no event in a log that was set aside is above.
pub(super) fn max_set_aside(journal: &Path) -> Sequence {
    let entries = fs::read_dir(segment::folder(journal)).into_iter().flatten();
    let bounds = entries.flatten().filter_map(|entry| {
        let path = entry.path();
        let is_aside = path.extension().is_some_and(|end| end == SET_ASIDE_END);
        let name = path.file_stem().filter(|_| is_aside)?.to_str()?;
        let (first, _) = segment::parse_name(name)?;
        let bytes = entry.metadata().ok()?.len();
        Some(first.0.saturating_add(bytes / RECORD_BYTES_MIN as u64))
    });
    Sequence(bounds.max().unwrap_or_default())
}
