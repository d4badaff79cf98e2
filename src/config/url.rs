//! Parses URLs and the origins of browser pages.

use hookrill_core::without_secrets;

use super::{
    diagnostic::Mistake,
    tree::TreeValue,
    values::{as_str, not_a},
};
use crate::http::{OriginError, OriginPattern};

/// An `http` or `https` URL without a trailing slash.
pub(super) fn public_url(value: &TreeValue) -> Result<String, Mistake> {
    let form = "a URL such as \"https://hooks.example.com\", without user, query or fragment";
    base_url(as_str(value, form)?).ok_or_else(|| not_a_url(value, form))
}

/// The URL of a JSON Web Key Set. Over plain HTTP, anybody on the network path
/// could add a key of their own, so that is allowed for this machine only.
pub(super) fn key_set_url(value: &TreeValue) -> Result<String, Mistake> {
    let form = "an https URL without user or fragment; http is for loopback addresses only";
    let text = as_str(value, form)?;
    if is_key_set_url(text) {
        Ok(text.to_owned())
    } else {
        Err(not_a_url(value, form))
    }
}

/// "must be …, not `https://…@a`": a URL is repeated without what may be secret.
fn not_a_url(value: &TreeValue, form: &str) -> Mistake {
    match value {
        TreeValue::Text(text)
        | TreeValue::Untyped {
            text,
            secret: false,
        } => not_a(&TreeValue::Text(without_secrets(text)), form),
        _ => not_a(value, form),
    }
}

fn is_key_set_url(text: &str) -> bool {
    let Ok(url) = text.parse::<http::Uri>() else {
        return false;
    };
    let Some(authority) = url.authority() else {
        return false;
    };
    let is_secure = match url.scheme_str() {
        Some("https") => true,
        Some("http") => is_loopback(&url),
        _ => false,
    };
    is_secure
        && !authority.host().is_empty()
        && has_valid_port(authority)
        && !text.contains(['@', '#'])
}

/// Whether the URL's host is this machine itself.
#[must_use]
pub fn is_loopback(url: &http::Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The URL that routes are appended to, without a trailing slash; `None` unless
/// `text` is an `http` or `https` URL without user, query and fragment.
#[must_use]
pub fn base_url(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/');
    let url: http::Uri = text.parse().ok()?;
    let authority = url.authority()?;
    let is_base = matches!(url.scheme_str(), Some("http" | "https"))
        && !authority.host().is_empty()
        && !authority.as_str().contains('@')
        && !text.contains(['?', '#'])
        && has_valid_port(authority);
    is_base.then(|| text.to_owned())
}

/// `*`, an origin as browsers write it, or one with `*` for subdomains.
pub(super) fn cors_origin(value: &TreeValue) -> Result<String, Mistake> {
    let form = "an origin such as \"https://app.example.com\" or \"http://localhost:3000\", \
                without a path, \"https://*.example.com\" for all subdomains, or \"*\"";
    let text = as_str(value, form)?.to_ascii_lowercase();
    match text.parse::<OriginPattern>() {
        Ok(_) => Ok(text),
        Err(OriginError::Form) => Err(not_a_url(value, form)),
        Err(error) => Err(Mistake::from_error(error)),
    }
}

/// A header that pages may send.
pub(super) fn cors_header(value: &TreeValue) -> Result<http::HeaderName, Mistake> {
    let form = "the name of a header, such as \"x-tenant\"";
    let text = as_str(value, form)?;
    match text.parse() {
        // With cookies, browsers take it for the name of a header.
        Ok(_) if text == "*" => {
            Err("must name each header; \"*\" does not work with cookies".into())
        }
        Ok(name) => Ok(name),
        Err(_) => Err(not_a(value, form)),
    }
}

/// Whether there is no port, or one that is a number.
fn has_valid_port(authority: &http::uri::Authority) -> bool {
    let host = authority.host();
    match authority.as_str().rsplit_once(host) {
        Some((_, "")) => true,
        Some(_) => authority.port_u16().is_some(),
        None => false,
    }
}
