//! Reads a delivery's body: bounded in bytes, in time, and in the memory of all
//! bodies together.

mod budget;
mod coding;
mod decode;

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, header};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::limits::{Address, RequestProgress};
pub(super) use budget::BodyBudget;
use budget::{BudgetExhausted, BudgetShare, SMALL_BYTES_MAX};
pub(super) use coding::Codings;
use coding::{CODINGS_MAX, CodingUnknown};
pub(super) use decode::{LongDecodes, decode, decode_whole};

/// How long a body may take to arrive in full.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a sender may pause within a body.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// After this, a body has to arrive at [`RATE_MIN`] at least.
const RATE_GRACE: Duration = Duration::from_secs(5);
/// Bytes per second, on average.
const RATE_MIN: usize = 1024;
/// How long a small body of a rejected request is read on.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);
/// How much of a body that is too long is read on, in bytes.
const DISCARD_BYTES_MAX: usize = 128 << 20;

/// A body with its share of the budget, which lasts as long as the request.
#[derive(Debug)]
pub(super) struct ReceivedBody {
    /// Without its codings, once they are undone.
    pub(super) bytes: Bytes,
    /// As it was sent, where that is something else.
    pub(super) sent: Option<Bytes>,
    pub(super) _share: BudgetShare,
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// Longer than this many bytes.
    #[error("the body is longer than the {0} bytes of `server.body_bytes_max`")]
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
    /// It has a coding that is not known here, or too many.
    #[error(
        "the Content-Encoding is not gzip, deflate, br or zstd, or more than {CODINGS_MAX} of them"
    )]
    CodingUnknown,
    /// It is not what its codings say.
    #[error("the body is not what its Content-Encoding says, or zstd with a window of over 8 MiB")]
    CodingBroken,
}

impl BodyError {
    /// The reason as a metric's label.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Long(_) => "body_too_long",
            Self::Slow => "body_too_slow",
            Self::Broken => "body_broken",
            Self::NoMemory => "body_budget",
            Self::CodingUnknown => "coding_unknown",
            Self::CodingBroken => "coding_broken",
        }
    }
}

impl From<BudgetExhausted> for BodyError {
    fn from(_: BudgetExhausted) -> Self {
        Self::NoMemory
    }
}

impl From<CodingUnknown> for BodyError {
    fn from(_: CodingUnknown) -> Self {
        Self::CodingUnknown
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
    sender: BodySender<'_>,
) -> Result<ReceivedBody, BodyError> {
    if !hint.is_at_most(bytes_max) {
        // A sender that waits would be told to send it.
        if !hint.expects_continue {
            discard_long(body, BodyWait::new(sender.progress), 0).await;
        }
        return Err(BodyError::Long(bytes_max));
    }
    // Room for what came, not for what is announced: that costs its sender nothing.
    let mut received = Vec::new();
    let mut share = BudgetShare::default();
    let mut wait = BodyWait::new(sender.progress);
    loop {
        let ready = body.frame().now_or_never();
        if ready.is_none() {
            share.wait(budget, sender.address, received.len()).await?;
        }
        let next = next_chunk(&mut body, ready, &mut wait, received.len());
        let chunk = tokio::select! {
            biased;
            chunk = next => chunk?,
            () = share.given_up() => return Err(BodyError::Slow),
        };
        let Some(chunk) = chunk else {
            break;
        };
        if received.len() + chunk.len() > bytes_max {
            let received_bytes = received.len() + chunk.len();
            drop(received);
            discard_long(body, wait, received_bytes).await;
            return Err(BodyError::Long(bytes_max));
        }
        received.reserve(chunk.len());
        share.grow(budget, received.capacity()).await?;
        // Copied out of the connection's buffer, which a small body would
        // otherwise keep alive for as long as the event is in memory.
        received.extend_from_slice(&chunk);
    }
    debug_assert!(received.len() <= bytes_max);
    share.has_body();
    if let Some(progress) = sender.progress {
        progress.has_body();
    }
    received.shrink_to_fit();
    Ok(ReceivedBody {
        bytes: received.into(),
        sent: None,
        _share: share,
    })
}

/// Who sends a body, as far as it is known.
#[derive(Clone, Copy, Default)]
pub(super) struct BodySender<'p> {
    /// Whose share of the memory it takes while it is waited for.
    pub(super) address: Option<Address>,
    /// Where its connection learns that it is waited for.
    pub(super) progress: Option<&'p RequestProgress>,
}

/// How long a body is waited for. Counts from the first wait: most bodies arrive with
/// their heads, and need no clock.
struct BodyWait<'p> {
    since: Option<Instant>,
    progress: Option<&'p RequestProgress>,
}

impl<'p> BodyWait<'p> {
    fn new(progress: Option<&'p RequestProgress>) -> Self {
        Self {
            since: None,
            progress,
        }
    }

    /// Until when the next bytes have to come, where so many came.
    fn deadline(&mut self, received_bytes: usize) -> Instant {
        if let Some(progress) = self.progress {
            progress.waits_for_body(received_bytes);
        }
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let earned = Duration::from_secs_f64(received_bytes as f64 / RATE_MIN as f64);
        let in_all = (RATE_GRACE + earned).min(BODY_TIME_MAX);
        (since + in_all).min(now + PAUSE_MAX)
    }
}

