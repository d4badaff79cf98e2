//! One fetch of one key set: bounded in time and bytes, without redirects.
//!
//! Refuses any status but 200: a page that explains an error is not a
//! key set, and a redirect leads to a URL that nobody configured.

use std::time::Duration;

use hookrill_client::{ConnectOptions, Fetch};
use http::{
    HeaderValue, StatusCode,
    header::{ACCEPT, CACHE_CONTROL},
};

use super::key_set::Settings;
use crate::access::{IssuerKeys, JwksError};

/// The longest key set that is read, in bytes.
const SET_BYTES_MAX: usize = 256 * 1024;

/// A key set that was fetched.
pub(super) struct Fetched {
    pub(super) keys: IssuerKeys,
    /// How long it is fresh.
    pub(super) age: Duration,
}

/// Why a key set was not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the response has the status {0}")]
    Status(u16),
    #[error(transparent)]
    Http(#[from] hookrill_client::FetchError),
    #[error(transparent)]
    Jwks(#[from] JwksError),
}

pub(super) async fn fetch(url: &str, settings: &Settings) -> Result<Fetched, FetchError> {
    let connect = ConnectOptions::new()
        // The environment is `config`'s to read.
        .no_proxy()
        .user_agent(concat!("hookrill/", env!("CARGO_PKG_VERSION")));
    let document = Fetch::new(url)
        .header(ACCEPT, HeaderValue::from_static("application/json"))
        .bytes_max(SET_BYTES_MAX)
        .timeout(settings.fetch_time_max)
        .connect_options(connect)
        .get()
        .await?;
    if document.status != StatusCode::OK {
        return Err(FetchError::Status(document.status.as_u16()));
    }
    let lines = document.headers.get_all(CACHE_CONTROL).iter();
    let lines: Vec<_> = lines.filter_map(|value| value.to_str().ok()).collect();
    let age = age(&lines.join(","), settings);
    let keys = IssuerKeys::from_jwks(&document.body)?;
    Ok(Fetched { keys, age })
}

/// How long the response is fresh by `Cache-Control` (RFC 9111, section 5.2.2),
/// within bounds.
fn age(cache_control: &str, settings: &Settings) -> Duration {
    let mut age = None;
    for directive in cache_control.split(',').map(str::trim) {
        if ["no-store", "no-cache"]
            .iter()
            .any(|it| directive.eq_ignore_ascii_case(it))
        {
            return settings.age_min;
        }
        age = age.or_else(|| max_age(directive));
    }
    let age = age.unwrap_or(settings.age);
    age.clamp(settings.age_min, settings.age_max)
}

fn max_age(directive: &str) -> Option<Duration> {
    let (name, value) = directive.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("max-age") {
        return None;
    }
    let secs = value.trim().trim_matches('"').parse().ok()?;
    Some(Duration::from_secs(secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_says_how_long_it_is_fresh_within_bounds() {
        let settings = Settings::default();
        for (said, secs) in [
            ("", 3_600),
            ("public, max-age=600", 600),
            ("Max-Age=\"600\"", 600),
            ("s-maxage=5", 3_600),
            ("max-age=0", 60),
            ("max-age=99999999", 86_400),
            ("max-age=-1", 3_600),
            ("max-age=600, no-cache", 60),
            ("no-store", 60),
        ] {
            assert_eq!(age(said, &settings).as_secs(), secs, "{said}");
        }
    }
}
