//! The file of a sealed segment's index.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 64 | the log's header, to the byte (`segment.rs`) |
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
//! how many they are (4 bytes); a name is its length (4 bytes) and its text; a
//! topic is a name, the number of its events (4 bytes) and their ordinals (4
//! bytes each). Topics are in the order of their names. All numbers are
//! little-endian.
//!
//! Invariant: bytes that do not have their checksums, or are not in order, are
//! not an index; the index is then rebuilt from the log.

use std::{collections::HashMap, fs::File, io, os::unix::fs::FileExt as _, path::Path};

use bytes::{Buf as _, BufMut as _};
use hookrill_core::{Sequence, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    index::Index,
    segment::{self, FileKind, HeaderError, SegmentHeader, u32_at, u64_at},
};

/// The length of what comes before the body.
const HEADER_BYTES: usize = 128;
const MAGIC: &[u8; 8] = b"hookridx";

/// What is known of a sealed segment without its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexHeader {
    /// The header of the segment's log.
    pub(super) segment: SegmentHeader,
    pub(super) log_bytes: u32,
    pub(super) events: u32,
    pub(super) dedup_entries: u32,
    pub(super) earliest: Timestamp,
    pub(super) latest: Timestamp,
    body_bytes: u64,
    body_checksum: u64,
}

impl IndexHeader {
    /// The last event's sequence.
    pub(super) fn last(&self) -> Sequence {
        Sequence(self.segment.first.0 + u64::from(self.events)).previous()
    }

    /// Reads the header of a segment's index file; `None` if there is no such
    /// file.
    pub(super) fn load(
        journal: &Path,
        first: Sequence,
    ) -> io::Result<Option<Result<Self, HeaderError>>> {
        let mut bytes = [0; HEADER_BYTES];
        let file = match File::open(segment::path(journal, first, FileKind::Index)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Some(Err(HeaderError::Damaged)));
            }
            Err(e) => return Err(e),
        }
        Ok(Some(match Self::decode(&bytes) {
            Ok(header) if header.segment.first != first => Err(HeaderError::Damaged),
            decoded => decoded,
        }))
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderError> {
        let segment = SegmentHeader::decode(&bytes[..segment::HEADER_BYTES])?;
        Self::decode_rest(segment, bytes).ok_or(HeaderError::Damaged)
    }

    fn decode_rest(segment: SegmentHeader, bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let checksum = u64_at(bytes, 120)?;
        if &bytes[64..72] != MAGIC || xxh3_64(&bytes[..120]) != checksum {
            return None;
        }
        Some(Self {
            segment,
            log_bytes: u32_at(bytes, 72)?,
            events: u32_at(bytes, 76)?,
            dedup_entries: u32_at(bytes, 80)?,
            earliest: Timestamp::from_unix_ms(u64_at(bytes, 88)?),
            latest: Timestamp::from_unix_ms(u64_at(bytes, 96)?),
            body_bytes: u64_at(bytes, 104)?,
            body_checksum: u64_at(bytes, 112)?,
        })
    }

    /// The file's body, if it is whole.
    fn body<'f>(&self, file: &'f [u8]) -> Option<&'f [u8]> {
        let body = file.get(HEADER_BYTES..)?;
        let is_whole = body.len() as u64 == self.body_bytes && xxh3_64(body) == self.body_checksum;
        is_whole.then_some(body)
    }
}

