//! What only a journal on disk can get wrong, and the contract suite.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use futures_util::{StreamExt, future::join_all};
use hookrill_core::Clock;
use tempfile::TempDir;

use super::{
    env::{Sizes, WritePurpose},
    high_water::HighWaterMark,
    segment::FileKind,
    *,
};
use crate::journal::{
    self, Backend, Retention, Settings,
    contract::{
        Factory, NOON, ROOMY, TestClock, append, draft, key, read_all, sequences, suite, until,
    },
};

mod backup;
mod checks;
mod crashes;
mod damage;
mod figures;
mod gaps;
mod headers;
mod model;
mod power_cuts;
mod scarcity;
mod segments;
mod stalls;

/// The real environment, with a period that tests need not wait for.
fn quick() -> Env {
    Env {
        maintenance_period: Duration::from_millis(5),
        ..Env::real()
    }
}

/// Segments of a few events each, so that a test has many.
fn tiny() -> Env {
    let sizes = Sizes {
        segment_bytes: 4096,
        segment_events: 40,
        preallocated_bytes: 1024,
        unsealed_max: 2,
        // The contract says how far one read looks, however small segments are.
        segments_per_read: 1000,
        ..Sizes::for_retention(&ROOMY.retention)
    };
    Env {
        sizes: Some(sizes),
        ..quick()
    }
}

fn settings(folder: &Path) -> DiskSettings {
    DiskSettings {
        path: folder.into(),
        reserve_bytes: 0,
        // No test depends on how long a disk takes.
        commit_stall_max: Duration::from_secs(3600),
        new_epoch: false,
    }
}

async fn try_open(folder: &Path) -> Result<Disk, OpenError> {
    open_in(settings(folder), ROOMY, quick()).await
}

async fn open_in(settings: DiskSettings, bounds: Bounds, env: Env) -> Result<Disk, OpenError> {
    let clock = TestClock::at(NOON).clock();
    Disk::open_in(settings, bounds, clock, CommitMetrics::noop(), env).await
}

async fn open(folder: &Path) -> Disk {
    try_open(folder).await.unwrap()
}

/// Waits until the threads of a journal that was dropped are gone.
async fn open_after_drop(folder: &Path) -> Disk {
    loop {
        match try_open(folder).await {
            Ok(disk) => return disk,
            Err(OpenError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(e) => panic!("{e}"),
        }
    }
}

/// Opens journals in such an environment.
struct OnDisk(fn() -> Env);

impl Factory for OnDisk {
    type Guard = TempDir;

    async fn open(&self, bounds: Bounds, clock: SteadyClock) -> (Arc<dyn Journal>, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let disk = Disk::open_in(settings, bounds, clock, CommitMetrics::noop(), (self.0)());
        (Arc::new(disk.await.unwrap()), folder)
    }
}

suite! { OnDisk(quick) }

mod in_tiny_segments {
    use super::*;

    suite! { OnDisk(tiny) }
}

#[tokio::test]
async fn settings_say_which_journal_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Backend::Disk {
        path: folder.path().join("journal"),
        reserve_bytes: 0,
        commit_stall_max: Duration::from_secs(5),
        new_epoch: false,
    };
    for (backend, outlives) in [(Backend::Memory, false), (disk, true)] {
        let settings = Settings {
            backend,
            retention: ROOMY.retention,
            dedup_entries_max: 10,
        };
        let open = || {
            journal::open(
                settings.clone(),
                SteadyClock::silent(Clock::fixed(NOON)),
                CommitMetrics::noop(),
            )
        };
        let first = open().await.unwrap();
        append(&*first, draft("a", "x")).await;
        first.close().await;
        let second = open().await.unwrap();
        assert_eq!(second.epoch() == first.epoch(), outlives);
        assert_eq!(second.head(), Sequence(u64::from(outlives)));
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path()).await;
    let epoch = disk.epoch();
    for n in 1..=50 {
        let dedup = (n % 2 == 0).then(|| key(n));
        let body = n.to_string();
        disk.append(draft("a.b", body), dedup).await.unwrap();
    }
    disk.close().await;
    for _ in 0..2 {
        let reopened = open(folder.path()).await;
        assert_eq!(reopened.epoch(), epoch);
        assert_eq!(
            (reopened.head(), reopened.floor()),
            (Sequence(50), Sequence::ZERO)
        );
        let topic = Selection::topic("a".parse().unwrap());
        let events = read_all(&reopened, &topic, 1 << 20).await;
        assert_eq!(sequences(&events), (1..=50).collect::<Vec<_>>());
        assert_eq!(events[41].draft.body, "42");
        let again = reopened.append(draft("a.b", "x"), Some(key(42)));
        let again = again.await.unwrap();
        assert_eq!((again.sequence, again.duplicate), (Sequence(42), true));
        reopened.close().await;
    }
    let last = open(folder.path()).await;
    assert_eq!(append(&last, draft("a", "x")).await, Sequence(51));
}

