//! Copies of a journal, also of one that is in use.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::Semaphore;

use super::{
    damage::{lag, of_kind, one_segment, template},
    *,
};
use crate::journal::{CopyError, JournalCopy, backup, check, restore};

fn copy(from: &Path, to: &Path) -> Result<JournalCopy, CopyError> {
    backup(from, to, &mut |_| {})
}

fn put_in_place(from: &Path, to: &Path) -> Result<JournalCopy, CopyError> {
    let clock = SteadyClock::silent(Clock::fixed(NOON));
    restore(from, to, &clock, &mut |_| {})
}

/// What is written during one copy: much less than retention leaves, or a copy on a slow
/// machine could be outrun.
const WRITTEN_MEANWHILE: usize = 150;

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
    let permits = Arc::new(Semaphore::new(0));
    let (writer, permitted) = (Arc::clone(&disk), Arc::clone(&permits));
    #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
    let writing = tokio::spawn(async move {
        while let Ok(permit) = permitted.acquire().await {
            permit.forget();
            append(&*writer, draft("a", "something of some length")).await;
        }
    });
    until(|| {
        permits.add_permits(1);
        disk.floor() > Sequence::ZERO
    })
    .await;
    permits.forget_permits(usize::MAX);
    let places = tempfile::tempdir().unwrap();
    for round in 0..8 {
        permits.add_permits(WRITTEN_MEANWHILE);
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
    permits.close();
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
    let inside = copy(template.path(), &template.path().join("a/copy"));
    assert!(matches!(inside, Err(CopyError::Inside(_))), "{inside:?}");
    assert!(!template.path().join("a").exists());
    let file = places.path().join("file");
    fs::write(&file, "kept").unwrap();
    assert!(copy(template.path(), &file).is_err());
    assert_eq!(fs::read(&file).unwrap(), b"kept");
}

#[tokio::test]
async fn what_is_no_journal_is_called_so() {
    let places = tempfile::tempdir().unwrap();
    let other = places.path().join("other");
    for from in [places.path().to_owned(), places.path().join("none")] {
        let expected = format!("there is no journal in {}", from.display());
        for said in [
            copy(&from, &other).unwrap_err().to_string(),
            put_in_place(&from, &other).unwrap_err().to_string(),
            check(&from, &mut |_, _| {}).unwrap_err().to_string(),
        ] {
            assert_eq!(said, expected);
        }
        assert!(!other.exists());
    }
}

#[tokio::test]
async fn a_copy_that_failed_leaves_nothing_and_can_be_made_again() {
    let template = template().await;
    let places = tempfile::tempdir().unwrap();
    let empty = places.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let outrun = |to: &Path| {
        // Retention, while the first bytes are copied.
        let mut floor_raised = false;
        backup(template.path(), to, &mut |_| {
            if !floor_raised {
                floor_raised = true;
                floor::store(template.path(), Sequence(1_000_000)).unwrap();
            }
        })
    };
    let kept = floor::load(template.path()).unwrap();
    for to in [places.path().join("new/er"), empty.clone()] {
        let refused = outrun(&to);
        assert!(matches!(refused, Err(CopyError::Outrun(_))), "{refused:?}");
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("raise --rate-max"), "{said}");
        floor::store(template.path(), kept).unwrap();
    }
    assert!(!places.path().join("new").exists());
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    copy(template.path(), &empty).unwrap();
    // A file that a user put there meanwhile stays.
    let shared = places.path().join("shared");
    let mut has_put = false;
    let refused = backup(template.path(), &shared, &mut |_| {
        if !has_put {
            has_put = true;
            fs::write(shared.join("note"), "mine").unwrap();
            floor::store(template.path(), Sequence(1_000_000)).unwrap();
        }
    });
    assert!(refused.is_err());
    let left: Vec<_> = fs::read_dir(&shared).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert_eq!(fs::read(shared.join("note")).unwrap(), b"mine");
}

#[tokio::test]
async fn what_vanishes_while_it_is_copied_is_left_out() {
    let template = template().await;
    let places = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("nowhere", template.path().join("dangling")).unwrap();
    fs::create_dir(template.path().join("more")).unwrap();
    let kept = places.path().join("kept");
    let copied = copy(template.path(), &kept).unwrap();
    assert!(!kept.join("dangling").exists());
    assert!(kept.join("more").exists());
    assert!(check(&kept, &mut |_, _| {}).unwrap().is_whole());
    let logs = super::damage::logs(&kept);
    let len = |path: &std::path::PathBuf| fs::metadata(path).unwrap().len();
    assert!(copied.bytes >= logs.iter().map(len).sum::<u64>());
    assert!(
        copied.bytes < 1 << 20,
        "without what was reserved: {}",
        copied.bytes
    );
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
    assert!(refused.unwrap_err().to_string().starts_with("1 event in "));
    assert!(!there.exists());
}

