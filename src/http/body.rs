//! Reads a delivery's body: bounded in bytes, in time, and in the memory of all
//! bodies together.

mod budget;

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, header};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout, timeout_at};

pub(super) use budget::BodyBudget;
use budget::{BudgetExhausted, BudgetShare, PORTION_BYTES, SMALL_BYTES_MAX};

/// How long a body may take to arrive in full.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a sender may pause within a body.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long the body of a rejected request is read on.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);

/// A body with its share of the budget, which lasts as long as the request.
#[derive(Debug)]
pub(super) struct ReceivedBody {
    pub(super) bytes: Bytes,
    pub(super) _share: BudgetShare,
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// Longer than this many bytes.
    #[error("the body is longer than {0} bytes")]
    Long(usize),
    /// It took too long to arrive.
    #[error("the body took too long to arrive")]
    Slow,
    /// The sender left in the middle of it.
    #[error("the body is incomplete")]
    Broken,
    /// Other bodies hold all the memory that there is for them.
    #[error("too many bodies are being read")]
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

impl From<BudgetExhausted> for BodyError {
    fn from(_: BudgetExhausted) -> Self {
        Self::NoMemory
    }
}

/// What a request's head says about its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyHint {
    /// Its length (`Content-Length`).
    bytes: Option<u64>,
    /// The sender waits for `100 Continue` (RFC 9110, section 10.1.1), which
    /// the first read of the body sends.
    expects_continue: bool,
}

impl BodyHint {
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok());
        Self {
            bytes: length.and_then(|digits| digits.parse().ok()),
            expects_continue: headers.contains_key(header::EXPECT),
        }
    }

    fn is_at_most(self, bytes_max: usize) -> bool {
        self.bytes.is_none_or(|bytes| bytes <= bytes_max as u64)
    }
}

/// Drains the body of a rejected request; returns whether it was fully read, so
/// that the connection can be reused. A body that is not small, or that its
/// sender has yet to send, is left unread.
pub(super) async fn drain_body(body: Body, hint: BodyHint) -> bool {
    hint.is_at_most(SMALL_BYTES_MAX)
        && !hint.expects_continue
        && discard(body, SMALL_BYTES_MAX).await
}

/// Reads a body of at most `bytes_max` bytes.
///
/// # Errors
///
/// [`BodyError`].
pub(super) async fn read(
    mut body: Body,
    hint: BodyHint,
    bytes_max: usize,
    budget: &BodyBudget,
) -> Result<ReceivedBody, BodyError> {
    if !hint.is_at_most(bytes_max) {
        // A sender that waits would be told to send it.
        if !hint.expects_continue {
            discard(body, bytes_max).await;
        }
        return Err(BodyError::Long(bytes_max));
    }
    let mut received = Vec::with_capacity(first_capacity(hint));
    let mut share = BudgetShare::default();
    let mut deadline = None;
    while let Some(chunk) = next_chunk(&mut body, &mut deadline).await? {
        if received.len() + chunk.len() > bytes_max {
            discard(body, bytes_max).await;
            return Err(BodyError::Long(bytes_max));
        }
        received.reserve(chunk.len());
        share.grow(budget, received.capacity()).await?;
        // Copied out of the connection's buffer, which a small body would
        // otherwise keep alive for as long as the event is in memory.
        received.extend_from_slice(&chunk);
    }
    debug_assert!(received.len() <= bytes_max);
    received.shrink_to_fit();
    Ok(ReceivedBody {
        bytes: received.into(),
        _share: share,
    })
}

/// What to allocate before anything has arrived: an announced length costs its
/// sender nothing.
fn first_capacity(hint: BodyHint) -> usize {
    let announced = hint.bytes.and_then(|bytes| usize::try_from(bytes).ok());
    announced.unwrap_or(0).min(PORTION_BYTES)
}

/// The deadline counts from the first wait: most bodies arrive with their
/// heads, and need no clock.
async fn next_chunk(
    body: &mut Body,
    deadline: &mut Option<Instant>,
) -> Result<Option<Bytes>, BodyError> {
    loop {
        let next = match body.frame().now_or_never() {
            Some(next) => next,
            None => wait_for_frame(body, deadline).await?,
        };
        let frame = match next {
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
    let next = timeout_at(deadline.min(now + PAUSE_MAX), body.frame()).await;
    next.map_err(|_| BodyError::Slow)
}

/// Reads on for a little, so that a sender that writes before it reads sees the
/// response instead of a reset. Returns whether that was all of the body.
async fn discard(mut body: Body, bytes_max: usize) -> bool {
    let read_on = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > bytes_max {
                return false;
            }
        }
        true
    };
    timeout(DISCARD_TIME_MAX, read_on).await.unwrap_or(false)
}
