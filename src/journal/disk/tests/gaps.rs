//! What is damaged is told as a gap, and what is whole is served.

use std::path::PathBuf;

use hookrill_core::Topics;

use crate::telemetry::with_causes;

use super::{
    damage::{EVENTS, body, copy, files, logs, of_kind, template},
    *,
};

/// What a reader gets: events, and gaps, each by its first and last sequence.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    events: Vec<u64>,
    gaps: Vec<(u64, u64)>,
}

/// Reads a selection from a position to the head, as a stream does.
async fn read_from(disk: &Disk, selection: &Selection, after: Sequence) -> Seen {
    let (mut events, mut gaps, mut position) = (Vec::new(), Vec::new(), after);
    while position < disk.head() {
        let page = disk.read(selection, position, 3000).await.unwrap();
        assert!(page.scanned > position, "no stream stays where it is");
        if page.is_damaged {
            assert!(page.events.is_empty());
            gaps.push((position.0 + 1, page.scanned.0));
        }
        for event in &page.events {
            assert!(event.sequence > position);
            let expected = body(event.sequence.0);
            assert_eq!(event.draft.body, expected, "nothing wrong is served");
        }
        events.extend(sequences(&page.events));
        position = page.scanned;
    }
    Seen { events, gaps }
}

async fn read_through(disk: &Disk) -> Seen {
    let seen = read_from(disk, &Selection::all(), disk.floor()).await;
    let (head, floor) = (disk.head().0, disk.floor().0);
    let told = seen.told();
    let all: Vec<_> = (floor + 1..=head).filter(|n| !told.contains(n)).collect();
    assert_eq!(seen.events, all, "there is no hole that is not told");
    seen
}

impl Seen {
    /// All sequences that were told of as damaged.
    fn told(&self) -> Vec<u64> {
        let gaps = self.gaps.iter();
        gaps.flat_map(|(first, last)| *first..=*last).collect()
    }
}

async fn reopen(folder: &Path) -> Disk {
    open_in(settings(folder), ROOMY, tiny()).await.unwrap()
}

async fn reopen_with_new_epoch(folder: &Path) -> Disk {
    let with_new_epoch = DiskSettings {
        new_epoch: true,
        ..settings(folder)
    };
    open_in(with_new_epoch, ROOMY, tiny()).await.unwrap()
}

/// A copy of a closed journal, to be damaged.
fn copy_of(template: &TempDir) -> TempDir {
    let copied = tempfile::tempdir().unwrap();
    copy(template.path(), copied.path());
    copied
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn find(bytes: &[u8], wanted: &str) -> usize {
    let windows = bytes.windows(wanted.len());
    let mut found = windows.enumerate().filter(|(_, w)| *w == wanted.as_bytes());
    found.next().expect("it is there").0
}

/// Flips a bit in the body of an event, wherever it is.
fn flip_body(folder: &Path, sequence: u64) {
    let wanted = body(sequence);
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(wanted.len()).any(|w| w == wanted.as_bytes())
    };
    let log = logs(folder).into_iter().find(holds).unwrap();
    change(&log, |bytes| {
        let at = find(bytes, &wanted);
        bytes[at + wanted.len() / 2] ^= 0x20;
    });
}

/// Opens a journal, flips a bit at each of these places of its first log, and
/// reads all.
async fn read_with_flips(template: &TempDir, with_index: bool) -> usize {
    let log = logs(template.path()).remove(0);
    let name = log.strip_prefix(template.path()).unwrap();
    let whole = fs::read(&log).unwrap();
    let copied = copy_of(template);
    if !with_index {
        // In its body, so that the start takes it for whole.
        let index = of_kind(copied.path(), FileKind::Index).remove(0);
        change(&index, |bytes| *bytes.last_mut().unwrap() ^= 1);
    }
    let mut met = 0;
    // No multiple of the record's length, so that each part of one is met.
    for at in (segment::HEADER_BYTES..whole.len()).step_by(61) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        fs::write(copied.path().join(name), bytes).unwrap();
        let disk = reopen(copied.path()).await;
        let seen = read_through(&disk).await;
        let told = seen.told();
        assert!(told.len() <= 1, "byte {at}: {told:?}");
        let found = disk.health().damaged_events;
        assert_eq!(found, told.len() as u64, "byte {at}");
        met += told.len();
        // The pump passes it, and shows the hole in the sequences.
        let mut commits = disk.follow(Sequence::ZERO);
        let mut followed = Vec::new();
        while followed.last() != Some(&EVENTS) {
            followed.extend(sequences(&commits.next().await.unwrap().unwrap()));
        }
        assert_eq!(followed, seen.events, "byte {at}");
        drop(commits);
        disk.close().await;
    }
    met
}

