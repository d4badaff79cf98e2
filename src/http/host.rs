//! For which host a request is.
//!
//! Refuses a request that could be for several hosts, or for none: a proxy and a server
//! that read it differently can be played against each other.

use http::{HeaderValue, Request, Version, header, uri::Authority};

use super::problem::ProblemDetails;

/// Why it is not clear for which host a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HostError {
    /// HTTP/1.1 has exactly one (RFC 9112, section 3.2); HTTP/2 names it in
    /// `:authority` or here (RFC 9113, section 8.3.1).
    #[error("a request names its host: the header Host is missing")]
    Missing,
    #[error("a request has one Host header, not several")]
    Several,
    #[error("the header Host is not a host with an optional port")]
    Invalid,
    /// RFC 9113, section 8.3.1.
    #[error("the header Host and the request's authority name different hosts")]
    Differs,
}

impl From<HostError> for ProblemDetails {
    fn from(error: HostError) -> Self {
        Self::bad_request(error)
    }
}

/// Checks that a request names one host.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), HostError> {
    let mut hosts = request.headers().get_all(header::HOST).into_iter();
    let authority = request.uri().authority();
    let host = match (hosts.next(), authority) {
        // HTTP/1.0 has none.
        (None, _) if request.version() < Version::HTTP_11 => return Ok(()),
        (None, Some(authority)) if request.version() > Version::HTTP_11 => {
            return is_valid(authority.as_str())
                .then_some(())
                .ok_or(HostError::Invalid);
        }
        (None, _) => return Err(HostError::Missing),
        (Some(host), _) => host,
    };
    if hosts.next().is_some() {
        return Err(HostError::Several);
    }
    let text = text(host).ok_or(HostError::Invalid)?;
    match authority {
        // Of HTTP/1.1, the target's authority counts whatever Host says (RFC 9112,
        // section 3.2.2).
        Some(authority)
            if request.version() > Version::HTTP_11
                && !authority.as_str().eq_ignore_ascii_case(text) =>
        {
            Err(HostError::Differs)
        }
        _ => Ok(()),
    }
}

/// The value, where that is a host with an optional port (RFC 9110, section 7.2). It is
/// empty where a URI has none.
fn text(host: &HeaderValue) -> Option<&str> {
    let text = host.to_str().ok()?;
    (text.is_empty() || is_valid(text)).then_some(text)
}

fn is_valid(host: &str) -> bool {
    // Nearly all are a name or an IPv4 address: those need no copy to be parsed.
    let (name, digits) = host.split_once(':').unwrap_or((host, ""));
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    if !name.is_empty() && name.bytes().all(is_plain) && digits.bytes().all(|b| b.is_ascii_digit())
    {
        return true;
    }
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let port = host.strip_prefix(authority.host());
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    !authority.host().is_empty()
        && port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_one_host() {
        use HostError::{Differs, Invalid, Missing, Several};
        const V1: Version = Version::HTTP_11;
        const V2: Version = Version::HTTP_2;
        for (version, uri, hosts, expected) in [
            (V1, "/", &["a.example"][..], Ok(())),
            (V1, "/", &["a.example:8080"], Ok(())),
            (V1, "/", &["[::1]:8080"], Ok(())),
            (V1, "/", &["127.0.0.1"], Ok(())),
            (V1, "/", &["_x.example-1."], Ok(())),
            (V1, "/", &[""], Ok(())),
            (V1, "/", &[], Err(Missing)),
            (V1, "/", &["a.example", "a.example"], Err(Several)),
            (V1, "/", &["a.example", "b.example"], Err(Several)),
            (V1, "/", &["a b"], Err(Invalid)),
            (V1, "/", &["a.example, b.example"], Err(Invalid)),
            (V1, "/", &["a.example/x"], Err(Invalid)),
            (V1, "/", &["user@a.example"], Err(Invalid)),
            (V1, "/", &["a.example:80x"], Err(Invalid)),
            (V1, "/", &["http://a.example"], Err(Invalid)),
            (V1, "http://a.example/", &["b.example"], Ok(())),
            (V1, "http://a.example/", &[], Err(Missing)),
            (Version::HTTP_10, "/", &[], Ok(())),
            (Version::HTTP_10, "/", &["a", "b"], Err(Several)),
            (V2, "http://a.example/", &[], Ok(())),
            (V2, "http://a.example/", &["a.example"], Ok(())),
            (V2, "http://a.example/", &["b.example"], Err(Differs)),
            (V2, "http://user@a.example/", &[], Err(Invalid)),
            (V2, "/", &["a.example"], Ok(())),
            (V2, "/", &[], Err(Missing)),
            (V2, "/", &["a.example", "a.example"], Err(Several)),
        ] {
            let mut request = Request::builder().version(version).uri(uri);
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            let request = request.body(()).unwrap();
            assert_eq!(check(&request), expected, "{version:?} {uri} {hosts:?}");
        }
    }
}
