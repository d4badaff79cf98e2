//! Origins of pages, as browsers write them (RFC 6454, section 6.2), and patterns.
//!
//! Invariant: what matches is an origin, part by part, and never a text that only
//! begins or ends like one.

use std::str::FromStr;

/// The longest scheme of an origin; those of apps have up to a dozen letters.
const SCHEME_BYTES_MAX: usize = 32;
const HOST_BYTES_MAX: usize = 255;
const PORT_BYTES_MAX: usize = 5;
/// The longest origin that is one.
pub(super) const ORIGIN_BYTES_MAX: usize =
    SCHEME_BYTES_MAX + "://".len() + HOST_BYTES_MAX + ":".len() + PORT_BYTES_MAX;

/// Whose pages are let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// Every page.
    Any,
    /// Pages with this scheme, host and port.
    Page {
        /// `https`, or the scheme of an app in a web view.
        scheme: Box<str>,
        /// Which hosts.
        host: HostPattern,
        /// Which ports.
        port: PortPattern,
    },
}

/// Which hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This one.
    Exact(Box<str>),
    /// Every subdomain of this domain, which begins with a dot; not the domain itself.
    Below(Box<str>),
}

/// Which ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortPattern {
    /// This one; without one, the default of the scheme.
    Exact(Option<u16>),
    /// Every port.
    Any,
}

/// Why a text is not a pattern of origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It is no origin at all.
    #[error("it is not an origin")]
    Form,
    /// Browsers leave the default port out.
    #[error("must not contain the default port, because browsers leave it out")]
    DefaultPort,
    /// A `*` that stands for something else than subdomains.
    #[error(
        "`*` in a host stands for all subdomains of a domain of your own: \"https://*.example.com\""
    )]
    Host,
    /// A `*` for the ports of a host of somebody else.
    #[error("`*` as a port is for localhost, 127.0.0.1 and [::1] only")]
    Port,
}

impl OriginPattern {
    /// Whether a page of this origin is let in; `origin` is the header as it came.
    pub(super) fn matches(&self, origin: &str) -> bool {
        let Self::Page { scheme, host, port } = self else {
            return true;
        };
        let Some(parts) = Parts::of(origin) else {
            return false;
        };
        if parts.has_star() {
            return false;
        }
        let is_host = match host {
            HostPattern::Exact(host) => **host == *parts.host,
            HostPattern::Below(domain) => {
                let below = parts.host.strip_suffix(&**domain);
                below.is_some_and(|labels| labels.split('.').all(|label| !label.is_empty()))
            }
        };
        let is_port = match port {
            PortPattern::Any => parts.port.is_none_or(|text| text.parse::<u16>().is_ok()),
            PortPattern::Exact(None) => parts.port.is_none(),
            PortPattern::Exact(Some(port)) => parts.port == Some(port.to_string().as_str()),
        };
        **scheme == *parts.scheme && is_host && is_port
    }
}

impl FromStr for OriginPattern {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let text = text.to_ascii_lowercase();
        let Parts { scheme, host, port } = Parts::of(&text).ok_or(OriginError::Form)?;
        let host = host_pattern(host)?;
        let port = port_pattern(scheme, &host, port)?;
        Ok(Self::Page {
            scheme: scheme.into(),
            host,
            port,
        })
    }
}

fn host_pattern(host: &str) -> Result<HostPattern, OriginError> {
    let Some(domain) = host.strip_prefix('*') else {
        let has_star = host.contains('*');
        let exact = HostPattern::Exact(host.into());
        return if has_star {
            Err(OriginError::Host)
        } else {
            Ok(exact)
        };
    };
    let labels: Vec<_> = domain.split('.').collect();
    let [first, labels @ .., last] = &*labels else {
        return Err(OriginError::Host);
    };
    let is_address = last.bytes().all(|b| b.is_ascii_digit());
    // Whoever writes `*.com` lets everybody in.
    let is_own = !labels.is_empty() || *last == "localhost";
    let has_star_or_hole = |label: &&str| label.is_empty() || label.contains('*');
    if !first.is_empty()
        || is_address
        || !is_own
        || labels.iter().chain([last]).any(has_star_or_hole)
    {
        return Err(OriginError::Host);
    }
    Ok(HostPattern::Below(domain.into()))
}

