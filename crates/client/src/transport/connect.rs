//! Connections to a gateway: TCP, through a proxy where one is configured, and
//! TLS for `https`.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use http::HeaderValue;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    proxy::{ProxyAddress, ProxyChoice, TunnelError},
    url::{GatewayUrl, UrlError},
};

/// So many addresses of a name are tried.
const ADDRESSES_MAX: usize = 8;

/// A byte stream to a gateway.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// How a gateway is connected to.
///
/// ```
/// use std::time::Duration;
///
/// use hookrill_client::ConnectOptions;
///
/// let options = ConnectOptions::new()
///     .connect_timeout(Duration::from_secs(5))
///     .user_agent("shop/1.0")
///     .proxy("http://proxy.example.com:3128");
/// ```
#[derive(Clone)]
pub struct ConnectOptions {
    connect_timeout: Duration,
    user_agent: String,
    proxy: ProxyChoice,
    #[cfg(feature = "tls")]
    tls: Option<Arc<tokio_rustls::rustls::ClientConfig>>,
}

/// No connection came about. Another attempt may succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The host's name could not be resolved.
    #[error("cannot resolve {host}")]
    Resolve {
        /// The gateway, or the proxy before it.
        host: String,
        /// What the resolver says.
        #[source]
        source: io::Error,
    },
    /// No address of the host accepts connections.
    #[error("cannot connect to {host}:{port}")]
    Tcp {
        /// The gateway, or the proxy before it.
        host: String,
        /// Its port.
        port: u16,
        /// What the last address tried said.
        #[source]
        source: io::Error,
    },
    /// The proxy did not connect to the gateway.
    #[error("the proxy {host} did not connect to the gateway")]
    Proxy {
        /// The proxy.
        host: String,
        /// What it answered.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// TLS failed: the certificate is not trusted, or the peer speaks none.
    #[error("TLS with {host} failed")]
    Tls {
        /// The gateway, or the proxy before it.
        host: String,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// The URL is `https`, and what answers there speaks no TLS.
    #[error("{host} speaks no TLS on this port: its URL begins with http://")]
    NoTls {
        /// The gateway, or the proxy before it.
        host: String,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// All of it took too long.
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
}

/// Options that can never work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectOptionsError {
    /// The gateway's URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The URL is `https`, and the feature `tls` is off.
    #[error("https needs the feature `tls` of hookrill-client")]
    TlsOff,
    /// The proxy's URL.
    #[error("the proxy {0:?} is not a URL such as http://proxy.example.com:3128")]
    Proxy(String),
    /// A control character.
    #[error("the user agent {0:?} can't be sent in a header")]
    UserAgent(String),
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A proxy's URL may have a password in it.
        f.debug_struct("ConnectOptions")
            .field("connect_timeout", &self.connect_timeout)
            .field("user_agent", &self.user_agent)
            .finish_non_exhaustive()
    }
}

impl ConnectOptions {
    /// Ten seconds for a connection, and the proxy that the environment names
    /// (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`), but none for
    /// loopback addresses.
    #[must_use]
    pub fn new() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            user_agent: concat!("hookrill-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxy: ProxyChoice::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// How long a connection may take: name resolution, TCP, proxy and TLS
    /// together.
    #[must_use]
    pub fn connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout;
        self
    }

    /// The header `User-Agent`.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Connects through this HTTP proxy, whatever the environment says; its
    /// URL may have a user and a password.
    #[must_use]
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = ProxyChoice::Url(url.into());
        self
    }

    /// Connects directly, whatever the environment says.
    #[must_use]
    pub fn no_proxy(mut self) -> Self {
        self.proxy = ProxyChoice::None;
        self
    }

    /// Uses these trust anchors, client certificates and versions for TLS, in
    /// place of Mozilla's certificate authorities.
    ///
    /// [`trust_any_certificate`](Self::trust_any_certificate) is the other choice.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: Arc<tokio_rustls::rustls::ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// Takes any certificate, whoever signed it and whatever its name: only for a server on
    /// this machine, since whoever is in between reads and changes everything.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn trust_any_certificate(self) -> Self {
        self.tls(super::tls::config_that_trusts_any())
    }
}

/// Connects to one gateway.
pub(crate) struct Connector {
    pub(crate) url: GatewayUrl,
    pub(crate) user_agent: HeaderValue,
    connect_timeout: Duration,
    proxy: Option<ProxyAddress>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<tokio_rustls::rustls::ClientConfig>>,
}

