//! Channels, slices and the ring, without a journal behind them.

use bytes::Bytes;
use futures_util::FutureExt as _;
use hookrill_core::{Draft, Selection, Timestamp, TopicMap};

use super::*;
use crate::wire::{Form, View};

fn hub(ring_bytes_max: usize) -> Arc<Hub> {
    Hub::new(Sequence::ZERO, ring_bytes_max, encoder(false))
}

fn encoder(event_names: bool) -> Encoder {
    let view = View {
        event_names,
        ..View::default()
    };
    Encoder {
        epoch: "e".parse().unwrap(),
        public_url: "".into(),
        views: TopicMap::new([].into(), Some(Arc::new(view))),
    }
}

/// Events of these topics, from a sequence on.
fn commit(from: u64, topics: &[&str], body_bytes: usize) -> Vec<Arc<Event>> {
    let event = |(n, topic): (u64, &&str)| {
        let draft = Draft {
            received_at: Timestamp::default(),
            topic: topic.parse().unwrap(),
            event_type: "t".into(),
            content_type: None,
            dedup_id: None,
            headers: hookrill_core::HeaderList::default(),
            body: Bytes::from(vec![b'x'; body_bytes]),
            original: hookrill_core::Original::default(),
            append_nonce: 0,
        };
        Arc::new(draft.at(Sequence(n)))
    };
    (from..).zip(topics).map(event).collect()
}

fn topics(names: &[&str]) -> Topics {
    Topics::these(names.iter().map(|name| name.parse().unwrap()).collect())
}

/// The sequences of the slices that wait in a channel.
fn waiting(receiver: &mut Receiver) -> Vec<Vec<u64>> {
    std::iter::from_fn(|| match receiver.try_recv() {
        Received::Frames(slice) => {
            let frames = slice.upgrade().expect("the ring has it");
            Some(frames.iter().map(|frame| frame.sequence().0).collect())
        }
        Received::Empty => None,
        Received::CatchUp => panic!("frames are due"),
    })
    .collect()
}

#[test]
fn a_commit_is_one_message_per_channel_and_in_order() {
    let hub = hub(1 << 20);
    let mut a = hub.subscribe(&topics(&["a"]));
    let mut ab = hub.subscribe(&topics(&["a.b"]));
    let mut all = hub.subscribe(&Topics::All);
    hub.publish(&commit(1, &["a.b", "c", "a", "a.b.c"], 10));
    assert_eq!(waiting(&mut a), [[1, 3, 4]]);
    assert_eq!(waiting(&mut ab), [[1, 4]]);
    assert_eq!(waiting(&mut all), [[1, 2, 3, 4]]);
    assert_eq!(hub.published(), Sequence(4));
}

#[tokio::test]
async fn a_task_that_has_done_much_is_not_told_that_there_is_nothing() {
    let hub = hub(1 << 20);
    let mut many = hub.subscribe(&topics(&["a", "b"]));
    hub.publish(&commit(1, &["a"], 10));
    // Spends what the runtime grants a task between two yields.
    while tokio::task::coop::has_budget_remaining() {
        let spend = std::pin::pin!(tokio::task::coop::consume_budget());
        if spend.now_or_never().is_none() {
            break;
        }
    }
    assert!(matches!(many.try_recv(), Received::CatchUp));
    assert!(matches!(many.try_recv(), Received::Empty));
}

#[test]
fn what_the_ring_lets_go_of_is_gone_from_the_channels() {
    let hub = hub(10_000);
    let mut a = hub.subscribe(&topics(&["a"]));
    hub.publish(&commit(1, &["a"], 10));
    hub.publish(&commit(2, &["a"], 5_000));
    hub.publish(&commit(3, &["a"], 10));
    let Received::Frames(gone) = a.try_recv() else {
        panic!("a slice was sent");
    };
    assert!(gone.upgrade().is_none());
    assert_eq!(hub.ring().begin(), Sequence(2));
    let read = |after| hub.ring().read(&Selection::all(), Sequence(after), 1 << 20);
    assert!(read(1).is_none(), "the ring does not reach back so far");
    let page = read(2).unwrap();
    assert_eq!((page.frames.len(), page.scanned), (1, Sequence(3)));
}

