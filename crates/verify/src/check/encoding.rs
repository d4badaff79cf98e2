//! Bytes as text: hex and the base64 alphabets.
//!
//! Strict: one text for one value, except for the case of hex digits and for the
//! padding where both forms are in use.

use data_encoding::{
    BASE64, BASE64_NOPAD, BASE64URL_NOPAD, DecodeError, DecodeKind, HEXLOWER, HEXLOWER_PERMISSIVE,
};

use crate::scheme::{Encoding, SecretEncoding};

impl Encoding {
    /// The bytes that `text` stands for.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: what is wrong, and at which byte.
    pub(crate) fn decode(self, text: &str) -> Result<Vec<u8>, DecodeError> {
        let text = text.as_bytes();
        match self {
            Self::Hex => HEXLOWER_PERMISSIVE.decode(text),
            Self::Base64 => BASE64.decode(text),
            Self::Base64url => BASE64URL_NOPAD.decode(unpadded(text)?),
        }
    }

    /// The text for `bytes`, as providers write it.
    pub(crate) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => HEXLOWER.encode(bytes),
            Self::Base64 => BASE64.encode(bytes),
            Self::Base64url => BASE64URL_NOPAD.encode(bytes),
        }
    }
}

impl SecretEncoding {
    /// The key bytes that a configured text stands for.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: what is wrong, and at which byte.
    pub(crate) fn decode(self, text: &[u8]) -> Result<Vec<u8>, DecodeError> {
        match self {
            Self::Utf8 => Ok(text.to_vec()),
            Self::Hex => HEXLOWER_PERMISSIVE.decode(text),
            Self::Base64 => BASE64_NOPAD.decode(unpadded(text)?),
        }
    }
}

/// The text without its padding, which must be whole or absent.
fn unpadded(text: &[u8]) -> Result<&[u8], DecodeError> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let (bare, _) = text.split_at(text.len() - padding);
    if padding == 0 || (padding <= 2 && text.len().is_multiple_of(4)) {
        return Ok(bare);
    }
    Err(DecodeError {
        position: bare.len(),
        kind: DecodeKind::Padding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_decode_strictly() {
        let hex = |text| Encoding::Hex.decode(text).ok();
        assert_eq!(hex("00fFAb"), Some(vec![0, 255, 0xab]));
        assert_eq!(hex("0"), None);
        assert_eq!(hex("0x00"), None);
        assert_eq!(hex("00 "), None);
        let base64 = |text| Encoding::Base64.decode(text).ok();
        assert_eq!(base64("+/8="), Some(vec![0xfb, 0xff]));
        for bad in ["+/8", "-_8=", "+/9=", "+/8= ", "+/8=\n", "é"] {
            assert_eq!(base64(bad), None, "{bad:?}");
        }
        let url = |text| Encoding::Base64url.decode(text).ok();
        assert_eq!(url("-_8="), Some(vec![0xfb, 0xff]));
        assert_eq!(url("-_8"), Some(vec![0xfb, 0xff]));
        for bad in ["+/8=", "-_8==", "-_8===", "-_9"] {
            assert_eq!(url(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_secret_may_lack_its_padding() {
        let base64 = |text: &str| SecretEncoding::Base64.decode(text.as_bytes()).ok();
        assert_eq!(base64("+/8="), base64("+/8"));
        assert_eq!(base64("+/8"), Some(vec![0xfb, 0xff]));
        assert_eq!(base64("not base64!"), None);
        assert_eq!(SecretEncoding::Utf8.decode(b" a\n"), Ok(b" a\n".to_vec()));
        assert_eq!(SecretEncoding::Hex.decode(b"0aFF"), Ok(vec![10, 255]));
    }
}
