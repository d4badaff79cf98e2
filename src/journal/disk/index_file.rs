//! The file of a sealed segment's index.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 64 | the log's head, to the byte (`segment.rs`) |
//! | 64 | 8 | `hookridx` |
//! | 72 | 4 | length of the log |
//! | 76 | 4 | number of events |
//! | 80 | 4 | number of dedup entries in the `.dup` |
//! | 84 | 4 | zeros |
//! | 88 | 16 | earliest and latest arrival |
//! | 104 | 8 | length of the body |
//! | 112 | 8 | xxh3-64 of the body |
//! | 120 | 8 | xxh3-64 of the bytes above |
//! | 128 | | the body |
//!
//! The body: where each record begins (4 bytes each); the type of each event
//! (4 bytes each); the types' names; the topics. Names and topics begin with
//! their number (4 bytes); a name is its length (4 bytes) and its text, a topic
//! is a name, the number of its events (4 bytes) and their numbers (4 bytes
//! each), in the order of the names. All numbers are little-endian.
//!
//! Invariant: what does not have its checksums is no index, and is made anew
//! from the log.

use std::{collections::HashMap, fs::File, io, os::unix::fs::FileExt as _, path::Path};

use bytes::{Buf as _, BufMut as _};
use hookrill_core::{Sequence, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    index::Index,
    segment::{self, FileKind, Head, NoHead, number, small_number},
};

/// The length of what comes before the body.
const FACTS_BYTES: usize = 128;
const MAGIC: &[u8; 8] = b"hookridx";

/// What is known of a sealed segment without its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) head: Head,
    pub(super) log_bytes: u32,
    pub(super) events: u32,
    pub(super) dedup_entries: u32,
    pub(super) earliest: Timestamp,
    pub(super) latest: Timestamp,
    body_bytes: u64,
    body_checksum: u64,
}

impl Facts {
    /// The last event's sequence.
    pub(super) fn last(&self) -> Sequence {
        Sequence(self.head.first.0 + u64::from(self.events)).previous()
    }

    /// Reads what the segment's index file begins with; `None` where that is
    /// damaged, cut short or not there.
    pub(super) fn load(
        journal: &Path,
        first: Sequence,
    ) -> io::Result<Option<Result<Self, NoHead>>> {
        let mut bytes = [0; FACTS_BYTES];
        let file = match File::open(segment::path(journal, first, FileKind::Index)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Some(Err(NoHead::Damaged)));
            }
            Err(e) => return Err(e),
        }
        let facts = Self::decode(&bytes).filter(|facts| match facts {
            Ok(facts) => facts.head.first == first,
            Err(_) => true,
        });
        Ok(Some(facts.unwrap_or(Err(NoHead::Damaged))))
    }

    fn decode(bytes: &[u8; FACTS_BYTES]) -> Option<Result<Self, NoHead>> {
        let head = match Head::decode(&bytes[..segment::HEAD_BYTES]) {
            Ok(head) => head,
            Err(no_head) => return Some(Err(no_head)),
        };
        let checksum = number(bytes, 120)?;
        let is_index = &bytes[64..72] == MAGIC && xxh3_64(&bytes[..120]) == checksum;
        is_index.then_some(Ok(Self {
            head,
            log_bytes: small_number(bytes, 72)?,
            events: small_number(bytes, 76)?,
            dedup_entries: small_number(bytes, 80)?,
            earliest: Timestamp::from_unix_ms(number(bytes, 88)?),
            latest: Timestamp::from_unix_ms(number(bytes, 96)?),
            body_bytes: number(bytes, 104)?,
            body_checksum: number(bytes, 112)?,
        }))
    }
}

