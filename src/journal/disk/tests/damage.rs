//! Files that changed while nobody looked, and processes that were killed.

use std::path::PathBuf;

use fjall::PersistMode;

use super::{super::keys::Named, *};

const EVENTS: u64 = 60;

/// A closed journal whose events are partly in tables and partly in the
/// engine's write-ahead journal.
async fn template() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path()).await;
    for n in 1..=EVENTS {
        let body = format!("{n} {}", "x".repeat(100));
        let dedup = Some(key(n as u8));
        disk.append(draft("a.b", body), dedup).await.unwrap();
        if n == EVENTS / 2 {
            let store = disk.reader.store_for_tests();
            store.events.rotate_memtable_and_wait().unwrap();
            store.index.rotate_memtable_and_wait().unwrap();
        }
    }
    disk.close().await;
    // Opening cuts the write-ahead journal to what was written.
    open(folder.path()).await.close().await;
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = fs::read_dir(from).unwrap().map(Result::unwrap).collect();
    // The mark first: like a kill, a copy must not have it newer than the rest.
    entries.sort_by_key(|entry| entry.file_name() != "high-water");
    // The one in the making comes and goes.
    entries.retain(|entry| entry.file_name() != "high-water.new");
    for entry in entries {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path(), found),
            false => found.push(entry.path()),
        }
    }
}

/// Opens a damaged folder; whether the damage was noticed. Fails where events
/// are missing and nothing says so.
async fn noticed(folder: &Path, damage: &str) -> bool {
    let Ok(disk) = try_open(folder).await else {
        return true;
    };
    for selection in [Selection::all(), Selection::topic("a".parse().unwrap())] {
        let page = disk.read(&selection, Sequence::ZERO, 1 << 20).await;
        let Ok(page) = page else {
            return true;
        };
        let expected: Vec<_> = (1..=EVENTS).collect();
        assert_eq!(sequences(&page.events), expected, "{damage}");
        for event in page.events {
            let body = format!("{} {}", event.sequence, "x".repeat(100));
            assert_eq!(event.draft.body, body, "{damage}");
        }
    }
    disk.close().await;
    false
}

