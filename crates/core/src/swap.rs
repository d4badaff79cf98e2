//! A value that many read and that is replaced whole.
//!
//! Refuses changes in part. Invariant: whoever has loaded it keeps what it
//! loaded, however often it is replaced meanwhile.

use std::sync::Arc;

use parking_lot::RwLock;

/// Holds the current value.
#[derive(Debug)]
pub struct Swap<T>(RwLock<Arc<T>>);

impl<T> Swap<T> {
    /// Starts with this value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The current value. The lock is held for as long as a pointer takes to
    /// copy.
    #[must_use]
    pub fn load(&self) -> Arc<T> {
        Arc::clone(&self.0.read())
    }

    /// Replaces the value.
    pub fn store(&self, value: T) {
        self.store_shared(Arc::new(value));
    }

    /// Replaces the value by one that others share already.
    pub fn store_shared(&self, value: Arc<T>) {
        let previous = std::mem::replace(&mut *self.0.write(), value);
        // It may be large: the lock is released by now.
        drop(previous);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_loaded_a_value_keeps_it_when_it_is_replaced() {
        let swap = Swap::new(1);
        let loaded = swap.load();
        swap.store(2);
        assert_eq!((*loaded, *swap.load()), (1, 2));
        let shared = Arc::new(3);
        swap.store_shared(Arc::clone(&shared));
        assert!(Arc::ptr_eq(&shared, &swap.load()));
    }
}
