//! What is a public key and what only looks like one, to the byte.

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeys, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    },
};

use super::*;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const INTEGER: u8 = 0x02;
const OID_RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const OID_EC: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
const OID_P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const OID_ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";
const OID_X25519: &[u8] = b"\x06\x03\x2b\x65\x6e";
const NULL: &[u8] = b"\x05\x00";

fn rsa() -> Vec<u8> {
    let pair = RsaKeys::generate(KeySize::Rsa2048).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    spki.as_ref().to_vec()
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> Vec<u8> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    spki.as_ref().to_vec()
}

fn ed25519() -> Vec<u8> {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    spki.as_ref().to_vec()
}

/// One element of DER, its length as short as it can be.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => vec![tag, short],
        Ok(one) => vec![tag, 0x81, one],
        Err(_) => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    der.extend_from_slice(content);
    der
}

fn spki(algorithm: &[&[u8]], key: &[u8]) -> Vec<u8> {
    let bits = element(BIT_STRING, &[&[0], key].concat());
    let algorithm = element(SEQUENCE, &algorithm.concat());
    element(SEQUENCE, &[algorithm, bits].concat())
}

fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let numbers = [element(INTEGER, modulus), element(INTEGER, exponent)].concat();
    element(SEQUENCE, &numbers)
}

fn algorithm(der: &[u8]) -> Result<Algorithm, KeyError> {
    Key::from_spki(der).map(|key| key.algorithm())
}

#[test]
fn what_another_library_writes_is_read() {
    for (der, expected) in [
        (rsa(), Ok(Algorithm::RS256)),
        (ec(&ECDSA_P256_SHA256_FIXED_SIGNING), Ok(Algorithm::ES256)),
        (ed25519(), Ok(Algorithm::EdDSA)),
        (ec(&ECDSA_P384_SHA384_FIXED_SIGNING), Err(KeyError::Kind)),
    ] {
        assert_eq!(algorithm(&der), expected);
    }
}

#[test]
fn a_key_that_is_cut_or_followed_by_anything_is_refused() {
    for der in [rsa(), ec(&ECDSA_P256_SHA256_FIXED_SIGNING), ed25519()] {
        for end in 0..der.len() {
            assert_eq!(algorithm(&der[..end]), Err(KeyError::Form), "{end}");
        }
        for trailing in [&b"\0"[..], b"\x05\x00", b"\0\0", &der] {
            let longer = [&der, trailing].concat();
            assert_eq!(algorithm(&longer), Err(KeyError::Form));
        }
    }
}

#[test]
fn the_algorithm_is_its_identifier_and_its_parameters() {
    let modulus = [&[0], &[0xc3; 256][..]].concat();
    let rsa = rsa_key(&modulus, &[1, 0, 1]);
    let point = [&[4], &[7; 64][..]].concat();
    let compressed = [&[2], &[7; 32][..]].concat();
    let p384 = b"\x06\x05\x2b\x81\x04\x00\x22";
    // RSASSA-PSS, whose keys may be limited to it.
    let pss = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
    let kind = Err(KeyError::Kind);
    let form = Err(KeyError::Form);
    for (identifiers, key, expected) in [
        (&[OID_RSA, NULL][..], &rsa, Ok(Algorithm::RS256)),
        (&[OID_RSA], &rsa, kind),
        (&[OID_RSA, OID_P256], &rsa, kind),
        (&[OID_RSA, b"\x05\x01\x00"], &rsa, kind),
        (&[OID_RSA, NULL, NULL], &rsa, form),
        (&[pss, NULL], &rsa, kind),
        (&[OID_EC, OID_P256], &point, Ok(Algorithm::ES256)),
        (&[OID_EC, OID_P256], &compressed, form),
        (&[OID_EC, OID_P256], &point[..64].to_vec(), form),
        (&[OID_EC, p384], &point, kind),
        (&[OID_EC, NULL], &point, kind),
        (&[OID_EC], &point, kind),
        (&[OID_P256], &point, kind),
        (&[OID_ED25519], &vec![7; 32], Ok(Algorithm::EdDSA)),
        (&[OID_ED25519], &vec![7; 31], form),
        (&[OID_ED25519], &vec![7; 33], form),
        (&[OID_ED25519, NULL], &vec![7; 32], kind),
        (&[OID_X25519], &vec![7; 32], kind),
        // A point for an RSA key, and the other way round.
        (&[OID_RSA, NULL], &point, form),
        (&[OID_EC, OID_P256], &rsa, form),
    ] {
        let der = spki(identifiers, key);
        assert_eq!(algorithm(&der), expected, "{identifiers:x?}");
    }
}

