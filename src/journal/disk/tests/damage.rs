//! Files that changed while nobody looked, and processes that were killed.

use std::path::PathBuf;

use super::*;

pub(super) const EVENTS: u64 = 60;

pub(super) fn body(n: u64) -> String {
    format!("{n} {}", "x".repeat(100))
}

/// A closed journal of several segments, all but the last sealed.
pub(super) async fn template() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let disk = open_in(settings(folder.path()), ROOMY, tiny())
        .await
        .unwrap();
    for n in 1..=EVENTS {
        let dedup = Some(key(n as u8));
        disk.append(draft("a.b", body(n)), dedup).await.unwrap();
    }
    let unsealed = || logs(folder.path()).len() - of_kind(folder.path(), FileKind::Index).len();
    until(|| unsealed() == 1).await;
    disk.close().await;
    assert!(logs(folder.path()).len() >= 3);
    folder
}

/// A closed journal of one segment, and where its groups begin.
pub(super) async fn one_segment(events: u64) -> (TempDir, PathBuf, Vec<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path()).await;
    let path = segment::path(folder.path(), Sequence(1), FileKind::Log);
    let mut begins = Vec::new();
    for n in 1..=events {
        let files = disk.reads.files_for_tests();
        let segments = files.segments.list();
        begins.push(segment::HEADER_BYTES + segments[0].bytes() as usize);
        append(&disk, draft("a.b", body(n))).await;
    }
    disk.close().await;
    (folder, path, begins)
}

/// Sets the folder's mark back, as it is for up to a second.
pub(super) fn lag(folder: &Path, sequence: u64) {
    let mark = HighWaterMark::load(folder).unwrap().unwrap();
    let lagging = HighWaterMark {
        sequence: Sequence(sequence),
        ..mark
    };
    lagging.store(folder).unwrap();
}

pub(super) fn of_kind(folder: &Path, kind: FileKind) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&segment::folder(folder), &mut found);
    let is_of_kind = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        segment::parse_name(name).is_some_and(|(_, other)| other == kind)
    };
    found.retain(is_of_kind);
    found.sort();
    found
}

