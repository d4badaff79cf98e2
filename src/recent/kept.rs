//! What is kept of a request: a copy, within bounds.
//!
//! Copied out of the connection's buffers, which a short header would otherwise keep
//! alive. Invariants: a target has at most [`TARGET_BYTES_MAX`] bytes, the headers
//! [`HEADERS_BYTES_MAX`], a body [`BODY_BYTES_KEPT_MAX`], and where that is not all of
//! it, it says so.

use std::sync::Arc;

use bytes::Bytes;
use hookrill_core::Timestamp;
use hookrill_verify::{Confidential, Delivery};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// How much of a body is kept, in bytes.
pub const BODY_BYTES_KEPT_MAX: usize = 64 * 1024;
const HEADERS_BYTES_MAX: usize = 16 * 1024;
const TARGET_BYTES_MAX: usize = 4 * 1024;
const METHOD_BYTES_MAX: usize = 24;
/// What a header takes beside its bytes.
const HEADER_FIXED_BYTES: usize = 8;

/// What is kept of a request.
#[derive(Debug, Default)]
pub struct KeptRequest {
    method: Box<str>,
    target: Box<str>,
    /// Whether the target was longer.
    pub target_is_cut: bool,
    /// Names and values, one behind the other.
    header_bytes: Box<[u8]>,
    /// How many bytes each name has, and each value.
    header_lengths: Box<[(u16, u16)]>,
    /// How many headers there were no room for.
    pub headers_left_out: usize,
    /// The beginning of the body, without its codings.
    pub body: Bytes,
    /// Whether the body was longer, or longer as it was sent.
    pub body_is_cut: bool,
    /// The body as it was sent, where that is something else and is kept whole.
    sent: Option<Bytes>,
    /// Whether there is a request at all.
    pub is_kept: bool,
    /// What must not be shown of it, by the scheme in use when it came.
    pub confidential: Option<Arc<Confidential>>,
}

impl KeptRequest {
    /// A copy of a request whose body was read.
    #[must_use]
    pub fn of_delivery(delivery: &Delivery) -> Self {
        let mut kept = Self::of_head(
            &delivery.method,
            &delivery.path_and_query,
            &delivery.headers,
        );
        // Of a GET that was verified, the query has become the body.
        let query = delivery.path_and_query.split_once('?');
        let is_body = |(_, text): (&str, &str)| text.as_bytes() == delivery.body;
        let is_moved = delivery.method == Method::GET && query.is_some_and(is_body);
        let nothing = Bytes::new();
        let body = if is_moved { &nothing } else { &delivery.body };
        let sent = delivery.sent.as_ref();
        let is_long = |bytes: &Bytes| bytes.len() > BODY_BYTES_KEPT_MAX;
        kept.body_is_cut = is_long(body) || sent.is_some_and(is_long);
        kept.body = Bytes::copy_from_slice(&body[..body.len().min(BODY_BYTES_KEPT_MAX)]);
        if !kept.body_is_cut {
            kept.sent = sent.map(|sent| Bytes::copy_from_slice(sent));
        }
        kept
    }

    /// A copy of a request's head.
    #[must_use]
    pub fn of_head(method: &Method, target: &str, headers: &HeaderMap) -> Self {
        let mut kept = Self {
            method: beginning(method.as_str(), METHOD_BYTES_MAX).into(),
            target: beginning(target, TARGET_BYTES_MAX).into(),
            target_is_cut: target.len() > TARGET_BYTES_MAX,
            is_kept: true,
            ..Self::default()
        };
        let (mut bytes, mut lengths) = (Vec::new(), Vec::new());
        for (name, value) in headers {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            let in_all = bytes.len() + lengths.len() * HEADER_FIXED_BYTES;
            let length = (u16::try_from(name.len()), u16::try_from(value.len()));
            let (Ok(name_bytes), Ok(value_bytes)) = length else {
                kept.headers_left_out += 1;
                continue;
            };
            if in_all + name.len() + value.len() + HEADER_FIXED_BYTES > HEADERS_BYTES_MAX {
                kept.headers_left_out += 1;
                continue;
            }
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value);
            lengths.push((name_bytes, value_bytes));
        }
        debug_assert!(bytes.len() <= HEADERS_BYTES_MAX);
        (kept.header_bytes, kept.header_lengths) = (bytes.into(), lengths.into());
        kept
    }

    /// The same, with what must not be shown of it.
    #[must_use]
    pub fn with_confidential(mut self, confidential: Option<Arc<Confidential>>) -> Self {
        self.confidential = confidential;
        self
    }

    /// The method, cut.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Path and query, cut.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The headers that there was room for.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.header_bytes[..];
        self.header_lengths.iter().map(move |(name, value)| {
            let (own, behind) = rest.split_at(usize::from(*name) + usize::from(*value));
            rest = behind;
            own.split_at(usize::from(*name))
        })
    }

    /// Whether nothing of it is missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_kept && !self.target_is_cut && !self.body_is_cut && self.headers_left_out == 0
    }

    /// The delivery, as far as it is kept; `None` where nothing is.
    #[must_use]
    pub fn delivery(&self, received_at: Timestamp) -> Option<Delivery> {
        if !self.is_kept {
            return None;
        }
        let method = Method::from_bytes(self.method.as_bytes()).ok()?;
        let mut headers = HeaderMap::with_capacity(self.header_lengths.len());
        for (name, value) in self.headers() {
            let name = HeaderName::from_bytes(name).ok()?;
            headers.append(name, HeaderValue::from_bytes(value).ok()?);
        }
        let body = self.body.clone();
        let mut delivery = Delivery::new(method, &*self.target, headers, body, received_at);
        delivery.sent.clone_from(&self.sent);
        Some(delivery)
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> usize {
        let sent = self.sent.as_ref().map_or(0, Bytes::len);
        let lengths = self.header_lengths.len() * size_of::<(u16, u16)>();
        self.method.len()
            + self.target.len()
            + self.header_bytes.len()
            + lengths
            + self.body.len()
            + sent
    }
}

/// At most so many bytes of a text, and no part of a character.
fn beginning(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
