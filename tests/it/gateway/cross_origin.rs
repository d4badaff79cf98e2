//! What pages of other origins may read. Read twice: over the connection writer, and
//! over an ordinary body.

use super::Gateway;
use hookrill_testing::{ADMIN_TOKEN, Response, token};

const APP: &str = "https://app.example.com";

fn allowed(response: &Response) -> Option<&str> {
    response.header("access-control-allow-origin")
}

fn preflight(path: &str, origin: &str, headers: &str) -> String {
    format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: g\r\nOrigin: {origin}\r\n\
         Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: {headers}\r\n\
         Connection: close\r\n\r\n"
    )
}

#[tokio::test]
async fn a_page_that_is_let_in_can_read_every_answer_and_no_other_page_can() {
    let gateway = Gateway::in_memory()
        .server(&format!(
            "cors_origins = [\"{APP}\"]\nbody_bytes_max = 1024\nsubscribers_max = 1"
        ))
        .start()
        .await;
    let mut only = gateway
        .subscriber_with("/events/open", &[("Origin", APP)])
        .await;
    only.opened().await;
    assert!(
        only.head
            .contains(&format!("access-control-allow-origin: {APP}\r\n"))
    );
    let other = token(&["other"], 60);
    for origin in [APP, "https://evil.example.com"] {
        let expected = (origin == APP).then_some(APP);
        let request = |line: &str, rest: &str| {
            let close = "Connection: close";
            format!("{line} HTTP/1.1\r\nHost: g\r\nOrigin: {origin}\r\n{close}\r\n{rest}\r\n")
        };
        for (line, rest, status) in [
            ("GET /healthz", "", 200),
            ("GET /nothing", "", 404),
            ("GET //events/open", "", 404),
            ("GET /events/open/a", "", 400),
            ("GET /events/unknown", "", 404),
            ("GET /events/open?since=x", "", 400),
            ("GET /events/shut", "", 401),
            (&format!("GET /events/shut?token={other}"), "", 403),
            ("POST /events/open", "", 405),
            ("GET /ingest/open", "", 405),
            ("POST /ingest/unknown", "", 401),
            ("POST /ingest/open", "Content-Length: 2000\r\n", 413),
            ("GET /events/open", "", 503),
            ("GET /events/open", "Accept: text/event-stream\r\n", 200),
        ] {
            let answer = gateway.send(request(line, rest)).await;
            assert_eq!(answer.status, status, "{line}");
            assert_eq!(allowed(&answer), expected, "{line}");
            let vary = answer.head.to_ascii_lowercase();
            assert!(
                vary.contains("vary: ") && vary.contains("origin"),
                "{line}: {vary}"
            );
        }
        // Of the operator, who needs no page of another origin.
        let bearer = format!("Authorization: Bearer {ADMIN_TOKEN}\r\n");
        for line in ["GET /metrics", "GET /admin/topics"] {
            let answer = gateway.send(request(line, &bearer)).await;
            assert_eq!((answer.status, allowed(&answer)), (200, None), "{line}");
        }
    }
    // No cache hands one page's answer to another.
    let plain = gateway.get("/events/x", &[]).await;
    assert_eq!(
        (allowed(&plain), plain.header("vary")),
        (None, Some("origin"))
    );
}

#[tokio::test]
async fn subdomains_are_let_in_by_a_star_and_named_exactly() {
    let gateway = Gateway::in_memory()
        .server("cors_origins = [\"https://*.example.com\", \"https://*.example.org:8443\"]")
        .start()
        .await;
    for (origin, expected) in [
        ("https://a.example.com", true),
        ("https://b.a.example.com", true),
        ("https://b.example.org:8443", true),
        ("https://example.com", false),
        ("https://a.example.com:8443", false),
        ("https://b.example.org", false),
        ("http://a.example.com", false),
        ("https://a.example.com.evil.com", false),
        ("https://evil.com/.example.com", false),
        ("null", false),
    ] {
        let answer = gateway.get("/events/x", &[("Origin", origin)]).await;
        assert_eq!(allowed(&answer), expected.then_some(origin));
        let credentials = answer.header("access-control-allow-credentials");
        assert_eq!(credentials, expected.then_some("true"), "{origin}");
        let preflight = gateway
            .send(preflight("/events/x", origin, "authorization"))
            .await;
        assert_eq!(
            preflight.status,
            if expected { 200 } else { 403 },
            "{origin}"
        );
        assert_eq!(allowed(&preflight), expected.then_some(origin));
    }
}

#[tokio::test]
async fn every_page_is_let_in_by_a_star_without_cookies() {
    let gateway = Gateway::in_memory()
        .server("cors_origins = [\"*\"]")
        .start()
        .await;
    let answer = gateway.get("/events/x", &[("Origin", "null")]).await;
    assert_eq!(allowed(&answer), Some("*"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

#[tokio::test]
async fn a_preflight_allows_what_subscribers_and_tracing_send_and_what_is_configured() {
    let gateway = Gateway::in_memory()
        .server(&format!(
            "cors_origins = [\"{APP}\"]\ncors_headers = [\"X-Tenant\"]"
        ))
        .start()
        .await;
    let answer = gateway
        .send(preflight("/events/shut", APP, "x-tenant"))
        .await;
    assert_eq!((answer.status, allowed(&answer)), (200, Some(APP)));
    let headers = answer.header("access-control-allow-headers").unwrap();
    let headers: Vec<_> = headers.split(", ").collect();
    for header in [
        "accept",
        "authorization",
        "baggage",
        "cache-control",
        "content-type",
        "last-event-id",
        "sentry-trace",
        "traceparent",
        "tracestate",
        "x-tenant",
    ] {
        assert!(headers.contains(&header), "{header}: {headers:?}");
    }
    assert_eq!(
        answer.header("access-control-allow-methods"),
        Some("GET, HEAD")
    );
    for path in ["/events/", "/events/a/", "//events/a", "/nothing"] {
        let other_path = gateway.send(preflight(path, APP, "traceparent")).await;
        assert_eq!(
            (other_path.status, allowed(&other_path)),
            (200, Some(APP)),
            "{path}"
        );
    }
    // No page asks: it is no preflight.
    let options = "OPTIONS /events/open HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n";
    assert_eq!(gateway.send(options).await.status, 405);
    let admin = gateway
        .send(preflight("/admin/topics", APP, "authorization"))
        .await;
    assert_eq!((admin.status, allowed(&admin)), (403, None));
}