pub(super) fn logs(folder: &Path) -> Vec<PathBuf> {
    of_kind(folder, FileKind::Log)
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = fs::read_dir(from).unwrap().map(Result::unwrap).collect();
    // The mark first: like a kill, a copy must not have it newer than the rest.
    entries.sort_by_key(|entry| entry.file_name() != "high-water");
    // Temporaries come and go.
    entries.retain(|entry| entry.path().extension().is_none_or(|end| end != "new"));
    for entry in entries {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(super) fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// Opens a damaged folder; returns whether the damage was noticed. Fails if
/// events or dedup entries are missing and nothing says so.
async fn noticed(folder: &Path, damage: &str) -> bool {
    let Ok(disk) = open_in(settings(folder), ROOMY, tiny()).await else {
        return true;
    };
    for selection in [Selection::all(), Selection::topic("a".parse().unwrap())] {
        let page = disk.read(&selection, Sequence::ZERO, 1 << 20).await;
        let Ok(page) = page else {
            return true;
        };
        if page.is_damaged || page.scanned < Sequence(EVENTS) {
            return true;
        }
        let expected: Vec<_> = (1..=EVENTS).collect();
        assert_eq!(sequences(&page.events), expected, "{damage}");
        for event in page.events {
            assert_eq!(event.draft.body, body(event.sequence.0), "{damage}");
        }
    }
    for n in 1..=EVENTS {
        let again = disk.append(draft("a.b", "x"), Some(key(n as u8))).await;
        let again = again.unwrap();
        assert_eq!((again.sequence.0, again.duplicate), (n, true), "{damage}");
    }
    disk.close().await;
    false
}

/// Damages a copy of each file in many places.
async fn damaged_everywhere(damage: impl Fn(&mut Vec<u8>, usize)) -> (usize, usize) {
    let template = template().await;
    let mut paths = Vec::new();
    files(template.path(), &mut paths);
    paths.retain(|path| path.file_name().is_some_and(|name| name != "lock"));
    let (mut tried, mut found) = (0, 0);
    for path in paths {
        let whole = fs::read(&path).unwrap();
        let places = 60.min(whole.len());
        for place in 0..places {
            let at = whole.len() * place / places + (place * 7) % 5;
            let copied = tempfile::tempdir().unwrap();
            copy(template.path(), copied.path());
            let target = copied
                .path()
                .join(path.strip_prefix(template.path()).unwrap());
            let mut bytes = whole.clone();
            damage(&mut bytes, at.min(whole.len() - 1));
            fs::write(&target, bytes).unwrap();
            tried += 1;
            let what = format!("{} at {at} of {}", target.display(), whole.len());
            found += usize::from(noticed(copied.path(), &what).await);
        }
    }
    (tried, found)
}

#[tokio::test]
async fn a_flipped_byte_is_never_a_silent_loss() {
    let (tried, found) = damaged_everywhere(|bytes, at| bytes[at] ^= 0x10).await;
    println!("{found} of {tried} flips were noticed; the others did no harm");
    assert!(found >= 100, "{found} of {tried}");
}

#[tokio::test]
async fn a_cut_is_never_a_silent_loss() {
    let (tried, found) = damaged_everywhere(Vec::truncate).await;
    println!("{found} of {tried} cuts were noticed; the others did no harm");
    assert!(found >= 100, "{found} of {tried}");
}

#[tokio::test]
async fn zeros_are_never_a_silent_loss() {
    let wipe = |bytes: &mut Vec<u8>, at: usize| {
        let end = bytes.len().min(at + 512);
        bytes[at..end].fill(0);
    };
    let (tried, found) = damaged_everywhere(wipe).await;
    println!("{found} of {tried} were noticed; the others did no harm");
    assert!(found >= 100, "{found} of {tried}");
}

#[tokio::test]
async fn a_file_that_is_gone_is_refused_or_rebuilt() {
    let template = template().await;
    let mut paths = Vec::new();
    files(&segment::folder(template.path()), &mut paths);
    for path in paths {
        let copied = tempfile::tempdir().unwrap();
        copy(template.path(), copied.path());
        let target = path.strip_prefix(template.path()).unwrap();
        fs::remove_file(copied.path().join(target)).unwrap();
        let what = target.display().to_string();
        let refused = noticed(copied.path(), &what).await;
        assert_eq!(refused, what.ends_with(".log"), "{what}");
        if !refused {
            assert!(copied.path().join(target).exists(), "{what} is rebuilt");
            continue;
        }
        let error = try_open(copied.path()).await.err().unwrap();
        assert!(matches!(error, OpenError::Lost { .. }), "{error:?}");
        let with_new_epoch = DiskSettings {
            new_epoch: true,
            ..settings(copied.path())
        };
        let disk = open_in(with_new_epoch, ROOMY, tiny()).await.unwrap();
        assert!(disk.head() >= Sequence(EVENTS), "{what}: {}", disk.head());
        let left = read_all(&disk, &Selection::all(), 1 << 20).await.len() as u64;
        assert!(
            (1..EVENTS).contains(&left),
            "{left} are left without {what}"
        );
        disk.close().await;
        let reopened = open(copied.path()).await;
        let events = read_all(&reopened, &Selection::all(), 1 << 20).await;
        assert_eq!(events.len() as u64, left);
    }
}

#[tokio::test]
async fn a_segment_that_is_gone_with_all_its_files_is_refused() {
    let template = template().await;
    for log in logs(template.path()) {
        let copied = tempfile::tempdir().unwrap();
        copy(template.path(), copied.path());
        let name = log.file_name().unwrap().to_str().unwrap();
        let (first, _) = segment::parse_name(name).unwrap();
        for kind in [FileKind::Log, FileKind::Index, FileKind::Dedup] {
            _ = fs::remove_file(segment::path(copied.path(), first, kind));
        }
        let error = try_open(copied.path()).await.err().unwrap();
        assert!(matches!(error, OpenError::Lost { .. }), "{error:?}");
    }
}

/// What a crash leaves of the last group: cut, or with zeros where it should
/// be, from the end or from the front.
#[tokio::test]
async fn a_torn_end_is_cut_at_any_length_and_nothing_acknowledged_is_lost() {
    let (template, path, begins) = one_segment(3).await;
    let mark = HighWaterMark::load(template.path()).unwrap().unwrap();
    let lagging = HighWaterMark {
        sequence: Sequence(2),
        ..mark
    };
    let whole = fs::read(&path).unwrap();
    let begin = begins[2];
    let len = whole[begin..].iter().rposition(|b| *b != 0).unwrap() + 1;
    let tears: [&dyn Fn(usize) -> Vec<u8>; 3] = [
        &|kept| whole[..begin + kept].to_vec(),
        &|kept| {
            let mut torn = whole.clone();
            torn[begin + kept..].fill(0);
            torn
        },
        &|kept| {
            let mut torn = whole.clone();
            torn[begin..begin + len - kept].fill(0);
            torn
        },
    ];
    for (how, tear) in tears.iter().enumerate() {
        for kept in 0..len - 1 {
            let what = format!("{how}, {kept} of {len} bytes kept");
            fs::write(&path, tear(kept)).unwrap();
            mark.store(template.path()).unwrap();
            let refused = try_open(template.path()).await.err().expect(&what);
            assert!(matches!(refused, OpenError::Lost { .. }), "{refused:?}");
            // Who wants the evidence still has it.
            assert!(fs::read(&path).unwrap() == tear(kept), "{what}");
            lagging.store(template.path()).unwrap();
            let disk = open(template.path()).await;
            assert_eq!(disk.head(), Sequence(2), "{what}");
            assert_eq!(append(&disk, draft("c", "x")).await, Sequence(3));
            assert_eq!(read_all(&disk, &Selection::all(), 1000).await.len(), 3);
            disk.close().await;
            let reopened = open(template.path()).await;
            let events = read_all(&reopened, &Selection::all(), 1000).await;
            assert_eq!(events[2].draft.body, "x", "{what}");
            reopened.close().await;
        }
    }
}

#[tokio::test]
async fn a_body_that_looks_like_a_log_is_no_damage_in_a_torn_end() {
    let (_other, other, _) = one_segment(3).await;
    let (folder, path, begins) = one_segment(2).await;
    let disk = open(folder.path()).await;
    append(&disk, draft("a", fs::read(other).unwrap())).await;
    disk.close().await;
    let mark = HighWaterMark::load(folder.path()).unwrap().unwrap();
    let lagging = HighWaterMark {
        sequence: Sequence(1),
        ..mark
    };
    lagging.store(folder.path()).unwrap();
    let mut torn = fs::read(&path).unwrap();
    torn[begins[1] + 3] ^= 1;
    fs::write(&path, &torn).unwrap();
    // The third is whole behind the damaged second.
    let refused = try_open(folder.path()).await.err().unwrap();
    assert!(
        refused.to_string().contains("event 2 is missing"),
        "{refused}"
    );
    let third = begins[1] + (begins[1] - begins[0]);
    torn[third + 50] ^= 1;
    fs::write(&path, &torn).unwrap();
    assert_eq!(open(folder.path()).await.head(), Sequence(1));
}

#[tokio::test]
async fn a_journal_below_its_high_water_mark_is_refused_with_what_to_do() {
    let folder = template().await;
    let mark = HighWaterMark::load(folder.path()).unwrap().unwrap();
    assert_eq!(mark.sequence, Sequence(EVENTS));
    let above = HighWaterMark {
        sequence: Sequence(EVENTS + 1),
        ..mark
    };
    above.store(folder.path()).unwrap();
    for _ in 0..2 {
        let refused = try_open(folder.path()).await.err().unwrap();
        assert!(matches!(refused, OpenError::Lost { .. }), "{refused:?}");
        let text = refused.to_string();
        for part in ["event 61", "event 60", "backup", "--new-epoch"] {
            assert!(text.contains(part), "{text}");
        }
    }
    mark.store(folder.path()).unwrap();
    open(folder.path()).await;
}

#[tokio::test]
async fn a_mark_that_cannot_be_used_is_refused() {
    let folder = template().await;
    let path = folder.path().join("high-water");
    let whole = fs::read(&path).unwrap();
    let other = HighWaterMark {
        epoch: "other".parse().unwrap(),
        sequence: Sequence(1),
    };
    let spoilers: [&dyn Fn(); 4] = [
        &|| fs::write(&path, "").unwrap(),
        &|| fs::write(&path, &whole[..20]).unwrap(),
        &|| fs::remove_file(&path).unwrap(),
        &|| other.store(folder.path()).unwrap(),
    ];
    for spoil in spoilers {
        spoil();
        let refused = try_open(folder.path()).await.err().unwrap();
        assert!(
            matches!(refused, OpenError::HighWater { .. }),
            "{refused:?}"
        );
        assert!(refused.to_string().contains("--new-epoch"), "{refused}");
    }
    fs::write(&path, whole).unwrap();
    open(folder.path()).await;
}

#[tokio::test]
async fn a_new_epoch_accepts_what_is_there_and_never_restarts_sequences() {
    let folder = template().await;
    let epoch = HighWaterMark::load(folder.path()).unwrap().unwrap().epoch;
    fs::write(folder.path().join("high-water"), "damaged").unwrap();
    let with_new_epoch = DiskSettings {
        new_epoch: true,
        ..settings(folder.path())
    };
    let disk = open_in(with_new_epoch, ROOMY, quick()).await.unwrap();
    let renamed = disk.epoch();
    assert_ne!(renamed, epoch);
    assert_eq!(read_all(&disk, &Selection::all(), 1 << 20).await.len(), 60);
    assert_eq!(append(&disk, draft("a", "x")).await, Sequence(61));
    disk.close().await;
    let reopened = open(folder.path()).await;
    assert_eq!((reopened.epoch(), reopened.head()), (renamed, Sequence(61)));
}

#[tokio::test]
async fn a_new_epoch_opens_whatever_one_byte_or_cut_has_done() {
    let template = template().await;
    let mut paths = Vec::new();
    files(template.path(), &mut paths);
    paths.retain(|path| path.file_name().is_some_and(|name| name != "lock"));
    for path in paths {
        let whole = fs::read(&path).unwrap();
        for place_at in 0..20.min(whole.len()) {
            let at = whole.len() * place_at / 20;
            let copied = tempfile::tempdir().unwrap();
            copy(template.path(), copied.path());
            let target = path.strip_prefix(template.path()).unwrap();
            let mut bytes = whole.clone();
            match place_at % 2 {
                0 => bytes[at] ^= 0x10,
                _ => bytes.truncate(at),
            }
            fs::write(copied.path().join(target), bytes).unwrap();
            let what = format!("{} at {at}", target.display());
            let with_new_epoch = DiskSettings {
                new_epoch: true,
                ..settings(copied.path())
            };
            let disk = open_in(with_new_epoch, ROOMY, tiny()).await.expect(&what);
            assert!(disk.head() >= Sequence(EVENTS - 30), "{what}");
            let next = append(&disk, draft("a", "x")).await;
            assert!(next > disk.floor(), "{what}");
            disk.close().await;
            let reopened = open(copied.path()).await;
            assert_eq!(reopened.head(), next, "{what}");
        }
    }
}

#[tokio::test]
async fn a_journal_that_is_gone_under_its_mark_is_refused() {
    let folder = template().await;
    fs::remove_dir_all(segment::folder(folder.path())).unwrap();
    for _ in 0..2 {
        let refused = try_open(folder.path()).await.err().unwrap();
        assert!(matches!(refused, OpenError::Lost { .. }), "{refused:?}");
    }
}

#[tokio::test]
async fn a_hole_is_refused_and_a_new_epoch_accepts_it() {
    // In the segment that is written, and in one that was not sealed in time.
    for (behind, sequence) in [(0, 1), (0, 30), (0, 59), (2, 1), (2, 30), (2, 60)] {
        let (folder, path, begins) = one_segment(EVENTS).await;
        if behind > 0 {
            let roomy = || Env {
                sizes: Some(Sizes {
                    segment_events: 1,
                    unsealed_max: 100,
                    ..Sizes::for_retention(&ROOMY.retention)
                }),
                write: Arc::new(|purpose, write| match purpose {
                    WritePurpose::Seal => Err(std::io::ErrorKind::StorageFull.into()),
                    _ => write(),
                }),
                ..quick()
            };
            let disk = open_in(settings(folder.path()), ROOMY, roomy())
                .await
                .unwrap();
            for _ in 0..behind {
                append(&disk, draft("a.b", "x")).await;
            }
            disk.close().await;
        }
        let mut bytes = fs::read(&path).unwrap();
        bytes[begins[sequence as usize - 1] + 60] ^= 1;
        fs::write(&path, bytes).unwrap();
        let refused = try_open(folder.path()).await.err().unwrap();
        assert!(matches!(refused, OpenError::Lost { .. }), "{refused:?}");
        let hint = format!("event {sequence} is missing");
        assert!(refused.to_string().contains(&hint), "{refused}");
        let with_new_epoch = DiskSettings {
            new_epoch: true,
            ..settings(folder.path())
        };
        open_in(with_new_epoch, ROOMY, quick())
            .await
            .unwrap()
            .close()
            .await;
        let disk = open(folder.path()).await;
        let left = read_all(&disk, &Selection::all(), 1 << 20).await;
        assert_eq!(left.len() as u64, 59 + behind);
        let next = append(&disk, draft("a", "x")).await;
        assert_eq!(next, Sequence(61 + behind));
    }
}

#[tokio::test]
async fn a_folder_of_a_newer_format_is_named() {
    let template = template().await;
    let (first, last) = (0, logs(template.path()).len() - 1);
    let index = of_kind(template.path(), FileKind::Index)[first].clone();
    for path in [index, logs(template.path())[last].clone()] {
        let copied = tempfile::tempdir().unwrap();
        copy(template.path(), copied.path());
        let target = copied
            .path()
            .join(path.strip_prefix(template.path()).unwrap());
        let mut bytes = fs::read(&target).unwrap();
        bytes[8] = segment::FORMAT + 1;
        // What a newer one writes has its own checksum, wherever that is.
        bytes[56] ^= 1;
        fs::write(&target, bytes).unwrap();
        for new_epoch in [false, true] {
            let place = DiskSettings {
                new_epoch,
                ..settings(copied.path())
            };
            let refused = open_in(place, ROOMY, quick()).await.err().unwrap();
            assert!(
                matches!(refused, OpenError::Newer { version: 3, .. }),
                "{refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_folder_of_the_former_storage_engine_is_refused_and_not_started_empty() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("fjall")).unwrap();
    for _ in 0..2 {
        let refused = try_open(folder.path()).await.err().unwrap();
        assert!(matches!(refused, OpenError::Older { .. }), "{refused:?}");
        let checked = journal::check(folder.path(), &mut |_, _| {}).err().unwrap();
        assert!(matches!(checked, OpenError::Older { .. }), "{checked:?}");
    }
}

#[tokio::test]
async fn a_file_in_place_of_the_folder_is_told_once_and_plainly() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below")] {
        let opened = try_open(&path).await.err().unwrap();
        let checked = journal::check(&path, &mut |_, _| {}).err().unwrap();
        for refused in [opened, checked] {
            let said = crate::telemetry::with_causes(&refused).to_string();
            let beginning = format!(
                "{} is a file, and the journal needs a folder",
                file.display()
            );
            assert!(said.starts_with(&beginning), "{said}");
            assert!(!said.contains("os error"), "{said}");
        }
    }
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[tokio::test]
async fn the_mark_follows_the_head_without_a_close() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path()).await;
    for n in 1..=3 {
        append(&disk, draft("a", "x")).await;
        let marked = || {
            HighWaterMark::load(folder.path())
                .unwrap()
                .unwrap()
                .sequence
        };
        until(|| marked() == Sequence(n)).await;
    }
}