/// The next bytes; `ready` is what was there without a wait.
async fn next_chunk(
    body: &mut Body,
    mut ready: Option<Option<Result<Frame<Bytes>, axum::Error>>>,
    wait: &mut BodyWait<'_>,
    received_bytes: usize,
) -> Result<Option<Bytes>, BodyError> {
    loop {
        let next = match ready.take() {
            Some(next) => next,
            None => {
                let next = timeout_at(wait.deadline(received_bytes), body.frame()).await;
                next.map_err(|_| BodyError::Slow)?
            }
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

/// Reads on to the end of a body that is too long: many senders read nothing before they
/// have written all, and would see a broken pipe instead of the answer. It has to come as
/// fast as any other, and takes no memory.
async fn discard_long(mut body: Body, mut wait: BodyWait<'_>, mut received_bytes: usize) {
    while received_bytes <= DISCARD_BYTES_MAX {
        let ready = body.frame().now_or_never();
        match next_chunk(&mut body, ready, &mut wait, received_bytes).await {
            Ok(Some(chunk)) => received_bytes += chunk.len(),
            Ok(None) | Err(_) => return,
        }
    }
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::StreamExt as _;

    use super::*;

    /// Over one HTTP/2 connection a stranger can begin hundreds of bodies.
    #[tokio::test]
    async fn bodies_of_one_address_that_hardly_come_leave_memory_to_others() {
        const BYTES_MAX: usize = 1 << 20;
        let budget = BodyBudget::new(BYTES_MAX);
        let hint = BodyHint::from_headers(&HeaderMap::new());
        let hanging = || {
            let first =
                futures_util::stream::iter([Ok::<_, axum::Error>(Bytes::from_static(b"x"))]);
            Body::from_stream(first.chain(futures_util::stream::pending()))
        };
        let sender = |last| BodySender {
            address: Some(IpAddr::from([192, 0, 2, last]).into()),
            progress: None,
        };
        let mut waiting = Vec::new();
        let mut refused = 0;
        for _ in 0..10_000 {
            let mut reading = Box::pin(read(hanging(), hint, BYTES_MAX, &budget, sender(1)));
            match (&mut reading).now_or_never() {
                None => waiting.push(reading),
                Some(read) => {
                    assert_eq!(read.err(), Some(BodyError::NoMemory));
                    refused += 1;
                }
            }
        }
        assert!(
            waiting.len() > 1_000 && refused > 1_000,
            "{refused} refused"
        );
        for body in [vec![b'x'; 100_000], vec![b'x'; BYTES_MAX]] {
            let length = body.len();
            let read = read(Body::from(body), hint, BYTES_MAX, &budget, sender(2)).await;
            assert_eq!(read.unwrap().bytes.len(), length);
        }
        let mut other = Box::pin(read(hanging(), hint, BYTES_MAX, &budget, sender(2)));
        assert!(
            (&mut other).now_or_never().is_none(),
            "another may be slow as well"
        );
    }

    /// As many addresses as it takes, over connections with hundreds of streams each.
    #[tokio::test(start_paused = true)]
    async fn where_many_hold_all_memory_the_slowest_bodies_give_way_to_a_new_one() {
        const BYTES_MAX: usize = 1 << 20;
        const HELD_BYTES: usize = 200 * 1024;
        let budget = &BodyBudget::new(BYTES_MAX);
        let hint = BodyHint::from_headers(&HeaderMap::new());
        let hanging = |bytes: usize| {
            let first = Bytes::from(vec![b'x'; bytes]);
            let first = futures_util::stream::iter([Ok::<_, axum::Error>(first)]);
            Body::from_stream(first.chain(futures_util::stream::pending()))
        };
        let sender = |last| BodySender {
            address: Some(IpAddr::from([192, 0, 2, last]).into()),
            progress: None,
        };
        let mut waiting = futures_util::stream::FuturesUnordered::new();
        for n in 0..=u8::MAX {
            for _ in 0..3 {
                // The first ones are the slowest.
                let held = HELD_BYTES + usize::from(n) * 200;
                let (body, sender) = (hanging(held), sender(n));
                let mut reading = Box::pin(async move {
                    let read = read(body, hint, BYTES_MAX, budget, sender).await;
                    (n, read.err())
                });
                if (&mut reading).now_or_never().is_none() {
                    waiting.push(reading);
                }
            }
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        let began = Instant::now();
        let honest = Body::from(vec![b'x'; HELD_BYTES]);
        let honest = read(honest, hint, BYTES_MAX, budget, BodySender::default());
        tokio::pin!(honest);
        let mut given_up = Vec::new();
        let read = loop {
            tokio::select! {
                biased;
                read = &mut honest => break read,
                Some(one) = waiting.next() => given_up.push(one),
            }
        };
        assert_eq!(read.unwrap().bytes.len(), HELD_BYTES);
        assert!(began.elapsed() < Duration::from_secs(1));
        // It found what is left to such bodies; those that are waited for make room for
        // each other.
        while given_up.is_empty() {
            given_up.extend(waiting.next().await);
        }
        assert!(waiting.len() > given_up.len());
        assert!(given_up.is_sorted_by_key(|(n, _)| *n), "the slowest first");
        assert!(
            given_up
                .iter()
                .all(|(_, why)| *why == Some(BodyError::Slow))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_arrives_too_slowly_has_less_time_than_one_that_does_not() {
        let began = Instant::now();
        let mut wait = BodyWait::new(None);
        assert_eq!(
            wait.deadline(1) - began,
            PAUSE_MAX.min(RATE_GRACE + Duration::from_secs(1))
        );
        for (after_secs, received_bytes, until_secs) in [
            (3, 2, 5.002),
            (4, 10 * RATE_MIN, 9.0),
            (12, 10 * RATE_MIN, 15.0),
            (28, 100 * RATE_MIN, 30.0),
        ] {
            let now = began + Duration::from_secs(after_secs);
            tokio::time::advance(now - Instant::now()).await;
            let until = (wait.deadline(received_bytes) - began).as_secs_f64();
            assert!((until - until_secs).abs() < 0.01, "{after_secs} s: {until}");
        }
    }
}
