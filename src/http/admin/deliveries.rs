//! `/admin/deliveries…`: what came, refused deliveries too, and why.
//!
//! Of what is stored, the admin token shows who sent what and when; its headers and its
//! body need a second token, one that shows deliveries. Invariants: no answer has a
//! secret, a token, a whole signature, or a MAC that was expected; no list looks at more
//! than a bounded part of the journal.

mod again;
mod detail;
mod list;
mod live;
mod question;
mod shown;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use hookrill_core::Cursor;
use http::Uri;

use super::{json_response, read_body};
use crate::{
    http::{Gateway, problem::ProblemDetails},
    recent::AttemptKind,
};

/// What is asked by GET.
pub(super) fn questions() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/admin/deliveries", get(list::list))
        .route("/admin/deliveries/live", get(live::live))
        .route("/admin/deliveries/{id}", get(detail::one))
        .route("/admin/deliveries/{id}/body", get(detail::body))
}

/// What is done by POST.
pub(super) fn orders() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/admin/deliveries/{id}/explain", post(again::explain))
        .route("/admin/deliveries/{id}/take", post(again::take))
}

/// What a delivery in these lists is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeliveryId {
    /// An event of the journal: `k3f9x2ab-4711`.
    Stored(Cursor),
    /// What was not stored: `r-41` where it was refused.
    Recent(AttemptKind, u64),
}

/// The id in a path. None has to be percent-encoded.
fn id_of(uri: &Uri) -> &str {
    let below = uri.path().strip_prefix("/admin/deliveries/");
    let first = below.and_then(|below| below.split('/').next());
    first.unwrap_or_default()
}

impl DeliveryId {
    fn parse(text: &str) -> Result<Self, ProblemDetails> {
        for kind in [
            AttemptKind::Refused,
            AttemptKind::Duplicate,
            AttemptKind::Handshake,
        ] {
            let digits = text
                .strip_prefix(shown::letter(kind))
                .and_then(|rest| rest.strip_prefix('-'));
            // An epoch may have one letter; a journal that is made here has eight.
            let number = digits.and_then(|digits| digits.parse::<u64>().ok());
            // Written in one way alone.
            if let Some(number) = number
                && digits == Some(&*number.to_string())
            {
                return Ok(Self::Recent(kind, number));
            }
        }
        text.parse().map(Self::Stored).map_err(|_| {
            let why = "it is r-41 of a refused one, d-42 of a duplicate, h-43 of a handshake, or \
                       the id of an event, such as k3f9x2ab-4711";
            ProblemDetails::parameter("id", why)
        })
    }
}
