//! What a stranger writes is shown as text that nothing acts upon, and bounded.

use super::*;

#[tokio::test]
async fn what_a_stranger_wrote_is_cut_and_has_nothing_that_is_acted_upon() {
    let gateway = gateway().await;
    let query = "a=1&".repeat(3_000);
    let requests = [
        b"POST /ingest/github?x=%E2%80%AE&token=topsecret HTTP/1.1\r\nHost: g\r\nX-Evil: \xe2\x80\xae\xff<script>\t\xc2\x9b31m\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}".to_vec(),
        "POST /ingest/eyJhbGciOiJIUzI1NiJ9.eyJ0.c2ln&token=topsecret HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
        format!("POST /ingest/github?{query}token=topsecret HTTP/1.1\r\nHost: g\r\nAuthorization: Basic topsecret\r\nCookie: a=topsecret\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes(),
    ];
    for request in requests {
        assert_eq!(gateway.send(request).await.status, 401);
    }
    let mut pages = vec![ask(&gateway, "/admin/deliveries").await.text().to_owned()];
    for n in 1..=3 {
        let page = ask(&gateway, &format!("/admin/deliveries/r-{n}")).await;
        pages.push(page.text().to_owned());
        let explained = tell(&gateway, &format!("/admin/deliveries/r-{n}/explain"), "").await;
        pages.push(explained.text().to_owned());
    }
    for page in pages {
        for never in ["topsecret", "eyJ", "\u{202e}", "\u{9b}", "\\u001b"] {
            assert!(!page.contains(never), "{never:?} in {page}");
        }
        assert!(page.len() < 20_000);
    }
}

#[tokio::test]
async fn a_thousand_sockets_at_once_are_answered_as_ever_and_kept_within_the_bounds() {
    let gateway = gateway().await;
    let posting = (0..1_000).map(|n| {
        let gateway = &gateway;
        async move {
            let body = format!("{{\"n\":{n}}}");
            let answer = deliver(gateway, "github", "wrong", &body).await;
            (answer.status, answer.body)
        }
    });
    let answers = join_all(posting).await;
    let unknown = gateway.post("nobody", "{}").await;
    assert!(
        answers
            .iter()
            .all(|(status, body)| (*status, body) == (401, &unknown.body))
    );
    let listed = list(&gateway, "outcome=refused&topic=github&limit=200").await;
    assert_eq!(listed.len(), 8, "one address has its share");
    assert_eq!(list(&gateway, "topic=nobody").await.len(), 1);
}

#[tokio::test]
async fn nothing_of_a_request_is_looked_at_before_the_token() {
    let gateway = gateway().await;
    for path in [
        "/admin/deliveries?limit=x&outcome=%ff",
        "/admin/deliveries/live?after=%ff",
        "/admin/deliveries/%ff",
        "/admin/deliveries/%ff/body",
        "/admin/deliveries/r-+1",
    ] {
        assert_eq!(gateway.get(path, &[]).await.status, 401, "{path}");
        let answer = ask(&gateway, path).await;
        assert_eq!(answer.status, 400, "{path}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    for verb in ["explain", "take"] {
        let path = format!("/admin/deliveries/%ff/{verb}");
        let unread = format!(
            "POST {path} HTTP/1.1\r\nHost: g\r\nContent-Length: 9999\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(gateway.send(unread).await.status, 401, "{path}");
        assert_eq!(tell(&gateway, &path, "").await.status, 400);
        assert_eq!(ask(&gateway, &path).await.status, 405);
    }
}

#[tokio::test]
async fn signed_bytes_with_a_token_in_them_are_counted_and_not_shown() {
    let section = "[topics.url]\naccess = \"public\"\nsecrets = [\"a\"]\n\
                   [topics.url.scheme]\nkind = \"hmac\"\nhash = \"sha256\"\nencoding = \"hex\"\n\
                   signature = { header = \"X-Sig\" }\n\
                   message = [\"url\", { literal = \"|\" }, { header = \"X-Api-Key\" }, \
                   { literal = \"|\" }, \"body\"]\n";
    let gateway = Gateway::in_memory()
        .server("public_url = \"https://hooks.example.com\"")
        .sections(section)
        .start()
        .await;
    let signature = "5f".repeat(32);
    for (body, target, key, is_shown) in [
        ("1", "/ingest/url?a=1", "", true),
        ("2", "/ingest/url?a=1&token=topsecret", "", false),
        ("3", "/ingest/url?a=1", "topsecret", false),
    ] {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: g\r\nX-Sig: {signature}\r\nX-Api-Key: {key}\r\n\
             Content-Length: 1\r\nConnection: close\r\n\r\n{body}"
        );
        assert_eq!(gateway.send(request).await.status, 401);
        let newest = list(&gateway, "outcome=refused&limit=1").await;
        let id = newest[0]["id"].as_str().unwrap().to_owned();
        let explained = tell(&gateway, &format!("/admin/deliveries/{id}/explain"), "").await;
        let page = explained.json();
        assert!(page["signed_bytes"].is_number(), "{page}");
        assert_eq!(
            page["signed_base64"].is_string(),
            is_shown,
            "{target} {key}"
        );
    }
}