impl Connector {
    pub(crate) fn new(url: &str, options: ConnectOptions) -> Result<Self, ConnectOptionsError> {
        let url = GatewayUrl::parse(url)?;
        if cfg!(not(feature = "tls")) && url.is_https {
            return Err(ConnectOptionsError::TlsOff);
        }
        let proxy = options.proxy.for_gateway(&url);
        let proxy = proxy.map_err(ConnectOptionsError::Proxy)?;
        if cfg!(not(feature = "tls")) && proxy.as_ref().is_some_and(|proxy| proxy.is_https) {
            return Err(ConnectOptionsError::TlsOff);
        }
        let user_agent = HeaderValue::from_str(&options.user_agent)
            .map_err(|_| ConnectOptionsError::UserAgent(options.user_agent))?;
        #[cfg(feature = "tls")]
        let needs_tls = url.is_https || proxy.as_ref().is_some_and(|proxy| proxy.is_https);
        Ok(Self {
            user_agent,
            connect_timeout: options.connect_timeout,
            #[cfg(feature = "tls")]
            tls: needs_tls.then(|| options.tls.unwrap_or_else(super::tls::default_config)),
            proxy,
            url,
        })
    }

    /// What a request line says for this route. A proxy that is given a
    /// request without a tunnel needs the whole URL.
    pub(crate) fn target(&self, route: &str) -> String {
        match &self.proxy {
            Some(_) if !self.url.is_https => self.url.absolute(route),
            _ => self.url.path(route),
        }
    }

    /// What a proxy wants to see in each request that it is given itself.
    pub(crate) fn proxy_authorization(&self) -> Option<&HeaderValue> {
        let proxy = self.proxy.as_ref().filter(|_| !self.url.is_https);
        proxy?.authorization.as_ref()
    }

    pub(crate) async fn connect(&self) -> Result<Box<dyn ByteStream>, ConnectError> {
        let connected = timeout(self.connect_timeout, self.stream()).await;
        connected.map_err(|_| ConnectError::TimedOut(self.connect_timeout))?
    }

    async fn stream(&self) -> Result<Box<dyn ByteStream>, ConnectError> {
        let Some(proxy) = &self.proxy else {
            let stream = self.tcp(&self.url.host, self.url.port).await?;
            return self
                .encrypted(self.url.is_https, &self.url.host, stream)
                .await;
        };
        let stream = self.tcp(&proxy.host, proxy.port).await?;
        let mut stream = self.encrypted(proxy.is_https, &proxy.host, stream).await?;
        if !self.url.is_https {
            return Ok(stream);
        }
        let tunnel = proxy.tunnel(&mut stream, &self.url).await;
        tunnel.map_err(|source: TunnelError| ConnectError::Proxy {
            host: proxy.host.clone(),
            source: source.into(),
        })?;
        self.encrypted(true, &self.url.host, stream).await
    }

    /// One address after the other, each for its part of the time: the first
    /// may be one that drops what it is sent.
    async fn tcp(&self, host: &str, port: u16) -> Result<Box<dyn ByteStream>, ConnectError> {
        let resolve_error = |source| ConnectError::Resolve {
            host: host.to_owned(),
            source,
        };
        let addresses = lookup_host((host, port)).await.map_err(resolve_error)?;
        let addresses: Vec<SocketAddr> = addresses.take(ADDRESSES_MAX).collect();
        let count = u32::try_from(addresses.len()).unwrap_or(1).max(1);
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match timeout(self.connect_timeout / count, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Requests are written whole; waiting would not join any.
                    _ = stream.set_nodelay(true);
                    return Ok(Box::new(stream));
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(ConnectError::Tcp {
            host: host.to_owned(),
            port,
            source: last,
        })
    }

    #[cfg(feature = "tls")]
    async fn encrypted(
        &self,
        wanted: bool,
        host: &str,
        stream: Box<dyn ByteStream>,
    ) -> Result<Box<dyn ByteStream>, ConnectError> {
        let Some(config) = self.tls.as_ref().filter(|_| wanted) else {
            debug_assert!(!wanted, "`new` makes a configuration where TLS is needed");
            return Ok(stream);
        };
        let encrypted = super::tls::handshake(Arc::clone(config), host, stream).await;
        let encrypted = encrypted.map_err(|source| {
            let host = host.to_owned();
            if super::tls::is_not_tls(&source) {
                ConnectError::NoTls { host, source }
            } else {
                ConnectError::Tls { host, source }
            }
        })?;
        Ok(Box::new(encrypted))
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "the same as with TLS")]
    async fn encrypted(
        &self,
        wanted: bool,
        _host: &str,
        stream: Box<dyn ByteStream>,
    ) -> Result<Box<dyn ByteStream>, ConnectError> {
        debug_assert!(!wanted, "`new` refuses https without TLS");
        Ok(stream)
    }
}
