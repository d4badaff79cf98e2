//! No descriptor, no memory, no space for another file: it passes.

use rustix::io::Errno;

use super::*;

/// Tiny segments, in a world where such writes fail as `verdict` says.
fn failing(
    purpose: WritePurpose,
    verdict: impl Fn() -> Option<Errno> + Send + Sync + 'static,
) -> Env {
    let write = move |asked, write: &mut dyn FnMut() -> std::io::Result<()>| {
        let failure = (asked == purpose).then(&verdict).flatten();
        failure.map_or_else(write, |errno| Err(errno.into()))
    };
    Env {
        write: Arc::new(write),
        ..tiny()
    }
}

/// Bounds that have most events deleted.
fn tight() -> Bounds {
    let retention = Retention {
        bytes: 20_000,
        ..ROOMY.retention
    };
    Bounds { retention, ..ROOMY }
}

fn large() -> Draft {
    draft("a", vec![b'x'; 3000])
}

#[tokio::test]
async fn where_a_segment_finds_no_file_events_are_refused_until_it_does() {
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOSPC] {
        let folder = tempfile::tempdir().unwrap();
        let is_scarce = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&is_scarce);
        let env = failing(WritePurpose::Roll, move || {
            asked.load(Ordering::SeqCst).then_some(errno)
        });
        let disk = open_in(settings(folder.path()), ROOMY, env).await.unwrap();
        assert_eq!(append(&disk, large()).await, Sequence(1));
        for n in 1..=20 {
            let refused = disk.append(large(), Some(key(n))).await;
            assert!(
                matches!(refused, Err(AppendError::Scarce(_))),
                "{refused:?}"
            );
        }
        assert!(disk.failure().is_none(), "it is no failure");
        assert_eq!(read_all(&disk, &Selection::all(), 1000).await.len(), 1);

        // What was refused is not remembered, so it can come again.
        is_scarce.store(false, Ordering::SeqCst);
        for n in 1..=20 {
            let stored = disk.append(large(), Some(key(n))).await.unwrap();
            assert_eq!(
                (stored.sequence.0, stored.duplicate),
                (u64::from(n) + 1, false)
            );
        }
        disk.close().await;
        assert_eq!(open(folder.path()).await.head(), Sequence(21));
    }
}

#[tokio::test]
async fn what_needs_a_descriptor_gets_one_of_those_that_are_kept_for_it() {
    for purpose in [WritePurpose::Roll, WritePurpose::Seal, WritePurpose::Floor] {
        let folder = tempfile::tempdir().unwrap();
        let (asked, failed) = (AtomicU64::new(0), Arc::new(AtomicU64::new(0)));
        let failures = Arc::clone(&failed);
        // The first try finds none; the second is with those that were kept.
        let env = failing(purpose, move || {
            let is_first = asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
            is_first.then(|| {
                failures.fetch_add(1, Ordering::SeqCst);
                Errno::MFILE
            })
        });
        let disk = open_in(settings(folder.path()), tight(), env)
            .await
            .unwrap();
        for n in 1..=30 {
            assert_eq!(append(&disk, large()).await, Sequence(n), "{purpose:?}");
        }
        until(|| disk.floor() > Sequence(20)).await;
        assert!(failed.load(Ordering::SeqCst) > 0, "{purpose:?}");
        assert!(disk.failure().is_none());
        until(|| disk.reads.files_for_tests().reserve.held() == 4).await;
    }
}

#[tokio::test]
async fn housekeeping_that_finds_no_descriptor_tries_again() {
    for purpose in [
        WritePurpose::Seal,
        WritePurpose::Floor,
        WritePurpose::Delete,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let asked = AtomicU64::new(0);
        let env = failing(purpose, move || {
            let is_early = asked.fetch_add(1, Ordering::SeqCst) < 10;
            is_early.then_some(Errno::MFILE)
        });
        let disk = open_in(settings(folder.path()), tight(), env)
            .await
            .unwrap();
        let mut stored = 0;
        while stored < 30 {
            match disk.append(large(), None).await {
                Ok(_) => stored += 1,
                // The writer is ahead of the sealing.
                Err(AppendError::Scarce(_)) => tokio::task::yield_now().await,
                Err(e) => panic!("{purpose:?}: {e}"),
            }
        }
        let oldest = segment::path(folder.path(), Sequence(1), FileKind::Log);
        until(|| disk.floor() > Sequence(20) && !oldest.exists()).await;
        assert!(disk.failure().is_none(), "{purpose:?}");
    }
}

#[tokio::test]
async fn a_read_that_finds_no_descriptor_waits_for_one_but_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path()).await;
    tokio::time::pause();
    let scarce = || ReadError::from(std::io::Error::from(Errno::MFILE));
    let tries = AtomicU64::new(0);
    let limit = Duration::from_secs(30);
    let third = disk.reads.patiently(limit, async || {
        if tries.fetch_add(1, Ordering::SeqCst) < 2 {
            return Err(scarce());
        }
        Ok("read")
    });
    assert_eq!(third.await.unwrap(), "read");
    let began = tokio::time::Instant::now();
    let never = disk.reads.patiently(limit, async || Err::<(), _>(scarce()));
    assert!(matches!(never.await, Err(ReadError::Io(_))));
    assert!(began.elapsed() >= limit);
    // What does not pass by itself is told at once.
    let broken = disk.reads.patiently(limit, async || {
        Err::<(), _>(ReadError::from(std::io::Error::from(Errno::IO)))
    });
    let asked = tokio::time::Instant::now();
    assert!(matches!(broken.await, Err(ReadError::Io(_))));
    assert_eq!(asked.elapsed(), Duration::ZERO);
}
