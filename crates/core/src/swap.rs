//! A value that many read and that is replaced whole.
//!
//! Refuses changes in part. Invariant: whoever has loaded it keeps what it
//! loaded, however often it is replaced meanwhile.

use std::sync::{Arc, PoisonError, RwLock};

/// Holds what is in use now.
#[derive(Debug)]
pub struct Swap<T>(RwLock<Arc<T>>);

impl<T> Swap<T> {
    /// Begins with this value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// What is in use now. The lock is held for as long as a pointer takes to
    /// copy.
    #[must_use]
    pub fn load(&self) -> Arc<T> {
        // Nothing that could panic is done under the lock.
        let value = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&value)
    }

    /// Replaces the value.
    pub fn store(&self, value: T) {
        self.store_shared(Arc::new(value));
    }

    /// Replaces the value by one that others share already.
    pub fn store_shared(&self, mut value: Arc<T>) {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *place, &mut value);
        // What was there may be large: not freed under the lock.
        drop(place);
    }
}
