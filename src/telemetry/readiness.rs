//! Whether the process can accept and deliver events.
//!
//! Invariant: once unready, it stays so, for the first reason given.

use std::sync::OnceLock;

/// Whether the process can accept and deliver events.
#[derive(Debug, Default)]
pub struct Readiness(OnceLock<Box<str>>);

impl Readiness {
    /// Makes the process unready for good; a reason that was given before
    /// stays.
    pub fn set_unready(&self, reason: impl Into<Box<str>>) {
        _ = self.0.set(reason.into());
    }

    /// Why the process is not ready; `None` while it is.
    #[must_use]
    pub fn unready_reason(&self) -> Option<&str> {
        self.0.get().map(|reason| &**reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_to_be_unready_stays() {
        let readiness = Readiness::default();
        assert_eq!(readiness.unready_reason(), None);
        readiness.set_unready("the journal failed");
        readiness.set_unready("draining");
        assert_eq!(readiness.unready_reason(), Some("the journal failed"));
    }
}
