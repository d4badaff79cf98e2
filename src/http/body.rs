//! Reading a delivery's body: bounded in bytes, in time, and in what all
//! bodies together may take.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, header};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

/// How long a body may take to arrive in full.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a body may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long a body waits for memory.
const MEMORY_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long the body of a request that is refused already is listened to.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);
/// Up to this length a body is a small one, in bytes.
const SMALL_BYTES_MAX: usize = 256 * 1024;
/// What all small bodies that are being read may take together, in bytes.
const SMALL_BUDGET_BYTES: usize = 128 * 1024 * 1024;
/// What all others may take together, in bytes; more than one of the longest.
const LARGE_BUDGET_BYTES: usize = 256 * 1024 * 1024;
/// In what portions the budget is given out, in bytes.
const PORTION_BYTES: usize = 16 * 1024;

/// Memory for all bodies that are being read. Anybody can send a large one
/// slowly, proven or not; so the many small ones have memory of their own.
#[derive(Debug)]
pub(super) struct BodyBudget {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl BodyBudget {
    pub(super) fn new(body_bytes_max: usize) -> Self {
        let portions = |bytes: usize| {
            let portions = (bytes / PORTION_BYTES).min(Semaphore::MAX_PERMITS);
            Arc::new(Semaphore::new(portions))
        };
        Self {
            small: portions(SMALL_BUDGET_BYTES),
            large: portions(LARGE_BUDGET_BYTES.max(body_bytes_max.saturating_mul(2))),
        }
    }
}

/// A body's part of the budget.
#[derive(Debug, Default)]
pub(super) struct BudgetShare {
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

impl BudgetShare {
    /// Takes as much as a body of so many bytes needs.
    async fn grow(&mut self, budget: &BodyBudget, bytes: usize) -> Result<(), BodyError> {
        let needed = |bytes: usize| bytes.div_ceil(PORTION_BYTES);
        let (small, large) = match bytes <= SMALL_BYTES_MAX {
            true => (needed(bytes), 0),
            false => (0, needed(bytes)),
        };
        take(&mut self.large, &budget.large, large).await?;
        take(&mut self.small, &budget.small, small).await?;
        if large > 0 {
            self.small = None;
        }
        Ok(())
    }
}

/// Makes a permit as large as `needed` portions.
async fn take(
    permit: &mut Option<OwnedSemaphorePermit>,
    budget: &Arc<Semaphore>,
    needed: usize,
) -> Result<(), BodyError> {
    let has = permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let missing = u32::try_from(needed.saturating_sub(has)).map_err(|_| BodyError::NoMemory)?;
    if missing == 0 {
        return Ok(());
    }
    let more = match Arc::clone(budget).try_acquire_many_owned(missing) {
        Ok(more) => more,
        Err(_) => {
            let more = Arc::clone(budget).acquire_many_owned(missing);
            let more = timeout(MEMORY_WAIT_MAX, more).await.ok();
            more.and_then(Result::ok).ok_or(BodyError::NoMemory)?
        }
    };
    match permit {
        Some(permit) => permit.merge(more),
        None => *permit = Some(more),
    }
    Ok(())
}

/// A body, and its share of the budget, to be held as long as the request is.
#[derive(Debug)]
pub(super) struct ReceivedBody {
    pub(super) bytes: Bytes,
    pub(super) share: BudgetShare,
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

/// Lets the body of a request pass that is refused unread; says whether all of
/// it is gone, and the connection free for another request. One that is not
/// small, or is not sent yet, is left where it is.
pub(super) async fn drain_body(body: Body, announced: BodyHint) -> bool {
    let is_small = announced
        .bytes
        .is_none_or(|bytes| bytes <= SMALL_BYTES_MAX as u64);
    is_small && !announced.expects_continue && discard(body, SMALL_BYTES_MAX).await
}

/// What a request's head says of its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyHint {
    /// Its length.
    pub(super) bytes: Option<u64>,
    /// It is sent only after a `100 Continue` (RFC 9110, section 10.1.1).
    pub(super) expects_continue: bool,
}

impl BodyHint {
    pub(super) fn by(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            bytes: text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            expects_continue: headers.contains_key(header::EXPECT),
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
    announced: BodyHint,
    bytes_max: usize,
    budget: &BodyBudget,
) -> Result<ReceivedBody, BodyError> {
    if announced
        .bytes
        .is_some_and(|bytes| bytes > bytes_max as u64)
    {
        // Reading would ask for what is not wanted.
        if !announced.expects_continue {
            discard(body, bytes_max).await;
        }
        return Err(BodyError::Long(bytes_max));
    }
    let mut whole = Vec::with_capacity(first_capacity(announced.bytes));
    let mut share = BudgetShare::default();
    let mut deadline = None;
    while let Some(chunk) = next_chunk(&mut body, &mut deadline).await? {
        if whole.len() + chunk.len() > bytes_max {
            discard(body, bytes_max).await;
            return Err(BodyError::Long(bytes_max));
        }
        whole.reserve(chunk.len());
        share.grow(budget, whole.capacity()).await?;
        // Copied out of the connection's buffer, which a small body would
        // otherwise keep alive for as long as the event is in memory.
        whole.extend_from_slice(&chunk);
    }
    whole.shrink_to_fit();
    Ok(ReceivedBody {
        bytes: whole.into(),
        share,
    })
}

/// What an announced length is worth before anything has arrived.
fn first_capacity(announced: Option<u64>) -> usize {
    let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
    announced.unwrap_or(0).min(PORTION_BYTES)
}

/// The deadline counts from the first wait: most bodies are here with their
/// heads, and need no clock.
async fn next_chunk(
    body: &mut Body,
    deadline: &mut Option<Instant>,
) -> Result<Option<Bytes>, BodyError> {
    loop {
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => wait_for_frame(body, deadline).await?,
        };
        let frame = match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(BodyError::Broken),
            Some(Ok(frame)) => frame,
        };
        // Trailers are not part of what was signed.
        if let Ok(chunk) = frame.into_data() {
            return Ok(Some(chunk));
        }
    }
}

async fn wait_for_frame(
    body: &mut Body,
    deadline: &mut Option<Instant>,
) -> Result<Option<Result<Frame<Bytes>, axum::Error>>, BodyError> {
    let now = Instant::now();
    let deadline = *deadline.get_or_insert(now + BODY_TIME_MAX);
    let frame = timeout_at(deadline.min(now + SILENCE_MAX), body.frame()).await;
    frame.map_err(|_| BodyError::Slow)
}

/// Reads on for a little, so that a sender that writes before it reads gets to
/// see the refusal instead of a reset. Says whether that was all of it.
async fn discard(mut body: Body, bytes_max: usize) -> bool {
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > bytes_max {
                return false;
            }
        }
        true
    };
    timeout(DISCARD_TIME_MAX, reading).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = 5 << 20;

    #[tokio::test(start_paused = true)]
    async fn large_bodies_cannot_keep_small_ones_waiting() {
        let budget = BodyBudget::new(LARGE);
        let mut stalled = Vec::new();
        for _ in 0..LARGE_BUDGET_BYTES / LARGE {
            let mut share = BudgetShare::default();
            share.grow(&budget, LARGE).await.unwrap();
            stalled.push(share);
        }
        let rest = budget.large.available_permits();
        let _rest = budget.large.acquire_many(rest as u32).await.unwrap();
        let refused = BudgetShare::default().grow(&budget, LARGE).await;
        assert_eq!(refused, Err(BodyError::NoMemory));
        let small = BudgetShare::default().grow(&budget, SMALL_BYTES_MAX).await;
        assert_eq!(small, Ok(()));
        stalled.pop();
        assert_eq!(BudgetShare::default().grow(&budget, LARGE).await, Ok(()));
    }

    #[tokio::test]
    async fn a_body_that_turns_out_large_gives_back_its_small_share() {
        let budget = BodyBudget::new(LARGE);
        let before = budget.small.available_permits();
        let mut share = BudgetShare::default();
        for bytes in [1, PORTION_BYTES + 1, SMALL_BYTES_MAX] {
            share.grow(&budget, bytes).await.unwrap();
            let taken = before - budget.small.available_permits();
            assert_eq!(taken, bytes.div_ceil(PORTION_BYTES));
        }
        share.grow(&budget, SMALL_BYTES_MAX + 1).await.unwrap();
        assert_eq!(budget.small.available_permits(), before);
        drop(share);
        assert_eq!(
            budget.large.available_permits(),
            LARGE_BUDGET_BYTES / PORTION_BYTES
        );
    }
}