#[tokio::test]
async fn a_flipped_bit_in_a_sealed_log_is_a_gap_of_one_event_and_the_others_are_served() {
    let met = read_with_flips(&template().await, true).await;
    assert!(met > 10, "{met} flips met an event");
}

#[tokio::test]
async fn the_same_holds_where_the_index_is_damaged_too() {
    let met = read_with_flips(&template().await, false).await;
    assert!(met > 10, "{met} flips met an event");
}

#[tokio::test]
async fn a_version_byte_that_changed_is_damage_and_one_that_was_written_is_not() {
    let template = template().await;
    let copied = copy_of(&template);
    let log = logs(copied.path()).remove(0);
    let begin = segment::HEADER_BYTES + group::HEADER_BYTES;
    change(&log, |bytes| {
        assert_eq!(bytes[begin + 4], 2, "the version of the first event");
        bytes[begin + 4] = 3;
    });
    let disk = reopen(copied.path()).await;
    // Twice, since the second time it is known.
    for _ in 0..2 {
        assert_eq!(read_through(&disk).await.gaps, [(1, 1)]);
    }
    disk.close().await;

    // With the checksums that a newer version would have written.
    change(&log, |bytes| {
        let header = segment::SegmentHeader::decode(&bytes[..segment::HEADER_BYTES]).unwrap();
        let at = segment::HEADER_BYTES;
        let len = segment::u32_at(bytes, at + 8).unwrap() as usize;
        let end = begin + len;
        let records = xxhash_rust::xxh3::xxh3_64_with_seed(&bytes[begin..end], header.salt);
        bytes[at + 20..at + 28].copy_from_slice(&records.to_le_bytes());
        let checksum = xxhash_rust::xxh3::xxh3_64_with_seed(&bytes[at..at + 28], header.salt);
        bytes[at + 28..at + 36].copy_from_slice(&checksum.to_le_bytes());
    });
    let newer = reopen(copied.path()).await;
    let refused = newer.read(&Selection::all(), Sequence::ZERO, 3000).await;
    let message = with_causes(&refused.unwrap_err()).to_string();
    assert!(
        message.contains("run the version that wrote it"),
        "{message}"
    );
    assert_eq!(newer.health().damaged_events, 0);
}

fn topic_of(n: u64) -> &'static str {
    if n.is_multiple_of(2) {
        "a.even"
    } else {
        "a.odd"
    }
}

/// Groups of several events, as many deliveries at a time make them.
async fn grouped() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    // The first batch waits for what gathers behind it.
    let (gathered, gathering) = std::sync::mpsc::sync_channel::<()>(0);
    let gathering = Mutex::new(gathering);
    let waiting = Env {
        write: Arc::new(move |purpose, write| {
            if purpose == WritePurpose::Append {
                _ = gathering.lock().recv();
            }
            write()
        }),
        ..tiny()
    };
    let disk = open_in(settings(folder.path()), ROOMY, waiting).await;
    let disk = disk.unwrap();
    let appends = (1..=EVENTS).map(|n| {
        let dedup = Some(key(n as u8));
        disk.append(draft(topic_of(n), body(n)), dedup)
    });
    let (answers, ()) = tokio::join!(join_all(appends), async { drop(gathered) });
    assert!(answers.iter().all(Result::is_ok));
    disk.append(draft("z", body(EVENTS + 1)), None)
        .await
        .unwrap();
    let unsealed = || logs(folder.path()).len() - of_kind(folder.path(), FileKind::Index).len();
    until(|| unsealed() == 1).await;
    disk.close().await;
    folder
}

