//! Which texts a handshake signs for anyone who asks.

use crate::limits::CHALLENGE_BYTES_MAX;

/// Whether a handshake that answers with a MAC takes this as its text: a bare
/// word.
///
/// Where such a handshake is answered before verification, anyone gets the MAC
/// of such a text. So no text with braces, quotes, spaces or `&` is taken: no
/// JSON object and no form of two fields can be forged that way. What remains,
/// a delivery whose signed text is one bare word, is refused.
pub(super) fn is_signable_by_anyone(text: impl Iterator<Item = u8>) -> bool {
    let mut bytes = 0;
    for byte in text {
        bytes += 1;
        let is_plain = byte.is_ascii_alphanumeric() || b"+/=_.~-".contains(&byte);
        if bytes > CHALLENGE_BYTES_MAX || !is_plain {
            return false;
        }
    }
    bytes > 0
}
