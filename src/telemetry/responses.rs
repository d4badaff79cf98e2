//! HTTP responses by route and status.
//!
//! Invariant: routes are from a list and statuses are numbers, so the series are
//! bounded; each is resolved once, so that counting is one addition.

use std::sync::{Arc, OnceLock};

use metrics::{Counter, counter, describe_counter, with_local_recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

const METRIC: &str = "hookrill_http_responses_total";
const STATUS_MIN: u16 = 100;
const STATUS_MAX: u16 = 599;

/// A route, as far as responses are counted by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route(usize);

/// The first segments of all routes; what is none of them comes last.
const ROUTES: &[&str] = &[
    "/ingest",
    "/events",
    "/streams",
    "/deliveries",
    "/healthz",
    "/readyz",
    "/metrics",
    "/version",
    "/admin",
    "other",
];
const OTHER: Route = Route(ROUTES.len() - 1);

impl Route {
    /// The route of a request with this path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let end = path.bytes().skip(1).position(|byte| byte == b'/');
        let first = end.map_or(path, |end| &path[..=end]);
        let found = ROUTES.iter().position(|route| *route == first);
        found.map_or(OTHER, Self)
    }
}

/// Counts responses.
pub struct Responses {
    recorder: Arc<PrometheusRecorder>,
    /// By route and status, resolved when the first one is counted.
    counters: Box<[OnceLock<Counter>]>,
}

impl Responses {
    pub(super) fn new(recorder: Arc<PrometheusRecorder>) -> Self {
        with_local_recorder(&recorder, || {
            describe_counter!(METRIC, "HTTP responses, by route and status.");
        });
        let statuses = usize::from(STATUS_MAX - STATUS_MIN) + 1;
        let counters = (0..ROUTES.len() * statuses).map(|_| OnceLock::new());
        Self {
            recorder,
            counters: counters.collect(),
        }
    }

    /// Counts a response; its status is as HTTP has it, three digits.
    pub fn count(&self, route: Route, status: u16) {
        let status = status.clamp(STATUS_MIN, STATUS_MAX);
        let at = route.0 + ROUTES.len() * usize::from(status - STATUS_MIN);
        let resolve = || {
            with_local_recorder(
                &self.recorder,
                || counter!(METRIC, "route" => ROUTES[route.0], "status" => status.to_string()),
            )
        };
        self.counters[at].get_or_init(resolve).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_for_is_one_of_few_routes() {
        for (path, route) in [
            ("/ingest/orders.eu", "/ingest"),
            ("/ingest", "/ingest"),
            ("/ingest/", "/ingest"),
            ("/ingested", "other"),
            ("/admin/topics", "/admin"),
            ("/", "other"),
            ("", "other"),
            ("*", "other"),
            ("/ünknown/ü", "other"),
            ("//", "other"),
        ] {
            assert_eq!(ROUTES[Route::of(path).0], route, "{path}");
        }
    }
}
