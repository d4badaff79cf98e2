//! Where a request carries its token.
//!
//! Refuses two in a query: whoever reads the first and whoever reads the last would
//! differ. Of cookies several of one name are usual, for a path and for all of them, or
//! an old one of another domain; each is tried, within a bound.

use http::{HeaderMap, header};

use super::{problem::ProblemDetails, query::QueryParams};

const TOKEN_COOKIE: &str = "hookrill_token";
/// The most cookies that are tried: each may cost a signature.
const COOKIES_MAX: usize = 8;

/// The token in `Authorization`, else the one in the query, else those in cookies, the
/// most specific first, as browsers send them (RFC 6265, section 5.4).
pub(super) fn tokens(
    query: &QueryParams,
    headers: &HeaderMap,
) -> Result<Vec<String>, ProblemDetails> {
    let in_query = query.one("token")?.filter(|token| !token.is_empty());
    Ok(match bearer_token(headers).or(in_query) {
        Some(token) => vec![token.to_owned()],
        None => cookie_tokens(headers),
    })
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1), if there is
/// one.
pub(super) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn cookie_tokens(headers: &HeaderMap) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    for line in headers.get_all(header::COOKIE) {
        // Others beside it may be of any bytes.
        let line = String::from_utf8_lossy(line.as_bytes());
        for pair in line.split(';') {
            let Some((TOKEN_COOKIE, value)) = pair.trim().split_once('=') else {
                continue;
            };
            let token = value.trim_matches('"');
            if tokens.len() == COOKIES_MAX {
                return tokens;
            }
            if !token.is_empty() && !tokens.iter().any(|other| other == token) {
                tokens.push(token.to_owned());
            }
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Uri};

    use super::*;
    use crate::http::query::EVENTS;

    fn query(text: &str) -> QueryParams {
        let uri: Uri = format!("/events/a?{text}").parse().unwrap();
        QueryParams::of_route(&uri, EVENTS).unwrap()
    }

    #[test]
    fn a_header_goes_before_the_query_and_the_query_before_the_cookie() {
        for (bearer, in_query, cookie, expected) in [
            (Some("Bearer h"), "token=q", Some("c"), Some("h")),
            (Some("Basic h"), "token=q", Some("c"), Some("q")),
            (Some("Bearer "), "token=", Some("c"), Some("c")),
            (None, "", Some("\"c\""), Some("c")),
            (None, "", Some(""), None),
            (None, "", None, None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = bearer {
                headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            }
            if let Some(value) = cookie {
                let line = format!("a=b; {TOKEN_COOKIE}={value}");
                headers.insert(header::COOKIE, line.parse().unwrap());
            }
            let found = tokens(&query(in_query), &headers).unwrap();
            let expected: Vec<_> = expected.into_iter().collect();
            assert_eq!(found, expected, "{in_query}");
        }
    }

    #[test]
    fn every_cookie_of_the_name_is_a_token_within_a_bound() {
        let mut headers = HeaderMap::new();
        let line = b"hookrill_token=a; other=\xff; hookrill_token=b;hookrill_token=a";
        headers.append(header::COOKIE, HeaderValue::from_bytes(line).unwrap());
        headers.append(header::COOKIE, HeaderValue::from_static("hookrill_token=c"));
        assert_eq!(tokens(&query(""), &headers).unwrap(), ["a", "b", "c"]);
        for n in 0..1_000 {
            let another = format!("hookrill_token={n}");
            headers.append(header::COOKIE, another.parse().unwrap());
        }
        assert_eq!(tokens(&query(""), &headers).unwrap().len(), COOKIES_MAX);
    }

    #[test]
    fn two_tokens_in_a_query_are_refused() {
        assert!(tokens(&query("token=a&token=b"), &HeaderMap::new()).is_err());
    }
}
