//! The same claims for every way of writing: a piece at a time, as a body takes
//! them; as much as a socket takes; and that as gzip.

use std::{
    collections::VecDeque,
    io::{IoSlice, Write as _},
    pin::pin,
};

use bytes::Buf as _;
use flate2::write::GzDecoder;
use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::*;
use fixture::Fixture;

pub(crate) mod fixture;
mod pages;
mod searches;
mod shared_reader;
mod topic_stats;
mod views;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A piece at a time.
    Body,
    /// As much as a socket takes, which is any part of it, or nothing.
    Socket,
    /// As to a socket, and compressed.
    Gzip,
}

impl Way {
    fn coding(self) -> Coding {
        match self {
            Self::Body | Self::Socket => Coding::Identity,
            Self::Gzip => Coding::Gzip,
        }
    }
}

#[path = "tests"]
mod as_a_body {
    use super::*;
    const WAY: Way = Way::Body;
    #[path = "cases.rs"]
    mod cases;
}

#[expect(clippy::duplicate_mod, reason = "the same cases, another way")]
#[path = "tests"]
mod to_a_socket {
    use super::*;
    const WAY: Way = Way::Socket;
    #[path = "cases.rs"]
    mod cases;
}

#[expect(clippy::duplicate_mod, reason = "the same cases, another way")]
#[path = "tests"]
mod as_gzip {
    use super::*;
    const WAY: Way = Way::Gzip;
    #[path = "cases.rs"]
    mod cases;
}

/// A subscriber, and what it makes of the text.
struct Reader {
    subscription: SubscriberStream,
    way: Way,
    inflater: GzDecoder<Vec<u8>>,
    text: Vec<u8>,
    /// Where the last bytes ended in memory.
    place: usize,
    said: VecDeque<Said>,
    /// The cursors that said that the stream is live.
    live_at: Vec<u64>,
}

/// The most pieces of one write.
const PIECES_MAX: usize = 64;

/// What one write would be offered, and where its last piece ends in memory.
fn gathered(batch: &Batch<'_>) -> (Vec<u8>, usize) {
    let mut slices = [IoSlice::new(&[]); PIECES_MAX];
    let count = batch.chunks_vectored(&mut slices);
    let slices = &slices[..count];
    let end = slices
        .last()
        .map_or(0, |last| last.as_ptr_range().end as usize);
    (
        slices.iter().flat_map(|slice| slice.to_vec()).collect(),
        end,
    )
}

