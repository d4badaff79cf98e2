//! Logs of which the first bytes, and the salt in them, are damaged.

use std::path::PathBuf;

use super::{
    damage::{body, lag, logs, one_segment, template},
    *,
};
use crate::journal::{DamageKind, JournalReport, check};

const EVENTS: u64 = 22;

fn change(log: &PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(log).unwrap();
    change(&mut bytes);
    fs::write(log, bytes).unwrap();
}

fn wipe_header(bytes: &mut [u8]) {
    bytes[..segment::HEADER_BYTES].fill(0);
}

/// What a check finds besides the header.
fn checked(folder: &Path) -> JournalReport {
    let report = check(folder, &mut |_, _| {}).unwrap();
    assert_eq!(report.damage[0].kind, DamageKind::LogHeader, "{report:?}");
    report
}

/// Starts with a new epoch; returns the sequences of what is left, of which each event
/// is as it was.
async fn kept(folder: &Path) -> Vec<u64> {
    let refused = try_open(folder).await.err().unwrap();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
    let with_new_epoch = DiskSettings {
        new_epoch: true,
        ..settings(folder)
    };
    let disk = open_in(with_new_epoch, ROOMY, quick()).await.unwrap();
    let events = read_all(&disk, &Selection::all(), 1 << 20).await;
    for event in &events {
        assert_eq!(event.draft.body, body(event.sequence.0));
    }
    let next = append(&disk, draft("a", "next")).await;
    assert!(next > Sequence(EVENTS), "{next} is given out again");
    disk.close().await;
    open(folder).await.close().await;
    sequences(&events)
}

fn is_set_aside(folder: &Path) -> bool {
    let names = fs::read_dir(segment::folder(folder)).unwrap();
    let mut names = names.map(|entry| entry.unwrap().path());
    names.any(|path| path.extension().is_some_and(|end| end == "damaged"))
}

#[tokio::test]
async fn a_flipped_bit_in_a_header_costs_no_event() {
    let (folder, log, _) = one_segment(EVENTS).await;
    let all: Vec<_> = (1..=EVENTS).collect();
    for at in [0, 8, 9, 13, 30, 35, 40, 48, 55, 56, 63] {
        let copied = tempfile::tempdir().unwrap();
        super::damage::copy(folder.path(), copied.path());
        let log = copied.path().join(log.strip_prefix(folder.path()).unwrap());
        change(&log, |bytes| bytes[at] ^= 1);
        for mark in [0, EVENTS] {
            lag(copied.path(), mark);
            let report = checked(copied.path());
            let found = (report.events, report.damaged_events, report.damage.len());
            assert_eq!(found, (EVENTS, 0, 1), "byte {at}, mark {mark}: {report:?}");
        }
        assert_eq!(kept(copied.path()).await, all, "byte {at}");
        assert!(!is_set_aside(copied.path()));
    }
}

#[tokio::test]
async fn a_header_that_is_put_right_keeps_the_memory_of_deliveries() {
    let folder = template().await;
    let log = logs(folder.path()).pop().unwrap();
    change(&log, |bytes| bytes[50] ^= 1);
    let with_new_epoch = DiskSettings {
        new_epoch: true,
        ..settings(folder.path())
    };
    let disk = open_in(with_new_epoch, ROOMY, quick()).await.unwrap();
    for n in 1..=super::damage::EVENTS {
        let again = disk.append(draft("a.b", "x"), Some(key(n as u8))).await;
        let again = again.unwrap();
        assert_eq!((again.sequence.0, again.duplicate), (n, true));
    }
    disk.close().await;
}

#[tokio::test]
async fn a_header_that_is_lost_costs_no_event_that_follows_the_one_before() {
    let (folder, log, begins) = one_segment(EVENTS).await;
    let whole = fs::read(&log).unwrap();
    for damaged in [None, Some(1), Some(11), Some(22)] {
        let copied = tempfile::tempdir().unwrap();
        super::damage::copy(folder.path(), copied.path());
        let log = copied.path().join(log.strip_prefix(folder.path()).unwrap());
        let mut bytes = whole.clone();
        wipe_header(&mut bytes);
        if let Some(event) = damaged {
            bytes[begins[event - 1] + 80] ^= 1;
        }
        fs::write(&log, bytes).unwrap();
        let left: Vec<_> = (1..=EVENTS)
            .filter(|n| damaged != Some(*n as usize))
            .collect();
        let report = checked(copied.path());
        let counts = (report.events, report.damaged_events);
        let lost = EVENTS - left.len() as u64;
        assert_eq!(counts, (left.len() as u64, lost), "{damaged:?}");
        assert_eq!(kept(copied.path()).await, left, "{damaged:?}");
        assert!(!is_set_aside(copied.path()), "{damaged:?}");
    }
}

/// A body can hold what looks like events, with checksums.
#[tokio::test]
async fn without_a_header_nothing_is_believed_that_is_not_in_its_place() {
    let (_other, other, _) = one_segment(EVENTS).await;
    let (folder, log, begins) = one_segment(2).await;
    let disk = open(folder.path()).await;
    append(&disk, draft("a", fs::read(other).unwrap())).await;
    for n in 4..=EVENTS {
        append(&disk, draft("a.b", body(n))).await;
    }
    disk.close().await;
    // The header of the second group.
    change(&log, |bytes| {
        wipe_header(bytes);
        bytes[begins[1]] ^= 1;
    });
    let report = checked(folder.path());
    assert_eq!((report.events, report.damaged_events), (1, EVENTS - 1));
    assert_eq!(kept(folder.path()).await, [1]);
    assert!(is_set_aside(folder.path()));
}

#[tokio::test]
async fn a_log_whose_first_group_is_lost_with_its_header_is_set_aside() {
    let (folder, log, _) = one_segment(EVENTS).await;
    change(&log, |bytes| bytes[..512].fill(0));
    let report = checked(folder.path());
    assert_eq!((report.events, report.damaged_events), (0, EVENTS));
    assert_eq!(kept(folder.path()).await, Vec::<u64>::new());
    assert!(is_set_aside(folder.path()));
}
