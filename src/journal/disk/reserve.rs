//! File descriptors that are kept for the journal's own writes.
//!
//! Where connections have taken all that the process may have, these are given
//! back for a moment, so that a new segment can begin. Invariant: no more than
//! [`RESERVED`] are held.

use std::{fs::File, path::PathBuf};

use parking_lot::Mutex;

/// A write opens a file and then its folder, and two threads write.
const RESERVED: usize = 4;

/// Open files that nobody uses.
pub(super) struct DescriptorReserve {
    folder: PathBuf,
    held: Mutex<Vec<File>>,
}

impl DescriptorReserve {
    pub(super) fn new(folder: PathBuf) -> Self {
        let this = Self {
            folder,
            held: Mutex::default(),
        };
        this.refill();
        this
    }

    /// Gives all of them back to the process.
    pub(super) fn release(&self) {
        let held = std::mem::take(&mut *self.held.lock());
        drop(held);
    }

    /// Takes as many as there may be, as far as there are any.
    pub(super) fn refill(&self) {
        let mut held = self.held.lock();
        while held.len() < RESERVED {
            let Ok(file) = File::open(&self.folder) else {
                return;
            };
            held.push(file);
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.lock().len()
    }
}
