//! Origins whose pages were not let in, so that the operator is told once of each.
//!
//! Invariant: at most [`ORIGINS_MAX`] are remembered, none longer than an origin can
//! be; where there are more, the one that came first is forgotten, and told of again.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::origin::ORIGIN_BYTES_MAX;

/// Some 80 kB at most.
const ORIGINS_MAX: usize = 256;

/// Origins that the operator was told of.
#[derive(Debug, Default)]
pub(in crate::http) struct MissingOrigins(Mutex<VecDeque<Box<str>>>);

impl MissingOrigins {
    /// Whether the operator was told of this origin.
    pub(in crate::http) fn contains(&self, origin: &str) -> bool {
        self.0.lock().iter().any(|told| **told == *origin)
    }

    /// The operator was told of this origin.
    pub(in crate::http) fn add(&self, origin: &str) {
        assert!(origin.len() <= ORIGIN_BYTES_MAX, "it is an origin");
        let mut told = self.0.lock();
        if told.len() == ORIGINS_MAX {
            told.pop_front();
        }
        told.push_back(origin.into());
    }

    /// Tells of all of them again: what is let in has changed.
    pub(in crate::http) fn clear(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_make_up_takes_no_more_memory_than_that() {
        let told = MissingOrigins::default();
        for n in 0..10_000 {
            told.add(&format!("https://{n}.example"));
        }
        assert_eq!(told.0.lock().len(), ORIGINS_MAX);
        assert!(told.contains("https://9999.example") && !told.contains("https://0.example"));
    }
}
