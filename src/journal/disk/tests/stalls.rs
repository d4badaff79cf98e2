//! A disk that hangs: who is refused, who waits, and what they are told.

use super::*;

const MOMENT: Duration = Duration::from_millis(1);

/// A journal whose commits stop at a gate, and stall after a moment.
async fn stalling(folder: &Path) -> (Disk, WriteGate) {
    let settings = DiskSettings {
        commit_stall_max: MOMENT,
        ..settings(folder)
    };
    let (env, gate) = gated();
    (open_in(settings, ROOMY, env).await.unwrap(), gate)
}

/// Lets so many writes begin and end.
fn pass(gate: &WriteGate, writes: usize) {
    for _ in 0..2 * writes {
        gate.pass.send(true).unwrap();
    }
}

#[tokio::test]
async fn while_the_disk_hangs_new_events_are_refused_and_none_of_them_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, gate) = stalling(folder.path()).await;
    let before = disk.health();
    assert_eq!(
        (before.is_stalled, before.commit_age),
        (false, Duration::ZERO)
    );
    let waiting = disk.append(draft("a", "x"), Some(key(1)));
    let others = async {
        until(|| disk.health().is_stalled).await;
        assert!(disk.health().commit_age >= MOMENT);
        for dedup in [Some(key(1)), Some(key(2)), None] {
            let refused = disk.append(draft("a", "y"), dedup).await;
            assert!(
                matches!(refused, Err(AppendError::Stalled { .. })),
                "{refused:?}"
            );
        }
        assert_eq!(disk.head(), Sequence::ZERO, "nothing is shown either");
        pass(&gate, 1);
    };
    let (stored, ()) = tokio::join!(waiting, others);
    assert_eq!(stored.unwrap().sequence, Sequence(1));

    // It comes back by itself, and those that were refused may come again.
    until(|| disk.health() == Health::default()).await;
    pass(&gate, 1);
    let again = disk.append(draft("a", "x"), Some(key(1))).await.unwrap();
    assert_eq!((again.sequence, again.duplicate), (Sequence(1), true));
    let first = disk.append(draft("a", "y"), Some(key(2))).await.unwrap();
    assert_eq!((first.sequence, first.duplicate), (Sequence(2), false));
    assert!(disk.failure().is_none());
}

#[tokio::test]
async fn who_waits_for_a_place_is_refused_and_who_has_one_is_answered_as_it_turns_out() {
    for passes in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (disk, mut gate) = stalling(folder.path()).await;
        let first = disk.append(draft("a", "x"), None);
        // More than the queue has places for.
        let others = async {
            gate.stopped.recv().await.unwrap();
            let appends = (0..QUEUE_MAX + 500).map(|_| disk.append(draft("a", "x"), None));
            let release = async {
                until(|| disk.health().is_stalled).await;
                // Then the commit of those that had a place fails.
                for verdict in [true, passes, false] {
                    gate.pass.send(verdict).unwrap();
                }
            };
            tokio::join!(join_all(appends), release).0
        };
        let (first, others) = tokio::join!(first, others);
        assert_eq!(first.is_ok(), passes);
        let refused = |answer: &&Result<_, _>| matches!(answer, Err(AppendError::Stalled { .. }));
        let told = others.iter().filter(refused).count();
        assert!(told >= 500, "{told} had no place");
        assert!(
            others.iter().all(Result::is_err),
            "nobody is told that it is stored"
        );
        assert_eq!(disk.head(), Sequence(u64::from(passes)));
    }
}
