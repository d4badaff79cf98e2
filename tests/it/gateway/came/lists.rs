//! Which deliveries a list has, in which order, a page at a time.

use super::*;

#[tokio::test]
async fn a_list_has_all_that_came_the_newest_first() {
    let gateway = gateway().await;
    let mut expected = Vec::new();
    // No more than one address has its share of.
    for n in 0..24 {
        gateway.advance_clock(1);
        let body = format!("{{\"n\":{n}}}");
        let answer = match n % 3 {
            0 => gateway.post("open", &body).await,
            1 => deliver(&gateway, "github", "wrong", &body).await,
            _ => gateway.post("nobody", &body).await,
        };
        expected.push(match n % 3 {
            0 => answer.id(),
            _ => "refused".to_owned(),
        });
    }
    gateway.advance_clock(1);
    let stored = deliver(&gateway, "github", "the new one", "{}").await.id();
    gateway.advance_clock(1);
    deliver(&gateway, "github", "the new one", "{}").await;
    expected.extend([stored.clone(), "duplicate".into()]);
    expected.reverse();
    for limit in [1, 7, 25, 200] {
        let (mut rows, mut next) = (Vec::new(), String::new());
        for _ in 0..40 {
            let page = ask_json(&gateway, &format!("/admin/deliveries?limit={limit}{next}")).await;
            let part = page["deliveries"].as_array().unwrap();
            assert!(part.len() <= limit);
            rows.extend(part.iter().cloned());
            match &page["next"] {
                Value::String(position) => next = format!("&before={position}"),
                _ => break,
            }
        }
        let kinds: Vec<_> = rows
            .iter()
            .map(|row| match row["outcome"].as_str().unwrap() {
                "stored" => row["id"].as_str().unwrap().to_owned(),
                other => other.to_owned(),
            })
            .collect();
        assert_eq!(kinds, expected, "{limit} a page");
        let times = texts(&rows, "last");
        assert!(times.is_sorted_by(|newer, older| newer >= older));
        assert_eq!(rows[0]["event"], stored);
    }
}

#[tokio::test]
async fn filters_leave_out_what_they_do_not_name() {
    let gateway = gateway().await;
    gateway.post("open", "{}").await;
    gateway.post("open.sub", "{}").await;
    deliver(&gateway, "github", "the new one", "{}").await;
    deliver(&gateway, "github", "wrong", "{}").await;
    gateway.post("github", "{}").await;
    gateway.post("nobody.sub", "{}").await;
    for (query, count) in [
        ("", 6),
        ("outcome=stored", 3),
        ("outcome=refused", 3),
        ("outcome=refused,stored", 6),
        ("outcome=duplicate", 0),
        ("topic=open", 2),
        ("topic=open.sub", 1),
        ("topic=github", 3),
        ("topic=nobody", 1),
        ("type=push", 1),
        ("type=push&outcome=refused", 0),
        ("reason=mismatch", 1),
        ("reason=header_missing", 1),
        ("address=127.0.0.1", 3),
        ("address=%3A%3Affff%3A127.0.0.1", 3),
        ("address=127.0.0.2", 0),
        ("limit=2", 2),
    ] {
        assert_eq!(list(&gateway, query).await.len(), count, "{query}");
    }
    for query in [
        "outcome=nothing",
        "topic=a..b",
        "reason=nothing",
        "address=here",
        "limit=0",
        "limit=201",
        "before=x",
        "before=zzz-1.1",
        "outcomes=refused",
        "limit=1&limit=2",
    ] {
        let refused = ask(&gateway, &format!("/admin/deliveries?{query}")).await;
        assert_eq!(refused.status, 400, "{query}");
    }
}

#[tokio::test]
async fn what_is_refused_again_and_again_is_one_line_with_how_often() {
    let gateway = gateway().await;
    for _ in 0..9 {
        gateway.advance_clock(10);
        deliver(&gateway, "github", "wrong", "{}").await;
    }
    let listed = list(&gateway, "").await;
    assert_eq!((listed.len(), &listed[0]["count"]), (1, &json!(9)));
    assert_ne!(listed[0]["at"], listed[0]["last"]);
    // What has no body says what it says in its query.
    for n in 0..3 {
        gateway.post(&format!("nobody?n={n}"), "").await;
    }
    assert_eq!(list(&gateway, "topic=nobody").await.len(), 3);
}

#[tokio::test]
async fn nothing_is_kept_where_none_is_to_be_kept() {
    let gateway = Gateway::in_memory()
        .sections("[console]\nrefused_max = 0")
        .start()
        .await;
    assert_eq!(gateway.post("nobody", "{}").await.status, 401);
    assert!(list(&gateway, "outcome=refused").await.is_empty());
}

#[tokio::test]
async fn refused_deliveries_leave_no_byte_on_the_disk() {
    const MARK: &str = "a-body-that-was-never-verified";
    let gateway = Gateway::on_disk().sections(SECTIONS).start().await;
    deliver(&gateway, "github", "wrong", MARK).await;
    gateway.post("open", "stored").await;
    assert_eq!(list(&gateway, "outcome=refused").await.len(), 1);
    let folder = gateway.stop().await.unwrap();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                assert!(!String::from_utf8_lossy(&bytes).contains(MARK), "{path:?}");
            }
        }
    }
    let again = Gateway::in_folder(folder).sections(SECTIONS).start().await;
    assert!(list(&again, "outcome=refused").await.is_empty());
    assert_eq!(list(&again, "").await.len(), 1);
}
