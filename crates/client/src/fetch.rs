//! Fetches a small document: a token from one's own backend, a key set, the
//! health of a gateway.
//!
//! Refuses redirects, and more bytes than were asked for. Invariant: each fetch
//! has a connection of its own, which ends with it.

use std::{fmt, time::Duration};

use bytes::Bytes;
use hookrill_core::without_secrets;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri,
    header::{HOST, PROXY_AUTHORIZATION, USER_AGENT},
};
use http_body_util::Full;
use tokio::time::timeout;

use crate::transport::{
    Answer, ConnectOptions, ConnectOptionsError, Connector, Exchange, ExchangeError,
    IdleConnection, StatusError, UrlError,
};

const BYTES_MAX: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A `GET` of a small document.
///
/// ```no_run
/// use hookrill_client::{BoxError, Fetch};
///
/// async fn token() -> Result<String, BoxError> {
///     let document = Fetch::new("https://app.example.com/token").get().await?;
///     let document = document.ok()?;
///     Ok(String::from_utf8(document.body.to_vec())?)
/// }
/// ```
#[must_use = "`get` fetches it"]
pub struct Fetch {
    url: String,
    headers: HeaderMap,
    bytes_max: usize,
    timeout: Duration,
    connect: ConnectOptions,
}

/// A document that was fetched, whatever its status.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Document {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

/// A document was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL, or how to connect.
    #[error(transparent)]
    Options(#[from] ConnectOptionsError),
    /// No connection, or it broke.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// It took too long.
    #[error("no complete response within {0:?}")]
    TimedOut(Duration),
    /// The document is longer than it may be.
    #[error("the document is longer than {0} bytes")]
    TooLong(usize),
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may carry a secret, and so may the URL.
        f.debug_struct("Fetch")
            .field("url", &without_secrets(&self.url))
            .finish_non_exhaustive()
    }
}

impl Fetch {
    /// A fetch of this URL, which takes ten seconds and a megabyte at most.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: HeaderMap::new(),
            bytes_max: BYTES_MAX,
            timeout: TIMEOUT,
            connect: ConnectOptions::new(),
        }
    }

    /// Sends this header along.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// How long the document may be, in bytes.
    pub fn bytes_max(mut self, bytes_max: usize) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// How long all of it may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How to connect.
    pub fn connect_options(mut self, connect: ConnectOptions) -> Self {
        self.connect = connect;
        self
    }

    /// Fetches it. A status other than 200 is not an error here:
    /// [`Document::ok`] makes one of it.
    ///
    /// # Errors
    ///
    /// Where there is no complete response in time.
    pub async fn get(self) -> Result<Document, FetchError> {
        let within = self.timeout;
        let got = timeout(within, self.get_at_any_time()).await;
        got.unwrap_or(Err(FetchError::TimedOut(within)))
    }

    async fn get_at_any_time(self) -> Result<Document, FetchError> {
        let (base, route) = split(&self.url).map_err(ConnectOptionsError::from)?;
        let connector = Connector::new(&base, self.connect)?;
        let mut request = Request::new(Full::<Bytes>::default());
        *request.headers_mut() = self.headers;
        let headers = request.headers_mut();
        headers.insert(HOST, connector.url.authority.clone());
        headers.insert(USER_AGENT, connector.user_agent.clone());
        if let Some(authorization) = connector.proxy_authorization() {
            headers.insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        match connector.target(&route).parse() {
            Ok(target) => *request.uri_mut() = target,
            Err(_) => debug_assert!(false, "both parts are of one URL"),
        }
        let connection = IdleConnection::open(&connector).await?;
        let mut exchange = connection.ask(request).await?;
        let body = body(&mut exchange, self.bytes_max).await?;
        Ok(Document {
            status: exchange.status(),
            headers: exchange.head.headers,
            body,
        })
    }
}

impl Document {
    /// The document, if its status is 200.
    ///
    /// # Errors
    ///
    /// Where it is another one.
    pub fn ok(self) -> Result<Self, StatusError> {
        if self.status == StatusCode::OK {
            return Ok(self);
        }
        let answer = Answer::new(self.status, &self.headers, self.body);
        Err(answer.into_error())
    }
}

/// Where to connect, and what to ask for there.
fn split(url: &str) -> Result<(String, String), UrlError> {
    let parts = || {
        let uri: Uri = url.parse().ok()?;
        let base = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
        Some((base, uri.path_and_query()?.to_string()))
    };
    parts().ok_or_else(|| UrlError {
        url: without_secrets(url),
    })
}

async fn body(exchange: &mut Exchange, bytes_max: usize) -> Result<Bytes, FetchError> {
    let (body, is_whole) = exchange.read_body(bytes_max).await?;
    if is_whole {
        Ok(body)
    } else {
        Err(FetchError::TooLong(bytes_max))
    }
}
