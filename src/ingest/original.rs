//! What an event keeps of a delivery so that it can be delivered again as it came.
//!
//! Invariant: nothing is kept that may be a secret, but what verifies the delivery, and a
//! query that is signed.

use std::borrow::Cow;

use hookrill_core::{HeaderList, Original};
use hookrill_verify::Delivery;
use http::Method;

use super::{headers::KeptHeaders, route::IngestRoute};

/// The headers that views may show, and what else is kept, but for the body as it was sent.
pub(super) fn kept_of(route: &IngestRoute, delivery: &Delivery) -> (HeaderList, Original) {
    let verifier = route.verifier();
    let proof: &[_] = if route.keeps_proof() {
        verifier.proof_headers()
    } else {
        &[]
    };
    let facts = verifier.fact_headers();
    let is_needed = |name: &_| proof.contains(name) || facts.contains(name);
    let mut kept = KeptHeaders::of(delivery, is_needed);
    if let Some(token) = verifier.token_header() {
        kept.omit("", token.as_str());
    }
    if let Some(token) = verifier.token_parameter() {
        kept.omit("?", token);
    }
    let target = target(&delivery.path_and_query);
    // A signature holds for all of it; and the query of a GET is what subscribers see.
    let is_whole = verifier.signs_target() || delivery.method == Method::GET;
    let open = if is_whole {
        target.into()
    } else {
        let (open, cut) = route.confidential().open_target(target);
        for name in cut {
            kept.omit("?", name);
        }
        open
    };
    let original = Original {
        method: method(&delivery.method),
        target: open.into(),
        proof: kept.proof,
        omitted: kept.omitted.into(),
        headers_cut: kept.cut,
        sent: None,
    };
    (kept.headers, original)
}

/// The method as an event has it.
fn method(method: &Method) -> Cow<'static, str> {
    match *method {
        Method::POST => Original::METHOD.into(),
        ref other => Cow::Owned(other.as_str().to_owned()),
    }
}

/// What stands behind the topic in a request's target: a slash, if any, and the query.
fn target(path_and_query: &str) -> &str {
    let path_end = path_and_query.find('?').unwrap_or(path_and_query.len());
    let path = &path_and_query[..path_end];
    let topic_end = path.strip_suffix('/').unwrap_or(path).len();
    &path_and_query[topic_end..]
}
