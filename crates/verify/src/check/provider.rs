//! What single providers do and no list of parts can express: all of it is here.
//!
//! To add one: a variant of [`Function`](crate::scheme::Function), and a
//! function that makes bytes of a delivery.

use data_encoding::HEXLOWER_PERMISSIVE;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::form;
use crate::{delivery::Delivery, error::VerifyError};

/// What Twilio signs: the URL followed by the form's fields. Where the body is
/// not a form, the URL's `bodySHA256` is its hash, and the URL is signed alone.
///
/// Source: <https://www.twilio.com/docs/usage/webhooks/webhooks-security>.
///
/// # Errors
///
/// [`VerifyError::BodyHashMismatch`] where the body does not have the hash that
/// the URL announces; [`VerifyError::NotAForm`].
pub(super) fn twilio(url: &str, delivery: &Delivery) -> Result<Vec<u8>, VerifyError> {
    let query = form::query(&delivery.path_and_query);
    let announced = form::fields(query).find(|(name, _)| *name == "bodySHA256");
    let Some((_, hex)) = announced else {
        let mut message = url.as_bytes().to_vec();
        message.extend(form::sorted_fields(&delivery.body)?);
        return Ok(message);
    };
    let Ok(hash) = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()) else {
        return Err(VerifyError::BodyHashMismatch);
    };
    let body_hash = Sha256::digest(&delivery.body);
    if !bool::from(body_hash.as_slice().ct_eq(&hash)) {
        return Err(VerifyError::BodyHashMismatch);
    }
    Ok(url.as_bytes().to_vec())
}

/// The public URLs that Twilio may have signed: the one that it was given, and the same
/// without its port, or with the scheme's own where it has none. Twilio signs either,
/// whatever it was given, and its own libraries try both.
///
/// Source: `RequestValidator` of <https://github.com/twilio/twilio-python>.
pub(crate) fn twilio_urls(public_url: &str) -> Vec<String> {
    let given = public_url.trim_end_matches('/');
    let (scheme, rest) = given.split_once("://").unwrap_or(("", given));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let port_at = authority.rfind(':').filter(|at| {
        let port = &authority[at + 1..];
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    let other = match (port_at, scheme) {
        (Some(at), _) => format!("{scheme}://{}{path}", &authority[..at]),
        (None, "https") => format!("{scheme}://{authority}:443{path}"),
        (None, "http") => format!("{scheme}://{authority}:80{path}"),
        (None, _) => return vec![given.to_owned()],
    };
    vec![given.to_owned(), other]
}

/// The escapes that HubSpot decodes before it signs a URL (version 3).
///
/// Source: <https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation>.
const HUBSPOT_ESCAPES: [(&str, &str); 12] = [
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
        let known = HUBSPOT_ESCAPES.iter().find(|(escape, _)| {
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
    fn twilio_signs_urls_with_and_without_a_port() {
        for (given, other) in [
            ("https://a.example:8443", "https://a.example"),
            ("https://a.example", "https://a.example:443"),
            ("https://a.example/", "https://a.example:443"),
            ("http://a.example/base", "http://a.example:80/base"),
            ("http://a.example:8080/base", "http://a.example/base"),
            ("https://[::1]", "https://[::1]:443"),
            ("https://[::1]:8443", "https://[::1]"),
        ] {
            let urls = twilio_urls(given);
            assert_eq!(urls, [given.trim_end_matches('/'), other]);
        }
        assert_eq!(twilio_urls(""), [""]);
    }

    #[test]
    fn hubspots_url_is_decoded_once_and_in_part() {
        let url = "https://a/b%2Fc%3fd=%40e&f%3D%20g%253A%";
        assert_eq!(hubspot_url(url), "https://a/b/c?d=@e&f%3D%20g%253A%");
        assert_eq!(hubspot_url("https://a/é%"), "https://a/é%");
    }
}
