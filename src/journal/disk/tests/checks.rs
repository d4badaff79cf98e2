//! `hookrill journal check` on damage that the high-water mark does not cover.

use std::path::PathBuf;

use super::{
    damage::{lag, one_segment},
    *,
};
use crate::journal::{DamageKind, JournalReport, check};

const EVENTS: u64 = 22;

fn checked(folder: &Path) -> JournalReport {
    check(folder, &mut |_, _| {}).unwrap()
}

/// How many events are whole, and how many are damaged or missing.
fn counted(folder: &Path) -> (u64, u64) {
    let report = checked(folder);
    (report.events, report.damaged_events)
}

/// Changes a log, with a mark that lags as far as this.
fn damage(folder: &Path, log: &PathBuf, mark: u64, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(log).unwrap();
    change(&mut bytes);
    fs::write(log, bytes).unwrap();
    lag(folder, mark);
}

/// How many events a start with a new epoch keeps.
async fn kept(folder: &Path) -> u64 {
    let with_new_epoch = DiskSettings {
        new_epoch: true,
        ..settings(folder)
    };
    let disk = open_in(with_new_epoch, ROOMY, quick()).await.unwrap();
    let events = read_all(&disk, &Selection::all(), 1 << 20).await;
    disk.close().await;
    events.len() as u64
}

#[tokio::test]
async fn a_check_reads_on_behind_a_damaged_event_whatever_the_mark_says() {
    let (folder, log, begins) = one_segment(EVENTS).await;
    let whole = fs::read(&log).unwrap();
    for mark in [0, 2, EVENTS - 1, EVENTS] {
        // In the group's header, in the length of its event, and in the event.
        let places = [
            (2, 14),
            (12, 14),
            (2, 36),
            (22, 36),
            (22, 38),
            (1, 60),
            (11, 60),
            (21, 60),
            (22, 60),
        ];
        for (event, byte) in places {
            let what = format!("event {event} under mark {mark}");
            fs::write(&log, &whole).unwrap();
            let at = begins[event - 1] + byte;
            damage(folder.path(), &log, mark, |bytes| bytes[at] ^= 1);
            let report = checked(folder.path());
            let found = (report.events, report.damaged_events);
            assert_eq!(found, (EVENTS - 1, 1), "{what}: {report:?}");
            let [damage] = &report.damage[..] else {
                panic!("{what}: {report:?}");
            };
            let lost = Sequence(event as u64);
            assert_eq!(damage.events, Some((lost, lost)), "{what}");
            assert_eq!(damage.kind, DamageKind::Events, "{what}");
        }
    }
    // A start finds what the check did.
    assert_eq!(kept(folder.path()).await, EVENTS - 1);
}

#[tokio::test]
async fn a_torn_end_is_no_damage_also_where_there_is_some_before_it() {
    let (folder, log, begins) = one_segment(EVENTS).await;
    let whole = fs::read(&log).unwrap();
    let (torn, end) = (
        begins[21],
        whole.iter().rposition(|byte| *byte != 0).unwrap(),
    );
    for at in [torn + 10, torn + 60, end - 1] {
        for is_cut in [true, false] {
            let tear = |bytes: &mut Vec<u8>| {
                bytes.truncate(at);
                bytes.resize(if is_cut { at } else { whole.len() }, 0);
            };
            fs::write(&log, &whole).unwrap();
            damage(folder.path(), &log, 21, tear);
            let report = checked(folder.path());
            assert!(report.is_whole(), "torn at {at}: {report:?}");
            assert_eq!(report.events, 21);
            damage(folder.path(), &log, 0, |bytes| bytes[begins[4] + 60] ^= 1);
            assert_eq!(counted(folder.path()), (20, 1), "torn at {at}");
            lag(folder.path(), 22);
            assert_eq!(counted(folder.path()), (20, 2), "torn at {at}");
        }
    }
}
