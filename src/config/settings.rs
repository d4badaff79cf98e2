//! Turns the tree into each room's settings: one function per section, with its
//! defaults. Rules that concern several sections come last.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ::http::HeaderName;

use super::{
    Config, access,
    diagnostic::{Diagnostics, KeyPath, Location},
    environment::Environment,
    hints,
    section::{Located, Section},
    slips::Slips,
    topics,
    tree::Node,
    url, values,
};
use crate::{http, journal, recent, subscribe, telemetry};

pub(super) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const BODY_BYTES_MAX: usize = 5 << 20;
const SUBSCRIBERS_MAX: usize = 100_000;
/// The most headers that pages may send, besides those that need no leave.
const CORS_HEADERS_MAX: usize = 64;
const SHUTDOWN_DELAY: Duration = Duration::ZERO;
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
const JOURNAL_PATH: &str = "data";
const RETAIN_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const RETAIN_BYTES: u64 = 10 << 30;
const DISK_RESERVE: u64 = 256 << 20;
const COMMIT_STALL_MAX: Duration = Duration::from_secs(5);
const DEDUP_ENTRIES_MAX: u64 = 1_000_000;
/// Leaves room for everything else in a small container.
const RETAIN_BYTES_IN_MEMORY: u64 = 64 << 20;
const DEDUP_ENTRIES_MAX_IN_MEMORY: u64 = 100_000;
const HEARTBEAT: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_secs(3);
const DEAD_PEER_MAX: Duration = Duration::from_secs(60);
const PARTIAL_EVENTS_BYTES_MAX: usize = 64 << 20;
const LOG_LEVEL: &str = "info";

/// Checks the whole tree. What it returns is valid only if no diagnostic was
/// reported.
pub(super) fn from_tree(
    root: Node,
    environment: &Environment,
    slips: Option<&Slips>,
    diagnostics: &Diagnostics,
) -> Config {
    let mut root = Section::new(root, KeyPath::root(), diagnostics);
    let mut server = server(root.section("server"), environment);
    let journal = journal(root.section("journal"), server.settings.body_bytes_max);
    let (subscribe, compression) = subscribe(root.section("subscribe"));
    server.settings.compression = compression;
    server.settings.refused_max = console(root.section("console"));
    server.settings.streams = streams(root.section("streams"));
    let log = log(root.section("log"), environment);
    let is_access_misspelt = root.is_misspelt("access");
    let access = root.section("access");
    let are_topics_meant = root.is_misspelt("topics");
    let section = root.section("topics");
    let are_topics_meant = are_topics_meant || section.has_any();
    let topics = topics::topics(section, server.public_url.as_deref());
    let access = access::access(access, topics.policies, is_access_misspelt);
    if !are_topics_meant && !diagnostics.any_in(&root.path.key("topics")) {
        let message = "no topics are configured: every delivery and every subscription is \
                       refused; write a section such as [topics.github]";
        root.warn("topics", message);
    }
    root.finish();
    if let Some(slips) = slips {
        slips.apply(diagnostics);
    }
    hints::report_unknown(diagnostics);
    Config {
        listen: server.listen,
        public_url: server
            .public_url
            .unwrap_or_else(|| local_url(server.listen)),
        server: server.settings,
        journal,
        subscribe,
        access,
        log,
        topics: topics.settings,
        file: None,
        zero_config: None,
        warnings: Vec::new(),
    }
}

struct ServerSection {
    listen: SocketAddr,
    public_url: Option<String>,
    settings: http::Settings,
}

