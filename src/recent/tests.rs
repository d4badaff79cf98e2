//! Bounds of what is kept, under floods, and what is kept of a request.

use std::net::Ipv4Addr;

use bytes::Bytes;
use hookrill_core::Timestamp;
use hookrill_verify::Delivery;
use http::{HeaderMap, HeaderValue, Method};

use super::*;

fn recent(refused_max: usize) -> Recent {
    Recent::new(refused_max, Counter::noop())
}

fn summary(section: Option<&str>, address: u32, content: u32) -> AttemptSummary {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&content.to_le_bytes());
    AttemptSummary {
        kind: AttemptKind::Refused,
        at: Timestamp::from_unix_secs(content.into()),
        section: section.map(Into::into),
        topic: "a".into(),
        address: Some(Ipv4Addr::from(address).into()),
        network: address.into(),
        body_bytes: Some(1),
        reason: Some("mismatch"),
        error: None,
        is_read: true,
        event: None,
        content: hash,
    }
}

fn request(body_bytes: usize) -> KeptRequest {
    let body = Bytes::from(vec![b'x'; body_bytes]);
    KeptRequest::of_delivery(&Delivery::new(
        Method::POST,
        "/ingest/a",
        HeaderMap::new(),
        body,
        Timestamp::default(),
    ))
}

fn numbers(recent: &Recent) -> Vec<u64> {
    let listed = recent.list(|_| true);
    listed.iter().map(|one| one.attempt.number).collect()
}

fn all_bytes(recent: &Recent) -> usize {
    totals(&recent.refused.read()).1
}

#[test]
fn a_flood_of_one_section_pushes_out_its_own_alone_and_takes_bounded_memory() {
    let recent = recent(REFUSED_MAX);
    for section in [Some("quiet"), None] {
        recent.refused(summary(section, 1, 1), || request(9_000));
    }
    let mut unread = summary(Some("loud"), 1, 1);
    unread.is_read = false;
    recent.refused(unread, || request(0));
    for n in 0..100_000 {
        recent.refused(summary(Some("loud"), n, n), || request(70_000));
        if n % 10_000 == 0 {
            assert!(all_bytes(&recent) <= BYTES_MAX);
        }
    }
    let listed = recent.list(|_| true);
    let of = |name: &str| {
        let name = (!name.is_empty()).then_some(name);
        let own = listed
            .iter()
            .filter(|one| one.attempt.summary.section.as_deref() == name);
        own.count()
    };
    assert_eq!((of("quiet"), of(""), of("loud")), (1, 1, SECTION_MAX + 1));
}

#[test]
fn floods_of_all_sections_at_once_stay_within_the_bounds_and_leave_each_one_some() {
    let recent = recent(REFUSED_MAX);
    recent.refused(summary(Some("quiet"), 1, 1), || request(1_000));
    let names: Vec<_> = (0..200).map(|n| n.to_string()).collect();
    for n in 0..20_000 {
        let section = Some(&*names[n as usize % 200]);
        recent.refused(summary(section, n, n), || request(70_000));
        if n % 1_000 == 0 {
            let (entries, bytes) = totals(&recent.refused.read());
            assert!(
                entries <= REFUSED_MAX && bytes <= BYTES_MAX,
                "{entries} {bytes}"
            );
        }
    }
    let listed = recent.list(|_| true);
    let is_quiet = |one: &&ListedAttempt| one.attempt.summary.section.as_deref() == Some("quiet");
    assert_eq!(listed.iter().filter(is_quiet).count(), 1);
    assert!(recent.refused.read().len() <= 202);
}

#[test]
fn one_address_has_its_share_of_a_section_and_no_more() {
    let recent = recent(REFUSED_MAX);
    for n in 0..40 {
        recent.refused(summary(Some("a"), n, n), || request(1));
    }
    for n in 1_000..2_000 {
        recent.refused(summary(Some("a"), 999, n), || request(1));
    }
    let listed = recent.list(|one| one.attempt.summary.network == 999);
    assert_eq!(listed.len(), ADDRESS_MAX);
    assert_eq!(numbers(&recent).len(), 40 + ADDRESS_MAX);
    // Where all places are taken, the address with the most gives way.
    for n in 0..24 {
        recent.refused(summary(Some("a"), 5_000 + n, n), || request(1));
    }
    let left = recent.list(|one| one.attempt.summary.network == 999);
    assert_eq!(left.len(), 1);
    let others = recent.list(|one| one.attempt.summary.network < 40);
    assert!(others.len() >= 39, "{}", others.len());
}

