//! Sends requests exactly as they are given, once each.
//!
//! Adds nothing but `Host` and what frames the body; follows no redirect, keeps no
//! connection and tries nothing again. Invariant: of an answer no more is kept than was
//! asked for.

use std::{fmt, future::poll_fn};

use bytes::Bytes;
use http::{
    HeaderMap, Request, StatusCode,
    header::{HOST, PROXY_AUTHORIZATION},
};
use http_body_util::Full;

use crate::transport::{
    ConnectOptions, ConnectOptionsError, Connector, Exchange, ExchangeError, IdleConnection,
};

/// Sends requests to one server as they are: a webhook that somebody else signed.
///
/// ```no_run
/// use hookrill_client::{ConnectOptions, Relay};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let app = Relay::new("http://localhost:3000", ConnectOptions::new())?;
/// let request = http::Request::post("/webhooks/github").body("{}".into())?;
/// let answer = app.send(request, 4096).await?;
/// println!("{}", answer.status);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Relay {
    connector: Connector,
}

/// What a server answered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RelayAnswer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The beginning of the body.
    pub body: Bytes,
    /// Whether that is all of it.
    pub is_whole: bool,
}

/// What a server answers, while it comes.
#[must_use]
pub struct RelayBody {
    exchange: Exchange,
}

impl Relay {
    /// Requests to the server with this URL, such as `http://localhost:3000`.
    ///
    /// # Errors
    ///
    /// Where the URL or the options can never work.
    pub fn new(url: &str, options: ConnectOptions) -> Result<Self, ConnectOptionsError> {
        let connector = Connector::new(url, options)?;
        Ok(Self { connector })
    }

    /// Sends a request, whose URI is a path with its query, and reads the first
    /// `answer_bytes_max` bytes of what comes back. Takes any time: put a timeout around it.
    ///
    /// # Errors
    ///
    /// Where there is no connection, or it broke before the answer was read.
    /// [`ExchangeError::Connect`] means that the request was not sent.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        answer_bytes_max: usize,
    ) -> Result<RelayAnswer, ExchangeError> {
        self.begin(request)
            .await?
            .into_answer(answer_bytes_max)
            .await
    }

    /// As [`Relay::send`], for an answer that is read as it comes.
    ///
    /// # Errors
    ///
    /// As of [`Relay::send`].
    pub async fn begin(&self, mut request: Request<Bytes>) -> Result<RelayBody, ExchangeError> {
        let route = request.uri().path_and_query();
        let target = self
            .connector
            .target(route.map_or("/", |route| route.as_str()));
        if let Ok(target) = target.parse() {
            *request.uri_mut() = target;
        }
        let headers = request.headers_mut();
        headers
            .entry(HOST)
            .or_insert_with(|| self.connector.url.authority.clone());
        if let Some(authorization) = self.connector.proxy_authorization() {
            headers.insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        let connection = IdleConnection::open(&self.connector).await?;
        let exchange = connection.ask(request.map(Full::new)).await?;
        Ok(RelayBody { exchange })
    }
}

impl RelayBody {
    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.exchange.status()
    }

    /// The next bytes, once there are some; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, ExchangeError>> {
        poll_fn(|cx| self.exchange.poll_data(cx)).await
    }

    /// Reads the first `bytes_max` bytes of what is left.
    ///
    /// # Errors
    ///
    /// Where the connection broke before that.
    pub async fn into_answer(mut self, bytes_max: usize) -> Result<RelayAnswer, ExchangeError> {
        let (body, is_whole) = self.exchange.read_body(bytes_max).await?;
        Ok(RelayAnswer {
            status: self.exchange.status(),
            headers: self.exchange.head.headers,
            body,
            is_whole,
        })
    }
}

impl fmt::Debug for RelayBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayBody")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("url", &self.connector.url)
            .finish_non_exhaustive()
    }
}