#[tokio::test]
async fn without_an_index_the_others_of_a_damaged_group_are_served_and_topics_are_told() {
    let template = grouped().await;
    let copied = copy_of(&template);
    flip_body(copied.path(), 8);
    flip_body(copied.path(), 9);
    for index in of_kind(copied.path(), FileKind::Index) {
        change(&index, |bytes| *bytes.last_mut().unwrap() ^= 1);
    }
    let disk = reopen(copied.path()).await;
    assert_eq!(read_through(&disk).await.gaps, [(8, 9)]);
    // Nobody knows of which topics they were.
    for topic in ["a", "a.even", "a.odd", "z"] {
        let selection = Selection::topic(topic.parse().unwrap());
        let seen = read_from(&disk, &selection, Sequence::ZERO).await;
        let told = seen.told();
        assert!(told.contains(&8) && told.contains(&9), "{topic}: {told:?}");
    }
    // Nor of which types.
    let rare = Selection {
        types: Some(["rare".into()].into()),
        ..Selection::all()
    };
    let seen = read_from(&disk, &rare, Sequence::ZERO).await;
    assert_eq!((seen.events.len(), seen.gaps.len()), (0, 1), "{seen:?}");
    assert!(seen.told().ends_with(&[8, 9]), "{seen:?}");
    assert_eq!(disk.health().damaged_events, 2);
    disk.stored_topics(all_topics()).await.unwrap();
}

fn all_topics() -> StoredTopicsQuery {
    StoredTopicsQuery {
        after: None,
        under: None,
        limit: 10,
        recent_from: NOON,
    }
}

#[tokio::test]
async fn a_log_that_loses_its_end_its_beginning_or_all_is_one_gap() {
    let template = template().await;
    let logs = logs(template.path());
    let (second, _) = segment::parse_name(logs[1].file_name().unwrap().to_str().unwrap()).unwrap();
    let last = second.0 - 1;
    let whole = fs::read(&logs[0]).unwrap();
    let wipe = |from: usize, to: usize| {
        let mut bytes = whole.clone();
        bytes[from..to].fill(0);
        Some(bytes)
    };
    let half = whole.len() / 2;
    for (what, left, with_index) in [
        ("end", Some(whole[..half].to_vec()), true),
        ("end", Some(whole[..half].to_vec()), false),
        ("begin", wipe(0, half), true),
        ("begin", wipe(0, half), false),
        ("middle", wipe(half, half + 600), false),
        ("all", None, true),
        ("all", None, false),
    ] {
        let copied = copy_of(&template);
        let name = logs[0].strip_prefix(template.path()).unwrap();
        let log = copied.path().join(name);
        // While it runs: a start would refuse a log that is shorter.
        let disk = reopen(copied.path()).await;
        match left {
            Some(bytes) => fs::write(&log, bytes).unwrap(),
            None => fs::remove_file(&log).unwrap(),
        }
        if !with_index {
            let index = of_kind(copied.path(), FileKind::Index).remove(0);
            fs::write(index, "").unwrap();
        }
        disk.reads.files_for_tests().segments.close_files();
        let seen = read_through(&disk).await;
        let [(from, to)] = seen.gaps[..] else {
            panic!("{what}, {with_index}: {seen:?}");
        };
        match what {
            "end" => assert!(from > 5 && to == last, "{seen:?}"),
            "begin" => assert!(from == 1 && to < last - 5, "{seen:?}"),
            "middle" => assert!(from > 5 && to < last && to - from < 6, "{seen:?}"),
            _ => assert_eq!((from, to), (1, last)),
        }
        let found = disk.health().damaged_events;
        assert_eq!(found, to - from + 1, "{what}, {with_index}");
        // Whoever asks for the last events is told as well.
        let start = disk.start_of_last_n(&Selection::all(), 60).await.unwrap();
        assert!(start < Sequence(from), "{what}, {with_index}: {start}");
        disk.stored_topics(all_topics()).await.unwrap();
        // Live events go on, and the writer with them.
        let next = append(&disk, draft("a", body(EVENTS + 1))).await;
        assert_eq!(next, Sequence(EVENTS + 1));
        disk.close().await;
    }
}

