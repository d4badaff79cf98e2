//! TLS: who is trusted, and who is not.

use std::sync::Arc;

use hookrill_client::{ConnectOptions, Fetch, SubscribeError, Subscription};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

use crate::peer::{STREAM, event, interruption, spawn};

/// A gateway at `localhost` that speaks TLS, and its certificate.
async fn encrypted_gateway() -> (String, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = cert.der().clone();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let handshake = acceptor.accept(stream);
            spawn(async move {
                // Whoever does not trust it goes away.
                if let Ok(mut encrypted) = handshake.await {
                    let answer = [STREAM, "id: e-1\ndata: x\n\n"].concat();
                    encrypted.write_all(answer.as_bytes()).await.unwrap();
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (format!("https://localhost:{port}"), certificate)
}

#[tokio::test]
async fn who_is_trusted_is_the_callers_to_say() {
    let (url, certificate) = encrypted_gateway().await;
    let mut stranger = Subscription::builder(&url).topic("a").build().unwrap();
    let cause = interruption(&mut stranger).await.cause.unwrap();
    assert!(matches!(cause, SubscribeError::Exchange(_)), "{cause}");
    assert_eq!(cause.to_string(), "TLS with localhost failed");

    let careless = Subscription::builder(&url)
        .topic("a")
        .connect_options(ConnectOptions::new().trust_any_certificate());
    assert_eq!(event(&mut careless.build().unwrap()).await.data, "x");

    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connect = ConnectOptions::new().tls(Arc::new(config));
    let options = Subscription::builder(&url)
        .topic("a")
        .connect_options(connect);
    assert_eq!(event(&mut options.build().unwrap()).await.data, "x");
}

#[tokio::test]
async fn what_a_port_speaks_is_said_where_the_url_says_otherwise() {
    let (encrypted, _) = encrypted_gateway().await;
    let plain = encrypted.replace("https:", "http:");
    let needs_tls = Fetch::new(&plain).get().await.unwrap_err();
    assert_eq!(
        needs_tls.to_string(),
        "this port speaks TLS: its URL begins with https://"
    );

    let bad = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(bad.as_bytes()).await.unwrap();
        }
    });
    let url = format!("https://localhost:{port}");
    let no_tls = Fetch::new(&url).get().await.unwrap_err();
    assert_eq!(
        no_tls.to_string(),
        "localhost speaks no TLS on this port: its URL begins with http://"
    );
}
