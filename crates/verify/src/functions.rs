//! What single providers do that no list of parts can say: all of it is here.
//!
//! To add one: a variant of [`Function`](super::scheme::Function), and a
//! function that makes bytes of a delivery.

use data_encoding::HEXLOWER_PERMISSIVE;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{delivery::Delivery, error::VerifyError, form};

/// Twilio signs the URL with the form's fields behind it. Where the body is
/// no form, the URL says its hash, and is signed alone.
///
/// # Errors
///
/// [`VerifyError::BodyHashMismatch`] where the body is not what the URL says.
pub(super) fn twilio(url: &str, delivery: &Delivery) -> Result<Vec<u8>, VerifyError> {
    let query = form::query(&delivery.path_and_query);
    let announced = form::fields(query).find(|(name, _)| *name == "bodySHA256");
    let Some((_, hex)) = announced else {
        let mut message = url.as_bytes().to_vec();
        message.extend(form::sorted(&delivery.body)?);
        return Ok(message);
    };
    let announced = HEXLOWER_PERMISSIVE.decode(hex.as_bytes());
    let announced = announced.map_err(|_| VerifyError::BodyHashMismatch)?;
    let same: bool = Sha256::digest(&delivery.body)
        .as_slice()
        .ct_eq(&announced)
        .into();
    match same {
        true => Ok(url.as_bytes().to_vec()),
        false => Err(VerifyError::BodyHashMismatch),
    }
}

/// The escapes that HubSpot decodes before it signs a URL, by its
/// documentation on request signatures, version 3.
const HUBSPOT_DECODES: [(&str, &str); 12] = [
    ("%3A", ":"),
    ("%2F", "/"),
    ("%3F", "?"),
    ("%40", "@"),
    ("%21", "!"),
    ("%24", "$"),
    ("%27", "'"),
    ("%28", "("),
    ("%29", ")"),
    ("%2A", "*"),
    ("%2C", ","),
    ("%3B", ";"),
];

/// The URL as HubSpot signs it.
pub(super) fn hubspot_url(url: &str) -> String {
    let mut decoded = String::with_capacity(url.len());
    let mut rest = url;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = HUBSPOT_DECODES.iter().find(|(escape, _)| {
            let head = rest.get(..escape.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(escape))
        });
        match known {
            Some((escape, plain)) => {
                decoded.push_str(plain);
                rest = &rest[escape.len()..];
            }
            None => {
                decoded.push('%');
                rest = &rest[1..];
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hubspots_url_is_decoded_once_and_in_part() {
        let url = "https://a/b%2Fc%3fd=%40e&f%3D%20g%253A%";
        assert_eq!(hubspot_url(url), "https://a/b/c?d=@e&f%3D%20g%253A%");
        assert_eq!(hubspot_url("https://a/é%"), "https://a/é%");
    }
}