#[tokio::test]
async fn damage_in_the_segment_that_is_written_is_a_gap_too() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path()).await;
    for n in 1..=5 {
        append(&disk, draft("a", body(n))).await;
    }
    flip_body(folder.path(), 3);
    assert_eq!(read_through(&disk).await.gaps, [(3, 3)]);
    append(&disk, draft("a", body(6))).await;
    assert_eq!(read_through(&disk).await.gaps, [(3, 3)]);
}

#[tokio::test]
async fn an_event_that_a_topic_does_not_have_is_no_gap_for_it() {
    let template = grouped().await;
    let copied = copy_of(&template);
    flip_body(copied.path(), 8);
    let disk = reopen(copied.path()).await;
    for (topic, gaps) in [("a.odd", 0), ("z", 0), ("a.even", 1), ("a", 1)] {
        let selection = Selection::topic(topic.parse().unwrap());
        let seen = read_from(&disk, &selection, Sequence::ZERO).await;
        assert_eq!(seen.gaps.len(), gaps, "{topic}: {seen:?}");
    }
    let several = Selection {
        topics: Topics::These(["z", "a.even"].map(|t| t.parse().unwrap()).into()),
        types: None,
    };
    let seen = read_from(&disk, &several, Sequence(6)).await;
    assert_eq!(seen.gaps, [(7, 8)]);
}

#[tokio::test]
async fn a_new_epoch_keeps_what_is_whole_in_sealed_segments_and_tells_of_the_rest() {
    let template = grouped().await;
    let first = logs(template.path()).len();
    let damages: [&dyn Fn(&Path); 6] = [
        &|folder| flip_body(folder, 8),
        // Of a log without its header.
        &|folder| {
            flip_body(folder, 8);
            change(&logs(folder)[0], |bytes| bytes[3] ^= 1);
        },
        // And of one without its index.
        &|folder| {
            flip_body(folder, 8);
            fs::remove_file(&of_kind(folder, FileKind::Index)[0]).unwrap();
        },
        &|folder| {
            flip_body(folder, 8);
            change(&of_kind(folder, FileKind::Index)[0], |bytes| {
                *bytes.last_mut().unwrap() ^= 1;
            });
        },
        &|folder| {
            flip_body(folder, 8);
            change(&of_kind(folder, FileKind::Dedup)[0], |bytes| bytes[70] ^= 1);
        },
        &|folder| {
            flip_body(folder, 8);
            fs::write(folder.join("floor"), "damaged").unwrap();
        },
    ];
    for (n, damage) in damages.iter().enumerate() {
        let copied = copy_of(&template);
        damage(copied.path());
        let disk = reopen_with_new_epoch(copied.path()).await;
        let seen = read_through(&disk).await;
        assert_eq!(seen.gaps, [(8, 8)], "damage {n}");
        assert_eq!(disk.health().damaged_events, 0, "it is mended");
        // What is lost was of a topic that nobody knows any more.
        let odd = Selection::topic("a.odd".parse().unwrap());
        assert_eq!(
            read_from(&disk, &odd, Sequence::ZERO).await.told().last(),
            Some(&8)
        );
        assert!(logs(copied.path()).len() > first);
        disk.close().await;
        // It stays so, with no further `--new-epoch`, and with one.
        for _ in 0..2 {
            let again = reopen(copied.path()).await;
            assert_eq!(read_through(&again).await, seen, "damage {n}");
            let known = (1..=EVENTS).filter(|known| *known != 8);
            if n != 4 {
                for sequence in known {
                    let sent = draft(topic_of(sequence), "again");
                    let sent = again.append(sent, Some(key(sequence as u8))).await.unwrap();
                    assert_eq!(
                        (sent.sequence.0, sent.duplicate),
                        (sequence, true),
                        "damage {n}"
                    );
                }
            }
            again.close().await;
            reopen_with_new_epoch(copied.path()).await.close().await;
        }
    }
}

