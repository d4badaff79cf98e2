//! The reader, by the examples of the standard, and compared with a slow one that
//! splits the whole stream at once.

use proptest::prelude::*;

use super::*;

type Owned = [String; 3];

fn owned(event: SseEvent<'_>) -> Owned {
    [
        event.name().into_owned(),
        event.data().into_owned(),
        event.id().into_owned(),
    ]
}

fn read_with(mut reader: SseReader, pieces: &[&[u8]]) -> (Vec<Owned>, SseReader, bool) {
    let mut events = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match reader.next(&mut input) {
                Ok(Some(event)) => events.push(owned(event)),
                Ok(None) => break,
                Err(EventTooLong { .. }) => return (events, reader, true),
            }
        }
        assert!(input.is_empty(), "{input:?} was left");
    }
    (events, reader, false)
}

fn reader() -> SseReader {
    SseReader::new().with_last_id("before")
}

fn read(pieces: &[&[u8]]) -> Vec<Owned> {
    read_with(reader(), pieces).0
}

#[test]
fn a_stream_is_read_as_the_standard_says() {
    for (stream, expected) in [
        // The examples of the standard.
        (
            "data: YHOO\ndata: +2\ndata: 10\n\n",
            &[["message", "YHOO\n+2\n10", "before"]][..],
        ),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            &[
                ["message", "first event", "1"],
                ["message", "second event", ""],
                ["message", " third event", ""],
            ],
        ),
        (
            "data\n\ndata\ndata\n\ndata:",
            &[["message", "", "before"], ["message", "\n", "before"]],
        ),
        (
            "data:test\n\ndata: test\n\n",
            &[["message", "test", "before"], ["message", "test", "before"]],
        ),
        // Names, ids and line ends.
        (
            "event: a\ndata: 1\n\ndata: 2\n\n",
            &[["a", "1", "before"], ["message", "2", "before"]],
        ),
        ("event: a\nevent:b\ndata: 1\n\n", &[["b", "1", "before"]]),
        ("event: a\n\ndata: 2\n\n", &[["message", "2", "before"]]),
        (
            "data: 1\r\rdata: 2\r\n\r\ndata: 3\n\n",
            &[
                ["message", "1", "before"],
                ["message", "2", "before"],
                ["message", "3", "before"],
            ],
        ),
        (
            "data: 1\r\ndata: 2\r\n\r\n",
            &[["message", "1\n2", "before"]],
        ),
        ("id: 1\0\ndata: x\n\n", &[["message", "x", "before"]]),
        ("id: 7\n\ndata: x\n\n", &[["message", "x", "7"]]),
        (
            "id: 7\ndata: x\n\nid: 8\0\ndata: y\n\n",
            &[["message", "x", "7"], ["message", "y", "7"]],
        ),
        (
            "event:hookrill.cursor\nid:e-7\ndata:{}\n\n",
            &[["hookrill.cursor", "{}", "e-7"]],
        ),
        (
            "\u{feff}data: x\n\n\u{feff}data: y\n\n",
            &[["message", "x", "before"]],
        ),
        ("\n\u{feff}data: x\n\n", &[]),
        ("datax: 1\nDATA: 1\n data: 1\n:data: 1\n\n", &[]),
        ("data: a:b: c\n\n", &[["message", "a:b: c", "before"]]),
        ("data: é😀\n\n", &[["message", "é😀", "before"]]),
        // What did not end was never there.
        ("data: x\n", &[]),
        ("data: x", &[]),
    ] {
        is_read_however_it_is_split(stream, expected);
    }
}

fn is_read_however_it_is_split(stream: &str, events: &[[&str; 3]]) {
    let expected: Vec<_> = events
        .iter()
        .map(|event| event.map(str::to_owned))
        .collect();
    assert_eq!(read(&[stream.as_bytes()]), expected, "{stream:?}");
    let bytes: Vec<_> = stream.as_bytes().chunks(1).collect();
    assert_eq!(read(&bytes), expected, "{stream:?}, byte by byte");
    for at in 0..=stream.len() {
        let (head, tail) = stream.as_bytes().split_at(at);
        assert_eq!(read(&[head, &[], tail]), expected, "{stream:?} at {at}");
    }
}

#[test]
fn an_id_counts_once_its_block_has_ended() {
    for (stream, expected) in [
        ("id: 1\n\n", "1"),
        ("id: 1\ndata: x\n\nid: 2\ndata: y\n", "1"),
        ("id: 1\n\nid\n\n", ""),
        (": nothing\n\n", "before"),
    ] {
        let (_, reader, _) = read_with(reader(), &[stream.as_bytes()]);
        assert_eq!(reader.last_id(), expected, "{stream:?}");
    }
}

