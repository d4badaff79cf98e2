//! Views that change while streams are open: what they hide from then on goes
//! out nowhere, and nothing is left out for it.

use super::*;
use crate::wire::{Frame, Projection};

const SECRET: &str = "SECRET";
const EVENTS: usize = 20;

/// Views that hide `/secret` of every topic.
pub(super) fn hiding() -> TopicMap<Arc<View>> {
    let view = View {
        projection: Some(Projection::new(None, vec!["/secret".parse().unwrap()])),
        ..View::default()
    };
    TopicMap::new([].into(), Some(Arc::new(view)))
}

async fn store(fixture: &Fixture) {
    for n in 0..EVENTS {
        let long = SECRET.repeat(if n % 3 == 0 { 200 } else { 1 });
        let body = format!("{{\"n\":{n},\"secret\":\"{long}\",\"last\":true}}");
        fixture.store("a", "t", &body).await;
    }
    fixture.told(fixture.journal.head().0).await;
}

/// How a stream stands when it has been asked so often.
#[derive(Debug, PartialEq, Eq)]
enum Stands {
    Open,
    Waits,
    Broken,
}

impl Reader {
    /// Asks for so many steps, and keeps the text.
    async fn steps(&mut self, count: usize) -> Stands {
        for _ in 0..count {
            let state = &mut self.subscription.state;
            match state.poll(Instant::now) {
                Step::Read => read(state).await,
                Step::Write => self.write(),
                Step::Wait if pin!(state.received()).now_or_never().is_some() => {}
                Step::Wait => return Stands::Waits,
                Step::Abort => return Stands::Broken,
                Step::End => panic!("it ends"),
            }
        }
        Stands::Open
    }

    /// The sequences of the events that came whole.
    fn whole(&self) -> Vec<u64> {
        let text = String::from_utf8(self.text.clone()).unwrap();
        let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        let said = whole.split("\n\n").map(Said::from_text);
        said.filter_map(|said| match said {
            Said::Event(sequence) => Some(sequence),
            _ => None,
        })
        .collect()
    }
}

/// What follows of the stream; nothing hidden goes out any more.
async fn finish(reader: &mut Reader) -> Stands {
    let before = reader.text.len();
    let stands = reader.steps(100_000).await;
    let after = String::from_utf8_lossy(&reader.text[before..]).into_owned();
    assert!(!after.contains(SECRET), "{after}");
    stands
}

#[tokio::test(start_paused = true)]
async fn what_a_new_view_hides_goes_out_of_no_stream_however_far_it_was() {
    for way in [Way::Body, Way::Socket, Way::Gzip] {
        let mut broken = 0;
        for round in 0..150 {
            // Everything in the ring, or nearly all behind it.
            let ring_bytes = [1 << 20, 1_000][round % 2];
            let fixture = Fixture::with(way, ring_bytes, 1 << 30, Fixture::HEARTBEAT).await;
            let _keeps_the_ring = fixture.open(&["*"], Start::Now).await;
            // Told of as it comes, or found in pages.
            let is_replay = round / 4 % 2 == 1;
            if is_replay {
                store(&fixture).await;
            }
            let start = [Start::Earliest, Start::Now][round / 2 % 2];
            let start = if is_replay { Start::Earliest } else { start };
            let mut reader = fixture.open(&["a"], start).await;
            if !is_replay {
                store(&fixture).await;
            }
            reader.steps(fastrand::usize(..40)).await;
            fixture.streams.replace_views(hiding(), "");
            let stands = finish(&mut reader).await;
            let mut got = reader.whole();
            if stands == Stands::Broken {
                broken += 1;
                let last = got.last().copied().unwrap_or_default();
                let mut again = fixture.open(&["a"], fixture.after(last)).await;
                assert_eq!(finish(&mut again).await, Stands::Waits);
                got.extend(again.whole());
            }
            let all: Vec<u64> = (1..=EVENTS as u64).collect();
            assert_eq!(got, all, "{way:?}, round {round}");
        }
        match way {
            Way::Body => assert_eq!(broken, 0, "whole frames are given"),
            Way::Socket | Way::Gzip => assert!((1..150).contains(&broken), "{broken}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn views_that_stay_as_they_are_break_nothing() {
    let fixture = Fixture::with(Way::Socket, 1 << 20, 1 << 30, Fixture::HEARTBEAT).await;
    let mut reader = fixture.open(&["a"], Start::Earliest).await;
    store(&fixture).await;
    fixture.streams.replace_views(hiding(), "");
    for _ in 0..100 {
        reader.steps(1).await;
        assert!(!fixture.streams.replace_views(hiding(), ""));
    }
    assert_eq!(reader.steps(100_000).await, Stands::Waits);
    assert_eq!(reader.whole().len(), EVENTS);
}

/// Between the replacing of the encoder and the clearing of the page cache a read
/// may come down with what it was given before.
#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_for_a_page_is_given_none_of_before() {
    let fixture = Fixture::with(Way::Body, 0, 1 << 30, Fixture::HEARTBEAT).await;
    store(&fixture).await;
    let history = &fixture.streams.context.history;
    let topics = Selection::topic("a".parse().unwrap());
    let old = history.page(&topics, Sequence(0)).await.unwrap();
    assert!(history.cached_page(&topics, Sequence(0)).is_some());
    assert!(fixture.streams.replace_views(hiding(), ""));
    assert!(history.cached_page(&topics, Sequence(0)).is_none());
    let new = history.page(&topics, Sequence(0)).await.unwrap();
    let form = Form::PLAIN;
    let text = |frame: &Frame| String::from_utf8(frame.piece(form).chunk().payload().to_vec());
    for (before, after) in old.frames.iter().zip(&*new.frames) {
        assert!(text(before).unwrap().contains(SECRET));
        assert!(!text(after).unwrap().contains(SECRET));
        let full = Form { full: true, ..form };
        assert_eq!(
            after.piece(full).chunk().payload(),
            before.piece(form).chunk().payload()
        );
    }
}