#[tokio::test]
async fn a_journal_dropped_without_close_ends_its_threads_and_keeps_all() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path()).await;
    let mut commits = disk.follow(Sequence::ZERO);
    for _ in 0..20 {
        append(&disk, draft("a", "x")).await;
    }
    drop(disk);
    let rest = async { while commits.next().await.is_some() {} };
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, rest)
        .await
        .expect("the followers end");
    drop(commits);
    let reopened = open_after_drop(folder.path()).await;
    assert_eq!(reopened.head(), Sequence(20));
    let events = read_all(&reopened, &Selection::all(), 1 << 20).await;
    assert_eq!(events.len(), 20);
}

#[tokio::test]
async fn retention_goes_on_where_it_was_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let tight = Bounds {
        retention: Retention {
            bytes: 50_000,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    let disk = open_in(settings(folder.path()), tight, quick())
        .await
        .unwrap();
    for _ in 0..200 {
        append(&disk, draft("a", vec![0; 1000])).await;
    }
    until(|| disk.floor() >= Sequence(150)).await;
    disk.close().await;
    let floor = disk.floor();
    let reopened = open_in(settings(folder.path()), tight, quick())
        .await
        .unwrap();
    assert!(reopened.floor() >= floor, "it may have gone on already");
    assert_eq!(reopened.head(), Sequence(200));
    for _ in 0..100 {
        append(&reopened, draft("a", vec![0; 1000])).await;
    }
    until(|| reopened.floor() >= Sequence(250)).await;
    let events = read_all(&reopened, &Selection::all(), 1 << 20).await;
    assert!(
        (40..=50).contains(&events.len()),
        "{} are left",
        events.len()
    );
}

#[tokio::test]
async fn a_journal_that_lost_its_last_events_to_retention_restarts_above_them() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = Bounds {
        retention: Retention {
            bytes: 0,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    let disk = open_in(settings(folder.path()), nothing, quick())
        .await
        .unwrap();
    append(&disk, draft("a", "x")).await;
    append(&disk, draft("a", "x")).await;
    until(|| disk.floor() == Sequence(2)).await;
    disk.close().await;
    let reopened = open(folder.path()).await;
    assert_eq!(
        (reopened.floor(), reopened.head()),
        (Sequence(2), Sequence(2))
    );
    assert_eq!(append(&reopened, draft("a", "x")).await, Sequence(3));
}

#[tokio::test]
async fn a_folder_in_use_is_refused_with_who_uses_it() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path()).await;
    let refused = try_open(folder.path()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused:?}");
    assert!(refused.to_string().contains("this process"), "{refused}");
    append(&disk, draft("a", "x")).await;
    disk.close().await;
    open(folder.path()).await;
}

#[tokio::test]
async fn a_folder_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/here");
    let _disk = open(&path).await;
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

/// Stops every batch of events, before it is written and after, until the test
/// lets it go on or fail.
struct WriteGate {
    /// Says that a batch has stopped.
    stopped: mpsc::Receiver<()>,
    /// Lets the batch go on, or fail.
    pass: std::sync::mpsc::SyncSender<bool>,
}

fn gated() -> (Env, WriteGate) {
    let (pass, verdicts) = std::sync::mpsc::sync_channel::<bool>(9);
    let verdicts = Mutex::new(verdicts);
    let (stopping, stopped) = mpsc::channel(9);
    let stop = move || {
        stopping.blocking_send(()).unwrap();
        let passes = verdicts.lock().recv().unwrap();
        (passes.then_some(())).ok_or_else(|| std::io::Error::other("not let through"))
    };
    let write = move |purpose, write: &mut dyn FnMut() -> std::io::Result<()>| {
        if purpose != WritePurpose::Append {
            return write();
        }
        stop()?;
        write()?;
        stop()
    };
    let env = Env {
        write: Arc::new(write),
        ..quick()
    };
    (env, WriteGate { stopped, pass })
}