fn port_pattern(
    scheme: &str,
    host: &HostPattern,
    port: Option<&str>,
) -> Result<PortPattern, OriginError> {
    let Some(port) = port else {
        return Ok(PortPattern::Exact(None));
    };
    if port == "*" {
        let is_loopback = |name: &str| matches!(name, "localhost" | "127.0.0.1" | "[::1]");
        return match host {
            HostPattern::Exact(name) if is_loopback(name) => Ok(PortPattern::Any),
            _ => Err(OriginError::Port),
        };
    }
    let number: u16 = port.parse().map_err(|_| OriginError::Form)?;
    if matches!((scheme, number), ("http", 80) | ("https", 443)) {
        return Err(OriginError::DefaultPort);
    }
    Ok(PortPattern::Exact(Some(number)))
}

/// The parts of an origin, or of a pattern of origins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'o> {
    scheme: &'o str,
    host: &'o str,
    port: Option<&'o str>,
}

impl<'o> Parts<'o> {
    /// The parts of what browsers could write, and of nothing else: no user, no path.
    pub(super) fn of(origin: &'o str) -> Option<Self> {
        let (scheme, rest) = origin.split_once("://")?;
        // Apps in a web view have schemes of their own: `capacitor://localhost`.
        let is_scheme = scheme.len() <= SCHEME_BYTES_MAX
            && scheme.starts_with(|first: char| first.is_ascii_lowercase())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
        let (host, port) = match rest.find(']') {
            Some(end) if rest.starts_with('[') => rest.split_at(end + 1),
            _ => rest.split_at(rest.find(':').unwrap_or(rest.len())),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return None,
            Some(port) => Some(port),
        };
        let is_port = |text: &str| text == "*" || is_number(text);
        (is_scheme && is_host(host) && port.is_none_or(is_port)).then_some(Self {
            scheme,
            host,
            port,
        })
    }

    fn has_star(&self) -> bool {
        self.host.contains('*') || self.port == Some("*")
    }

    /// Whether this is `host`, as a request names it.
    pub(super) fn is_at(&self, host: &str) -> bool {
        match host.strip_prefix(self.host) {
            Some("") => self.port.is_none(),
            Some(rest) => rest.strip_prefix(':') == self.port && self.port.is_some(),
            None => false,
        }
    }
}

fn is_number(port: &str) -> bool {
    (1..=PORT_BYTES_MAX).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit())
}