#[test]
fn ber_that_is_not_der_is_refused() {
    let good = spki(&[OID_ED25519], &[7; 32]);
    assert_eq!(algorithm(&good), Ok(Algorithm::EdDSA));
    let content = &good[2..];
    let length = good[1];
    for (what, der) in [
        (
            "a length in more bytes than it takes",
            [&[SEQUENCE, 0x81, length], content].concat(),
        ),
        (
            "a length with leading zeros",
            [&[SEQUENCE, 0x82, 0, length], content].concat(),
        ),
        (
            "an indefinite length",
            [&[SEQUENCE, 0x80], content, &[0, 0]].concat(),
        ),
        (
            "a length beyond all memory",
            [&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff], content].concat(),
        ),
        ("a length of lengths", [&[SEQUENCE, 0xff], content].concat()),
        ("a set", [&[0x31, length], content].concat()),
        ("a primitive sequence", [&[0x10, length], content].concat()),
        ("an octet string", {
            let mut der = good.clone();
            der[9] = 0x04;
            der
        }),
        ("bits that end within a byte", {
            let mut der = good.clone();
            der[11] = 1;
            der
        }),
        ("more unused bits than a byte has", {
            let mut der = good.clone();
            der[11] = 8;
            der
        }),
    ] {
        assert_eq!(algorithm(&der), Err(KeyError::Form), "{what}");
    }
}

#[test]
fn an_rsa_key_is_two_positive_numbers_within_bounds() {
    let of_bytes = |bytes: usize| [&[0], &vec![0xc3; bytes][..]].concat();
    let good = of_bytes(256);
    for (modulus, exponent, expected) in [
        (&good, &[1, 0, 1][..], Ok(Algorithm::RS256)),
        (&of_bytes(1024), &[3], Ok(Algorithm::RS256)),
        (&of_bytes(255), &[1, 0, 1], Err(KeyError::Size)),
        (&of_bytes(1025), &[1, 0, 1], Err(KeyError::Size)),
        (&good, &[0], Err(KeyError::Size)),
        (&good, &[1; 9], Err(KeyError::Size)),
        // A negative one, one without bytes, and one with a zero too many.
        (&vec![0xc3; 256], &[1, 0, 1], Err(KeyError::Form)),
        (&good, &[0x81], Err(KeyError::Form)),
        (&good, &[], Err(KeyError::Form)),
        (&good, &[0, 1], Err(KeyError::Form)),
        (&[&[0], &good[..]].concat(), &[3], Err(KeyError::Form)),
    ] {
        let der = spki(&[OID_RSA, NULL], &rsa_key(modulus, exponent));
        assert_eq!(algorithm(&der), expected, "{exponent:?}");
    }
    // Three numbers, and one.
    let three = [rsa_key(&good, &[3])[4..].to_vec(), element(INTEGER, &[3])].concat();
    for numbers in [three, element(INTEGER, &good)] {
        let der = spki(&[OID_RSA, NULL], &element(SEQUENCE, &numbers));
        assert_eq!(algorithm(&der), Err(KeyError::Form));
    }
}

#[test]
fn a_private_key_is_told_from_what_is_no_key() {
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
        let text = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        assert_eq!(Key::from_pem(&text).err(), Some(KeyError::Private));
    }
    let good = BASE64.encode(&ed25519());
    let pem = |body: &str| format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----");
    assert!(Key::from_pem(&pem(&good)).is_ok());
    let middle = good.len() / 2;
    let wrapped = format!("{}\r\n{}", &good[..middle], &good[middle..]);
    assert!(Key::from_pem(&format!("\n{}\r\n", pem(&wrapped))).is_ok());
    for bad in [
        String::new(),
        good.clone(),
        pem(""),
        pem("%%%%"),
        pem(&good[1..]),
        format!("{}{}", pem(&good), pem(&good)),
    ] {
        assert_eq!(Key::from_pem(&bad).err(), Some(KeyError::Form), "{bad}");
    }
}
