//! Parses URLs and the origins of browser pages.

use super::{
    diagnostic::Mistake,
    tree::TreeValue,
    values::{as_str, not_a},
};

/// An `http` or `https` URL without a trailing slash.
pub(super) fn public_url(value: &TreeValue) -> Result<String, Mistake> {
    let form = "a URL such as \"https://hooks.example.com\", without user, query or fragment";
    base_url(as_str(value, form)?).ok_or_else(|| not_a(value, form))
}

/// The URL of a JSON Web Key Set. Over plain HTTP, anybody on the network path
/// could add a key of their own, so that is allowed for this machine only.
pub(super) fn key_set_url(value: &TreeValue) -> Result<String, Mistake> {
    let form = "an https URL without user or fragment; http is for loopback addresses only";
    let text = as_str(value, form)?;
    if is_key_set_url(text) {
        Ok(text.to_owned())
    } else {
        Err(not_a(value, form))
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

/// `*`, or an origin as browsers write it (RFC 6454, 6.2), because it is
/// compared with the `Origin` header as text.
pub(super) fn cors_origin(value: &TreeValue) -> Result<String, Mistake> {
    let form = "an origin such as \"https://app.example.com\" or \"http://localhost:3000\", \
                without a path, or \"*\"";
    let text = as_str(value, form)?.to_ascii_lowercase();
    if text == "*" {
        return Ok(text);
    }
    let (scheme, authority) = split_origin(&text).ok_or_else(|| not_a(value, form))?;
    if matches!(
        (scheme, authority.port_u16()),
        ("http", Some(80)) | ("https", Some(443))
    ) {
        return Err("must not contain the default port, because browsers leave it out".into());
    }
    Ok(text)
}

/// The scheme, and the host with its port.
fn split_origin(text: &str) -> Option<(&str, http::uri::Authority)> {
    let (scheme, host) = text.split_once("://")?;
    // Apps in a web view have schemes of their own: `capacitor://localhost`.
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
    let authority: http::uri::Authority = host.parse().ok()?;
    let is_origin = is_scheme
        && !authority.host().is_empty()
        && !host.contains('@')
        && has_valid_port(&authority);
    is_origin.then_some((scheme, authority))
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