#[tokio::test]
async fn nothing_is_answered_or_shown_before_it_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let (env, mut gate) = gated();
    let disk = open_in(settings(folder.path()), ROOMY, env).await.unwrap();
    let mut commits = disk.follow(Sequence::ZERO);
    let mut answer = disk.append(draft("a", "x"), Some(key(1)));
    let moment = Duration::from_millis(20);
    for at in ["before the write", "before its end is known"] {
        tokio::select! {
            _ = &mut answer => panic!("answered {at}"),
            _ = gate.stopped.recv() => {}
        }
        let answered = tokio::time::timeout(moment, &mut answer).await;
        assert!(answered.is_err(), "answered {at}");
        let followed = tokio::time::timeout(moment, commits.next()).await;
        assert!(followed.is_err(), "followed {at}");
        assert_eq!(disk.head(), Sequence::ZERO, "{at}");
        for selection in [Selection::all(), Selection::topic("a".parse().unwrap())] {
            let page = disk.read(&selection, Sequence::ZERO, 1000).await.unwrap();
            assert_eq!(
                (page.events.len(), page.scanned),
                (0, Sequence::ZERO),
                "{at}"
            );
            let last = disk.start_of_last_n(&selection, 9).await.unwrap();
            assert_eq!(last, Sequence::ZERO, "{at}");
        }
        gate.pass.send(true).unwrap();
    }
    assert_eq!(answer.await.unwrap().sequence, Sequence(1));
    assert_eq!(disk.head(), Sequence(1), "who is answered can read it");
    assert_eq!(commits.next().await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn a_duplicate_in_the_same_batch_shares_its_fate() {
    for passes in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (env, mut gate) = gated();
        let disk = open_in(settings(folder.path()), ROOMY, env).await.unwrap();
        let first = disk.append(draft("a", "x"), None);
        // While the first batch is stopped, these gather for the second.
        let others = async {
            gate.stopped.recv().await.unwrap();
            let again = || disk.append(draft("a", "x"), Some(key(7)));
            let release = async {
                for verdict in [true, true, passes, true] {
                    gate.pass.send(verdict).unwrap();
                }
            };
            tokio::join!(again(), again(), again(), release)
        };
        let (first, (a, b, c, ())) = tokio::join!(first, others);
        assert_eq!(first.unwrap().sequence, Sequence(1));
        if passes {
            let found = [a, b, c].map(|stored| {
                let stored = stored.unwrap();
                (stored.sequence.0, stored.duplicate)
            });
            assert_eq!(found, [(2, false), (2, true), (2, true)]);
            assert_eq!(disk.head(), Sequence(2));
        } else {
            assert!([a, b, c].iter().all(Result::is_err));
            assert_eq!(disk.head(), Sequence(1));
        }
        let stopped = std::iter::from_fn(|| gate.stopped.try_recv().ok()).count();
        let expected = if passes { 3 } else { 2 };
        assert_eq!(stopped, expected, "two batches, no third");
    }
}

#[tokio::test]
async fn a_failed_write_fails_all_that_wait_and_all_that_come() {
    let folder = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let env = Env {
        write: Arc::new({
            let broken = Arc::clone(&broken);
            move |_, write| {
                if broken.load(Ordering::SeqCst) {
                    return Err(std::io::Error::other("the disk is gone"));
                }
                write()
            }
        }),
        ..quick()
    };
    let disk = open_in(settings(folder.path()), ROOMY, env).await.unwrap();
    append(&disk, draft("a", "x")).await;
    broken.store(true, Ordering::SeqCst);
    let waiting = join_all((0..50).map(|_| disk.append(draft("a", "x"), None))).await;
    for answer in waiting {
        let Err(AppendError::Failed(reason)) = answer else {
            panic!("{answer:?}");
        };
        let reason = crate::telemetry::with_causes(&reason).to_string();
        assert_eq!(reason, "a write failed: the disk is gone");
    }
    let FatalError::Write(source) = disk.failed().await else {
        panic!("a write failed");
    };
    assert_eq!(source.to_string(), "the disk is gone");
    // Also when the disk works again: what is on it now is not known.
    broken.store(false, Ordering::SeqCst);
    let refused = disk.append(draft("a", "x"), None).await;
    assert!(
        matches!(refused, Err(AppendError::Failed(_))),
        "{refused:?}"
    );
    assert_eq!(disk.head(), Sequence(1));
    assert_eq!(read_all(&disk, &Selection::all(), 1000).await.len(), 1);
    disk.close().await;
    assert_eq!(open(folder.path()).await.head(), Sequence(1));
}

