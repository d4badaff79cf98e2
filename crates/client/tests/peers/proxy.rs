//! Through an HTTP proxy.

use std::error::Error as _;

use hookrill_client::{ConnectOptions, SubscribeError, Subscription};

use crate::peer::{Peer, STREAM, event, interruption};

fn through(peer: &Peer, gateway: &str) -> Subscription {
    let proxy = peer.url.replace("http://", "http://me:secret@");
    let connect = ConnectOptions::new().proxy(proxy).user_agent("shop/1.0");
    let options = Subscription::builder(gateway).topic("a").token("t");
    options.connect_options(connect).build().unwrap()
}

#[tokio::test]
async fn a_plain_gateway_is_asked_for_by_its_whole_url() {
    let peer = Peer::with_answers([[STREAM, "id: e-1\ndata: x\n\n"].concat()]).await;
    event(&mut through(&peer, "http://hooks.example.com/base")).await;
    let head = peer.requests().pop().unwrap();
    for line in [
        "GET http://hooks.example.com/base/events/a?compress=gzip HTTP/1.1\r\n",
        "host: hooks.example.com\r\n",
        "proxy-authorization: Basic bWU6c2VjcmV0\r\n",
        "authorization: Bearer t\r\n",
        "user-agent: shop/1.0\r\n",
    ] {
        assert!(head.contains(line), "{head}");
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn an_encrypted_gateway_is_tunnelled_to() {
    let refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let peer = Peer::with_answers([refused]).await;
    let mut subscription = through(&peer, "https://hooks.example.com");
    let cause = interruption(&mut subscription).await.cause.unwrap();
    assert!(matches!(cause, SubscribeError::Exchange(_)));
    assert!(
        cause.to_string().contains("did not connect to the gateway"),
        "{cause}"
    );
    let said = cause.source().unwrap().to_string();
    assert_eq!(said, "the proxy answered CONNECT with status 403");
    let head = peer.requests().pop().unwrap();
    // Neither the token nor the topic is for the proxy.
    let expected = "CONNECT hooks.example.com:443 HTTP/1.1\r\nHost: hooks.example.com:443\r\n\
                    Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n";
    assert_eq!(head, expected);
}
