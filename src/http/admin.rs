//! `/admin/…`: what only the holder of the admin token may ask and do.
//!
//! Every route here checks the token before it reads anything else of the
//! request.

mod deliveries;
mod revoke;
mod topics;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{Extensions, HeaderMap, header};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

use super::{Gateway, problem::ProblemDetails, tokens::bearer_token};

/// The longest request body, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long it may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// What is asked by GET.
pub(super) fn questions() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/admin/topics", get(topics::topics))
        .merge(deliveries::questions())
}

/// What is done by POST.
pub(super) fn orders() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/admin/revoke", post(revoke::revoke))
        .merge(deliveries::orders())
}

impl Gateway {
    /// Lets the operator in. An address that has tried too many wrong tokens is not even
    /// asked for another one, a second long.
    ///
    /// # Errors
    ///
    /// A problem, where the request has not the admin token.
    pub(super) fn check_operator(
        &self,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) -> Result<(), ProblemDetails> {
        let has_token = bearer_token(headers).is_some();
        if !has_token {
            return Err(ProblemDetails::operator_only(false));
        }
        let (client, now) = (self.client_ip(extensions, headers), self.clock.monotonic());
        let may_try = self.wrong_tokens.check(client, now);
        may_try.map_err(ProblemDetails::wrong_tokens)?;
        if self.is_operator(headers) {
            return Ok(());
        }
        self.wrong_tokens.count(client, now);
        Err(ProblemDetails::operator_only(true))
    }

    /// Whether the request carries the admin token. Compares digests, so that
    /// the time taken does not even show the token's length.
    fn is_operator(&self, headers: &HeaderMap) -> bool {
        let settings = self.settings();
        let (Some(expected), Some(given)) = (&settings.admin_token, bearer_token(headers)) else {
            return false;
        };
        let expected = Sha256::digest(expected.expose());
        expected.ct_eq(&Sha256::digest(given)).into()
    }
}

/// The body of a request.
///
/// # Errors
///
/// A problem, where it does not come whole, in time, and within its bound.
async fn read_body(body: Body) -> Result<Bytes, ProblemDetails> {
    match timeout(BODY_TIME_MAX, to_bytes(body, BODY_BYTES_MAX)).await {
        Err(_) => Err(ProblemDetails::parameter(
            "body",
            "it took too long to arrive",
        )),
        Ok(Err(_)) => {
            let why = format_args!("it is incomplete or longer than {BODY_BYTES_MAX} bytes");
            Err(ProblemDetails::parameter("body", why))
        }
        Ok(Ok(bytes)) => Ok(bytes),
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
