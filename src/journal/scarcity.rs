//! Errors of the operating system that pass by themselves, and those that do not:
//! what to tell from a disk that fails.

use std::{io, time::Duration};

use parking_lot::Mutex;
use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};
use std::time::Instant;

/// How often the log says that something is scarce.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Whether the system had no descriptor, or no memory, for another file.
pub(super) fn is_scarce(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// Whether trying again later may do, where nothing is half done: something is
/// scarce, or the disk is full.
pub(super) fn is_temporary(error: &io::Error) -> bool {
    let kind = error.kind();
    let is_full = matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    );
    is_scarce(error) || is_full
}

/// Whether bytes are gone for good, as far as the system can say: the file or its
/// end is missing, or the disk does not give them out. Not so where a permission
/// or a network is missing.
pub(super) fn is_damage(error: &io::Error) -> bool {
    let is_missing = matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
    );
    // What Linux reports of bad sectors, and file systems of bad checksums.
    const BAD: &[Errno] = &[
        Errno::IO,
        Errno::NODATA,
        Errno::BADMSG,
        Errno::ILSEQ,
        #[cfg(target_os = "linux")]
        Errno::UCLEAN,
    ];
    is_missing || Errno::from_io_error(error).is_some_and(|errno| BAD.contains(&errno))
}

/// What an operator does about it at a start; nothing for other errors.
pub(super) fn hint(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => {
            let limit = getrlimit(Resource::Nofile).current;
            let limit = limit.map_or_else(|| "no limit".into(), |limit| limit.to_string());
            format!(
                ". This process may have {limit} files open: raise that limit (ulimit -n, \
                 systemd's LimitNOFILE=, Docker's --ulimit nofile=)"
            )
        }
        Some(Errno::NFILE) => {
            ". This machine has as many files open as it may: raise fs.file-max".into()
        }
        Some(Errno::NOMEM) => ". This machine has no memory left".into(),
        _ => String::new(),
    }
}

/// Says in the log that something is scarce, once a minute at most.
#[derive(Debug, Default)]
pub(super) struct ScarcityLog(Mutex<Option<Instant>>);

impl ScarcityLog {
    pub(super) fn tell(&self, error: &io::Error) {
        let now = Instant::now();
        let mut told = self.0.lock();
        if told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY) {
            *told = Some(now);
            tracing::info!(
                %error,
                "the journal can't open a file now, and tries again; deliveries get 503 where \
                 they need it"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_a_disk_that_fails() {
        let error = |errno: Errno| io::Error::from(errno);
        for scarce in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert!(is_scarce(&error(scarce)) && is_temporary(&error(scarce)));
            assert!(!hint(&error(scarce)).is_empty());
        }
        for full in [Errno::NOSPC, Errno::DQUOT] {
            assert!(!is_scarce(&error(full)) && is_temporary(&error(full)));
        }
        for broken in [Errno::IO, Errno::ROFS, Errno::ACCESS] {
            assert!(!is_temporary(&error(broken)));
            assert!(hint(&error(broken)).is_empty());
        }
        for gone in [Errno::NOENT, Errno::IO, Errno::BADMSG] {
            assert!(is_damage(&error(gone)), "{gone}");
        }
        assert!(is_damage(&io::ErrorKind::UnexpectedEof.into()));
        for other in [Errno::ACCESS, Errno::MFILE, Errno::STALE, Errno::NOTCONN] {
            assert!(!is_damage(&error(other)), "{other}");
        }
        assert!(hint(&error(Errno::MFILE)).contains("ulimit -n"));
    }
}
