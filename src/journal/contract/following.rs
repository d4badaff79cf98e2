//! Each event once and in order, also for a follower that lags.

use super::*;

pub(in crate::journal) async fn a_follower_sees_each_event_once_while_appends_race_it(
    factory: &impl Factory,
) {
    const ROUNDS: u64 = 40;
    let (journal, _guard) = open(factory).await;
    let append_rounds = async {
        for _ in 0..ROUNDS {
            join_all((0..25).map(|_| journal.append(draft("a", "x"), None))).await;
        }
    };
    let expected: Vec<u64> = (1..=ROUNDS * 25).collect();
    // Each begins later than the one before, in the thick of it.
    let followers = join_all((0..8u64).map(|n| {
        let journal = Arc::clone(&journal);
        async move {
            until(|| journal.head().0 >= n * 100).await;
            follow_until(&*journal, Sequence::ZERO, ROUNDS * 25).await
        }
    }));
    let (_, followed) = tokio::join!(append_rounds, followers);
    for events in followed {
        assert_eq!(sequences(&events), expected);
    }
}

pub(in crate::journal) async fn a_follower_that_lags_misses_nothing(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    append(&*journal, draft("a", "first")).await;
    let mut commits = journal.follow(Sequence::ZERO);
    let first = commits.next().await.unwrap().unwrap();
    assert_eq!(sequences(&first), [1]);
    // Far more commits than wait for anybody, while nobody takes them.
    for _ in 0..200 {
        append(&*journal, draft("a", "x")).await;
    }
    let mut seen = Vec::new();
    while seen.len() < 200 {
        seen.extend(sequences(&commits.next().await.unwrap().unwrap()));
    }
    assert_eq!(seen, (2..=201).collect::<Vec<_>>());
    // And is live again.
    let next = append(&*journal, draft("a", "x")).await;
    assert_eq!(sequences(&commits.next().await.unwrap().unwrap()), [next.0]);
}

pub(in crate::journal) async fn a_follower_from_the_middle_starts_there(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    for _ in 0..10 {
        append(&*journal, draft("a", "x")).await;
    }
    let events = follow_until(&*journal, Sequence(7), 10).await;
    assert_eq!(sequences(&events), [8, 9, 10]);
    let mut commits = journal.follow(journal.head());
    append(&*journal, draft("a", "x")).await;
    assert_eq!(sequences(&commits.next().await.unwrap().unwrap()), [11]);
}
