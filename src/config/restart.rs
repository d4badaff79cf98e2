//! The keys whose change requires a restart.
//!
//! Compares the values in use, not the text: writing down a default is not a
//! change. Invariant: the keys that are named here are read only at a start, and
//! a reload applies all others.

use super::Config;
use crate::journal::Backend;

impl Config {
    /// Compares this, the configuration of the start, with `new`: returns the
    /// keys that differ and that a reload does not apply.
    #[must_use]
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let own = [
            ("server.listen", self.listen != new.listen),
            ("log.level", self.log.level != new.log.level),
            ("log.format", self.log.format != new.log.format),
        ];
        let keys = [
            &own[..],
            &self.bounds(new),
            &self.journal_keys(new),
            &self.subscribe_keys(new),
        ];
        let differing = keys.concat().into_iter().filter(|(_, differs)| *differs);
        differing.map(|(key, _)| key).collect()
    }

    fn bounds(&self, new: &Self) -> [(&'static str, bool); 4] {
        let (old, new) = (&self.server, &new.server);
        [
            (
                "server.body_bytes_max",
                old.body_bytes_max != new.body_bytes_max,
            ),
            (
                "server.subscribers_max",
                old.subscribers_max != new.subscribers_max,
            ),
            (
                "server.shutdown_delay",
                old.shutdown_delay != new.shutdown_delay,
            ),
            (
                "server.shutdown_grace",
                old.shutdown_grace != new.shutdown_grace,
            ),
        ]
    }

    fn journal_keys(&self, new: &Self) -> [(&'static str, bool); 7] {
        let (old, new) = (&self.journal, &new.journal);
        let (kind, path, reserve, stall) = match (&old.backend, &new.backend) {
            (Backend::Memory, Backend::Memory) => (false, false, false, false),
            (
                Backend::Disk {
                    path,
                    reserve_bytes,
                    commit_stall_max,
                    new_epoch: _,
                },
                Backend::Disk {
                    path: other_path,
                    reserve_bytes: other_bytes,
                    commit_stall_max: other_stall,
                    new_epoch: _,
                },
            ) => (
                false,
                path != other_path,
                reserve_bytes != other_bytes,
                commit_stall_max != other_stall,
            ),
            _ => (true, false, false, false),
        };
        [
            ("journal.kind", kind),
            ("journal.path", path),
            ("journal.disk_reserve", reserve),
            ("journal.commit_stall_max", stall),
            ("journal.retain_age", old.retention.age != new.retention.age),
            (
                "journal.retain_bytes",
                old.retention.bytes != new.retention.bytes,
            ),
            (
                "journal.dedup_entries_max",
                old.dedup_entries_max != new.dedup_entries_max,
            ),
        ]
    }

    fn subscribe_keys(&self, new: &Self) -> [(&'static str, bool); 5] {
        let (old, new) = (&self.subscribe, &new.subscribe);
        [
            ("subscribe.heartbeat", old.heartbeat != new.heartbeat),
            ("subscribe.retry", old.retry != new.retry),
            (
                "subscribe.partial_events_bytes_max",
                old.partial_events_bytes_max != new.partial_events_bytes_max,
            ),
            (
                "subscribe.dead_peer_max",
                old.dead_peer_max != new.dead_peer_max,
            ),
            (
                "subscribe.stream_age_max",
                old.stream_age_max != new.stream_age_max,
            ),
        ]
    }
}
