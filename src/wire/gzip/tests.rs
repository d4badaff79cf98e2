//! Blocks in any order, read back by somebody else's inflate.

use flate2::{
    Decompress, FlushDecompress,
    read::{GzDecoder, MultiGzDecoder},
};
use proptest::prelude::*;

use super::*;

/// A text of some kind.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let repetitive = (any::<u8>(), 0..70_000_usize).prop_map(|(byte, len)| vec![byte; len]);
    prop_oneof![
        Just(Vec::new()),
        any::<u8>().prop_map(|byte| vec![byte]),
        "id: a-[0-9]{1,9}\ndata: (\\{\"key\":\"[a-z]{0,9}\"\\}){0,50}\n\n".prop_map(String::into),
        proptest::collection::vec(any::<u8>(), 0..300),
        repetitive,
        (any::<u64>(), 0..140_000_usize).prop_map(|(seed, len)| noise(seed, len)),
    ]
}

/// What no one can compress.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

fn stream(blocks: &[&Block], end: bool) -> Vec<u8> {
    let mut stream = HEAD.to_vec();
    let mut trailer = Trailer::default();
    for block in blocks {
        stream.extend_from_slice(&block.bytes);
        trailer.add(block.sum);
    }
    if end {
        stream.extend_from_slice(&trailer.finish());
    }
    stream
}

/// All that inflating yields before the end or an error.
fn read_to_end(mut reader: impl std::io::Read) -> (Vec<u8>, bool) {
    let mut plain = Vec::new();
    let ended = reader.read_to_end(&mut plain).is_ok();
    (plain, ended)
}

fn crc_of(plain: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(plain);
    crc.sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn blocks_in_any_order_are_one_gzip_stream(
        texts in proptest::collection::vec(text(), 1..6),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let blocks: Vec<Block> = texts.iter().map(|text| block(text)).collect();
        let order: Vec<usize> = order.iter().map(|at| at.index(texts.len())).collect();
        let sent: Vec<&Block> = order.iter().map(|&at| &blocks[at]).collect();
        let plain = order.iter().map(|&at| texts[at].as_slice()).collect::<Vec<_>>().concat();

        let whole = stream(&sent, true);
        prop_assert_eq!(read_to_end(GzDecoder::new(&whole[..])), (plain.clone(), true));
        prop_assert_eq!(read_to_end(MultiGzDecoder::new(&whole[..])), (plain.clone(), true));
        let end = &whole[whole.len() - 8..];
        prop_assert_eq!(&end[..4], &crc_of(&plain).to_le_bytes()[..]);
        prop_assert_eq!(&end[4..], &(plain.len() as u32).to_le_bytes()[..]);

        let cut_off = stream(&sent, false);
        prop_assert_eq!(read_to_end(GzDecoder::new(&cut_off[..])), (plain, false));
    }

    #[test]
    fn a_block_yields_all_of_its_text_at_once(
        texts in proptest::collection::vec(text(), 1..6),
    ) {
        let mut inflater = Decompress::new(false);
        for text in &texts {
            let block = block(text);
            prop_assert_eq!(block.bytes.is_empty(), text.is_empty());
            let mut out = Vec::with_capacity(text.len() + 1);
            if !text.is_empty() {
                inflater
                    .decompress_vec(&block.bytes, &mut out, FlushDecompress::Sync)
                    .unwrap();
            }
            prop_assert_eq!(&out, text);
        }
    }

    /// Go's inflate keeps what it has until then, and so does every proxy that
    /// inflates with it.
    #[test]
    fn a_block_ends_as_a_sync_flush_does(text in text()) {
        let block = block(&text);
        prop_assert!(text.is_empty() || block.bytes.ends_with(&[0, 0, 0xff, 0xff]));
    }

    #[test]
    fn a_block_is_hardly_longer_than_its_text(text in text()) {
        let block = block(&text);
        prop_assert!(block.bytes.len() <= text.len() + 5 * (text.len().div_ceil(65_535) + 1));
        prop_assert_eq!((block.sum.crc, block.sum.len as usize), (crc_of(&text), text.len()));
    }

    #[test]
    fn the_product_is_that_of_polynomials(a: u32, b: u32, c: u32) {
        prop_assert_eq!(product(a, b), product(b, a));
        prop_assert_eq!(product(a, product(b, c)), product(product(a, b), c));
        prop_assert_eq!(product(a, b ^ c), product(a, b) ^ product(a, c));
        prop_assert_eq!(product(a, ONE), a);
    }

    #[test]
    fn powers_add_up(m in 0..u64::from(u32::MAX), n in 0..u64::from(u32::MAX)) {
        prop_assert_eq!(x_to_the_8(m + n), product(x_to_the_8(m), x_to_the_8(n)));
    }
}

#[test]
fn nothing_but_the_length_is_needed_for_gigabytes() {
    // x has the order 2³² - 1, so that many zero bytes move nothing.
    assert_eq!(x_to_the_8(u64::from(u32::MAX)), ONE);
    assert_eq!(x_to_the_8(1 << 32), x_to_the_8(1));
    let mut trailer = Trailer {
        crc: 7,
        len: u32::MAX,
    };
    trailer.add(block(b"ab").sum);
    assert_eq!(trailer.len, 1);
}

#[test]
fn an_empty_stream_is_gzip_of_nothing() {
    let empty = stream(&[], true);
    let hex = data_encoding::HEXLOWER.encode(&empty);
    assert_eq!(hex, "1f8b08000000000000ff010000ffff0000000000000000");
    assert_eq!(read_to_end(GzDecoder::new(&empty[..])), (Vec::new(), true));
}

#[test]
fn what_repeats_gets_shorter_and_noise_is_stored() {
    let json = br#"{"action":"opened","actor":{"login":"octocat","type":"User"}}"#.repeat(20);
    assert!(block(&json).bytes.len() < json.len() / 5);
    for len in [1, 31, 1_000, 65_535, 65_536, 200_000] {
        let noise = noise(1, len);
        let expected = len + 5 * (len.div_ceil(65_535) + 1);
        assert_eq!(block(&noise).bytes.len(), expected, "{len}");
    }
}

#[test]
fn the_same_text_is_the_same_block_whatever_came_before() {
    let text = b"data: {\"a\":\"bbbbbbbbbbbbbbbbbbbbbbbb\"}\n\n".repeat(9);
    let first = block(&text).bytes;
    _ = block(&noise(1, 500_000));
    assert_eq!(block(&text).bytes, first);
    let elsewhere = std::thread::spawn(move || block(&text).bytes);
    assert_eq!(elsewhere.join().unwrap(), first);
}
