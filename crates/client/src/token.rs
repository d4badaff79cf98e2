//! Subscriber tokens: one that stays, or a source of fresh ones.

use std::{error::Error, pin::Pin};

use http::HeaderValue;

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A token on its way.
pub type TokenFuture = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

/// Gives tokens to a [`Subscription`](crate::Subscription).
///
/// It is asked before the first connection, again shortly before the token
/// expires, and once more when the gateway refuses the token it gave before.
/// Functions that return a future are sources:
///
/// ```
/// use hookrill_client::{BoxError, TokenSource};
///
/// async fn fetch_from_our_backend() -> Result<String, BoxError> {
///     Ok("eyJhbGciOi…".to_owned())
/// }
///
/// fn takes(source: impl TokenSource) {}
/// takes(fetch_from_our_backend);
/// takes(|| async { Ok("eyJhbGciOi…".to_owned()) });
/// ```
pub trait TokenSource: Send + 'static {
    /// A token that is valid now, and for as long as can be had.
    ///
    /// # Errors
    ///
    /// Why there is none now. The subscription waits and asks again.
    fn token(&mut self) -> TokenFuture;
}

impl<F, Fut> TokenSource for F
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<String, BoxError>> + Send + 'static,
{
    fn token(&mut self) -> TokenFuture {
        Box::pin(self())
    }
}

/// The header for a token, if it can be sent at all.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    // So that no `Debug` prints it.
    value.set_sensitive(true);
    Some(value)
}
