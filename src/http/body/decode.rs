//! Undoes the codings of a body, before anything is known of its sender.
//!
//! What is short is decoded at once. What turns out long is decoded from its beginning on
//! a thread of its own, a few at a time, once the memory for the longest body is paid for.
//! Invariant: a body that is decoded is no longer than any other may be.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Duration, timeout},
};

use super::{
    BodyError, BodySender, ReceivedBody,
    budget::{AddressShares, BodyBudget},
    coding::{CodedBodyError, Codings},
};

/// Up to this length a body is decoded at once, in bytes.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// How many long bodies are decoded at one time.
const LONG_AT_ONCE_MAX: usize = 2;
/// How many of one address are, or wait for it.
const LONG_OF_ADDRESS_MAX: usize = 32;
/// How many of all addresses are, or wait for it.
const LONG_MAX: usize = 512;
/// How long one waits.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Who may decode long bodies.
#[derive(Debug)]
pub(in crate::http) struct LongDecodes {
    turns: Arc<Semaphore>,
    of_addresses: Arc<AddressShares>,
}

impl Default for LongDecodes {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(LONG_AT_ONCE_MAX)),
            of_addresses: AddressShares::new(LONG_OF_ADDRESS_MAX, LONG_MAX),
        }
    }
}

/// Decodes a body in place; it keeps the bytes that were sent.
///
/// # Errors
///
/// [`BodyError`]: it would be too long, is broken, or others are decoded now.
pub(in crate::http) async fn decode(
    body: &mut ReceivedBody,
    codings: Codings,
    bytes_max: usize,
    budget: &BodyBudget,
    decodes: &LongDecodes,
    sender: BodySender<'_>,
) -> Result<(), BodyError> {
    if body.bytes.is_empty() {
        return Ok(());
    }
    let sent = std::mem::take(&mut body.bytes);
    let share = &mut body._share;
    let inline_max = INLINE_BYTES_MAX.min(bytes_max);
    if let Some(bytes) = decode_up_to(&codings, &sent, inline_max, bytes_max)? {
        share.grow(budget, sent.len() + bytes.len()).await?;
        (body.bytes, body.sent) = (bytes, Some(sent));
        return Ok(());
    }
    let charge = sender
        .address
        .map(|one| decodes.of_addresses.charge(one, 1));
    let charge = charge.transpose().map_err(|_| BodyError::NoMemory)?;
    let turn = timeout(WAIT_MAX, Arc::clone(&decodes.turns).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(BodyError::NoMemory);
    };
    share.grow(budget, sent.len() + bytes_max).await?;
    // All go with it: it is not ended where the sender leaves.
    let share = std::mem::take(share);
    let decoding = spawn_blocking(move || {
        let decoded = decode_up_to(&codings, &sent, bytes_max, bytes_max);
        drop((turn, charge));
        (decoded, sent, share)
    });
    let finished = decoding.await.map_err(|_| BodyError::CodingBroken)?;
    let (decoded, was_sent, paid) = finished;
    body._share = paid;
    body.bytes = decoded?.ok_or(BodyError::Long(bytes_max))?;
    body._share.shrink(was_sent.len() + body.bytes.len());
    body.sent = Some(was_sent);
    Ok(())
}

/// The decoded body; `None` where it is longer than `here_max`.
fn decode_up_to(
    codings: &Codings,
    sent: &Bytes,
    here_max: usize,
    bytes_max: usize,
) -> Result<Option<Bytes>, BodyError> {
    let mut decoded = Vec::new();
    let mut reader = codings.reader(sent.clone(), bytes_max);
    match reader.read_to(&mut decoded, here_max) {
        Ok(true) => {
            debug_assert!(decoded.len() <= here_max);
            decoded.shrink_to_fit();
            Ok(Some(decoded.into()))
        }
        Ok(false) => Ok(None),
        Err(CodedBodyError::Long) => Err(BodyError::Long(bytes_max)),
        Err(CodedBodyError::Broken) => Err(BodyError::CodingBroken),
    }
}