#[tokio::test]
async fn a_salvage_that_dies_finds_as_much_the_next_time() {
    // Where each event is a group of its own, they are elsewhere once they are written
    // again.
    for template in [grouped().await, template().await] {
        check_a_salvage_that_dies(&template).await;
    }
}

async fn check_a_salvage_that_dies(template: &TempDir) {
    let once = copy_of(template);
    for sequence in [3, 8, 9, 20, 40] {
        flip_body(once.path(), sequence);
    }
    let damaged = copy_of(&once);
    let salvaged = reopen_with_new_epoch(once.path()).await;
    let expected = read_through(&salvaged).await;
    assert_eq!(expected.told(), [3, 8, 9, 20, 40]);
    salvaged.close().await;
    // As a death leaves it: of what the salvage writes, the first so many files,
    // and nothing removed.
    let mut written = logs(once.path());
    written.reverse();
    let old = logs(damaged.path()).len();
    for count in 1..written.len() {
        let copied = copy_of(&damaged);
        for log in &written[..count] {
            let name = log.strip_prefix(once.path()).unwrap();
            let target = copied.path().join(name);
            if !target.exists() {
                fs::copy(log, target).unwrap();
            }
        }
        assert!(logs(copied.path()).len() >= old);
        let disk = reopen_with_new_epoch(copied.path()).await;
        let seen = read_from(&disk, &Selection::all(), Sequence::ZERO).await;
        assert_eq!(seen.events, expected.events, "after {count} files");
        disk.close().await;
    }
    // Later still: what is written again has taken the places, and the indexes are
    // those of the logs that were.
    let copied = copy_of(&damaged);
    for log in &written {
        let name = log.strip_prefix(once.path()).unwrap();
        fs::copy(log, copied.path().join(name)).unwrap();
    }
    checked(copied.path());
    let disk = reopen_with_new_epoch(copied.path()).await;
    let seen = read_from(&disk, &Selection::all(), Sequence::ZERO).await;
    assert_eq!(seen.events, expected.events, "with the indexes of before");
    disk.close().await;
    assert!(checked(copied.path()).is_whole());
}

#[tokio::test]
async fn a_hole_at_either_end_is_told_after_a_new_epoch() {
    let template = template().await;
    let logs = logs(template.path());
    for gone in [0, 1, logs.len() - 1] {
        let copied = copy_of(&template);
        let name = logs[gone].file_name().unwrap().to_str().unwrap();
        let (first, _) = segment::parse_name(name).unwrap();
        for kind in [FileKind::Log, FileKind::Index, FileKind::Dedup] {
            _ = fs::remove_file(segment::path(copied.path(), first, kind));
        }
        let disk = reopen_with_new_epoch(copied.path()).await;
        let seen = read_through(&disk).await;
        assert_eq!(seen.gaps.len(), 1, "{gone}: {seen:?}");
        assert_eq!(seen.gaps[0].0, first.0, "{gone}");
        let topic = Selection::topic("a.b".parse().unwrap());
        assert_eq!(read_from(&disk, &topic, Sequence::ZERO).await, seen);
        // Also to whoever asks for more of the last ones than are left.
        let start = disk.start_of_last_n(&topic, 60).await.unwrap();
        assert!(start < Sequence(seen.gaps[0].1), "{gone}: {start}");
        append(&disk, draft("a.b", body(disk.head().0 + 1))).await;
        let later = read_through(&disk).await;
        assert_eq!(later.gaps, seen.gaps, "{gone}");
        disk.close().await;
        assert_eq!(read_through(&reopen(copied.path()).await).await, later);
    }
}

