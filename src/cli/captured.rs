//! A whole request as it was captured: request line, headers, body.
//!
//! Takes what `nc`, proxies and request bins write, with CRLF or LF at the ends of
//! lines, and HTTP/2 written in the form of HTTP/1.1. Invariant: the body is what
//! came, but for what an editor adds at its end, which `Content-Length` does not
//! count, and for chunks, which are joined.

use anyhow::{Context as _, anyhow};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

/// The most headers that are read.
const HEADERS_MAX: usize = 256;

/// A request that was captured.
#[derive(Debug)]
pub(super) struct CapturedRequest {
    pub(super) method: Method,
    /// The path with the query.
    pub(super) target: String,
    /// What stands in front of the path, where the whole URL was captured.
    pub(super) origin: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// What is strange about the capture.
    pub(super) notes: Vec<String>,
}

/// Reads a request.
///
/// # Errors
///
/// What is missing of one, or what is bad in it.
pub(super) fn parse(bytes: &[u8]) -> anyhow::Result<CapturedRequest> {
    // Empty lines in front of a request are passed over (RFC 9112, 2.2).
    let blank = bytes.iter().take_while(|byte| b"\r\n".contains(byte));
    let bytes = &bytes[blank.count()..];
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
    let (method, url) = request_line(line.trim_ascii_end())?;
    let (headers, body) = split_headers(rest)?;
    let (origin, target) = split_url(url);
    let mut notes = Vec::new();
    let body = unframed(&headers, body, &mut notes)?;
    Ok(CapturedRequest {
        method,
        target: target.to_owned(),
        origin: origin.map(str::to_owned),
        headers,
        body,
        notes,
    })
}

fn request_line(line: &[u8]) -> anyhow::Result<(Method, &str)> {
    const FORM: &str = "it must begin with a request line such as 'POST /ingest/orders HTTP/1.1', then headers, \
         an empty line, and the body";
    let line = std::str::from_utf8(line).map_err(|_| anyhow!(FORM))?;
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(url)) = (words.next(), words.next()) else {
        return Err(anyhow!(FORM));
    };
    let is_version = words.next().is_none_or(|word| word.starts_with("HTTP/"));
    let is_target = url.starts_with('/') || url.contains("://");
    if !is_version || !is_target || words.next().is_some() {
        return Err(anyhow!(FORM));
    }
    Ok((method.parse().map_err(|_| anyhow!(FORM))?, url))
}

fn split_headers(rest: &[u8]) -> anyhow::Result<(HeaderMap, &[u8])> {
    // A request without a body may have been captured without the empty line.
    let closed = [rest, b"\n\n"].concat();
    let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let parsed = httparse::parse_headers(&closed, &mut slots).context("a header can't be read")?;
    let httparse::Status::Complete((bytes, found)) = parsed else {
        return Err(anyhow!("the headers do not end"));
    };
    let mut headers = HeaderMap::new();
    for header in found {
        // Names of HTTP/2 that are no headers, as some tools write them.
        if header.name.is_empty() {
            continue;
        }
        let name = HeaderName::from_bytes(header.name.as_bytes())?;
        let value = HeaderValue::from_bytes(header.value)
            .with_context(|| format!("the value of {name} can't be that of a header"))?;
        headers.append(name, value);
    }
    Ok((headers, rest.get(bytes..).unwrap_or_default()))
}

/// Splits an absolute URL in front of its path.
fn split_url(url: &str) -> (Option<&str>, &str) {
    let Some((scheme, rest)) = url.split_once("://").filter(|_| !url.starts_with('/')) else {
        return (None, url);
    };
    let authority = rest.find(['/', '?']).unwrap_or(rest.len());
    let (origin, target) = url.split_at(scheme.len() + "://".len() + authority);
    (Some(origin), if target.is_empty() { "/" } else { target })
}

