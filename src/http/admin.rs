//! `/admin/…`: what only the holder of the admin token may ask and do.
//!
//! Every route here checks the token before it reads anything else of the
//! request.

mod revoke;
mod topics;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Gateway, tokens::bearer_token};
pub(super) use {revoke::revoke, topics::topics};

impl Gateway {
    /// Whether the request carries the admin token. Compares digests, so that
    /// the time taken does not even show the token's length.
    pub(super) fn is_operator(&self, headers: &HeaderMap) -> bool {
        let settings = self.settings();
        let (Some(expected), Some(given)) = (&settings.admin_token, bearer_token(headers)) else {
            return false;
        };
        let expected = Sha256::digest(expected.expose());
        expected.ct_eq(&Sha256::digest(given)).into()
    }
}

/// A JSON answer that no cache keeps.
fn json_response(page: &Value) -> Response {
    let head = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (head, page.to_string()).into_response()
}
