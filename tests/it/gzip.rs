//! gzip itself reads what Hookrill compresses.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use hookrill::wire::gzip::{HEAD, Trailer, block};

#[test]
fn gzip_reads_blocks_in_any_order() {
    let long = "data: {\"key\":\"value\"}\n\n".repeat(4_000);
    let texts = ["id: a-1\ndata: {}\n\n", "", &long, "x", &long];
    let mut sent = HEAD.to_vec();
    let mut trailer = Trailer::default();
    for text in texts {
        let block = block(text.as_bytes());
        sent.extend_from_slice(&block.bytes);
        trailer.add(block.sum);
    }
    sent.extend_from_slice(&trailer.finish());
    assert!(sent.len() < 5_000);

    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Far less than a pipe holds, so that nobody waits for anybody.
    gzip.stdin.take().unwrap().write_all(&sent).unwrap();
    let read = gzip.wait_with_output().unwrap();
    assert!(read.status.success(), "gzip finds the stream damaged");
    assert_eq!(read.stdout, texts.concat().into_bytes());
}
