//! stub
use super::{
    AppendError, Appended, Bounds, Clock, Commit, Journal, Measures, OpenError, Page, ReadError,
};
use crate::event::*;
use futures_util::stream::BoxStream;
use std::path::PathBuf;

pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) reserve_bytes: u64,
    pub(super) new_epoch: bool,
}

pub(super) struct Disk;
impl Disk {
    pub(super) async fn open(
        place: Place,
        _: Bounds,
        _: Clock,
        _: Measures,
    ) -> Result<Self, OpenError> {
        let _ = (place.reserve_bytes, place.new_epoch);
        Err(OpenError::Storage {
            path: place.path,
            reason: "not built yet".into(),
        })
    }
}

#[async_trait::async_trait]
impl Journal for Disk {
    async fn append(&self, _: Draft, _: Option<Dedup>) -> Result<Appended, AppendError> {
        Err(AppendError::Closed)
    }
    async fn read(&self, _: &Selection, _: Sequence, _: usize) -> Result<Page, ReadError> {
        Err(ReadError::Closed)
    }
    async fn before_last(&self, _: &Selection, _: usize) -> Result<Sequence, ReadError> {
        Err(ReadError::Closed)
    }
    fn follow(&self, _: Sequence) -> BoxStream<'static, Result<Commit, ReadError>> {
        Box::pin(futures_util::stream::empty())
    }
    fn head(&self) -> Sequence {
        Sequence::ZERO
    }
    fn floor(&self) -> Sequence {
        Sequence::ZERO
    }
    fn epoch(&self) -> Epoch {
        Epoch::from_entropy([0; 8])
    }
    async fn failed(&self) -> String {
        std::future::pending().await
    }
    async fn close(&self) {}
}
