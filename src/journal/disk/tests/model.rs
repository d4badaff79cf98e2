//! Random appends, reads and reopenings, against a list that is simply looked
//! through.

use std::collections::{BTreeMap, HashMap};

use hookrill_core::{Timestamp, Topics};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::journal::StoredStats;

const TOPICS: [&str; 6] = ["a", "a.b", "a.b.c", "b", "b.x", "c"];
const TYPES: [&str; 3] = ["push", "star", "rare"];

#[derive(Debug, Clone)]
enum Action {
    Append {
        topic: usize,
        event_type: usize,
        key: Option<u8>,
        len: usize,
    },
    Read {
        selection: (Vec<usize>, Option<Vec<usize>>),
        after: u64,
        bytes_max: usize,
    },
    Last {
        selection: (Vec<usize>, Option<Vec<usize>>),
        count: usize,
    },
    Stats {
        after: Option<usize>,
        under: Option<usize>,
        count: usize,
        recent: u64,
    },
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Action>> {
    let selection = || {
        let types = proptest::option::of(vec(0..TYPES.len(), 0..3));
        (vec(0..TOPICS.len(), 0..4), types)
    };
    let append = (
        0..TOPICS.len(),
        0..TYPES.len(),
        proptest::option::of(0..40_u8),
        0..600_usize,
    );
    let append = append.prop_map(|(topic, event_type, key, len)| Action::Append {
        topic,
        event_type,
        key,
        len,
    });
    let read = (selection(), 0..160_u64, 0..4000_usize);
    let read = read.prop_map(|(wanted, after, bytes_max)| Action::Read {
        selection: wanted,
        after,
        bytes_max,
    });
    let last = (selection(), 0..30_usize);
    let last = last.prop_map(|(wanted, count)| Action::Last {
        selection: wanted,
        count,
    });
    let topic = || proptest::option::of(0..TOPICS.len());
    let stored = (topic(), topic(), 1..8_usize, 0..100_u64);
    let stored = stored.prop_map(|(after, under, count, recent)| Action::Stats {
        after,
        under,
        count,
        recent,
    });
    let reopen = Just(Action::Reopen);
    let step = prop_oneof![20 => append, 6 => read, 3 => last, 3 => stored, 1 => reopen];
    vec(step, 1..200)
}

/// No topics is everything; those that cover each other are left as they are.
fn select((topics, types): &(Vec<usize>, Option<Vec<usize>>)) -> Selection {
    let topics = topics.iter().map(|&place| TOPICS[place].parse().unwrap());
    let topics: Box<[_]> = topics.collect();
    Selection {
        topics: if topics.is_empty() {
            Topics::All
        } else {
            Topics::These(topics)
        },
        types: types
            .as_ref()
            .map(|types| types.iter().map(|&place| TYPES[place].into()).collect()),
    }
}

/// The next sequence of a list.
fn next_of(events: &[Draft]) -> u64 {
    events.len() as u64 + 1
}

/// The list.
#[derive(Default)]
struct Model {
    events: Vec<Draft>,
    seen: HashMap<(usize, u8), u64>,
}

impl Model {
    async fn step(&mut self, disk: &Disk, step: &Action) {
        match step {
            Action::Append {
                topic,
                event_type,
                key: dedup,
                len,
            } => {
                let body = vec![self.events.len() as u8; *len];
                let draft = Draft {
                    event_type: TYPES[*event_type].into(),
                    // So that any number of the newest can be asked for.
                    received_at: Timestamp::from_unix_ms(NOON.unix_ms() + next_of(&self.events)),
                    ..draft(TOPICS[*topic], body)
                };
                let known = dedup.and_then(|n| self.seen.get(&(*topic, n)).copied());
                let appended = disk.append(draft.clone(), dedup.map(key)).await.unwrap();
                let next = next_of(&self.events);
                assert_eq!(appended.duplicate, known.is_some());
                assert_eq!(appended.sequence.0, known.unwrap_or(next));
                if known.is_none() {
                    self.events.push(draft);
                    dedup.map(|n| self.seen.insert((*topic, n), next));
                }
            }
            Action::Read {
                selection,
                after,
                bytes_max,
            } => {
                self.read(disk, &select(selection), *after, *bytes_max)
                    .await;
            }
            Action::Last { selection, count } => {
                let (selection, floor) = (select(selection), disk.floor().0);
                let found = disk.start_of_last_n(&selection, *count).await.unwrap();
                // Retention may have gone on meanwhile.
                if disk.floor().0 == floor {
                    let all = self.wanted(&selection, floor, disk.head().0);
                    let oldest = all.iter().rev().take(*count).next_back();
                    let expected = oldest.map_or(disk.head().0, |oldest| oldest - 1);
                    assert_eq!(found.0, expected, "last {count} of {selection:?}");
                }
            }
            Action::Stats {
                after,
                under,
                count,
                recent,
            } => {
                let topic = |place: &usize| TOPICS[*place].parse().unwrap();
                let query = StoredTopicsQuery {
                    after: after.as_ref().map(topic),
                    under: under.as_ref().map(topic),
                    limit: *count,
                    recent_from: Timestamp::from_unix_ms(NOON.unix_ms() + recent),
                };
                let floor = disk.floor();
                let found = disk.stored_topics(query.clone()).await.unwrap();
                if disk.floor() == floor {
                    self.check(&found, &query, floor.0);
                }
            }
            Action::Reopen => unreachable!("done by the caller"),
        }
    }

