//! Power cuts after an fsync that failed: what memory shows is not on the disk.

use std::time::SystemTime;

use super::{damage::copy, *};

/// A disk of which each write that succeeded survives a power cut, and nothing
/// else does.
struct SafeDisk {
    folder: PathBuf,
    /// The copies, the last of which is what the disk has.
    copies: TempDir,
    count: AtomicU64,
    /// Whether events reach memory, and their fsync fails.
    is_failing: AtomicBool,
}

impl SafeDisk {
    fn new(folder: &Path) -> Arc<Self> {
        Arc::new(Self {
            folder: folder.into(),
            copies: tempfile::tempdir().unwrap(),
            count: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
        })
    }

    fn env(self: &Arc<Self>) -> Env {
        let this = Arc::clone(self);
        Env {
            write: Arc::new(move |purpose, write| this.write(purpose, write)),
            ..quick()
        }
    }

    fn write(
        &self,
        purpose: WritePurpose,
        write: &mut dyn FnMut() -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        if purpose == WritePurpose::Rewrite {
            self.check_that_bytes_are_written(write)?;
        } else {
            write()?;
        }
        if purpose == WritePurpose::Append && self.is_failing.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("the fsync failed"));
        }
        let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        copy(&self.folder, &self.copies.path().join(count.to_string()));
        Ok(())
    }

    /// An fsync alone would have nothing to do.
    fn check_that_bytes_are_written(
        &self,
        write: &mut dyn FnMut() -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let path = segment::path(&self.folder, Sequence(1), FileKind::Log);
        let log = fs::File::options().write(true).open(path)?;
        log.set_modified(SystemTime::UNIX_EPOCH)?;
        write()?;
        assert_ne!(log.metadata()?.modified()?, SystemTime::UNIX_EPOCH);
        Ok(())
    }

    /// What a power cut leaves.
    fn after_power_cut(&self) -> PathBuf {
        let count = self.count.load(Ordering::SeqCst);
        self.copies.path().join(count.to_string())
    }
}

#[tokio::test]
async fn what_a_failed_fsync_left_in_memory_is_written_before_it_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let safe = SafeDisk::new(folder.path());
    let disk = open_in(settings(folder.path()), ROOMY, safe.env()).await;
    let disk = disk.unwrap();
    disk.append(draft("a", "first"), Some(key(1)))
        .await
        .unwrap();
    safe.is_failing.store(true, Ordering::SeqCst);
    let refused = disk.append(draft("a", "second"), Some(key(2))).await;
    assert!(
        matches!(refused, Err(AppendError::Failed(_))),
        "{refused:?}"
    );
    disk.close().await;

    safe.is_failing.store(false, Ordering::SeqCst);
    let reopened = open_in(settings(folder.path()), ROOMY, safe.env()).await;
    let reopened = reopened.unwrap();
    let again = reopened.append(draft("a", "second"), Some(key(2))).await;
    let again = again.unwrap();
    assert_eq!((again.sequence, again.duplicate), (Sequence(2), true));
    drop(reopened);

    let survivor = open(&safe.after_power_cut()).await;
    let events = read_all(&survivor, &Selection::all(), 1000).await;
    let bodies: Vec<_> = events.iter().map(|event| &event.draft.body[..]).collect();
    assert_eq!(bodies, [&b"first"[..], b"second"], "it was acknowledged");
}
