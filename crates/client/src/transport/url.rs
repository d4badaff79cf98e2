//! The gateway's URL.
//!
//! Refuses what could send a secret astray: a user in the URL, a query, a
//! fragment.

use hookrill_core::without_secrets;
use http::{HeaderValue, Uri};

/// Where a gateway is; routes are appended to it.
#[derive(Debug, Clone)]
pub(crate) struct GatewayUrl {
    pub(crate) is_https: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What `Host` says: host and port as they were written.
    pub(crate) authority: HeaderValue,
    /// The whole, without a trailing slash.
    base: String,
    /// Where the path begins in `base`.
    path_at: usize,
}

/// A URL is not one of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not a URL such as https://hooks.example.com, without user, query or fragment")]
pub struct UrlError {
    /// What was given, without what may be secret: user, query and fragment are
    /// an ellipsis.
    pub url: String,
}

impl GatewayUrl {
    pub(crate) fn parse(url: &str) -> Result<Self, UrlError> {
        Self::parsed(url).ok_or_else(|| UrlError {
            url: without_secrets(url),
        })
    }

    fn parsed(url: &str) -> Option<Self> {
        let base = url.trim_end_matches('/');
        let uri: Uri = base.parse().ok()?;
        let is_https = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().trim_matches(['[', ']']);
        let port = match authority.as_str().rsplit_once(authority.host())?.1 {
            "" if is_https => 443,
            "" => 80,
            _ => authority.port_u16()?,
        };
        if host.is_empty() || url.contains(['@', '?', '#']) {
            return None;
        }
        let after_scheme = base.find("://")? + "://".len();
        Some(Self {
            is_https,
            host: host.to_owned(),
            port,
            authority: HeaderValue::from_str(authority.as_str()).ok()?,
            path_at: after_scheme + authority.as_str().len(),
            base: base.to_owned(),
        })
    }

    /// The path and query of a route at this gateway.
    pub(crate) fn path(&self, route: &str) -> String {
        format!("{}{route}", &self.base[self.path_at..])
    }

    /// The whole URL of a route.
    pub(crate) fn absolute(&self, route: &str) -> String {
        format!("{}{route}", self.base)
    }

    /// Whether the host is this machine itself.
    pub(crate) fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_may_have_a_port_and_a_path_and_nothing_else() {
        for (text, is_https, host, port, path) in [
            ("https://a.example", true, "a.example", 443, "/x?y"),
            ("http://a.example/", false, "a.example", 80, "/x?y"),
            ("http://a:8080/b/c//", false, "a", 8080, "/b/c/x?y"),
            ("http://[::1]:9", false, "::1", 9, "/x?y"),
            ("http://[::1]", false, "::1", 80, "/x?y"),
        ] {
            let url = GatewayUrl::parse(text).unwrap();
            let read = (url.is_https, &*url.host, url.port, &*url.path("/x?y"));
            assert_eq!(read, (is_https, host, port, path), "{text}");
            let whole = format!("{}/x?y", text.trim_end_matches('/'));
            assert_eq!(url.absolute("/x?y"), whole);
        }
        for text in [
            "",
            "a",
            "/a",
            "ftp://a",
            "https://",
            "http://u:p@a",
            "http://a?b",
            "http://a#b",
            "http://a:b",
            "http://a:99999",
            "http://a:",
        ] {
            let error = GatewayUrl::parse(text).unwrap_err();
            assert_eq!(error.url, without_secrets(text));
        }
    }

    #[test]
    fn this_machine_is_known() {
        for (url, is_loopback) in [
            ("http://localhost", true),
            ("http://127.0.0.2", true),
            ("http://[::1]:1", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example", false),
        ] {
            assert_eq!(GatewayUrl::parse(url).unwrap().is_loopback(), is_loopback);
        }
    }
}
