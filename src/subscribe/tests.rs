//! The same claims over every way out: a frame at a time, as an ordinary body
//! takes them; as much as a socket takes, as the connection writer does; and
//! that as gzip.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    pin::pin,
};

use flate2::write::GzDecoder;
use futures_util::FutureExt as _;

use super::*;
use crate::wire::{Coding, Framing};
use house::House;

mod house;
mod presence;
mod recode;
mod relay;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A frame at a time.
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
    subscription: Subscription,
    way: Way,
    inflater: GzDecoder<Vec<u8>>,
    text: Vec<u8>,
    /// Where the last bytes ended in memory.
    place: usize,
    said: VecDeque<Said>,
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Cursor(u64),
    Event(u64),
    Gap(String),
    /// Seconds, and where.
    Expiring(u64, u64),
    Retry,
    Other(String),
}

impl Reader {
    fn new(subscription: Subscription, way: Way) -> Self {
        Self {
            subscription,
            way,
            inflater: GzDecoder::new(Vec::new()),
            text: Vec::new(),
            place: 0,
            said: VecDeque::new(),
        }
    }

    /// What is said next: the whole opening, or one thing.
    async fn next(&mut self) -> Option<Vec<Said>> {
        while self.said.is_empty() {
            let text = String::from_utf8(self.text().await?).unwrap();
            let events = text.split_terminator("\n\n");
            self.said.extend(events.map(Said::from_text));
        }
        let mut said: Vec<_> = self.said.pop_front().into_iter().collect();
        // An opening comes whole: a wait, a cursor, and a gap if there is one.
        for part in [
            |said: &Said| matches!(said, Said::Cursor(_)),
            |said: &Said| matches!(said, Said::Gap(_)),
        ] {
            if said.first() == Some(&Said::Retry) && self.said.front().is_some_and(part) {
                said.extend(self.said.pop_front());
            }
        }
        Some(said)
    }

    /// The next text, up to the end of some event.
    async fn text(&mut self) -> Option<Vec<u8>> {
        if self.way == Way::Body {
            let bytes = self.subscription.next().await?;
            self.place = bytes.as_ptr_range().end as usize;
            return Some(bytes.to_vec());
        }
        loop {
            if !self.text.is_empty() && self.is_between_pieces() {
                return Some(std::mem::take(&mut self.text));
            }
            let (feed, calls) = self.subscription.split();
            calls.heed(feed);
            let called = calls.hear();
            match feed.step() {
                Step::Read => feed.read().await,
                Step::Wait => tokio::select! {
                    () = feed.news() => {}
                    () = called => {}
                },
                Step::Give => {
                    drop(called);
                    self.give();
                }
                Step::Break => return None,
                Step::End => {
                    if self.way == Way::Gzip {
                        self.inflater.try_finish().expect("the trailer is right");
                    }
                    return None;
                }
            }
        }
    }

    fn is_between_pieces(&mut self) -> bool {
        let (feed, _) = self.subscription.split();
        feed.rest.is_empty()
    }

    /// One write, of which a part at random is taken, or nothing.
    fn give(&mut self) {
        let (text, place) = (&mut self.text, &mut self.place);
        let inflater = (self.way == Way::Gzip).then_some(&mut self.inflater);
        let (feed, _) = self.subscription.split();
        let given = feed.give(Framing::Plain, |pieces| {
            if fastrand::u8(..4) == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            *place = pieces.last().unwrap().as_ptr_range().end as usize;
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
            let taken = match fastrand::bool() {
                true => bytes.len(),
                false => fastrand::usize(1..=bytes.len()),
            };
            match inflater {
                None => text.extend_from_slice(&bytes[..taken]),
                Some(inflater) => {
                    inflater.write_all(&bytes[..taken])?;
                    inflater.flush()?;
                    text.append(inflater.get_mut());
                }
            }
            Ok(taken)
        });
        if given.unwrap() == Given::Part && fastrand::bool() {
            feed.let_go();
        }
    }

    /// The opening cursor, and the gap if there is one.
    async fn opening(&mut self) -> (u64, Option<String>) {
        let mut said = self.next().await.unwrap().into_iter();
        assert_eq!(said.next(), Some(Said::Retry));
        let Some(Said::Cursor(at)) = said.next() else {
            panic!("a stream opens with a cursor");
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
                    Said::Cursor(_) | Said::Retry => {}
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
            Some("hookrill.cursor") => Self::Cursor(sequence().unwrap()),
            Some("hookrill.expiring") => {
                let data: serde_json::Value = serde_json::from_str(field("data").unwrap()).unwrap();
                Self::Expiring(data["seconds"].as_u64().unwrap(), sequence().unwrap())
            }
            Some("hookrill.gap") => Self::Gap(field("data").unwrap().to_owned()),
            None if text.starts_with("retry: ") => Self::Retry,
            _ => sequence().map_or_else(|| Self::Other(text.to_owned()), Self::Event),
        }
    }
}
