//! Small documents.

use std::time::Duration;

use hookrill_client::{Fetch, FetchError};
use http::{HeaderValue, header::ACCEPT};

use crate::peer::Peer;

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nX-Kept: yes\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_document_comes_whole_with_its_head() {
    let peer = Peer::with_answers([answer("200 OK", "text")]).await;
    let json = HeaderValue::from_static("application/json");
    let fetch = Fetch::new(format!("{}/a/b?c=%20d", peer.url)).header(ACCEPT, json);
    let document = fetch.get().await.unwrap().ok().unwrap();
    assert_eq!(document.body, "text");
    assert_eq!(document.headers["x-kept"], "yes");
    let head = peer.requests().pop().unwrap();
    assert!(head.starts_with("GET /a/b?c=%20d HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("accept: application/json\r\n"), "{head}");
}

#[tokio::test]
async fn a_refusal_is_handed_out_and_a_redirect_not_followed() {
    let problem = r#"{"detail":"not ready"}"#;
    for (status, body, text) in [
        ("503 Busy", problem, "503 Service Unavailable: not ready"),
        ("302 Found\r\nLocation: /", "", "302 Found"),
    ] {
        let peer = Peer::with_answers([answer(status, body)]).await;
        let document = Fetch::new(&peer.url).get().await.unwrap();
        assert_eq!(document.ok().unwrap_err().to_string(), text);
        assert_eq!(peer.requests().len(), 1);
    }
}

#[tokio::test]
async fn what_is_long_or_late_is_an_error() {
    let peer = Peer::with_answers([answer("200 OK", "12345")]).await;
    let long = Fetch::new(&peer.url).bytes_max(4).get().await.unwrap_err();
    assert!(matches!(long, FetchError::TooLong(4)), "{long}");

    let half = answer("200 OK", "12345").replace("12345", "12");
    let cut = Peer::with_answers([half]).await;
    let broken = Fetch::new(&cut.url).get().await.unwrap_err();
    assert!(matches!(broken, FetchError::Exchange(_)), "{broken}");

    let silent = Peer::with_answers([""; 0]).await;
    let fetch = Fetch::new(&silent.url).timeout(Duration::from_millis(50));
    let late = fetch.get().await.unwrap_err();
    assert_eq!(late.to_string(), "no complete response within 50ms");

    for url in ["", "a", "ftp://a/", "http://u:p@a/"] {
        let error = Fetch::new(url).get().await.unwrap_err();
        assert!(matches!(error, FetchError::Options(_)), "{error}");
    }
}