/// The file of a segment's index, and its header.
pub(super) fn encode(
    segment: &SegmentHeader,
    index: &Index,
    dedup_entries: usize,
) -> (IndexHeader, Vec<u8>) {
    assert_eq!(segment.first, index.first, "an index is of its segment");
    debug_assert!(index.is_in_order(), "entries of an index rise");
    assert!(
        index.missing.is_empty(),
        "an index of a damaged log is not stored"
    );
    let mut out = vec![0; HEADER_BYTES];
    put_body(index, &mut out);
    let body = &out[HEADER_BYTES..];
    let (earliest, latest) = index.arrivals.unwrap_or_default();
    let header = IndexHeader {
        segment: *segment,
        log_bytes: index.end,
        events: index.events(),
        // No more than there are events.
        dedup_entries: dedup_entries as u32,
        earliest,
        latest,
        body_bytes: body.len() as u64,
        body_checksum: xxh3_64(body),
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.put_slice(&segment.encode());
    bytes.put_slice(MAGIC);
    bytes.put_u32_le(header.log_bytes);
    bytes.put_u32_le(header.events);
    bytes.put_u32_le(header.dedup_entries);
    bytes.put_u32_le(0);
    bytes.put_u64_le(earliest.unix_ms());
    bytes.put_u64_le(latest.unix_ms());
    bytes.put_u64_le(header.body_bytes);
    bytes.put_u64_le(header.body_checksum);
    bytes.put_u64_le(xxh3_64(&bytes));
    out[..HEADER_BYTES].copy_from_slice(&bytes);
    (header, out)
}

fn put_body(index: &Index, out: &mut Vec<u8>) {
    put_numbers(out, &index.offsets);
    put_numbers(out, &index.types);
    out.put_u32_le(index.type_names.len() as u32);
    for name in &index.type_names {
        put_text(out, name);
    }
    let mut topics: Vec<_> = index.topics.iter().collect();
    topics.sort_unstable();
    out.put_u32_le(topics.len() as u32);
    for (name, ordinals) in topics {
        put_text(out, name);
        out.put_u32_le(ordinals.len() as u32);
        put_numbers(out, ordinals);
    }
}

fn put_numbers(out: &mut Vec<u8>, numbers: &[u32]) {
    for &number in numbers {
        out.put_u32_le(number);
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u32_le(text.len() as u32);
    out.put_slice(text.as_bytes());
}

/// The index in the file with this header; `None` if it is damaged.
pub(super) fn decode(header: &IndexHeader, file: &[u8]) -> Option<Index> {
    let mut body = header.body(file)?;
    let mut index = Index::new(header.segment.first, header.log_bytes);
    index.offsets = take_numbers(&mut body, header.events)?;
    index.types = take_numbers(&mut body, header.events)?;
    for _ in 0..body.try_get_u32_le().ok()? {
        index.type_names.push(take_text(&mut body)?.into());
    }
    let topics = body.try_get_u32_le().ok()?;
    // A topic takes more than one byte, so a wild number takes no memory.
    index.topics = HashMap::with_capacity(body.len().min(topics as usize));
    for _ in 0..topics {
        let name = take_text(&mut body)?;
        let count = body.try_get_u32_le().ok()?;
        let ordinals = take_numbers(&mut body, count)?;
        index.topics.insert(name.into(), ordinals);
    }
    index.arrivals = Some((header.earliest, header.latest));
    index.compute_bytes();
    (body.is_empty() && index.is_in_order()).then_some(index)
}

/// Where records begin, and the topics as they are in the file, without making
/// an index of them: for who looks at each segment once.
pub(super) fn offsets_and_topics<'f>(
    header: &IndexHeader,
    file: &'f [u8],
) -> Option<(Index, TopicLists<'f>)> {
    let mut body = header.body(file)?;
    let mut index = Index::new(header.segment.first, header.log_bytes);
    index.offsets = take_numbers(&mut body, header.events)?;
    take_chunks(&mut body, header.events)?;
    for _ in 0..body.try_get_u32_le().ok()? {
        take_text(&mut body)?;
    }
    let left = body.try_get_u32_le().ok()?;
    let topics = TopicLists { rest: body, left };
    index.has_rising_offsets().then_some((index, topics))
}

/// The topics of an index file with the ordinals of their events, in the order
/// of their names.
pub(super) struct TopicLists<'f> {
    rest: &'f [u8],
    left: u32,
}

impl<'f> Iterator for TopicLists<'f> {
    type Item = (&'f str, &'f [[u8; 4]]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = take_text(&mut self.rest)?;
        let count = self.rest.try_get_u32_le().ok()?;
        Some((name, take_chunks(&mut self.rest, count)?))
    }
}

fn take_numbers(body: &mut &[u8], count: u32) -> Option<Vec<u32>> {
    let chunks = take_chunks(body, count)?;
    Some(chunks.iter().map(|&n| u32::from_le_bytes(n)).collect())
}

