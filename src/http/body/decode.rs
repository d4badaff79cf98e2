//! Undoes the codings of a body, before anything is known of its sender.
//!
//! What is short is decoded at once. What turns out long, or takes the window of brotli or
//! zstd, is decoded from its beginning on one thread, once the memory for the longest body
//! is paid for. It is one and always the same: the allocator keeps for each thread what
//! that has given back, and windows of 16 MiB for each thread of a pool would add up.
//! Invariant: a body that is decoded is no longer than any other may be.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Duration, timeout},
};

use super::{
    BodyError, BodySender, ReceivedBody,
    budget::{AddressShares, BodyBudget},
    coding::{CodedBodyError, Codings},
};
use crate::http::limits::Address;

/// Up to this length a body is decoded at once, in bytes.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// How many long bodies are decoded at one time. Each may take two windows of 16 MiB.
const LONG_AT_ONCE_MAX: usize = 1;
/// How many of one address are, or wait for it.
const LONG_OF_ADDRESS_MAX: usize = 32;
/// Into so many groups addresses are put, by a hash that nobody knows.
const ADDRESS_GROUPS: usize = 64;
/// How many of all addresses are, or wait for it.
const LONG_MAX: usize = 512;
/// What is kept of the memory that bodies are decoded into, in bytes.
const SCRATCH_BYTES_MAX: usize = 8 << 20;
/// How long one waits for memory when it has its turn: others wait for the turn.
const MEMORY_WAIT_MAX: Duration = Duration::from_millis(100);
/// How long one waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// What the thread does, with the memory that it decodes into.
type Job = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// Who may decode long bodies, and the thread that does.
#[derive(Debug)]
pub(in crate::http) struct LongDecodes {
    turns: Arc<Semaphore>,
    /// One of each group waits for a turn at a time: an address with many bodies lets
    /// another wait for one of them.
    group_turns: [Arc<Semaphore>; ADDRESS_GROUPS],
    hasher: RandomState,
    /// Started for the first one. It ends when this is dropped.
    thread: Mutex<Option<SyncSender<Job>>>,
    of_addresses: Arc<AddressShares>,
}

impl Default for LongDecodes {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(LONG_AT_ONCE_MAX)),
            group_turns: std::array::from_fn(|_| Arc::new(Semaphore::new(1))),
            hasher: RandomState::new(),
            thread: Mutex::default(),
            of_addresses: AddressShares::new(LONG_OF_ADDRESS_MAX, LONG_MAX),
        }
    }
}

impl LongDecodes {
    /// Waits for the turn of a body of this address.
    async fn turn(&self, address: Option<Address>) -> Option<[OwnedSemaphorePermit; 2]> {
        let group = self.hasher.hash_one(address) as usize % ADDRESS_GROUPS;
        let both = async {
            let of_group = Arc::clone(&self.group_turns[group]).acquire_owned().await;
            let of_all = Arc::clone(&self.turns).acquire_owned().await;
            Some([of_group.ok()?, of_all.ok()?])
        };
        timeout(WAIT_MAX, both).await.ok().flatten()
    }

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
        && sent.len() <= INLINE_BYTES_MAX
        && let Some(bytes) = decode_up_to(&codings, &sent, inline_max)?
    {
        share.grow(budget, sent.len() + bytes.len()).await?;
        (body.bytes, body.sent) = (bytes, Some(sent));
        return Ok(());
    }
    // Those whose address is not known share what one address may have.
    let charged = sender.address.unwrap_or(Address::UNKNOWN);
    let charge = decodes.of_addresses.charge(charged, 1);
    let charge = charge.map_err(|_| BodyError::NoMemory)?;
    let turn = decodes.turn(sender.address).await;
    let turn = turn.ok_or(BodyError::NoMemory)?;
    let grown = timeout(MEMORY_WAIT_MAX, share.grow(budget, sent.len() + bytes_max)).await;
    grown.map_err(|_| BodyError::NoMemory)??;
    // All go with it: it is not ended where the sender leaves.
    let share = std::mem::take(share);
    let (done, decoding) = oneshot::channel();
    let job = move |scratch: &mut Vec<u8>| {
        let decoded = decode_into(scratch, &codings, &sent, bytes_max);
        let decoded = decoded.map(|()| Bytes::copy_from_slice(scratch));
        drop((turn, charge));
        // Whoever waited for it may have left.
        let _ = done.send((decoded, sent, share));
    };
    let handed_over = decodes.hand_over(Box::new(job));
    handed_over.map_err(|_| BodyError::NoMemory)?;
    let finished = decoding.await.map_err(|_| BodyError::CodingBroken)?;
    let (decoded, was_sent, paid) = finished;
    body._share = paid;
    body.bytes = decoded?;
    body._share.shrink(was_sent.len() + body.bytes.len());
    body.sent = Some(was_sent);
    Ok(())
}

/// A whole body decoded on this thread, for whoever has no gateway; `None`: it has no
/// coding.
///
/// # Errors
///
/// [`BodyError`].
pub(in crate::http) fn decode_whole(
    headers: &HeaderMap,
    sent: &Bytes,
    bytes_max: usize,
) -> Result<Option<Bytes>, BodyError> {
    let codings = Codings::from_headers(headers)?;
    if sent.len() > bytes_max {
        return Err(BodyError::Long(bytes_max));
    }
    let Some(codings) = codings.filter(|_| !sent.is_empty()) else {
        return Ok(None);
    };
    let mut decoded = Vec::new();
    decode_into(&mut decoded, &codings, sent, bytes_max)?;
    Ok(Some(decoded.into()))
}

/// The decoded body; `None` where it is longer than `here_max`, also between two codings.
fn decode_up_to(
    codings: &Codings,
    sent: &Bytes,
    here_max: usize,
) -> Result<Option<Bytes>, BodyError> {
    let mut decoded = Vec::new();
    match decode_into(&mut decoded, codings, sent, here_max) {
        Ok(()) => {
            decoded.shrink_to_fit();
            Ok(Some(decoded.into()))
        }
        Err(BodyError::Long(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Decodes into `out`, which is empty.
fn decode_into(
    out: &mut Vec<u8>,
    codings: &Codings,
    sent: &Bytes,
    bytes_max: usize,
) -> Result<(), BodyError> {
    let mut reader = codings.reader(sent.clone(), bytes_max);
    let read = reader.read_to(out, bytes_max);
    assert!(out.len() <= bytes_max, "no body is longer than it may be");
    match read {
        Ok(true) => Ok(()),
        Ok(false) | Err(CodedBodyError::Long) => Err(BodyError::Long(bytes_max)),
        Err(CodedBodyError::Broken) => Err(BodyError::CodingBroken),
    }
}
