//! How many connections a process has room for.
//!
//! Invariant: whatever connections and streams are open, some files are left for the
//! journal.

/// How many connections there may be, above all of those that carry no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct ConnectionBounds {
    /// Sockets in all: with those of streams, and some that are being closed to make
    /// room.
    pub(in crate::http) sockets_max: usize,
    /// In all.
    pub(in crate::http) all_max: usize,
    /// Of one address.
    pub(in crate::http) per_address_max: usize,
    /// Beyond those, for addresses that have sent verified deliveries.
    pub(in crate::http) verified_max: usize,
    /// Beyond those, only for the operator's routes.
    pub(in crate::http) operator_max: usize,
}

impl ConnectionBounds {
    /// The bounds where a process may have this many files open, and how many of
    /// `streams_max` streams fit beside them.
    pub(in crate::http) fn within(open_files_max: u64, streams_max: usize) -> (Self, usize) {
        /// For the journal, the listener, and what else is opened.
        const FILES_RESERVED: usize = 128;
        /// For sockets that are being closed, out of those.
        const CLOSING_MAX: usize = 32;
        /// Without a stream: for ingest, health and admin.
        const SPARE_CONNECTIONS: usize = 1_024;
        const OPERATOR_MAX: usize = 16;
        const VERIFIED_MAX: usize = 64;
        let files = usize::try_from(open_files_max).unwrap_or(usize::MAX);
        let reserved = FILES_RESERVED.min(files / 2);
        let free = files - reserved;
        let operator_max = OPERATOR_MAX.min(free / 8).max(1);
        let verified_max = VERIFIED_MAX.min(free / 8).max(1);
        let free = free.saturating_sub(operator_max + verified_max);
        let all_max = SPARE_CONNECTIONS.min(free / 2).max(1);
        let streams = streams_max.min(free.saturating_sub(all_max)).max(1);
        let closing = CLOSING_MAX.min(reserved / 4).max(1);
        let bounds = Self {
            sockets_max: all_max + verified_max + operator_max + streams + closing,
            all_max,
            per_address_max: all_max.div_ceil(2),
            verified_max,
            operator_max,
        };
        (bounds, streams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_streams_leave_files_for_the_journal() {
        for (files, streams_max, all_max, streams) in [
            (u64::MAX, 100_000, 1_024, 100_000),
            (20_000, 20_000, 1_024, 18_768),
            (1_000, 100_000, 396, 396),
            (64, 100_000, 12, 12),
            (8, 100_000, 1, 1),
        ] {
            let (bounds, fit) = ConnectionBounds::within(files, streams_max);
            assert_eq!((bounds.all_max, fit), (all_max, streams), "{files}");
            assert!(bounds.per_address_max <= bounds.all_max);
            let used = bounds.sockets_max;
            assert!(files < 16 || used as u64 + 16 <= files, "{files}");
        }
    }
}
