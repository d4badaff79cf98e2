//! One fetch of one key set: bounded in time and bytes, and no redirects.
//!
//! Blocks. Refuses any status but 200: a page that explains an error is no
//! key set, and a redirect leads to an address that nobody configured.

use std::time::Duration;

use ureq::{Agent, http::header::CACHE_CONTROL};

use super::Settings;
use crate::access::{IssuerKeys, JwksError};

/// The longest key set that is read, in bytes.
const SET_BYTES_MAX: u64 = 256 * 1024;

/// A key set that came.
pub(super) struct Fetched {
    pub(super) keys: IssuerKeys,
    /// How long it is good.
    pub(super) age: Duration,
}

/// Why none came.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("it answers {0}")]
    Status(u16),
    #[error(transparent)]
    Http(#[from] ureq::Error),
    #[error(transparent)]
    IssuerKeys(#[from] JwksError),
}

pub(super) fn fetch(url: &str, settings: &Settings) -> Result<Fetched, FetchError> {
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(settings.fetch_time_max))
        .max_redirects(0)
        .http_status_as_error(false)
        // The environment is `config`'s to read.
        .proxy(None)
        .user_agent(concat!("hookrill/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut answer = agent.get(url).header("Accept", "application/json").call()?;
    if answer.status() != 200 {
        return Err(FetchError::Status(answer.status().as_u16()));
    }
    let said = answer.headers().get_all(CACHE_CONTROL).iter();
    let said: Vec<_> = said.filter_map(|value| value.to_str().ok()).collect();
    let age = age(&said.join(","), settings);
    let body = answer.body_mut().with_config().limit(SET_BYTES_MAX);
    let keys = IssuerKeys::from_jwks(&body.read_to_vec()?)?;
    Ok(Fetched { keys, age })
}

/// What `Cache-Control` says (RFC 9111, section 5.2.2), within bounds.
fn age(cache_control: &str, settings: &Settings) -> Duration {
    let directives = || cache_control.split(',').map(str::trim);
    let named = |name: &str| directives().any(|other| other.eq_ignore_ascii_case(name));
    if named("no-store") || named("no-cache") {
        return settings.age_min;
    }
    let secs = directives().find_map(|directive| {
        let (name, secs) = directive.split_once('=')?;
        let max_age = name.trim().eq_ignore_ascii_case("max-age");
        max_age.then(|| secs.trim().trim_matches('"').parse().ok())?
    });
    let age = secs.map_or(settings.age, Duration::from_secs);
    age.clamp(settings.age_min, settings.age_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_long_it_is_good_within_bounds() {
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
