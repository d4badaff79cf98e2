//! Places, closing and failing.

use super::*;

pub(in crate::journal) async fn a_new_journal_is_empty(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    assert_eq!(
        (journal.head(), journal.floor()),
        (Sequence::ZERO, Sequence::ZERO)
    );
    assert!(
        read_all(&*journal, &Selection::all(), 1000)
            .await
            .is_empty()
    );
    let last = journal.start_of_last_n(&Selection::all(), 5).await.unwrap();
    assert_eq!(last, Sequence::ZERO);
}

pub(in crate::journal) async fn sequences_rise_by_one_and_reads_are_in_order(
    factory: &impl Factory,
) {
    let (journal, _guard) = open(factory).await;
    for n in 1..=20 {
        assert_eq!(append(&*journal, draft("a", "x")).await, Sequence(n));
        assert_eq!(journal.head(), Sequence(n));
    }
    let events = read_all(&*journal, &Selection::all(), 1 << 20).await;
    assert_eq!(sequences(&events), (1..=20).collect::<Vec<_>>());
}

pub(in crate::journal) async fn concurrent_appends_get_a_place_each_and_are_followed_in_order(
    factory: &impl Factory,
) {
    const EVENTS: u64 = 2000;
    let (journal, _guard) = open(factory).await;
    let appends = join_all((0..EVENTS).map(|n| {
        let journal = Arc::clone(&journal);
        async move { append(&*journal, draft("a", n.to_string())).await }
    }));
    let (places, followed) = tokio::join!(appends, follow_until(&*journal, Sequence::ZERO, EVENTS));
    let distinct: HashSet<_> = places.iter().map(|s| s.0).collect();
    assert_eq!(distinct, (1..=EVENTS).collect());
    assert_eq!(sequences(&followed), (1..=EVENTS).collect::<Vec<_>>());
    for (n, place) in places.iter().enumerate() {
        let event = &followed[place.0 as usize - 1];
        assert_eq!(event.draft.body, n.to_string().into_bytes(), "at {place}");
    }
}

pub(in crate::journal) async fn an_event_comes_back_as_it_was_appended(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    let whole = Draft {
        content_type: Some("text/plain".into()),
        dedup_id: Some("d-1".into()),
        headers: [("x-a", "b")].into_iter().collect(),
        original: Original {
            method: "PUT".into(),
            target: "/?a=b".into(),
            proof: Proof::new([("x-signature", "c")].into_iter().collect()),
            omitted: "authorization".into(),
            headers_cut: true,
            sent: Some("sent".into()),
        },
        append_nonce: 7,
        ..typed("orders.eu", "any \0\n characters")
    };
    append(&*journal, whole.clone()).await;
    let page = journal
        .read(&topics(&["orders"]), Sequence::ZERO, 1000)
        .await
        .unwrap();
    assert_eq!(*page.events[0], whole.clone().at(Sequence(1)));
    let followed = follow_until(&*journal, Sequence::ZERO, 1).await;
    assert_eq!(*followed[0], whole.at(Sequence(1)));
}

pub(in crate::journal) async fn a_closed_journal_refuses_and_ends_its_followers(
    factory: &impl Factory,
) {
    let (journal, _guard) = open(factory).await;
    append(&*journal, draft("a", "x")).await;
    let commits = journal.follow(Sequence(1));
    tokio::join!(journal.close(), journal.close());
    journal.close().await;
    let refused = journal.append(draft("a", "x"), None).await;
    assert!(matches!(refused, Err(AppendError::Closed)), "{refused:?}");
    assert!(
        journal
            .read(&Selection::all(), Sequence::ZERO, 9)
            .await
            .is_err()
    );
    assert_eq!(commits.count().await, 0);
    assert_eq!(journal.follow(Sequence::ZERO).count().await, 0);
    assert_eq!(journal.head(), Sequence(1));
}

pub(in crate::journal) async fn a_journal_that_works_never_fails(factory: &impl Factory) {
    let (journal, _guard) = open(factory).await;
    append(&*journal, draft("a", "x")).await;
    let failed = tokio::time::timeout(Duration::from_millis(20), journal.failed()).await;
    assert!(failed.is_err(), "{failed:?}");
}