    async fn read(&self, disk: &Disk, selection: &Selection, after: u64, bytes_max: usize) {
        let page = disk.read(selection, Sequence(after), bytes_max).await;
        let page = page.unwrap();
        let head = self.events.len() as u64;
        let found = sequences(&page.events);
        let from = after.max(page.floor.0);
        let above: Vec<_> = found.into_iter().filter(|s| *s > from).collect();
        let expected = self.wanted(selection, from, page.scanned.0);
        assert_eq!(above, expected, "{selection:?} after {after}");
        let bytes: usize = page.events.iter().map(|e| e.draft.weight()).sum();
        assert!(bytes <= bytes_max || page.events.len() == 1);
        assert!(page.scanned.0 > after || after >= head, "it goes on");
        for event in &page.events {
            assert_eq!(event.draft, self.events[event.sequence.0 as usize - 1]);
        }
    }

    fn check(&self, found: &StoredTopics, query: &StoredTopicsQuery, floor: u64) {
        let mut all: BTreeMap<&str, StoredStats> = BTreeMap::new();
        for (sequence, draft) in (1..).zip(&self.events).filter(|(n, _)| *n > floor) {
            for name in draft.topic.lineage().chain([""]) {
                let held = all.entry(name).or_default();
                held.events += 1;
                held.recent += u64::from(draft.received_at >= query.recent_from);
                let first = held.span.map_or(Sequence(sequence), |(first, _)| first);
                held.span = Some((first, Sequence(sequence)));
            }
        }
        let whole = all.remove("").unwrap_or_default();
        let without_bytes = |held: &StoredStats| StoredStats { bytes: 0, ..*held };
        assert_eq!(without_bytes(&found.total), whole);
        let listed = all.iter().filter(|(name, _)| {
            let after = query.after.as_ref();
            let under = query.under.as_ref();
            after.is_none_or(|after| **name > after.as_str())
                && under.is_none_or(|under| under.covers(&name.parse().unwrap()))
        });
        let listed: Vec<_> = listed.map(|(name, held)| ((*name).into(), *held)).collect();
        let topics = found.topics.iter();
        let topics: Vec<_> = topics
            .map(|(name, held)| (name.clone(), without_bytes(held)))
            .collect();
        assert_eq!(topics, listed[..listed.len().min(query.limit)], "{query:?}");
        assert_eq!(found.has_more, listed.len() > query.limit);
        if query.after.is_none() && query.under.is_none() && !found.has_more {
            let top = found.topics.iter().filter(|(name, _)| !name.contains('.'));
            let bytes: u64 = top.map(|(_, held)| held.bytes).sum();
            assert_eq!(found.total.bytes, bytes, "each event is below one topic");
        }
    }

    fn wanted(&self, selection: &Selection, after: u64, upto: u64) -> Vec<u64> {
        let all = (1..).zip(&self.events);
        let wanted = all.filter(|(sequence, draft)| {
            (after + 1..=upto).contains(sequence)
                && selection.wants(&(*draft).clone().at(Sequence(*sequence)))
        });
        wanted.map(|(sequence, _)| sequence).collect()
    }
}

fn world() -> Env {
    Env {
        sizes: tiny().sizes.map(|sizes| Sizes {
            segment_events: 12,
            segments_per_read: 3,
            ..sizes
        }),
        ..tiny()
    }
}

async fn run(steps: Vec<Action>, retain_bytes: u64) {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds {
        retention: Retention {
            bytes: retain_bytes,
            ..ROOMY.retention
        },
        ..ROOMY
    };
    let open = || async {
        open_in(settings(folder.path()), bounds, world())
            .await
            .unwrap()
    };
    let (mut disk, mut model) = (open().await, Model::default());
    for step in &steps {
        if let Action::Reopen = step {
            disk.close().await;
            disk = open().await;
            assert_eq!(disk.head().0, model.events.len() as u64);
        } else {
            model.step(&disk, step).await;
        }
    }
    let topic = Selection::topic("a".parse().unwrap());
    for selection in [Selection::all(), topic] {
        let floor = disk.floor().0;
        let found = sequences(&read_all(&disk, &selection, 2000).await);
        if disk.floor().0 == floor {
            assert_eq!(found, model.wanted(&selection, floor, disk.head().0));
        }
    }
    disk.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_list_would(steps in steps(), tight: bool) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap();
        let retain_bytes = if tight { 12_000 } else { 1 << 40 };
        runtime.block_on(run(steps, retain_bytes));
    }
}