/// Whether these are the characters of a name or of an address.
fn is_host(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._*".contains(&b);
    let is_address = |b: u8| b.is_ascii_hexdigit() || b":.".contains(&b);
    !host.is_empty()
        && host.len() <= HOST_BYTES_MAX
        && match address {
            Some(address) => address.bytes().all(is_address),
            None => host.bytes().all(is_name),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pattern, origin, and whether it matches.
    const MATCHES: &[(&str, &str, bool)] = &[
        ("https://*.example.com", "https://a.example.com", true),
        ("https://*.example.com", "https://a.b.example.com", true),
        ("https://*.example.com", "https://example.com", false),
        ("https://*.example.com", "https://.example.com", false),
        ("https://*.example.com", "https://a..example.com", false),
        ("https://*.example.com", "https://aexample.com", false),
        (
            "https://*.example.com",
            "https://a.example.com.evil.com",
            false,
        ),
        (
            "https://*.example.com",
            "https://evil.com/.example.com",
            false,
        ),
        (
            "https://*.example.com",
            "https://evil.com?.example.com",
            false,
        ),
        (
            "https://*.example.com",
            "https://evil.com#.example.com",
            false,
        ),
        (
            "https://*.example.com",
            "https://evil.com\\.example.com",
            false,
        ),
        (
            "https://*.example.com",
            "https://evil.com:1@a.example.com",
            false,
        ),
        ("https://*.example.com", "https://a.example.com:8443", false),
        ("https://*.example.com", "https://a.example.com:", false),
        ("https://*.example.com", "http://a.example.com", false),
        ("https://*.example.com", "https://A.example.com", false),
        ("https://*.example.com", "https://*.example.com", false),
        ("https://*.example.com", "null", false),
        ("https://*.example.com", "", false),
        (
            "https://*.example.com:8443",
            "https://a.example.com:8443",
            true,
        ),
        (
            "https://*.example.com:8443",
            "https://a.example.com:08443",
            false,
        ),
        ("https://*.example.com:8443", "https://a.example.com", false),
        ("https://App.example.com", "https://app.example.com", true),
        ("https://app.example.com", "https://app.example.com.", false),
        ("https://app.example.com", "https://app.example.comx", false),
        (
            "https://app.example.com",
            "https://app.example.com, https://x.com",
            false,
        ),
        ("http://localhost:*", "http://localhost:5173", true),
        ("http://localhost:*", "http://localhost", true),
        ("http://localhost:*", "http://localhost:99999", false),
        ("http://localhost:*", "http://localhost.evil.com:1", false),
        ("http://localhost:*", "http://localhost:1@evil.com", false),
        ("http://[::1]:*", "http://[::1]:3000", true),
        ("http://[::1]:*", "http://[::1].evil.com", false),
        (
            "http://*.localhost:3000",
            "http://shop.localhost:3000",
            true,
        ),
        ("capacitor://localhost", "capacitor://localhost", true),
        ("*", "https://anything.example", true),
    ];

    #[test]
    fn an_origin_matches_by_its_parts_and_never_by_how_it_begins_or_ends() {
        for (pattern, origin, expected) in MATCHES {
            let matches = pattern.parse::<OriginPattern>().unwrap().matches(origin);
            assert_eq!(matches, *expected, "{pattern} {origin}");
        }
    }

    #[test]
    fn a_pattern_that_lets_in_more_than_it_seems_to_is_refused() {
        for (pattern, error) in [
            ("https://*", OriginError::Host),
            ("https://*.", OriginError::Host),
            ("https://*.com", OriginError::Host),
            ("https://*example.com", OriginError::Host),
            ("https://a.*.example.com", OriginError::Host),
            ("https://*.*.example.com", OriginError::Host),
            ("https://*..example.com", OriginError::Host),
            ("https://a*.example.com", OriginError::Host),
            ("https://*.0.0.1", OriginError::Host),
            ("https://app.example.com:*", OriginError::Port),
            ("https://*.localhost:*", OriginError::Port),
            ("https://a.example.com:443", OriginError::DefaultPort),
            ("http://*.example.com:80", OriginError::DefaultPort),
            ("https://a.example.com/", OriginError::Form),
            ("https://a.example.com:", OriginError::Form),
            ("https://a.example.com:99999", OriginError::Form),
            ("https://user@a.example.com", OriginError::Form),
            ("a.example.com", OriginError::Form),
            ("null", OriginError::Form),
            ("**", OriginError::Form),
            ("*://a.example.com", OriginError::Form),
        ] {
            assert_eq!(pattern.parse::<OriginPattern>(), Err(error), "{pattern}");
        }
    }

    #[test]
    fn what_is_longer_than_any_origin_is_none() {
        let longest = format!("{}://{}:65535", "a".repeat(32), "b".repeat(255));
        assert_eq!(longest.len(), ORIGIN_BYTES_MAX);
        assert!(Parts::of(&longest).is_some());
        for long in [
            format!("a{longest}"),
            format!("{}://b", "a".repeat(30_000)),
            format!("{longest}1"),
            longest.replace("://", "://b"),
        ] {
            assert!(Parts::of(&long).is_none(), "{} bytes", long.len());
        }
    }

    #[test]
    fn an_origin_is_at_its_own_host() {
        for (origin, host, expected) in [
            ("https://a.example", "a.example", true),
            ("https://a.example:1", "a.example:1", true),
            ("https://a.example:1", "a.example", false),
            ("https://a.example", "a.example:1", false),
            ("https://a.example", "a.example.com", false),
            ("http://[::1]:1", "[::1]:1", true),
        ] {
            assert_eq!(Parts::of(origin).unwrap().is_at(host), expected, "{origin}");
        }
    }
}
