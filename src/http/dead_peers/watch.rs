//! Looks again and again for peers that do not answer.
//!
//! Invariant: a look holds no lock that streams wait for but to hand over what it
//! has found, and is never on a thread that they need.

use std::{
    collections::HashSet, convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration,
};

use tokio::{task::spawn_blocking, time::sleep};

use super::{
    DeadPeers,
    sock_diag::{SockDiag, SocketDiag},
};

/// So many looks in a row may fail before the operator is told.
const FAILURES_MAX: u32 = 3;

/// Looks after the peers of sockets that were accepted at `listening`; to be dropped
/// at shutdown.
pub(in crate::http) async fn watch(dead: &Arc<DeadPeers>, listening: SocketAddr) -> Infallible {
    let mut watch = Watch::new(dead.bounds.silence_max);
    let mut failures = 0;
    loop {
        sleep(dead.bounds.look_every).await;
        // A panic in a look is a bug and ends up in `Err`; what it knew is gone.
        let looking = spawn_blocking(move || {
            let found = watch.look(listening);
            (watch, found)
        });
        let (next, found) = match looking.await {
            Ok(looked) => looked,
            Err(_) => (
                Watch::new(dead.bounds.silence_max),
                Err(io::ErrorKind::Other.into()),
            ),
        };
        watch = next;
        match found {
            Ok(found) => {
                dead.replace(found);
                failures = 0;
            }
            Err(error) => {
                failures += 1;
                if failures == FAILURES_MAX {
                    tracing::info!(
                        %error,
                        "peers that are cut off are noticed late: the system does not say which sockets wait for an answer"
                    );
                }
            }
        }
    }
}

/// What is known from one look to the next.
struct Watch {
    silence_max: Duration,
    /// Sockets whose peers had not answered at the last look.
    unanswered: HashSet<u64>,
    /// Once the system has opened it.
    diag: Option<SockDiag>,
}

impl Watch {
    fn new(silence_max: Duration) -> Self {
        Self {
            silence_max,
            unanswered: HashSet::new(),
            diag: None,
        }
    }

    /// The sockets whose peers are dead. Blocks.
    fn look(&mut self, listening: SocketAddr) -> io::Result<HashSet<u64>> {
        let diag = match self.diag.take() {
            Some(diag) => diag,
            None => SockDiag::open()?,
        };
        let waiting = diag.sockets_that_wait(listening)?;
        // After an error the socket is opened anew: an answer may be left in it.
        let mut failed = None;
        let silence = |socket: &SocketDiag| match diag.silence(socket) {
            Ok(silence) => silence,
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        let dead = self.judge(&waiting, silence);
        match failed {
            Some(error) => Err(error),
            None => {
                self.diag = Some(diag);
                Ok(dead)
            }
        }
    }

    /// Which of the sockets that wait for an answer have a dead peer; `silence` says
    /// for how long nothing came from it, or that it has just answered.
    fn judge(
        &mut self,
        waiting: &[SocketDiag],
        mut silence: impl FnMut(&SocketDiag) -> Option<Duration>,
    ) -> HashSet<u64> {
        let names = waiting.iter().map(|socket| socket.name).collect();
        let before = std::mem::replace(&mut self.unanswered, names);
        let twice = waiting
            .iter()
            .filter(|socket| before.contains(&socket.name));
        let dead = twice.filter(|socket| silence(socket).is_some_and(|s| s >= self.silence_max));
        dead.map(|socket| socket.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(30);

    /// What looks find, one after the other: of each socket that waits for an
    /// answer its name, and for how many seconds its peer has been silent.
    fn dead_after(looks: &[&[(u64, Option<u64>)]]) -> Vec<u64> {
        let mut watch = Watch::new(MAX);
        let mut dead = HashSet::new();
        for look in looks {
            let waiting: Vec<_> = look
                .iter()
                .map(|(name, _)| SocketDiag::named(*name))
                .collect();
            dead = watch.judge(&waiting, |socket| {
                let (_, secs) = look.iter().find(|(name, _)| *name == socket.name)?;
                secs.map(Duration::from_secs)
            });
        }
        let mut dead: Vec<_> = dead.into_iter().collect();
        dead.sort_unstable();
        dead
    }

    #[test]
    fn a_peer_is_dead_once_it_was_silent_for_long_at_two_looks_in_a_row() {
        assert_eq!(dead_after(&[&[(1, Some(25))], &[(1, Some(30))]]), [1]);
        assert_eq!(dead_after(&[&[(1, Some(29))], &[(1, Some(29))]]), [0; 0]);
        // Found for the first time: it was idle, and what was sent last may be on
        // its way.
        assert_eq!(dead_after(&[&[], &[(1, Some(300))]]), [0; 0]);
        let looks: [&[_]; 3] = [&[(1, Some(40))], &[], &[(1, Some(40))]];
        assert_eq!(dead_after(&looks), [0; 0]);
    }

    #[test]
    fn a_peer_that_takes_nothing_and_answers_probes_is_not_dead() {
        // Each look may catch a probe on its way, and the answer to the last one is
        // young.
        let look: &[_] = &[(1, Some(2)), (2, Some(31))];
        assert_eq!(dead_after(&[look; 50]), [2]);
        // Its probes are minutes apart; each is answered before the next look ends.
        let looks: [&[_]; 4] = [&[(1, Some(110))], &[(1, None)], &[(1, None)], &[]];
        assert_eq!(dead_after(&looks), [0; 0]);
    }
}
