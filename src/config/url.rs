//! The public URL, and origins that browsers may come from.

use super::{
    tree::TreeValue,
    values::{as_str, not_a},
};

/// An `http` or `https` URL without a trailing slash.
pub(super) fn public(kind: &TreeValue) -> Result<String, String> {
    let form = "a URL such as https://hooks.example.com, without user, query or fragment";
    base(as_str(kind)?).ok_or_else(|| not_a(kind, form))
}

/// Where a JSON Web Key Set is. Over plain HTTP anybody on the way could put a
/// key of theirs into it, so that is for this machine alone.
pub(super) fn key_set(kind: &TreeValue) -> Result<String, String> {
    let form = "an https URL without user or fragment; http is for loopback addresses";
    let refused = || not_a(kind, form);
    let text = as_str(kind)?;
    let url: http::Uri = text.parse().map_err(|_| refused())?;
    let authority = url.authority().ok_or_else(refused)?;
    let scheme_good = match url.scheme_str() {
        Some("https") => true,
        Some("http") => is_loopback(&url),
        _ => false,
    };
    let host_good = !authority.host().is_empty() && port_is_good(authority);
    let plain = host_good && !text.contains(['@', '#']);
    match scheme_good && plain {
        true => Ok(text.to_owned()),
        false => Err(refused()),
    }
}

/// Whether the URL's host is this machine itself.
#[must_use]
pub fn is_loopback(url: &http::Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The URL that routes are appended to, as far as `text` is one: `http` or
/// `https`, without user, query, fragment and trailing slash.
#[must_use]
pub fn base(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/');
    let url: http::Uri = text.parse().ok()?;
    let authority = url.authority()?;
    let good = matches!(url.scheme_str(), Some("http" | "https"))
        && !authority.host().is_empty()
        && !authority.as_str().contains('@')
        && !text.contains(['?', '#'])
        && port_is_good(authority);
    good.then(|| text.to_owned())
}

/// `*`, or an origin as a browser writes it (RFC 6454, 6.2): it is compared
/// to the `Location` header as text.
pub(super) fn origin(kind: &TreeValue) -> Result<String, String> {
    let form = "an origin such as https://app.example.com or http://localhost:3000, \
                without a path, or \"*\"";
    let refused = || not_a(kind, form);
    let text = as_str(kind)?.to_ascii_lowercase();
    if text == "*" {
        return Ok(text);
    }
    let (scheme, host) = text.split_once("://").ok_or_else(refused)?;
    // Apps in a web view have schemes of their own: `capacitor://localhost`.
    let scheme_good = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
    let authority: http::uri::Authority = host.parse().map_err(|_| refused())?;
    let plain = !authority.host().is_empty() && !host.contains('@') && port_is_good(&authority);
    if !scheme_good || !plain {
        return Err(refused());
    }
    match (scheme, authority.port_u16()) {
        ("http", Some(80)) | ("https", Some(443)) => Err(not_a(
            kind,
            "what a browser sends: it leaves the usual port out, and so must this",
        )),
        _ => Ok(text),
    }
}

/// Without a port, or with one that is a number.
fn port_is_good(authority: &http::uri::Authority) -> bool {
    let host = authority.host();
    match authority.as_str().rsplit_once(host) {
        Some((_, "")) => true,
        Some(_) => authority.port_u16().is_some(),
        None => false,
    }
}
