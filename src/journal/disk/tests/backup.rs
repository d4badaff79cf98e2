//! Copies of a journal, also of one that is in use.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{damage::template, *};
use crate::journal::{CopyError, JournalCopy, backup, check, restore};

fn copy(from: &Path, to: &Path) -> Result<JournalCopy, CopyError> {
    backup(from, to, &mut |_| {})
}

fn put_in_place(from: &Path, to: &Path) -> Result<JournalCopy, CopyError> {
    let clock = SteadyClock::silent(Clock::fixed(NOON));
    restore(from, to, &clock, &mut |_| {})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_all_that_was_acknowledged_while_events_are_written_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds {
        retention: Retention {
            bytes: 64 << 10,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    let disk = open_in(settings(folder.path()), bounds, tiny())
        .await
        .unwrap();
    let disk = Arc::new(disk);
    let stop = Arc::new(AtomicBool::new(false));
    let (writer, stopped) = (Arc::clone(&disk), Arc::clone(&stop));
    #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
    let writing = tokio::spawn(async move {
        while !stopped.load(Ordering::SeqCst) {
            append(&*writer, draft("a", "something of some length")).await;
        }
    });
    until(|| disk.floor() > Sequence::ZERO).await;
    let places = tempfile::tempdir().unwrap();
    for round in 0..8 {
        let acknowledged = disk.head();
        let (from, kept) = (
            folder.path().to_owned(),
            places.path().join(format!("{round}")),
        );
        let there = places.path().join(format!("{round} in place"));
        let (at, to) = (kept.clone(), there.clone());
        let copies = spawn_blocking(move || (copy(&from, &at), put_in_place(&at, &to)));
        let (copied, in_place) = copies.await.unwrap();
        let (copied, in_place) = (copied.unwrap(), in_place.unwrap());
        assert!(copied.head >= acknowledged, "{copied:?} {acknowledged}");
        assert!(check(&kept, &mut |_, _| {}).unwrap().is_whole());
        assert_eq!((copied.epoch, copied.head), (disk.epoch(), in_place.head));
        assert_ne!(in_place.epoch, copied.epoch);
        let again = open(&there).await;
        assert_eq!(
            (again.epoch(), again.head()),
            (in_place.epoch, in_place.head)
        );
        let found = sequences(&read_all(&again, &Selection::all(), 1 << 20).await);
        let expected: Vec<u64> = (again.floor().0 + 1..=again.head().0).collect();
        assert_eq!(found, expected);
        let next = append(&again, draft("a", "after")).await;
        assert_eq!(next, in_place.head.next());
        again.close().await;
    }
    stop.store(true, Ordering::SeqCst);
    writing.await.unwrap();
    disk.close().await;
}

#[tokio::test]
async fn a_copy_that_was_interrupted_is_no_journal() {
    let template = template().await;
    let places = tempfile::tempdir().unwrap();
    let cut_at = |bytes_max: u64, name: &str| {
        let to = places.path().join(name);
        let mut bytes = 0;
        let mut pace = |more| {
            bytes += more;
            assert!(bytes < bytes_max, "killed");
        };
        let copying = AssertUnwindSafe(|| backup(template.path(), &to, &mut pace).map(drop));
        (to.clone(), catch_unwind(copying).is_err())
    };
    let (to, was_cut) = cut_at(2_000, "cut");
    assert!(was_cut);
    assert!(matches!(
        try_open(&to).await,
        Err(OpenError::HighWater { .. })
    ));
    let there = places.path().join("there");
    assert!(put_in_place(&to, &there).is_err());
    let (whole, was_cut_too) = cut_at(u64::MAX, "whole");
    assert!(!was_cut_too);
    assert!(try_open(&whole).await.is_ok());
}

#[tokio::test]
async fn nothing_is_overwritten_and_no_copy_is_in_what_it_copies() {
    let template = template().await;
    let places = tempfile::tempdir().unwrap();
    let to = places.path().join("copy");
    copy(template.path(), &to).unwrap();
    let again = copy(template.path(), &to);
    assert!(matches!(again, Err(CopyError::Occupied(_))), "{again:?}");
    let restored = put_in_place(template.path(), &to);
    assert!(
        matches!(restored, Err(CopyError::Occupied(_))),
        "{restored:?}"
    );
    let inside = copy(template.path(), &template.path().join("copy"));
    assert!(matches!(inside, Err(CopyError::Inside(_))), "{inside:?}");
    let file = places.path().join("file");
    fs::write(&file, "kept").unwrap();
    assert!(copy(template.path(), &file).is_err());
    assert_eq!(fs::read(&file).unwrap(), b"kept");
    let nothing = copy(&places.path().join("none"), &places.path().join("other"));
    assert!(matches!(nothing, Err(CopyError::Io { .. })), "{nothing:?}");
}

#[tokio::test]
async fn what_else_is_in_the_folder_goes_along_and_what_is_of_the_moment_does_not() {
    let template = template().await;
    let secrets = template.path().join("provisioned-secrets");
    fs::create_dir(&secrets).unwrap();
    for (name, text) in [
        ("provisioned-secrets/asana", "secret"),
        ("revocations", "revoked"),
        ("address", "http://127.0.0.1:1"),
        (".0123456789abcdef.new", "half"),
    ] {
        fs::write(template.path().join(name), text).unwrap();
    }
    let places = tempfile::tempdir().unwrap();
    let (kept, there) = (places.path().join("kept"), places.path().join("there"));
    copy(template.path(), &kept).unwrap();
    put_in_place(&kept, &there).unwrap();
    for folder in [&kept, &there] {
        let text = |name| fs::read_to_string(folder.join(name)).ok();
        assert_eq!(text("provisioned-secrets/asana").as_deref(), Some("secret"));
        assert_eq!(text("revocations").as_deref(), Some("revoked"));
        assert_eq!(text("address"), None);
        assert_eq!(text(".0123456789abcdef.new"), None);
    }
}

#[tokio::test]
async fn a_damaged_copy_is_not_put_in_place() {
    let template = template().await;
    let places = tempfile::tempdir().unwrap();
    let kept = places.path().join("kept");
    copy(template.path(), &kept).unwrap();
    let log = super::damage::logs(&kept).remove(0);
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    let there = places.path().join("there");
    let refused = put_in_place(&kept, &there);
    assert!(
        matches!(refused, Err(CopyError::Damaged { .. })),
        "{refused:?}"
    );
    assert!(!there.exists());
}
