//! Behind a proxy, with the settings that `deploy/proxies/` has for it, a
//! subscriber gets what it would get from the gateway itself, and no page gives
//! up because the gateway restarts.
//!
//! All but Traefik, which is its project's own release, are Debian's; `curl`,
//! npm `eventsource` and Chromium are the clients. `scripts/test` installs what
//! is missing.

mod curl;
mod event_sources;
mod more;
mod proxy;
pub(crate) mod setup;
mod site;

use std::collections::BTreeSet;

use curl::SHOW_EXIT_CODE;
use event_sources::{EventSources, Sender};
use hookrill_testing::free_address;
use setup::{BRISK, BROWSER, ORIGIN, ProxyKind, Setup, eventually};

const EVENT_SOURCE: &str = "Accept: text/event-stream";

/// Events between two outages, at least.
const STORED: u32 = 50;

/// What holds behind every proxy, and these claims besides, behind one.
macro_rules! behind {
    ($name:ident, $kind:ident, $($claim:ident),* $(,)?) => {
        behind!(
            @all $name, $kind,
            each_event_comes_through_at_once,
            a_long_event_comes_through_whole,
            a_drain_reaches_the_client_as_a_cut,
            compression_holds_no_event_back,
            a_resume_goes_on_behind_the_last_event,
            the_gateway_sees_the_browsers_address_and_not_what_it_claims,
            limits_count_by_the_browsers_address,
            answers_of_the_gateway_pass_as_they_are,
            a_large_webhook_goes_through,
            heartbeats_keep_a_quiet_stream_open,
            $($claim),*
        );
    };
    (@all $name:ident, $kind:ident, $($claim:ident),*) => {
        mod $name {
            $(#[test] fn $claim() { super::$claim(super::ProxyKind::$kind); })*
        }
    };
}

/// Everything that is claimed, behind each that keeps all of it.
macro_rules! behind_each {
    ($($name:ident $kind:ident),*) => {
        $(behind!(
            $name,
            $kind,
            whoever_leaves_is_gone_at_the_gateway,
            senders_are_told_of_an_outage,
            no_token_is_in_a_log,
            every_event_source_survives_restarts,
        );)*
    };
}

behind_each!(nginx Nginx, caddy Caddy, traefik Traefik, haproxy Haproxy);

// Apache notices at the next heartbeat that somebody has left, and answers with its
// own 503 where the gateway can't be reached.
behind!(
    apache,
    Apache,
    senders_are_told_of_an_outage,
    no_token_is_in_a_log,
);

// Varnish has no log of its own, and closes the connection of a stream where the
// gateway can't be reached: to an `EventSource` that is a cut.
behind!(varnish, Varnish, whoever_leaves_is_gone_at_the_gateway);

fn each_event_comes_through_at_once(kind: ProxyKind) {
    let setup = Setup::behind(kind).build();
    let subscriber = setup.proxy.subscribe("/events/open", &[]);
    let version = if kind == ProxyKind::Varnish {
        "http/1.1 200"
    } else {
        "http/2 200"
    };
    assert!(subscriber.head.starts_with(version), "{}", subscriber.head);
    // No event has another one behind it that could push it out.
    for body in ["one", "two", "three"] {
        setup.proxy.post(body);
        assert_eq!(subscriber.event(), body);
    }
}

/// Longer than a proxy's buffers, to one who takes gzip and one who does not.
fn a_long_event_comes_through_whole(kind: ProxyKind) {
    let setup = Setup::behind(kind).build();
    let subscribers =
        [&[][..], &["--compressed"]].map(|args| setup.proxy.subscribe("/events/open", args));
    let long = "0123456789".repeat(7_000);
    let body = setup.proxy.folder.join("body");
    std::fs::write(&body, &long).unwrap();
    setup.proxy.post(&format!("@{}", body.display()));
    setup.proxy.post("behind it");
    for subscriber in subscribers {
        assert_eq!(subscriber.event(), long);
        assert_eq!(subscriber.event(), "behind it");
    }
}

/// Some clients take a complete end for the last word. Caddy and HAProxy give a cut
/// off response an end of their own.
fn a_drain_reaches_the_client_as_a_cut(kind: ProxyKind) {
    let mut setup = Setup::behind(kind).build();
    let subscriber = setup.proxy.subscribe("/events/open", &SHOW_EXIT_CODE);
    setup.has_subscribers(1);
    assert!(setup.gateway.terminate().success());
    let is_cut = subscriber.exit_code() != 0;
    let is_passed_on = !matches!(kind, ProxyKind::Caddy | ProxyKind::Haproxy);
    assert_eq!(is_cut, is_passed_on);
}

fn compression_holds_no_event_back(kind: ProxyKind) {
    let setup = Setup::behind(kind).build();
    let compressed = setup
        .proxy
        .subscribe("/events/open?compress=gzip", &["--compressed"]);
    assert_eq!(compressed.header("content-encoding"), Some("gzip"));
    for body in ["one", "two", "three"] {
        setup.proxy.post(body);
        assert_eq!(compressed.event(), body);
    }
}

fn a_resume_goes_on_behind_the_last_event(kind: ProxyKind) {
    let setup = Setup::behind(kind).build();
    let seen = setup.proxy.post("one");
    setup.proxy.post("two");
    setup.proxy.post("three");
    let seen = format!("Last-Event-ID: {seen}");
    let subscriber = (setup.proxy).subscribe("/events/open", &["--header", &seen]);
    assert_eq!(subscriber.event(), "two");
    assert_eq!(subscriber.event(), "three");
    setup.proxy.post("four");
    assert_eq!(subscriber.event(), "four");
}

fn the_gateway_sees_the_browsers_address_and_not_what_it_claims(kind: ProxyKind) {
    let setup = Setup::behind(kind).build();
    let claimed = ["--header", "X-Forwarded-For: 203.0.113.6, 127.0.0.1"];
    for path in ["/events/shut", "/ingest/nobody"] {
        let from = ["--interface", BROWSER, claimed[0], claimed[1]];
        assert_eq!(setup.proxy.ask(path, &from).status / 100, 4);
    }
    setup.gateway.wait_for_log("subscription refused");
    let said = setup.gateway.log();
    assert!(said.contains(&format!("client={BROWSER} ")), "{said}");
    assert!(!said.contains("203.0.113.6"), "{said}");
}

fn limits_count_by_the_browsers_address(kind: ProxyKind) {
    let setup = Setup::behind(kind)
        .server("subscribers_per_address_max = 1")
        .build();
    let from = |address| ["--interface", address];
    let first = setup.proxy.subscribe("/events/open", &from(BROWSER));
    setup.has_subscribers(1);
    let second = setup.proxy.ask("/events/open", &from(BROWSER));
    assert_eq!(second.status, 429, "{second:?}");
    let other = setup.proxy.subscribe("/events/open", &from("127.0.0.78"));
    setup.proxy.post("for both");
    for subscriber in [first, other] {
        assert_eq!(subscriber.event(), "for both");
    }
}

fn answers_of_the_gateway_pass_as_they_are(kind: ProxyKind) {
    let setup = Setup::behind(kind).build();
    let elsewhere = format!("/events/shut?token={}", setup.gateway.token("open"));
    for (path, status) in [
        ("/events/open?since=yesterday", 400),
        ("/events/shut", 401),
        (&*elsewhere, 403),
        ("/events/unheard-of", 404),
    ] {
        let response = setup.proxy.ask(path, &["--header", EVENT_SOURCE]);
        assert_eq!(response.status, status, "{path}: {response:?}");
        let media_type = response.header("content-type");
        assert_eq!(media_type, Some("application/problem+json"), "{path}");
        assert!(response.text().contains(&format!("\"status\":{status}")));
    }
}

fn a_large_webhook_goes_through(kind: ProxyKind) {
    let setup = Setup::behind(kind).build();
    let body = setup.proxy.folder.join("body");
    std::fs::write(&body, vec![b'x'; 5 << 20]).unwrap();
    setup.proxy.post(&format!("@{}", body.display()));
}

/// No event and no heartbeat comes that would show it.
fn whoever_leaves_is_gone_at_the_gateway(kind: ProxyKind) {
    let setup = Setup::behind(kind).build();
    let subscriber = setup.proxy.subscribe("/events/open", &[]);
    setup.has_subscribers(1);
    drop(subscriber);
    setup.has_subscribers(0);
}

/// Longer than any time-out of the proxy, which are made short for that.
fn heartbeats_keep_a_quiet_stream_open(kind: ProxyKind) {
    const HEARTBEATS: u32 = 5;
    let plan = Setup::behind(kind).subscribe(BRISK);
    let setup = match kind {
        ProxyKind::Nginx => plan.with("proxy_read_timeout 60s;", "proxy_read_timeout 3s;"),
        ProxyKind::Caddy => plan.with("read_timeout 60s", "read_timeout 3s"),
        ProxyKind::Haproxy => plan
            .with("timeout client 60s", "timeout client 3s")
            .with("timeout server 60s", "timeout server 3s"),
        ProxyKind::Apache => plan.with("timeout=60", "timeout=3"),
        // Always 2 s here, and 3 s.
        ProxyKind::Traefik | ProxyKind::Varnish => plan,
    }
    .build();
    let subscriber = setup.proxy.subscribe("/events/open", &[]);
    for _ in 0..HEARTBEATS {
        subscriber.cursor();
    }
    setup.proxy.post("still here");
    assert_eq!(subscriber.event(), "still here");
}

/// They know what to do with it, and so do scripts where the proxy can tell
/// them from an `EventSource`.
fn senders_are_told_of_an_outage(kind: ProxyKind) {
    let mut setup = Setup::behind(kind).build();
    setup.gateway.kill();
    let webhook = &["--data-binary", "x", "--header", EVENT_SOURCE][..];
    let script = &["--header", "Accept: application/x-ndjson"][..];
    let mut asked = vec![
        ("/ingest/open", webhook),
        ("/eventsource", &["--header", EVENT_SOURCE]),
    ];
    if kind != ProxyKind::Traefik {
        asked.push(("/events/open", script));
    }
    for (path, args) in asked {
        let status = setup.proxy.ask(path, args).status;
        assert!(matches!(status, 502 | 503), "{path}: {status}");
    }
}

fn no_token_is_in_a_log(kind: ProxyKind) {
    let mut setup = match kind {
        // As somebody may have it who wants an access log.
        ProxyKind::Caddy => Setup::behind(kind).with("\t@events path", "\tlog\n\t@events path"),
        _ => Setup::behind(kind),
    }
    .build();
    let token = setup.gateway.token("shut");
    let cookie = format!("Cookie: hookrill_token={token}");
    let path = format!("/events/shut?token={token}");
    drop(setup.proxy.subscribe(&path, &["--header", &cookie]));
    setup.gateway.kill();
    let held = match kind {
        ProxyKind::Traefik => Some(setup.proxy.begin(&path, &["--header", &cookie])),
        _ => {
            for args in [&[][..], &["--header", EVENT_SOURCE], &["--header", &cookie]] {
                setup.proxy.ask(&path, args);
            }
            None
        }
    };
    setup = setup.restart();
    assert_eq!(setup.proxy.ask("/healthz", &[]).status, 200);
    if let Some(mut held) = held {
        held.read_head();
    }
    let logged = eventually("a line about the stream", || {
        let logged = setup.proxy.logged();
        let says = kind == ProxyKind::Traefik || logged.contains("/events/shut");
        says.then_some(logged)
    });
    assert!(!logged.contains(&token), "{logged}");
}

/// A hundred npm clients and a browser's page, with one event after the other
/// all the while. Each of them comes back too early, twice.
fn every_event_source_survives_restarts(kind: ProxyKind) {
    let page = free_address();
    let mut setup = brisk(Setup::behind(kind), kind)
        .origin(&format!("http://{page}"))
        .build();
    let mut clients = [
        EventSources::npm(&setup),
        EventSources::chromium(&setup, page),
    ];
    let sender = Sender::start(&setup);
    for event_sources in &mut clients {
        event_sources.all_have_a_stream();
    }
    for end in [Ending::Asked, Ending::Killed] {
        sender.stores(STORED);
        let kept_before = kept(&setup);
        match end {
            Ending::Asked => assert!(setup.gateway.terminate().success()),
            Ending::Killed => setup.gateway.kill(),
        }
        match kind {
            ProxyKind::Nginx | ProxyKind::Caddy | ProxyKind::Haproxy => {
                for event_sources in &mut clients {
                    event_sources.all_have_been_told_to_come_back();
                }
            }
            ProxyKind::Apache | ProxyKind::Varnish => unreachable!("without this claim"),
            ProxyKind::Traefik => {
                let all: usize = clients.iter().map(EventSources::count).sum();
                eventually("each of them, kept", || {
                    (kept(&setup) >= kept_before + all).then_some(())
                });
                for event_sources in &mut clients {
                    event_sources.all_have_lost_it();
                }
            }
        }
        setup = setup.restart();
        for event_sources in &mut clients {
            event_sources.all_have_a_stream();
        }
    }
    sender.stores(STORED);
    let last = sender.end();
    for event_sources in &mut clients {
        event_sources.all_have_heard_each_once_in_order(last);
    }
}

/// How many subscriptions Traefik has tried once more, and keeps until then.
fn kept(setup: &Setup) -> usize {
    const AGAIN: &str = "New attempt 2 for request: /events/";
    setup.proxy.logged().matches(AGAIN).count()
}

#[derive(Clone, Copy)]
enum Ending {
    Asked,
    Killed,
}

/// With waits that are short enough for a test.
fn brisk(plan: setup::SetupBuilder, kind: ProxyKind) -> setup::SetupBuilder {
    let plan = plan.subscribe(BRISK);
    match kind {
        ProxyKind::Nginx => plan.with("1$1$2$3$4", "2$1$2"),
        ProxyKind::Caddy => plan.with("1${1}${2}${3}${4}", "2${1}${2}"),
        ProxyKind::Haproxy => plan.with("rand(10000),add(10000)", "rand(100),add(200)"),
        ProxyKind::Apache | ProxyKind::Varnish => plan,
        ProxyKind::Traefik => plan
            .log_level("DEBUG")
            .with("initialInterval: 2s", "initialInterval: 200ms"),
    }
}

/// What the settings are for: without them, an answer of the proxy's own ends
/// every `EventSource` for ever.
#[test]
fn without_the_settings_for_an_outage_every_event_source_gives_up() {
    let page = free_address();
    let mut setup = Setup::behind(ProxyKind::Nginx)
        .subscribe(BRISK)
        .with("error_page 502 503 504 = @come_back_later;", "")
        .origin(&format!("http://{page}"))
        .build();
    let mut clients = [
        EventSources::npm(&setup),
        EventSources::chromium(&setup, page),
    ];
    for event_sources in &mut clients {
        event_sources.all_have_a_stream();
    }
    setup.gateway.kill();
    for event_sources in &mut clients {
        event_sources.all_have_given_up();
    }
}

#[test]
fn nginx_asks_event_sources_to_come_back_after_an_outage() {
    asks_to_come_back(ProxyKind::Nginx);
}

#[test]
fn caddy_asks_event_sources_to_come_back_after_an_outage() {
    asks_to_come_back(ProxyKind::Caddy);
}

#[test]
fn haproxy_asks_event_sources_to_come_back_after_an_outage() {
    asks_to_come_back(ProxyKind::Haproxy);
}

fn asks_to_come_back(kind: ProxyKind) {
    let mut setup = Setup::behind(kind).build();
    setup.gateway.kill();
    let proxy = &setup.proxy;
    let mut waits = BTreeSet::new();
    for path in [
        "/events",
        "/events/",
        "/events/open",
        "/events/shut?since=earliest",
    ] {
        let response = proxy.ask(path, &["--header", EVENT_SOURCE]);
        assert_eq!(response.status, 200, "{path}: {response:?}");
        assert_eq!(
            response.header("content-type"),
            Some("text/event-stream; charset=utf-8")
        );
        assert_eq!(
            response.header("cache-control"),
            Some("no-store, no-transform")
        );
        assert_eq!(response.header("access-control-allow-origin"), None);
        let wait = response.text().strip_prefix("retry: ").unwrap();
        let wait = wait.strip_suffix("\nevent: hookrill.wait\ndata: {}\n\n");
        let wait: u32 = wait.unwrap().parse().unwrap();
        assert!((10_000..20_000).contains(&wait), "{wait}");
        waits.insert(wait);
    }
    assert!(waits.len() > 1, "all come back at once: {waits:?}");

    for (origin, allowed) in [(ORIGIN, Some(ORIGIN)), ("https://elsewhere.example", None)] {
        let origin = format!("Origin: {origin}");
        let response = proxy.ask(
            "/events/open",
            &["--header", EVENT_SOURCE, "--header", &origin],
        );
        assert_eq!(response.status, 200);
        assert_eq!(response.header("access-control-allow-origin"), allowed);
        let credentials = response.header("access-control-allow-credentials");
        assert_eq!(credentials, allowed.map(|_| "true"));
    }
}

#[test]
fn traefik_keeps_who_comes_during_an_outage_until_it_is_over() {
    let mut setup = Setup::behind(ProxyKind::Traefik)
        .log_level("DEBUG")
        .with("initialInterval: 2s", "initialInterval: 200ms")
        .build();
    setup.gateway.kill();
    let mut subscriber = setup.proxy.begin("/events/open", &[]);
    eventually("another attempt", || {
        setup
            .proxy
            .logged()
            .contains("New attempt 2 for")
            .then_some(())
    });
    let setup = setup.restart();
    subscriber.read_head();
    assert!(
        subscriber.head.starts_with("http/2 200"),
        "{}",
        subscriber.head
    );
    setup.proxy.post("after all");
    assert_eq!(subscriber.event(), "after all");
}

/// So that "at once" says something: this is what happens to whoever follows
/// another guide, or none.
#[test]
fn nginx_with_its_own_buffering_holds_events_back() {
    const BUFFERED: &str = "proxy_http_version 1.0; proxy_ignore_headers X-Accel-Buffering;";
    let mut setup = Setup::behind(ProxyKind::Nginx)
        .with(
            "location ~ ^/events(/|$) {",
            &format!(
                "location /buffered/ {{ {BUFFERED} rewrite ^/buffered(.*)$ $1 break; \
                 proxy_pass http://hookrill; }}\nlocation ~ ^/events(/|$) {{"
            ),
        )
        .build();
    let buffered = setup.proxy.begin("/buffered/events/open", &[]);
    setup.has_subscribers(1);
    let prompt = setup.proxy.subscribe("/events/open", &[]);
    for number in 0..20 {
        setup.proxy.post(&number.to_string());
        assert_eq!(prompt.event(), number.to_string());
    }
    // The head and the gateway's first word are there, and nothing since.
    let passed = buffered.unread();
    let was_held_back = !passed.iter().any(|line| line == "data: 0");
    assert!(was_held_back, "{passed:?}");
    // It was there all the time: the end of the stream lets it out.
    assert!(setup.gateway.terminate().success());
    for number in 0..20 {
        assert_eq!(buffered.event(), number.to_string());
    }
}

/// Where it is made to compress by itself, against the file's advice.
#[test]
fn nginx_compressing_a_stream_holds_no_event_back() {
    let setup = Setup::behind(ProxyKind::Nginx)
        .with("gzip off;", "proxy_set_header Accept-Encoding \"\";")
        .build();
    let subscriber = setup
        .proxy
        .subscribe("/events/open?compress=gzip", &["--compressed"]);
    assert_eq!(subscriber.header("content-encoding"), Some("gzip"));
    subscriber.cursor();
    for body in ["one", "two", "three"] {
        setup.proxy.post(body);
        assert_eq!(subscriber.event(), body);
    }
}