#[test]
fn what_comes_again_is_counted_and_comes_first() {
    let recent = recent(REFUSED_MAX);
    let added = recent.refused(summary(Some("a"), 1, 1), || request(1));
    recent.refused(summary(Some("a"), 1, 2), || request(1));
    let mut again = summary(Some("a"), 1, 1);
    again.at = Timestamp::from_unix_secs(77);
    let not_copied = || panic!("it is counted, and not copied");
    assert!(recent.refused(again, not_copied).is_none());
    assert_eq!(numbers(&recent), [1, 2]);
    let newest = &recent.list(|_| true)[0];
    assert_eq!((newest.count, newest.tick), (2, 3));
    assert_eq!(newest.last, Timestamp::from_unix_secs(77));
    assert_eq!(newest.attempt.number, added.unwrap().number);
    for different in [
        summary(Some("a"), 2, 1),
        summary(Some("b"), 1, 1),
        AttemptSummary {
            reason: Some("stale"),
            ..summary(Some("a"), 1, 1)
        },
        AttemptSummary {
            topic: "a.b".into(),
            ..summary(Some("a"), 1, 1)
        },
    ] {
        assert!(recent.refused(different, || request(1)).is_some());
    }
}

#[test]
fn a_smaller_number_holds_at_once_and_none_keeps_nothing() {
    let recent = recent(100);
    for n in 0..60 {
        recent.refused(summary(Some("a"), n, n), || request(1));
        recent.refused(summary(Some("b"), n, n), || request(1));
    }
    assert_eq!(numbers(&recent).len(), 100);
    recent.set_refused_max(10);
    let left = recent.list(|one| one.attempt.summary.section.as_deref() == Some("b"));
    assert_eq!((numbers(&recent).len(), left.len()), (10, 5));
    recent.set_refused_max(0);
    assert!(recent.refused(summary(None, 1, 1), || request(1)).is_none());
    assert!(numbers(&recent).is_empty());
}

#[test]
fn duplicates_and_handshakes_have_places_of_their_own() {
    let recent = recent(0);
    for n in 0..1_000 {
        let mut duplicate = summary(Some("a"), 1, n);
        duplicate.kind = AttemptKind::Duplicate;
        recent.duplicate(duplicate);
        let mut handshake = summary(Some("a"), n % 3, n);
        handshake.kind = AttemptKind::Handshake;
        recent.handshake(handshake);
    }
    let of = |kind| recent.list(|one| one.attempt.summary.kind == kind).len();
    assert_eq!(of(AttemptKind::Duplicate), OTHERS_MAX);
    assert_eq!(of(AttemptKind::Handshake), 3 * ADDRESS_MAX);
}

#[test]
fn threads_that_push_at_once_stay_within_the_bounds() {
    let recent = recent(50);
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let recent = &recent;
            scope.spawn(move || {
                for n in 0..2_000 {
                    let name = (n % 40).to_string();
                    let section = Some(&*name);
                    recent.refused(summary(section, thread * 10_000 + n, n), || request(100));
                }
            });
        }
    });
    let (entries, _) = totals(&recent.refused.read());
    assert_eq!(entries, numbers(&recent).len());
    assert!(entries <= 50);
}

#[test]
fn what_is_kept_is_the_request_and_what_is_longer_says_so() {
    let mut headers = HeaderMap::new();
    headers.append("x-a", HeaderValue::from_bytes(b"\xff1").unwrap());
    headers.append("x-b", HeaderValue::from_static(""));
    headers.append("x-a", HeaderValue::from_static("2"));
    let at = Timestamp::from_unix_secs(5);
    let mut delivery = Delivery::new(Method::PUT, "/ingest/a?b", headers.clone(), "body", at);
    delivery.sent = Some("sent".into());
    let kept = KeptRequest::of_delivery(&delivery);
    assert!(kept.is_whole());
    let again = kept.delivery(at).unwrap();
    assert_eq!(
        (again.method, &*again.path_and_query),
        (Method::PUT, "/ingest/a?b")
    );
    assert_eq!(
        (again.headers, &again.body[..]),
        (headers.clone(), &b"body"[..])
    );
    assert_eq!(again.sent.as_deref(), Some(&b"sent"[..]));

    for n in 0..400 {
        let name = http::HeaderName::try_from(format!("x-{n}")).unwrap();
        headers.insert(name, HeaderValue::try_from("v".repeat(100)).unwrap());
    }
    let long = "x".repeat(100_000);
    let target = format!("/ingest/a?{long}");
    let longer = Delivery::new(Method::POST, target, headers, long, at);
    let cut = KeptRequest::of_delivery(&longer);
    assert!(!cut.is_whole() && cut.target_is_cut && cut.body_is_cut);
    assert!(cut.headers_left_out > 200 && cut.headers().count() > 100);
    assert!(cut.bytes() <= (64 + 16 + 4 + 1) * 1024, "{}", cut.bytes());
    assert_eq!(cut.body.len(), BODY_BYTES_KEPT_MAX);
}

#[test]
fn one_at_a_time_takes_an_attempt_and_one_in_all() {
    let recent = recent(1);
    let attempt = recent.refused(summary(None, 1, 1), || request(1)).unwrap();
    let permit = attempt.begin_to_take().unwrap();
    assert_eq!(attempt.begin_to_take().err(), Some(TakeError::UnderWay));
    drop(permit);
    let cursor = "k3f9x2ab-7".parse().unwrap();
    attempt.begin_to_take().unwrap().taken_as(cursor);
    assert_eq!(
        attempt.begin_to_take().err(),
        Some(TakeError::Taken(cursor))
    );
    assert_eq!(attempt.taken_as(), Some(cursor));
}