/// The bytes of a segment's index file.
pub(super) fn encode(head: &Head, index: &Index, dedup_entries: usize) -> (Facts, Vec<u8>) {
    let mut out = vec![0; FACTS_BYTES];
    put_body(index, &mut out);
    let body = &out[FACTS_BYTES..];
    let (earliest, latest) = index.arrivals.unwrap_or_default();
    let facts = Facts {
        head: *head,
        log_bytes: index.end,
        events: index.events(),
        // No more than there are events.
        dedup_entries: dedup_entries as u32,
        earliest,
        latest,
        body_bytes: body.len() as u64,
        body_checksum: xxh3_64(body),
    };
    let mut begin = Vec::with_capacity(FACTS_BYTES);
    begin.put_slice(&head.encode());
    begin.put_slice(MAGIC);
    begin.put_u32_le(facts.log_bytes);
    begin.put_u32_le(facts.events);
    begin.put_u32_le(facts.dedup_entries);
    begin.put_u32_le(0);
    begin.put_u64_le(earliest.unix_ms());
    begin.put_u64_le(latest.unix_ms());
    begin.put_u64_le(facts.body_bytes);
    begin.put_u64_le(facts.body_checksum);
    begin.put_u64_le(xxh3_64(&begin));
    out[..FACTS_BYTES].copy_from_slice(&begin);
    (facts, out)
}

fn put_body(index: &Index, out: &mut Vec<u8>) {
    index
        .offsets
        .iter()
        .for_each(|&offset| out.put_u32_le(offset));
    index.types.iter().for_each(|&place| out.put_u32_le(place));
    out.put_u32_le(index.type_names.len() as u32);
    index.type_names.iter().for_each(|name| put_text(out, name));
    let mut topics: Vec<_> = index.topics.iter().collect();
    topics.sort_unstable();
    out.put_u32_le(topics.len() as u32);
    for (name, numbers) in topics {
        put_text(out, name);
        out.put_u32_le(numbers.len() as u32);
        numbers.iter().for_each(|&number| out.put_u32_le(number));
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u32_le(text.len() as u32);
    out.put_slice(text.as_bytes());
}

/// The index that the file of these facts holds; `None` where it is damaged.
pub(super) fn decode(facts: &Facts, file: &[u8]) -> Option<Index> {
    take_body(facts, body(facts, file)?)
}

fn body<'a>(facts: &Facts, file: &'a [u8]) -> Option<&'a [u8]> {
    let body = file.get(FACTS_BYTES..)?;
    let is_whole = body.len() as u64 == facts.body_bytes && xxh3_64(body) == facts.body_checksum;
    is_whole.then_some(body)
}

/// Where records begin, and the topics as they stand in the file, of which an
/// index is not made: whoever goes through all segments looks at each once.
pub(super) fn catalogue<'a>(facts: &Facts, file: &'a [u8]) -> Option<(Index, Catalogue<'a>)> {
    let mut body = body(facts, file)?;
    let mut index = Index::new(facts.head.first, facts.log_bytes);
    index.offsets = take_numbers(&mut body, facts.events)?;
    take_chunks(&mut body, facts.events)?;
    for _ in 0..body.try_get_u32_le().ok()? {
        take_text(&mut body)?;
    }
    let left = body.try_get_u32_le().ok()?;
    Some((index, Catalogue { rest: body, left }))
}

/// The topics of an index file, in the order of their names, with the numbers
/// of their events.
pub(super) struct Catalogue<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Iterator for Catalogue<'a> {
    type Item = (&'a str, &'a [[u8; 4]]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = take_text(&mut self.rest)?;
        let count = self.rest.try_get_u32_le().ok()?;
        Some((name, take_chunks(&mut self.rest, count)?))
    }
}

fn take_body(facts: &Facts, mut body: &[u8]) -> Option<Index> {
    let mut index = Index::new(facts.head.first, facts.log_bytes);
    index.offsets = take_numbers(&mut body, facts.events)?;
    index.types = take_numbers(&mut body, facts.events)?;
    for _ in 0..body.try_get_u32_le().ok()? {
        index.type_names.push(take_text(&mut body)?.into());
    }
    let topics = body.try_get_u32_le().ok()?;
    // A topic takes more bytes than one, so a wild number takes no memory.
    index.topics = HashMap::with_capacity(body.len().min(topics as usize));
    for _ in 0..topics {
        let name = take_text(&mut body)?;
        let count = body.try_get_u32_le().ok()?;
        let numbers = take_numbers(&mut body, count)?;
        index.topics.insert(name.into(), numbers);
    }
    index.arrivals = Some((facts.earliest, facts.latest));
    index.weigh();
    body.is_empty().then_some(index)
}

