//! Pages of certain types, and readers that search for them.

use super::*;

fn of_types(types: &[&str]) -> Selection {
    Selection {
        types: Some(types.iter().map(|&name| name.into()).collect()),
        ..Selection::all()
    }
}

#[tokio::test]
async fn of_a_type_that_few_events_have_no_others_are_read_and_its_readers_share() {
    let fixture = fixture().await;
    for n in 1..=20_000_u64 {
        let event_type = if n % 5_000 == 0 { "rare" } else { "t" };
        fixture.store_typed("a", event_type, 100).await;
    }
    let head = Sequence(20_000);
    for (types, expected) in [
        (&["absent"][..], &[][..]),
        (&["rare"], &[5_000, 10_000, 15_000, 20_000]),
        (&["absent", "rare"], &[5_000, 10_000, 15_000, 20_000]),
    ] {
        let (selection, before) = (of_types(types), fixture.journal.reads());
        let readers = (0..100).map(|_| fixture.walk(&selection, Sequence::ZERO, head));
        for walked in join_all(readers).await {
            assert_eq!(walked.events, expected);
        }
        let reads = fixture.journal.reads() - before;
        assert!(reads <= 4, "{reads} reads by 100 readers");
    }
    let read = fixture.journal.events_read.load(Ordering::SeqCst);
    assert!(read <= 8, "{read} events were read to find 8");
}

#[tokio::test]
async fn pages_of_some_types_are_not_given_to_who_asks_for_others() {
    let fixture = fixture().await;
    for n in 0..100 {
        let event_type = ["a", "b", "a,b"][n % 3];
        fixture.store_typed("a", event_type, 10).await;
    }
    for round in 0..2 {
        for types in [&["a"][..], &["b"], &["a", "b"], &["a,b"], &[]] {
            let selection = of_types(types);
            let walked = fixture.walk(&selection, Sequence::ZERO, Sequence(100));
            let truth = fixture.truth(&selection, Sequence::ZERO, Sequence(100));
            let (walked, truth) = (walked.await.events, truth.await);
            assert_eq!(walked, truth, "{types:?} in round {round}");
        }
        assert_eq!(fixture.journal.reads(), 5);
    }
}

#[tokio::test]
async fn readers_that_search_leave_most_reads_to_others() {
    let fixture = fixture_with(DEFAULT, 1 << 30).await;
    fixture.store_many("a", 10, 20).await;
    let sought: Vec<Selection> = (0..100).map(|n| topics(&[&format!("t{n}")])).collect();
    let searches = sought
        .iter()
        .map(|selection| fixture.history.searched_page(selection, Sequence::ZERO));
    let mut searches = pin!(join_all(searches));
    assert!((&mut searches).now_or_never().is_none());
    assert_eq!(fixture.journal.reads(), 2, "the other searches wait");
    let a = topics(&["a"]);
    let mut other = pin!(fixture.history.page(&a, Sequence::ZERO));
    assert!((&mut other).now_or_never().is_none());
    assert_eq!(
        fixture.journal.reads(),
        3,
        "who does not search is read for"
    );
    fixture.journal.open_gate();
    assert_eq!(other.await.unwrap().frames.len(), 20);
    for page in searches.await {
        assert_eq!(page.unwrap().scanned, Sequence(20));
    }
    assert!(fixture.journal.under_way_most.load(Ordering::SeqCst) <= 3);
}
