//! What a measurement reads of an event: which number it has, and how long its
//! data is.

use hookrill_client::sse::SseEvent;
use memchr::memmem;

/// The generator writes the number first into every body; so much of the data
/// is searched for it.
const BEGINNING_BYTES: usize = 96;

/// An event that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The number in its body.
    pub number: u32,
    /// The length of its data, in bytes.
    pub bytes: usize,
}

impl Arrival {
    /// The arrival of this event, if its data has a number behind `marker`.
    pub(super) fn from_event(event: &SseEvent<'_>, marker: &[u8]) -> Option<Self> {
        let data = event.data_bytes();
        number(data, marker).map(|number| Self {
            number,
            bytes: data.len(),
        })
    }
}

fn number(data: &[u8], marker: &[u8]) -> Option<u32> {
    let beginning = &data[..data.len().min(BEGINNING_BYTES)];
    let at = if beginning.starts_with(marker) {
        0
    } else {
        memmem::find(beginning, marker)?
    };
    let digits = beginning[at + marker.len()..].iter();
    let mut number: Option<u32> = None;
    for digit in digits.take_while(|byte| byte.is_ascii_digit()) {
        let so_far = number.unwrap_or(0).checked_mul(10)?;
        number = Some(so_far.checked_add(u32::from(digit - b'0'))?);
    }
    number
}
