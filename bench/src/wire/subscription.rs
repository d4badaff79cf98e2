//! A subscriber's whole stack: HTTP head, chunks, gzip where it was offered,
//! SSE.
//!
//! Invariant: gzip is decoded only where the head says so; a stream that came
//! without is read as it is.

use std::io::Write as _;

use flate2::write::MultiGzDecoder;
use hookrill_client::sse::{EventTooLong, SseReader};

use super::{Arrival, Response, WireError};

/// Decodes one subscriber's answer.
#[derive(Default)]
pub struct StreamDecoder {
    response: Response,
    /// Made when the head says gzip.
    gzip: Option<Box<MultiGzDecoder<Vec<u8>>>>,
    reader: SseReader,
}

impl StreamDecoder {
    /// Whether the stream is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.response.has_head()
    }

    /// Whether the server ended the stream.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.response.is_done()
    }

    /// Whether the server compresses it.
    #[must_use]
    pub fn is_gzip(&self) -> bool {
        self.response.is_gzip()
    }

    /// Takes what the socket gave.
    ///
    /// # Errors
    ///
    /// [`WireError`]; the stream is of no use then.
    pub fn feed(
        &mut self,
        mut input: &[u8],
        marker: &[u8],
        mut arrived: impl FnMut(Arrival),
    ) -> Result<(), WireError> {
        if !self.response.has_head() {
            let end = self.response.feed_head(input)?;
            input = &input[end..];
            if self.response.has_head() && self.response.status() != 200 {
                return Err(WireError::Status(self.response.status()));
            }
        }
        let Self {
            response,
            gzip,
            reader,
        } = self;
        let mut outcome = Ok(());
        if !response.is_gzip() {
            response.feed(input, |piece| {
                if outcome.is_ok() {
                    outcome = read(reader, piece, marker, &mut arrived);
                }
            })?;
            return Ok(outcome?);
        }
        let gzip = gzip.get_or_insert_with(|| Box::new(MultiGzDecoder::new(Vec::new())));
        let mut inflated = Ok(());
        response.feed(input, |piece| {
            if inflated.is_ok() {
                inflated = gzip.write_all(piece);
            }
        })?;
        inflated
            .and_then(|()| gzip.flush())
            .map_err(|error| WireError::Gzip(error.to_string()))?;
        read(reader, gzip.get_ref(), marker, &mut arrived)?;
        gzip.get_mut().clear();
        Ok(())
    }
}

/// Reads the events of a piece of the body.
fn read(
    reader: &mut SseReader,
    mut piece: &[u8],
    marker: &[u8],
    arrived: &mut impl FnMut(Arrival),
) -> Result<(), EventTooLong> {
    while let Some(event) = reader.next(&mut piece)? {
        if let Some(arrival) = Arrival::from_event(&event, marker) {
            arrived(arrival);
        }
    }
    Ok(())
}