/// The next page, from wherever it is.
async fn read(state: &mut StreamState) {
    if !state.read_now() {
        let page = state.fetch_page().await.unwrap();
        state.supply(&page);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Cursor(u64),
    Event(u64),
    Gap(String),
    /// Seconds, and where.
    Expiring(u64, u64),
    /// A cursor with a wait: the opening, or the last word.
    Retry(u64),
    Other(String),
}

impl Reader {
    fn new(subscription: SubscriberStream, way: Way) -> Self {
        Self {
            subscription,
            way,
            inflater: GzDecoder::new(Vec::new()),
            text: Vec::new(),
            place: 0,
            said: VecDeque::new(),
            live_at: Vec::new(),
        }
    }

    /// What is said next: the whole opening, or one thing. That the stream is live
    /// is kept apart.
    async fn next(&mut self) -> Option<Vec<Said>> {
        while self.said.is_empty() {
            let text = String::from_utf8(self.text().await?).unwrap();
            for block in text.split_terminator("\n\n") {
                let said = Said::from_text(block);
                let is_live = block.ends_with("\ndata: {\"live\":true}");
                if let (true, Said::Cursor(at) | Said::Retry(at)) = (is_live, &said) {
                    self.live_at.push(*at);
                }
                if !is_live || matches!(said, Said::Retry(_)) {
                    self.said.push_back(said);
                }
            }
        }
        let mut said: Vec<_> = self.said.pop_front().into_iter().collect();
        // An opening comes whole: a cursor, and a gap if there is one.
        let gap_follows = matches!(self.said.front(), Some(Said::Gap(_)));
        if matches!(said[..], [Said::Retry(_)]) && gap_follows {
            said.extend(self.said.pop_front());
        }
        Some(said)
    }

    /// The next text, up to the end of some event.
    async fn text(&mut self) -> Option<Vec<u8>> {
        loop {
            if !self.text.is_empty() && self.subscription.state.is_between_pieces() {
                return Some(std::mem::take(&mut self.text));
            }
            let SubscriberStream {
                state, interrupts, ..
            } = &mut self.subscription;
            interrupts.set_deadline(state.deadline());
            let interrupted = interrupts.notified();
            match state.poll(Instant::now) {
                Step::Read => read(state).await,
                Step::Wait => tokio::select! {
                    () = state.received() => {}
                    () = interrupted => {}
                },
                Step::Write => {
                    drop(interrupted);
                    self.write();
                }
                Step::Abort => return None,
                Step::End => {
                    if self.way == Way::Gzip {
                        self.inflater.try_finish().expect("the trailer is right");
                    }
                    return None;
                }
            }
        }
    }

    /// One write: of one piece, or of which a part at random is taken, or nothing.
    fn write(&mut self) {
        let state = &mut self.subscription.state;
        if self.way == Way::Body {
            let ready = state.take_ready(1);
            let mut batch = state.batch(&ready);
            let bytes = batch.copy_to_bytes(batch.chunk().len());
            self.place = bytes.as_ptr_range().end as usize;
            self.text.extend_from_slice(&bytes);
            return;
        }
        let ready = state.take_ready(PIECES_MAX);
        let mut batch = state.batch(&ready);
        let (bytes, place) = gathered(&batch);
        let taken = match fastrand::u8(..8) {
            0 | 1 => 0,
            2..5 => bytes.len(),
            _ if bytes.is_empty() => 0,
            _ => fastrand::usize(1..=bytes.len()),
        };
        if taken > 0 {
            self.place = place;
        }
        batch.advance(taken);
        drop(batch);
        if taken < bytes.len() && fastrand::bool() {
            state.release();
        }
        if self.way == Way::Socket {
            self.text.extend_from_slice(&bytes[..taken]);
            return;
        }
        self.inflater.write_all(&bytes[..taken]).unwrap();
        self.inflater.flush().unwrap();
        self.text.append(self.inflater.get_mut());
    }

    /// The opening cursor, and the gap if there is one.
    async fn opening(&mut self) -> (u64, Option<String>) {
        let mut said = self.next().await.unwrap().into_iter();
        let Some(Said::Retry(at)) = said.next() else {
            panic!("a stream opens with a cursor and a wait");
        };
        let gap = said.next().map(|said| match said {
            Said::Gap(gap) => gap,
            other => panic!("{other:?} in the opening"),
        });
        (at, gap)
    }

    /// The sequences of the next `count` events; cursors are passed over.
    async fn events(&mut self, count: usize) -> Vec<u64> {
        let mut events = Vec::new();
        while events.len() < count {
            for said in self.next().await.expect("the stream goes on") {
                match said {
                    Said::Event(sequence) => events.push(sequence),
                    Said::Cursor(_) | Said::Retry(_) => {}
                    other => panic!("{other:?} among events"),
                }
            }
        }
        events
    }

    /// Nothing is due now.
    fn is_quiet(&mut self) -> bool {
        self.said.is_empty() && pin!(self.next()).now_or_never().is_none()
    }
}

impl Said {
    fn from_text(text: &str) -> Self {
        let field = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let sequence = || field("id")?.split_once('-')?.1.parse().ok();
        match field("event") {
            Some("hookrill.cursor") if text.starts_with("retry: ") => {
                Self::Retry(sequence().unwrap())
            }
            Some("hookrill.cursor") => Self::Cursor(sequence().unwrap()),
            Some("hookrill.expiring") => {
                let data: serde_json::Value = serde_json::from_str(field("data").unwrap()).unwrap();
                Self::Expiring(data["seconds"].as_u64().unwrap(), sequence().unwrap())
            }
            Some("hookrill.gap") => Self::Gap(field("data").unwrap().to_owned()),
            _ => sequence().map_or_else(|| Self::Other(text.to_owned()), Self::Event),
        }
    }
}
