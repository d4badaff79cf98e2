//! Reading a delivery's body: bounded in bytes, in time, and in what all
//! bodies together may take.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

/// How long a body may take to arrive in full.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a body may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long the rest of an over-long body is listened to.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);
/// What all bodies that are being read may take together, in bytes; more than
/// one of the longest.
const BUDGET_BYTES: usize = 256 * 1024 * 1024;
/// In what portions the budget is given out, in bytes.
const PORTION_BYTES: usize = 16 * 1024;

/// Memory for all bodies that are being read.
#[derive(Debug)]
pub(super) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(super) fn new(body_bytes_max: usize) -> Self {
        let bytes = BUDGET_BYTES.max(body_bytes_max.saturating_mul(2));
        let portions = (bytes / PORTION_BYTES).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(portions)))
    }
}

/// A body, and its share of the budget until it is dropped.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    /// Longer than this many bytes.
    Long(usize),
    /// It took too long to arrive.
    Slow,
    /// The sender left in the middle of it.
    Broken,
    /// Other bodies took all the memory there is for them.
    NoMemory,
}

impl BodyError {
    /// The reason as a metric's label.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Long(_) => "body_too_long",
            Self::Slow => "body_too_slow",
            Self::Broken => "body_broken",
            Self::NoMemory => "body_budget",
        }
    }
}

/// Reads a body of at most `bytes_max` bytes.
///
/// # Errors
///
/// [`BodyError`].
pub(super) async fn read(
    mut body: Body,
    announced: Option<u64>,
    bytes_max: usize,
    budget: &Budget,
) -> Result<Whole, BodyError> {
    let deadline = Instant::now() + BODY_TIME_MAX;
    if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
        discard(body, bytes_max).await;
        return Err(BodyError::Long(bytes_max));
    }
    let mut whole = Vec::with_capacity(first_capacity(announced));
    let mut share: Option<OwnedSemaphorePermit> = None;
    while let Some(chunk) = next_chunk(&mut body, deadline).await? {
        if whole.len() + chunk.len() > bytes_max {
            discard(body, bytes_max).await;
            return Err(BodyError::Long(bytes_max));
        }
        let needed = (whole.len() + chunk.len()).div_ceil(PORTION_BYTES);
        grow(&mut share, needed, budget, deadline).await?;
        // Copied out of the connection's buffer, which a small body would
        // otherwise keep alive for as long as the event is in memory.
        whole.extend_from_slice(&chunk);
    }
    whole.shrink_to_fit();
    Ok(Whole {
        bytes: whole.into(),
        _share: share,
    })
}

/// What an announced length is worth before anything has arrived.
fn first_capacity(announced: Option<u64>) -> usize {
    let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
    announced.unwrap_or(0).min(PORTION_BYTES)
}

async fn next_chunk(body: &mut Body, deadline: Instant) -> Result<Option<Bytes>, BodyError> {
    loop {
        let until = deadline.min(Instant::now() + SILENCE_MAX);
        let frame = match timeout_at(until, body.frame()).await {
            Err(_) => return Err(BodyError::Slow),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers are not part of what was signed.
        if let Ok(chunk) = frame.into_data() {
            return Ok(Some(chunk));
        }
    }
}

/// Makes a share of the budget as large as `needed` portions.
async fn grow(
    share: &mut Option<OwnedSemaphorePermit>,
    needed: usize,
    budget: &Budget,
    deadline: Instant,
) -> Result<(), BodyError> {
    let has = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let missing = u32::try_from(needed.saturating_sub(has)).map_err(|_| BodyError::NoMemory)?;
    if missing == 0 {
        return Ok(());
    }
    let more = Arc::clone(&budget.0).acquire_many_owned(missing);
    let Ok(Ok(more)) = timeout_at(deadline, more).await else {
        return Err(BodyError::NoMemory);
    };
    match share {
        Some(share) => share.merge(more),
        None => *share = Some(more),
    }
    Ok(())
}

/// Reads on for a little, so that a sender that writes before it reads gets to
/// see the refusal instead of a reset.
async fn discard(mut body: Body, bytes_max: usize) {
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > bytes_max {
                return;
            }
        }
    };
    _ = timeout(DISCARD_TIME_MAX, reading).await;
}
