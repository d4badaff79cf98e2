//! Bytes as text: hex and the base64 alphabets.
//!
//! Strict: one text for one value, save for the case of hex digits and the
//! padding where both forms are in use.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};

use super::scheme::{Encoding, SecretEncoding};

impl Encoding {
    /// The bytes that `text` stands for.
    pub(super) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex => HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(),
            Self::Base64 => BASE64.decode(text.as_bytes()).ok(),
            Self::Base64url => BASE64URL_NOPAD.decode(unpadded(text)?.as_bytes()).ok(),
        }
    }

    /// The text for `bytes`, as providers write it.
    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => HEXLOWER.encode(bytes),
            Self::Base64 => BASE64.encode(bytes),
            Self::Base64url => BASE64URL_NOPAD.encode(bytes),
        }
    }
}

impl SecretEncoding {
    /// The key bytes that a configured text stands for.
    pub(super) fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Utf8 => Some(text.to_vec()),
            Self::Hex => HEXLOWER_PERMISSIVE.decode(text).ok(),
            Self::Base64 => {
                let text = unpadded(std::str::from_utf8(text).ok()?)?;
                BASE64_NOPAD.decode(text.as_bytes()).ok()
            }
        }
    }
}

/// Takes off padding that is whole, and refuses any other.
fn unpadded(text: &str) -> Option<&str> {
    let bare = text.trim_end_matches('=');
    let padding = text.len() - bare.len();
    (padding == 0 || (padding <= 2 && text.len().is_multiple_of(4))).then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_decode_strictly() {
        let hex = |text| Encoding::Hex.decode(text);
        assert_eq!(hex("00fFAb"), Some(vec![0, 255, 0xab]));
        assert_eq!(hex("0"), None);
        assert_eq!(hex("0x00"), None);
        assert_eq!(hex("00 "), None);
        let base64 = |text| Encoding::Base64.decode(text);
        assert_eq!(base64("+/8="), Some(vec![0xfb, 0xff]));
        for bad in ["+/8", "-_8=", "+/9=", "+/8= ", "+/8=\n", "é"] {
            assert_eq!(base64(bad), None, "{bad:?}");
        }
        let url = |text| Encoding::Base64url.decode(text);
        assert_eq!(url("-_8="), Some(vec![0xfb, 0xff]));
        assert_eq!(url("-_8"), Some(vec![0xfb, 0xff]));
        for bad in ["+/8=", "-_8==", "-_8===", "-_9"] {
            assert_eq!(url(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_secret_may_lack_its_padding() {
        let base64 = |text: &str| SecretEncoding::Base64.decode(text.as_bytes());
        assert_eq!(base64("+/8="), base64("+/8"));
        assert_eq!(base64("+/8"), Some(vec![0xfb, 0xff]));
        assert_eq!(base64("not base64!"), None);
        assert_eq!(SecretEncoding::Utf8.decode(b" a\n"), Some(b" a\n".to_vec()));
        assert_eq!(SecretEncoding::Hex.decode(b"0aFF"), Some(vec![10, 255]));
    }
}
