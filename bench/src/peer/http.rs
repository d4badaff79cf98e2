//! As much of HTTP/1.1 as the floor needs: one request, its path and body.

use memchr::memmem;

/// A request that came whole.
pub(super) struct ParsedRequest<'r> {
    pub(super) path: &'r str,
    pub(super) body: &'r [u8],
    /// How many bytes it took.
    pub(super) bytes: usize,
}

/// The request that `input` begins with, once it is there.
pub(super) fn request(input: &[u8]) -> Option<ParsedRequest<'_>> {
    let end = memmem::find(input, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&input[..end]).ok()?;
    let path = head.split(' ').nth(1)?;
    let lengths = head.split("\r\n").filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let bytes = end + lengths.last().unwrap_or(0);
    let body = input.get(end..bytes)?;
    Some(ParsedRequest { path, body, bytes })
}