fn server(mut section: Section<'_>, environment: &Environment) -> ServerSection {
    let mut listen = section.value("listen", values::address).unwrap_or(LISTEN);
    if let Some(port) = environment.get("PORT") {
        match values::port(port) {
            Ok(port) => listen.set_port(port),
            Err(mistake) => {
                let location = Location::Variable("PORT".into());
                let path = section.path.key("listen");
                section.diagnostics.report(&path, &location, mistake);
            }
        }
    }
    let public_url = section.value("public_url", url::public_url);
    let subscribers_max = section.value("subscribers_max", values::subscribers_max);
    let settings = http::Settings {
        body_bytes_max: section
            .value("body_bytes_max", values::body_bytes_max)
            .unwrap_or(BODY_BYTES_MAX),
        subscribers_max: subscribers_max.unwrap_or(SUBSCRIBERS_MAX),
        subscribers_max_is_written: subscribers_max.is_some(),
        limits: http::AddressLimits {
            ingest_rate_per_address_max: section.value("ingest_rate_per_address_max", values::rate),
            page_rate_per_address_max: section.value("page_rate_per_address_max", values::rate),
            subscribe_rate_per_address_max: section
                .value("subscribe_rate_per_address_max", values::rate),
            subscribers_per_address_max: section
                .value("subscribers_per_address_max", values::subscribers_max),
        },
        trusted_proxies: items(section.list("trusted_proxies", values::network)),
        cors_origins: items(section.list("cors_origins", url::cors_origin)),
        compression: http::Compression::default(),
        cors_headers: cors_headers(&mut section),
        shutdown_delay: section
            .value("shutdown_delay", values::shutdown_delay)
            .unwrap_or(SHUTDOWN_DELAY),
        shutdown_grace: section
            .value("shutdown_grace", values::shutdown_grace)
            .unwrap_or(SHUTDOWN_GRACE),
        admin_token: section.secret("admin_token", values::admin_token),
        metrics_public: section
            .value("metrics_public", values::boolean)
            .unwrap_or(false),
        refused_max: recent::REFUSED_MAX,
        streams: http::StreamsSettings::default(),
    };
    warn_of_limits(&section, &settings);
    section.finish();
    ServerSection {
        listen,
        public_url,
        settings,
    }
}

fn cors_headers(section: &mut Section<'_>) -> Vec<HeaderName> {
    let Some(list) = section.list("cors_headers", url::cors_header) else {
        return Vec::new();
    };
    if list.value.len() > CORS_HEADERS_MAX {
        let message = format!("must be at most {CORS_HEADERS_MAX} headers");
        list.report(section.diagnostics, message);
    }
    list.value.into_iter().map(|item| item.value).collect()
}

/// Warns of what has no effect next to something else.
fn warn_of_limits(section: &Section<'_>, settings: &http::Settings) {
    let all = settings.subscribers_max;
    let each = settings.limits.subscribers_per_address_max;
    if each.is_some_and(|each| each >= all) {
        let message = format!("has no effect, since subscribers_max allows {all} in all");
        section.warn("subscribers_per_address_max", message);
    }
}

/// The URL at which this machine reaches a server that listens at `address`.
pub(super) fn local_url(mut address: SocketAddr) -> String {
    // 0.0.0.0 and :: mean all addresses. Not every system connects to them, and
    // where one does, the loopback address answers.
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        });
    }
    format!("http://{address}")
}

fn items<T>(list: Option<Located<Vec<Located<T>>>>) -> Vec<T> {
    let items = list.map(|list| list.value).unwrap_or_default();
    items.into_iter().map(|item| item.value).collect()
}

fn journal(mut section: Section<'_>, body_bytes_max: usize) -> journal::Settings {
    let path = journal_path(section.value("path", values::path));
    let reserve = section.value("disk_reserve", values::disk_reserve);
    let stall = section.value("commit_stall_max", values::commit_stall_max);
    let disk = journal::Backend::Disk {
        path,
        reserve_bytes: reserve.unwrap_or(DISK_RESERVE),
        commit_stall_max: stall.unwrap_or(COMMIT_STALL_MAX),
        new_epoch: false,
    };
    let kind = section.located("kind", values::text);
    let backend = match kind.as_ref().map(|kind| kind.value.as_str()) {
        None | Some("disk") => disk,
        Some("memory") => journal::Backend::Memory,
        Some(other) => {
            let message = match other {
                "nats" => "\"nats\" is not supported yet; use \"disk\" or \"memory\"",
                _ => "must be \"disk\" or \"memory\"",
            };
            if let Some(kind) = &kind {
                kind.report(section.diagnostics, message);
            }
            disk
        }
    };
    let (retain_bytes, dedup_entries) = match backend {
        journal::Backend::Memory => (RETAIN_BYTES_IN_MEMORY, DEDUP_ENTRIES_MAX_IN_MEMORY),
        journal::Backend::Disk { .. } => (RETAIN_BYTES, DEDUP_ENTRIES_MAX),
    };
    let settings = journal::Settings {
        backend,
        retention: journal::Retention {
            age: section
                .value("retain_age", values::retain_age)
                .unwrap_or(RETAIN_AGE),
            bytes: section
                .value("retain_bytes", values::retain_bytes)
                .unwrap_or(retain_bytes),
        },
        dedup_entries_max: section
            .value("dedup_entries_max", values::dedup_entries_max)
            .unwrap_or(dedup_entries),
    };
    warn_of_journal(&section, &settings, body_bytes_max);
    section.finish();
    settings
}

