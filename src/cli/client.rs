//! A blocking request without redirects, for `hookrill health`.

use std::time::Duration;

use ureq::{Agent, Body, Proxy, http::Response};

use super::{USER_AGENT, output};
use crate::config::url::is_loopback;

/// The longest answer that is read where a short one is expected, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// A client for one request to `url` and one answer.
pub(super) fn short(url: &str, timeout: Duration) -> Agent {
    base(url).timeout_global(Some(timeout)).build().into()
}

fn base(url: &str) -> ureq::config::ConfigBuilder<ureq::typestate::AgentScope> {
    Agent::config_builder()
        .proxy(proxy(url))
        // A redirected POST would be an unsigned GET; who moved says so by
        // --url.
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(USER_AGENT)
}

/// The environment's proxy, but for this machine itself: Docker hands the
/// proxy of its own configuration to every container, and that cannot reach
/// what listens on a container's loopback address.
fn proxy(url: &str) -> Option<Proxy> {
    let local = url.parse().is_ok_and(|url| is_loopback(&url));
    if local { None } else { Proxy::try_from_env() }
}

/// The answer's text.
fn text(response: &mut Response<Body>) -> String {
    let body = response.body_mut().with_config();
    let text = body.limit(ANSWER_BYTES_MAX).lossy_utf8(true);
    text.read_to_string().unwrap_or_default()
}

/// What a refusal says of itself: the status, and the detail of its
/// `application/problem+json` (RFC 9457).
pub(super) fn refusal(response: &mut Response<Body>) -> String {
    let status = response.status();
    let text = text(response);
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let said = ["detail", "title"]
        .iter()
        .find_map(|key| problem[*key].as_str());
    match said.unwrap_or(text.trim()) {
        "" => status.to_string(),
        said => format!("{status}: {}", output::printable(said)),
    }
}