/// The mark lags by up to a second, so what was acknowledged last can be above it.
#[tokio::test]
async fn a_last_write_that_changed_is_told_and_its_sequences_are_not_given_out_again() {
    for kept in [0, 2] {
        let folder = tempfile::tempdir().unwrap();
        let disk = open(folder.path()).await;
        for n in 1..=kept + 1 {
            append(&disk, draft("a", body(n))).await;
        }
        disk.close().await;
        let mark = HighWaterMark::load(folder.path()).unwrap().unwrap();
        let lagging = HighWaterMark {
            sequence: Sequence(kept),
            ..mark
        };
        lagging.store(folder.path()).unwrap();
        flip_body(folder.path(), kept + 1);
        let mut seen = Seen {
            events: (1..=kept).collect(),
            gaps: vec![(kept + 1, kept + 1)],
        };
        for next in kept + 2..=kept + 4 {
            let again = open(folder.path()).await;
            assert_eq!(again.epoch(), mark.epoch);
            assert_eq!(read_through(&again).await, seen);
            assert_eq!(append(&again, draft("a", body(next))).await, Sequence(next));
            again.close().await;
            seen.events.push(next);
        }
        assert!(checked(folder.path()).is_whole());
    }
}

/// What a check says of a folder, of which it changes nothing.
fn checked(folder: &Path) -> JournalReport {
    let contents = || {
        let mut paths = Vec::new();
        files(folder, &mut paths);
        paths.sort();
        let all = paths.into_iter().map(|path| {
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            (fs::read(&path).unwrap(), modified, path)
        });
        all.collect::<Vec<_>>()
    };
    let before = contents();
    let mut progress = Vec::new();
    let report = check(folder, &mut |done, total| progress.push((done, total)));
    assert!(contents() == before, "a check changes nothing");
    assert!(progress.is_sorted(), "{progress:?}");
    let (done, total) = progress.last().unwrap();
    assert_eq!(done, total);
    report.unwrap()
}