fn take_chunks<'f>(body: &mut &'f [u8], count: u32) -> Option<&'f [[u8; 4]]> {
    let len = (count as usize).checked_mul(4)?;
    let (chunks, rest) = body.split_at_checked(len)?;
    *body = rest;
    Some(chunks.as_chunks().0)
}

fn take_text<'f>(body: &mut &'f [u8]) -> Option<&'f str> {
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
        for (ordinal, name) in ["a.b", "a", "c"].into_iter().enumerate() {
            let topic: Topic = name.parse().unwrap();
            let at = Timestamp::from_unix_ms(50 - ordinal as u64);
            let event_type = ["x", "y", "x"][ordinal];
            index.add(100 + ordinal as u32, &topic, event_type, at);
        }
        index.end = 200;
        index
    }

    fn header() -> SegmentHeader {
        SegmentHeader {
            epoch: "e".parse().unwrap(),
            start: Sequence::ZERO,
            first: Sequence(4),
            salt: 1,
        }
    }

    fn load(bytes: &[u8]) -> Option<Index> {
        let header = IndexHeader::decode(bytes.first_chunk()?).ok()?;
        decode(&header, bytes)
    }

    #[test]
    fn an_index_comes_back_as_it_was_written() {
        let written = index();
        let (written_header, bytes) = encode(&header(), &written, 2);
        assert_eq!(
            IndexHeader::decode(bytes.first_chunk().unwrap()),
            Ok(written_header)
        );
        assert_eq!(
            (written_header.last(), written_header.dedup_entries),
            (Sequence(6), 2)
        );
        let read = load(&bytes).unwrap();
        assert_eq!(read.topics, written.topics);
        assert_eq!(read.topics["a"], [0, 1]);
        assert_eq!(read.arrivals, written.arrivals);
        let types: Vec<_> = (0..3).map(|ordinal| read.event_type(ordinal)).collect();
        assert_eq!(types, [Some("x"), Some("y"), Some("x")]);
        let offsets: Vec<_> = (0..4).map(|ordinal| read.offset(ordinal)).collect();
        assert_eq!(offsets, [100, 101, 102, 200]);
        assert_eq!(read.last(), Sequence(6));
        let (offsets_only, topic_lists) = offsets_and_topics(&written_header, &bytes).unwrap();
        assert_eq!(
            (offsets_only.offsets, offsets_only.end),
            (written.offsets, written.end)
        );
        let topics: Vec<(Box<str>, Vec<u32>)> = topic_lists
            .map(|(name, ordinals)| {
                let ordinals = ordinals.iter().map(|&n| u32::from_le_bytes(n));
                (name.into(), ordinals.collect())
            })
            .collect();
        assert!(topics.is_sorted());
        assert_eq!(
            topics.into_iter().collect::<HashMap<_, _>>(),
            written.topics
        );
    }

    #[test]
    fn an_index_that_is_out_of_order_is_refused_though_it_has_its_checksum() {
        let (_, whole) = encode(&header(), &index(), 2);
        // The second offset, the first type, and the second ordinal of topic `a`.
        let list = b"a\x02\0\0\0\0\0\0\0\x01";
        let list_at = whole.windows(list.len()).position(|found| found == list);
        let second_ordinal = list_at.unwrap() + list.len() - 1;
        for (at, wrong) in [
            (HEADER_BYTES + 4, 100),
            (HEADER_BYTES + 12, 2),
            (second_ordinal, 0),
            (second_ordinal, 3),
        ] {
            let mut bytes = whole.clone();
            bytes[at] = wrong;
            let body = xxh3_64(&bytes[HEADER_BYTES..]);
            bytes[112..120].copy_from_slice(&body.to_le_bytes());
            let checksum = xxh3_64(&bytes[..120]);
            bytes[120..128].copy_from_slice(&checksum.to_le_bytes());
            assert!(load(&bytes).is_none(), "{wrong} at {at}");
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let (_, whole) = encode(&header(), &index(), 2);
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            assert!(load(&flipped).is_none(), "byte {at} flipped");
            assert!(load(&whole[..at]).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn the_format_is_pinned_to_the_byte() {
        let (_, bytes) = encode(&header(), &index(), 2);
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
