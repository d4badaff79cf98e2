//! One stream, written by itself: the loop that sockets and bodies share.
//!
//! Invariant: signals are processed before anything is written, since every turn
//! begins with [`StreamState::poll`](crate::subscribe::StreamState::poll).

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::{coop, yield_now},
    time::{Instant, timeout},
};

use super::{
    sink::{Disconnected, Sink, WriteOutcome},
    writer::{StreamWriter, write_ready},
};
use crate::{
    subscribe::{Ending, Step, StreamState},
    telemetry::with_causes,
};

/// How long a stream that has ended waits for its peer to take what is left, and
/// then to leave.
const FINISH_TIME_MAX: Duration = Duration::from_secs(5);

/// How a stream goes on that was written by itself.
pub(super) enum Handoff {
    /// It has ended, and may have a last piece ready.
    ToFinish,
    /// A group of this channel can write it.
    ToGroup(Box<str>),
}

/// Writes a stream by itself until it has ended or its peer has left.
///
/// # Errors
///
/// [`Disconnected`] where it was broken off, or is to look like that.
pub async fn write_to_end<S: Sink>(mut writer: StreamWriter<S>) -> Result<(), Disconnected> {
    loop {
        match write_alone(&mut writer, false).await? {
            Handoff::ToFinish => break,
            // Not asked for.
            Handoff::ToGroup(_) => debug_assert!(false, "it is to be written alone"),
        }
    }
    finish(&mut writer).await;
    match writer.state.ending() {
        Ending::ComeBack => Err(Disconnected),
        Ending::Final => Ok(()),
    }
}

/// Writes until the stream has ended or, where it is to be shared, until a group
/// can go on with it.
pub(super) async fn write_alone<S: Sink>(
    writer: &mut StreamWriter<S>,
    is_shared: bool,
) -> Result<Handoff, Disconnected> {
    let StreamWriter {
        state,
        interrupts,
        sink,
    } = writer;
    loop {
        // At the start, and after each heartbeat.
        if sink.has_dead_peer() {
            return Err(Disconnected);
        }
        interrupts.set_deadline(state.deadline());
        // Outlives many events: to listen anew for each costs more.
        let mut interrupted = pin!(interrupts.notified());
        loop {
            let step = state.poll(Instant::now);
            if state.has_ended() {
                return Ok(Handoff::ToFinish);
            }
            let interrupted = interrupted.as_mut();
            let woken = match step {
                Step::End => return Ok(Handoff::ToFinish),
                Step::Abort => return Err(Disconnected),
                Step::Read => wait_for(pin!(read(state)), interrupted, sink).await?,
                Step::Wait => {
                    if is_shared && let Some(channel) = state.shared_channel() {
                        return Ok(Handoff::ToGroup(channel.into()));
                    }
                    wait_for(pin!(state.received()), interrupted, sink).await?
                }
                Step::Write if !sink.can_write() => {
                    state.hold();
                    wait(poll_room(state), interrupted, sink).await?
                }
                Step::Write => match write_ready(state, sink)? {
                    WriteOutcome::Flushed => Woken::ByWork,
                    WriteOutcome::Blocked => {
                        state.release();
                        state.hold();
                        wait(poll_room(state), interrupted, sink).await?
                    }
                },
            };
            if woken == Woken::ByInterrupt {
                break;
            }
        }
    }
}

/// Writes what is left of a stream that has ended, and ends the body, within
/// [`FINISH_TIME_MAX`].
pub(super) async fn finish<S: Sink>(writer: &mut StreamWriter<S>) {
    // Rare and larger than the rest: boxed, not a part of every task.
    _ = Box::pin(timeout(FINISH_TIME_MAX, write_rest(writer))).await;
}

async fn write_rest<S: Sink>(writer: &mut StreamWriter<S>) -> Result<(), Disconnected> {
    let StreamWriter { state, sink, .. } = writer;
    loop {
        match state.poll(Instant::now) {
            Step::Write => {
                let is_blocked =
                    !sink.can_write() || write_ready(state, sink)? == WriteOutcome::Blocked;
                if is_blocked {
                    state.hold();
                    let mut has_room = poll_room(state);
                    poll_fn(|cx| has_room(sink, cx)).await;
                }
            }
            Step::Abort => return Err(Disconnected),
            Step::End | Step::Read | Step::Wait => break,
        }
    }
    sink.finish(state.ending()).await
}

/// Takes the next page from memory, or from the journal behind it. Cancel-safe.
async fn read(state: &mut StreamState) {
    // A fast peer must not keep the thread to itself.
    coop::consume_budget().await;
    if !state.read_now() {
        // Boxed: few wait for a read, and all would make room for it.
        match Box::pin(state.fetch_page()).await {
            Ok(page) => state.supply(&page),
            Err(error) => {
                tracing::error!(error = %with_causes(&error), "a stream ends: its events cannot be read");
                state.end();
            }
        }
    }
    if state.is_searching() {
        yield_now().await;
    }
}

/// Ready when the sink may take more, or `state` is to be broken off.
fn poll_room<S: Sink>(
    state: &StreamState,
) -> impl FnMut(&mut S, &mut Context<'_>) -> Poll<()> + '_ {
    |sink, cx| {
        if state.is_broken_or_wakes(cx.waker()) {
            return Poll::Ready(());
        }
        sink.poll_writable(cx)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    ByWork,
    ByInterrupt,
}

/// Waits for `work` or an interrupt, as long as the peer is there.
async fn wait_for<S: Sink>(
    mut work: Pin<&mut impl Future<Output = ()>>,
    interrupted: Pin<&mut impl Future<Output = ()>>,
    sink: &mut S,
) -> Result<Woken, Disconnected> {
    wait(|_, cx| work.as_mut().poll(cx), interrupted, sink).await
}

/// As [`wait_for`], for work that the sink does.
async fn wait<S: Sink>(
    mut work: impl FnMut(&mut S, &mut Context<'_>) -> Poll<()>,
    mut interrupted: Pin<&mut impl Future<Output = ()>>,
    sink: &mut S,
) -> Result<Woken, Disconnected> {
    poll_fn(|cx| {
        if work(sink, cx).is_ready() {
            return Poll::Ready(Ok(Woken::ByWork));
        }
        if interrupted.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(Woken::ByInterrupt));
        }
        sink.poll_disconnected(cx).map(Err)
    })
    .await
}