#[test]
fn while_nobody_listens_nothing_is_kept_and_nothing_is_claimed() {
    let hub = hub(1 << 20);
    let before = hub.subscribe(&topics(&["a"]));
    hub.publish(&commit(1, &["a"], 10));
    drop(before);
    hub.publish(&commit(2, &["a"], 10));
    assert_eq!(hub.published(), Sequence(2));
    let mut a = hub.subscribe(&topics(&["a"]));
    let read = |after| hub.ring().read(&Selection::all(), Sequence(after), 1 << 20);
    assert!(read(0).is_none() && read(1).is_none(), "the journal has it");
    hub.publish(&commit(3, &["a"], 10));
    assert_eq!(waiting(&mut a), [[3]]);
    assert_eq!(read(2).unwrap().frames.len(), 1);
}

#[test]
fn a_hole_in_the_journal_sends_everybody_back_to_it() {
    let hub = hub(1 << 20);
    let mut one = hub.subscribe(&topics(&["a"]));
    let mut many = hub.subscribe(&topics(&["b", "c"]));
    hub.publish(&commit(1, &["a"], 10));
    assert_eq!(waiting(&mut one), [[1]]);
    hub.reset(Sequence(7));
    let Received::Frames(gone) = one.try_recv() else {
        panic!("a slice was sent");
    };
    assert!(gone.upgrade().is_none());
    assert!(matches!(many.try_recv(), Received::CatchUp));
    assert_eq!(hub.ring().begin(), Sequence(7));
    hub.publish(&commit(8, &["a"], 10));
    assert_eq!(waiting(&mut one), [[8]]);
}

#[test]
fn a_read_of_the_ring_is_bounded_in_bytes_and_says_how_far_it_went() {
    let hub = hub(1 << 20);
    let _somebody = hub.subscribe(&topics(&["c"]));
    hub.publish(&commit(1, &["a", "b", "a", "a"], 1_000));
    let a = Selection::topic("a".parse().unwrap());
    let page = hub.ring().read(&a, Sequence::ZERO, 1_000).unwrap();
    let seen: Vec<_> = page.frames.iter().map(|frame| frame.sequence().0).collect();
    assert_eq!((seen, page.scanned), (vec![1], Sequence(1)));
    let rest = hub.ring().read(&a, Sequence(1), 2_000).unwrap();
    assert_eq!((rest.frames.len(), rest.scanned), (2, Sequence(4)));
    assert!(
        hub.ring().read(&a, Sequence(5), 1).is_none(),
        "never ahead of it"
    );
}

/// The pump makes frames of an encoder that is replaced before they are found:
/// what a view hides from now on would stay in the ring as it was.
#[test]
fn no_frame_of_an_older_encoder_comes_in_after_it_was_replaced() {
    const ROUNDS: usize = 1_000;
    let hub = hub(16 << 10);
    let _listens = hub.subscribe(&Topics::All);
    let everything = Selection {
        topics: Topics::All,
        types: None,
    };
    let form = Form::PLAIN;
    let is_named = |frame: &Frame| {
        let piece = frame.piece(form).chunk().payload();
        piece.windows(6).any(|field| field == b"event:")
    };
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in (1..).take_while(|_| done.load(Ordering::Relaxed) == 0) {
                hub.publish(&commit(n, &["a"; 1], 10));
            }
        });
        let stale = (0..ROUNDS).find(|round| {
            let named = round % 2 == 0;
            hub.replace_encoder(encoder(named));
            // What was being made is in by then.
            let head = hub.ring().head();
            while hub.ring().head() <= head.next() {
                std::thread::yield_now();
            }
            let (ring, begin) = (hub.ring(), hub.ring().begin());
            let page = ring.read(&everything, begin, usize::MAX);
            page.is_some_and(|page| page.frames.iter().any(|frame| is_named(frame) != named))
        });
        done.store(1, Ordering::Relaxed);
        assert_eq!(stale, None);
    });
}

/// The pump sends on while subscribers look; a heartbeat claims what is said here.
#[test]
fn nothing_that_was_published_is_overlooked_on_several_channels() {
    const COMMITS: u64 = 100_000;
    let names = ["a", "b", "c"];
    let hub = hub(1 << 16);
    let mut many = hub.subscribe(&topics(&names));
    let pump = Arc::clone(&hub);
    let pumping = std::thread::spawn(move || {
        for (n, name) in (1..=COMMITS).zip(names.iter().cycle()) {
            pump.publish(&commit(n, &[name], 10));
        }
    });
    let mut position = Sequence::ZERO;
    while position < Sequence(COMMITS) {
        let published = hub.published();
        match many.try_recv() {
            Received::CatchUp => position = hub.ring().head(),
            Received::Empty => assert!(published <= position, "{published} after {position}"),
            Received::Frames(_) => panic!("several channels only wake"),
        }
    }
    pumping.join().unwrap();
}
