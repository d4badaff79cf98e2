//! Ed25519 (RFC 8032): public keys and their signatures.
//!
//! Strict: a key of small order, under which one signature is valid for many
//! messages, makes no verifier. The library refuses signatures whose scalar
//! is not reduced, so that no signature has a second form.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

/// The length of a public key, in bytes.
const KEY_BYTES: usize = 32;
/// The length of a signature, in bytes.
pub(super) const SIGNATURE_BYTES: usize = 64;

/// The encodings of points of small order, without the sign in the top bit:
/// orders 4, 1, 8, 8, 2, and the first two not reduced.
const SMALL_ORDER: [[u8; KEY_BYTES]; 7] = [
    [0; 32],
    ends([1, 0], 0, 0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    ends([0xec, 0xff], 0xff, 0x7f),
    ends([0xed, 0xff], 0xff, 0x7f),
    ends([0xee, 0xff], 0xff, 0x7f),
];

const fn ends(first: [u8; 2], between: u8, last: u8) -> [u8; KEY_BYTES] {
    let mut bytes = [between; KEY_BYTES];
    bytes[0] = first[0];
    bytes[1] = first[1];
    bytes[KEY_BYTES - 1] = last;
    bytes
}

/// Whether these bytes can be a provider's public key.
pub(crate) fn is_public_key(bytes: &[u8]) -> bool {
    let Ok(mut bytes) = <[u8; KEY_BYTES]>::try_from(bytes) else {
        return false;
    };
    bytes[KEY_BYTES - 1] &= 0x7f;
    !SMALL_ORDER.contains(&bytes)
}

/// Whether this is the message's signature under the public key.
pub(super) fn verifies(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = UnparsedPublicKey::new(&ED25519, key);
    key.verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    // RFC 8032, section 7.1, test 2.
    const KEY: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    const SIGNATURE: &str = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

    #[test]
    fn the_signature_of_the_rfc_verifies_and_no_other() {
        let (key, signature) = (hex(KEY), hex(SIGNATURE));
        let verifies = |message: &[u8], offered: &[u8]| super::verifies(&key, message, offered);
        assert!(is_public_key(&key));
        assert!(verifies(&[0x72], &signature));
        assert!(!verifies(&[0x73], &signature));
        assert!(!verifies(&[0x72], &signature[..63]));
        for index in 0..SIGNATURE_BYTES {
            let mut changed = signature.clone();
            changed[index] ^= 1;
            assert!(!verifies(&[0x72], &changed), "{index}");
        }
        // The group's order added to the scalar: the same signature, were the
        // scalar not held to its range (RFC 8032, section 5.1.7).
        let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let mut second = signature.clone();
        let mut carry = 0;
        for (byte, add) in second[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert!(!verifies(&[0x72], &second));
    }

    #[test]
    fn keys_of_small_order_are_refused() {
        for key in SMALL_ORDER {
            let mut negative = key;
            negative[31] |= 0x80;
            assert!(
                !is_public_key(&key) && !is_public_key(&negative),
                "{key:x?}"
            );
        }
        assert!(!is_public_key(&hex(KEY)[1..]));
    }
}
