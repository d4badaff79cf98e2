//! Who listens and what there is, where that is asked for at the wrong time.

use super::*;

const TOPICS: &[&str] = &["a.b", "c"];

fn wanted() -> TopicPageRequest {
    TopicPageRequest {
        after: None,
        under: None,
        count: 10,
    }
}

async fn fixture() -> Fixture {
    Fixture::with(Way::Body, 1 << 20, 1 << 20, Fixture::HEARTBEAT).await
}

#[tokio::test(start_paused = true)]
async fn a_second_question_waits_its_turn_and_then_is_told_to_come_back() {
    let fixture = fixture().await;
    let first = fixture.streams.scans.acquire().await.unwrap();
    let asked = tokio::time::Instant::now();
    let refused = fixture.streams.topic_stats(wanted()).await;
    assert!(matches!(refused, Err(TopicStatsError::Busy)));
    assert!(asked.elapsed() >= Duration::from_secs(10));
    let second = fixture.streams.topic_stats(wanted());
    let release = async { drop(first) };
    let (second, ()) = tokio::join!(second, release);
    assert!(second.is_ok());
}

#[tokio::test]
async fn streams_count_while_they_replay_and_end_with_what_held_them() {
    let fixture = fixture().await;
    fixture.store("a.b", "t", "x").await;
    let earliest = fixture.open(TOPICS, Start::Earliest).await;
    let now = fixture.open(TOPICS, Start::Now).await;
    let subscribers = async || {
        let stats = fixture.streams.topic_stats(wanted()).await.unwrap();
        let rows = stats.topics.into_iter();
        rows.map(|(name, figures)| (name, figures.subscribers.unwrap()))
            .collect::<Vec<_>>()
    };
    let both = [("a", 2), ("a.b", 2), ("c", 2)].map(|(name, count)| (name.into(), count));
    assert_eq!(subscribers().await, both);
    drop(now);
    let one = [("a", 1), ("a.b", 1), ("c", 1)].map(|(name, count)| (name.into(), count));
    assert_eq!(subscribers().await, one);
    drop(earliest);
    let none = [("a", 0), ("a.b", 0)].map(|(name, count)| (name.into(), count));
    assert_eq!(subscribers().await, none);
}

#[tokio::test]
async fn topics_with_nothing_but_subscribers_are_paged_as_well() {
    let fixture = fixture().await;
    fixture.store("b", "t", "x").await;
    let _listens = fixture.open(&["a", "c", "d"], Start::Now).await;
    for count in 1..5 {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let wanted = TopicPageRequest {
                after,
                under: None,
                count,
            };
            let page = fixture.streams.topic_stats(wanted).await.unwrap();
            listed.extend(page.topics.into_iter().map(|(name, _)| name));
            if !page.more {
                break;
            }
            after = listed.last().map(|name| name.parse().unwrap());
        }
        assert_eq!(listed, ["a", "b", "c", "d"].map(Into::into), "by {count}");
    }
}

/// A loud memory journal may keep less than a minute.
#[tokio::test]
async fn the_rate_is_that_of_the_time_that_is_left() {
    let fixture = Fixture::with(Way::Body, 1 << 20, 1_000, Fixture::HEARTBEAT).await;
    fixture.store_many("a", 20).await;
    let stats = fixture.streams.topic_stats(wanted()).await.unwrap();
    assert!(stats.all.events < 20);
    assert!(stats.counted_after.sequence > Sequence::ZERO);
    // All arrived in this very moment.
    assert_eq!(stats.all.events_per_second, None);
}