#[test]
fn retry_is_taken_if_it_is_a_number() {
    let ms = |ms| Some(Duration::from_millis(ms));
    for (stream, expected) in [
        ("retry: 1500\n", ms(1500)),
        ("retry:7\nretry: x\nretry:\nretry: -1\nretry: 1s\n", ms(7)),
        ("retry: 99999999999999999999999\n", None),
        ("", None),
    ] {
        let (_, reader, _) = read_with(reader(), &[stream.as_bytes()]);
        assert_eq!(reader.retry(), expected, "{stream:?}");
    }
}

#[test]
fn an_endless_event_is_an_error_and_stays_one() {
    for (bytes, has_end) in [
        (&b"x"[..], false),
        (b": comment ", false),
        (b"data:x\n", false),
        (b"data:x\r", false),
        (b"data:x\n\n", true),
        (b": a comment is not kept\n", true),
        (b"event: a\nid: 1\n", true),
    ] {
        let pieces = vec![bytes; 200];
        let limited = reader().with_event_bytes_max(100);
        let (events, mut limited, failed) = read_with(limited, &pieces);
        assert_eq!(failed, !has_end, "{bytes:?}");
        if failed {
            assert!(events.is_empty(), "{events:?}");
            assert!(limited.next(&mut &b"\n\ndata: x\n\n"[..]).is_err());
        }
    }
}

#[test]
fn what_is_whole_in_the_input_is_not_copied() {
    let input = b"id: 1\nevent: a\ndata: the body\n\n".as_slice();
    let mut rest = input;
    let mut reader = SseReader::new();
    let event = reader.next(&mut rest).unwrap().unwrap();
    assert!(input.as_ptr_range().contains(&event.data_bytes().as_ptr()));
}

#[test]
fn a_long_event_leaves_no_buffer_behind() {
    let mut reader = SseReader::new();
    let long = format!("data: {}", "x".repeat(1 << 20));
    assert!(reader.next(&mut long.as_bytes()).unwrap().is_none());
    assert!(reader.next(&mut &b"y\n\n"[..]).unwrap().is_some());
    assert!(reader.next(&mut &b""[..]).unwrap().is_none());
    assert!(reader.data.capacity() + reader.line.capacity() <= 2 * BUFFER_BYTES_KEPT);
}

/// Reads a whole stream the way that the standard describes it, at any cost.
fn by_the_book(stream: &[u8]) -> (Vec<Owned>, Option<Duration>) {
    let text = String::from_utf8_lossy(stream);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let unified = text.replace("\r\n", "\n").replace('\r', "\n");
    let Some((ended, _)) = unified.rsplit_once('\n') else {
        return (Vec::new(), None);
    };
    let (mut name, mut data, mut id) = (String::new(), String::new(), "before".to_owned());
    let (mut events, mut retry) = (Vec::new(), None);
    for line in ended.split('\n') {
        if line.is_empty() {
            let taken = (std::mem::take(&mut name), std::mem::take(&mut data));
            if let (named, Some(joined)) = (taken.0, taken.1.strip_suffix('\n')) {
                let named = if named.is_empty() {
                    "message".to_owned()
                } else {
                    named
                };
                events.push([named, joined.to_owned(), id.clone()]);
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.to_owned(),
            "data" => data = data + value + "\n",
            "id" if !value.contains('\0') => id = value.to_owned(),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                retry = value.parse().ok().map(Duration::from_millis).or(retry);
            }
            _ => {}
        }
    }
    (events, retry)
}

fn streams() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::sample::select(vec![
        &b"data"[..],
        b"data: ",
        b"data:",
        b"event: ",
        b"id: ",
        b"id",
        b"retry: ",
        b":",
        b" ",
        b"\n",
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\n",
        b"\r\n\r\n",
        b"7",
        b"x",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xef\xbb",
        b"\xf0\x9f\x98\x80",
        b"\xff",
        b"\xc3\xa9",
    ]);
    prop::collection::vec(parts, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_stream_in_any_pieces_reads_as_the_book_says(
        stream in streams(),
        lengths in prop::collection::vec(1..12_usize, 1..20),
    ) {
        let mut rest = stream.as_slice();
        let mut pieces = Vec::new();
        for length in lengths.iter().cycle() {
            if rest.is_empty() { break }
            let (piece, after) = rest.split_at(rest.len().min(*length));
            pieces.push(piece);
            rest = after;
        }
        let (events, retry) = by_the_book(&stream);
        let (split, reader, _) = read_with(reader(), &pieces);
        prop_assert_eq!(&split, &events);
        prop_assert_eq!(reader.retry(), retry);
        prop_assert_eq!(&read(&[&stream]), &events);
    }

    #[test]
    fn the_limit_is_met_at_the_same_event_in_any_pieces(
        stream in streams(),
        at in 0..200_usize,
        event_bytes_max in 0..30_usize,
    ) {
        let limited = || reader().with_event_bytes_max(event_bytes_max);
        let (head, tail) = stream.split_at(at.min(stream.len()));
        let (whole, _, failed) = read_with(limited(), &[&stream]);
        let (split, _, split_failed) = read_with(limited(), &[head, tail]);
        prop_assert_eq!(whole, split);
        prop_assert_eq!(failed, split_failed);
    }
}