fn unframed(headers: &HeaderMap, body: &[u8], notes: &mut Vec<String>) -> anyhow::Result<Vec<u8>> {
    let coding = headers.get(TRANSFER_ENCODING);
    if coding.is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        // Some tools join the chunks and leave the header.
        return Ok(match joined_chunks(body) {
            Some(joined) => joined,
            None => {
                notes.push("the body is taken as it stands: it has no chunks".to_owned());
                body.to_vec()
            }
        });
    }
    let Some(length) = headers.get(CONTENT_LENGTH) else {
        return Ok(body.to_vec());
    };
    let length = length.to_str().ok().and_then(|text| text.parse().ok());
    let length: usize = length.context("Content-Length is not a number")?;
    match body.get(..length) {
        Some(whole) if body[length..].trim_ascii().is_empty() => Ok(whole.to_vec()),
        Some(_) => {
            notes.push(format!(
                "the body has {} bytes and Content-Length says {length}: was it changed?",
                body.len()
            ));
            Ok(body.to_vec())
        }
        None => {
            notes.push(format!(
                "the body has {} bytes and Content-Length says {length}: it was cut, or its line \
                 ends were changed",
                body.len()
            ));
            Ok(body.to_vec())
        }
    }
}

/// The body that was sent in chunks (RFC 9112, 7.1); `None` where these are none.
fn joined_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let httparse::Status::Complete((start, length)) = httparse::parse_chunk_size(rest).ok()?
        else {
            return None;
        };
        let length = usize::try_from(length).ok()?;
        let chunk = rest.get(start..start.checked_add(length)?)?;
        if chunk.is_empty() {
            return Some(body);
        }
        body.extend_from_slice(chunk);
        rest = &rest[start + length..];
        rest = rest
            .strip_prefix(b"\r\n")
            .or_else(|| rest.strip_prefix(b"\n"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> CapturedRequest {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_request_is_read_with_either_line_end_and_with_or_without_its_origin() {
        for text in [
            "POST /ingest/a?b=1 HTTP/1.1\r\nHost: x\r\nX-Sig:  v \r\nX-Sig: w\r\n\r\n{\r\n}\n",
            "POST /ingest/a?b=1 HTTP/2\nhost: x\nx-sig: v\nx-sig: w\n\n{\r\n}\n",
            "\r\nPOST https://x.example/ingest/a?b=1\nHost: x\nX-Sig: v\nX-Sig: w\n\n{\r\n}\n",
        ] {
            let request = parsed(text);
            assert_eq!(request.method, Method::POST, "{text}");
            assert_eq!(request.target, "/ingest/a?b=1", "{text}");
            let values: Vec<_> = request.headers.get_all("x-sig").iter().collect();
            assert_eq!(values, ["v", "w"], "{text}");
            assert_eq!(request.body, b"{\r\n}\n", "{text}");
            let origin = text.contains("https").then_some("https://x.example");
            assert_eq!(request.origin.as_deref(), origin);
        }
        let bare = parsed("GET /ingest/a HTTP/1.1\nHost: x");
        assert_eq!((bare.headers.len(), bare.body.len()), (1, 0));
        assert_eq!(parsed("GET https://a.example HTTP/1.1\n\n").target, "/");
    }

    #[test]
    fn what_an_editor_adds_behind_the_body_does_not_count() {
        let with = |body: &str| parsed(&format!("POST / HTTP/1.1\nContent-Length: 3\n\n{body}"));
        assert_eq!(with("abc").body, b"abc");
        assert_eq!(with("abc\n").body, b"abc");
        assert!(with("abc\r\n\n").notes.is_empty());
        let changed = with("abcd");
        assert_eq!(changed.body, b"abcd");
        assert!(changed.notes[0].contains("has 4 bytes and Content-Length says 3"));
        assert!(with("ab").notes[0].contains("it was cut"));
    }

    #[test]
    fn chunks_are_joined_and_a_body_without_any_is_left_as_it_is() {
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let with = |body: &str| parsed(&format!("{head}{body}"));
        let chunked = with("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n");
        assert_eq!(chunked.body, b"abcde");
        let joined = with("{\"a\":1}");
        assert_eq!(joined.body, b"{\"a\":1}");
        assert_eq!(joined.notes.len(), 1);
    }

    #[test]
    fn what_is_no_request_is_told_the_form_of_one() {
        for text in [
            "",
            "{\"a\":1}",
            "POST",
            "HTTP/1.1 200 OK\n\n",
            "POST a HTTP/1.1\n\n",
            "a /b c\n",
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(
                error.contains("must begin with a request line"),
                "{text}: {error}"
            );
        }
        assert!(parse(b"POST / HTTP/1.1\nno colon\n\n").is_err());
    }
}
