//! Deaths between any two writes, and at any moment.

use std::path::PathBuf;

use super::{damage::copy, *};

/// A world in which the folder is copied before and after each write of some
/// kind, as a kill would leave it. The copies are counted from 0.
fn dying(folder: PathBuf, copies: PathBuf, acknowledged: Arc<AtomicU64>) -> Env {
    let count = Mutex::new(0);
    Env {
        write: Arc::new(move |purpose, write| {
            // One write at a time, or a copy would have parts of another.
            let mut count = count.lock();
            let mut die = |when: &str| {
                let known = acknowledged.load(Ordering::SeqCst);
                let name = format!("{:04} {when} {purpose:?} {known}", *count);
                copy(&folder, &copies.join(name));
                *count += 1;
            };
            die("before");
            let written = write();
            die("after");
            written
        }),
        ..tiny()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_between_any_two_writes_loses_nothing() {
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let acknowledged = Arc::new(AtomicU64::new(0));
    let env = dying(
        folder.path().into(),
        copies.path().into(),
        Arc::clone(&acknowledged),
    );
    let tight = Bounds {
        retention: Retention {
            bytes: 10_000,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    let disk = open_in(settings(folder.path()), tight, env).await.unwrap();
    for n in 1..=70_u8 {
        let dedup = (n % 3 == 0).then(|| key(n));
        let body = vec![n; 300];
        let appended = disk.append(draft("a.b", body), dedup).await.unwrap();
        acknowledged.store(appended.sequence.0, Ordering::SeqCst);
    }
    let index = segment::path(folder.path(), Sequence(1), FileKind::Index);
    until(|| disk.floor() >= Sequence(30) && !index.exists()).await;
    disk.close().await;
    let mut kinds = std::collections::BTreeSet::new();
    for copied in fs::read_dir(copies.path()).unwrap() {
        let path = copied.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let words: Vec<_> = name.split(' ').collect();
        kinds.insert((words[1].to_owned(), words[2].to_owned()));
        check_survivor(&path, words[3].parse().unwrap(), &name).await;
    }
    // Five kinds of writes, before and after.
    assert_eq!(kinds.len(), 10, "{kinds:?}");
}

async fn check_survivor(path: &Path, acknowledged: u64, name: &str) {
    // What is half written under another name means nothing.
    let temporaries = [path.into(), segment::folder(path)]
        .map(|folder: PathBuf| folder.join(".0123456789abcdef.new"));
    for temporary in &temporaries {
        fs::write(temporary, "half").unwrap();
    }
    for _ in 0..2 {
        let disk = open_in(settings(path), ROOMY, tiny()).await;
        let disk = disk.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(disk.head().0 >= acknowledged, "{name}");
        let events = read_all(&disk, &Selection::all(), 1 << 20).await;
        let expected: Vec<_> = (disk.floor().0 + 1..=disk.head().0).collect();
        assert_eq!(sequences(&events), expected, "{name}");
        for event in events {
            assert_eq!(
                event.draft.body[..],
                [event.sequence.0 as u8; 300],
                "{name}"
            );
        }
        for n in (3..=acknowledged).step_by(3) {
            let again = draft("a.b", "x");
            let again = disk.append(again, Some(key(n as u8))).await.unwrap();
            assert_eq!((again.sequence.0, again.duplicate), (n, true), "{name}");
        }
        disk.close().await;
    }
    for temporary in temporaries {
        assert!(!temporary.exists(), "{name}");
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
