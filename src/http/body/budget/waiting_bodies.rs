//! BodiesById of which more is waited for, and which of them goes where memory is needed.
//!
//! A connection makes room for another one while its body is slow; but over HTTP/2 one
//! connection has many. So where the memory for bodies is used up, the bodies that
//! arrive slowest are given up, until what they hold is enough.
//!
//! Looking for them takes time in proportion to how many there are, so it happens at
//! most once per [`PERIOD_MIN`], for all that need memory by then.
//!
//! Invariant: a body is in the map while it is waited for and was not given up.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

/// A body that has been waited for less than this is not slow.
const GRACE: Duration = Duration::from_millis(250);
/// Between two looks for slow bodies.
const PERIOD_MIN: Duration = Duration::from_millis(50);

/// The bodies that take memory of one budget while they are waited for.
#[derive(Debug, Default)]
pub(super) struct WaitingBodies {
    bodies: Mutex<BodiesById>,
}

#[derive(Debug, Default)]
struct BodiesById {
    by_id: HashMap<u64, Arc<BodyProgress>>,
    next_id: u64,
    /// How many portions are needed that nobody was given up for yet.
    wanted: usize,
    looked_at: Option<Instant>,
}

/// How far a body is.
#[derive(Debug)]
struct BodyProgress {
    since: Instant,
    portions: AtomicUsize,
    received_bytes: AtomicUsize,
    given_up: Notify,
}

/// A body that is waited for, until this is dropped.
#[derive(Debug)]
pub(super) struct WaitingBody {
    bodies: Arc<WaitingBodies>,
    id: u64,
    progress: Arc<BodyProgress>,
}

impl WaitingBodies {
    /// A body is waited for from now on.
    pub(super) fn enter(self: &Arc<Self>) -> WaitingBody {
        let progress = Arc::new(BodyProgress {
            since: Instant::now(),
            portions: AtomicUsize::new(0),
            received_bytes: AtomicUsize::new(0),
            given_up: Notify::new(),
        });
        let mut bodies = self.bodies.lock();
        let id = bodies.next_id;
        bodies.next_id += 1;
        bodies.by_id.insert(id, Arc::clone(&progress));
        WaitingBody {
            bodies: Arc::clone(self),
            id,
            progress,
        }
    }

    /// So many portions are needed: gives up the slowest bodies that together hold as
    /// many as are needed by all that have said so, or all bodies that are slow. Does
    /// nothing where it has just been done.
    pub(super) fn give_up(&self, portions: usize) {
        let now = Instant::now();
        let mut bodies = self.bodies.lock();
        bodies.wanted += portions;
        let looked_at = bodies.looked_at.map(|at| now.saturating_duration_since(at));
        if looked_at.is_some_and(|ago| ago < PERIOD_MIN) {
            return;
        }
        bodies.looked_at = Some(now);
        let wanted = std::mem::take(&mut bodies.wanted);
        let slow = bodies.by_id.iter();
        let slow = slow.filter_map(|(id, body)| Some((body.rate(now)?, *id)));
        let mut slow: Vec<(u64, u64)> = slow.collect();
        slow.sort_unstable();
        let mut freed = 0;
        for (_, id) in slow {
            if freed >= wanted {
                return;
            }
            if let Some(body) = bodies.by_id.remove(&id) {
                freed += body.portions.load(Ordering::Relaxed);
                body.given_up.notify_one();
            }
        }
    }
}

impl BodyProgress {
    /// Bytes per second; `None` for a body that is not slow, or holds nothing.
    fn rate(&self, now: Instant) -> Option<u64> {
        let time = now.saturating_duration_since(self.since);
        if time < GRACE || self.portions.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let received_bytes = self.received_bytes.load(Ordering::Relaxed) as u64;
        Some(received_bytes.saturating_mul(1_000) / time.as_millis() as u64)
    }
}

impl WaitingBody {
    /// So much of it came, and it holds so many portions.
    pub(super) fn advance(&self, received_bytes: usize, portions: usize) {
        let BodyProgress {
            portions: held,
            received_bytes: received,
            ..
        } = &*self.progress;
        received.store(received_bytes, Ordering::Relaxed);
        held.store(portions, Ordering::Relaxed);
    }

    /// Completes when it was given up.
    pub(super) async fn given_up(&self) {
        self.progress.given_up.notified().await;
    }
}

impl Drop for WaitingBody {
    fn drop(&mut self) {
        self.bodies.bodies.lock().by_id.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_slowest_go_until_there_is_enough() {
        let all = Arc::<WaitingBodies>::default();
        let bodies: Vec<WaitingBody> = (0..4).map(|_| all.enter()).collect();
        for (body, (bytes, portions)) in bodies.iter().zip([(900, 5), (100, 1), (200, 1), (50, 0)])
        {
            body.advance(bytes, portions);
        }
        let fresh = all.enter();
        let given_up = |body: &WaitingBody| body.given_up().now_or_never().is_some();
        all.give_up(1);
        assert!(
            !bodies.iter().any(given_up),
            "none has been waited for long"
        );
        advance(GRACE).await;
        let younger = all.enter();
        younger.advance(0, 9);
        all.give_up(1);
        all.give_up(1);
        assert!(!given_up(&bodies[2]), "not twice in a moment");
        advance(PERIOD_MIN).await;
        all.give_up(0);
        let gone: Vec<bool> = bodies.iter().map(given_up).collect();
        assert_eq!(gone, [false, true, true, false], "what holds nothing stays");
        assert!(!given_up(&fresh) && !given_up(&younger));
        advance(PERIOD_MIN).await;
        all.give_up(100);
        assert!(given_up(&bodies[0]));
        drop((bodies, fresh, younger));
        assert!(all.bodies.lock().by_id.is_empty());
    }
}