fn take_numbers(body: &mut &[u8], count: u32) -> Option<Vec<u32>> {
    let numbers = take_chunks(body, count)?;
    Some(numbers.iter().map(|&n| u32::from_le_bytes(n)).collect())
}

fn take_chunks<'a>(body: &mut &'a [u8], count: u32) -> Option<&'a [[u8; 4]]> {
    let len = (count as usize).checked_mul(4)?;
    let (numbers, rest) = body.split_at_checked(len)?;
    *body = rest;
    Some(numbers.as_chunks().0)
}

fn take_text<'a>(body: &mut &'a [u8]) -> Option<&'a str> {
    let len = usize::try_from(body.try_get_u32_le().ok()?).ok()?;
    let (text, rest) = body.split_at_checked(len)?;
    *body = rest;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hookrill_core::Topic;

    fn index() -> Index {
        let mut index = Index::new(Sequence(4), 64);
        for (number, name) in ["a.b", "a", "c"].into_iter().enumerate() {
            let topic: Topic = name.parse().unwrap();
            let at = Timestamp::from_unix_ms(50 - number as u64);
            let event_type = ["x", "y", "x"][number];
            index.add(100 + number as u32, &topic, event_type, at);
        }
        index.end = 200;
        index
    }

    fn head() -> Head {
        Head {
            epoch: "e".parse().unwrap(),
            start: Sequence::ZERO,
            first: Sequence(4),
            salt: 1,
        }
    }

    fn load(bytes: &[u8]) -> Option<Index> {
        let facts = Facts::decode(bytes.first_chunk()?)?.ok()?;
        decode(&facts, bytes)
    }

    #[test]
    fn an_index_comes_back_as_it_was_written() {
        let written = index();
        let (facts, bytes) = encode(&head(), &written, 2);
        assert_eq!(Facts::decode(bytes.first_chunk().unwrap()), Some(Ok(facts)));
        assert_eq!((facts.last(), facts.dedup_entries), (Sequence(6), 2));
        let read = load(&bytes).unwrap();
        assert_eq!(read.topics, written.topics);
        assert_eq!(read.topics["a"], [0, 1]);
        assert_eq!(read.arrivals, written.arrivals);
        let types: Vec<_> = (0..3).map(|number| read.event_type(number)).collect();
        assert_eq!(types, ["x", "y", "x"]);
        let offsets: Vec<_> = (0..4).map(|number| read.offset(number)).collect();
        assert_eq!(offsets, [100, 101, 102, 200]);
        assert_eq!(read.last(), Sequence(6));
        let (index, catalogue) = catalogue(&facts, &bytes).unwrap();
        assert_eq!((index.offsets, index.end), (written.offsets, written.end));
        let topics = catalogue.map(|(name, numbers)| {
            let numbers = numbers.iter().map(|&n| u32::from_le_bytes(n));
            (name.into(), numbers.collect())
        });
        let topics: Vec<(Box<str>, Vec<u32>)> = topics.collect();
        assert!(topics.is_sorted());
        assert_eq!(
            topics.into_iter().collect::<HashMap<_, _>>(),
            written.topics
        );
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let (_, whole) = encode(&head(), &index(), 2);
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            assert!(load(&flipped).is_none(), "byte {at} flipped");
            assert!(load(&whole[..at]).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn the_form_is_pinned_to_the_byte() {
        let (_, bytes) = encode(&head(), &index(), 2);
        let hex = data_encoding::HEXLOWER.encode(&bytes[64..]);
        assert_eq!(
            hex,
            "686f6f6b72696478c8000000030000000200000000000000300000000000000032000000\
             0000000057000000000000000a25bb704475d2047df539600ef0d4106400000065000000\
             660000000000000001000000000000000200000001000000780100000079030000000100\
             00006102000000000000000100000003000000612e620100000000000000010000006301\
             00000002000000"
        );
    }
}
