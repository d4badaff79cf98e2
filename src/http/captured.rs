//! A body that was captured, decoded as the gateway decodes one that arrives.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{body, problem::ProblemDetails};

/// What a body was before it was coded; `None`: it has no coding. Blocks.
///
/// # Errors
///
/// The status and the detail of the gateway's answer.
pub fn decode_captured(
    headers: &HeaderMap,
    sent: &Bytes,
    bytes_max: usize,
) -> Result<Option<Bytes>, (StatusCode, String)> {
    body::decode_whole(headers, sent, bytes_max).map_err(|error| {
        let answer = ProblemDetails::from(error);
        (answer.status(), answer.detail().to_owned())
    })
}
