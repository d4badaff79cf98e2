//! Reads on blocking threads, a bounded number at a time.
//!
//! Invariant: whoever reads holds a place until its thread is done, also where
//! nobody waits for the result any more; so once `close` has all places, no
//! thread uses the files.

use std::sync::{Arc, Mutex, PoisonError};

use hookrill_core::{Selection, Sequence};
use tokio::sync::Semaphore;

use super::{newest::Newest, pages, stats::Stocktaking, store::Store};
use crate::journal::{EventPage, ReadError, StoredTopics, StoredTopicsQuery, live::Live};

/// The most reads at a time; further ones wait.
const READERS_MAX: u32 = 8;
/// The most reads for followers, which are two: the pump and the count of
/// withheld events. The pump must not queue behind subscribers who catch up, or
/// nobody would get anything new.
const FOLLOWERS_MAX: u32 = 2;

/// The way to the files.
pub(super) struct Reader {
    /// `None` once closed.
    store: Mutex<Option<Arc<Store>>>,
    live: Arc<Live>,
    places: Arc<Semaphore>,
    follower_places: Arc<Semaphore>,
}

impl Reader {
    pub(super) fn new(store: Arc<Store>, live: Arc<Live>) -> Self {
        Self {
            store: Mutex::new(Some(store)),
            live,
            places: Arc::new(Semaphore::new(READERS_MAX as usize)),
            follower_places: Arc::new(Semaphore::new(FOLLOWERS_MAX as usize)),
        }
    }

    pub(super) async fn page(
        &self,
        selection: Selection,
        after: Sequence,
        bytes_max: usize,
    ) -> Result<EventPage, ReadError> {
        let look = move |store: &Store, live: &Live| {
            pages::page(store, live, &selection, after, bytes_max)
        };
        self.read(&self.places, look).await
    }

    /// A page of everything, for a follower.
    pub(super) async fn follow(
        &self,
        after: Sequence,
        bytes_max: usize,
    ) -> Result<EventPage, ReadError> {
        let look = move |store: &Store, live: &Live| {
            pages::page(store, live, &Selection::all(), after, bytes_max)
        };
        self.read(&self.follower_places, look).await
    }

    pub(super) async fn start_of_last_n(
        &self,
        selection: &Selection,
        count: usize,
    ) -> Result<Sequence, ReadError> {
        let head = self.live.head();
        let mut newest = Newest {
            wanted: count,
            oldest: None,
            upto: head,
            looked_at: 0,
        };
        // Step by step, so that other reads get their turn.
        loop {
            let selection = selection.clone();
            let look = move |store: &Store, live: &Live| {
                let more = newest.look(store, live, &selection)?;
                Ok((newest, more))
            };
            let (looked, more) = self.read(&self.places, look).await?;
            if !more {
                return Ok(looked.oldest.map_or(head, Sequence::previous));
            }
            newest = looked;
        }
    }

    pub(super) async fn stored_topics(
        &self,
        query: StoredTopicsQuery,
    ) -> Result<StoredTopics, ReadError> {
        let mut taking = Stocktaking::new(query, &self.live);
        // Segment by segment, so that other reads get their turn, and nothing
        // goes on when nobody waits for the answer any more.
        loop {
            let look = move |store: &Store, live: &Live| {
                let more = taking.look(store, live)?;
                Ok((taking, more))
            };
            let (looked, more) = self.read(&self.places, look).await?;
            if !more {
                return Ok(looked.finish());
            }
            taking = looked;
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        look: impl FnOnce(&Store, &Live) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let place = Arc::clone(places).acquire_owned().await;
        let place = place.map_err(|_| ReadError::Closed)?;
        let store = self.store().clone().ok_or(ReadError::Closed)?;
        let live = Arc::clone(&self.live);
        let reading = tokio::task::spawn_blocking(move || {
            let found = look(&store, &live);
            drop((store, place));
            found
        });
        let panicked = |e: tokio::task::JoinError| ReadError::Storage(e.to_string().into());
        reading.await.map_err(panicked)?
    }

    /// Waits for the reads under way, then lets go of the files.
    pub(super) async fn close(&self) {
        let all = self.places.acquire_many(READERS_MAX).await;
        let followers = self.follower_places.acquire_many(FOLLOWERS_MAX).await;
        let store = self.store().take();
        // Closing the files blocks.
        let closed = tokio::task::spawn_blocking(move || drop(store)).await;
        drop((all, followers, closed));
        self.places.close();
        self.follower_places.close();
    }

    /// The files, for tests to look behind the scenes.
    #[cfg(test)]
    pub(super) fn store_for_tests(&self) -> Arc<Store> {
        self.store().clone().expect("the journal is open")
    }

    fn store(&self) -> std::sync::MutexGuard<'_, Option<Arc<Store>>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
