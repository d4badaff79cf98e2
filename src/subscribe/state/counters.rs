//! What a stream delivered, counted apart and added to the metrics when there is
//! time: subscribers do not share a counter for every frame.

use crate::telemetry::Telemetry;

#[derive(Debug, Default)]
pub(in crate::subscribe) struct DeliveryCounters {
    frames: u64,
    bytes: u64,
}

impl DeliveryCounters {
    pub(super) fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    pub(in crate::subscribe) fn add_all(&mut self, other: &Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
    }

    /// Adds what was counted to the metrics.
    pub(in crate::subscribe) fn flush(&mut self, telemetry: &Telemetry) {
        if self.frames > 0 {
            telemetry.delivered.increment(self.frames);
            telemetry.delivered_bytes.increment(self.bytes);
            *self = Self::default();
        }
    }
}
