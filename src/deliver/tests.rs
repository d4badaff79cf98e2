//! Streams written to sinks that block, take parts and leave, as sockets do.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Buf;
use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::subscribe::{
    self, Ending, Start,
    tests::{Way, fixture::Fixture},
};

/// A peer that a test plays.
#[derive(Clone, Default)]
struct Peer(Arc<Mutex<PeerState>>);

#[derive(Default)]
struct PeerState {
    received: Vec<u8>,
    /// Takes nothing until it reads again.
    is_blocked: bool,
    /// Takes a part at random, and then blocks.
    takes_parts: bool,
    has_left: bool,
    /// Its leaving is a guess of the gateway.
    is_given_up: bool,
    was_finished: bool,
    wakers: Vec<Waker>,
}

impl Peer {
    fn that_takes_parts() -> Self {
        let peer = Self::default();
        peer.0.lock().takes_parts = true;
        peer
    }

    /// Reads what is there, and can take more.
    fn read(&self) {
        self.change(|state| state.is_blocked = false);
    }

    fn change(&self, change: impl FnOnce(&mut PeerState)) {
        let mut state = self.0.lock();
        change(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The sequences of the events that came whole.
    fn events(&self) -> Vec<u64> {
        let received = self.0.lock().received.clone();
        let text = String::from_utf8(received).unwrap();
        let blocks = text.split("\n\n").filter(|block| !block.contains("event:"));
        blocks
            .filter_map(|block| block.strip_prefix("id: ")?.split_once('\n'))
            .map(|(id, _)| id.split_once('-').unwrap().1.parse().unwrap())
            .collect()
    }
}

impl Sink for Peer {
    const PIECES_MAX: usize = 8;

    fn can_write(&self) -> bool {
        true
    }

    fn try_write(&mut self, batch: &mut impl Buf) -> Result<WriteOutcome, Disconnected> {
        let mut state = self.0.lock();
        if state.has_left {
            return Err(Disconnected);
        }
        if state.is_blocked {
            return Ok(WriteOutcome::Blocked);
        }
        let offered = batch.remaining();
        let taken = if state.takes_parts {
            fastrand::usize(0..=offered)
        } else {
            offered
        };
        state
            .received
            .extend_from_slice(&batch.copy_to_bytes(taken));
        state.is_blocked = taken < offered;
        Ok(if state.is_blocked {
            WriteOutcome::Blocked
        } else {
            WriteOutcome::Flushed
        })
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if !state.is_blocked {
            return Poll::Ready(());
        }
        state.wakers.push(cx.waker().clone());
        Poll::Pending
    }

    fn poll_disconnected(&mut self, cx: &mut Context<'_>) -> Poll<Disconnected> {
        let mut state = self.0.lock();
        if state.has_left {
            return Poll::Ready(Disconnected);
        }
        state.wakers.push(cx.waker().clone());
        Poll::Pending
    }

    fn was_given_up(&self) -> bool {
        self.0.lock().is_given_up
    }

    async fn finish(&mut self, _ending: Ending) -> Result<(), Disconnected> {
        self.0.lock().was_finished = true;
        Ok(())
    }
}

/// Streams of one channel and the tasks that write them.
struct Stage {
    fixture: Fixture,
    tasks: TaskTracker,
    fanout: Arc<Fanout<Peer>>,
}

impl Stage {
    async fn with_ring(ring_bytes: usize) -> Self {
        Self::with(ring_bytes, Fixture::settings(Fixture::HEARTBEAT)).await
    }

    async fn with(ring_bytes: usize, settings: subscribe::Settings) -> Self {
        let tasks = TaskTracker::new();
        Self {
            fixture: Fixture::with_settings(Way::Socket, ring_bytes, 1 << 30, settings).await,
            fanout: Fanout::new(tasks.clone(), CancellationToken::new()),
            tasks,
        }
    }

    /// Has `peer` listen to `a`.
    async fn listen(&self, start: Start, peer: &Peer) {
        let subscription = self.fixture.subscribe(&["a"], start).await;
        let writer = StreamWriter::new(subscription, peer.clone());
        self.fanout.write(writer);
    }

    /// Waits until each peer has all these events; those that block read on
    /// meanwhile.
    async fn all_have(&self, peers: &[Peer], count: u64) {
        let expected: Vec<u64> = (1..=count).collect();
        until(|| {
            peers.iter().for_each(Peer::read);
            peers
                .iter()
                .all(|peer| peer.events().len() >= expected.len())
        })
        .await;
        for peer in peers {
            assert_eq!(peer.events(), expected);
        }
    }
}

/// Waits until it is so.
async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("it comes to that");
}

#[tokio::test]
async fn whoever_writes_a_stream_its_events_go_out_once_and_in_order() {
    // All in the ring; and nearly all behind it.
    for ring_bytes in [1 << 20, 3_000] {
        let stage = Stage::with_ring(ring_bytes).await;
        let peers: Vec<Peer> = (0..12)
            .map(|n| match n % 3 {
                0 => Peer::default(),
                _ => Peer::that_takes_parts(),
            })
            .collect();
        for (n, peer) in peers.iter().enumerate() {
            stage.listen(Start::Earliest, peer).await;
            if n % 4 == 3 {
                stage.fixture.store_many("a", 10).await;
            }
        }
        for _ in 0..40 {
            stage.fixture.store_many("a", fastrand::usize(1..5)).await;
            peers.iter().for_each(Peer::read);
        }
        let head = stage.fixture.journal.head().0;
        stage.all_have(&peers, head).await;
    }
}

#[tokio::test]
async fn idle_streams_of_one_channel_share_a_task() {
    let stage = Stage::with_ring(1 << 20).await;
    let peers: Vec<Peer> = (0..64).map(|_| Peer::default()).collect();
    for peer in &peers {
        stage.listen(Start::Now, peer).await;
    }
    until(|| stage.tasks.len() == 1).await;
    stage.fixture.store_many("a", 20).await;
    stage.all_have(&peers, 20).await;
    assert_eq!(stage.tasks.len(), 1, "events alone detach nobody");
}

#[tokio::test]
async fn a_peer_that_does_not_read_holds_up_nobody_and_misses_nothing() {
    let stage = Stage::with_ring(3_000).await;
    let peers: Vec<Peer> = (0..8).map(|_| Peer::default()).collect();
    for peer in &peers {
        stage.listen(Start::Now, peer).await;
    }
    until(|| stage.tasks.len() == 1).await;
    let (slow, others) = peers.split_first().unwrap();
    slow.change(|state| state.is_blocked = true);
    stage.fixture.store_many("a", 300).await;
    stage.all_have(others, 300).await;
    assert_eq!(slow.events(), [0_u64; 0]);
    stage.all_have(&peers, 300).await;
    until(|| stage.tasks.len() == 1).await;
}

/// One thread runs all tasks.
#[tokio::test]
async fn a_stream_that_searches_a_long_history_lets_others_run_after_each_read() {
    const READS: u64 = 36;
    let stage = Stage::with_ring(0).await;
    for _ in 0..READS * 8192 {
        stage.fixture.store("other", "t", "").await;
    }
    stage.fixture.told(READS * 8192).await;
    let searching = Peer::default();
    stage.listen(Start::Earliest, &searching).await;
    let mut turns = 0;
    until(|| {
        turns += 1;
        let state = searching.0.lock();
        let text = String::from_utf8_lossy(&state.received);
        text.matches("hookrill.cursor").count() > 1
    })
    .await;
    assert!(turns > 32, "{turns} turns in 32 reads");
}

#[tokio::test]
async fn a_peer_that_leaves_takes_its_stream_with_it() {
    let stage = Stage::with_ring(1 << 20).await;
    let peers: Vec<Peer> = (0..3).map(|_| Peer::default()).collect();
    for peer in &peers {
        stage.listen(Start::Now, peer).await;
    }
    until(|| stage.tasks.len() == 1).await;
    for peer in &peers {
        peer.change(|state| state.has_left = true);
    }
    until(|| stage.tasks.is_empty()).await;
    assert_eq!(stage.fixture.hub.channels(), 0);
}

#[tokio::test]
async fn a_client_is_stuck_whose_peer_leaves_again_and_again_and_none_whose_peer_was_given_up() {
    for is_shared in [false, true] {
        for is_given_up in [false, true] {
            let stage = Stage::with_ring(1 << 20).await;
            stage.fixture.store_many("a", 2).await;
            stage.fixture.told(2).await;
            let mut stuck = 0;
            for _ in 0..5 {
                let peer = Peer::default();
                let subscription = stage.fixture.come_back("a", 1).await;
                stuck += usize::from(subscription.stuck.is_some());
                let writer = StreamWriter::new(subscription, peer.clone());
                if is_shared {
                    stage.fanout.write(writer);
                } else {
                    stage.tasks.spawn(async { _ = write_to_end(writer).await });
                }
                until(|| peer.events() == [2]).await;
                peer.change(|state| {
                    (state.has_left, state.is_given_up) = (true, is_given_up);
                });
                until(|| stage.tasks.is_empty()).await;
            }
            let expected = if is_given_up { 0 } else { 2 };
            assert_eq!(stuck, expected, "{is_shared} {is_given_up}");
        }
    }
}

#[tokio::test]
async fn a_drain_finishes_every_stream_alone_or_in_a_group() {
    let stage = Stage::with_ring(1 << 20).await;
    let peers: Vec<Peer> = (0..5).map(|_| Peer::default()).collect();
    for peer in &peers {
        stage.listen(Start::Now, peer).await;
    }
    until(|| stage.tasks.len() == 1).await;
    peers[0].change(|state| state.is_blocked = true);
    stage.fixture.store_many("a", 1).await;
    until(|| stage.tasks.len() == 2).await;
    stage.fixture.streams.drain();
    until(|| {
        peers.iter().for_each(Peer::read);
        stage.tasks.is_empty()
    })
    .await;
    for peer in &peers {
        let state = peer.0.lock();
        assert!(state.was_finished);
        let text = String::from_utf8_lossy(&state.received);
        let (_, last) = text.trim_end().rsplit_once("\n\n").unwrap();
        assert!(last.starts_with("retry: "), "{last}");
        assert!(last.ends_with("\ndata: {}"), "{last}");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_too_old_leave_their_group_and_end() {
    let age_max = Duration::from_secs(100);
    let settings = subscribe::Settings {
        stream_age_max: Some(age_max),
        ..Fixture::settings(Fixture::HEARTBEAT)
    };
    let stage = Stage::with(1 << 20, settings).await;
    let peers: Vec<Peer> = (0..8).map(|_| Peer::default()).collect();
    for peer in &peers {
        stage.listen(Start::Now, peer).await;
    }
    until(|| stage.tasks.len() == 1).await;
    stage.fixture.store_many("a", 5).await;
    stage.all_have(&peers, 5).await;
    tokio::time::advance(age_max).await;
    until(|| stage.tasks.is_empty()).await;
    for peer in &peers {
        assert_eq!(peer.events(), [1, 2, 3, 4, 5]);
        let state = peer.0.lock();
        assert!(state.was_finished);
        let text = String::from_utf8_lossy(&state.received);
        let (_, last) = text.trim_end().rsplit_once("\n\n").unwrap();
        assert!(
            last.starts_with("retry: ") && last.contains("-5\n"),
            "{last}"
        );
    }
}