#[tokio::test]
async fn a_writer_that_panics_leaves_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let env = Env {
        write: Arc::new(|purpose, write| match purpose {
            WritePurpose::Append => panic!("on purpose"),
            _ => write(),
        }),
        ..quick()
    };
    let disk = open_in(settings(folder.path()), ROOMY, env).await.unwrap();
    let refused = join_all((0..3).map(|_| disk.append(draft("a", "x"), None))).await;
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    let failed = disk.failed().await.to_string();
    assert_eq!(failed, "the journal's thread journal-write panicked");
    disk.close().await;
}

#[tokio::test]
async fn below_the_reserve_nothing_is_stored_until_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(1000));
    let env = Env {
        free_bytes: Arc::new({
            let free = Arc::clone(&free);
            move |_| Ok(free.load(Ordering::SeqCst))
        }),
        ..quick()
    };
    let settings = DiskSettings {
        reserve_bytes: 500,
        ..settings(folder.path())
    };
    let tight = Bounds {
        retention: Retention {
            bytes: 5000,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    let disk = open_in(settings, tight, env).await.unwrap();
    for _ in 0..10 {
        append(&disk, draft("a", vec![0; 1000])).await;
    }
    free.store(499, Ordering::SeqCst);
    let refused = disk.append(draft("a", "x"), None).await;
    let is_right = matches!(
        refused,
        Err(AppendError::NoRoom {
            free_bytes: 499,
            reserve_bytes: 500,
        })
    );
    assert!(is_right, "{refused:?}");
    // Retention goes on, and so does reading.
    until(|| disk.floor() >= Sequence(6)).await;
    assert!(!read_all(&disk, &Selection::all(), 1 << 20).await.is_empty());
    free.store(500, Ordering::SeqCst);
    assert_eq!(append(&disk, draft("a", "x")).await, Sequence(11));
}

#[tokio::test]
async fn the_floor_is_durable_before_anything_below_it_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = Bounds {
        retention: Retention {
            bytes: 0,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    // The process "dies" between the floor and the deletion, then before both.
    for (dies_at, floor) in [(WritePurpose::Delete, 5), (WritePurpose::Floor, 5)] {
        let env = Env {
            write: Arc::new(move |purpose, write| match purpose {
                _ if purpose == dies_at => Err(std::io::Error::other("died")),
                _ => write(),
            }),
            ..quick()
        };
        let disk = open_in(settings(folder.path()), ROOMY, quick())
            .await
            .unwrap();
        for _ in 0..5 {
            append(&disk, draft("a", "x")).await;
        }
        disk.close().await;
        let dying = open_in(settings(folder.path()), nothing, env)
            .await
            .unwrap();
        dying.failed().await;
        assert_eq!(dying.floor(), dying.head(), "readers are told first");
        dying.close().await;
        let survivor = open(folder.path()).await;
        assert_eq!(survivor.floor(), Sequence(floor), "died at {dies_at:?}");
        let left = read_all(&survivor, &Selection::all(), 1000).await;
        assert_eq!(left.len() as u64, survivor.head().0 - floor);
        // What the crash left below the floor is deleted too.
        let oldest = segment::path(folder.path(), Sequence(1), FileKind::Log);
        until(|| !oldest.exists()).await;
        survivor.close().await;
    }
}

#[tokio::test]
async fn many_events_open_in_good_time() {
    const EVENTS: usize = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path()).await;
    let appends = (0..EVENTS).map(|_| disk.append(draft("a.b", vec![b'x'; 300]), None));
    assert!(join_all(appends).await.iter().all(Result::is_ok));
    disk.close().await;
    let started = std::time::Instant::now();
    let reopened = open(folder.path()).await;
    let took = started.elapsed();
    println!("{EVENTS} events open in {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(reopened.head(), Sequence(EVENTS as u64));
}