#[tokio::test]
async fn a_check_says_what_is_damaged_where_and_which_events_are_lost() {
    let template = grouped().await;
    let whole = checked(template.path());
    assert!(whole.is_whole(), "{whole:?}");
    assert_eq!(
        (whole.events, whole.segments),
        (EVENTS + 1, logs(template.path()).len())
    );
    let copied = copy_of(&template);
    let log = logs(copied.path()).remove(0);
    let at = find(&fs::read(&log).unwrap(), &body(8)) as u64;
    flip_body(copied.path(), 8);
    let index = of_kind(copied.path(), FileKind::Index).remove(0);
    change(&index, |bytes| bytes[70] ^= 1);
    let report = checked(copied.path());
    assert_eq!((report.events, report.damaged_events), (EVENTS, 1));
    let [other, event] = &report.damage[..] else {
        panic!("{report:?}");
    };
    assert_eq!((&event.file, event.kind), (&log, DamageKind::Events));
    assert_eq!(event.events, Some((Sequence(8), Sequence(8))));
    assert!(event.bytes.as_ref().unwrap().contains(&at), "{event:?}");
    assert_eq!((&other.file, other.kind), (&index, DamageKind::Index));
    assert_eq!(other.events, None);
    let dedup = copy_of(&template);
    let entries = of_kind(dedup.path(), FileKind::Dedup).remove(0);
    change(&entries, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let [found] = &checked(dedup.path()).damage[..] else {
        panic!("one file is damaged");
    };
    assert_eq!((&found.file, found.kind), (&entries, DamageKind::Dedup));
    // Where there is no journal, it says so.
    let nowhere = check(&copied.path().join("nowhere"), &mut |_, _| {});
    assert!(
        matches!(nowhere, Err(OpenError::NoJournal(_))),
        "{nowhere:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_nothing_wrong_with_a_journal_that_is_written_and_deleted_from() {
    let folder = tempfile::tempdir().unwrap();
    let tight = Bounds {
        retention: Retention {
            bytes: 10_000,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    let disk = open_in(settings(folder.path()), tight, tiny())
        .await
        .unwrap();
    let is_done = AtomicBool::new(false);
    let writing = async {
        for n in 1..=600 {
            let dedup = (n <= 200).then(|| key(n as u8));
            disk.append(draft("a", body(n)), dedup).await.unwrap();
        }
        until(|| disk.floor() > Sequence(400)).await;
        is_done.store(true, Ordering::SeqCst);
    };
    let checking = async {
        let mut checks = 0;
        while !is_done.load(Ordering::SeqCst) || checks < 3 {
            let path = folder.path().to_owned();
            let report = spawn_blocking(move || check(&path, &mut |_, _| {}));
            let report = report.await.unwrap().unwrap();
            assert!(report.is_whole(), "{report:?}");
            checks += 1;
        }
        println!("{checks} checks");
    };
    tokio::join!(writing, checking);
    disk.close().await;
}

/// One damage to one file of a journal, in many places: whatever it is, and
/// whether the journal opens or has to be salvaged, all that is served is right,
/// and all that is not is told.
#[tokio::test]
async fn whatever_is_damaged_is_served_right_or_told() {
    let template = grouped().await;
    type Damage = fn(&mut Vec<u8>, usize);
    let damages: [(&str, Damage); 4] = [
        ("flipped", |bytes, at| bytes[at] ^= 0x04),
        ("cut", Vec::truncate),
        ("wiped", |bytes, at| {
            let end = bytes.len().min(at + 300);
            bytes[at..end].fill(0);
        }),
        ("moved", |bytes, at| {
            bytes.insert(at, 0);
        }),
    ];
    let mut paths = Vec::new();
    files(template.path(), &mut paths);
    paths.retain(|path| path.file_name().is_some_and(|name| name != "lock"));
    let (mut tried, mut told, mut refused) = (0, 0, 0);
    for (file, path) in paths.iter().enumerate() {
        let whole = fs::read(path).unwrap();
        let places = 24.min(whole.len());
        for place in 0..places {
            let (how, damage) = damages[(place + file) % damages.len()];
            let at = (whole.len() * place / places + place * 7 % 5).min(whole.len() - 1);
            let copied = copy_of(&template);
            let target = path.strip_prefix(template.path()).unwrap();
            change(&copied.path().join(target), |bytes| damage(bytes, at));
            let what = format!("{} {how} at {at}", target.display());
            println!("{what}");
            tried += 1;
            let report = checked(copied.path());
            let opened = open_in(settings(copied.path()), ROOMY, tiny()).await;
            let (disk, has_new_epoch) = match opened {
                Ok(disk) => (disk, false),
                Err(_) => (reopen_with_new_epoch(copied.path()).await, true),
            };
            refused += usize::from(has_new_epoch);
            let seen = read_through(&disk).await;
            let is_noticed = has_new_epoch || !seen.gaps.is_empty();
            assert!(!(is_noticed && report.is_whole()), "{what}: {report:?}");
            if !has_new_epoch {
                let lost = seen.told().len() as u64;
                assert_eq!(report.damaged_events, lost, "{what}: {report:?}");
            }
            told += usize::from(!seen.gaps.is_empty());
            assert!(disk.head() >= Sequence(EVENTS), "{what}");
            let next = disk.head().next();
            assert_eq!(
                append(&disk, draft("a", body(next.0))).await,
                next,
                "{what}"
            );
            assert_eq!(read_through(&disk).await.gaps, seen.gaps, "{what}");
            disk.close().await;
            if has_new_epoch {
                let mended = checked(copied.path());
                assert!(mended.is_whole(), "{what}: {mended:?}");
                let lost = seen.told().len() as u64;
                assert_eq!(mended.given_up_events, lost, "{what}: {mended:?}");
            }
        }
    }
    println!("{tried} damages: {told} were told, {refused} starts were refused");
    assert!(told > 10 && refused > 10, "{told}, {refused} of {tried}");
}