#[tokio::test]
async fn a_copy_of_which_a_file_is_damaged_and_no_event_is_refused_in_these_words() {
    let template = template().await;
    let places = tempfile::tempdir().unwrap();
    let kept = places.path().join("kept");
    copy(template.path(), &kept).unwrap();
    fs::write(&of_kind(&kept, FileKind::Index)[0], "damaged").unwrap();
    let refused = put_in_place(&kept, &places.path().join("there"));
    let said = refused.unwrap_err().to_string();
    assert!(said.starts_with("files in "), "{said}");
    assert!(said.contains("no event is lost"), "{said}");
}

#[tokio::test]
async fn a_copy_that_is_cut_or_changed_is_noticed_although_the_mark_lagged() {
    let (folder, log, begins) = one_segment(22).await;
    lag(folder.path(), 0);
    let places = tempfile::tempdir().unwrap();
    let kept = places.path().join("kept");
    let copied = copy(folder.path(), &kept).unwrap();
    let mark = HighWaterMark::load(&kept).unwrap().unwrap();
    assert_eq!((mark.epoch, mark.sequence), (copied.epoch, copied.head));
    assert_eq!(copied.head, Sequence(22));
    let log = kept.join(log.strip_prefix(folder.path()).unwrap());
    let whole = fs::read(&log).unwrap();
    let mut flipped = whole.clone();
    *flipped.iter_mut().nth_back(2).unwrap() ^= 1;
    let half = whole[..whole.len() / 2].to_vec();
    let lost_in_half = begins.iter().filter(|begin| **begin > half.len()).count() as u64;
    let cuts = [
        (flipped, 1),
        (whole[..whole.len() - 1].to_vec(), 1),
        (whole[..begins[21]].to_vec(), 1),
        (half, lost_in_half + 1),
        (whole[..segment::HEADER_BYTES].to_vec(), 22),
    ];
    for (bytes, lost) in cuts {
        let len = bytes.len();
        fs::write(&log, bytes).unwrap();
        let report = check(&kept, &mut |_, _| {}).unwrap();
        let found = (report.events, report.damaged_events);
        assert_eq!(found, (22 - lost, lost), "of {len} bytes");
        let there = places.path().join("there");
        let refused = put_in_place(&kept, &there);
        assert!(
            matches!(refused, Err(CopyError::Damaged { events, .. }) if events == lost),
            "of {len} bytes: {refused:?}"
        );
        assert!(!there.exists());
    }
    fs::write(&log, whole).unwrap();
    let there = places.path().join("there");
    assert_eq!(put_in_place(&kept, &there).unwrap().head, Sequence(22));
}

/// To cut off what is behind the damage would make a copy that says it is whole.
#[tokio::test]
async fn a_journal_that_is_damaged_above_its_mark_is_not_copied_as_if_it_ended_there() {
    let (folder, log, begins) = one_segment(22).await;
    let whole = fs::read(&log).unwrap();
    let places = tempfile::tempdir().unwrap();
    let to = places.path().join("kept");
    // In the first, in the middle, and in the last event.
    for damaged in [0, 10, 21] {
        let mut bytes = whole.clone();
        bytes[begins[damaged] + 60] ^= 1;
        fs::write(&log, bytes).unwrap();
        lag(folder.path(), 0);
        let refused = copy(folder.path(), &to);
        assert!(matches!(refused, Err(CopyError::Changed(_))), "{refused:?}");
        assert!(!to.exists());
    }
    // As a power cut leaves the last write.
    let mut torn = whole.clone();
    torn[begins[21] + 60..].fill(0);
    fs::write(&log, torn).unwrap();
    assert_eq!(copy(folder.path(), &to).unwrap().head, Sequence(21));
    fs::remove_file(&log).unwrap();
    lag(folder.path(), 22);
    let refused = copy(folder.path(), &places.path().join("none"));
    assert!(matches!(refused, Err(CopyError::Changed(_))), "{refused:?}");
}
