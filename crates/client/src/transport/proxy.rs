//! HTTP proxies: which one is used, and the tunnel through it (RFC 9110, 9.3.6).

use std::io;

use hookrill_core::without_secrets;
use http::HeaderValue;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::url::GatewayUrl;

/// The longest answer of a proxy that is read, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Which proxy connections go through.
#[derive(Debug, Clone, Default)]
pub(super) enum ProxyChoice {
    /// What the environment says, as curl reads it.
    #[default]
    Environment,
    None,
    Url(String),
}

/// A proxy, where one is used.
#[derive(Debug, Clone)]
pub(super) struct ProxyAddress {
    pub(super) is_https: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// `Proxy-Authorization`.
    pub(super) authorization: Option<HeaderValue>,
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    #[error("the proxy answered CONNECT with status {0}")]
    Refused(u16),
    #[error("the proxy's answer to CONNECT is not HTTP/1.1")]
    NotHttp,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ProxyChoice {
    /// The proxy for this gateway. One on this machine itself is connected to
    /// directly: Docker hands the proxy of its own configuration to every
    /// container, and that cannot reach a container's loopback address.
    ///
    /// # Errors
    ///
    /// The URL of a proxy that speaks something other than HTTP.
    pub(super) fn for_gateway(&self, url: &GatewayUrl) -> Result<Option<ProxyAddress>, String> {
        let matcher = match self {
            Self::Environment if !url.is_loopback() => Matcher::from_env(),
            Self::Url(proxy) => Matcher::builder().all(proxy.clone()).build(),
            Self::Environment | Self::None => return Ok(None),
        };
        let target = url.absolute("/").parse().ok();
        let intercept = target.and_then(|target| matcher.intercept(&target));
        match (intercept, self) {
            (Some(intercept), _) => ProxyAddress::from_intercept(&intercept).map(Some),
            (None, Self::Url(proxy)) => Err(without_secrets(proxy)),
            (None, _) => Ok(None),
        }
    }
}

impl ProxyAddress {
    fn from_intercept(intercept: &Intercept) -> Result<Self, String> {
        let uri = intercept.uri();
        let refused = || without_secrets(&uri.to_string());
        let is_https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(refused()),
        };
        let usual_port = if is_https { 443 } else { 80 };
        Ok(Self {
            is_https,
            host: uri
                .host()
                .ok_or_else(refused)?
                .trim_matches(['[', ']'])
                .to_owned(),
            port: uri.port_u16().unwrap_or(usual_port),
            authorization: intercept.basic_auth().cloned(),
        })
    }

    /// Asks the proxy for a connection to the gateway.
    pub(super) async fn tunnel(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        url: &GatewayUrl,
    ) -> Result<(), TunnelError> {
        let host = if url.host.contains(':') {
            format!("[{}]:{}", url.host, url.port)
        } else {
            format!("{}:{}", url.host, url.port)
        };
        let mut request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await?;
        let head = read_head(stream).await?;
        match status(&head).ok_or(TunnelError::NotHttp)? {
            200..=299 => Ok(()),
            status => Err(TunnelError::Refused(status)),
        }
    }
}

/// Reads to the end of the head and not a byte further: what follows is the
/// gateway's.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, TunnelError> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES_MAX {
            return Err(TunnelError::NotHttp);
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

fn status(head: &[u8]) -> Option<u16> {
    let head = std::str::from_utf8(head).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?;
    status.parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    fn url(text: &str) -> GatewayUrl {
        GatewayUrl::parse(text).unwrap()
    }

    #[test]
    fn a_named_proxy_is_used_and_must_speak_http() {
        let choice = |proxy: &str| ProxyChoice::Url(proxy.to_owned());
        let proxy = choice("http://me:secret@proxy:3128").for_gateway(&url("https://a"));
        let proxy = proxy.unwrap().unwrap();
        assert_eq!(
            (&*proxy.host, proxy.port, proxy.is_https),
            ("proxy", 3128, false)
        );
        assert_eq!(proxy.authorization.unwrap(), "Basic bWU6c2VjcmV0");
        let error = choice("socks5://me:secret@proxy").for_gateway(&url("https://a"));
        assert!(!error.unwrap_err().contains("secret"));
        let none = ProxyChoice::None.for_gateway(&url("https://a"));
        assert!(none.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_and_read_to_its_first_byte() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nVia: x\r\n\r\n!", Ok(b'!')),
            ("HTTP/1.0 200 OK\r\n\r\n!", Ok(b'!')),
            ("HTTP/1.1 407 No\r\n\r\n!", Err("status 407")),
            ("SSH-2.0-x\r\n\r\n", Err("not HTTP")),
            ("HTTP/1.1 200", Err("end of file")),
        ] {
            let (mut near, mut far) = duplex(1024);
            far.write_all(answer.as_bytes()).await.unwrap();
            far.shutdown().await.unwrap();
            let choice = ProxyChoice::Url("http://u:p@proxy".to_owned());
            let gateway = url("https://[2001:db8::1]/x");
            let proxy = choice.for_gateway(&gateway).unwrap().unwrap();
            let outcome = proxy.tunnel(&mut near, &gateway).await;
            match expected {
                Ok(first) => {
                    outcome.unwrap();
                    assert_eq!(near.read_u8().await.unwrap(), first);
                }
                Err(words) => {
                    let error = outcome.unwrap_err().to_string();
                    assert!(error.contains(words), "{error}");
                }
            }
            drop(near);
            let mut request = String::new();
            far.read_to_string(&mut request).await.unwrap();
            let connect = "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\
                            Proxy-Authorization: Basic dTpw\r\n\r\n";
            assert_eq!(request, connect);
        }
    }

    #[tokio::test]
    async fn an_endless_head_of_a_proxy_is_not_kept() {
        let endless = "HTTP/1.1 200 OK\r\nX: ".to_owned() + &"x".repeat(2 * HEAD_BYTES_MAX);
        let error = read_head(&mut endless.as_bytes()).await.unwrap_err();
        assert!(matches!(error, TunnelError::NotHttp), "{error}");
    }
}
