//! A subscriber's whole stack: HTTP head, chunks, gzip where it was offered,
//! SSE.
//!
//! Invariant: gzip is decoded only where the head says so; a stream that came
//! without is read as it is.

use std::io::Write as _;

use flate2::write::MultiGzDecoder;

use super::{Arrival, Events, Response, WireError};

/// Decodes one subscriber's answer.
#[derive(Default)]
pub struct Subscription {
    response: Response,
    /// Made when the head says gzip.
    gzip: Option<Box<MultiGzDecoder<Vec<u8>>>>,
    events: Events,
}

impl Subscription {
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
            events,
        } = self;
        if !response.is_gzip() {
            response.feed(input, |piece| events.feed(piece, marker, &mut arrived))?;
            return Ok(());
        }
        let gzip = gzip.get_or_insert_with(|| Box::new(MultiGzDecoder::new(Vec::new())));
        let mut outcome = Ok(());
        response.feed(input, |piece| {
            outcome = std::mem::replace(&mut outcome, Ok(())).and_then(|()| gzip.write_all(piece));
        })?;
        outcome
            .and_then(|()| gzip.flush())
            .map_err(|error| WireError::Gzip(error.to_string()))?;
        events.feed(gzip.get_ref(), marker, arrived);
        gzip.get_mut().clear();
        Ok(())
    }
}
