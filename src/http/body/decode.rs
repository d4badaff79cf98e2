//! Undoes the codings of a body, before anything is known of its sender.
//!
//! What is short is decoded at once. What turns out long, or takes the window of brotli or
//! zstd, is decoded from its beginning on one thread, once the memory for the longest body
//! is paid for. It is one and always the same: the allocator keeps for each thread what
//! that has given back, and windows of 16 MiB for each thread of a pool would add up.
//! Invariant: a body that is decoded is no longer than any other may be.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, oneshot},
    time::{Duration, timeout},
};

use super::{
    BodyError, BodySender, ReceivedBody,
    budget::{AddressShares, BodyBudget},
    coding::{CodedBodyError, Codings},
};

/// Up to this length a body is decoded at once, in bytes.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// How many long bodies are decoded at one time. Each may take two windows of 16 MiB.
const LONG_AT_ONCE_MAX: usize = 1;
/// How many of one address are, or wait for it.
const LONG_OF_ADDRESS_MAX: usize = 32;
/// How many of all addresses are, or wait for it.
const LONG_MAX: usize = 512;
/// What is kept of the memory that bodies are decoded into, in bytes.
const SCRATCH_BYTES_MAX: usize = 8 << 20;
/// How long one waits.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// What the thread does, with the memory that it decodes into.
type Job = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// Who may decode long bodies, and the thread that does.
#[derive(Debug)]
pub(in crate::http) struct LongDecodes {
    turns: Arc<Semaphore>,
    /// Started for the first one. It ends when this is dropped.
    thread: Mutex<Option<SyncSender<Job>>>,
    of_addresses: Arc<AddressShares>,
}

impl Default for LongDecodes {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(LONG_AT_ONCE_MAX)),
            thread: Mutex::default(),
            of_addresses: AddressShares::new(LONG_OF_ADDRESS_MAX, LONG_MAX),
        }
    }
}

impl LongDecodes {
    /// Hands a job to the thread; whoever does has the turn, so that none waits there.
    fn hand_over(&self, job: Job) -> io::Result<()> {
        let mut thread = self.thread.lock();
        let jobs = match &mut *thread {
            Some(jobs) => jobs,
            none => none.insert(start_thread()?),
        };
        let handed_over = jobs.try_send(job);
        handed_over.map_err(|_| io::ErrorKind::ResourceBusy.into())
    }
}

fn start_thread() -> io::Result<SyncSender<Job>> {
    let (jobs, queue) = sync_channel::<Job>(LONG_AT_ONCE_MAX);
    let decode_all = move || {
        // Kept from one body to the next: many that turn out too long would be many times
        // as much.
        let mut scratch = Vec::new();
        for job in queue {
            // A decoder's mistake costs this one body: its sender is told so.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| job(&mut scratch)));
            scratch.clear();
            scratch.shrink_to(SCRATCH_BYTES_MAX);
        }
    };
    let named = thread::Builder::new().name("decode".into());
    named.spawn(decode_all).map(|_| jobs)
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
    if codings.are_small()
        && let Some(bytes) = decode_up_to(&codings, &sent, inline_max, bytes_max)?
    {
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
    let (done, decoding) = oneshot::channel();
    let job = move |scratch: &mut Vec<u8>| {
        let decoded = decode_into(scratch, &codings, &sent, bytes_max, bytes_max);
        let decoded = decoded.map(|is_all| is_all.then(|| Bytes::copy_from_slice(scratch)));
        drop((turn, charge));
        // Whoever waited for it may have left.
        let _ = done.send((decoded, sent, share));
    };
    let handed_over = decodes.hand_over(Box::new(job));
    handed_over.map_err(|_| BodyError::NoMemory)?;
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
    let is_all = decode_into(&mut decoded, codings, sent, here_max, bytes_max)?;
    decoded.shrink_to_fit();
    Ok(is_all.then(|| decoded.into()))
}

/// Decodes into `out`, which is empty; returns whether that was all.
fn decode_into(
    out: &mut Vec<u8>,
    codings: &Codings,
    sent: &Bytes,
    here_max: usize,
    bytes_max: usize,
) -> Result<bool, BodyError> {
    let mut reader = codings.reader(sent.clone(), bytes_max);
    let read = reader.read_to(out, here_max);
    debug_assert!(out.len() <= here_max);
    read.map_err(|error| match error {
        CodedBodyError::Long => BodyError::Long(bytes_max),
        CodedBodyError::Broken => BodyError::CodingBroken,
    })
}