/// Damages a copy of each of the engine's files in many places.
async fn damaged_everywhere(damage: impl Fn(&mut Vec<u8>, usize)) -> (usize, usize) {
    let template = template().await;
    let mut paths = Vec::new();
    files(&Store::files(template.path()), &mut paths);
    let (mut tried, mut found) = (0, 0);
    for path in paths {
        let whole = fs::read(&path).unwrap();
        let journal = path.extension().is_some_and(|e| e == "jnl");
        let places = if journal { 40 } else { 4 };
        for place in 0..places.min(whole.len()) {
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
    assert!(found >= 30, "{found} of {tried}");
}

#[tokio::test]
async fn a_cut_is_never_a_silent_loss() {
    let (tried, found) = damaged_everywhere(Vec::truncate).await;
    println!("{found} of {tried} cuts were noticed; the others did no harm");
    assert!(found >= 30, "{found} of {tried}");
}

#[tokio::test]
async fn a_journal_below_its_high_water_mark_is_refused_with_what_to_do() {
    let folder = template().await;
    let mark = Mark::load(folder.path()).unwrap().unwrap();
    assert_eq!(mark.sequence, Sequence(EVENTS));
    let above = Mark {
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
async fn a_mark_that_cannot_be_believed_is_refused() {
    let folder = template().await;
    let path = folder.path().join("high-water");
    let whole = fs::read(&path).unwrap();
    let other = Mark {
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
    let epoch = Mark::load(folder.path()).unwrap().unwrap().epoch;
    fs::write(folder.path().join("high-water"), "damaged").unwrap();
    let anew = Place {
        new_epoch: true,
        ..place(folder.path())
    };
    let disk = open_in(anew, ROOMY, quick()).await.unwrap();
    let renamed = disk.epoch();
    assert_ne!(renamed, epoch);
    assert_eq!(read_all(&disk, &Selection::all(), 1 << 20).await.len(), 60);
    assert_eq!(append(&disk, draft("a", "x")).await, Sequence(61));
    disk.close().await;
    let disk = open(folder.path()).await;
    assert_eq!((disk.epoch(), disk.head()), (renamed, Sequence(61)));
}

#[tokio::test]
async fn a_journal_that_is_gone_under_its_mark_is_refused() {
    let folder = template().await;
    fs::remove_dir_all(Store::files(folder.path())).unwrap();
    for _ in 0..2 {
        let refused = try_open(folder.path()).await.err().unwrap();
        assert!(matches!(refused, OpenError::Lost { .. }), "{refused:?}");
    }
}

#[tokio::test]
async fn a_hole_is_refused_and_a_new_epoch_accepts_it() {
    for sequence in [1, 30, EVENTS] {
        let folder = template().await;
        let disk = open(folder.path()).await;
        let store = disk.reader.store_for_tests();
        let mut batch = store.durable_batch();
        let hole = Sequence(sequence);
        batch.remove(&store.events, keys::sequence(hole));
        for key in keys::indexes(&"a.b".parse().unwrap(), hole) {
            batch.remove(&store.index, key);
        }
        batch.commit().unwrap();
        drop(store);
        disk.close().await;
        let refused = try_open(folder.path()).await.err().unwrap();
        assert!(matches!(refused, OpenError::Lost { .. }), "{refused:?}");
        let hint = format!("event {sequence} is not there");
        assert!(refused.to_string().contains(&hint), "{refused}");
        let anew = Place {
            new_epoch: true,
            ..place(folder.path())
        };
        open_in(anew, ROOMY, quick()).await.unwrap().close().await;
        let disk = open(folder.path()).await;
        assert_eq!(read_all(&disk, &Selection::all(), 1 << 20).await.len(), 59);
        assert_eq!(append(&disk, draft("a", "x")).await, Sequence(61));
    }
}

#[tokio::test]
async fn a_folder_of_a_newer_format_is_named() {
    let folder = template().await;
    let disk = open(folder.path()).await;
    let store = disk.reader.store_for_tests();
    let mut value = Named {
        epoch: disk.epoch(),
        start: Sequence::ZERO,
    }
    .encode();
    value[0] = 2;
    let mut batch = store.lazy_batch().durability(Some(PersistMode::SyncAll));
    batch.insert(&store.meta, keys::EPOCH, value);
    batch.commit().unwrap();
    drop(store);
    disk.close().await;
    let refused = try_open(folder.path()).await.err().unwrap();
    assert!(
        matches!(refused, OpenError::Newer { version: 2, .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_mark_follows_the_head_without_a_close() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path()).await;
    for n in 1..=3 {
        append(&disk, draft("a", "x")).await;
        let marked = || Mark::load(folder.path()).unwrap().unwrap().sequence;
        until(|| marked() == Sequence(n)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path()).await;
    let acknowledged = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let appends = join_all((0..4).map(|_| async {
        while !stop.load(Ordering::SeqCst) {
            let sequence = append(&disk, draft("a", vec![b'x'; 500])).await;
            acknowledged.fetch_max(sequence.0, Ordering::SeqCst);
        }
    }));
    // A copy sees what a killed process leaves behind.
    let kills = async {
        for round in 1..=5 {
            until(|| acknowledged.load(Ordering::SeqCst) > round * 100).await;
            let before = acknowledged.load(Ordering::SeqCst);
            let copied = tempfile::tempdir().unwrap();
            copy(folder.path(), copied.path());
            let survivor = open(copied.path()).await;
            assert!(survivor.head().0 >= before);
            let events = read_all(&survivor, &Selection::all(), 1 << 20).await;
            let expected: Vec<_> = (1..=survivor.head().0).collect();
            assert_eq!(sequences(&events), expected);
            survivor.close().await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(appends, kills);
}