/// Warns of what a journal in memory does not use, and of one that keeps too little.
fn warn_of_journal(section: &Section<'_>, settings: &journal::Settings, body_bytes_max: usize) {
    if settings.backend == journal::Backend::Memory {
        // An image sets the path for whatever its configuration says.
        let path = section.is_in_file("path").then_some("path");
        let others = ["disk_reserve", "commit_stall_max"];
        let others = others.into_iter().filter(|key| section.has_taken(key));
        for key in path.into_iter().chain(others) {
            section.warn(
                key,
                "has no effect with kind = \"memory\"; remove one of them",
            );
        }
    }
    if settings.retention.bytes < body_bytes_max as u64 {
        section.warn(
            "retain_bytes",
            format!(
                "is less than the {} that one delivery may have, which is then deleted as soon as \
                 it is stored; raise it, or lower server.body_bytes_max",
                bytesize::ByteSize(body_bytes_max as u64).display().iec()
            ),
        );
    }
}

/// The folder of the journal, and of the secrets of zero configuration.
pub(super) fn journal_path(written: Option<PathBuf>) -> PathBuf {
    written.unwrap_or_else(|| JOURNAL_PATH.into())
}

fn subscribe(mut section: Section<'_>) -> (subscribe::Settings, http::Compression) {
    let heartbeat = section.value("heartbeat", values::heartbeat);
    let retry = section.value("retry", values::retry);
    let partial_events =
        section.value("partial_events_bytes_max", values::partial_events_bytes_max);
    let dead_peer = section.value("dead_peer_max", values::dead_peer_max);
    let stream_age_max = section.value("stream_age_max", values::stream_age_max);
    let compression = section.value("compression", values::compression);
    let settings = subscribe::Settings {
        heartbeat: heartbeat.unwrap_or(HEARTBEAT),
        retry: retry.unwrap_or(RETRY),
        partial_events_bytes_max: partial_events.unwrap_or(PARTIAL_EVENTS_BYTES_MAX),
        dead_peer_max: dead_peer.unwrap_or(DEAD_PEER_MAX),
        stream_age_max,
    };
    let heartbeats = settings.heartbeat * 4;
    if section.has_taken("dead_peer_max") && settings.dead_peer_max < heartbeats {
        let heartbeats = humantime::format_duration(heartbeats);
        let message = format!("has no effect below four heartbeats, which take {heartbeats}");
        section.warn("dead_peer_max", message);
    }
    section.finish();
    (settings, compression.unwrap_or_default())
}

/// How many refused deliveries are kept.
fn console(mut section: Section<'_>) -> usize {
    let refused_max = section.value("refused_max", values::refused_max);
    section.finish();
    refused_max.unwrap_or(recent::REFUSED_MAX)
}

fn streams(mut section: Section<'_>) -> http::StreamsSettings {
    let mut settings = http::StreamsSettings::default();
    let enabled = section.value("enabled", values::boolean);
    settings.enabled = enabled.unwrap_or(settings.enabled);
    let long_poll = section.value("long_poll", values::long_poll);
    settings.long_poll = long_poll.unwrap_or(settings.long_poll);
    let sse_ttl = section.value("sse_ttl", values::sse_ttl);
    settings.sse_ttl = sse_ttl.unwrap_or(settings.sse_ttl);
    let page_bytes = section.value("page_bytes", values::page_bytes);
    settings.page_bytes = page_bytes.unwrap_or(settings.page_bytes);
    let immutable = section.value("immutable", values::boolean);
    settings.immutable = immutable.unwrap_or(settings.immutable);
    section.finish();
    settings
}

fn log(mut section: Section<'_>, environment: &Environment) -> telemetry::Settings {
    let level = section.value("level", values::log_level);
    let format = section.value("format", values::log_format);
    section.finish();
    telemetry::Settings {
        level: level.unwrap_or_else(|| LOG_LEVEL.to_owned()),
        format: format.unwrap_or_default(),
        color: environment.allows_color(),
    }
}
